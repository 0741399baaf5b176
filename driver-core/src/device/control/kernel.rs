//! What one driver brings to the control handle.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::device::caps::Caps;
use crate::device::clock::DeviceClock;
use crate::device::config::Config;
use crate::device::dump::RegisterValue;
use crate::device::eeprom::Eeprom;
use crate::device::error::ErrorKind;
use crate::device::flow_control::FlowControl;
use crate::device::info::RxMode;
use crate::device::link::{Link, LinkReport, LinkSpeeds};
use crate::device::moderation::Moderation;
use crate::device::module::Module;
use crate::device::rss::RssConfig;
use crate::device::rule::{Rule, RuleInForce, RulePlace};
use crate::device::settings::Settings;
use crate::device::stats::Stats;
use crate::device::temperature::{Alarm, Temperature};
use crate::device::xstats::XStat;
use crate::ether::MacAddr;
use crate::host::pci::PciFunction;
use crate::queue::core::lent::{Left, Silence};
use crate::queue::core::seat::Totals;
use crate::ring::fault::QueueFault;

/// How far a device is in one of its transmit rings: they are the same where it has no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: the two ends of what is in flight")]
pub struct TxPosition {
    /// What the device does next.
    pub head: u32,
    /// Where its work ends.
    pub tail: u32,
}

/// What it means that a register that is never all ones reads all ones: a function that is there and whose memory decoding is off was reset or set otherwise by
/// somebody else, and any other is gone.
pub fn why_all_ones(function: &impl PciFunction) -> QueueFault {
    if function.is_present() && !function.is_decoding() { QueueFault::Reset } else { QueueFault::Gone }
}

/// The device spreads nothing.
pub(super) const NO_RSS: ErrorKind = ErrorKind::Unsupported {
    what: "spreading of flows (RSS) as it was started",
    instead: "start it with more than one receive queue, where `DeviceInfo::rss` says that it spreads over several",
};

/// The device sends interrupts as they come, or none.
pub(super) const NO_MODERATION: ErrorKind = ErrorKind::Unsupported {
    what: "interrupts at intervals as it was started",
    instead: "start it with interrupts, where `DeviceInfo::max_moderation_us` says that it keeps intervals; or poll, and sleep by the clock",
};

/// It has no pause frames.
pub(super) const NO_FLOW_CONTROL: ErrorKind = ErrorKind::Unsupported {
    what: "flow control by pause frames",
    instead: "see that its receive queues are polled in time: what finds no room is dropped and counted",
};

/// Its driver does not decide at which speeds it links.
pub(super) const NO_LINK_SPEEDS: ErrorKind = ErrorKind::Unsupported {
    what: "a choice of speeds by its driver: its medium has one, or its EEPROM or its host decides",
    instead: "choose at the other end of the link; `DeviceInfo::link_speeds` says where there is a choice",
};

/// What it does for received frames is decided at the start.
pub(super) const NO_RX_OFFLOADS: ErrorKind = ErrorKind::Unsupported {
    what: "that for received frames as it was started, or not while it runs",
    instead: "start it with `Config::offloads` and `Config::rx_coalescing`, and switch RX_CHECKSUM and RX_COALESCING alone",
};

/// It has no clock.
pub(super) const NO_CLOCK: ErrorKind = ErrorKind::Unsupported {
    what: "time stamps, and has no clock of its own",
    instead: "stamp frames by the host's clock, behind `RxQueue::poll` and before `TxQueue::submit`",
};

/// It has one that stands still.
pub(super) const NOT_STARTED: ErrorKind =
    ErrorKind::Unsupported { what: "time stamps as it was started", instead: "start it with `Config::timestamps`, which starts its clock" };

/// The driver sets no device up anew.
pub(super) const NO_RECOVERY: ErrorKind = ErrorKind::Unsupported { what: "recovery by its driver", instead: "stop it and open it again" };
/// The device has no filters that choose a queue.
const NO_RULES: ErrorKind = ErrorKind::Unsupported {
    what: "rules for received frames: it looks at no field of a frame, neither EtherType nor address, protocol, port, VLAN or SYN",
    instead: "look at them in software, behind `RxQueue::poll`",
};
/// The device lets every VLAN in.
const NO_VLAN_FILTER: ErrorKind =
    ErrorKind::Unsupported { what: "a filter of VLANs, or its driver does not use it", instead: "look at the tag in software" };

/// That a device which has no filters of flows is not started with any.
///
/// # Errors
/// That it has none.
pub fn refuse_rules(config: &Config) -> Result<(), ErrorKind> {
    if config.wanted_rules().is_empty() { Ok(()) } else { Err(NO_RULES) }
}

/// The same of filters of VLANs.
///
/// # Errors
/// That it has none.
pub fn refuse_vlans(config: &Config) -> Result<(), ErrorKind> {
    if config.wanted_vlans().is_none() { Ok(()) } else { Err(NO_VLAN_FILTER) }
}

/// What a driver does to its device for a control handle. But for [`ControlKernel::stop`], [`ControlKernel::restart`] and what reads no register, all of it is called while the device
/// runs, and with addresses that were checked.
pub trait ControlKernel: Send + 'static {
    /// The PCI function that the device is.
    type Function: PciFunction;

    /// Does something with the function.
    fn with_function<T>(&mut self, work: impl FnOnce(&mut Self::Function) -> T) -> T;

    /// Gives the device another address. `now`: how it is set so far, here as below.
    ///
    /// # Errors
    /// Where it cannot have it.
    fn set_mac(&mut self, mac: MacAddr, now: &Settings) -> Result<(), ErrorKind>;
    /// Sets which frames come in beside those for the device.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rx_mode(&mut self, mode: RxMode) -> Result<(), ErrorKind>;
    /// Replaces the further unicast addresses.
    ///
    /// # Errors
    /// Where there are too many.
    fn set_unicast(&mut self, addresses: &[MacAddr], now: &Settings) -> Result<(), ErrorKind>;
    /// Replaces the multicast addresses.
    ///
    /// # Errors
    /// Where there are too many.
    fn set_multicast(&mut self, addresses: &[MacAddr]) -> Result<(), ErrorKind>;
    /// Spreads flows so over the receive queues: the table is the device's whole, the types are such that it has. Called where [`Caps::RSS`](crate::device::Caps::RSS) is in use alone.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rss(&mut self, _: &RssConfig) -> Result<(), ErrorKind> {
        Err(NO_RSS)
    }

    /// Sets which pause frames are obeyed and sent. Called where [`Caps::FLOW_CONTROL`](crate::device::Caps::FLOW_CONTROL) is offered alone.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_flow_control(&mut self, _: FlowControl) -> Result<(), ErrorKind> {
        Err(NO_FLOW_CONTROL)
    }

    /// Offers these speeds in auto-negotiation, of which the device has all and which are not none, and negotiates anew.
    ///
    /// # Errors
    /// Where the device does not do it.
    fn set_link_speeds(&mut self, _: LinkSpeeds) -> Result<(), ErrorKind> {
        Err(NO_LINK_SPEEDS)
    }
    /// What is known of the link, as far as the device tells.
    ///
    /// # Errors
    /// Where it does not answer.
    fn link_report(&mut self, now: &Settings) -> Result<LinkReport, ErrorKind> {
        self.link(now).map(LinkReport::of)
    }

    /// Sets how far apart interrupts are, no farther than the device counts. Called where it keeps intervals and has interrupts alone.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_moderation(&mut self, _: Moderation, _now: &Settings) -> Result<(), ErrorKind> {
        Err(NO_MODERATION)
    }

    /// Finds a place for a rule beside those that hold, and puts it there: the rule makes sense, and its queue is open.
    ///
    /// # Errors
    /// Where the device cannot do it.
    fn add_rule(&mut self, _: &Rule, _now: &Settings) -> Result<RulePlace, ErrorKind> {
        Err(NO_RULES)
    }
    /// Takes a rule out of its place.
    ///
    /// # Errors
    /// Where the device does not confirm it.
    fn remove_rule(&mut self, _: &RuleInForce, _now: &Settings) -> Result<(), ErrorKind> {
        Err(NO_RULES)
    }
    /// Lets frames of these VLANs in, or of every one.
    ///
    /// # Errors
    /// Where the device has no such filter, or not beside the rules that hold.
    fn set_vlans(&mut self, ids: Option<&[u16]>, _now: &Settings) -> Result<(), ErrorKind> {
        if ids.is_none() { Ok(()) } else { Err(NO_VLAN_FILTER) }
    }

    /// Does this for received frames from now on: of RX_CHECKSUM and RX_COALESCING what the device was started with, or less.
    ///
    /// # Errors
    /// Where the device cannot.
    fn set_rx_offloads(&mut self, _: Caps, _now: &Settings) -> Result<(), ErrorKind> {
        Err(NO_RX_OFFLOADS)
    }

    /// Looks whether the device still is what the driver made it: [`QueueFault::Gone`], [`QueueFault::Reset`], [`QueueFault::NeedsReset`] if not.
    fn look(&mut self) -> Option<QueueFault> {
        None
    }
    /// Where the device is in a transmit ring whose queue has `taken` so many frames since the start; `None` where it does not tell, and the queues look for
    /// themselves.
    fn tx_position(&mut self, _queue: u16, _taken: u64) -> Option<TxPosition> {
        None
    }
    /// Reads the link's state, and lets the link's interrupt fire again where there is one.
    ///
    /// # Errors
    /// Where the device does not tell.
    fn link(&mut self, now: &Settings) -> Result<Link, ErrorKind>;

    /// Adds up what the device has counted since the last call, as far as [`ControlKernel::stats`] is made of it.
    fn read_counters(&mut self) {}
    /// The same of all that it counts.
    fn read_all_counters(&mut self) {
        self.read_counters();
    }
    /// What was counted since the start: by the device as far as it was read, and by the queues.
    fn stats(&self, rx: &Totals, tx: &Totals) -> Stats;
    /// Everything that the device itself counted since the start, by name, as far as it was read; or in its place the driver, where the device counts nothing.
    /// `rx` and `tx`: what each queue counted by itself.
    fn xstats(&self, _rx: &[Totals], _tx: &[Totals]) -> Vec<XStat> {
        Vec::new()
    }

    /// What the device's registers hold.
    ///
    /// # Errors
    /// Where there is no list of them.
    fn registers(&mut self) -> Result<Vec<RegisterValue>, ErrorKind> {
        Err(ErrorKind::Unsupported { what: "a dump of its registers", instead: "`barewire info` and `barewire stats` tell what it is and does" })
    }
    /// What the device keeps without power.
    ///
    /// # Errors
    /// Where it has nothing of the kind, or does not answer.
    fn eeprom(&mut self) -> Result<Eeprom, ErrorKind> {
        Err(ErrorKind::Unsupported { what: "reads of an EEPROM, which it has not", instead: "what it is set to stands in its configuration space" })
    }

    /// What the module in the device's cage says of itself.
    ///
    /// # Errors
    /// Where there is no cage, or no module answers.
    fn module(&mut self) -> Result<Module, ErrorKind> {
        Err(ErrorKind::Unsupported { what: "pluggable modules", instead: "`barewire info` tells what its port is" })
    }

    /// What the device has said of itself since the last call that no reset mends, and its driver leaves as it is. Called behind each look at it.
    fn alarm(&mut self) -> Option<Alarm> {
        None
    }

    /// How warm the device is.
    ///
    /// # Errors
    /// Where a sensor does not answer.
    fn temperatures(&mut self) -> Result<Vec<Temperature>, ErrorKind> {
        Ok(Vec::new())
    }

    /// The device's clock, where it was started with one that runs.
    fn clock(&self) -> Option<Arc<dyn DeviceClock>> {
        None
    }

    /// How many frames the device has put into memory, and how many it has sent, by its own count as far as it was read.
    fn frames_counted(&self) -> (Option<u64>, Option<u64>) {
        (None, None)
    }

    /// Stops a device that answers, in any state, after frames on their way went out where they can. Gives the device's word that it is silent, and tells `left`
    /// of transmit queues how many descriptors they left unsent, where the device says so.
    ///
    /// # Errors
    /// Where the device does not confirm that it is silent.
    fn stop(&mut self, left: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind>;

    /// The device is stopped for good: what the control handle itself keeps of its memory goes back, where the device was seen to use it no more.
    fn stopped(&mut self) {}

    /// Whether the driver sets its device up anew: then it has the following four, and its queues' kernels `rewind`.
    const RECOVERS: bool = false;

    /// Resets a device that was stopped, or did not confirm it, and sets it up by `settings`, as a start does, but for its queues: all of them are off. Gives the
    /// device's word that since its reset it knows of no memory.
    ///
    /// # Errors
    /// Where it does not come up. It may be called again.
    fn restart(&mut self, _settings: &Settings) -> Result<Silence, ErrorKind> {
        Err(NO_RECOVERY)
    }
    /// Turns a receive queue on whose ring is as when it was new, and lets its interrupt fire once. The receiver may be on.
    ///
    /// # Errors
    /// Where it does not turn on.
    fn start_rx(&mut self, _queue: u16, _settings: &Settings) -> Result<(), ErrorKind> {
        Err(NO_RECOVERY)
    }
    /// The same of a transmit queue.
    ///
    /// # Errors
    /// Where it does not turn on.
    fn start_tx(&mut self, _queue: u16, _settings: &Settings) -> Result<(), ErrorKind> {
        Err(NO_RECOVERY)
    }
    /// Behind a restart, and before `start_tx`: the queue's ring is as when it was new, and the queue has taken so many frames since the start.
    fn rewound_tx(&mut self, _queue: u16, _taken: u64) {}
    /// Whether [`ControlKernel::reset_tx`] resets a transmit queue alone: the first try of mending one that hangs.
    fn resets_tx_alone(&self) -> bool {
        false
    }
    /// Resets the hardware of a transmit queue, and of nothing else, which [`ControlKernel::start_tx`] turns on again. Gives the device's word that it uses nothing of the queue
    /// any more.
    ///
    /// # Errors
    /// Where it does not confirm it.
    fn reset_tx(&mut self, _queue: u16) -> Result<Silence, ErrorKind> {
        Err(NO_RECOVERY)
    }
    /// Whether a device takes all of its queues together, before it goes live: then its queues are waited for, as long as a recovery waits for any.
    const STARTS_TOGETHER: bool = false;
    /// Queues were turned on, and work from here on. The first call behind a restart is where a device that takes its queues together goes live.
    ///
    /// # Errors
    /// Where it does not.
    fn queues_started(&mut self, _settings: &Settings) -> Result<(), ErrorKind> {
        Ok(())
    }
    /// Lets every queue's interrupt fire once.
    fn wake_queues(&mut self, _settings: &Settings) {}
}
