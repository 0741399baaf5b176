//! Flows are spread over the receive queues by hash, each flow stays on one, and what has no flow goes to the first.

mod common;

use common::{Card, I82599, MAC, X540, X550, frame, received};
use driver_core::buf::{Batch, RssKind};
use driver_core::device::Config;
use driver_core::queue::RxQueue;

/// A UDP frame of a flow, with a payload that names it.
fn udp(flow: u16) -> Vec<u8> {
    let mut bytes = frame(MAC, 14, 0);
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(flow.to_be_bytes());
    bytes.extend([0, 7, 0, 26, 0, 0]);
    bytes.extend([0; 18]);
    bytes
}

#[test]
fn flows_spread_over_all_queues_and_stay_where_they_are() {
    for device in [I82599, X540, X550] {
        for queues in [2, 3, 16] {
            let card = Card::of(device);
            let mut started = card.start(&Config { rx_queues: queues, rx_ring: 512, ..Config::default() });
            let mut spread = |count: u16| -> Vec<Vec<Vec<u8>>> {
                for flow in 0..count {
                    card.send(&udp(flow));
                }
                started.rx.iter_mut().map(received).collect()
            };
            let first = spread(256);
            assert!(
                first.iter().all(|frames| !frames.is_empty()),
                "{device:04x}: {queues} queues, {:?}",
                first.iter().map(Vec::len).collect::<Vec<_>>()
            );
            assert_eq!(first.iter().map(Vec::len).sum::<usize>(), 256);
            assert_eq!(spread(256), first, "the same flows on the same queues");
            card.assert_no_violations();
        }
    }
}

#[test]
fn a_frame_says_its_hash_and_queue() {
    let card = Card::new();
    let mut started = card.start(&Config { rx_queues: 4, ..Config::default() });
    card.send(&udp(1234));
    let mut batch = Batch::new(8);
    let from = started.rx.iter_mut().position(|rx| rx.poll(&mut batch, 8) == 1).unwrap();
    let frame = &batch.frames()[0];
    assert_eq!(usize::from(frame.rx_queue()), from);
    let rss = frame.rss().unwrap();
    assert_eq!(rss.kind, RssKind::Udp);
    // The spreading table names the queues in turn, and is indexed by the hash's low seven bits.
    assert_eq!(rss.hash as usize % 128 % 4, from);
    card.assert_no_violations();
}

#[test]
fn what_is_no_ip_goes_to_the_first_queue() {
    let card = Card::new();
    let mut started = card.start(&Config { rx_queues: 4, ..Config::default() });
    card.send(&frame(MAC, 64, 0));
    let counts: Vec<_> = started.rx.iter_mut().map(|rx| received(rx).len()).collect();
    assert_eq!(counts, [1, 0, 0, 0]);
    card.assert_no_violations();
}
