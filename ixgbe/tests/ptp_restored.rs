//! Behind a reset the clock goes on as if there had been none, and stamps are made as before. The clock follows the link's speed.

use crate::common::{Card, I82599, X540, X550, frame};
use crate::ptp::{NEAR_NS, arrives, clock, now_ns, submit, sync, watched_us, xstat};
use crate::rescue::Ward;
use driver_core::device::{Frequency, NetDevice, Rule, RxMode, SentStamp, Timestamps};
use driver_core::host::Clock;
use sim::Mishap;
use sim::ixgbe::Ixgbe as Model;

const CARDS: [u16; 3] = [I82599, X540, X550];

#[test]
fn the_clock_goes_on_over_a_recovery() {
    for device in CARDS {
        let mut ward = Ward::of(device, &crate::rescue::config().timestamps(Timestamps::Ptp).rx_mode(RxMode::ALL_MULTICAST));
        let clock = clock(&ward.port);
        ward.port.control.add_rule(&Rule::to_queue(0).ethertype(0x88f7)).unwrap();
        let ahead_ns = 1_790_000_000_000_000_000;
        clock.set(ahead_ns + ward.card.clock.now_ns()).unwrap();
        for cause in [Mishap::Hang, Mishap::MemoryError, Mishap::Hang] {
            ward.suffer(cause);
            ward.submit(10);
            ward.until_recovered();
            ward.wait_for_link();
            let off_ns = now_ns(&clock).abs_diff(ahead_ns + ward.card.clock.now_ns());
            assert!(off_ns < NEAR_NS, "{device:#x}: the clock is off by {off_ns} ns");
        }
        ward.card.arrived();
        let (stamp, _, [before, after]) = arrives(&ward.card, &mut ward.port, &sync());
        assert!((before..=after).contains(&stamp.unwrap()), "{device:#x}");
        submit(&mut ward.port, &sync(), Some(5));
        ward.card.run_us(50);
        assert!(clock.take_sent().unwrap().unwrap().at_ns.unwrap() > after, "{device:#x}");
        ward.ends();
    }
}

#[test]
fn so_does_its_frequency() {
    for device in CARDS {
        let mut ward = Ward::of(device, &crate::rescue::config().timestamps(Timestamps::Ptp));
        let clock = clock(&ward.port);
        clock.set_frequency(Frequency::from_ppb(20_000_000)).unwrap();
        ward.suffer(Mishap::MemoryError);
        ward.until_recovered();
        let begun = clock.read().unwrap();
        ward.card.run_us(1_000_000);
        let ended = clock.read().unwrap();
        let gained = (ended.device_ns - begun.device_ns) as i64 - (ended.system_before_ns - begun.system_before_ns) as i64;
        assert!((gained - 20_000_000).abs() < 2_000, "{device:#x}: {gained} ns in a second");
        ward.ends();
    }
}

/// What waited for its stamp when the card was reset has none, and the next may ask.
#[test]
fn a_frame_that_was_lost_is_told() {
    let mut ward = Ward::new(&crate::rescue::config().timestamps(Timestamps::Ptp));
    let clock = clock(&ward.port);
    ward.suffer(Mishap::Hang);
    submit(&mut ward.port, &sync(), Some(1));
    ward.until_recovered();
    ward.wait_for_link();
    assert_eq!(clock.take_sent().unwrap(), Some(SentStamp { id: 1, at_ns: None }));
    submit(&mut ward.port, &sync(), Some(2));
    ward.card.run_us(50);
    let told = clock.take_sent().unwrap().unwrap();
    assert!(told.id == 2 && told.at_ns.is_some(), "{told:?}");
    assert_eq!(xstat(&mut ward.port, "tx_hwtstamp_skipped"), 0);
    ward.ends();
}

#[test]
fn every_frame_is_stamped_again() {
    let mut ward = Ward::of(X550, &crate::rescue::config().timestamps(Timestamps::All));
    ward.suffer(Mishap::MemoryError);
    ward.until_recovered();
    ward.wait_for_link();
    let sent = frame(crate::common::MAC, 100, 3);
    let (stamp, bytes, [before, after]) = arrives(&ward.card, &mut ward.port, &sent);
    assert!((before..=after).contains(&stamp.unwrap()) && bytes == sent);
    ward.ends();
}

/// The cycle of 82599 and X540 is ten times as long at 1 Gbit/s: the clock is told so when somebody looks at the device.
#[test]
fn the_clock_follows_the_links_speed() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&crate::ptp::config(Timestamps::Ptp));
        let clock = clock(&started);
        for speed_mbps in [1_000, 100, 10_000] {
            card.device.set_carrier(false);
            card.run_us(10_000);
            // SAFETY: no frame is on its way.
            unsafe { card.device.with_model(|model: &mut Model| model.set_speed(speed_mbps)) }.unwrap();
            card.device.set_carrier(true);
            watched_us(&card, &mut started, 200_000);
            assert_eq!(started.control.link().speed_mbps, Some(speed_mbps));
            let begun = clock.read().unwrap();
            watched_us(&card, &mut started, 1_000_000);
            let ended = clock.read().unwrap();
            let (passed, wanted) = (ended.device_ns - begun.device_ns, ended.system_before_ns - begun.system_before_ns);
            assert!(passed.abs_diff(wanted) < 2_000, "{device:#x} at {speed_mbps} Mbit/s: {passed} ns in {wanted}");
            let (stamp, _, [before, after]) = arrives(&card, &mut started, &sync());
            assert!((before..=after).contains(&stamp.unwrap()), "{device:#x} at {speed_mbps} Mbit/s");
        }
        card.assert_no_violations();
    }
}
