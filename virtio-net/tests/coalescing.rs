//! How far apart interrupts are: the device keeps an interval that it was told by its control queue, of all queues of a direction or of each.

use super::rig::{Rig, numbered, small};
use driver_core::buf::Batch;
use driver_core::device::{Config, ConfigError, Moderation, NetDevice};
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::Iommu;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::{ErrorKind, HardwareError};

/// VIRTIO_NET_CTRL_NOTF_COAL.
const CLASS: u8 = 6;
const US: u32 = 500;

/// Cards that keep an interval: for all queues, and for one.
fn cards() -> [Options; 2] {
    [Options::new().notf_coal(true), Options::new().vq_notf_coal(true)]
}

fn fixed(us: u32) -> Config {
    small().interrupts(true).moderation(Moderation::Fixed { us })
}

#[test]
fn an_interrupt_waits_for_the_interval_since_the_first_frame() {
    for options in cards() {
        let mut rig = Rig::with(options);
        let mut parts = rig.parts(&fixed(US));
        assert_eq!(rig.model(|m| m.coalescing()), [(32, US); 2], "half a ring of 64, and the time");
        let mut batch = Batch::new(64);
        for _ in 0..3 {
            assert!(!parts.rx.arm());
            for number in 0..5 {
                rig.send(&numbered(number, 60));
                rig.run_us(80);
                assert_eq!(parts.rx.interrupt().unwrap().wait(Some(0)).unwrap(), 0, "{number}");
            }
            rig.run_us(u64::from(US));
            assert_eq!(parts.rx.interrupt().unwrap().wait(Some(0)).unwrap(), 1, "one for all five");
            assert_eq!(parts.rx.poll(&mut batch, 64), 5);
            batch.clear();
        }
        drop((parts, batch));
        rig.assert_clean();
    }
}

#[test]
fn half_a_ring_of_frames_does_not_wait() {
    for options in cards() {
        let mut rig = Rig::with(options);
        let mut parts = rig.parts(&fixed(100_000));
        assert!(!parts.rx.arm());
        (0..31).for_each(|number| rig.send(&numbered(number, 60)));
        rig.run_us(100);
        assert_eq!(parts.rx.interrupt().unwrap().wait(Some(0)).unwrap(), 0);
        rig.send(&numbered(31, 60));
        rig.run_us(100);
        assert_eq!(parts.rx.interrupt().unwrap().wait(Some(0)).unwrap(), 1);
        assert_eq!(parts.receive().len(), 32);
        drop(parts);
        rig.assert_clean();
    }
}

/// When a full transmit queue hears that there is room, on a wire that takes a frame in 100 us.
fn room_us(options: Options, us: u32) -> u64 {
    let mut rig = Rig::in_domain(&Iommu::new(), options, 100);
    let mut parts = rig.parts(&fixed(us));
    let mut batch = Batch::new(128);
    (0..100).for_each(|number| batch.push(parts.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap());
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    assert!(!parts.tx.arm());
    let begun_us = rig.clock.now_us();
    while parts.tx.interrupt().unwrap().wait(Some(0)).unwrap() == 0 {
        rig.run_us(10);
        assert!(rig.clock.now_us() - begun_us < 20_000);
    }
    let waited_us = rig.clock.now_us() - begun_us;
    rig.arrived();
    drop((parts, batch));
    rig.assert_clean();
    waited_us
}

#[test]
fn transmit_queues_wait_as_well() {
    for options in cards() {
        let (at_once, later) = (room_us(options.clone(), 0), room_us(options, 1_000));
        assert!((1..=1_100).contains(&(later - at_once)), "{later} us beside {at_once} us");
    }
}

#[test]
fn the_interval_is_set_while_the_device_runs() {
    for options in cards() {
        let rig = Rig::with(options);
        let mut parts = rig.parts(&small().interrupts(true));
        let told = |rig: &Rig| rig.model(|m| m.coalescing());
        assert_eq!(told(&rig), [(0, 0); 2], "as they come");
        for us in [50, 100_000] {
            parts.control.set_moderation(Moderation::Fixed { us }).unwrap();
            assert_eq!((told(&rig), parts.control.settings().moderation()), (vec![(32, us); 2], Moderation::Fixed { us }));
        }
        let error = parts.control.set_moderation(Moderation::Fixed { us: 100_001 }).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::Moderation { asked_us: 100_001, max_us: 100_000 })), "{error}");
        parts.control.set_moderation(Moderation::Adaptive).unwrap();
        assert_eq!((told(&rig), parts.control.settings().moderation()), (vec![(0, 0); 2], Moderation::Adaptive));
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn a_shorter_interval_ends_the_wait_of_what_came_before() {
    let mut rig = Rig::with(Options::new().notf_coal(true));
    let mut parts = rig.parts(&fixed(100_000));
    assert!(!parts.rx.arm());
    rig.send(&numbered(1, 60));
    rig.run_us(200);
    assert_eq!(parts.rx.interrupt().unwrap().wait(Some(0)).unwrap(), 0);
    parts.control.set_moderation(Moderation::Fixed { us: 100 }).unwrap();
    rig.run_us(20);
    assert_eq!(parts.rx.interrupt().unwrap().wait(Some(0)).unwrap(), 1);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn an_interval_that_is_refused_leaves_the_one_before() {
    for options in cards() {
        let rig = Rig::with(options);
        let mut parts = rig.parts(&fixed(US));
        rig.faults(|faults| faults.ctrl_refuse_after = Some((CLASS, 0)));
        let error = parts.control.set_moderation(Moderation::Fixed { us: 70 }).unwrap_err();
        assert!(matches!(error.hardware(), Some(HardwareError::CommandRefused { .. })), "{error}");
        assert_eq!(parts.control.settings().moderation(), Moderation::Fixed { us: US });
        assert_eq!(rig.model(|m| m.coalescing()), [(32, US); 2]);
        parts.control.set_moderation(Moderation::Fixed { us: 70 }).unwrap();
        assert_eq!(rig.model(|m| m.coalescing()), [(32, 70); 2]);
        drop(parts);
        rig.assert_clean();
    }
}

/// The second of two commands is refused: what the first has changed is taken back.
#[test]
fn queues_do_not_differ_behind_a_refusal() {
    for options in cards() {
        let rig = Rig::with(options);
        let mut parts = rig.parts(&fixed(US));
        rig.faults(|faults| faults.ctrl_refuse_after = Some((CLASS, 1)));
        parts.control.set_moderation(Moderation::Fixed { us: 70 }).unwrap_err();
        assert_eq!(rig.model(|m| m.coalescing()), [(32, US); 2]);
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn a_device_without_the_feature_or_without_interrupts_says_so() {
    let rig = Rig::new();
    let mut parts = rig.parts(&fixed(US));
    assert_eq!(parts.control.info().max_moderation_us, 0);
    assert!(matches!(parts.control.set_moderation(Moderation::Fixed { us: 1 }).unwrap_err().kind(), ErrorKind::Unsupported { .. }));
    drop(parts);
    rig.assert_clean();
    let rig = Rig::with(Options::new().notf_coal(true));
    let mut parts = rig.parts(&small());
    assert_eq!(parts.control.info().max_moderation_us, 100_000);
    assert!(matches!(parts.control.set_moderation(Moderation::Fixed { us: 1 }).unwrap_err().kind(), ErrorKind::Unsupported { .. }));
    assert_eq!(rig.model(|m| m.coalescing()), [(0, 0); 2]);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn every_queue_of_several_pairs_is_told() {
    for options in cards() {
        let rig = Rig::with(options.pairs(4).rss(true));
        let config = Config::new().rx_queues(3).tx_queues(2).rx_ring(64).tx_ring(128).interrupts(true).moderation(Moderation::Fixed { us: US });
        let started = rig.start(&config);
        let told = rig.model(|m| m.coalescing());
        assert_eq!((told[0], told[2], told[4]), ((32, US), (32, US), (32, US)));
        assert_eq!((told[1], told[3]), ((64, US), (64, US)), "of the rings of transmit queues");
        drop(started);
        rig.assert_clean();
    }
}
