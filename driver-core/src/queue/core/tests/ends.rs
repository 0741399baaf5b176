//! What becomes of lent memory when its queue goes: before its device, after it, or on another thread at the same time.

use std::sync::Arc;
use std::sync::Mutex;
use std::vec::Vec;

use super::{Fate, LOST, Ring};
use crate::device::state::{DeviceState, Shared};
use crate::queue::core::lent::{Left, Silence, Stop};
use crate::queue::core::seat::{Seat, State};
use crate::ring::fault::QueueFault;

/// The test's word: there is no device.
fn silence() -> Silence {
    // SAFETY: no device knows of any memory.
    unsafe { Silence::confirmed() }
}

fn ring() -> (Ring, Arc<Mutex<Fate>>) {
    let fate = Arc::new(Mutex::new(Fate::InUse));
    (Ring(fate.clone()), fate)
}

fn give_back(seat: &Seat, stop: Stop) -> Arc<Mutex<Fate>> {
    let (ring, fate) = ring();
    seat.give_back(stop, ring, format_args!("a queue"));
    fate
}

#[test]
fn a_queue_that_is_silent_gives_everything_back() {
    assert_eq!(*give_back(&Shared::new().rx_seat(), Stop::Silent(silence())).lock().unwrap(), Fate::Released);
}

#[test]
fn a_queue_that_does_not_confirm_leaks_for_good() {
    let mut shared = Shared::new();
    let fate = give_back(&shared.rx_seat(), Stop::Unconfirmed);
    assert_eq!(*fate.lock().unwrap(), Fate::Leaked);
    shared.set_stopped(silence());
    assert_eq!(*fate.lock().unwrap(), Fate::Leaked);
}

#[test]
fn what_cannot_be_stopped_alone_waits_for_the_device() {
    let mut shared = Shared::new();
    let seats = [shared.rx_seat(), shared.tx_seat(), shared.tx_seat()];
    let early = give_back(&seats[0], Stop::WithDevice);
    shared.set_stopping();
    let late = give_back(&seats[1], Stop::WithDevice);
    for fate in [&early, &late] {
        assert_eq!(*fate.lock().unwrap(), Fate::InUse, "told to stop is not stopped");
    }
    shared.set_stopped(silence());
    let after = give_back(&seats[2], Stop::WithDevice);
    for fate in [early, late, after] {
        assert_eq!(*fate.lock().unwrap(), Fate::Released);
    }
}

#[test]
fn what_waits_for_a_device_that_never_confirms_leaks() {
    let mut shared = Shared::new();
    let fate = give_back(&shared.rx_seat(), Stop::WithDevice);
    shared.set_stopping();
    drop(shared);
    assert_eq!(*fate.lock().unwrap(), Fate::Leaked);
}

#[test]
fn a_queue_that_outlives_the_control_handle_of_an_unconfirmed_device_leaks() {
    let mut shared = Shared::new();
    let seat = shared.rx_seat();
    shared.set_failed(QueueFault::Gone);
    drop(shared);
    let fate = give_back(&seat, Stop::WithDevice);
    assert_eq!(*fate.lock().unwrap(), Fate::InUse);
    drop(seat);
    assert_eq!(*fate.lock().unwrap(), Fate::Leaked);
}

#[test]
fn silence_is_seen_by_the_queues_and_by_no_other_state() {
    let mut shared = Shared::new();
    let (rx, tx) = (shared.rx_seat(), shared.tx_seat());
    let seen = |shared: &Shared| (shared.state(), rx.is_running(), tx.is_running(), rx.silence().is_some(), tx.silence().is_some());
    assert_eq!(seen(&shared), (State::Running, true, true, false, false));
    const FAULT: QueueFault = QueueFault::Protocol("no sense");
    rx.set_failed(FAULT);
    assert_eq!(seen(&shared), (State::Running, false, true, false, false), "one queue's fault is its own");
    assert_eq!(shared.device_state(), DeviceState::Broken { direction: "receive", queue: 0, fault: FAULT });
    shared.set_failed(QueueFault::Reset);
    assert_eq!(seen(&shared), (State::Failed, false, false, false, false));
    shared.set_stopping();
    shared.set_failed(QueueFault::Gone);
    assert_eq!(seen(&shared), (State::Stopping, false, false, false, false), "a device that is told to stop fails no more");
    shared.set_stopped(silence());
    rx.set_failed(QueueFault::Gone);
    assert_eq!(seen(&shared), (State::Stopped, false, false, true, true), "a late fault does not hide it");
    assert_eq!((rx.fault(), tx.fault()), (Some(FAULT), Some(QueueFault::Reset)), "what was told first stays, with each of them");
    assert_eq!(shared.device_state(), DeviceState::Reset);
    shared.set_stopping();
    assert_eq!((shared.state(), shared.is_stopped(), shared.is_running()), (State::Stopped, true, false), "silent for good");
    let late = shared.rx_seat();
    assert!(late.silence().is_some() && late.fault() == Some(QueueFault::Reset), "also for who comes later");
}

#[test]
fn totals_are_those_of_all_queues_of_one_direction() {
    let mut shared = Shared::new();
    let seats: Vec<_> = (0..3).map(|_| shared.tx_seat()).collect();
    shared.rx_seat().tally().packets.add(1000);
    for (k, seat) in (1..).zip(&seats) {
        seat.tally().packets.add(k);
        seat.tally().alone.add(10 * k);
        seat.tally().lost.add(100);
    }
    assert!(!shared.are_queues_gone());
    // Of queues that live, what their stopped device left counts in their place.
    for queue in [0, 1, 1, 7] {
        shared.set_left(queue, Left { descriptors: 40, tail: 0 });
    }
    assert_eq!(shared.tx_totals().lost, 300 + 2 * 40);
    let fate = give_back(&seats[1], Stop::Silent(silence()));
    assert_eq!((*fate.lock().unwrap(), shared.tx_totals().lost), (Fate::Released, 300 + 40 + LOST), "its own count, once it is gone");
    // Queues that are gone count on.
    drop(seats);
    let totals = shared.tx_totals();
    assert_eq!((totals.packets, totals.doorbells, totals.lost), (66, 60, 340 + LOST));
    shared.set_left(0, Left { descriptors: 1000, tail: 0 });
    assert_eq!(shared.tx_totals().lost, 340 + LOST, "a queue that is gone has counted for itself");
    assert!(shared.are_queues_gone());
    assert_eq!(shared.rx_totals().packets, 1000);
}

/// A queue is dropped while the control handle stops its device: whoever comes last, the memory is given back once.
#[test]
fn a_queue_that_goes_while_its_device_stops_gives_back_once() {
    for round in 0..if cfg!(miri) { 5 } else { 300 } {
        let mut shared = Shared::new();
        let seat = shared.rx_seat();
        let (ring, fate) = ring();
        let queue = std::thread::spawn(move || {
            if round % 2 == 0 {
                std::thread::yield_now();
            }
            seat.give_back(Stop::WithDevice, ring, format_args!("a queue"));
        });
        shared.set_stopping();
        shared.set_stopped(silence());
        queue.join().unwrap();
        assert_eq!(*fate.lock().unwrap(), Fate::Released);
    }
}
