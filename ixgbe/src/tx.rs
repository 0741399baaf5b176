//! Transmit: frames in, descriptors out; stop and wake. Datasheet section 7.2.

use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;

use driver_core::barrier;
use driver_core::buf::{Batch, Frame, FrameError};
use driver_core::ether::{FrameLimits, HEADER_BYTES, padding_bytes};
use driver_core::host::{Bar, Doorbell};
use driver_core::queue::{QueueFault, Refusal, TxCounters, TxGate, TxQueue, TxState, WakeFn};
use driver_core::ring::{BLOCK, TxRing};

use crate::desc::tx::{self as bits, MAX_SEGMENTS};
use crate::shared::Shared;

/// One transmit queue.
///
/// Dropped while the device runs, it stops its hardware queue first; if the card does not confirm that, the ring and the buffers in flight leak,
/// since the card may still read them.
pub struct Tx<B: Bar> {
    ring: ManuallyDrop<TxRing>,
    tail: B::Doorbell,
    bar: B,
    shared: Arc<Shared>,
    index: u16,
    gate: TxGate,
    /// With more descriptors free than this, one frame cannot make the gate stop, and a running gate cannot be stopped.
    straight_above: u32,
    wake: Option<WakeFn>,
    /// Where buffers go when the caller brings no batch.
    home: Batch,
    limits: FrameLimits,
    packets: u64,
    bounced: u64,
    doorbells: u64,
}

/// What became of the frame at the front.
enum One {
    Taken,
    NoRoom,
    Refused(Refusal),
}

impl<B: Bar> Tx<B> {
    /// A queue on a ring whose hardware is set up and enabled.
    pub(crate) fn new(ring: TxRing, bar: B, tail: B::Doorbell, shared: Arc<Shared>, index: u16, gate: TxGate, limits: FrameLimits) -> Self {
        Self {
            ring: ManuallyDrop::new(ring),
            tail,
            bar,
            shared,
            index,
            straight_above: gate.never_stops_above().max(MAX_SEGMENTS as u32),
            gate,
            wake: None,
            home: Batch::new(BLOCK),
            limits,
            packets: 0,
            bounced: 0,
            doorbells: 0,
        }
    }

    /// The queue's number.
    pub fn index(&self) -> u16 {
        self.index
    }

    #[inline(never)]
    fn submit_many(&mut self, batch: &mut Batch) -> TxState {
        reclaim_into(&mut self.ring, &mut self.gate, &mut self.wake, batch);
        if !self.shared.is_running() {
            return TxState::Broken(QueueFault::Stopped);
        }
        if self.gate.is_stopped() {
            return TxState::Stopped;
        }
        let before = self.ring.tail();
        let had = batch.len();
        let refusal = self.fill(batch);
        let stopped = self.gate.after_submit(self.ring.free());
        if self.ring.tail() != before {
            // A later frame may find too little room for its segments and stop the queue without queueing anything: what is in the ring
            // then must have its report coming.
            if stopped || (self.ring.free() as usize) < MAX_SEGMENTS {
                self.ring.report_last();
            }
            self.ring_doorbell(had - batch.len());
        }
        match refusal {
            Some(why) => TxState::Refused(why),
            None if stopped => TxState::Stopped,
            None => TxState::Running,
        }
    }

    /// Hands the filled descriptors to the card.
    #[inline(always)]
    fn ring_doorbell(&mut self, taken: usize) {
        self.doorbells += 1;
        self.packets += taken as u64;
        let tail = self.ring.tail();
        barrier::before_doorbell();
        self.tail.ring(tail);
    }

    /// Queues frames until the batch is empty, the ring is full, or one is refused.
    #[inline(always)]
    fn fill(&mut self, batch: &mut Batch) -> Option<Refusal> {
        let by_bytes = self.gate.counts_bytes();
        loop {
            if batch.len() >= BLOCK && self.ring.put_blocks(batch) > 0 {
                continue;
            }
            // What a block could not take: a few frames, the ring's end, or an unusual one.
            for _ in 0..BLOCK {
                if batch.is_empty() {
                    return None;
                }
                if self.ring.put_plain(batch) {
                    continue;
                }
                match self.put_unusual(batch) {
                    One::Taken if by_bytes && self.gate.after_submit(self.ring.free()) => return None,
                    One::Taken => {}
                    One::NoRoom => {
                        self.gate.stop();
                        return None;
                    }
                    One::Refused(why) => return Some(why),
                }
            }
        }
    }

    /// The frame at the front of the batch, whatever it is like.
    #[cold]
    fn put_unusual(&mut self, batch: &mut Batch) -> One {
        let Some(frame) = batch.frames_mut().first_mut() else { return One::Taken };
        if let Err(why) = check(frame, self.limits) {
            return One::Refused(why);
        }
        // Padding may put the first byte into an empty last segment: every segment counts, empty or not.
        if frame.segments().count() > self.ring.free() as usize {
            return One::NoRoom;
        }
        if !self.is_reachable(frame) || pad(frame).is_err() {
            // Memory of another domain, or no room for the padding in any of its buffers: send a copy.
            let copied = frame.copy(self.ring.pool()).and_then(|mut copy| pad(&mut copy).map(|()| copy));
            match copied {
                Ok(copy) => *frame = copy,
                Err(_) => return One::Refused(Refusal::NoBounceBuffer),
            }
            self.bounced += 1;
            return self.put_unusual(batch);
        }
        if let Some(frame) = batch.pop() {
            self.put_segments(frame);
        }
        One::Taken
    }

    fn is_reachable(&self, frame: &Frame) -> bool {
        frame.all_reachable(self.ring.pool().domain())
    }

    /// One descriptor for each segment that has bytes. There is room for them.
    fn put_segments(&mut self, frame: Frame) {
        let bytes = frame.len();
        let mut first_bytes = bytes as u32;
        let mut next = Some(frame);
        while let Some(mut segment) = next {
            next = segment.split_rest();
            while next.as_ref().is_some_and(|rest| rest.linear_len() == 0) {
                next = next.and_then(|mut empty| empty.split_rest());
            }
            let len = segment.linear_len();
            if len == 0 {
                continue;
            }
            let last = next.is_none();
            let word = bits::data_word(len as u16, bytes as u32, last);
            if self.ring.put_segment(segment, word, last, first_bytes).is_err() {
                // `put_unusual` has counted the descriptors, and `split_rest` leaves no next segment.
                log::error!("ixgbe transmit queue {}: a counted descriptor was not free", self.index);
            }
            first_bytes = 0;
        }
        self.gate.sent(if self.gate.counts_bytes() { bytes as u64 } else { 0 });
    }
}

/// Completes what the card reported, and wakes the queue where that makes enough room.
#[inline(always)]
fn reclaim_into(ring: &mut TxRing, gate: &mut TxGate, wake: &mut Option<WakeFn>, batch: &mut Batch) -> usize {
    let done = ring.reclaim(batch);
    if done.descriptors == 0 {
        return 0;
    }
    gate.completed(done.bytes);
    if gate.after_reclaim(ring.free())
        && let Some(wake) = wake
    {
        wake();
    }
    done.descriptors as usize
}

/// Whether the frame can be sent at all.
fn check(frame: &Frame, limits: FrameLimits) -> Result<(), Refusal> {
    let len_bytes = frame.len();
    if len_bytes < HEADER_BYTES {
        return Err(Refusal::TooShort { len_bytes });
    }
    let max_bytes = limits.longest(frame.has_vlan_header());
    if len_bytes > max_bytes {
        return Err(Refusal::TooLong { len_bytes, max_bytes });
    }
    if frame.wants_offload() {
        return Err(Refusal::Offload("checksum insertion, segmentation or VLAN insertion"));
    }
    let segments = frame.segments().count();
    if segments > MAX_SEGMENTS {
        return Err(Refusal::TooManySegments { segments, max: MAX_SEGMENTS });
    }
    Ok(())
}

/// Zeros behind a frame that is shorter than the wire demands.
fn pad(frame: &mut Frame) -> Result<(), FrameError> {
    match padding_bytes(frame.len()) {
        0 => Ok(()),
        missing => frame.put(missing).map(|bytes| bytes.fill(0)),
    }
}

impl<B: Bar> TxQueue for Tx<B> {
    #[inline]
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        // One ordinary frame with nothing to be reclaimed and room behind it changes no state but the tail.
        if self.shared.is_running() && self.ring.put_only(batch, self.straight_above) {
            self.ring_doorbell(1);
            return TxState::Running;
        }
        self.submit_many(batch)
    }

    fn reclaim(&mut self) -> usize {
        let count = reclaim_into(&mut self.ring, &mut self.gate, &mut self.wake, &mut self.home);
        self.home.release_spares();
        // Nothing will complete any more: who waits for room learns from the next submit that the device is stopped.
        if !self.shared.is_running()
            && self.gate.open()
            && let Some(wake) = &mut self.wake
        {
            wake();
        }
        count
    }

    fn pending(&self) -> usize {
        self.ring.pending() as usize
    }

    fn on_wake(&mut self, wake: Option<WakeFn>) {
        self.wake = wake;
    }

    fn fault(&self) -> Option<QueueFault> {
        (!self.shared.is_running()).then_some(QueueFault::Stopped)
    }

    fn counters(&self) -> TxCounters {
        let (stops, wakes) = self.gate.transitions();
        TxCounters { packets: self.packets, bounced: self.bounced, stops, wakes, doorbells: self.doorbells }
    }
}

impl<B: Bar> Drop for Tx<B> {
    fn drop(&mut self) {
        let confirmed = self.shared.is_stopped()
            || crate::queues::stop_tx(&self.bar, self.shared.clock(), self.index).map(|unsent| self.shared.count_unsent(unsent)).is_ok();
        if !confirmed {
            log::error!(
                "ixgbe transmit queue {}: the card does not confirm that it stopped; {} buffers in flight leak",
                self.index,
                self.ring.pending()
            );
            return;
        }
        // SAFETY: the ring is taken out once, here, and the hardware queue has confirmed that it stopped.
        #[allow(unsafe_code, reason = "only here is it known that the card reads no more")]
        unsafe {
            ManuallyDrop::take(&mut self.ring).release();
        }
    }
}

impl<B: Bar> fmt::Debug for Tx<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ixgbe transmit queue {}: {:?}", self.index, self.ring)
    }
}
