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
    state: State,
    unsent: u64,
    rx: Vec<Arc<Seat>>,
    tx: Vec<Arc<Seat>>,
}

impl Shared {
    /// Of a device that runs, or is about to, without queues yet.
    pub const fn new() -> Self {
        Self { state: State::Running, unsent: 0, rx: Vec::new(), tx: Vec::new() }
    }

    /// A seat for one more receive queue.
    pub fn rx_seat(&mut self) -> Arc<Seat> {
        let seat = Arc::new(Seat::new(self.state));
        self.rx.push(seat.clone());
        seat
    }

    /// A seat for one more transmit queue.
    pub fn tx_seat(&mut self) -> Arc<Seat> {
        let seat = Arc::new(Seat::new(self.state));
        self.tx.push(seat.clone());
        seat
    }

    /// How far the device is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether the queues may hand it anything.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether the device confirmed that it reads and writes no memory any more.
    pub fn is_stopped(&self) -> bool {
        self.state == State::Stopped
    }

    /// The device is told to stop: the queues hand it nothing from here on.
    pub fn set_stopping(&mut self) {
        self.set(State::Stopping);
    }

    /// A running device asks for a reset: its queues are broken.
    pub fn set_failed(&mut self) {
        if self.is_running() {
            self.set(State::Failed);
        }
    }

    fn set(&mut self, state: State) {
        self.state = state;
        self.seats().for_each(|seat| seat.set(state));
    }

    /// The device is silent: what dropped queues left behind goes back.
    pub fn set_stopped(&mut self, silence: &Silence) {
        self.state = State::Stopped;
        self.seats().for_each(|seat| seat.set_stopped(silence));
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
