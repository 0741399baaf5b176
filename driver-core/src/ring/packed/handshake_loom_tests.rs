//! The notifications of packed queues, in both directions, in every order in which driver and device can take turns. `ci/loom` runs these.
//!
//! One side makes two descriptors over to the other, one at a time, across the ring's end: available ones or used ones. The other looks at each, and where it is not there
//! asks to be told of it and looks once more before it sleeps. What is asked for and whether it is wanted is the driver's own code, and so are the barriers, of which each
//! can be left out.

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

use super::{EVENTS_DISABLE, PackedQueue};
use crate::barrier;
use crate::testing::domain;

const SIZE: u16 = 4;
/// The ring's last descriptor, and the first one of the next round.
const PLACES: [u16; 2] = [SIZE - 1, SIZE];

/// A barrier of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// Between what a descriptor vouches for and its marks.
    BeforeMarks,
    /// Between marks and the look at whether the other side wants to be told.
    BeforeAsking,
    /// Between the wish to be told and the second look at the marks.
    BeforeSleep,
    /// Between the marks that are seen and what they vouch for.
    AfterMarks,
}

const BARRIERS: [Barrier; 4] = [Barrier::BeforeMarks, Barrier::BeforeAsking, Barrier::BeforeSleep, Barrier::AfterMarks];

#[derive(Clone, Copy)]
struct Case {
    event_idx: bool,
    /// The driver makes descriptors available, and the device sleeps; else the device uses them.
    driver_gives: bool,
    missing: Option<Barrier>,
}

impl Case {
    fn pass(self, barrier: Barrier) {
        if self.missing != Some(barrier) {
            match barrier {
                Barrier::BeforeMarks => barrier::before_doorbell(),
                Barrier::BeforeAsking | Barrier::BeforeSleep => barrier::store_then_load(),
                Barrier::AfterMarks => barrier::after_done(),
            }
        }
    }
}

/// What the two sides share.
struct Shared {
    /// Whether a descriptor has the marks that are waited for.
    marks: [AtomicU32; 2],
    /// What it vouches for.
    bytes: [AtomicU32; 2],
    /// The event suppression structure of the side that sleeps.
    event: AtomicU32,
}

/// The side that gives. Returns of which descriptors it told the other.
fn give(shared: &Shared, case: Case, wants: impl Fn(u32, u16, u16) -> bool) -> [bool; 2] {
    let mut told = [false; 2];
    for (k, told) in told.iter_mut().enumerate() {
        shared.bytes[k].store(7, Relaxed);
        case.pass(Barrier::BeforeMarks);
        shared.marks[k].store(1, Relaxed);
        case.pass(Barrier::BeforeAsking);
        *told = wants(shared.event.load(Relaxed), PLACES[k] + 1, PLACES[k]);
    }
    told
}

/// What came of the side that takes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// The descriptor that it sleeps for.
    sleeps_for: Option<usize>,
    /// All that it took was there.
    whole: bool,
}

/// The side that takes, and asks for each descriptor with one of these words.
fn take(shared: &Shared, case: Case, wishes: [u32; 2]) -> Taken {
    let mut whole = true;
    for (k, wish) in wishes.into_iter().enumerate() {
        if shared.marks[k].load(Relaxed) == 0 {
            shared.event.store(wish, Relaxed);
            case.pass(Barrier::BeforeSleep);
            if shared.marks[k].load(Relaxed) == 0 {
                return Taken { sleeps_for: Some(k), whole };
            }
            shared.event.store(EVENTS_DISABLE, Relaxed);
        }
        case.pass(Barrier::AfterMarks);
        whole &= shared.bytes[k].load(Relaxed) == 7;
    }
    Taken { sleeps_for: None, whole }
}

/// What the driver's queue writes to be told of each of the two: `arm` at either place.
fn wishes(queue: &mut PackedQueue) -> [u32; 2] {
    PLACES.map(|place| {
        (queue.next_used, queue.next_avail) = (place, place + 2);
        queue.arm();
        queue.driver.load(0)
    })
}

/// Whether there is an order in which somebody sleeps whom nobody wakes, or takes what is not there.
fn goes_wrong(case: Case) -> bool {
    let wrong = std::sync::Arc::new(AtomicBool::new(false));
    let seen = wrong.clone();
    loom::model(move || {
        let mut queue = PackedQueue::new(&domain().0, SIZE, case.event_idx).unwrap();
        let wishes = wishes(&mut queue);
        let event = AtomicU32::new(EVENTS_DISABLE);
        let shared = Arc::new(Shared { marks: [AtomicU32::new(0), AtomicU32::new(0)], bytes: [AtomicU32::new(0), AtomicU32::new(0)], event });
        // The driver is this thread; both sides read the words in the same way.
        let (told, taken) = if case.driver_gives {
            let device = thread::spawn({
                let shared = shared.clone();
                move || take(&shared, case, wishes)
            });
            (give(&shared, case, |event, new, old| queue.wants(event, new, old)), device.join().unwrap())
        } else {
            let device = thread::spawn({
                let shared = shared.clone();
                // 2.8.10 as a device of these two places reads it: the word of the place itself, or ENABLE.
                move || give(&shared, case, |event, _, old| if case.event_idx { event == wishes[usize::from(old - PLACES[0])] } else { event == 0 })
            });
            let taken = take(&shared, case, wishes);
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
fn a_packed_queues_device_is_notified_or_looks_again() {
    holds_with_all_barriers_and_without_none_of_them(true);
}

#[test]
fn a_packed_queues_driver_is_interrupted_or_looks_again() {
    holds_with_all_barriers_and_without_none_of_them(false);
}
