//! Audits of a device whose counters say what the test likes.

use alloc::string::ToString;
use core::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread_local;

use super::*;
use crate::buf::batch::Batch;
use crate::buf::pool::BufPool;
use crate::device::accounts::Accounts;
use crate::device::caps::Caps;
use crate::device::clock::HardwareClock;
use crate::device::contract::NetDevice;
use crate::device::dump::RegisterValue;
use crate::device::eeprom::Eeprom;
use crate::device::error::{During, Error, ErrorKind};
use crate::device::flow_control::FlowControl;
use crate::device::info::RxMode;
use crate::device::link::{Link, LinkReport, LinkSpeeds};
use crate::device::moderation::Moderation;
use crate::device::module::Module;
use crate::device::rss::RssConfig;
use crate::device::rule::{Rule, RuleError, RuleId};
use crate::device::settings::Settings;
use crate::device::state::DeviceState;
use crate::device::stats::Stats;
use crate::device::temperature::Temperature;
use crate::device::xstats::XStat;
use crate::ether::MacAddr;
use crate::host::pci::{Interrupt, PciError};
use crate::queue::contract::{RxCounters, RxQueue, TxCounters, TxQueue, TxState, WakeFn};
use crate::ring::fault::QueueFault;
use crate::testing::memory::domain;

/// What the device and its queues say and do. Good where nothing else is said: 9 frames are taken and 6 received.
#[derive(Clone, Copy)]
struct Says {
    taken: u64,
    /// What the device counts.
    sent: Option<u64>,
    filled: Option<u64>,
    tx_lost: u64,
    rx_lost: u64,
    rx_errors: u64,
    pending: usize,
    /// Whether all queues are gone by then.
    is_final: bool,
    state: DeviceState,
    /// What the queues count beyond what they did.
    rx_more: u64,
    tx_more: u64,
    /// What a poll says beyond what it does.
    poll_more: usize,
    stops: bool,
    /// What the queues count by name beyond the accounts.
    named_more: u64,
    /// What the device counts at its port, where it does: good frames received, those without a descriptor, those without room; frames sent, pause frames among
    /// them.
    port: Option<[u64; 5]>,
}

const GOOD: Says = Says {
    taken: 9,
    sent: Some(7),
    filled: Some(8),
    tx_lost: 2,
    rx_lost: 2,
    rx_errors: 0,
    pending: 0,
    is_final: true,
    state: DeviceState::Stopped,
    rx_more: 0,
    tx_more: 0,
    poll_more: 0,
    stops: true,
    named_more: 0,
    port: None,
};

thread_local! {
    /// How often a device was stopped.
    static STOPS: Cell<u32> = const { Cell::new(0) };
}

struct Card {
    info: DeviceInfo,
    settings: Settings,
    pool: BufPool,
    says: Says,
}

struct Rx(BufPool, Says, u64);
struct Tx(Says, u64);

impl NetDriver for Card {
    type Control = Self;
    type Rx = Rx;
    type Tx = Tx;
    fn pool_config(_: &DeviceInfo, _: &Config) -> PoolConfig {
        PoolConfig::new(64)
    }
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
    fn start(self, _: &Config) -> Result<Started<Self>, StartError<Self>> {
        let (rx, tx, pool) = (Rx(self.pool.clone(), self.says, 0), Tx(self.says, 0), self.pool.clone());
        Ok(Started::new(self, Vec::from([rx]), Vec::from([tx]), pool))
    }
}

impl NetDevice for Card {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
    fn settings(&self) -> &Settings {
        &self.settings
    }
    fn state(&self) -> DeviceState {
        self.says.state
    }
    fn watch(&mut self) -> DeviceState {
        self.says.state
    }
    fn check(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn set_mac(&mut self, _: MacAddr) -> Result<(), Error> {
        Ok(())
    }
    fn link(&mut self) -> Link {
        Link::down()
    }
    fn link_interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        None
    }
    fn set_rx_mode(&mut self, _: RxMode) -> Result<(), Error> {
        Ok(())
    }
    fn set_unicast_filters(&mut self, _: &[MacAddr]) -> Result<(), Error> {
        Ok(())
    }
    fn set_multicast_filters(&mut self, _: &[MacAddr]) -> Result<(), Error> {
        Ok(())
    }
    fn set_flow_control(&mut self, _: FlowControl) -> Result<(), Error> {
        Ok(())
    }
    fn link_report(&mut self) -> Result<LinkReport, Error> {
        Ok(LinkReport::default())
    }
    fn set_link_speeds(&mut self, _: LinkSpeeds) -> Result<(), Error> {
        Ok(())
    }
    fn set_moderation(&mut self, _: Moderation) -> Result<(), Error> {
        Ok(())
    }
    fn set_rss(&mut self, _: &RssConfig) -> Result<(), Error> {
        Ok(())
    }
    fn add_rule(&mut self, _: &Rule) -> Result<RuleId, Error> {
        Err(RuleError::NoTable(Vec::new())).during("card", "ruling")
    }
    fn remove_rule(&mut self, id: RuleId) -> Result<(), Error> {
        Err(RuleError::Unknown { id }).during("card", "ruling")
    }
    fn set_vlan_filter(&mut self, _: Option<&[u16]>) -> Result<(), Error> {
        Ok(())
    }
    fn set_rx_offloads(&mut self, _: Caps) -> Result<(), Error> {
        Ok(())
    }
    fn stats(&mut self) -> Stats {
        Stats::default()
    }
    fn xstats(&mut self) -> Vec<XStat> {
        let Says { taken, filled, tx_lost, rx_lost, rx_errors, named_more, port, .. } = self.says;
        let queues = [
            ("rx_q0_delivered", 6),
            ("rx_q0_errors", rx_errors),
            ("rx_q0_lost", rx_lost),
            ("tx_q0_taken", taken + named_more),
            ("tx_q0_lost", tx_lost),
        ];
        let mut all: Vec<_> = queues.map(|(name, value)| XStat::new(name, value)).into();
        if let Some([good, dropped, missed, sent, pauses]) = port {
            let port = [
                ("rx_good_packets", good),
                ("rx_q0_dropped", dropped),
                ("rx_priority0_dropped", missed),
                ("tx_good_packets", sent),
                ("tx_xoff_packets", pauses),
                ("tx_xon_packets", 0),
            ];
            all.extend(port.map(|(name, value)| XStat::new(name, value)));
            all.extend([XStat::new("rx_q0_packets", filled.unwrap_or(0)), XStat::new("tx_q0_packets", 7)]);
        }
        all
    }
    fn registers(&mut self) -> Result<Vec<RegisterValue>, Error> {
        Ok(Vec::new())
    }
    fn eeprom(&mut self) -> Result<Eeprom, Error> {
        Err(Error::new("card", "reading", ErrorKind::NotRunning(DeviceState::Stopped)))
    }
    fn clock(&self) -> Result<HardwareClock, Error> {
        Err(Error::new("card", "using its clock", ErrorKind::NotRunning(DeviceState::Stopped)))
    }
    fn module(&mut self) -> Result<Module, Error> {
        Err(Error::new("card", "reading", ErrorKind::NotRunning(DeviceState::Stopped)))
    }
    fn temperatures(&mut self) -> Result<Vec<Temperature>, Error> {
        Ok(Vec::new())
    }
    fn accounts(&self) -> Accounts {
        let Says { taken: tx_taken, sent: tx_sent, filled: rx_filled, tx_lost, rx_lost, rx_errors, is_final, .. } = self.says;
        Accounts { tx_taken, tx_cut: 0, tx_sent, tx_lost, rx_filled, rx_delivered: 6, rx_coalesced: 0, rx_in_place: 0, rx_errors, rx_lost, is_final }
    }
    fn stop(&mut self) -> Result<(), Error> {
        STOPS.set(STOPS.get() + 1);
        if self.says.stops { Ok(()) } else { Err(Error::new("card", "stopping", ErrorKind::NotRunning(DeviceState::NeedsReset))) }
    }
}

impl RxQueue for Rx {
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let came = batch.fill(&self.0, budget);
        self.2 += came as u64;
        came + self.1.poll_more
    }
    fn arm(&mut self) -> bool {
        false
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        None
    }
    fn fault(&self) -> Option<QueueFault> {
        None
    }
    fn counters(&self) -> RxCounters {
        RxCounters { packets: self.2 + self.1.rx_more, ..RxCounters::default() }
    }
}

impl TxQueue for Tx {
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        self.1 += batch.len() as u64;
        batch.clear();
        TxState::Running
    }
    fn reclaim(&mut self) -> usize {
        0
    }
    fn pending(&self) -> usize {
        self.0.pending
    }
    fn arm(&mut self) -> bool {
        true
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        None
    }
    fn wait_for_room(&mut self, _: Option<u64>) -> Result<bool, PciError> {
        Ok(true)
    }
    fn on_wake(&mut self, _: Option<WakeFn>) {}
    fn fault(&self) -> Option<QueueFault> {
        None
    }
    fn counters(&self) -> TxCounters {
        TxCounters { packets: self.1 + self.0.tx_more, ..TxCounters::default() }
    }
}

fn card(says: Says) -> Card {
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let info = DeviceInfo::new("card", "test", "a test's", mac);
    let pool = BufPool::new(&domain().0, PoolConfig::new(512)).unwrap();
    let settings = Settings::new(&Config::new().rx_ring(64), &info);
    Card { info, settings, pool, says }
}

/// Sends 9 frames and receives 6.
fn work(started: &mut Started<Audited<Card>>) {
    let mut batch = Batch::new(64);
    assert_eq!(started.rx[0].poll(&mut batch, 6), 6);
    batch.clear();
    (0..9).for_each(|_| batch.push(started.pool.take().unwrap()).unwrap());
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
}

/// What an audit says in the end, "" where all is well.
fn audited(says: Says) -> String {
    let audit = Audit::new();
    let done = catch_unwind(AssertUnwindSafe(|| {
        work(&mut audit.watch(card(says)).start(&Config::new()).unwrap());
        audit.settle();
    }));
    // What was settled is forgotten, whatever came of it, and here so is what a panic kept from being settled.
    audit.books.lock().unwrap().clear();
    done.err().map(|panic| panic.downcast_ref::<String>().unwrap().clone()).unwrap_or_default()
}

#[test]
fn frames_that_are_all_accounted_for_pass() {
    assert_eq!(audited(GOOD), "");
    // Queues that are still there give up what they hold, and what lies in their rings, later.
    assert_eq!(audited(Says { sent: Some(3), pending: 4, is_final: false, ..GOOD }), "");
    assert_eq!(audited(Says { filled: Some(8 + 64), is_final: false, ..GOOD }), "");
    // A device may count nothing, and nobody knows what became of the frames of one that did not stop or is gone.
    assert_eq!(audited(Says { sent: None, filled: None, ..GOOD }), "");
    assert_eq!(audited(Says { sent: Some(0), filled: Some(100), stops: false, ..GOOD }), "");
    for state in [DeviceState::Gone, DeviceState::Reset] {
        assert_eq!(audited(Says { sent: Some(100), filled: Some(0), state, ..GOOD }), "");
    }
}

#[test]
fn frames_that_are_in_no_account_are_found() {
    let text = "frames are not accounted for:\ncard: submit took 9 frames: tx_sent and tx_lost are";
    assert_eq!(
        audited(Says { sent: Some(6), ..GOOD }),
        std::format!("{text} 8, and 0 descriptors were pending at the stop: 1 frames are in no account")
    );
    let pending = Says { sent: Some(2), pending: 4, is_final: false, ..GOOD };
    assert_eq!(audited(pending), std::format!("{text} 4, and 4 descriptors were pending at the stop: 1 frames are in no account"));
    for (says, room) in [(GOOD, 0), (Says { is_final: false, ..GOOD }, 64)] {
        let text = audited(Says { filled: Some(9 + room), ..says });
        assert!(text.ends_with(&std::format!("rx_lost are 8: 1 frames are in no account, beyond the {room} in rings")), "{text}");
    }
    assert!(audited(Says { sent: Some(6), pending: 4, ..GOOD }).ends_with("1 frames are in no account"), "nothing pends where all queues are gone");
}

#[test]
fn frames_that_are_in_two_accounts_are_found() {
    for says in [Says { tx_lost: 3, ..GOOD }, Says { sent: Some(8), ..GOOD }, Says { rx_lost: 3, ..GOOD }, Says { filled: Some(7), ..GOOD }] {
        for says in [says, Says { is_final: false, pending: 9, ..says }, Says { stops: false, ..says }] {
            let text = audited(says);
            assert!(text.ends_with("1 frames too many are accounted for"), "{text}");
        }
    }
    assert!(audited(Says { taken: 8, ..GOOD }).ends_with("submit took 9 frames, and tx_taken is 8"));
    let text = audited(Says { rx_errors: 1, ..GOOD });
    assert!(text.ends_with("poll handed up 6 frames and the queues found 0 bad, and rx_delivered is 6, rx_errors 1"), "{text}");
}

#[test]
fn a_queue_that_counts_otherwise_than_it_does_is_stopped_at_the_call() {
    for (says, text) in [
        (Says { poll_more: 1, ..GOOD }, "poll says 7 frames, and 6 came into the batch"),
        (Says { rx_more: 1, ..GOOD }, "6 frames were handed up until now, and the queue has counted 7"),
        (Says { tx_more: 2, ..GOOD }, "9 frames were taken until now, and the queue has counted 11"),
    ] {
        assert_eq!(audited(says), text);
    }
}

#[test]
fn what_the_port_counts_by_name_adds_up() {
    let port = |says: Says, port: [u64; 5]| audited(Says { port: Some(port), ..says });
    assert_eq!(port(GOOD, [8 + 3 + 1, 3, 1, 7, 0]), "");
    for (counted, text) in [
        ([12, 2, 1, 7, 0], "card: the port let 12 frames in: its queues got 8, 2 found no descriptor and 1 no room ("),
        ([12, 4, 1, 7, 0], "card: the port let 12 frames in: its queues got 8, 4 found no descriptor and 1 no room ("),
        ([8, 0, 0, 9, 1], "card: the port sent 9 frames: its queues 7, and it 1 pause frames itself ("),
    ] {
        let said = port(GOOD, counted);
        assert!(said.contains(text) && said.contains(" rx_q0_packets=8 "), "{counted:?}: {said}");
    }
    assert_eq!(port(GOOD, [8, 0, 0, 8, 1]), "", "its own are no queue's");
    let said = port(Says { sent: Some(8), tx_lost: 1, ..GOOD }, [8, 0, 0, 8, 1]);
    assert!(
        said.contains("card: queues got 8 frames and 7 of theirs were sent by name, Some(8) and Some(8) by the accounts ("),
        "nor in an account: {said}"
    );
    // Of a device that did not confirm that it stopped, nobody knows what it counted last.
    assert_eq!(port(Says { stops: false, ..GOOD }, [9, 0, 0, 7, 0]), "");
    // Frames wait where the ring of 64 was full, which is to hold 63.
    let waits = |filled: u64| port(Says { filled: Some(filled), rx_lost: filled - 6, ..GOOD }, [filled + 5, 0, 0, 7, 0]);
    assert_eq!(waits(6 + 63), "");
    assert!(waits(6 + 62).contains("the port let 73 frames in: its queues got 68, 0 found"), "{}", waits(6 + 62));
    assert!(audited(Says { named_more: 1, ..GOOD }).contains("card: tx_q*_taken are 10, and the account says 9 ("));
}

#[test]
fn what_is_on_the_wire_is_what_was_sent() {
    let seen = |says: Says, frames| {
        let audit = Audit::new();
        work(&mut audit.watch(card(says)).start(&Config::new()).unwrap());
        audit.saw_on_wire(frames);
        let panic = catch_unwind(AssertUnwindSafe(|| audit.settle())).err();
        panic.map(|panic| panic.downcast_ref::<String>().unwrap().clone())
    };
    assert_eq!(seen(GOOD, 7), None);
    for frames in [6, 8] {
        let text = seen(GOOD, frames).unwrap();
        assert!(text.ends_with(&std::format!("{frames} frames came out of the wire, and what was watched has sent 7")), "{text}");
    }
    // Nothing can be said of a device that does not count, or did not stop.
    assert_eq!(seen(Says { sent: None, ..GOOD }, 0), None);
    assert_eq!(seen(Says { stops: false, ..GOOD }, 0), None);
}

#[test]
fn a_device_that_was_not_stopped_is_no_end() {
    let audit = Audit::new();
    let started = audit.watch(card(GOOD)).start(&Config::new()).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| audit.settle())).unwrap_err();
    assert!(
        panic.downcast_ref::<String>().unwrap().ends_with("card: it was started, and its control handle is still there: drop it before the audit")
    );
    drop(started);
    // A device that was opened and never started has nothing to tell.
    drop(audit.watch(card(GOOD)));
}

#[test]
fn a_dropped_audit_settles_and_an_excused_one_looks_at_the_queues_alone() {
    let lying = Says { sent: Some(1), filled: Some(1), ..GOOD };
    let audit = Audit::new();
    work(&mut audit.watch(card(lying)).start(&Config::new()).unwrap());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(audit))).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().to_string().contains("frames are in no account"));
    let audit = Audit::new();
    audit.excuse("the card lies");
    work(&mut audit.watch(card(lying)).start(&Config::new()).unwrap());
    let mut started = audit.watch(card(Says { tx_more: 1, ..lying })).start(&Config::new()).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| work(&mut started))).is_err());
}

#[test]
fn pending_frames_are_those_of_the_first_stop() {
    STOPS.set(0);
    let audit = Audit::new();
    let mut started = audit.watch(card(Says { sent: Some(5), pending: 2, is_final: false, ..GOOD })).start(&Config::new()).unwrap();
    work(&mut started);
    started.control.stop().unwrap();
    drop(started.tx);
    drop(started.control);
    audit.settle();
    assert_eq!(STOPS.get(), 1, "the device sees no more than without an audit");
    // A working queue that went before has counted what it had.
    let mut started = audit.watch(card(Says { sent: Some(5), pending: 2, is_final: false, ..GOOD })).start(&Config::new()).unwrap();
    work(&mut started);
    drop(started.tx);
    drop(started.control);
    assert!(catch_unwind(AssertUnwindSafe(|| audit.settle())).is_err());
}
