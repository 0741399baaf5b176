//! Transmit: frames in, descriptors out; stop and wake.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;

use crate::buf::batch::Batch;
use crate::ether::FrameLimits;
use crate::host::pci::{Interrupt, PciError, PciErrorKind};
use crate::offload::Work;
use crate::queue::contract::{TX_PAUSE_US, TxCounters, TxQueue, TxState, WakeFn};
use crate::queue::core::check::Tagged;
use crate::queue::core::kernel::{Put, TxKernel, WhyStuck};
use crate::queue::core::lent::Stop;
use crate::queue::core::seat::{Seat, Watch};
use crate::queue::gate::TxGate;
use crate::queue::refusal::Refusal;
use crate::ring::fault::QueueFault;
use crate::ring::hook::TxHooked;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::PutWhole;

/// A transmit queue: what the queues of all drivers do alike, over a driver's kernel.
///
/// Dropped while the device runs, it stops its hardware queue first, or leaves its ring and the frames in flight to be freed when the whole device is silent.
/// Where the device does not confirm that, they leak, since it may still read them.
// Which of its fields share a cache line must not be the allocator's choice: as they lay once, frames one at a time took 1.6 times the cycles, with the same
// instructions (`ci/bench/run --cycles`, b=1).
#[repr(align(64))]
pub struct TxCore<K: TxKernel> {
    pub(super) kernel: ManuallyDrop<K>,
    pub(super) seat: Arc<Seat>,
    pub(super) gate: TxGate,
    /// With more descriptors free than this, one frame cannot make the gate stop, and a running gate cannot be stopped.
    pub(super) never_stops_above: u32,
    pub(super) tagged: Tagged,
    /// What it may do in its device's place.
    pub(super) software: Work,
    wake: Option<WakeFn>,
    interrupt: Option<Box<dyn Interrupt>>,
    /// Where the queue stood when it was seen not to move, and since when.
    pub(super) stuck: Option<Stuck>,
    /// Where buffers go when the caller brings no batch.
    pub(super) home: Batch,
    index: u16,
}

/// A queue with work that stood still when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stuck {
    /// Descriptors in flight, and frames taken so far: one of them changes with everything that moves.
    at: (u32, u64),
    since_us: u64,
    /// When the device is asked why, next.
    ask_us: u64,
}

/// How often a device is asked, within the time that a queue may stand still: a link that was down meanwhile is seen.
const LOOKS: u64 = 4;

/// How long who waits for room sleeps on an interrupt at most, in microseconds, before it looks whether the queue hangs or was stopped.
const LOOK_US: u64 = 500_000;
/// How long who waits for room without an interrupt sleeps for the first time, in microseconds: in which a line of 10 Gbit/s sends 50 frames of 1514 bytes.
const FIRST_PAUSE_US: u64 = TX_PAUSE_US / 16;

/// What became of the frame at the front.
pub(super) enum Step {
    Taken,
    NoRoom,
    Refused(Refusal),
}

impl<K: TxKernel> TxCore<K> {
    /// A queue on an empty kernel, whose hardware may be running already. `index`: its number among the device's transmit queues.
    pub fn new(kernel: K, seat: Arc<Seat>, index: u16, gate: TxGate, limits: FrameLimits) -> Self {
        Self {
            never_stops_above: gate.never_stops_above().max(kernel.most_descriptors() as u32),
            kernel: ManuallyDrop::new(kernel),
            seat,
            gate,
            tagged: Tagged { limits, outer: None },
            software: Work::SOFTWARE,
            wake: None,
            interrupt: None,
            stuck: None,
            home: Batch::new(1),
            index,
        }
    }

    /// The same, doing no more in its device's place than `work`; without it, [`Work::SOFTWARE`]. Frames that ask for other work are refused
    /// ([`Refusal::SwitchedOff`]).
    #[must_use]
    pub fn software(mut self, work: Work) -> Self {
        self.software = work;
        self
    }

    /// The same, of frames that may begin with an outer VLAN tag of this EtherType: the tag that they ask for goes behind it.
    #[must_use]
    pub fn behind(mut self, outer: Option<u16>) -> Self {
        self.tagged.outer = outer;
        self
    }

    /// Gives the queue the interrupt that fires for it.
    pub fn set_interrupt(&mut self, interrupt: Box<dyn Interrupt>) {
        self.interrupt = Some(interrupt);
    }

    /// The queue's number.
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// [`TxQueue::submit`] without the way for one frame. Ordinary frames that cannot make the gate stop leave here; for the rest there is a way of its own,
    /// so that this one does not save registers that only that one needs.
    #[inline(never)]
    fn submit_many(&mut self, batch: &mut Batch) -> TxState {
        if !self.seat.is_running() {
            return self.broken();
        }
        let reclaimed = match self.kernel.reclaim(batch) {
            Ok(reclaimed) => reclaimed,
            Err(fault) => {
                self.break_queue(fault);
                return self.broken();
            }
        };
        let had = batch.len();
        // Then the gate, running and not counting bytes, stays so.
        if !self.gate.is_stopped() && self.kernel.free() as usize > had + self.never_stops_above as usize {
            if K::ALWAYS_RINGS && had == 1 {
                if self.kernel.put_next(batch) {
                    self.publish(1);
                    self.kernel.allow_singles(self.never_stops_above);
                    return TxState::Running;
                }
                if self.kernel.has_chain(batch) && self.put_chain(batch) {
                    self.seat.tally().alone.add(1);
                    self.kernel.ring_doorbell();
                    return TxState::Running;
                }
                return self.submit_rest(batch, reclaimed, had);
            }
            let Put { bytes, .. } = self.kernel.put_first(batch);
            self.count_bytes(bytes);
            if batch.is_empty() && had > 0 {
                self.publish(had);
                if K::HAS_PUT_ONLY && had == 1 {
                    self.kernel.allow_singles(self.never_stops_above);
                }
                return TxState::Running;
            }
        }
        self.submit_rest(batch, reclaimed, had)
    }

    /// Takes the only frame of a batch, which is of several buffers, if the gate stays open whatever it takes.
    #[inline(never)]
    fn put_chain(&mut self, batch: &mut Batch) -> bool {
        let leaves_enough = self.kernel.free() as usize > self.never_stops_above as usize + K::MAX_SEGMENTS;
        leaves_enough && self.kernel.put_chain(batch, self.tagged.limits.longest(false))
    }

    /// The rest of a submit of a batch that had `had` frames.
    #[inline(never)]
    fn submit_rest(&mut self, batch: &mut Batch, reclaimed: Reclaimed, had: usize) -> TxState {
        self.count_reclaimed(reclaimed);
        if self.gate.is_stopped() && !self.opens_empty() {
            return self.still_stopped();
        }
        let refusal = self.fill(batch);
        let free = self.kernel.free();
        let stops = self.gate.after_submit(free);
        let taken = had - batch.len();
        if taken > 0 {
            if stops || (free as usize) < K::MAX_SEGMENTS + K::MORE_DESCRIPTORS {
                self.kernel.report();
            }
            self.publish(taken);
        }
        match refusal {
            Some(why) => TxState::Refused(why),
            None if stops => TxState::Stopped,
            None => TxState::Running,
        }
    }

    /// Counts what was taken and shows it to the device.
    #[inline(always)]
    pub(super) fn publish(&mut self, taken: usize) {
        let tells = self.kernel.publish();
        self.seat.tally().packets.add(taken as u64);
        if tells {
            self.ring_doorbell();
        }
    }

    #[inline(always)]
    fn ring_doorbell(&mut self) {
        self.seat.tally().doorbells.add(1);
        self.kernel.ring_doorbell();
    }

    #[inline(always)]
    pub(super) fn count_bytes(&self, bytes: u64) {
        if K::COUNTS_BYTES {
            self.seat.tally().bytes.add(bytes);
        }
    }

    /// Wakes the queue where what came back makes enough room.
    #[inline(always)]
    pub(super) fn count_reclaimed(&mut self, Reclaimed { descriptors, bytes }: Reclaimed) {
        if descriptors > 0 {
            self.gate.completed(bytes);
            if self.gate.after_reclaim(self.kernel.free()) {
                self.wake();
            }
        }
    }

    /// The gate is closed, and not enough came back to open it.
    #[cold]
    #[inline(never)]
    pub(super) fn still_stopped(&mut self) -> TxState {
        self.look_for_hang();
        if self.seat.is_running() { TxState::Stopped } else { self.broken() }
    }

    /// Called where the device has work: a queue that has not moved since the first look is broken when its time is over, unless its device has a reason to wait.
    #[cold]
    #[inline(never)]
    pub(super) fn look_for_hang(&mut self) {
        let Some(watch) = self.seat.watch() else { return };
        let now_us = watch.clock.now_us();
        let at = (self.kernel.pending(), self.seat.tally().totals().packets);
        let Some(stuck) = self.stuck.filter(|stuck| stuck.at == at) else {
            self.stuck = Some(Stuck { at, since_us: now_us, ask_us: now_us.saturating_add(watch.limit_us / LOOKS) });
            return;
        };
        if now_us < stuck.ask_us {
            return;
        }
        let (stood_us, limit_us) = (now_us.saturating_sub(stuck.since_us), watch.patience_us());
        match self.kernel.why_stuck() {
            WhyStuck::NoLink => self.stuck = None,
            WhyStuck::Unknown if stood_us < limit_us => {
                let ask_us = now_us.saturating_add((limit_us - stood_us).min(limit_us / LOOKS));
                self.stuck = Some(Stuck { ask_us, ..stuck });
            }
            WhyStuck::Unknown => self.break_queue(QueueFault::Hung { queue: self.index, since_us: stuck.since_us }),
            WhyStuck::Lost(fault) => self.break_queue(fault),
        }
    }

    /// Lets the interrupt fire when so many more descriptors come back, whether or not the queue is stopped: for who sends to see it fire.
    pub fn arm_for(&mut self, descriptors: u32) {
        self.kernel.arm(descriptors);
    }

    /// The gate has just opened. All is as it should be when this is called: the waker is the caller's code, and may panic.
    #[cold]
    #[inline(never)]
    pub(super) fn wake(&mut self) {
        self.kernel.disarm();
        if let Some(wake) = &mut self.wake {
            wake();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn break_queue(&mut self, fault: QueueFault) {
        log::error!("{} transmit queue {} is broken: {fault}", K::DRIVER, self.index);
        self.seat.set_failed(fault);
    }

    /// Nothing will complete any more: who waits for room is woken, and learns from the next submit why.
    #[cold]
    #[inline(never)]
    pub(super) fn broken(&mut self) -> TxState {
        let Some(fault) = self.pause() else { return TxState::Stopped };
        if self.gate.open() {
            self.wake();
        }
        TxState::Broken(fault)
    }

    /// Whether who submits learns something new: the gate is open, or the queue has failed.
    fn is_worth_a_submit(&self) -> bool {
        !self.gate.is_stopped() || self.seat.fault().is_some()
    }

    /// One sleep of who waits for room: until the interrupt fires, though no longer than until a hang is to be looked for; without one, `pause_us` by the clock.
    /// Returns how long it was, 0 where the interrupt ended it.
    fn sleep_for_room(&mut self, watch: &Watch, pause_us: u64, left_us: u64) -> Result<u64, PciError> {
        let Some(interrupt) = &mut self.interrupt else {
            let sleep_us = pause_us.min(left_us);
            watch.clock.sleep_us(sleep_us);
            return Ok(sleep_us);
        };
        let sleep_us = (watch.limit_us / LOOKS).clamp(1, LOOK_US).min(left_us);
        Ok(if interrupt.wait(Some(sleep_us))? == 0 { sleep_us } else { 0 })
    }

    /// Queues frames until the batch is empty, the ring is full, or one is refused.
    #[inline(always)]
    fn fill(&mut self, batch: &mut Batch) -> Option<Refusal> {
        loop {
            let Put { bytes, again } = self.kernel.put_ordinary(batch);
            self.count_bytes(bytes);
            if again {
                continue;
            }
            for _ in 0..K::TRY_AGAIN_AFTER {
                if batch.is_empty() {
                    return None;
                }
                if self.kernel.put_next(batch) {
                    continue;
                }
                if self.kernel.has_chain(batch) && self.put_chains(batch) {
                    continue;
                }
                match self.put_unusual(batch) {
                    Step::Taken if self.gate.counts_bytes() && self.gate.after_submit(self.kernel.free()) => return None,
                    Step::Taken => {}
                    Step::NoRoom => {
                        self.gate.stop();
                        return None;
                    }
                    Step::Refused(why) => return Some(why),
                }
            }
        }
    }

    /// Frames of several buffers, or such that ask for what the device does. Whether any went.
    #[inline(never)]
    fn put_chains(&mut self, batch: &mut Batch) -> bool {
        let PutWhole { frames, bytes, cut } = self.kernel.put_chains(batch, self.tagged.limits);
        self.count_bytes(bytes);
        if cut > 0 {
            self.seat.tally().cut.add(cut);
        }
        frames > 0
    }
}

impl<K: TxKernel> TxQueue for TxCore<K> {
    #[inline(always)]
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        // One ordinary frame with nothing to be reclaimed and room behind it changes no state but the ring's.
        if K::HAS_PUT_ONLY
            && self.seat.is_running()
            && let Some(bytes) = self.kernel.put_only(batch)
        {
            self.count_bytes(bytes);
            if K::ALWAYS_RINGS {
                self.seat.tally().alone.add(1);
                self.kernel.ring_doorbell();
            } else {
                self.publish(1);
            }
            return TxState::Running;
        }
        self.submit_many(batch)
    }

    fn reclaim(&mut self) -> usize {
        if !self.seat.is_running() {
            let _ = self.broken();
            return 0;
        }
        let reclaimed = self.kernel.reclaim(&mut self.home);
        // Before a waker is called.
        self.home.release_spares();
        match reclaimed {
            Ok(reclaimed) => {
                self.count_reclaimed(reclaimed);
                if reclaimed.descriptors == 0 {
                    self.nothing_came_back();
                }
                reclaimed.descriptors as usize
            }
            Err(fault) => {
                self.break_queue(fault);
                let _ = self.broken();
                0
            }
        }
    }

    fn pending(&self) -> usize {
        self.kernel.pending() as usize
    }

    fn arm(&mut self) -> bool {
        if self.is_worth_a_submit() {
            return true;
        }
        if self.interrupt.is_some() && self.seat.is_running() {
            let missing = self.gate.missing(self.kernel.free());
            self.kernel.arm(missing);
        }
        // What came back between the last look and the arming fires no interrupt.
        self.reclaim();
        self.is_worth_a_submit()
    }

    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.interrupt.as_deref_mut()
    }

    fn wait_for_room(&mut self, timeout_us: Option<u64>) -> Result<bool, PciError> {
        let Some(watch) = self.seat.watch().cloned() else {
            let without = PciErrorKind::Missing("clock that its transmit queues could wait by: poll the queue");
            return Err(PciError::new(K::DRIVER, "waiting for room in a transmit queue", without));
        };
        let begun_us = watch.clock.now_us();
        let (mut pause_us, mut slept_us) = (FIRST_PAUSE_US, 0);
        while !self.arm() {
            // By what was slept, too: a clock may stand still while an interrupt is waited for, as a simulated one does.
            let passed_us = watch.clock.now_us().saturating_sub(begun_us).max(slept_us);
            let left_us = timeout_us.map_or(u64::MAX, |limit_us| limit_us.saturating_sub(passed_us));
            if left_us == 0 {
                return Ok(false);
            }
            slept_us = slept_us.saturating_add(self.sleep_for_room(&watch, pause_us, left_us)?);
            pause_us = (2 * pause_us).min(TX_PAUSE_US);
        }
        Ok(true)
    }

    fn on_wake(&mut self, wake: Option<WakeFn>) {
        self.wake = wake;
    }

    fn fault(&self) -> Option<QueueFault> {
        self.seat.fault()
    }

    fn counters(&self) -> TxCounters {
        let all = self.seat.tally().totals();
        let (stops, wakes) = self.gate.transitions();
        TxCounters { packets: all.packets, bounced: all.bounced, stops, wakes, doorbells: all.doorbells, lost: all.lost }
    }

    #[inline(always)]
    fn hook_begin(&mut self, batch: &mut Batch) -> TxHooked<'_> {
        self.begin_hook(batch)
    }

    #[inline(always)]
    fn hook_end(&mut self, frames: u32, bytes: u64, by_allowance: bool) {
        self.end_hook(frames, bytes, by_allowance);
    }
}

impl<K: TxKernel> Drop for TxCore<K> {
    fn drop(&mut self) {
        // SAFETY: it is taken out once, here, and not used again.
        let mut kernel = unsafe { ManuallyDrop::take(&mut self.kernel) };
        let stop = self.seat.leave().unwrap_or_else(|| kernel.stop());
        if let (Stop::Silent(silence), Some(left)) = (&stop, self.seat.left()) {
            kernel.retire(left, silence);
        }
        self.seat.give_back(stop, kernel.into_lent(), format_args!("{} transmit queue {}", K::DRIVER, self.index));
    }
}

impl<K: TxKernel> fmt::Debug for TxCore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transmit queue {}: {:?}", K::DRIVER, self.index, &*self.kernel)
    }
}
