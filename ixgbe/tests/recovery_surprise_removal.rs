//! A card that is pulled out: before a recovery, between two tries of one, and while its queues come back. It is told as gone, at once, and keeps nothing.

use crate::rescue::{Ward, config};
use driver_core::buf::Batch;
use driver_core::device::{DeviceState, NetDevice};
use driver_core::host::Clock;
use driver_core::queue::{QueueFault, RxQueue, TxQueue};
use sim::Mishap;

/// Behind this the device is gone, and everything comes back. With the next look at the device, or, where time has to pass for that, the next but one.
fn is_told_as_gone(mut ward: Ward) {
    ward.card.faults(|faults| faults.gone = true);
    let begun_us = ward.card.clock.now_us();
    let mut state = ward.port.control.watch();
    if matches!(state, DeviceState::Recovering { .. }) {
        ward.card.run_us(100_000);
        state = ward.port.control.watch();
    }
    assert_eq!(state, DeviceState::Gone);
    for _ in 0..10 {
        ward.card.run_us(100_000);
        assert_eq!(ward.port.control.watch(), DeviceState::Gone, "and it stays");
        let mut batch = Batch::new(1);
        assert_eq!((ward.port.rx[0].poll(&mut batch, 1), ward.port.tx[0].reclaim()), (0, 0));
    }
    assert_eq!((ward.port.rx[0].fault(), ward.port.tx[0].fault()), (Some(QueueFault::Gone), Some(QueueFault::Gone)));
    assert!(ward.card.clock.now_us() - begun_us < 1_300_000, "nothing is waited for");
    assert_eq!(ward.port.control.recovered(), None);
    let (mut port, card) = ward.into_parts();
    port.control.stop().unwrap();
    drop((port.rx, port.tx, port.control));
    assert_eq!(port.pool.available(), port.pool.len());
    card.assert_no_violations();
}

fn hung(wait: impl Fn(&mut Ward)) -> Ward {
    let mut ward = Ward::new(&config().rx_queues(2).tx_queues(2));
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    wait(&mut ward);
    while !matches!(ward.port.control.state(), DeviceState::Recovering { .. }) {
        ward.turn();
    }
    ward
}

#[test]
fn before_anything_was_tried() {
    let mut ward = Ward::new(&config().rx_queues(2).tx_queues(2));
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    is_told_as_gone(ward);
}

#[test]
fn between_two_tries() {
    is_told_as_gone(hung(|ward| ward.card.faults(|faults| faults.reset_stuck = true)));
}

#[test]
fn while_its_queues_come_back() {
    is_told_as_gone(hung(|_| {}));
    // Their rings are empty by then.
    let mut ward = hung(|_| {});
    ward.turn();
    is_told_as_gone(ward);
}
