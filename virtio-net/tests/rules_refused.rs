//! A virtio device looks at no field of a frame: every rule and every VLAN filter is refused by name, and changes nothing.

use super::rig::{Rig, small};
use driver_core::device::{NetDevice, Rule};
use driver_core::ether::MacAddr;
use virtio_net::Features;

#[test]
fn every_rule_is_refused_and_says_why() {
    let rig = Rig::new();
    let mut started = rig.start(&small());
    for rule in [
        Rule::to_queue(0).ethertype(0x88cc),
        Rule::to_queue(0).syn(),
        Rule::drop().source([10, 0, 0, 1]).udp().destination_port(7),
        Rule::pass().vlan(7),
        Rule::to_queue(0).destination_mac(MacAddr([2, 0, 0, 0, 0, 1])),
    ] {
        let error = started.control.add_rule(&rule).unwrap_err().to_string();
        let wanted = "sim:virtio-net: adding a rule: the device does not do rules for received frames: it looks at no field of a frame, neither EtherType nor address, \
            protocol, port, VLAN or SYN: look at them in software, behind `RxQueue::poll`";
        assert_eq!(error, wanted);
    }
    assert!(started.control.rules().is_empty());
    let error = started.control.add_rule(&Rule::to_queue(1).syn()).unwrap_err().to_string();
    assert!(error.ends_with("the rule names receive queue 1: 1 are open, from 0 on"), "{error}");
    rig.assert_clean();
}

#[test]
fn a_start_with_rules_or_vlans_is_refused() {
    for config in [small().rules(&[Rule::to_queue(0).syn()]), small().vlan_filter(&[7])] {
        let rig = Rig::with(super::rig::without(Features::CTRL_VLAN));
        let error = super::rig::start_error(rig.open().unwrap(), &config);
        assert!(error.to_string().contains("starting: the device does not do"), "{error}");
        rig.assert_clean();
    }
}

#[test]
fn a_vlan_filter_is_refused_and_none_is_not() {
    let rig = Rig::new();
    let mut started = rig.start(&small());
    let error = started.control.set_vlan_filter(Some(&[7])).unwrap_err().to_string();
    assert!(error.contains("setting its VLAN filter: the device does not do a filter of VLANs as it was started"), "{error}");
    started.control.set_vlan_filter(None).unwrap();
    assert_eq!(started.control.settings().vlans(), None);
    rig.assert_clean();
}

#[test]
fn queues_with_addresses_of_their_own_are_refused() {
    let rig = Rig::new();
    let error = super::rig::start_error(rig.open().unwrap(), &super::rig::any().mac_pools(1)).to_string();
    assert!(error.contains("1 receive queues with addresses of their own asked for") && error.contains("this device has no such queues"), "{error}");
    rig.assert_clean();
}
