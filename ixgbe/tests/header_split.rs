//! Headers of received frames in buffers of their own (datasheet 7.1.10).

use crate::common::{Card, I82599, MAC, X540, X550, frame};
use crate::packets::{Packet, by_software, of, packets};
use driver_core::buf::Batch;
use driver_core::device::{Caps, Config, NetDevice, RxMode};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use proptest::prelude::*;

const FAMILIES: [u16; 3] = [I82599, X540, X550];

fn splits() -> Config {
    Config::new().header_split(true).rx_mode(RxMode::PROMISCUOUS)
}

/// The header's bytes, and those of each buffer.
fn received(card: &Card, rx: &mut impl RxQueue) -> Vec<(Option<u16>, Vec<Vec<u8>>)> {
    card.run_us(100);
    let mut batch = Batch::new(64);
    rx.poll(&mut batch, 64);
    batch.frames().iter().map(|frame| (frame.split_header_bytes(), frame.segments().map(<[u8]>::to_vec).collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn payload_begins_where_a_buffer_begins(packets in prop::collection::vec(packets(), 1..24), device in prop::sample::select(FAMILIES.to_vec())) {
        let card = Card::of(device);
        let mut started = card.start(&splits());
        prop_assert!(started.control.info().used_caps.contains(Caps::HEADER_SPLIT));
        for packet in &packets {
            let bytes = by_software(&packet.bytes(), Some(packet.partial()), None);
            card.send(&bytes);
            let seen = received(&card, &mut started.rx[0]);
            let (head, body) = bytes.split_at(packet.header_bytes());
            let wanted = if body.is_empty() { vec![head.to_vec()] } else { vec![head.to_vec(), body.to_vec()] };
            prop_assert_eq!(seen, [(Some(packet.header_bytes() as u16), wanted)]);
        }
        card.assert_no_violations();
    }
}

#[test]
fn frames_of_several_buffers_and_those_without_ip_come_whole() {
    for device in FAMILIES {
        let card = Card::of(device);
        let mut started = card.start(&splits().mtu(9000));
        // Ethernet's header alone is known of it.
        let unknown = frame(MAC, 1000, 5);
        card.send(&unknown);
        assert_eq!(received(&card, &mut started.rx[0]), [(Some(14), vec![unknown[..14].to_vec(), unknown[14..].to_vec()])]);
        let packet = Packet::new(crate::packets::UDP, false, 8000);
        let bytes = by_software(&packet.bytes()[..60], None, None);
        assert_eq!(bytes.len(), 60);
        let bytes = packet.bytes();
        card.send(&bytes);
        let seen = received(&card, &mut started.rx[0]);
        let body = &bytes[42..];
        let wanted = [&bytes[..42], &body[..2048], &body[2048..4096], &body[4096..6144], &body[6144..]].map(<[u8]>::to_vec).to_vec();
        assert_eq!(seen, [(Some(42), wanted)], "{device:04x}");
        card.assert_no_violations();
    }
}

/// Headers that do not fit their buffer of 256 bytes are with the rest.
#[test]
fn long_headers_are_not_split_off() {
    let card = Card::new();
    let mut started = card.start(&splits());
    let mut packet = Packet::new(crate::packets::TCP, true, 100);
    packet.options = 31;
    let bytes = by_software(&packet.bytes(), Some(packet.partial()), None);
    assert!(packet.header_bytes() > 256);
    card.send(&bytes);
    assert_eq!(received(&card, &mut started.rx[0]), [(None, vec![bytes.clone()])]);
    card.assert_no_violations();
}

/// A ring's worth of frames several times over, forwarded: both buffers of each go out in one frame, and come back.
#[test]
fn split_frames_go_out_as_they_came() {
    let card = Card::new();
    let mut started = card.start(&splits().rx_ring(64).tx_ring(128));
    let mut batch = Batch::new(64);
    let packet = Packet::new(crate::packets::UDP, false, 400);
    let bytes = by_software(&packet.bytes(), Some(packet.partial()), None);
    for _ in 0..40 {
        for _ in 0..10 {
            card.send_within(&bytes, 2);
        }
        card.run_us(50);
        assert_eq!(started.rx[0].poll(&mut batch, 64), 10);
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        assert_eq!(card.sent(), vec![bytes.clone(); 10]);
    }
    card.assert_no_violations();
}

#[test]
fn it_is_off_unless_asked_for_and_beside_coalescing() {
    for (config, splits) in [(Config::new(), false), (splits(), true), (splits().rx_coalescing(true), false)] {
        let card = Card::new();
        let mut started = card.start(&config.rx_mode(RxMode::PROMISCUOUS));
        assert!(started.control.info().caps.contains(Caps::HEADER_SPLIT));
        assert_eq!(started.control.info().used_caps.contains(Caps::HEADER_SPLIT), splits);
        card.send(&frame(MAC, 100, 9));
        let wanted = if splits { vec![frame(MAC, 100, 9)[..14].to_vec(), frame(MAC, 100, 9)[14..].to_vec()] } else { vec![frame(MAC, 100, 9)] };
        assert_eq!(received(&card, &mut started.rx[0]), [(splits.then_some(14), wanted)]);
        assert_eq!(of(&started.pool.frame_from(b"x").unwrap()), b"x");
        card.assert_no_violations();
    }
}
