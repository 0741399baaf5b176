//! The port's link by message: asked for where the physical function tells it, and VFLINKS where it does not.

use crate::function::{ALL, Vf, X540, X550};
use driver_core::device::{Config, Link, NetDevice};
use driver_core::host::Clock;
use sim::Mishap;
use sim::ixgbe::PfManner;

/// By number on the wire: 1.6 and 1.7.
const WITH_MESSAGE: [u32; 2] = [7, 8];

#[test]
fn a_physical_function_that_tells_is_asked() {
    for device in ALL {
        for newest in WITH_MESSAGE {
            let vf = Vf::with(device, |pf| (pf.newest, pf.tells_link) = (newest, true));
            let mut started = vf.start(&Config::new());
            assert_eq!(started.control.link(), Link::up_at(Some(10_000)), "VFLINKS is silent");
            vf.device.set_carrier(false);
            vf.run_us(1_000);
            assert_eq!(started.control.link(), Link::down());
            vf.device.set_carrier(true);
            vf.run_us(5_000);
            assert_eq!(started.control.link(), Link::up_at(Some(10_000)));
            vf.exchange(&mut started, 3);
            assert_eq!(vf.violations(), "");
        }
    }
}

/// Before 1.6 nobody asks, and Linux's driver of these ports refuses: the link is VFLINKS'.
#[test]
fn one_that_does_not_tell_is_not_asked_again() {
    for device in ALL {
        for (newest, tells_link) in [(5, true), (7, false), (8, false)] {
            let vf = Vf::with(device, |pf| (pf.newest, pf.tells_link) = (newest, tells_link));
            let mut started = vf.start(&Config::new());
            assert_eq!(started.control.link().up, !tells_link, "VFLINKS is read, and is silent where the port's link is to be told by message");
            vf.pf(|pf| pf.tells_link = false);
            let begun_us = vf.clock.now_us();
            assert!(started.control.link().up);
            assert!(vf.clock.now_us() - begun_us < 1_000);
            assert_eq!(vf.violations(), "");
        }
    }
}

#[test]
fn a_link_that_is_disabled_for_the_function_is_none() {
    let vf = Vf::with(X550, |pf| (pf.tells_link, pf.enables_link) = (true, false));
    let mut started = vf.start(&Config::new());
    assert_eq!(started.control.link(), Link::down());
    assert_eq!(vf.violations(), "");
}

/// Nothing waits for it twice, and the next handshake asks anew.
#[test]
fn one_that_stops_telling_costs_one_wait() {
    for manner in [PfManner::Silent, PfManner::Mute, PfManner::Hogging, PfManner::Refusing, PfManner::Ones, PfManner::Astray] {
        let vf = Vf::with(X540, |pf| pf.tells_link = true);
        let mut started = vf.start(&Config::new());
        assert!(started.control.link().up);
        vf.manner(manner);
        let mut took_us = [(); 3].map(|()| {
            let begun_us = vf.clock.now_us();
            assert!(!started.control.link().up, "{manner:?}: VFLINKS is silent");
            vf.clock.now_us() - begun_us
        });
        assert!(took_us[0] < 1_500_000, "{manner:?}: {took_us:?}");
        took_us[0] = 0;
        assert!(took_us.iter().all(|&us| us < 1_000), "{manner:?}: {took_us:?}");
        vf.manner(PfManner::Proper);
        vf.suffer(Mishap::PfReset);
        vf.watch_for_us(&mut started, 2_000_000);
        assert!(started.control.link().up, "{manner:?}");
        assert_eq!(vf.violations(), "");
    }
}

#[test]
fn a_speed_that_is_none_is_not_told() {
    let vf = Vf::with(X550, |pf| pf.tells_link = true);
    let mut started = vf.start(&Config::new());
    vf.manner(PfManner::Absurd);
    assert_eq!(started.control.link(), Link::up_at(None));
    assert_eq!(vf.violations(), "");
}
