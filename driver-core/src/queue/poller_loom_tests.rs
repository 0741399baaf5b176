//! The arming of a poller against a device that fires once, in every order of their steps: no frame is slept over. `ci/loom` runs these.

use core::sync::atomic::AtomicBool;

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::thread;

use super::*;
use crate::barrier::store_then_load;
use crate::queue::contract::RxCounters;

/// What queue and device share: frames that are there, the vector's mask, how often it fired and was not waited for yet, and whether the device does nothing more.
struct Shared {
    done: AtomicU32,
    is_open: AtomicU32,
    fired: AtomicU32,
    is_over: AtomicU32,
}

impl Shared {
    fn new() -> Arc<Self> {
        let [done, is_open, fired, is_over] = core::array::from_fn(|_| AtomicU32::new(0));
        Arc::new(Self { done, is_open, fired, is_over })
    }

    /// The device has written a frame, and its vector fires once, if it was let through.
    fn receive(&self, number: u32) {
        self.done.store(number, Relaxed);
        store_then_load();
        // A load and a store, and no exchange: loom orders those of two threads by what synchronises them alone.
        if self.is_open.load(Relaxed) == 1 {
            self.is_open.store(0, Relaxed);
            self.fired.fetch_add(1, SeqCst);
        }
    }
}

struct Queue {
    shared: Arc<Shared>,
    taken: u32,
    interrupt: Waiting,
    /// Whether it looks once more behind the arming.
    looks: bool,
}

/// The end of the vector, and whether anybody ever slept on with a frame there and nothing left to wake him.
struct Waiting(Arc<Shared>, &'static AtomicBool);

impl Interrupt for Waiting {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        // Time does not pass in a model: what only a limit ends, never ends.
        assert_eq!(timeout_us, None);
        loop {
            // Read first: behind it nothing fires any more.
            let is_over = self.0.is_over.load(SeqCst) == 1;
            let fired = self.0.fired.swap(0, SeqCst);
            if fired > 0 {
                return Ok(fired.into());
            }
            if is_over {
                self.1.store(true, Relaxed);
                return Ok(0);
            }
            thread::yield_now();
        }
    }
}

impl RxQueue for Queue {
    fn poll(&mut self, _: &mut Batch, budget: usize) -> usize {
        let there = self.shared.done.load(Relaxed) - self.taken;
        let taken = there.min(budget as u32);
        self.taken += taken;
        taken as usize
    }
    fn arm(&mut self) -> bool {
        self.shared.is_open.store(1, Relaxed);
        store_then_load();
        self.looks && self.shared.done.load(Relaxed) != self.taken
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        Some(&mut self.interrupt)
    }
    fn fault(&self) -> Option<QueueFault> {
        None
    }
    fn counters(&self) -> RxCounters {
        RxCounters::default()
    }
}

/// Whether one of so many frames is slept over in any order.
fn is_any_slept_over(frames: u32, looks: bool, spin: Spin, slept_over: &'static AtomicBool) -> bool {
    loom::model(move || {
        let shared = Shared::new();
        let device = thread::spawn({
            let shared = shared.clone();
            move || {
                (1..=frames).for_each(|number| shared.receive(number));
                shared.is_over.store(1, SeqCst);
            }
        });
        let queue = Queue { shared: shared.clone(), taken: 0, interrupt: Waiting(shared, slept_over), looks };
        let mut poller = Poller::new(queue).unwrap().with_spin(spin);
        let (mut batch, mut all) = (Batch::new(2), 0);
        while all < frames as usize {
            // Counted alone: frames would bring a pool's atomics, and with them more orders than there is time for.
            all += poller.next(&mut batch, None).unwrap();
        }
        device.join().unwrap();
    });
    slept_over.load(Relaxed)
}

#[test]
fn no_frame_is_slept_over() {
    static SLEPT_OVER: AtomicBool = AtomicBool::new(false);
    assert!(!is_any_slept_over(2, true, Spin::Never, &SLEPT_OVER));
}

#[test]
fn nor_by_a_poller_that_spins_first() {
    static SLEPT_OVER: AtomicBool = AtomicBool::new(false);
    assert!(!is_any_slept_over(1, true, Spin::Polls(1), &SLEPT_OVER));
}

/// The model finds what it is for.
#[test]
fn by_a_queue_that_does_not_look_behind_its_arming_one_is() {
    static SLEPT_OVER: AtomicBool = AtomicBool::new(false);
    assert!(is_any_slept_over(1, false, Spin::Never, &SLEPT_OVER));
}
