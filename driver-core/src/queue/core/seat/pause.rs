//! How a queue pauses while its device is reset and set up anew, and goes on.
//!
//! | state | who leads out of it |
//! | --- | --- |
//! | `Running`, or `Failed` for a reason that a reset mends | the control handle: the queue is to pause ([`Seat::pause`]) |
//! | `Pausing` | the queue: it knows ([`Seat::acknowledge`]) |
//! | `Pausing`, `Paused` | the control handle: the device is silent ([`Seat::let_rewind`]) |
//! | `Rewinding` | the queue: its ring is empty ([`Seat::set_rewound`]) |
//! | `Rewound` | the control handle: it turns the hardware queue on ([`Seat::join`]); or the queue: it goes ([`Seat::leave`]) |
//! | `Joining` | the control handle: it is on ([`Seat::resume`]) |
//!
//! Nobody waits for anybody: a queue that its thread does not come by with stays where it is, and its hardware off. What was rewound in a first try of the control
//! handle is good for the next. All that a running queue pays is the look at [`Seat::is_running`] that it takes anyway.

use super::{Seat, State};
use crate::queue::core::lent::{Silence, Stop};
use crate::ring::fault::QueueFault;
use crate::sync::Ordering;

/// What a queue that may not work finds out.
#[derive(Debug)]
pub(crate) enum Pause {
    /// There is no pause, or none any more.
    Over,
    /// It has nothing to do but to wait.
    Waits,
    /// Its ring is to be emptied, and then [`Seat::set_rewound`] to be called.
    Rewind(Silence),
}

/// A pause's states, as they are stored.
const PAUSING: u8 = State::Pausing as u8;
const PAUSED: u8 = State::Paused as u8;
const REWINDING: u8 = State::Rewinding as u8;
const REWOUND: u8 = State::Rewound as u8;
const JOINING: u8 = State::Joining as u8;
const RUNNING: u8 = State::Running as u8;
const FAILED: u8 = State::Failed as u8;

impl Seat {
    /// Whether the queue pauses.
    pub(super) fn is_paused(&self) -> bool {
        matches!(self.state.load(Ordering::Relaxed), RUNNING | PAUSING..=JOINING)
    }

    /// How far the queue is.
    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            RUNNING => State::Running,
            FAILED => State::Failed,
            PAUSING => State::Pausing,
            PAUSED => State::Paused,
            REWINDING => State::Rewinding,
            REWOUND => State::Rewound,
            JOINING => State::Joining,
            state if state == State::Stopping as u8 => State::Stopping,
            _ => State::Stopped,
        }
    }

    /// The control handle has the queue pause, where it works, or does not for a reason that goes with the reset.
    pub(crate) fn pause(&self) {
        // What fails takes the same lock: no cause is left behind.
        let mut cause = self.cause.lock();
        match self.state.load(Ordering::Acquire) {
            RUNNING => {}
            FAILED if cause.is_some_and(|cause| cause.is_mended_by_reset()) => {}
            _ => return,
        }
        *cause = None;
        self.say(State::Pausing);
    }

    /// Whether the queue has been told and has not answered.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.load(Ordering::Acquire) == PAUSING
    }

    /// Of a queue that may not work: whether it pauses, and what it is to do. Its own call.
    #[cold]
    pub(crate) fn acknowledge(&self) -> Pause {
        // Release: what the queue did to its ring and to the device's registers comes before.
        let _ = self.state.compare_exchange(PAUSING, PAUSED, Ordering::AcqRel, Ordering::Relaxed);
        match self.state.load(Ordering::Acquire) {
            PAUSED | REWOUND | JOINING => Pause::Waits,
            // SAFETY: only `let_rewind` leads here, which was shown the device's word; and until the queue says that its ring is rewound nobody turns it on.
            REWINDING => Pause::Rewind(unsafe { Silence::confirmed() }),
            _ => Pause::Over,
        }
    }

    /// The device is silent and knows of no ring: the queue may empty its own. What a queue left behind that went during the pause goes back.
    pub(crate) fn let_rewind(&self, silence: &Silence) {
        let left = {
            // As in `set_stopped`: who parks sees the new state, or is seen here.
            let mut parked = self.parked.lock();
            if matches!(self.state.load(Ordering::Acquire), PAUSING | PAUSED) {
                self.say(State::Rewinding);
            }
            parked.take()
        };
        if let Some(left) = left {
            self.release(left, silence);
        }
    }

    /// The queue's ring is as when it was new. Nothing happens where the control handle has something else in mind by now.
    pub(crate) fn set_rewound(&self) {
        self.left.store(super::NOT_TOLD, Ordering::Relaxed);
        let _ = self.state.compare_exchange(REWINDING, REWOUND, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Whether the queue waits for its hardware to be turned on. From then on, until [`Seat::resume`] or a new reset, its ring belongs to the device.
    pub(crate) fn join(&self) -> bool {
        // Acquire: its descriptors are written.
        self.state.compare_exchange(REWOUND, JOINING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The hardware is on: the queue works again.
    pub(crate) fn resume(&self) {
        let _ = self.state.compare_exchange(JOINING, RUNNING, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The hardware could not be turned on, and was reset since: the ring is rewound as before.
    pub(crate) fn stay_rewound(&self, _: &Silence) {
        let _ = self.state.compare_exchange(JOINING, REWOUND, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// A queue that pauses will not go on, for this reason.
    pub(crate) fn give_up(&self, fault: QueueFault) {
        let mut cause = self.cause.lock();
        if matches!(self.state.load(Ordering::Acquire), PAUSING..=JOINING) {
            *cause = Some(fault);
            self.say(State::Failed);
        }
    }

    /// The queue goes: whether its device is silent or has to be waited for, where its seat knows that. `None`: the queue is to see to it itself.
    pub(crate) fn leave(&self) -> Option<Stop> {
        if let Some(silence) = self.silence() {
            return Some(Stop::Silent(silence));
        }
        // Whoever is first: the control handle turns nothing on that has left.
        if self.state.compare_exchange(REWOUND, State::Stopped as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // SAFETY: the ring was rewound for the device's word, and turned on by nobody since.
            return Some(Stop::Silent(unsafe { Silence::confirmed() }));
        }
        let is_unsure = matches!(self.state.load(Ordering::Acquire), PAUSING | PAUSED | JOINING);
        // A device that does not answer confirms nothing: what it was lent waits for what its host knows.
        (is_unsure || self.cause() == Some(QueueFault::Gone)).then_some(Stop::WithDevice)
    }
}
