//! What one queue and the control handle of its device, on their several threads, know of one another.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::ops::AddAssign;

use crate::host::clock::Clock;
use crate::queue::core::lent::{Left, Lent, Parked, Silence, Stop};
use crate::ring::fault::QueueFault;
use crate::sync::{AtomicU8, AtomicU64, Mutex, Ordering};

pub(crate) mod pause;

/// How far a device is from writing to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum State {
    /// It sends and receives.
    Running = 0,
    /// It was told to stop and has not confirmed it: it may still read and write memory.
    Stopping = 1,
    /// It confirmed that it reads and writes no memory any more.
    Stopped = 2,
    /// It works no more, for a reason that is told beside, and may still read and write memory.
    Failed = 3,
    /// It is to be reset and set up anew: its queues hand it nothing, and the queue in question has not said yet that it knows.
    Pausing = 4,
    /// The same, and the queue has said so.
    Paused = 5,
    /// It was reset, and uses nothing of what the queue lent it: the queue may empty its ring.
    Rewinding = 6,
    /// The queue's ring is as when it was new, and waits to be turned on.
    Rewound = 7,
    /// It is being turned on.
    Joining = 8,
}

/// Nothing was said of descriptors left over.
const NOT_TOLD: u64 = u64::MAX;

/// By which clock a transmit queue is seen to hang, and when.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) clock: Arc<dyn Clock>,
    /// For how long a queue with work may stand still, in microseconds.
    pub(crate) limit_us: u64,
    /// Whether the control handle resets a device that hangs.
    pub(crate) recovers: bool,
}

impl Watch {
    /// For how long a queue waits for its control handle to see that it hangs, and to do something about it, before it gives itself up.
    pub(crate) fn patience_us(&self) -> u64 {
        if self.recovers { self.limit_us.saturating_mul(2) } else { self.limit_us }
    }
}

/// A queue's own part of what its device's queues and control handle share: the state of the device, where the queue looks at it, and what the queue
/// counts, where the control handle looks at it.
///
/// Each queue has one, so that no two threads write to the same cache line, and what a queue looks at with every batch lies beside what it writes.
pub struct Seat {
    /// A [`State`]; of the queue alone, where its device failed on it and nowhere else.
    state: AtomicU8,
    tally: Tally,
    /// Why the queue works no more, where it is not because it was stopped: the first reason. Set before the state that shows it.
    cause: Mutex<Option<QueueFault>>,
    watch: Option<Watch>,
    /// The [`Left`] of a device that stopped, for the queue to count as frames when it goes or begins anew: its tail above its descriptors; [`NOT_TOLD`].
    left: AtomicU64,
    /// What the queue had lent when it was dropped, until the device is silent.
    parked: Mutex<Option<Box<dyn Parked>>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({} us)", self.limit_us)
    }
}

impl Seat {
    /// For a queue of a device that runs, or is about to.
    pub(crate) fn new(watch: Option<Watch>) -> Self {
        Self {
            state: AtomicU8::new(State::Running as u8),
            tally: Tally::default(),
            cause: Mutex::new(None),
            watch,
            left: AtomicU64::new(NOT_TOLD),
            parked: Mutex::new(None),
        }
    }

    /// Whether the queue may take anything from its device or hand it anything.
    #[inline(always)]
    pub fn is_running(&self) -> bool {
        self.state.load(Ordering::Relaxed) == State::Running as u8
    }

    /// What keeps the queue from working for good, if anything does: what failed first, or that it was stopped. A pause does not.
    pub fn fault(&self) -> Option<QueueFault> {
        if self.is_running() { None } else { self.why_still() }
    }

    #[cold]
    fn why_still(&self) -> Option<QueueFault> {
        if self.is_paused() { None } else { Some(self.cause().unwrap_or(QueueFault::Stopped)) }
    }

    /// What failed, if anything did.
    pub(crate) fn cause(&self) -> Option<QueueFault> {
        *self.cause.lock()
    }

    /// The device has stopped with so many transmit descriptors unsent.
    pub(crate) fn set_left(&self, Left { descriptors, tail }: Left) {
        self.left.store(u64::from(tail) << 32 | u64::from(descriptors), Ordering::Relaxed);
    }

    /// The transmit descriptors that the device left unsent, where it said so and the queue has not counted them yet.
    pub(crate) fn left(&self) -> Option<Left> {
        let told = Some(self.left.load(Ordering::Relaxed)).filter(|&left| left != NOT_TOLD);
        told.map(|left| Left { descriptors: left as u32, tail: (left >> 32) as u32 })
    }

    /// By which clock the queue is watched, where it is.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// What the queue counts.
    #[inline(always)]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The device's word that it is silent, once it gave it.
    pub(super) fn silence(&self) -> Option<Silence> {
        // Acquire: who sees one of these also sees all that the device wrote before it confirmed.
        let state = self.state.load(Ordering::Acquire);
        let is_silent = state == State::Stopped as u8 || state == State::Rewinding as u8;
        // SAFETY: only `set_stopped` and `let_rewind` store these states, and they were shown the device's own word. What is told to rewind stays off until it says that it has.
        is_silent.then(|| unsafe { Silence::confirmed() })
    }

    /// The queue is used no more, whatever its device does. What failed before, or that it was stopped before, stays.
    #[cold]
    pub(crate) fn set_failed(&self, fault: QueueFault) {
        let mut cause = self.cause.lock();
        if cause.is_none() && self.is_running() {
            *cause = Some(fault);
        }
        drop(cause);
        // The exchange fails where the device does not run any more, which keeps the queue from working as well. Release, for who reads the cause.
        let _ = self.state.compare_exchange(State::Running as u8, State::Failed as u8, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The end of a queue: what it had lent goes back where its hardware is silent, waits here until the device is, or leaks.
    pub(super) fn give_back(&self, stop: Stop, lent: impl Lent, queue: fmt::Arguments<'_>) {
        match stop {
            Stop::Silent(silence) => self.release(Box::new(lent), &silence),
            Stop::WithDevice => self.park(lent),
            Stop::Unconfirmed => log::error!("{queue}: the device does not confirm that it stopped, and keeps what it was lent: {lent:?}"),
        }
    }

    fn park(&self, lent: impl Lent) {
        // `set_stopped` sets the state under the same lock: either its silence is seen here, or it finds what is left here.
        let mut parked = self.parked.lock();
        let Some(silence) = self.silence() else {
            *parked = Some(Box::new(lent));
            return;
        };
        drop(parked);
        self.release(Box::new(lent), &silence);
    }

    /// The queue is gone: whoever is here is the only one who counts for it.
    fn release(&self, lent: Box<dyn Parked>, silence: &Silence) {
        self.left.store(NOT_TOLD, Ordering::Relaxed);
        self.tally.lost.add(lent.release(silence));
    }

    /// The device was told to stop.
    pub(crate) fn set_stopping(&self) {
        self.say(State::Stopping);
    }

    /// An exchange and not a store: the queue's own exchange in `set_failed` comes before it or fails, in whatever order the processors see plain stores.
    /// Release, for whoever sees that the device is silent.
    fn say(&self, state: State) {
        self.state.swap(state as u8, Ordering::AcqRel);
    }

    /// The device is silent: what the queue left behind goes back.
    pub(crate) fn set_stopped(&self, silence: &Silence) {
        let left = {
            let mut parked = self.parked.lock();
            self.say(State::Stopped);
            parked.take()
        };
        if let Some(left) = left {
            self.release(left, silence);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(left) = &*self.parked.lock() {
            log::error!("the device does not confirm that it stopped, and keeps what it was lent: {left:?}");
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("state", &self.state).field("tally", &self.tally).finish_non_exhaustive()
    }
}

/// A counter with one writer, its queue: no atomic read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one queue counts, for its own callers and for the control handle.
#[derive(Debug, Default)]
pub struct Tally {
    /// Frames that went one at a time, each with a doorbell of its own; not among `packets` and `doorbells`.
    pub(super) alone: Count,
    pub(super) packets: Count,
    pub(super) bytes: Count,
    pub(super) doorbells: Count,
    pub(super) errors: Count,
    pub(super) header_errors: Count,
    pub(super) length_errors: Count,
    pub(super) stalls: Count,
    pub(super) bounced: Count,
    pub(super) lost: Count,
    pub(super) cut: Count,
    pub(super) hook: HookTally,
}

/// What hooks did with frames, by verdict.
#[derive(Debug, Default)]
pub(super) struct HookTally {
    pub(super) passed: Count,
    pub(super) dropped: Count,
    pub(super) aborted: Count,
    pub(super) sent: Count,
    pub(super) redirected: Count,
    pub(super) full: Count,
    pub(super) full_dropped: Count,
    /// Of all of these but the passed, frames that had been handed up before.
    pub(super) whole: Count,
    pub(super) no_buffer: Count,
}

impl Tally {
    /// All counters, each as it is now.
    pub fn totals(&self) -> Totals {
        let alone = self.alone.value();
        Totals {
            packets: self.packets.value() + alone,
            bytes: self.bytes.value(),
            doorbells: self.doorbells.value() + alone,
            errors: self.errors.value(),
            header_errors: self.header_errors.value(),
            length_errors: self.length_errors.value(),
            stalls: self.stalls.value(),
            bounced: self.bounced.value(),
            lost: self.lost.value(),
            cut: self.cut.value(),
            in_place: self.settled_in_place(),
        }
    }
}

/// What queues counted since their device was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Frames handed up, or taken from the caller.
    pub packets: u64,
    /// Their bytes, where the driver counts them and not the device.
    pub bytes: u64,
    /// Doorbells that were rung.
    pub doorbells: u64,
    /// Received frames that were not handed up because something was wrong with them.
    pub errors: u64,
    /// Those of `errors` whose header made no sense.
    pub header_errors: u64,
    /// Those of `errors` that were too short or too long.
    pub length_errors: u64,
    /// Polls that stopped because no buffer was free.
    pub stalls: u64,
    /// Frames copied because they lay in memory of another domain, or had no room for what was to be put in.
    pub bounced: u64,
    /// Frames that were given up with their queue: taken from the caller and not sent, or received and not handed up.
    pub lost: u64,
    /// Frames on the wire beyond those of `packets`: what the device cuts goes out as many, and what it put together came as many.
    pub cut: u64,
    /// Received frames that a hook dropped or sent where they lay: not among `packets`.
    pub in_place: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.doorbells += other.doorbells;
        self.errors += other.errors;
        self.header_errors += other.header_errors;
        self.length_errors += other.length_errors;
        self.stalls += other.stalls;
        self.bounced += other.bounced;
        self.lost += other.lost;
        self.cut += other.cut;
        self.in_place += other.in_place;
    }
}
