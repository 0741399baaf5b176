//! What the control handle of a started card does to it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use driver_core::device::control::{ControlCore, ControlKernel, TxPosition, why_all_ones};
use driver_core::device::{
    Alarm, DeviceClock, Eeprom, ErrorKind, FlowControl, Link, LinkReport, LinkSpeeds, Moderation, Module, RegisterValue, RssConfig, Rule,
    RuleInForce, RulePlace, RxMode, Settings, Stats, Temperature, XStat,
};
use driver_core::ether::MacAddr;
use driver_core::host::{PciFunction, VectorPlan};
use driver_core::queue::QueueFault;
use driver_core::queue::core::{Left, Silence, Totals};

use crate::card::{Card, answers};
use crate::filter;
use crate::health::registers;
use crate::irq::{Intervals, fire};
use crate::layout::Layout;
use crate::ptp::{Lost, PTP_ETHERTYPE, Ptp};
use crate::queues::{RingAt, RxSetup};
use crate::recover::describe;
use crate::regs::{CTRL_EXT, CtrlExt, Eicr, RXCTRL, Rxctrl, TDH, TDT};
use crate::silence::{let_reach_memory_again, silence};
use crate::stats::{Counting, Look, Queues};

/// Link, filters, statistics and stop. Dropping it stops the card.
pub type Control<F> = ControlCore<Manage<F>>;

/// What the control handle of one of these cards works on.
pub struct Manage<F: PciFunction> {
    function: F,
    card: Card<F::Bar>,
    counting: Arc<Counting<F::Bar>>,
    intervals: Arc<Intervals>,
    /// The clock, where it runs.
    ptp: Option<Arc<Ptp<F::Bar>>>,
    /// Where the queues' rings are, and what the queues are set up with: the same after each reset.
    rx: Vec<RxSetup>,
    tx: Vec<RingAt>,
    /// What the card reported of itself and nobody was told of yet.
    reported: Eicr,
}

impl<F: PciFunction> Manage<F> {
    /// A card whose counters were read just now.
    pub(crate) fn new(
        function: F,
        card: Card<F::Bar>,
        counting: Arc<Counting<F::Bar>>,
        intervals: Arc<Intervals>,
        ptp: Option<Arc<Ptp<F::Bar>>>,
        rx: Vec<RxSetup>,
        tx: Vec<RingAt>,
    ) -> Self {
        Self { function, card, counting, intervals, ptp, rx, tx, reported: Eicr::empty() }
    }

    /// Lets a vector fire, where its queue has one.
    fn wake(&self, vector: Option<u16>) {
        if let Some(vector) = vector {
            fire(&self.card.bar, self.card.places, vector);
        }
    }
}

impl<F: PciFunction> ControlKernel for Manage<F> {
    type Function = F;

    fn with_function<T>(&mut self, work: impl FnOnce(&mut F) -> T) -> T {
        work(&mut self.function)
    }

    fn set_mac(&mut self, mac: MacAddr, now: &Settings) -> Result<(), ErrorKind> {
        self.card.change_filters(now, |then| then.set_mac(mac))
    }

    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind> {
        self.card.set_mode(mode);
        Ok(())
    }

    fn set_unicast(&mut self, addresses: &[MacAddr], now: &Settings) -> Result<(), ErrorKind> {
        self.card.change_filters(now, |then| then.set_unicast(addresses))
    }

    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind> {
        self.card.set_multicast(addresses);
        Ok(())
    }

    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), ErrorKind> {
        self.card.set_rss(rss, self.counting.queues().layout);
        Ok(())
    }

    fn set_flow_control(&mut self, flow_control: FlowControl) -> Result<(), ErrorKind> {
        self.card.set_flow_control(flow_control, self.card.rx_buffer_now_kb()?)
    }

    fn set_link_speeds(&mut self, speeds: LinkSpeeds) -> Result<(), ErrorKind> {
        self.card.start_phy(speeds)
    }

    fn link_report(&mut self, _: &Settings) -> Result<LinkReport, ErrorKind> {
        self.card.link_report()
    }

    fn set_moderation(&mut self, moderation: Moderation, now: &Settings) -> Result<(), ErrorKind> {
        self.intervals.set(moderation);
        now.vectors().map_or(Ok(()), |plan| self.card.moderate_transmit(plan, moderation))
    }

    fn add_rule(&mut self, rule: &Rule, now: &Settings) -> Result<RulePlace, ErrorKind> {
        let place = filter::place(rule, now)?;
        self.card.add_rule(rule, place, now)?;
        Ok(place)
    }

    fn remove_rule(&mut self, rule: &RuleInForce, now: &Settings) -> Result<(), ErrorKind> {
        self.card.clear_rule(rule, now)?;
        // Its filter was that of the stamps as well.
        let was_ptp = rule.rule.wanted_ethertype() == Some(PTP_ETHERTYPE);
        if was_ptp && self.ptp.is_some() { self.card.write_ptp_filter() } else { Ok(()) }
    }

    fn set_vlans(&mut self, ids: Option<&[u16]>, now: &Settings) -> Result<(), ErrorKind> {
        self.card.change_filters(now, |then| then.set_vlans(ids))
    }

    /// After a reset RXEN is off, and so is DRV_LOAD, which firmware and other drivers look at.
    fn look(&mut self) -> Option<QueueFault> {
        let card = &self.card;
        if !answers(&card.bar) {
            return Some(why_all_ones(&self.function));
        }
        let is_set_up = RXCTRL.read(&card.bar).contains(Rxctrl::RXEN) && CTRL_EXT.read(&card.bar).contains(CtrlExt::DRV_LOAD);
        if !is_set_up {
            return Some(QueueFault::Reset);
        }
        self.counting.read_if_due();
        if let Some(ptp) = &self.ptp {
            ptp.tend(card.link().speed_mbps);
        }
        self.reported |= card.take_own_causes();
        if !self.reported.is_empty() && !answers(&card.bar) {
            // It went meanwhile, and all causes read as ones.
            return Some(why_all_ones(&self.function));
        }
        let errors = self.reported - Eicr::TS;
        self.reported -= errors;
        describe(errors).map(QueueFault::Hardware)
    }

    /// PHY-ALARM.
    fn alarm(&mut self) -> Option<Alarm> {
        let is_hot = self.reported.contains(Eicr::TS);
        self.reported -= Eicr::TS;
        is_hot.then_some(Alarm::Overheated)
    }

    fn tx_position(&mut self, queue: u16, _: u64) -> Option<TxPosition> {
        let (head, tail) = (TDH.at(queue.into()).ok()?, TDT.at(queue.into()).ok()?);
        Some(TxPosition { head: head.read(&self.card.bar), tail: tail.read(&self.card.bar) })
    }

    fn link(&mut self, now: &Settings) -> Result<Link, ErrorKind> {
        if now.vectors().is_some() {
            self.reported |= self.card.take_other_causes() & self.card.own_causes();
        }
        Ok(self.card.link())
    }

    fn read_counters(&mut self) {
        self.counting.read(Look::Brief);
    }

    fn read_all_counters(&mut self) {
        self.counting.read(Look::Whole);
    }

    fn stats(&self, _: &Totals, _: &Totals) -> Stats {
        self.counting.stats()
    }

    fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        let mut all = self.counting.xstats(rx, tx);
        let Lost { tx_timeouts, tx_skipped, rx_cleared } = self.ptp.as_ref().map_or_else(Lost::default, |ptp| ptp.lost());
        all.extend([
            XStat::new("tx_hwtstamp_timeouts", tx_timeouts),
            XStat::new("tx_hwtstamp_skipped", tx_skipped),
            XStat::new("rx_hwtstamp_cleared", rx_cleared),
        ]);
        all
    }

    fn registers(&mut self) -> Result<Vec<RegisterValue>, ErrorKind> {
        Ok(registers::read(&self.card.bar, self.card.model.family, self.counting.queues()))
    }

    fn eeprom(&mut self) -> Result<Eeprom, ErrorKind> {
        self.card.read_eeprom()
    }

    fn module(&mut self) -> Result<Module, ErrorKind> {
        self.card.read_module()
    }

    fn temperatures(&mut self) -> Result<Vec<Temperature>, ErrorKind> {
        self.card.read_temperatures()
    }

    fn clock(&self) -> Option<Arc<dyn DeviceClock>> {
        self.ptp.clone().map(|ptp| ptp as _)
    }

    fn frames_counted(&self) -> (Option<u64>, Option<u64>) {
        self.counting.frames()
    }

    fn stop(&mut self, left: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind> {
        self.counting.close();
        if let Some(ptp) = &self.ptp {
            ptp.close();
        }
        let Queues { rx, tx, layout, .. } = self.counting.queues();
        silence(self.card.stop(&self.function, layout.span(rx).max(tx), left))
    }

    const RECOVERS: bool = true;

    fn restart(&mut self, settings: &Settings) -> Result<Silence, ErrorKind> {
        let Self { function, card, .. } = self;
        let silence = silence(card.silence(function))?;
        let_reach_memory_again(function, &silence)?;
        self.reported = Eicr::empty();
        if let Some(ptp) = &self.ptp {
            ptp.open(false);
        }
        // No queue is on yet.
        card.bring_up(settings, &[], &[])?;
        if let Some(plan) = settings.vectors() {
            card.init_interrupts(plan, Layout::of(settings), settings.moderation())?;
        }
        self.counting.open();
        Ok(silence)
    }

    /// As it was started, whether it drops included: what was set since does not change that.
    fn start_rx(&mut self, queue: u16, settings: &Settings) -> Result<(), ErrorKind> {
        let Some(setup) = self.rx.get(usize::from(queue)) else { return Ok(()) };
        self.card.join_rx(setup)?;
        self.wake(settings.vectors().and_then(|plan| plan.rx(queue)));
        Ok(())
    }

    fn start_tx(&mut self, queue: u16, settings: &Settings) -> Result<(), ErrorKind> {
        let Some(&ring) = self.tx.get(usize::from(queue)) else { return Ok(()) };
        self.card.join_tx(queue, ring)?;
        self.wake(settings.vectors().and_then(|plan| plan.tx(queue)));
        Ok(())
    }

    fn wake_queues(&mut self, settings: &Settings) {
        for vector in settings.vectors().into_iter().flat_map(VectorPlan::all_queues) {
            fire(&self.card.bar, self.card.places, vector);
        }
    }
}
