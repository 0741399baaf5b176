//! What a driver is to those above it: a device that was opened, and one that was started.

use alloc::vec::Vec;
use core::fmt;

use crate::buf::pool::{BufPool, PoolConfig};
use crate::device::accounts::Accounts;
use crate::device::caps::Caps;
use crate::device::clock::HardwareClock;
use crate::device::config::Config;
use crate::device::dump::RegisterValue;
use crate::device::eeprom::Eeprom;
use crate::device::error::{During, Error, ErrorKind, StartError, steps};
use crate::device::flow_control::FlowControl;
use crate::device::info::{DeviceInfo, RxMode};
use crate::device::link::{Link, LinkReport, LinkSpeeds};
use crate::device::moderation::Moderation;
use crate::device::module::Module;
use crate::device::recovery::Recovered;
use crate::device::rss::RssConfig;
use crate::device::rule::{Rule, RuleId, RuleInForce};
use crate::device::self_test::SelfTest;
use crate::device::settings::Settings;
use crate::device::state::DeviceState;
use crate::device::stats::Stats;
use crate::device::temperature::{Alarm, Temperature};
use crate::device::xstats::XStat;
use crate::ether::MacAddr;
use crate::host::pci::Interrupt;
use crate::queue::contract::{RxQueue, TxQueue};

/// A device that a driver has opened: reset, identified, and standing still.
pub trait NetDriver: Send + Sized + 'static {
    /// The control handle of the started device.
    type Control: NetDevice + 'static;
    /// A receive queue.
    type Rx: RxQueue + 'static;
    /// A transmit queue.
    type Tx: TxQueue + 'static;

    /// The pool that [`start`](NetDriver::start) makes for a device where `config` has none: buffers for every descriptor, for what the queues keep, and for
    /// frames on their way, as large as the device needs them. Who makes a pool for several devices adds up their buffers, and takes the largest.
    fn pool_config(info: &DeviceInfo, config: &Config) -> PoolConfig;

    /// What the device is and can do.
    fn info(&self) -> &DeviceInfo;

    /// Sets the device up and lets it receive and transmit.
    ///
    /// # Errors
    /// [`StartError`] with the reason and the device, stopped.
    fn start(self, config: &Config) -> Result<Started<Self>, StartError<Self>>;

    /// Tests the device part by part, as `ethtool -t` does offline. It is taken from its link for it, and is as it was when it was opened afterwards. The link is
    /// waited for at most `link_us` microseconds.
    ///
    /// What is wrong is in what this returns.
    ///
    /// # Errors
    /// Where there is no test of this device, or it does not come out of a reset.
    fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error> {
        let _ = link_us;
        let none = ErrorKind::Unsupported { what: "a test of itself", instead: "`barewire info` and `barewire stats` tell what it is and does" };
        Err(none).during(&self.info().name, steps::TESTING)
    }
}

/// A started device: the control handle, and queues that leave it, one per worker.
#[non_exhaustive]
pub struct Started<D: NetDriver> {
    /// Link, filters, statistics, stop.
    pub control: D::Control,
    /// Receive queues, each with its interrupt where [`Config::interrupts`] asked for them.
    pub rx: Vec<D::Rx>,
    /// Transmit queues.
    pub tx: Vec<D::Tx>,
    /// The pool that receive buffers come from. Frames to send come from it too: [`BufPool::take`].
    pub pool: BufPool,
}

impl<D: NetDriver> Started<D> {
    /// Puts the parts together.
    pub fn new(control: D::Control, rx: Vec<D::Rx>, tx: Vec<D::Tx>, pool: BufPool) -> Self {
        Self { control, rx, tx, pool }
    }
}

impl<D: NetDriver> fmt::Debug for Started<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, rx, tx) = (&self.control.info().name, self.rx.len(), self.tx.len());
        write!(f, "Started({name}, {rx} receive and {tx} transmit queues here, {:?})", self.pool)
    }
}

/// The control handle of a started device, whatever its driver. Dropping it stops the device.
pub trait NetDevice: Send {
    /// What the device is and can do.
    fn info(&self) -> &DeviceInfo;
    /// How it is set now: what was configured, and what was set since.
    fn settings(&self) -> &Settings;
    /// How it is, as far as it was seen: by [`watch`](NetDevice::watch), by the other calls here, or by a queue. What failed first stays.
    fn state(&self) -> DeviceState;
    /// Looks how it is, in a few register reads: whether it answers, was reset by somebody else, asks for a reset, or hangs. To be called a few times a second;
    /// without it, a device that went away is found out by a transmit queue that does not move, or by nobody.
    ///
    /// This is also what recovers a device that failed, where [`Config::recovery`] says so and the driver can ([`Caps::RECOVERY`](crate::device::Caps::RECOVERY)): such
    /// a call takes as long as a reset, tenths of a second. Tries that follow one that failed are made by later calls.
    fn watch(&mut self) -> DeviceState;
    /// The last recovery that ended well, once.
    fn recovered(&mut self) -> Option<Recovered> {
        None
    }
    /// What it says of itself that no reset mends, as far as [`watch`](NetDevice::watch) or another call here saw it; each once, until it is over. It runs meanwhile, as
    /// far as it can.
    fn alarm(&mut self) -> Option<Alarm> {
        None
    }
    /// That it runs and works: [`watch`](NetDevice::watch) as a result.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`](crate::device::error::ErrorKind::NotRunning).
    fn check(&mut self) -> Result<(), Error>;
    /// The address it has now.
    fn mac(&self) -> MacAddr {
        self.settings().mac()
    }
    /// Gives it another address.
    ///
    /// # Errors
    /// Where `mac` is no unicast address or the device cannot change it.
    fn set_mac(&mut self, mac: MacAddr) -> Result<(), Error>;
    /// The MTU it was started with, in bytes.
    fn mtu(&self) -> u32 {
        self.settings().mtu()
    }
    /// The link as it is now. Changes are counted in `carrier_changes`.
    fn link(&mut self) -> Link;
    /// What is known of the link: why there is none, what both ends negotiate. Of an SFP+ port without a link that takes some hundredths of a second, since its module is asked.
    ///
    /// # Errors
    /// Where the device does not run, or does not answer.
    fn link_report(&mut self) -> Result<LinkReport, Error>;
    /// Offers other speeds in auto-negotiation. The link goes down for it, and comes back seconds later where the other end offers one of them.
    ///
    /// What the device does of it is in [`settings`](NetDevice::settings) afterwards; speeds that it does not have are named in the log.
    ///
    /// # Errors
    /// Where its driver does not decide ([`DeviceInfo::link_speeds`] is empty), or it has none of them.
    fn set_link_speeds(&mut self, speeds: LinkSpeeds) -> Result<(), Error>;
    /// The interrupt that fires when the link comes or goes, or the device has something else to say that is no queue's; `None` where the device was started
    /// without interrupts, or its only vector is the receive queue's, which then wakes for the link too. After it, ask for [`link`](NetDevice::link), which also lets it fire again, and
    /// [`check`](NetDevice::check).
    fn link_interrupt(&mut self) -> Option<&mut dyn Interrupt>;
    /// Sets promiscuous and all-multicast mode.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), Error>;
    /// Replaces the further unicast addresses that it receives.
    ///
    /// # Errors
    /// Where there are more than the device filters, or one is no unicast address.
    fn set_unicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error>;
    /// Replaces the multicast addresses that it receives.
    ///
    /// # Errors
    /// Where one is no multicast address, or there are more than the device filters.
    fn set_multicast_filters(&mut self, addresses: &[MacAddr]) -> Result<(), Error>;
    /// Spreads flows otherwise over the receive queues that are open. Key, table and types all become as `rss` has them: who wants to change one of them begins
    /// with a copy of `settings().rss()`. Of a flow whose frames come meanwhile some may be in the queue before and some in the one behind.
    ///
    /// What the device does of it is in [`settings`](NetDevice::settings) afterwards; types that it does not hash are named in the log.
    ///
    /// # Errors
    /// Where the device was started with one receive queue or has no such function, or the table names queues that it does not reach, or is of another length.
    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), Error>;
    /// Sets which pause frames are obeyed and sent. Whether a receive queue drops was decided at the start ([`Overflow`](crate::device::Overflow)), and stays: where several queues
    /// drop, they drop before the device's buffer fills, and few pause frames are sent.
    ///
    /// # Errors
    /// Where the device has no flow control.
    fn set_flow_control(&mut self, flow_control: FlowControl) -> Result<(), Error>;
    /// Sets how far apart a queue's interrupts are at least; of a receive queue from the next time that it is armed.
    ///
    /// # Errors
    /// Where the device was started without interrupts, cannot tell them apart by itself, or counts no interval as long.
    fn set_moderation(&mut self, moderation: Moderation) -> Result<(), Error>;
    /// Adds a rule for received frames, which holds until it is removed or the device stops. The device chooses the table that fits best; what became of it says
    /// [`rules`](NetDevice::rules). What a rule is for the device counts in all and not by rule: see the names of flow filters in [`xstats`](NetDevice::xstats).
    ///
    /// # Errors
    /// [`ErrorKind::Rule`](crate::device::error::ErrorKind::Rule) where the device cannot do what the rule says: which field it is, what it can do, and how many places
    /// are free. Nothing has changed then.
    fn add_rule(&mut self, rule: &Rule) -> Result<RuleId, Error>;
    /// Removes a rule.
    ///
    /// # Errors
    /// Where there is no such rule.
    fn remove_rule(&mut self, id: RuleId) -> Result<(), Error>;
    /// The rules that hold, in the order in which they were added.
    fn rules(&self) -> &[RuleInForce] {
        self.settings().rules()
    }
    /// Of frames with a VLAN tag lets only those of these VLANs in, in promiscuous mode as well; `None`: those of every VLAN.
    ///
    /// # Errors
    /// Where the device filters no VLANs, or an id is not between 0 and 4095.
    fn set_vlan_filter(&mut self, ids: Option<&[u16]>) -> Result<(), Error>;
    /// Sets what the device does from now on for received frames, of what it was started with: [`Caps::RX_CHECKSUM`], [`Caps::RX_COALESCING`], both or neither. Frames that are
    /// on their way are still as they were to be before. A recovery leaves it so.
    ///
    /// # Errors
    /// Where the device cannot while it runs, was started without one of them, or has no large frames without their checksums; and of any other capability.
    fn set_rx_offloads(&mut self, wanted: Caps) -> Result<(), Error>;
    /// Counters since the start.
    fn stats(&mut self) -> Stats;
    /// Everything that the device and its driver count, by name, since the start; the same names in the same order each time. Of a device that was stopped or failed
    /// it is what was last known.
    ///
    /// Counters of a device that are narrow, or cleared by reading, are added up here. They are exact as long as this, [`watch`](NetDevice::watch) or any other call that
    /// asks the device something comes at least every 25 s; or a receive queue is armed, or polled in vain, as often.
    fn xstats(&mut self) -> Vec<XStat>;
    /// What its registers hold now, by name and field: those that tell how it is set and what it does, and that a read leaves as they are.
    ///
    /// # Errors
    /// Where the device does not run, or its driver has no list of them.
    fn registers(&mut self) -> Result<Vec<RegisterValue>, Error>;
    /// All words of its EEPROM, which takes some tenths of a second, and whether their checksum is right.
    ///
    /// # Errors
    /// Where the device does not run, has none that its driver can read, or does not answer.
    fn eeprom(&mut self) -> Result<Eeprom, Error>;
    /// What the module in its cage says of itself, which takes some hundredths of a second.
    ///
    /// # Errors
    /// Where the device does not run, has no cage, or no module answers.
    fn module(&mut self) -> Result<Module, Error>;
    /// How warm it is, by each sensor that it has, which may be none; that takes some milliseconds.
    ///
    /// # Errors
    /// Where the device does not run, or a sensor does not answer.
    fn temperatures(&mut self) -> Result<Vec<Temperature>, Error>;
    /// The device's own clock, by which it stamps frames: a handle for a time daemon, which it may take to a thread of its own. It stays the same clock over recoveries.
    ///
    /// # Errors
    /// Where the device has none, or was started without ([`Config::timestamps`]).
    fn clock(&self) -> Result<HardwareClock, Error>;
    /// What became of every frame since the start.
    fn accounts(&self) -> Accounts;
    /// Stops the device and takes its queues back; when it returns, the device writes to no memory any more.
    ///
    /// # Errors
    /// Where the device does not confirm that it stopped.
    fn stop(&mut self) -> Result<(), Error>;
}
