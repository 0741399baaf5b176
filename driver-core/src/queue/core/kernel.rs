//! What a driver brings to a queue: its ring, and the device's rules for what lies in it.

use core::fmt;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::meta::Words;
use crate::buf::pool::BufPool;
use crate::ether::FrameLimits;
use crate::offload::Work;
use crate::queue::core::lent::{Left, Lent, Silence, Stop};
use crate::ring::fault::QueueFault;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::rx::Begun;
use crate::ring::tx::Reclaimed;
use crate::ring::virtq::PutWhole;

/// How large a received frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct RxLimits {
    /// The longest, in bytes.
    pub max_frame_bytes: usize,
    /// The most buffers that one may lie in.
    pub max_pieces: usize,
}

/// Ordinary frames that went from a ring into a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver's kernel makes it, in its hot loop")]
pub struct Taken {
    /// How many.
    pub frames: usize,
    /// Their bytes; 0 where the device counts them.
    pub bytes: u64,
}

/// Ordinary frames that went from a batch into a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver's kernel makes it, in its hot loop")]
pub struct Put {
    /// Their bytes; 0 where the device counts them.
    pub bytes: u64,
    /// Whether more may go in the same way at once, behind the ring's end.
    pub again: bool,
}

/// One buffer that came out of a receive ring.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver's kernel makes it, in its hot loop")]
pub struct Piece {
    /// Its bytes, as a frame of one segment.
    pub frame: Frame,
    /// Whether the frame ends with it.
    pub ends: bool,
}

/// Why a transmit queue with work does not move, as far as its device tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyStuck {
    /// Without a link nothing goes out.
    NoLink,
    /// The device does not run any more.
    Lost(QueueFault),
    /// The device has a link and says nothing else: it hangs.
    Unknown,
}

/// Why no buffer came out of a receive ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTaken {
    /// The device is not done with the next descriptor.
    NotDone,
    /// The device marked the frame bad. The descriptor is used up, and the frame over.
    Bad,
    /// There is no empty buffer to take its place. It stays in the ring.
    NoBuffer,
    /// The device did what it must not do.
    Fault(QueueFault),
}

/// What is wrong with a received frame that the device did not mark bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RxError {
    /// The device's header of the frame makes no sense.
    Header,
    /// It is too short or too long.
    Length,
}

/// A receive ring with the rules of its device. Dropping it leaks the ring.
///
/// [`RxCore`](super::RxCore) calls `ready`, or `has_next`, then `take_first`, then `take_ordinary` and `take_unusual` until the budget is used up or nothing is left, then `refill`, `publish` and
/// `ring_doorbell`. After a fault it calls nothing but `stop` and `into_lent`.
pub trait RxKernel: fmt::Debug + Send {
    /// The ring and what is in it.
    type Lent: Lent;
    /// The driver's name, for messages.
    const DRIVER: &'static str;
    /// Whether the driver counts bytes, and not the device.
    const COUNTS_BYTES: bool;
    /// Whether [`RxKernel::ready`] counts.
    const COUNTS_READY: bool;
    /// Whether [`RxKernel::take_only`] is there.
    const HAS_TAKE_ONLY: bool = false;
    /// Whether the doorbell rings whenever something is published.
    const ALWAYS_RINGS: bool = false;
    /// Whether what is known of a frame of several buffers is said with the last of them, and not with the first.
    const LAST_SAYS: bool = false;
    /// What a frame is that goes beyond the queue's [`RxLimits`]: the fault of a device that promised to hold such frames back; `None`: a frame
    /// that is counted and dropped.
    const TOO_LONG: Option<QueueFault>;

    /// How many descriptors there are.
    fn capacity(&self) -> u32;

    /// How many descriptors the device is done with, where one look says it for all of them ([`RxKernel::COUNTS_READY`]). Loads that follow see what the
    /// device wrote before, and from here on it need not interrupt. Elsewhere each descriptor says it by itself, and the number means nothing.
    ///
    /// # Errors
    /// [`QueueFault`]: what the device says makes no sense.
    fn ready(&mut self) -> Result<usize, QueueFault>;

    /// Moves the next frame to `batch` if it is an ordinary one, done, an empty buffer lies ready there, and there is room: the shortest way for one frame, without
    /// [`RxKernel::ready`] before it. Returns its bytes, where they are counted. Where [`RxKernel::ALWAYS_RINGS`], it tells the device of that buffer itself; else
    /// [`RxKernel::publish`] follows.
    fn take_only(&mut self, _batch: &mut Batch) -> Option<u64> {
        None
    }

    /// Sees to it that an empty buffer lies ready in `batch` for [`RxKernel::take_only`], and says whether there was none and is one now.
    fn stock(&mut self, _batch: &mut Batch) -> bool {
        false
    }

    /// The shortest way for many frames: as [`RxKernel::take_ordinary`], which follows where this took less, but `batch` may lack the room, and then none are
    /// taken.
    fn take_first(&mut self, _batch: &mut Batch, _most: usize) -> Taken {
        Taken::default()
    }

    /// Moves ordinary frames to `batch`, `most` at most, as long as one follows another and empty buffers are there. In the middle of a frame of
    /// several buffers it takes none. There is room for `most` frames, and as many descriptors are ready where they are counted.
    fn take_ordinary(&mut self, batch: &mut Batch, most: usize) -> Taken;

    /// Whether the device is done with the next descriptor. Where it is not, the queue found nothing, and a poll ends. Never called where [`RxKernel::COUNTS_READY`].
    fn has_next(&mut self) -> bool {
        true
    }

    /// Whether the next descriptor begins a frame of several buffers, and no other is under way. Never called where [`RxKernel::COUNTS_READY`].
    fn has_chain(&self) -> bool {
        false
    }

    /// Moves frames of several buffers to `batch`, `most` at most, as long as one follows another, none has an error or anything else about it that is unusual, and empty buffers
    /// are there. Returns how many. One that is not all there, or goes beyond `limits`, goes to `begun`. There is room for `most`, and no other is under way. Called where
    /// [`RxKernel::has_chain`], and only of a device that counts bytes.
    fn take_chains(&mut self, _batch: &mut Batch, _most: usize, _begun: &mut Option<Begun>, _limits: RxLimits) -> usize {
        0
    }

    /// The shortest way for one frame of several buffers: as [`RxKernel::take_chains`], which follows where this took none and began none. Says whether it took it.
    fn take_chain(&mut self, _batch: &mut Batch, _begun: &mut Option<Begun>, _limits: RxLimits) -> bool {
        false
    }

    /// Whether frames of this ring do not lie one behind the other, so that [`RxKernel::take_whole`] is in place of all other ways, which find nothing.
    fn is_apart(&self) -> bool {
        false
    }

    /// Takes the next descriptor of a ring that puts frames together by itself, and returns the frame that is complete with it, if one is. Called
    /// where [`RxKernel::is_apart`].
    ///
    /// # Errors
    /// [`NotTaken`]
    fn take_whole(&mut self, _batch: &mut Batch) -> Result<Option<Frame>, NotTaken> {
        Err(NotTaken::NotDone)
    }

    /// Takes the buffer of the next descriptor out, whatever it is like. It is ready where they are counted.
    ///
    /// # Errors
    /// [`NotTaken`]
    fn take_unusual(&mut self, batch: &mut Batch) -> Result<Piece, NotTaken>;

    /// Whether a frame may end by a buffer that [`RxKernel::take_unusual`] does not say to be its end, because the device says of it what is rarely said: so the ways of
    /// other frames pay nothing for the question. Then it has the following two.
    const MARKS: bool = false;

    /// Whether a frame of which the device says these words ends so.
    fn is_marked_end(_words: Words) -> bool {
        false
    }

    /// Looks at a complete frame that ended so, in place of [`RxKernel::judge`].
    ///
    /// # Errors
    /// [`RxError`]: it is not to be handed up.
    fn judge_marked(&mut self, _frame: &mut Frame) -> Result<(), RxError> {
        Ok(())
    }

    /// Looks at a frame that came in by [`RxKernel::take_unusual`] and is complete now, and says in its metadata what is known of it.
    ///
    /// # Errors
    /// [`RxError`]: it is not to be handed up.
    fn judge(&mut self, _frame: &mut Frame) -> Result<(), RxError> {
        Ok(())
    }

    /// How many received segments the device had put together in the frame that was judged last: to be counted.
    fn segments(&self) -> u16 {
        1
    }

    /// The ring, for a hook to judge its frames where they lie, behind [`RxKernel::ready`]; [`RxHooked::whole`] in the middle of a frame of several buffers. What the
    /// hook settled and emptied is refilled and published as what is taken.
    fn hooked(&mut self) -> RxHooked<'_> {
        RxHooked::whole()
    }

    /// Puts empty buffers into the slots that were emptied, where taking has not done so.
    fn refill(&mut self, _batch: &mut Batch) {}

    /// Shows the device the slots that were filled since the last time, and says whether it has to be told by [`RxKernel::ring_doorbell`].
    fn publish(&mut self) -> bool;

    /// Rings the doorbell.
    fn ring_doorbell(&mut self);

    /// Before the queue is armed: `frames` came since the start. A device that keeps its interrupts apart may find a better interval by that.
    fn pace(&mut self, _frames: u64) {}

    /// Lets the queue's interrupt fire at the next frame.
    fn arm(&mut self);

    /// Whether a descriptor is done, looked at behind everything that [`RxKernel::arm`] did.
    fn has_frames(&self) -> bool;

    /// Stops the hardware queue.
    fn stop(&mut self) -> Stop;

    /// The device was reset and knows of no memory: the ring becomes what it was when it was new. Returns how many frames are lost by it. Never called where the
    /// driver's [`ControlKernel::RECOVERS`](crate::device::control::ControlKernel::RECOVERS) is not set.
    fn rewind(&mut self, _: &Silence) -> u64 {
        0
    }

    /// The ring.
    fn into_lent(self) -> Self::Lent;
}

/// A transmit ring with the rules of its device. Dropping it leaks the ring.
///
/// [`TxCore`](super::TxCore) calls `reclaim`, then `put_first`, `put_ordinary`, `put_next` and `put_unusual` until the batch is empty or the ring full, then `publish` and
/// `ring_doorbell`. After a fault it calls nothing but `stop` and `into_lent`.
///
/// Where the queue's gate limits the bytes in flight, every frame's are counted by themselves: then the kernel has to be made so that no frame is ordinary.
pub trait TxKernel: fmt::Debug + Send {
    /// The ring and what is in it.
    type Lent: Lent;
    /// The driver's name, for messages.
    const DRIVER: &'static str;
    /// Whether the driver counts bytes, and not the device.
    const COUNTS_BYTES: bool;
    /// Whether [`TxKernel::put_only`] is there.
    const HAS_PUT_ONLY: bool = false;
    /// The most bytes behind the headers of a frame that the device cuts ([`Work::SEGMENTATION`]).
    const MAX_CUT_BYTES: usize = 0;
    /// Whether the doorbell rings whenever something is published.
    const ALWAYS_RINGS: bool = false;
    /// After how many frames one at a time [`TxKernel::put_ordinary`] is tried again.
    const TRY_AGAIN_AFTER: usize = 1;
    /// The most segments with bytes that the device gathers.
    const MAX_SEGMENTS: usize;
    /// The most descriptors that a frame takes beside those of its segments, for what it asks.
    const MORE_DESCRIPTORS: usize = 0;

    /// The most descriptors that can be in flight.
    fn capacity(&self) -> u32;

    /// How many descriptors are free.
    fn free(&self) -> u32;

    /// How many descriptors the device has.
    fn pending(&self) -> u32 {
        self.capacity() - self.free()
    }

    /// Whether the device is to tell of some of them without being asked for more: of a device that reports by the batch, a few frames that nobody has asked a report
    /// for may wait for ever, and it does not hang.
    fn owes_report(&self) -> bool {
        self.pending() > 0
    }

    /// Why nothing comes back, where that was seen for as long as a queue may stand still.
    fn why_stuck(&mut self) -> WhyStuck {
        WhyStuck::Unknown
    }

    /// The pool whose frames are ordinary, and that copies of others' frames come from.
    fn pool(&self) -> &BufPool;

    /// Puts the buffers of frames that were sent onto `batch`'s stack of empty buffers, or back to their pools.
    ///
    /// # Errors
    /// [`QueueFault`]: what the device says makes no sense.
    fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault>;

    /// Takes the only frame of `batch` if it is an ordinary one, and one of those that [`TxKernel::allow_singles`] allowed: the shortest way for one frame.
    /// Returns its bytes, where they are counted. [`TxKernel::publish`] follows, or where [`TxKernel::ALWAYS_RINGS`] [`TxKernel::ring_doorbell`] alone.
    fn put_only(&mut self, _batch: &mut Batch) -> Option<u64> {
        None
    }

    /// Says how many frames may go by [`TxKernel::put_only`]: as long as each finds more than `min_free` descriptors free, and nothing is to be reclaimed.
    fn allow_singles(&mut self, _min_free: u32) {}

    /// Whether some are allowed, and a hook's frames may go so as well.
    fn allows_singles(&self) -> bool {
        false
    }

    /// The shortest way for many frames: as [`TxKernel::put_ordinary`], which follows where this left any.
    fn put_first(&mut self, batch: &mut Batch) -> Put {
        self.put_ordinary(batch)
    }

    /// Takes ordinary frames from the front of `batch`, as many together as the ring takes in one go and descriptors are free. Returns their bytes; 0 where
    /// the device counts them.
    fn put_ordinary(&mut self, batch: &mut Batch) -> Put;

    /// Takes the frame at the front of `batch` if it is an ordinary one that `put_ordinary` leaves because too few others are around it, and a descriptor is free.
    fn put_next(&mut self, _batch: &mut Batch) -> bool {
        false
    }

    /// Whether the frame at the front of `batch` is one that [`TxKernel::put_chains`] may take.
    fn has_chain(&self, _batch: &Batch) -> bool {
        false
    }

    /// Takes frames from the front of `batch` that are of several buffers, or ask for what the device does, and go in one go: their lengths, or those of what they are cut
    /// into, are within `limits` without a VLAN tag, and their descriptors are free.
    fn put_chains(&mut self, _batch: &mut Batch, _limits: FrameLimits) -> PutWhole {
        PutWhole::default()
    }

    /// The shortest way for one frame of several buffers no longer than `max_bytes`, which asks for nothing and is all that is in `batch`: as [`TxKernel::put_chains`], which
    /// follows where this did not take it.
    fn put_chain(&mut self, _batch: &mut Batch, _max_bytes: usize) -> bool {
        false
    }

    /// Takes the frame at the front of `batch` where all that it asks for is what the device was told for frames before it, and a descriptor is free.
    fn put_asking(&mut self, _batch: &mut Batch) -> bool {
        false
    }

    /// What the device does of all that `frame` may ask for. Software does the rest, as far as it can.
    fn offload(&self, _frame: &Frame) -> Work {
        Work::empty()
    }

    /// The most descriptors that a frame takes.
    fn most_descriptors(&self) -> usize {
        Self::MAX_SEGMENTS + Self::MORE_DESCRIPTORS
    }

    /// How many descriptors a frame takes of which `filled` segments have bytes. More than [`TxKernel::capacity`]: it never fits.
    fn descriptors(&self, frame: &Frame, filled: usize) -> usize;

    /// Queues a frame of so many bytes, whatever it is like. It asks for nothing but what [`TxKernel::offload`] says, the place of a checksum lies in it, the device reaches all its segments, and its descriptors are free.
    fn put_unusual(&mut self, frame: Frame, bytes: usize);

    /// The ring, for buffers that a hook sends out of a receive ring.
    fn hooked(&mut self) -> TxHooked<'_> {
        TxHooked::whole()
    }

    /// Sees to it that the device reports all that is queued, before it is published: the next frame may find too little room, and then nothing follows
    /// until these come back.
    fn report(&mut self) {}

    /// Shows the device what was queued, and says whether it has to be told by [`TxKernel::ring_doorbell`].
    fn publish(&mut self) -> bool;

    /// Rings the doorbell.
    fn ring_doorbell(&mut self);

    /// Lets the queue's interrupt fire when `descriptors` more came back than [`TxKernel::reclaim`] found, or all of them; it may fire earlier. A reclaim behind it
    /// finds what came back too early for it to fire. Never called where the queue has no interrupt.
    fn arm(&mut self, _descriptors: u32) {}

    /// Lets the queue's interrupt fire no more, where it was armed.
    fn disarm(&mut self) {}

    /// Stops the hardware queue. Buffers of frames that were sent before it stopped are not in the ring any more.
    fn stop(&mut self) -> Stop;

    /// Of what is in flight, the device has sent all but what is `left` before it fell silent.
    fn retire(&mut self, _left: Left, _silence: &Silence) {}

    /// As [`RxKernel::rewind`]; buffers go to `batch`, or back to their pools. Also returns what came back.
    fn rewind(&mut self, _: &Silence, _batch: &mut Batch) -> (u64, Reclaimed) {
        (0, Reclaimed::default())
    }

    /// The ring.
    fn into_lent(self) -> Self::Lent;
}
