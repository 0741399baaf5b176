//! A stop is clean: frames in flight go out, every buffer comes back, the card touches no memory and nothing is handed to it any more.

use crate::common::{Card, I82599, Liar, MAC, X540, X550, frame, received, transmit};
use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Config, DeviceState, Link, NetDevice, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use ixgbe::ErrorKind;

fn config(pool: &BufPool) -> Config {
    Config::new().pool(pool.clone()).rx_queues(2).tx_queues(2).interrupts(true)
}

/// PCI command register: bus master.
fn is_bus_master(card: &Card) -> bool {
    // SAFETY: nothing is written. Bus mastering goes off when it is dropped.
    unsafe { card.device.another_function() }.config_read(4, 2).unwrap() & 4 != 0
}

#[test]
fn every_family_stops_and_gives_everything_back() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let pool = card.pool(PoolConfig::new(2048));
        let mut started = card.start(&config(&pool));
        card.send(&frame(MAC, 100, 0));
        started.control.stop().unwrap();
        assert!(started.control.shared().is_stopped());
        assert!(!is_bus_master(&card), "{device:04x}");
        started.control.stop().unwrap();
        drop(started);
        assert_eq!(pool.available(), pool.len(), "{device:04x}");
        card.assert_no_violations();
    }
}

#[test]
fn frames_in_flight_go_out_first() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let frames: Vec<_> = (0..100).map(|seed| frame(crate::common::PEER, 64, seed)).collect();
    let mut batch = Batch::new(100);
    for bytes in &frames {
        batch.push(started.pool.frame_from(bytes).unwrap()).unwrap();
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    started.control.stop().unwrap();
    assert_eq!(card.sent(), frames);
    card.assert_no_violations();
}

#[test]
fn a_queue_that_is_dropped_sends_what_it_has_first() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let frames: Vec<_> = (0..200).map(|seed| frame(crate::common::PEER, 64, seed)).collect();
    let mut batch = Batch::new(200);
    for bytes in &frames {
        batch.push(started.pool.frame_from(bytes).unwrap()).unwrap();
    }
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    drop(started.tx.pop());
    assert_eq!(card.sent(), frames);
    card.assert_no_violations();
}

#[test]
fn frames_that_cannot_go_out_do_not_hold_it_up() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(2048));
    let mut started = card.start(&config(&pool));
    card.faults(|faults| faults.hang_tx = true);
    assert_eq!(transmit(&mut started.tx[1], &pool, &frame(crate::common::PEER, 64, 0)), TxState::Running);
    started.control.stop().unwrap();
    drop(started);
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}

#[test]
fn a_stopped_card_says_so() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    started.control.stop().unwrap();
    let (control, rx, tx) = (&mut started.control, &mut started.rx[0], &mut started.tx[0]);
    assert_eq!(transmit(tx, &started.pool, &frame(crate::common::PEER, 64, 0)), TxState::Broken(QueueFault::Stopped));
    assert_eq!((rx.fault(), tx.fault()), (Some(QueueFault::Stopped), Some(QueueFault::Stopped)));
    assert_eq!(received(rx).len(), 0);
    assert_eq!(control.link(), Link::default());
    for (step, result) in [
        ("setting its address", control.set_mac(MacAddr([2, 0, 0, 0, 0, 1]))),
        ("setting its receive mode", control.set_rx_mode(RxMode::default())),
        ("setting its unicast filters", control.set_unicast_filters(&[])),
        ("setting its multicast filters", control.set_multicast_filters(&[])),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotRunning(DeviceState::Stopped)), "{error}");
        assert_eq!((error.function(), error.step()), ("sim:ixgbe", step));
    }
    card.assert_no_violations();
}

#[test]
fn dropping_the_control_handle_stops() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(2048));
    let started = card.start(&config(&pool));
    drop(started.control);
    assert!(!is_bus_master(&card));
    assert_eq!(started.rx[0].fault(), Some(QueueFault::Stopped));
    drop((started.rx, started.tx));
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}

#[test]
fn dropping_live_queues_stops_them_alone() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(2048));
    let mut started = card.start(&config(&pool));
    drop(started.rx.pop());
    drop(started.tx.pop());
    card.send(&frame(MAC, 100, 7));
    assert_eq!(received(&mut started.rx[0]), [frame(MAC, 100, 7)]);
    assert_eq!(transmit(&mut started.tx[0], &pool, &frame(crate::common::PEER, 64, 0)), TxState::Running);
    assert_eq!(card.sent().len(), 1);
    drop(started);
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}

#[test]
fn a_card_that_confirms_by_master_disable_alone_is_stopped() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(2048));
    let mut started = card.start(&config(&pool));
    card.faults(|faults| faults.queue_disable_stuck = true);
    started.control.stop().unwrap();
    drop(started);
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}

#[test]
fn a_card_that_never_ends_its_requests_is_reset() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(2048));
    let mut started = card.start(&config(&pool));
    card.faults(|faults| faults.master_stuck = true);
    started.control.stop().unwrap();
    drop(started);
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}

#[test]
fn a_card_that_confirms_nothing_keeps_its_buffers() {
    let (card, liar) = (Card::new(), Liar::default());
    let pool = card.pool(PoolConfig::new(2048));
    card.device.set_has_reset(false);
    let device = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap();
    let Ok(mut started) = device.start(&config(&pool)) else { panic!("a sound card starts") };
    let lent = pool.len() - pool.available();
    card.faults(|faults| {
        faults.queue_disable_stuck = true;
        faults.master_stuck = true;
        faults.reset_stuck = true;
    });
    // A reset of the simulated card turns its queues off even where it never says so: the registers say that they stay on.
    for queue in 0..2 {
        liar.stick(0x1028 + 0x40 * queue, 1 << 25);
        liar.stick(0x6028 + 0x40 * queue, 1 << 25);
    }
    let error = started.control.stop().unwrap_err();
    assert!(error.to_string().contains("CTRL (0x00000"), "{error}");
    assert!(!started.control.shared().is_stopped());
    assert_eq!(liar.lies().dma.last(), Some(&false), "bus mastering is off all the same");
    let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(started)));
    assert!(gone.is_ok());
    assert_eq!(pool.len() - pool.available(), lent, "buffers that the card may still write to leak");
    // Reading counters in the middle of a reset that never ends is what this card provoked.
    assert!(!card.device.take_violations().is_empty());
}

#[test]
fn a_card_that_confirms_nothing_is_reset_by_its_host() {
    let (card, liar) = (Card::new(), Liar::default());
    let pool = card.pool(PoolConfig::new(2048));
    let device = ixgbe::open(card.lying(&liar), card.clock.clone()).unwrap();
    let Ok(mut started) = device.start(&config(&pool)) else { panic!("a sound card starts") };
    card.faults(|faults| (faults.queue_disable_stuck, faults.master_stuck, faults.reset_stuck) = (true, true, true));
    for queue in 0..2 {
        liar.stick(0x1028 + 0x40 * queue, 1 << 25);
        liar.stick(0x6028 + 0x40 * queue, 1 << 25);
    }
    started.control.stop().unwrap();
    assert!(started.control.shared().is_stopped() && !is_bus_master(&card));
    drop(started);
    assert_eq!(pool.available(), pool.len());
    card.assert_no_violations();
}
