//! What receive and transmit rings share: base, length, head, tail, and the enable handshake (7.1.9, 7.2.3.3).

use driver_core::host::Iova;

use super::file::name_of;
use super::state::Unreported;
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::wire::MAX_FRAME_BYTES;

/// RXDCTL.ENABLE and TXDCTL.ENABLE (8.2.3.8.6, 8.2.3.9.10).
pub(super) const ENABLE: u32 = 1 << 25;
/// Buffers of the longest frame, of 1 KiB each.
pub(super) const MOST_BUFFERS: usize = MAX_FRAME_BYTES / 1024 + 1;
const BSIZEPACKET_MASK: u32 = 0x1F;
/// Descriptors have 16 bytes.
const DESC_BYTES: u64 = 16;

/// Offsets in a queue's block of registers.
pub(super) const BAL: u32 = 0x00;
pub(super) const BAH: u32 = 0x04;
pub(super) const LEN: u32 = 0x08;
pub(super) const DCA: u32 = 0x0C;
pub(super) const HEAD: u32 = 0x10;
pub(super) const SRRCTL: u32 = 0x14;
pub(super) const TAIL: u32 = 0x18;
pub(super) const DCTL: u32 = 0x28;
pub(super) const RSCCTL: u32 = 0x2C;
pub(super) const TDWBAL: u32 = 0x38;
pub(super) const TDWBAH: u32 = 0x3C;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Disabled,
    /// ENABLE was written, and reads zero until the queue is up.
    Enabling,
    Enabled,
    /// ENABLE was cleared, and reads one until accesses under way are done (4.6.7.1.2).
    Disabling,
}

/// SRRCTL.DESCTYPE (8.2.3.8.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DescType {
    /// As after a reset.
    Legacy,
    /// Advanced, with one buffer.
    Advanced,
    /// Advanced, with headers in a buffer of their own.
    Split,
    /// Reserved, or headers split off always.
    Other,
}

/// One descriptor ring as the card sees it.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    receives: bool,
    pub bal: u32,
    pub bah: u32,
    pub len_bytes: u32,
    pub dca: u32,
    pub dctl: u32,
    /// SRRCTL of a receive queue.
    pub srrctl: u32,
    /// RSCCTL of a receive queue.
    pub rscctl: u32,
    /// TDWBAL and TDWBAH of a transmit queue.
    pub tdwb: [u32; 2],
    pub head: u32,
    pub tail: u32,
    pub state: State,
    /// What a transmit queue has sent and not reported.
    pub unreported: Unreported,
    /// Segments of the packet at the head that are on the wire already.
    pub segments_sent: usize,
    /// A DMA fault stopped the ring; it stands still until it is disabled.
    pub faulted: bool,
}

impl Ring {
    pub(super) fn receive() -> Self {
        Self { receives: true, dca: 0xB200, srrctl: 0x402, ..Self::transmit() }
    }

    pub(super) fn transmit() -> Self {
        Self {
            receives: false,
            bal: 0,
            bah: 0,
            len_bytes: 0,
            dca: 0x2A00,
            dctl: 0,
            srrctl: 0,
            rscctl: 0,
            tdwb: [0; 2],
            head: 0,
            tail: 0,
            state: State::Disabled,
            unreported: Unreported::default(),
            segments_sent: 0,
            faulted: false,
        }
    }

    /// How many descriptors it has.
    #[inline]
    pub(super) fn slots(&self) -> u32 {
        self.len_bytes / DESC_BYTES as u32
    }

    /// Whether the card works on it.
    #[inline]
    pub(super) fn runs(&self) -> bool {
        self.state == State::Enabled && !self.faulted
    }

    /// The size of a receive queue's buffers: SRRCTL.BSIZEPACKET, in KiB (8.2.3.8.7).
    #[inline]
    pub(super) fn buffer_bytes(&self) -> usize {
        (self.srrctl & BSIZEPACKET_MASK) as usize * 1024
    }

    /// The size of a header's buffer: SRRCTL.BSIZEHEADER, in units of 64 bytes.
    pub(super) fn header_room(&self) -> usize {
        (self.srrctl >> 8 & 0x3F) as usize * 64
    }

    pub(super) fn desc_type(&self) -> DescType {
        match self.srrctl >> 25 & 7 {
            0 => DescType::Legacy,
            1 => DescType::Advanced,
            2 => DescType::Split,
            _ => DescType::Other,
        }
    }

    /// How many descriptors the card owns.
    #[inline]
    pub(super) fn owned(&self) -> u32 {
        match self.tail.checked_sub(self.head) {
            Some(owned) => owned,
            None => (self.slots() + self.tail).saturating_sub(self.head),
        }
    }

    /// The buffers of the next `count` descriptors, none of which is taken.
    ///
    /// # Errors
    /// The descriptors cannot be read, all of them.
    pub(super) fn buffers(&self, dma: &Dma<'_>, count: usize) -> Result<[Iova; MOST_BUFFERS], DmaFault> {
        let (mut buffers, mut index) = ([Iova(0); MOST_BUFFERS], self.head);
        for buffer in buffers.iter_mut().take(count) {
            *buffer = Iova(dma.load16(self.desc(index))?[0]);
            index = self.next(index);
        }
        Ok(buffers)
    }

    /// A DMA fault stops the ring, unless the access may be made again.
    pub(super) fn stopped_by<T>(&mut self, fault: DmaFault, outcome: T) -> T {
        self.faulted |= !fault.is_passing();
        outcome
    }

    /// Where descriptor `index` lies.
    #[inline]
    pub(super) fn desc(&self, index: u32) -> Iova {
        Iova(u64::from(self.bah) << 32 | u64::from(self.bal)).offset(u64::from(index) * DESC_BYTES)
    }

    /// The index behind `index`.
    #[inline]
    pub(super) fn next(&self, index: u32) -> u32 {
        if index + 1 < self.slots() { index + 1 } else { 0 }
    }

    pub(super) fn read(&self, at: u32) -> Option<u32> {
        Some(match at {
            BAL => self.bal,
            BAH => self.bah,
            LEN => self.len_bytes,
            DCA => self.dca,
            HEAD => self.head,
            SRRCTL if self.receives => self.srrctl,
            TAIL => self.tail,
            DCTL => self.dctl & !ENABLE | if matches!(self.state, State::Enabled | State::Disabling) { ENABLE } else { 0 },
            RSCCTL if self.receives => self.rscctl,
            TDWBAL if !self.receives => self.tdwb[0],
            TDWBAH if !self.receives => self.tdwb[1],
            _ => return None,
        })
    }

    /// Writes a register of the block; `offset` is its place in BAR0, for reports. Returns false where the block has no such register.
    pub(super) fn write(&mut self, slot: &Slot<'_>, offset: u32, value: u32) -> bool {
        let at = offset % 0x40;
        let forbid = |what| {
            let (name, queue, section) = name_of(offset);
            slot.violation(what, format_args!("{name}[{queue}]"), value.into(), section);
        };
        if self.state != State::Disabled && matches!(at, BAL | BAH | LEN | HEAD | SRRCTL | TDWBAL | TDWBAH) {
            forbid("a ring was changed while its queue is enabled");
        }
        match at {
            BAL => {
                if !value.is_multiple_of(128) {
                    forbid("the ring's base is not aligned to 128 bytes");
                }
                self.bal = value & !127;
            }
            BAH => self.bah = value,
            LEN => {
                if !value.is_multiple_of(128) || value > 128 * 1024 {
                    forbid("the ring's length is not a multiple of 128 bytes up to 128 KiB");
                }
                self.len_bytes = value & 0xF_FF80;
            }
            DCA => self.dca = value,
            HEAD => self.head = value & 0xFFFF,
            SRRCTL if self.receives => self.srrctl = value,
            TAIL => self.write_tail(value, forbid),
            RSCCTL if self.receives => self.rscctl = value,
            TDWBAL if !self.receives => self.tdwb[0] = value,
            TDWBAH if !self.receives => self.tdwb[1] = value,
            _ => return false,
        }
        // What a card would make of it is anybody's guess; this one stands still.
        self.faulted |= self.state != State::Disabled && !self.fits();
        true
    }

    /// Whether head and tail lie in the ring.
    pub(super) fn fits(&self) -> bool {
        self.head < self.slots() && self.tail < self.slots()
    }

    fn write_tail(&mut self, value: u32, forbid: impl Fn(&'static str)) {
        match self.state {
            // Clearing head and tail is part of preparing a queue.
            State::Disabled | State::Enabling | State::Disabling if value != 0 => {
                forbid("the tail was written while the queue is not enabled");
            }
            State::Enabled if value >= self.slots() => {
                forbid("the tail was written beyond the ring");
            }
            _ => {}
        }
        self.tail = value & 0xFFFF;
    }

    /// What forbids that the queue be enabled as it is prepared.
    pub(super) fn unfit(&self) -> Option<&'static str> {
        if self.len_bytes == 0 {
            Some("a queue was enabled without a ring length")
        } else if self.bal == 0 && self.bah == 0 {
            Some("a queue was enabled without a ring base")
        } else if !self.fits() {
            Some("a queue was enabled with its head or tail beyond the ring")
        } else {
            None
        }
    }
}
