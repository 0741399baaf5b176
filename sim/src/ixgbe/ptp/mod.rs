//! Time stamps of packets and the clock that they are made by (7.9; registers in 8.2.3.26).

mod clock;
mod message;
mod stamps;
pub(super) mod state;

use super::card::Ixgbe;
use super::regs::{
    RXSTMPH, RXSTMPL, SYSTIMH, SYSTIML, SYSTIMR, TIMADJH, TIMINCA, TSAUXC, TSAUXC_DISABLE_SYSTIME, TSYNCRXCTL, TSYNCTXCTL, TXSTMPH, TXSTMPL,
};
use crate::slot::Slot;
use clock::{Half, Rate};
use state::Time;

pub(super) use stamps::{Arrival, STAMP_BYTES};

/// TIMINCA of the 82599: the increment in the lower bits, above it the cycles between two increments.
const INCREMENT_82599: u32 = 0x00FF_FFFF;
const PERIOD_SHIFT_82599: u32 = 24;
/// The same of the X540 has no cycles; of the X550 the upper bit is the increment's sign.
const INCREMENT: u32 = 0x7FFF_FFFF;
const NEGATIVE: u32 = 1 << 31;
/// TIMADJH: the adjustment is taken off.
const ADJUST_DOWN: u32 = 1 << 31;

impl Ixgbe {
    /// After a reset.
    pub(super) fn reset_time(&mut self) {
        self.time = Time::default();
        if self.is_x550() {
            self.regs.set(TSAUXC, TSAUXC_DISABLE_SYSTIME);
        }
    }

    /// One of the registers that are more than a place for what was written to it.
    pub(super) fn read_time(&mut self, slot: &Slot<'_>, offset: u32) -> u32 {
        let has_seconds = self.is_x550();
        let Time { clock, received, sent } = &mut self.time;
        match offset {
            SYSTIMR => clock.read(slot.now_us(), Half::Residue, has_seconds),
            SYSTIML => clock.read(slot.now_us(), Half::Low, has_seconds),
            SYSTIMH => clock.read(slot.now_us(), Half::High, has_seconds),
            RXSTMPL => received.low(),
            RXSTMPH => received.take_high(),
            TXSTMPL => sent.low(),
            TXSTMPH => sent.take_high(),
            TSYNCRXCTL => self.regs.at(offset) | u32::from(received.is_valid()),
            TSYNCTXCTL => self.regs.at(offset) | u32::from(sent.is_valid()),
            _ => self.regs.at(offset),
        }
    }

    pub(super) fn write_time(&mut self, slot: &Slot<'_>, offset: u32, value: u32) {
        let now_us = slot.now_us();
        let has_seconds = self.is_x550();
        match offset {
            SYSTIMR => self.time.clock.write(now_us, Half::Residue, value, has_seconds),
            SYSTIML => {
                if has_seconds && value >= 1_000_000_000 {
                    slot.violation("SYSTIML was written with a second or more", format_args!("SYSTIML"), value.into(), "8.2.3.26 (X550)");
                }
                self.time.clock.write(now_us, Half::Low, value, has_seconds);
            }
            SYSTIMH => self.time.clock.write(now_us, Half::High, value, has_seconds),
            TIMINCA | TSAUXC => {
                self.regs.set(offset, value);
                let rate = self.rate(slot);
                self.time.clock.run(now_us, rate);
            }
            TIMADJH => {
                self.regs.set(offset, value);
                let by = u64::from(value & !ADJUST_DOWN) << 32 | u64::from(self.regs.at(TIMADJH - 4));
                // The X550's has another form, which `absent` reports.
                if !has_seconds {
                    self.time.clock.adjust(now_us, if value & ADJUST_DOWN != 0 { by.wrapping_neg() } else { by });
                }
            }
            TSYNCRXCTL => self.write_tsyncrxctl(slot, value),
            // The valid bit is the card's.
            TSYNCTXCTL => self.regs.set(offset, value & !1),
            _ => {}
        }
    }

    /// The clock's cycle follows the link's speed; without a link it is that of the highest.
    pub(super) fn follow_speed(&mut self, slot: &Slot<'_>) {
        let mbps = self.speed_mbps().unwrap_or(10_000);
        self.time.clock.set_cycle(slot.now_us(), mbps);
    }

    /// How fast SYSTIM runs by what the registers say.
    fn rate(&self, slot: &Slot<'_>) -> Rate {
        let increments = self.regs.at(TIMINCA);
        if self.is_x550() {
            let by = i64::from(increments & INCREMENT);
            let by = if increments & NEGATIVE != 0 { -by } else { by };
            return if self.regs.has(TSAUXC, TSAUXC_DISABLE_SYSTIME) { Rate::Stands } else { Rate::Nanoseconds { correction: by } };
        }
        if self.is_copper() {
            return Rate::cycles(increments & INCREMENT, 1);
        }
        let (increment, period) = (increments & INCREMENT_82599, increments >> PERIOD_SHIFT_82599);
        if increment != 0 && period == 0 {
            slot.violation("TIMINCA has an increment, and no cycles between increments", format_args!("TIMINCA"), increments.into(), "8.2.3.26");
        }
        Rate::cycles(increment, period)
    }
}
