//! The device's end of a packed virtqueue (2.8), strict about what a driver must do.

use std::sync::atomic::{Ordering, fence};

use driver_core::host::Iova;

use super::state::{Chain, Entry, Lie, Piece, Queue, Rules, bursts};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::virtio_net::options::UsedIds;

/// Of descriptor ring, driver and device event suppression (2.8.10.1).
pub(super) const ALIGNS: [u32; 3] = [16, 4, 4];

/// The flags of a descriptor, the fourth word of 16 bits in its second half (2.8.1, 2.8.3, 2.8.6, 2.8.7).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// Descriptor Ring Change Event Flags (2.8.10).
const EVENTS_ENABLE: u16 = 0;
const EVENTS_DISABLE: u16 = 1;
const EVENTS_DESC: u16 = 2;

/// AVAIL and USED as they are where both sides' counters are `wrap`.
fn marks(wrap: bool, used: bool) -> u16 {
    let mark = |bit, set| if set { bit } else { 0 };
    mark(AVAIL, wrap) | mark(USED, wrap == used)
}

impl Queue {
    fn step(&self, place: u32, by: u16) -> u32 {
        (place + u32::from(by)) % (2 * u32::from(self.size))
    }

    /// Where the descriptor of a place lies, and the wrap counter there.
    fn at(&self, place: u32) -> (Iova, bool) {
        let size = u32::from(self.size);
        (self.descriptors(16 * u64::from(place % size)), place < size)
    }

    /// Whether a chain waits: 1 or 0.
    pub(super) fn waiting_packed(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<u16, DmaFault> {
        self.driver_events(slot, dma, rules)?;
        let (at, wrap) = self.at(self.packed.next);
        let flags = (dma.load8(at.offset(8))? >> 48) as u16;
        if flags & (AVAIL | USED) != marks(wrap, false) {
            return Ok(0);
        }
        if self.packed.held == self.size {
            slot.violation("more descriptors are available than the queue has", format_args!("descriptor ring"), flags.into(), "2.8.1");
            self.dead = true;
            return Ok(0);
        }
        Ok(1)
    }

    /// Takes the next chain.
    pub(super) fn take_packed(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<Chain, DmaFault> {
        let (mut chain, mut ids, mut place) = (Chain::default(), Vec::new(), self.packed.next);
        let first = place % u32::from(self.size);
        let wrong = |what, value: u64, section| slot.violation(what, format_args!("chain at descriptor {first}"), value, section);
        loop {
            let (at, wrap) = self.at(place);
            // The flags are the first descriptor's to be believed: what lies behind it was written before (2.8.6).
            let word = dma.load8(at.offset(8))?;
            let address = dma.load8(at)?;
            let (len, id, flags) = (word as u32, (word >> 32) as u16, (word >> 48) as u16);
            if flags & (AVAIL | USED) != marks(wrap, false) {
                wrong("a descriptor inside of a chain is not available", word, "2.8.6");
                self.dead = true;
                return Ok(chain);
            }
            ids.push(id);
            if flags & INDIRECT != 0 {
                let is_lone = flags & NEXT == 0 && ids.len() == 1;
                if !rules.indirect || !is_lone || len == 0 || !len.is_multiple_of(16) {
                    wrong("an indirect descriptor that must not be", word, "2.8.19");
                    self.dead = true;
                    return Ok(chain);
                }
                self.read_table(slot, dma, &mut chain, (Iova(address), len / 16))?;
            } else {
                push(&mut chain, Piece { at: Iova(address), len, writable: flags & WRITE != 0 }, wrong);
            }
            place = self.step(place, 1);
            if flags & NEXT == 0 {
                break;
            }
            if ids.len() + usize::from(self.packed.held) >= usize::from(self.size) {
                wrong("a chain is longer than what the device does not have", word, "2.8.17");
                self.dead = true;
                return Ok(chain);
            }
        }
        chain.slots = ids.len() as u16;
        chain.head = match rules.ids {
            UsedIds::First => ids.first(),
            UsedIds::Last => ids.last(),
        }
        .copied()
        .unwrap_or(0);
        if !self.packed.ids.insert(chain.head) {
            wrong("a buffer ID is made available while the device has it", chain.head.into(), "2.8.6");
        }
        self.packed.next = place;
        self.packed.held += chain.slots;
        Ok(chain)
    }

    /// The pieces in a table of descriptors (2.8.7). IDs and all flags but one mean nothing there.
    fn read_table(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, chain: &mut Chain, (table, count): (Iova, u32)) -> Result<(), DmaFault> {
        let wrong = |what, value: u64, section| slot.violation(what, format_args!("an indirect table"), value, section);
        if count > self.size.into() {
            wrong("a chain is longer than the queue", count.into(), "2.8.19");
            self.dead = true;
            return Ok(());
        }
        for k in 0..count {
            let [address, word] = dma.load16(table.offset(16 * u64::from(k)))?;
            let flags = (word >> 48) as u16;
            if flags & !WRITE != 0 {
                wrong("a flag other than WRITE in an indirect table", word, "2.8.19");
            }
            push(chain, Piece { at: Iova(address), len: word as u32, writable: flags & WRITE != 0 }, wrong);
        }
        Ok(())
    }

    /// Writes used descriptors; one that stands for several chains lies where the first one's would (2.8.8). The first is written last, so that the driver sees all
    /// of them or none (2.8.9).
    pub(super) fn give_back_packed(&mut self, dma: &Dma<'_>, rules: Rules, entries: &[Entry], Lie { jump, wrong_wrap }: Lie) -> Result<(), DmaFault> {
        let mut place = self.packed.used;
        let mut first = None;
        for burst in bursts(rules, entries) {
            let Some(entry) = burst.last() else { continue };
            let slots = burst.iter().map(|entry| entry.slots).sum();
            let (at, wrap) = self.at(place);
            let write = if rules.says_write && entry.len > 0 { WRITE } else { 0 };
            let word = u64::from(entry.len) | u64::from(entry.id as u16) << 32 | u64::from(marks(wrap != wrong_wrap, true) | write) << 48;
            match first {
                None => first = Some((at, word)),
                Some(_) => dma.store8(at.offset(8), word)?,
            }
            place = self.step(place, slots);
            self.packed.held = self.packed.held.saturating_sub(slots);
        }
        self.packed.used = place;
        for entry in entries {
            self.packed.ids.remove(&entry.chain);
        }
        for k in 0..jump {
            let (at, wrap) = self.at(self.step(place, k));
            // As the driver left it, but for the marks.
            let word = dma.load8(at.offset(8))? & !(u64::from(AVAIL | USED) << 48) | u64::from(marks(wrap, true)) << 48;
            dma.store8(at.offset(8), word)?;
        }
        if let Some((at, word)) = first {
            dma.store8(at.offset(8), word)?;
        }
        Ok(())
    }

    /// The driver's event suppression: flags, and the place that it names.
    fn driver_events(&self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<(u16, u32), DmaFault> {
        let word = dma.load4(self.driver(0))?;
        let (desc, flags) = (word as u16, (word >> 16) as u16);
        let wrong = |what| slot.violation(what, format_args!("driver event suppression"), word.into(), "2.8.14");
        if flags > EVENTS_DESC || flags == EVENTS_DESC && !rules.event_idx {
            wrong("event flags that are reserved, or not negotiated");
        }
        let (offset, wrap) = (desc & 0x7fff, desc >> 15 == 1);
        if flags == EVENTS_DESC && offset >= self.size {
            wrong("an event of a descriptor that the ring does not have");
        }
        Ok((flags, u32::from(offset) + if wrap { 0 } else { self.size.into() }))
    }

    /// Whether the driver wants an interrupt for what was used since the last time it was asked (2.8.10).
    pub(super) fn wants_interrupt_packed(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, rules: Rules) -> Result<bool, DmaFault> {
        fence(Ordering::SeqCst);
        let (old, new) = (self.packed.signalled, self.packed.used);
        self.packed.signalled = new;
        if old == new {
            return Ok(false);
        }
        let (flags, event) = self.driver_events(slot, dma, rules)?;
        // How far a place lies behind `old`.
        let round = 2 * u32::from(self.size);
        let behind = |place: u32| (place + round - old) % round;
        Ok(match flags {
            EVENTS_ENABLE => true,
            EVENTS_DESC if rules.event_idx => behind(event) < behind(new),
            _ => false,
        })
    }

    /// Asks for a notification when the driver makes the next chain available, or for none.
    pub(super) fn want_notification_packed(&self, dma: &Dma<'_>, rules: Rules, wanted: bool) -> Result<(), DmaFault> {
        let (at, wrap) = (self.packed.next % u32::from(self.size), self.packed.next < u32::from(self.size));
        let flags = match wanted {
            false => EVENTS_DISABLE,
            true if rules.event_idx => EVENTS_DESC,
            true => EVENTS_ENABLE,
        };
        let desc = at as u16 | u16::from(wrap) << 15;
        dma.store4(self.device(0), u32::from(desc) | u32::from(flags) << 16)?;
        fence(Ordering::SeqCst);
        Ok(())
    }
}

/// One piece behind another: bytes, and nothing readable behind what is writable (2.8.17).
fn push(chain: &mut Chain, piece: Piece, wrong: impl Fn(&'static str, u64, &'static str)) {
    if piece.len == 0 {
        wrong("a descriptor of no bytes", piece.at.0, "2.8.13");
    }
    if !piece.writable && chain.pieces.last().is_some_and(|last| last.writable) {
        wrong("a readable descriptor behind a writable one", piece.at.0, "2.8.17");
    }
    chain.pieces.push(piece);
}
