//! A recovery that does not succeed ends: after its tries and its time, in a state that is told by all, and nothing is tried behind it.

use crate::rescue::{Ward, config};
use driver_core::device::{Config, DeviceState, NetDevice, Recovery, RecoveryLimits};
use driver_core::host::Clock;
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use sim::Mishap;
use sim::ixgbe::Faults;

/// The program goes on until something else than a recovery is told. Returns that, and how long it took from the first word of a recovery.
fn until_told(ward: &mut Ward) -> (DeviceState, u64) {
    let mut began_us = None;
    loop {
        ward.card.run_us(1_000);
        for rx in &mut ward.port.rx {
            rx.poll(&mut driver_core::buf::Batch::new(1), 1);
        }
        for tx in &mut ward.port.tx {
            tx.reclaim();
        }
        let now_us = ward.card.clock.now_us();
        match ward.port.control.watch() {
            DeviceState::Running if began_us.is_none() => {}
            DeviceState::Recovering { .. } => {
                began_us.get_or_insert(now_us);
            }
            state => return (state, now_us - began_us.unwrap_or(now_us)),
        }
        assert!(now_us < 30_000_000, "it goes on for ever");
    }
}

/// `fault` keeps the card from coming up. Returns how often it was reset, and how long that took.
fn fails(config: &Config, fault: fn(&mut Faults)) -> (u64, u64) {
    let mut ward = Ward::new(config);
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    ward.card.faults(fault);
    let (state, took_us) = until_told(&mut ward);
    let DeviceState::Hung { queue: 0, since_us } = state else { panic!("{state}") };
    let resets = |ward: &mut Ward| ward.port.control.xstats().iter().find(|xstat| xstat.name == "resets").unwrap().value;
    let tried = resets(&mut ward);
    // It is told by all, and stays.
    for _ in 0..20 {
        ward.card.run_us(100_000);
        assert_eq!((ward.port.control.watch(), ward.port.control.recovered()), (state, None));
    }
    assert_eq!(resets(&mut ward), tried, "nothing more is tried");
    let fault = QueueFault::Hung { queue: 0, since_us };
    for (rx, tx) in ward.port.rx.iter().zip(&ward.port.tx) {
        assert_eq!((rx.fault(), tx.fault()), (Some(fault), Some(fault)));
    }
    assert_eq!(crate::common::transmit(&mut ward.port.tx[0], &ward.port.pool, &[0; 60]), TxState::Broken(fault));
    assert!(!ward.port.control.link().up && ward.port.control.set_mac(crate::common::PEER).is_err());
    ward.card.faults(|faults| *faults = Faults::default());
    ward.ends();
    (tried, took_us)
}

#[test]
fn a_reset_that_never_ends_is_tried_five_times() {
    let (tried, took_us) = fails(&config(), |faults| faults.reset_stuck = true);
    assert_eq!(tried, 5);
    assert!((1_500_000..5_000_000).contains(&took_us), "{took_us} us");
}

#[test]
fn a_card_whose_memory_is_never_ready_is_given_up() {
    assert_eq!(fails(&config(), |faults| faults.no_dma_init = true).0, 5);
    assert_eq!(fails(&config(), |faults| faults.no_auto_read = true).0, 5);
}

#[test]
fn queues_that_never_turn_on_are_given_up() {
    assert_eq!(fails(&config().rx_queues(2).tx_queues(2), |faults| faults.queue_enable_stuck = true).0, 5);
}

#[test]
fn the_limits_are_the_programs() {
    let limits = RecoveryLimits::new().attempts(2).backoff_us(10_000);
    let (tried, took_us) = fails(&config().recovery(Recovery::Auto(limits)), |faults| faults.reset_stuck = true);
    assert!(tried == 2 && took_us < 500_000, "{tried} tries in {took_us} us");
    let limits = RecoveryLimits::new().attempts(100).backoff_us(50_000).time_us(400_000);
    let (tried, took_us) = fails(&config().recovery(Recovery::Auto(limits)), |faults| faults.reset_stuck = true);
    assert!((2..5).contains(&tried) && took_us < 900_000, "{tried} tries in {took_us} us");
}

/// What a second reset mends is no failure: bus requests that the card does not end, and queues that do not turn off.
#[test]
fn a_card_that_does_not_confirm_that_it_is_silent_is_reset_twice_and_works() {
    for fault in [|faults: &mut Faults| faults.master_stuck = true, |faults: &mut Faults| faults.queue_disable_stuck = true] {
        let mut ward = Ward::new(&config().rx_queues(4).tx_queues(4));
        ward.exchange();
        ward.suffer(Mishap::Hang);
        ward.card.faults(fault);
        ward.submit(5);
        let (recovered, _) = ward.until_recovered();
        assert!(recovered.attempts == 1 && recovered.took_us < crate::rescue::WITHIN_US, "{recovered}");
        ward.card.faults(|faults| *faults = Faults::default());
        ward.exchange();
        ward.ends();
    }
}

/// A program that stops its device in the middle of a recovery is told what had failed, and gets everything back.
#[test]
fn a_device_that_is_stopped_in_between_ends_as_what_it_was() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    ward.suffer(Mishap::Hang);
    ward.submit(20);
    ward.card.faults(|faults| faults.reset_stuck = true);
    while !matches!(ward.port.control.state(), DeviceState::Recovering { .. }) {
        ward.turn();
    }
    ward.card.faults(|faults| faults.reset_stuck = false);
    ward.port.control.stop().unwrap();
    assert!(matches!(ward.port.control.state(), DeviceState::Hung { queue: 0, .. }), "{}", ward.port.control.state());
    ward.ends();
}
