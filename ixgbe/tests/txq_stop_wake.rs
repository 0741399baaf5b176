//! A wire of one frame a millisecond: the queue stops, hands back what did not fit, wakes once for each stop, and loses nothing.

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use driver_core::batch::Batch;
use driver_core::device::{Config, NetDevice};
use driver_core::gate::GateConfig;
use driver_core::queue::{TxQueue, TxState};
use rig::{Rig, number_in, queue};

const FRAMES: u32 = 400;

fn stop_and_wake(gate: GateConfig, len: usize) {
    let mut rig = Rig::slowed(1_000);
    let mut port = rig.start(&Config { tx_ring: 64, gate, ..Config::default() });
    let tx = &mut port.tx[0];
    let woken = Arc::new(AtomicU32::new(0));
    tx.on_wake(Some(Box::new({
        let woken = woken.clone();
        move || {
            woken.fetch_add(1, Ordering::Relaxed);
        }
    })));
    let mut batch = Batch::new(FRAMES as usize);
    queue(&mut batch, &port.pool, 0..FRAMES, len);
    let mut stops = 0;
    let mut was_stopped = false;
    for _ in 0..3 * FRAMES {
        let before: Vec<u32> = batch.frames().iter().map(|frame| number_in(frame.data())).collect();
        let state = tx.submit(&mut batch);
        let after: Vec<u32> = batch.frames().iter().map(|frame| number_in(frame.data())).collect();
        assert!(before.ends_with(&after), "what did not fit stays, in order");
        match state {
            TxState::Running => {
                assert!(batch.is_empty(), "a running queue took everything");
                was_stopped = false;
            }
            TxState::Stopped => {
                stops += u32::from(!was_stopped || after.len() < before.len());
                was_stopped = true;
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stops, woken.load(Ordering::Relaxed) + u32::from(was_stopped), "one wake for each stop");
        if batch.is_empty() && tx.pending() == 0 {
            break;
        }
        rig.run_us(1_000);
    }
    assert!(batch.is_empty());
    assert!(stops >= 3, "it stopped {stops} times");
    // The last frames may ask for no report; they were sent all the same.
    rig.run_us(100_000);
    tx.reclaim();
    let counters = tx.counters();
    assert_eq!((counters.packets, counters.stops), (u64::from(FRAMES), u64::from(stops)));
    assert_eq!(u32::try_from(counters.wakes).unwrap(), woken.load(Ordering::Relaxed));
    let numbers: Vec<u32> = rig.arrived().iter().map(|frame| number_in(frame)).collect();
    assert_eq!(numbers, (0..FRAMES).collect::<Vec<_>>(), "every frame, once, in order");
    port.control.stop().unwrap();
    drop(port.tx);
    drop(batch);
    drop(port.rx);
    assert_eq!(port.pool.available(), port.pool.len(), "every buffer is back");
    assert_eq!(rig.violations(), "");
}

#[test]
fn by_descriptors() {
    stop_and_wake(GateConfig::default(), 60);
}

#[test]
fn at_the_edges_of_the_ring() {
    stop_and_wake(GateConfig { stop_below: 1, wake_at: 2, byte_limit: None }, 60);
    stop_and_wake(GateConfig { stop_below: 30, wake_at: 31, byte_limit: None }, 1000);
}

#[test]
fn by_bytes() {
    stop_and_wake(GateConfig { stop_below: 8, wake_at: 32, byte_limit: Some(10_000) }, 1000);
}

#[test]
fn a_wake_mark_that_unreported_descriptors_hide_is_refused() {
    let rig = Rig::new();
    let device = ixgbe::open(rig.device.function(), rig.clock.clone()).unwrap();
    let gate = GateConfig { stop_below: 8, wake_at: 64, byte_limit: None };
    let Err(error) = device.start(&Config { tx_ring: 64, gate, ..Config::default() }) else { panic!("it started") };
    assert!(error.to_string().contains("wake_at (64)"), "{error}");
}
