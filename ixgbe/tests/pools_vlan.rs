//! A rule on an address and a VLAN has the address's frames with that tag; others share the first queue. The VLAN filter stays what it is.

use crate::common::{Card, I82599, MAC, X540, X550};
use crate::pools::{A, B, C, config, land, to};
use driver_core::device::NetDevice;

#[test]
fn the_tag_counts_beside_the_address() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config(3));
        let frames = [(A, None), (A, Some(7)), (A, Some(8)), (B, Some(7)), (MAC, Some(7)), (MAC, None), (C, Some(7))];
        let rule = started.control.add_rule(&to(1, A).vlan(7)).unwrap();
        land(&card, &mut started, frames, [Some(0), Some(1), Some(0), None, Some(0), Some(0), None]);
        // One address, two VLANs, two queues; and two addresses in one.
        started.control.add_rule(&to(2, A).vlan(8)).unwrap();
        started.control.add_rule(&to(1, B).vlan(7)).unwrap();
        land(&card, &mut started, frames, [Some(0), Some(1), Some(2), Some(1), Some(0), Some(0), None]);
        started.control.remove_rule(rule).unwrap();
        land(&card, &mut started, frames, [Some(0), Some(0), Some(2), Some(1), Some(0), Some(0), None]);
        card.assert_no_violations();
    }
}

#[test]
fn a_filter_of_vlans_keeps_out_what_it_kept_out() {
    let card = Card::new();
    let mut started = card.start(&config(3).vlan_filter(&[7, 8]));
    started.control.add_rule(&to(1, A)).unwrap();
    started.control.add_rule(&to(2, B).vlan(7)).unwrap();
    started.control.add_rule(&to(3, C).vlan(9)).unwrap();
    let frames = [(A, None), (A, Some(7)), (A, Some(9)), (B, None), (B, Some(7)), (B, Some(8)), (C, Some(9)), (MAC, Some(8))];
    land(&card, &mut started, frames, [Some(1), Some(1), None, Some(0), Some(2), Some(0), None, Some(0)]);
    started.control.set_vlan_filter(Some(&[9])).unwrap();
    land(&card, &mut started, frames, [Some(1), None, Some(1), Some(0), None, None, Some(3), None]);
    card.assert_no_violations();
}

/// Without rules that name one, every VLAN comes to the queue of its address once nothing is filtered.
#[test]
fn without_a_filter_all_vlans_are_an_addresss() {
    let card = Card::new();
    let mut started = card.start(&config(1).vlan_filter(&[7]));
    started.control.add_rule(&to(1, A)).unwrap();
    land(&card, &mut started, [(A, Some(7)), (A, Some(8)), (A, None)], [Some(1), None, Some(1)]);
    started.control.set_vlan_filter(None).unwrap();
    land(&card, &mut started, [(A, Some(7)), (A, Some(8)), (A, None)], [Some(1), Some(1), Some(1)]);
    card.assert_no_violations();
}
