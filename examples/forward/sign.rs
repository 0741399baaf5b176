//! What a forwarding thread tells the one that looks after the ports.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the thread of a pair tells. Each in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Sign {
    /// Frames that came or went.
    moved: AtomicU64,
    /// The last question that it has answered: since it was asked, there was nothing to do once.
    idle: AtomicU64,
}

impl Sign {
    /// So many frames came or went so far.
    pub(crate) fn moved(&self, all: u64) {
        self.moved.store(all, Ordering::Release);
    }

    /// There was nothing to do, since the question was `asked`.
    pub(crate) fn idle(&self, asked: u64) {
        self.idle.store(asked, Ordering::Release);
    }

    /// How many frames came or went so far.
    pub(crate) fn all_moved(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }

    /// Whether there was nothing to do once since the question was `asked`.
    pub(crate) fn was_idle_since(&self, asked: u64) -> bool {
        self.idle.load(Ordering::Acquire) >= asked
    }
}
