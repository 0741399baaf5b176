//! How a card is, in the words that every driver has for it: what comes to be seen when it vanishes, hangs, or is reset by somebody else, by whom, and what its
//! statistics say then.

use crate::common::{Card, Liar, PEER, Started, frame, received, transmit};
use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, Link, NetDevice, Recovery, TxConfig};
use driver_core::ether::MacAddr;
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use ixgbe::ErrorKind;

const MAC: MacAddr = crate::common::MAC;

/// A card that has received one frame and sent one.
fn busy(card: &Card, config: &Config) -> Started {
    let mut started = card.start(config);
    card.send(&frame(MAC, 60, 1));
    assert_eq!(received(&mut started.rx[0]).len(), 1);
    assert_eq!(transmit(&mut started.tx[0], &started.pool, &frame(PEER, 60, 2)), TxState::Running);
    assert_eq!(card.sent().len(), 1);
    started
}

/// Fills the transmit queue until it stops.
fn fill(started: &mut Started) -> Batch {
    let mut batch = Batch::new(1024);
    while let Ok(()) = batch.push(started.pool.frame_from(&frame(PEER, 60, 3)).unwrap()) {}
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Stopped);
    batch
}

#[test]
fn a_card_that_vanished_is_gone_and_its_counters_stay() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new());
    let pool = started.pool.clone();
    let before = started.control.stats();
    assert_eq!((before.rx_packets, before.tx_packets, started.control.link().up), (1, 1, true));
    card.faults(|faults| faults.gone = true);
    // One look tells the handle and every queue.
    assert_eq!((started.control.state(), started.control.watch()), (DeviceState::Running, DeviceState::Gone));
    assert_eq!((started.rx[0].fault(), started.tx[0].fault()), (Some(QueueFault::Gone), Some(QueueFault::Gone)));
    assert_eq!(transmit(&mut started.tx[0], &pool, &frame(PEER, 60, 2)), TxState::Broken(QueueFault::Gone));
    for _ in 0..3 {
        let stats = started.control.stats();
        assert_eq!((stats.rx_packets, stats.rx_bytes, stats.tx_packets, stats.rx_errors), (1, 60, 1, 0), "the last that can be believed");
    }
    assert_eq!(started.control.link(), Link::down());
    assert!(matches!(started.control.check().unwrap_err().kind(), ErrorKind::NotRunning(DeviceState::Gone)));
    // Its end costs no time, and it keeps nothing.
    let begun_us = card.clock.now_us();
    started.control.stop().unwrap();
    assert!(card.clock.now_us() - begun_us < 100_000, "{} us", card.clock.now_us() - begun_us);
    assert_eq!((started.control.state(), started.rx[0].fault()), (DeviceState::Gone, Some(QueueFault::Gone)), "what was told stays");
    drop(started);
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn counters_of_a_card_that_vanishes_while_they_are_read_are_not_believed() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new());
    card.faults(|faults| faults.gone = true);
    // The first call that meets the card is this one.
    let stats = started.control.stats();
    assert!(stats.rx_packets <= 1 && stats.tx_bytes <= 60, "{stats}");
    assert_eq!(started.control.link(), Link::down());
}

#[test]
fn queues_that_are_dropped_first_wait_for_nobody_when_the_card_is_gone() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new().tx_queues(2).rx_queues(2));
    let pool = started.pool.clone();
    card.faults(|faults| faults.gone = true);
    assert_eq!(started.control.watch(), DeviceState::Gone);
    let begun_us = card.clock.now_us();
    started.rx.clear();
    started.tx.clear();
    assert!(pool.available() < pool.len(), "until the host knows");
    started.control.stop().unwrap();
    assert!(card.clock.now_us() - begun_us < 100_000);
    drop(started);
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn a_full_transmit_queue_finds_out_by_itself_that_its_card_is_gone() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new());
    card.faults(|faults| faults.gone = true);
    let mut batch = fill(&mut started);
    let begun_us = card.clock.now_us();
    while started.tx[0].submit(&mut batch) == TxState::Stopped {
        card.run_us(1_000);
    }
    assert_eq!((started.tx[0].fault(), started.control.state()), (Some(QueueFault::Gone), DeviceState::Gone));
    assert!(card.clock.now_us() - begun_us <= 2_000_000, "within one period of the watchdog");
}

#[test]
fn a_hung_transmitter_is_seen_by_whoever_looks_first() {
    for by_queue in [true, false] {
        let card = Card::new();
        let mut started = busy(&card, &Config::new().tx(TxConfig::new().timeout_us(300_000)).recovery(Recovery::Off));
        card.faults(|faults| faults.hang_tx = true);
        let mut batch = fill(&mut started);
        let begun_us = card.clock.now_us();
        let state = loop {
            card.run_us(1_000);
            if by_queue {
                let _ = started.tx[0].submit(&mut batch);
            } else {
                started.control.watch();
            }
            match started.control.state() {
                DeviceState::Running => assert!(card.clock.now_us() - begun_us < 400_000),
                state => break state,
            }
        };
        let DeviceState::Hung { queue: 0, since_us } = state else { panic!("{state}") };
        let stood_us = card.clock.now_us() - since_us;
        assert!((300_000..310_000).contains(&stood_us), "{stood_us}");
        assert_eq!(started.tx[0].fault(), Some(QueueFault::Hung { queue: 0, since_us }));
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Broken(QueueFault::Hung { queue: 0, since_us }));
        // The receiver is well, and told so.
        card.send(&frame(MAC, 60, 1));
        assert_eq!((received(&mut started.rx[0]).len(), started.rx[0].fault(), started.control.link().up), (1, None, true));
        // The hang does not end what was seen of it.
        card.faults(|faults| faults.hang_tx = false);
        card.run_us(10_000);
        assert_eq!(started.control.watch(), state);
        drop(batch);
        started.control.stop().unwrap();
        drop((started.rx, started.tx));
        started.control.accounts().check().unwrap();
    }
}

#[test]
fn without_a_link_nothing_hangs() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new().tx(TxConfig::new().timeout_us(300_000)));
    card.device.set_carrier(false);
    card.run_us(10_000);
    let mut batch = fill(&mut started);
    for _ in 0..100 {
        card.run_us(10_000);
        assert_eq!((started.control.watch(), started.tx[0].submit(&mut batch)), (DeviceState::Running, TxState::Stopped));
    }
    card.device.set_carrier(true);
    card.run_us(200_000);
    assert_ne!(started.tx[0].submit(&mut batch), TxState::Broken(QueueFault::Stopped));
    assert_eq!((started.control.watch(), started.tx[0].fault()), (DeviceState::Running, None));
}

#[test]
fn a_card_that_somebody_else_reset_is_told_as_such() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new().recovery(Recovery::Off));
    let pool = started.pool.clone();
    assert_eq!(started.control.stats().rx_packets, 1);
    // As root does by the function's `reset` file.
    // SAFETY: a reset makes the card access less.
    unsafe { card.device.another_function() }.reset().unwrap();
    assert_eq!(started.control.watch(), DeviceState::Reset);
    assert_eq!((started.rx[0].fault(), started.tx[0].fault()), (Some(QueueFault::Reset), Some(QueueFault::Reset)));
    assert_eq!((started.control.link(), started.control.stats().rx_packets), (Link::down(), 1));
    started.control.stop().unwrap();
    drop(started);
    assert_eq!(pool.available(), pool.len());
    let _ = card.device.take_violations();
    busy(&card, &Config::new());
}

#[test]
fn a_card_whose_memory_decoding_was_switched_off_is_not_gone() {
    let card = Card::new();
    let mut started = busy(&card, &Config::new().recovery(Recovery::Off));
    let pool = started.pool.clone();
    // SAFETY: it makes the card answer less.
    let mut beside = unsafe { card.device.another_function() };
    let command = beside.config_read(4, 2).unwrap();
    // SAFETY: as above.
    unsafe { beside.config_write(4, 2, command & !2) }.unwrap();
    assert_eq!((started.control.link(), started.control.state()), (Link::down(), DeviceState::Reset));
    let begun_us = card.clock.now_us();
    started.control.stop().unwrap();
    assert!(card.clock.now_us() - begun_us < 500_000);
    drop((started, beside));
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn rings_of_no_length_and_heads_that_stand_are_no_more_than_numbers() {
    let (card, liar) = (Card::new(), Liar::default());
    let device = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap();
    let Ok(mut started) = device.start(&Config::new().tx_queues(2)) else { panic!("a sound card starts") };
    for queue in 0..2 {
        // TDLEN reads 0, TDH 1.
        liar.lies().registers.insert(0x6008 + 0x40 * queue, (0, u32::MAX));
        liar.lies().registers.insert(0x6010 + 0x40 * queue, (1, !1));
    }
    started.control.stop().unwrap();
    assert!(started.control.stats().tx_dropped <= 2 * 4096);
    drop(started);
}

#[test]
fn what_the_card_left_is_counted_frame_by_frame() {
    for (hang_after, bytes) in [(0, 60), (100, 60), (100, 5000)] {
        let card = Card::new();
        let mut started = card.start(&Config::new().mtu(9000));
        card.faults(|faults| faults.hang_tx_after = Some(hang_after));
        let mut taken = 0;
        for _ in 0..150 {
            let mut batch = Batch::new(1);
            // In pieces of one buffer each.
            let mut whole = started.pool.frame_from(&frame(PEER, bytes.min(2000), 1)).unwrap();
            for _ in 0..bytes / 2000 {
                whole.append(started.pool.frame_from(&[7; 2000]).unwrap());
            }
            batch.push(whole).unwrap();
            let _ = started.tx[0].submit(&mut batch);
            taken += 1 - batch.len() as u64;
            card.run_us(20);
        }
        assert_eq!(card.sent().len() as u64, hang_after);
        started.control.stop().unwrap();
        drop((started.rx, started.tx));
        let (accounts, stats) = (started.control.accounts(), started.control.stats());
        assert_eq!((accounts.tx_taken, accounts.tx_sent, accounts.tx_lost), (taken, Some(hang_after), taken - hang_after), "{bytes}");
        assert_eq!((stats.tx_packets, stats.tx_dropped), (hang_after, taken - hang_after));
        accounts.check().unwrap();
    }
}

#[test]
fn what_nobody_polled_is_counted_frame_by_frame() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(9000));
    for k in 0..10 {
        card.send(&frame(MAC, if k % 2 == 0 { 60 } else { 5000 }, k));
    }
    let mut batch = Batch::new(3);
    assert_eq!(started.rx[0].poll(&mut batch, 3), 3);
    started.control.stop().unwrap();
    drop((started.rx, started.tx));
    let accounts = started.control.accounts();
    assert_eq!((accounts.rx_filled, accounts.rx_delivered, accounts.rx_lost), (Some(10), 3, 7));
    assert_eq!(started.control.stats().rx_dropped, 7);
    accounts.check().unwrap();
}
