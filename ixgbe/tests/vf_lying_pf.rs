//! A physical function that does not answer, or not as it should: each is told by name, and nothing waits for ever.

use crate::function::{ALL, Vf, X540};
use driver_core::device::{Config, NetDevice};
use driver_core::host::Clock;
use ixgbe::HardwareError;
use sim::ixgbe::PfManner;

/// No wait is longer than for one answer and the reset before it.
const WITHIN_US: u64 = 2_500_000;

/// What opening says, and how long it took.
fn opening(device: u16, manner: PfManner) -> ixgbe::Error {
    let vf = Vf::of(device);
    vf.manner(manner);
    let begun_us = vf.clock.now_us();
    let error = vf.open().unwrap_err();
    assert!(vf.clock.now_us() - begun_us < WITHIN_US, "{manner:?}: {} us", vf.clock.now_us() - begun_us);
    error
}

#[test]
fn one_that_does_not_answer_is_told_by_the_register_that_was_waited_for() {
    for device in ALL {
        for (manner, bits) in [(PfManner::Silent, 0), (PfManner::Mute, 0), (PfManner::Hogging, 8)] {
            let error = opening(device, manner);
            let Some(HardwareError::NoPhysicalDriver { wait }) = error.hardware() else { panic!("{error}") };
            assert_eq!((wait.register, wait.last), ("VFMAILBOX", bits), "{manner:?}");
            let text = error.to_string();
            assert!(text.contains("opening: its physical function's driver does not answer (VFMAILBOX still reads 0x000000"), "{text}");
            assert!(text.contains("bring its port up (`ip link set PF up`)"), "{text}");
        }
    }
}

#[test]
fn answers_that_are_none_are_told_with_what_was_asked() {
    let error = opening(X540, PfManner::Ones).to_string();
    assert!(error.contains("answered 0xffffffff to RESET, which is no answer to it"), "{error}");
    let error = opening(X540, PfManner::Astray).to_string();
    assert!(error.contains("answered 0xa000000b to API_NEGOTIATE, which is no answer to it"), "{error}");
    let error = opening(X540, PfManner::Absurd).to_string();
    assert!(error.contains("gives it the address ff:ff:ff:ff:ff:ff, which is no unicast one"), "{error}");
}

/// A driver that goes astray while the function runs keeps no setter, and no `watch`, from returning.
#[test]
fn a_running_function_says_so_and_runs_on() {
    for manner in [PfManner::Silent, PfManner::Mute, PfManner::Ones, PfManner::Astray, PfManner::Absurd, PfManner::Hogging] {
        let vf = Vf::of(X540);
        let mut started = vf.start(&Config::new());
        vf.manner(manner);
        let begun_us = vf.clock.now_us();
        let result = started.control.set_vlan_filter(Some(&[9]));
        assert!(vf.clock.now_us() - begun_us < WITHIN_US);
        assert_eq!(result.is_ok(), manner == PfManner::Absurd, "{manner:?}: {result:?}");
        started.control.watch();
        vf.manner(PfManner::Proper);
        vf.watch_for_us(&mut started, 500_000);
        vf.exchange(&mut started, 5);
        started.control.set_vlan_filter(Some(&[9, 10])).unwrap();
    }
}

/// A function that is gone reads all ones, and no physical function is blamed for it.
#[test]
fn a_function_that_is_gone_is_gone() {
    let vf = Vf::of(X540);
    let mut started = vf.start(&Config::new());
    vf.faults(|faults| faults.gone = true);
    let begun_us = vf.clock.now_us();
    assert!(started.control.set_vlan_filter(Some(&[9])).is_err());
    assert_eq!(started.control.watch(), driver_core::device::DeviceState::Gone);
    assert!(vf.clock.now_us() - begun_us < WITHIN_US);
}
