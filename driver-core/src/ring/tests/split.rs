//! Split queues against a device of a few lines.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::fault::QueueFault;
use crate::ring::split::{F_WRITE, SplitQueue, SplitRx, SplitTx};
use crate::testing::{SplitEnd, domain};

/// The device's end of a queue that outlives it, as that of each test here does.
fn card_of(queue: &SplitQueue) -> SplitEnd {
    // SAFETY: as it says.
    unsafe { SplitEnd::new(queue) }
}

/// The bytes of a chain in flight.
fn gather(card: &SplitEnd, head: u16) -> Vec<u8> {
    // SAFETY: the driver made it available, and has not got it back.
    unsafe { card.gather(head) }
}

const HEADER: usize = 12;

fn receive_queue(size: u16, buffers: u32) -> (BufPool, SplitRx<HEADER>, SplitEnd) {
    let domain = domain().0;
    let pool = BufPool::new(&domain, PoolConfig::new(buffers)).unwrap();
    let rx = SplitRx::new(SplitQueue::new(&domain, size, false).unwrap(), &pool).unwrap();
    let card = card_of(rx.queue());
    (pool, rx, card)
}

fn all(_: &[u8; HEADER]) -> Option<u32> {
    Some(0)
}

#[test]
fn nothing_is_taken_that_ready_did_not_count() {
    let (pool, mut rx, mut card) = receive_queue(16, 64);
    let mut batch = Batch::new(64);
    let ids = card.next_heads();
    assert_eq!(ids.len(), 16);
    assert!(rx.take().unwrap().is_none(), "the device has used nothing");
    assert_eq!(rx.take_ordinary(&mut batch, 64, (0, 2048), all), (0, 0));
    card.use_all(ids[..3].iter().copied(), 72);
    assert!(rx.take().unwrap().is_none(), "nobody looked yet");
    assert_eq!(rx.ready(), Ok(3));
    card.use_all(ids[3..5].iter().copied(), 72);
    let taken = rx.take().unwrap().unwrap();
    assert_eq!((taken.id, taken.used_bytes), (0, 72));
    assert_eq!(rx.take_ordinary(&mut batch, 64, (0, 2048), all), (2, 120));
    assert!(rx.take().unwrap().is_none());
    assert_eq!(rx.take_ordinary(&mut batch, 64, (0, 2048), all), (0, 0));
    assert_eq!(rx.ready(), Ok(2));
    assert_eq!(rx.take_ordinary(&mut batch, 64, (0, 2048), all), (2, 120));
    // A device that claims too much gets nothing more believed.
    card.skip(12);
    card.publish();
    assert!(matches!(rx.ready(), Err(QueueFault::Protocol(_))));
    assert!(rx.take().unwrap().is_none());
    drop((batch, taken));
    // SAFETY: the card of this test writes no more.
    unsafe { rx.release() };
    assert_eq!(pool.available(), 64);
}

#[test]
fn a_range_of_lengths_that_is_empty_or_below_the_header_lets_nothing_beyond_the_buffer_through() {
    let (pool, mut rx, mut card) = receive_queue(16, 64);
    let mut batch = Batch::new(64);
    let ids = card.next_heads();
    for (id, len_bytes) in ids.iter().zip([5, 40, 0, u32::MAX, 0xffff_0000, 2048 + HEADER as u32 + 1]) {
        card.use_one((*id).into(), len_bytes);
    }
    card.publish();
    assert_eq!(rx.ready(), Ok(6));
    for range in [(100, 50), (1, 0), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
        assert_eq!(rx.take_ordinary(&mut batch, 64, range, all), (0, 0), "{range:?}");
    }
    assert_eq!(rx.take_ordinary(&mut batch, 64, (0, u32::MAX), all), (0, 0), "shorter than the header");
    assert_eq!(rx.take().unwrap().unwrap().used_bytes, 5);
    assert_eq!(rx.take_ordinary(&mut batch, 64, (0, u32::MAX), all), (1, 28));
    assert_eq!(rx.take().unwrap().unwrap().used_bytes, 0);
    assert!(matches!(rx.take(), Err(QueueFault::Length { len_bytes: u32::MAX, .. })));
    drop(batch);
    // SAFETY: the card of this test writes no more.
    unsafe { rx.release() };
    assert_eq!(pool.available(), 64);
}

#[test]
fn a_closure_that_panics_loses_no_buffer() {
    let (pool, mut rx, mut card) = receive_queue(16, 64);
    let mut batch = Batch::new(64);
    let ids = card.next_heads();
    card.use_all(ids[..8].iter().copied(), 72);
    rx.ready().unwrap();
    for left_of_four in [4, 0] {
        let looked_at = core::cell::Cell::new(0);
        let panics_at_the_fifth = |_: &[u8; HEADER]| {
            looked_at.set(looked_at.get() + 1);
            if looked_at.get() > left_of_four {
                std::panic::resume_unwind(std::boxed::Box::new("the fifth"));
            }
            Some(0)
        };
        let result = catch_unwind(AssertUnwindSafe(|| rx.take_ordinary(&mut batch, 8, (26, 2000), panics_at_the_fifth)));
        assert!(result.is_err());
        assert_eq!(batch.len(), 4, "those before it");
    }
    let fifth = rx.take().unwrap().unwrap();
    assert_eq!(fifth.id, 4, "it stayed in the queue");
    assert_eq!(rx.take_ordinary(&mut batch, 8, (26, 2000), all), (3, 180));
    let mut iovas: Vec<u64> = batch.frames().iter().map(|frame| frame.iova().0).collect();
    iovas.push(fifth.frame.iova().0);
    iovas.sort_unstable();
    iovas.dedup();
    assert_eq!(iovas.len(), 8, "no buffer twice");
    rx.refill(&mut batch);
    drop((batch, fifth));
    // SAFETY: the card of this test writes no more.
    unsafe { rx.release() };
    assert_eq!(pool.available(), 64);
}

#[test]
fn the_widest_wish_is_covered_as_far_as_buffers_go() {
    let (_pool, mut rx, mut card) = receive_queue(16, 20);
    let mut batch = Batch::new(64);
    assert_eq!(rx.covered(&mut batch, usize::MAX), 4);
    let ids = card.next_heads();
    card.use_all(ids, 72);
    rx.ready().unwrap();
    assert_eq!(rx.take_ordinary(&mut batch, 2, (0, 2048), all).0, 2);
    assert_eq!((rx.covered(&mut batch, usize::MAX), rx.covered(&mut batch, 1)), (2, 1), "two are owed to slots");
}

#[test]
fn a_receive_queue_starts_anew_with_every_buffer_that_it_has() {
    for event_idx in [false, true] {
        let domain = domain().0;
        let pool = BufPool::new(&domain, PoolConfig::new(64)).unwrap();
        let mut rx = SplitRx::<HEADER>::new(SplitQueue::new(&domain, 16, event_idx).unwrap(), &pool).unwrap();
        let mut card = card_of(rx.queue());
        let mut batch = Batch::new(64);
        let lent = card.next_heads();
        card.use_all(lent[..7].iter().copied(), 72);
        rx.arm();
        assert_eq!((rx.ready(), rx.covered(&mut batch, 3)), (Ok(7), 3));
        assert_eq!(rx.take_ordinary(&mut batch, 3, (0, 2048), all).0, 3);
        // SAFETY: the card of this test was reset.
        unsafe { rx.rewind() };
        let mut card = card_of(rx.queue());
        assert_eq!(card.available(), 13, "three slots are empty");
        assert!(rx.take().unwrap().is_none(), "what ready counted before is no longer there");
        assert_eq!(rx.ready(), Ok(0));
        rx.refill(&mut batch);
        rx.publish();
        let lent = card.next_heads();
        let mut places: Vec<u64> = lent
            .iter()
            .map(|&id| card.descriptor(id))
            .map(|(iova, len, flags, _)| {
                assert_eq!((len, flags), (2048 + HEADER as u32, F_WRITE));
                iova.0
            })
            .collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 16);
        card.use_all(lent, 72);
        assert_eq!(rx.ready(), Ok(16));
        assert_eq!(rx.take_ordinary(&mut batch, 16, (0, 2048), all).0, 16);
        drop(batch);
        // SAFETY: the card of this test writes no more.
        unsafe { rx.release() };
        assert_eq!(pool.available(), 64);
    }
}

#[test]
fn a_transmit_queue_is_armed_for_the_entry_that_makes_enough_room_across_the_wrap_around() {
    let domain = domain().0;
    let pool = BufPool::new(&domain, PoolConfig::new(64)).unwrap();
    let mut tx = SplitTx::<HEADER>::new(SplitQueue::new(&domain, 16, true).unwrap(), &domain, &pool, 0).unwrap();
    let (mut card, mut batch) = (card_of(tx.queue()), Batch::new(64));
    let mut used = 0u16;
    // 16 entries a round: more than 65536 of them.
    for round in 0..if cfg!(miri) { 40 } else { 4200 } {
        for _ in 0..16 {
            batch.push(pool.frame_from(&[7; 60]).unwrap()).unwrap();
        }
        tx.put_ordinary(&mut batch, 60, 1514);
        tx.publish();
        let heads = card.next_heads();
        // Entry `used + n - 1` is the n-th from here; all of them are the most that can be waited for.
        for (wanted, entry) in [(1, 0), (5, 4), (16, 15), (17, 15), (u32::MAX, 15)] {
            assert!(!tx.arm(wanted), "round {round}");
            assert_eq!(card.used_event(), used.wrapping_add(entry), "round {round}");
        }
        card.use_all(heads[..6].iter().copied(), 0);
        assert!(tx.arm(3), "it gave some back already");
        tx.reclaim(&mut batch).unwrap();
        assert!(!tx.arm(30));
        assert_eq!(card.used_event(), used.wrapping_add(15), "10 are left with the device");
        card.use_all(heads[6..].iter().copied(), 0);
        tx.reclaim(&mut batch).unwrap();
        batch.release_spares();
        used = used.wrapping_add(16);
        tx.disarm();
        assert_eq!(card.used_event(), used.wrapping_sub(1), "the entry that is farthest away");
    }
    drop(batch);
    // SAFETY: the card of this test reads no more.
    unsafe { tx.release() };
}

#[test]
fn a_transmit_queue_starts_anew_and_gives_back_what_was_in_flight() {
    for indirect in [false, true] {
        let domain = domain().0;
        let pool = BufPool::new(&domain, PoolConfig::new(64)).unwrap();
        let mut tx = SplitTx::<HEADER>::new(SplitQueue::new(&domain, 16, false).unwrap(), &domain, &pool, if indirect { 16 } else { 0 }).unwrap();
        let mut batch = Batch::new(64);
        for round in 0..3 {
            let mut card = card_of(tx.queue());
            for _ in 0..5 {
                batch.push(pool.frame_from(&[7; 60]).unwrap()).unwrap();
            }
            assert_eq!(tx.put_ordinary(&mut batch, 60, 1514), (5, 300));
            let mut chain = pool.frame_from(&[1; 100]).unwrap();
            chain.append(pool.frame_from(&[2; 50]).unwrap());
            tx.put(chain, [9; HEADER]).unwrap();
            tx.publish();
            let heads = card.next_heads();
            assert_eq!(heads.len(), 6, "round {round}");
            assert_eq!(gather(&card, heads[5]), [&[9; HEADER][..], &[1; 100], &[2; 50]].concat());
            card.use_all(heads[..2].iter().copied(), 0);
            // SAFETY: the card of this test was reset.
            let back = unsafe { tx.rewind(&mut batch) };
            assert_eq!((back.descriptors, back.bytes), (if indirect { 6 } else { 7 }, 150));
            assert_eq!((tx.free(), tx.pending(), tx.ready()), (16, 0, Ok(0)));
        }
        drop(batch);
        assert_eq!(pool.available(), 64);
        // SAFETY: the card of this test reads no more.
        unsafe { tx.release() };
    }
}

#[test]
fn what_a_transmit_queue_cannot_send_comes_back() {
    let (ours, other) = (domain().0, domain().0);
    let pool = BufPool::new(&ours, PoolConfig { buffers: 8, data_bytes: 2048, headroom_bytes: 0 }).unwrap();
    let foreign = BufPool::new(&other, PoolConfig::new(8)).unwrap();
    let mut tx = SplitTx::<0>::new(SplitQueue::new(&ours, 4, false).unwrap(), &ours, &pool, 0).unwrap();
    let frame = tx.put(foreign.frame_from(&[1; 60]).unwrap(), []).unwrap_err();
    assert!(foreign.owns(&frame), "the device reaches no memory of another domain");
    let frame = tx.put(pool.take().unwrap(), []).unwrap_err();
    assert!(frame.is_empty(), "a descriptor of no bytes says nothing to a device");
    tx.put(pool.frame_from(&[1; 60]).unwrap(), []).unwrap();
    tx.publish();
    let mut card = card_of(tx.queue());
    let heads = card.next_heads();
    assert_eq!(gather(&card, heads[0]), [1; 60]);
    drop((frame, foreign));
    // SAFETY: the card of this test reads no more.
    unsafe { tx.release() };
    assert_eq!(pool.available(), 8);
}

#[test]
fn a_header_apart_is_whole_whatever_its_length() {
    let domain = domain().0;
    let pool = BufPool::new(&domain, PoolConfig { buffers: 8, data_bytes: 2048, headroom_bytes: 0 }).unwrap();
    let mut tx = SplitTx::<10>::new(SplitQueue::new(&domain, 8, false).unwrap(), &domain, &pool, 0).unwrap();
    let header = core::array::from_fn(|k| k as u8 + 1);
    for _ in 0..2 {
        tx.put(pool.frame_from(&[1; 60]).unwrap(), header).unwrap();
    }
    tx.publish();
    let mut card = card_of(tx.queue());
    for head in card.next_heads() {
        assert_eq!(gather(&card, head), [&header[..], &[1; 60]].concat());
    }
    // SAFETY: the card of this test reads no more.
    unsafe { tx.release() };
}
