//! How a device is, in the words that every driver has for it: what comes to be seen when it vanishes, hangs, or is reset by somebody else, by whom, and what its
//! statistics say then.

use super::rig::{Parts, Rig, numbered, small};
use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, Link, NetDevice, Recovery, TxConfig};
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use virtio_net::ErrorKind;

/// A device that has received one frame and sent one.
fn busy(rig: &mut Rig, config: &Config) -> Parts {
    let mut parts = rig.parts(config);
    rig.send(&numbered(1, 60));
    rig.run_us(50);
    assert_eq!(parts.receive().len(), 1);
    parts.send(&[numbered(2, 60)]);
    rig.run_us(50);
    assert_eq!(rig.arrived().len(), 1);
    parts.tx.reclaim();
    parts
}

/// Fills the transmit queue until it stops.
fn fill(parts: &mut Parts) -> Batch {
    let mut batch = Batch::new(200);
    for number in 0..200 {
        batch.push(parts.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    batch
}

#[test]
fn a_device_that_vanished_is_gone_and_not_one_that_asks_for_a_reset() {
    let mut rig = Rig::new();
    let mut parts = busy(&mut rig, &small());
    let pool = parts.pool.clone();
    assert!(parts.control.link().up);
    rig.faults(|faults| faults.gone = true);
    // The device's status reads 0xff, in which every bit is set.
    assert_eq!((parts.control.state(), parts.control.watch()), (DeviceState::Running, DeviceState::Gone));
    assert_eq!((parts.rx.fault(), parts.tx.fault(), parts.control.link()), (Some(QueueFault::Gone), Some(QueueFault::Gone), Link::down()));
    assert!(matches!(parts.control.check().unwrap_err().kind(), ErrorKind::NotRunning(DeviceState::Gone)));
    let stats = parts.control.stats();
    assert_eq!((stats.rx_packets, stats.tx_packets), (1, 1));
    let begun_us = rig.clock.now_us();
    drop((parts.rx, parts.tx));
    parts.control.stop().unwrap();
    assert!(rig.clock.now_us() - begun_us < 100_000, "{} us", rig.clock.now_us() - begun_us);
    assert_eq!(parts.control.state(), DeviceState::Gone, "what was told stays");
    drop((parts.control, parts.pool));
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn a_full_transmit_queue_finds_out_by_itself_that_its_device_is_gone() {
    let mut rig = Rig::new();
    let mut parts = busy(&mut rig, &small());
    rig.faults(|faults| faults.gone = true);
    let mut batch = fill(&mut parts);
    let begun_us = rig.clock.now_us();
    while parts.tx.submit(&mut batch) == TxState::Stopped {
        rig.run_us(1_000);
    }
    assert_eq!((parts.tx.fault(), parts.control.state()), (Some(QueueFault::Gone), DeviceState::Gone));
    assert!(rig.clock.now_us() - begun_us <= 2_000_000, "within one period of the watchdog");
}

#[test]
fn a_transmit_queue_that_does_not_move_hangs() {
    for asks_for_room in [true, false] {
        let mut rig = Rig::new();
        let mut parts = busy(&mut rig, &small().tx(TxConfig::new().ring(64).timeout_us(300_000)).recovery(Recovery::Off));
        rig.model(|model| model.hold_tx = true);
        let mut batch = fill(&mut parts);
        let begun_us = rig.clock.now_us();
        while parts.tx.fault().is_none() {
            rig.run_us(1_000);
            assert!(rig.clock.now_us() - begun_us < 400_000);
            if asks_for_room {
                let _ = parts.tx.submit(&mut batch);
            } else {
                assert_eq!(parts.tx.reclaim(), 0);
            }
        }
        let Some(QueueFault::Hung { queue: 0, since_us }) = parts.tx.fault() else { panic!("{:?}", parts.tx.fault()) };
        assert!((300_000..310_000).contains(&(rig.clock.now_us() - since_us)));
        assert_eq!((parts.control.watch(), parts.rx.fault()), (DeviceState::Hung { queue: 0, since_us }, None));
        rig.model(|model| model.hold_tx = false);
        rig.run_us(1_000);
        assert_eq!(parts.control.watch(), DeviceState::Hung { queue: 0, since_us }, "what was told stays");
        rig.send(&numbered(5, 60));
        rig.run_us(50);
        assert_eq!((parts.receive().len(), parts.control.link().up), (1, true), "the receiver is well");
        drop(parts);
        rig.assert_clean();
    }
}

/// A queue with room: its program submits now and then, is taken, and would not learn of it until the ring is full.
#[test]
fn a_hang_with_room_in_the_ring_is_seen_by_the_handle() {
    let mut rig = Rig::new();
    let mut parts = busy(&mut rig, &small().tx(TxConfig::new().ring(64).timeout_us(300_000)).recovery(Recovery::Off));
    let submit = |rig: &mut Rig, parts: &mut Parts| {
        let mut batch = Batch::new(1);
        batch.push(parts.pool.frame_from(&[2; 60]).unwrap()).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(50_000);
        parts.control.watch()
    };
    for _ in 0..20 {
        assert_eq!(submit(&mut rig, &mut parts), DeviceState::Running, "a device that works");
    }
    rig.model(|model| model.hold_tx = true);
    let begun_us = rig.clock.now_us();
    let state = loop {
        match submit(&mut rig, &mut parts) {
            DeviceState::Running => assert!(rig.clock.now_us() - begun_us < 500_000),
            state => break state,
        }
    };
    let DeviceState::Hung { queue: 0, since_us } = state else { panic!("{state}") };
    assert!((300_000..=400_000).contains(&(rig.clock.now_us() - since_us)));
    assert_eq!(parts.tx.fault(), Some(QueueFault::Hung { queue: 0, since_us }));
    drop(parts);
    rig.assert_clean();
}

#[test]
fn without_a_link_nothing_hangs() {
    let mut rig = Rig::new();
    let mut parts = busy(&mut rig, &small().tx(TxConfig::new().ring(64).timeout_us(300_000)).recovery(Recovery::Off));
    rig.device.set_carrier(false);
    rig.model(|model| model.hold_tx = true);
    let mut batch = fill(&mut parts);
    for _ in 0..100 {
        rig.run_us(10_000);
        assert_eq!((parts.control.watch(), parts.tx.submit(&mut batch)), (DeviceState::Running, TxState::Stopped));
    }
}

#[test]
fn a_device_that_somebody_else_reset_is_told_as_such() {
    let mut rig = Rig::new();
    let mut parts = busy(&mut rig, &small().recovery(Recovery::Off));
    let pool = parts.pool.clone();
    // SAFETY: a reset makes the card access less.
    unsafe { rig.device.another_function() }.reset().unwrap();
    rig.run_us(20);
    assert_eq!(parts.control.watch(), DeviceState::Reset);
    assert_eq!((parts.rx.fault(), parts.tx.fault(), parts.control.link()), (Some(QueueFault::Reset), Some(QueueFault::Reset), Link::down()));
    parts.control.stop().unwrap();
    drop((parts.rx, parts.tx, parts.control, parts.pool));
    assert_eq!(pool.available(), pool.len());
    let _ = rig.device.take_violations();
    drop(busy(&mut rig, &small()));
}

#[test]
fn a_device_whose_memory_decoding_was_switched_off_is_not_gone() {
    let mut rig = Rig::new();
    let mut parts = busy(&mut rig, &small().recovery(Recovery::Off));
    let pool = parts.pool.clone();
    // SAFETY: it makes the card answer less.
    let mut beside = unsafe { rig.device.another_function() };
    let command = beside.config_read(4, 2).unwrap();
    // SAFETY: as above.
    unsafe { beside.config_write(4, 2, command & !2) }.unwrap();
    assert_eq!((parts.control.link(), parts.control.state()), (Link::down(), DeviceState::Reset));
    let begun_us = rig.clock.now_us();
    parts.control.stop().unwrap();
    assert!(rig.clock.now_us() - begun_us < 100_000);
    drop((parts.rx, parts.tx, parts.control, parts.pool, beside));
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn frames_that_the_device_never_took_are_lost_and_not_sent() {
    for drops_first in [true, false] {
        let mut rig = Rig::new();
        let mut parts = busy(&mut rig, &small());
        rig.model(|model| model.hold_tx = true);
        let batch = fill(&mut parts);
        rig.run_us(50);
        let taken = 1 + 200 - batch.len() as u64;
        // Received, and polled by nobody.
        for number in 0..5 {
            rig.send(&numbered(number, 60));
        }
        rig.run_us(50);
        let Parts { mut control, rx, tx, .. } = parts;
        if drops_first {
            drop((rx, tx));
            control.stop().unwrap();
        } else {
            control.stop().unwrap();
            drop((rx, tx));
        }
        let (stats, accounts) = (control.stats(), control.accounts());
        assert_eq!((accounts.tx_taken, accounts.tx_lost, accounts.rx_delivered, accounts.rx_lost), (taken, taken - 1, 1, 5));
        assert_eq!((stats.tx_packets, stats.tx_dropped, stats.rx_packets, stats.rx_dropped), (1, taken - 1, 1, 5));
        assert!(accounts.is_final);
    }
}

#[test]
fn what_nobody_counts_is_unknown_and_not_zero() {
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    let stats = parts.control.stats();
    let of = |name| stats.entries().find(|&(counter, _)| counter == name).unwrap().1;
    assert_eq!((of("rx_missed_errors"), of("rx_crc_errors"), of("rx_length_errors"), of("rx_packets")), (None, None, Some(0), Some(0)));
    assert_eq!(stats.rx_missed(), None);
    assert!(stats.to_string().contains(" rx_missed_errors=unknown"), "{stats}");
}
