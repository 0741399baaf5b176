//! What the barriers promise, with atomics in place of a device's memory and loom in place of the device's clock. `ci/loom` runs these.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

use super::{after_done, before_doorbell, store_then_load};

#[test]
fn what_was_written_before_a_doorbell_is_there_behind_a_done_bit() {
    loom::model(|| {
        let shared = Arc::new((AtomicU32::new(0), UnsafeCell::new(0u32)));
        let (done, bytes) = &*shared;
        let device = thread::spawn({
            let shared = shared.clone();
            move || {
                let (done, bytes) = &*shared;
                // SAFETY: nobody looks before `done` is set.
                bytes.with_mut(|bytes| unsafe { *bytes = 7 });
                before_doorbell();
                done.store(1, Relaxed);
            }
        });
        if done.load(Relaxed) == 1 {
            after_done();
            // SAFETY: `done` is set, so the other end writes no more.
            assert_eq!(bytes.with(|bytes| unsafe { *bytes }), 7);
        }
        device.join().unwrap();
    });
}

/// Publish, then look whether the other side sleeps; go to sleep, then look whether something was published. With one look missed both would wait for ever.
#[test]
fn one_of_two_sides_that_store_and_then_look_sees_the_other() {
    loom::model(|| {
        let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let (published, sleeps) = &*shared;
        let device = thread::spawn({
            let shared = shared.clone();
            move || {
                let (published, sleeps) = &*shared;
                sleeps.store(1, Relaxed);
                store_then_load();
                published.load(Relaxed) == 1
            }
        });
        published.store(1, Relaxed);
        store_then_load();
        let notifies = sleeps.load(Relaxed) == 1;
        assert!(device.join().unwrap() || notifies);
    });
}
