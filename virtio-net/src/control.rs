//! What the control handle of a started device does to it.

use alloc::vec::Vec;
use core::mem;

use driver_core::device::control::{ControlCore, ControlKernel, TxPosition};
use driver_core::device::{Alarm, ErrorKind, Link, Moderation, RssConfig, RxMode, Settings, Stats, XStat};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::queue::QueueFault;
use driver_core::queue::core::{Left, Silence, Totals};

use crate::card::Card;
use crate::ctrl::Ctrl;
use crate::filter::{FIXED_MAC, Filters, NO_VLANS, set_mac};
use crate::layout::TxWatch;
use crate::regs::Features;
use crate::regs::ctrl::ANNOUNCE_ACK;
use crate::silence::silence;

/// Link, statistics and stop. Dropping it stops the device.
pub type Control<F> = ControlCore<Manage<F>>;

/// What the control handle of a virtio device works on.
pub struct Manage<F: PciFunction> {
    card: Card<F>,
    features: Features,
    /// Of each transmit queue, whose memory it keeps: until the device is stopped.
    watches: Vec<TxWatch>,
    /// Where there is a control queue, until the device is stopped.
    ctrl: Option<Ctrl<F>>,
    filters: Filters,
    /// How what is received is spread, as the device took it last, and over how many pairs.
    rss: (RssConfig, u16),
    /// The device asked to be announced, of which nobody was told yet.
    announces: bool,
}

impl<F: PciFunction> Manage<F> {
    /// A device that has just come up.
    pub(crate) fn new(
        card: Card<F>,
        features: Features,
        watches: Vec<TxWatch>,
        ctrl: Option<Ctrl<F>>,
        filters: Filters,
        settings: &Settings,
    ) -> Self {
        let pairs = settings.rx().queue_count().max(settings.tx().queue_count());
        Self { card, features, watches, ctrl, filters, rss: (settings.rss().clone(), pairs), announces: false }
    }

    /// The features that were negotiated.
    pub fn features(&self) -> Features {
        self.features
    }
}

/// Without a control queue the device delivers every frame that reaches it, whatever is asked for: see [`filter`](crate::filter).
impl<F: PciFunction> ControlKernel for Manage<F> {
    type Function = F;

    fn with_function<T>(&mut self, work: impl FnOnce(&mut F) -> T) -> T {
        work(&mut self.card.function.lock())
    }

    /// Without VIRTIO_NET_F_CTRL_MAC_ADDR only the address that the device has already.
    fn set_mac(&mut self, mac: MacAddr, now: &Settings) -> Result<(), ErrorKind> {
        match &mut self.ctrl {
            _ if mac == now.mac() => Ok(()),
            Some(ctrl) => set_mac(ctrl, &*self.card.transport, self.features, mac),
            None => Err(FIXED_MAC),
        }
    }

    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind> {
        let Self { card, features, ctrl, filters, .. } = self;
        ctrl.as_mut().map_or(Ok(()), |ctrl| filters.set_mode(ctrl, &*card.transport, *features, mode))
    }

    fn set_unicast(&mut self, addresses: &[MacAddr], _: &Settings) -> Result<(), ErrorKind> {
        let Self { card, features, ctrl, filters, .. } = self;
        let multicast = filters.multicast().to_vec();
        ctrl.as_mut().map_or(Ok(()), |ctrl| filters.set_addresses(ctrl, &*card.transport, *features, addresses, &multicast))
    }

    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind> {
        let Self { card, features, ctrl, filters, .. } = self;
        let unicast = filters.unicast().to_vec();
        ctrl.as_mut().map_or(Ok(()), |ctrl| filters.set_addresses(ctrl, &*card.transport, *features, &unicast, addresses))
    }

    fn set_vlans(&mut self, ids: Option<&[u16]>, _: &Settings) -> Result<(), ErrorKind> {
        let Self { card, features, ctrl, filters, .. } = self;
        match ctrl {
            Some(ctrl) if features.contains(Features::CTRL_VLAN) => filters.set_vlans(ctrl, &*card.transport, *features, ids),
            _ if ids.is_none() => Ok(()),
            _ => Err(NO_VLANS),
        }
    }

    /// A device that refuses one spreads nothing any more, and is told the one before once more.
    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), ErrorKind> {
        let Self { card, features, ctrl, rss: (last, pairs), .. } = self;
        let Some(ctrl) = ctrl else { return Ok(()) };
        let outcome = card.spread(ctrl, *features, *pairs, rss);
        match outcome {
            Ok(()) => *last = rss.clone(),
            Err(_) if !ctrl.is_stuck() => card.spread(ctrl, *features, *pairs, last)?,
            Err(_) => {}
        }
        outcome
    }

    /// A device that refuses one is told the interval before once more, of all queues.
    fn set_moderation(&mut self, moderation: Moderation, now: &Settings) -> Result<(), ErrorKind> {
        let Self { card, features, ctrl, .. } = self;
        let Some(ctrl) = ctrl else { return Ok(()) };
        let outcome = card.coalesce(ctrl, *features, moderation, now);
        if outcome.is_err() && !ctrl.is_stuck() {
            card.coalesce(ctrl, *features, now.moderation(), now)?;
        }
        outcome
    }

    fn look(&mut self) -> Option<QueueFault> {
        let stuck = self.ctrl.as_ref().is_some_and(Ctrl::is_stuck).then_some(QueueFault::Hardware("its control queue does not answer"));
        self.card.look().or(stuck)
    }

    fn tx_position(&mut self, queue: u16, taken: u64) -> Option<TxPosition> {
        Some(self.watches.get(usize::from(queue))?.load(taken))
    }

    fn link(&mut self, _: &Settings) -> Result<Link, ErrorKind> {
        let (link, announces) = crate::link::link(&*self.card.transport, self.features)?;
        if announces && let Some(ctrl) = self.ctrl.as_mut().filter(|ctrl| !ctrl.is_stuck()) {
            // What follows from it is the application's: it knows which addresses its stack has.
            ctrl.command(&*self.card.transport, ANNOUNCE_ACK, &[])?;
            self.announces = true;
        }
        Ok(link)
    }

    fn alarm(&mut self) -> Option<Alarm> {
        mem::take(&mut self.announces).then_some(Alarm::Announce)
    }

    fn stats(&self, rx: &Totals, tx: &Totals) -> Stats {
        crate::stats::stats(rx, tx)
    }

    fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        crate::stats::xstats(rx, tx)
    }

    fn stop(&mut self, _: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind> {
        self.watches.clear();
        let silence = silence(self.card.transport.reset())?;
        if let Some(ctrl) = self.ctrl.take() {
            ctrl.release(&silence);
        }
        Ok(silence)
    }
}
