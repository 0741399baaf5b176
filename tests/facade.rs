//! Devices by name: opened together, started, their queues handed out, and what is said at the end.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use barewire::sim::wire::{Sent, Wire, peer};
use barewire::{Batch, Config, Error, Host, MacAddr, Port, RxMode, TxState};
use common::Directory;

const PROMISCUOUS: RxMode = RxMode { promiscuous: true, all_multicast: false };

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(host: &mut Host, spec: &str, wire: impl Wire + 'static) -> Port {
    let mut port = host.plug(spec, Box::new(wire)).unwrap().start(&Config { rx_mode: PROMISCUOUS, ..Config::default() }).unwrap();
    until("a link", || port.control.link().up);
    port
}

fn forward(from: &str, to: &str) {
    let mut host = Host::new();
    let ((a_near, mut a_far), (b_near, mut b_far)) = (peer::pair(64), peer::pair(64));
    let (mut a, mut b) = (start(&mut host, from, a_near), start(&mut host, to, b_near));
    assert!(a.pool.domain().is_same(b.pool.domain()));
    let ((mut rx, _), (_, mut tx)) = (a.take_queues().unwrap(), b.take_queues().unwrap());
    assert!(a.take_queues().is_none(), "they are out");

    let sent: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 60 + 30 * usize::from(n)]).map(|mut frame| (frame[0] = 2, frame).1).collect();
    for frame in &sent {
        assert_eq!(a_far.send(frame), Sent::Taken);
    }
    let (mut batch, mut arrived, mut frame) = (Batch::new(64), Vec::new(), Vec::new());
    until("all frames", || {
        rx.poll(&mut batch, 64);
        assert_eq!(tx.submit(&mut batch), TxState::Running);
        while b_far.receive(&mut frame) {
            arrived.push(frame.clone());
        }
        arrived.len() == sent.len()
    });
    assert!(arrived == sent, "{from} to {to}");
    assert_eq!((tx.counters().packets, tx.counters().bounced), (40, 0));
    until("the card's own count", || b.is_output_over(&mut *tx));
    drop((rx, tx));
    for (port, counted) in [(a, (40, 0)), (b, (0, 40))] {
        let report = port.finish();
        assert_eq!((report.stats.rx_packets, report.stats.tx_packets), counted);
        assert_eq!(report.violations, [""; 0]);
        report.check().unwrap();
    }
}

#[test]
fn a_frame_received_on_one_is_sent_on_another_without_a_copy() {
    forward("sim:ixgbe", "sim:ixgbe,card=x550");
    forward("sim:virtio-net", "sim:virtio-net");
}

#[test]
fn drivers_do_not_matter_to_frames() {
    forward("sim:ixgbe", "sim:virtio-net");
    forward("sim:virtio-net", "sim:ixgbe,card=x540");
}

#[test]
fn each_card_has_an_address_of_its_own() {
    let devices = barewire::open_all(&["sim:ixgbe", "sim:ixgbe", "sim:ixgbe,mac=02:00:00:00:00:77"]).unwrap();
    let macs: Vec<_> = devices.iter().map(|device| device.info().permanent_mac).collect();
    assert_eq!(macs[2], MacAddr([2, 0, 0, 0, 0, 0x77]));
    assert_ne!(macs[0], macs[1]);
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
    assert!(matches!(error, Error::Driver { .. }) && error.to_string().starts_with("sim:ixgbe: setting its address: "), "{error}");
    port.control.stop().unwrap();
    let (_, mut tx) = port.take_queues().unwrap();
    let mut batch = Batch::new(1);
    batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
    assert!(matches!(tx.submit(&mut batch), TxState::Broken(_)));
    assert_eq!(batch.len(), 1, "the frame stays with the caller");
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
    let port = start(&mut host, "sim:virtio-net", near);
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
