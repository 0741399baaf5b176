//! Rules for whole flows of IPv4 go to the five-tuple filters: any choice of fields, by priority; random ones steer as a matcher in software says.

use crate::common::{Card, I82599, X540, X550};
use crate::flows::{ACK, Flow, SYN, TCP, UDP, config, ip, landed, other, steers, v4, v6};
use driver_core::device::{NetDevice, Rule};
use proptest::prelude::*;

/// Neighbours in each field.
fn world() -> Vec<Flow> {
    let addresses = [(1, 2), (3, 2), (1, 4)].map(|(source, destination)| (v4(source), v4(destination)));
    let mut flows = Vec::new();
    for (source, destination) in addresses {
        for protocol in [TCP, UDP, 132, 1] {
            flows.extend([(7, 80), (7, 81), (8, 80)].map(|ports| ip(source, destination, protocol, ports)));
        }
    }
    flows.extend([ip(v4(1), v4(2), TCP, (7, 80)).fragment(), ip(v6(1), v6(2), TCP, (7, 80)), other(0x88b5)]);
    flows.extend([ip(v4(1), v4(2), TCP, (7, 80)).tagged(9, 3), ip(v4(1), v4(2), TCP, (7, 80)).flags(SYN | ACK)]);
    flows
}

#[test]
fn each_field_alone_and_all_together() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config());
        let any = Rule::to_queue(3).ipv4();
        let all = any.clone().source(v4(1)).destination(v4(2)).tcp().source_port(7).destination_port(80);
        for rule in [
            any.clone().source(v4(1)),
            any.clone().destination(v4(2)),
            any.clone().udp(),
            any.clone().sctp(),
            any.clone().source_port(7),
            any.clone().tcp().destination_port(80),
            all,
        ] {
            let id = started.control.add_rule(&rule).unwrap();
            assert_eq!(started.control.rules().last().map(|entry| (entry.id, entry.place.table)), Some((id, "five-tuple filters")));
            steers(&card, &mut started, &world());
            started.control.remove_rule(id).unwrap();
            steers(&card, &mut started, &world());
        }
        assert!(started.control.rules().is_empty());
        card.assert_no_violations();
    }
}

#[test]
fn the_higher_priority_decides() {
    let card = Card::new();
    let mut started = card.start(&config());
    let to = |queue| Rule::to_queue(queue).ipv4();
    for rule in [to(1).tcp().priority(2), to(2).source(v4(1)).priority(6), to(3).destination_port(80).priority(4)] {
        started.control.add_rule(&rule).unwrap();
    }
    steers(&card, &mut started, &world());
    let error = started.control.add_rule(&to(1).source_port(7).priority(4)).unwrap_err().to_string();
    assert!(error.ends_with("the rule has frames in common with rule 2, and no place beside it: both have one priority: give them two"), "{error}");
    // Without a priority it goes where no other that it meets stands.
    started.control.add_rule(&to(1).source_port(9)).unwrap();
    assert_eq!(landed(&card, &mut started, &ip(v4(7), v4(8), UDP, (9, 10))), Some(1));
    card.assert_no_violations();
}

#[test]
fn all_128_are_used_and_the_next_is_told_so() {
    let card = Card::new();
    let mut started = card.start(&config());
    let rule = |port| Rule::to_queue(port % 4).ipv4().udp().destination_port(port);
    let ids: Vec<_> = (0..128).map(|port| started.control.add_rule(&rule(1000 + port)).unwrap()).collect();
    for port in 990..1140 {
        let wanted = if (1000..1128).contains(&port) { port % 4 } else { 0 };
        assert_eq!(landed(&card, &mut started, &ip(v4(1), v4(2), UDP, (5, port))), Some(wanted), "port {port}");
    }
    let error = started.control.add_rule(&rule(7)).unwrap_err().to_string();
    assert!(error.contains("the five-tuple filters are all in use (0 of 128 free); the flow director is off"), "{error}");
    started.control.remove_rule(ids[77]).unwrap();
    started.control.add_rule(&rule(7)).unwrap();
    let seen = [7, 1077, 1078].map(|port| landed(&card, &mut started, &ip(v4(1), v4(2), UDP, (5, port))));
    assert_eq!(seen, [Some(3), Some(0), Some(2)]);
    card.assert_no_violations();
}

/// Queues that RSS does not reach are open for rules.
#[test]
fn queues_beyond_those_of_rss() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config().rx_queues(64));
        for (queue, port) in [(15, 1), (16, 2), (40, 3), (63, 4)] {
            started.control.add_rule(&Rule::to_queue(queue).ipv4().udp().destination_port(port)).unwrap();
            assert_eq!(landed(&card, &mut started, &ip(v4(1), v4(2), UDP, (9, port))), Some(queue));
        }
        started.control.add_rule(&Rule::to_queue(63).ethertype(0x88cc)).unwrap();
        started.control.add_rule(&Rule::to_queue(62).syn()).unwrap();
        steers(&card, &mut started, &[other(0x88cc), ip(v4(1), v4(2), TCP, (1, 1)).flags(SYN), ip(v4(1), v4(2), UDP, (9, 5))]);
        card.assert_no_violations();
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    let field = |n: u8| proptest::option::of(0..n);
    (0..4u16, 1..=7u8, field(2), field(2), field(3), field(2), field(2)).prop_map(|(queue, priority, source, destination, protocol, from, to)| {
        let mut rule = Rule::to_queue(queue).ipv4().priority(priority);
        if let Some(which) = source {
            rule = rule.source(v4([1, 3][usize::from(which)]));
        }
        if let Some(which) = destination {
            rule = rule.destination(v4([2, 4][usize::from(which)]));
        }
        if let Some(which) = protocol {
            rule = rule.protocol([TCP, UDP, 132][usize::from(which)]);
        }
        if let Some(which) = from {
            rule = rule.source_port(7 + u16::from(which));
        }
        if let Some(which) = to {
            rule = rule.destination_port(80 + u16::from(which));
        }
        rule
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn random_rules_steer_as_software_would(rules in proptest::collection::vec(rules(), 1..16), gone in any::<u16>()) {
        let card = Card::new();
        let mut started = card.start(&config());
        let ids: Vec<_> = rules.iter().filter_map(|rule| started.control.add_rule(rule).ok()).collect();
        steers(&card, &mut started, &world());
        for (_, id) in ids.iter().enumerate().filter(|(at, _)| gone >> at & 1 != 0) {
            started.control.remove_rule(*id).unwrap();
        }
        steers(&card, &mut started, &world());
        card.assert_no_violations();
    }
}
