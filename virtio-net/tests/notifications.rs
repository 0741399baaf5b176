//! Notifications in both directions: by flags, by event index, across the wrap-around of the 16-bit indexes.

use super::rig::{Parts, Rig, bytes_of, numbered, small, without};
use driver_core::buf::Batch;
use driver_core::device::{Caps, NetDevice};
use driver_core::host::Clock;
use driver_core::queue::{Poller, RxQueue, TxQueue, TxState};
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

/// Sends `count` frames one at a time, letting the card run after each, and sees them arrive.
fn ping(rig: &mut Rig, parts: &mut Parts, count: u32) {
    for number in 0..count {
        parts.send([&numbered(number, 60)]);
        rig.device.step();
        rig.device.step();
        assert_eq!(rig.arrived(), [numbered(number, 60)], "frame {number}");
    }
}

#[test]
fn indexes_wrap_around_and_nothing_is_lost() {
    for features in [Features::empty(), Features::EVENT_IDX] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&super::rig::any().rx_ring(8).tx_ring(64));
        let mut batch = Batch::new(8);
        let frame = numbered(1, 60);
        // More than 65536 frames each way.
        for round in 0..66_000 / 8 {
            for _ in 0..8 {
                rig.send(&frame);
            }
            rig.device.step();
            assert_eq!(parts.rx.poll(&mut batch, 8), 8, "round {round}");
            assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            rig.device.step();
            rig.device.step();
            assert_eq!(rig.arrived().len(), 8, "round {round}");
        }
        assert_eq!(rig.model(|m| m.counters().dropped), 0);
        drop((parts, batch));
        rig.assert_clean();
    }
}

#[test]
fn one_notification_a_submit_and_none_while_the_device_is_busy() {
    for features in [Features::empty(), Features::EVENT_IDX] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&super::rig::any().tx_ring(256));
        let frames: Vec<_> = (0..32).map(|k| numbered(k, 60)).collect();
        let notified = |rig: &Rig| rig.model(|m| m.counters().notifications[1]);
        parts.send(&frames);
        assert_eq!(notified(&rig), 1);
        // It was told and has not looked yet: with event indexes it need not be told again. What it wants of a packed queue it has not said before it looked.
        parts.send(&frames);
        let second = notified(&rig);
        assert!(super::rig::is_packed() || features.contains(Features::EVENT_IDX) || second == 1, "{second}");
        // The card has taken a part of the chains, and goes on by itself: it wants no notification.
        rig.device.step();
        assert_eq!(rig.arrived().len(), 32);
        parts.send(&frames);
        assert_eq!(notified(&rig), second);
        rig.run_us(20);
        assert_eq!(rig.arrived().len(), 64);
        // Idle again, it wants one.
        parts.send(&frames);
        assert_eq!(notified(&rig), second + 1);
        rig.run_us(20);
        assert_eq!(rig.arrived().len(), 32);
        assert_eq!(parts.tx.counters().doorbells, second + 1);
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn a_card_that_ran_out_of_buffers_hears_of_new_ones_and_no_other_does() {
    for features in [Features::empty(), Features::EVENT_IDX] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&small());
        let notified = |rig: &Rig| rig.model(|m| m.counters().notifications[0]);
        assert_eq!(notified(&rig), 1, "of the first buffers");
        for round in 1..20 {
            // As many as there are buffers: it has not run out before it looks for one more.
            (0..64).for_each(|number| rig.send(&numbered(number, 60)));
            rig.run_us(20);
            assert_eq!(parts.receive().len(), 64);
            assert_eq!(notified(&rig), round);
            (0..70).for_each(|number| rig.send(&numbered(number, 60)));
            rig.run_us(20);
            assert_eq!(parts.receive().len(), 64);
            assert_eq!(notified(&rig), round + 1);
            assert_eq!(rig.model(|m| m.counters().dropped), 6 * round);
            rig.run_us(20);
        }
        drop(parts);
        rig.assert_clean();
    }
}

/// The last buffers do not hold a long frame, and hold the short one behind it: the card has still run out.
#[test]
fn a_card_that_ran_out_of_buffers_hears_of_new_ones_though_a_frame_fitted_since() {
    for features in [Features::empty(), Features::EVENT_IDX] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&small().mtu(9000));
        for round in 1..20 {
            (0..62).for_each(|number| rig.send(&numbered(number, 60)));
            rig.send(&numbered(62, 9000));
            rig.run_us(20);
            rig.send(&numbered(63, 60));
            rig.run_us(20);
            let wanted: Vec<_> = (0..64).filter(|&number| number != 62).map(|number| numbered(number, 60)).collect();
            assert_eq!(parts.receive(), wanted, "round {round}");
            rig.run_us(20);
            // One of the two buffers is used since, the other is still with the card.
            (0..63).for_each(|number| rig.send(&numbered(number, 60)));
            rig.run_us(20);
            assert_eq!(parts.receive().len(), 63);
            assert_eq!(rig.model(|m| m.counters().dropped), round);
        }
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn every_frame_goes_out_whatever_the_moment_of_its_notification() {
    for features in [Features::empty(), Features::EVENT_IDX] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&small());
        ping(&mut rig, &mut parts, 500);
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn an_armed_queue_fires_at_the_next_frame_and_a_polled_one_not() {
    for features in [Features::empty(), Features::EVENT_IDX] {
        let mut rig = Rig::with(without(features));
        let mut started = rig.start(&small().interrupts(true));
        let mut rx = started.rx.remove(0);
        let mut batch = Batch::new(64);
        // Not armed: silence.
        rig.send(&numbered(1, 60));
        rig.run_us(20);
        assert_eq!(rx.interrupt().unwrap().wait(Some(0)).unwrap(), 0);
        assert!(rx.arm(), "a frame is there already");
        assert_eq!(rx.poll(&mut batch, 64), 1);
        // Armed and empty: one interrupt.
        assert!(!rx.arm());
        rig.send(&numbered(2, 60));
        rig.run_us(20);
        assert_eq!(rx.interrupt().unwrap().wait(Some(0)).unwrap(), 1);
        assert_eq!(rx.poll(&mut batch, 64), 1);
        // Polled since: silence again.
        for number in 0..30 {
            rig.send(&numbered(number, 60));
            rig.run_us(20);
            assert_eq!(rx.poll(&mut batch, 64), 1);
            batch.clear();
        }
        assert_eq!(rx.interrupt().unwrap().wait(Some(0)).unwrap(), 0);
        drop((rx, batch, started));
        rig.assert_clean();
    }
}

#[test]
fn a_poller_sleeps_when_idle_and_receives_everything() {
    let mut rig = Rig::new();
    let mut started = rig.start(&small().interrupts(true));
    let mut poller = Poller::new(started.rx.remove(0)).unwrap();
    let mut batch = Batch::new(64);
    for number in 0..50 {
        assert_eq!(poller.next(&mut batch, Some(10)).unwrap(), 0);
        rig.send(&numbered(number, 60));
        assert_eq!(poller.next(&mut batch, Some(1_000)).unwrap(), 1);
        assert_eq!(bytes_of(&batch.frames()[0]), numbered(number, 60));
        batch.clear();
    }
    drop((poller, batch, started));
    rig.assert_clean();
}

#[test]
fn the_link_interrupt_tells_of_the_cable_and_changes_are_counted() {
    let rig = Rig::new();
    let mut started = rig.start(&small().interrupts(true));
    assert!(started.control.link().up);
    for (up, changes) in [(false, 2), (true, 3)] {
        rig.device.set_carrier(up);
        rig.run_us(20);
        let interrupt = started.control.link_interrupt().unwrap();
        assert_eq!(interrupt.wait(Some(0)).unwrap(), 1);
        assert_eq!(started.control.link().up, up);
        assert_eq!(started.control.stats().carrier_changes, changes);
    }
    assert!(rig.clock.now_us() > 0);
    drop(started);
    rig.assert_clean();
}

#[test]
fn traffic_goes_on_after_each_of_thirty_flaps() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    assert!(parts.control.link().up);
    let mut batch = Batch::new(8);
    for flap in 1..=30 {
        rig.device.set_carrier(false);
        rig.run_us(20);
        assert!(!parts.control.link().up, "{flap}");
        rig.device.set_carrier(true);
        rig.run_us(20);
        assert!(parts.control.link().up, "{flap}");
        ping(&mut rig, &mut parts, 3);
        rig.send(&numbered(flap, 100));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 8), 1, "{flap}");
        assert_eq!(bytes_of(&batch.pop().unwrap()), numbered(flap, 100));
        assert_eq!(parts.control.stats().carrier_changes, 1 + 2 * u64::from(flap));
    }
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn one_vector_serves_the_queue_and_the_link() {
    let mut rig = Rig::with(Options::new().vectors(1));
    assert!(rig.open().unwrap().info().caps.contains(Caps::INTERRUPTS));
    let mut started = rig.start(&small().interrupts(true));
    assert!(started.control.link().up && started.control.info().used_caps.contains(Caps::INTERRUPTS));
    assert!(started.control.link_interrupt().is_none(), "it is the queue's");
    // Whoever sleeps on the queue wakes for a frame, and for the cable.
    let mut batch = Batch::new(8);
    let rx = &mut started.rx[0];
    assert_eq!((rx.poll(&mut batch, 8), rx.arm()), (0, false));
    rig.send(&numbered(1, 60));
    rig.run_us(20);
    assert!(rx.interrupt().unwrap().wait(Some(0)).unwrap() > 0 && rx.poll(&mut batch, 8) == 1);
    rig.device.set_carrier(false);
    rig.run_us(20);
    assert_eq!(rx.interrupt().unwrap().wait(Some(0)).unwrap(), 1);
    assert!(!started.control.link().up && started.control.stats().carrier_changes == 2);
    drop((started, batch));
    rig.assert_clean();
}

#[test]
fn without_the_status_feature_the_link_is_up() {
    let rig = Rig::with(without(Features::STATUS));
    let mut started = rig.start(&small());
    rig.device.set_carrier(false);
    rig.run_us(20);
    assert!(started.control.link().up);
    drop(started);
    rig.assert_clean();
}
