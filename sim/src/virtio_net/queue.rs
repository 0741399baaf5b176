//! The device's end of a split virtqueue (2.7), strict about what a driver must do.

use driver_core::host::Iova;

use super::regs::*;
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;

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
    pub(super) head: u16,
    pub(super) pieces: Vec<Piece>,
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
    /// Chains taken from the available ring.
    taken: u16,
    /// Entries written to the used ring.
    used: u16,
    /// Used entries of which the driver was told, as far as the event index goes.
    signalled: u16,
    /// Heads that the device has.
    held: Vec<bool>,
    /// The queue's memory made no sense: it is not looked at any more.
    pub(super) dead: bool,
}

/// What the driver and the device agreed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) event_idx: bool,
    pub(super) indirect: bool,
}

impl Queue {
    pub(super) fn new(max: u16) -> Self {
        Self {
            size: max,
            vector: NO_VECTOR,
            enabled: false,
            areas: [0; 3],
            notified: false,
            taken: 0,
            used: 0,
            signalled: 0,
            held: vec![false; max.into()],
            dead: false,
        }
    }

    /// Chains that the device has and did not return.
    pub(super) fn outstanding(&self) -> u16 {
        self.taken.wrapping_sub(self.used)
    }

    fn driver(&self, offset: u64) -> Iova {
        Iova(self.areas[1]).offset(offset)
    }

    fn device(&self, offset: u64) -> Iova {
        Iova(self.areas[2]).offset(offset)
    }

    /// 2.7.4, 2.7.5, 2.7.6, 2.7.8: what must hold when the queue is enabled.
    pub(super) fn check(&self, slot: &Slot<'_>, index: usize, max: u16) {
        let aligns = [VRING_DESC_ALIGN_SIZE, VRING_AVAIL_ALIGN_SIZE, VRING_USED_ALIGN_SIZE];
        for (&area, align) in self.areas.iter().zip(aligns) {
            if area == 0 || !area.is_multiple_of(align.into()) {
                slot.violation("a queue area is missing or not aligned", format_args!("queue {index}"), area, "2.7");
            }
        }
        if !self.size.is_power_of_two() || self.size > max {
            slot.violation("a queue size that is no power of two, or above the device's", format_args!("queue {index}"), self.size.into(), "2.7");
        }
    }

    /// How many chains wait.
    pub(super) fn waiting(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<u16, DmaFault> {
        if rules.event_idx && dma.load2(self.driver(0))? != 0 {
            slot.violation("avail flags are not zero with VIRTIO_F_EVENT_IDX", format_args!("available ring"), 0, "2.7.7.1");
        }
        let waiting = dma.load2(self.driver(2))?.wrapping_sub(self.taken);
        if waiting > self.size.wrapping_sub(self.outstanding()) {
            slot.violation("more chains are available than the queue has", format_args!("avail idx"), waiting.into(), "2.7.13.1");
            self.dead = true;
            return Ok(0);
        }
        Ok(waiting)
    }

    /// Takes the next chain. One is waiting. After a fault that passes nothing is taken.
    pub(super) fn take(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<Chain, DmaFault> {
        let at = 4 + 2 * u64::from(self.taken % self.size);
        let head = dma.load2(self.driver(at))?;
        let mut chain = Chain { head, pieces: Vec::new() };
        let known = head < self.size && usize::from(head) < self.held.len();
        if known {
            self.follow(slot, dma, rules, &mut chain)?;
        } else {
            slot.violation("a descriptor beyond the queue is made available", format_args!("available ring"), head.into(), "2.7.6");
            self.dead = true;
        }
        self.taken = self.taken.wrapping_add(1);
        if let Some(held) = self.held.get_mut(usize::from(head))
            && std::mem::replace(held, true)
        {
            slot.violation("a descriptor is made available while the device has it", format_args!("descriptor {head}"), 0, "2.7.13.1");
        }
        Ok(chain)
    }

    fn follow(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules, chain: &mut Chain) -> Result<(), DmaFault> {
        let (mut table, mut entries, mut index, mut nested) = (Iova(self.areas[0]), self.size, chain.head, false);
        let wrong = |what, value: u64, section| slot.violation(what, format_args!("chain of descriptor {}", chain.head), value, section);
        for _ in 0..self.size {
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
            if next >= entries {
                wrong("a chain leads out of its table", next.into(), "2.7.5");
                self.dead = true;
                return Ok(());
            }
            index = next;
        }
        wrong("a chain is longer than the queue, or a circle", 0, "2.7.5.2");
        self.dead = true;
        Ok(())
    }

    /// Gives chains back, in this order: pairs of id and length as they are written. The index goes up by as many, and `jump` more.
    pub(super) fn give_back(&mut self, dma: &Dma<'_>, entries: &[(u32, u32)], jump: u16) -> Result<(), DmaFault> {
        for &(id, len) in entries {
            let at = 4 + 8 * u64::from(self.used % self.size);
            dma.store4(self.device(at), id)?;
            dma.store4(self.device(at + 4), len)?;
            self.used = self.used.wrapping_add(1);
            if let Some(held) = self.held.get_mut(id as usize) {
                *held = false;
            }
        }
        dma.store2(self.device(2), self.used.wrapping_add(jump))
    }

    /// Whether the driver wants an interrupt for what was used since the last time it was asked (2.7.7.2).
    pub(super) fn wants_interrupt(&mut self, dma: &Dma<'_>, rules: Rules) -> Result<bool, DmaFault> {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let (old, new) = (self.signalled, self.used);
        self.signalled = new;
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
    pub(super) fn want_notification(&self, dma: &Dma<'_>, rules: Rules, wanted: bool) -> Result<(), DmaFault> {
        if !rules.event_idx {
            return dma.store2(self.device(0), if wanted { 0 } else { VRING_USED_F_NO_NOTIFY as u16 });
        }
        // An index that was passed is passed again after 65535 more.
        let avail_event = if wanted { self.taken } else { self.taken.wrapping_sub(1) };
        dma.store2(self.device(4 + 8 * u64::from(self.size)), avail_event)?;
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}
