//! Key, table and types of RSS are set at the start and while the card runs, on each card as far as it goes; what it has not is told, or refused in a sentence.

use crate::common::{Card, I82599, MAC, PEER, X540, X550, refused};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice, RssConfig, RssLimits};
use driver_core::host::RegSpace;
use driver_core::offload::{FlowTuple, RssTypes};
use driver_core::queue::RxQueue;
use sim::SimBar;

/// A UDP frame of a flow, as the wire has it.
fn udp(flow: u16) -> Vec<u8> {
    let ip = [0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let [high, low] = flow.to_be_bytes();
    [&MAC.0[..], &PEER.0, &ip, &[high, low, 0, 7, 0, 26, 0, 0], &[0; 18]].concat()
}

fn flow(number: u16) -> FlowTuple {
    FlowTuple::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).udp(number, 7)
}

/// Sends frames of 100 flows, and sees that each comes to the queue that its hash has in the table that is set, by the key that is set.
fn spreads_as_it_says(card: &Card, started: &mut crate::common::Started) {
    let rss = started.control.settings().rss().clone();
    let mut batch = Batch::new(8);
    for number in 0..100 {
        card.send(&udp(number));
        let polled: Vec<_> = started.rx.iter_mut().map(|rx| rx.poll(&mut batch, 8)).collect();
        let told = flow(number).hash(rss.key_bytes(), rss.hash_types().unwrap());
        let queue = told.map_or(0, |told| rss.queue_of(told.hash).unwrap());
        assert_eq!((batch.frames()[0].rss(), polled[usize::from(queue)], batch.len()), (told, 1, 1), "flow {number}, queue {queue}");
        batch.clear();
    }
}

/// The table as the card has it: RETA, and the X550's ERETA behind it.
fn table_of(bar: &SimBar, entries: usize) -> Vec<u16> {
    let registers = (0..32).map(|n| 0x5c00 + 4 * n).chain((0..96).map(|n| 0xee80 + 4 * n));
    registers.flat_map(|at| bar.read32(at).to_le_bytes()).map(u16::from).take(entries).collect()
}

/// The key as the card has it: RSSRK.
fn key_of(bar: &SimBar) -> Vec<u8> {
    (0..10).flat_map(|n| bar.read32(0x5c80 + 4 * n).to_le_bytes()).collect()
}

#[test]
fn each_card_says_how_far_it_spreads() {
    let has = |device| Card::of(device).open().unwrap().info().rss;
    let types = RssTypes::all() - (RssTypes::IPV6_EX | RssTypes::TCP_IPV6_EX | RssTypes::UDP_IPV6_EX);
    assert_eq!([I82599, X540, X550].map(has), [RssLimits::new(16, 128, types), RssLimits::new(16, 128, types), RssLimits::new(64, 512, types)]);
}

#[test]
fn a_table_of_ones_own_from_the_start() {
    for (device, len) in [(I82599, 128), (X540, 128), (X550, 512)] {
        // Unequal shares by a table that repeats, and one of the card's own length in which neighbours differ.
        let whole: Vec<u16> = (0..len).map(|entry| (entry * 7 / 5 % 6) as u16).collect();
        for table in [&[5, 5, 5, 1][..], &whole] {
            let card = Card::of(device);
            let mut started = card.start(&Config::new().rx_queues(6).rss(RssConfig::new().table(table)));
            let wanted: Vec<u16> = table.iter().copied().cycle().take(len).collect();
            assert_eq!(started.control.settings().rss().table_entries(), Some(&wanted[..]));
            spreads_as_it_says(&card, &mut started);
            assert_eq!(table_of(&card.registers(), len), wanted, "{device:04x}");
            card.assert_no_violations();
        }
    }
}

#[test]
fn a_running_card_takes_another_key_table_and_types() {
    for (device, len) in [(I82599, 128), (X540, 128), (X550, 512)] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new().rx_queues(4));
        spreads_as_it_says(&card, &mut started);
        let begun = started.control.settings().rss().clone();
        let key = core::array::from_fn(|at| (at * 29 + 3) as u8);
        for rss in [
            begun.clone().key(key),
            begun.clone().table(&[3, 2]),
            begun.clone().types(RssTypes::IPV4),
            begun.clone().types(RssTypes::TCP_IPV4),
            begun,
        ] {
            started.control.set_rss(&rss).unwrap();
            let now = started.control.settings().rss();
            assert_eq!((now.key_bytes(), now.hash_types(), now.table_entries().unwrap().len()), (rss.key_bytes(), rss.hash_types(), len));
            spreads_as_it_says(&card, &mut started);
        }
        started.control.set_rss(&RssConfig::new().key(key).table(&[1, 0, 0, 2])).unwrap();
        let bar = card.registers();
        assert_eq!((key_of(&bar), table_of(&bar, len)), (key.to_vec(), [1, 0, 0, 2].repeat(len / 4)), "{device:04x}");
        card.assert_no_violations();
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(4));
    let before = started.control.settings().rss().clone();
    for (table, why) in [
        (vec![0; 96], "a redirection table of 96 entries asked for: the device has 128, so take 128 or a number that divides it"),
        (vec![0; 512], "a redirection table of 512 entries asked for: the device has 128, so take 128 or a number that divides it"),
        (vec![4], "the redirection table names receive queue 4: RSS reaches 0 to 3 of the 4 queues that are open"),
    ] {
        let error = started.control.set_rss(&RssConfig::new().table(&table)).unwrap_err();
        assert_eq!(error.to_string(), format!("sim:ixgbe: setting how it spreads flows: {why}"));
        assert_eq!(started.control.settings().rss(), &before);
    }
    spreads_as_it_says(&card, &mut started);
    drop(started);
    let (error, device) = refused(card.open().unwrap().start(&Config::new().rx_queues(64).rss(RssConfig::new().table(&[16]))));
    let wanted = "sim:ixgbe: starting: the redirection table names receive queue 16: RSS reaches 0 to 15 of the 64 queues that are open";
    assert_eq!(error.to_string(), wanted, "an entry of the 82599's table has four bits");
    drop(device);
    let mut alone = card.start(&Config::new());
    let error = alone.control.set_rss(&RssConfig::new()).unwrap_err().to_string();
    assert!(error.contains("(RSS) as it was started: start it with more than one receive queue"), "{error}");
    card.assert_no_violations();
}

/// By default the queues in turn, as far as the card reaches; those behind are open all the same.
#[test]
fn queues_that_rss_does_not_reach_are_open_and_get_nothing_by_it() {
    for (device, reached) in [(I82599, 16), (X540, 16), (X550, 20)] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new().rx_queues(20).rx_ring(64));
        for number in 0..200 {
            card.send(&udp(number));
        }
        let counts: Vec<_> = started.rx.iter_mut().map(|rx| crate::common::received(rx).len()).collect();
        assert!(counts[..reached].iter().all(|&count| count > 0) && counts[reached..].iter().all(|&count| count == 0), "{device:04x}: {counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), 200);
        let table = started.control.settings().rss().table_entries().unwrap().to_vec();
        assert!(table.iter().copied().eq((0..reached as u16).cycle().take(table.len())));
        card.assert_no_violations();
    }
}
