//! Rings of descriptors that start anew, and what is put into a transmit ring one by one.

use std::vec::Vec;

use super::{RX, RxCard, TX, id_of, poll};
use crate::buf::batch::Batch;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::rules::TxRules;
use crate::ring::rx::{RxRing, RxTakeError};
use crate::ring::tx::TxRing;
use crate::testing::{DescEnd, domain};

/// The device's end, for as long as the ring lives.
fn end(ring: &TxRing) -> DescEnd {
    // SAFETY: it is used at once.
    unsafe { DescEnd::new(ring.iova(), ring.len()) }
}

/// What the device reads of a transmit ring.
fn words(ring: &TxRing, slot: u32) -> [u64; 2] {
    end(ring).read(slot)
}

#[test]
fn a_receive_ring_starts_anew_with_every_buffer_lent() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(64)).unwrap();
    let mut ring = RxRing::new(&pool, 16, 0, RX).unwrap();
    let mut card = RxCard::new(&ring);
    let mut batch = Batch::new(32);
    for k in 0..12 {
        assert!(card.receive(ring.tail(), k, 60));
    }
    assert_eq!(poll(&mut ring, &mut batch, 5), 5);
    ring.allow_ordinary(false);
    assert!(ring.is_ready());
    // SAFETY: the card of this test was reset.
    unsafe { ring.rewind() };
    assert_eq!((ring.next(), ring.tail(), ring.is_ready()), (0, 15, false));
    assert_eq!(ring.take(&mut batch, 0, 0).unwrap_err(), RxTakeError::NotDone, "what was filled before is lost, not received");
    let mut card = RxCard::new(&ring);
    for k in 100..115 {
        assert!(card.receive(ring.tail(), k, 60));
    }
    batch.clear();
    assert_eq!(ring.take_blocks(&mut batch, 15), 8, "ordinary frames are taken in blocks again");
    assert_eq!(poll(&mut ring, &mut batch, 15), 7);
    assert_eq!(batch.frames().iter().map(id_of).collect::<Vec<_>>(), (100..115).collect::<Vec<_>>());
    drop(batch);
    assert_eq!(pool.available(), 48);
    // SAFETY: the card of this test writes no more.
    unsafe { ring.release() };
}

#[test]
fn a_transmit_ring_starts_anew_and_gives_back_what_was_in_flight() {
    let domain = domain().0;
    let (pool, other) = (BufPool::new(&domain, PoolConfig::new(64)).unwrap(), BufPool::new(&domain, PoolConfig::new(8)).unwrap());
    for count_bytes in [false, true] {
        let mut ring = TxRing::new(&pool, 64, TX, count_bytes).unwrap();
        let mut batch = Batch::new(64);
        for _ in 0..3 {
            batch.fill(&pool, 40);
            batch.frames_mut().iter_mut().for_each(|frame| frame.put(60).unwrap().fill(0));
            while ring.put_blocks(&mut batch) > 0 || ring.put_plain(&mut batch) {}
            while let Some(frame) = batch.pop() {
                ring.put_segment(frame, TX.command | 60, true, 60).unwrap();
            }
            ring.put_segment(other.frame_from(&[1; 100]).unwrap(), TX.command | 100, true, 100).unwrap();
            // Slot 31 was asked for a report, which came, and nobody looked.
            end(&ring).write(31, [0, TX.done]);
            assert!(ring.has_report());
            // SAFETY: the card of this test was reset.
            let back = unsafe { ring.rewind(&mut batch) };
            assert_eq!((back.descriptors, back.bytes), (41, if count_bytes { 2500 } else { 0 }));
            assert_eq!((ring.tail(), ring.pending(), ring.free(), ring.has_report()), (0, 0, 63, false));
            assert!((0..64).all(|slot| words(&ring, slot) == [0, 0]));
            assert_eq!(ring.reclaim(&mut batch).descriptors, 0);
        }
        drop(batch);
        assert_eq!((pool.available(), other.available()), (64, 8));
        // SAFETY: the card of this test reads no more.
        unsafe { ring.release() };
    }
}

#[test]
fn a_segment_lends_its_own_bytes_and_no_memory_that_the_device_does_not_reach() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(8)).unwrap();
    let elsewhere = BufPool::new(&domain().0, PoolConfig::new(8)).unwrap();
    let mut ring = TxRing::new(&pool, 8, TX, false).unwrap();
    let frame = ring.put_segment(elsewhere.frame_from(&[1; 60]).unwrap(), TX.command | 60, true, 0).unwrap_err();
    assert!(elsewhere.owns(&frame) && ring.pending() == 0);
    ring.put_segment(pool.frame_from(&[1; 60]).unwrap(), TX.command | 0xffff, true, 0).unwrap();
    assert_eq!(words(&ring, 0)[1], TX.command | 60);
    ring.put_segment(pool.frame_from(&[1; 60]).unwrap(), !0, false, 0).unwrap();
    assert_eq!(words(&ring, 1)[1] & (TX.done | TX.report | 0xffff), 60, "not done, no report, no more bytes than there are");
    // SAFETY: the card of this test reads no more.
    assert_eq!(unsafe { ring.release() }, 2);
}

#[test]
fn the_frames_length_stands_where_the_rules_say_on_every_way() {
    let nowhere = TxRules { payload_shift: None, ..TX };
    for (rules, twice) in [(TX, 1 << 46), (TX.with_payload_shift(33), 1 << 33), (TX.with_payload_shift(48), 1 << 48), (nowhere, 0)] {
        let pool = BufPool::new(&domain().0, PoolConfig::new(64)).unwrap();
        let mut ring = TxRing::new(&pool, 32, rules, false).unwrap();
        let mut batch = Batch::new(32);
        let mut put = |len: usize, wanted: &mut dyn FnMut(&mut TxRing, &mut Batch) -> bool| {
            let count = if len == 61 { 8 } else { 1 };
            batch.fill(&pool, count);
            batch.frames_mut().iter_mut().for_each(|frame| frame.put(len).unwrap().fill(0));
            let at = ring.tail();
            assert!(wanted(&mut ring, &mut batch));
            for slot in at..ring.tail() {
                assert_eq!(words(&ring, slot)[1], rules.command | len as u64 | (len as u64 * twice), "{rules:?}");
            }
            assert_eq!(ring.tail(), at + count as u32);
        };
        put(61, &mut |ring, batch| ring.put_blocks(batch) == 8);
        put(1514, &mut |ring, batch| ring.put_plain(batch));
        put(60, &mut |ring, batch| {
            ring.allow_singles(1);
            ring.put_only(batch)
        });
        // SAFETY: the card of this test reads no more.
        unsafe { ring.release() };
    }
}
