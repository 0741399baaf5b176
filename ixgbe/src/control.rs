//! What the control handle of a started card does to it.

use driver_core::device::control::{ControlCore, ControlKernel, TxPosition, why_all_ones};
use driver_core::device::{ErrorKind, Link, RssConfig, RxMode, Settings, Stats};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::queue::QueueFault;
use driver_core::queue::core::{Silence, Totals};

use crate::card::{Card, answers};
use crate::regs::{CTRL_EXT, CtrlExt, RXCTRL, Rxctrl, TDH, TDT};
use crate::silence::silence;
use crate::stats::Counters;

/// Link, filters, statistics and stop. Dropping it stops the card.
pub type Control<F> = ControlCore<Manage<F>>;

/// What the control handle of one of these cards works on.
pub struct Manage<F: PciFunction> {
    function: F,
    card: Card<F::Bar>,
    counters: Counters,
    /// How many receive queues count.
    rx_queues: u16,
    /// How many queues of either direction were turned on.
    queues: u16,
}

impl<F: PciFunction> Manage<F> {
    /// A card whose counters were read just now.
    pub(crate) fn new(function: F, card: Card<F::Bar>, settings: &Settings) -> Self {
        let (rx_queues, tx_queues) = (settings.rx().queue_count(), settings.tx().queue_count());
        Self { function, card, counters: Counters::default(), rx_queues, queues: rx_queues.max(tx_queues) }
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

    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), ErrorKind> {
        self.card.set_rss(rss);
        Ok(())
    }

    /// After a reset RXEN is off, and so is DRV_LOAD, which firmware and other drivers look at.
    fn look(&mut self) -> Option<QueueFault> {
        let card = &self.card;
        if !answers(&card.bar) {
            return Some(why_all_ones(&self.function));
        }
        let is_set_up = RXCTRL.read(&card.bar).contains(Rxctrl::RXEN) && CTRL_EXT.read(&card.bar).contains(CtrlExt::DRV_LOAD);
        (!is_set_up).then_some(QueueFault::Reset)
    }

    fn tx_position(&mut self, queue: u16, _: u64) -> Option<TxPosition> {
        let (head, tail) = (TDH.at(queue.into()).ok()?, TDT.at(queue.into()).ok()?);
        Some(TxPosition { head: head.read(&self.card.bar), tail: tail.read(&self.card.bar) })
    }

    fn link(&mut self, now: &Settings) -> Result<Link, ErrorKind> {
        if now.vectors().is_some() {
            self.card.take_other_causes();
        }
        Ok(self.card.link())
    }

    /// Believes none of them where the card does not answer behind the last one.
    fn read_counters(&mut self) {
        let mut counters = self.counters;
        counters.update(&self.card.bar, self.rx_queues);
        if answers(&self.card.bar) {
            self.counters = counters;
        }
    }

    fn stats(&self, _: &Totals, _: &Totals) -> Stats {
        self.counters.stats()
    }

    fn frames_counted(&self) -> (Option<u64>, Option<u64>) {
        let stats = self.counters.stats();
        (Some(stats.rx_packets), Some(stats.tx_packets))
    }

    fn stop(&mut self, left: &mut dyn FnMut(u16, u32)) -> Result<Silence, ErrorKind> {
        silence(self.card.stop(&self.function, self.queues, left))
    }
}
