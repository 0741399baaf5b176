//! Each version of the mailbox's interface that a physical function may talk.

use crate::function::{ALL, I82599, Vf, X540, X550};
use driver_core::device::{Config, NetDevice, RxMode};

/// By their numbers on the wire: 1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.7; and physical functions that take a number which no version of ours has (2.0, 1.5).
const NEWEST: [u32; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn frames_flow_whatever_version_the_physical_function_talks() {
    for device in ALL {
        for newest in NEWEST {
            // A port with jumbo frames lets no function of an 82599 receive that talks 1.0.
            let vf = Vf::with(device, |pf| (pf.newest, pf.has_jumbo) = (newest, newest >= 2 || device != I82599));
            let opened = vf.open().unwrap();
            let queues = if newest < 2 { 1 } else { 4 };
            assert_eq!((opened.info().max_rx_queues, opened.info().max_tx_queues), (queues, queues), "{device:#x}, {newest}");
            drop(opened);
            let mut started = vf.start(&Config::new());
            vf.exchange(&mut started, 5);
        }
    }
}

#[test]
fn with_1_0_an_82599s_mtu_is_1504_at_most() {
    for (device, newest, max_mtu) in [(I82599, 0, 1504), (I82599, 2, 9710), (X540, 0, 9710), (X550, 0, 9710)] {
        let vf = Vf::with(device, |pf| pf.newest = newest);
        assert_eq!(vf.open().unwrap().info().max_mtu, max_mtu, "{device:#x}, {newest}");
    }
}

/// What Linux's driver of the physical function does: such a function would be sent frames that it does not expect.
#[test]
fn an_82599s_function_of_1_0_on_a_port_with_jumbo_frames_is_refused_by_name() {
    let vf = Vf::with(I82599, |pf| pf.newest = 0);
    let error = vf.open().unwrap().start(&Config::new()).unwrap_err().to_string();
    assert!(error.contains("starting: the device does not do frames as long as its MTU wants: its physical function refuses them"), "{error}");
}

#[test]
fn modes_come_with_the_versions_that_have_them() {
    let error = |newest: u32, mode: RxMode| {
        let vf = Vf::with(X550, |pf| pf.newest = newest);
        let mut started = vf.start(&Config::new());
        started.control.set_rx_mode(mode).map_err(|error| error.to_string())
    };
    for (newest, all_multicast, promiscuous) in [(2, false, false), (3, true, false), (4, true, true), (8, true, true)] {
        for (mode, has) in [(RxMode::ALL_MULTICAST, all_multicast), (RxMode::PROMISCUOUS, promiscuous)] {
            match error(newest, mode) {
                Ok(()) => assert!(has, "{newest} {mode:?}"),
                Err(text) => assert!(!has && text.contains("this receive mode: its physical function refuses it"), "{newest} {mode:?}: {text}"),
            }
        }
    }
}
