//! The gate's state machine, explored whole for small rings.

use std::collections::HashSet;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use crate::queue::gate::{GateConfig, GateError, TxGate};

/// A ring's state as the gate sees it: how many of its descriptors are pending, and whether the gate is stopped.
type State = (u32, bool);

/// Every state that a ring of `ring` descriptors reaches with these thresholds, by submits of any size while running and reclaims of any size.
fn explore(ring: u32, stop_below: u32, wake_at: u32) {
    let config = GateConfig { stop_below, wake_at, byte_limit: None };
    let usable = ring - 1;
    let mut seen: HashSet<State> = HashSet::new();
    let mut todo: Vec<(State, TxGate)> = vec![((0, false), TxGate::new(config, ring).unwrap())];
    while let Some(((pending, stopped), gate)) = todo.pop() {
        assert_eq!(gate.is_stopped(), stopped);
        if !seen.insert((pending, stopped)) {
            continue;
        }
        let free = usable - pending;
        // Never stopped for good: nothing pending is always running, and while stopped something is there to be reclaimed.
        assert!(!(stopped && pending == 0), "a queue with nothing in flight is stopped: ring {ring}, {config:?}");
        // What one frame at a time rests on.
        if free > gate.never_stops_above() {
            assert!(!stopped && !gate.clone().after_submit(free - 1));
        }
        // Stopping below and waking at different marks is what keeps it from flapping.
        if stopped {
            assert!(free < wake_at);
        } else {
            assert!(free >= stop_below);
        }
        let (stops, wakes) = gate.transitions();
        assert_eq!(stops - wakes, u64::from(stopped));
        if !stopped {
            for frames in 1..=free {
                let mut after = gate.clone();
                let now = after.after_submit(free - frames);
                assert_eq!(now, free - frames < stop_below);
                todo.push(((pending + frames, now), after));
            }
        }
        for done in 1..=pending {
            let mut after = gate.clone();
            let woke = after.after_reclaim(free + done);
            assert_eq!(woke, stopped && free + done >= wake_at, "wakes exactly when enough is free");
            assert!(!after.after_reclaim(free + done), "a wake is reported once");
            todo.push(((pending - done, after.is_stopped()), after));
        }
    }
    assert!(seen.iter().any(|&(_, stopped)| stopped) || stop_below == 0);
}

/// Every state that frames of one or two bytes reach under a byte limit: a ring's frames in order, oldest first, and whether the gate is stopped.
fn explore_bytes(ring: u32, limit: u64) {
    let config = GateConfig { stop_below: 1, wake_at: 2, byte_limit: Some(limit) };
    let usable = ring as usize - 1;
    let mut seen: HashSet<(Vec<u64>, bool)> = HashSet::new();
    let mut todo = vec![(Vec::new(), TxGate::new(config, ring).unwrap())];
    while let Some((frames, gate)) = todo.pop() {
        if !seen.insert((frames.clone(), gate.is_stopped())) {
            continue;
        }
        let in_flight: u64 = frames.iter().sum();
        let free = usable - frames.len();
        assert!(!(gate.is_stopped() && frames.is_empty()), "a queue with nothing in flight is stopped");
        assert!(in_flight <= limit + 2, "at most one frame beyond the limit");
        if gate.is_stopped() {
            assert!(in_flight > limit || free < 2);
        } else {
            assert!(in_flight <= limit && free >= 1);
            for bytes in [1, 2] {
                let (mut after, mut more) = (gate.clone(), frames.clone());
                after.sent(bytes);
                more.push(bytes);
                assert_eq!(after.after_submit(free as u32 - 1), in_flight + bytes > limit || free - 1 < 1);
                todo.push((more, after));
            }
        }
        if !frames.is_empty() {
            let mut after = gate.clone();
            after.completed(frames[0]);
            let woke = after.after_reclaim(free as u32 + 1);
            assert_eq!(woke, gate.is_stopped() && in_flight - frames[0] <= limit && free + 1 >= 2);
            todo.push((frames[1..].to_vec(), after));
        }
    }
    assert!(seen.iter().any(|(_, stopped)| *stopped));
}

#[test]
fn every_state_under_every_small_byte_limit() {
    for limit in 1..8 {
        explore_bytes(8, limit);
    }
}

#[test]
fn every_state_of_every_small_ring() {
    for ring in [8, 16] {
        for stop_below in 0..ring - 1 {
            for wake_at in stop_below + 1..ring {
                explore(ring, stop_below, wake_at);
            }
        }
    }
}

#[test]
fn a_byte_limit_stops_and_wakes_by_itself() {
    let mut gate = TxGate::new(GateConfig { stop_below: 1, wake_at: 2, byte_limit: Some(3000) }, 512).unwrap();
    gate.sent(1500);
    gate.sent(1500);
    assert!(!gate.after_submit(500));
    gate.sent(60);
    assert!(gate.after_submit(499), "more than the limit is in flight");
    assert!(!gate.after_reclaim(499));
    gate.completed(1500);
    assert!(gate.after_reclaim(500));
    assert_eq!(gate.transitions(), (1, 1));
}

#[test]
fn thresholds_that_cannot_work_are_refused() {
    let new = |stop_below, wake_at, byte_limit| TxGate::new(GateConfig { stop_below, wake_at, byte_limit }, 64).unwrap_err();
    assert_eq!(new(8, 8, None), GateError::Order { stop_below: 8, wake_at: 8 });
    assert_eq!(new(8, 64, None), GateError::Unreachable { wake_at: 64, ring: 64 });
    assert_eq!(new(8, 32, Some(0)), GateError::NoBytes);
}

#[test]
fn each_threshold_is_set_by_its_name() {
    let usual = GateConfig::default();
    let set = usual.stop_below(5).wake_at(70).byte_limit(3000);
    assert_eq!((set.stop_below, set.wake_at, set.byte_limit), (5, 70, Some(3000)));
    assert_eq!(usual.stop_below(5), GateConfig { stop_below: 5, ..usual });
    assert_eq!(usual.wake_at(70), GateConfig { wake_at: 70, ..usual });
    assert_eq!(usual.byte_limit(1), GateConfig { byte_limit: Some(1), ..usual });
}

#[test]
fn bytes_are_counted_where_they_are_limited_and_then_any_frame_may_stop_the_gate() {
    let [limited, unlimited] = [GateConfig::default().byte_limit(100), GateConfig::default()].map(|config| TxGate::new(config, 512).unwrap());
    assert_eq!((limited.counts_bytes(), unlimited.counts_bytes()), (true, false));
    assert_eq!((limited.never_stops_above(), unlimited.never_stops_above()), (u32::MAX, GateConfig::default().wake_at));
}

#[test]
fn thresholds_that_cannot_work_say_what_would() {
    let text = |config: GateConfig| TxGate::new(config, 64).unwrap_err().to_string();
    assert_eq!(text(GateConfig::default().stop_below(8).wake_at(8)), "wake_at (8) must be larger than stop_below (8)");
    let unreachable = "wake_at (64) must be below the ring's size (64), since one descriptor always stays free";
    assert_eq!(text(GateConfig::default().wake_at(64)), unreachable);
    assert_eq!(text(GateConfig::default().byte_limit(0)), "byte_limit must be at least 1: leave it out for no limit");
}

#[test]
fn a_gate_that_is_opened_for_a_device_that_stopped_has_woken_once() {
    let mut gate = TxGate::new(GateConfig::default(), 512).unwrap();
    assert!(!gate.open());
    gate.stop();
    assert!(gate.open() && !gate.open() && !gate.is_stopped());
    assert_eq!(gate.transitions(), (1, 1));
}
