//! Frames that asked for a stamp. The card has room for one (7.9.4).

use alloc::collections::VecDeque;

use driver_core::device::SentStamp;
use driver_core::host::Bar;

use crate::regs::{TDH, TDT, TSYNCTXCTL, TXSTMPH, TXSTMPL, Tsynctxctl};

/// How long the stamp of a frame that left its ring is waited for, in microseconds.
const PATIENCE_US: u64 = 1_000_000;
/// Answers that nobody has fetched: older ones are forgotten.
const KEPT: usize = 64;

/// The frame that the card is to stamp.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    id: u32,
    queue: u16,
    /// Its first descriptor, and the ring's number of them less one.
    slot: u32,
    mask: u32,
    since_us: u64,
}

/// Where a frame that asks for a stamp lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The queue.
    pub(crate) queue: u16,
    /// The frame's first descriptor.
    pub(crate) index: u32,
    /// Descriptors of the ring.
    pub(crate) len: u32,
}

/// What became of frames that asked.
#[derive(Debug, Default)]
pub(super) struct Sent {
    waiting: Option<Waiting>,
    done: VecDeque<SentStamp>,
    /// As Linux counts: no stamp came; another frame waited for its own.
    pub(super) timeouts: u64,
    pub(super) skipped: u64,
}

impl Sent {
    /// A frame that is about to be submitted. Whether the card is to stamp it.
    pub(super) fn begin(&mut self, id: u32, slot: Slot, now_us: u64) -> bool {
        if self.waiting.is_some() {
            self.skip(id);
            return false;
        }
        self.waiting = Some(Waiting { id, queue: slot.queue, slot: slot.index, mask: slot.len - 1, since_us: now_us });
        true
    }

    /// A frame that goes without.
    pub(super) fn skip(&mut self, id: u32) {
        self.skipped += 1;
        self.tell(id, None);
    }

    /// Looks whether the stamp is there; `ns` makes nanoseconds of it.
    pub(super) fn look(&mut self, bar: &impl Bar, now_us: u64, ns: impl FnOnce(u32, u32) -> u64) {
        let Some(waiting) = self.waiting else { return };
        if TSYNCTXCTL.read(bar).contains(Tsynctxctl::TXTT) {
            let low = TXSTMPL.read(bar);
            let at_ns = ns(low, TXSTMPH.read(bar));
            self.end(waiting.id, Some(at_ns));
        } else if now_us.saturating_sub(waiting.since_us) >= PATIENCE_US && has_left(bar, waiting) {
            self.timeouts += 1;
            // A stamp that comes now is nobody's.
            TXSTMPH.read(bar);
            self.end(waiting.id, None);
        }
    }

    /// The card was reset: what waited is lost.
    pub(super) fn forget(&mut self) {
        if let Some(waiting) = self.waiting {
            self.end(waiting.id, None);
        }
    }

    pub(super) fn take(&mut self) -> Option<SentStamp> {
        self.done.pop_front()
    }

    fn end(&mut self, id: u32, at_ns: Option<u64>) {
        self.waiting = None;
        self.tell(id, at_ns);
    }

    fn tell(&mut self, id: u32, at_ns: Option<u64>) {
        if self.done.len() == KEPT {
            self.done.pop_front();
        }
        self.done.push_back(SentStamp { id, at_ns });
    }
}

/// Whether the card is done with the frame's descriptor. As long as it is not, the stamp may come at any time and would be taken for another frame's. A ring that went
/// all the way round since says that it is not, until the next look.
fn has_left(bar: &impl Bar, waiting: Waiting) -> bool {
    let (Ok(head), Ok(tail)) = (TDH.at(waiting.queue.into()), TDT.at(waiting.queue.into())) else { return true };
    let (head, tail) = (head.read(bar), tail.read(bar));
    tail.wrapping_sub(head) & waiting.mask < tail.wrapping_sub(waiting.slot) & waiting.mask
}
