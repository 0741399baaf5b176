//! Rules for an EtherType that is not IP go to the eight EtherType filters, tagged or not.

use crate::common::{Card, I82599, X540, X550};
use crate::flows::{TCP, config, ip, landed, other, steers, v4};
use driver_core::buf::Batch;
use driver_core::device::{NetDevice, Rule};
use driver_core::queue::RxQueue;

#[test]
fn eight_types_to_their_queues() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config());
        let world: Vec<_> = (0..10).map(|n| other(0x9000 + n)).chain([other(0x9003).tagged(7, 1), ip(v4(1), v4(2), TCP, (1, 2))]).collect();
        let ids: Vec<_> = (0..8).map(|n| started.control.add_rule(&Rule::to_queue(n % 4).ethertype(0x9000 + n)).unwrap()).collect();
        assert!(started.control.rules().iter().all(|entry| entry.place.table == "EtherType filters"));
        steers(&card, &mut started, &world);
        let error = started.control.add_rule(&Rule::to_queue(1).ethertype(0x9009)).unwrap_err().to_string();
        assert!(error.contains("the EtherType filters are all in use (0 of 8 free)"), "{error}");
        started.control.remove_rule(ids[3]).unwrap();
        steers(&card, &mut started, &world);
        started.control.add_rule(&Rule::to_queue(1).ethertype(0x9009)).unwrap();
        steers(&card, &mut started, &world);
        card.assert_no_violations();
    }
}

/// The card says of such a frame which filter it was where it otherwise says what is in the packet: no protocol is read out of that.
#[test]
fn a_frame_of_a_filter_says_nothing_of_ip() {
    let card = Card::new();
    let mut started = card.start(&config());
    for n in 0..8 {
        started.control.add_rule(&Rule::to_queue(1).ethertype(0x9000 + n)).unwrap();
    }
    let mut batch = Batch::new(8);
    for n in 0..8 {
        card.send(&other(0x9000 + n).bytes());
        assert_eq!(started.rx[1].poll(&mut batch, 8), 1);
        let frame = &batch.frames()[0];
        assert_eq!((frame.rss(), frame.checksum(), frame.flow_match()), (None, driver_core::buf::Checksum::Unknown, None));
        batch.clear();
    }
    assert_eq!(landed(&card, &mut started, &other(0x9008)), Some(0));
    card.assert_no_violations();
}

#[test]
fn a_rule_that_lets_pass_keeps_its_place() {
    let card = Card::new();
    let mut started = card.start(&config());
    started.control.add_rule(&Rule::pass().ethertype(0x88cc)).unwrap();
    started.control.add_rule(&Rule::to_queue(2).ethertype(0x88b5)).unwrap();
    steers(&card, &mut started, &[other(0x88cc), other(0x88b5), other(0x88b6)]);
    let error = started.control.add_rule(&Rule::to_queue(1).ethertype(0x88cc)).unwrap_err().to_string();
    assert!(error.contains("frames in common with rule 0, and no place beside it"), "{error}");
    card.assert_no_violations();
}
