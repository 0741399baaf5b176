//! The card's clock: it runs with time, is set, moved and slewed, and is compared with the host's.

use crate::common::{Card, I82599, X540, X550};
use crate::ptp::{NEAR_NS, clock, config, now_ns, watched_us};
use driver_core::device::{Frequency, NetDevice, Timestamps};
use driver_core::host::Clock;

const CARDS: [u16; 3] = [I82599, X540, X550];

#[test]
fn it_runs_with_time() {
    for device in CARDS {
        let card = Card::of(device);
        let mut started = card.start(&config(Timestamps::Ptp));
        let clock = clock(&started);
        let (begun_ns, begun_us) = (now_ns(&clock), card.clock.now_us());
        // Longer than the counters of X540 (68 s) last.
        watched_us(&card, &mut started, 150_000_000);
        let (passed_ns, passed_us) = (now_ns(&clock) - begun_ns, card.clock.now_us() - begun_us);
        assert!(passed_ns.abs_diff(passed_us * 1000) <= NEAR_NS, "{device:#x}: {passed_ns} ns in {passed_us} us");
        card.assert_no_violations();
    }
}

#[test]
fn it_is_set_and_moved() {
    for device in CARDS {
        let card = Card::of(device);
        let started = card.start(&config(Timestamps::Ptp));
        let clock = clock(&started);
        let near = |wanted: u64| assert!(now_ns(&clock).abs_diff(wanted) < NEAR_NS, "{device:#x}: {} is not {wanted}", now_ns(&clock));
        // A time of this century.
        let set = 1_790_000_000_123_456_789;
        clock.set(set).unwrap();
        near(set);
        clock.adjust(37_000_000_000).unwrap();
        near(set + 37_000_000_000);
        clock.adjust(-74_000_000_000).unwrap();
        near(set - 37_000_000_000);
        clock.set(5).unwrap();
        clock.adjust(-1_000_000_000).unwrap();
        near(0);
        card.assert_no_violations();
    }
}

#[test]
fn it_runs_faster_and_slower_and_no_more_than_it_can() {
    for device in CARDS {
        let card = Card::of(device);
        let started = card.start(&config(Timestamps::Ptp));
        let clock = clock(&started);
        let gains = |ppb: i32| {
            clock.set_frequency(Frequency::from_ppb(ppb)).unwrap();
            let begun = clock.read().unwrap();
            card.run_us(1_000_000);
            let ended = clock.read().unwrap();
            (ended.device_ns - begun.device_ns) as i64 - (ended.system_before_ns - begun.system_before_ns) as i64
        };
        let step_ppb = i64::from(clock.limits().step_ppt / 1000 + 1);
        for ppb in [0, 1_000, -1_000, 10_000_000, -10_000_000] {
            let seen = gains(ppb);
            // In a second as many nanoseconds as parts per billion; the simulated time has steps of a microsecond.
            assert!((seen - i64::from(ppb)).abs() <= step_ppb + 100, "{device:#x}: gains {seen} ns in a second, wanted {ppb}");
        }
        let most = i64::from(clock.limits().max_ppb);
        for (ppb, wanted) in [(i32::MAX, most), (i32::MIN, -most)] {
            let seen = gains(ppb);
            assert!((seen - wanted).abs() < 2_000, "{device:#x}: gains {seen} ns in a second, at most {wanted}");
        }
        card.assert_no_violations();
    }
}

#[test]
fn it_is_compared_with_the_hosts() {
    let card = Card::new();
    let started = card.start(&config(Timestamps::Ptp));
    let clock = clock(&started);
    clock.set(card.clock.now_ns()).unwrap();
    card.run_us(10_000);
    let reading = clock.read().unwrap();
    assert!(reading.offset_ns().unsigned_abs() < 1_500, "{reading:?}");
    clock.adjust(2_000_000).unwrap();
    assert!((clock.read().unwrap().offset_ns() - 2_000_000).unsigned_abs() < 1_500);
    card.assert_no_violations();
}

/// A daemon has a handle of its own, and goes on with it in another thread.
#[test]
fn a_stopped_device_has_no_time() {
    let card = Card::new();
    let mut started = card.start(&config(Timestamps::Ptp));
    let clock = clock(&started);
    let other = clock.clone();
    std::thread::spawn(move || other.read().unwrap()).join().unwrap();
    started.control.stop().unwrap();
    let error = clock.read().unwrap_err().to_string();
    assert!(error.contains("using its clock") && error.contains("stopped"), "{error}");
    assert!(clock.set(1).is_err() && clock.adjust(1).is_err() && clock.set_frequency(Frequency::NOMINAL).is_err() && clock.take_sent().is_err());
    card.assert_no_violations();
}

#[test]
fn a_card_that_is_gone_has_none_either() {
    let card = Card::new();
    let started = card.start(&config(Timestamps::Ptp));
    let clock = clock(&started);
    card.faults(|faults| faults.gone = true);
    let error = clock.read().unwrap_err().to_string();
    assert!(error.contains("does not answer") || error.contains("gone"), "{error}");
}
