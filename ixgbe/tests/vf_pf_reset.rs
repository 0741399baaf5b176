//! The physical function is reset: its virtual one sees it by the mailbox, is set up anew, and goes on.

use crate::function::{ALL, Started, Vf, X540, X550, frame_to};
use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, NetDevice, Recovery, RxConfig, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{QueueFault, TxQueue};
use driver_core::testing::fill;
use sim::Mishap;
use sim::ixgbe::PfManner;

/// Within this time traffic is to be back: the model's physical function is away for a tenth of a second.
const WITHIN_US: u64 = 1_000_000;

/// Watches until the recovery is over.
fn until_recovered(vf: &Vf, started: &mut Started) -> driver_core::device::Recovered {
    let begun_us = vf.clock.now_us();
    loop {
        vf.watch_for_us(started, 50_000);
        if let Some(recovered) = started.control.recovered() {
            return recovered;
        }
        assert!(vf.clock.now_us() - begun_us < WITHIN_US, "{:?}", started.control.state());
    }
}

#[test]
fn it_is_told_by_name_and_traffic_goes_on() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new());
        vf.audit.excuse("what was sent and not reported counts as lost: the reset took the ring's head");
        vf.exchange(&mut started, 32);
        for _ in 0..3 {
            vf.suffer(Mishap::PfReset);
            vf.run_us(1_000);
            let state = started.control.watch();
            let DeviceState::Recovering { cause: cause @ QueueFault::Hardware(_), .. } = state else { panic!("{state:?}") };
            assert!(cause.to_string().contains("a reset of its physical function (VFMAILBOX: RSTI, RSTD or a message without CTS)"), "{cause}");
            let recovered = until_recovered(&vf, &mut started);
            assert!(recovered.lost <= 32 && recovered.attempts == 1, "{recovered}");
            // Behind that time it is another recovery, and not the same one that goes on.
            vf.watch_for_us(&mut started, 300_000);
            vf.exchange(&mut started, 32);
        }
    }
}

/// The function alone, as root does by its `reset` file.
#[test]
fn one_of_the_function_alone_is_mended_as_well() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new());
        vf.audit.excuse("what was sent and not reported counts as lost: the reset took the ring's head");
        vf.exchange(&mut started, 32);
        // SAFETY: a reset makes the card access less.
        unsafe { vf.device.another_function() }.reset().unwrap();
        let recovered = until_recovered(&vf, &mut started);
        assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Reset, 1), "{recovered}");
        vf.run_us(5_000);
        vf.exchange(&mut started, 32);
    }
}

#[test]
fn one_that_was_over_before_anybody_looked_is_seen_too() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new());
    vf.suffer(Mishap::PfReset);
    vf.run_us(500_000);
    assert!(matches!(started.control.watch(), DeviceState::Recovering { .. }));
    until_recovered(&vf, &mut started);
    vf.run_us(5_000);
    vf.exchange(&mut started, 5);
}

#[test]
fn all_that_was_asked_for_is_asked_for_again() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new().rx(RxConfig::new().queues(2)).vlan_filter(&[5]).mtu(4000));
        let (mac, further, group) = (MacAddr([2, 0, 0, 0, 9, 9]), MacAddr([2, 0, 0, 0, 9, 8]), MacAddr([1, 0, 0x5e, 1, 2, 3]));
        started.control.set_mac(mac).unwrap();
        started.control.set_unicast_filters(&[further]).unwrap();
        started.control.set_multicast_filters(&[group]).unwrap();
        vf.suffer(Mishap::PfReset);
        vf.run_us(1_000);
        until_recovered(&vf, &mut started);
        vf.run_us(5_000);
        for to in [mac, further, group] {
            assert!(vf.takes(&mut started, &frame_to(to.0, 4014, 1)), "{to}");
        }
        let mut tagged = frame_to(mac.0, 60, 1);
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        assert!(vf.takes(&mut started, &tagged));
        started.control.set_rx_mode(RxMode::ALL_MULTICAST).unwrap();
        vf.exchange(&mut started, 10);
    }
}

/// Frames that were handed over and not sent are given up with the ring, and counted.
#[test]
fn frames_on_their_way_are_lost_and_counted() {
    let vf = Vf::of(X550);
    let mut started = vf.start(&Config::new());
    let mut batch = Batch::new(64);
    vf.suffer(Mishap::PfReset);
    vf.run_us(1_000);
    fill(&mut batch, &started.pool.clone(), (0..10).map(|k| frame_to([2; 6], 100, k)));
    let _ = started.tx[0].submit(&mut batch);
    let recovered = until_recovered(&vf, &mut started);
    assert_eq!((recovered.lost, started.tx[0].counters().lost), (10, 10), "{recovered}");
    vf.run_us(5_000);
    vf.exchange(&mut started, 5);
}

#[test]
fn without_recovery_it_stays_told() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new().recovery(Recovery::Off));
    vf.suffer(Mishap::PfReset);
    vf.watch_for_us(&mut started, 400_000);
    let DeviceState::Hardware { what } = started.control.state() else { panic!("{:?}", started.control.state()) };
    assert!(what.contains("a reset of its physical function"), "{what}");
    assert!(!started.control.link().up);
}

/// A physical function that does not come back: the recovery is tried, and ends in a told state.
#[test]
fn one_that_never_comes_back_is_given_up() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new());
    vf.suffer(Mishap::PfReset);
    vf.manner(PfManner::Silent);
    let begun_us = vf.clock.now_us();
    while !matches!(started.control.state(), DeviceState::Hardware { .. }) {
        vf.watch_for_us(&mut started, 100_000);
        assert!(vf.clock.now_us() - begun_us < 20_000_000, "{:?}", started.control.state());
    }
    // Its administrator brings the port up again; the program opens the function anew.
    vf.manner(PfManner::Proper);
    started.control.stop().unwrap();
    drop(started);
    let mut started = vf.start(&Config::new());
    vf.exchange(&mut started, 5);
}

/// A transmitter that hangs is the function's own affair.
#[test]
fn a_hang_is_recovered_by_a_reset_of_the_function() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new());
    vf.suffer(Mishap::Hang);
    let mut batch = Batch::new(64);
    fill(&mut batch, &started.pool.clone(), (0..10).map(|k| frame_to([2; 6], 100, k)));
    let _ = started.tx[0].submit(&mut batch);
    vf.watch_for_us(&mut started, 2_000_000);
    let recovered = until_recovered(&vf, &mut started);
    assert!(matches!(recovered.cause, QueueFault::Hung { .. }), "{recovered}");
    vf.run_us(5_000);
    vf.exchange(&mut started, 5);
}

/// Its link goes and comes with the port's, and the mailbox says so: that is no reset.
#[test]
fn a_cable_that_is_pulled_is_no_reset() {
    let vf = Vf::of(X550);
    let mut started = vf.start(&Config::new());
    for on in [false, true, false, true] {
        vf.device.set_carrier(on);
        vf.run_us(50_000);
        assert_eq!(started.control.link().up, on);
        assert!(started.control.watch().is_running());
    }
    vf.exchange(&mut started, 5);
}
