//! Transmit rings that are given frames of many pools: each buffer goes back to the pool that it is of, whichever others came and went meanwhile.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::batch::Batch;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::host::dma::DmaDomain;
use crate::ring::rules::TxRules;
use crate::ring::tx::TxRing;
use crate::testing::{DescEnd, domain};

const TX: TxRules = TxRules::new(3 << 24).with_end(1 << 24).with_report(1 << 27).with_done(1 << 32).with_payload_shift(46).with_lengths(60..=1514);
const RING: u32 = 64;
/// More than a ring has names for.
const POOLS: usize = 11;
const BUFFERS: u32 = 128;
/// Steps of a random test; Miri has the time for few.
const STEPS: usize = if cfg!(miri) { 6 } else { 60 };

fn pool(domain: &DmaDomain) -> BufPool {
    BufPool::new(domain, PoolConfig { buffers: BUFFERS, data_bytes: 128, headroom_bytes: 0 }).unwrap()
}

/// A card that sends what it is given, and sees that descriptors name the frames that were put there.
struct Card {
    end: DescEnd,
    head: u32,
    sent: u64,
}

impl Card {
    fn send(&mut self, ring: &TxRing, wanted: &mut Vec<u64>) {
        while self.head != ring.tail() {
            let [iova, word] = self.end.read(self.head);
            assert_eq!(iova, wanted.remove(0), "the frame's own address, of whichever pool");
            if word & TX.report != 0 {
                self.end.write(self.head, [0, TX.done]);
            }
            self.head = (self.head + 1) % RING;
            self.sent += 1;
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many frames of that pool, in that order, one after another.
    Send(Vec<(usize, usize)>),
    /// One alone, the way of `put_only`.
    Single(usize),
    /// The pool goes, and another is made, perhaps in its place.
    Renew(usize),
    Segment(usize),
    /// A frame of so many buffers of that pool.
    Chain(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let pool = || 0..POOLS;
    prop_oneof![
        6 => proptest::collection::vec((pool(), 1usize..20), 1..4).prop_map(Step::Send),
        3 => pool().prop_map(Step::Single),
        2 => pool().prop_map(Step::Renew),
        1 => pool().prop_map(Step::Segment),
        3 => (pool(), 2usize..9).prop_map(|(at, segments)| Step::Chain(at, segments)),
    ]
}

proptest! {
    #![proptest_config(crate::testing::cases())]
    #[test]
    fn every_buffer_goes_back_to_its_own_pool(steps in proptest::collection::vec(step(), 1..STEPS)) {
        let domain = domain().0;
        let mut pools: Vec<_> = (0..POOLS).map(|_| pool(&domain)).collect();
        let own = pool(&domain);
        let mut ring = TxRing::new(&own, RING, TX, false).unwrap();
        // SAFETY: the ring outlives it.
        let mut card = Card { end: unsafe { DescEnd::new(ring.iova(), RING) }, head: 0, sent: 0 };
        let (mut batch, mut wanted) = (Batch::new(64), Vec::new());
        for step in steps {
            match step {
                Step::Renew(at) => pools[at] = pool(&domain),
                Step::Segment(at) => {
                    let frame = pools[at].frame_from(&[7; 70]).unwrap();
                    wanted.push(frame.iova().0);
                    prop_assert!(ring.put_segment(frame, TX.command | 70, true, 0).is_ok());
                }
                Step::Chain(at, segments) => {
                    let mut chain = pools[at].frame_from(&[at as u8; 100]).unwrap();
                    (1..segments).for_each(|k| chain.append(pools[at].frame_from(&vec![at as u8; 30 + k]).unwrap()));
                    let bytes = chain.len();
                    let lens: Vec<_> = chain.segments().map(|segment| segment.len() as u64).collect();
                    wanted.extend(chain.dma_segments().map(|(iova, _)| iova.0));
                    batch.push(chain).unwrap();
                    let from = ring.tail();
                    prop_assert_eq!(ring.put_chains(&mut batch, segments - 1, usize::MAX), 0);
                    prop_assert_eq!(ring.put_chains(&mut batch, segments, bytes - 1), 0);
                    prop_assert!(!ring.put_chain(&mut batch, segments - 1, usize::MAX) && !ring.put_chain(&mut batch, segments, bytes - 1));
                    prop_assert_eq!((batch.len(), ring.tail()), (1, from));
                    if !ring.put_chain(&mut batch, segments, bytes) && ring.put_chains(&mut batch, segments, bytes) == 0 {
                        // A pool without a name.
                        let (mut next, mut first) = (batch.pop(), true);
                        while let Some(mut segment) = next {
                            next = segment.split_rest();
                            let (len, last) = (segment.len() as u64, next.is_none());
                            let end = if last { 1 << 24 } else { 0 };
                            let payload = if first { (bytes as u64) << 46 } else { 0 };
                            prop_assert!(ring.put_segment(segment, 1 << 25 | end | payload | len, last, 0).is_ok());
                            first = false;
                        }
                    }
                    for (k, len) in lens.into_iter().enumerate() {
                        let [_, word] = card.end.read((from + k as u32) % RING);
                        let end = if k + 1 == segments { 1 << 24 } else { 0 };
                        let payload = if k == 0 { (bytes as u64) << 46 } else { 0 };
                        prop_assert_eq!(word & !TX.report, 1 << 25 | end | payload | len);
                    }
                }
                Step::Single(at) => {
                    batch.push(pools[at].frame_from(&[at as u8; 60]).unwrap()).unwrap();
                    wanted.push(batch.frames()[0].iova().0);
                    prop_assert!(ring.put_only(&mut batch) || ring.put_plain(&mut batch));
                    ring.allow_singles(8);
                }
                Step::Send(runs) => {
                    for (at, count) in runs {
                        (0..count).for_each(|_| batch.push(pools[at].frame_from(&[at as u8; 64]).unwrap()).unwrap());
                    }
                    wanted.extend(batch.frames().iter().map(|frame| frame.iova().0));
                    while !batch.is_empty() {
                        if ring.put_blocks(&mut batch) == 0 && !ring.put_plain(&mut batch) {
                            let frame = batch.pop().unwrap();
                            // A pool without a name.
                            prop_assert!(ring.free() > 0 && ring.put_segment(frame, TX.command | 64, true, 0).is_ok());
                        }
                    }
                }
            }
            ring.report_last();
            card.send(&ring, &mut wanted);
            ring.reclaim(&mut batch);
            prop_assert!(ring.pending() < 32 && batch.is_empty());
        }
        batch.release_spares();
        let in_flight = ring.pending();
        prop_assert_eq!(pools.iter().chain([&own]).map(|pool| BUFFERS - pool.available()).sum::<u32>() <= in_flight, true);
        // SAFETY: the card of this test reads no more.
        unsafe { ring.release() };
        prop_assert!(pools.iter().all(|pool| pool.available() == BUFFERS));
        prop_assert_eq!(own.available(), BUFFERS);
    }
}

#[test]
fn frames_of_another_domain_are_not_put() {
    let (here, elsewhere) = (domain().0, domain().0);
    let (own, other) = (pool(&here), pool(&elsewhere));
    let mut ring = TxRing::new(&own, RING, TX, false).unwrap();
    let mut batch = Batch::new(8);
    ring.allow_singles(0);
    batch.push(other.frame_from(&[0; 60]).unwrap()).unwrap();
    assert!(!ring.put_only(&mut batch) && !ring.put_plain(&mut batch));
    (0..7).for_each(|_| batch.push(other.frame_from(&[0; 60]).unwrap()).unwrap());
    assert_eq!((ring.put_blocks(&mut batch), batch.len()), (0, 8));
    assert!(ring.put_segment(batch.pop().unwrap(), TX.command | 60, true, 0).is_err());
    // SAFETY: nothing was put.
    unsafe { ring.release() };
}

/// What is remembered of a pool that is gone says nothing of one that lies in its place.
#[test]
fn a_pool_in_the_place_of_another_is_not_taken_for_it() {
    let (here, elsewhere) = (domain().0, domain().0);
    let own = pool(&here);
    let mut ring = TxRing::new(&own, RING, TX, false).unwrap();
    // SAFETY: the ring outlives it.
    let mut card = Card { end: unsafe { DescEnd::new(ring.iova(), RING) }, head: 0, sent: 0 };
    let mut batch = Batch::new(8);
    let mut met = false;
    for _ in 0..if cfg!(miri) { 1 } else { 16 } {
        let first = pool(&here);
        let at = first.as_ptr();
        batch.push(first.frame_from(&[0; 60]).unwrap()).unwrap();
        let mut wanted = batch.frames().iter().map(|frame| frame.iova().0).collect();
        assert!(ring.put_plain(&mut batch));
        ring.report_last();
        card.send(&ring, &mut wanted);
        ring.reclaim(&mut batch);
        batch.release_spares();
        drop(first);
        let others: Vec<_> = (0..8).map(|_| pool(&elsewhere)).collect();
        let Some(second) = others.iter().find(|pool| pool.as_ptr() == at) else { continue };
        met = true;
        ring.allow_singles(0);
        batch.push(second.frame_from(&[0; 60]).unwrap()).unwrap();
        assert!(!ring.put_only(&mut batch) && !ring.put_plain(&mut batch));
        batch.clear();
        batch.release_spares();
    }
    // Miri gives addresses at random.
    assert!(met || cfg!(miri), "no pool was made where another had been");
    // SAFETY: the card of this test reads no more.
    unsafe { ring.release() };
}

#[test]
fn a_chain_asks_for_a_report_with_its_last_descriptor_once_32_are_queued() {
    let own = pool(&domain().0);
    let mut ring = TxRing::new(&own, RING, TX, false).unwrap();
    // SAFETY: the ring outlives it.
    let card = unsafe { DescEnd::new(ring.iova(), RING) };
    let mut batch = Batch::new(12);
    for _ in 0..12 {
        let mut chain = own.frame_from(&[1; 60]).unwrap();
        (1..5).for_each(|_| chain.append(own.frame_from(&[2; 20]).unwrap()));
        batch.push(chain).unwrap();
    }
    assert_eq!((ring.put_chains(&mut batch, 5, 200), batch.len()), (12, 0));
    let asking: Vec<_> = (0..60).filter(|&slot| card.read(slot)[1] & TX.report != 0).collect();
    assert_eq!(asking, [34], "the seventh chain's end");
    // SAFETY: the card of this test reads nothing.
    unsafe { ring.release() };
}

/// Whoever queues segments may take his time with the end: the report that is overdue is asked for with the next end, by whichever way that comes.
#[test]
fn a_report_that_is_overdue_is_asked_for_by_the_next_block() {
    let own = pool(&domain().0);
    let mut ring = TxRing::new(&own, RING, TX, false).unwrap();
    // SAFETY: the ring outlives it.
    let card = unsafe { DescEnd::new(ring.iova(), RING) };
    for _ in 0..40 {
        assert!(ring.put_segment(own.frame_from(&[1; 60]).unwrap(), TX.command | 60, false, 0).is_ok());
    }
    let mut batch = Batch::new(8);
    (0..8).for_each(|_| batch.push(own.frame_from(&[2; 60]).unwrap()).unwrap());
    assert_eq!(ring.put_blocks(&mut batch), 8);
    let asking: Vec<_> = (0..48).filter(|&slot| card.read(slot)[1] & TX.report != 0).collect();
    assert_eq!(asking, [47]);
    // SAFETY: the card of this test reads nothing.
    unsafe { ring.release() };
}

/// The frame's length has 16 bits in a descriptor: a longer frame would change what stands beside them.
#[test]
fn a_chain_too_long_for_its_descriptors_is_not_put() {
    let own = BufPool::new(&domain().0, PoolConfig { buffers: 20, data_bytes: 16384, headroom_bytes: 0 }).unwrap();
    let mut ring = TxRing::new(&own, RING, TX, false).unwrap();
    let mut batch = Batch::new(1);
    for (segments, is_put) in [(3, true), (4, false), (17, false)] {
        let mut chain = own.take().unwrap();
        chain.put(16384).unwrap().fill(0);
        for _ in 1..segments {
            let mut segment = own.take().unwrap();
            segment.put(16384).unwrap().fill(0);
            chain.append(segment);
        }
        batch.push(chain).unwrap();
        assert_eq!(ring.put_chains(&mut batch, 40, usize::MAX) == 1, is_put, "{segments} segments");
        batch.clear();
        batch.release_spares();
    }
    // SAFETY: no card reads.
    unsafe { ring.release() };
}

/// Behind a chain that fills the ring lie the oldest frames in flight: their buffers stay those of their own pool.
#[test]
fn a_chain_that_fills_the_ring_says_nothing_of_the_frames_behind_it() {
    let domain = domain().0;
    let (own, other) = (pool(&domain), pool(&domain));
    let mut ring = TxRing::new(&own, 16, TX, false).unwrap();
    // SAFETY: the ring outlives it.
    let card = unsafe { DescEnd::new(ring.iova(), 16) };
    let mut batch = Batch::new(16);
    for single in [false, true] {
        // So that the ring's end is not where the chain is.
        while ring.tail() != 6 {
            assert!(ring.put_segment(other.frame_from(&[1; 60]).unwrap(), TX.command | 60, true, 60).is_ok());
        }
        ring.report_last();
        card.write(5, [0, TX.done]);
        ring.reclaim(&mut batch);
        assert_eq!(ring.pending(), 0);
        for _ in 0..12 {
            assert!(ring.put_segment(other.frame_from(&[1; 60]).unwrap(), TX.command | 60, true, 60).is_ok());
        }
        let mut chain = own.frame_from(&[1; 60]).unwrap();
        (1..3).for_each(|_| chain.append(own.frame_from(&[2; 20]).unwrap()));
        if single {
            // The ring turns to the pool of the frame before.
            let first = own.frame_from(&[1; 60]).unwrap();
            assert!(ring.put_segment(first, TX.command | 60, true, 60).is_ok());
            chain = own.frame_from(&[1; 60]).unwrap();
            chain.append(own.frame_from(&[2; 20]).unwrap());
        }
        batch.push(chain).unwrap();
        assert!(if single { ring.put_chain(&mut batch, 40, 200) } else { ring.put_chains(&mut batch, 40, 200) == 1 });
        assert_eq!(ring.free(), 0);
        ring.report_last();
        let last = (ring.tail() + 15) % 16;
        card.write(last, [0, TX.done]);
        ring.reclaim(&mut batch);
        assert_eq!(ring.pending(), 0);
        batch.release_spares();
        assert_eq!((own.available(), other.available()), (BUFFERS, BUFFERS));
    }
    // SAFETY: the card of this test reads nothing.
    unsafe { ring.release() };
}
