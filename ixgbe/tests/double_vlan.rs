//! An outer VLAN tag on every frame (QinQ): the card looks behind it, and takes the inner tag out and puts it in.

use crate::common::{Card, I82599, MAC, X540, X550, frame, refused};
use crate::packets::{Packet, TCP, UDP, by_software, normal, packets};
use driver_core::buf::{Batch, BufPool, Checksum, Frame, PoolConfig};
use driver_core::device::{Caps, Config, ConfigError, ErrorKind, FlowRoom, FlowTable, NetDevice, Offloads, Rule, RxMode};
use driver_core::ether::MIN_FRAME_BYTES;
use driver_core::offload::verify_transport;
use driver_core::queue::{Refusal, RxQueue, TxQueue, TxState};
use driver_core::testing::bytes_of;
use proptest::prelude::*;

const OUTER: u16 = 0x88a8;

fn config() -> Config {
    Config::new().double_vlan(OUTER).rx_vlan_strip(true).rx_mode(RxMode::PROMISCUOUS)
}

/// With tags behind the addresses, each its EtherType and what it says.
fn with(tags: &[(u16, u16)], bytes: &[u8]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|(kind, tag)| [kind.to_be_bytes(), tag.to_be_bytes()].concat()).collect();
    [&bytes[..12], &tags, &bytes[12..]].concat()
}

/// The inner tag where it goes: behind the outer one, or where that would be.
fn with_inner(bytes: &[u8], outer: u16, tag: Option<u16>) -> Vec<u8> {
    let at = if bytes[12..14] == outer.to_be_bytes() { 16 } else { 12 };
    let tag: Vec<u8> = tag.map_or_else(Vec::new, |tag| [[0x81, 0x00], tag.to_be_bytes()].concat());
    let mut bytes = [&bytes[..at], &tag, &bytes[at..]].concat();
    bytes.resize(bytes.len().max(MIN_FRAME_BYTES), 0);
    bytes
}

fn whole(packet: &Packet) -> Vec<u8> {
    by_software(&packet.bytes(), Some(packet.partial()), None)
}

/// The frame's place for a checksum, four bytes on.
fn moved(checksum: Checksum, more: u16) -> Checksum {
    match checksum {
        Checksum::Partial { start, offset } => Checksum::Partial { start: start + more, offset },
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), failure_persistence: None, ..ProptestConfig::default() })]

    /// By the card where the outer tag is there, by software where it is not or the card is not to.
    #[test]
    fn frames_leave_as_software_would_have_made_them(
        asks in prop::collection::vec(
            (packets(), prop::option::weighted(0.8, any::<u16>()), prop::option::weighted(0.7, any::<u16>()), any::<bool>(), prop::option::weighted(0.2, 14usize..60)),
            1..24,
        ),
        outer in prop::sample::select(vec![0x88a8u16, 0x8100, 0x9100]),
        device in prop::sample::select(vec![I82599, X540, X550]),
        by_card: bool,
    ) {
        let card = Card::of(device);
        let offloads = if by_card { Offloads::all() } else { Offloads::all() - Offloads::TX_VLAN_INSERT - Offloads::TX_CHECKSUM };
        let mut started = card.start(&Config::new().double_vlan(outer).offloads(offloads));
        let (mut batch, mut all) = (Batch::new(asks.len()), Vec::new());
        for (packet, outer_tag, tag, sums, cut) in &asks {
            // Two inner tags would be one too many.
            let tag = tag.filter(|_| packet.tag_in_frame.is_none());
            let tags: Vec<_> = outer_tag.iter().map(|tag| (outer, *tag)).collect();
            let bytes = with(&tags, &packet.bytes());
            let checksum = sums.then(|| moved(packet.partial(), 4 * tags.len() as u16));
            let (first, rest) = bytes.split_at(cut.unwrap_or(bytes.len()).min(bytes.len()));
            let mut frame = started.pool.frame_from(first).unwrap();
            if !rest.is_empty() {
                frame.append(started.pool.frame_from(rest).unwrap());
            }
            frame.set_vlan(tag);
            if let Some(checksum) = checksum {
                frame.set_checksum(checksum);
            }
            batch.push(frame).unwrap();
            let filled = by_software(&bytes, checksum, None);
            let place = packet.l4_at() + packet.sum_offset() + 4 * tags.len() + if tag.is_some() { 4 } else { 0 };
            all.push((with_inner(&filled[..bytes.len()], outer, tag), place));
        }
        prop_assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        let sent = card.sent();
        card.assert_no_violations();
        prop_assert_eq!(sent.len(), all.len());
        for ((sent, (mut wanted, place)), (packet, ..)) in sent.into_iter().zip(all).zip(&asks) {
            // What is short is padded before the card puts a tag in, or behind that.
            let may_differ = if wanted.len() <= 64 { 4 } else { 0 };
            prop_assert!(sent.len().abs_diff(wanted.len()) <= may_differ);
            wanted.resize(sent.len(), 0);
            if packet.is_tcp() {
                prop_assert_eq!(normal(sent, place), normal(wanted, place));
            } else {
                prop_assert_eq!(sent, wanted);
            }
        }
    }
}

#[test]
fn the_inner_tag_is_told_and_the_outer_one_stays() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config());
        assert!(started.control.info().used_caps.contains(Caps::DOUBLE_VLAN));
        let bytes = whole(&Packet::new(TCP, false, 200));
        // Alone and in blocks.
        let tags: Vec<_> = (0..40).map(|k| (k % 3 != 0).then_some(0x6000 + k)).collect();
        for tag in &tags {
            card.send(&with_inner(&with(&[(OUTER, 5)], &bytes), OUTER, *tag));
        }
        let mut batch = Batch::new(64);
        while started.rx[0].poll(&mut batch, 64) > 0 {}
        assert_eq!(batch.frames().iter().map(Frame::vlan).collect::<Vec<_>>(), tags);
        let stays = with(&[(OUTER, 5)], &bytes);
        assert!(batch.frames().iter().all(|frame| frame.data() == stays && frame.checksum() == Checksum::Good));
        // Sent on, each has its tag where it was.
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        let back: Vec<_> = tags.iter().map(|tag| with_inner(&stays, OUTER, *tag)).collect();
        assert_eq!(card.sent(), back);
        card.assert_no_violations();
    }
}

#[test]
fn a_frame_without_its_outer_tag_comes_up_as_bytes() {
    let card = Card::new();
    let mut started = card.start(&config());
    let bytes = whole(&Packet::new(UDP, true, 100));
    for bytes in [bytes.clone(), with(&[(0x8100, 7)], &bytes), with(&[(0x8100, 7), (OUTER, 5)], &bytes)] {
        card.send(&bytes);
        let mut batch = Batch::new(1);
        assert_eq!(started.rx[0].poll(&mut batch, 1), 1);
        let frame = &batch.frames()[0];
        assert_eq!((frame.data(), frame.vlan(), frame.checksum()), (&bytes[..], None, Checksum::Unknown));
    }
    card.assert_no_violations();
}

#[test]
fn filters_and_rules_look_at_the_inner_tag() {
    let card = Card::new();
    let config = config().rx_queues(2).vlan_filter(&[7]).flow_table(FlowTable::Exact(FlowRoom::default()));
    let mut started = card.start(&config);
    let packet = Packet::new(UDP, false, 100);
    started.control.add_rule(&Rule::to_queue(1).ipv4().udp().vlan(7)).unwrap();
    for (outer, inner, wanted) in [(5, 7, Some(1)), (7, 5, None), (7, 7, Some(1))] {
        card.send(&with(&[(OUTER, outer), (0x8100, inner)], &whole(&packet)));
        let mut batch = Batch::new(4);
        let came: Vec<_> = (0..2).filter(|&queue| started.rx[queue].poll(&mut batch, 4) == 1).collect();
        assert_eq!(came.first().copied(), wanted, "outer {outer}, inner {inner}");
    }
    card.assert_no_violations();
}

/// Segments of the bytes with this tag behind the outer one.
fn cut_by_software(frame: &Frame, tag: Option<u16>) -> Vec<Vec<u8>> {
    let (domain, _) = driver_core::testing::domain();
    let pool = BufPool::new(&domain, PoolConfig::new(1024)).unwrap();
    frame.cut(&pool).unwrap().iter().map(|segment| with_inner(&bytes_of(segment), OUTER, tag)).collect()
}

#[test]
fn what_is_cut_keeps_both_tags() {
    for (device, tag) in [I82599, X540, X550].into_iter().flat_map(|device| [(device, None), (device, Some(7))]) {
        for packet in [Packet::new(TCP, false, 9000), Packet::new(TCP, true, 9000)] {
            let card = Card::of(device);
            let mut started = card.start(&config().pool(card.pool(PoolConfig::new(2048).data_bytes(16 * 1024))));
            let mut frame = started.pool.frame_from(&with(&[(OUTER, 5)], &packet.bytes())).unwrap();
            let mut cut = packet.cut(1400);
            cut.header_bytes += 4;
            frame.set_segmentation(Some(cut));
            let wanted = cut_by_software(&frame, tag);
            frame.set_vlan(tag);
            let mut batch = Batch::new(1);
            batch.push(frame).unwrap();
            assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
            assert_eq!(card.sent(), wanted);
            card.assert_no_violations();
        }
    }
}

/// Their words are the same, and their bytes are not.
#[test]
fn frames_that_ask_for_the_same_are_each_looked_at() {
    let card = Card::new();
    let mut started = card.start(&config());
    for rounds in 0..4 {
        let (mut batch, mut wanted) = (Batch::new(64), Vec::new());
        for k in 0..64u8 {
            let bytes = if (k + rounds) % 5 == 0 { frame(MAC, 104, k) } else { with(&[(OUTER, 5)], &frame(MAC, 100, k)) };
            let mut asking = started.pool.frame_from(&bytes).unwrap();
            asking.set_vlan(Some(7));
            batch.push(asking).unwrap();
            wanted.push(with_inner(&bytes, OUTER, Some(7)));
        }
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        assert_eq!(card.sent(), wanted);
    }
    card.assert_no_violations();
}

/// Behind an outer tag alone the card knows where headers are.
#[test]
fn what_has_no_outer_tag_is_cut_by_software() {
    let card = Card::new();
    let mut started = card.start(&config().pool(card.pool(PoolConfig::new(2048).data_bytes(16 * 1024))));
    let packet = Packet::new(TCP, false, 9000);
    let mut frame = started.pool.frame_from(&packet.bytes()).unwrap();
    frame.set_segmentation(Some(packet.cut(1400)));
    let mut batch = Batch::new(1);
    batch.push(frame).unwrap();
    let wanted = cut_by_software(&batch.frames()[0], None);
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), wanted);
    started.tx.clear();
    let accounts = started.control.accounts();
    assert_eq!((accounts.tx_taken, accounts.tx_cut), (1, 6));
    card.assert_no_violations();
}

/// Both tags come on top of the MTU, and no payload in place of one that is not there.
#[test]
fn frames_of_the_mtu_have_both_tags() {
    for mtu in [1500, 2000, 9000] {
        let card = Card::new();
        let mut started = card.start(&config().mtu(mtu));
        let full = frame(MAC, mtu as usize + 14, 1);
        let tagged = with(&[(OUTER, 5), (0x8100, 7)], &full);
        card.send(&tagged);
        let mut batch = Batch::new(4);
        assert_eq!(started.rx[0].poll(&mut batch, 4), 1);
        assert_eq!((bytes_of(&batch.frames()[0]), batch.frames()[0].vlan()), (with(&[(OUTER, 5)], &full), Some(7)));
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        assert_eq!(card.sent(), std::slice::from_ref(&tagged));
        for (bytes, tag, len_bytes, max_bytes) in [
            (frame(MAC, mtu as usize + 15, 1), None, mtu + 15, mtu + 14),
            (with(&[(OUTER, 5)], &frame(MAC, mtu as usize + 15, 1)), None, mtu + 19, mtu + 18),
            (with(&[(OUTER, 5)], &frame(MAC, mtu as usize + 15, 1)), Some(7), mtu + 19, mtu + 18),
            (tagged.clone(), Some(9), mtu + 26, mtu + 22),
        ] {
            let mut pieces = bytes.chunks(2000);
            let mut asking = started.pool.frame_from(pieces.next().unwrap()).unwrap();
            pieces.for_each(|piece| asking.append(started.pool.frame_from(piece).unwrap()));
            asking.set_vlan(tag);
            batch.push(asking).unwrap();
            let why = Refusal::TooLong { len_bytes: len_bytes as usize, max_bytes: max_bytes as usize };
            assert_eq!(started.tx[0].submit(&mut batch), TxState::Refused(why));
            batch.clear();
        }
        card.assert_no_violations();
    }
}

#[test]
fn an_ethertype_that_names_no_tag_is_refused() {
    for asked in [0, 0x05ff, 0x0800, 0x0806, 0x86dd] {
        let (error, _) = refused(Card::new().open().unwrap().start(&Config::new().double_vlan(asked)));
        assert!(matches!(error.kind(), ErrorKind::Config(found) if *found == ConfigError::OuterVlan { asked }), "{error}");
    }
    let (error, _) = refused(Card::new().open().unwrap().start(&Config::new().double_vlan(0x0800)));
    assert!(error.to_string().contains("an outer VLAN tag of EtherType 0x0800 asked for, which names no tag: take 0x88a8"), "{error}");
}

/// The checksum of what was put together is right, whoever looks.
#[test]
fn software_verifies_behind_two_tags() {
    let pool = crate::packets::pool();
    let bytes = with(&[(0x9100, 5), (0x8100, 7)], &whole(&Packet::new(TCP, true, 33)));
    assert_eq!(verify_transport(&pool.frame_from(&bytes).unwrap()), Ok(Some(true)));
}
