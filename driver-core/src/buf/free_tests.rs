//! The free list: its order, what a thread that stops in the middle does to the others, and many threads at once.

use core::mem::MaybeUninit;
use std::boxed::Box;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::cache::BufCache;
use super::free::FreeList;
use super::memory::{self, CHUNK};
use super::pool::{BufPool, PoolConfig};
use super::raw::{RawBuf, Strides};
use crate::testing::{cases, domain};

/// What this thread does in the middle of its next visit.
type Hook = Box<dyn FnOnce()>;

std::thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// The list calls this between its look at the top and its swap.
pub(super) fn in_the_middle() {
    if let Some(hook) = HOOK.take() {
        hook();
    }
}

fn once_in_the_middle(hook: impl FnOnce() + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

/// A free list for buffers that are numbers and nothing more.
struct List {
    free: FreeList,
    strides: Strides,
}

impl List {
    /// With no buffer in it.
    fn empty(buffers: u32) -> Self {
        Self { free: FreeList::new(Vec::with_capacity(buffers as usize), buffers), strides: Strides::new(1 << 30, Strides::bytes(2048, 128), 128) }
    }

    /// With buffers 0, 1, 2 and so on, each in a block of its own, the last one uppermost.
    fn singles(buffers: u32) -> Arc<Self> {
        let list = Self::empty(buffers);
        for number in 0..buffers {
            list.give(&[number]);
        }
        Arc::new(list)
    }

    fn give(&self, numbers: &[u32]) {
        let bufs: Vec<RawBuf> = numbers.iter().map(|&number| self.strides.buf(number)).collect();
        // SAFETY: the tests give what they have.
        unsafe { self.free.give(&self.strides, &bufs) };
    }

    fn take(&self, most: usize) -> Vec<u32> {
        let mut room = vec![MaybeUninit::uninit(); most];
        let count = self.free.take(&self.strides, &mut room);
        let taken = room.get(most - count..).unwrap();
        // SAFETY: `take` filled that end of the room.
        taken.iter().map(|buf| self.strides.index(unsafe { buf.assume_init() }.word() as usize)).collect()
    }
}

#[test]
fn a_take_that_others_overtook_does_not_take_what_they_have() {
    let list = List::singles(4);
    let others = Arc::clone(&list);
    once_in_the_middle(move || {
        // The same buffer is uppermost afterwards, on another one than the take saw below it.
        assert_eq!((others.take(1), others.take(1)), (vec![3], vec![2]));
        others.give(&[3]);
    });
    assert_eq!(list.take(1), [3]);
    assert_eq!(list.take(4), [0, 1], "the other one has 2");
}

#[test]
fn a_take_from_within_a_block_that_others_gave_back_anew_sees_the_new_one() {
    let list = Arc::new(List::empty(16));
    list.give(&[0, 1, 2, 3]);
    let others = Arc::clone(&list);
    once_in_the_middle(move || {
        assert_eq!(others.take(4), [0, 1, 2, 3]);
        others.give(&[0, 3, 2, 1]);
    });
    assert_eq!(list.take(2), [2, 1]);
    assert_eq!(list.take(16), [0, 3]);
}

#[test]
fn a_give_that_others_overtook_loses_nothing() {
    let list = List::singles(6);
    assert_eq!(list.take(3), [3, 4, 5]);
    let others = Arc::clone(&list);
    once_in_the_middle(move || assert_eq!(others.take(2), [1, 2]));
    list.give(&[4, 5]);
    assert_eq!(list.take(6), [0, 4, 5]);
}

const ROUNDS: usize = if cfg!(miri) { 3 } else { 100 };

/// Runs `visit` in a thread that stops in its middle, and others meanwhile. Where these have to wait for it, the test fails after a while.
fn stopped_in_the_middle<T: Send + 'static>(
    list: &Arc<List>,
    visit: impl FnOnce(&List) -> T + Send + 'static,
    others: impl FnOnce(&List) + Send + 'static,
) -> T {
    let (stopped, is_stopped) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let visitor = thread::spawn({
        let list = Arc::clone(list);
        move || {
            once_in_the_middle(move || {
                stopped.send(()).unwrap();
                may_go_on.recv().unwrap();
            });
            visit(&list)
        }
    });
    is_stopped.recv().unwrap();
    let (done, are_done) = channel();
    let list = Arc::clone(list);
    let others = thread::spawn(move || {
        others(&list);
        done.send(()).unwrap();
    });
    let waited = are_done.recv_timeout(Duration::from_secs(20));
    go_on.send(()).unwrap();
    waited.expect("the others wait for a thread that does not run");
    others.join().unwrap();
    visitor.join().unwrap()
}

#[test]
fn a_thread_that_stops_in_the_middle_of_a_take_delays_nobody() {
    let list = List::singles(40);
    let taken = stopped_in_the_middle(
        &list,
        |list| list.take(5),
        |list| {
            for _ in 0..ROUNDS {
                let mut all = list.take(30);
                all.extend(list.take(40));
                assert_eq!(all.len(), 40, "what the other one looks at is everybody's");
                all.chunks(7).for_each(|some| list.give(some));
            }
        },
    );
    let mut all = list.take(40);
    assert_eq!((taken.len(), all.len()), (5, 35));
    all.extend(taken);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..40));
}

#[test]
fn a_thread_that_stops_in_the_middle_of_a_give_delays_nobody() {
    let list = List::singles(40);
    let held = list.take(20);
    stopped_in_the_middle(
        &list,
        move |list| list.give(&held),
        |list| {
            for _ in 0..ROUNDS {
                let all = list.take(40);
                assert_eq!(all.len(), 20);
                all.chunks(3).for_each(|some| list.give(some));
            }
        },
    );
    let mut all = list.take(40);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..40));
}

#[test]
fn a_take_beyond_one_visit_brings_what_is_there() {
    let buffers = 3 * CHUNK + 5;
    let pool = BufPool::new(&domain().0, PoolConfig::new(buffers as u32)).unwrap();
    for wanted in [buffers + 70, buffers, buffers - 1, 2 * CHUNK, CHUNK + 1] {
        let mut room = vec![MaybeUninit::uninit(); wanted];
        let count = memory::take_block(pool.inner(), &mut room);
        assert_eq!(count, wanted.min(buffers));
        assert_eq!(pool.available() as usize, buffers - count);
        // SAFETY: the first `count` were filled.
        let bufs: Vec<RawBuf> = room.get(..count).unwrap().iter().map(|buf| unsafe { buf.assume_init() }).collect();
        let mut words: Vec<u64> = bufs.iter().map(|buf| buf.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        // SAFETY: they are this pool's, and ours.
        unsafe { memory::give_back(pool.as_ptr(), &bufs) };
        assert_eq!(pool.available() as usize, buffers);
    }
}

proptest! {
    #![proptest_config(cases())]
    /// Against a vector, which is a stack by definition.
    #[test]
    fn the_list_is_a_stack(buffers in 1u32..200, visits in proptest::collection::vec((any::<bool>(), 0usize..80), 1..60)) {
        let list = List::empty(buffers);
        let (mut stack, mut held) = (Vec::new(), (0..buffers).collect::<Vec<_>>());
        for (gives, count) in visits {
            if gives {
                let some = held.split_off(held.len() - count.min(held.len()));
                list.give(&some);
                stack.extend(some);
            } else {
                let some = list.take(count);
                prop_assert_eq!(&some, &stack.split_off(stack.len() - count.min(stack.len())));
                // Back in another order than they came.
                held.splice(0..0, some);
            }
        }
        prop_assert_eq!(list.take(200), stack);
    }
}

/// More threads than there are processors, each with few turns under Miri.
const THREADS: usize = 6;
const TURNS: usize = if cfg!(miri) { 25 } else { 20_000 };

/// Numbers that look random, for one thread.
fn numbers(seed: usize) -> impl FnMut(usize) -> usize {
    let mut state = seed as u64 + 1;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

#[test]
fn no_buffer_has_two_owners_and_none_is_lost_among_threads() {
    let list = List::singles(150);
    let owned: Arc<Vec<AtomicBool>> = Arc::new((0..150).map(|_| AtomicBool::new(false)).collect());
    let start = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|k| {
            let (list, owned, start) = (Arc::clone(&list), Arc::clone(&owned), Arc::clone(&start));
            thread::spawn(move || {
                let mut number = numbers(k);
                let mut held: Vec<u32> = Vec::new();
                start.wait();
                for turn in 1..=TURNS {
                    for buffer in list.take(1 + number(40)) {
                        assert!(!owned[buffer as usize].swap(true, Ordering::Relaxed), "buffer {buffer} has two owners");
                        held.push(buffer);
                    }
                    let some = held.split_off(if turn < TURNS { number(held.len() + 1) } else { 0 });
                    some.iter().for_each(|&buffer| owned[buffer as usize].store(false, Ordering::Relaxed));
                    list.give(&some);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut all = list.take(150);
    all.sort_unstable();
    assert!(all.into_iter().eq(0..150));
}

/// Threads write to the buffers that they have, pass frames on to each other and go, the last handle before the last frame or behind it.
#[test]
fn a_pool_that_threads_share_is_full_when_they_have_let_go_and_goes_with_the_last() {
    let (domain, mapper) = domain();
    for round in 0..if cfg!(miri) { 2 } else { 20 } {
        let pool = BufPool::new(&domain, PoolConfig { buffers: 300, data_bytes: 64, headroom_bytes: 0 }).unwrap();
        let (ends, mut inboxes): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
        inboxes.rotate_left(1);
        let threads: Vec<_> = ends
            .into_iter()
            .zip(inboxes)
            .enumerate()
            .map(|(k, (next, inbox))| {
                let pool = pool.clone();
                thread::spawn(move || {
                    let (mut number, mut cache) = (numbers(k + round), BufCache::new(0));
                    for _ in 0..TURNS / 20 {
                        cache.stock(&pool, number(100));
                        let frame = if number(2) == 0 { cache.take_empty(&pool) } else { pool.take() };
                        if let Some(mut frame) = frame {
                            let name = frame.iova().0.to_le_bytes();
                            frame.put(8).unwrap().copy_from_slice(&name);
                            drop(next.send(frame));
                        }
                        if let Ok(frame) = inbox.try_recv() {
                            assert_eq!(frame.data(), frame.iova().0.to_le_bytes(), "somebody else wrote to it");
                            if number(3) == 0 { cache.recycle(frame) } else { drop(frame) }
                        }
                        if number(4) == 0 {
                            cache.release();
                        }
                    }
                    drop(pool);
                })
            })
            .collect();
        let kept = (round % 2 == 0).then(|| pool.clone());
        drop(pool);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        if let Some(pool) = kept {
            assert_eq!(pool.available(), 300);
        }
        assert_eq!(mapper.live_mappings(), 0, "round {round}");
    }
}
