//! A virtual function of an 82599, X540 or X550, and the physical function's driver that serves it (7.10.2, 8.3).
//!
//! The port behind it is the model of the whole card: its rings, filters, spreading, offloads and interrupts do the work. What is here is what a virtual function
//! has of its own: its configuration space, the offsets of its registers ([`map`]), its mailbox, its counters, and who answers at the mailbox's other end
//! ([`pf`]), as Linux's driver of the physical function does. The wire is the function's alone: neither the physical function nor another virtual one has a share
//! of it.

mod access;
mod config;
mod counters;
mod function;
mod mailbox;
mod map;
mod options;
mod pf;
mod port;
mod state;

use crate::dma::Dma;
use crate::ixgbe::words;
use crate::mishap::Mishap;
use crate::model::Model;
use crate::msix::Msix;
use crate::slot::Slot;
use crate::wire::Wire;

pub use function::IxgbeVf;
pub use options::{PfManner, PfOptions};

// SAFETY: as for `Ixgbe`, whose rings these are. A reset of the function, or of its physical function, forgets them.
unsafe impl Model for IxgbeVf {
    fn config_read(&mut self, slot: &Slot<'_>, offset: u16, width: u8) -> u32 {
        self.port.config_read(slot, offset, width)
    }

    fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        if !self.port.faults.gone && self.port.write_config(slot, offset, width, value) {
            self.reset(slot);
        }
    }

    fn bar_len_bytes(&self, index: u8) -> Option<usize> {
        match index {
            0 => Some(config::REGISTERS_BYTES as usize),
            3 => Some(config::MSIX_BYTES as usize),
            _ => None,
        }
    }

    fn bar_read(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8) -> u64 {
        if self.port.faults.gone {
            return u64::MAX;
        }
        let section = (index == 0).then_some("8.3");
        words::read(slot, section, offset, width, |offset| match index {
            0 => self.read_register(slot, offset),
            _ if offset < config::MSIX_PENDING => self.port.msix.table_read(offset as usize),
            _ => self.port.msix.pending_read((offset - config::MSIX_PENDING) as usize),
        })
    }

    fn bar_write(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8, value: u64) {
        if self.port.faults.gone {
            return;
        }
        let section = (index == 0).then_some("8.3");
        words::write(slot, section, offset, width, value, |offset, value| match index {
            0 => self.write_register(slot, offset, value),
            _ if offset < config::MSIX_PENDING => self.port.msix.table_write(slot, offset as usize, value),
            _ => {}
        });
    }

    fn reset(&mut self, _: &Slot<'_>) {
        self.port.config = config::config_space(map::virtual_of(self.port.options.device));
        self.port.msix.reset();
        self.reset_function();
    }

    fn is_bus_master(&self) -> bool {
        self.port.may_master()
    }

    fn msix(&mut self) -> &mut Msix {
        &mut self.port.msix
    }

    fn suffer(&mut self, mishap: Mishap) -> bool {
        match mishap {
            Mishap::PfReset => {
                self.pf.is_doomed = true;
                true
            }
            // What the card reports of itself it reports to its physical function.
            Mishap::MemoryError | Mishap::BusError | Mishap::Overheat => false,
            _ => self.port.suffer(mishap),
        }
    }

    fn step(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        if self.port.faults.gone {
            return false;
        }
        // The mailbox's interrupt goes out with those of frames.
        let busy = self.serve(slot);
        let moved = self.port.step(slot, dma, wire);
        if moved {
            self.counters.take(&mut self.port);
        }
        busy | moved
    }

    fn holds_frames(&self) -> bool {
        self.port.holds_frames()
    }

    fn next_event_us(&self) -> Option<u64> {
        [self.port.next_event_us(), self.pf.next_event_us()].into_iter().flatten().min()
    }
}
