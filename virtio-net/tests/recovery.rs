//! A device that hangs or asks for a reset is reset and set up as it was, with queues of either layout: the program hears of it when it is over.

use super::rig::{Rig, numbered};
use super::ward::{WATCH_US, Ward, config};
use driver_core::buf::Batch;
use driver_core::device::{DeviceState, NetDevice, Recovery, RxMode};
use driver_core::ether::MacAddr;
use driver_core::queue::{QueueFault, RxQueue};
use sim::Mishap;
use sim::virtio_net::VirtioNetOptions as Options;

#[test]
fn a_hung_transmitter_is_reset_and_what_was_in_flight_is_lost_and_counted() {
    let mut ward = Ward::new(&config());
    for round in 1..=3 {
        ward.exchange();
        ward.suffer(Mishap::Hang);
        ward.submit(10);
        let recovered = ward.until_recovered();
        assert!(matches!(recovered.cause, QueueFault::Hung { queue: 0, .. }), "{recovered}");
        assert_eq!((recovered.attempts, recovered.lost), (1, 10), "{recovered}");
        let xstats = ward.parts.control.xstats();
        let of = |name: &str| xstats.iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value);
        assert_eq!((of("resets"), of("recoveries"), of("tx_q0_lost")), (Some(round), Some(round), Some(10 * round)));
    }
    ward.exchange();
    // A queue that stands at another count than the device's used index hangs no more than before.
    for _ in 0..1_000 {
        ward.turn();
    }
    assert_eq!(ward.parts.control.recovered(), None);
    ward.rig.audit.excuse("frames that left the card that hung");
    ward.ends();
}

#[test]
fn a_device_that_asks_for_a_reset_gets_one() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    ward.suffer(Mishap::NeedsReset);
    let recovered = ward.until_recovered();
    assert_eq!((recovered.cause, recovered.attempts, recovered.lost), (QueueFault::NeedsReset, 1, 0), "{recovered}");
    ward.exchange();
    ward.ends();
}

#[test]
fn frames_that_nobody_polled_are_counted() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    for number in 0..5 {
        ward.rig.send(&numbered(number, 60));
    }
    ward.rig.run_us(100);
    ward.suffer(Mishap::NeedsReset);
    ward.rig.run_us(100);
    ward.parts.control.watch();
    let recovered = ward.until_recovered();
    assert_eq!((recovered.lost, ward.parts.rx.counters().lost), (5, 5), "{recovered}");
    ward.exchange();
    ward.ends();
}

/// A device that wants to know how far its queues are (2.9) is told of no buffer that is not there, though the program holds all that are to spare.
#[test]
fn a_device_is_told_how_far_its_rings_are_again() {
    let rig = Rig::with(Options::new().notification_data(true));
    let pool = super::rig::pool(&rig, 80);
    let parts = rig.parts(&config().pool(pool));
    let mut ward = Ward::of(rig, parts);
    let mut held = Batch::new(64);
    for number in 0..40 {
        ward.rig.send(&numbered(number, 60));
        ward.rig.run_us(20);
        ward.parts.rx.poll(&mut held, 1);
    }
    assert_eq!(held.len(), 16, "a frame is taken for an empty buffer, of which there are no more");
    ward.suffer(Mishap::NeedsReset);
    ward.until_recovered();
    assert_eq!(ward.rig.violations(), "");
    drop(held);
    ward.rig.send(&numbered(99, 60));
    assert_eq!((0..5).map(|_| ward.turn()).sum::<usize>(), 1);
    ward.ends();
}

/// What is negotiated is the same, and what the control queue has set is set again.
#[test]
fn features_address_and_filters_are_as_they_were() {
    let mut ward = Ward::new(&config().rx_mode(RxMode::empty()));
    let mac = MacAddr([2, 0, 0, 0, 0, 0x77]);
    ward.parts.control.set_mac(mac).unwrap();
    let negotiated = ward.rig.model(|model| model.negotiated());
    ward.suffer(Mishap::NeedsReset);
    ward.until_recovered();
    assert_eq!(ward.rig.model(|model| (model.negotiated(), model.mac())), (negotiated, mac.0));
    let to = |mac: MacAddr| [&mac.0[..], &[2, 0, 0, 0, 0, 9, 8, 0], &[0; 46]].concat();
    for (address, comes) in [(MacAddr([2, 0, 0, 0, 0, 0x78]), 0), (mac, 1)] {
        ward.rig.send(&to(address));
        let came: usize = (0..5).map(|_| ward.turn()).sum();
        assert_eq!(came, comes, "{address}");
    }
    ward.ends();
}

/// Nobody has called the transmit queue since: the device goes live without it, and is reset once more when it comes.
#[test]
fn a_queue_that_comes_late_is_taken_with_one_more_reset() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    ward.suffer(Mishap::NeedsReset);
    ward.rig.run_us(100);
    for _ in 0..10 {
        ward.parts.control.watch();
        ward.rig.run_us(WATCH_US);
        assert_eq!(ward.parts.receive(), Vec::<Vec<u8>>::new());
    }
    assert_eq!(ward.parts.control.recovered().unwrap().cause, QueueFault::NeedsReset);
    ward.rig.send(&numbered(1, 60));
    ward.rig.run_us(100);
    assert_eq!(ward.parts.receive().len(), 1, "the receiver works");
    // The model's own wish: no clause forbids a device to go live while a queue of it is off.
    let noted = ward.rig.device.take_violations();
    assert_eq!(noted.len(), 1, "{noted:?}");
    let recovered = ward.until_recovered();
    assert_eq!(recovered.cause, QueueFault::NotRestarted, "{recovered}");
    ward.exchange();
    ward.ends();
}

#[test]
fn without_recovery_it_is_told_and_stays() {
    let mut ward = Ward::new(&config().recovery(Recovery::Off));
    ward.suffer(Mishap::NeedsReset);
    ward.rig.run_us(100);
    for _ in 0..3 {
        assert_eq!(ward.parts.control.watch(), DeviceState::NeedsReset);
        ward.rig.run_us(WATCH_US);
    }
    assert_eq!(ward.parts.control.recovered(), None);
    ward.ends();
}
