//! The function: everything that it remembers.

use super::config;
use super::counters::Counters;
use super::mailbox::Mailbox;
use super::map;
use super::options::PfOptions;
use super::state::Pf;
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::options::{Faults, IxgbeOptions};
use crate::msix::Msix;

/// A virtual function.
pub struct IxgbeVf {
    /// The card's port, as far as it is the function's.
    pub(super) port: Ixgbe,
    pub(super) mailbox: Mailbox,
    pub(super) pf: Pf,
    pub(super) counters: Counters,
}

impl IxgbeVf {
    /// A function as after power-on, whose physical function is up. The device in `options` is the virtual function's: 0x10ED (82599), 0x1515 (X540) or
    /// 0x1565 (X550); the address is what the physical function gives it.
    pub fn new(options: IxgbeOptions, pf: PfOptions) -> Self {
        let IxgbeOptions { device, mac, .. } = options;
        let mut port = Ixgbe::new(options.device(map::physical(device)));
        port.msix = Msix::new(config::VECTORS);
        port.config = config::config_space(device);
        let mut function = Self { port, mailbox: Mailbox::default(), pf: Pf::new(mac, pf), counters: Counters::default() };
        function.set_up_port();
        function
    }

    /// How the physical function's driver is set, to be changed while the function runs with [`SimDevice::with_model`](crate::SimDevice::with_model).
    pub fn pf(&mut self) -> &mut PfOptions {
        &mut self.pf.options
    }

    /// How the card misbehaves.
    ///
    /// # Safety
    /// As [`Ixgbe::faults`].
    pub unsafe fn faults(&mut self) -> &mut Faults {
        &mut self.port.faults
    }

    /// What a reset of the function does (VFCTRL.RST, FLR): queues and interrupts as after power-on, and the physical function is told.
    pub(super) fn reset_function(&mut self) {
        self.port.reset_queues();
        self.prepare_interrupts();
        self.mailbox.release();
        self.pf.has_forgotten = false;
        self.forget_function();
    }
}
