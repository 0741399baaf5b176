//! The control handle over a device that does as the test says.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use super::*;
use crate::device::config::Config;
use crate::device::offloads::Offloads;
use crate::device::rss::RssLimits;
use crate::device::rule::{RuleInForce, RulePlace};
use crate::host::clock::Clock;
use crate::host::pci::PciErrorKind;
use crate::offload::RssTypes;
use crate::queue::core::lent::Left;
use crate::queue::core::seat::Totals;
use crate::testing::{FakeFunction, FunctionAct, Liar, Lying, PlainBar, SleepClock, Trigger, domain};

/// What the device does, and what was done to it.
struct Acts {
    refuses: bool,
    trouble: Option<QueueFault>,
    at: TxPosition,
    is_up: bool,
    never_stops: bool,
    cannot_be_reset: bool,
    told: Vec<&'static str>,
}

impl Default for Acts {
    fn default() -> Self {
        Self {
            refuses: false,
            trouble: None,
            at: TxPosition { head: 0, tail: 0 },
            is_up: false,
            never_stops: false,
            cannot_be_reset: false,
            told: Vec::new(),
        }
    }
}

#[derive(Clone, Default)]
struct Stage(Arc<Mutex<Acts>>, Liar);

impl Stage {
    fn act(&self, change: impl FnOnce(&mut Acts)) {
        change(&mut self.0.lock().unwrap());
    }
    fn told(&self) -> Vec<&'static str> {
        core::mem::take(&mut self.0.lock().unwrap().told)
    }
    /// The device is told something, and takes it or not.
    fn tell(&self, what: &'static str) -> Result<(), ErrorKind> {
        let mut acts = self.0.lock().unwrap();
        acts.told.push(what);
        if acts.refuses { Err(ErrorKind::TooManyAddresses { asked: 2, room: 1 }) } else { Ok(()) }
    }
}

/// A function that is told as the device is, and lies about configuration space as the test says.
type Function = Lying<FakeFunction>;

/// Command: the function answers accesses to its memory BARs.
const COMMAND_MEMORY: u8 = 1 << 1;

fn function(stage: &Stage) -> Function {
    let told = stage.clone();
    let function = FakeFunction::new("test", domain().0, PlainBar::new(0)).with_id(0x8086, 0x10fb).with_config(4, &[COMMAND_MEMORY]);
    stage.1.over(function.on_act(move |act| {
        let mut acts = told.0.lock().unwrap();
        acts.told.push(match act {
            FunctionAct::AllowDma => "DMA",
            FunctionAct::ForbidDma => "no DMA",
            FunctionAct::Reset => "function reset",
        });
        if act == FunctionAct::Reset && acts.cannot_be_reset { Err(PciErrorKind::Gone) } else { Ok(()) }
    }))
}

struct Kernel {
    stage: Stage,
    function: Function,
    counted: u64,
}

impl ControlKernel for Kernel {
    type Function = Function;
    fn with_function<T>(&mut self, work: impl FnOnce(&mut Function) -> T) -> T {
        work(&mut self.function)
    }
    fn set_mac(&mut self, _: MacAddr, _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("mac")
    }
    fn set_rx_mode(&mut self, _: RxMode) -> Result<(), ErrorKind> {
        self.stage.tell("mode")
    }
    fn set_unicast(&mut self, _: &[MacAddr], _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("unicast")
    }
    fn set_multicast(&mut self, _: &[MacAddr]) -> Result<(), ErrorKind> {
        self.stage.tell("multicast")
    }
    fn set_rss(&mut self, rss: &RssConfig) -> Result<(), ErrorKind> {
        assert_eq!(rss.table_entries().map(<[u16]>::len), Some(4), "the device's whole table");
        self.stage.tell("rss")
    }
    fn set_flow_control(&mut self, _: FlowControl) -> Result<(), ErrorKind> {
        self.stage.tell("pause")
    }
    fn set_moderation(&mut self, _: Moderation, _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("moderation")
    }
    fn add_rule(&mut self, _: &Rule, now: &Settings) -> Result<RulePlace, ErrorKind> {
        self.stage.tell("rule")?;
        Ok(RulePlace { table: "test's", number: now.rules().len() as u32 })
    }
    fn remove_rule(&mut self, rule: &RuleInForce, _: &Settings) -> Result<(), ErrorKind> {
        assert_eq!(rule.place.table, "test's");
        self.stage.tell("no rule")
    }
    fn set_vlans(&mut self, _: Option<&[u16]>, _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("vlans")
    }
    fn set_rx_offloads(&mut self, _: Caps, _: &Settings) -> Result<(), ErrorKind> {
        self.stage.tell("offloads")
    }
    fn look(&mut self) -> Option<QueueFault> {
        self.stage.0.lock().unwrap().trouble
    }
    fn tx_position(&mut self, _: u16, _: u64) -> Option<TxPosition> {
        Some(self.stage.0.lock().unwrap().at)
    }
    fn link(&mut self, _: &Settings) -> Result<Link, ErrorKind> {
        Ok(if self.stage.0.lock().unwrap().is_up { Link::up_at(Some(10)) } else { Link::down() })
    }
    fn read_counters(&mut self) {
        self.counted += 1;
    }
    fn stats(&self, _: &Totals, _: &Totals) -> Stats {
        Stats { rx_packets: self.counted, ..Stats::default() }
    }
    fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        assert!(rx.len() <= 2 && tx.len() <= 1);
        [XStat::new("counted", self.counted)].into()
    }
    fn stop(&mut self, left: &mut dyn FnMut(u16, Left)) -> Result<Silence, ErrorKind> {
        self.stage.tell("stop")?;
        if self.stage.0.lock().unwrap().never_stops {
            return Err(ErrorKind::TooManyAddresses { asked: 1, room: 0 });
        }
        left(0, Left { descriptors: 3, tail: 0 });
        // SAFETY: there is no device.
        Ok(unsafe { Silence::confirmed() })
    }
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GROUP: MacAddr = MacAddr([1, 0, 0x5e, 0, 0, 1]);

fn control(stage: &Stage) -> ControlCore<Kernel> {
    control_of(stage, Shared::new())
}

fn control_of(stage: &Stage, shared: Shared) -> ControlCore<Kernel> {
    let trigger = Trigger::default();
    // What waits for the link's vector finds that it fired seven times.
    (0..7).for_each(|_| trigger.fire());
    let function = function(stage);
    let kernel = Kernel { stage: stage.clone(), function, counted: 0 };
    let mut info = DeviceInfo::new("test", "test", "a test's", MAC);
    (info.rss, info.caps, info.used_caps) = (RssLimits::new(2, 4, RssTypes::IPV4 | RssTypes::TCP_IPV4), Caps::RSS | Caps::FLOW_CONTROL, Caps::RSS);
    info.max_moderation_us = 100;
    let settings = Settings::new(&Config::new().rx_queues(3).interrupts(true), &info);
    ControlCore::new(kernel, info, settings, shared, Some(Box::new(trigger.interrupt())))
}

/// Every setter, with what a device takes.
fn set_all(control: &mut ControlCore<Kernel>) -> [Result<(), Error>; 7] {
    [
        control.set_mac(OTHER),
        control.set_rx_mode(RxMode::PROMISCUOUS),
        control.set_unicast_filters(&[MAC]),
        control.set_multicast_filters(&[GROUP]),
        control.set_rss(&RssConfig::new().key([7; 40]).table(&[1, 0])),
        control.set_moderation(Moderation::Fixed { us: 100 }),
        control.set_flow_control(FlowControl::all()),
    ]
}

#[test]
fn what_the_device_took_is_remembered_and_nothing_else() {
    let stage = Stage::default();
    let mut control = control(&stage);
    let at_start = control.settings().clone();
    stage.act(|acts| acts.refuses = true);
    let steps = set_all(&mut control).map(|result| result.unwrap_err().step());
    use steps::{SETTING_MAC, SETTING_MODERATION, SETTING_MULTICAST, SETTING_RSS, SETTING_RX_MODE, SETTING_UNICAST};
    assert_eq!(steps[..5], [SETTING_MAC, SETTING_RX_MODE, SETTING_UNICAST, SETTING_MULTICAST, SETTING_RSS]);
    assert_eq!(steps[5..], [SETTING_MODERATION, steps::SETTING_FLOW_CONTROL]);
    assert_eq!((stage.told(), control.settings()), (["mac", "mode", "unicast", "multicast", "rss", "moderation", "pause"].into(), &at_start));
    stage.act(|acts| acts.refuses = false);
    set_all(&mut control).into_iter().for_each(Result::unwrap);
    let now = control.settings();
    assert_eq!((now.mac(), now.rx_mode(), now.unicast(), now.multicast()), (OTHER, RxMode::PROMISCUOUS, &[MAC][..], &[GROUP][..]));
    assert_eq!((now.rss().key_bytes(), now.rss().table_entries()), (&[7; 40], Some(&[1, 0, 1, 0][..])));
    assert_eq!((control.mac(), now.moderation(), now.flow_control()), (OTHER, Moderation::Fixed { us: 100 }, FlowControl::all()));
}

#[test]
fn an_interval_that_is_not_kept_is_refused_and_no_device_sees_it() {
    let stage = Stage::default();
    let mut control = control(&stage);
    let text = control.set_moderation(Moderation::Fixed { us: 101 }).unwrap_err().to_string();
    assert!(text.ends_with("interrupts 101 us apart asked for: take 0 to 100, or `Moderation::Adaptive`"), "{text}");
    control.info.caps = Caps::empty();
    let text = control.set_flow_control(FlowControl::OBEY).unwrap_err().to_string();
    assert!(text.contains("does not do flow control by pause frames: see that"), "{text}");
    control.info.max_moderation_us = 0;
    let text = control.set_moderation(Moderation::Adaptive).unwrap_err().to_string();
    assert!(text.contains("does not do interrupts at intervals as it was started"), "{text}");
    assert_eq!((stage.told(), control.settings().moderation()), ([""; 0].into(), Moderation::Adaptive));
}

#[test]
fn what_is_done_for_received_frames_is_what_was_done_at_the_start_or_less() {
    let stage = Stage::default();
    let mut control = control(&stage);
    control.info.used_caps = Caps::RX_CHECKSUM | Caps::TX_CHECKSUM;
    for wanted in [Caps::RX_COALESCING, Caps::TX_CHECKSUM, Caps::RX_CHECKSUM | Caps::RX_SCATTER] {
        let text = control.set_rx_offloads(wanted).unwrap_err().to_string();
        assert!(text.contains("setting what it does for received frames") && text.contains("RX_CHECKSUM and RX_COALESCING alone"), "{text}");
    }
    assert_eq!(stage.told(), [""; 0]);
    for wanted in [Caps::empty(), Caps::RX_CHECKSUM] {
        control.set_rx_offloads(wanted).unwrap();
        let now = control.settings();
        assert_eq!((now.offloads().contains(Offloads::RX_CHECKSUM), now.coalesces()), (!wanted.is_empty(), false));
    }
    stage.act(|acts| acts.refuses = true);
    control.set_rx_offloads(Caps::empty()).unwrap_err();
    assert!(control.settings().offloads().contains(Offloads::RX_CHECKSUM));
}

#[test]
fn a_spread_that_cannot_be_is_refused_and_no_device_sees_it() {
    let stage = Stage::default();
    let mut control = control(&stage);
    for (table, what) in [(&[0, 1, 1][..], "take 4 or a number that divides it"), (&[2], "RSS reaches 0 to 1 of the 3 queues that are open")] {
        let error = control.set_rss(&RssConfig::new().table(table)).unwrap_err();
        assert!(error.to_string().starts_with("test: setting how it spreads flows: ") && error.to_string().ends_with(what), "{error}");
    }
    assert_eq!(stage.told(), [""; 0]);
    // More types than it has are none of that.
    control.set_rss(&RssConfig::new().types(RssTypes::all())).unwrap();
    assert_eq!((control.settings().rss().hash_types(), stage.told()), (Some(RssTypes::IPV4 | RssTypes::TCP_IPV4), ["rss"].into()));
    // Nor has a device that was started with one queue, or has no such function, anything to spread.
    control.info.used_caps = Caps::empty();
    let text = control.set_rss(&RssConfig::new()).unwrap_err().to_string();
    assert!(text.contains("does not do spreading of flows (RSS) as it was started: start it with more than one receive queue"), "{text}");
}

#[test]
fn rules_that_the_device_took_are_remembered_by_numbers_that_never_come_again() {
    let stage = Stage::default();
    let mut control = control(&stage);
    let rule = |port| Rule::to_queue(1).udp().destination_port(port);
    for (rule, what) in
        [(Rule::to_queue(3).syn(), "names receive queue 3: 3 are open"), (Rule::drop(), "makes no sense"), (rule(1).priority(9), "priority")]
    {
        let text = control.add_rule(&rule).unwrap_err().to_string();
        assert!(text.starts_with("test: adding a rule: ") && text.contains(what), "{text}");
    }
    assert_eq!(stage.told(), [""; 0]);
    stage.act(|acts| acts.refuses = true);
    control.add_rule(&rule(1)).unwrap_err();
    control.set_vlan_filter(Some(&[7])).unwrap_err();
    assert_eq!((control.rules().len(), control.settings().vlans()), (0, None), "refused by the device");
    stage.act(|acts| acts.refuses = false);
    let ids = [1, 2].map(|port| control.add_rule(&rule(port)).unwrap());
    stage.act(|acts| acts.refuses = true);
    control.remove_rule(ids[0]).unwrap_err();
    stage.act(|acts| acts.refuses = false);
    assert_eq!(control.rules().iter().map(|entry| (entry.id, &entry.rule)).collect::<Vec<_>>(), [(ids[0], &rule(1)), (ids[1], &rule(2))]);
    control.remove_rule(ids[1]).unwrap();
    let text = control.remove_rule(ids[1]).unwrap_err().to_string();
    assert_eq!(text, "test: removing a rule: there is no rule 1: `rules` has those that there are");
    let third = control.add_rule(&rule(3)).unwrap();
    assert!(third > ids[1], "{third} is a new one");
    control.set_vlan_filter(Some(&[7])).unwrap();
    assert_eq!(control.settings().vlans(), Some(&[7][..]));
    control.set_vlan_filter(Some(&[4096])).unwrap_err();
    let told = ["rule", "vlans", "rule", "rule", "no rule", "no rule", "rule", "vlans"];
    assert_eq!(stage.told(), told, "by one call each, and none for what makes no sense");
}

#[test]
fn a_wrong_address_is_named_and_no_device_sees_it() {
    let stage = Stage::default();
    let mut control = control(&stage);
    let texts = [control.set_mac(GROUP), control.set_unicast_filters(&[OTHER, GROUP]), control.set_multicast_filters(&[GROUP, OTHER])];
    let texts = texts.map(|result| result.unwrap_err().to_string());
    assert!(texts[0].ends_with("01:00:5e:00:00:01 is no unicast address"), "{}", texts[0]);
    assert!(texts[1].ends_with("01:00:5e:00:00:01 is no unicast address"), "{}", texts[1]);
    assert!(texts[2].ends_with("02:00:00:00:00:02 is no multicast address"), "{}", texts[2]);
    let zero = MacAddr([0; 6]);
    assert!(matches!(control.set_mac(zero).unwrap_err().kind(), ErrorKind::Address { mac, wanted: "unicast" } if *mac == zero));
    assert_eq!((stage.told(), control.settings().mac()), (Vec::new(), MAC));
}

/// What the device counts by name comes first, then what each queue counts by itself; of a stopped device what was known last.
#[test]
fn xstats_are_the_devices_and_every_queues() {
    let (stage, mut shared) = (Stage::default(), Shared::new());
    let _rx = [shared.rx_seat(), shared.rx_seat()];
    let _tx = shared.tx_seat();
    let mut control = control_of(&stage, shared);
    let text = |control: &mut ControlCore<Kernel>| control.xstats().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let queue = |n: u16| std::format!("rx_q{n}_delivered=0 rx_q{n}_in_place=0 rx_q{n}_errors=0 rx_q{n}_stalls=0 rx_q{n}_doorbells=0 rx_q{n}_lost=0");
    let queues = std::format!("{} {} tx_q0_taken=0 tx_q0_bounced=0 tx_q0_doorbells=0", queue(0), queue(1));
    assert_eq!(text(&mut control), std::format!("counted=1 {queues} tx_q0_lost=0"));
    assert_eq!(text(&mut control), std::format!("counted=2 {queues} tx_q0_lost=0"), "each look reads");
    control.stop().unwrap();
    for _ in 0..2 {
        assert_eq!(text(&mut control), std::format!("counted=4 {queues} tx_q0_lost=3"), "read before and behind its stop, and no more");
    }
}

#[test]
fn a_stopped_device_is_told_nothing() {
    let (stage, mut shared) = (Stage::default(), Shared::new());
    let _queue = shared.tx_seat();
    let mut control = control_of(&stage, shared);
    stage.act(|acts| acts.is_up = true);
    assert!(control.link().up && control.check().is_ok());
    control.stop().unwrap();
    assert_eq!((stage.told(), control.shared().is_stopped()), (["stop", "no DMA"].into(), true));
    for error in set_all(&mut control).map(Result::unwrap_err).into_iter().chain([control.check().unwrap_err()]) {
        assert!(matches!(error.kind(), ErrorKind::NotRunning(DeviceState::Stopped)), "{error}");
    }
    assert_eq!(control.link(), Link::down());
    let stats = control.stats();
    assert_eq!((stats.carrier_changes, stats.rx_packets, stats.tx_dropped), (1, 2, 3), "read before and behind its stop, and no more");
    control.stop().unwrap();
    drop(control);
    assert_eq!(stage.told(), [""; 0], "once is enough");
}

#[test]
fn a_device_that_asks_for_a_reset_has_failed_from_then_on() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| (acts.is_up, acts.trouble) = (true, Some(QueueFault::NeedsReset)));
    let is_told = |error: &Error| matches!(error.kind(), ErrorKind::NotRunning(DeviceState::NeedsReset));
    assert!(is_told(&control.check().unwrap_err()));
    // What was told once stays.
    stage.act(|acts| acts.trouble = None);
    assert!(set_all(&mut control).iter().all(|result| is_told(result.as_ref().unwrap_err())));
    assert_eq!((control.link(), control.state(), control.watch()), (Link::down(), DeviceState::NeedsReset, DeviceState::NeedsReset));
    control.stop().unwrap();
    assert!(control.shared().is_stopped());
}

#[test]
fn changes_of_the_link_are_counted() {
    let stage = Stage::default();
    let mut control = control(&stage);
    for is_up in [false, true, true, false, true] {
        stage.act(|acts| acts.is_up = is_up);
        assert_eq!(control.link().up, is_up);
    }
    assert_eq!(control.stats().carrier_changes, 3);
    assert_eq!(control.link_interrupt().unwrap().wait(None), Ok(7));
}

#[test]
fn a_device_that_does_not_stop_is_reset_as_a_whole() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| acts.never_stops = true);
    control.stop().unwrap();
    assert_eq!((stage.told(), control.shared().is_stopped()), (["stop", "no DMA", "function reset"].into(), true));
}

#[test]
fn without_any_answer_the_device_is_taken_for_alive() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| (acts.never_stops, acts.cannot_be_reset) = (true, true));
    let error = control.stop().unwrap_err();
    assert_eq!((error.function(), error.step(), control.shared().is_stopped()), ("test", steps::STOPPING, false));
    assert!(matches!(error.kind(), ErrorKind::TooManyAddresses { .. }), "the device's failure, not that of the last resort: {error}");
    // A later try may do better, and the end of the handle is one.
    stage.act(|acts| acts.never_stops = false);
    assert_eq!(stage.told(), ["stop", "no DMA", "function reset"]);
    drop(control);
    assert_eq!(stage.told(), ["stop", "no DMA"]);
}

#[test]
fn a_device_that_is_gone_is_not_asked_any_more_and_keeps_nothing() {
    gone_without_a_word(0, 0xffff);
}

/// Linux' VFIO answers a function's IDs itself, and its class not. To ask it for a reset of such a function takes a minute, since it waits for the function.
#[test]
fn a_device_whose_ids_the_host_knows_by_heart_is_gone_when_its_class_reads_ones() {
    gone_without_a_word(8, 0xffff_ffff);
}

/// A device vanishes, and its configuration space reads so.
fn gone_without_a_word(offset: u16, value: u32) {
    let (stage, mut shared) = (Stage::default(), Shared::new());
    let queue = shared.rx_seat();
    let mut control = control_of(&stage, shared);
    stage.act(|acts| acts.is_up = true);
    assert_eq!((control.link().up, control.stats().rx_packets), (true, 1));
    stage.act(|acts| acts.trouble = Some(QueueFault::Gone));
    stage.1.lies().config.insert(offset, Some(value));
    assert_eq!((control.stats().rx_packets, control.state(), control.link()), (1, DeviceState::Gone, Link::down()), "the last that can be believed");
    assert_eq!(queue.fault(), Some(QueueFault::Gone));
    assert!(set_all(&mut control).iter().all(|result| result.as_ref().unwrap_err().kind().is_gone()));
    stage.act(|acts| acts.never_stops = true);
    control.stop().unwrap();
    assert_eq!((stage.told(), control.shared().is_stopped(), control.state()), (Vec::new(), true, DeviceState::Gone));
    assert_eq!((control.stats().rx_packets, queue.fault()), (1, Some(QueueFault::Gone)));
}

#[test]
fn a_device_whose_host_does_not_know_that_it_is_gone_keeps_what_it_has() {
    let stage = Stage::default();
    let mut control = control(&stage);
    stage.act(|acts| (acts.trouble, acts.cannot_be_reset) = (Some(QueueFault::Gone), true));
    stage.1.lies().config.insert(0, None);
    assert!(control.stop().unwrap_err().kind().is_gone());
    assert_eq!((stage.told(), control.shared().is_stopped()), (["no DMA", "function reset"].into(), false));
}

#[test]
fn why_all_registers_read_ones_is_told_by_configuration_space() {
    for (vendor, command, why) in [
        (Some(0x8086), 1 << 1, QueueFault::Gone),
        (Some(0x8086), 0, QueueFault::Reset),
        (Some(0xffff), 0xffff, QueueFault::Gone),
        (None, 0, QueueFault::Gone),
    ] {
        let stage = Stage::default();
        stage.1.lies().config.extend([(0, vendor), (4, Some(command))]);
        assert_eq!(why_all_ones(&function(&stage)), why, "{vendor:x?} {command:#x}");
    }
}

#[test]
fn a_queue_that_stands_still_with_work_hangs_and_the_others_work_on() {
    let (stage, clock) = (Stage::default(), Arc::new(SleepClock::new()));
    let mut shared = Shared::watched(clock.clone(), 100);
    let (tx, rx) = (shared.tx_seat(), shared.rx_seat());
    let mut control = control_of(&stage, shared);
    let mut after = |us: u64, head: u32, tail: u32, is_up: bool| {
        clock.sleep_us(us);
        stage.act(|acts| (acts.at, acts.is_up) = (TxPosition { head, tail }, is_up));
        control.watch()
    };
    // Nothing to do, work that moves, and work without a link.
    for (head, tail, is_up) in
        [(5, 5, true), (5, 9, true), (6, 9, true), (7, 12, true), (12, 12, true), (12, 14, false), (12, 14, false), (12, 14, true)]
    {
        assert_eq!(after(90, head, tail, is_up), DeviceState::Running, "{head} {tail}");
    }
    assert_eq!(after(99, 12, 14, true), DeviceState::Running);
    let hung = DeviceState::Hung { queue: 0, since_us: 720 };
    assert_eq!((after(1, 12, 15, true), tx.fault(), rx.fault()), (hung, Some(QueueFault::Hung { queue: 0, since_us: 720 }), None));
    // A state once told does not flicker, and setters reach the device.
    assert_eq!(after(90, 15, 15, true), hung);
    set_all(&mut control).into_iter().for_each(Result::unwrap);
    assert!(control.link().up && matches!(control.check().unwrap_err().kind(), ErrorKind::NotRunning(state) if *state == hung));
    control.stop().unwrap();
    assert_eq!((control.state(), rx.fault()), (hung, Some(QueueFault::Stopped)));
}
