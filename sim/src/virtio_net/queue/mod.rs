//! The device's end of a virtqueue, in whichever layout was agreed on.

mod packed;
mod split;

use driver_core::host::Iova;

use super::options::UsedIds;
use super::regs::*;
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use packed::Packed;
use split::Split;

/// One piece of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: Iova,
    pub(super) len: u32,
    pub(super) writable: bool,
}

/// A chain that the driver made available.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    /// What names it: the first descriptor of a split queue's, the buffer ID of a packed queue's.
    pub(super) head: u16,
    pub(super) pieces: Vec<Piece>,
    /// How many descriptors of a packed ring it lies in.
    slots: u16,
}

impl Chain {
    /// How it is given back with so many bytes written.
    pub(super) fn entry(&self, written: u32) -> Entry {
        Entry { id: self.head.into(), len: written, chain: self.head, slots: self.slots }
    }
}

/// A chain that is given back, as it is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) len: u32,
    /// The chain that it is, whatever is written.
    chain: u16,
    /// How far a packed ring's next used descriptor lies behind this one's.
    pub(super) slots: u16,
}

/// What else is said of what is given back, and is not true.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lie {
    /// So many more are said to be used, of which nothing is written.
    pub(super) jump: u16,
    /// The used descriptors of a packed queue have the marks of the other round.
    pub(super) wrong_wrap: bool,
}

/// Registers and state of one queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub(super) size: u16,
    pub(super) vector: u16,
    pub(super) enabled: bool,
    /// Descriptors, driver area, device area.
    pub(super) areas: [u64; 3],
    pub(super) notified: bool,
    split: Split,
    packed: Packed,
    /// The queue's memory made no sense: it is not looked at any more.
    pub(super) dead: bool,
}

/// What the driver and the device agreed on, and what the device does of what it may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) event_idx: bool,
    pub(super) indirect: bool,
    pub(super) packed: bool,
    /// Of a packed queue: which descriptor's buffer ID is a chain's.
    pub(super) ids: UsedIds,
    /// Of a packed queue: used descriptors of buffers that were written to say so.
    pub(super) says_write: bool,
    pub(super) in_order: bool,
}

impl Queue {
    pub(super) fn new(max: u16) -> Self {
        Self {
            size: max,
            vector: NO_VECTOR,
            enabled: false,
            areas: [0; 3],
            notified: false,
            split: Split::new(max),
            packed: Packed::default(),
            dead: false,
        }
    }

    fn descriptors(&self, offset: u64) -> Iova {
        Iova(self.areas[0]).offset(offset)
    }

    fn driver(&self, offset: u64) -> Iova {
        Iova(self.areas[1]).offset(offset)
    }

    fn device(&self, offset: u64) -> Iova {
        Iova(self.areas[2]).offset(offset)
    }

    /// 2.7.4, 2.7.5, 2.7.6, 2.7.8; 2.8.10.1: what must hold when the queue is enabled.
    pub(super) fn check(&self, slot: &Slot<'_>, index: usize, max: u16, is_packed: bool) {
        let (aligns, section) =
            if is_packed { (packed::ALIGNS, "2.8.10.1") } else { ([VRING_DESC_ALIGN_SIZE, VRING_AVAIL_ALIGN_SIZE, VRING_USED_ALIGN_SIZE], "2.7") };
        for (&area, align) in self.areas.iter().zip(aligns) {
            if area == 0 || !area.is_multiple_of(align.into()) {
                slot.violation("a queue area is missing or not aligned", format_args!("queue {index}"), area, section);
            }
        }
        // The size of a packed queue may be any number.
        if self.size == 0 || !is_packed && !self.size.is_power_of_two() || self.size > max {
            slot.violation("a queue size that is no power of two, or above the device's", format_args!("queue {index}"), self.size.into(), section);
        }
    }

    /// How many chains wait; of a packed queue, whether one does.
    pub(super) fn waiting(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<u16, DmaFault> {
        if rules.packed { self.waiting_packed(slot, dma, rules) } else { self.waiting_split(slot, dma, rules) }
    }

    /// Takes the next chain. One is waiting. After a fault that passes nothing is taken.
    pub(super) fn take(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<Chain, DmaFault> {
        if rules.packed { self.take_packed(slot, dma, rules) } else { self.take_split(slot, dma, rules) }
    }

    /// Gives chains back, in this order.
    pub(super) fn give_back(&mut self, dma: &Dma<'_>, rules: Rules, entries: &[Entry], lie: Lie) -> Result<(), DmaFault> {
        if rules.packed { self.give_back_packed(dma, rules, entries, lie) } else { self.give_back_split(dma, entries, lie) }
    }

    /// Whether the driver wants an interrupt for what was used since the last time it was asked.
    pub(super) fn wants_interrupt(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<bool, DmaFault> {
        if rules.packed { self.wants_interrupt_packed(slot, dma, rules) } else { self.wants_interrupt_split(dma, rules) }
    }

    /// Asks for a notification when the driver makes the next chain available, or for none.
    pub(super) fn want_notification(&self, dma: &Dma<'_>, rules: Rules, wanted: bool) -> Result<(), DmaFault> {
        if rules.packed { self.want_notification_packed(dma, rules, wanted) } else { self.want_notification_split(dma, rules, wanted) }
    }
}
