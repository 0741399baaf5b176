//! Transmit queues that have work and do not move.

use std::sync::Arc;

use super::tx_script::{CAPACITY, Rig, default_gate, rig_on};
use crate::buf::batch::Batch;
use crate::device::state::Shared;
use crate::host::clock::Clock;
use crate::queue::contract::{TxQueue, TxState};
use crate::queue::core::kernel::WhyStuck;
use crate::queue::core::lent::{Left, Silence};
use crate::ring::fault::QueueFault;
use crate::testing::SleepClock;

const LIMIT_US: u64 = 1000;

/// A full queue whose gate is closed, in a device that is watched; what did not fit is in the batch.
fn full() -> (Rig<true>, Arc<SleepClock>, Batch) {
    let clock = Arc::new(SleepClock::new());
    clock.sleep_us(5);
    let mut rig = rig_on::<true>(default_gate(), Shared::watched(clock.clone(), LIMIT_US));
    let mut batch = Batch::new(64);
    for _ in 0..2 * CAPACITY {
        batch.push(rig.pool.frame_from(&[7; 60]).unwrap()).unwrap();
    }
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    (rig, clock, batch)
}

/// The device sends its next frames and reports them.
fn send(rig: &Rig<true>, frames: usize) {
    rig.script.state().sent += frames;
}

#[test]
fn a_full_queue_that_does_not_move_hangs_when_its_time_is_over() {
    let (mut rig, clock, mut batch) = full();
    assert_eq!((rig.tx.submit(&mut batch), rig.tx.fault()), (TxState::Stopped, None));
    clock.sleep_us(LIMIT_US - 1);
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    // One frame that goes out is progress, though it makes too little room.
    send(&rig, 1);
    clock.sleep_us(1);
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    clock.sleep_us(LIMIT_US - 1);
    assert_eq!((rig.tx.submit(&mut batch), rig.woken()), (TxState::Stopped, 0));
    clock.sleep_us(1);
    let fault = QueueFault::Hung { queue: 0, since_us: 5 + LIMIT_US };
    assert_eq!((rig.tx.submit(&mut batch), rig.tx.fault(), rig.woken()), (TxState::Broken(fault), Some(fault), 1));
    // Told once, it stays, and who looks at the device sees it.
    send(&rig, 10);
    assert_eq!((rig.tx.submit(&mut batch), rig.tx.reclaim()), (TxState::Broken(fault), 0));
    assert_eq!(rig.shared.device_state().name(), "hung");
}

#[test]
fn a_queue_that_is_only_asked_what_came_back_hangs_too() {
    let (mut rig, clock, _batch) = full();
    send(&rig, CAPACITY as usize - 1);
    assert_eq!(rig.tx.reclaim(), CAPACITY as usize - 1);
    for _ in 0..3 {
        assert_eq!((rig.tx.reclaim(), rig.tx.fault()), (0, None));
        clock.sleep_us(LIMIT_US / 3);
    }
    clock.sleep_us(LIMIT_US / 3);
    assert_eq!((rig.tx.reclaim(), rig.tx.fault()), (0, Some(QueueFault::Hung { queue: 0, since_us: 5 })));
}

#[test]
fn an_empty_queue_waits_for_ever() {
    let (mut rig, clock, mut batch) = full();
    batch.clear();
    send(&rig, CAPACITY as usize);
    assert_eq!(rig.tx.reclaim(), CAPACITY as usize);
    for _ in 0..5 {
        clock.sleep_us(LIMIT_US);
        assert_eq!((rig.tx.reclaim(), rig.tx.submit(&mut batch)), (0, TxState::Running));
    }
}

#[test]
fn without_a_link_nothing_hangs_and_with_one_its_time_begins_anew() {
    let (mut rig, clock, mut batch) = full();
    rig.script.state().why_stuck = WhyStuck::NoLink;
    for _ in 0..10 {
        assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
        clock.sleep_us(LIMIT_US);
    }
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    rig.script.state().why_stuck = WhyStuck::Unknown;
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    // A link that was gone for a part of the time only is seen as well.
    clock.sleep_us(LIMIT_US / 2);
    rig.script.state().why_stuck = WhyStuck::NoLink;
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    rig.script.state().why_stuck = WhyStuck::Unknown;
    clock.sleep_us(LIMIT_US / 2);
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    clock.sleep_us(LIMIT_US);
    assert!(matches!(rig.tx.submit(&mut batch), TxState::Broken(QueueFault::Hung { .. })));
}

#[test]
fn a_device_that_is_gone_is_told_so_and_confirms_nothing() {
    let (mut rig, clock, mut batch) = full();
    rig.script.state().why_stuck = WhyStuck::Lost(QueueFault::Gone);
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    // It is not waited for as one that hangs.
    clock.sleep_us(LIMIT_US / 4);
    assert_eq!(rig.tx.submit(&mut batch), TxState::Broken(QueueFault::Gone));
    let Rig { tx, script, mut shared, .. } = rig;
    drop(tx);
    assert_eq!(script.state().stops, 0, "nobody waits for a register");
    // SAFETY: there is no device.
    shared.set_stopped(unsafe { Silence::confirmed() });
    assert_eq!(shared.tx_totals().lost, super::LOST, "what it had lent waited for the device's end");
    script.state().in_flight.clear();
}

#[test]
fn what_the_device_left_is_told_to_the_queue_when_it_goes() {
    let (rig, _, _batch) = full();
    let Rig { tx, script, mut shared, .. } = rig;
    shared.set_stopping();
    shared.set_left(0, Left { descriptors: 4, tail: 0 });
    // SAFETY: there is no device.
    shared.set_stopped(unsafe { Silence::confirmed() });
    assert_eq!((shared.tx_totals().lost, script.state().left), (4, None));
    drop(tx);
    assert_eq!((shared.tx_totals().lost, script.state().left), (super::LOST, Some(4)));
    script.state().in_flight.clear();
}
