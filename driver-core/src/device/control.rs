//! The control handle that all drivers share: it knows how far its device is, how it is set, and how it ends.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::device::accounts::Accounts;
use crate::device::caps::Caps;
use crate::device::clock::HardwareClock;
use crate::device::config::{ConfigError, check_link_speeds, check_moderation};
use crate::device::contract::NetDevice;
use crate::device::dump::RegisterValue;
use crate::device::eeprom::Eeprom;
use crate::device::error::{During, Error, ErrorKind, steps};
use crate::device::flow_control::FlowControl;
use crate::device::info::{DeviceInfo, RxMode};
use crate::device::link::{Link, LinkReport, LinkSpeeds};
use crate::device::moderation::Moderation;
use crate::device::module::Module;
use crate::device::recovery::{Recovered, Recoveries, Recovery};
use crate::device::rss::RssConfig;
use crate::device::rule::{Rule, RuleError, RuleId};
use crate::device::settings::Settings;
use crate::device::state::{DeviceState, Shared};
use crate::device::stats::Stats;
use crate::device::temperature::{Alarm, Alarms, Temperature};
use crate::device::xstats::{self, XStat};
use crate::ether::MacAddr;
use crate::host::pci::{Interrupt, PciFunction};
use crate::queue::core::lent::Silence;
use crate::ring::fault::QueueFault;

mod kernel;
mod lending;
mod recovering;

pub use kernel::{ControlKernel, TxPosition, refuse_rules, refuse_vlans, why_all_ones};
use kernel::{NO_CLOCK, NO_FLOW_CONTROL, NO_LINK_SPEEDS, NO_MODERATION, NO_RSS, NO_RX_OFFLOADS, NOT_STARTED};
pub use lending::{hand_out, hand_out_boxed, take_back};

/// The control handle of a started device, over what one driver brings. Dropping it stops the device.
pub struct ControlCore<K: ControlKernel> {
    kernel: K,
    info: DeviceInfo,
    settings: Settings,
    shared: Shared,
    /// The vector of the link and all else that is no queue's.
    interrupt: Option<Box<dyn Interrupt>>,
    link: Link,
    carrier_changes: u64,
    /// Where transmit queues with work stood when they were looked at, and since when they stand there.
    positions: Vec<(u16, TxPosition, u64)>,
    recoveries: Recoveries,
    alarms: Alarms,
}

impl<K: ControlKernel> ControlCore<K> {
    /// The handle of a device that has just come up, set as `settings` says.
    pub fn new(kernel: K, mut info: DeviceInfo, settings: Settings, shared: Shared, interrupt: Option<Box<dyn Interrupt>>) -> Self {
        info.software = settings.software();
        let recoveries = Recoveries::new(if K::RECOVERS { settings.recovery() } else { Recovery::Off });
        Self {
            kernel,
            info,
            settings,
            shared,
            interrupt,
            link: Link::down(),
            carrier_changes: 0,
            positions: Vec::new(),
            recoveries,
            alarms: Alarms::default(),
        }
    }

    /// What is the driver's own.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    /// What the queues see of the device's state.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// That the device answers and works, but for what one of its queues may have: setters go on then.
    fn runs(&mut self) -> Result<(), ErrorKind> {
        match self.look() {
            DeviceState::Running | DeviceState::Hung { .. } | DeviceState::Broken { .. } | DeviceState::Recovering { .. }
                if self.shared.is_running() =>
            {
                Ok(())
            }
            state => Err(ErrorKind::NotRunning(state)),
        }
    }

    /// Looks at every transmit queue that is there: one that has work and stands where it stood for as long as its configuration allows hangs, if there is a link.
    fn look_for_hang(&mut self) {
        let Self { kernel, shared, positions, settings, .. } = self;
        let Some((now_us, limit_us)) = shared.watch().map(|watch| (watch.clock.now_us(), watch.limit_us)) else { return };
        let mut seen = Vec::with_capacity(positions.len());
        let (mut hung, mut stands) = (None, false);
        for (queue, seat) in shared.live_tx() {
            let Some(at) = kernel.tx_position(queue, seat.tally().totals().packets).filter(|at| at.head != at.tail) else { continue };
            let before = positions.iter().find(|(number, before, _)| *number == queue && before.head == at.head);
            stands |= before.is_some();
            let since_us = before.map_or(now_us, |&(.., since_us)| since_us);
            seen.push((queue, at, since_us));
            if now_us.saturating_sub(since_us) >= limit_us {
                hung = hung.or(Some((queue, since_us)));
            }
        }
        *positions = seen;
        if stands && !kernel.link(settings).is_ok_and(|link| link.up) {
            // Without a link nothing moves, and none of it is the device's fault: with one, the time begins anew.
            positions.clear();
        } else if let Some((queue, since_us)) = hung {
            self.fails(QueueFault::Hung { queue, since_us });
        }
    }

    /// Looks at the device, and does nothing about what it sees.
    fn look(&mut self) -> DeviceState {
        if self.shared.is_running() {
            match self.kernel.look() {
                Some(fault) => self.fails(fault),
                None => self.look_for_hang(),
            }
            self.hear();
        }
        self.state()
    }

    /// Hears what the device said of itself when it was looked at.
    fn hear(&mut self) {
        if let Some(alarm) = self.kernel.alarm().filter(|&alarm| self.alarms.raise(alarm)) {
            log::error!("{}: {alarm}", self.info.name);
        }
    }

    /// Of a device that is known not to answer, what its host knows; else its own word.
    fn end(&mut self) -> Result<Silence, ErrorKind> {
        // A card that did not come up has counted nothing, and may not be asked.
        let is_up = self.abandon_recovery();
        let state = self.look();
        // The queues hand the device nothing from here on.
        self.shared.set_stopping();
        let Self { kernel, shared, .. } = self;
        match state {
            DeviceState::Gone => return Err(ErrorKind::NotRunning(state)),
            // Its memory decoding may be off, and its counters began anew.
            DeviceState::Reset => kernel.with_function(PciFunction::enable_registers)?,
            _ if is_up => kernel.read_all_counters(),
            _ => {}
        }
        let answer = kernel.stop(&mut |queue, left| shared.set_left(queue, left));
        if answer.is_ok() && is_up {
            // What went out while it stopped.
            kernel.read_all_counters();
        }
        answer
    }

    /// A setter: the device is told, and where it took it, it is remembered.
    fn set(
        &mut self,
        step: &'static str,
        checked: Result<(), ErrorKind>,
        tell: impl FnOnce(&mut K, &Settings) -> Result<(), ErrorKind>,
        remember: impl FnOnce(&mut Settings),
    ) -> Result<(), Error> {
        checked.and_then(|()| self.runs()).and_then(|()| tell(&mut self.kernel, &self.settings)).during(&self.info.name, step)?;
        remember(&mut self.settings);
        Ok(())
    }
}

/// That all of `addresses` are what is wanted.
fn check(addresses: &[MacAddr], is_good: impl Fn(MacAddr) -> bool, wanted: &'static str) -> Result<(), ErrorKind> {
    match addresses.iter().find(|&&mac| !is_good(mac)) {
        Some(&mac) => Err(ErrorKind::Address { mac, wanted }),
        None => Ok(()),
    }
}

fn unicast(addresses: &[MacAddr]) -> Result<(), ErrorKind> {
    check(addresses, MacAddr::is_valid_unicast, "unicast")
}

fn multicast(addresses: &[MacAddr]) -> Result<(), ErrorKind> {
    check(addresses, MacAddr::is_multicast, "multicast")
}

/// The largest id of a VLAN tag: 12 bits.
const MAX_VLAN_ID: u16 = 4095;

impl<K: ControlKernel> NetDevice for ControlCore<K> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn state(&self) -> DeviceState {
        Self::told(&self.recoveries, &self.shared)
    }

    fn watch(&mut self) -> DeviceState {
        self.look();
        self.recover();
        self.state()
    }

    fn recovered(&mut self) -> Option<Recovered> {
        self.recoveries.untold.take()
    }

    fn alarm(&mut self) -> Option<Alarm> {
        self.alarms.untold.take()
    }

    fn check(&mut self) -> Result<(), Error> {
        let state = self.watch();
        let result = if state.is_running() { Ok(()) } else { Err(ErrorKind::NotRunning(state)) };
        result.during(&self.info.name, steps::CHECKING)
    }

    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error> {
        self.set(steps::SETTING_MAC, unicast(&[mac]), |kernel, now| kernel.set_mac(mac, now), |settings| settings.set_mac(mac))
    }

    fn link(&mut self) -> Link {
        let now = match self.runs().and_then(|()| self.kernel.link(&self.settings)) {
            Ok(link) => link,
            Err(ErrorKind::NotRunning(DeviceState::Stopped)) => return Link::down(),
            // Told when it was seen, and by `state` since.
            Err(ErrorKind::NotRunning(_)) => Link::down(),
            Err(error) => {
                log::error!("{}: {}: {error}", self.info.name, steps::LINK);
                Link::down()
            }
        };
        if now.up != self.link.up {
            self.carrier_changes += 1;
            if now.up {
                self.alarms.link_came_up();
            }
            log::info!("{}: link {now}", self.info.name);
        }
        self.link = now;
        self.hear();
        now
    }

    fn link_interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.interrupt.as_deref_mut()
    }

    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error> {
        self.set(steps::SETTING_RX_MODE, Ok(()), |kernel, _| kernel.set_rx_mode(mode), |settings| settings.set_rx_mode(mode))
    }

    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        let tell = |kernel: &mut K, now: &Settings| kernel.set_unicast(addresses, now);
        self.set(steps::SETTING_UNICAST, unicast(addresses), tell, |settings| settings.set_unicast(addresses))
    }

    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        let tell = |kernel: &mut K, _: &Settings| kernel.set_multicast(addresses);
        self.set(steps::SETTING_MULTICAST, multicast(addresses), tell, |settings| settings.set_multicast(addresses))
    }

    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), Error> {
        let (limits, queues) = (self.info.rss, self.settings.rx().spread_queues());
        let has = self.info.used_caps.intersects(Caps::RSS | Caps::RX_HASH);
        let checked = if has { rss.check(&limits, queues).map_err(|error| ConfigError::Rss(error).into()) } else { Err(NO_RSS) };
        let now = rss.on(&limits, queues);
        self.set(steps::SETTING_RSS, checked, |kernel, _| kernel.set_rss(&now), |settings| settings.set_rss(now.clone()))?;
        rss.warn(&self.info.name, &limits, queues);
        Ok(())
    }

    fn set_flow_control(&mut self, flow_control: FlowControl) -> Result<(), Error> {
        let has = self.info.caps.contains(Caps::FLOW_CONTROL);
        let checked = if has { Ok(()) } else { Err(NO_FLOW_CONTROL) };
        let remember = |settings: &mut Settings| settings.set_flow_control(flow_control);
        self.set(steps::SETTING_FLOW_CONTROL, checked, |kernel, _| kernel.set_flow_control(flow_control), remember)
    }

    fn link_report(&mut self) -> Result<LinkReport, Error> {
        self.runs().and_then(|()| self.kernel.link_report(&self.settings)).during(&self.info.name, steps::LINK)
    }

    fn set_link_speeds(&mut self, speeds: LinkSpeeds) -> Result<(), Error> {
        let has = self.info.link_speeds;
        let checked = if has.is_empty() { Err(NO_LINK_SPEEDS) } else { check_link_speeds(speeds, has).map_err(Into::into) };
        let now = speeds & has;
        self.set(steps::SETTING_LINK_SPEEDS, checked, |kernel, _| kernel.set_link_speeds(now), |settings| settings.set_link_speeds(now))?;
        if now != speeds {
            log::warn!("{}: it cannot be told to offer {}: it offers {now}", self.info.name, speeds - now);
        }
        Ok(())
    }

    fn set_moderation(&mut self, moderation: Moderation) -> Result<(), Error> {
        let max_us = self.info.max_moderation_us;
        let has = max_us > 0 && self.settings.vectors().is_some();
        let checked = if has { check_moderation(moderation, max_us).map_err(Into::into) } else { Err(NO_MODERATION) };
        let remember = |settings: &mut Settings| settings.set_moderation(moderation);
        self.set(steps::SETTING_MODERATION, checked, |kernel, now| kernel.set_moderation(moderation, now), remember)
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<RuleId, Error> {
        let open = self.settings.rx().queue_count();
        let step = steps::ADDING_A_RULE;
        rule.check_with(open).map_err(ErrorKind::from).and_then(|()| self.runs()).during(&self.info.name, step)?;
        let place = self.kernel.add_rule(rule, &self.settings).during(&self.info.name, step)?;
        Ok(self.settings.add_rule(rule.clone(), place))
    }

    fn remove_rule(&mut self, id: RuleId) -> Result<(), Error> {
        let known = self.settings.rules().iter().find(|rule| rule.id == id).cloned();
        let Some(rule) = known else { return Err(RuleError::Unknown { id }).during(&self.info.name, steps::REMOVING_A_RULE) };
        self.set(steps::REMOVING_A_RULE, Ok(()), |kernel, now| kernel.remove_rule(&rule, now), |settings| settings.remove_rule(id))
    }

    fn set_vlan_filter(&mut self, ids: Option<&[u16]>) -> Result<(), Error> {
        let wrong = ids.unwrap_or_default().iter().any(|&id| id > MAX_VLAN_ID);
        let checked = if wrong { Err(RuleError::Senseless { why: "a VLAN id is between 0 and 4095" }.into()) } else { Ok(()) };
        self.set(steps::SETTING_VLANS, checked, |kernel, now| kernel.set_vlans(ids, now), |settings| settings.set_vlans(ids))
    }

    fn set_rx_offloads(&mut self, wanted: Caps) -> Result<(), Error> {
        let started = self.info.used_caps & (Caps::RX_CHECKSUM | Caps::RX_COALESCING);
        let checked = if started.contains(wanted) { Ok(()) } else { Err(NO_RX_OFFLOADS) };
        let tell = |kernel: &mut K, now: &Settings| kernel.set_rx_offloads(wanted, now);
        self.set(steps::SETTING_RX_OFFLOADS, checked, tell, |settings| settings.set_rx_offloads(wanted))
    }

    fn stats(&mut self) -> Stats {
        if self.runs().is_ok() {
            self.kernel.read_counters();
        }
        let (rx, tx) = (self.shared.rx_totals(), self.shared.tx_totals());
        let mut stats = self.kernel.stats(&rx, &tx);
        stats.rx_dropped += rx.lost;
        stats.tx_dropped += tx.lost;
        stats.carrier_changes = self.carrier_changes;
        stats
    }

    fn xstats(&mut self) -> Vec<XStat> {
        if self.runs().is_ok() {
            self.kernel.read_all_counters();
        }
        let (rx, tx) = (self.shared.totals_of_rx_queues(), self.shared.totals_of_tx_queues());
        let mut all = self.kernel.xstats(&rx, &tx);
        all.extend(xstats::of_queues(&rx, &tx));
        if K::RECOVERS {
            let Recoveries { resets, recoveries, .. } = self.recoveries;
            all.extend([XStat::new("resets", resets), XStat::new("recoveries", recoveries)]);
        }
        all
    }

    fn registers(&mut self) -> Result<Vec<RegisterValue>, Error> {
        self.runs().and_then(|()| self.kernel.registers()).during(&self.info.name, steps::READING_REGISTERS)
    }

    fn eeprom(&mut self) -> Result<Eeprom, Error> {
        self.runs().and_then(|()| self.kernel.eeprom()).during(&self.info.name, steps::READING_EEPROM)
    }

    fn module(&mut self) -> Result<Module, Error> {
        self.runs().and_then(|()| self.kernel.module()).during(&self.info.name, steps::READING_MODULE)
    }

    fn temperatures(&mut self) -> Result<Vec<Temperature>, Error> {
        self.runs().and_then(|()| self.kernel.temperatures()).during(&self.info.name, steps::READING_TEMPERATURES)
    }

    fn clock(&self) -> Result<HardwareClock, Error> {
        let why = if self.info.caps.contains(Caps::TIMESTAMPS) { NOT_STARTED } else { NO_CLOCK };
        self.kernel.clock().ok_or(why).map(|clock| HardwareClock::new(&self.info.name, clock)).during(&self.info.name, steps::CLOCK)
    }

    fn accounts(&self) -> Accounts {
        let (rx, tx) = (self.shared.rx_totals(), self.shared.tx_totals());
        // What a device counted behind the last look, before it vanished or somebody else reset it, nobody knows.
        let is_told = !self.recoveries.has_forgotten && !matches!(self.state(), DeviceState::Gone | DeviceState::Reset);
        let (rx_filled, tx_sent) = if is_told { self.kernel.frames_counted() } else { (None, None) };
        Accounts {
            tx_taken: tx.packets,
            tx_sent,
            tx_cut: tx.cut,
            tx_lost: tx.lost,
            rx_filled,
            rx_delivered: rx.packets,
            rx_coalesced: rx.cut,
            rx_in_place: rx.in_place,
            rx_errors: rx.errors,
            rx_lost: rx.lost,
            is_final: self.shared.are_queues_gone(),
        }
    }

    fn stop(&mut self) -> Result<(), Error> {
        if self.shared.is_stopped() {
            return Ok(());
        }
        let answer = self.end();
        let Self { kernel, shared, .. } = self;
        let result = kernel.with_function(|function| take_back(function, shared, answer));
        kernel.stopped();
        result.during(&self.info.name, steps::STOPPING)
    }
}

impl<K: ControlKernel> Drop for ControlCore<K> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("{error}");
        }
    }
}

impl<K: ControlKernel> fmt::Debug for ControlCore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("info", &self.info).field("settings", &self.settings).field("link", &self.link).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
