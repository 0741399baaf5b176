//! Frames that tests make, send, receive and compare.

use alloc::vec;
use alloc::vec::Vec;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::BufPool;
use crate::ether::{HEADER_BYTES, MacAddr};
use crate::host::clock::Clock;
use crate::queue::contract::{RxQueue, TxQueue, TxState};

/// The EtherType of [`frame`] and [`numbered`]: IEEE Std 802's first for local experiments.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// An Ethernet frame without its check sequence: `len_bytes` bytes, or just the header where they are fewer. The payload counts up from `seed`.
pub fn frame(to: MacAddr, from: MacAddr, len_bytes: usize, seed: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = to.0.into_iter().chain(from.0).chain(ETHERTYPE).collect();
    bytes.extend((0..len_bytes.saturating_sub(HEADER_BYTES)).map(|i| seed.wrapping_add(i as u8)));
    bytes
}

/// An Ethernet frame of `len_bytes` bytes, and 18 at least, that carries `number`, and whose other bytes are no other number's. It is for nobody's address.
pub fn numbered(number: u32, len_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 0x77, 0x02, 0, 0, 0, 0, 0x78];
    bytes.extend(ETHERTYPE);
    bytes.extend(number.to_be_bytes());
    bytes.extend((bytes.len()..len_bytes).map(|k| (k as u32).wrapping_mul(31).wrapping_add(number) as u8));
    bytes
}

/// The number in a frame that [`numbered`] made.
///
/// # Panics
/// Where it has fewer than 18 bytes.
pub fn number_in(bytes: &[u8]) -> u32 {
    match bytes[HEADER_BYTES..].first_chunk() {
        Some(number) => u32::from_be_bytes(*number),
        None => panic!("a frame of {} bytes carries no number", bytes.len()),
    }
}

/// All bytes of a frame, whatever its segments.
pub fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

/// Puts frames with these bytes into `batch`.
///
/// # Panics
/// Where the pool has no buffer or the batch no room for one of them.
pub fn fill<B: AsRef<[u8]>>(batch: &mut Batch, pool: &BufPool, frames: impl IntoIterator<Item = B>) {
    for bytes in frames {
        match pool.frame_from(bytes.as_ref()) {
            Ok(frame) => assert!(batch.push(frame).is_ok(), "the batch of {} frames is full", batch.capacity()),
            Err(error) => panic!("a frame of {} bytes: {error}", bytes.as_ref().len()),
        }
    }
}

/// Puts [`numbered`] frames of `len_bytes` bytes into `batch`.
///
/// # Panics
/// As [`fill`].
pub fn fill_numbered(batch: &mut Batch, pool: &BufPool, numbers: impl IntoIterator<Item = u32>, len_bytes: usize) {
    fill(batch, pool, numbers.into_iter().map(|number| numbered(number, len_bytes)));
}

/// Hands one frame to a queue, which takes it or not.
///
/// # Panics
/// Where the pool has no buffer for it.
pub fn transmit(tx: &mut impl TxQueue, pool: &BufPool, bytes: &[u8]) -> TxState {
    let mut batch = Batch::new(8);
    fill(&mut batch, pool, [bytes]);
    tx.submit(&mut batch)
}

/// Everything that waits in a queue.
pub fn received(rx: &mut impl RxQueue) -> Vec<Vec<u8>> {
    let mut batch = Batch::new(64);
    let mut frames = Vec::new();
    while rx.poll(&mut batch, 64) > 0 {
        frames.extend(batch.frames().iter().map(bytes_of));
        batch.clear();
    }
    frames
}

/// Polls a queue until `count` frames came, letting 10 microseconds pass after each look that found none.
///
/// # Panics
/// Where they have not come after `limit_us` microseconds.
pub fn received_within(rx: &mut impl RxQueue, clock: &dyn Clock, count: usize, limit_us: u64) -> Vec<Vec<u8>> {
    let mut frames = received(rx);
    let mut waited_us = 0;
    while frames.len() < count {
        assert!(waited_us < limit_us, "{} of {count} frames came within {limit_us} us; the queue's fault: {:?}", frames.len(), rx.fault());
        clock.sleep_us(10);
        waited_us += 10;
        frames.extend(received(rx));
    }
    frames
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::string::String;

    use super::*;
    use crate::buf::pool::PoolConfig;
    use crate::host::pci::Interrupt;
    use crate::queue::contract::RxCounters;
    use crate::ring::fault::QueueFault;
    use crate::testing::clock::FakeClock;
    use crate::testing::memory::domain;

    /// A frame comes at each third poll.
    struct Third {
        pool: BufPool,
        polls: u32,
    }

    impl RxQueue for Third {
        fn poll(&mut self, batch: &mut Batch, _: usize) -> usize {
            self.polls += 1;
            if !self.polls.is_multiple_of(3) {
                return 0;
            }
            fill_numbered(batch, &self.pool, [self.polls], 60);
            1
        }
        fn arm(&mut self) -> bool {
            false
        }
        fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
            None
        }
        fn fault(&self) -> Option<QueueFault> {
            Some(QueueFault::Stopped)
        }
        fn counters(&self) -> RxCounters {
            RxCounters::default()
        }
    }

    #[test]
    fn frames_are_waited_for_and_not_for_ever() {
        let pool = BufPool::new(&domain().0, PoolConfig::new(64)).unwrap();
        let clock = FakeClock::new();
        let mut rx = Third { pool, polls: 0 };
        let frames = received_within(&mut rx, &clock, 2, 40);
        // Looks end with a poll that finds nothing: polls 1; 2; 3, 4; 5; 6, 7.
        assert_eq!((frames.iter().map(|bytes| number_in(bytes)).collect::<Vec<_>>(), clock.now_us()), (vec![3, 6], 40));
        let panic = catch_unwind(AssertUnwindSafe(|| received_within(&mut rx, &clock, 9, 30))).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("2 of 9 frames came within 30 us; the queue's fault: Some(Stopped)"), "{text}");
    }

    #[test]
    fn frames_are_as_long_as_asked_for_and_tell_who_they_are() {
        for len_bytes in [18, 60, 1514] {
            let bytes = numbered(0x0102_0304, len_bytes);
            assert_eq!((bytes.len(), number_in(&bytes)), (len_bytes, 0x0102_0304));
        }
        assert_eq!(numbered(7, 0).len(), 18);
        assert_ne!(numbered(1, 60)[18..], numbered(2, 60)[18..]);
        let (to, from) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        assert_eq!(frame(to, from, 17, 0xfe), [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 0xfe, 0xff, 0]);
        assert_eq!(frame(to, from, 0, 9).len(), HEADER_BYTES);
    }
}
