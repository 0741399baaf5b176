//! What a driver did that the datasheet forbids.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many violations are kept; later ones are only counted.
const KEPT: usize = 256;

/// One thing that a driver did and the datasheet forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The violations that one device has seen, oldest first. Bounded: beyond a few hundred they are only counted.
#[derive(Debug, Default)]
pub struct Violations {
    list: Mutex<Vec<Violation>>,
    total: AtomicU64,
}

impl Violations {
    /// Records one. `location` is only formatted where the violation is kept.
    #[cold]
    pub fn record(&self, what: &'static str, location: fmt::Arguments<'_>, value: u64, section: &'static str) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if list.len() < KEPT {
            let violation = Violation { what, location: location.to_string(), value, section };
            log::warn!("{violation}");
            list.push(violation);
        }
    }

    /// Those that were kept.
    pub fn to_vec(&self) -> Vec<Violation> {
        self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Takes those that were kept, and starts to count from zero: for tests that provoke one.
    pub fn take(&self) -> Vec<Violation> {
        self.total.store(0, Ordering::Relaxed);
        std::mem::take(&mut self.list.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// How many there were, kept or not.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
