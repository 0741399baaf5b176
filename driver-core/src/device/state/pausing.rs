//! The control handle's end of a pause, in which its device is reset and set up anew.

use alloc::sync::Arc;

use super::Shared;
use crate::device::recovery::Recovery;
use crate::queue::core::lent::Silence;
use crate::queue::core::seat::{Seat, State};
use crate::ring::fault::QueueFault;

/// Which way a queue's frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Rx,
    Tx,
}

impl Shared {
    /// The same, of a device whose control handle recovers it or not: transmit queues leave a hang to it for a while.
    #[must_use]
    pub fn recovering(mut self, recovery: Recovery) -> Self {
        if let Some(watch) = &mut self.watch {
            watch.recovers = recovery != Recovery::Off;
        }
        self
    }

    /// What failed, of what a reset mends: of the device as a whole, or of one of its queues. `None` as well where something else failed of the device.
    pub(crate) fn mendable(&self) -> Option<QueueFault> {
        match self.cause {
            Some(cause) => Some(cause),
            None => self.seats().filter_map(|seat| seat.cause()).find(QueueFault::is_mended_by_reset),
        }
        .filter(QueueFault::is_mended_by_reset)
    }

    /// Every queue is to pause that works, or that a reset mends.
    pub(crate) fn pause(&mut self) {
        (self.state, self.cause) = (State::Pausing, None);
        self.seats().for_each(|seat| seat.pause());
    }

    /// A transmit queue is to pause, and no other.
    pub(crate) fn pause_tx(&mut self, queue: u16) {
        if let Some(seat) = self.tx.get(usize::from(queue)) {
            seat.pause();
        }
    }

    /// The hardware of a transmit queue was reset: it empties its ring.
    pub(crate) fn let_rewind_tx(&mut self, queue: u16, silence: &Silence) {
        if let Some(seat) = self.tx.get(usize::from(queue)) {
            seat.stay_rewound(silence);
            seat.let_rewind(silence);
        }
    }

    /// Whether a queue is there that has not said yet that it pauses.
    pub(crate) fn is_awaited(&self) -> bool {
        self.living().any(|(.., seat)| seat.is_awaited())
    }

    /// Whether a queue has said so.
    pub(crate) fn is_anybody_paused(&self) -> bool {
        self.living().any(|(.., seat)| seat.state() == State::Paused)
    }

    /// The device was reset and is set up but for its queues: they empty their rings.
    pub(crate) fn let_rewind(&mut self, silence: &Silence) {
        self.state = State::Running;
        for seat in self.seats() {
            seat.stay_rewound(silence);
            seat.let_rewind(silence);
        }
    }

    /// Whether a queue is there that has not emptied its ring yet.
    pub(crate) fn is_rewinding(&self) -> bool {
        self.living().any(|(.., seat)| seat.state() == State::Rewinding)
    }

    /// Whether a queue is there that pauses.
    pub(crate) fn is_anybody_missing(&self) -> bool {
        self.living().any(|(.., seat)| matches!(seat.state(), State::Pausing | State::Paused | State::Rewinding | State::Rewound | State::Joining))
    }

    /// The queues that are there, and whose hardware may be turned on from here on.
    pub(crate) fn joining(&self) -> impl Iterator<Item = (Way, u16, &Arc<Seat>)> {
        self.living().filter(|(.., seat)| seat.join())
    }

    /// The queues whose hardware was turned on, and that do not work yet.
    pub(crate) fn joined(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.living().map(|(.., seat)| seat).filter(|seat| seat.state() == State::Joining)
    }

    /// Whether a queue is there whose hardware cannot be turned on yet.
    pub(crate) fn is_anybody_late(&self) -> bool {
        self.living().any(|(.., seat)| matches!(seat.state(), State::Pausing | State::Paused | State::Rewinding))
    }

    /// What pauses does not go on, for this reason.
    pub(crate) fn give_up(&mut self, fault: QueueFault) {
        (self.state, self.cause) = (State::Failed, Some(fault));
        self.seats().for_each(|seat| seat.give_up(fault));
    }

    /// The queues that are there.
    fn living(&self) -> impl Iterator<Item = (Way, u16, &Arc<Seat>)> {
        let of = |way, seats| (0..).zip(seats).map(move |(number, seat)| (way, number, seat));
        of(Way::Rx, &self.rx).chain(of(Way::Tx, &self.tx)).filter(|(.., seat)| Arc::strong_count(seat) > 1)
    }
}
