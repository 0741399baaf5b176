//! The receive loop as a datasheet tells it: one descriptor at a time, in safe code, with nothing clever about it.
//!
//! Read this before [`RxRing`](crate::ring::rx::RxRing), which does the same in blocks of eight; the tests feed both with the same descriptors and compare
//! what comes out. The sections are those of the 82599's datasheet.

use alloc::vec::Vec;

use crate::barrier;
use crate::buf::frame::Frame;
use crate::buf::meta::{LEN_SHIFT, QUEUE_SHIFT};
use crate::buf::pool::BufPool;
use crate::ring::desc::DescRing;
use crate::ring::lane::Pair;
use crate::ring::rules::RxRules;

/// A receive ring whose slots hold frames: empty ones, whose buffers the device fills.
pub(super) struct ScalarRing {
    pub(super) desc: DescRing,
    /// Which frame is lent with which descriptor. What the device writes never tells where a buffer is.
    lent: Vec<Frame>,
    /// The next descriptor that the device completes.
    pub(super) next: u32,
    /// The first segments of a frame whose end has not come yet.
    partial: Option<Frame>,
    pool: BufPool,
    rules: RxRules,
    /// Bits of the second word that make a frame bad, and those that frames do not show.
    bad: u64,
    hidden: u64,
    queue: u16,
}

/// The device says that it wrote more bytes than the buffer has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) u32);

impl ScalarRing {
    pub(super) fn new(pool: &BufPool, entries: u32, queue: u16, rules: RxRules, (bad, hidden): (u64, u64)) -> Self {
        let lent = (0..entries).map(|_| pool.take().expect("a buffer for each descriptor")).collect();
        let desc = DescRing::new(pool.domain(), entries).expect("memory");
        let mut ring = Self { desc, lent, next: 0, partial: None, pool: pool.clone(), rules, bad, hidden, queue };
        (0..entries).for_each(|slot| ring.lend(slot));
        ring
    }

    /// Writes the descriptor in its read format (7.1.6.1): where the buffer is, and nothing done yet.
    fn lend(&mut self, slot: u32) {
        self.desc.store(slot, Pair::new(self.lent[slot as usize].iova().0, 0));
    }

    /// The tail register (7.1.9): one beyond the last descriptor that the device may use.
    pub(super) fn tail(&self) -> u32 {
        self.next.wrapping_sub(1) & self.desc.mask()
    }

    /// Takes up to `budget` whole frames (7.1.6.2: the write-back format).
    pub(super) fn receive(&mut self, budget: usize) -> Result<Vec<Frame>, TooLong> {
        let mut frames = Vec::new();
        while frames.len() < budget {
            let slot = self.next;
            let [word0, word1] = self.desc.load(slot).words();
            if word1 & self.rules.done == 0 {
                break; // DD is clear: the device is not done with this descriptor, nor with any behind it.
            }
            barrier::after_done(); // DD vouches for the rest of the descriptor and for the buffer, which may be read only now.
            if word1 & self.bad != 0 {
                self.partial = None; // An error spoils the whole frame. Its buffer stays in the slot and is lent again.
            } else {
                let len_bytes = (word1 >> LEN_SHIFT) as u16; // PKT_LEN
                if u32::from(len_bytes) > self.pool.data_bytes() {
                    return Err(TooLong(len_bytes.into()));
                }
                let Some(empty) = self.pool.take() else { break }; // The slot must not be left without a buffer: the frame waits.
                let mut frame = core::mem::replace(&mut self.lent[slot as usize], empty);
                let word0 = word0 & !(self.rules.dropped | 0x3ff << QUEUE_SHIFT) | u64::from(self.queue) << QUEUE_SHIFT;
                frame.set_received([word0, word1 & !self.hidden]).expect("the length was looked at");
                let frame = match self.partial.take() {
                    Some(mut first) => {
                        first.copy_meta(&frame); // 7.1.6.2: status, errors, hash and tag are those of the last.
                        first.append(frame); // The next segment of a frame that began in another descriptor (7.1.5: EOP).
                        first
                    }
                    None => frame,
                };
                if word1 & self.rules.end == self.rules.end { frames.push(frame) } else { self.partial = Some(frame) }
            }
            self.lend(slot);
            self.next = (slot + 1) & self.desc.mask();
        }
        Ok(frames)
    }
}
