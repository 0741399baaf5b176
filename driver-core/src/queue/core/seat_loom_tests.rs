//! What a queue and the control handle of its device share, in every order in which their threads can take turns. `ci/loom` runs these.

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::lent::{Lent, Silence, Stop};
use super::seat::Seat;
use crate::ring::fault::QueueFault;

/// What a device writes to until it is silent: loom notices a look at it that is not ordered behind the last write.
#[derive(Debug, Clone)]
struct Written(Arc<Cell>);

#[derive(Debug)]
struct Cell(UnsafeCell<u32>);
// SAFETY: loom looks at every access.
unsafe impl Sync for Cell {}

impl Written {
    fn new() -> Self {
        Self(Arc::new(Cell(UnsafeCell::new(0))))
    }

    /// The device's last write, and its word.
    fn silence(&self) -> Silence {
        // SAFETY: whoever looks at it has waited for the word.
        self.0.0.with_mut(|written| unsafe { *written = 1 });
        // SAFETY: it writes no more.
        unsafe { Silence::confirmed() }
    }
}

/// A ring's memory, and how often it came back.
#[derive(Debug)]
struct Ring {
    written: Written,
    back: std::sync::Arc<AtomicUsize>,
}

impl Lent for Ring {
    unsafe fn release(self) -> u64 {
        // SAFETY: the device is silent, which is what is tested.
        assert_eq!(self.written.0.0.with(|written| unsafe { *written }), 1, "it came back before the device had written for the last time");
        self.back.fetch_add(1, Ordering::SeqCst);
        1
    }
}

fn lent() -> (Ring, Written, std::sync::Arc<AtomicUsize>) {
    let (written, back) = (Written::new(), std::sync::Arc::default());
    (Ring { written: written.clone(), back: std::sync::Arc::clone(&back) }, written, back)
}

#[test]
fn what_a_queue_had_lent_comes_back_once_however_its_end_and_the_devices_fall() {
    loom::model(|| {
        let seat = Arc::new(Seat::new(None));
        let (ring, written, back) = lent();
        let queue = thread::spawn({
            let seat = seat.clone();
            move || seat.give_back(Stop::WithDevice, ring, format_args!("a queue"))
        });
        seat.set_stopping();
        seat.set_stopped(&written.silence());
        queue.join().unwrap();
        assert_eq!(back.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn nothing_comes_back_from_a_device_that_gives_no_word() {
    loom::model(|| {
        let seat = Arc::new(Seat::new(None));
        let (ring, _, back) = lent();
        let queue = thread::spawn({
            let seat = seat.clone();
            move || seat.give_back(Stop::WithDevice, ring, format_args!("a queue"))
        });
        seat.set_stopping();
        queue.join().unwrap();
        drop(seat);
        assert_eq!(back.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_fault_found_at_the_same_time_hides_no_silence() {
    loom::model(|| {
        let seat = Arc::new(Seat::new(None));
        let (_, written, _) = lent();
        let queue = thread::spawn({
            let seat = seat.clone();
            move || seat.set_failed(QueueFault::NeedsReset)
        });
        seat.set_stopping();
        seat.set_stopped(&written.silence());
        queue.join().unwrap();
        assert!(seat.silence().is_some() && !seat.is_running());
        assert!(matches!(seat.fault(), Some(QueueFault::NeedsReset | QueueFault::Stopped)));
    });
}
