//! Batches, caches and pools together: where empty buffers go, what a panic leaves, and what extreme arguments do.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::batch::Batch;
use crate::buf::cache::BufCache;
use crate::buf::frame::Frame;
use crate::buf::memory::CHUNK;
use crate::buf::meta::{Checksum, Segmentation, SegmentationKind};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::testing::{cases, domain};

fn pool_of(buffers: u32) -> BufPool {
    BufPool::new(&domain().0, PoolConfig { buffers, data_bytes: 64, headroom_bytes: 64 }).unwrap()
}

/// Frames with their number in the first byte.
fn numbered(pool: &BufPool, count: usize) -> Batch {
    let mut batch = Batch::new(count);
    for k in 0..count {
        batch.push(pool.frame_from(&[k as u8]).unwrap()).unwrap();
    }
    batch
}

fn numbers(batch: &Batch) -> Vec<u8> {
    batch.frames().iter().map(|frame| frame.data()[0]).collect()
}

#[test]
fn two_pools_in_turn_stay_in_the_cache() {
    let pools = [pool_of(256), pool_of(256)];
    let mut batch = Batch::new(32);
    for pool in &pools {
        assert_eq!(batch.fill(pool, 32), 32);
        batch.clear();
    }
    let free = [pools[0].available(), pools[1].available()];
    for round in 0..100 {
        for pool in &pools {
            assert_eq!(batch.fill(pool, 32), 32);
            batch.clear();
            assert_eq!([pools[0].available(), pools[1].available()], free, "round {round} went to a pool");
        }
    }
    drop(batch);
    assert_eq!([pools[0].available(), pools[1].available()], [256; 2]);
}

#[test]
fn the_buffers_of_one_pool_too_many_go_home_and_the_newest_stay() {
    let pools: Vec<BufPool> = (0..=BufCache::POOLS).map(|_| pool_of(100)).collect();
    let mut cache = BufCache::new(0);
    for pool in &pools {
        cache.recycle(pool.take().unwrap());
    }
    let counts: Vec<usize> = pools.iter().map(|pool| cache.count(pool)).collect();
    assert_eq!(counts, [0, 1, 1, 1, 1]);
    assert_eq!(pools[0].available(), 100);
    // The oldest of those that are left is used again, and so another one is the oldest.
    let frame = cache.take_empty(&pools[1]).unwrap();
    cache.recycle(frame);
    cache.recycle(pools[0].take().unwrap());
    let counts: Vec<usize> = pools.iter().map(|pool| cache.count(pool)).collect();
    assert_eq!(counts, [1, 1, 0, 1, 1]);
    assert_eq!(cache.len(), 4);
    cache.release();
    assert!(cache.is_empty() && pools.iter().all(|pool| pool.available() == 100));
}

/// Receives into one batch and sends from another, through a device that completes by the block.
#[test]
fn a_batch_for_each_direction_takes_nothing_from_the_pool() {
    let rounds = if cfg!(miri) { 6 } else { 200 };
    let pool = pool_of(1024);
    let (mut rx, mut tx) = (Batch::new(64), Batch::new(64));
    let mut in_flight = VecDeque::new();
    let mut forward = |n: usize, share: &mut dyn FnMut(&mut Batch, &mut Batch)| {
        for _ in 0..n {
            let frame = rx.take_empty(&pool).unwrap();
            rx.push(frame).unwrap();
        }
        assert_eq!(tx.take_from(&mut rx), n);
        in_flight.extend(core::iter::from_fn(|| tx.pop()));
        while in_flight.len() > 40 {
            in_flight.drain(..32).for_each(|frame| tx.recycle(frame));
        }
        share(&mut rx, &mut tx);
        pool.available()
    };
    for n in [32, 64, 1, 32, 64] {
        forward(n, &mut |_, _| {});
    }
    let free = forward(32, &mut |_, _| {});
    for round in 0..rounds {
        assert_eq!(forward([1, 64, 20, 33][round % 4], &mut |_, _| {}), free, "round {round} went to the pool");
    }
    // The same with nothing but an exchange of the caches.
    for _ in 0..4 {
        forward(32, &mut |rx, tx| rx.swap_cache(tx));
    }
    let free = forward(32, &mut |rx, tx| rx.swap_cache(tx));
    for round in 0..rounds {
        assert_eq!(forward(32, &mut |rx, tx| rx.swap_cache(tx)), free, "round {round} went to the pool");
    }
}

#[test]
fn take_from_moves_frames_one_way_and_as_many_buffers_the_other() {
    let pool = pool_of(256);
    let (mut from, mut to) = (numbered(&pool, 8), Batch::new(5));
    assert_eq!(to.stock(&pool, 10), CHUNK);
    assert_eq!((to.take_from(&mut from), numbers(&to), numbers(&from)), (5, [0, 1, 2, 3, 4].into(), [5, 6, 7].into()));
    assert_eq!((from.cache().count(&pool), to.cache().count(&pool)), (5, CHUNK - 5));
    assert_eq!(to.take_from(&mut from), 0, "it is full");
    assert_eq!(from.cache().len(), 5);
    from.swap_cache(&mut to);
    assert_eq!((from.cache().len(), to.cache().len()), (CHUNK - 5, 5));
}

#[test]
fn a_recycled_frame_leaves_every_buffer_in_the_cache() {
    let pool = pool_of(64);
    let mut batch = Batch::new(8);
    let mut moved = pool.frame_from(&[1; 20]).unwrap();
    moved.pull(20).unwrap();
    let mut chain = pool.frame_from(&[1; 200]).unwrap();
    chain.set_vlan(Some(1));
    batch.recycle(moved);
    batch.recycle(chain);
    assert_eq!((pool.available(), batch.cache().count(&pool)), (59, 5));
    for _ in 0..5 {
        let frame = batch.take_empty(&pool).unwrap();
        assert_eq!((frame.len(), frame.headroom(), frame.vlan()), (0, 64, None));
    }
}

#[test]
fn a_full_cache_returns_its_older_half_at_once() {
    let pool = pool_of(300);
    let mut cache = BufCache::new(0);
    let frames: Vec<Frame> = (0..200).map_while(|_| pool.take()).collect();
    let newest = frames[199].iova();
    frames.into_iter().for_each(|frame| cache.recycle(frame));
    assert_eq!((cache.capacity(), cache.len()), (128, 72), "filled twice, and halved twice");
    assert_eq!(pool.available(), 100 + 2 * 64);
    assert_eq!(cache.take_empty(&pool).unwrap().iova(), newest);
}

#[test]
fn a_panicking_predicate_loses_no_frame_and_owns_none_twice() {
    let pool = pool_of(64);
    for panic_at in 0..12 {
        let mut batch = numbered(&pool, 12);
        let result = catch_unwind(AssertUnwindSafe(|| {
            batch.retain(|frame| {
                let number = frame.data()[0];
                assert_ne!(usize::from(number), panic_at, "on purpose");
                number % 3 == 0
            });
        }));
        assert!(result.is_err());
        let wanted: Vec<u8> = (0..12).filter(|&k| usize::from(k) >= panic_at || k % 3 == 0).collect();
        assert_eq!(numbers(&batch), wanted);
        assert_eq!(pool.available() as usize + wanted.len() + batch.cache().len(), 64);
        batch.retain(|_| false);
        assert!(batch.is_empty());
        assert_eq!(batch.cache().len(), 12);
        drop(batch);
        assert_eq!(pool.available(), 64);
    }
}

/// Arguments that arithmetic trips over, among those that are met every day.
fn extreme() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..200,
        1 => Just(usize::MAX),
        1 => Just(usize::MAX - 1),
        1 => Just(usize::MAX / 2),
        1 => Just(usize::MAX / 2 + 1),
        1 => Just(usize::from(u16::MAX)),
        1 => Just(u32::MAX as usize + 1),
        1 => any::<usize>(),
    ]
}

#[derive(Debug, Clone)]
enum Call {
    NewBatch(usize),
    Fill(usize),
    Stock(usize),
    StockOther(usize),
    TakeEmpty,
    TakeFrom,
    HandOver(usize),
    SwapCache,
    NewCache(usize),
    Retain(u8),
    Clear,
    Release,
    PushPop,
    Put(usize),
    Push(usize),
    Pull(usize),
    Trim(usize),
    Reserve(usize),
    CopyTo(usize),
    Received(u64, u64),
    Metadata(usize),
    Chain,
    Split,
    Linearize,
    DropIt,
}

fn call() -> impl Strategy<Value = Call> {
    let word = || prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), any::<u64>().prop_map(|word| word & !(0xff80 << 32))];
    prop_oneof![
        extreme().prop_map(Call::NewBatch),
        extreme().prop_map(Call::Fill),
        extreme().prop_map(Call::Stock),
        extreme().prop_map(Call::StockOther),
        Just(Call::TakeEmpty),
        Just(Call::TakeFrom),
        extreme().prop_map(Call::HandOver),
        Just(Call::SwapCache),
        extreme().prop_map(Call::NewCache),
        any::<u8>().prop_map(Call::Retain),
        Just(Call::Clear),
        Just(Call::Release),
        Just(Call::PushPop),
        extreme().prop_map(Call::Put),
        extreme().prop_map(Call::Push),
        extreme().prop_map(Call::Pull),
        extreme().prop_map(Call::Trim),
        extreme().prop_map(Call::Reserve),
        extreme().prop_map(Call::CopyTo),
        (word(), word()).prop_map(|(w0, w1)| Call::Received(w0, w1)),
        extreme().prop_map(Call::Metadata),
        Just(Call::Chain),
        Just(Call::Split),
        Just(Call::Linearize),
        Just(Call::DropIt),
    ]
}

/// Everything that an application may call, on whatever is there.
struct World {
    pools: [BufPool; 2],
    batches: [Batch; 2],
    frame: Option<Frame>,
}

impl World {
    fn call(&mut self, call: Call) {
        let Self { pools: [pool, other], batches: [batch, second], frame } = self;
        match call {
            Call::NewBatch(n) => *batch = Batch::new(n),
            Call::Fill(n) => assert!(batch.fill(pool, n) <= n),
            Call::Stock(n) => assert!(batch.stock(pool, n) <= batch.cache().capacity()),
            Call::StockOther(n) => drop(batch.stock(other, n)),
            Call::TakeEmpty => *frame = batch.take_empty(pool),
            Call::TakeFrom => drop(second.take_from(batch)),
            Call::HandOver(n) => drop(batch.cache_mut().hand_over(second.cache_mut(), pool, n)),
            Call::SwapCache => batch.swap_cache(second),
            Call::NewCache(n) => *batch.cache_mut() = BufCache::new(n),
            Call::Retain(mask) => batch.retain(|frame| frame.len() as u8 & mask == 0),
            Call::Clear => batch.clear(),
            Call::Release => batch.release_spares(),
            Call::PushPop => {
                if let Some(frame) = frame.take() {
                    drop(batch.push(frame));
                }
                *frame = batch.pop();
            }
            Call::Chain => {
                if let Some(first) = frame {
                    first.extend_from_slice(pool, &[7; 150]).unwrap_or_default();
                }
            }
            Call::DropIt => *frame = None,
            verb => {
                if let Some(frame) = frame {
                    Self::verb(frame, &verb);
                }
            }
        }
    }

    fn verb(frame: &mut Frame, verb: &Call) {
        match *verb {
            Call::Put(n) => frame.put(n).map_or((), |room| room.fill(1)),
            Call::Push(n) => frame.push(n).map_or((), |room| room.fill(2)),
            Call::Pull(n) => frame.pull(n).unwrap_or_default(),
            Call::Trim(n) => frame.trim(n).unwrap_or_default(),
            Call::Reserve(n) => frame.reserve(n).unwrap_or_default(),
            Call::CopyTo(n) => drop(frame.copy_to_slice(&mut [0; 4096][..n.min(4096)])),
            Call::Received(w0, w1) => frame.set_received([w0, w1]).unwrap_or_default(),
            Call::Metadata(n) => {
                frame.set_checksum(Checksum::Partial { start: n as u16, offset: n as u16 });
                frame.set_segmentation(Some(Segmentation { kind: SegmentationKind::Tcp4, mss_bytes: n as u16, header_bytes: n as u16 }));
                frame.set_vlan(Some(n as u16));
                frame.set_timestamp_ns(Some(n as u64));
            }
            Call::Split => drop(frame.split_rest()),
            Call::Linearize => frame.linearize().unwrap_or_default(),
            _ => {}
        }
        frame.data_mut().fill(3);
        assert_eq!(frame.segments().map(<[u8]>::len).sum::<usize>(), frame.len());
        assert!(frame.prefix::<{ 1 << 40 }>().is_none() && frame.prefix::<0>().is_some());
        assert_eq!(frame.prefix::<64>().is_some(), frame.headroom() >= 64);
        let _ = (frame.wants_offload(), frame.rss(), frame.rx_queue(), frame.vlan(), frame.checksum(), frame.iova(), std::format!("{frame:?}"));
    }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn no_argument_panics_or_loses_a_buffer(calls in proptest::collection::vec(call(), 1..60)) {
        let pools = [pool_of(150), pool_of(70)];
        let mut world = World { pools: pools.clone(), batches: [Batch::new(9), Batch::new(0)], frame: None };
        for call in calls {
            world.call(call);
        }
        drop(world);
        prop_assert_eq!(pools.map(|pool| pool.available()), [150, 70]);
    }

    #[test]
    fn retain_keeps_what_it_is_told_in_order(keep in proptest::collection::vec(any::<bool>(), 0..60), popped in 0usize..5) {
        let pool = pool_of(64);
        let mut batch = numbered(&pool, keep.len());
        let popped = (0..popped).filter(|_| batch.pop().is_some()).count();
        batch.retain(|frame| keep[usize::from(frame.data()[0])]);
        let wanted: Vec<u8> = (popped..keep.len()).filter(|&k| keep[k]).map(|k| k as u8).collect();
        prop_assert_eq!(numbers(&batch), wanted);
        drop(batch);
        prop_assert_eq!(pool.available(), 64);
    }

    #[test]
    fn a_pool_of_any_shape_is_made_or_refused(buffers in prop_oneof![0u32..9, Just(u32::MAX), any::<u32>()], data_bytes: u32, headroom_bytes: u32, small: bool) {
        let (data_bytes, headroom_bytes) = if small { (data_bytes % 20_000, headroom_bytes % 5_000) } else { (data_bytes, headroom_bytes) };
        match BufPool::new(&domain().0, PoolConfig { buffers, data_bytes, headroom_bytes }) {
            Ok(pool) => {
                let mut frame = pool.take().unwrap();
                prop_assert_eq!(frame.tailroom(), data_bytes as usize);
                prop_assert!(frame.headroom() >= headroom_bytes as usize);
                frame.put(frame.tailroom()).unwrap().fill(1);
                frame.push(frame.headroom()).unwrap().fill(1);
                prop_assert_eq!(frame.len(), frame.linear_len());
            }
            Err(error) => assert!(std::format!("{error}").len() > 20),
        }
    }
}

#[test]
fn a_batch_says_how_much_it_holds() {
    let mut batch = Batch::new(5);
    assert_eq!((batch.capacity(), batch.room()), (5, 5));
    batch.push(pool_of(2).frame_from(&[1; 20]).unwrap()).unwrap();
    assert_eq!((batch.capacity(), batch.room(), std::format!("{batch:?}").as_str()), (5, 4, "Batch(1 of 5 frames)"));
}

/// A stack that was emptied remembers an address, and no pool: what Miri tells apart, which lets the next pool lie where the last one was, unless its address was exposed.
#[test]
fn an_emptied_stack_is_that_of_the_pool_which_lies_where_its_own_was() {
    let domain = domain().0;
    let mut cache = BufCache::new(1);
    for _ in 0..32 {
        let pool = BufPool::new(&domain, PoolConfig::new(1)).unwrap();
        cache.recycle(pool.take().unwrap());
        assert_eq!((cache.count(&pool), pool.available()), (1, 0));
        cache.release();
        assert_eq!(pool.available(), 1);
    }
}
