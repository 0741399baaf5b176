//! What the control handle of a started card does to it.

use driver_core::device::control::{ControlCore, ControlKernel};
use driver_core::device::{ErrorKind, Link, RxMode, Settings, Stats};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::queue::core::{Silence, Totals};

use crate::card::Card;
use crate::silence::silence;
use crate::stats::Counters;

/// Link, filters, statistics and stop. Dropping it stops the card.
pub type Control<F> = ControlCore<Manage<F>>;

/// What the control handle of one of these cards works on.
pub struct Manage<F: PciFunction> {
    function: F,
    card: Card<F::Bar>,
    counters: Counters,
}

impl<F: PciFunction> Manage<F> {
    /// A card whose counters were read just now.
    pub(crate) fn new(function: F, card: Card<F::Bar>) -> Self {
        Self { function, card, counters: Counters::default() }
    }
}

impl<F: PciFunction> ControlKernel for Manage<F> {
    type Function = F;

    fn with_function<T>(&mut self, work: impl FnOnce(&mut F) -> T) -> T {
        work(&mut self.function)
    }

    fn set_mac(&mut self, mac: MacAddr, _: &Settings) -> Result<(), ErrorKind> {
        self.card.set_receive_address(0, Some(mac))
    }

    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind> {
        self.card.set_mode(mode);
        Ok(())
    }

    fn set_unicast(&mut self, addresses: &[MacAddr], now: &Settings) -> Result<(), ErrorKind> {
        self.card.set_unicast(addresses, now.unicast().len())
    }

    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind> {
        self.card.set_multicast(addresses);
        Ok(())
    }

    fn link(&mut self, now: &Settings) -> Result<Link, ErrorKind> {
        if now.vectors().is_some() {
            self.card.take_other_causes();
        }
        Ok(self.card.link())
    }

    fn read_counters(&mut self) {
        self.counters.update(&self.card.bar);
    }

    fn stats(&self, _: &Totals, _: &Totals) -> Stats {
        self.counters.stats()
    }

    fn stop(&mut self) -> Result<(Silence, u32), ErrorKind> {
        let stopped = self.card.stop(&self.function);
        let unsent = *stopped.as_ref().unwrap_or(&0);
        Ok((silence(stopped.map(drop))?, unsent))
    }
}
