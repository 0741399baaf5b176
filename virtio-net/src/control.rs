//! What the control handle of a started device does to it.

use alloc::vec::Vec;

use driver_core::device::control::{ControlCore, ControlKernel, TxPosition};
use driver_core::device::{ErrorKind, Link, RxMode, Settings, Stats, XStat};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::queue::QueueFault;
use driver_core::queue::core::{Left, Silence, Totals};

use crate::card::Card;
use crate::layout::TxWatch;
use crate::regs::Features;
use crate::silence::silence;

/// Link, statistics and stop. Dropping it stops the device.
pub type Control<F> = ControlCore<Manage<F>>;

/// What the control handle of a virtio device works on.
pub struct Manage<F: PciFunction> {
    card: Card<F>,
    features: Features,
    /// Of the transmit queue, whose memory it keeps: until the device is stopped.
    watch: Option<TxWatch>,
}

impl<F: PciFunction> Manage<F> {
    /// A device that has just come up.
    pub(crate) fn new(card: Card<F>, features: Features, watch: TxWatch) -> Self {
        Self { card, features, watch: Some(watch) }
    }

    /// The features that were negotiated.
    pub fn features(&self) -> Features {
        self.features
    }
}

/// The device delivers every frame that reaches it, whatever is asked for: see [`filter`](crate::filter).
impl<F: PciFunction> ControlKernel for Manage<F> {
    type Function = F;

    fn with_function<T>(&mut self, work: impl FnOnce(&mut F) -> T) -> T {
        work(&mut self.card.function.lock())
    }

    /// Without VIRTIO_NET_F_CTRL_MAC_ADDR only the address that the device has already.
    fn set_mac(&mut self, mac: MacAddr, now: &Settings) -> Result<(), ErrorKind> {
        let fixed = ErrorKind::Unsupported { what: "another address (no VIRTIO_NET_F_CTRL_MAC_ADDR)", instead: "set it in the hypervisor" };
        if mac == now.mac() { Ok(()) } else { Err(fixed) }
    }

    fn set_rx_mode(&mut self, _: RxMode) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn set_unicast(&mut self, _: &[MacAddr], _: &Settings) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn set_multicast(&mut self, _: &[MacAddr]) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn look(&mut self) -> Option<QueueFault> {
        self.card.look()
    }

    fn tx_position(&mut self, _: u16, taken: u64) -> Option<TxPosition> {
        Some(self.watch.as_ref()?.load(taken))
    }

    fn link(&mut self, _: &Settings) -> Result<Link, ErrorKind> {
        crate::link::link(&*self.card.transport, self.features)
    }

    fn stats(&self, rx: &Totals, tx: &Totals) -> Stats {
        crate::stats::stats(rx, tx)
    }

    fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        crate::stats::xstats(rx, tx)
    }

    fn stop(&mut self, _: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind> {
        self.watch = None;
        silence(self.card.transport.reset())
    }
}
