//! A model of the Intel 82599 10 GbE controller (datasheet 331520), and of the X540 and X550 as far as they share its registers.
//!
//! Section numbers are the 82599 datasheet's. The model is stricter than the hardware: what the datasheet forbids is recorded as a violation.

mod absent;
mod access;
mod card;
mod double_vlan;
mod eeprom;
mod errors;
mod file;
mod filter;
mod flow;
mod hostif;
mod i2c;
mod image;
mod inbound;
mod interrupt;
mod large;
mod link;
mod moderation;
mod offload;
mod options;
mod parse;
mod pci;
mod phy;
mod pools;
mod ptp;
mod regs;
mod reset;
mod ring;
mod rsc;
mod rss;
mod rx;
mod sfp;
mod space;
mod spi;
mod split;
mod state;
mod stats;
mod steering;
mod tables;
mod tags;
mod tx;
mod unmoved;
mod vf;
mod words;
mod writeback;

use crate::dma::Dma;
use crate::mishap::Mishap;
use crate::model::{Legacy, Model};
use crate::msix::Msix;
use crate::slot::Slot;
use crate::wire::Wire;
use file::CSR_BYTES;
use regs::{SW_FW_SYNC, SWSM};

pub use card::Ixgbe;
pub use options::{Cage, Defect, Faults, IxgbeOptions, Speeds};
pub use vf::{IxgbeVf, PfManner, PfOptions};

// SAFETY: its DMA is that of the rings of enabled queues: their descriptors, and the buffers that these name, each until it is reported as done; a queue that is
// disabled, and the whole card in a reset, forgets them. Frames are copied to and from vectors of its own. (Faults make it lie: see [`Faults`].)
unsafe impl Model for Ixgbe {
    fn config_read(&mut self, _: &Slot<'_>, offset: u16, width: u8) -> u32 {
        if self.faults.gone { u32::MAX >> (32 - 8 * u32::from(width)) } else { self.read_config(offset, width) }
    }

    fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        if !self.faults.gone && self.write_config(slot, offset, width, value) {
            self.reset(slot);
        }
    }

    fn bar_len_bytes(&self, index: u8) -> Option<usize> {
        match index {
            0 => Some(space::REGISTERS_BYTES as usize),
            4 => Some(space::MSIX_BYTES as usize),
            _ => None,
        }
    }

    fn bar_read(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8) -> u64 {
        if self.faults.gone {
            return u64::MAX;
        }
        let section = (index == 0).then_some("8.1.2");
        words::read(slot, section, offset, width, |offset| match index {
            0 if offset < CSR_BYTES => {
                let value = self.read_register(slot, offset);
                self.faults.read(offset, value)
            }
            0 => u32::MAX,
            _ if offset < space::MSIX_PENDING => self.msix.table_read(offset as usize),
            _ => self.msix.pending_read((offset - space::MSIX_PENDING) as usize),
        })
    }

    fn bar_write(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8, value: u64) {
        if self.faults.gone {
            return;
        }
        let section = (index == 0).then_some("8.1.2");
        words::write(slot, section, offset, width, value, |offset, value| match index {
            0 if offset < CSR_BYTES => self.write_register(slot, offset, value),
            4 if offset < space::MSIX_PENDING => self.msix.table_write(slot, offset as usize, value),
            _ => {}
        });
    }

    fn reset(&mut self, slot: &Slot<'_>) {
        self.config = space::config_space(&self.options);
        self.msix.reset();
        for semaphore in [SWSM, SW_FW_SYNC] {
            self.regs.set(semaphore, 0);
        }
        self.reset_registers(slot.now_us());
    }

    fn is_bus_master(&self) -> bool {
        self.may_master()
    }

    fn msix(&mut self) -> &mut Msix {
        &mut self.msix
    }

    fn legacy(&mut self) -> Legacy {
        self.legacy_interrupts()
    }

    fn suffer(&mut self, mishap: Mishap) -> bool {
        match mishap {
            Mishap::Hang => self.hung = true,
            Mishap::NeedsReset | Mishap::PfReset | Mishap::Moved => return false,
            Mishap::Overheat => return self.overheat(),
            Mishap::Lie => self.lies = true,
            Mishap::Vanish => self.faults.gone = true,
            Mishap::MemoryError => self.fail_memory(),
            Mishap::BusError => self.fail_on_bus(),
        }
        true
    }

    fn step(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        if self.faults.gone {
            return false;
        }
        let mut busy = self.expire(slot);
        busy |= self.follow_link(slot);
        busy |= self.report_due(slot, dma);
        if !self.moving.is_empty() {
            busy |= self.move_queues();
        }
        // A pause frame that found the wire busy goes before the next frame.
        busy |= self.control_flow(slot.now_us(), wire);
        busy |= self.transmit(slot, dma, wire);
        busy |= self.receive(slot, dma, wire);
        busy |= self.control_flow(slot.now_us(), wire);
        busy |= self.interrupts.signal(slot, &mut self.msix, &self.faults);
        busy
    }

    fn holds_frames(&self) -> bool {
        !self.held.is_empty()
    }

    fn next_event_us(&self) -> Option<u64> {
        let own = [self.timer_us, self.link.up_us, self.eerd_done_us, self.next_report_us(), self.next_large_us()];
        let timers = own.into_iter().map(Some).chain([self.interrupts.next_event_us()]);
        timers.flatten().filter(|&us| us != u64::MAX).min()
    }
}
