//! What the control handle of a started device and its queues, on their several threads, know of one another.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::queue::core::lent::Silence;
use crate::queue::core::seat::{Seat, State, Totals};

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
    unsent: u64,
    rx: Vec<Arc<Seat>>,
    tx: Vec<Arc<Seat>>,
}

impl Shared {
    /// Of a device that runs, or is about to, without queues yet.
    pub const fn new() -> Self {
        Self { state: State::Running, silence: None, unsent: 0, rx: Vec::new(), tx: Vec::new() }
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
        let seat = Seat::new();
        match (&self.silence, self.state) {
            (Some(silence), _) => seat.set_stopped(silence),
            (None, State::Running) => {}
            (None, State::Failed) => seat.set_failed(),
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

    /// A running device asks for a reset: its queues are broken.
    pub fn set_failed(&mut self) {
        if self.is_running() {
            self.state = State::Failed;
            self.seats().for_each(|seat| seat.set_failed());
        }
    }

    /// The device is silent: what dropped queues left behind goes back.
    pub fn set_stopped(&mut self, silence: Silence) {
        self.seats().for_each(|seat| seat.set_stopped(&silence));
        self.silence = Some(silence);
    }

    fn seats(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.rx.iter().chain(&self.tx)
    }

    /// Counts transmit descriptors that the device gave up when it stopped.
    pub fn add_unsent(&mut self, descriptors: u32) {
        self.unsent += u64::from(descriptors);
    }

    /// What the receive queues counted since the start, those that are gone included.
    pub fn rx_totals(&self) -> Totals {
        totals(&self.rx)
    }

    /// What the transmit queues counted since the start, those that are gone included, and what the device gave up.
    pub fn tx_totals(&self) -> Totals {
        let mut all = totals(&self.tx);
        all.unsent += self.unsent;
        all
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

fn totals(seats: &[Arc<Seat>]) -> Totals {
    let mut all = Totals::default();
    seats.iter().for_each(|seat| all += seat.tally().totals());
    all
}
