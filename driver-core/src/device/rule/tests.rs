use alloc::string::ToString;
use alloc::vec;

use super::*;

#[test]
fn a_rule_that_no_frame_is_in_is_refused_in_a_sentence() {
    let rule = Rule::to_queue(0);
    let v6 = core::net::Ipv6Addr::LOCALHOST;
    for (rule, why) in [
        (rule.clone(), "it has no field"),
        (rule.clone().priority(3), "it has no field"),
        (rule.clone().source([10, 0, 0, 1]).destination(v6), "not of its EtherType"),
        (rule.clone().ipv6().source([10, 0, 0, 1]), "not of its EtherType"),
        (rule.clone().source_within([10, 0, 0, 1], v6), "two versions of IP"),
        (rule.clone().ethertype(0x88cc).udp(), "an EtherType that is not IP"),
        (rule.clone().udp().syn(), "SYN of a protocol that is not TCP"),
        (rule.clone().protocol(1).destination_port(7), "ports of a protocol that is not TCP, UDP or SCTP"),
        (rule.clone().vlan(4096), "VLAN id"),
        (rule.clone().vlan_priority(8), "VLAN priority"),
        (rule.clone().tcp().priority(0), "not between 1 and 7"),
        (rule.clone().tcp().priority(8), "not between 1 and 7"),
    ] {
        let text = rule.check().unwrap_err().to_string();
        assert!(text.starts_with("the rule makes no sense: ") && text.contains(why), "{rule:?}: {text}");
    }
    for rule in [rule.clone().syn(), rule.clone().tcp().syn().priority(7), rule.clone().source_port(1), rule.clone().source(v6).udp(), rule.vlan(0)] {
        assert_eq!(rule.check(), Ok(()), "{rule:?}");
    }
}

#[test]
fn rules_overlap_unless_a_field_keeps_them_apart() {
    let rule = Rule::to_queue(0);
    let subnet = rule.clone().source_within([10, 1, 0, 0], [255, 255, 0, 0]);
    for (a, b, wanted) in [
        (rule.clone().tcp(), rule.clone().udp(), false),
        (rule.clone().tcp(), rule.clone().destination_port(7), true),
        (rule.clone().syn(), rule.clone().udp(), false),
        (rule.clone().syn(), rule.clone().tcp().destination_port(80), true),
        (rule.clone().ethertype(0x88cc), rule.clone().tcp(), false),
        (rule.clone().ethertype(0x88cc), rule.clone().vlan(7), true),
        (rule.clone().ipv4(), rule.clone().ipv6(), false),
        (rule.clone().ipv4(), rule.clone().udp(), true),
        (subnet.clone(), rule.clone().source([10, 1, 2, 3]), true),
        (subnet.clone(), rule.clone().source([10, 2, 2, 3]), false),
        (subnet.clone(), rule.clone().source_within([0, 0, 7, 7], [0, 0, 255, 255]), true),
        (subnet.clone(), rule.clone().source_within([10, 2, 0, 0], [255, 2, 0, 0]), false),
        (rule.clone().source_port_within(8, 8), rule.clone().source_port(24), true),
        (rule.clone().source_port_within(8, 8), rule.clone().source_port(16), false),
        (rule.clone().vlan(7), rule.clone().vlan_priority(3), true),
        (rule.clone().vlan(7), rule.vlan(8), false),
    ] {
        assert_eq!((a.overlaps(&b), b.overlaps(&a), a.overlaps(&a)), (wanted, wanted, true), "{a:?} {b:?}");
    }
}

#[test]
fn what_is_not_compared_is_zero() {
    let rule = Rule::drop().source_within([10, 1, 2, 3], [255, 0, 0, 0]).destination_port_within(0x1234, 0xff00);
    let source = rule.wanted_source().unwrap();
    assert_eq!((source.value, source.is_whole()), ([10, 0, 0, 0].into(), false));
    assert_eq!(rule.wanted_destination_port(), Some(Masked { value: 0x1200, mask: 0xff00 }));
    assert!(Rule::drop().source([10, 1, 2, 3]).wanted_source().unwrap().is_whole());
    assert!(Rule::drop().source(core::net::Ipv6Addr::LOCALHOST).wanted_source().unwrap().is_whole());
}

#[test]
fn each_table_says_why() {
    let refusal = |table, why: &str, free| RuleRefusal { table, why: why.into(), free, room: 8 };
    let error = RuleError::NoTable(vec![refusal("one", "is full", 0), refusal("other", "compares no ports", 3)]);
    let wanted = "none of the device's tables takes the rule: the one is full (0 of 8 free); the other compares no ports (3 of 8 free)";
    assert_eq!(error.to_string(), wanted);
    assert_eq!(RuleError::Unknown { id: RuleId(7) }.to_string(), "there is no rule 7: `rules` has those that there are");
}
