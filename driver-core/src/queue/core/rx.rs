//! Receive: descriptors in, frames out.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;

use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, Growing};
use crate::host::pci::Interrupt;
use crate::queue::contract::{RxCounters, RxQueue};
use crate::queue::core::kernel::{NotTaken, Piece, RxError, RxKernel, RxLimits, Taken};
use crate::queue::core::seat::{Seat, Totals};
use crate::ring::fault::QueueFault;
use crate::ring::hook::RxHooked;
use crate::ring::rx::Begun;
use crate::ring::verdict::Settled;

/// A receive queue: what the queues of all drivers do alike, over a driver's kernel.
///
/// Dropped while the device runs, it stops its hardware queue first, or leaves its ring and buffers to be freed when the whole device is silent. Where the
/// device does not confirm that, they leak, since it may still write to them.
pub struct RxCore<K: RxKernel> {
    pub(super) kernel: ManuallyDrop<K>,
    pub(super) seat: Arc<Seat>,
    /// The first buffers of a frame of which not all have come yet.
    pub(super) partial: Option<Partial>,
    limits: RxLimits,
    interrupt: Option<Box<dyn Interrupt>>,
    index: u16,
}

/// A frame in pieces.
pub(super) struct Partial {
    chain: Growing,
    /// It is beyond the limits: what comes of it is not kept, and it is counted when it is complete.
    too_long: bool,
}

/// What became of one descriptor.
pub(super) enum Step {
    /// A frame went to the batch.
    Frame,
    /// It was used up, but gave no frame, or none yet.
    NoFrame,
    /// It stays in the ring.
    Stays,
    /// It broke the queue.
    Broke,
}

impl<K: RxKernel> RxCore<K> {
    /// A queue on a kernel whose hardware may be running already. `index`: its number among the device's receive queues.
    pub const fn new(kernel: K, seat: Arc<Seat>, index: u16, limits: RxLimits) -> Self {
        Self { kernel: ManuallyDrop::new(kernel), seat, partial: None, limits, interrupt: None, index }
    }

    /// Gives the queue the interrupt that fires for it.
    pub fn set_interrupt(&mut self, interrupt: Box<dyn Interrupt>) {
        self.interrupt = Some(interrupt);
    }

    /// The queue's number.
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// Tells a device that was not running when its ring was filled of the first buffers.
    pub fn kick(&mut self) {
        self.ring_doorbell();
    }

    #[inline(always)]
    pub(super) fn ring_doorbell(&mut self) {
        self.seat.tally().doorbells.add(1);
        self.kernel.ring_doorbell();
    }

    /// The poll of one frame where [`RxKernel::take_only`] took none.
    #[inline(never)]
    fn poll_one(&mut self, batch: &mut Batch) -> usize {
        if !self.seat.is_running() {
            self.pause();
            return 0;
        }
        if !self.kernel.has_next() {
            return 0;
        }
        if self.kernel.has_chain() {
            return self.poll_chain(batch);
        }
        // It may lack no more than an empty buffer at hand, where a batch goes from one port to another.
        if self.kernel.stock(batch)
            && let Some(bytes) = self.kernel.take_only(batch)
        {
            self.count_bytes(bytes);
            self.finish_only();
            return 1;
        }
        self.poll_rest(batch, 1, usize::MAX, 0)
    }

    /// [`RxQueue::poll`] without the way for one frame. Frames that make the budget full, or all that are there, leave here; for the rest there is a way of its
    /// own, so that this one does not save registers that only that one needs.
    #[inline(never)]
    fn poll_many(&mut self, batch: &mut Batch, budget: usize) -> usize {
        if K::HAS_TAKE_ONLY && !K::COUNTS_READY && budget == 1 {
            return self.poll_one(batch);
        }
        if !self.seat.is_running() {
            self.pause();
            return 0;
        }
        let ready = match self.kernel.ready() {
            Ok(0) => return 0,
            Ok(ready) => ready,
            Err(fault) => {
                self.break_queue(fault);
                return 0;
            }
        };
        let Taken { frames: taken, bytes } = self.kernel.take_first(batch, if K::COUNTS_READY { budget.min(ready) } else { budget });
        self.count_bytes(bytes);
        if taken == 0 || taken != budget && !(K::COUNTS_READY && taken == ready) {
            return self.poll_rest(batch, budget, ready, taken);
        }
        self.finish(batch, taken);
        taken
    }

    /// The rest of a poll of `budget` frames that took `taken`.
    #[inline(never)]
    fn poll_rest(&mut self, batch: &mut Batch, budget: usize, ready: usize, mut taken: usize) -> usize {
        let budget = budget.min(batch.room() + taken);
        taken += self.take_ordinary(batch, budget - taken, ready.wrapping_sub(taken));
        if taken != budget && !(K::COUNTS_READY && taken == ready) {
            return self.poll_unusual(batch, budget, ready, taken);
        }
        if taken > 0 {
            self.finish(batch, taken);
        }
        taken
    }

    #[inline(always)]
    fn take_ordinary(&mut self, batch: &mut Batch, budget: usize, ready: usize) -> usize {
        let Taken { frames, bytes } = self.kernel.take_ordinary(batch, if K::COUNTS_READY { budget.min(ready) } else { budget });
        self.count_bytes(bytes);
        frames
    }

    /// Goes on where the next descriptor is not an ordinary frame, or not done, with `taken` frames of the budget taken.
    #[inline(never)]
    fn poll_unusual(&mut self, batch: &mut Batch, budget: usize, ready: usize, mut taken: usize) -> usize {
        let mut ready = ready.wrapping_sub(taken);
        // Descriptors without a frame do not count against the budget; a device that fills them as fast as they are emptied must not keep us here.
        let mut without_frame = 0;
        while taken < budget && !(K::COUNTS_READY && ready == 0) {
            if !K::COUNTS_READY && self.partial.is_none() && self.kernel.has_chain() {
                let mut begun = None;
                let frames = self.kernel.take_chains(batch, budget - taken, &mut begun, self.limits);
                taken += frames;
                if let Some(begun) = begun {
                    without_frame += 1;
                    if !self.begin(batch, begun) {
                        self.seat.tally().packets.add(taken as u64);
                        return taken;
                    }
                }
                if frames > 0 {
                    continue;
                }
            }
            match self.take_unusual(batch) {
                Step::Frame => taken += 1,
                Step::NoFrame if without_frame < self.kernel.capacity() as usize => {
                    without_frame += 1;
                    if self.partial.is_some() {
                        // Nothing is ordinary in the middle of a frame.
                        ready = ready.wrapping_sub(1);
                        continue;
                    }
                }
                Step::NoFrame | Step::Stays => break,
                Step::Broke => {
                    // A device that broke the rules gets nothing more.
                    self.seat.tally().packets.add(taken as u64);
                    return taken;
                }
            }
            let frames = self.take_ordinary(batch, budget - taken, ready.wrapping_sub(1));
            taken += frames;
            ready = ready.wrapping_sub(1 + frames);
        }
        if taken + without_frame > 0 {
            self.finish(batch, taken);
        } else if self.kernel.is_apart() {
            return self.poll_whole(batch, budget);
        }
        taken
    }

    /// [`RxKernel::take_chain`], out of others' way.
    #[inline(never)]
    fn take_chain(&mut self, batch: &mut Batch, begun: &mut Option<Begun>) -> bool {
        self.kernel.take_chain(batch, begun, self.limits)
    }

    /// The poll of one frame where one of several buffers is next.
    #[inline(never)]
    fn poll_chain(&mut self, batch: &mut Batch) -> usize {
        let mut begun = None;
        if self.take_chain(batch, &mut begun) {
            self.finish(batch, 1);
            return 1;
        }
        match begun {
            None => self.poll_rest(batch, 1, usize::MAX, 0),
            Some(begun) => {
                if self.begin(batch, begun) {
                    self.finish(batch, 0);
                }
                0
            }
        }
    }

    /// The poll of a ring that puts frames together by itself.
    #[cold]
    #[inline(never)]
    fn poll_whole(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let (mut taken, mut descriptors) = (0, 0);
        // Descriptors without a frame do not count against the budget; a device that fills them as fast as they are emptied must not keep us here.
        while taken < budget && descriptors < budget + self.kernel.capacity() as usize {
            match self.kernel.take_whole(batch) {
                Ok(frame) => {
                    descriptors += 1;
                    let Some(frame) = frame else { continue };
                    self.count_bytes(frame.len() as u64);
                    if let Some(segments) = frame.coalesced() {
                        self.seat.tally().cut.add(u64::from(segments) - 1);
                    }
                    // The budget is within the batch's room, so the push cannot fail; if it did, the frame would go back to the pool.
                    taken += usize::from(batch.push(frame).is_ok());
                }
                Err(why) => match self.not_taken(why) {
                    Step::NoFrame | Step::Frame => descriptors += 1,
                    Step::Stays => break,
                    Step::Broke => {
                        self.seat.tally().packets.add(taken as u64);
                        return taken;
                    }
                },
            }
        }
        if descriptors > 0 {
            self.finish(batch, taken);
        }
        taken
    }

    /// Counts what [`RxKernel::take_only`] took, and hands its emptied slot to the device where that has not done so.
    #[inline(always)]
    fn finish_only(&mut self) {
        if K::ALWAYS_RINGS {
            self.seat.tally().alone.add(1);
        } else {
            self.seat.tally().packets.add(1);
            if self.kernel.publish() {
                self.ring_doorbell();
            }
        }
    }

    /// Counts what was taken and hands the emptied slots to the device.
    #[inline(always)]
    fn finish(&mut self, batch: &mut Batch, taken: usize) {
        self.seat.tally().packets.add(taken as u64);
        self.kernel.refill(batch);
        if self.kernel.publish() {
            self.ring_doorbell();
        }
    }

    #[inline(always)]
    pub(super) fn count_bytes(&self, bytes: u64) {
        if K::COUNTS_BYTES {
            self.seat.tally().bytes.add(bytes);
        }
    }

    /// A descriptor that is not done, or whose buffer is not an ordinary frame, or that no empty buffer lies ready for.
    #[inline(always)]
    fn take_unusual(&mut self, batch: &mut Batch) -> Step {
        let Piece { frame, ends } = match self.kernel.take_unusual(batch) {
            Ok(piece) => piece,
            Err(why) => return self.not_taken(why),
        };
        let too_long = self.add(batch, frame);
        if too_long && let Some(fault) = K::TOO_LONG {
            self.partial = None;
            self.seat.tally().errors.add(1);
            return self.break_queue(fault);
        }
        if !ends {
            let is_marked_end = K::MARKS && self.partial.as_ref().is_some_and(|partial| K::is_marked_end(partial.chain.view_words()));
            return if is_marked_end { self.end_marked(batch) } else { Step::NoFrame };
        }
        match self.partial.take() {
            Some(partial) => self.hand_up::<false>(batch, partial),
            None => Step::NoFrame,
        }
    }

    /// A frame came in part, or is too long. Says whether the queue goes on.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, batch: &mut Batch, Begun { chain, ends }: Begun) -> bool {
        let too_long = chain.bytes > self.limits.max_frame_bytes || chain.segments > self.limits.max_pieces;
        let partial = Partial { chain, too_long };
        if too_long && let Some(fault) = K::TOO_LONG {
            self.seat.tally().errors.add(1);
            drop(partial);
            self.break_queue(fault);
            return false;
        }
        if ends {
            self.hand_up::<false>(batch, partial);
        } else {
            self.partial = Some(partial);
        }
        true
    }

    /// A frame has ended by a buffer of which the device says what is rarely said.
    #[cold]
    #[inline(never)]
    fn end_marked(&mut self, batch: &mut Batch) -> Step {
        match self.partial.take() {
            Some(partial) => self.hand_up::<true>(batch, partial),
            None => Step::NoFrame,
        }
    }

    fn not_taken(&mut self, why: NotTaken) -> Step {
        let tally = self.seat.tally();
        match why {
            NotTaken::NotDone => Step::Stays,
            NotTaken::NoBuffer => {
                tally.stalls.add(1);
                Step::Stays
            }
            NotTaken::Bad => {
                tally.errors.add(1);
                self.partial = None;
                Step::NoFrame
            }
            NotTaken::Fault(fault) => self.break_queue(fault),
        }
    }

    /// Puts one more piece to the frame under way, and says whether it is too long.
    #[inline(always)]
    fn add(&mut self, batch: &mut Batch, piece: Frame) -> bool {
        let RxLimits { max_frame_bytes, max_pieces } = self.limits;
        let bytes = piece.linear_len();
        let Some(partial) = &mut self.partial else {
            let too_long = bytes > max_frame_bytes;
            self.partial = Some(Partial { chain: Growing::new(piece, bytes), too_long });
            return too_long;
        };
        let chain = &mut partial.chain;
        if partial.too_long || chain.bytes.saturating_add(bytes) > max_frame_bytes || chain.segments >= max_pieces {
            partial.too_long = true;
            batch.recycle(piece);
        } else {
            if K::LAST_SAYS {
                chain.say(&piece);
            }
            chain.append(piece, bytes);
        }
        partial.too_long
    }

    /// Hands a complete frame up, or counts what is wrong with it.
    #[inline(always)]
    fn hand_up<const MARKED: bool>(&mut self, batch: &mut Batch, Partial { chain, too_long }: Partial) -> Step {
        let bytes = chain.bytes;
        let mut frame = chain.into_frame();
        let judged = match () {
            () if MARKED => self.kernel.judge_marked(&mut frame).and(if too_long { Err(RxError::Length) } else { Ok(()) }),
            () if too_long => Err(RxError::Length),
            () => self.kernel.judge(&mut frame),
        };
        let tally = self.seat.tally();
        match judged {
            Ok(()) => {
                let segments = self.kernel.segments();
                if segments > 1 {
                    tally.cut.add(u64::from(segments) - 1);
                }
                self.count_bytes(bytes as u64);
                // The budget is within the batch's room, so the push cannot fail; if it did, the frame would go back to the pool.
                return if batch.push(frame).is_ok() { Step::Frame } else { Step::NoFrame };
            }
            Err(RxError::Header) => tally.header_errors.add(1),
            Err(RxError::Length) => tally.length_errors.add(1),
        }
        tally.errors.add(1);
        batch.recycle(frame);
        Step::NoFrame
    }

    #[cold]
    #[inline(never)]
    pub(super) fn break_queue(&mut self, fault: QueueFault) -> Step {
        log::error!("{} receive queue {} is broken: {fault}", K::DRIVER, self.index);
        if self.partial.take().is_some() {
            self.seat.tally().errors.add(1);
        }
        self.seat.set_failed(fault);
        Step::Broke
    }
}

impl<K: RxKernel> RxQueue for RxCore<K> {
    #[inline(always)]
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        // One frame at a time is the way of a caller that cares for latency: this spares it the loops.
        if K::HAS_TAKE_ONLY
            && budget == 1
            && self.seat.is_running()
            && let Some(bytes) = self.kernel.take_only(batch)
        {
            self.count_bytes(bytes);
            self.finish_only();
            return 1;
        }
        self.poll_many(batch, budget)
    }

    fn arm(&mut self) -> bool {
        if !self.seat.is_running() {
            self.pause();
            return false;
        }
        if self.interrupt.is_some() {
            let Totals { packets, in_place, .. } = self.seat.tally().totals();
            self.kernel.pace(packets + in_place);
            self.kernel.arm();
        }
        self.kernel.has_frames()
    }

    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        self.interrupt.as_deref_mut()
    }

    fn fault(&self) -> Option<QueueFault> {
        self.seat.fault()
    }

    fn counters(&self) -> RxCounters {
        let all = self.seat.tally().totals();
        let hook = self.seat.tally().hook_counters();
        let Totals { packets, errors, stalls, doorbells, lost, cut: coalesced, .. } = all;
        RxCounters { packets, errors, stalls, doorbells, lost, coalesced, hook }
    }

    #[inline(always)]
    fn hook_begin(&mut self) -> RxHooked<'_> {
        self.begin_hook()
    }

    #[inline(always)]
    fn hook_end(&mut self, settled: &Settled, batch: &mut Batch) {
        self.end_hook(settled, batch);
    }
}

impl<K: RxKernel> Drop for RxCore<K> {
    fn drop(&mut self) {
        // SAFETY: it is taken out once, here, and not used again.
        let mut kernel = unsafe { ManuallyDrop::take(&mut self.kernel) };
        if self.partial.take().is_some() {
            self.seat.tally().lost.add(1);
        }
        let stop = self.seat.leave().unwrap_or_else(|| kernel.stop());
        self.seat.give_back(stop, kernel.into_lent(), format_args!("{} receive queue {}", K::DRIVER, self.index));
    }
}

impl<K: RxKernel> fmt::Debug for RxCore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} receive queue {}: {:?}", K::DRIVER, self.index, &*self.kernel)
    }
}
