//! Checksums that the card fills in are those that software fills in.

use crate::common::{Card, I82599, X540, X550};
use crate::packets::{Packet, TCP, UDP, by_software, normal, packets};
use driver_core::buf::Batch;
use driver_core::device::{Config, Offloads};
use driver_core::queue::{TxQueue, TxState};
use proptest::prelude::*;

/// What leaves `card` of packets that ask for their checksum, each frame cut at `cut`.
fn sent(card: &Card, config: &Config, packets: &[Packet], cut: Option<usize>) -> Vec<Vec<u8>> {
    let mut started = card.start(config);
    let mut batch = Batch::new(packets.len());
    for packet in packets {
        let bytes = packet.bytes();
        let (first, rest) = bytes.split_at(cut.unwrap_or(bytes.len()).clamp(14, bytes.len()));
        let mut frame = started.pool.frame_from(first).unwrap();
        if !rest.is_empty() {
            frame.append(started.pool.frame_from(rest).unwrap());
        }
        frame.set_checksum(packet.partial());
        batch.push(frame).unwrap();
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    let sent = card.sent();
    card.assert_no_violations();
    sent
}

fn same(packet: &Packet, sent: Vec<u8>) {
    let place = packet.l4_at() + packet.sum_offset();
    let wanted = by_software(&packet.bytes(), Some(packet.partial()), None);
    if packet.is_tcp() {
        assert_eq!(normal(sent, place), normal(wanted, place), "{packet:?}");
    } else {
        assert_eq!(sent, wanted, "{packet:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn frames_leave_as_software_would_have_made_them(
        packets in prop::collection::vec(packets(), 1..24),
        device in prop::sample::select(vec![I82599, X540, X550]),
        cut in prop::option::of(14usize..1400),
    ) {
        let sent = sent(&Card::of(device), &Config::new(), &packets, cut);
        prop_assert_eq!(sent.len(), packets.len());
        for (packet, sent) in packets.iter().zip(sent) {
            same(packet, sent);
        }
    }
}

#[test]
fn blocks_of_frames_that_ask_for_the_same_leave_in_order() {
    for (protocol, is_ipv6) in [(TCP, false), (UDP, false), (TCP, true), (UDP, true)] {
        let packets: Vec<_> = (0..200).map(|k| Packet::new(protocol, is_ipv6, 3 * k)).collect();
        let sent = sent(&Card::new(), &Config::new(), &packets, None);
        assert_eq!(sent.len(), packets.len());
        packets.iter().zip(sent).for_each(|(packet, sent)| same(packet, sent));
    }
}

#[test]
fn without_the_offload_software_does_it() {
    let packets = [Packet::new(TCP, false, 100), Packet::new(UDP, true, 33)];
    let config = Config::new().offloads(Offloads::all() - Offloads::TX_CHECKSUM);
    let sent = sent(&Card::new(), &config, &packets, None);
    packets.iter().zip(sent).for_each(|(packet, sent)| same(packet, sent));
}

/// RFC 768: the sum of what is to be sent may be zero, and UDP says with zero that there is none.
#[test]
fn a_sum_of_zero_is_sent_as_ones_by_udp() {
    let mut packet = Packet::new(UDP, false, 2);
    let sum = |packet: &Packet| {
        let bytes = by_software(&packet.bytes(), Some(packet.partial()), None);
        u16::from_be_bytes([bytes[40], bytes[41]])
    };
    packet.payload = vec![0, 0];
    packet.payload = sum(&packet).to_be_bytes().to_vec();
    assert_eq!(sum(&packet), 0xffff);
    let sent = sent(&Card::new(), &Config::new(), std::slice::from_ref(&packet), None);
    assert_eq!(sent[0][40..42], [0xff, 0xff]);
    same(&packet, sent[0].clone());
}
