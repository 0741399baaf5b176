//! A transmit kernel that does what a script says.

use std::boxed::Box;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use super::{Ring, Script};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::device::state::Shared;
use crate::ether::{FrameLimits, MIN_FRAME_BYTES};
use crate::offload::Work;
use crate::queue::contract::TxQueue;
use crate::queue::core::kernel::{Put, TxKernel, WhyStuck};
use crate::queue::core::lent::{Left, Silence, Stop};
use crate::queue::core::tx::TxCore;
use crate::queue::gate::{GateConfig, TxGate};
use crate::ring::fault::QueueFault;
use crate::ring::tx::Reclaimed;
use crate::testing::domain;

pub(super) const FAULT: QueueFault = QueueFault::Index { index: 1, limit: 1 };
pub(super) const CAPACITY: u32 = 15;
pub(super) const MTU: u32 = 300;
/// Ordinary frames that go in one go.
const BLOCK: usize = 4;
/// Frames between two that the device reports by itself.
const REPORT_EVERY: usize = 5;

#[derive(Debug)]
pub(super) struct InFlight {
    descriptors: u32,
    bytes: u64,
    pub(super) frame: Frame,
    is_reported: bool,
}

pub(super) struct State {
    pub(super) in_flight: VecDeque<InFlight>,
    /// How many of them the device has sent.
    pub(super) sent: usize,
    unreported: usize,
    /// How many frames may go by the shortest way.
    singles: u32,
    /// The device reports every frame, unasked.
    reports_all: bool,
    pub(super) fault: Option<QueueFault>,
    /// What went into the ring, in order.
    pub(super) queued: Vec<Vec<u8>>,
    pub(super) unpublished: usize,
    pub(super) rings: usize,
    pub(super) why_stuck: WhyStuck,
    /// What the device does for frames that ask for it.
    pub(super) does: Work,
    pub(super) stops: usize,
    /// What the queue was told that its device left.
    pub(super) left: Option<u32>,
    /// For how many descriptors the interrupt is armed.
    pub(super) armed: Option<u32>,
    /// How often it was armed.
    pub(super) arms: usize,
    /// Frames that the device sends while the queue is being armed, too early for the interrupt to fire.
    pub(super) sends_while_arming: usize,
    /// How often the queue looked what was sent.
    pub(super) looks: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            in_flight: VecDeque::new(),
            sent: 0,
            unreported: 0,
            singles: 0,
            reports_all: false,
            fault: None,
            queued: Vec::new(),
            unpublished: 0,
            rings: 0,
            why_stuck: WhyStuck::Unknown,
            does: Work::empty(),
            stops: 0,
            left: None,
            armed: None,
            arms: 0,
            sends_while_arming: 0,
            looks: 0,
        }
    }
}

impl State {
    pub(super) fn free(&self) -> u32 {
        CAPACITY - self.in_flight.iter().map(|one| one.descriptors).sum::<u32>()
    }
    fn put(&mut self, frame: Frame, descriptors: u32) {
        assert!(descriptors <= self.free(), "a frame for which there is no room");
        self.unreported = (self.unreported + 1) % REPORT_EVERY;
        self.singles = 0;
        self.unpublished += 1;
        self.queued.push(frame.segments().flatten().copied().collect());
        self.in_flight.push_back(InFlight { descriptors, bytes: frame.len() as u64, frame, is_reported: self.reports_all || self.unreported == 0 });
    }
}

/// A kernel that puts a header of its own before frames of several segments, counts bytes, and whose device reports every frame; or one with a shortest way,
/// blocks, and a device that reports a few frames and what it is asked for.
pub(super) struct Kernel<const COUNTS: bool> {
    script: Script<State>,
    pool: BufPool,
    by_bytes: bool,
}

impl<const COUNTS: bool> Kernel<COUNTS> {
    fn is_ordinary(&self, frame: &Frame) -> bool {
        let untagged = FrameLimits::of(MTU).longest(false);
        !self.by_bytes && frame.is_linear() && self.pool.owns(frame) && (MIN_FRAME_BYTES..=untagged).contains(&frame.len()) && !frame.wants_offload()
    }
}

impl<const COUNTS: bool> fmt::Debug for Kernel<COUNTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a script")
    }
}

impl<const COUNTS: bool> TxKernel for Kernel<COUNTS> {
    type Lent = Ring;
    const DRIVER: &'static str = "script";
    const COUNTS_BYTES: bool = COUNTS;
    const HAS_PUT_ONLY: bool = true;
    const ALWAYS_RINGS: bool = !COUNTS;
    const TRY_AGAIN_AFTER: usize = if COUNTS { 1 } else { BLOCK };
    const MAX_SEGMENTS: usize = 6;

    fn capacity(&self) -> u32 {
        CAPACITY
    }
    fn free(&self) -> u32 {
        self.script.state().free()
    }
    fn pool(&self) -> &BufPool {
        &self.pool
    }
    fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
        let mut state = self.script.state();
        state.looks += 1;
        if let Some(fault) = state.fault {
            return Err(fault);
        }
        let sent = state.sent;
        let back = state.in_flight.iter().take(sent).rposition(|one| one.is_reported).map_or(0, |last| last + 1);
        state.sent -= back;
        let mut all = Reclaimed::default();
        for one in state.in_flight.drain(..back) {
            all.descriptors += one.descriptors;
            all.bytes += one.bytes;
            batch.recycle(one.frame);
        }
        Ok(all)
    }
    fn put_only(&mut self, batch: &mut Batch) -> Option<u64> {
        let singles = self.script.state().singles;
        if batch.len() != 1 || singles == 0 || !self.is_ordinary(&batch.frames()[0]) {
            return None;
        }
        let frame = batch.pop().unwrap();
        let bytes = if COUNTS { frame.len() as u64 } else { 0 };
        let mut state = self.script.state();
        state.put(frame, 1);
        state.unpublished -= usize::from(!COUNTS);
        state.singles = singles - 1;
        Some(bytes)
    }
    fn allow_singles(&mut self, min_free: u32) {
        let mut state = self.script.state();
        let unreported = (REPORT_EVERY - 1).saturating_sub(state.unreported) as u32;
        state.singles = unreported.min(state.free().saturating_sub(min_free));
    }
    fn put_ordinary(&mut self, batch: &mut Batch) -> Put {
        let mut put = Put::default();
        let mut count = batch.frames().iter().take_while(|frame| self.is_ordinary(frame)).count().min(self.free() as usize);
        if !COUNTS {
            count = count.min(BLOCK) / BLOCK * BLOCK;
            put.again = count > 0;
        }
        for frame in (0..count).map_while(|_| batch.pop()) {
            put.bytes += if COUNTS { frame.len() as u64 } else { 0 };
            self.script.state().put(frame, 1);
        }
        put
    }
    fn put_next(&mut self, batch: &mut Batch) -> bool {
        if COUNTS || self.free() == 0 || !self.is_ordinary(&batch.frames()[0]) {
            return false;
        }
        let frame = batch.pop().unwrap();
        self.script.state().put(frame, 1);
        true
    }
    fn offload(&self, _: &Frame) -> Work {
        self.script.state().does
    }
    fn descriptors(&self, frame: &Frame, filled: usize) -> usize {
        let segments = frame.segments().filter(|segment| !segment.is_empty()).count();
        assert_eq!(segments, filled);
        segments + usize::from(COUNTS && segments > 1)
    }
    fn put_unusual(&mut self, frame: Frame, bytes: usize) {
        assert_eq!(frame.len(), bytes);
        assert!(frame.len() >= MIN_FRAME_BYTES && frame.all_reachable(self.pool.domain()) && self.offload(&frame).contains(Work::of(&frame)));
        let filled = frame.segments().filter(|segment| !segment.is_empty()).count();
        let descriptors = self.descriptors(&frame, filled) as u32;
        self.script.state().put(frame, descriptors);
    }
    fn report(&mut self) {
        let mut state = self.script.state();
        state.in_flight.back_mut().unwrap().is_reported = true;
        state.unreported = 0;
    }
    fn publish(&mut self) -> bool {
        let mut state = self.script.state();
        assert!(state.unpublished > 0, "nothing is published where nothing was queued");
        state.unpublished = 0;
        true
    }
    fn ring_doorbell(&mut self) {
        self.script.state().rings += 1;
    }
    fn why_stuck(&mut self) -> WhyStuck {
        self.script.state().why_stuck
    }
    fn arm(&mut self, descriptors: u32) {
        let mut state = self.script.state();
        state.sent += core::mem::take(&mut state.sends_while_arming);
        (state.armed, state.arms) = (Some(descriptors), state.arms + 1);
    }
    fn disarm(&mut self) {
        self.script.state().armed = None;
    }
    fn stop(&mut self) -> Stop {
        self.script.state().stops += 1;
        Stop::Unconfirmed
    }
    fn retire(&mut self, left: Left, _: &Silence) {
        self.script.state().left = Some(left.descriptors);
    }
    fn into_lent(self) -> Ring {
        Ring::default()
    }
}

/// A queue with all that a test needs of it.
pub(super) struct Rig<const COUNTS: bool> {
    pub(super) tx: TxCore<Kernel<COUNTS>>,
    pub(super) script: Script<State>,
    pub(super) shared: Shared,
    pub(super) pool: BufPool,
    pub(super) wakes: Arc<AtomicU64>,
}

pub(super) fn rig<const COUNTS: bool>(config: GateConfig) -> Rig<COUNTS> {
    rig_on(config, Shared::new())
}

/// The same of a queue that does no more in its device's place than `software`.
pub(super) fn rig_doing(config: GateConfig, software: Work) -> Rig<true> {
    let Rig { tx, script, shared, pool, wakes } = rig(config);
    Rig { tx: tx.software(software), script, shared, pool, wakes }
}

/// The same of a device that is watched by a clock.
pub(super) fn rig_on<const COUNTS: bool>(config: GateConfig, mut shared: Shared) -> Rig<COUNTS> {
    let pool = BufPool::new(&domain().0, PoolConfig::new(512)).unwrap();
    let (script, wakes) = (Script::<State>::default(), Arc::new(AtomicU64::new(0)));
    script.state().reports_all = COUNTS;
    let kernel = Kernel { script: script.clone(), pool: pool.clone(), by_bytes: config.byte_limit.is_some() };
    let gate = TxGate::new(config, CAPACITY + 1).unwrap();
    let mut tx = TxCore::new(kernel, shared.tx_seat(), 0, gate, FrameLimits::of(MTU));
    let count = wakes.clone();
    tx.on_wake(Some(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })));
    Rig { tx, script, shared, pool, wakes }
}

impl<const COUNTS: bool> Rig<COUNTS> {
    pub(super) fn woken(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }
    /// Whether the queue is stopped and waits for room.
    pub(super) fn is_stopped(&self) -> bool {
        let counters = self.tx.counters();
        assert!(counters.stops - counters.wakes <= 1);
        counters.stops > counters.wakes
    }
    pub(super) fn all_sent(&self) {
        let mut state = self.script.state();
        state.sent = state.in_flight.len();
    }
}

pub(super) fn default_gate() -> GateConfig {
    GateConfig { stop_below: 3, wake_at: 8, byte_limit: None }
}
