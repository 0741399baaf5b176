//! What the control handle of a started virtual function does to it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use driver_core::device::control::{ControlCore, ControlKernel, TxPosition, why_all_ones};
use driver_core::device::{ErrorKind, Link, Moderation, RssConfig, Rule, RulePlace, RxMode, Settings, Stats, XStat};
use driver_core::ether::MacAddr;
use driver_core::host::{PciFunction, VectorPlan};
use driver_core::queue::QueueFault;
use driver_core::queue::core::{Left, Silence, Totals};

use crate::card::answers;
use crate::id::Family;
use crate::irq::{Intervals, fire};
use crate::queues::{RingAt, RxSetup};
use crate::regs::vf::VFPSRTYPE;
use crate::silence::{let_reach_memory_again, silence};
use crate::stats::{Counting, Look, Queues};
use crate::vf::bring_up::Function;
use crate::vf::limits::NO_RULES;

/// Link, filters, statistics and stop of a virtual function. Dropping it stops the function.
pub type Control<F> = ControlCore<Manage<F>>;

/// What is told of a virtual function whose physical function was reset.
const PF_RESET: QueueFault = QueueFault::Hardware("a reset of its physical function (VFMAILBOX: RSTI, RSTD or a message without CTS)");
/// An 82599's function and an X540's have no table of their own.
const NOT_ITS_OWN: ErrorKind = ErrorKind::Unsupported {
    what: "another key or table of RSS: those of an 82599 or X540 are its physical function's",
    instead: "set them there (`ethtool -X PF`), before the virtual function is started",
};
const MODE_REFUSED: ErrorKind = ErrorKind::Unsupported {
    what: "this receive mode: its physical function refuses it",
    instead: "have the function trusted there (`ip link set PF vf N trust on`); an 82599's is never promiscuous",
};
const ALL_VLANS: ErrorKind =
    ErrorKind::Unsupported { what: "frames of every VLAN: its physical function lets those in that are named", instead: "name them" };

/// What the control handle of a virtual function works on.
pub struct Manage<F: PciFunction> {
    function: F,
    vf: Function<F::Bar>,
    counting: Arc<Counting<F::Bar>>,
    intervals: Arc<Intervals>,
    /// Where the queues' rings are, and what the queues are set up with: the same after each reset.
    rx: Vec<RxSetup>,
    tx: Vec<RingAt>,
}

impl<F: PciFunction> Manage<F> {
    pub(crate) fn new(
        function: F,
        vf: Function<F::Bar>,
        counting: Arc<Counting<F::Bar>>,
        intervals: Arc<Intervals>,
        rx: Vec<RxSetup>,
        tx: Vec<RingAt>,
    ) -> Self {
        Self { function, vf, counting, intervals, rx, tx }
    }

    fn wake(&self, vector: Option<u16>) {
        if let Some(vector) = vector {
            fire(&self.vf.card.bar, self.vf.card.places, vector);
        }
    }

    /// VF-SET-UP: behind a reset by somebody else VFPSRTYPE is 0.
    fn is_set_up(&self) -> bool {
        VFPSRTYPE.read(&self.vf.card.bar) != 0
    }
}

impl<F: PciFunction> ControlKernel for Manage<F> {
    type Function = F;

    fn with_function<T>(&mut self, work: impl FnOnce(&mut F) -> T) -> T {
        work(&mut self.function)
    }

    fn set_mac(&mut self, mac: MacAddr, _: &Settings) -> Result<(), ErrorKind> {
        self.vf.requests().set_mac(mac)
    }

    /// A mode that is refused leaves the one that was.
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind> {
        if self.vf.try_mode(mode)? { Ok(()) } else { Err(MODE_REFUSED) }
    }

    fn set_unicast(&mut self, addresses: &[MacAddr], now: &Settings) -> Result<(), ErrorKind> {
        let result = self.vf.requests().set_unicast(addresses);
        if matches!(result, Err(ErrorKind::TooManyAddresses { .. })) {
            // Those that were there still are.
            self.vf.requests().set_unicast(now.unicast())?;
        }
        result
    }

    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind> {
        let offset = self.vf.terms.hash_offset;
        self.vf.requests().set_multicast(addresses, offset)
    }

    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), ErrorKind> {
        match self.vf.card.model.family {
            Family::X550 => {
                self.vf.card.set_own_rss(rss);
                Ok(())
            }
            Family::I82599 | Family::X540 => Err(NOT_ITS_OWN),
        }
    }

    fn set_moderation(&mut self, moderation: Moderation, now: &Settings) -> Result<(), ErrorKind> {
        self.intervals.set(moderation);
        now.vectors().map_or(Ok(()), |plan| self.vf.card.moderate_transmit(plan, moderation))
    }

    fn add_rule(&mut self, _: &Rule, _: &Settings) -> Result<RulePlace, ErrorKind> {
        Err(NO_RULES)
    }

    /// Those that are named and were not, then those that were and are not.
    fn set_vlans(&mut self, ids: Option<&[u16]>, _: &Settings) -> Result<(), ErrorKind> {
        let ids = ids.ok_or(ALL_VLANS)?;
        self.vf.set_vlans(ids)
    }

    fn look(&mut self) -> Option<QueueFault> {
        if !answers(&self.vf.card.bar) {
            return Some(why_all_ones(&self.function));
        }
        let Function { card, mailbox, .. } = &mut self.vf;
        match mailbox.look(card) {
            Ok(true) => return Some(PF_RESET),
            Ok(false) => {}
            // The mailbox is the physical function's for longer than a message takes: it is looked at again.
            Err(error) => log::warn!("{}: {error}", card.name),
        }
        if !self.is_set_up() {
            return Some(QueueFault::Reset);
        }
        self.counting.read_if_due();
        None
    }

    fn tx_position(&mut self, queue: u16, _: u64) -> Option<TxPosition> {
        let card = &self.vf.card;
        let (head, tail) = (card.places.tdh.at(queue.into()).ok()?, card.places.tdt.at(queue.into()).ok()?);
        Some(TxPosition { head: head.read(&card.bar), tail: tail.read(&card.bar) })
    }

    /// A link that is disabled for the function is none, whatever the port's is.
    fn link(&mut self, _: &Settings) -> Result<Link, ErrorKind> {
        Ok(if self.vf.terms.is_link_enabled { self.vf.port_link() } else { Link::down() })
    }

    fn read_counters(&mut self) {
        self.read_all_counters();
    }

    /// Those of a function whose physical one was reset began anew.
    fn read_all_counters(&mut self) {
        if !self.vf.mailbox.is_lost() {
            self.counting.read(Look::Whole);
        }
    }

    fn stats(&self, rx: &Totals, tx: &Totals) -> Stats {
        self.counting.stats_of_function(rx, tx)
    }

    fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        self.counting.xstats(rx, tx)
    }

    fn frames_counted(&self) -> (Option<u64>, Option<u64>) {
        self.counting.frames()
    }

    fn stop(&mut self, left: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind> {
        self.counting.close();
        let Queues { rx, tx, .. } = self.counting.queues();
        silence(self.vf.card.stop_function(rx.max(tx), left))
    }

    const RECOVERS: bool = true;

    fn restart(&mut self, settings: &Settings) -> Result<Silence, ErrorKind> {
        let silence = silence(self.vf.card.silence_function())?;
        let_reach_memory_again(&mut self.function, &silence)?;
        if self.vf.mailbox.is_lost() {
            self.counting.begin_again();
        }
        // No queue is on yet.
        self.vf.bring_up(settings, &[], &[])?;
        if let Some(plan) = settings.vectors() {
            self.vf.card.init_function_interrupts(plan, settings.moderation())?;
        }
        self.counting.open();
        Ok(silence)
    }

    fn start_rx(&mut self, queue: u16, settings: &Settings) -> Result<(), ErrorKind> {
        let Some(setup) = self.rx.get(usize::from(queue)) else { return Ok(()) };
        self.vf.card.join_rx(setup)?;
        self.wake(settings.vectors().and_then(|plan| plan.rx(queue)));
        Ok(())
    }

    fn start_tx(&mut self, queue: u16, settings: &Settings) -> Result<(), ErrorKind> {
        let Some(&ring) = self.tx.get(usize::from(queue)) else { return Ok(()) };
        self.vf.card.join_tx(queue, ring)?;
        self.wake(settings.vectors().and_then(|plan| plan.tx(queue)));
        Ok(())
    }

    fn wake_queues(&mut self, settings: &Settings) {
        for vector in settings.vectors().into_iter().flat_map(VectorPlan::all_queues) {
            fire(&self.vf.card.bar, self.vf.card.places, vector);
        }
    }
}
