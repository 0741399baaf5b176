//! Forwarding with a thread for each direction of each pair of queues, which polls, sleeps on its queue's interrupt, or does what has paid lately.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use barewire::{Batch, DeviceError, Error, PollError, Poller, RxQueue, Spin};
use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};

use crate::sign::Sign;
use crate::way::Way;

/// How long a thread sleeps at most before it looks whether the run is over, in microseconds.
const LOOK_US: u64 = 10_000;
/// The most polls in vain before [`Mode::Adaptive`] sleeps.
const MOST_SPINS: u32 = 2_000;

/// How a thread waits for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// By polling: a processor is busy whether frames come or not
    Poll,
    /// By sleeping until the queue's interrupt wakes it (NAPI): it polls while there is something
    Interrupt,
    /// By polling on for as long as that has paid lately, and sleeping then
    Adaptive,
}

/// What threads took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Time on processors.
    pub(crate) cpu: Duration,
    pub(crate) polls: u64,
    pub(crate) sleeps: u64,
}

impl Used {
    pub(crate) fn and(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, polls: self.polls + other.polls, sleeps: self.sleeps + other.sleeps }
    }
}

/// A queue, and how it is waited for.
enum Waiting<'a> {
    Polled { rx: &'a mut dyn RxQueue, polls: u64 },
    Slept(Poller<&'a mut dyn RxQueue>),
}

impl<'a> Waiting<'a> {
    fn new(rx: &'a mut dyn RxQueue, mode: Mode, budget: usize) -> Self {
        let spin = match mode {
            Mode::Poll => return Self::Polled { rx, polls: 0 },
            Mode::Interrupt => Spin::Never,
            Mode::Adaptive => Spin::Adaptive { most: MOST_SPINS },
        };
        match Poller::new(rx) {
            Ok(poller) => Self::Slept(poller.with_budget(budget).with_spin(spin)),
            // A port that was started with interrupts has one for each receive queue.
            Err(none) => Self::Polled { rx: none.into_queue(), polls: 0 },
        }
    }

    /// Receives what is there, or waits for it a while.
    fn next(&mut self, batch: &mut Batch, budget: usize, device: &str) -> Result<usize, Error> {
        match self {
            Self::Polled { rx, polls } => {
                *polls += 1;
                let received = rx.poll(batch, budget);
                match rx.fault() {
                    Some(fault) if received == 0 => return Err(Error::Queue { device: device.into(), fault }),
                    _ if received == 0 => std::thread::yield_now(),
                    _ => {}
                }
                Ok(received)
            }
            Self::Slept(poller) => match poller.next(batch, Some(LOOK_US)) {
                Ok(received) => Ok(received),
                Err(PollError::Queue(fault)) => Err(Error::Queue { device: device.into(), fault }),
                Err(PollError::Interrupt(error)) => Err(DeviceError::new(device, "waiting for frames", error).into()),
                // Nobody has a canceller.
                Err(PollError::Cancelled) => Ok(0),
            },
        }
    }

    fn counts(&self) -> (u64, u64) {
        match self {
            Self::Polled { polls, .. } => (*polls, 0),
            Self::Slept(poller) => poller.counts(),
        }
    }
}

/// One direction's thread, until `stop`. Its sign tells how far it is, as those of the other threads do.
pub(crate) fn work(way: &mut Way, mode: Mode, sign: &Sign, stop: &AtomicBool, question: &AtomicU64) -> Result<Used, Error> {
    let Way { rx, batch, out } = way;
    let budget = batch.capacity();
    let (mut waiting, mut all) = (Waiting::new(&mut **rx, mode, budget), 0);
    while !stop.load(Ordering::Relaxed) {
        // Read before the polls, as the question was asked before them.
        let asked = question.load(Ordering::Acquire);
        let received = waiting.next(batch, budget, &out.from)?;
        let moved = received + out.send(batch)?;
        if moved > 0 {
            all += moved as u64;
            sign.moved(all);
        }
        if batch.is_empty() {
            if moved == 0 {
                sign.idle(asked);
            }
        } else if mode != Mode::Poll {
            // What finds no room waits for some, and no further frames come meanwhile.
            out.wait_for_room(LOOK_US)?;
        }
    }
    let (polls, sleeps) = waiting.counts();
    Ok(Used { cpu: thread_time(), polls, sleeps })
}

/// How long the calling thread was on a processor.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
