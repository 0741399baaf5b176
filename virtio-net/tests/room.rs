//! Waiting for room in a full transmit queue: by its vector, with event indexes and without, and by the clock where it has none.

use super::rig::{Rig, Started, numbered, small, without};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice};
use driver_core::host::Clock;
use driver_core::queue::{GateConfig, RxQueue, TX_PAUSE_US, TxQueue, TxState};
use sim::Iommu;
use sim::virtio_net::VirtioNetOptions;
use virtio_net::Features;

const RING: u32 = 64;

fn config() -> Config {
    small().interrupts(true)
}

/// Cards with event indexes and without.
fn both() -> [VirtioNetOptions; 2] {
    [without(Features::empty()), without(Features::EVENT_IDX)]
}

/// How often the queue's interrupt fired since the last time.
fn fired(tx: &mut impl TxQueue) -> u64 {
    tx.interrupt().unwrap().wait(Some(0)).unwrap()
}

/// A batch of more frames than the ring takes, of which as many as it takes went in.
fn full(port: &mut Started) -> Batch {
    let mut batch = Batch::new(256);
    for number in 0..2 * RING {
        batch.push(port.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Stopped);
    batch
}

#[test]
fn whoever_waits_wakes_when_the_device_has_sent_enough() {
    for options in both() {
        let mut rig = Rig::with(options);
        let mut port = rig.start(&config());
        rig.model(|model| model.hold_tx = true);
        let mut batch = full(&mut port);
        assert_eq!(port.tx[0].wait_for_room(Some(5_000)), Ok(false));
        rig.model(|model| model.hold_tx = false);
        // Waiting for an interrupt moves the device.
        assert_eq!(port.tx[0].wait_for_room(None), Ok(true));
        assert_eq!((port.tx[0].counters().stops, port.tx[0].counters().wakes), (1, 1));
        while !batch.is_empty() {
            let _ = port.tx[0].submit(&mut batch);
            assert_eq!(port.tx[0].wait_for_room(None), Ok(true));
        }
        rig.run_us(1_000);
        assert_eq!(rig.arrived().len(), 2 * RING as usize);
        drop((port, batch));
        rig.assert_clean();
    }
}

#[test]
fn an_event_index_fires_once_for_all_the_room_that_is_missing() {
    for (options, has_event_idx) in both().into_iter().zip([true, false]) {
        let mut rig = Rig::in_domain(&Iommu::new(), options, 1_000);
        let mut port = rig.start(&config().gate(GateConfig::default().stop_below(8).wake_at(32)));
        let batch = full(&mut port);
        assert_eq!((batch.len(), port.tx[0].arm()), (64, false), "64 descriptors are with the device");
        let (mut arrived, mut fires) = (0, Vec::new());
        for _ in 0..60 {
            rig.run_us(1_000);
            arrived += rig.arrived().len();
            if fired(&mut port.tx[0]) > 0 {
                fires.push(arrived);
            }
        }
        if has_event_idx {
            assert_eq!(fires, [32], "once, with the frame that makes enough room");
        } else {
            assert_eq!(fires, (1..=arrived).collect::<Vec<_>>(), "with every frame");
        }
        // It runs, and is silent from here on.
        assert!(port.tx[0].arm());
        rig.run_us(50_000);
        assert_eq!(fired(&mut port.tx[0]), 0);
    }
}

#[test]
fn a_queue_that_nobody_waits_for_interrupts_nobody() {
    for options in both() {
        let rig = Rig::in_domain(&Iommu::new(), options, 10);
        let mut port = rig.start(&config());
        for _ in 0..5 {
            let mut batch = full(&mut port);
            while port.tx[0].submit(&mut batch) == TxState::Stopped {
                rig.run_us(1_000);
            }
        }
        rig.run_us(10_000);
        assert_eq!(fired(&mut port.tx[0]), 0);
        rig.assert_clean();
    }
}

#[test]
fn what_was_sent_before_the_arming_is_seen_by_the_look_behind_it() {
    for options in both() {
        let rig = Rig::with(options);
        rig.model(|model| model.hold_tx = true);
        let mut port = rig.start(&config());
        let mut batch = full(&mut port);
        rig.run_us(1_000);
        assert!(!port.tx[0].arm(), "sent, and not given back");
        rig.model(|model| model.hold_tx = false);
        rig.run_us(1_000);
        assert!(port.tx[0].arm() && fired(&mut port.tx[0]) > 0, "given back, and told");
        // The same where it is given back before anybody arms: no interrupt comes, and none is needed.
        assert_eq!(port.tx[0].submit(&mut batch), TxState::Stopped);
        rig.run_us(10_000);
        assert!(port.tx[0].arm());
        assert_eq!((port.tx[0].wait_for_room(None), fired(&mut port.tx[0])), (Ok(true), 0));
        rig.assert_clean();
    }
}

#[test]
fn a_device_with_fewer_vectors_is_waited_for_by_the_clock() {
    for (vectors, has_link) in [(1, false), (2, true)] {
        let rig = Rig::in_domain(&Iommu::new(), VirtioNetOptions::new().vectors(vectors), 1_000);
        let mut port = rig.start(&config());
        assert_eq!((port.rx[0].interrupt().is_some(), port.control.link_interrupt().is_some()), (true, has_link));
        let mut batch = full(&mut port);
        assert!(port.tx[0].interrupt().is_none() && !port.tx[0].arm());
        let before = rig.clock.now_us();
        assert_eq!(port.tx[0].wait_for_room(Some(5_000)), Ok(false));
        assert_eq!(rig.clock.now_us() - before, 5_000);
        assert_eq!(port.tx[0].wait_for_room(None), Ok(true));
        assert!((20_000..40_000 + TX_PAUSE_US).contains(&(rig.clock.now_us() - before)), "{}", rig.clock.now_us() - before);
        let _ = port.tx[0].submit(&mut batch);
        drop((port, batch));
        rig.assert_clean();
    }
}

#[test]
fn a_device_that_takes_no_vector_for_its_transmit_queue_starts_all_the_same() {
    let rig = Rig::in_domain(&Iommu::new(), VirtioNetOptions::new(), 1_000);
    rig.faults(|faults| faults.refuse_vector = Some(1));
    let mut port = rig.start(&config());
    assert!(port.rx[0].interrupt().is_some() && port.control.link_interrupt().is_some() && port.tx[0].interrupt().is_none());
    let _batch = full(&mut port);
    assert_eq!(port.tx[0].wait_for_room(None), Ok(true), "by the clock");
    rig.device.set_carrier(false);
    rig.run_us(100);
    assert!(port.control.link_interrupt().unwrap().wait(Some(0)).unwrap() > 0, "the link has the vector that it was given");
}
