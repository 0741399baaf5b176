//! Waiting for room in a full transmit queue, by its interrupt and by the clock.

use std::boxed::Box;
use std::string::ToString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Script;
use super::tx_script::{CAPACITY, FAULT, Rig, State, default_gate, rig, rig_on};
use crate::buf::batch::Batch;
use crate::device::state::Shared;
use crate::host::clock::Clock;
use crate::queue::contract::{TX_PAUSE_US, TxQueue, TxState};
use crate::queue::gate::GateConfig;
use crate::ring::fault::QueueFault;
use crate::testing::Trigger;

/// Longer than any of these tests.
const NEVER_US: u64 = u64::MAX;

/// The machine's clock.
struct Machine(Instant);

impl Clock for Machine {
    fn now_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
    fn sleep_us(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }
}

/// A clock on which the device sends all at a certain time.
struct Sends {
    now_us: AtomicU64,
    at_us: u64,
    script: std::sync::Mutex<Option<Script<State>>>,
}

impl Clock for Sends {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }
    fn sleep_us(&self, us: u64) {
        if self.now_us.fetch_add(us, Ordering::Relaxed) + us >= self.at_us
            && let Some(script) = &*self.script.lock().unwrap()
        {
            let mut state = script.state();
            state.sent = state.in_flight.len();
        }
    }
}

/// Fills the queue until it stops.
fn fill(rig: &mut Rig<true>) -> Batch {
    let mut batch = Batch::new(64);
    for _ in 0..2 * CAPACITY {
        batch.push(rig.pool.frame_from(&[7; 60]).unwrap()).unwrap();
    }
    assert_eq!(rig.tx.submit(&mut batch), TxState::Stopped);
    batch
}

/// A full queue with an interrupt, on the machine's clock.
fn full(limit_us: u64) -> (Rig<true>, Trigger, Batch) {
    let mut rig = rig_on::<true>(default_gate(), Shared::watched(Arc::new(Machine(Instant::now())), limit_us));
    let trigger = Trigger::default();
    rig.tx.set_interrupt(Box::new(trigger.interrupt()));
    let batch = fill(&mut rig);
    (rig, trigger, batch)
}

/// For how many descriptors the kernel is armed, and how often it was.
fn armed(rig: &Rig<true>) -> (Option<u32>, usize) {
    let state = rig.script.state();
    (state.armed, state.arms)
}

#[test]
fn a_queue_that_runs_is_not_armed() {
    let (mut rig, _, mut batch) = full(NEVER_US);
    batch.clear();
    rig.all_sent();
    assert!(rig.tx.reclaim() > 0);
    assert!(rig.tx.arm() && rig.tx.wait_for_room(Some(0)) == Ok(true));
    assert_eq!(armed(&rig), (None, 0));
}

#[test]
fn a_full_queue_is_armed_for_what_it_lacks_and_disarms_itself_when_it_runs() {
    let (mut rig, ..) = full(NEVER_US);
    assert!(!rig.tx.arm() && rig.tx.interrupt().is_some());
    assert_eq!(rig.script.state().armed, Some(default_gate().wake_at), "nothing is free");
    rig.script.state().sent = 3;
    assert!(!rig.tx.arm(), "some came back, too few");
    assert!(!rig.tx.arm());
    assert_eq!((armed(&rig).0, rig.woken()), (Some(default_gate().wake_at - 3), 0));
    rig.script.state().sent = 5;
    assert!(rig.tx.reclaim() == 5 && rig.tx.arm());
    assert_eq!((armed(&rig), rig.woken()), ((None, 3), 1));
    // Where bytes are what is short, any frame may be the one.
    let mut rig = rig_on::<true>(GateConfig { byte_limit: Some(100), ..default_gate() }, Shared::new());
    rig.tx.set_interrupt(Box::new(Trigger::default().interrupt()));
    fill(&mut rig);
    assert!(!rig.tx.arm());
    assert_eq!(rig.script.state().armed, Some(1));
}

#[test]
fn what_was_sent_between_the_look_and_the_arming_is_not_slept_over() {
    let (mut rig, _, mut batch) = full(NEVER_US);
    rig.script.state().sends_while_arming = CAPACITY as usize;
    assert!(rig.tx.arm(), "no interrupt will tell");
    assert_eq!((rig.tx.submit(&mut batch), rig.woken()), (TxState::Stopped, 1));
    // Nor by a thread, which would sleep for ever on an interrupt that was never fired.
    rig.script.state().sends_while_arming = CAPACITY as usize;
    assert_eq!(rig.tx.wait_for_room(None), Ok(true));
}

#[test]
fn a_thread_sleeps_until_the_interrupt_fires_and_looks_twice_an_arming() {
    let (mut rig, trigger, mut batch) = full(NEVER_US);
    let (script, before) = (rig.script.clone(), rig.script.state().looks);
    let device = std::thread::spawn(move || {
        for frames in [2, CAPACITY as usize - 2] {
            std::thread::sleep(Duration::from_millis(30));
            script.state().sent += frames;
            trigger.fire();
        }
    });
    let begun = Instant::now();
    assert_eq!(rig.tx.wait_for_room(None), Ok(true));
    device.join().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(60) && begun.elapsed() < Duration::from_secs(30));
    // Before the first sleep, behind it, where too few came back, and behind the second.
    let looks = rig.script.state().looks - before;
    assert_eq!((looks, armed(&rig), rig.woken()), (3, (None, 3), 1));
    assert_eq!((rig.tx.submit(&mut batch), batch.len()), (TxState::Stopped, 0));
}

#[test]
fn a_wait_ends_with_its_time() {
    let (mut rig, ..) = full(NEVER_US);
    let begun = Instant::now();
    assert_eq!((rig.tx.wait_for_room(Some(0)), rig.tx.wait_for_room(Some(20_000))), (Ok(false), Ok(false)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert!(rig.is_stopped() && rig.script.state().arms > 0);
}

#[test]
fn a_queue_that_hangs_is_not_waited_for() {
    let (mut rig, ..) = full(40_000);
    assert_eq!(rig.tx.wait_for_room(None), Ok(true));
    assert!(matches!(rig.tx.fault(), Some(QueueFault::Hung { .. })));
    let looks = rig.script.state().looks;
    assert!(looks < 12, "{looks}");
}

#[test]
fn a_queue_that_broke_or_was_stopped_is_not_waited_for() {
    let (mut rig, _, mut batch) = full(NEVER_US);
    rig.script.state().fault = Some(FAULT);
    assert_eq!((rig.tx.wait_for_room(None), rig.tx.submit(&mut batch)), (Ok(true), TxState::Broken(FAULT)));
    // While it sleeps: it looks twice a second.
    let (rig, ..) = full(NEVER_US);
    let Rig { mut tx, mut shared, .. } = rig;
    let waits = std::thread::spawn(move || (tx.wait_for_room(None), tx.arm(), tx.fault()));
    std::thread::sleep(Duration::from_millis(20));
    shared.set_stopping();
    assert_eq!(waits.join().unwrap(), (Ok(true), true, Some(QueueFault::Stopped)));
}

#[test]
fn without_an_interrupt_it_sleeps_by_the_clock_longer_each_time() {
    let at_us = 20_000;
    let clock = Arc::new(Sends { now_us: AtomicU64::new(0), at_us, script: std::sync::Mutex::default() });
    let mut rig = rig_on::<true>(default_gate(), Shared::watched(clock.clone(), NEVER_US));
    fill(&mut rig);
    let before = rig.script.state().looks;
    assert!(rig.tx.interrupt().is_none() && !rig.tx.arm());
    assert_eq!(rig.tx.wait_for_room(Some(5_000)), Ok(false));
    assert_eq!(clock.now_us(), 5_000, "no longer than asked for");
    *clock.script.lock().unwrap() = Some(rig.script.clone());
    assert_eq!(rig.tx.wait_for_room(None), Ok(true));
    assert!((at_us..=at_us + TX_PAUSE_US).contains(&clock.now_us()), "{}", clock.now_us());
    let looks = rig.script.state().looks - before;
    assert!((20..35).contains(&looks), "20 ms in pauses of 1 ms, after shorter ones: {looks}");
    assert_eq!((armed(&rig), rig.woken()), ((None, 0), 1), "nothing was armed");
}

#[test]
fn a_queue_without_interrupt_and_clock_says_so() {
    let mut rig = rig::<true>(default_gate());
    fill(&mut rig);
    let error = rig.tx.wait_for_room(None).unwrap_err().to_string();
    assert!(error.starts_with("script: waiting for room in a transmit queue: the function has no clock"), "{error}");
    assert!(!rig.tx.arm());
}
