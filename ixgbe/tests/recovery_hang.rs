//! A transmitter that hangs: the card is reset and set up as it was, and the program hears of it when it is over.

use crate::common::{Card, I82599, X540, X550, frame};
use crate::rescue::{HANG_US, WITHIN_US, Ward, config};
use driver_core::buf::Batch;
use driver_core::device::{DeviceState, NetDevice, Recovery};
use driver_core::host::Clock;
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use sim::Mishap;

#[test]
fn a_hung_transmitter_is_reset_and_traffic_goes_on() {
    for device in [I82599, X540, X550] {
        let mut ward = Ward::of(device, &config());
        ward.exchange();
        ward.suffer(Mishap::Hang);
        ward.submit(100);
        let (recovered, took_us) = ward.until_recovered();
        assert!(matches!(recovered.cause, QueueFault::Hung { queue: 0, .. }), "{recovered}");
        assert_eq!((recovered.attempts, recovered.lost), (1, 100), "{recovered}");
        assert!(recovered.took_us < WITHIN_US && took_us < HANG_US + WITHIN_US, "{recovered}");
        ward.exchange();
        let stats = ward.port.control.stats();
        assert_eq!((stats.tx_dropped, ward.port.tx[0].counters().lost), (100, 100));
        let xstats = ward.port.control.xstats();
        let of = |name: &str| xstats.iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value);
        assert_eq!((of("resets"), of("recoveries"), of("tx_q0_lost")), (Some(1), Some(1), Some(100)));
        ward.ends();
    }
}

/// Frames that the card has put into memory and nobody polled are lost with the rest; what was sent and not reported yet is not.
#[test]
fn what_was_in_rings_is_counted_frame_by_frame() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    // Reports come once in 32 descriptors: the last of these are unreported.
    ward.submit(40);
    ward.card.run_us(1_000);
    assert_eq!(ward.card.arrived().len(), 40);
    ward.suffer(Mishap::Hang);
    ward.submit(10);
    // The program is busy elsewhere, but looks at its device.
    for k in 0..25 {
        ward.card.send(&frame(crate::common::MAC, 60, k));
    }
    for _ in 0..5 {
        ward.card.run_us(100_000);
        ward.port.control.watch();
    }
    let (recovered, _) = ward.until_recovered();
    assert_eq!((recovered.lost, ward.port.tx[0].counters().lost, ward.port.rx[0].counters().lost), (35, 10, 25), "{recovered}");
    ward.exchange();
    ward.ends();
}

/// A queue that waits for room is woken when it is over; one that was not full takes frames again without having been told anything.
#[test]
fn who_waits_for_room_is_woken() {
    let mut ward = Ward::new(&config().tx_ring(64));
    ward.suffer(Mishap::Hang);
    let woken = driver_core::testing::count_wakes(&mut ward.port.tx[0]);
    ward.submit(100);
    let full = ward.port.tx[0].counters();
    assert_eq!((full.packets, full.stops), (ward.taken, 1));
    ward.until_recovered();
    ward.turn();
    assert_eq!(woken.load(core::sync::atomic::Ordering::Relaxed), 1);
    let counters = ward.port.tx[0].counters();
    assert_eq!((counters.stops, counters.wakes, counters.lost), (1, 1, ward.taken));
    ward.exchange();
    ward.ends();
}

/// Told and left alone: a program that stops its device and opens it again by itself.
#[test]
fn without_recovery_it_is_told_and_stays() {
    let mut ward = Ward::new(&config().recovery(Recovery::Off));
    ward.suffer(Mishap::Hang);
    ward.submit(10);
    let begun_us = ward.card.clock.now_us();
    while ward.port.control.watch() == DeviceState::Running {
        ward.card.run_us(1_000);
        assert!(ward.card.clock.now_us() - begun_us < 2 * HANG_US);
    }
    ward.card.run_us(1_000_000);
    assert!(matches!(ward.port.control.watch(), DeviceState::Hung { queue: 0, .. }));
    assert_eq!((ward.port.control.recovered(), ward.port.control.settings().recovery()), (None, Recovery::Off));
    ward.ends();
}

/// Nobody looks at the device: after twice the time the queue says so itself, and a control handle that comes late recovers it all the same.
#[test]
fn a_queue_that_nobody_recovers_gives_itself_up() {
    let card = Card::new();
    let mut port = card.start(&config());
    // SAFETY: the mishap makes the card do less.
    assert!(unsafe { card.device.with_model(|model: &mut sim::ixgbe::Ixgbe| sim::Model::suffer(model, Mishap::Hang)) }.unwrap());
    let mut batch = Batch::new(1024);
    while let Ok(()) = batch.push(port.pool.frame_from(&frame(crate::common::PEER, 60, 3)).unwrap()) {}
    let begun_us = card.clock.now_us();
    let fault = loop {
        match port.tx[0].submit(&mut batch) {
            TxState::Stopped => card.run_us(1_000),
            TxState::Broken(fault) => break fault,
            state => panic!("{state:?}"),
        }
    };
    let stood_us = card.clock.now_us() - begun_us;
    assert!((2 * HANG_US..2 * HANG_US + 10_000).contains(&stood_us), "{stood_us}");
    assert!(matches!(fault, QueueFault::Hung { queue: 0, .. }));
    batch.clear();
    let mut states = Vec::new();
    for _ in 0..5 {
        states.push(port.control.watch().name());
        card.run_us(100_000);
        port.rx[0].poll(&mut batch, 1);
        port.tx[0].reclaim();
    }
    assert_eq!(states, ["recovering", "running", "running", "running", "running"]);
    assert!(port.control.recovered().is_some() && port.tx[0].fault().is_none());
    batch.push(port.pool.frame_from(&frame(crate::common::PEER, 60, 4)).unwrap()).unwrap();
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent().len(), 1);
}
