//! Flow director: thousands of rules under one mask, to queues, dropped or passed; or by two hashes. Off, it leaves the packet buffer alone.

use std::net::{IpAddr, Ipv4Addr};

use crate::common::{Card, I82599, X540, X550};
use crate::flows::{Flow, TCP, UDP, config, ip, landed, other, steers, v4, v6};
use driver_core::device::{FlowControl, FlowRoom, FlowTable, NetDevice, Rule, RuleAction};
use driver_core::host::RegSpace;
use proptest::prelude::*;

/// RXPBSIZE 0, FDIRCTRL, FDIRFREE, FCRTH 0.
const RXPBSIZE: u32 = 0x3c00;
const FDIRCTRL: u32 = 0xee00;
const FDIRFREE: u32 = 0xee38;
const FCRTH: u32 = 0x3260;

const EXACT: FlowTable = FlowTable::Exact(FlowRoom::Small);

fn v4_of(a: u8, b: u8) -> IpAddr {
    Ipv4Addr::new(10, a, 0, b).into()
}

/// Flows that differ from the first in one field each.
fn world() -> Vec<Flow> {
    let base = ip(v4_of(1, 1), v4_of(2, 2), UDP, (0x1234, 0x50));
    let mut flows = vec![
        base,
        ip(v4_of(1, 9), v4_of(2, 2), UDP, (0x1234, 0x50)),
        ip(v4_of(3, 1), v4_of(2, 2), UDP, (0x1234, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 9), UDP, (0x1234, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 2), TCP, (0x1234, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 2), 132, (0x1234, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 2), 1, (0x1234, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 2), UDP, (0x1235, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 2), UDP, (0x1334, 0x50)),
        ip(v4_of(1, 1), v4_of(2, 2), UDP, (0x1234, 0x51)),
    ];
    flows.extend([base.fragment(), base.tagged(7, 3), base.tagged(8, 3), base.tagged(7, 4), ip(v6(1), v6(2), UDP, (0x1234, 0x50)), other(0x88b5)]);
    flows
}

#[test]
fn rules_of_every_mask_drop_pass_and_go_to_queues() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config().flow_table(EXACT));
        for action in [RuleAction::Queue(3), RuleAction::Drop, RuleAction::Pass] {
            let rule = Rule::new(action);
            let subnet = rule.clone().source_within(v4_of(1, 0), [255, 255, 0, 0]);
            for rule in [
                subnet.clone(),
                subnet.clone().udp(),
                rule.clone().destination_within(v4_of(0, 2), [255, 0, 0, 255]).tcp(),
                rule.clone().ipv4().udp().source_port_within(0x1200, 0xff00).destination_port_within(1, 1),
                rule.clone().ipv4().udp().source_port_within(0x0034, 0x00ff),
                rule.clone().ipv4().vlan(7),
                rule.clone().ipv4().vlan_priority(3).udp(),
                subnet.vlan(7).vlan_priority(3).destination(v4_of(2, 2)).udp().source_port(0x1234).destination_port(0x50),
            ] {
                let id = started.control.add_rule(&rule).unwrap_or_else(|error| panic!("{rule:?}: {error}"));
                assert_eq!(started.control.rules()[0].place.table, "flow director");
                steers(&card, &mut started, &world());
                started.control.remove_rule(id).unwrap();
            }
        }
        steers(&card, &mut started, &world());
        card.assert_no_violations();
    }
}

#[test]
fn a_frame_in_a_rule_says_so() {
    let card = Card::new();
    let mut started = card.start(&config().flow_table(EXACT));
    started.control.add_rule(&Rule::to_queue(2).source_within(v4_of(1, 0), [255, 255, 0, 0])).unwrap();
    let mut batch = driver_core::buf::Batch::new(8);
    for (flow, queue, is_in) in [(world()[0], 2, true), (world()[2], 0, false)] {
        card.send(&flow.bytes());
        driver_core::queue::RxQueue::poll(&mut started.rx[queue], &mut batch, 8);
        let frame = &batch.frames()[0];
        assert_eq!((frame.flow_match().is_some(), frame.rss().is_some()), (is_in, true), "the hash stays");
        batch.clear();
    }
    let xstats = started.control.xstats();
    let value = |name: &str| xstats.iter().find(|stat| stat.name == name).unwrap().value;
    let counted = ["flow_director_matched_filters", "flow_director_missed_filters", "flow_director_added_filters"].map(value);
    assert_eq!(counted, [1, 1, 1]);
    card.assert_no_violations();
}

/// What a rule drops is no loss: it has a name of its own, as long as there is a set of counters for it.
#[test]
fn what_rules_drop_is_counted_apart_from_what_is_lost() {
    for (queues, apart) in [(1, true), (4, true), (15, true), (16, false), (20, false)] {
        let card = Card::new();
        let mut started = card.start(&config().rx_queues(queues).flow_table(EXACT).rules(&[Rule::drop().ipv4().udp()]));
        for flow in world().iter().cycle().take(40) {
            card.send(&flow.bytes());
        }
        let udp = world().iter().cycle().take(40).filter(|flow| flow.is_in(&Rule::drop().ipv4().udp())).count() as u64;
        let xstats = started.control.xstats();
        let sum =
            |after: &str| xstats.iter().filter(|stat| stat.name.starts_with("rx_") && stat.name.ends_with(after)).map(|stat| stat.value).sum::<u64>();
        assert_eq!((sum("_dropped"), started.control.stats().rx_missed_errors), (udp, if apart { 0 } else { udp }), "{queues} queues");
        assert_eq!(xstats.iter().find(|stat| stat.name == "rx_rule_dropped").map(|stat| stat.value), apart.then_some(udp));
        started.rx.iter_mut().for_each(|rx| drop(crate::common::received(rx)));
        card.assert_no_violations();
    }
}

#[test]
fn one_mask_for_all_and_the_first_rule_sets_it() {
    let card = Card::new();
    let mut started = card.start(&config().flow_table(EXACT));
    let rule = |queue: u16, third: u8| Rule::to_queue(queue).source_within(v4_of(third, 0), [255, 255, 0, 0]).udp();
    let first = started.control.add_rule(&rule(1, 1)).unwrap();
    let second = started.control.add_rule(&rule(2, 3)).unwrap();
    steers(&card, &mut started, &world());
    let wider = Rule::to_queue(1).source_within([10, 0, 0, 0], [255, 0, 0, 0]).udp();
    let error = started.control.add_rule(&wider).unwrap_err().to_string();
    let wanted = "the flow director has one mask for all, which rule 0 set (source 255.255.0.0, protocol), and not this one (source 255.0.0.0, protocol): \
        write the rule with that mask, or remove the others first (2044 of 2046 free)";
    assert!(error.ends_with(wanted), "{error}");
    let same = started.control.add_rule(&rule(3, 1)).unwrap_err().to_string();
    assert!(same.contains("frames in common with rule 0"), "{same}");
    started.control.remove_rule(first).unwrap();
    started.control.remove_rule(second).unwrap();
    started.control.add_rule(&wider).unwrap();
    steers(&card, &mut started, &world());
    card.assert_no_violations();
}

#[test]
fn its_memory_is_taken_where_it_is_asked_for_and_only_there() {
    for (device, whole) in [(I82599, 512), (X540, 384), (X550, 384)] {
        for (table, kb, free) in [
            (FlowTable::Off, 0, 0),
            (EXACT, 64, 2046),
            (FlowTable::Exact(FlowRoom::Medium), 128, 4094),
            (FlowTable::Exact(FlowRoom::Large), 256, 8190),
            (FlowTable::Hashed(FlowRoom::Small), 64, 8191),
            (FlowTable::Hashed(FlowRoom::Large), 256, 32767),
        ] {
            let card = Card::of(device);
            let mut started = card.start(&config().flow_table(table));
            for flow_control in [FlowControl::empty(), FlowControl::SEND] {
                started.control.set_flow_control(flow_control).unwrap();
            }
            let bar = card.registers();
            assert_eq!(bar.read32(FCRTH) & 0x7_ffe0, (whole - kb) * 1024 - 0x6000, "the mark of pause frames is below what is left");
            assert_eq!((bar.read32(RXPBSIZE) >> 10, bar.read32(FDIRFREE)), (whole - kb, free), "{device:04x} {table:?}");
            assert_eq!(bar.read32(FDIRCTRL) & 3 != 0, table != FlowTable::Off);
            drop(started);
            card.assert_no_violations();
        }
    }
}

#[test]
fn two_thousand_rules() {
    let card = Card::new();
    let mut started = card.start(&config().flow_table(EXACT));
    let rule = |n: u16| Rule::to_queue(n % 4).ipv4().udp().source_port(7).destination_port_within(n, 0xfffe);
    for n in 0..2046 {
        started.control.add_rule(&rule(2 * n)).unwrap();
    }
    let error = started.control.add_rule(&rule(9000)).unwrap_err().to_string();
    assert!(error.contains("the flow director is full (0 of 2046 free)"), "{error}");
    for n in (0..4200).step_by(17) {
        let wanted = if n < 4092 { n / 2 * 2 % 4 } else { 0 };
        assert_eq!(landed(&card, &mut started, &ip(v4(1), v4(2), UDP, (7, n))), Some(wanted), "port {n}");
    }
    card.assert_no_violations();
}

#[test]
fn flows_by_their_hashes() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config().flow_table(FlowTable::Hashed(FlowRoom::Small)));
        let whole = |queue, source, destination| Rule::to_queue(queue).source(source).destination(destination).source_port(7);
        // The five-tuple filters come first, until they are full.
        let fill = |n| Rule::to_queue(0).ipv4().sctp().source_port(n);
        for n in 0..128 {
            started.control.add_rule(&fill(n)).unwrap();
        }
        let added: Vec<_> = (0..200u16).map(|n| started.control.add_rule(&whole(n % 4, v4(1), v4(2)).udp().destination_port(n)).unwrap()).collect();
        started.control.add_rule(&whole(3, v6(1), v6(2)).tcp().destination_port(9)).unwrap();
        started.control.remove_rule(added[7]).unwrap();
        let mut world: Vec<_> = (0..220).map(|n| ip(v4(1), v4(2), UDP, (7, n))).collect();
        world.extend([ip(v6(1), v6(2), TCP, (7, 9)), ip(v6(1), v6(2), TCP, (7, 10)), ip(v6(1), v6(3), TCP, (7, 9)), world[3].tagged(5, 5)]);
        steers(&card, &mut started, &world);
        for (rule, why) in [
            (whole(1, v4(1), v4(2)).udp(), "wants the whole destination port"),
            (Rule::drop().source(v4(1)).destination(v4(2)).udp().source_port(1).destination_port(2), "does not drop"),
            (whole(1, v6(1), v6(2)).udp().destination_port(2).vlan(7), "one mask for all, which rule 128 set"),
        ] {
            let error = started.control.add_rule(&rule).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        card.assert_no_violations();
    }
}

/// Five-tuple filters and flow director, with priorities: what they cannot put in order together they refuse.
fn rules() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![(0..4u16).prop_map(RuleAction::Queue), Just(RuleAction::Drop), Just(RuleAction::Pass)];
    let field = |n: u8| proptest::option::of(0..n);
    (action, 1..=7u8, any::<bool>(), field(2), field(2), 0..2u8).prop_map(|(action, priority, is_subnet, source, port, protocol)| {
        let rule = Rule::new(action).ipv4().priority(priority).protocol([UDP, TCP][usize::from(protocol)]);
        let rule = match (is_subnet, source) {
            (true, Some(which)) => rule.source_within(v4_of(1 + 2 * which, 0), [255, 255, 0, 0]),
            (false, Some(which)) => rule.source(v4_of(1, 1 + 8 * which)),
            (_, None) => rule,
        };
        port.map_or(rule.clone(), |which| rule.destination_port(0x50 + u16::from(which)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn random_rules_steer_as_software_would(rules in proptest::collection::vec(rules(), 1..16), gone in any::<u16>()) {
        let card = Card::new();
        let mut started = card.start(&config().flow_table(EXACT));
        let ids: Vec<_> = rules.iter().filter_map(|rule| started.control.add_rule(rule).ok()).collect();
        steers(&card, &mut started, &world());
        for (_, id) in ids.iter().enumerate().filter(|(at, _)| gone >> at & 1 != 0) {
            started.control.remove_rule(*id).unwrap();
        }
        steers(&card, &mut started, &world());
        card.assert_no_violations();
    }
}
