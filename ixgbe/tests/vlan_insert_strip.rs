//! VLAN tags that the card puts into frames, and takes out of them.

use crate::common::{Card, I82599, MAC, PEER, X540, X550, frame};
use crate::packets::{Packet, TCP, UDP, by_software, normal, packets};
use driver_core::buf::{Batch, Checksum, Frame};
use driver_core::device::{Caps, Config, NetDevice, Offloads, RxMode};
use driver_core::host::RegSpace;
use driver_core::queue::{FrameView, PollWith, RxQueue, TxQueue, TxState, Verdict, WhenFull};
use driver_core::testing::bytes_of;
use proptest::prelude::*;

/// Transmit tail of queue 0 (8.2.3.9.9).
const TDT0: u32 = 0x6018;

fn tagged(tag: u16, bytes: &[u8]) -> Vec<u8> {
    [&bytes[..12], &[0x81, 0x00], &tag.to_be_bytes(), &bytes[12..]].concat()
}

fn strips() -> Config {
    Config::new().rx_vlan_strip(true).rx_mode(RxMode::PROMISCUOUS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tags_go_in_as_software_puts_them_in(
        packets in prop::collection::vec((packets(), prop::option::weighted(0.8, any::<u16>()), any::<bool>()), 1..24),
        device in prop::sample::select(vec![I82599, X540, X550]),
        by_card: bool,
    ) {
        let card = Card::of(device);
        let offloads = if by_card { Offloads::all() } else { Offloads::all() - Offloads::TX_VLAN_INSERT };
        let mut started = card.start(&Config::new().offloads(offloads));
        let mut batch = Batch::new(packets.len());
        for (packet, tag, asks) in &packets {
            let mut frame = started.pool.frame_from(&packet.bytes()).unwrap();
            frame.set_vlan(*tag);
            if *asks {
                frame.set_checksum(packet.partial());
            }
            batch.push(frame).unwrap();
        }
        prop_assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        let sent = card.sent();
        card.assert_no_violations();
        prop_assert_eq!(sent.len(), packets.len());
        for ((packet, tag, asks), sent) in packets.iter().zip(sent) {
            let mut wanted = by_software(&packet.bytes(), asks.then(|| packet.partial()), *tag);
            // What is short is padded before the card puts the tag in, or behind that.
            let short = sent.len().abs_diff(wanted.len());
            prop_assert!(short == 0 || short <= 4 && wanted.len() <= 64);
            wanted.resize(sent.len(), 0);
            let place = packet.l4_at() + packet.sum_offset() + if tag.is_some() { 4 } else { 0 };
            if *asks && packet.is_tcp() {
                prop_assert_eq!(normal(sent, place), normal(wanted, place));
            } else {
                prop_assert_eq!(sent, wanted);
            }
        }
    }
}

#[test]
fn a_tag_that_was_taken_out_is_told_with_the_checksums_verdict() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&strips());
        assert!(started.control.info().used_caps.contains(Caps::RX_VLAN_STRIP));
        let mut packet = Packet::new(TCP, false, 200);
        packet.payload[3] = 0x77;
        let whole = by_software(&packet.bytes(), Some(packet.partial()), None);
        // Alone, and in blocks of tagged ones, and of both kinds.
        let tags: Vec<_> = (0..60).map(|k| (k < 40 || k % 3 == 0).then_some(0x6000 + k)).collect();
        for tag in &tags {
            card.send(&tag.map_or(whole.clone(), |tag| tagged(tag, &whole)));
        }
        let mut batch = Batch::new(64);
        while started.rx[0].poll(&mut batch, 64) > 0 {}
        let seen: Vec<_> = batch.frames().iter().map(Frame::vlan).collect();
        assert_eq!(seen, tags);
        assert!(batch.frames().iter().all(|frame| frame.data() == whole && frame.checksum() == Checksum::Good));
        card.assert_no_violations();
    }
}

#[test]
fn of_a_frame_of_several_buffers_as_well() {
    let card = Card::new();
    let mut started = card.start(&strips().mtu(9000));
    let long = frame(MAC, 7000, 3);
    for _ in 0..3 {
        card.send(&tagged(0x123, &long));
        card.send(&long);
    }
    let mut batch = Batch::new(16);
    while started.rx[0].poll(&mut batch, 16) > 0 {}
    let seen: Vec<_> = batch.frames().iter().map(|frame| (frame.vlan(), bytes_of(frame) == long)).collect();
    assert_eq!(seen, [(Some(0x123), true), (None, true)].repeat(3));
    card.assert_no_violations();
}

/// The outer tag goes back in, by one context; an inner one never left.
#[test]
fn what_is_sent_on_has_its_tag_again() {
    let card = Card::new();
    let mut started = card.start(&strips());
    let plain = frame(PEER, 100, 9);
    let frames = [tagged(7, &plain), tagged(7, &tagged(9, &plain)), plain.clone(), tagged(7, &plain)];
    let mut wanted = Vec::new();
    for _ in 0..20 {
        frames.iter().for_each(|bytes| card.send(bytes));
        wanted.extend(frames.iter().cloned());
        let mut batch = Batch::new(4);
        assert_eq!(started.rx[0].poll(&mut batch, 4), 4);
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    }
    assert_eq!(card.sent(), wanted);
    card.assert_no_violations();
    assert_eq!(card.registers().read32(TDT0), 81);
}

#[test]
fn a_hook_sees_the_same_tag() {
    let card = Card::new();
    let mut started = card.start(&strips());
    let bytes = frame(PEER, 100, 1);
    (0..30).for_each(|k| card.send(&if k % 4 == 0 { bytes.clone() } else { tagged(k, &bytes) }));
    let (mut batch, mut seen) = (Batch::new(32), Vec::new());
    let mut hook = |frame: &mut FrameView<'_>| {
        seen.push((frame.vlan(), frame.data() == bytes));
        if frame.vlan().is_some_and(|tag| tag % 2 == 1) { Verdict::Tx } else { Verdict::Drop }
    };
    while started.rx[0].poll_with(&mut hook, &mut [&mut started.tx[0]], WhenFull::Drop, &mut batch, 32) > 0 {}
    let tags: Vec<_> = (0..30).map(|k| ((k % 4 != 0).then_some(k), true)).collect();
    assert_eq!(seen, tags);
    let back: Vec<_> = (0..30).filter(|k| k % 2 == 1).map(|k| tagged(k, &bytes)).collect();
    assert_eq!(card.sent(), back);
    card.assert_no_violations();
}

#[test]
fn tags_stay_in_the_frame_unless_that_is_asked_for() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_mode(RxMode::PROMISCUOUS));
    assert!(!started.control.info().used_caps.contains(Caps::RX_VLAN_STRIP));
    let bytes = tagged(5, &by_software(&Packet::new(UDP, true, 30).bytes(), Some(Packet::new(UDP, true, 30).partial()), None));
    card.send(&bytes);
    let mut batch = Batch::new(1);
    assert_eq!(started.rx[0].poll(&mut batch, 1), 1);
    let frame = &batch.frames()[0];
    assert_eq!((frame.data(), frame.vlan(), frame.checksum()), (&bytes[..], None, Checksum::Good));
}
