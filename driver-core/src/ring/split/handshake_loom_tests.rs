//! The notifications of split queues, in both directions, in every order in which driver and device can take turns. `ci/loom` runs these.
//!
//! One side makes two entries over to the other, one at a time, across the index's end: of the available ring or of the used ring. The other looks at the index, and where it has
//! not moved asks to be told of the entry and looks once more before it sleeps. What is asked for and whether it is wanted is the driver's own code, and so are the barriers,
//! of which each can be left out.

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

use super::{AVAIL_F_NO_INTERRUPT, AVAIL_RING, SplitQueue, need_event};
use crate::barrier;
use crate::testing::domain;

const SIZE: u16 = 4;
/// The last index of a round of 65536, and the first one of the next.
const PLACES: [u16; 2] = [u16::MAX, 0];

/// A barrier of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// Between an entry and the index.
    BeforeIndex,
    /// Between the index and the look at whether the other side wants to be told.
    BeforeAsking,
    /// Between the wish to be told and the second look at the index.
    BeforeSleep,
    /// Between the index that is seen and the entry.
    AfterIndex,
}

const BARRIERS: [Barrier; 4] = [Barrier::BeforeIndex, Barrier::BeforeAsking, Barrier::BeforeSleep, Barrier::AfterIndex];

#[derive(Clone, Copy)]
struct Case {
    event_idx: bool,
    /// The driver makes chains available, and the device sleeps; else the device uses them.
    driver_gives: bool,
    missing: Option<Barrier>,
}

impl Case {
    fn pass(self, barrier: Barrier) {
        if self.missing != Some(barrier) {
            match barrier {
                Barrier::BeforeIndex => barrier::before_doorbell(),
                Barrier::BeforeAsking | Barrier::BeforeSleep => barrier::store_then_load(),
                Barrier::AfterIndex => barrier::after_done(),
            }
        }
    }
}

/// What the two sides share.
struct Shared {
    /// `idx` of the ring.
    idx: AtomicU32,
    /// Its entries.
    entries: [AtomicU32; 2],
    /// The flags of the side that sleeps, or its event index.
    event: AtomicU32,
}

impl Shared {
    /// Whether the entry at `place` is there.
    fn is_there(&self, place: u16) -> bool {
        (1..=2).contains(&(self.idx.load(Relaxed) as u16).wrapping_sub(place))
    }
}

/// The side that gives. Returns of which entries it told the other.
fn give(shared: &Shared, case: Case, wants: impl Fn(u16, u16, u16) -> bool) -> [bool; 2] {
    let mut told = [false; 2];
    for (k, told) in told.iter_mut().enumerate() {
        let (old, new) = (PLACES[k], PLACES[k].wrapping_add(1));
        shared.entries[k].store(7, Relaxed);
        case.pass(Barrier::BeforeIndex);
        shared.idx.store(new.into(), Relaxed);
        case.pass(Barrier::BeforeAsking);
        *told = wants(shared.event.load(Relaxed) as u16, new, old);
    }
    told
}

/// What came of the side that takes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// The entry that it sleeps for.
    sleeps_for: Option<usize>,
    /// All that it took was there.
    whole: bool,
}

/// The side that takes, and asks for each entry with one of these words; with the other it asks for none.
fn take(shared: &Shared, case: Case, words: [[u16; 2]; 2]) -> Taken {
    let mut whole = true;
    for (k, [wish, nothing]) in words.into_iter().enumerate() {
        if !shared.is_there(PLACES[k]) {
            shared.event.store(wish.into(), Relaxed);
            case.pass(Barrier::BeforeSleep);
            if !shared.is_there(PLACES[k]) {
                return Taken { sleeps_for: Some(k), whole };
            }
            shared.event.store(nothing.into(), Relaxed);
        }
        case.pass(Barrier::AfterIndex);
        whole &= shared.entries[k].load(Relaxed) == 7;
    }
    Taken { sleeps_for: None, whole }
}

/// What the driver's queue writes to be told of each of the two, and to be told of nothing: `arm` and `disarm` at either place.
fn words(queue: &mut SplitQueue) -> [[u16; 2]; 2] {
    PLACES.map(|place| {
        (queue.next_used, queue.published) = (place, place.wrapping_add(2));
        let at = if queue.event_idx { AVAIL_RING + u32::from(SIZE) } else { 0 };
        queue.arm();
        let wish = queue.avail.load(at);
        queue.disarm();
        [wish, queue.avail.load(at)]
    })
}

/// Whether there is an order in which somebody sleeps whom nobody wakes, or takes what is not there.
fn goes_wrong(case: Case) -> bool {
    let wrong = std::sync::Arc::new(AtomicBool::new(false));
    let seen = wrong.clone();
    loom::model(move || {
        let mut queue = SplitQueue::new(&domain().0, SIZE, case.event_idx).unwrap();
        let words = words(&mut queue);
        let entries = [AtomicU32::new(0), AtomicU32::new(0)];
        let shared = Arc::new(Shared { idx: AtomicU32::new(PLACES[0].into()), entries, event: AtomicU32::new(words[0][1].into()) });
        // The driver is this thread; both sides read the words in the same way.
        let (told, taken) = if case.driver_gives {
            let device = thread::spawn({
                let shared = shared.clone();
                move || take(&shared, case, words)
            });
            (give(&shared, case, |word, new, old| queue.wants(word, new, old)), device.join().unwrap())
        } else {
            let device = thread::spawn({
                let shared = shared.clone();
                // 2.7.8: by the driver's event index, or its flag.
                move || {
                    give(&shared, case, |word, new, old| if case.event_idx { need_event(word, new, old) } else { word & AVAIL_F_NO_INTERRUPT == 0 })
                }
            });
            let taken = take(&shared, case, words);
            (device.join().unwrap(), taken)
        };
        if !taken.whole || taken.sleeps_for.is_some_and(|k| !told[k]) {
            seen.store(true, Ordering::Relaxed);
        }
    });
    wrong.load(Ordering::Relaxed)
}

fn holds_with_all_barriers_and_without_none_of_them(driver_gives: bool) {
    for event_idx in [false, true] {
        assert!(!goes_wrong(Case { event_idx, driver_gives, missing: None }), "event_idx: {event_idx}");
        for missing in BARRIERS {
            assert!(
                goes_wrong(Case { event_idx, driver_gives, missing: Some(missing) }),
                "event_idx: {event_idx}: nothing is lost without {missing:?}"
            );
        }
    }
}

#[test]
fn a_split_queues_device_is_notified_or_looks_again() {
    holds_with_all_barriers_and_without_none_of_them(true);
}

#[test]
fn a_split_queues_driver_is_interrupted_or_looks_again() {
    holds_with_all_barriers_and_without_none_of_them(false);
}
