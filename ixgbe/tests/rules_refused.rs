//! What no table does is refused at once, field by field in a sentence, and changes nothing.

use crate::common::{Card, MAC, refused};
use crate::flows::{TCP, config, ip, steers, v4, v6};
use driver_core::device::{Config, FlowRoom, FlowTable, NetDevice, Rule};

#[test]
fn each_table_names_the_field() {
    let card = Card::new();
    let mut started = card.start(&config());
    let rule = Rule::to_queue(1);
    for (rule, parts) in [
        (
            rule.clone().destination_mac(MAC),
            vec!["the EtherType filters compare the EtherType alone", "the SYN filter compares TCP's SYN, which the rule does not name"],
        ),
        (
            rule.clone().ipv4().udp().destination_mac(MAC),
            vec!["the five-tuple filters compare addresses, protocol and ports, and not the destination's Ethernet address (128 of 128 free)"],
        ),
        (
            rule.clone().ipv4().udp().vlan(7),
            vec!["and not the VLAN id", "the flow director is off: start the card with `Config::flow_table` (0 of 0 free)"],
        ),
        (
            rule.clone().source_within(v4(0), [255, 255, 255, 0]),
            vec!["the five-tuple filters compare whole addresses and ports, and not parts of the source address"],
        ),
        (rule.clone().ipv4().destination_port_within(0, 1), vec!["not parts of the destination port"]),
        (rule.clone().ipv4().protocol(1), vec!["the five-tuple filters compare the protocols TCP, UDP and SCTP, and no other"]),
        (rule.clone().ipv4(), vec!["compare at least one of addresses, protocol and ports"]),
        (rule.clone().source(v6(1)), vec!["the five-tuple filters look at IPv4 alone"]),
        (rule.clone().udp().destination_port(53), vec!["the five-tuple filters look at IPv4 alone: name it, or an address of it"]),
        (rule.clone().syn().destination_port(80), vec!["the SYN filter compares TCP's SYN alone, and not the destination port (1 of 1 free)"]),
        (rule.clone().ipv4().syn(), vec!["takes segments of IPv4 and IPv6 alike", "and not TCP's SYN"]),
        (rule.clone().ethertype(0x88cc).vlan(3), vec!["compare the EtherType alone, and not the VLAN id (8 of 8 free)"]),
        (rule.ethertype(0x0100), vec!["0x0100 is a length"]),
        (Rule::drop().ethertype(0x88cc), vec!["send to a queue or let pass, and do not drop"]),
        (Rule::drop().ipv4().tcp(), vec!["send to a queue, and neither drop nor let pass"]),
        (Rule::drop().syn(), vec!["sends to a queue, and neither drops nor lets pass"]),
    ] {
        let error = started.control.add_rule(&rule).unwrap_err().to_string();
        assert!(error.starts_with("sim:ixgbe: adding a rule: none of the device's tables takes the rule: "), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error}\nlacks: {part}");
        }
    }
    assert!(started.control.rules().is_empty());
    steers(&card, &mut started, &[ip(v4(1), v4(2), TCP, (1, 2))]);
    card.assert_no_violations();
}

#[test]
fn flow_director_names_the_field() {
    let card = Card::new();
    let mut started = card.start(&config().flow_table(FlowTable::Exact(FlowRoom::Small)));
    for (rule, part) in [
        (Rule::drop().ipv4().destination_port(7), "the flow director compares the ports of TCP and UDP, each named"),
        (Rule::drop().ipv4().vlan(0), "takes VLAN 0 for no tag"),
        (Rule::drop().ipv4().protocol(1), "compares the protocols TCP, UDP and SCTP, and no other"),
        (Rule::drop().ipv4().destination_mac(MAC), "and not the destination's Ethernet address"),
        (Rule::drop().ipv4().syn(), "and not TCP's SYN"),
        (Rule::drop().source(v6(1)), "looks at IPv4 alone here"),
    ] {
        let error = started.control.add_rule(&rule).unwrap_err().to_string();
        assert!(error.contains(part), "{error}\nlacks: {part}");
    }
    card.assert_no_violations();
}

#[test]
fn queues_that_are_not_open_and_rules_that_are_not_there() {
    let card = Card::new();
    let mut started = card.start(&config());
    let error = started.control.add_rule(&Rule::to_queue(4).syn()).unwrap_err().to_string();
    assert_eq!(error, "sim:ixgbe: adding a rule: the rule names receive queue 4: 4 are open, from 0 on");
    let id = started.control.add_rule(&Rule::to_queue(3).syn()).unwrap();
    started.control.remove_rule(id).unwrap();
    let error = started.control.remove_rule(id).unwrap_err().to_string();
    assert_eq!(error, "sim:ixgbe: removing a rule: there is no rule 0: `rules` has those that there are");
    started.control.stop().unwrap();
    let error = started.control.add_rule(&Rule::to_queue(3).syn()).unwrap_err().to_string();
    assert!(error.contains("it was stopped"), "{error}");
    card.assert_no_violations();
}

#[test]
fn a_card_is_not_started_with_a_rule_that_it_cannot_have() {
    let card = Card::new();
    let rules = [Rule::to_queue(0).syn(), Rule::to_queue(0).source(v6(1))];
    let (error, device) = refused(card.open().unwrap().start(&Config::new().rules(&rules)));
    assert!(error.to_string().starts_with("sim:ixgbe: starting: none of the device's tables takes the rule: "), "{error}");
    let started = device.start(&Config::new().rules(&rules[..1])).unwrap();
    assert_eq!(started.control.rules().len(), 1);
    drop(started);
    card.assert_no_violations();
}
