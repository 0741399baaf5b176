//! Interrupts are as far apart as was set, or as the rate of frames asks for (7.3.2, 8.2.3.5.12).

use crate::common::{Card, I82599, MAC, Started, X540, X550, frame, received};
use driver_core::device::{Config, ConfigError, ErrorKind, Moderation, NetDevice};
use driver_core::host::{Clock, RegSpace};
use driver_core::queue::RxQueue;

/// EITR of vector 0, whose counter's bits are above 20.
const EITR_0: u32 = 0x820;
const INTERVAL: u32 = 0xFF8;

fn config(moderation: Moderation) -> Config {
    Config::new().interrupts(true).moderation(moderation)
}

/// How often the queue fires where a frame comes every `gap_us` for `us`, and it is armed and emptied each time.
fn fires(card: &Card, started: &mut Started, gap_us: u64, us: u64) -> u64 {
    let rx = &mut started.rx[0];
    (0..us / gap_us).fold(0, |all, seed| {
        rx.arm();
        card.send_within(&frame(MAC, 64, seed as u8), gap_us);
        received(rx);
        all + rx.interrupt().unwrap().wait(Some(0)).unwrap()
    })
}

#[test]
fn a_fixed_interval_is_kept_on_every_family_and_a_new_one_from_the_next_arming_on() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&config(Moderation::Fixed { us: 100 }));
        let all = fires(&card, &mut started, 5, 4_000);
        assert!((38..=41).contains(&all), "{all} in 4 ms, 100 us apart");
        started.control.set_moderation(Moderation::Fixed { us: 400 }).unwrap();
        let all = fires(&card, &mut started, 5, 8_000);
        assert!((18..=22).contains(&all), "{all} in 8 ms, 400 us apart");
        started.control.set_moderation(Moderation::Fixed { us: 0 }).unwrap();
        assert_eq!(fires(&card, &mut started, 5, 1_000), 200, "one a frame");
        assert_eq!(started.control.settings().moderation(), Moderation::Fixed { us: 0 });
        card.assert_no_violations();
    }
}

#[test]
fn by_the_rate_few_frames_fire_at_once_and_many_wait_for_each_other() {
    let card = Card::new();
    let mut started = card.start(&config(Moderation::Adaptive));
    assert_eq!(fires(&card, &mut started, 100, 10_000), 100, "10,000 frames a second: one a frame");
    let at_once = {
        let rx = &mut started.rx[0];
        rx.arm();
        card.send_within(&frame(MAC, 64, 0), 5);
        rx.interrupt().unwrap().wait(Some(0)).unwrap()
    };
    assert_eq!((at_once, received(&mut started.rx[0]).len()), (1, 1), "within 5 us");
    fires(&card, &mut started, 10, 3_000);
    let all = fires(&card, &mut started, 10, 10_000);
    assert!((195..=205).contains(&all), "{all} at 100,000 frames a second: 50 us apart");
    fires(&card, &mut started, 2, 3_000);
    let all = fires(&card, &mut started, 2, 10_000);
    assert!((78..=82).contains(&all), "{all} at 500,000 frames a second: 125 us apart");
    fires(&card, &mut started, 100, 3_000);
    assert_eq!(fires(&card, &mut started, 100, 2_000), 20, "few again");
    card.assert_no_violations();
}

#[test]
fn what_eitr_cannot_count_is_refused_and_nothing_changes() {
    let card = Card::new();
    let (error, _) = crate::common::refused(card.open().unwrap().start(&config(Moderation::Fixed { us: 1023 })));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::Moderation { asked_us: 1023, max_us: 1022 })), "{error}");
    let mut started = card.start(&config(Moderation::Fixed { us: 1021 }));
    let bar = card.registers();
    assert_eq!(bar.read32(EITR_0) & INTERVAL, 511 << 3, "rounded up to 1022 us");
    let text = started.control.set_moderation(Moderation::Fixed { us: 5_000 }).unwrap_err().to_string();
    assert_eq!(
        text,
        "sim:ixgbe: setting how far apart its interrupts are: interrupts 5000 us apart asked for: take 0 to 1022, or `Moderation::Adaptive`"
    );
    assert_eq!(started.control.settings().moderation(), Moderation::Fixed { us: 1021 });
    started.rx[0].arm();
    assert_eq!(bar.read32(EITR_0) & INTERVAL, 511 << 3);
    card.assert_no_violations();
}

#[test]
fn without_interrupts_there_is_nothing_to_set() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    let text = started.control.set_moderation(Moderation::Adaptive).unwrap_err().to_string();
    assert!(text.contains("does not do interrupts at intervals as it was started: start it with interrupts"), "{text}");
    card.assert_no_violations();
}

/// A frame that comes at any moment around the arming wakes who sleeps: none is slept over, whatever the interval.
#[test]
fn no_frame_is_slept_over_whenever_it_comes() {
    for moderation in [Moderation::Fixed { us: 0 }, Moderation::Fixed { us: 30 }, Moderation::Adaptive] {
        let card = Card::new();
        let mut started = card.start(&config(moderation));
        let rx = &mut started.rx[0];
        let (mut slept, mut seen) = (0, 0);
        // Before the poll, between poll and arming, behind it; and as far from the interrupt before as it takes for the interval to be over, or not.
        for (number, (place, before_us)) in (0..3).flat_map(|place| (0..60).map(move |before_us| (place, before_us))).enumerate() {
            card.run_us(before_us);
            let bytes = frame(MAC, 64, number as u8);
            let comes_at = |now| {
                if place == now {
                    card.send_within(&bytes, number as u64 % 3);
                }
            };
            comes_at(0);
            let mut got = received(rx).len();
            comes_at(1);
            let is_there = got == 0 && rx.arm();
            comes_at(2);
            let deadline = card.clock.now_us() + 60;
            while got == 0 && !is_there {
                card.run_us(1);
                // As a poller does: woken for nothing, by what fired late for the frame before, it arms again.
                if rx.interrupt().unwrap().wait(Some(0)).unwrap() > 0 {
                    slept += 1;
                    got = received(rx).len();
                    if got > 0 || rx.arm() {
                        break;
                    }
                }
                assert!(card.clock.now_us() < deadline, "{moderation:?}, place {place}, {before_us} us: slept over");
            }
            got += received(rx).len();
            assert_eq!(got, 1, "{moderation:?}, place {place}, {before_us} us");
            seen += got;
            rx.interrupt().unwrap().wait(Some(0)).unwrap();
        }
        assert!(seen == 180 && slept >= 60, "{slept} of {seen}");
        card.assert_no_violations();
    }
}
