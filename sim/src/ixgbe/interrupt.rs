//! Interrupt causes, masks, automatic clearing and masking, and moderation (7.3, 8.2.3.5).

use super::moderation::Moderation;
use super::options::Faults;
use super::regs::{EIAC, EIAM, EIAM_EX, EICR, EICS, EICS_EX, EIMC, EIMC_EX, EIMS, EIMS_EX, EITR_HIGH, EITR_LOW, GPIE, IVAR, IVAR_MISC};
use crate::msix::Msix;
use crate::slot::Slot;

/// EICR: a receive packet buffer overran.
pub(super) const CAUSE_RX_MISS: u32 = 1 << 17;
pub(super) const CAUSE_FLOW_DIRECTOR: u32 = 1 << 16;
/// EICR: an access over PCI Express failed.
pub(super) const CAUSE_PCI: u32 = 1 << 18;
/// EICR: a memory has an error that cannot be corrected.
pub(super) const CAUSE_ECC: u32 = 1 << 28;
/// The thermal sensor (X540, X550: "TS").
pub(super) const CAUSE_THERMAL: u32 = 1 << 23;
/// EICR: TSICR has a cause that TSIM lets through (X550).
pub(super) const CAUSE_TIME_SYNC: u32 = 1 << 24;
/// EICR: the link changed.
pub(super) const CAUSE_LSC: u32 = 1 << 20;
/// EICR bits 0 to 15: queue vectors.
const QUEUES: u32 = 0xFFFF;
/// EICR bits 16 to 29: what is not a queue and not the timer.
const MISC: u32 = 0x3FFF_0000;
/// EICR: the TCP timer.
const CAUSE_TCP_TIMER: u32 = 1 << 30;

pub(super) const GPIE_MULTIPLE_MSIX: u32 = 1 << 4;
const GPIE_OCD: u32 = 1 << 5;
pub(super) const GPIE_EIAME: u32 = 1 << 30;
/// IVAR: the allocation is valid.
const IVAR_VALID: u32 = 1 << 7;
const VECTORS: usize = 64;

/// The interrupt block: causes by vector for queues, by EICR bit for the rest.
#[derive(Debug, Clone)]
pub(super) struct Interrupts {
    /// Pending queue causes, a bit for each vector.
    queues: u64,
    /// Pending other causes, at their bits of EICR.
    other: u32,
    mask: u64,
    mask_other: u32,
    /// Vectors with a cause that has not been signalled yet.
    due: u64,
    eiac: u32,
    eiam: [u32; 2],
    gpie: u32,
    ivar: [u32; 64],
    ivar_misc: u32,
    moderation: Moderation,
    /// Without MSI-X: a message that has not been sent, or a line that is asserted.
    signalled: bool,
}

impl Interrupts {
    pub(super) fn new() -> Self {
        Self {
            queues: 0,
            other: 0,
            mask: 0,
            mask_other: 0,
            due: 0,
            eiac: 0,
            eiam: [0; 2],
            gpie: 0,
            ivar: [0; 64],
            ivar_misc: 0,
            moderation: Moderation::new(),
            signalled: false,
        }
    }

    fn is_msix(&self) -> bool {
        self.gpie & GPIE_MULTIPLE_MSIX != 0
    }

    /// A queue wrote back.
    #[inline]
    pub(super) fn queue(&mut self, receives: bool, queue: u32) {
        if let Some(cause) = self.cause_of(receives, queue) {
            self.set_queues(1 << cause);
        }
    }

    /// What IVAR allocates to a queue (8.2.3.5.16): a vector, or without MSI-X a bit of EICR, of which there are 16.
    #[inline]
    fn cause_of(&self, receives: bool, queue: u32) -> Option<u32> {
        let allocation = self.ivar[(queue / 2) as usize & 63] >> (16 * (queue & 1) + if receives { 0 } else { 8 });
        (allocation & IVAR_VALID != 0).then_some(allocation & if self.is_msix() { 0x3F } else { 0xF })
    }

    /// GPIE, by who plays the card's driver.
    pub(super) fn set_gpie(&mut self, value: u32) {
        self.gpie = value;
    }

    /// The vector whose EITR times a queue; without MSI-X there is one vector for all.
    pub(super) fn vector_of(&self, receives: bool, queue: u32) -> Option<usize> {
        self.cause_of(receives, queue).map(|cause| if self.is_msix() { cause as usize } else { 0 })
    }

    /// The counters that time write-backs and interrupts.
    pub(super) fn moderation(&self) -> &Moderation {
        &self.moderation
    }

    /// Starts a vector's counter anew, where it is at zero.
    pub(super) fn restart(&mut self, vector: usize, now_us: u64) {
        self.moderation.start(vector, now_us);
    }

    /// Whether a queue's cause would be told now: its vector's bit, or without MSI-X that of the cause itself.
    pub(super) fn is_open(&self, receives: bool, queue: u32) -> bool {
        self.cause_of(receives, queue).is_some_and(|cause| self.mask >> cause & 1 != 0)
    }

    fn set_queues(&mut self, vectors: u64) {
        self.queues |= vectors;
        self.due |= vectors;
    }

    /// Something else happened; `bits` as in EICR.
    pub(super) fn misc(&mut self, bits: u32) {
        self.other |= bits & (MISC | CAUSE_TCP_TIMER);
        if bits & MISC != 0 {
            self.due |= self.misc_vector(8);
        }
        if bits & CAUSE_TCP_TIMER != 0 {
            self.due |= self.misc_vector(0);
        }
    }

    /// The vector of IVAR_MISC's allocation at `shift`, as a bit. Without MSI-X there is one vector for all.
    fn misc_vector(&self, shift: u32) -> u64 {
        if !self.is_msix() {
            return 1;
        }
        let allocation = self.ivar_misc >> shift;
        if allocation & IVAR_VALID != 0 { 1 << (allocation & 0x3F) } else { 0 }
    }

    /// Vectors whose causes are pending and enabled.
    fn asserted(&self) -> u64 {
        let other = self.other & self.mask_other;
        let misc = if other & MISC != 0 { self.misc_vector(8) } else { 0 };
        let timer = if other & CAUSE_TCP_TIMER != 0 { self.misc_vector(0) } else { 0 };
        self.queues & self.mask | misc | timer
    }

    /// Signals what is due and not throttled. Returns whether it signalled something.
    #[inline]
    pub(super) fn signal(&mut self, slot: &Slot<'_>, msix: &mut Msix, faults: &Faults) -> bool {
        if self.due == 0 { false } else { self.signal_due(slot, msix, faults) }
    }

    /// Whether INTA# is asserted, or an MSI message is due: a cause was signalled without MSI-X, and is still there and enabled.
    pub(super) fn is_signalled(&self) -> bool {
        self.signalled && self.asserted() != 0
    }

    /// An MSI message was sent.
    pub(super) fn sent(&mut self) {
        self.signalled = false;
    }

    fn signal_due(&mut self, slot: &Slot<'_>, msix: &mut Msix, faults: &Faults) -> bool {
        let open = faults.open_vector.map_or(0, |vector| 1 << (vector & 0x3F));
        let mut left = self.due & (self.asserted() | self.queues & open);
        let mut signalled = false;
        while left != 0 {
            let cause = left.trailing_zeros();
            left &= left - 1;
            let vector = if self.is_msix() { cause } else { 0 };
            let index = vector as usize;
            if !self.moderation.start(index, slot.now_us()) {
                continue;
            }
            self.due &= !(1 << cause);
            (signalled, self.signalled) = (true, !self.is_msix());
            self.after_signal(cause);
            if faults.lost_vector != Some(vector as u16) {
                msix.raise(slot, vector as u16);
            }
        }
        signalled
    }

    /// Clears and masks what clears and masks itself when a message goes out (7.3.1.4).
    fn after_signal(&mut self, vector: u32) {
        let bit = 1u64 << vector;
        // Above 15, causes have no bit in EICR and always clear themselves.
        let clears = u64::from(self.eiac & QUEUES) | !u64::from(QUEUES);
        let masked = self.queues & bit;
        if self.is_msix() {
            self.queues &= !(bit & clears);
        }
        if self.gpie & GPIE_EIAME != 0 {
            self.mask &= !(masked & (u64::from(self.eiam[1]) << 32 | u64::from(self.eiam[0])));
        }
        if bit == self.misc_vector(8) && self.is_msix() {
            self.other &= !(self.eiac & MISC);
        }
    }

    /// When a throttled vector may be signalled.
    pub(super) fn next_event_us(&self) -> Option<u64> {
        let due = self.due & self.asserted();
        let ready_us = |vector: usize| self.moderation.zero_us(if self.is_msix() { vector } else { 0 });
        (0..VECTORS).filter(|vector| due >> vector & 1 != 0).map(ready_us).min()
    }

    fn eicr(&self) -> u32 {
        (self.queues as u32 & QUEUES) | self.other
    }

    /// Reads a register of the block, `None` where `offset` is none.
    pub(super) fn read(&mut self, slot: &Slot<'_>, offset: u32) -> Option<u32> {
        Some(match offset {
            EICR => {
                let value = self.eicr();
                // 7.3.1.4.3: with GPIE.OCD only the causes that are not queues clear on read.
                let cleared = if self.gpie & GPIE_OCD != 0 { value & MISC } else { value };
                self.clear(cleared);
                self.automask_legacy(value);
                value
            }
            // Write-only in 8.2.3.5.2. Linux reads the causes here, since that does not clear them.
            EICS => self.eicr(),
            EIMC => 0,
            EIMS => (self.mask as u32 & QUEUES) | self.mask_other,
            EIAC => self.eiac,
            EIAM => self.eiam[0] & QUEUES,
            GPIE => self.gpie,
            IVAR_MISC => self.ivar_misc,
            _ => return self.read_array(slot, offset),
        })
    }

    fn read_array(&self, slot: &Slot<'_>, offset: u32) -> Option<u32> {
        let index = |base: u32, count: u32| (offset >= base && offset < base + 4 * count).then(|| ((offset - base) / 4) as usize);
        if let Some(i) = index(IVAR, 64) {
            Some(self.ivar[i])
        } else if let Some(i) = index(EITR_LOW, 24) {
            Some(self.moderation.read(i, slot.now_us()))
        } else if let Some(i) = index(EITR_HIGH, 104) {
            Some(self.moderation.read(24 + i, slot.now_us()))
        } else if let Some(i) = index(EIMS_EX, 2) {
            Some((self.mask >> (32 * i)) as u32)
        } else if let Some(i) = index(EIAM_EX, 2) {
            Some(self.eiam[i])
        } else {
            (index(EICS_EX, 2).is_some() || index(EIMC_EX, 2).is_some()).then_some(0)
        }
    }

    /// Writes a register of the block. Returns false where `offset` is none.
    pub(super) fn write(&mut self, slot: &Slot<'_>, offset: u32, value: u32) -> bool {
        match offset {
            EICR => {
                self.clear(value);
                self.automask_legacy(value);
            }
            EICS => {
                self.set_queues(u64::from(value & QUEUES));
                self.misc(value & !QUEUES);
                self.automask_legacy(value);
            }
            EIMS => self.unmask(u64::from(value & QUEUES), value & !QUEUES),
            EIMC => {
                self.mask &= !u64::from(value & QUEUES);
                self.mask_other &= QUEUES | !value;
            }
            EIAC => self.eiac = value,
            EIAM => self.eiam[0] = self.eiam[0] & !QUEUES | value & QUEUES,
            GPIE => self.set_gpie(value),
            IVAR_MISC => self.ivar_misc = value,
            _ => return self.write_array(slot, offset, value),
        }
        true
    }

    fn write_array(&mut self, slot: &Slot<'_>, offset: u32, value: u32) -> bool {
        let index = |base: u32, count: u32| (offset >= base && offset < base + 4 * count).then(|| ((offset - base) / 4) as usize);
        let wide = |i: usize| u64::from(value) << (32 * i);
        if let Some(i) = index(IVAR, 64) {
            self.ivar[i] = value;
        } else if let Some(i) = index(EITR_LOW, 24) {
            self.moderation.write(i, slot.now_us(), value);
        } else if let Some(i) = index(EITR_HIGH, 104) {
            self.moderation.write(24 + i, slot.now_us(), value);
        } else if let Some(i) = index(EICS_EX, 2) {
            self.set_queues(wide(i));
        } else if let Some(i) = index(EIMS_EX, 2) {
            self.unmask(wide(i), 0);
        } else if let Some(i) = index(EIMC_EX, 2) {
            self.mask &= !wide(i);
        } else if let Some(i) = index(EIAM_EX, 2) {
            self.eiam[i] = value;
        } else {
            return false;
        }
        true
    }

    /// A cause that waits behind its mask is signalled when the mask opens.
    fn unmask(&mut self, queues: u64, other: u32) {
        let newly = queues & !self.mask;
        self.mask |= queues;
        self.due |= newly & self.queues;
        let newly_other = other & !self.mask_other & self.other;
        self.mask_other |= other & (MISC | CAUSE_TCP_TIMER);
        if newly_other != 0 {
            self.misc(newly_other);
        }
    }

    fn clear(&mut self, bits: u32) {
        let vectors = u64::from(bits & QUEUES);
        self.queues &= !vectors;
        self.other &= !bits;
    }

    /// Without GPIE.EIAME, EIAM masks when EICR is read or written (7.3.1.5).
    fn automask_legacy(&mut self, bits: u32) {
        if self.gpie & GPIE_EIAME == 0 {
            self.mask &= !u64::from(bits & self.eiam[0] & QUEUES);
        }
    }
}
