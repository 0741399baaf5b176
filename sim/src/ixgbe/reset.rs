//! Resets and what takes its time after them, and queues on their way up and down (4.2.1.6, 4.6.3).

use super::card::{Ixgbe, Moving};
use super::image;
use super::interrupt::Interrupts;
use super::regs::*;
use super::ring::{Ring, State};
use super::spi;
use super::state::{FlowControl, Link};
use super::stats::Stats;
use super::steering::state::Steering;
use super::tables::Written;
use crate::slot::Slot;

/// How long CTRL.RST takes to clear itself, in microseconds.
const RESET_US: u64 = 2;
/// How often a reset that is stuck looks whether it still is, in microseconds.
const STUCK_LOOK_US: u64 = 1_000;
/// How long after a reset the EEPROM has been read.
const AUTO_READ_US: u64 = 20;
/// How long after a reset the DMA block is initialized.
const DMA_INIT_US: u64 = 40;

impl Ixgbe {
    pub(super) fn write_ctrl(&mut self, slot: &Slot<'_>, value: u32) {
        if value & (CTRL_RST | CTRL_LRST) != 0 && !self.is_resetting() {
            self.reset_registers(slot.now_us());
            // What else the write sets is reset with the rest: Linux resets with GIO_DIS still set, and never clears it.
            self.regs.set(CTRL, value & (CTRL_RST | CTRL_LRST));
            self.reset_done_us = slot.now_us() + RESET_US;
            self.timer_us = self.timer_us.min(self.reset_done_us);
        } else {
            // The reset bits clear themselves and nothing else clears them.
            self.regs.set(CTRL, value | self.regs.at(CTRL) & (CTRL_RST | CTRL_LRST));
        }
    }

    /// What a software reset does: every register to its value after reset, queues down, link down, the address from the EEPROM (4.2.1.6).
    pub(super) fn reset_registers(&mut self, now_us: u64) {
        let kept = [SWSM, SW_FW_SYNC].map(|register| (register, self.regs.at(register)));
        self.regs.reset();
        for (register, value) in kept {
            self.regs.set(register, value);
        }
        self.regs.set(RXPBSIZE, if self.is_copper() { 384 << 10 } else { 512 << 10 });
        self.regs.set(TXPBSIZE, 160 << 10);
        let [a, b, c, d, e, f] = image::address(&self.eeprom);
        self.regs.set(RAL, u32::from_le_bytes([a, b, c, d]));
        self.regs.set(RAL + 4, 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        self.spi.drive(&mut self.eeprom, now_us, spi::CS);
        (self.stats, self.tables) = (Stats::default(), Written::default());
        self.link = Link::new();
        self.flow = FlowControl::new();
        (self.drop_queues, self.eerd_done_us) = (0, u64::MAX);
        self.reset_host_interface();
        self.reset_queues();
        self.toeplitz = None;
        self.steering = Steering::default();
        self.reset_time();
        self.load_addresses();
        self.regs.change(FWSM, FWSM_TS_ENABLED, self.is_copper());
        self.auto_read_us = now_us + AUTO_READ_US;
        self.dma_init_us = now_us + DMA_INIT_US;
        self.timer_us = self.auto_read_us;
    }

    /// Queues and interrupts as after power-on, and nothing on the way.
    pub(super) fn reset_queues(&mut self) {
        self.interrupts = Interrupts::new();
        self.rx.fill(Ring::receive());
        self.tx.fill(Ring::transmit());
        self.contexts.fill(Default::default());
        (self.tx_running, self.tx_waiting, self.held_bytes) = (0, 0, 0);
        (self.hung, self.lies, self.hot) = (false, false, false);
        self.moving.clear();
        self.held.clear();
        self.large.clear();
        self.looped.clear();
        self.looped_bytes = 0;
    }

    /// Lets the timers of a reset and of flow control expire.
    #[inline]
    pub(super) fn expire(&mut self, slot: &Slot<'_>) -> bool {
        let due = slot.now_us() >= self.timer_us;
        if due {
            self.expire_due(slot.now_us());
        }
        due
    }

    fn expire_due(&mut self, now_us: u64) {
        if now_us >= self.reset_done_us {
            self.reset_done_us = if self.faults.reset_stuck { now_us + STUCK_LOOK_US } else { u64::MAX };
            if !self.faults.reset_stuck {
                self.regs.change(CTRL, CTRL_RST | CTRL_LRST, false);
            }
        }
        if now_us >= self.auto_read_us {
            self.auto_read_us = u64::MAX;
            self.regs.change(EEC, EEC_AUTO_RD, !self.faults.no_auto_read);
        }
        if now_us >= self.dma_init_us {
            self.dma_init_us = u64::MAX;
            self.regs.change(RDRXCTL, RDRXCTL_DMAIDONE, !self.faults.no_dma_init);
        }
        self.expire_flow(now_us);
        let timers = [self.reset_done_us, self.auto_read_us, self.dma_init_us, self.flow.resume_us, self.flow.refresh_us];
        self.timer_us = timers.into_iter().fold(u64::MAX, u64::min);
    }

    /// Brings queues up and down.
    pub(super) fn move_queues(&mut self) -> bool {
        let mut moved = false;
        let (stuck, stuck_off) = (self.faults.queue_disable_stuck, self.faults.queue_enable_stuck);
        let mut down: u128 = 0;
        let (rx, tx, running) = (&mut self.rx, &mut self.tx, &mut self.tx_running);
        self.moving.retain(|&Moving { receives, queue }| {
            let ring = if receives { &mut rx[queue] } else { &mut tx[queue] };
            if ring.state == State::Disabling && stuck || ring.state == State::Enabling && stuck_off {
                return true;
            }
            let up = ring.state == State::Enabling;
            if up && ring.slots() > 0 {
                ring.state = State::Enabled;
            } else if ring.state == State::Disabling {
                ring.state = State::Disabled;
            }
            (ring.faulted, ring.segments_sent, ring.unreported) = (up && !ring.fits(), 0, Default::default());
            if receives {
                down |= 1 << queue;
            } else {
                *running = if ring.state == State::Enabled { *running | 1 << queue } else { *running & !(1 << queue) };
            }
            moved = true;
            false
        });
        while down != 0 {
            self.abort_large(down.trailing_zeros());
            down &= down - 1;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ixgbe::IxgbeOptions;
    use crate::violation::Violations;

    #[test]
    fn a_queue_that_is_turned_on_and_off_many_times_moves_once() {
        let (mut card, violations) = (Ixgbe::new(IxgbeOptions::default()), Violations::default());
        let slot = Slot::new(100, true, &violations, &|_| {});
        for toggle in 0..1000 {
            // RXDCTL 0, and 1 (8.2.3.8.6).
            card.write_register(&slot, 0x1028, (toggle & 1) << 25);
            card.write_register(&slot, 0x1068, (!toggle & 1) << 25);
        }
        assert_eq!(card.moving.len(), 2);
    }
}
