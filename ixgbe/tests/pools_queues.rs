//! A queue of a pool is a queue like others: it has an interrupt, counters and overflow of its own, splits headers, and transmit queues do not know of pools.

use crate::common::{Card, I82599, MAC, PEER, X540, X550, frame, received, transmit};
use crate::pools::{A, ALL, B, config, flow_to, frame_to, to};
use driver_core::buf::Batch;
use driver_core::device::{Caps, Config, NetDevice, Overflow, RxConfig};
use driver_core::queue::{RxQueue, TxState};

#[test]
fn each_fires_its_own_interrupt() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(5).mac_pools(3).interrupts(true));
    for (queue, mac) in [(2, A), (4, B)] {
        started.control.add_rule(&to(queue, mac)).unwrap();
    }
    started.rx.iter_mut().for_each(|rx| assert!(!rx.arm()));
    let mut fired = |mac| -> Vec<u64> {
        card.send(&frame_to(mac, None));
        let fired = started.rx.iter_mut().map(|rx| rx.interrupt().unwrap().wait(Some(0)).unwrap()).collect();
        started.rx.iter_mut().for_each(|rx| {
            received(rx);
            rx.arm();
        });
        fired
    };
    assert_eq!([fired(A), fired(B), fired(ALL)], [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]);
    card.assert_no_violations();
}

#[test]
fn each_counts_for_itself() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config(15));
        for (queue, mac) in [(3, A), (15, B)] {
            started.control.add_rule(&to(queue, mac)).unwrap();
        }
        for (mac, count) in [(A, 3), (B, 5), (MAC, 2)] {
            (0..count).for_each(|_| card.send(&frame_to(mac, None)));
        }
        let all = started.control.xstats();
        let of = |name: &str| all.iter().find(|stat| stat.name == name).unwrap_or_else(|| panic!("no {name}")).value;
        assert_eq!(["rx_q0_packets", "rx_q3_packets", "rx_q15_packets", "rx_q1_packets"].map(of), [2, 3, 5, 0], "{device:04x}");
        assert_eq!(started.control.stats().rx_packets, 10);
        started.rx.iter_mut().for_each(|rx| drop(received(rx)));
        let names: Vec<_> =
            started.control.registers().unwrap().into_iter().map(|register| register.name).filter(|name| name.starts_with("RXDCTL")).collect();
        assert_eq!((names.len(), &*names[3], &*names[15]), (16, "RXDCTL[6]", "RXDCTL[30]"));
        card.assert_no_violations();
    }
}

/// A queue that nobody polls holds up no other where it drops.
#[test]
fn a_full_one_drops_and_the_others_go_on() {
    let card = Card::new();
    let rx = RxConfig::new().queues(3).ring(64).mac_pools(2).overflow(Overflow::Drop);
    let mut started = card.start(&Config::new().rx(rx));
    started.control.add_rule(&to(1, A)).unwrap();
    started.control.add_rule(&to(2, B)).unwrap();
    (0..80).for_each(|_| card.send(&frame_to(A, None)));
    card.send(&frame_to(B, None));
    assert_eq!([1, 2].map(|queue| received(&mut started.rx[queue]).len()), [63, 1]);
    assert_eq!(started.control.stats().rx_missed_errors, 17);
    card.assert_no_violations();
}

#[test]
fn headers_are_split_off_in_every_pool_and_segments_are_not_put_together() {
    let card = Card::new();
    let mut started = card.start(&config(2).header_split(true).rx_coalescing(true));
    let caps = started.control.info().used_caps;
    assert!(caps.contains(Caps::HEADER_SPLIT) && !caps.contains(Caps::RX_COALESCING), "{caps:?}");
    started.control.add_rule(&to(2, A)).unwrap();
    for (mac, queue) in [(MAC, 0), (A, 2)] {
        card.send(&flow_to(mac, 7));
        let mut batch = Batch::new(4);
        assert_eq!(started.rx[queue].poll(&mut batch, 4), 1);
        assert_eq!(batch.frames()[0].split_header_bytes(), Some(42), "of queue {queue}");
    }
    card.assert_no_violations();
}

/// POOL-SWITCH: also what is for an address of the card itself.
#[test]
fn every_transmit_queue_sends_to_the_wire() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config(15).tx_queues(64));
        started.control.add_rule(&to(9, A)).unwrap();
        let frames = [frame(PEER, 64, 1), frame(A, 64, 2), frame(ALL, 64, 3)];
        for tx in &mut started.tx {
            for frame in &frames {
                assert_eq!(transmit(tx, &started.pool, frame), TxState::Running);
            }
            assert_eq!(card.sent(), frames);
        }
        assert!(started.rx.iter_mut().all(|rx| received(rx).is_empty()));
        started.control.stop().unwrap();
        card.assert_no_violations();
    }
}
