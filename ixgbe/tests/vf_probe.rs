//! Opening a virtual function: which devices, what it tells of itself, and what it was given.

use crate::function::{ALL, I82599, MAC, Vf, X540, X550};
use driver_core::device::{Caps, Config, NetDevice};
use driver_core::ether::MacAddr;

#[test]
fn each_chips_function_has_the_address_and_the_queues_that_it_was_given() {
    for (device, name) in [(I82599, "Intel 82599 virtual function"), (X540, "Intel X540 virtual function"), (X550, "Intel X550 virtual function")] {
        for queues in [2, 4] {
            let vf = Vf::with(device, |pf| pf.queues = queues);
            let opened = vf.open().unwrap();
            let info = opened.info();
            assert_eq!((info.driver, &*info.model, info.permanent_mac), ("ixgbevf", name, MacAddr(MAC)));
            assert_eq!((info.max_rx_queues, info.max_tx_queues, info.max_mtu), (queues as u16, queues as u16, 9710));
            assert_eq!(info.rss.table_len, if device == X550 { 64 } else { 128 });
            let absent = Caps::FLOW_CONTROL | Caps::FLOW_STEERING | Caps::RX_COALESCING | Caps::HEADER_SPLIT | Caps::SR_IOV;
            assert!(!info.caps.intersects(absent) && info.caps.contains(Caps::RSS | Caps::INTERRUPTS | Caps::VLAN_FILTERS | Caps::RECOVERY));
        }
    }
}

/// Its physical function may have no address for it, and says so by refusing the reset's answer.
#[test]
fn a_function_without_an_address_takes_one_and_has_it_let_in() {
    for device in ALL {
        let vf = Vf::with(device, |pf| pf.gives_address = false);
        let mut started = vf.start(&Config::new());
        let mac = started.control.info().permanent_mac;
        assert!(mac.is_valid_unicast() && mac.0[0] == 2, "{mac}");
        vf.exchange(&mut started, 5);
    }
}

#[test]
fn a_port_is_not_opened_as_a_function_nor_the_other_way_round() {
    let vf = Vf::of(I82599);
    let error = ixgbe::open(vf.device.function(), vf.clock.clone()).unwrap_err().to_string();
    assert!(error.contains("8086:10ed") && error.contains("it is for physical functions of Intel (8086) 82599, X540 and X550"), "{error}");
    let model = sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions::new());
    let bed = sim::Testbed::new("sim:ixgbe", Box::new(model), &sim::Iommu::new());
    let error = ixgbe::vf::open(bed.device.function(), bed.clock.clone()).unwrap_err().to_string();
    assert!(error.contains("which the ixgbevf driver does not drive: it is for virtual functions of Intel (8086) 82599, X540 and X550"), "{error}");
}

#[test]
fn it_can_be_opened_and_started_again_and_again() {
    let vf = Vf::of(X540);
    for _ in 0..3 {
        let mut started = vf.start(&Config::new());
        vf.exchange(&mut started, 3);
        started.control.stop().unwrap();
    }
}
