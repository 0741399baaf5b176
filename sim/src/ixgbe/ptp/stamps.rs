//! Stamps: one of each direction, held until it is read, and those that the X550 puts behind packets in memory.

use super::message::{Message, types};
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::interrupt::CAUSE_TIME_SYNC;
use crate::ixgbe::parse::Headers;
use crate::ixgbe::regs::{ETQF, RXMTRL, TSICR, TSIM, TSYNCRXCTL, TSYNCTXCTL};
use crate::slot::Slot;

/// TSYNCRXCTL and TSYNCTXCTL: stamps are made.
const ENABLED: u32 = 1 << 4;
/// TSYNCRXCTL: the stamp goes behind packets without a VLAN tag (TSIP_UT_EN), and by priority behind those with one (TSIP_UP_EN); X550.
const IN_UNTAGGED: u32 = 1 << 23;
const IN_PRIORITY_SHIFT: u32 = 24;
/// ETQF: the filter is on, and its packets may be stamped.
const FILTER_ENABLE: u32 = 1 << 31;
const FILTER_1588: u32 = 1 << 30;
/// TSICR, TSIM: a packet that was sent was stamped.
const TXTS: u32 = 1 << 1;

/// What a stamp behind a packet takes up in memory: nanoseconds, then seconds.
pub(in crate::ixgbe) const STAMP_BYTES: usize = 8;

/// How a received packet is stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ixgbe) enum Arrival {
    Unstamped,
    /// In RXSTMPL and RXSTMPH (TS).
    InRegisters,
    /// Behind its last byte (TSIP).
    InMemory([u8; STAMP_BYTES]),
}

impl Ixgbe {
    pub(super) fn write_tsyncrxctl(&mut self, slot: &Slot<'_>, value: u32) {
        let kind = value >> 1 & 7;
        let known = match kind {
            types::ALL => self.is_x550(),
            kind => matches!(kind, types::L2_V2 | types::L4_V1 | types::L2_L4_V2 | types::EVENT_V2),
        };
        if value & ENABLED != 0 && !known {
            slot.violation("TSYNCRXCTL.Type is reserved", format_args!("TSYNCRXCTL"), value.into(), "8.2.3.26.1");
        }
        // The valid bit is the card's, and stamps in memory are the X550's.
        let writable = if self.is_x550() { !1 } else { 0x1E };
        self.regs.set(TSYNCRXCTL, value & writable);
    }

    /// Stamps a frame from the wire where it is to be.
    #[inline]
    pub(in crate::ixgbe) fn stamp_arrival(&mut self, slot: &Slot<'_>, frame: &[u8], headers: &Headers) -> Arrival {
        if self.regs.has(TSYNCRXCTL, ENABLED) { self.stamp_if_wanted(slot, frame, headers) } else { Arrival::Unstamped }
    }

    fn stamp_if_wanted(&mut self, slot: &Slot<'_>, frame: &[u8], headers: &Headers) -> Arrival {
        let (control, filter) = (self.regs.at(TSYNCRXCTL), self.regs.at(RXMTRL));
        let kind = control >> 1 & 7;
        let is_stamped_type = |etqf: u32| etqf & (FILTER_ENABLE | FILTER_1588) == FILTER_ENABLE | FILTER_1588;
        let by_type = (0..8).map(|i| self.regs.at(ETQF + 4 * i)).any(|etqf| is_stamped_type(etqf) && headers.ethertype == Some(etqf as u16));
        let message = Message::of(frame, headers, by_type, filter >> 16);
        let wanted = kind == types::ALL || message.is_some_and(|message| message.is_wanted(kind, filter as u8, (filter >> 8) as u8));
        if !wanted {
            return Arrival::Unstamped;
        }
        let has_seconds = self.is_x550();
        let stamp = self.time.clock.stamp(slot.now_us(), has_seconds);
        let in_memory = match headers.vlan {
            None => IN_UNTAGGED,
            Some(tag) => 1 << (IN_PRIORITY_SHIFT + u32::from(tag >> 13)),
        };
        if control & in_memory != 0 {
            return Arrival::InMemory(stamp.to_le_bytes());
        }
        if self.time.received.is_valid() {
            return Arrival::Unstamped;
        }
        self.time.received.set(stamp);
        Arrival::InRegisters
    }

    /// Stamps a packet that asked for it and is on the wire.
    pub(in crate::ixgbe) fn stamp_departure(&mut self, slot: &Slot<'_>, queue: u32) {
        if self.faults.tx_no_stamp {
            return;
        }
        let at = format_args!("TX queue {queue}, descriptor {}", self.tx[queue as usize].head);
        if !self.regs.has(TSYNCTXCTL, ENABLED) {
            return slot.violation("a packet asks for a time stamp while TSYNCTXCTL.EN is off", at, 0, "7.9.4");
        }
        if self.time.sent.is_valid() {
            return slot.violation("a packet asks for a time stamp while TXSTMPH was not read after the one before", at, 0, "7.9.4");
        }
        let stamp = self.time.clock.stamp(slot.now_us(), self.is_x550());
        self.time.sent.set(stamp);
        if self.is_x550() {
            self.regs.change(TSICR, TXTS, true);
            if self.regs.has(TSIM, TXTS) {
                self.interrupts.misc(CAUSE_TIME_SYNC);
            }
        }
    }
}
