//! A memory mapped device: found, started and driven by its block of registers, with queues of either layout, and one interrupt line.

use super::rig::{Rig, Started, numbered, small};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice, NetDriver, Recovery, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::virtio_net::VirtioNetOptions as Options;
use sim::{Mishap, Model as _, SimFunction};
use virtio_net::{Features, HardwareError, VirtioNet};

fn options() -> Options {
    Options::new().mmio(true)
}

fn open(rig: &Rig) -> VirtioNet<SimFunction> {
    virtio_net::open_mmio(rig.device.function(), rig.clock.clone()).unwrap().expect("a device")
}

fn start(rig: &Rig, config: &Config) -> Started {
    rig.audit.watch(open(rig)).start(config).unwrap()
}

/// A frame in, the same out.
fn echo(rig: &mut Rig, started: &mut Started, frame: &[u8]) {
    rig.send(frame);
    rig.run_us(100);
    let mut batch = Batch::new(4);
    assert_eq!(started.rx[0].poll(&mut batch, 4), 1);
    assert!(matches!(started.tx[0].submit(&mut batch), TxState::Running));
    rig.run_us(100);
    assert_eq!(rig.arrived(), [frame]);
}

#[test]
fn the_handshake_is_in_order_and_by_registers_of_32_bits() {
    let rig = Rig::with(options());
    let device = open(&rig);
    assert_eq!((device.info().permanent_mac, device.info().max_mtu), (MacAddr([2, 0, 0, 0x1a, 0xf4, 0x41]), 9000));
    let started = device.start(&small()).unwrap();
    // ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, with both queues and the control queue ready.
    assert_eq!(rig.model(|model| (model.status(), model.counters().enabled)), (1 | 2 | 8 | 4, 3));
    let packed = rig.model(|model| model.negotiated()) & Features::RING_PACKED.bits() != 0;
    assert_eq!(packed, super::rig::is_packed());
    drop(started);
    assert_eq!(rig.model(|model| model.status()), 0);
    rig.assert_clean();
}

#[test]
fn frames_go_both_ways() {
    let mut rig = Rig::with(options());
    let mut started = start(&rig, &small());
    // More than the rings hold, so that they go round.
    for number in 0..200 {
        echo(&mut rig, &mut started, &numbered(number, 60 + number as usize));
    }
    rig.assert_clean();
}

#[test]
fn notifications_say_how_far_the_queue_is_where_the_device_wants_it() {
    // NOTIF_CONFIG_DATA has no register here: it is left alone.
    let mut rig = Rig::with(options().notification_data(true).notif_config_data(true));
    let mut started = start(&rig, &small());
    let negotiated = Features::from_bits_retain(rig.model(|model| model.negotiated()));
    assert!(negotiated.contains(Features::NOTIFICATION_DATA) && !negotiated.contains(Features::NOTIF_CONFIG_DATA), "{negotiated:?}");
    for number in 0..200 {
        echo(&mut rig, &mut started, &numbered(number, 60));
    }
    rig.assert_clean();
}

#[test]
fn an_interrupt_is_acknowledged_and_the_next_one_comes() {
    let mut rig = Rig::with(options());
    // Bits that the specification does not know.
    rig.faults(|faults| faults.isr = 0x8000_0010);
    let mut started = start(&rig, &small().interrupts(true));
    assert!(started.rx[0].interrupt().is_some() && started.tx[0].interrupt().is_none(), "one line, which wakes the receiver");
    let mut batch = Batch::new(4);
    for number in 0..5 {
        started.rx[0].arm();
        rig.send(&numbered(number, 60));
        assert!(started.rx[0].interrupt().unwrap().wait(Some(10_000)).unwrap() > 0, "interrupt {number}");
        assert_eq!(started.rx[0].poll(&mut batch, 4), 1, "frame {number}");
        batch = Batch::new(4);
    }
    started.rx[0].arm();
    assert_eq!(started.rx[0].interrupt().unwrap().wait(Some(1_000)).unwrap(), 0, "nothing came");
    // A link that goes is told by the same line, and leaves it free for frames.
    rig.device.set_carrier(false);
    assert!(started.rx[0].interrupt().unwrap().wait(Some(10_000)).unwrap() > 0);
    assert!(!started.control.link().up);
    rig.device.set_carrier(true);
    assert!(started.rx[0].interrupt().unwrap().wait(Some(10_000)).unwrap() > 0);
    assert!(started.control.link().up);
    rig.assert_clean();
}

#[test]
fn an_address_that_changes_while_it_is_read_is_read_again() {
    let rig = Rig::with(options());
    rig.faults(|faults| faults.mac_changes = 3);
    let device = open(&rig);
    assert_eq!(device.info().permanent_mac.0, rig.model(|model| model.mac()));
    drop(device);
    let restless = Rig::with(options());
    restless.faults(|faults| faults.restless = true);
    let error = virtio_net::open_mmio(restless.device.function(), restless.clock.clone()).unwrap_err();
    assert!(matches!(error.hardware(), Some(HardwareError::ConfigUnstable { .. })), "{error}");
    rig.assert_clean();
}

#[test]
fn the_control_queue_sets_filters() {
    let mut rig = Rig::with(options());
    let mut started = start(&rig, &small().rx_mode(RxMode::empty()));
    let mac = MacAddr([2, 0, 0, 0, 0, 0x77]);
    started.control.set_mac(mac).unwrap();
    assert_eq!(rig.model(|model| model.mac()), mac.0);
    let to = |mac: MacAddr| [&mac.0[..], &[2, 0, 0, 0, 0, 9, 8, 0], &[0; 46]].concat();
    for (address, comes) in [(MacAddr([2, 0, 0, 0, 0, 0x78]), 0), (mac, 1)] {
        rig.send(&to(address));
        rig.run_us(100);
        assert_eq!(started.rx[0].poll(&mut Batch::new(4), 4), comes, "{address}");
    }
    rig.assert_clean();
}

#[test]
fn pairs_of_queues_are_polled() {
    let rig = Rig::with(options().pairs(4).rss(true));
    let config = Config::new().rx_mode(RxMode::PROMISCUOUS).rx_queues(4).tx_queues(4);
    let started = start(&rig, &config);
    assert_eq!((started.rx.len(), rig.model(|model| model.counters().enabled)), (4, 9));
    rig.assert_clean();
}

#[test]
fn a_place_without_a_device_is_no_error_and_left_alone() {
    let rig = Rig::with(options());
    rig.faults(|faults| faults.device_id = Some(0));
    assert!(virtio_net::open_mmio(rig.device.function(), rig.clock.clone()).unwrap().is_none());
    rig.assert_clean();
}

#[test]
fn other_registers_and_the_legacy_interface_are_refused_by_name() {
    let refused = |change: fn(&mut sim::virtio_net::Faults)| {
        let rig = Rig::with(options());
        rig.faults(change);
        let error = virtio_net::open_mmio(rig.device.function(), rig.clock.clone()).unwrap_err();
        assert_eq!(rig.model(|model| model.status()), 0, "nothing is written");
        rig.assert_clean();
        (error.hardware().cloned(), error.to_string())
    };
    let (magic, _) = refused(|faults| faults.magic = Some(0));
    assert_eq!(magic, Some(HardwareError::Mmio { register: "MagicValue", read: 0, needed: 0x7472_6976 }));
    let (legacy, text) = refused(|faults| faults.version = Some(1));
    assert!(matches!(legacy, Some(HardwareError::Mmio { register: "Version", read: 1, .. })) && text.contains("legacy"), "{text}");
    let (newer, text) = refused(|faults| faults.version = Some(3));
    assert!(matches!(newer, Some(HardwareError::Mmio { register: "Version", read: 3, .. })) && !text.contains("legacy"), "{text}");
    let (disk, _) = refused(|faults| faults.device_id = Some(2));
    assert!(matches!(disk, Some(HardwareError::Mmio { register: "DeviceID", read: 2, .. })));
}

#[test]
fn what_a_device_says_wrongly_is_an_error() {
    for size in [0, 3, 0x8001] {
        let rig = Rig::with(options());
        rig.faults(|faults| faults.queue_size = Some(size));
        let error = virtio_net::open_mmio(rig.device.function(), rig.clock.clone()).unwrap_err();
        assert!(matches!(error.hardware(), Some(HardwareError::Queue { index: 0, .. })), "{size}: {error}");
    }
    let stuck = Rig::with(options());
    stuck.faults(|faults| faults.reset_stuck = true);
    let error = virtio_net::open_mmio(stuck.device.function(), stuck.clock.clone()).unwrap_err();
    assert!(error.to_string().contains("Status"), "{error}");
}

#[test]
fn it_tests_itself() {
    let rig = Rig::with(options());
    rig.run_us(100);
    let report = format!("{:?}", open(&rig).self_test(1_000_000).unwrap());
    assert!(report.contains("Status keeps its bits"), "{report}");
    rig.assert_clean();
}

#[test]
fn a_device_that_asks_for_a_reset_gets_one() {
    let mut rig = Rig::with(options());
    let mut started = start(&rig, &small().recovery(Recovery::default()));
    echo(&mut rig, &mut started, &numbered(1, 60));
    assert!(rig.model(|model| model.suffer(Mishap::NeedsReset)));
    for _ in 0..100 {
        rig.clock.sleep_us(10_000);
        started.rx[0].poll(&mut Batch::new(4), 4);
        started.tx[0].reclaim();
        started.control.watch();
    }
    assert_eq!(started.control.recovered().expect("a recovery").attempts, 1);
    echo(&mut rig, &mut started, &numbered(2, 60));
    rig.assert_clean();
}
