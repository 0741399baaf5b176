//! The notifications of split queues ([`handshake`](crate::ring::handshake)). `ci/loom` runs these.

use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::Relaxed;

use super::{AVAIL_F_NO_INTERRUPT, AVAIL_RING, SplitQueue, need_event};
use crate::ring::handshake::{Handshake, needs_every_barrier};
use crate::testing::domain;

const SIZE: u16 = 4;
/// The last index of a round of 65536, and the first one of the next.
const PLACES: [u16; 2] = [u16::MAX, 0];

impl Handshake for SplitQueue {
    /// `idx` of the ring.
    type Marks = AtomicU32;

    fn new(event_idx: bool) -> Self {
        Self::new(&domain().0, SIZE, event_idx).unwrap()
    }
    fn marks() -> Self::Marks {
        AtomicU32::new(PLACES[0].into())
    }
    fn set(idx: &Self::Marks, entry: usize) {
        idx.store(PLACES[entry].wrapping_add(1).into(), Relaxed);
    }
    fn is_set(idx: &Self::Marks, entry: usize) -> bool {
        (1..=2).contains(&(idx.load(Relaxed) as u16).wrapping_sub(PLACES[entry]))
    }
    fn words(&mut self) -> [[u32; 2]; 2] {
        let at = if self.event_idx { AVAIL_RING + u32::from(SIZE) } else { 0 };
        PLACES.map(|place| {
            (self.next_used, self.published) = (place, place.wrapping_add(2));
            self.arm();
            let wish = self.avail.load(at);
            self.disarm();
            [wish.into(), self.avail.load(at).into()]
        })
    }
    fn device_wants(&self, word: u32, entry: usize) -> bool {
        self.wants(word as u16, PLACES[entry].wrapping_add(1), PLACES[entry])
    }
    /// 2.7.8: by the driver's event index, or its flag.
    fn driver_wants(event_idx: bool, _: [[u32; 2]; 2], word: u32, entry: usize) -> bool {
        let (word, old) = (word as u16, PLACES[entry]);
        if event_idx { need_event(word, old.wrapping_add(1), old) } else { word & AVAIL_F_NO_INTERRUPT == 0 }
    }
}

#[test]
fn a_split_queues_device_is_notified_or_looks_again() {
    needs_every_barrier::<SplitQueue>(true);
}

#[test]
fn a_split_queues_driver_is_interrupted_or_looks_again() {
    needs_every_barrier::<SplitQueue>(false);
}
