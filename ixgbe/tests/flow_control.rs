//! Pause frames, obeyed and sent as was asked for, and what becomes of frames for a queue without buffers (3.7.7, 8.2.3.8.7).

use crate::common::{Card, I82599, MAC, Started, X540, X550, frame, received, transmit};
use driver_core::device::{Caps, Config, FlowControl, NetDevice, Overflow, RssConfig};
use driver_core::offload::{RssTypes, toeplitz};

/// The group of pause frames, and what they begin with behind the addresses (IEEE 802.3 annex 31B).
const GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 1];
const PAUSE: [u8; 4] = [0x88, 0x08, 0x00, 0x01];

fn pause(quanta: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&GROUP);
    frame[6..12].copy_from_slice(&crate::common::PEER.0);
    frame[12..16].copy_from_slice(&PAUSE);
    frame[16..18].copy_from_slice(&quanta.to_be_bytes());
    frame
}

/// The quanta of the pause frames among what came out of the card.
fn pauses(card: &Card) -> Vec<u16> {
    let sent = card.sent();
    let pauses = sent.iter().filter(|frame| frame[..6] == GROUP && frame[12..16] == PAUSE);
    pauses.map(|frame| u16::from_be_bytes([frame[16], frame[17]])).collect()
}

fn xstat(started: &mut Started, name: &str) -> u64 {
    started.control.xstats().iter().find(|xstat| xstat.name == name).unwrap_or_else(|| panic!("{name} is not there")).value
}

/// Sends as many frames as fill a ring of 64 and the packet buffer a little over its mark, which is 24 KiB below its end: each takes up 64 bytes beside its own.
fn flood(card: &Card, buffer_kib: usize) -> usize {
    let frames = 64 + (buffer_kib - 24) * 1024 / (1514 + 64) + 4;
    for seed in 0..frames {
        card.send_within(&frame(MAC, 1514, seed as u8), 2);
    }
    frames
}

#[test]
fn a_pause_frame_holds_the_transmitter_back_where_it_is_obeyed() {
    for device in [I82599, X540, X550] {
        for (flow_control, obeys) in
            [(FlowControl::empty(), false), (FlowControl::SEND, false), (FlowControl::OBEY, true), (FlowControl::all(), true)]
        {
            let card = Card::of(device);
            let mut started = card.start(&Config::new().flow_control(flow_control));
            assert_eq!(started.control.info().used_caps.contains(Caps::FLOW_CONTROL), !flow_control.is_empty());
            // 20,000 quanta of 51.2 ns: about a millisecond.
            card.send(&pause(20_000));
            let _ = transmit(&mut started.tx[0], &started.pool, &frame(crate::common::PEER, 64, 1));
            assert_eq!(card.sent().len(), usize::from(!obeys), "{device:04x} {flow_control:?}");
            card.run_us(1_200);
            assert_eq!(card.sent().len(), usize::from(obeys), "{device:04x} {flow_control:?}: it goes on by itself");
            assert_eq!(received(&mut started.rx[0]).len(), 0, "and nobody is handed a pause frame");
            card.assert_no_violations();
        }
    }
}

#[test]
fn a_port_that_is_not_polled_sends_xoff_and_then_xon() {
    for (device, buffer_kib) in [(I82599, 512), (X540, 384), (X550, 384)] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new().rx_ring(64).flow_control(FlowControl::SEND));
        let sent = flood(&card, buffer_kib);
        assert_eq!(pauses(&card), [0xffff], "{device:04x}: the mark was passed once");
        let mut all = 0;
        while let got @ 1.. = received(&mut started.rx[0]).len() {
            all += got;
            card.run_us(500);
        }
        assert_eq!((all, pauses(&card)), (sent, vec![0]), "{device:04x}: nothing was lost, and XON ends it");
        assert_eq!((xstat(&mut started, "tx_xoff_packets"), xstat(&mut started, "tx_xon_packets")), (1, 1));
        let stats = started.control.stats();
        assert_eq!((stats.rx_missed_errors, stats.tx_packets, stats.tx_bytes), (0, 0, 0), "no queue sent a frame");
        card.assert_no_violations();
    }
}

#[test]
fn flow_control_is_set_while_the_card_runs_and_off_again() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_ring(64));
    started.control.set_flow_control(FlowControl::all()).unwrap();
    flood(&card, 512);
    assert_eq!(pauses(&card).len(), 1);
    started.control.set_flow_control(FlowControl::empty()).unwrap();
    assert_eq!(started.control.settings().flow_control(), FlowControl::empty());
    while !received(&mut started.rx[0]).is_empty() {
        card.run_us(500);
    }
    assert_eq!(pauses(&card), [0; 0], "no XON from a port that has no flow control");
    card.send(&pause(60_000));
    let _ = transmit(&mut started.tx[0], &started.pool, &frame(crate::common::PEER, 64, 1));
    assert_eq!(card.sent().len(), 1, "nor does it obey any more");
    flood(&card, 512);
    assert_eq!(pauses(&card), [0; 0]);
    while !received(&mut started.rx[0]).is_empty() {
        card.run_us(500);
    }
    card.assert_no_violations();
}

/// A UDP frame of a host that the table sends to queue 0 or 1: by the hash's lowest bit, of which the addresses are all.
fn flow(to: u16) -> Vec<u8> {
    let is_sent_there = |host: &u8| u32::from(to) == toeplitz(RssConfig::new().key_bytes(), &[10, 0, 0, *host, 10, 0, 0, 0]) & 1;
    let host = (1..=u8::MAX).find(is_sent_there).unwrap();
    let mut bytes = frame(MAC, 1514, 0);
    bytes[12..42]
        .copy_from_slice(&[0x08, 0, 0x45, 0, 0x05, 0xdc, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, host, 10, 0, 0, 0, 0, 9, 0, 9, 0x05, 0xc8, 0, 0]);
    bytes
}

/// Two queues of 64, of which nobody polls the first: what the second gets.
fn beside_a_full_one(overflow: Overflow, of_the_first: Option<Overflow>) -> (usize, u64) {
    let card = Card::new();
    let config = Config::new().rx_queues(2).rx_ring(64).rss(RssConfig::new().types(RssTypes::IPV4).table(&[0, 1]));
    let mut rx = config.rx_config().clone().overflow(overflow);
    if let Some(overflow) = of_the_first {
        rx = rx.overflow_of(0, overflow);
    }
    let mut started = card.start(&config.rx(rx));
    (0..100).for_each(|_| card.send_within(&flow(0), 2));
    (0..20).for_each(|_| card.send_within(&flow(1), 2));
    card.run_us(100);
    let second = received(&mut started.rx[1]).len();
    let missed = started.control.stats().rx_missed_errors;
    while !received(&mut started.rx[0]).is_empty() {
        card.run_us(500);
        received(&mut started.rx[1]);
    }
    card.assert_no_violations();
    (second, missed)
}

#[test]
fn a_full_queue_holds_up_the_others_or_drops_as_is_set_for_each() {
    // 63 or 64 frames lie in the first queue's ring.
    for (all, first) in [(Overflow::Auto, None), (Overflow::Drop, None), (Overflow::Wait, Some(Overflow::Drop))] {
        let (second, missed) = beside_a_full_one(all, first);
        assert!(second == 20 && (36..=37).contains(&missed), "{all:?} {first:?}: {second} {missed}");
    }
    for (all, first) in [(Overflow::Wait, None), (Overflow::Auto, Some(Overflow::Wait))] {
        assert_eq!(beside_a_full_one(all, first), (0, 0), "{all:?} {first:?}: all wait behind it, and none is lost");
    }
}
