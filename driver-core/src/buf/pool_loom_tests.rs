//! The pool's free list in every order in which its threads can take turns. `ci/loom` runs these.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::thread;

use super::batch::Batch;
use super::pool::{BufPool, PoolConfig};
use crate::testing::{HeapMapper, domain};

/// A pool of `buffers` buffers, and what counts its mapping. The domain's own handle is gone.
fn pool(buffers: u32) -> (BufPool, Arc<HeapMapper>) {
    let (domain, mapper) = domain();
    (BufPool::new(&domain, PoolConfig { buffers, data_bytes: 64, headroom_bytes: 0 }).unwrap(), mapper)
}

fn alive(mapper: &HeapMapper) -> usize {
    mapper.alive.load(Ordering::SeqCst)
}

#[test]
fn the_memory_goes_once_whether_the_handle_or_the_frame_goes_last() {
    loom::model(|| {
        let (pool, mapper) = pool(1);
        let frame = pool.take().unwrap();
        let other = thread::spawn(move || drop(frame));
        drop(pool);
        other.join().unwrap();
        assert_eq!(alive(&mapper), 0);
    });
}

#[test]
fn the_memory_goes_once_though_two_frames_and_the_handle_go_at_once() {
    loom::model(|| {
        let (pool, mapper) = pool(2);
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        let first = thread::spawn(move || drop(one));
        let second = thread::spawn(move || drop(two));
        drop(pool);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(alive(&mapper), 0);
    });
}

#[test]
fn the_memory_stays_as_long_as_a_frame_does() {
    loom::model(|| {
        let (pool, mapper) = pool(1);
        let frame = pool.take().unwrap();
        let other = thread::spawn(move || drop(pool));
        assert_eq!(alive(&mapper), 1);
        other.join().unwrap();
        assert_eq!(alive(&mapper), 1);
        drop(frame);
        assert_eq!(alive(&mapper), 0);
    });
}

#[test]
fn a_handle_may_be_cloned_while_another_goes() {
    loom::model(|| {
        let (pool, mapper) = pool(1);
        let handle = pool.clone();
        let other = thread::spawn(move || {
            let more = handle.clone();
            drop(handle);
            let frame = more.take();
            drop(more);
            drop(frame);
        });
        drop(pool);
        other.join().unwrap();
        assert_eq!(alive(&mapper), 0);
    });
}

/// The one buffer's owner writes to a cell in which loom notices every access that is not ordered behind the one before.
#[test]
fn a_buffer_has_one_owner_at_a_time() {
    loom::model(|| {
        let (pool, mapper) = pool(1);
        let bytes = loom::sync::Arc::new(UnsafeCell::new(0u32));
        let try_it = |pool: BufPool, bytes: loom::sync::Arc<UnsafeCell<u32>>| {
            move || {
                if let Some(frame) = pool.take() {
                    // SAFETY: whoever has the frame has its bytes, which is what is tested.
                    bytes.with_mut(|bytes| unsafe { *bytes += 1 });
                    drop(frame);
                }
            }
        };
        let first = thread::spawn(try_it(pool.clone(), bytes.clone()));
        let second = thread::spawn(try_it(pool.clone(), bytes.clone()));
        first.join().unwrap();
        second.join().unwrap();
        // SAFETY: both threads are gone.
        let taken = bytes.with(|bytes| unsafe { *bytes });
        assert!((1..=2).contains(&taken), "taken {taken} times");
        assert_eq!(pool.available(), 1);
        drop(pool);
        assert_eq!(alive(&mapper), 0);
    });
}

#[test]
fn a_batch_and_a_frame_go_at_once() {
    loom::model(|| {
        let (pool, mapper) = pool(2);
        let frame = pool.take().unwrap();
        let mut batch = Batch::new(1);
        batch.fill(&pool, 1);
        assert_eq!(pool.available(), 0);
        drop(pool);
        let other = thread::spawn(move || drop(batch));
        drop(frame);
        other.join().unwrap();
        assert_eq!(alive(&mapper), 0);
    });
}
