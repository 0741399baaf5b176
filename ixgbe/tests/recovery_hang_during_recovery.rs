//! A card that hangs while it is being recovered: in its reset, behind it while its queues come back, and once it has just come up.

use crate::rescue::{HANG_US, WITHIN_US, Ward, config};
use driver_core::device::{DeviceState, NetDevice};
use driver_core::host::Clock;
use driver_core::queue::QueueFault;
use sim::Mishap;

/// The program goes on until the device is being recovered.
fn until_recovering(ward: &mut Ward) {
    let begun_us = ward.card.clock.now_us();
    while !matches!(ward.port.control.state(), DeviceState::Recovering { .. }) {
        ward.turn();
        assert!(ward.card.clock.now_us() - begun_us < 2 * HANG_US + WITHIN_US);
    }
}

#[test]
fn a_reset_that_does_not_end_is_tried_again() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    ward.card.faults(|faults| faults.reset_stuck = true);
    until_recovering(&mut ward);
    // The first try has failed by now, and the next one works.
    ward.card.faults(|faults| faults.reset_stuck = false);
    let (recovered, took_us) = ward.until_recovered();
    assert_eq!((recovered.attempts, recovered.lost), (2, 20), "{recovered}");
    assert!(took_us < WITHIN_US, "{recovered}");
    ward.exchange();
    ward.ends();
}

#[test]
fn a_queue_that_does_not_turn_on_is_a_try_that_failed() {
    let mut ward = Ward::new(&config().rx_queues(2).tx_queues(2));
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    ward.card.faults(|faults| faults.queue_enable_stuck = true);
    until_recovering(&mut ward);
    // Its queues have emptied their rings, and are to be turned on by the next look.
    ward.turn();
    ward.port.control.watch();
    ward.card.faults(|faults| faults.queue_enable_stuck = false);
    let (recovered, _) = ward.until_recovered();
    assert_eq!((recovered.attempts, recovered.lost), (2, 40), "{recovered}");
    ward.exchange();
    ward.ends();
}

#[test]
fn a_transmitter_that_hangs_again_while_its_queues_come_back() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    until_recovering(&mut ward);
    ward.suffer(Mishap::Hang);
    // It looks well, since nobody has sent anything.
    let (first, _) = ward.until_recovered();
    ward.submit(30);
    let (second, took_us) = ward.until_recovered();
    assert_eq!((first.lost, second.lost, first.attempts, second.attempts), (20, 30, 1, 1));
    assert!(took_us < HANG_US + WITHIN_US);
    ward.exchange();
    ward.ends();
}

/// Such a device is not reset at the pace of the looks: tries come further apart, as they do where they fail.
#[test]
fn an_error_right_behind_a_recovery_is_the_same_recovery() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    let mut tries = Vec::new();
    for _ in 0..4 {
        ward.suffer(Mishap::MemoryError);
        let (recovered, _) = ward.until_recovered();
        assert!(matches!(recovered.cause, QueueFault::Hardware(_)), "{recovered}");
        tries.push((recovered.attempts, ward.card.clock.now_us()));
    }
    assert_eq!(tries.iter().map(|&(attempts, _)| attempts).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let apart: Vec<u64> = tries.windows(2).map(|two| two[1].1 - two[0].1).collect();
    assert!(apart[1] > apart[0] + 50_000 && apart[2] > apart[1] + 150_000, "{apart:?}");
    ward.card.run_us(300_000);
    ward.suffer(Mishap::MemoryError);
    assert_eq!(ward.until_recovered().0.attempts, 1, "it has worked for long enough");
    ward.exchange();
    ward.ends();
}
