//! What a hook sees of a received frame where it lies, and what it may say.
//!
//! The contract of queues with hooks is in [`queue`](crate::queue::PollWith); this is what rings and queues share of it.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::buf::frame::{Frame, FrameError};
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::meta::{self, Checksum, FlowMatch, LEN_SHIFT, Rss, Words};

/// What becomes of a frame (XDP's actions, by their names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the five that XDP has, and an answer to each")]
pub enum Verdict {
    /// Something went wrong in the hook: the frame is dropped, and counted apart.
    Abort,
    /// The buffer goes back to the device where it lies.
    Drop,
    /// The frame is handed up, as a poll does.
    Pass,
    /// Out of the first of the transmit queues that the call was given.
    Tx,
    /// Out of the transmit queue of this number, counted from 0, among those that the call was given: another port's, as a rule. Where there is none of this
    /// number the frame is aborted.
    Redirect(u8),
}

impl Verdict {
    /// The code of dropping: this bit tells all codes that leave the buffer in its slot.
    pub(crate) const DROP: u8 = 0x80;
    /// The code of aborting.
    pub(crate) const ABORT: u8 = 0xc0;
    /// The code of passing. Codes below it are numbers of queues.
    pub(crate) const PASS: u8 = 0x40;

    /// A byte for it.
    #[inline(always)]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Abort => Self::ABORT,
            Self::Drop => Self::DROP,
            Self::Pass => Self::PASS,
            Self::Tx => 0,
            Self::Redirect(queue) if queue < Self::PASS => queue,
            Self::Redirect(_) => Self::ABORT,
        }
    }
}

/// What is done with frames that are to be sent where the transmit queue takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_enums, reason = "there is nothing else to be done with them")]
pub enum WhenFull {
    /// They are dropped, and counted as such.
    #[default]
    Drop,
    /// They are handed up, as those that pass.
    HandUp,
}

/// A program that says what becomes of each received frame, looking at it where it lies.
///
/// A closure `FnMut(&mut FrameView<'_>) -> Verdict` is one.
pub trait Hook {
    /// The verdict on a frame in one buffer.
    ///
    /// Where it panics, no buffer is lost or owned twice: frames judged before go their way, but those of the same block of 8 stay on the ring, with the bytes
    /// as the hook left them, and are judged again by the next call.
    fn verdict(&mut self, frame: &mut FrameView<'_>) -> Verdict;

    /// The verdict on a frame that came up as one: it lies in several buffers, or its queue cannot do otherwise. Unless a hook says how, one in a single
    /// buffer is judged as the others, and one in several passes.
    ///
    /// Where it panics, the frame is in the batch, handed up.
    fn verdict_whole(&mut self, frame: &mut Frame) -> Verdict {
        FrameView::of(frame, |view| self.verdict(view)).unwrap_or(Verdict::Pass)
    }
}

impl<F: FnMut(&mut FrameView<'_>) -> Verdict> Hook for F {
    #[inline(always)]
    fn verdict(&mut self, frame: &mut FrameView<'_>) -> Verdict {
        self(frame)
    }
}

/// A received frame in the buffer that the device filled, and that no frame was made of yet.
///
/// Its verbs are those of [`Frame`]: `push`, `pull`, `put` and `trim` move its start and its end within the buffer.
///
/// ```text
///  buffer   |<-- headroom -->|<----------- data ----------->|<-- tailroom -->|
///                   <-- push                   trim --> len    put -->
///                              pull -->
/// ```
#[derive(Debug)]
pub struct FrameView<'a> {
    start: NonNull<u8>,
    len: usize,
    words: Words,
    home: RawBuf,
    pool: NonNull<PoolInner>,
    _lent: PhantomData<&'a mut [u8]>,
}

impl<'a> FrameView<'a> {
    /// A view of what lies at `home` with the length that the words say.
    ///
    /// # Safety
    /// The caller owns `home`, which is a buffer of the live pool at `pool`, for `'a`, and the words' length is within its room.
    #[inline(always)]
    pub(crate) unsafe fn new(home: RawBuf, pool: NonNull<PoolInner>, words: Words) -> Self {
        let len = usize::from((words[1] >> LEN_SHIFT) as u16);
        Self { start: home.ptr(), len, words, home, pool, _lent: PhantomData }
    }

    /// The view that `new` gave, with the ends that it had in the end.
    ///
    /// # Safety
    /// As for [`FrameView::new`]; the ends are those of a view of the same frame.
    #[inline(always)]
    pub(crate) unsafe fn again(home: RawBuf, pool: NonNull<PoolInner>, words: Words, (start, len): (NonNull<u8>, usize)) -> Self {
        Self { start, len, words, home, pool, _lent: PhantomData }
    }

    /// Lets `judge` look at a frame of one segment, whose ends follow what it did; `None` where it has several.
    pub(crate) fn of<T>(frame: &'a mut Frame, judge: impl FnOnce(&mut FrameView<'_>) -> T) -> Option<T> {
        if !frame.is_linear() {
            return None;
        }
        let (home, pool, start, len) = (frame.raw(), frame.pool_ptr(), frame.ptr(), frame.linear_len());
        let mut view = FrameView { start, len, words: frame.view_words(), home, pool, _lent: PhantomData };
        let said = judge(&mut view);
        let (start, len) = (view.start, view.len);
        // SAFETY: the view has kept start and end within the buffer, which is the frame's.
        unsafe { frame.set_ends(start, len) };
        Some(said)
    }

    fn pool(&self) -> &PoolInner {
        // SAFETY: the buffer is not in the pool's free list while it is viewed, so the pool is alive.
        unsafe { self.pool.as_ref() }
    }

    /// The bytes.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `new` and every verb keep `start .. start + len` inside the buffer, which is lent to this view alone.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// How many bytes there are.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "a device hands over no empty frames, and who makes one knows")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What the device said of the frame when it came, undecoded: see [`meta`]. The length there is the one that it came with.
    #[inline(always)]
    pub fn words(&self) -> Words {
        self.words
    }

    /// The VLAN tag that the device took out of the frame that came.
    pub fn vlan(&self) -> Option<u16> {
        meta::vlan(&self.words)
    }

    /// What is known of the transport checksum of the frame that came.
    pub fn checksum(&self) -> Checksum {
        meta::checksum(&self.words)
    }

    /// The flow hash, where the device computed one.
    pub fn rss(&self) -> Option<Rss> {
        meta::rss(&self.words)
    }

    /// The flow filter that matched, if one did.
    pub fn flow_match(&self) -> Option<FlowMatch> {
        meta::flow_match(&self.words)
    }

    /// Room before the data, in bytes.
    pub fn headroom(&self) -> usize {
        self.start.addr().get() - (self.home.word() as usize - self.pool().strides.headroom_bytes as usize)
    }

    /// Room behind the data, in bytes.
    pub fn tailroom(&self) -> usize {
        self.pool().end(self.home) - self.start.addr().get() - self.len
    }

    /// Puts `bytes` bytes before the data and returns them. They hold what was there before.
    ///
    /// # Errors
    /// [`FrameError::Headroom`].
    pub fn push(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        let have_bytes = self.headroom();
        if bytes > have_bytes {
            return Err(FrameError::Headroom { wanted_bytes: bytes, have_bytes });
        }
        // SAFETY: so many bytes are in the buffer before the start.
        self.start = unsafe { self.start.sub(bytes) };
        self.len += bytes;
        Ok(self.data_mut().get_mut(..bytes).unwrap_or_default())
    }

    /// Takes `bytes` bytes off the front.
    ///
    /// # Errors
    /// [`FrameError::Short`].
    #[inline]
    pub fn pull(&mut self, bytes: usize) -> Result<(), FrameError> {
        let have_bytes = self.len;
        if bytes > have_bytes {
            return Err(FrameError::Short { wanted_bytes: bytes, have_bytes });
        }
        // SAFETY: so many bytes of data are there.
        self.start = unsafe { self.start.add(bytes) };
        self.len -= bytes;
        Ok(())
    }

    /// Puts `bytes` bytes behind the data and returns them. They hold what was there before.
    ///
    /// # Errors
    /// [`FrameError::Tailroom`].
    pub fn put(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        let have_bytes = self.tailroom();
        if bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes: bytes, have_bytes });
        }
        let len = self.len;
        self.len += bytes;
        Ok(self.data_mut().get_mut(len..).unwrap_or_default())
    }

    /// Cuts the frame to its first `len` bytes.
    ///
    /// # Errors
    /// [`FrameError::Short`].
    #[inline]
    pub fn trim(&mut self, len: usize) -> Result<(), FrameError> {
        if len > self.len {
            return Err(FrameError::Short { wanted_bytes: len, have_bytes: self.len });
        }
        self.len = len;
        Ok(())
    }
}

/// For rings.
impl FrameView<'_> {
    /// Whether start or end are not where they were.
    #[inline(always)]
    pub(crate) fn has_moved(&self) -> bool {
        self.start.addr().get() as u64 != self.home.word() || self.len as u64 != self.words[1] >> LEN_SHIFT & 0xffff
    }

    /// Where the data begin.
    #[inline(always)]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The frame.
    ///
    /// # Safety
    /// Whoever called [`FrameView::new`] gives the buffer up.
    pub(crate) unsafe fn into_frame(self) -> Frame {
        // SAFETY: the buffer is the caller's to give up; the words' length is within its room, by the word of who made the view.
        let mut frame = unsafe { Frame::fresh(self.home, self.pool) };
        // SAFETY: as above; every verb has kept start and end within the buffer.
        unsafe {
            frame.set_words(self.words);
            frame.set_ends(self.start, self.len);
        }
        frame
    }
}

/// What a ring did with the frames that its hook judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Settled {
    /// Frames that went to the first transmit queue.
    pub sent: u32,
    /// Frames dropped by the hook's verdict.
    pub dropped: u32,
    /// The one frame that was sent is one of those that the transmit ring allowed to go without another look.
    pub by_allowance: bool,
    /// Whether there is anything in `rest`.
    pub has_rest: bool,
    /// What is not so common.
    pub rest: SettledRest,
    /// Bytes of those that the receive ring settled, as they came, where it counts bytes.
    pub bytes: u64,
    /// Bytes of those that were sent, where their ring counts bytes.
    pub sent_bytes: u64,
}

/// The part of [`Settled`] that is not so common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SettledRest {
    /// Frames handed up, those for which a transmit queue had no room among them.
    pub passed: u32,
    /// Frames whose verdict was to abort, or that were to go to a queue that is not there.
    pub aborted: u32,
    /// Frames that went to another transmit queue than the first.
    pub redirected: u32,
    /// Frames that were to be sent, and found the queue full or broken, or could not be sent as they were.
    pub full: u32,
    /// Those of `full` that were dropped.
    pub full_dropped: u32,
    /// Frames that were to be handed up or sent, and were dropped since no empty buffer was there to take their buffer's place.
    pub no_buffer: u32,
    /// Frames that had come up as frames: they are among the queue's packets. Those that passed are counted in `whole_passed` and not in `passed`.
    pub whole: u32,
    /// Those of them that passed.
    pub whole_passed: u32,
}

impl Settled {
    /// The frames that were settled where they lay, handed up ones among them.
    #[inline(always)]
    pub fn frames(&self) -> u32 {
        let common = self.sent + self.dropped;
        if self.has_rest { common.wrapping_add(self.rest.frames()) } else { common }
    }

    /// The rest, in which something is to be counted.
    #[inline(always)]
    pub(crate) fn rest(&mut self) -> &mut SettledRest {
        self.has_rest = true;
        &mut self.rest
    }
}

impl SettledRest {
    fn frames(&self) -> u32 {
        let all = self.passed + self.aborted + self.redirected + self.full_dropped + self.no_buffer + self.whole_passed;
        // Those that came up whole are among the sent and dropped.
        all.wrapping_sub(self.whole)
    }
}

/// The queues that had no room for a frame of this call: they get no later one, so that what they get is in order.
#[derive(Debug, Default)]
pub(crate) struct Shut(u64);

impl Shut {
    #[inline(always)]
    pub(crate) fn has(&self, queue: u8) -> bool {
        self.0 >> (queue & 63) & 1 != 0
    }
    pub(crate) fn add(&mut self, queue: u8) {
        self.0 |= 1 << (queue & 63);
    }
}

/// How far a ring was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// To the end of the budget, or of what is there.
    All,
    /// To a frame that has to come up by a poll.
    Unusual,
}
