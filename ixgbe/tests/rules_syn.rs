//! The rule for segments that open a connection goes to the SYN filter, before or behind the five-tuples as its priority says.

use crate::common::{Card, I82599, X540, X550};
use crate::flows::{ACK, Flow, SYN, TCP, UDP, config, ip, steers, v4, v6};
use driver_core::device::{NetDevice, Rule};

fn world() -> Vec<Flow> {
    let flow = |flags| ip(v4(1), v4(2), TCP, (7, 80)).flags(flags);
    let mut flows = vec![flow(SYN), flow(SYN | ACK), flow(ACK), flow(SYN).tagged(7, 0), flow(SYN).fragment()];
    flows.extend([ip(v4(1), v4(2), UDP, (7, 80)).flags(SYN), ip(v6(1), v6(2), TCP, (7, 80)).flags(SYN), ip(v4(1), v4(2), TCP, (7, 81)).flags(SYN)]);
    flows
}

#[test]
fn segments_with_syn_go_to_its_queue() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config());
        let id = started.control.add_rule(&Rule::to_queue(2).syn()).unwrap();
        assert_eq!(started.control.rules()[0].place.table, "SYN filter");
        steers(&card, &mut started, &world());
        let error = started.control.add_rule(&Rule::to_queue(1).syn()).unwrap_err().to_string();
        assert!(error.contains("the SYN filter is in use (0 of 1 free)"), "{error}");
        started.control.remove_rule(id).unwrap();
        steers(&card, &mut started, &world());
        card.assert_no_violations();
    }
}

#[test]
fn its_priority_puts_it_before_or_behind_the_five_tuples() {
    let http = Rule::to_queue(3).ipv4().tcp().destination_port(80).priority(4);
    for priority in [2, 6] {
        for syn_first in [false, true] {
            let card = Card::new();
            let mut started = card.start(&config());
            let syn = Rule::to_queue(1).syn().priority(priority);
            let rules = if syn_first { [&syn, &http] } else { [&http, &syn] };
            let added = rules.map(|rule| started.control.add_rule(rule));
            // Which came first is in force; what came second and would stand in no order beside it is told so.
            if let [Ok(_), Err(error)] = &added {
                assert!(syn_first && priority < 4 && error.to_string().contains("five-tuples by priority"), "{priority} {syn_first}: {error}");
            }
            steers(&card, &mut started, &world());
            card.assert_no_violations();
        }
    }
}
