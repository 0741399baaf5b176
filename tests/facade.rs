//! Devices by name: opened together, started, their queues handed out, and what is said at the end.

mod common;

use std::sync::Arc;

use std::error::Error as _;

use barewire::driver_core::device::ErrorKind;
use barewire::driver_core::reg::WaitError;
use barewire::sim::ixgbe::{Ixgbe as IxgbeModel, IxgbeOptions};
use barewire::sim::virtio_net::{VirtioNet as VirtioModel, VirtioNetOptions};
use barewire::sim::wire::{Sent, Wire, peer};
use barewire::sim::{Iommu, SimClock, SimDevice};
use barewire::{Batch, Config, Error, Host, MacAddr, PoolConfig, Port, TxState};
use barewire::{ixgbe, virtio_net};
use common::Directory;
use common::ports::{self, PROMISCUOUS, until};

fn start(host: &mut Host, spec: &str, wire: impl Wire + 'static) -> Port {
    let mut port = host.plug(spec, Box::new(wire)).unwrap().start(&Config::new().rx_mode(PROMISCUOUS)).unwrap();
    until("a link", || port.control.link().up);
    port
}

fn forward(from: &str, to: &str) {
    let mut host = Host::new();
    let ((a_near, a_far), (b_near, b_far)) = (peer::pair(64), peer::pair(64));
    let (a, b) = (start(&mut host, from, a_near), start(&mut host, to, b_near));
    let sent: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 60 + 30 * usize::from(n)]).map(|mut frame| (frame[0] = 2, frame).1).collect();
    ports::forward((a, a_far), (b, b_far), &sent);
}

#[test]
fn a_frame_received_on_one_is_sent_on_another_without_a_copy() {
    forward("sim:ixgbe", "sim:ixgbe,card=x550");
    forward("sim:virtio-net", "sim:virtio-net");
}

#[test]
fn a_pool_made_before_the_start_is_shared_and_holds_jumbo_frames_in_one_piece() {
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let (mut host, (near, mut far), (other_near, _other_far)) = (Host::new(), peer::pair(64), peer::pair(64));
        let devices = [near, other_near].map(|wire| host.plug(card, Box::new(wire)).unwrap());
        let pool = devices[0].pool(PoolConfig::new(2048).data_bytes(9216)).unwrap();
        let config = Config::new().mtu(9000).rx_mode(PROMISCUOUS).pool(pool.clone());
        let [mut one, other] = devices.map(|device| device.start(&config).unwrap());
        assert_eq!((one.pool.available(), other.pool.available()), (pool.available(), pool.available()), "it is the same one");
        until("a link", || one.control.link().up);
        let sent = vec![2; 9014];
        assert_eq!(far.send(&sent), Sent::Taken);
        let ((mut rx, _tx), mut batch) = (one.take_queues().unwrap(), Batch::new(4));
        until("the frame", || rx.poll(&mut batch, 4) == 1);
        let frame = batch.pop().unwrap();
        assert_eq!((frame.segments().count(), frame.data()), (1, &sent[..]), "{card}");
    }
    let error = barewire::open("sim:ixgbe").unwrap().pool(PoolConfig::new(8).data_bytes(20_000)).unwrap_err().to_string();
    assert!(error.starts_with("sim:ixgbe: making a pool of buffers: a pool of 8 buffers of 20000 bytes"), "{error}");
}

#[test]
fn drivers_do_not_matter_to_frames() {
    forward("sim:ixgbe", "sim:virtio-net");
    forward("sim:virtio-net", "sim:ixgbe,card=x540");
    forward("sim:ixgbe,card=x540-vf", "sim:ixgbe,card=x550-vf");
    forward("sim:ixgbe,card=x550-vf", "sim:virtio-net");
}

#[test]
fn each_card_has_an_address_of_its_own() {
    let devices = barewire::open_all(&["sim:ixgbe", "sim:ixgbe", "sim:ixgbe,mac=02:00:00:00:00:77"]).unwrap();
    let macs: Vec<_> = devices.iter().map(|device| device.info().permanent_mac).collect();
    assert_eq!(macs[2], MacAddr([2, 0, 0, 0, 0, 0x77]));
    assert_ne!(macs[0], macs[1]);
    let another_host = barewire::open("sim:ixgbe").unwrap().info().permanent_mac;
    assert!(!macs.contains(&another_host) && another_host.is_valid_unicast() && another_host.0[0] & 2 != 0, "{another_host} beside {macs:?}");
    let models: Vec<_> = ["82599", "x540", "x550"].map(|card| barewire::open(&format!("sim:ixgbe,card={card}")).unwrap().info().model.clone()).into();
    assert_eq!(barewire::open("sim:virtio-net").unwrap().info().driver, "virtio-net");
    assert!(models[0].contains("82599") && models[1].contains("X540") && models[2].contains("X550"), "{models:?}");
}

#[test]
fn control_reaches_the_driver() {
    let mut host = Host::new();
    let (near, _far) = peer::pair(4);
    let mut port = start(&mut host, "sim:ixgbe", near);
    assert_eq!((port.name(), port.control.mtu()), ("sim:ixgbe", 1500));
    let mac = MacAddr([2, 0, 0, 0, 0, 0x99]);
    port.control.set_mac(mac).unwrap();
    assert_eq!(port.control.mac(), mac);
    let error = port.control.set_mac(MacAddr([0xff; 6])).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Address { .. }) && error.to_string().starts_with("sim:ixgbe: setting its address: "), "{error}");
    port.control.stop().unwrap();
    let (_, mut tx) = port.take_queues().unwrap();
    let mut batch = Batch::new(1);
    batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
    assert!(matches!(tx.submit(&mut batch), TxState::Broken(_)));
    assert_eq!(batch.len(), 1, "the frame stays with the caller");
}

/// The texts of an error and of all below it.
fn chain(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn a_register_that_is_stuck_is_found_below_the_facades_error() {
    let (near, _far) = peer::pair(4);
    let mut model = IxgbeModel::new(IxgbeOptions::default());
    // SAFETY: a reset that does not end makes the card reach no memory.
    unsafe { model.faults() }.reset_stuck = true;
    let card = SimDevice::new("sim:ixgbe", Box::new(model), Box::new(near), Iommu::new());
    let error = Error::from(ixgbe::open(card.function(), Arc::new(SimClock::new([card.clone()]))).unwrap_err());
    let Error::Device(of_device) = &error else { panic!("{error}") };
    assert_eq!((of_device.function(), of_device.step()), ("sim:ixgbe", "resetting"));
    let wait: &WaitError = error.source().and_then(|device| device.source()).and_then(|wait| wait.downcast_ref()).expect("a wait at the bottom");
    assert_eq!((wait.register, wait.offset, wait.section, wait.what), ("CTRL", 0, "8.2.3.1.1", "the reset to end (RST and LRST clear)"));
    assert!(wait.last & 1 << 26 != 0 && wait.waited_us >= 100_000 && of_device.wait() == Some(wait), "{wait:?}");
    let [whole, device, register] = &chain(&error)[..] else { panic!("{error}") };
    assert_eq!(whole, device, "the facade adds nothing");
    assert!(whole.starts_with("sim:ixgbe: resetting: waited ") && whole.contains(register.as_str()), "{whole}");
}

#[test]
fn a_drivers_own_error_is_found_below_the_facades_with_the_wait_below_it() {
    let (near, _far) = peer::pair(4);
    let mut model = VirtioModel::new(VirtioNetOptions::default());
    // SAFETY: a configuration that keeps changing makes the card reach no memory.
    unsafe { model.faults() }.restless = true;
    let card = SimDevice::new("sim:virtio-net", Box::new(model), Box::new(near), Iommu::new());
    let error = Error::from(virtio_net::open(card.function(), Arc::new(SimClock::new([card.clone()]))).unwrap_err());
    let Error::Device(of_device) = &error else { panic!("{error}") };
    assert!(matches!(of_device.hardware(), Some(virtio_net::HardwareError::ConfigUnstable { .. })), "{error}");
    assert_eq!(of_device.hardware::<ixgbe::HardwareError>(), None, "it is not another driver's");
    assert_eq!(of_device.wait().map(|wait| (wait.register, wait.offset, wait.section)), Some(("config_generation", 0x15, "4.1.4.3")));
    assert_eq!(chain(&error).len(), 4, "facade, device, driver, register");
}

#[test]
fn queues_may_outlive_their_port() {
    let mut host = Host::new();
    let (near, _far) = peer::pair(4);
    let mut port = start(&mut host, "sim:ixgbe", near);
    let (mut rx, tx) = port.take_queues().unwrap();
    port.finish().check().unwrap();
    assert_eq!(rx.poll(&mut Batch::new(4), 4), 0);
    assert!(rx.fault().is_some() && tx.fault().is_some());
}

#[test]
fn simulated_cards_have_no_events() {
    let mut host = Host::new();
    let (near, _far) = peer::pair(4);
    let mut port = start(&mut host, "sim:virtio-net", near);
    assert!(port.event().is_none() && port.events_fd().is_none());
    port.finish().check().unwrap();
}

#[test]
fn a_wire_that_cannot_be_made_is_told() {
    let directory = Directory::new("facade-wire");
    let spec = format!("sim:ixgbe,pcap-in={}", directory.file("none.pcap"));
    let error = barewire::open(&spec).unwrap_err();
    assert!(matches!(error, Error::Wire { .. }) && error.to_string().starts_with(&spec), "{error}");
    let (near, _far) = peer::pair(4);
    let error = Host::new().plug("0000:01:00.0", Box::new(near)).unwrap_err();
    assert!(matches!(error, Error::Spec(_)), "{error}");
    let clock = Host::new().clock().clone();
    assert!(Arc::strong_count(&clock) == 1 && clock.now_us() < 1_000_000);
}
