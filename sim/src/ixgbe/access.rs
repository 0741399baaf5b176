//! Register access: which part of the card answers at which offset.

use super::card::{Ixgbe, Moving};
use super::file::name_of;
use super::regs::*;
use super::ring::{DCA, DCTL, ENABLE, SRRCTL, State};
use super::writeback::SWFLSH;
use crate::slot::Slot;

/// Queue statistics lie between the queues' registers.
const QUEUE_COUNTER: u32 = 0x30;
/// Sets of them.
const COUNTED_QUEUES: u32 = 16;

/// The queue whose block of registers holds `offset`, and whether it receives.
fn queue_of(offset: u32) -> Option<(bool, usize)> {
    match offset {
        0x01000..0x02000 => Some((true, ((offset - RX_QUEUES_LOW) / 0x40) as usize)),
        0x0D000..0x0E000 => Some((true, 64 + ((offset - RX_QUEUES_HIGH) / 0x40) as usize)),
        0x06000..0x08000 => Some((false, ((offset - TX_QUEUES) / 0x40) as usize)),
        _ => None,
    }
}

/// Some registers answer at two offsets: the old one, for fewer of them, and the new one.
fn canonical(offset: u32) -> u32 {
    match offset {
        0x00004 => CTRL,
        RAL_ALIAS..0x05480 => RAL + (offset - RAL_ALIAS),
        SRRCTL_ALIAS..0x02140 => RX_QUEUES_LOW + (offset - SRRCTL_ALIAS) / 4 * 0x40 + SRRCTL,
        PSRTYPE_ALIAS..0x054C0 => PSRTYPE + (offset - PSRTYPE_ALIAS),
        MRQC_ALIAS => MRQC,
        RSSRK_ALIAS..0x0EBA8 => RSSRK + (offset - RSSRK_ALIAS),
        RETA_ALIAS..0x0EB80 => RETA + (offset - RETA_ALIAS),
        DCA_RXCTRL_ALIAS..0x02240 => RX_QUEUES_LOW + (offset - DCA_RXCTRL_ALIAS) / 4 * 0x40 + DCA,
        _ => offset,
    }
}

impl Ixgbe {
    /// Reads a register of BAR0.
    pub(super) fn read_register(&mut self, slot: &Slot<'_>, offset: u32) -> u32 {
        let offset = canonical(offset);
        self.expire(slot);
        self.check_reset(slot, offset, 0);
        if let Some((receives, queue)) = queue_of(offset) {
            return self.read_queue(receives, queue, offset);
        }
        match offset {
            STATUS => self.read_status(),
            EEC => self.read_eec(),
            EERD => self.read_eerd(slot),
            EEWR => self.read_eewr(slot),
            SWSM => self.read_swsm(),
            SW_FW_SYNC => self.read_sw_fw_sync(),
            LINKS => self.read_links(),
            ANLP1 => self.read_anlp1(),
            I2CCTL => self.read_i2cctl(),
            HICR => self.read_hicr(slot),
            ESDP => self.read_esdp(),
            TFCS => u32::from(!self.is_paused()),
            FDIRCTRL => self.read_fdirctrl(),
            FDIRFREE => self.read_fdirfree(),
            TSYNCRXCTL | RXSTMPL | RXSTMPH | TSYNCTXCTL..=SYSTIMH | SYSTIMR => self.read_time(slot, offset),
            SECRXSTAT => SEC_OFF | (u32::from(self.regs.has(SECRXCTRL, SECRXCTRL_RX_DIS) && !self.faults.secrx_never_ready) * SEC_RDY),
            SECTXSTAT => SEC_OFF | (u32::from(self.regs.has(SECTXCTRL, SECTXCTRL_TX_DIS)) * SEC_RDY),
            _ => self.read_plain(slot, offset),
        }
    }

    fn read_plain(&mut self, slot: &Slot<'_>, offset: u32) -> u32 {
        if let Some(value) = self.interrupts.read(slot, offset).or_else(|| self.stats.read(offset)) {
            return value;
        }
        match self.regs.access(offset) {
            Access::Rc => self.regs.take(offset),
            Access::Wo | Access::Reserved => 0,
            Access::Rw | Access::Ro => self.regs.at(offset),
        }
    }

    fn read_status(&self) -> u32 {
        let disabled = self.regs.has(CTRL, CTRL_GIO_DIS) && !self.faults.master_stuck;
        self.regs.at(STATUS) & !STATUS_GIO_ENABLE | if disabled { 0 } else { STATUS_GIO_ENABLE }
    }

    fn read_queue(&mut self, receives: bool, queue: usize, offset: u32) -> u32 {
        let at = offset % 0x40;
        if at == QUEUE_COUNTER {
            // Linux and DPDK read QPTC here, and not where the datasheet has it.
            let set = queue as u32;
            return if receives || set >= COUNTED_QUEUES { self.regs.take(offset) } else { self.regs.take(QPTC + 4 * set) };
        }
        if receives && let Some(value) = self.stats.read(offset) {
            return value;
        }
        let ring = if receives { &self.rx[queue] } else { &self.tx[queue] };
        ring.read(at).unwrap_or(0)
    }

    /// Writes a register of BAR0.
    pub(super) fn write_register(&mut self, slot: &Slot<'_>, offset: u32, value: u32) {
        let offset = canonical(offset);
        self.expire(slot);
        self.check_reset(slot, offset, value);
        if let Some((receives, queue)) = queue_of(offset) {
            return self.write_queue(slot, receives, queue, offset, value);
        }
        self.report_absent(slot, offset, value);
        match offset {
            CTRL => self.write_ctrl(slot, value),
            EEC => self.write_eec(slot, value),
            EERD => self.write_eerd(slot, value),
            EEWR => self.write_eewr(slot, value),
            SWSM => self.write_swsm(value),
            SW_FW_SYNC => self.write_sw_fw_sync(slot, value),
            AUTOC => self.write_autoc(slot, value),
            MSCA => self.write_msca(slot, value),
            I2CCTL => self.write_i2cctl(slot, value),
            PICAUSE => self.write_picause(value),
            HICR => self.write_hicr(slot, value),
            // The upper half of an address has 16 bits and AV (8.2.3.7.9).
            RAL..0x0A600 if offset % 8 == 4 => self.write_plain(slot, offset, value & 0x8000_FFFF),
            RXCTRL => self.write_rxctrl(slot, value),
            MTQC => self.write_mtqc(slot, value),
            RDRXCTL => self.regs.set(RDRXCTL, value & !RDRXCTL_DMAIDONE | self.regs.at(RDRXCTL) & RDRXCTL_DMAIDONE),
            QDE => self.write_qde(value),
            MAXFRS => self.write_maxfrs(slot, value),
            MFLCN => self.write_mflcn(slot, value),
            FDIRCTRL => self.write_fdirctrl(slot, value),
            TSYNCRXCTL | TSYNCTXCTL | SYSTIML..=TIMINCA | TIMADJH | TSAUXC | SYSTIMR => self.write_time(slot, offset, value),
            FDIRCMD => self.write_fdircmd(slot, value),
            FDIRDIP4M..=FDIRUDPM | FDIRM..=FDIRSCTPM | FDIRHKEY | FDIRSKEY => self.write_director_rule(slot, offset, value),
            // A card without the security engine keeps it off, whatever is written.
            SECRXCTRL | SECTXCTRL => self.regs.set(offset, value | SEC_DIS),
            _ => self.write_plain(slot, offset, value),
        }
    }

    fn write_plain(&mut self, slot: &Slot<'_>, offset: u32, value: u32) {
        if self.interrupts.write(slot, offset, value) {
            return;
        }
        match self.regs.access(offset) {
            Access::Reserved => {
                slot.violation("a reserved register was written", format_args!("offset {offset:#07x}"), value.into(), "8.2.2");
            }
            Access::Rw => {
                self.regs.set(offset, value);
                self.tables.note(offset);
            }
            Access::Ro | Access::Rc | Access::Wo => {}
        }
        match offset {
            0x0A200..0x0A600 => self.load_addresses(),
            RSSRK..0x05CA8 => self.toeplitz = None,
            SAQF..0x0EA00 | ETQF..0x05148 | ETQS..0x0EC20 | SYNQF => self.note_steering(slot, offset),
            MCSTCTRL | VLNCTRL | MRQC | PFVTCTL => self.tables.check(slot, &self.regs, self.is_x550(), offset),
            _ => {}
        }
    }

    /// Between the write of CTRL.RST and its clearing only CTRL and STATUS may be touched (8.2.3.1.1).
    fn check_reset(&self, slot: &Slot<'_>, offset: u32, value: u32) {
        if self.is_resetting() && !matches!(offset, CTRL | STATUS) {
            let (name, ..) = name_of(offset);
            slot.violation("a register was accessed during a reset", format_args!("{name}"), value.into(), "8.2.3.1.1");
        }
    }

    fn write_rxctrl(&mut self, slot: &Slot<'_>, value: u32) {
        let forbid = |what, section| slot.violation(what, format_args!("RXCTRL"), value.into(), section);
        if value & RXCTRL_RXEN != 0 && !self.regs.has(RXCTRL, RXCTRL_RXEN) {
            if !self.regs.has(SECRXCTRL, SECRXCTRL_RX_DIS) {
                forbid("RXEN was set while the receive data path was not halted by SECRXCTRL.RX_DIS", "4.6.7");
            }
            if self.regs.has(RDRXCTL, RDRXCTL_CRCSTRIP) != self.regs.has(HLREG0, HLREG0_RXCRCSTRP) {
                forbid("RXEN was set while RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP differ", "8.2.3.8.8");
            }
            if !self.regs.has(RDRXCTL, RDRXCTL_DMAIDONE) {
                forbid("RXEN was set before RDRXCTL.DMAIDONE", "4.6.3");
            }
            if self.regs.at(MAXFRS) >> 16 > 1518 && !self.regs.has(HLREG0, HLREG0_JUMBOEN) {
                forbid("RXEN was set with MAXFRS above 1518 and without HLREG0.JUMBOEN", "8.2.3.22.13");
            }
            if let Some(what) = self.unfit_tags() {
                forbid(what, "7.4.5");
            }
            self.check_director_memory(slot);
            self.check_pools(slot);
        }
        self.regs.set(RXCTRL, value);
        self.tables.check(slot, &self.regs, self.is_x550(), RXCTRL);
    }

    fn write_mtqc(&mut self, slot: &Slot<'_>, value: u32) {
        if value != self.regs.at(MTQC) && !self.regs.has(RTTDCS, RTTDCS_ARBDIS) {
            slot.violation("MTQC was changed without RTTDCS.ARBDIS", format_args!("MTQC"), value.into(), "7.2.1.2.1");
        }
        self.regs.set(MTQC, value);
    }

    fn write_maxfrs(&mut self, slot: &Slot<'_>, value: u32) {
        let longest = value >> 16;
        if !(64..=0x2600).contains(&longest) {
            slot.violation("MAXFRS.MFS is not between 64 and 0x2600", format_args!("MAXFRS"), value.into(), "8.2.3.22.13");
        }
        self.regs.set(MAXFRS, value & 0xFFFF_0000);
    }

    /// QDE (8.2.3.27.5): queue in bits 8 to 14, write in bit 16, value in bit 0.
    fn write_qde(&mut self, value: u32) {
        self.regs.set(QDE, value);
        if value & 1 << 16 != 0 {
            let queue = 1u128 << (value >> 8 & 0x7F);
            self.drop_queues = if value & 1 != 0 { self.drop_queues | queue } else { self.drop_queues & !queue };
        }
    }

    fn write_queue(&mut self, slot: &Slot<'_>, receives: bool, queue: usize, offset: u32, value: u32) {
        if offset % 0x40 == DCTL {
            return self.write_queue_control(slot, receives, queue, value);
        }
        let ring = if receives { &mut self.rx[queue] } else { &mut self.tx[queue] };
        if !ring.write(slot, offset, value) {
            let (name, index, section) = name_of(offset);
            slot.violation("a reserved register was written", format_args!("{name}[{index}] at {offset:#07x}"), value.into(), section);
        }
    }

    /// RXDCTL and TXDCTL: the queue goes up or down with the next step.
    fn write_queue_control(&mut self, slot: &Slot<'_>, receives: bool, queue: usize, value: u32) {
        let name = if receives { "RXDCTL" } else { "TXDCTL" };
        let transmits = self.regs.has(DMATXCTL, DMATXCTL_TE);
        let unfit = if receives { self.unfit_to_coalesce(queue) } else { None };
        if !receives && (value & SWFLSH != 0 || value & ENABLE == 0) {
            self.flush_reports(queue);
        }
        let ring = if receives { &mut self.rx[queue] } else { &mut self.tx[queue] };
        if !receives && value & ENABLE != 0 && matches!(ring.state, State::Disabled | State::Disabling) {
            // What was left between head and tail is not sent after a restart: drivers enable the queue first and write the tail then.
            (ring.head, ring.tail) = (0, 0);
        }
        ring.dctl = if receives { value } else { value & !SWFLSH };
        let (goes_up, section) = (value & ENABLE != 0, if receives { "4.6.7.1" } else { "4.6.8.1" });
        let next = match ring.state {
            State::Disabled | State::Disabling if goes_up => {
                if let Some(unfit) = ring.unfit() {
                    slot.violation(unfit, format_args!("{name}[{queue}]"), value.into(), section);
                }
                if let Some(unfit) = unfit {
                    slot.violation(unfit, format_args!("{name}[{queue}]"), value.into(), "7.11.1");
                }
                if !receives && !transmits {
                    slot.violation("a transmit queue was enabled before DMATXCTL.TE", format_args!("{name}[{queue}]"), value.into(), "4.6.8");
                }
                State::Enabling
            }
            State::Enabled | State::Enabling if !goes_up => State::Disabling,
            unchanged => unchanged,
        };
        if ring.state != next {
            ring.state = next;
            // Once: a driver may change its mind many times before the card moves.
            let moving = Moving { receives, queue };
            if !self.moving.contains(&moving) {
                self.moving.push(moving);
            }
        }
    }
}
