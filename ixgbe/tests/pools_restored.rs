//! Pools and their rules hold behind a recovery and from a start on, and a start without them knows none of them.

use crate::common::{Card, I82599, MAC, X540, X550};
use crate::pools::{A, B, C, config, land, landed, to};
use crate::rescue::Ward;
use driver_core::device::{Config, NetDevice, Rule};
use sim::Mishap;

const FRAMES: [(driver_core::ether::MacAddr, Option<u16>); 6] = [(A, None), (A, Some(7)), (B, Some(7)), (B, None), (C, None), (MAC, Some(8))];
const QUEUES: [Option<u16>; 6] = [Some(1), Some(1), Some(3), Some(0), None, Some(0)];

fn rules() -> [Rule; 2] {
    [to(1, A), to(3, B).vlan(7)]
}

#[test]
fn behind_a_recovery_all_is_as_it_was() {
    for device in [I82599, X540, X550] {
        let config = crate::rescue::config().rx_queues(4).mac_pools(3).tx_queues(2).interrupts(true).vlan_filter(&[7, 8]);
        let mut ward = Ward::of(device, &config);
        for rule in rules() {
            ward.port.control.add_rule(&rule).unwrap();
        }
        land(&ward.card, &mut ward.port, FRAMES, QUEUES);
        for mishap in [Mishap::Hang, Mishap::MemoryError] {
            ward.suffer(mishap);
            ward.submit(10);
            ward.until_recovered();
            ward.wait_for_link();
            land(&ward.card, &mut ward.port, FRAMES, QUEUES);
        }
        ward.exchange();
        ward.ends();
    }
}

#[test]
fn what_one_run_added_the_next_starts_with() {
    let card = Card::new();
    let mut started = card.start(&config(3).vlan_filter(&[7, 8]).rules(&rules()));
    land(&card, &mut started, FRAMES, QUEUES);
    let kept: Vec<_> = started.control.rules().iter().map(|entry| entry.rule.clone()).collect();
    assert_eq!(kept, rules());
    started.control.stop().unwrap();
    drop(started);
    let mut plain = card.start(&Config::new().rx_queues(4));
    assert_eq!([A, B, MAC].map(|mac| landed(&card, &mut plain, mac, None)), [vec![], vec![], vec![0]]);
    card.assert_no_violations();
}
