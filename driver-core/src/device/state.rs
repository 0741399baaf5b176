//! What the control handle of a started device and its queues, on their several threads, know of one another.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::device::recovery::Cause;
use crate::host::clock::Clock;
use crate::queue::core::lent::{Left, Silence};
use crate::queue::core::seat::{Seat, State, Totals, Watch};
use crate::ring::fault::QueueFault;

pub(crate) mod pausing;

/// How a started device is, in the same words whatever its driver: its control handle, its queues, the facade's port and the tools all tell this.
///
/// What was told once stays: a device that failed is stopped and opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceState {
    /// It sends and receives.
    Running,
    /// Its control handle stopped it.
    Stopped,
    /// A transmit queue has work and does not move.
    Hung {
        /// The transmit queue's number.
        queue: u16,
        /// When it was seen to move last, on the host's clock, in microseconds.
        since_us: u64,
    },
    /// It does not answer any more.
    Gone,
    /// Somebody else has reset it.
    Reset,
    /// It asks for a reset.
    NeedsReset,
    /// It reports that something in itself failed.
    Hardware {
        /// What it reports.
        what: &'static str,
    },
    /// It failed, and is being reset and set up as it was ([`Recovery`](crate::device::Recovery)): its queues pause, and go on by themselves.
    Recovering {
        /// What failed.
        cause: QueueFault,
        /// When that was seen, on the host's clock, in microseconds.
        since_us: u64,
    },
    /// It did on one of its queues what it must not do. The others work on.
    Broken {
        /// `receive` or `transmit`.
        direction: &'static str,
        /// The queue's number.
        queue: u16,
        /// What was seen.
        fault: QueueFault,
    },
}

impl DeviceState {
    /// Whether it sends and receives, on every queue.
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    /// Whether something happened to it that its program did not ask for, and that does not pass by itself.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Running | Self::Stopped | Self::Recovering { .. })
    }

    /// In one word, for tables and scripts: `running`, `stopped`, `hung`, `gone`, `reset`, `needs-reset`, `hardware`, `recovering`, `broken`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Hung { .. } => "hung",
            Self::Gone => "gone",
            Self::Reset => "reset",
            Self::NeedsReset => "needs-reset",
            Self::Hardware { .. } => "hardware",
            Self::Recovering { .. } => "recovering",
            Self::Broken { .. } => "broken",
        }
    }

    /// What a fault of the device as a whole says of it: what a look at its registers finds.
    pub const fn of_device(fault: QueueFault) -> Self {
        Self::of("", 0, fault)
    }

    /// What one queue's fault says of its device.
    const fn of(direction: &'static str, queue: u16, fault: QueueFault) -> Self {
        match fault {
            QueueFault::Stopped => Self::Stopped,
            QueueFault::Hung { queue, since_us } => Self::Hung { queue, since_us },
            QueueFault::Gone => Self::Gone,
            QueueFault::Reset => Self::Reset,
            QueueFault::NeedsReset => Self::NeedsReset,
            QueueFault::Hardware(what) => Self::Hardware { what },
            fault => Self::Broken { direction, queue, fault },
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Running => f.write_str("the device runs"),
            Self::Stopped => QueueFault::Stopped.fmt(f),
            Self::Hung { queue, since_us } => QueueFault::Hung { queue, since_us }.fmt(f),
            Self::Gone => QueueFault::Gone.fmt(f),
            Self::Reset => QueueFault::Reset.fmt(f),
            Self::NeedsReset => QueueFault::NeedsReset.fmt(f),
            Self::Hardware { what } => QueueFault::Hardware(what).fmt(f),
            Self::Recovering { cause, since_us } => {
                write!(f, "the device is being reset and set up as it was, since {since_us} us of the host's clock: {}", Cause(cause))
            }
            Self::Broken { direction, queue, fault } => write!(f, "{direction} queue {queue} is broken: {fault}"),
        }
    }
}

/// The control handle's end: the device's state, which it tells every queue, and what each of them counts.
///
/// A queue looks at its own [`Seat`] alone. What a queue that is dropped alive had lent waits there where its device cannot stop one queue by itself, and
/// goes back when the device is silent; where it never is, it leaks, since the device may still write to it.
#[derive(Debug)]
pub struct Shared {
    /// Before it was stopped.
    state: State,
    /// The device's word, once it is stopped.
    silence: Option<Silence>,
    /// What failed of the device as a whole.
    cause: Option<QueueFault>,
    watch: Option<Watch>,
    rx: Vec<Arc<Seat>>,
    tx: Vec<Arc<Seat>>,
}

impl Shared {
    /// Of a device that runs, or is about to, without queues yet. None of them will be seen to hang: see [`Shared::watched`].
    pub const fn new() -> Self {
        Self { state: State::Running, silence: None, cause: None, watch: None, rx: Vec::new(), tx: Vec::new() }
    }

    /// The same, of a device whose transmit queues hang when they have work and stand still for `limit_us` microseconds of `clock`.
    pub fn watched(clock: Arc<dyn Clock>, limit_us: u64) -> Self {
        Self { watch: Some(Watch { clock, limit_us, recovers: false }), ..Self::new() }
    }

    /// A seat for one more receive queue.
    pub fn rx_seat(&mut self) -> Arc<Seat> {
        let seat = self.seat();
        self.rx.push(seat.clone());
        seat
    }

    /// A seat for one more transmit queue.
    pub fn tx_seat(&mut self) -> Arc<Seat> {
        let seat = self.seat();
        self.tx.push(seat.clone());
        seat
    }

    fn seat(&self) -> Arc<Seat> {
        let seat = Seat::new(self.watch.clone());
        if let Some(cause) = self.cause {
            seat.set_failed(cause);
        }
        match (&self.silence, self.state) {
            (Some(silence), _) => seat.set_stopped(silence),
            (None, State::Running | State::Failed) => {}
            (None, _) => seat.set_stopping(),
        }
        Arc::new(seat)
    }

    /// How far the device is.
    pub const fn state(&self) -> State {
        if self.silence.is_some() { State::Stopped } else { self.state }
    }

    /// Whether the queues may hand it anything.
    pub fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.state(), State::Stopping | State::Stopped)
    }

    /// Whether the device confirmed that it reads and writes no memory any more.
    pub const fn is_stopped(&self) -> bool {
        self.silence.is_some()
    }

    /// The device is told to stop: the queues hand it nothing from here on.
    pub fn set_stopping(&mut self) {
        if !self.is_stopped() {
            self.state = State::Stopping;
            self.seats().for_each(|seat| seat.set_stopping());
        }
    }

    /// A running device failed as a whole: its queues work no more.
    pub fn set_failed(&mut self, cause: QueueFault) {
        if self.is_running() {
            self.state = State::Failed;
            self.cause = Some(cause);
            self.seats().for_each(|seat| seat.set_failed(cause));
        }
    }

    /// A transmit queue of a running device failed, and the others did not.
    pub(crate) fn set_tx_failed(&mut self, queue: u16, fault: QueueFault) {
        if let Some(seat) = self.tx.get(usize::from(queue)) {
            seat.set_failed(fault);
        }
    }

    /// How the device is: what failed first of it as a whole, else what failed of one of its queues.
    pub fn device_state(&self) -> DeviceState {
        let of_device = self.cause.map(DeviceState::of_device);
        let of_queues = || {
            let causes = |direction, seats: &[Arc<Seat>]| {
                (0..).zip(seats).find_map(|(queue, seat)| seat.cause().map(|cause| DeviceState::of(direction, queue, cause)))
            };
            causes("transmit", &self.tx).or_else(|| causes("receive", &self.rx))
        };
        let runs = if self.is_running() { DeviceState::Running } else { DeviceState::Stopped };
        of_device.or_else(of_queues).unwrap_or(runs)
    }

    /// The transmit queues that are there and work, by their numbers.
    pub(crate) fn live_tx(&self) -> impl Iterator<Item = (u16, &Arc<Seat>)> {
        (0..).zip(&self.tx).filter(|(_, seat)| Arc::strong_count(seat) > 1 && seat.is_running())
    }

    /// By which clock the transmit queues are watched, where they are.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// The device is silent: what dropped queues left behind goes back.
    pub fn set_stopped(&mut self, silence: Silence) {
        self.seats().for_each(|seat| seat.set_stopped(&silence));
        self.silence = Some(silence);
    }

    fn seats(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.rx.iter().chain(&self.tx)
    }

    /// A transmit queue of the device that stopped has these descriptors left, unsent. Called before [`Shared::set_stopped`].
    pub fn set_left(&mut self, queue: u16, left: Left) {
        // A queue that is gone has counted for itself.
        if let Some(seat) = self.tx.get(usize::from(queue)).filter(|seat| Arc::strong_count(seat) > 1) {
            seat.set_left(left);
        }
    }

    /// Whether every queue is gone: then nothing is pending, and all that was taken is counted as sent or lost.
    pub fn are_queues_gone(&self) -> bool {
        self.seats().all(|seat| Arc::strong_count(seat) == 1)
    }

    /// What the receive queues counted since the start, those that are gone included.
    pub fn rx_totals(&self) -> Totals {
        totals(&self.rx)
    }

    /// The same of each of them.
    pub fn totals_of_rx_queues(&self) -> Vec<Totals> {
        self.rx.iter().map(|seat| totals_of(seat)).collect()
    }

    /// What the transmit queues counted since the start, those that are gone included. Of queues that outlive their device, descriptors that it left unsent
    /// count as lost frames, until the queue goes and counts its frames.
    pub fn tx_totals(&self) -> Totals {
        totals(&self.tx)
    }

    /// The same of each of them.
    pub fn totals_of_tx_queues(&self) -> Vec<Totals> {
        self.tx.iter().map(|seat| totals_of(seat)).collect()
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

fn totals(seats: &[Arc<Seat>]) -> Totals {
    let mut all = Totals::default();
    for seat in seats {
        all += totals_of(seat);
    }
    all
}

fn totals_of(seat: &Seat) -> Totals {
    let mut all = seat.tally().totals();
    all.lost += seat.left().map_or(0, |left| left.descriptors.into());
    all
}
