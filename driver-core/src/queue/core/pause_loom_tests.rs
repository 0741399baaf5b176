//! How a queue pauses and goes on while the control handle resets its device, in every order in which their threads can take turns. `ci/loom` runs these.

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::lent::{Lent, Silence, Stop};
use super::seat::pause::Pause;
use super::seat::{Seat, State};
use crate::ring::fault::QueueFault;

/// A ring's descriptors: loom notices two who look and write without an order between them.
#[derive(Debug)]
struct Cell(UnsafeCell<u32>);
// SAFETY: loom looks at every access.
unsafe impl Sync for Cell {}

#[derive(Debug, Clone)]
struct Ring {
    descriptors: Arc<Cell>,
    back: std::sync::Arc<AtomicUsize>,
}

impl Ring {
    fn new() -> Self {
        Self { descriptors: Arc::new(Cell(UnsafeCell::new(0))), back: std::sync::Arc::default() }
    }

    /// Whoever owns it now writes to it.
    fn write(&self, value: u32) {
        // SAFETY: who owns it is what is tested.
        self.descriptors.0.with_mut(|descriptors| unsafe { *descriptors = value });
    }

    fn read(&self) -> u32 {
        // SAFETY: as above.
        self.descriptors.0.with(|descriptors| unsafe { *descriptors })
    }

    fn is_back(&self) -> bool {
        self.back.load(Ordering::SeqCst) > 0
    }
}

impl Lent for Ring {
    unsafe fn release(self) -> u64 {
        self.write(99);
        self.back.fetch_add(1, Ordering::SeqCst);
        0
    }
}

/// The device's word, behind its last write.
fn silence(ring: &Ring) -> Silence {
    ring.write(1);
    // SAFETY: it writes no more.
    unsafe { Silence::confirmed() }
}

/// One call of a queue that may not work.
fn call(seat: &Seat, ring: &Ring) {
    if let Pause::Rewind(_) = seat.acknowledge() {
        ring.write(2);
        seat.set_rewound();
    }
}

/// The control handle's part of a recovery that works at once. Says whether it turned the queue on.
fn recover(seat: &Seat, ring: &Ring) -> bool {
    seat.let_rewind(&silence(ring));
    turn_on(seat, ring)
}

fn turn_on(seat: &Seat, ring: &Ring) -> bool {
    if !seat.join() {
        return false;
    }
    assert_eq!((ring.read(), ring.is_back()), (2, false), "the device finds the ring as its queue left it");
    ring.write(3);
    seat.resume();
    true
}

#[test]
fn a_ring_belongs_to_one_at_a_time_in_a_pause() {
    loom::model(|| {
        let (seat, ring) = (Arc::new(Seat::new(None)), Ring::new());
        seat.pause();
        assert!(!seat.is_running() && seat.fault().is_none());
        let queue = thread::spawn({
            let (seat, ring) = (seat.clone(), ring.clone());
            move || {
                call(&seat, &ring);
                call(&seat, &ring);
            }
        });
        let was_on = recover(&seat, &ring);
        queue.join().unwrap();
        // Who was too late for the first look comes with a later one.
        call(&seat, &ring);
        assert!(was_on || turn_on(&seat, &ring));
        assert!(seat.is_running() && seat.fault().is_none());
    });
}

/// A try that failed behind `let_rewind`, and the next: what was rewound stays so.
#[test]
fn a_second_reset_finds_a_queue_anywhere_in_its_pause() {
    loom::model(|| {
        let (seat, ring) = (Arc::new(Seat::new(None)), Ring::new());
        seat.pause();
        let queue = thread::spawn({
            let (seat, ring) = (seat.clone(), ring.clone());
            move || {
                call(&seat, &ring);
                call(&seat, &ring);
            }
        });
        // SAFETY: the first reset of the device, which was silent by then.
        let word = unsafe { Silence::confirmed() };
        seat.let_rewind(&word);
        let joined = seat.join();
        seat.pause();
        // SAFETY: the second.
        let word = unsafe { Silence::confirmed() };
        seat.stay_rewound(&word);
        seat.let_rewind(&word);
        queue.join().unwrap();
        call(&seat, &ring);
        assert!(!joined || ring.read() == 2);
        assert!(turn_on(&seat, &ring) && seat.is_running());
    });
}

#[test]
fn a_queue_that_goes_in_a_pause_gives_its_ring_back_once_and_none_that_is_on() {
    loom::model(|| {
        let (seat, ring) = (Arc::new(Seat::new(None)), Ring::new());
        seat.pause();
        let queue = thread::spawn({
            let (seat, ring) = (seat.clone(), ring.clone());
            move || {
                call(&seat, &ring);
                // `None`: it runs by now, and its hardware confirms that it is off.
                let stop = seat.leave().unwrap_or(Stop::WithDevice);
                seat.give_back(stop, ring, format_args!("a queue"));
            }
        });
        let is_on = recover(&seat, &ring);
        queue.join().unwrap();
        assert!(!is_on || !ring.is_back(), "what is on is kept until the device is silent");
        seat.set_stopping();
        // SAFETY: it is the end of the device.
        let word = unsafe { Silence::confirmed() };
        seat.set_stopped(&word);
        assert_eq!(ring.back.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_fault_that_a_reset_mends_is_not_left_behind_and_any_other_is() {
    for (fault, is_mended) in [(QueueFault::Hung { queue: 0, since_us: 0 }, true), (QueueFault::Protocol("lie"), false)] {
        loom::model(move || {
            let seat = Arc::new(Seat::new(None));
            let queue = thread::spawn({
                let seat = seat.clone();
                move || seat.set_failed(fault)
            });
            seat.pause();
            queue.join().unwrap();
            match seat.state() {
                State::Pausing => assert_eq!((seat.cause(), seat.fault()), (None, None)),
                state => assert_eq!((state, seat.cause(), is_mended), (State::Failed, Some(fault), false)),
            }
        });
    }
}

#[test]
fn who_is_given_up_in_a_pause_stays_so() {
    loom::model(|| {
        let (seat, ring) = (Arc::new(Seat::new(None)), Ring::new());
        seat.pause();
        seat.let_rewind(&silence(&ring));
        let queue = thread::spawn({
            let (seat, ring) = (seat.clone(), ring.clone());
            move || call(&seat, &ring)
        });
        seat.give_up(QueueFault::NeedsReset);
        queue.join().unwrap();
        call(&seat, &ring);
        assert_eq!((seat.state(), seat.fault()), (State::Failed, Some(QueueFault::NeedsReset)));
        assert!(!seat.join());
    });
}
