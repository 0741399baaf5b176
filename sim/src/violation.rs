//! What a driver did that the datasheet forbids.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many violations of a kind are kept; later ones are only counted, so that a flood of one does not hide the first of another.
const KEPT_OF_A_KIND: usize = 64;

/// One thing that a driver did and the datasheet forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// What is forbidden.
    pub what: &'static str,
    /// Where: the register or the descriptor, with its queue and index.
    pub location: String,
    /// The value written, or the address used.
    pub value: u64,
    /// The section of the datasheet that says so.
    pub section: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} (value {:#x}, section {})", self.what, self.location, self.value, self.section)
    }
}

/// The violations that one device has seen, oldest first. Bounded: beyond some of a kind they are only counted.
#[derive(Debug, Default)]
pub struct Violations {
    kept: Mutex<Kept>,
    total: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    list: Vec<Violation>,
    /// How many of each kind there are in the list.
    kinds: HashMap<&'static str, usize>,
}

impl Violations {
    /// Records one. `location` is only formatted where the violation is kept.
    #[cold]
    pub fn record(&self, what: &'static str, location: fmt::Arguments<'_>, value: u64, section: &'static str) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.lock();
        let Kept { list, kinds } = &mut *kept;
        let of_this_kind = kinds.entry(what).or_default();
        if *of_this_kind < KEPT_OF_A_KIND {
            *of_this_kind += 1;
            let violation = Violation { what, location: location.to_string(), value, section };
            log::warn!("{violation}");
            if *of_this_kind == KEPT_OF_A_KIND {
                // Under a name of its own: who reads the log for violations finds those alone.
                log::warn!(target: "sim", "from here on only counted, after {KEPT_OF_A_KIND} of a kind: {what}");
            }
            list.push(violation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that were kept.
    pub fn to_vec(&self) -> Vec<Violation> {
        self.lock().list.clone()
    }

    /// Takes those that were kept, and starts to count from zero: for tests that provoke one.
    pub fn take(&self) -> Vec<Violation> {
        self.total.store(0, Ordering::Relaxed);
        std::mem::take(&mut *self.lock()).list
    }

    /// How many there were, kept or not.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
