//! Beside queues with addresses of their own, up to four share all else by hash, with key and table as without.

use crate::common::{Card, I82599, MAC, X540, X550, received};
use crate::pools::{A, flow_to, to};
use driver_core::device::{Caps, Config, NetDevice, RssConfig};
use driver_core::queue::RxQueue;

/// How many of 64 flows to an address come to each queue.
fn spread(card: &Card, started: &mut crate::common::Started, mac: driver_core::ether::MacAddr) -> Vec<usize> {
    (0..64).for_each(|port| card.send(&flow_to(mac, port)));
    started.rx.iter_mut().map(|rx| received(rx).len()).collect()
}

#[test]
fn flows_spread_over_the_first_queues_and_not_over_the_others() {
    for device in [I82599, X540, X550] {
        for first in 1..=4 {
            let card = Card::of(device);
            let mut started = card.start(&Config::new().rx_queues(first + 2).mac_pools(2).rx_ring(128));
            assert_eq!(started.control.info().used_caps.contains(Caps::RSS), first > 1);
            started.control.add_rule(&to(first + 1, A)).unwrap();
            let (shared, own) = (spread(&card, &mut started, MAC), spread(&card, &mut started, A));
            let (before, behind) = shared.split_at(first.into());
            assert!(before.iter().all(|&count| count > 0) && behind == [0, 0], "{device:04x}: {shared:?} of {first}");
            assert_eq!(own.last(), Some(&64), "{device:04x}: {own:?}");
            card.assert_no_violations();
        }
    }
}

#[test]
fn a_table_that_is_set_names_those_queues_alone() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(5).mac_pools(2).rx_ring(128));
    started.control.add_rule(&to(4, A)).unwrap();
    started.control.set_rss(&RssConfig::new().table(&[2])).unwrap();
    assert_eq!(spread(&card, &mut started, MAC), [0, 0, 64, 0, 0]);
    assert_eq!(spread(&card, &mut started, A), [0, 0, 0, 0, 64], "pools stay as they are");
    let error = started.control.set_rss(&RssConfig::new().table(&[3])).unwrap_err().to_string();
    assert!(error.contains("queue 3"), "{error}");
    drop(started);
    let mut alone = card.start(&Config::new().rx_queues(2).mac_pools(1));
    assert!(alone.control.set_rss(&RssConfig::new()).unwrap_err().to_string().contains("spreading of flows (RSS) as it was started"));
    card.assert_no_violations();
}

/// A frame says of its queue what the application calls it.
#[test]
fn a_frame_says_its_queue_and_hash() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(4).mac_pools(2));
    started.control.add_rule(&to(3, A)).unwrap();
    card.send(&flow_to(A, 7));
    let mut batch = driver_core::buf::Batch::new(4);
    assert_eq!(started.rx[3].poll(&mut batch, 4), 1);
    let frame = &batch.frames()[0];
    assert_eq!(frame.rx_queue(), 3);
    assert!(frame.rss().is_some());
    card.assert_no_violations();
}
