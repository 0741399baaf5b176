//! The notifications of a virtqueue, in both directions, in every order in which driver and device can take turns: what the models of split and packed queues share.
//!
//! One side makes two entries over to the other, one at a time, across the ring's end: available ones or used ones. The other looks at each, and where it is not there
//! asks to be told of it and looks once more before it sleeps. What is asked for and whether it is wanted is the driver's own code, and so are the barriers, of which each
//! can be left out.

use std::sync::atomic::{AtomicBool, Ordering};

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

use crate::barrier;

/// A barrier of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Barrier {
    /// Between what an entry vouches for and what says that it is there.
    BeforeMarks,
    /// Between that and the look at whether the other side wants to be told.
    BeforeAsking,
    /// Between the wish to be told and the second look at what is there.
    BeforeSleep,
    /// Between an entry that is seen to be there and what it vouches for.
    AfterMarks,
}

const BARRIERS: [Barrier; 4] = [Barrier::BeforeMarks, Barrier::BeforeAsking, Barrier::BeforeSleep, Barrier::AfterMarks];

/// The driver's end of a queue of one layout, and what its device reads and writes.
pub(super) trait Handshake: Sized {
    /// What says that entries are there.
    type Marks: Send + Sync + 'static;

    /// A queue with nothing in it.
    fn new(event_idx: bool) -> Self;
    /// Neither of the two entries is there.
    fn marks() -> Self::Marks;
    /// Says that an entry is there.
    fn set(marks: &Self::Marks, entry: usize);
    /// Whether an entry is there.
    fn is_set(marks: &Self::Marks, entry: usize) -> bool;
    /// What the driver's queue writes to be told of each entry, and to be told of nothing.
    fn words(&mut self) -> [[u32; 2]; 2];
    /// Whether the device wants to be told of an entry, by its word.
    fn device_wants(&self, word: u32, entry: usize) -> bool;
    /// Whether the driver does, by its word, as a device reads it: one of `words`.
    fn driver_wants(event_idx: bool, words: [[u32; 2]; 2], word: u32, entry: usize) -> bool;
}

#[derive(Clone, Copy)]
struct Case {
    event_idx: bool,
    /// The driver makes entries available, and the device sleeps; else the device uses them.
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
struct Shared<M> {
    marks: M,
    /// What each entry vouches for.
    bytes: [AtomicU32; 2],
    /// Where the side that sleeps says what it wants to be told of.
    event: AtomicU32,
}

/// The side that gives. Returns of which entries it told the other.
fn give<H: Handshake>(shared: &Shared<H::Marks>, case: Case, wants: impl Fn(u32, usize) -> bool) -> [bool; 2] {
    [0, 1].map(|entry| {
        shared.bytes[entry].store(7, Relaxed);
        case.pass(Barrier::BeforeMarks);
        H::set(&shared.marks, entry);
        case.pass(Barrier::BeforeAsking);
        wants(shared.event.load(Relaxed), entry)
    })
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
fn take<H: Handshake>(shared: &Shared<H::Marks>, case: Case, words: [[u32; 2]; 2]) -> Taken {
    let mut whole = true;
    for (entry, [wish, nothing]) in words.into_iter().enumerate() {
        if !H::is_set(&shared.marks, entry) {
            shared.event.store(wish, Relaxed);
            case.pass(Barrier::BeforeSleep);
            if !H::is_set(&shared.marks, entry) {
                return Taken { sleeps_for: Some(entry), whole };
            }
            shared.event.store(nothing, Relaxed);
        }
        case.pass(Barrier::AfterMarks);
        whole &= shared.bytes[entry].load(Relaxed) == 7;
    }
    Taken { sleeps_for: None, whole }
}

/// Whether there is an order in which somebody sleeps whom nobody wakes, or takes what is not there.
fn goes_wrong<H: Handshake>(case: Case) -> bool {
    let wrong = std::sync::Arc::new(AtomicBool::new(false));
    let seen = wrong.clone();
    loom::model(move || {
        let mut queue = H::new(case.event_idx);
        let words = queue.words();
        let bytes = [AtomicU32::new(0), AtomicU32::new(0)];
        let shared = Arc::new(Shared { marks: H::marks(), bytes, event: AtomicU32::new(words[0][1]) });
        let of_device = shared.clone();
        // The driver is this thread; both sides read the words in the same way.
        let (told, taken) = if case.driver_gives {
            let device = thread::spawn(move || take::<H>(&of_device, case, words));
            (give::<H>(&shared, case, |word, entry| queue.device_wants(word, entry)), device.join().unwrap())
        } else {
            let device = thread::spawn(move || give::<H>(&of_device, case, |word, entry| H::driver_wants(case.event_idx, words, word, entry)));
            let taken = take::<H>(&shared, case, words);
            (device.join().unwrap(), taken)
        };
        if !taken.whole || taken.sleeps_for.is_some_and(|entry| !told[entry]) {
            seen.store(true, Ordering::Relaxed);
        }
    });
    wrong.load(Ordering::Relaxed)
}

/// Nothing goes wrong with all barriers, and something does without any one of them.
pub(super) fn needs_every_barrier<H: Handshake>(driver_gives: bool) {
    for event_idx in [false, true] {
        assert!(!goes_wrong::<H>(Case { event_idx, driver_gives, missing: None }), "event_idx: {event_idx}");
        for missing in BARRIERS {
            let case = Case { event_idx, driver_gives, missing: Some(missing) };
            assert!(goes_wrong::<H>(case), "event_idx: {event_idx}: nothing is lost without {missing:?}");
        }
    }
}
