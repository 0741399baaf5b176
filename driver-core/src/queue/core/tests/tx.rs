//! Transmit over a scripted kernel.

use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::tx_script::{CAPACITY, FAULT, MTU, Rig, default_gate, rig};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::{Checksum, Segmentation, SegmentationKind};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ether::FrameLimits;
use crate::offload::{OffloadError, SegmentationError, Work};
use crate::queue::contract::{TxQueue, TxState};
use crate::queue::gate::GateConfig;
use crate::queue::refusal::Refusal;
use crate::ring::fault::QueueFault;
use crate::testing::{cases, domain};

/// What a frame is like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain(usize),
    Scattered {
        bytes: usize,
        segments: usize,
    },
    /// With an empty segment at its end.
    Open(usize),
    Foreign(usize),
    /// To be cut.
    Long,
    Tagged(usize),
    /// Wants a tag, and lies as `Plain`, in pieces, or in memory of another domain.
    ToTag(usize, Lies),
    /// Wants a checksum, or one and a tag.
    ToSum {
        bytes: usize,
        start: u16,
        offset: u16,
        tag: bool,
        lies: Lies,
    },
}

/// Where the bytes of a frame are.
#[derive(Debug, Clone, Copy)]
enum Lies {
    Whole,
    InPieces(usize),
    Abroad,
    /// Without headroom.
    Tight,
}

impl Lies {
    fn kind(self, bytes: usize) -> Kind {
        match self {
            Self::Whole | Self::Tight => Kind::Plain(bytes),
            Self::InPieces(segments) => Kind::Scattered { bytes, segments },
            Self::Abroad => Kind::Foreign(bytes),
        }
    }
}

/// The tag that frames of these tests ask for.
const TAG: u16 = 0x2abc;

impl Kind {
    fn frame(self, id: u16, pool: &BufPool, foreign: &BufPool) -> Frame {
        let bytes = |len: usize| {
            let mut bytes: Vec<u8> = (0..len).map(|k| (k as u8) | 1).collect();
            bytes.iter_mut().zip(id.to_le_bytes()).for_each(|(byte, id)| *byte = id);
            bytes
        };
        match self {
            Self::Plain(len) => pool.frame_from(&bytes(len)).unwrap(),
            Self::Foreign(len) => foreign.frame_from(&bytes(len)).unwrap(),
            Self::Tagged(len) => {
                let mut bytes = bytes(len);
                bytes[12..14].copy_from_slice(&[0x81, 0]);
                pool.frame_from(&bytes).unwrap()
            }
            Self::Long => {
                let mut frame = pool.frame_from(&bytes(80)).unwrap();
                frame.set_segmentation(Some(Segmentation { kind: SegmentationKind::Tcp4, mss_bytes: 20, header_bytes: 54 }));
                frame
            }
            Self::ToTag(len, lies) => {
                let mut frame = lies.kind(len).frame(id, pool, foreign);
                if matches!(lies, Lies::Tight) {
                    frame.push(frame.headroom()).unwrap();
                    frame.trim(len).unwrap();
                    frame.data_mut().copy_from_slice(&bytes(len));
                }
                frame.set_vlan(Some(TAG));
                frame
            }
            Self::ToSum { bytes, start, offset, tag, lies } => {
                let mut frame = Self::ToTag(bytes, lies).frame(id, pool, foreign);
                frame.set_vlan(tag.then_some(TAG));
                frame.set_checksum(Checksum::Partial { start, offset });
                frame
            }
            Self::Open(len) => {
                let mut frame = pool.frame_from(&bytes(len)).unwrap();
                frame.append(pool.take().unwrap());
                frame
            }
            Self::Scattered { bytes: len, segments } => {
                let bytes = bytes(len);
                let mut parts = bytes.chunks(len.div_ceil(segments)).map(|part| pool.frame_from(part).unwrap());
                let first = parts.next().unwrap();
                parts.fold(first, |mut frame, part| {
                    frame.append(part);
                    frame
                })
            }
        }
    }
}

/// What goes out of a frame, padding aside, where the device does nothing for it: as RFC 1071 and IEEE 802.1Q tell it.
fn sent_of(frame: &Frame) -> Vec<u8> {
    let mut bytes: Vec<u8> = frame.segments().flatten().copied().collect();
    if let Checksum::Partial { start, offset } = frame.checksum()
        && let Some(place) =
            bytes.get(usize::from(start) + usize::from(offset)..).and_then(|rest| (rest.len() >= 2).then(|| bytes.len() - rest.len()))
    {
        let covered = bytes[start.into()..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
        let sum = covered.fold(0, |sum, word| (sum + word) % 0xffff);
        bytes[place..place + 2].copy_from_slice(&(0xffff - sum as u16).to_be_bytes());
    }
    if let Some(tag) = frame.vlan().filter(|_| bytes.len() >= 12) {
        bytes.splice(12..12, [0x81, 0x00, (tag >> 8) as u8, tag as u8]);
    }
    bytes
}

/// Why the contract lets a queue refuse a frame for good, whose device does nothing for it.
fn why_refused(frame: &Frame) -> Option<Refusal> {
    let (len_bytes, longest) = (frame.len(), FrameLimits::of(MTU).longest(frame.has_vlan_header()));
    let segments = frame.segments().filter(|segment| !segment.is_empty()).count();
    let ends_empty = len_bytes < 60 && frame.segments().last().unwrap().is_empty();
    match len_bytes {
        _ if frame.segmentation().is_some() => Some(Refusal::Segmentation(SegmentationError::Headers(SegmentationKind::Tcp4))),
        0..14 => Some(Refusal::TooShort { len_bytes }),
        _ if len_bytes > longest => Some(Refusal::TooLong { len_bytes, max_bytes: longest }),
        _ if segments + usize::from(ends_empty) > 6 => Some(Refusal::TooManySegments { segments: segments + usize::from(ends_empty), max: 6 }),
        _ => match frame.checksum() {
            Checksum::Partial { start, offset } if usize::from(start) + usize::from(offset) + 2 > len_bytes => {
                Some(Refusal::Checksum(OffloadError::Place { start, offset, len_bytes }))
            }
            _ if frame.vlan().is_some() && len_bytes + 4 > MTU as usize + 18 => {
                Some(Refusal::TooLong { len_bytes: len_bytes + 4, max_bytes: MTU as usize + 18 })
            }
            _ => None,
        },
    }
}

#[derive(Debug, Clone)]
enum Step {
    Submit(Vec<Kind>),
    Sent(usize),
    Reclaim,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        12 => (60usize..=300).prop_map(Kind::Plain),
        2 => (0usize..330).prop_map(Kind::Plain),
        2 => (2usize..9, 14usize..200).prop_map(|(segments, bytes)| Kind::Scattered { bytes, segments }),
        1 => (14usize..80).prop_map(Kind::Open),
        1 => (14usize..300).prop_map(Kind::Foreign),
        1 => (300usize..330).prop_map(Kind::Tagged),
        1 => Just(Kind::Long),
        2 => (14usize..320, lies()).prop_map(|(bytes, lies)| Kind::ToTag(bytes, lies)),
        2 => (14usize..320, 0u16..250, 0u16..40, any::<bool>(), lies()).prop_map(|(bytes, start, offset, tag, lies)| Kind::ToSum {
            bytes, start, offset, tag, lies
        }),
    ]
}

fn lies() -> impl Strategy<Value = Lies> {
    prop_oneof![3 => Just(Lies::Whole), 2 => (2usize..6).prop_map(Lies::InPieces), 1 => Just(Lies::Abroad), 1 => Just(Lies::Tight)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(kind(), 0..20).prop_map(Step::Submit),
        2 => kind().prop_map(|one| Step::Submit(vec![one])),
        4 => (0usize..10).prop_map(Step::Sent),
        2 => Just(Step::Reclaim),
    ]
}

fn gate() -> impl Strategy<Value = GateConfig> {
    (0u32..7, 1u32..8, proptest::option::weighted(0.3, 1u64..2000)).prop_map(|(stop_below, more, byte_limit)| GateConfig {
        stop_below,
        wake_at: stop_below + more,
        byte_limit,
    })
}

/// Submits what is in the batch and compares all that can be seen with what the contract says. Frames that are refused are dropped.
fn submit<const COUNTS: bool>(rig: &mut Rig<COUNTS>, batch: &mut Batch, refused: &mut usize) -> Result<(), TestCaseError> {
    loop {
        let bytes = |batch: &Batch| batch.frames().iter().map(|frame| frame.segments().flatten().copied().collect()).collect::<Vec<Vec<u8>>>();
        let (before, queued) = (bytes(batch), rig.script.state().queued.len());
        let wanted: Vec<_> = batch.frames().iter().map(sent_of).collect();
        let was_stopped = rig.is_stopped();
        let state = rig.tx.submit(batch);
        let after = bytes(batch);
        let (taken, pending) = (before.len() - after.len(), rig.tx.pending());
        let script = rig.script.state();
        prop_assert_eq!(script.unpublished, 0);
        prop_assert_eq!(script.queued.len() - queued, taken);
        for (sent, wanted) in script.queued[queued..].iter().zip(&wanted) {
            prop_assert!(sent.starts_with(wanted) && sent[wanted.len()..].iter().all(|&zero| zero == 0), "its bytes, and zeros");
            prop_assert_eq!(sent.len(), wanted.len().max(60));
        }
        // The frame at the front may have been padded, completed or copied before there was no room for it.
        prop_assert!(after.iter().skip(1).eq(before.iter().skip(taken + 1)), "what was not taken stays, in order");
        prop_assert_eq!(pending as u32, CAPACITY - script.free());
        drop(script);
        prop_assert_eq!(rig.woken(), rig.tx.counters().wakes, "one call for each change");
        match state {
            TxState::Running => prop_assert!(batch.is_empty() && !rig.is_stopped()),
            TxState::Stopped => prop_assert!(rig.is_stopped() && (taken > 0 || was_stopped || !batch.is_empty())),
            TxState::Refused(why) => {
                let frame = batch.pop().unwrap();
                prop_assert_eq!(Some(why), why_refused(&frame));
                *refused += 1;
                continue;
            }
            TxState::Broken(fault) => prop_assert!(false, "nothing broke it: {}", fault),
        }
        return Ok(());
    }
}

fn is_sent_as_expected<const COUNTS: bool>(config: GateConfig, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut rig = rig::<COUNTS>(config);
    let foreign = BufPool::new(&domain().0, PoolConfig::new(256)).unwrap();
    let mut batch = Batch::new(64);
    let (mut made, mut refused, mut doorbells) = (0, 0, 0);
    for step in steps {
        match step {
            Step::Submit(kinds) => {
                for kind in kinds.into_iter().take(batch.room()) {
                    batch.push(kind.frame(made, &rig.pool, &foreign)).unwrap();
                    made += 1;
                }
                submit(&mut rig, &mut batch, &mut refused)?;
            }
            Step::Sent(count) => {
                let mut state = rig.script.state();
                state.sent = (state.sent + count).min(state.in_flight.len());
            }
            Step::Reclaim => {
                let pending = rig.tx.pending();
                prop_assert_eq!(rig.tx.reclaim(), pending - rig.tx.pending());
                prop_assert_eq!(rig.woken(), rig.tx.counters().wakes);
            }
        }
        let rings = rig.script.state().rings;
        prop_assert!(rings >= doorbells);
        doorbells = rings;
    }
    // Whatever stopped it, a device that sends what it was given sets it going again.
    for round in 0.. {
        rig.all_sent();
        submit(&mut rig, &mut batch, &mut refused)?;
        if batch.is_empty() {
            break;
        }
        prop_assert!(round < 200, "stuck with {} descriptors pending, {:?}", rig.tx.pending(), batch.frames()[0]);
    }
    let (counters, totals) = (rig.tx.counters(), rig.shared.tx_totals());
    let state = rig.script.state();
    prop_assert_eq!((counters.packets, counters.doorbells), (u64::from(made) - refused as u64, state.rings as u64));
    prop_assert_eq!(totals.bytes, if COUNTS { state.queued.iter().map(|frame| frame.len() as u64).sum() } else { 0 });
    drop(state);
    // Its end wakes who still waits, once.
    let waits = u64::from(rig.is_stopped());
    let woken = rig.woken();
    rig.shared.set_stopping();
    prop_assert_eq!((rig.tx.reclaim(), rig.tx.reclaim()), (0, 0));
    prop_assert_eq!(rig.tx.submit(&mut batch), TxState::Broken(QueueFault::Stopped));
    prop_assert_eq!(rig.woken(), woken + waits);
    rig.script.state().in_flight.clear();
    drop((rig.tx, batch));
    prop_assert_eq!((rig.pool.available(), foreign.available()), (rig.pool.len(), foreign.len()), "no buffer is lost");
    Ok(())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn frames_go_out_whole_in_order_and_counted(config in gate(), steps in proptest::collection::vec(step(), 1..40)) {
        is_sent_as_expected::<true>(config, steps)?;
    }

    #[test]
    fn frames_go_to_a_device_that_counts_whole_and_in_order(config in gate(), steps in proptest::collection::vec(step(), 1..40)) {
        is_sent_as_expected::<false>(config, steps)?;
    }
}

/// Fills a queue until it stops, with `more` frames left in the batch.
fn stopped<const COUNTS: bool>(more: u16) -> (Rig<COUNTS>, Batch) {
    let (mut rig, mut batch) = (rig::<COUNTS>(default_gate()), Batch::new(64));
    for id in 0..CAPACITY as u16 + more {
        batch.push(Kind::Plain(60).frame(id, &rig.pool, &rig.pool)).unwrap();
    }
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    assert_eq!((rig.woken(), rig.is_stopped(), batch.len()), (0, true, more.into()));
    (rig, batch)
}

#[test]
fn a_queue_that_breaks_wakes_who_waits_once_whoever_finds_out() {
    for reclaims_first in [false, true] {
        let (mut rig, mut batch) = stopped::<true>(3);
        rig.script.state().fault = Some(FAULT);
        if reclaims_first {
            assert_eq!(rig.tx.reclaim(), 0);
            assert_eq!(rig.woken(), 1);
        }
        assert_eq!(rig.tx.submit(&mut batch), TxState::Broken(FAULT));
        assert_eq!((rig.tx.reclaim(), rig.woken(), batch.len(), rig.tx.fault()), (0, 1, 3, Some(FAULT)));
        // Broken for good.
        rig.script.state().fault = None;
        rig.all_sent();
        assert_eq!((rig.tx.submit(&mut batch), rig.tx.reclaim(), rig.tx.pending()), (TxState::Broken(FAULT), 0, CAPACITY as usize));
    }
}

#[test]
fn a_fault_stays_when_the_device_is_stopped_later() {
    let (mut rig, mut batch) = stopped::<true>(3);
    rig.script.state().fault = Some(FAULT);
    let _state = rig.tx.submit(&mut batch);
    rig.shared.set_stopping();
    assert_eq!((rig.tx.submit(&mut batch), rig.tx.fault()), (TxState::Broken(FAULT), Some(FAULT)));
}

/// A waker that panics at each of its calls, and counts them.
fn panics(rig: &mut Rig<true>) {
    let count = rig.wakes.clone();
    rig.tx.on_wake(Some(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        panic!("the application's own");
    })));
}

#[test]
fn a_waker_that_panics_loses_no_buffer_and_is_not_called_again() {
    for from_submit in [false, true] {
        let (mut rig, mut batch) = stopped::<true>(3);
        panics(&mut rig);
        rig.all_sent();
        let gone = catch_unwind(AssertUnwindSafe(|| {
            if from_submit {
                let _ = rig.tx.submit(&mut batch);
            } else {
                rig.tx.reclaim();
            }
        }));
        assert!(gone.is_err());
        assert_eq!((rig.woken(), rig.tx.counters().wakes, rig.tx.pending()), (1, 1, 0));
        batch.release_spares();
        assert_eq!(rig.pool.len() - rig.pool.available(), 3, "the three frames in the batch are all that is out");
        // The queue works on.
        assert_eq!((rig.tx.reclaim(), rig.tx.submit(&mut batch), rig.woken()), (0, TxState::Running, 1));
        assert_eq!(rig.tx.pending(), 3);
    }
}

#[test]
fn a_waker_that_panics_at_the_end_is_not_called_again() {
    let (mut rig, mut batch) = stopped::<true>(3);
    panics(&mut rig);
    rig.shared.set_stopping();
    assert!(catch_unwind(AssertUnwindSafe(|| rig.tx.reclaim())).is_err());
    assert_eq!(rig.tx.submit(&mut batch), TxState::Broken(QueueFault::Stopped));
    assert_eq!((rig.tx.reclaim(), rig.woken()), (0, 1));
}

#[test]
fn a_copy_for_which_no_buffer_is_left_waits_at_the_front() {
    let mut rig = rig::<true>(default_gate());
    let foreign = BufPool::new(&domain().0, PoolConfig::new(4)).unwrap();
    let (mut batch, mut held) = (Batch::new(4), Batch::new(512));
    held.fill(&rig.pool, 512);
    held.release_spares();
    batch.push(Kind::Foreign(100).frame(1, &rig.pool, &foreign)).unwrap();
    assert_eq!(rig.tx.submit(&mut batch), TxState::Refused(Refusal::NoBounceBuffer));
    assert_eq!(batch.len(), 1);
    held.clear();
    held.release_spares();
    assert_eq!(rig.tx.submit(&mut batch), TxState::Running);
    assert_eq!((rig.tx.counters().bounced, foreign.available()), (1, 4), "the original is free again");
}

/// A device's own work is left to it, and software's goes with it: a sum's start moves behind the tag that software puts in.
#[test]
fn what_the_device_does_is_left_to_it() {
    let kind = Kind::ToSum { bytes: 100, start: 34, offset: 6, tag: true, lies: Lies::Whole };
    let full = Kind::ToTag(MTU as usize + 14, Lies::Whole);
    for does in [Work::CHECKSUM, Work::VLAN, Work::all()] {
        let (mut rig, mut batch) = (rig::<true>(default_gate()), Batch::new(4));
        rig.script.state().does = does;
        let frame = kind.frame(1, &rig.pool, &rig.pool);
        let (raw, mut wanted) = (frame.data().to_vec(), sent_of(&frame));
        if does.contains(Work::CHECKSUM) {
            wanted[44..46].copy_from_slice(&raw[40..42]);
        }
        if does.contains(Work::VLAN) {
            wanted.drain(12..16);
        }
        batch.push(frame).unwrap();
        batch.push(full.frame(2, &rig.pool, &rig.pool)).unwrap();
        assert_eq!(rig.tx.submit(&mut batch), TxState::Running);
        let state = rig.script.state();
        let (first, second) = (&state.in_flight[0].frame, &state.in_flight[1].frame);
        let start = if does.contains(Work::VLAN) { 34 } else { 38 };
        let asked = if does.contains(Work::CHECKSUM) { Checksum::Partial { start, offset: 6 } } else { Checksum::Good };
        assert_eq!((&state.queued[0], first.checksum(), first.vlan().is_some()), (&wanted, asked, does.contains(Work::VLAN)));
        assert_eq!(second.len() as u32, MTU + if does.contains(Work::VLAN) { 14 } else { 18 });
    }
}

/// Even where the device would fill it in: no device is told to write outside of a frame.
#[test]
fn a_checksum_outside_of_its_frame_is_refused_whoever_would_fill_it_in() {
    for does in [Work::empty(), Work::all()] {
        let (mut rig, mut batch) = (rig::<true>(default_gate()), Batch::new(4));
        rig.script.state().does = does;
        for (start, offset) in [(98, 1), (99, 0), (0, 99), (u16::MAX, u16::MAX)] {
            batch.push(Kind::ToSum { bytes: 100, start, offset, tag: true, lies: Lies::Whole }.frame(1, &rig.pool, &rig.pool)).unwrap();
            let before = batch.frames()[0].data().to_vec();
            let why = OffloadError::Place { start, offset, len_bytes: 100 };
            assert_eq!(rig.tx.submit(&mut batch), TxState::Refused(Refusal::Checksum(why)));
            assert_eq!((batch.frames()[0].data(), batch.frames()[0].vlan()), (&before[..], Some(TAG)));
            batch.clear();
        }
        batch.push(Kind::ToSum { bytes: 100, start: 98, offset: 0, tag: false, lies: Lies::Whole }.frame(1, &rig.pool, &rig.pool)).unwrap();
        assert_eq!(rig.tx.submit(&mut batch), TxState::Running);
    }
}

#[test]
fn one_frame_at_a_time_is_counted_like_any() {
    let mut rig = rig::<false>(default_gate());
    let mut batch = Batch::new(1);
    for id in 0..3 {
        batch.push(Kind::Plain(60).frame(id, &rig.pool, &rig.pool)).unwrap();
        assert_eq!(rig.tx.submit(&mut batch), TxState::Running);
    }
    let counters = rig.tx.counters();
    assert_eq!((counters.packets, counters.doorbells, rig.script.state().rings), (3, 3, 3));
}
