//! The lock and the atomics that threads share.
//!
//! Under `cfg(loom)`, in this crate's own tests alone, they are loom's: a test then runs in every order in which its threads can take turns, and with
//! every value that a load may see. `ci/loom` does that.

#[cfg(not(all(test, loom)))]
mod chosen {
    pub(crate) use core::sync::atomic::{AtomicU8, AtomicU64};
    pub(crate) use spin::Mutex;
}

#[cfg(all(test, loom))]
mod chosen {
    use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64};

    /// loom's lock with the verbs of `spin`'s. No test of a model panics with a lock held, so none is ever poisoned.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

pub(crate) use core::sync::atomic::Ordering;

pub(crate) use chosen::{AtomicU8, AtomicU64, Mutex};
