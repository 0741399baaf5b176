//! Flow control by pause frames (3.7.7, 8.2.3.3, 8.2.3.22.34; IEEE 802.3 annex 31B).
//!
//! The MAC does all of it: a pause frame received holds the transmit path back, and what waits in the packet buffer decides on those sent.

use super::card::{Ixgbe, PADDED_BYTES};
use super::regs::{
    FCCFG, FCRTH, FCRTL, FCRTV, FCTTV, LXOFFRXCNT, LXOFFTXC, LXONRXCNT, LXONTXC, MFLCN, MFLCN_DPF, MFLCN_PMCF, MFLCN_RFCE, MFLCN_RPFCE, RAL,
};
use super::stats::Cast;
use crate::slot::Slot;
use crate::wire::{Sent, Wire};

/// The address that no bridge forwards.
const CONTROL_ADDRESS: [u8; 6] = [0x01, 0x80, 0xC2, 0x00, 0x00, 0x01];
const CONTROL_TYPE: [u8; 2] = [0x88, 0x08];
const OPCODE_PAUSE: [u8; 2] = [0x00, 0x01];

/// FCCFG.TFCE (8.2.3.3.7): pause frames, not those with priorities.
const TFCE_MASK: u32 = 3 << 3;
const TFCE_LINK: u32 = 1 << 3;
/// FCRTH.FCEN and FCRTL.XONE, and the marks below them, in bytes (8.2.3.3.3, 8.2.3.3.4).
const FCRTH_FCEN: u32 = 1 << 31;
const FCRTL_XONE: u32 = 1 << 31;
const MARK_MASK: u32 = 0x0007_FFE0;

/// A quantum of pause time is 512 bit times: 51.2 ns at 10 Gb/s, in tenths of a nanosecond.
const QUANTUM: u64 = 512;
const TENTHS_PER_US: u64 = 10_000;

/// A MAC control frame for this station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// A pause frame with its time in quanta; none: go on.
    Pause(u16),
    Other,
}

impl Ixgbe {
    /// Whether a pause frame holds transmission back.
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.flow.resume_us != u64::MAX
    }

    /// RAL and RAH 0.
    fn station_address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.regs.at(RAL).to_le_bytes();
        let [e, f, ..] = self.regs.at(RAL + 4).to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Which MAC control frame a frame is. Without RFCE the card knows none: they are frames like any others.
    #[inline]
    pub(super) fn control_frame(&self, frame: &[u8]) -> Option<Control> {
        if !self.regs.has(MFLCN, MFLCN_RFCE) || frame.get(12..14)? != CONTROL_TYPE {
            return None;
        }
        let to = frame.first_chunk::<6>()?;
        if *to != CONTROL_ADDRESS && *to != self.station_address() {
            return None;
        }
        match frame[14..] {
            [a, b, high, low, ..] if [a, b] == OPCODE_PAUSE => Some(Control::Pause(u16::from_be_bytes([high, low]))),
            _ => Some(Control::Other),
        }
    }

    /// Obeys a MAC control frame. Returns whether it goes on to the filters.
    pub(super) fn obey(&mut self, now_us: u64, control: Control) -> bool {
        match control {
            Control::Other => return self.regs.has(MFLCN, MFLCN_PMCF),
            Control::Pause(0) => {
                self.regs.count(LXONRXCNT, 1);
                self.flow.resume_us = u64::MAX;
            }
            Control::Pause(quanta) => {
                self.regs.count(LXOFFRXCNT, 1);
                // The clock may be nearly a microsecond further than it says, and no pause may be shorter than asked.
                self.flow.resume_us = now_us + 1 + (u64::from(quanta) * QUANTUM).div_ceil(TENTHS_PER_US);
                self.timer_us = self.timer_us.min(self.flow.resume_us);
            }
        }
        !self.regs.has(MFLCN, MFLCN_DPF)
    }

    /// MFLCN: a card that no longer obeys pause frames does not stay paused by the last one.
    pub(super) fn write_mflcn(&mut self, slot: &Slot<'_>, value: u32) {
        self.regs.set(MFLCN, value);
        if value & MFLCN_RPFCE != 0 {
            slot.violation("priority flow control is not modelled", format_args!("MFLCN"), value.into(), "8.2.3.22.34");
        }
        if value & MFLCN_RFCE == 0 {
            self.flow.resume_us = u64::MAX;
        }
    }

    /// Lets the timers of flow control expire.
    pub(super) fn expire_flow(&mut self, now_us: u64) {
        if now_us >= self.flow.resume_us {
            self.flow.resume_us = u64::MAX;
        }
        if now_us >= self.flow.refresh_us {
            self.flow.refresh_us = u64::MAX;
            self.flow.due = Some(self.regs.at(FCTTV) as u16);
        }
    }

    /// Tells the far end to pause or to go on, as the packet buffer wants it. Returns whether something was sent.
    #[inline]
    pub(super) fn control_flow(&mut self, now_us: u64, wire: &mut dyn Wire) -> bool {
        if self.held_bytes == 0 && !self.flow.is_above && self.flow.due.is_none() {
            return false;
        }
        self.watch_buffer();
        self.send_pause(now_us, wire)
    }

    /// Compares what the packet buffer holds with its marks: one XOFF when it rises above the high one, one XON when it falls below the low one.
    fn watch_buffer(&mut self) {
        let (high, low) = (self.regs.at(FCRTH), self.regs.at(FCRTL));
        let is_on = self.regs.at(FCCFG) & TFCE_MASK == TFCE_LINK && high & FCRTH_FCEN != 0 && self.port_is_up();
        if !is_on {
            (self.flow.is_above, self.flow.due, self.flow.refresh_us) = (false, None, u64::MAX);
        } else if !self.flow.is_above && self.held_bytes > (high & MARK_MASK) as usize {
            self.flow.is_above = true;
            self.flow.due = Some(self.regs.at(FCTTV) as u16);
        } else if self.flow.is_above && self.held_bytes < (low & MARK_MASK).max(1) as usize {
            (self.flow.is_above, self.flow.refresh_us) = (false, u64::MAX);
            self.flow.due = (low & FCRTL_XONE != 0).then_some(0);
        }
    }

    /// Sends the pause frame that waits for the wire. Nothing but a busy wire holds it back.
    fn send_pause(&mut self, now_us: u64, wire: &mut dyn Wire) -> bool {
        let Some(quanta) = self.flow.due else { return false };
        let mut frame = [0; PADDED_BYTES];
        frame[..6].copy_from_slice(&CONTROL_ADDRESS);
        frame[6..12].copy_from_slice(&self.station_address());
        frame[12..14].copy_from_slice(&CONTROL_TYPE);
        frame[14..16].copy_from_slice(&OPCODE_PAUSE);
        frame[16..18].copy_from_slice(&quanta.to_be_bytes());
        if self.send(wire, &frame) == Sent::Busy {
            return false;
        }
        self.flow.due = None;
        self.stats.sent(&mut self.regs, 1, frame.len(), Cast::Multicast);
        self.regs.count(if quanta == 0 { LXONTXC } else { LXOFFTXC }, 1);
        if let Some(period_us) = self.refresh_period_us(quanta) {
            self.flow.refresh_us = now_us + period_us;
            self.timer_us = self.timer_us.min(self.flow.refresh_us);
        }
        true
    }

    /// A copy of the far end's timer counts down from the pause time; at FCRTV the frame is sent again, where that is not 0 (8.2.3.3.5).
    fn refresh_period_us(&self, quanta: u16) -> Option<u64> {
        let threshold = self.regs.at(FCRTV) as u16;
        let left = quanta.checked_sub(threshold).filter(|&left| threshold != 0 && left != 0)?;
        // Rounded down: a refresh that comes late lets the far end start.
        Some((u64::from(left) * QUANTUM / TENTHS_PER_US).max(1))
    }
}
