//! Rings whose frames do not lie one behind the other, against a device that does what it is told, lies included.

use std::collections::HashMap;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::RX;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::LEN_SHIFT;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::host::dma::Iova;
use crate::ring::error::RingError;
use crate::ring::rules::RxRules;
use crate::ring::rx::{LargeRules, RxRing, RxTakeError, SplitRules, WholeError, WholeLimits};
use crate::testing::{DescEnd, device_ptr, domain};

const NEXT_SHIFT: u32 = 4;
const COUNT_SHIFT: u32 = 17;
const LIMITS: WholeLimits = WholeLimits { max_bytes: 65_553, max_segments: 16 };
const LARGE: LargeRules = LargeRules { next_shift: NEXT_SHIFT, held: 24 };
const FOUND: u64 = 1 << 31;
const TOO_LONG: u64 = 1 << 23;
const SPLIT: SplitRules = SplitRules { found: FOUND, too_long: TOO_LONG, max_header_bytes: 256 };
/// Headers' lengths lie where other rings have their number: the ring drops them.
const SPLIT_RX: RxRules = RX.with_dropped(0x3ff << 21);

fn pool(buffers: u32) -> BufPool {
    BufPool::new(&domain().0, PoolConfig::new(buffers)).unwrap()
}

fn large(pool: &BufPool) -> (RxRing, DescEnd) {
    let mut ring = RxRing::new(pool, 16, 0, RX).unwrap();
    ring.coalesces(LARGE).unwrap();
    // SAFETY: the ring of each test outlives its device.
    let end = unsafe { DescEnd::new(ring.iova(), ring.len()) };
    (ring, end)
}

/// Fills descriptor `slot` with `bytes`, in which `starts` segments begin, and goes on in `next`, or ends the frame.
fn fill(end: &mut DescEnd, slot: u32, bytes: &[u8], starts: u64, next: Option<u16>) {
    // SAFETY: the descriptor holds the address of a buffer that the ring lent.
    unsafe { end.fill(slot, bytes) };
    let goes_on = next.map_or(RX.end, |next| u64::from(next) << NEXT_SHIFT);
    end.write(slot, [(starts + 1) << COUNT_SHIFT, (bytes.len() as u64) << LEN_SHIFT | RX.done | goes_on]);
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

fn take(ring: &mut RxRing, batch: &mut Batch) -> Result<Option<Frame>, WholeError> {
    ring.take_whole(batch, 1 << 29, 0, LIMITS)
}

#[test]
fn two_frames_between_each_other_come_up_apart_and_in_the_order_of_their_ends() {
    let pool = pool(64);
    let (mut ring, mut end) = large(&pool);
    let mut batch = Batch::new(8);
    assert_eq!(ring.take_blocks(&mut batch, 8), 0);
    fill(&mut end, 0, b"one ", 2, Some(2));
    fill(&mut end, 1, b"two ", 1, Some(3));
    fill(&mut end, 2, b"goes on", 3, None);
    fill(&mut end, 3, b"as well", 1, None);
    fill(&mut end, 4, b"alone", 1, None);
    assert_eq!(ring.take(&mut batch, 0, 0).unwrap_err(), RxTakeError::NotDone);
    assert!(ring.is_ready() && !ring.has_chain() && ring.is_apart());
    assert!(!ring.take_plain(&mut batch) && ring.take_blocks(&mut batch, 8) == 0, "nothing is ordinary");
    assert!(take(&mut ring, &mut batch).unwrap().is_none() && take(&mut ring, &mut batch).unwrap().is_none());
    assert_eq!(ring.ready_frames(), 8, "segments of what is begun, and what lies there");
    let frames: Vec<_> = (0..3).map(|_| take(&mut ring, &mut batch).unwrap().unwrap()).collect();
    assert_eq!(frames.iter().map(bytes_of).collect::<Vec<_>>(), [b"one goes on".to_vec(), b"two as well".to_vec(), b"alone".to_vec()]);
    assert_eq!(frames.iter().map(Frame::coalesced).collect::<Vec<_>>(), [Some(5), Some(2), None]);
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::Take(RxTakeError::NotDone));
    assert_eq!((ring.next(), ring.tail(), ring.ready_frames()), (5, 4, 0));
    drop((frames, batch));
    assert_eq!(pool.available(), 48);
    // SAFETY: the device of this test writes no more.
    unsafe { ring.release() };
    assert_eq!(pool.available(), 64);
}

#[test]
fn a_device_that_lies_about_where_a_frame_goes_on_is_found_out() {
    type Case<'a> = (&'a str, &'a [(u32, Option<u16>)], WholeError);
    let cases: [Case<'_>; 4] = [
        ("itself", &[(0, Some(0))], WholeError::Next { descriptor: 0 }),
        ("beyond the ring", &[(0, Some(16))], WholeError::Next { descriptor: 16 }),
        ("where another goes on", &[(0, Some(5)), (1, Some(5))], WholeError::Next { descriptor: 5 }),
        ("far beyond the ring", &[(0, Some(0xffff))], WholeError::Next { descriptor: 0xffff }),
    ];
    for (what, descriptors, wanted) in cases {
        let pool = pool(64);
        let (mut ring, mut end) = large(&pool);
        let mut batch = Batch::new(8);
        for &(slot, next) in descriptors {
            fill(&mut end, slot, b"piece", 1, next);
        }
        let taken: Vec<_> = descriptors.iter().map(|_| take(&mut ring, &mut batch)).collect();
        assert_eq!(taken.last().unwrap().as_ref().unwrap_err(), &wanted, "{what}");
        assert!(format!("{wanted}").contains("goes on"));
        drop((taken, batch));
        // SAFETY: the device of this test writes no more.
        unsafe { ring.release() };
        assert_eq!(pool.available(), 64, "{what}");
    }
}

#[test]
fn a_frame_that_never_ends_is_too_long_and_so_are_too_many_that_are_begun() {
    // Of 2,048 bytes each: 16 buffers are allowed.
    let pool = pool(64);
    let (mut ring, mut end) = large(&pool);
    let mut batch = Batch::new(8);
    for step in 0..16 {
        fill(&mut end, step, &[7; 2048], 1, Some((step as u16 + 1) % 16));
        assert!(take(&mut ring, &mut batch).unwrap().is_none());
    }
    fill(&mut end, 0, &[7; 2048], 1, Some(1));
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::TooLong);
    assert_eq!(ring.ready_frames(), 0, "it has no end");
    drop(batch);
    // SAFETY: the device of this test writes no more.
    unsafe { ring.release() };
    assert_eq!(pool.available(), 64);

    // Two at a time, with never an end: 24 buffers may be held.
    let pool = self::pool(64);
    let (mut ring, mut end) = large(&pool);
    let mut batch = Batch::new(8);
    for step in 0..24u32 {
        fill(&mut end, step % 16, b"piece", 1, Some((step as u16 + 2) % 16));
        assert!(take(&mut ring, &mut batch).unwrap().is_none(), "{step}");
    }
    fill(&mut end, 8, b"piece", 1, Some(10));
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::TooLong);
    drop(batch);
    // SAFETY: the device of this test writes no more.
    unsafe { ring.rewind() };
    assert_eq!(pool.available(), 48, "what was begun went back");
    // SAFETY: the device of this test writes no more.
    unsafe { ring.release() };
}

#[test]
fn a_frame_without_an_empty_buffer_waits_and_one_that_is_bad_is_dropped_whole() {
    let pool = pool(48);
    let (mut ring, mut end) = large(&pool);
    let mut batch = Batch::new(8);
    let mut kept: Vec<_> = (0..32).map(|_| pool.frame_from(b"kept").unwrap()).collect();
    fill(&mut end, 0, b"piece", 1, Some(1));
    fill(&mut end, 1, b"end", 1, None);
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::Take(RxTakeError::NoBuffer));
    kept.truncate(30);
    assert!(take(&mut ring, &mut batch).unwrap().is_none());
    let frame = take(&mut ring, &mut batch).unwrap().unwrap();
    assert_eq!(bytes_of(&frame), b"pieceend");
    drop((frame, kept));
    fill(&mut end, 2, b"piece", 1, Some(3));
    assert!(take(&mut ring, &mut batch).unwrap().is_none());
    end.write(3, [0, 3 << LEN_SHIFT | RX.done | RX.end | 1 << 29]);
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::Take(RxTakeError::Bad));
    assert_eq!((ring.next(), ring.ready_frames()), (4, 0));
    end.write(4, [0, 2049 << LEN_SHIFT | RX.done | RX.end]);
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::Take(RxTakeError::Length { len_bytes: 2049 }));
    drop(batch);
    // SAFETY: the device of this test writes no more.
    unsafe { ring.release() };
    assert_eq!(pool.available(), 48);
}

#[test]
fn a_ring_without_buffers_beside_its_own_stays_as_it_was() {
    let pool = pool(24);
    let mut ring = RxRing::new(&pool, 16, 0, SPLIT_RX).unwrap();
    assert_eq!(ring.coalesces(LARGE).unwrap_err(), RingError::PoolTooSmall { entries: 16, needed: 40, free: 24 });
    assert_eq!(ring.splits_headers(SPLIT).unwrap_err(), RingError::PoolTooSmall { entries: 16, needed: 33, free: 24 });
    assert!(!ring.is_apart());
    // SAFETY: no device knows of it.
    unsafe { ring.release() };
    assert_eq!(pool.available(), 24);
}

/// The second address of a descriptor, which is the header's.
fn put_header(end: &mut DescEnd, slot: u32, bytes: &[u8]) {
    let [_, at] = end.read(slot);
    assert!(at != 0 && at & 1 == 0, "a header's buffer is there, and its address is no done bit");
    // SAFETY: the ring lent the buffer.
    unsafe { device_ptr(Iova(at)).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

#[test]
fn headers_come_in_buffers_of_their_own() {
    let pool = pool(128);
    let mut ring = RxRing::new(&pool, 16, 0, SPLIT_RX).unwrap();
    ring.splits_headers(SPLIT).unwrap();
    // SAFETY: the ring outlives its device.
    let mut end = unsafe { DescEnd::new(ring.iova(), ring.len()) };
    let mut batch = Batch::new(8);
    // Headers and payload; headers alone; no headers found; too long ones; a payload of two buffers.
    type Piece<'a> = (&'a [u8], u64, u64, &'a [u8], bool);
    let pieces: [Piece<'_>; 6] = [
        (b"header", FOUND, 0, b"payload", true),
        (b"header", FOUND, 0, b"", true),
        (b"", 0, 0, b"all in one", true),
        (b"", FOUND | 300 << 21, TOO_LONG, b"header and payload", true),
        (b"head", FOUND, 0, b"first", false),
        (b"", FOUND | 3 << 21, 0, b"second", true),
    ];
    for (slot, (head, low, high, body, ends)) in (0..).zip(pieces) {
        if !head.is_empty() {
            put_header(&mut end, slot, head);
        }
        // SAFETY: the descriptor holds the address of a buffer that the ring lent.
        unsafe { end.fill(slot, body) };
        let ends = if ends { RX.end } else { 0 };
        end.write(slot, [low | (head.len() as u64) << 21, high | (body.len() as u64) << LEN_SHIFT | RX.done | ends]);
    }
    assert_eq!(ring.ready_frames(), 5);
    let mut frames = Vec::new();
    for _ in 0..6 {
        frames.extend(take(&mut ring, &mut batch).unwrap());
    }
    let seen: Vec<_> = frames.iter().map(|frame| (frame.split_header_bytes(), frame.segments().map(<[u8]>::to_vec).collect::<Vec<_>>())).collect();
    let wanted: [(Option<u16>, &[&[u8]]); 5] = [
        (Some(6), &[b"header", b"payload"]),
        (Some(6), &[b"header"]),
        (None, &[b"all in one"]),
        (None, &[b"header and payload"]),
        (Some(4), &[b"head", b"first", b"second"]),
    ];
    assert_eq!(seen, wanted.map(|(header, segments)| (header, segments.iter().map(|bytes| bytes.to_vec()).collect())));
    assert!((6..16).all(|slot| end.read(slot)[1] != 0) && (0..6).all(|slot| end.read(slot)[1] & 1 == 0), "lent again, with a header's buffer each");
    end.write(6, [FOUND | 257 << 21, RX.done | RX.end]);
    assert_eq!(take(&mut ring, &mut batch).unwrap_err(), WholeError::Take(RxTakeError::Length { len_bytes: 257 }));
    drop((frames, batch));
    assert_eq!(pool.available(), 96);
    // SAFETY: the device of this test writes no more.
    unsafe { ring.release() };
    assert_eq!(pool.available(), 128);
}

proptest! {
    #![proptest_config(crate::testing::cases())]

    /// Frames of random pieces, begun and continued in any order, against a map of what goes on where.
    #[test]
    fn frames_come_up_as_a_map_of_them_says(steps in prop::collection::vec((any::<bool>(), 0usize..4, 1usize..40, any::<u8>()), 1..200)) {
        let pool = self::pool(96);
        let (mut ring, mut end) = large(&pool);
        let mut batch = Batch::new(8);
        // What goes on in a descriptor.
        let mut open: HashMap<u32, Vec<Vec<u8>>> = HashMap::new();
        let mut held = 0;
        for (step, (ends, ahead, len, byte)) in steps.into_iter().enumerate() {
            let slot = step as u32 % 16;
            let mut pieces = open.remove(&slot).unwrap_or_default();
            let begun = pieces.len();
            let piece = vec![byte; len];
            let next = (slot + 1 + ahead as u32) % 16;
            let ends = ends || open.contains_key(&next) || begun == 15 || held == 24;
            fill(&mut end, slot, &piece, 1, (!ends).then_some(next as u16));
            pieces.push(piece);
            let taken = take(&mut ring, &mut batch).unwrap();
            if ends {
                let frame = taken.unwrap();
                prop_assert_eq!(bytes_of(&frame), pieces.concat());
                prop_assert_eq!(frame.coalesced(), (pieces.len() > 1).then_some(pieces.len() as u16));
                held -= begun;
            } else {
                prop_assert!(taken.is_none());
                held += 1;
                open.insert(next, pieces);
            }
            prop_assert_eq!(ring.ready_frames(), 0, "what has not ended is none");
        }
        drop(batch);
        // SAFETY: the device of this test writes no more.
        unsafe { ring.release() };
        prop_assert_eq!(pool.available(), 96);
    }
}
