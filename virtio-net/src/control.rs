//! What the control handle of a started device does to it.

use alloc::vec::Vec;
use core::mem;

use driver_core::device::control::{ControlCore, ControlKernel, TxPosition};
use driver_core::device::{Alarm, Caps, ErrorKind, Link, Moderation, RssConfig, RxMode, Settings, Stats, XStat};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::queue::QueueFault;
use driver_core::queue::core::{Left, Silence, Totals};

use crate::card::Card;
use crate::ctrl::Ctrl;
use crate::device_stats::DeviceStats;
use crate::error::HardwareError;
use crate::filter::{FIXED_MAC, Filters, NO_VLANS, set_mac};
use crate::offloads;
use crate::queues::QueueAt;
use crate::recover::Origin;
use crate::regs::Features;
use crate::regs::ctrl::ANNOUNCE_ACK;
use crate::silence::{once_more, silence, silence_of_queue};
use crate::watch::TxWatch;

/// Link, statistics and stop. Dropping it stops the device.
pub type Control<F> = ControlCore<Manage<F>>;

/// What the control handle of a virtio device works on.
pub struct Manage<F: PciFunction> {
    card: Card<F>,
    origin: Origin,
    /// Of each transmit queue, whose memory it keeps: until the device is stopped.
    watches: Vec<TxWatch>,
    /// Where there is a control queue.
    ctrl: Option<Ctrl<F>>,
    filters: Filters,
    /// How what is received is spread, as the device took it last, and over how many pairs.
    rss: (RssConfig, u16),
    /// What the device counts by itself, where it tells.
    device_stats: Option<DeviceStats>,
    /// The device asked to be announced, of which nobody was told yet.
    announces: bool,
    /// The device's word, while it is stopped.
    silence: Option<Silence>,
}

impl<F: PciFunction> Manage<F> {
    /// A device that has just come up.
    pub(crate) fn new(card: Card<F>, origin: Origin, watches: Vec<TxWatch>, ctrl: Option<Ctrl<F>>, filters: Filters, settings: &Settings) -> Self {
        let pairs = settings.rx().queue_count().max(settings.tx().queue_count());
        Self { card, origin, watches, ctrl, filters, rss: (settings.rss().clone(), pairs), device_stats: None, announces: false, silence: None }
    }

    /// The same with what it tells of its own counters.
    pub(crate) fn counting(self, device_stats: Option<DeviceStats>) -> Self {
        Self { device_stats, ..self }
    }

    /// The features that were negotiated.
    pub fn features(&self) -> Features {
        self.origin.features
    }

    /// Sets a queue up again that waits for it.
    fn restart_queue(&mut self, at: &QueueAt) -> Result<(), ErrorKind> {
        if self.origin.is_live && !self.card.transport.was_reset(at.index) {
            return Err(HardwareError::LateQueue { index: at.index }.into());
        }
        self.card.restart_queue(at)?;
        if !self.origin.enabled.contains(&at.index) {
            self.origin.enabled.push(at.index);
        }
        Ok(())
    }

    /// DRIVER_OK, and everything that the control queue has set: how it was set last.
    fn restore(&mut self, settings: &Settings) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, filters, rss: (rss, pairs), device_stats, .. } = self;
        for at in &origin.places.idle {
            card.restart_queue(at)?;
            origin.enabled.push(at.index);
        }
        card.go_live()?;
        origin.is_live = true;
        if let Some(ctrl) = ctrl {
            *filters = card.tell_all(ctrl, origin.features, (rss, *pairs), settings, origin.permanent_mac)?;
            if let Some(stats) = device_stats {
                stats.begin(ctrl, &*card.transport)?;
            }
        }
        Ok(())
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
            Some(ctrl) => set_mac(ctrl, &*self.card.transport, self.origin.features, mac),
            None => Err(FIXED_MAC),
        }
    }

    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, filters, .. } = self;
        ctrl.as_mut().map_or(Ok(()), |ctrl| filters.set_mode(ctrl, &*card.transport, origin.features, mode))
    }

    fn set_unicast(&mut self, addresses: &[MacAddr], _: &Settings) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, filters, .. } = self;
        let multicast = filters.multicast().to_vec();
        ctrl.as_mut().map_or(Ok(()), |ctrl| filters.set_addresses(ctrl, &*card.transport, origin.features, addresses, &multicast))
    }

    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, filters, .. } = self;
        let unicast = filters.unicast().to_vec();
        ctrl.as_mut().map_or(Ok(()), |ctrl| filters.set_addresses(ctrl, &*card.transport, origin.features, &unicast, addresses))
    }

    fn set_vlans(&mut self, ids: Option<&[u16]>, _: &Settings) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, filters, .. } = self;
        match ctrl {
            Some(ctrl) if origin.features.contains(Features::CTRL_VLAN) => filters.set_vlans(ctrl, &*card.transport, origin.features, ids),
            _ if ids.is_none() => Ok(()),
            _ => Err(NO_VLANS),
        }
    }

    /// A device that refuses one spreads nothing any more, and is told the one before once more.
    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, rss: (last, pairs), .. } = self;
        let Some(ctrl) = ctrl else { return Ok(()) };
        let outcome = card.spread(ctrl, origin.features, *pairs, rss);
        match outcome {
            Ok(()) => *last = rss.clone(),
            Err(_) if !ctrl.is_stuck() => card.spread(ctrl, origin.features, *pairs, last)?,
            Err(_) => {}
        }
        outcome
    }

    /// A device that refuses one is told the interval before once more, of all queues.
    fn set_moderation(&mut self, moderation: Moderation, now: &Settings) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, .. } = self;
        let Some(ctrl) = ctrl else { return Ok(()) };
        let outcome = card.coalesce(ctrl, origin.features, moderation, now);
        if outcome.is_err() && !ctrl.is_stuck() {
            card.coalesce(ctrl, origin.features, now.moderation(), now)?;
        }
        outcome
    }

    fn set_rx_offloads(&mut self, wanted: Caps, _: &Settings) -> Result<(), ErrorKind> {
        let Self { card, origin, ctrl, .. } = self;
        match ctrl {
            Some(ctrl) if origin.features.contains(Features::CTRL_GUEST_OFFLOADS) => {
                offloads::switch(ctrl, &*card.transport, origin.features, wanted)
            }
            _ => Err(offloads::FIXED),
        }
    }

    fn look(&mut self) -> Option<QueueFault> {
        let stuck = self.ctrl.as_ref().is_some_and(Ctrl::is_stuck).then_some(QueueFault::Hardware("its control queue does not answer"));
        let Self { card, origin, .. } = self;
        let lost = || (origin.is_live && card.has_lost_queue(&origin.enabled)).then_some(QueueFault::Reset);
        card.look_while(origin.is_live).or(stuck).or_else(lost)
    }

    fn tx_position(&mut self, queue: u16, taken: u64) -> Option<TxPosition> {
        Some(self.watches.get(usize::from(queue))?.load(taken))
    }

    fn link(&mut self, _: &Settings) -> Result<Link, ErrorKind> {
        let (link, announces) = crate::link::link(&*self.card.transport, self.origin.features)?;
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

    /// Nobody answers commands who has been reset, or waits for it.
    fn read_counters(&mut self) {
        let Self { card, origin, ctrl, device_stats, silence, .. } = self;
        if let (Some(stats), Some(ctrl), None) = (device_stats, ctrl, silence)
            && origin.is_live
            && card.look().is_none()
        {
            stats.read(ctrl, &*card.transport);
        }
    }

    fn stats(&self, rx: &Totals, tx: &Totals) -> Stats {
        crate::stats::stats(rx, tx, self.device_stats.as_ref().and_then(DeviceStats::missed))
    }

    fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        let mut all = crate::stats::xstats(rx, tx);
        all.extend(self.device_stats.iter().flat_map(DeviceStats::xstats));
        all
    }

    fn stop(&mut self, _: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind> {
        self.read_counters();
        let silence = silence(self.card.transport.reset())?;
        self.silence = Some(once_more(&silence));
        Ok(silence)
    }

    /// What a device may still use that did not confirm that it stopped leaks.
    fn stopped(&mut self) {
        self.watches.clear();
        if let (Some(silence), Some(ctrl)) = (self.silence.take(), self.ctrl.take()) {
            ctrl.release(&silence);
        }
    }

    fn resets_tx_alone(&self) -> bool {
        self.origin.features.contains(Features::RING_RESET)
    }

    fn reset_tx(&mut self, queue: u16) -> Result<Silence, ErrorKind> {
        let Some(at) = self.origin.places.tx.get(usize::from(queue)) else { return Err(HardwareError::LateQueue { index: queue }.into()) };
        silence_of_queue(self.card.transport.reset_queue(at.index))
    }

    const RECOVERS: bool = true;
    const STARTS_TOGETHER: bool = true;

    fn restart(&mut self, settings: &Settings) -> Result<Silence, ErrorKind> {
        let silence = silence(self.card.transport.reset())?;
        self.silence = None;
        (self.origin.is_live, self.origin.unannounced, self.origin.enabled) = (false, Vec::new(), Vec::new());
        if let Some(ctrl) = &mut self.ctrl {
            ctrl.rewind(&silence);
        }
        self.card.let_it_reach_memory_again(&silence)?;
        self.card.come_back(self.origin.features, settings)?;
        Ok(silence)
    }

    fn start_rx(&mut self, queue: u16, _: &Settings) -> Result<(), ErrorKind> {
        let Some(&at) = self.origin.places.rx.get(usize::from(queue)) else { return Ok(()) };
        self.restart_queue(&at)?;
        self.origin.unannounced.push(at);
        Ok(())
    }

    fn rewound_tx(&mut self, queue: u16, taken: u64) {
        if let Some(watch) = self.watches.get_mut(usize::from(queue)) {
            watch.rewound(taken);
        }
    }

    fn start_tx(&mut self, queue: u16, _: &Settings) -> Result<(), ErrorKind> {
        let Some(&at) = self.origin.places.tx.get(usize::from(queue)) else { return Ok(()) };
        self.restart_queue(&at)
    }

    /// The buffers of a receive queue are available since its ring was emptied, before the device could be told.
    fn queues_started(&mut self, settings: &Settings) -> Result<(), ErrorKind> {
        if !self.origin.is_live {
            self.restore(settings)?;
        }
        let features = self.origin.features;
        for at in mem::take(&mut self.origin.unannounced) {
            // All of a ring is available: a packed one begins its second round (2.9).
            let next = if features.contains(Features::RING_PACKED) { 0 } else { at.size };
            self.card.transport.notify(at.index, features)?.ring(|| next);
        }
        Ok(())
    }

    fn wake_queues(&mut self, _: &Settings) {
        self.origin.wakers.iter().for_each(|waker| waker.wake());
    }
}
