//! Flows are spread over the receive queues by hash, each flow stays on one, and what has no flow goes to the first.

use crate::common::{Card, I82599, MAC, X540, X550, frame, received};
use driver_core::buf::{Batch, RssKind};
use driver_core::device::{Config, RssConfig};
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
            let mut started = card.start(&Config::new().rx_queues(queues).rx_ring(512));
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
    let mut started = card.start(&Config::new().rx_queues(4));
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
    let mut started = card.start(&Config::new().rx_queues(4));
    card.send(&frame(MAC, 64, 0));
    let counts: Vec<_> = started.rx.iter_mut().map(|rx| received(rx).len()).collect();
    assert_eq!(counts, [1, 0, 0, 0]);
    card.assert_no_violations();
}

/// The hash of Microsoft's definition, bit by bit: the key shifts by one for each bit of the input.
fn toeplitz(key: &[u8; 40], input: &[u8]) -> u32 {
    let key_bit = |at: usize| u32::from(key[at / 8] >> (7 - at % 8) & 1);
    let window = |at: usize| (0..32).fold(0, |word, k| word << 1 | key_bit(at + k));
    let bits = input.iter().flat_map(|byte| (0..8).map(move |k| byte >> (7 - k) & 1 != 0));
    bits.enumerate().filter(|(_, is_set)| *is_set).fold(0, |hash, (at, _)| hash ^ window(at))
}

#[test]
fn the_hash_is_made_with_the_key_that_was_given() {
    let given = core::array::from_fn(|i| (i * 37 + 11) as u8);
    for rss in [RssConfig::new(), RssConfig::new().key(given)] {
        let card = Card::new();
        let key = *rss.key_bytes();
        let mut started = card.start(&Config::new().rx_queues(4).rss(rss));
        let sent = udp(1234);
        card.send(&sent);
        let mut batch = Batch::new(8);
        assert_eq!(started.rx.iter_mut().map(|rx| rx.poll(&mut batch, 8)).sum::<usize>(), 1);
        // Addresses, then ports.
        assert_eq!(batch.frames()[0].rss().unwrap().hash, toeplitz(&key, &sent[26..38]));
    }
}
