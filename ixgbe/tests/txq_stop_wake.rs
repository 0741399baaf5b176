//! A wire of one frame a millisecond: the queue stops, hands back what did not fit, wakes once for each stop, and loses nothing.

use std::sync::atomic::Ordering;

use crate::rig::{Rig, count_wakes, number_in, queue};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice};
use driver_core::queue::{GateConfig, TxQueue, TxState};

const FRAMES: u32 = 400;

fn stop_and_wake(gate: GateConfig, len: usize) {
    let mut rig = Rig::slowed(1_000);
    let mut port = rig.start(&Config::new().tx_ring(64).gate(gate));
    let tx = &mut port.tx[0];
    let woken = count_wakes(tx);
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
    stop_and_wake(GateConfig::default().stop_below(1).wake_at(2), 60);
    stop_and_wake(GateConfig::default().stop_below(30).wake_at(31), 1000);
}

#[test]
fn by_bytes() {
    stop_and_wake(GateConfig::default().stop_below(8).wake_at(32).byte_limit(10_000), 1000);
}

#[test]
fn a_wake_mark_that_unreported_descriptors_hide_is_refused() {
    let rig = Rig::new();
    let device = ixgbe::open(rig.device.function(), rig.clock.clone()).unwrap();
    let gate = GateConfig::default().stop_below(8).wake_at(64);
    let Err(error) = device.start(&Config::new().tx_ring(64).gate(gate)) else { panic!("it started") };
    assert!(error.to_string().contains("wake_at (64)"), "{error}");
}

/// Fills the queue with `plain` frames, then offers one of `segments` pieces until it is taken: the queue must wake for it.
fn wakes_for_a_frame_of(segments: usize, plain: u32, gate: GateConfig, ring: u32) {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new().tx_ring(ring).gate(gate));
    let tx = &mut port.tx[0];
    let mut batch = Batch::new(1024);
    queue(&mut batch, &port.pool, 0..plain, 60);
    let mut pieces = port.pool.frame_from(&crate::rig::numbered(plain, 60)).unwrap();
    for _ in 1..segments {
        pieces.append(port.pool.frame_from(&[1]).unwrap());
    }
    let _state = tx.submit(&mut batch);
    batch.push(pieces).unwrap();
    for _ in 0..100 {
        if tx.submit(&mut batch) == TxState::Running && batch.is_empty() {
            break;
        }
        rig.run_us(100);
    }
    assert!(batch.is_empty(), "stuck with {} descriptors pending", tx.pending());
    rig.run_us(10_000);
    assert_eq!(rig.arrived().len(), plain as usize + 1);
    assert_eq!(rig.violations(), "");
}

#[test]
fn a_frame_that_finds_too_little_room_wakes_the_queue_that_it_stopped() {
    wakes_for_a_frame_of(39, 25, GateConfig::default(), 64);
    wakes_for_a_frame_of(10, 503, GateConfig::default().stop_below(8).wake_at(500), 512);
    wakes_for_a_frame_of(1, 63, GateConfig::default().stop_below(0).wake_at(48), 64);
}

#[test]
fn a_byte_limit_counts_small_frames_too() {
    let rig = Rig::slowed(1_000);
    let gate = GateConfig::default().stop_below(8).wake_at(32).byte_limit(600);
    let mut port = rig.start(&Config::new().gate(gate));
    let mut batch = Batch::new(128);
    queue(&mut batch, &port.pool, 0..100, 60);
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Stopped);
    assert_eq!(batch.len(), 89, "ten frames are 600 bytes, and the eleventh is over the limit");
}

#[test]
fn padding_into_an_empty_last_segment_finds_its_descriptor() {
    let mut rig = Rig::slowed(100);
    let mut port = rig.start(&Config::new().tx_ring(64).gate(GateConfig::default().stop_below(0).wake_at(1)));
    let pool = port.pool.clone();
    let tx = &mut port.tx[0];
    let mut batch = Batch::new(512);
    for number in 0..300 {
        let mut bytes = crate::rig::numbered(number, 60);
        bytes.truncate(20);
        let mut frame = pool.frame_from(&bytes).unwrap();
        frame.append(pool.take().unwrap());
        batch.push(frame).unwrap();
    }
    for _ in 0..1_000 {
        let _state = tx.submit(&mut batch);
        assert!(tx.pending() < 64);
        if batch.is_empty() {
            break;
        }
        rig.run_us(1_000);
    }
    rig.run_us(100_000);
    let numbers: Vec<u32> = rig.arrived().iter().map(|frame| number_in(frame)).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    port.control.stop().unwrap();
    drop((port, batch));
    assert_eq!(pool.available(), pool.len());
    assert_eq!(rig.violations(), "");
}
