//! What pools do not do is refused at once, by name, and changes nothing.

use crate::common::{Card, MAC, refused};
use crate::pools::{A, ALL, B, C, GROUP, config, land, to};
use driver_core::device::{Config, FlowRoom, FlowTable, NetDevice, Rule};
use driver_core::ether::MacAddr;

fn text(result: Result<impl std::fmt::Debug, driver_core::device::Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn rules_that_pools_do_not_take() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(5).mac_pools(3));
    let control = &mut started.control;
    for (rule, part) in [
        (
            Rule::to_queue(3).ethertype(0x88cc),
            "the MAC pools compare the destination's Ethernet address, which the rule does not name, and the other tables are not used beside them (127 of 128 free)",
        ),
        (Rule::to_queue(3).ipv4().udp(), "which the rule does not name"),
        (to(3, A).udp(), "alone or with the VLAN id, and not the protocol"),
        (to(3, A).ipv4(), "and not the EtherType"),
        (to(3, A).syn(), "and not the protocol"),
        (to(3, A).vlan_priority(3), "and not the VLAN priority"),
        (to(3, GROUP), "compare unicast addresses, and not 01:00:5e:01:02:03"),
        (to(3, ALL), "compare unicast addresses"),
        (Rule::drop().destination_mac(A), "send to a queue, and neither drop nor let pass"),
        (Rule::pass().destination_mac(A), "send to a queue, and neither drop nor let pass"),
        (to(1, A), "send to the queues 2 to 4: what goes to those before is spread by hash"),
        (to(5, A), "the rule names receive queue 5: 5 are open"),
    ] {
        let error = text(control.add_rule(&rule));
        assert!(error.contains(part), "{error}\nlacks: {part}");
    }
    control.add_rule(&to(3, A)).unwrap();
    control.add_rule(&to(4, B).vlan(7)).unwrap_err();
    control.set_vlan_filter(Some(&[7])).unwrap();
    control.add_rule(&to(4, B).vlan(7)).unwrap();
    for (rule, part) in [
        (to(2, A), "send an address to one queue, and rule 0 has frames of it"),
        (to(2, A).vlan(9), "and rule 0 has frames of it"),
        (to(4, C), "give a queue one VLAN for all of its addresses, or none, and rule 1 has another"),
        (to(4, C).vlan(8), "and rule 1 has another"),
    ] {
        let error = text(control.add_rule(&rule));
        assert!(error.contains(part), "{error}\nlacks: {part}");
    }
    assert_eq!(control.rules().len(), 2);
    land(&card, &mut started, [(A, None), (B, Some(7)), (C, None)], [Some(3), Some(4), None]);
    card.assert_no_violations();
}

#[test]
fn without_pools_an_address_is_no_field_of_a_rule() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(4));
    let error = text(started.control.add_rule(&to(1, A)));
    assert!(error.contains("the MAC pools are off: start the card with `Config::mac_pools` (0 of 0 free)"), "{error}");
    card.assert_no_violations();
}

#[test]
fn all_receive_addresses_may_be_in_use() {
    let card = Card::new();
    let mut started = card.start(&config(1));
    let mac = |n: usize| MacAddr([0x02, 0xcc, 0, 0, 0, n as u8]);
    let ids: Vec<_> = (0..127).map(|n| started.control.add_rule(&to(1, mac(n))).unwrap()).collect();
    let error = text(started.control.add_rule(&to(1, mac(127))));
    assert!(error.contains("the MAC pools are all in use (0 of 128 free)"), "{error}");
    let error = text(started.control.set_unicast_filters(&[A]));
    assert!(error.contains("1 unicast addresses asked for, the device filters 0 beside its own"), "{error}");
    started.control.set_unicast_filters(&[mac(3)]).unwrap();
    started.control.remove_rule(ids[7]).unwrap();
    started.control.set_unicast_filters(&[A]).unwrap();
    land(&card, &mut started, [(A, None), (mac(126), None), (mac(7), None)], [Some(0), Some(1), None]);
    card.assert_no_violations();
}

#[test]
fn vlans_that_cannot_be_told_apart() {
    let card = Card::new();
    let mut started = card.start(&config(2));
    let many: Vec<u16> = (1..=65).collect();
    started.control.add_rule(&to(1, A)).unwrap();
    let error = text(started.control.add_rule(&to(2, B).vlan(7)));
    assert!(error.contains("tell 64 VLANs apart: beside rules without a VLAN, those with one want a VLAN filter"), "{error}");
    let error = text(started.control.set_vlan_filter(Some(&many)));
    assert!(error.contains("it tells 64 VLANs apart where they lead to queues") && error.contains("filter 64 VLANs or fewer"), "{error}");
    started.control.set_vlan_filter(Some(&many[1..])).unwrap();
    started.control.add_rule(&to(2, B).vlan(7)).unwrap();
    text(started.control.set_vlan_filter(None));
    land(&card, &mut started, [(A, Some(65)), (A, Some(1)), (B, Some(7)), (MAC, Some(65))], [Some(1), None, Some(2), Some(0)]);
    card.assert_no_violations();
}

#[test]
fn a_card_is_not_started_with_queues_that_do_not_go_together() {
    let card = Card::new();
    for (config, part) in [
        (
            Config::new().rx_queues(20).mac_pools(17),
            "17 receive queues with addresses of their own asked for, and 3 for all other frames: it can have up to 15 beside 1 to 4 others, or up to 31 beside 1 to 2 others",
        ),
        (Config::new().rx_queues(6).mac_pools(1), "and 5 for all other frames"),
        (Config::new().rx_queues(3).mac_pools(3), "and 0 for all other frames"),
        (Config::new().rx_queues(40).mac_pools(32), "32 receive queues with addresses"),
        (
            config(2).flow_table(FlowTable::Exact(FlowRoom::Small)),
            "beside receive queues with addresses of their own the device has no table of flows: start it without `Config::flow_table`",
        ),
        (config(2).rules(&[Rule::to_queue(1).ethertype(0x88cc)]), "the MAC pools compare the destination's Ethernet address"),
    ] {
        let (error, _) = refused(card.open().unwrap().start(&config));
        assert!(error.to_string().contains(part), "{error}\nlacks: {part}");
    }
    card.assert_no_violations();
}
