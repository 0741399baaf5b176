//! Visits to the free list in every order in which their threads can take turns. `ci/loom` runs these. A block has two buffers here.

use core::any::Any;
use core::mem::MaybeUninit;
use std::boxed::Box;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use loom::cell::UnsafeCell;
use loom::thread;

use super::memory::{give_back, take_block};
use super::pool::{BufPool, PoolConfig};
use super::raw::RawBuf;
use crate::host::dma::{DmaDomain, DmaError, DmaMapper, Mapping};
use crate::testing::{HeapMapper, domain};

const SMALL: PoolConfig = PoolConfig::new(0).data_bytes(64).headroom_bytes(0);

fn pool(buffers: u32) -> BufPool {
    BufPool::new(&domain().0, PoolConfig { buffers, ..SMALL }).unwrap()
}

/// A pool with each buffer in a block of its own.
fn singles(buffers: u32) -> BufPool {
    let pool = pool(buffers);
    let bufs = take(&pool, buffers as usize);
    bufs.chunks(1).for_each(|one| give(&pool, one));
    pool
}

fn take(pool: &BufPool, most: usize) -> Vec<RawBuf> {
    let mut room = vec![MaybeUninit::uninit(); most];
    let count = take_block(pool.inner(), &mut room);
    // SAFETY: the first `count` were filled.
    room.into_iter().take(count).map(|buf| unsafe { buf.assume_init() }).collect()
}

fn give(pool: &BufPool, bufs: &[RawBuf]) {
    // SAFETY: the models give what they have taken from the pool.
    unsafe { give_back(pool.as_ptr(), bufs) };
}

/// That `held`, all that is out, are as many buffers, none twice, and that the others are in the list.
fn accounted(pool: &BufPool, held: &[&[RawBuf]]) {
    let out = held.concat();
    assert_eq!(pool.available() as usize, pool.len() as usize - out.len());
    let mut all: Vec<u64> = out.into_iter().chain(take(pool, pool.len() as usize + 1)).map(RawBuf::word).collect();
    assert_eq!(all.len(), pool.len() as usize, "a buffer is lost, or has two owners");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), pool.len() as usize, "a buffer is there twice");
}

/// ABA: the buffer that the first thread saw uppermost is so again, with another one below it.
#[test]
fn a_take_that_others_overtook_does_not_take_what_they_have() {
    loom::model(|| {
        let pool = singles(3);
        let other = thread::spawn({
            let pool = pool.clone();
            move || {
                let (top, below) = (take(&pool, 1), take(&pool, 1));
                give(&pool, &top);
                below
            }
        });
        let mine = take(&pool, 1);
        let others = other.join().unwrap();
        assert_eq!((mine.len(), others.len()), (1, 1));
        accounted(&pool, &[&mine, &others]);
    });
}

/// The same within a block: it is given back in another order, so that another buffer leads it.
#[test]
fn a_take_from_a_block_that_others_gave_back_anew_takes_what_is_there_now() {
    loom::model(|| {
        let pool = pool(2);
        let other = thread::spawn({
            let pool = pool.clone();
            move || {
                let mut both = take(&pool, 2);
                both.reverse();
                give(&pool, &both);
            }
        });
        let mine = take(&pool, 1);
        other.join().unwrap();
        accounted(&pool, &[&mine]);
    });
}

#[test]
fn two_takes_of_one_block_get_a_buffer_each() {
    loom::model(|| {
        let pool = pool(2);
        let other = thread::spawn({
            let pool = pool.clone();
            move || take(&pool, 1)
        });
        let mine = take(&pool, 1);
        let others = other.join().unwrap();
        assert_eq!((mine.len(), others.len()), (1, 1), "nobody holds more than it takes");
        accounted(&pool, &[&mine, &others]);
    });
}

#[test]
fn two_takes_of_two_where_there_are_three_get_three() {
    for make in [pool, singles] {
        loom::model(move || {
            let pool = make(3);
            let other = thread::spawn({
                let pool = pool.clone();
                move || take(&pool, 2)
            });
            let mine = take(&pool, 2);
            let others = other.join().unwrap();
            assert_eq!(mine.len() + others.len(), 3);
            accounted(&pool, &[&mine, &others]);
        });
    }
}

#[test]
fn a_take_meets_a_give_of_more_than_a_block() {
    loom::model(|| {
        let pool = pool(4);
        let three = take(&pool, 3);
        let other = thread::spawn({
            let pool = pool.clone();
            move || give(&pool, &three)
        });
        let mine = take(&pool, 2);
        other.join().unwrap();
        assert!((1..=2).contains(&mine.len()));
        accounted(&pool, &[&mine]);
    });
}

#[test]
fn two_gives_at_once_and_a_take_behind_one_of_them_lose_nothing() {
    loom::model(|| {
        let pool = pool(3);
        let (one, two) = (take(&pool, 1), take(&pool, 1));
        let other = thread::spawn({
            let pool = pool.clone();
            move || give(&pool, &one)
        });
        give(&pool, &two);
        let mine = take(&pool, 2);
        other.join().unwrap();
        assert_eq!(mine.len(), 2);
        accounted(&pool, &[&mine]);
    });
}

/// Memory that looks, when it goes, at what the buffers' owners wrote: loom notices where that is not ordered behind it.
struct Looking {
    heap: HeapMapper,
    written: Arc<[Cell; 2]>,
}

struct Cell(UnsafeCell<u32>);
// SAFETY: loom looks at every access.
unsafe impl Sync for Cell {}

// SAFETY: it is `HeapMapper`'s memory.
unsafe impl DmaMapper for Looking {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        self.heap.map(len_bytes)
    }
    unsafe fn unmap(&self, mapping: Mapping) {
        // SAFETY: the owners have let go, which is what is tested.
        let written: u32 = self.written.iter().map(|cell| cell.0.with(|cell| unsafe { *cell })).sum();
        assert_eq!(written, 2, "the memory went before its owners");
        // SAFETY: the caller's.
        unsafe { self.heap.unmap(mapping) };
    }
    fn name(&self) -> std::string::String {
        self.heap.name()
    }
}

#[test]
fn the_memory_goes_behind_the_last_use_of_it_whoever_lets_go_last() {
    let frame: fn(&BufPool) -> Box<dyn Any + Send> = |pool| Box::new(pool.take().unwrap());
    for keepers in [[frame, frame], [frame, |pool| Box::new(pool.clone())]] {
        loom::model(move || {
            let written = Arc::new([0, 0].map(|number| Cell(UnsafeCell::new(number))));
            let domain = DmaDomain::new(Arc::new(Looking { heap: HeapMapper::default(), written: Arc::clone(&written) }));
            let pool = BufPool::new(&domain, PoolConfig { buffers: 2, ..SMALL }).unwrap();
            let threads = [0, 1].map(|k| {
                let (keeper, written) = (keepers[k](&pool), Arc::clone(&written));
                thread::spawn(move || {
                    // SAFETY: the keeper keeps the memory from going, which is what is tested.
                    written[k].0.with_mut(|cell| unsafe { *cell = 1 });
                    drop(keeper);
                })
            });
            drop(pool);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
