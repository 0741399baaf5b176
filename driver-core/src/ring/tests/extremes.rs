//! Everything that safe code may ask of a ring, with the widest numbers there are, against a device that writes what it likes: nothing panics, no frame
//! leaves its buffer, and no buffer is lost or owned twice.

use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;

use super::{RX, TX};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::desc::DescRing;
use crate::ring::error::RingError;
use crate::ring::memory::RingMemory;
use crate::ring::rules::{RxRules, TxRules};
use crate::ring::rx::RxRing;
use crate::ring::split::{SplitQueue, SplitRx, SplitTx};
use crate::ring::tx::TxRing;
use crate::ring::words::DmaWords;
use crate::testing::{DescEnd, SplitEnd, domain};

/// Numbers that break arithmetic.
fn count() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..40, Just(usize::MAX), Just(usize::MAX - 1), Just(1 << 63), Just(1 << 32), Just(u32::MAX as usize)]
}
/// The same in 32 bits; as the size of a ring, none that maps gigabytes for a moment.
fn entries() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..70, Just(1 << 12), Just(u32::MAX), Just(u32::MAX - 1), Just(1 << 31), Just((1 << 20) + 1)]
}
/// The sizes of split queues. The largest takes Miri minutes.
fn split_size() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..70, Just(if cfg!(miri) { 64 } else { 32768 }), Just(32767), Just(65535), any::<u16>()]
}
/// Bits as rules have them, and as they must not.
fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![3 => (0u32..64).prop_map(|bit| 1 << bit), 1 => Just(0), 1 => Just(!0), 1 => any::<u64>()]
}

const DATA_BYTES: u32 = 1024;

fn pool(buffers: u32) -> BufPool {
    BufPool::new(&domain().0, PoolConfig { buffers, data_bytes: DATA_BYTES, headroom_bytes: 64 }).unwrap()
}

/// Reads and writes all that a frame says is its own; Miri and the heap would notice more.
fn touch(frame: &mut Frame, pool: &BufPool) {
    assert!(frame.linear_len() <= DATA_BYTES as usize);
    let (first, len_bytes) = pool.iova_range();
    assert!((first.0..first.0 + len_bytes as u64).contains(&frame.iova().0));
    frame.data_mut().fill(0xa5);
}

/// One call, with the numbers that it may need.
type Call = (u8, usize, u32, (u64, u64));

fn calls() -> impl Strategy<Value = Vec<Call>> {
    proptest::collection::vec((0u8..12, count(), any::<u32>(), (bits(), any::<u64>())), 1..if cfg!(miri) { 20 } else { 60 })
}

proptest! {
    #![proptest_config(crate::testing::cases())]

    #[test]
    fn a_ring_of_any_size_and_rules_is_made_or_refused(entries in entries(), queue: u16, a in bits(), b in bits(), c in bits(), lens: [u16; 2], shift: u32) {
        let pool = pool(80);
        let rx = RxRules::new(a).with_end(b).with_unusual(c).with_dropped(c);
        let tx = TxRules::new(a).with_report(b).with_done(c).with_lengths(lens[0]..=lens[1]).with_payload_shift(shift % 70);
        match RxRing::new(&pool, entries, queue, rx) {
            // SAFETY: there is no device.
            Ok(ring) => unsafe { ring.release() },
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        match TxRing::new(&pool, entries, tx, a & 1 == 0) {
            // SAFETY: there is no device.
            Ok(ring) => prop_assert_eq!(unsafe { ring.release() }, 0),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if DescRing::new(pool.domain(), entries).is_err() {
            prop_assert!(!entries.is_power_of_two() || entries > 1 << 20);
        }
        drop(DmaWords::<u16>::new(pool.domain(), entries));
        prop_assert_eq!(pool.available(), 80);
    }

    #[test]
    fn a_split_queue_of_any_size_is_made_or_refused(size in split_size(), event_idx: bool, len in count(), align in count()) {
        let pool = pool(80);
        let queue = || SplitQueue::new(pool.domain(), size, event_idx);
        match queue() {
            Ok(first) => {
                prop_assert!(size.is_power_of_two());
                match SplitRx::<12>::new(first, &pool) {
                    // SAFETY: there is no device.
                    Ok(rx) => unsafe { rx.release() },
                    Err(error) => assert!(matches!(error, RingError::PoolTooSmall { .. })),
                }
                let tx = SplitTx::<12>::new(queue().unwrap(), pool.domain(), &pool, if event_idx { 16 } else { 0 }).unwrap();
                // SAFETY: there is no device.
                unsafe { tx.release() };
            }
            Err(error) => prop_assert_eq!(error, RingError::Entries { entries: size.into(), min: 1, max: 32768 }),
        }
        let mut memory = RingMemory::new(pool.domain(), 4096).unwrap();
        drop((memory.take(len, align), SplitQueue::in_memory(&mut memory, size, event_idx)));
        prop_assert_eq!(pool.available(), 80);
    }

    #[test]
    fn a_receive_ring_takes_any_call_and_any_word(calls in calls(), unusual in bits()) {
        let pool = pool(40);
        let rules = RX.with_unusual(unusual & !(RX.done | RX.end | 0xffff << 32));
        let mut ring = RxRing::new(&pool, 16, u16::MAX, rules).unwrap();
        // SAFETY: the ring outlives it.
        let card = unsafe { DescEnd::new(ring.iova(), 16) };
        let mut batch = Batch::new(24);
        let mut held = Vec::new();
        for (call, n, small, words) in calls {
            match call {
                0..4 => {
                    let word1 = if call == 0 { words.1 } else { RX.done | RX.end | words.0 | u64::from(small as u16 & 0x7ff) << 32 };
                    card.write(small % 16, [words.1, word1]);
                }
                4 | 5 => drop(ring.take_blocks(&mut batch, n)),
                6 => drop(ring.take_plain(&mut batch)),
                7 | 8 => held.extend(ring.take(&mut batch, words.0, words.1).map(|(frame, _)| frame)),
                9 => ring.skip(),
                10 => ring.allow_ordinary(n.is_multiple_of(2)),
                _ => {
                    held.extend(core::iter::from_fn(|| batch.pop()));
                    held.iter_mut().for_each(|frame| touch(frame, &pool));
                    held.truncate(n % 8);
                }
            }
            prop_assert!(ring.next() < 16 && ring.tail() < 16);
        }
        batch.frames_mut().iter_mut().for_each(|frame| touch(frame, &pool));
        drop((batch, held));
        prop_assert_eq!(pool.available(), 40 - 16);
        // SAFETY: the device of this test writes no more.
        unsafe { ring.release() };
        prop_assert_eq!(pool.available(), 40);
    }

    #[test]
    fn a_transmit_ring_takes_any_call_and_any_word(calls in calls(), count_bytes: bool) {
        let pool = pool(60);
        let mut ring = TxRing::new(&pool, 16, TX.with_lengths(0..=u16::MAX), count_bytes).unwrap();
        // SAFETY: the ring outlives it.
        let card = unsafe { DescEnd::new(ring.iova(), 16) };
        let mut batch = Batch::new(32);
        for (call, n, small, words) in calls {
            match call {
                0 | 1 => card.write(small % 16, [words.0, words.1]),
                2 | 3 => {
                    batch.fill(&pool, n % 32);
                    batch.frames_mut().iter_mut().filter(|frame| frame.is_empty()).for_each(|frame| drop(frame.put(small as usize % 1024)));
                }
                4 => drop(ring.put_blocks(&mut batch)),
                5 => drop(ring.put_plain(&mut batch)),
                6 => {
                    ring.allow_singles(small % 32);
                    let _ = ring.put_only(&mut batch);
                }
                7 => drop(batch.pop().map(|frame| ring.put_segment(frame, words.0, n.is_multiple_of(2), small))),
                8 => ring.report_last(),
                9 | 10 => drop(ring.reclaim(&mut batch)),
                // SAFETY: the device of this test reads nothing.
                _ => drop(unsafe { ring.rewind(&mut batch) }),
            }
            prop_assert!(ring.free() + ring.pending() == 15 && ring.tail() < 16);
        }
        drop(batch);
        prop_assert_eq!(pool.available() + ring.pending(), 60);
        // SAFETY: the device of this test reads no more.
        unsafe { ring.release() };
        prop_assert_eq!(pool.available(), 60);
    }

    #[test]
    fn a_split_receive_queue_takes_any_call_and_any_word(calls in calls(), event_idx: bool) {
        let pool = pool(40);
        let mut rx = SplitRx::<12>::new(SplitQueue::new(pool.domain(), 16, event_idx).unwrap(), &pool).unwrap();
        // SAFETY: the queue outlives it.
        let card = unsafe { SplitEnd::new(rx.queue()) };
        let mut batch = Batch::new(24);
        let mut held = Vec::new();
        for (call, n, small, words) in calls {
            match call {
                0..3 => {
                    let word = if call == 0 { words.1 } else { u64::from(small % 16) | u64::from(small % 1100) << 32 };
                    card.write_used(small as u16 % 16, word as u32, (word >> 32) as u32);
                }
                3 | 4 => card.write_idx(if call == 3 { small as u16 } else { small as u16 % 20 }),
                5 | 6 => drop(rx.ready()),
                7 | 8 => drop(rx.take_ordinary(&mut batch, n, (small, words.0 as u32), |header| header[0].is_multiple_of(3).then_some(!0))),
                9 => held.extend(rx.take().ok().flatten().map(|taken| taken.frame)),
                10 => {
                    let covered = rx.covered(&mut batch, n);
                    prop_assert!(covered <= n);
                    rx.refill(&mut batch);
                    rx.publish();
                    rx.arm();
                    rx.disarm();
                }
                _ => {
                    held.extend(core::iter::from_fn(|| batch.pop()));
                    held.iter_mut().for_each(|frame| touch(frame, &pool));
                    held.truncate(n % 8);
                }
            }
        }
        batch.frames_mut().iter_mut().for_each(|frame| touch(frame, &pool));
        drop((batch, held));
        // SAFETY: the device of this test writes no more.
        unsafe { rx.release() };
        prop_assert_eq!(pool.available(), 40);
    }

    #[test]
    fn a_split_transmit_queue_takes_any_call_and_any_word(calls in calls(), indirect: bool) {
        let pool = pool(60);
        let mut tx = SplitTx::<12>::new(SplitQueue::new(pool.domain(), 16, indirect).unwrap(), pool.domain(), &pool, if indirect { 16 } else { 0 }).unwrap();
        // SAFETY: the queue outlives it.
        let card = unsafe { SplitEnd::new(tx.queue()) };
        let mut batch = Batch::new(32);
        for (call, n, small, words) in calls {
            match call {
                0 | 1 => {
                    let id = if call == 0 { words.1 as u32 } else { small % 16 };
                    card.write_used(small as u16 % 16, id, words.0 as u32);
                }
                2 => card.write_idx(small as u16 % 40),
                3 | 4 => {
                    batch.fill(&pool, n % 32);
                    batch.frames_mut().iter_mut().filter(|frame| frame.is_empty()).for_each(|frame| drop(frame.put(small as usize % 1024)));
                }
                5 | 6 => drop(tx.put_ordinary(&mut batch, words.0 as u16, words.1 as u16)),
                7 | 8 => {
                    if let Some(mut frame) = batch.pop() {
                        pool.frame_from(&[1; 9]).into_iter().for_each(|more| frame.append(more));
                        drop(tx.put(frame, [7; 12]));
                    }
                }
                9 => drop(tx.publish()),
                10 => drop(tx.reclaim(&mut batch)),
                // SAFETY: the device of this test reads nothing.
                _ => drop(unsafe { tx.rewind(&mut batch) }),
            }
            prop_assert!(tx.free() + tx.pending() == tx.len());
        }
        drop(batch);
        // SAFETY: the device of this test reads no more.
        unsafe { tx.release() };
        prop_assert_eq!(pool.available(), 60);
    }
}
