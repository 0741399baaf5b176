//! Polling, arming, sleeping, and being cancelled.

use std::string::ToString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::host::pci::{Interrupt, PciError, WaitWaker};
use crate::queue::contract::{RxCounters, RxQueue};
use crate::queue::poller::{CANCEL_LOOK_US, PollError, Poller, STALL_US};
use crate::queue::spin::Spin;
use crate::ring::fault::QueueFault;
use crate::testing::{FakeInterrupt, Trigger, domain};

/// Each poll gives as many frames as the script says, each arming what it says.
struct Script {
    pool: BufPool,
    polls: Vec<usize>,
    arms: Vec<bool>,
    waits: Option<Waits>,
    /// Polls after which the queue is broken.
    breaks_after: usize,
    polled: usize,
}

impl RxQueue for Script {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        self.polled += 1;
        let frames = if self.polls.is_empty() { 0 } else { self.polls.remove(0) };
        batch.fill(&self.pool, frames.min(budget))
    }
    fn arm(&mut self) -> bool {
        self.arms.remove(0)
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.waits.as_mut().map(|waits| waits as _)
    }
    fn fault(&self) -> Option<QueueFault> {
        (self.polled >= self.breaks_after).then_some(FAULT)
    }
    fn counters(&self) -> RxCounters {
        RxCounters::default()
    }
}

const FAULT: QueueFault = QueueFault::Index { index: 7, limit: 4 };

/// Remembers for how long it was waited on.
#[derive(Default)]
struct Waits(Vec<Option<u64>>);

impl Interrupt for Waits {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        self.0.push(timeout_us);
        Ok(1)
    }
}

fn script(polls: Vec<usize>, arms: Vec<bool>) -> Script {
    let pool = BufPool::new(&domain().0, PoolConfig::new(256)).unwrap();
    Script { pool, polls, arms, waits: Some(Waits::default()), breaks_after: usize::MAX, polled: 0 }
}

/// What one `next` returns, and which waits it made.
fn next(polls: Vec<usize>, arms: Vec<bool>, timeout_us: Option<u64>, room: usize) -> (usize, Vec<Option<u64>>) {
    let script = script(polls, arms);
    let mut batch = Batch::new(room.max(1));
    if room == 0 {
        batch.fill(&script.pool, 1);
    }
    let mut poller = Poller::new(script).unwrap().with_budget(8);
    let received = poller.next(&mut batch, timeout_us).unwrap();
    let script = poller.into_queue();
    assert!(script.arms.is_empty(), "armed as often as the script says");
    (received, script.waits.unwrap().0)
}

#[test]
fn frames_that_are_there_cost_no_wait() {
    assert_eq!(next(vec![3], vec![], None, 64), (3, vec![]));
    assert_eq!(next(vec![100], vec![], None, 64), (8, vec![]), "no more than the budget");
    assert_eq!(next(vec![0], vec![], None, 0), (0, vec![]), "a full batch is no reason to sleep");
}

#[test]
fn a_queue_is_polled_on_for_a_while_before_anybody_sleeps() {
    let run = |spin, polls: Vec<usize>, arms| {
        let mut poller = Poller::new(script(polls, arms)).unwrap().with_spin(spin);
        let received = poller.next(&mut Batch::new(8), None).unwrap();
        (received, poller.counts())
    };
    assert_eq!(run(Spin::Polls(5), vec![0, 0, 0, 2], vec![]), (2, (4, 0)), "found in the third of five");
    assert_eq!(run(Spin::Polls(2), vec![0, 0, 0, 2], vec![false]), (2, (4, 1)), "and where it was not, it slept");
    assert_eq!(run(Spin::Adaptive { most: 100 }, vec![0, 0, 0, 2], vec![]), (2, (4, 0)));
    let mut poller = Poller::new(script(vec![], vec![])).unwrap().with_spin(Spin::Polls(u32::MAX));
    let canceller = poller.canceller().unwrap();
    let cancels = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(if cfg!(miri) { 0 } else { 5 }));
        canceller.cancel();
    });
    assert_eq!(poller.next(&mut Batch::new(8), None), Err(PollError::Cancelled), "who spins is cancelled too");
    cancels.join().unwrap();
}

#[test]
fn an_idle_queue_is_armed_waited_for_and_polled_again() {
    assert_eq!(next(vec![0, 5], vec![false], Some(777), 64), (5, vec![Some(777)]));
    assert_eq!(next(vec![0, 0], vec![false], None, 64), (0, vec![None]));
}

#[test]
fn a_frame_that_came_before_the_arming_is_not_slept_over() {
    assert_eq!(next(vec![0, 2], vec![true], None, 64), (2, vec![]));
}

#[test]
fn a_stalled_queue_sleeps_a_little_and_not_for_an_interrupt() {
    assert_eq!(next(vec![0, 0, 4], vec![true], None, 64), (4, vec![Some(STALL_US)]));
    assert_eq!(next(vec![0, 0, 0], vec![true], Some(7), 64), (0, vec![Some(7)]));
}

#[test]
fn a_queue_that_breaks_is_not_slept_on() {
    // In the first poll, in the one behind the arming, in the one behind the sleep.
    for (breaks_after, arms, waits) in [(1, vec![], 0), (2, vec![true], 0), (2, vec![false], 1), (3, vec![true], 1)] {
        let mut poller = Poller::new(Script { breaks_after, ..script(vec![], arms) }).unwrap();
        let error = poller.next(&mut Batch::new(8), None).unwrap_err();
        assert_eq!(error, PollError::Queue(FAULT));
        assert!(error.to_string().ends_with("the device names descriptor 7 of 4, which was not lent to it"), "{error}");
        assert_eq!(poller.counts(), (breaks_after as u64, waits));
    }
}

#[test]
fn frames_that_came_before_the_fault_are_handed_up_first() {
    let mut poller = Poller::new(Script { breaks_after: 1, ..script(vec![3], vec![]) }).unwrap();
    let mut batch = Batch::new(8);
    assert_eq!(poller.next(&mut batch, None), Ok(3));
    assert_eq!(poller.next(&mut batch, None), Err(PollError::Queue(FAULT)));
}

/// A cancellation from a thread that begins when the poller is about to sleep.
fn cancelled(mut poller: Poller<impl RxQueue>, timeout_us: Option<u64>) {
    let canceller = poller.canceller().unwrap();
    let mut batch = Batch::new(8);
    // Before the wait, however often: it ends one, without a poll.
    canceller.cancel();
    canceller.clone().cancel();
    let (polls, _) = poller.counts();
    assert_eq!((poller.next(&mut batch, timeout_us), poller.counts().0), (Err(PollError::Cancelled), polls));
    // During the wait.
    let other = poller.canceller().unwrap();
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        let at = Instant::now();
        other.cancel();
        at
    });
    let mut ended = poller.next(&mut batch, timeout_us);
    while ended == Ok(0) {
        ended = poller.next(&mut batch, timeout_us);
    }
    let took = late.join().unwrap().elapsed();
    assert!(ended == Err(PollError::Cancelled) && took < Duration::from_millis(100), "{ended:?} after {took:?}");
    assert!(PollError::Cancelled.to_string().contains("the queue works as before"));
    assert_eq!(poller.next(&mut batch, Some(0)), Ok(0));
}

/// A queue that is always idle.
struct Idle<I>(I);

impl<I: Interrupt> RxQueue for Idle<I> {
    fn poll(&mut self, _: &mut Batch, _: usize) -> usize {
        0
    }
    fn arm(&mut self) -> bool {
        false
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        Some(&mut self.0)
    }
    fn fault(&self) -> Option<QueueFault> {
        None
    }
    fn counters(&self) -> RxCounters {
        RxCounters::default()
    }
}

/// The same on a vector that fires where its wait is to end.
fn idle() -> impl RxQueue {
    let line = Trigger::default();
    Idle(Vector(line.interrupt(), line))
}

/// A vector whose waits end by its being fired.
struct Vector(FakeInterrupt, Trigger);

struct Fires(Trigger);

impl WaitWaker for Fires {
    fn wake(&self) {
        self.0.fire();
    }
}

impl Interrupt for Vector {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        self.0.wait(timeout_us)
    }
    fn waker(&mut self) -> Result<Option<Arc<dyn WaitWaker>>, PciError> {
        Ok(Some(Arc::new(Fires(self.1.clone()))))
    }
}

#[test]
fn a_wait_is_cancelled_by_another_thread() {
    cancelled(Poller::new(idle()).unwrap(), None);
    cancelled(Poller::new(idle()).unwrap(), Some(60_000_000));
}

#[test]
fn an_interrupt_that_cannot_be_woken_is_waited_for_in_pieces() {
    /// Waits by the machine's clock and never fires.
    struct Deaf(usize);
    impl Interrupt for Deaf {
        fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
            self.0 += 1;
            std::thread::sleep(Duration::from_micros(timeout_us.expect("a limit, since nothing ends it")));
            Ok(0)
        }
    }
    cancelled(Poller::new(Idle(Deaf(0))).unwrap(), None);
    // No more pieces than the time has.
    let mut poller = Poller::new(Idle(Deaf(0))).unwrap();
    poller.canceller().unwrap();
    assert_eq!(poller.next(&mut Batch::new(1), Some(25_000)), Ok(0));
    assert_eq!((poller.into_queue().0.0, CANCEL_LOOK_US), (3, 10_000));
}

#[test]
fn a_busy_queue_is_cancelled_too_and_loses_nothing() {
    let mut poller = Poller::new(script(vec![3, 2], vec![])).unwrap();
    let canceller = poller.canceller().unwrap();
    let mut batch = Batch::new(8);
    assert_eq!(poller.next(&mut batch, None), Ok(3));
    canceller.cancel();
    assert_eq!((poller.next(&mut batch, None), poller.next(&mut batch, None)), (Err(PollError::Cancelled), Ok(2)));
}

#[test]
fn a_queue_without_an_interrupt_comes_back() {
    let error = Poller::new(Script { waits: None, ..script(vec![1], vec![]) }).unwrap_err();
    assert!(error.to_string().contains("start the device with interrupts"), "{error}");
    assert_eq!(error.into_queue().poll(&mut Batch::new(1), 1), 1);
}

#[test]
fn an_interrupt_that_went_away_is_an_error() {
    let mut poller = Poller::new(script(vec![], vec![false])).unwrap();
    poller.queue_mut().waits = None;
    let error = poller.next(&mut Batch::new(1), None).unwrap_err();
    assert!(error.to_string().ends_with("waiting for its interrupt: the function has no interrupt any more: poll the queue"), "{error}");
}
