//! Two ports back to back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Sent, Wire};

/// One end of a cable between two simulated ports. Each direction holds a bounded number of frames; a full one is [`Sent::Busy`].
///
/// When one end is dropped the other loses its carrier: what was on the way still arrives, what is sent from then on is lost.
#[derive(Debug)]
pub struct Peer {
    out: Arc<Direction>,
    into: Arc<Direction>,
}

#[derive(Debug)]
struct Direction {
    lane: Mutex<Lane>,
    capacity: usize,
    /// Both ends are there.
    open: AtomicBool,
}

#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Vec<u8>>,
    /// Buffers that went through, kept for the next frames.
    spare: Vec<Vec<u8>>,
}

impl Direction {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { lane: Mutex::default(), capacity, open: AtomicBool::new(true) })
    }
    fn with_lane<R>(&self, work: impl FnOnce(&mut Lane) -> R) -> R {
        // No code panics while it holds the lock, so that a poisoned lane is still a whole one.
        work(&mut self.lane.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A cable: what one end sends the other receives. Each direction holds `capacity` frames (at least one).
pub fn pair(capacity: usize) -> (Peer, Peer) {
    let (there, back) = (Direction::new(capacity.max(1)), Direction::new(capacity.max(1)));
    (Peer { out: there.clone(), into: back.clone() }, Peer { out: back, into: there })
}

impl Wire for Peer {
    fn send(&mut self, frame: &[u8]) -> Sent {
        if !self.carrier() {
            return Sent::Taken;
        }
        self.out.with_lane(|lane| {
            if lane.frames.len() >= self.out.capacity {
                return Sent::Busy;
            }
            let mut buffer = lane.spare.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(frame);
            lane.frames.push_back(buffer);
            Sent::Taken
        })
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        self.into.with_lane(|lane| {
            let Some(arrived) = lane.frames.pop_front() else { return false };
            lane.spare.push(std::mem::replace(frame, arrived));
            true
        })
    }

    fn carrier(&self) -> bool {
        self.out.open.load(Ordering::Acquire)
    }

    fn is_finished(&self) -> bool {
        !self.carrier() && self.into.with_lane(|lane| lane.frames.is_empty())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.out.open.store(false, Ordering::Release);
        self.into.open.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_order_both_ways() {
        let (mut a, mut b) = pair(4);
        let mut frame = vec![9; 100];
        for byte in 0..3u8 {
            assert_eq!(a.send(&[byte; 60]), Sent::Taken);
            assert_eq!(b.send(&[byte + 10; 70]), Sent::Taken);
        }
        for byte in 0..3u8 {
            assert!(b.receive(&mut frame));
            assert_eq!(frame, [byte; 60]);
            assert!(a.receive(&mut frame));
            assert_eq!(frame, [byte + 10; 70]);
        }
        assert!(!a.receive(&mut frame) && !b.receive(&mut frame));
    }

    #[test]
    fn a_full_direction_is_busy_and_the_other_is_not() {
        let (mut a, mut b) = pair(2);
        assert_eq!([a.send(&[1; 60]), a.send(&[2; 60]), a.send(&[3; 60])], [Sent::Taken, Sent::Taken, Sent::Busy]);
        assert_eq!(b.send(&[4; 60]), Sent::Taken);
        let mut frame = Vec::new();
        assert!(b.receive(&mut frame));
        assert_eq!(frame[0], 1);
        assert_eq!(a.send(&[3; 60]), Sent::Taken);
        assert!(b.receive(&mut frame) && b.receive(&mut frame));
        assert_eq!(frame[0], 3, "what was refused was not taken as well");
    }

    #[test]
    fn a_dropped_end_takes_the_carrier_but_not_what_was_on_the_way() {
        let (mut a, b) = pair(4);
        let mut b = b;
        assert_eq!(b.send(&[5; 60]), Sent::Taken);
        assert!(a.carrier() && !a.is_finished());
        drop(b);
        assert!(!a.carrier() && !a.is_finished());
        let mut frame = Vec::new();
        assert!(a.receive(&mut frame));
        assert!(a.is_finished());
        assert_eq!(a.send(&[6; 60]), Sent::Taken, "lost, as on an unplugged cable");
    }

    #[test]
    fn two_threads_lose_nothing() {
        const FRAMES: u32 = 20_000;
        let (mut a, mut b) = pair(16);
        let sender = std::thread::spawn(move || {
            for number in 0..FRAMES {
                while a.send(&number.to_le_bytes()) == Sent::Busy {
                    std::thread::yield_now();
                }
            }
        });
        let (mut frame, mut expected) = (Vec::new(), 0u32);
        while expected < FRAMES {
            if b.receive(&mut frame) {
                assert_eq!(frame, expected.to_le_bytes());
                expected += 1;
            } else {
                std::thread::yield_now();
            }
        }
        sender.join().unwrap();
        assert!(b.is_finished());
    }
}
