//! The device's end of a split virtqueue (2.7), strict about what a driver must do.

use driver_core::host::Iova;

use super::state::{Chain, Entry, Lie, Piece, Queue, Rules, bursts};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::virtio_net::regs::*;

impl Queue {
    /// How many chains wait.
    pub(super) fn waiting_split(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<u16, DmaFault> {
        if rules.event_idx && dma.load2(self.driver(0))? != 0 {
            slot.violation("avail flags are not zero with VIRTIO_F_EVENT_IDX", format_args!("available ring"), 0, "2.7.7.1");
        }
        let waiting = dma.load2(self.driver(2))?.wrapping_sub(self.split.taken);
        if waiting > self.size.wrapping_sub(self.split.outstanding()) {
            slot.violation("more chains are available than the queue has", format_args!("avail idx"), waiting.into(), "2.7.13.1");
            self.dead = true;
            return Ok(0);
        }
        Ok(waiting)
    }

    /// Takes the next chain. One is waiting. After a fault that passes nothing is taken.
    pub(super) fn take_split(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<Chain, DmaFault> {
        let at = 4 + 2 * u64::from(self.split.taken % self.size);
        let head = dma.load2(self.driver(at))?;
        let mut chain = Chain { head, ..Chain::default() };
        let known = head < self.size && usize::from(head) < self.split.held.len();
        if known {
            self.follow_split(slot, dma, rules, &mut chain)?;
        } else {
            slot.violation("a descriptor beyond the queue is made available", format_args!("available ring"), head.into(), "2.7.6");
            self.dead = true;
        }
        self.split.taken = self.split.taken.wrapping_add(1);
        self.split.behind = head.wrapping_add(chain.slots) % self.size;
        if let Some(held) = self.split.held.get_mut(usize::from(head))
            && std::mem::replace(held, true)
        {
            slot.violation("a descriptor is made available while the device has it", format_args!("descriptor {head}"), 0, "2.7.13.1");
        }
        Ok(chain)
    }

    fn follow_split(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules, chain: &mut Chain) -> Result<(), DmaFault> {
        let (mut table, mut entries, mut index, mut nested) = (Iova(self.areas[0]), self.size, chain.head, false);
        let wrong = |what, value: u64, section| slot.violation(what, format_args!("chain of descriptor {}", chain.head), value, section);
        if rules.in_order && chain.head != self.split.behind {
            wrong("a chain does not begin behind the last one, in order", chain.head.into(), "2.7.5");
        }
        chain.slots = 1;
        // The descriptor that refers to a table is none of the chain's (2.7.5.3.1).
        while chain.pieces.len() < usize::from(self.size) {
            let [address, rest] = dma.load16(table.offset(16 * u64::from(index)))?;
            let (len, flags, next) = (rest as u32, u32::from((rest >> 32) as u16), (rest >> 48) as u16);
            if flags & VRING_DESC_F_INDIRECT != 0 {
                if !rules.indirect || nested || flags & VRING_DESC_F_NEXT != 0 || len == 0 || !len.is_multiple_of(16) || index != chain.head {
                    wrong("an indirect descriptor that must not be", rest, "2.7.5.3.1");
                    self.dead = true;
                    return Ok(());
                }
                (table, entries, index, nested) = (Iova(address), (len / 16) as u16, 0, true);
                continue;
            }
            if len == 0 {
                wrong("a descriptor of no bytes", address, "2.7.5");
            }
            let writable = flags & VRING_DESC_F_WRITE != 0;
            if !writable && chain.pieces.last().is_some_and(|piece| piece.writable) {
                wrong("a readable descriptor behind a writable one", address, "2.7.4.2");
            }
            chain.pieces.push(Piece { at: Iova(address), len, writable });
            if flags & VRING_DESC_F_NEXT == 0 {
                return Ok(());
            }
            if rules.in_order && next != if nested { index.wrapping_add(1) } else { index.wrapping_add(1) % self.size } {
                wrong("next is not the descriptor behind, in order", next.into(), if nested { "2.7.5.3.1" } else { "2.7.5.2" });
            }
            if next >= entries {
                wrong("a chain leads out of its table", next.into(), "2.7.5");
                self.dead = true;
                return Ok(());
            }
            index = next;
            chain.slots += u16::from(!nested);
        }
        wrong("a chain is longer than the queue, or a circle", 0, "2.7.5.2");
        self.dead = true;
        Ok(())
    }

    /// Gives chains back, in this order. The index goes up by as many, and `jump` more. An entry that stands for several chains lies where the first one's would
    /// (2.7.9).
    pub(super) fn give_back_split(&mut self, dma: &Dma<'_>, rules: Rules, entries: &[Entry], Lie { jump, .. }: Lie) -> Result<(), DmaFault> {
        for burst in bursts(rules, entries) {
            let Some(&Entry { id, len, .. }) = burst.last() else { continue };
            let at = 4 + 8 * u64::from(self.split.used % self.size);
            dma.store4(self.device(at), id)?;
            dma.store4(self.device(at + 4), len)?;
            self.split.used = self.split.used.wrapping_add(burst.len() as u16);
            for entry in burst {
                if let Some(held) = self.split.held.get_mut(entry.id as usize) {
                    *held = false;
                }
            }
        }
        dma.store2(self.device(2), self.split.used.wrapping_add(jump))
    }

    /// Whether the driver wants an interrupt for what was used since the last time it was asked (2.7.7.2).
    pub(super) fn wants_interrupt_split(&mut self, dma: &Dma<'_>, rules: Rules) -> Result<bool, DmaFault> {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let (old, new) = (self.split.signalled, self.split.used);
        self.split.signalled = new;
        if old == new {
            return Ok(false);
        }
        if !rules.event_idx {
            return Ok(u32::from(dma.load2(self.driver(0))?) & VRING_AVAIL_F_NO_INTERRUPT == 0);
        }
        let used_event = dma.load2(self.driver(4 + 2 * u64::from(self.size)))?;
        // Whether `used_event` is one of the entries `old .. new`.
        Ok(used_event.wrapping_sub(old) < new.wrapping_sub(old))
    }

    /// Asks for a notification when the driver makes the next chain available, or for none.
    pub(super) fn want_notification_split(&self, dma: &Dma<'_>, rules: Rules, wanted: bool) -> Result<(), DmaFault> {
        if !rules.event_idx {
            return dma.store2(self.device(0), if wanted { 0 } else { VRING_USED_F_NO_NOTIFY as u16 });
        }
        // An index that was passed is passed again after 65535 more.
        let avail_event = if wanted { self.split.taken } else { self.split.taken.wrapping_sub(1) };
        dma.store2(self.device(4 + 8 * u64::from(self.size)), avail_event)?;
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}
