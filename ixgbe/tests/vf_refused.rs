//! What a virtual function does not do, or its physical function does not let it do, is refused by name.

use crate::function::{ALL, I82599, Vf, X540, frame_to};
use driver_core::device::{Config, FlowControl, FlowRoom, FlowTable, NetDevice, RssConfig, Rule, RxConfig};
use driver_core::ether::MacAddr;
use driver_core::testing::received;
use sim::ixgbe::PfManner;

#[test]
fn what_is_the_physical_functions_is_refused_at_the_start_and_later() {
    for device in ALL {
        let vf = Vf::of(device);
        let rules = "rules for received frames: the tables are its physical function's";
        for config in [Config::new().rules(&[Rule::drop().ethertype(0x1234)]), Config::new().flow_table(FlowTable::Exact(FlowRoom::Small))] {
            let error = vf.open().unwrap().start(&config).unwrap_err().to_string();
            assert!(error.contains(rules), "{error}");
        }
        let error = vf.open().unwrap().start(&Config::new().rx_queues(2).mac_pools(1)).unwrap_err().to_string();
        assert!(error.contains("this device has no such queues"), "{error}");
        let mut started = vf.start(&Config::new());
        let control = &mut started.control;
        let refused = |result: Result<(), ixgbe::Error>, text: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        refused(control.add_rule(&Rule::drop().ethertype(0x1234)).map(drop), rules);
        refused(control.set_flow_control(FlowControl::all()), "flow control by pause frames");
        refused(control.set_rss(&RssConfig::new()), "spreading of flows (RSS) as it was started");
        refused(control.eeprom().map(drop), "reads of an EEPROM");
        refused(control.module().map(drop), "pluggable modules");
        vf.exchange(&mut started, 3);
    }
}

#[test]
fn more_queues_than_the_physical_function_gives_are_refused() {
    let vf = Vf::with(X540, |pf| pf.queues = 2);
    let error = vf.open().unwrap().start(&Config::new().rx(RxConfig::new().queues(3))).unwrap_err().to_string();
    assert!(error.contains("3 receive queues"), "{error}");
    // Four queues of the pool, and three vectors.
    let vf = Vf::of(X540);
    let error = vf.open().unwrap().start(&Config::new().rx(RxConfig::new().queues(4)).interrupts(true)).unwrap_err().to_string();
    assert!(error.contains('3') && error.contains("vectors"), "{error}");
}

#[test]
fn a_function_that_is_not_trusted_keeps_its_address() {
    let vf = Vf::with(X540, |pf| pf.trusts = false);
    let mut started = vf.start(&Config::new());
    let error = started.control.set_mac(MacAddr([2, 0, 0, 0, 0, 0x51])).unwrap_err().to_string();
    assert!(error.contains("setting its address: the device does not do this address: its physical function refuses it"), "{error}");
    let error = started.control.set_unicast_filters(&[MacAddr([2, 0, 0, 0, 0, 0x52])]).unwrap_err().to_string();
    assert!(error.contains("1 unicast addresses asked for, the device filters 0 beside its own"), "{error}");
    assert!(vf.takes(&mut started, &frame_to(crate::function::MAC, 60, 1)), "the old one");
    vf.exchange(&mut started, 3);
}

/// A physical function's driver that refuses whatever it can: what cannot be gone without ends the start, by name.
#[test]
fn one_that_refuses_everything_ends_the_start() {
    let vf = Vf::of(I82599);
    vf.manner(PfManner::Refusing);
    let error = vf.open().unwrap().start(&Config::new()).unwrap_err();
    assert!(error.to_string().contains("frames as long as its MTU wants: its physical function refuses them"), "{error}");
    // The function is given back as it was.
    vf.manner(PfManner::Proper);
    let mut started = error.into_parts().1.start(&Config::new()).unwrap();
    vf.run_us(5_000);
    vf.send(&frame_to(crate::function::MAC, 60, 1));
    vf.run_us(100);
    assert_eq!(received(&mut started.rx[0]).len(), 1);
}

#[test]
fn a_link_that_is_disabled_for_the_function_is_down() {
    for device in ALL {
        let vf = Vf::with(device, |pf| pf.enables_link = false);
        let mut started = vf.start(&Config::new());
        assert!(!started.control.link().up);
        assert!(started.control.watch().is_running());
    }
}

/// The tags that frames have are the port's business.
#[test]
fn what_the_ports_registers_decide_is_left_out() {
    for device in ALL {
        let vf = Vf::of(device);
        let mut started = vf.start(&Config::new().double_vlan(0x88a8).rx_coalescing(true).header_split(true));
        let settings = started.control.settings();
        assert_eq!((settings.double_vlan(), settings.coalesces(), settings.splits_headers()), (None, false, false));
        vf.exchange(&mut started, 3);
    }
}
