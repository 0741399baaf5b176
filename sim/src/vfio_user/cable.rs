//! The cable between a served card and its wire, which can be pulled while the card runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::wire::{Sent, Wire};

/// How many frames a pulled cable loses at a time, so that a far end which never stops sending does not stop the card.
const LOST_AT_ONCE: usize = 64;

/// A way to pull the cable of a [`Server`](super::Server)'s card, and to plug it in, from another thread. A server that sleeps is woken by it.
///
/// Without its cable the card has no carrier, and what either end sends is lost. It stays as it is from client to client.
#[derive(Clone, Debug)]
pub struct Cable {
    pulled: Arc<AtomicBool>,
    event: Arc<OwnedFd>,
}

impl Cable {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { pulled: Arc::default(), event: Arc::new(event) })
    }

    /// Pulls the cable.
    pub fn pull(&self) {
        self.set(true);
    }

    /// Plugs the cable in. It is plugged in from the start.
    pub fn plug_in(&self) {
        self.set(false);
    }

    /// Whether the cable is plugged in.
    pub fn is_plugged_in(&self) -> bool {
        !self.pulled.load(Ordering::Relaxed)
    }

    fn set(&self, pulled: bool) {
        self.pulled.store(pulled, Ordering::Relaxed);
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
    }

    /// What wakes the card.
    pub(super) fn event(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.event)
    }

    /// Readable once the cable was moved, until [`Cable::rest`].
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn rest(&self) {
        let _ = rustix::io::read(&*self.event, &mut [0u8; 8]);
    }
}

/// A wire whose cable is pulled. A far end that waits for the card goes on waiting.
pub(super) struct Pulled<'a>(pub(super) &'a mut dyn Wire);

impl Wire for Pulled<'_> {
    fn send(&mut self, _: &[u8]) -> Sent {
        Sent::Taken
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        let mut left = if self.is_lossless() { 0 } else { LOST_AT_ONCE };
        while left > 0 && self.0.receive(frame) {
            left -= 1;
        }
        frame.clear();
        false
    }

    fn carrier(&self) -> bool {
        false
    }

    fn is_lossless(&self) -> bool {
        self.0.is_lossless()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peer;

    #[test]
    fn a_pulled_cable_loses_what_both_ends_send() {
        let (mut near, mut far) = peer::pair(100);
        assert_eq!([far.send(&[1; 60]), far.send(&[2; 60])], [Sent::Taken; 2]);
        let mut frame = Vec::new();
        let mut pulled = Pulled(&mut near);
        assert_eq!((pulled.carrier(), pulled.receive(&mut frame), pulled.send(&[3; 60])), (false, false, Sent::Taken));
        assert!(!near.receive(&mut frame) && !far.receive(&mut frame));
        // A flood is lost in portions.
        (0..100).for_each(|_| assert_eq!(far.send(&[4; 60]), Sent::Taken));
        assert!(!Pulled(&mut near).receive(&mut frame));
        assert_eq!((0..100).filter(|_| near.receive(&mut frame)).count(), 100 - LOST_AT_ONCE);
    }

    /// A far end that waits until the card has room.
    struct Patient(u32);

    impl Wire for Patient {
        fn send(&mut self, _: &[u8]) -> Sent {
            Sent::Busy
        }
        fn receive(&mut self, _: &mut Vec<u8>) -> bool {
            self.0 += 1;
            true
        }
        fn is_lossless(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_far_end_that_waits_loses_nothing() {
        let mut wire = Patient(0);
        assert!(!Pulled(&mut wire).receive(&mut Vec::new()) && Pulled(&mut wire).is_lossless());
        assert_eq!(wire.0, 0);
    }
}
