//! Rules, VLANs and flow director's table are settings: a card that is started with them steers from its first frame, in every table.

use crate::common::{Card, I82599, X540, X550};
use crate::flows::{Flow, SYN, TCP, UDP, config, ip, landed, other, steers, v4};
use driver_core::device::{FlowRoom, FlowTable, NetDevice, Rule};

fn rules() -> Vec<Rule> {
    vec![
        Rule::to_queue(1).ethertype(0x88cc),
        Rule::to_queue(2).syn().priority(7),
        Rule::to_queue(3).ipv4().tcp().destination_port(80).priority(5),
        Rule::drop().source_within(v4(0), [255, 255, 255, 252]),
        Rule::to_queue(1).source_within(v4(8), [255, 255, 255, 252]),
    ]
}

fn world() -> Vec<Flow> {
    let http = ip(v4(7), v4(2), TCP, (7, 80));
    vec![other(0x88cc), http, http.flags(SYN), ip(v4(1), v4(2), UDP, (7, 7)), ip(v4(9), v4(2), UDP, (7, 7)), ip(v4(17), v4(2), UDP, (7, 7))]
}

#[test]
fn what_one_run_added_the_next_starts_with() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let with_table = config().flow_table(FlowTable::Exact(FlowRoom::Medium));
        let mut first = card.start(&with_table);
        for rule in rules() {
            first.control.add_rule(&rule).unwrap();
        }
        first.control.set_vlan_filter(Some(&[7])).unwrap();
        steers(&card, &mut first, &world());
        first.control.stop().unwrap();
        let before = first.control.rules().to_vec();
        drop(first);
        let kept: Vec<_> = before.iter().map(|entry| entry.rule.clone()).collect();
        let mut second = card.start(&with_table.rules(&kept).vlan_filter(&[7]));
        assert_eq!(second.control.rules(), before, "the same rules at the same places");
        steers(&card, &mut second, &world());
        let tagged = ip(v4(99), v4(2), UDP, (7, 7));
        assert_eq!([7, 8].map(|id| landed(&card, &mut second, &tagged.tagged(id, 0))), [Some(0), None]);
        card.assert_no_violations();
    }
}

#[test]
fn a_start_without_rules_knows_none_of_before() {
    let card = Card::new();
    let started = card.start(&config().flow_table(FlowTable::Exact(FlowRoom::Small)).rules(&rules()));
    drop(started);
    let mut again = card.start(&config());
    assert!(again.control.rules().is_empty());
    for flow in world() {
        assert_eq!(landed(&card, &mut again, &flow), Some(0), "{flow:?}");
    }
    card.assert_no_violations();
}
