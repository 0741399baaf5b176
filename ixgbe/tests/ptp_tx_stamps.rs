//! Stamps of sent frames: of those that ask, one at a time.

use crate::common::{Card, I82599, PEER, X540, X550, frame};
use crate::ptp::{answers, clock, config, now_ns, submit, sync, watched_us, xstat};
use driver_core::buf::{Batch, BufPool, Checksum, PoolConfig, Segmentation, SegmentationKind};
use driver_core::device::{SentStamp, Timestamps};
use driver_core::queue::{TxQueue, TxState};

const CARDS: [u16; 3] = [I82599, X540, X550];

fn lost(id: u32) -> SentStamp {
    SentStamp { id, at_ns: None }
}

#[test]
fn a_frame_that_asks_is_stamped() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp));
        let clock = clock(&started);
        clock.set(1_790_000_000_000_000_000).unwrap();
        for (id, sent) in [(7, sync()), (8, frame(PEER, 60, 1)), (9, frame(PEER, 1514, 2)), (u32::MAX, frame(PEER, 20, 3))] {
            submit(&mut started, &sent, None);
            let before = now_ns(&clock);
            submit(&mut started, &sent, Some(id));
            assert_eq!(answers(&clock), [], "it is not sent yet");
            card.run_us(20);
            let after = now_ns(&clock);
            let told = answers(&clock);
            let [SentStamp { id: of, at_ns: Some(at) }] = told[..] else { panic!("{device:#x}: {told:?}") };
            assert_eq!(of, id);
            assert!((before..=after).contains(&at), "{device:#x}: {at} is not in {before}..={after}");
        }
        assert_eq!(card.sent().len(), 8);
        card.assert_no_violations();
    }
}

/// The card has room for one stamp. Who asks meanwhile is told so, and the frame is sent.
#[test]
fn one_at_a_time() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp));
        let clock = clock(&started);
        for id in 1..=3 {
            submit(&mut started, &sync(), Some(id));
        }
        card.run_us(20);
        let told = answers(&clock);
        assert_eq!(told[..2], [lost(2), lost(3)], "{device:#x}");
        assert!(told[2].id == 1 && told[2].at_ns.is_some(), "{told:?}");
        // Nobody needs to fetch one for the next to be stamped.
        for id in 4..=6 {
            submit(&mut started, &sync(), Some(id));
            card.run_us(20);
        }
        let told = answers(&clock);
        assert!(told.iter().map(|stamp| stamp.id).eq([4, 5, 6]) && told.iter().all(|stamp| stamp.at_ns.is_some()), "{told:?}");
        assert_eq!((xstat(&mut started, "tx_hwtstamp_skipped"), xstat(&mut started, "tx_hwtstamp_timeouts")), (2, 0));
        assert_eq!(card.sent().len(), 6);
        card.assert_no_violations();
    }
}

/// In whatever way it goes to the card.
#[test]
fn frames_of_all_kinds() {
    let card = Card::new();
    let elsewhere = BufPool::new(&sim::Iommu::new().domain(), PoolConfig::new(64)).unwrap();
    let mut started = card.start(&config(Timestamps::Ptp));
    let clock = clock(&started);
    let mut batch = Batch::new(8);
    let mut chain = started.pool.frame_from(&frame(PEER, 100, 1)).unwrap();
    chain.append(started.pool.frame_from(&[9; 200]).unwrap());
    let mut tagged = started.pool.frame_from(&frame(PEER, 100, 1)).unwrap();
    tagged.set_vlan(Some(7));
    let mut summed = started.pool.frame_from(&crate::ptp::message(0, Some(319))).unwrap();
    summed.set_checksum(Checksum::Partial { start: 34, offset: 6 });
    let foreign = elsewhere.frame_from(&frame(PEER, 100, 1)).unwrap();
    for (id, mut frame) in (0..).zip([chain, tagged, summed, foreign]) {
        frame.ask_for_timestamp(Some(id));
        batch.push(frame).unwrap();
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        card.run_us(20);
        let told = answers(&clock);
        assert!(told.len() == 1 && told[0].id == id && told[0].at_ns.is_some(), "{told:?}");
    }
    assert_eq!(card.sent().iter().map(Vec::len).collect::<Vec<_>>(), [300, 104, 106, 100]);
    card.assert_no_violations();
}

/// Many frames have many times.
#[test]
fn a_frame_that_is_cut_has_none() {
    let card = Card::new();
    let mut started = card.start(&config(Timestamps::Ptp));
    let clock = clock(&started);
    let mut batch = Batch::new(1);
    let mut bytes = crate::ptp::message(0, Some(319));
    bytes.resize(2000, 5);
    let (ip_bytes, udp_bytes) = (bytes.len() - 14, bytes.len() - 34);
    bytes[16..18].copy_from_slice(&(ip_bytes as u16).to_be_bytes());
    bytes[38..40].copy_from_slice(&(udp_bytes as u16).to_be_bytes());
    let mut frame = started.pool.frame_from(&bytes).unwrap();
    frame.set_segmentation(Some(Segmentation { kind: SegmentationKind::Udp, mss_bytes: 1000, header_bytes: 42 }));
    frame.ask_for_timestamp(Some(3));
    batch.push(frame).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!((answers(&clock), card.sent().len()), (vec![lost(3)], 2));
    card.assert_no_violations();
}

/// It was sent, and no stamp came: after a second the next may ask.
#[test]
fn a_stamp_that_never_comes_makes_room() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp));
        let clock = clock(&started);
        card.faults(|faults| faults.tx_no_stamp = true);
        submit(&mut started, &sync(), Some(1));
        card.run_us(900_000);
        submit(&mut started, &sync(), Some(2));
        assert_eq!(answers(&clock), [lost(2)], "the first is waited for");
        card.run_us(200_000);
        assert_eq!(answers(&clock), [lost(1)], "{device:#x}");
        card.faults(|faults| faults.tx_no_stamp = false);
        submit(&mut started, &sync(), Some(3));
        card.run_us(20);
        let told = answers(&clock);
        assert!(told.len() == 1 && told[0].id == 3 && told[0].at_ns.is_some(), "{told:?}");
        assert_eq!((xstat(&mut started, "tx_hwtstamp_skipped"), xstat(&mut started, "tx_hwtstamp_timeouts")), (1, 1));
        assert_eq!(card.sent().len(), 3);
        card.assert_no_violations();
    }
}

/// Without a link a frame stays in its ring for as long as it takes, and is stamped when it goes. It must not be given up: its stamp would be taken for another's.
#[test]
fn a_frame_that_waits_for_the_link_is_waited_for() {
    let card = Card::new();
    let mut started = card.start(&config(Timestamps::Ptp));
    let clock = clock(&started);
    card.device.set_carrier(false);
    watched_us(&card, &mut started, 100_000);
    submit(&mut started, &sync(), Some(1));
    watched_us(&card, &mut started, 5_000_000);
    submit(&mut started, &sync(), Some(2));
    assert_eq!(answers(&clock), [lost(2)]);
    let before = now_ns(&clock);
    card.device.set_carrier(true);
    watched_us(&card, &mut started, 100_000);
    let told = answers(&clock);
    assert!(told.len() == 1 && told[0].id == 1 && told[0].at_ns.is_some_and(|at| at > before), "{told:?}, {before}");
    assert_eq!((xstat(&mut started, "tx_hwtstamp_timeouts"), card.sent().len()), (0, 2));
    card.assert_no_violations();
}

/// Who never fetches them is told of the last 64.
#[test]
fn answers_that_nobody_fetches_are_forgotten() {
    let card = Card::new();
    let mut started = card.start(&config(Timestamps::Ptp));
    for id in 0..100 {
        submit(&mut started, &sync(), Some(id));
        card.run_us(20);
    }
    let told = answers(&clock(&started));
    assert!(told.iter().map(|stamp| stamp.id).eq(36..100), "{told:?}");
    card.sent();
    card.assert_no_violations();
}
