//! The device's end of a virtqueue, in whichever layout was agreed on.

mod packed;
mod split;
mod state;
mod told;

use super::regs::*;
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use state::bursts;
pub(super) use state::{Chain, Entry, Lie, Queue, Rules};

impl Queue {
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
        let waiting = if rules.packed { self.waiting_packed(slot, dma, rules) } else { self.waiting_split(slot, dma, rules) }?;
        self.judge_told(slot, rules, waiting);
        Ok(waiting)
    }

    /// Takes the next chain. One is waiting. After a fault that passes nothing is taken.
    pub(super) fn take(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<Chain, DmaFault> {
        let before = self.next(rules);
        let chain = if rules.packed { self.take_packed(slot, dma, rules) } else { self.take_split(slot, dma, rules) }?;
        self.take_told(rules, before);
        Ok(chain)
    }

    /// Gives chains back, in this order. Returns how many have no entry of their own.
    pub(super) fn give_back(&mut self, dma: &Dma<'_>, rules: Rules, entries: &[Entry], lie: Lie) -> Result<u64, DmaFault> {
        if rules.packed { self.give_back_packed(dma, rules, entries, lie) } else { self.give_back_split(dma, rules, entries, lie) }?;
        Ok((entries.len() - bursts(rules, entries).count()) as u64)
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
