//! What an application asks for that makes no sense, or is more than the card does: refused by name, and nothing lost.

use crate::common::Card;
use crate::packets::{Packet, TCP, UDP, by_software, of};
use driver_core::buf::{Batch, BufPool, Checksum, Frame, PoolConfig, Segmentation, SegmentationKind};
use driver_core::device::Config;
use driver_core::offload::{OffloadError, SegmentationError};
use driver_core::queue::{Refusal, TxQueue, TxState};
use proptest::prelude::*;

fn whole(pool: &BufPool, packet: &Packet) -> Frame {
    packet.in_pieces(pool, 2048, 2048)
}

/// The frame is refused for this, and is as it was; those before and behind it are sent.
fn refused(card: &Card, make: impl FnOnce(&BufPool) -> Frame, why: Refusal) {
    let mut started = card.start(&Config::new().pool(card.pool(PoolConfig::new(2048).data_bytes(8192))));
    let (frame, other) = (make(&started.pool), Packet::new(TCP, false, 30));
    let (bytes, cut, checksum) = (of(&frame), frame.segmentation(), frame.checksum());
    let mut batch = Batch::new(32);
    let fill = |batch: &mut Batch, pool: &BufPool| {
        for _ in 0..10 {
            let mut frame = whole(pool, &other);
            frame.set_checksum(other.partial());
            batch.push(frame).unwrap();
        }
    };
    fill(&mut batch, &started.pool);
    batch.push(frame).unwrap();
    fill(&mut batch, &started.pool);
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Refused(why));
    let left = batch.pop().unwrap();
    assert_eq!((of(&left), left.segmentation(), left.checksum(), batch.len()), (bytes, cut, checksum, 10), "it is as it was: {why}");
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), vec![by_software(&other.bytes(), Some(other.partial()), None); 20]);
    card.assert_no_violations();
}

fn cut(packet: &Packet, change: impl FnOnce(&mut Segmentation)) -> impl FnOnce(&BufPool) -> Frame {
    let (packet, mut cut) = (packet.clone(), packet.cut(1000));
    change(&mut cut);
    move |pool| {
        let mut frame = packet.in_pieces(pool, 8192, 8192);
        frame.set_segmentation(Some(cut));
        frame
    }
}

#[test]
fn a_cut_that_makes_no_sense() {
    use Refusal::Segmentation as Why;
    use SegmentationError::{HeaderBytes, Headers, NoBytes, Payload};
    let tcp = Packet::new(TCP, false, 3000);
    let card = Card::new;
    refused(&card(), cut(&tcp, |cut| cut.mss_bytes = 0), Why(NoBytes));
    refused(&card(), cut(&tcp, |cut| cut.header_bytes = 50), Why(HeaderBytes { said: 50, found: 54 }));
    refused(&card(), cut(&tcp, |cut| cut.kind = SegmentationKind::Udp), Why(Headers(SegmentationKind::Udp)));
    refused(&card(), cut(&tcp, |cut| cut.kind = SegmentationKind::Tcp6), Why(Headers(SegmentationKind::Tcp6)));
    refused(&card(), cut(&Packet::new(UDP, true, 99), |cut| cut.kind = SegmentationKind::Tcp6), Why(Headers(SegmentationKind::Tcp6)));
    refused(&card(), cut(&Packet::new(TCP, false, 0), |_| ()), Why(Payload { bytes: 0, max: usize::MAX }));
    // The segments would be longer than the MTU lets through.
    refused(&card(), cut(&tcp, |cut| cut.mss_bytes = 1461), Refusal::TooLong { len_bytes: 1515, max_bytes: 1514 });
    let tagged = Packet { tag_in_frame: Some(5), ..tcp.clone() };
    refused(&card(), cut(&tagged, |cut| cut.mss_bytes = 1461), Refusal::TooLong { len_bytes: 1519, max_bytes: 1518 });
}

#[test]
fn more_than_the_card_cuts() {
    use Refusal::Segmentation as Why;
    let long = Packet::new(TCP, false, 1 << 18);
    refused(&Card::new(), cut(&long, |_| ()), Why(SegmentationError::Payload { bytes: 1 << 18, max: (1 << 18) - 1 }));
    let packet = Packet::new(TCP, false, 41 * 100);
    let forty_two = packet.clone();
    let make = move |pool: &BufPool| {
        let mut frame = forty_two.in_pieces(pool, 54, 100);
        frame.set_segmentation(Some(forty_two.cut(1000)));
        frame
    };
    refused(&Card::new(), make, Refusal::TooManySegments { segments: 42, max: 40 });
    // The headers end in the second buffer.
    let make = move |pool: &BufPool| {
        let mut frame = packet.in_pieces(pool, 53, 2000);
        frame.set_segmentation(Some(packet.cut(1000)));
        frame
    };
    refused(&Card::new(), make, Refusal::Segmentation(SegmentationError::Headers(SegmentationKind::Tcp4)));
}

#[test]
fn a_checksum_where_there_is_none() {
    let packet = Packet::new(TCP, false, 100);
    for (start, offset) in [(154, 0), (34, 119), (34, 1000), (1023, 63), (u16::MAX, u16::MAX)] {
        let packet = packet.clone();
        let make = move |pool: &BufPool| {
            let mut frame = whole(pool, &packet);
            frame.set_checksum(Checksum::Partial { start, offset });
            frame
        };
        refused(&Card::new(), make, Refusal::Checksum(OffloadError::Place { start, offset, len_bytes: 154 }));
    }
    let make = move |pool: &BufPool| {
        let mut frame = whole(pool, &packet);
        frame.set_segmentation(Some(packet.cut(50)));
        frame.set_checksum(Checksum::Partial { start: 34, offset: 6 });
        frame
    };
    refused(&Card::new(), make, Refusal::Segmentation(SegmentationError::Checksum));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(64), failure_persistence: None, ..ProptestConfig::default() })]

    /// A checksum anywhere is filled in, by the card or by software, or refused.
    #[test]
    fn a_checksum_anywhere_is_filled_in_or_refused(asks in prop::collection::vec((0u16..200, 0u16..70, 14usize..160), 1..30)) {
        let card = Card::new();
        let mut started = card.start(&Config::new());
        let mut wanted = Vec::new();
        for (start, offset, len) in asks {
            let bytes: Vec<u8> = (0..len).map(|k| (k * 11) as u8 | 1).collect();
            let mut frame = started.pool.frame_from(&bytes).unwrap();
            let checksum = Checksum::Partial { start, offset };
            frame.set_checksum(checksum);
            let mut batch = Batch::new(1);
            batch.push(frame).unwrap();
            if usize::from(start + offset) + 2 > len {
                prop_assert_eq!(started.tx[0].submit(&mut batch), TxState::Refused(Refusal::Checksum(OffloadError::Place { start, offset, len_bytes: len })));
            } else {
                prop_assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
                wanted.push((by_software(&bytes, Some(checksum), None), usize::from(start + offset)));
            }
        }
        let sent = card.sent();
        prop_assert_eq!(sent.len(), wanted.len());
        for (sent, (wanted, place)) in sent.into_iter().zip(wanted) {
            prop_assert_eq!(crate::packets::normal(sent, place), crate::packets::normal(wanted, place));
        }
        card.assert_no_violations();
    }
}
