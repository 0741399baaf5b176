//! SCTP's CRC that the card fills in is that which software fills in: byte for byte.

use crate::common::{Card, I82599, X540, X550};
use crate::packets::{Packet, UDP, by_software, of};
use driver_core::buf::{Batch, BufPool, Checksum, Frame};
use driver_core::device::{Caps, Config, NetDevice, Offloads};
use driver_core::host::RegSpace;
use driver_core::offload::{OffloadError, verify_transport};
use driver_core::queue::{Refusal, TxQueue, TxState};
use proptest::prelude::*;

/// Transmit tail of queue 0 (8.2.3.9.9).
const TDT0: u32 = 0x6018;

/// A packet whose CRC is to be filled in, with something in its place.
fn sctp(is_ipv6: bool, options: usize, tag_in_frame: Option<u16>, chunks: &[u8]) -> (Vec<u8>, Checksum) {
    let carrier = Packet { options, tag_in_frame, payload: [&[0xaa; 4][..], chunks].concat(), ..Packet::new(UDP, is_ipv6, 0) };
    let (mut bytes, ip, start) = (carrier.bytes(), carrier.ip_at(), carrier.l4_at());
    // UDP's header of 8 bytes and four more of payload become SCTP's header of 12.
    bytes[start..start + 12].copy_from_slice(&[0x13, 0x88, 0x0b, 0x59, 1, 2, 3, 4, 0xaa, 0xbb, 0xcc, 0xdd]);
    match (is_ipv6, options) {
        (false, _) => {
            bytes[ip + 9] = 132;
            let mut frame = crate::packets::pool().frame_from(&bytes).unwrap();
            driver_core::offload::fill_ipv4(&mut frame).unwrap();
            bytes = of(&frame);
        }
        (true, 0) => bytes[ip + 6] = 132,
        (true, _) => bytes[ip + 40] = 132,
    }
    (bytes, Checksum::PartialSctp { start: start as u16 })
}

/// The frame in buffers that end at `cut`.
fn in_two(pool: &BufPool, bytes: &[u8], cut: Option<usize>) -> Frame {
    let (first, rest) = bytes.split_at(cut.unwrap_or(bytes.len()).clamp(14, bytes.len()));
    let mut frame = pool.frame_from(first).unwrap();
    if !rest.is_empty() {
        frame.append(pool.frame_from(rest).unwrap());
    }
    frame
}

/// What software makes of it. The padding of the shortest frames is no part of the packet.
fn wanted(bytes: &[u8], checksum: Checksum, tag: Option<u16>) -> Vec<u8> {
    let sent = by_software(bytes, Some(checksum), tag);
    let more = if tag.is_some() { 4 } else { 0 };
    let packet = crate::packets::pool().frame_from(&sent[..bytes.len() + more]).unwrap();
    assert_eq!(verify_transport(&packet), Ok(Some(true)), "the oracle's own: {sent:02x?}");
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn frames_leave_as_software_would_have_made_them(
        asks in prop::collection::vec(
            (any::<bool>(), 0usize..4, prop::option::weighted(0.2, any::<u16>()), prop::option::weighted(0.3, any::<u16>()),
             prop::collection::vec(any::<u8>(), 0..1200), prop::option::weighted(0.3, 14usize..1200)),
            1..24,
        ),
        device in prop::sample::select(vec![I82599, X540, X550]),
        by_card: bool,
    ) {
        let card = Card::of(device);
        let offloads = if by_card { Offloads::all() } else { Offloads::all() - Offloads::TX_SCTP_CRC };
        let mut started = card.start(&Config::new().offloads(offloads));
        prop_assert_eq!(started.control.info().used_caps.contains(Caps::TX_SCTP_CRC), by_card);
        let (mut batch, mut all) = (Batch::new(asks.len()), Vec::new());
        for (is_ipv6, options, tag_in_frame, tag, chunks, cut) in &asks {
            let (bytes, checksum) = sctp(*is_ipv6, *options, *tag_in_frame, chunks);
            let mut frame = in_two(&started.pool, &bytes, *cut);
            frame.set_checksum(checksum);
            frame.set_vlan(*tag);
            batch.push(frame).unwrap();
            all.push(wanted(&bytes, checksum, *tag));
        }
        prop_assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        let sent = card.sent();
        card.assert_no_violations();
        prop_assert_eq!(sent.len(), all.len());
        for (sent, mut wanted) in sent.into_iter().zip(all) {
            // What is short is padded before the card puts a tag in, or behind that.
            let may_differ = if wanted.len() <= 64 { 4 } else { 0 };
            prop_assert!(sent.len().abs_diff(wanted.len()) <= may_differ);
            wanted.resize(sent.len(), 0);
            prop_assert_eq!(sent, wanted);
        }
    }
}

/// A COOKIE ACK is a packet of 50 bytes. Its CRC would be another one if it went to the end of the padding.
#[test]
fn the_padding_of_a_short_frame_is_not_in_its_crc() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let (bytes, checksum) = sctp(false, 0, None, &[11, 0, 0, 4]);
    assert_eq!(bytes.len(), 50);
    let mut batch = Batch::new(1);
    let mut frame = started.pool.frame_from(&bytes).unwrap();
    frame.set_checksum(checksum);
    batch.push(frame).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), [wanted(&bytes, checksum, None)]);
    card.assert_no_violations();
}

/// One context serves all of a flow, and frames that ask for other sums in between have theirs.
#[test]
fn the_context_is_used_again() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let udp = Packet::new(UDP, false, 300);
    let (mut batch, mut all) = (Batch::new(40), Vec::new());
    for k in 0..40 {
        let (bytes, checksum) = if k % 4 == 3 { (udp.bytes(), udp.partial()) } else { sctp(false, 0, None, &[k; 100]) };
        let mut frame = started.pool.frame_from(&bytes).unwrap();
        frame.set_checksum(checksum);
        batch.push(frame).unwrap();
        all.push(by_software(&bytes, Some(checksum), None));
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), all);
    card.assert_no_violations();
    assert_eq!(card.registers().read32(TDT0), 42, "two contexts");
}

#[test]
fn a_tag_of_its_own_does_not_take_others_along() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let plain = crate::common::frame(crate::common::PEER, 100, 1);
    let (bytes, checksum) = sctp(false, 0, None, &[7; 100]);
    let (mut batch, mut all) = (Batch::new(20), Vec::new());
    for k in 0..20 {
        let asks = k % 10 == 0;
        let mut frame = started.pool.frame_from(if asks { &bytes } else { &plain }).unwrap();
        frame.set_vlan(Some(5));
        if asks {
            frame.set_checksum(checksum);
        }
        batch.push(frame).unwrap();
        all.push(by_software(if asks { &bytes } else { &plain }, asks.then_some(checksum), Some(5)));
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), all);
    card.assert_no_violations();
}

#[test]
fn a_crc_that_lies_outside_of_the_frame_is_refused() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    for start in [89, 100, 2000, u16::MAX] {
        let mut frame = started.pool.frame_from(&[0x55; 100]).unwrap();
        frame.set_checksum(Checksum::PartialSctp { start });
        let mut batch = Batch::new(1);
        batch.push(frame).unwrap();
        let why = Refusal::Checksum(OffloadError::Place { start, offset: 8, len_bytes: 100 });
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Refused(why));
        let frame = &batch.frames()[0];
        assert_eq!((frame.data(), frame.checksum()), (&[0x55; 100][..], Checksum::PartialSctp { start }), "it is as it was");
    }
    card.assert_no_violations();
}
