//! The notifications of packed queues ([`handshake`](crate::ring::handshake)). `ci/loom` runs these.

use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::Relaxed;

use super::{EVENTS_DISABLE, PackedQueue};
use crate::ring::handshake::{Handshake, needs_every_barrier};
use crate::testing::domain;

const SIZE: u16 = 4;
/// The ring's last descriptor, and the first one of the next round.
const PLACES: [u16; 2] = [SIZE - 1, SIZE];

impl Handshake for PackedQueue {
    /// Whether a descriptor has the marks that are waited for.
    type Marks = [AtomicU32; 2];

    fn new(event_idx: bool) -> Self {
        Self::new(&domain().0, SIZE, event_idx).unwrap()
    }
    fn marks() -> Self::Marks {
        [AtomicU32::new(0), AtomicU32::new(0)]
    }
    fn set(marks: &Self::Marks, entry: usize) {
        marks[entry].store(1, Relaxed);
    }
    fn is_set(marks: &Self::Marks, entry: usize) -> bool {
        marks[entry].load(Relaxed) == 1
    }
    fn words(&mut self) -> [[u32; 2]; 2] {
        PLACES.map(|place| {
            (self.next_used, self.next_avail) = (place, place + 2);
            self.arm();
            [self.driver.load(0), EVENTS_DISABLE]
        })
    }
    fn device_wants(&self, word: u32, entry: usize) -> bool {
        self.wants(word, PLACES[entry] + 1, PLACES[entry])
    }
    /// 2.8.10 as a device of these two places reads it: the word of the place itself, or ENABLE.
    fn driver_wants(event_idx: bool, words: [[u32; 2]; 2], word: u32, entry: usize) -> bool {
        if event_idx { word == words[entry][0] } else { word == 0 }
    }
}

#[test]
fn a_packed_queues_device_is_notified_or_looks_again() {
    needs_every_barrier::<PackedQueue>(true);
}

#[test]
fn a_packed_queues_driver_is_interrupted_or_looks_again() {
    needs_every_barrier::<PackedQueue>(false);
}
