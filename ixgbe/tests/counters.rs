//! Statistics under Linux's names, from the card's read-to-clear registers.

use crate::common::{Card, I82599, MAC, X540, X550, frame, received, transmit};
use driver_core::device::{Config, NetDevice, Stats};
use driver_core::ether::MacAddr;
use driver_core::queue::TxState;

#[test]
fn frames_and_bytes_of_both_directions_add_up() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        let mut wanted = Stats::default();
        for round in 0..3u64 {
            for len in [60, 100, 1514] {
                card.send(&frame(MAC, len, 0));
                assert_eq!(transmit(&mut started.tx[0], &started.pool, &frame(crate::common::PEER, len, 0)), TxState::Running);
                wanted.rx_bytes += len as u64;
                wanted.tx_bytes += len as u64;
            }
            card.send(&frame(MacAddr([0xff; 6]), 64, 0));
            wanted.rx_bytes += 64;
            (wanted.rx_packets, wanted.tx_packets) = (4 * (round + 1), 3 * (round + 1));
            card.run_us(100);
            assert_eq!(started.control.stats(), wanted, "{device:04x}");
        }
        assert_eq!(received(&mut started.rx[0]).len(), 12);
        card.assert_no_violations();
    }
}

#[test]
fn what_the_card_filters_out_is_not_received_and_multicast_is_counted() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let group = MacAddr([0x01, 0, 0x5e, 0, 0, 1]);
    started.control.set_multicast_filters(&[group]).unwrap();
    card.send(&frame(group, 64, 0));
    card.send(&frame(crate::common::PEER, 64, 0));
    let stats = started.control.stats();
    assert_eq!((stats.rx_packets, stats.multicast, stats.rx_errors), (1, 1, 0));
    card.assert_no_violations();
}

#[test]
fn frames_too_long_for_the_mtu_are_length_errors() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    card.send(&frame(MAC, 1514, 0));
    card.send(&frame(MAC, 1515, 0));
    assert_eq!(received(&mut started.rx[0]).len(), 1);
    let stats = started.control.stats();
    assert_eq!((stats.rx_packets, stats.rx_length_errors, stats.rx_errors), (1, 1, 1));
    card.assert_no_violations();
}

#[test]
fn frames_without_a_descriptor_are_missed_by_a_queue_of_several_at_once() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(2).rx_ring(64));
    // No IP: all of them belong to queue 0, which has 63 descriptors for the card.
    for seed in 0..70 {
        card.send(&frame(MAC, 64, seed));
    }
    let stats = started.control.stats();
    assert_eq!((stats.rx_packets, stats.rx_missed_errors), (63, 7));
    assert_eq!(received(&mut started.rx[0]).len(), 63);
    card.assert_no_violations();
}

#[test]
fn frames_without_a_descriptor_wait_in_the_packet_buffer_of_a_single_queue() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_ring(64));
    for seed in 0..70 {
        card.send(&frame(MAC, 64, seed));
    }
    let mut frames = received(&mut started.rx[0]);
    card.run_us(100);
    frames.extend(received(&mut started.rx[0]));
    assert_eq!(frames, (0..70).map(|seed| frame(MAC, 64, seed)).collect::<Vec<_>>());
    assert_eq!(started.control.stats().rx_missed_errors, 0);
    card.assert_no_violations();
}

#[test]
fn counters_stay_after_the_stop() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    card.send(&frame(MAC, 64, 0));
    started.control.stop().unwrap();
    assert_eq!(started.control.stats().rx_packets, 1);
    card.assert_no_violations();
}
