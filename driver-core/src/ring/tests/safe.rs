//! What safe code may ask of a ring, however little sense it makes: no frame reaches beyond its buffer, and none is handed out that the device still has.

use std::string::ToString;
use std::vec::Vec;

use super::{RX, TX};
use crate::buf::batch::Batch;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::desc::DescRing;
use crate::ring::error::{RingError, RulePart, RulesError};
use crate::ring::memory::RingMemory;
use crate::ring::rules::RxRules;
use crate::ring::rx::{RxRing, RxTakeError};
use crate::ring::split::{SplitQueue, SplitRx, SplitTx};
use crate::ring::tx::TxRing;
use crate::testing::{DescEnd, domain};

/// The device's end, for as long as the ring lives.
fn end(ring: &RxRing) -> DescEnd {
    // SAFETY: it is used at once.
    unsafe { DescEnd::new(ring.iova(), ring.len()) }
}

/// A device that writes ones over the first descriptor: done, an error, a length of 65535.
fn all_ones(ring: &RxRing) {
    end(ring).write(0, [!0; 2]);
}

#[test]
fn no_ring_is_made_by_rules_that_do_not_say_which_descriptors_are_done() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(64)).unwrap();
    for rules in [RxRules { done: 0, ..RX }, RxRules { unusual: !0, ..RX }, RxRules { end: RX.done, ..RX }] {
        let error = RxRing::new(&pool, 8, 0, rules).unwrap_err();
        assert!(matches!(error, RingError::Rules(_)), "{error}");
    }
    let error = TxRing::new(&pool, 8, TX.with_done(TX.report), false).unwrap_err();
    assert_eq!(error, RingError::Rules(RulesError::Overlap { part: RulePart::Done, with: RulePart::Report, bits: TX.report }));
    assert_eq!(pool.available(), 64);
}

#[test]
fn nothing_a_device_writes_is_ordinary_while_nothing_may_be() {
    // All that may be tested is: every bit but those of done, end and the length.
    let wide = RX.with_unusual(!(RX.done | RX.end | 0xffff << 32));
    for rules in [RX, wide] {
        let pool = BufPool::new(&domain().0, PoolConfig { buffers: 64, data_bytes: 64, headroom_bytes: 0 }).unwrap();
        let mut ring = RxRing::new(&pool, 8, 0, rules).unwrap();
        let mut batch = Batch::new(64);
        batch.stock(&pool, 16);
        ring.allow_ordinary(false);
        let done = RX.done | RX.end;
        for word in [!0, done, done | 1 << 32, done | 63 << 32, done | 0xffff << 32, 0] {
            for k in 0..8 {
                end(&ring).write(k, [0, word]);
            }
            assert!(!ring.take_plain(&mut batch), "{word:#x}");
            assert_eq!(ring.take_blocks(&mut batch, 64), 0, "{word:#x}");
        }
        ring.allow_ordinary(true);
        all_ones(&ring);
        assert!(!ring.take_plain(&mut batch), "a length beyond the buffer");
        assert!(ring.take(&mut batch, 0, 0).is_err());
    }
}

#[test]
fn a_pool_of_another_domain_is_refused() {
    let ((ours, _), (other, _)) = (domain(), domain());
    let (pool, foreign) = (BufPool::new(&ours, PoolConfig::new(64)).unwrap(), BufPool::new(&other, PoolConfig::new(64)).unwrap());
    let is_domain = |error: &RingError| assert!(matches!(error, RingError::Domain { .. }), "{error}");
    let queue = |domain| SplitQueue::new(domain, 16, false).unwrap();
    is_domain(&SplitRx::<12>::new(queue(&ours), &foreign).unwrap_err());
    is_domain(&SplitTx::<12>::new(queue(&ours), &ours, &foreign, 16).unwrap_err());
    is_domain(&SplitTx::<12>::new(queue(&ours), &other, &pool, 16).unwrap_err());
    is_domain(&SplitTx::<12>::new(queue(&other), &ours, &pool, 16).unwrap_err());
    let mut memory = RingMemory::new(&ours, 4 * DescRing::part_bytes(8)).unwrap();
    let mut part = || memory.take(DescRing::part_bytes(8), 128).unwrap();
    is_domain(&RxRing::in_part(part(), &foreign, 8, 0, RX).unwrap_err());
    is_domain(&TxRing::in_part(part(), &foreign, 8, TX, false).unwrap_err());
    assert_eq!((pool.available(), foreign.available()), (64, 64));
    assert!(RxRing::in_part(part(), &pool, 8, 0, RX).is_ok() && TxRing::in_part(part(), &pool, 8, TX, false).is_ok());
}

#[test]
fn a_split_queue_says_what_its_pool_lacks() {
    let (domain, mapper) = domain();
    let queue = || SplitQueue::new(&domain, 16, true).unwrap();
    let few = BufPool::new(&domain, PoolConfig::new(15)).unwrap();
    let error = SplitRx::<12>::new(queue(), &few).unwrap_err();
    assert_eq!(error, RingError::PoolTooSmall { entries: 16, needed: 16, free: 15 });
    assert_eq!(few.available(), 15);
    let bare = BufPool::new(&domain, PoolConfig { buffers: 32, data_bytes: 2048, headroom_bytes: 0 }).unwrap();
    let error = SplitRx::<12>::new(queue(), &bare).unwrap_err();
    assert_eq!(error, RingError::Headroom { needed_bytes: 12, have_bytes: 0 });
    assert!(SplitRx::<0>::new(queue(), &bare).is_ok(), "without a header none is needed");
    assert_eq!(mapper.alive.load(std::sync::atomic::Ordering::SeqCst), 3, "two pools and the queue that was dropped alive");
}

#[test]
fn all_rings_of_a_device_lie_in_one_mapping_which_goes_with_the_last() {
    let (domain, mapper) = domain();
    let pool = BufPool::new(&domain, PoolConfig::new(256)).unwrap();
    let bytes = 2 * DescRing::part_bytes(64) + 2 * SplitQueue::memory_bytes(32) + SplitTx::<12>::memory_bytes(32, 16);
    let mut memory = RingMemory::new(&domain, bytes).unwrap();
    let rx = RxRing::in_part(memory.take(DescRing::part_bytes(64), 128).unwrap(), &pool, 64, 0, RX).unwrap();
    let split_rx = SplitRx::<12>::new(SplitQueue::in_memory(&mut memory, 32, true).unwrap(), &pool).unwrap();
    let queue = SplitQueue::in_memory(&mut memory, 32, true).unwrap();
    let split_tx = SplitTx::<12>::in_memory(&mut memory, queue, &pool, 16).unwrap();
    let tx = TxRing::in_part(memory.take(DescRing::part_bytes(64), 128).unwrap(), &pool, 64, TX, false).unwrap();
    let starts: Vec<u64> = [rx.iova(), tx.iova()].iter().chain(&split_rx.queue().areas()).map(|iova| iova.0).collect();
    // A used ring begins 4 bytes behind.
    assert!(starts.iter().all(|start| matches!(start % 128, 0 | 4)), "{starts:x?}");
    let alive = || mapper.alive.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(alive(), 2, "the pool and the rings");
    assert!(matches!(SplitQueue::in_memory(&mut memory, 256, true), Err(RingError::Memory { .. })));
    drop(memory);
    // SAFETY: there is no device.
    unsafe {
        rx.release();
        tx.release();
        split_rx.release();
        assert_eq!(alive(), 2);
        split_tx.release();
    }
    assert_eq!((alive(), pool.available()), (1, 256));
}

#[test]
fn a_take_that_took_nothing_says_why() {
    for (error, words) in [
        (RxTakeError::Bad, "marked the frame bad"),
        (RxTakeError::NotDone, "not done with the next descriptor"),
        (RxTakeError::NoBuffer, "make the pool larger"),
        (RxTakeError::Length { len_bytes: 2049 }, "reports 2049 bytes"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}
