//! The control handle of a device that is watched.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::device::accounts::Accounts;
use crate::device::caps::Caps;
use crate::device::clock::HardwareClock;
use crate::device::contract::NetDevice;
use crate::device::dump::RegisterValue;
use crate::device::eeprom::Eeprom;
use crate::device::error::Error;
use crate::device::flow_control::FlowControl;
use crate::device::info::{DeviceInfo, RxMode};
use crate::device::link::{Link, LinkReport, LinkSpeeds};
use crate::device::moderation::Moderation;
use crate::device::module::Module;
use crate::device::recovery::Recovered;
use crate::device::rss::RssConfig;
use crate::device::rule::{Rule, RuleId};
use crate::device::settings::Settings;
use crate::device::state::DeviceState;
use crate::device::stats::Stats;
use crate::device::temperature::{Alarm, Temperature};
use crate::device::xstats::XStat;
use crate::ether::MacAddr;
use crate::host::pci::Interrupt;
use crate::testing::audit::book::{Book, End};

/// The control handle of an audited device. What is the driver's own is reached through it.
pub struct AuditedControl<C: NetDevice + 'static> {
    /// Until it is dropped.
    below: Option<C>,
    book: Arc<Book>,
    /// Whether it confirmed that it stopped, once it was told to.
    is_stopped: Option<bool>,
}

impl<C: NetDevice + 'static> AuditedControl<C> {
    pub(super) fn new(below: C, book: Arc<Book>) -> Self {
        Self { below: Some(below), book, is_stopped: None }
    }
}

impl<C: NetDevice + 'static> NetDevice for AuditedControl<C> {
    fn info(&self) -> &DeviceInfo {
        (**self).info()
    }
    fn settings(&self) -> &Settings {
        (**self).settings()
    }
    fn state(&self) -> DeviceState {
        (**self).state()
    }
    fn watch(&mut self) -> DeviceState {
        (**self).watch()
    }
    fn recovered(&mut self) -> Option<Recovered> {
        (**self).recovered()
    }
    fn alarm(&mut self) -> Option<Alarm> {
        (**self).alarm()
    }
    fn check(&mut self) -> Result<(), Error> {
        (**self).check()
    }
    fn mac(&self) -> MacAddr {
        (**self).mac()
    }
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error> {
        (**self).set_mac(mac)
    }
    fn mtu(&self) -> u32 {
        (**self).mtu()
    }
    fn link(&mut self) -> Link {
        (**self).link()
    }
    fn link_report(&mut self) -> Result<LinkReport, Error> {
        (**self).link_report()
    }
    fn set_link_speeds(&mut self, speeds: LinkSpeeds) -> Result<(), Error> {
        (**self).set_link_speeds(speeds)
    }
    fn link_interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        (**self).link_interrupt()
    }
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error> {
        (**self).set_rx_mode(mode)
    }
    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        (**self).set_unicast_filters(addresses)
    }
    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error> {
        (**self).set_multicast_filters(addresses)
    }
    fn set_flow_control(&mut self, flow_control: FlowControl) -> Result<(), Error> {
        (**self).set_flow_control(flow_control)
    }
    fn set_moderation(&mut self, moderation: Moderation) -> Result<(), Error> {
        (**self).set_moderation(moderation)
    }
    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), Error> {
        (**self).set_rss(rss)
    }
    fn add_rule(&mut self, rule: &Rule) -> Result<RuleId, Error> {
        (**self).add_rule(rule)
    }
    fn remove_rule(&mut self, id: RuleId) -> Result<(), Error> {
        (**self).remove_rule(id)
    }
    fn set_vlan_filter(&mut self, ids: Option<&[u16]>) -> Result<(), Error> {
        (**self).set_vlan_filter(ids)
    }
    fn set_rx_offloads(&mut self, wanted: Caps) -> Result<(), Error> {
        (**self).set_rx_offloads(wanted)
    }
    fn stats(&mut self) -> Stats {
        (**self).stats()
    }
    fn xstats(&mut self) -> Vec<XStat> {
        (**self).xstats()
    }
    fn registers(&mut self) -> Result<Vec<RegisterValue>, Error> {
        (**self).registers()
    }
    fn eeprom(&mut self) -> Result<Eeprom, Error> {
        (**self).eeprom()
    }
    fn module(&mut self) -> Result<Module, Error> {
        (**self).module()
    }
    fn temperatures(&mut self) -> Result<Vec<Temperature>, Error> {
        (**self).temperatures()
    }

    fn clock(&self) -> Result<HardwareClock, Error> {
        (**self).clock()
    }
    fn accounts(&self) -> Accounts {
        (**self).accounts()
    }
    fn stop(&mut self) -> Result<(), Error> {
        self.book.stopping();
        let stopped = (**self).stop();
        self.is_stopped = Some(stopped.is_ok());
        stopped
    }
}

impl<C: NetDevice + 'static> Drop for AuditedControl<C> {
    fn drop(&mut self) {
        // What the test stopped is not stopped again here: a driver's own end may do that, and a device would see one try more.
        let is_stopped = self.is_stopped.unwrap_or_else(|| self.stop().is_ok());
        let Some(below) = self.below.take() else { return };
        let end = match below.state() {
            // What they counted last was not read, or began anew.
            DeviceState::Gone | DeviceState::Reset => End::Untold,
            _ if is_stopped => End::Stopped,
            _ => End::Unconfirmed,
        };
        self.book.let_go(Box::new(below), end);
    }
}

impl<C: NetDevice + 'static> Deref for AuditedControl<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.below.as_ref().expect("it is there until it is dropped")
    }
}

impl<C: NetDevice + 'static> DerefMut for AuditedControl<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.below.as_mut().expect("it is there until it is dropped")
    }
}

impl<C: NetDevice + fmt::Debug + 'static> fmt::Debug for AuditedControl<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
