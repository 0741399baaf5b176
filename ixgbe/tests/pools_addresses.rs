//! A rule on a destination's Ethernet address gives its frames to a queue with a pool of its own; what no rule names shares the first one.

use crate::common::{Card, I82599, MAC, X540, X550};
use crate::pools::{A, ALL, B, C, GROUP, config, land, landed, to};
use driver_core::device::{NetDevice, RxMode};
use driver_core::ether::MacAddr;

#[test]
fn frames_come_to_the_queue_of_their_address() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config(3));
        let frames = [MAC, A, B, C, ALL, GROUP].map(|mac| (mac, None));
        land(&card, &mut started, frames, [Some(0), None, None, None, Some(0), None]);
        let a = started.control.add_rule(&to(2, A)).unwrap();
        started.control.add_rule(&to(3, B)).unwrap();
        started.control.set_multicast_filters(&[GROUP]).unwrap();
        land(&card, &mut started, frames, [Some(0), Some(2), Some(3), None, Some(0), Some(0)]);
        assert!(started.control.rules().iter().all(|entry| entry.place.table == "MAC pools"));
        // Two addresses of one queue, and the card's own on another.
        started.control.add_rule(&to(3, C)).unwrap();
        started.control.add_rule(&to(1, MAC)).unwrap();
        land(&card, &mut started, frames, [Some(1), Some(2), Some(3), Some(3), Some(0), Some(0)]);
        started.control.remove_rule(a).unwrap();
        land(&card, &mut started, frames, [Some(1), None, Some(3), Some(3), Some(0), Some(0)]);
        started.control.set_rx_mode(RxMode::PROMISCUOUS).unwrap();
        land(&card, &mut started, frames, [Some(1), Some(0), Some(3), Some(3), Some(0), Some(0)]);
        card.assert_no_violations();
    }
}

/// A rule on the first queue is one on the pool that has everything.
#[test]
fn the_first_queue_may_have_addresses_too() {
    let card = Card::new();
    let mut started = card.start(&config(1));
    started.control.add_rule(&to(0, A)).unwrap();
    started.control.add_rule(&to(0, B).vlan(7)).unwrap();
    land(&card, &mut started, [(A, None), (A, Some(7)), (B, Some(7)), (C, None)], [Some(0), Some(0), Some(0), None]);
    card.assert_no_violations();
}

/// The card's own addresses come and go while rules hold: those that were beside them stay.
#[test]
fn addresses_that_are_set_leave_rules_alone() {
    let card = Card::new();
    let mut started = card.start(&config(2));
    started.control.add_rule(&to(1, A)).unwrap();
    started.control.add_rule(&to(2, B)).unwrap();
    let frames = [MAC, A, B, C].map(|mac| (mac, None));
    let moved = MacAddr([0x02, 0xbb, 0, 0, 0, 1]);
    for (unicast, wanted) in [(&[C, moved][..], Some(0)), (&[moved], None), (&[A, C, B], Some(0)), (&[], None)] {
        started.control.set_unicast_filters(unicast).unwrap();
        land(&card, &mut started, frames, [Some(0), Some(1), Some(2), wanted]);
    }
    started.control.set_mac(moved).unwrap();
    land(&card, &mut started, frames, [None, Some(1), Some(2), None]);
    started.control.set_mac(B).unwrap();
    land(&card, &mut started, frames, [None, Some(1), Some(2), None]);
    assert!(landed(&card, &mut started, moved, None).is_empty());
    card.assert_no_violations();
}

#[test]
fn as_many_queues_as_there_are_registers_for() {
    for pools in [15, 31] {
        let card = Card::new();
        let mut started = card.start(&config(pools).tx_queues(3));
        let mac = |queue: u16| MacAddr([0x02, 0xcc, 0, 0, 0, queue as u8]);
        for queue in 1..=pools {
            started.control.add_rule(&to(queue, mac(queue))).unwrap();
        }
        for queue in 1..=pools {
            assert_eq!(landed(&card, &mut started, mac(queue), None), [queue]);
        }
        started.control.stop().unwrap();
        card.assert_no_violations();
    }
}
