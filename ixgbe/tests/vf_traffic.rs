//! Frames each way through a virtual function, on all three chips.

use crate::function::{ALL, Vf, frame_to};
use driver_core::device::{Config, NetDevice, RxConfig};

#[test]
fn frames_go_and_come_over_each_queue() {
    for device in ALL {
        for queues in [1, 2, 4] {
            let vf = Vf::of(device);
            let mut started = vf.start(&Config::new().rx(RxConfig::new().queues(queues)).tx_queues(queues));
            assert!(started.control.link().up);
            for _ in 0..3 {
                vf.exchange(&mut started, 40);
            }
            started.control.stop().unwrap();
        }
    }
}

#[test]
fn long_frames_come_and_go_and_lie_in_several_buffers() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new().mtu(9000));
        let long = frame_to(crate::function::MAC, 9014, 7);
        vf.send(&long);
        assert_eq!(vf.received(&mut started, 0), [long]);
        let stats = started.control.stats();
        assert_eq!((stats.rx_packets, stats.rx_bytes), (1, 9014));
    }
}

/// A port has one limit for all: what is longer than a function's own MTU is no fault of the card's.
#[test]
fn a_frame_beyond_its_own_mtu_is_no_fault() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new());
        let long = frame_to(crate::function::MAC, 6000, 7);
        vf.send(&long);
        assert_eq!(vf.received(&mut started, 0), [long]);
        vf.exchange(&mut started, 10);
        assert!(started.control.watch().is_running());
    }
}
