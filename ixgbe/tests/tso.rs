//! Segmentation of TCP by the card: what leaves it is what software cuts.

use crate::common::{Card, I82599, Started, X540, X550};
use crate::packets::{Packet, TCP, cut_by_software};
use driver_core::buf::{Batch, Frame, PoolConfig};
use driver_core::device::{Caps, Config, NetDevice, Offloads};
use driver_core::host::RegSpace;
use driver_core::offload::Work;
use driver_core::queue::{Refusal, TxQueue, TxState};
use proptest::prelude::*;

/// Transmit tail of queue 0 (8.2.3.9.9).
const TDT0: u32 = 0x6018;

/// Sends the frame, and holds what leaves to what software makes of it.
fn sent_as_by_software(card: &Card, started: &mut Started, frame: Frame) -> usize {
    let wanted = cut_by_software(&frame);
    let mut batch = Batch::new(1);
    batch.push(frame).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    card.run_us(500);
    let sent = card.sent();
    card.assert_no_violations();
    assert_eq!(sent.len(), wanted.len());
    for (index, (sent, mut wanted)) in sent.iter().zip(wanted).enumerate() {
        // What is short is padded before the card puts the tag in, or behind that.
        wanted.resize(sent.len(), 0);
        assert_eq!(*sent, wanted, "segment {index}");
    }
    sent.len()
}

prop_compose! {
    fn to_cut()(
        is_ipv6: bool,
        options in 0usize..4,
        tcp_options in 0usize..11,
        tag_in_frame in prop::option::weighted(0.2, any::<u16>()),
        len in 1usize..20_000,
        seed: u8,
    ) -> Packet {
        let payload = (0..len).map(|k| (k * 3 + k / 256) as u8 ^ seed).collect();
        Packet { protocol: TCP, is_ipv6, options, tcp_options, tag_in_frame, payload }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_are_those_that_software_cuts(
        packet in to_cut(),
        mss in 60u16..1380,
        (more, each) in (0usize..600, 600usize..2048),
        tag in prop::option::weighted(0.4, any::<u16>()),
        asks_for_sum: bool,
        device in prop::sample::select(vec![I82599, X540, X550]),
    ) {
        let card = Card::of(device);
        let mut started = card.start(&Config::new());
        let mut frame = packet.in_pieces(&started.pool, packet.header_bytes() + more, each);
        frame.set_segmentation(Some(packet.cut(mss)));
        frame.set_vlan(tag);
        if asks_for_sum {
            frame.set_checksum(packet.partial());
        }
        prop_assert_eq!(sent_as_by_software(&card, &mut started, frame), packet.payload.len().div_ceil(mss.into()));
    }
}

/// 64 KiB in 40 buffers, and PAYLEN's 18 bits in buffers of 8 KiB.
#[test]
fn as_much_as_forty_descriptors_and_paylen_take() {
    for (buffer_bytes, payload) in [(2048, 79_000), (8192, (1 << 18) - 1)] {
        for is_ipv6 in [false, true] {
            let card = Card::new();
            let pool = card.pool(PoolConfig::new(2048).data_bytes(buffer_bytes));
            let mut started = card.start(&Config::new().pool(pool));
            let packet = Packet::new(TCP, is_ipv6, payload);
            let each = buffer_bytes as usize;
            let mut frame = packet.in_pieces(&started.pool, each, each);
            assert!(frame.segments().count() <= 40);
            frame.set_segmentation(Some(packet.cut(1400)));
            assert_eq!(sent_as_by_software(&card, &mut started, frame), payload.div_ceil(1400));
            assert!(started.control.info().used_caps.contains(Caps::TX_SEGMENTATION));
        }
    }
}

/// The context says where the headers are and how long segments are: the same for all of a connection.
#[test]
fn a_context_serves_as_long_as_headers_and_mss_stay() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    for (k, mss) in [1000, 1000, 1000, 700].into_iter().enumerate() {
        let packet = Packet::new(TCP, false, 1800 - k);
        let mut frame = packet.in_pieces(&started.pool, 2048, 2048);
        frame.set_segmentation(Some(packet.cut(mss)));
        sent_as_by_software(&card, &mut started, frame);
    }
    assert_eq!(card.registers().read32(TDT0), 4 + 2);
}

/// Frames before and behind it leave in order, whatever they ask for.
#[test]
fn a_frame_that_is_cut_goes_between_others() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let (packet, other) = (Packet::new(TCP, true, 3000), Packet::new(TCP, false, 50));
    let mut wanted = Vec::new();
    let mut batch = Batch::new(64);
    for k in 0..60 {
        let mut frame = if k % 7 == 3 { packet.in_pieces(&started.pool, 1000, 1000) } else { other.in_pieces(&started.pool, 2048, 2048) };
        if k % 7 == 3 {
            frame.set_segmentation(Some(packet.cut(1000)));
            wanted.extend(cut_by_software(&frame));
        } else {
            let sum = (k % 2 == 0).then(|| other.partial());
            if let Some(sum) = sum {
                frame.set_checksum(sum);
            }
            wanted.push(crate::packets::by_software(&other.bytes(), sum, None));
        }
        batch.push(frame).unwrap();
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    card.run_us(1000);
    assert_eq!(card.sent(), wanted);
    card.assert_no_violations();
}

/// What is not sent any more is given up as the frames that it would have been.
#[test]
fn what_was_to_be_cut_and_is_given_up_is_counted_as_many() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    card.faults(|faults| faults.hang_tx = true);
    let packet = Packet::new(TCP, false, 3000);
    let mut batch = Batch::new(2);
    for _ in 0..2 {
        let mut frame = packet.in_pieces(&started.pool, 2048, 2048);
        frame.set_segmentation(Some(packet.cut(1000)));
        batch.push(frame).unwrap();
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    let _ = started.control.stop();
    started.tx.clear();
    started.rx.clear();
    let accounts = started.control.accounts();
    assert_eq!((accounts.tx_taken, accounts.tx_cut, accounts.tx_sent, accounts.tx_lost), (2, 4, Some(0), 6));
    assert_eq!(accounts.check(), Ok(()));
}

#[test]
fn without_the_offload_software_cuts_unless_it_is_not_to() {
    let off = || Config::new().offloads(Offloads::all() - Offloads::TX_SEGMENTATION);
    let card = Card::new();
    let mut started = card.start(&off());
    let packet = Packet::new(TCP, true, 3000);
    let mut frame = packet.in_pieces(&started.pool, 2048, 2048);
    frame.set_segmentation(Some(packet.cut(1000)));
    frame.set_vlan(Some(5));
    let mut batch = Batch::new(1);
    let wanted = cut_by_software(&frame);
    batch.push(frame).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), wanted);
    drop(started);
    let mut started = card.start(&off().software(Caps::SOFTWARE - Caps::TX_SEGMENTATION));
    let packet = Packet::new(TCP, false, 3000);
    let mut frame = packet.in_pieces(&started.pool, 2048, 2048);
    frame.set_segmentation(Some(packet.cut(1000)));
    let mut batch = Batch::new(1);
    batch.push(frame).unwrap();
    let TxState::Refused(why) = started.tx[0].submit(&mut batch) else { panic!("it was taken") };
    assert_eq!(why, Refusal::SwitchedOff(Work::SEGMENTATION));
}
