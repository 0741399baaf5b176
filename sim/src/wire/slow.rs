//! A wire with a rate.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use driver_core::host::Clock;

use super::{Sent, Wire, WireError};

/// Lets at most one frame pass in each direction per interval; in between, sending is [`Sent::Busy`] and nothing arrives.
pub struct Slow {
    inner: Box<dyn Wire>,
    clock: Arc<dyn Clock>,
    interval_us: u64,
    /// When the next frame may be sent and received.
    send_at_us: u64,
    receive_at_us: u64,
}

impl Slow {
    /// `inner` with at most one frame in `interval_us` microseconds of `clock` each way. The first passes at once.
    pub fn new(inner: Box<dyn Wire>, clock: Arc<dyn Clock>, interval_us: u64) -> Self {
        Self { inner, clock, interval_us, send_at_us: 0, receive_at_us: 0 }
    }
}

impl Wire for Slow {
    fn send(&mut self, frame: &[u8]) -> Sent {
        let now = self.clock.now_us();
        if now < self.send_at_us {
            return Sent::Busy;
        }
        let sent = self.inner.send(frame);
        if sent == Sent::Taken {
            self.send_at_us = now.saturating_add(self.interval_us);
        }
        sent
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        let now = self.clock.now_us();
        let received = now >= self.receive_at_us && self.inner.receive(frame);
        if received {
            self.receive_at_us = now.saturating_add(self.interval_us);
        }
        received
    }

    fn carrier(&self) -> bool {
        self.inner.carrier()
    }
    fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }
    fn is_gone(&self) -> bool {
        self.inner.is_gone()
    }
    fn is_lossless(&self) -> bool {
        self.inner.is_lossless()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // A frame that may not pass yet would keep the descriptor readable and the card awake; one that could not be sent needs polling.
        if self.clock.now_us() < self.receive_at_us.max(self.send_at_us) { None } else { self.inner.fd() }
    }
    fn error(&self) -> Option<WireError> {
        self.inner.error()
    }
    fn flush(&mut self) -> Result<(), WireError> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peer;
    use crate::wire::testing::ManualClock;

    #[test]
    fn one_frame_an_interval_each_way() {
        let clock = ManualClock::new();
        let (near, mut far) = peer::pair(64);
        let mut slow = Slow::new(Box::new(near), clock.clone(), 1000);
        let mut frame = Vec::new();
        let (mut taken, mut received) = (0, 0);
        for _ in 0..10 {
            assert_eq!(far.send(&[7; 60]), Sent::Taken);
        }
        for _ in 0..=50 {
            // 50 steps of 100 us: 5 ms.
            taken += u32::from(slow.send(&[1; 60]) == Sent::Taken);
            received += u32::from(slow.receive(&mut frame));
            clock.sleep_us(100);
        }
        assert_eq!((taken, received), (6, 6), "at 0, 1, 2, 3, 4 and 5 ms");
        let mut arrived = 0;
        while far.receive(&mut frame) {
            arrived += 1;
        }
        assert_eq!(arrived, taken, "what was refused did not pass");
    }

    #[test]
    fn a_busy_wire_inside_costs_no_turn() {
        let clock = ManualClock::new();
        let (near, mut far) = peer::pair(1);
        let mut slow = Slow::new(Box::new(near), clock.clone(), 10);
        assert_eq!(slow.send(&[1; 60]), Sent::Taken);
        clock.sleep_us(10);
        assert_eq!(slow.send(&[2; 60]), Sent::Busy, "the peer is full");
        assert!(far.receive(&mut Vec::new()));
        assert_eq!(slow.send(&[2; 60]), Sent::Taken, "at the same microsecond");
    }
}
