//! Receive and transmit rings against a device of a few lines that does what it is told, lies included.

mod chains;
mod extremes;
mod oracle;
mod packed;
mod pools;
mod restart;
mod safe;
mod split;
mod whole;

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::{LEN_SHIFT, VLAN_VALID};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::rules::{RxRules, TxRules};
use crate::ring::rx::{RxRing, RxTakeError};
use crate::ring::tx::{REPORT_EVERY, TxRing};
use crate::testing::{DescEnd, domain};

const RX: RxRules = RxRules::new(0b01).with_end(0b10).with_unusual(1 << 20);
const TX: TxRules = TxRules::new(1 << 24).with_report(1 << 27).with_done(1 << 32).with_payload_shift(46).with_lengths(60..=1514);

/// Steps of a random test; Miri has the time for few.
const MANY: usize = if cfg!(miri) { 20 } else { 150 };

/// The card's side of a receive ring.
struct RxCard {
    ring: DescEnd,
    len: u32,
    head: u32,
}

impl RxCard {
    /// Writes completion words over a descriptor.
    fn report(&mut self, slot: u32, len: u64) {
        self.ring.write(slot, [0, len << LEN_SHIFT | RX.done | RX.end]);
    }
    fn new(ring: &RxRing) -> Self {
        // SAFETY: the ring of each test outlives its card.
        Self { ring: unsafe { DescEnd::new(ring.iova(), ring.len()) }, len: ring.len(), head: 0 }
    }
    /// Receives a frame whose first eight bytes are `id`, unless the slot at the tail is reached.
    fn receive(&mut self, tail: u32, id: u64, len: u64) -> bool {
        if self.head == tail {
            return false;
        }
        // SAFETY: descriptors before the tail hold addresses of buffers that the ring lent.
        unsafe { self.ring.fill(self.head, &id.to_le_bytes()) };
        self.report(self.head, len);
        self.head = (self.head + 1) % self.len;
        true
    }
}

/// Takes what is there, as a driver does.
fn poll(ring: &mut RxRing, batch: &mut Batch, budget: usize) -> usize {
    let mut taken = ring.take_blocks(batch, budget);
    while taken < budget && batch.room() > 0 {
        if ring.take_plain(batch) {
            taken += 1;
            continue;
        }
        match ring.take(batch, 0, 0) {
            Ok((frame, ended)) => {
                assert!(ended);
                batch.push(frame).unwrap();
                taken += 1;
            }
            Err(error) => {
                assert!(matches!(error, RxTakeError::NoBuffer | RxTakeError::NotDone));
                break;
            }
        }
    }
    taken
}

fn id_of(frame: &Frame) -> u64 {
    u64::from_le_bytes(*frame.data().first_chunk().unwrap())
}

#[derive(Debug, Clone)]
enum Step {
    Receive(usize),
    Poll(usize),
    DropSome(usize),
    DropOnThread(usize),
    Recycle(usize),
    Take,
    Return,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1usize..20).prop_map(Step::Receive),
        3 => (1usize..40).prop_map(Step::Poll),
        1 => (1usize..20).prop_map(Step::DropSome),
        1 => (1usize..20).prop_map(Step::DropOnThread),
        1 => (1usize..20).prop_map(Step::Recycle),
        1 => Just(Step::Take),
        1 => Just(Step::Return),
    ]
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    /// A pool with hardly more buffers than the ring has slots: receive stalls again and again while the application holds frames, and
    /// every frame that the card received arrives once, in order, when buffers return.
    #[test]
    fn exhaustion_stalls_receive_and_loses_no_slot(spare in 1u32..24, steps in proptest::collection::vec(step(), 1..MANY)) {
        let pool = BufPool::new(&domain().0, PoolConfig::new(16 + spare)).unwrap();
        let mut ring = RxRing::new(&pool, 16, 3, RX).unwrap();
        let mut card = RxCard::new(&ring);
        let (mut batch, mut held, mut own) = (Batch::new(32), VecDeque::new(), Vec::new());
        let (mut sent, mut seen) = (0, 0);
        for step in steps.into_iter().chain([Step::DropSome(usize::MAX), Step::Return, Step::Poll(64), Step::Receive(64), Step::Poll(64)]) {
            match step {
                Step::Receive(n) => (0..n).for_each(|_| sent += u64::from(card.receive(ring.tail(), sent, 60))),
                Step::Poll(budget) => {
                    poll(&mut ring, &mut batch, budget);
                    while let Some(frame) = batch.pop() {
                        prop_assert_eq!(id_of(&frame), seen);
                        prop_assert_eq!((frame.len(), frame.rx_queue()), (60, 3));
                        seen += 1;
                        held.push_back(frame);
                    }
                }
                Step::DropSome(n) => drop(held.drain(..n.min(held.len()))),
                Step::DropOnThread(n) => {
                    let frames: Vec<Frame> = held.drain(..n.min(held.len())).collect();
                    std::thread::spawn(move || drop(frames)).join().unwrap();
                }
                Step::Recycle(n) => held.drain(..n.min(held.len())).for_each(|frame| batch.recycle(frame)),
                Step::Take => own.extend(pool.take()),
                Step::Return => own.clear(),
            }
        }
        held.clear();
        own.clear();
        while poll(&mut ring, &mut batch, 64) > 0 {
            for frame in batch.frames() {
                prop_assert_eq!(id_of(frame), seen);
                seen += 1;
            }
            batch.clear();
        }
        prop_assert_eq!(seen, sent, "frames that the card received are missing");
        drop(batch);
        prop_assert_eq!(pool.available(), spare, "every slot still has its buffer");
        // SAFETY: the card of this test writes no more.
        unsafe { ring.release() };
        prop_assert_eq!(pool.available(), pool.len());
    }

    /// Frames of this pool, of another, long and short, whole and in pieces: they leave in order with the right bytes, and every buffer returns.
    #[test]
    fn what_is_queued_leaves_in_order_and_every_buffer_returns(
        kinds in proptest::collection::vec((0u8..5, 60usize..200), 1..MANY), done_every in 1usize..40
    ) {
        let (domain, _) = domain();
        let pool = BufPool::new(&domain, PoolConfig::new(400)).unwrap();
        let other = BufPool::new(&domain, PoolConfig::new(200)).unwrap();
        let mut ring = TxRing::new(&pool, 32, TX, false).unwrap();
        // SAFETY: the ring outlives it.
        let card = unsafe { DescEnd::new(ring.iova(), ring.len()) };
        let mut batch = Batch::new(256);
        let mut expected = VecDeque::new();
        for (i, &(kind, len)) in kinds.iter().enumerate() {
            let bytes: Vec<u8> = (0..len).map(|k| (i * 7 + k) as u8).collect();
            let mut frame = if kind == 1 { other.frame_from(&bytes) } else { pool.frame_from(&bytes) }.unwrap();
            if kind == 2 {
                frame.pull(10).unwrap();
                frame.push(10).unwrap();
            }
            if kind == 3 {
                frame.trim(len / 2).unwrap();
                frame.append(pool.frame_from(&bytes[len / 2..]).unwrap());
            }
            expected.push_back(bytes);
            batch.push(frame).unwrap();
        }
        let mut head = 0;
        let mut current = Vec::new();
        for round in 0.. {
            prop_assert!(round < 2000, "no progress");
            while !batch.is_empty() {
                if ring.put_blocks(&mut batch) > 0 || ring.put_plain(&mut batch) {
                    continue;
                }
                let needed = batch.frames()[0].segments().count() as u32;
                if needed > ring.free() {
                    break;
                }
                let mut next = batch.pop();
                while let Some(mut segment) = next {
                    next = segment.split_rest();
                    let word = (TX.command * u64::from(next.is_none())) | segment.linear_len() as u64;
                    ring.put_segment(segment, word, next.is_none(), 0).unwrap();
                }
            }
            ring.report_last();
            // The card sends some descriptors, and reports where it was asked to.
            for _ in 0..done_every {
                if head == ring.tail() {
                    break;
                }
                let [_, word] = card.read(head);
                // SAFETY: descriptors up to the tail hold addresses of buffers in flight.
                current.extend(unsafe { card.gather(head, (word & 0xffff) as usize) });
                if word & TX.command != 0 {
                    prop_assert_eq!(core::mem::take(&mut current), expected.pop_front().unwrap());
                }
                if word & TX.report != 0 {
                    card.write(head, [0, TX.done]);
                }
                head = (head + 1) % ring.len();
            }
            ring.reclaim(&mut batch);
            if batch.is_empty() && ring.pending() == 0 {
                break;
            }
        }
        prop_assert!(expected.is_empty());
        drop(batch);
        prop_assert_eq!((pool.available(), other.available()), (400, 200));
        // SAFETY: the card of this test reads no more.
        prop_assert_eq!(unsafe { ring.release() }, 0);
    }
}

#[test]
fn a_length_beyond_the_buffer_is_refused_alone_and_in_a_block() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(64)).unwrap();
    let mut ring = RxRing::new(&pool, 16, 0, RX).unwrap();
    let mut card = RxCard::new(&ring);
    for k in 0..8 {
        assert!(card.receive(ring.tail(), k, if k == 5 { 2049 } else { 60 }));
    }
    let mut batch = Batch::new(32);
    assert_eq!(ring.take_blocks(&mut batch, 8), 0, "one liar spoils the block");
    for _ in 0..5 {
        ring.take(&mut batch, 0, 0).unwrap();
    }
    assert!(!ring.take_plain(&mut batch));
    assert_eq!(ring.take(&mut batch, 0, 0).unwrap_err(), RxTakeError::Length { len_bytes: 2049 });
    // A frame that fills its buffer to the last byte is not what the quick test lets through, but it is a good one.
    card.report(5, 2048);
    assert!(!ring.take_plain(&mut batch));
    assert_eq!(ring.take(&mut batch, 0, 0).unwrap().0.len(), 2048);
    ring.skip();
    ring.skip();
    assert_eq!(ring.take(&mut batch, 0, 0).unwrap_err(), RxTakeError::NotDone, "a lent buffer is not handed out");
    // SAFETY: the card of this test writes no more.
    unsafe { ring.release() };
}

/// These rules do not name the VLAN bit: a frame with it is none for the fast paths all the same, since transmit has to see its tag.
#[test]
fn a_frame_with_a_vlan_tag_comes_up_by_the_scalar_path_alone() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(64)).unwrap();
    let mut ring = RxRing::new(&pool, 16, 0, RX).unwrap();
    let mut card = RxCard::new(&ring);
    for slot in 0..8 {
        card.report(slot, 60 | 7 << 16);
    }
    let [first, second] = card.ring.read(0);
    card.ring.write(0, [first, second | VLAN_VALID]);
    let mut batch = Batch::new(32);
    batch.stock(&pool, 16);
    assert_eq!(ring.take_blocks(&mut batch, 8), 0);
    assert!(!ring.take_plain(&mut batch));
    let (frame, _) = ring.take(&mut batch, 0, 0).unwrap();
    assert_eq!((frame.len(), frame.vlan(), frame.wants_offload()), (60, Some(7), true));
    let mut tx = TxRing::new(&pool, 8, TX, false).unwrap();
    batch.push(frame).unwrap();
    tx.allow_singles(0);
    assert!(!tx.put_only(&mut batch) && !tx.put_plain(&mut batch));
    // SAFETY: nothing uses these rings.
    unsafe {
        ring.release();
        tx.release();
    }
}

#[test]
fn one_report_in_32_descriptors() {
    let pool = BufPool::new(&domain().0, PoolConfig::new(300)).unwrap();
    let mut ring = TxRing::new(&pool, 256, TX, false).unwrap();
    // SAFETY: the ring outlives it.
    let card = unsafe { DescEnd::new(ring.iova(), ring.len()) };
    let mut batch = Batch::new(256);
    for size in [1, 7, 8, 31, 64, 3, 80] {
        assert_eq!(batch.fill(&pool, size), size);
        batch.frames_mut().iter_mut().for_each(|frame| frame.put(60).unwrap().fill(0));
        while !batch.is_empty() {
            assert!(ring.put_blocks(&mut batch) > 0 || ring.put_plain(&mut batch));
        }
    }
    let reports: Vec<usize> = (0..ring.tail()).filter(|&slot| card.read(slot)[1] & TX.report != 0).map(|slot| slot as usize).collect();
    let distances = reports.iter().scan(0, |last, &at| Some(at + 1 - core::mem::replace(last, at + 1)));
    for distance in distances {
        assert!((REPORT_EVERY as usize..REPORT_EVERY as usize + 8).contains(&distance), "{reports:?}");
    }
    assert_eq!(reports.len(), 5);
    // SAFETY: nobody reads this ring.
    unsafe { ring.release() };
}

// Miri would report the leak that this test wants to see.
#[cfg(not(miri))]
#[test]
fn a_ring_dropped_without_release_leaks_what_the_device_may_use() {
    let (domain, mapper) = domain();
    let pool = BufPool::new(&domain, PoolConfig::new(64)).unwrap();
    let ring = RxRing::new(&pool, 16, 0, RX).unwrap();
    drop(ring);
    assert_eq!(pool.available(), 48);
    drop(pool);
    assert_eq!(mapper.alive.load(std::sync::atomic::Ordering::SeqCst), 2, "ring and buffers stay mapped");
}

#[test]
fn a_pool_smaller_than_the_ring_is_said_so_and_keeps_its_buffers() {
    for free in [15, 16] {
        let pool = BufPool::new(&domain().0, PoolConfig::new(free)).unwrap();
        let error = alloc::format!("{}", RxRing::new(&pool, 16, 0, RX).unwrap_err());
        assert!(error.starts_with(&alloc::format!("a receive ring of 16 descriptors needs 17 buffers, and the pool has {free} free")), "{error}");
        assert_eq!(pool.available(), free);
    }
}
