//! A fixed-capacity FIFO of frames: what `poll` fills and `submit` drains.
//!
//! A batch carries a cache of empty buffers: `submit` puts the buffers of completed frames there and `poll` refills its ring from it.

use alloc::boxed::Box;
use core::fmt;
use core::mem::{self, MaybeUninit};
use core::ptr::NonNull;

use crate::buf::cache::BufCache;
use crate::buf::frame::handle::Frame;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::pool::BufPool;

/// Frames in order, oldest first, and a [`BufCache`].
///
/// A program that receives into one batch and sends from it keeps its buffers in the batch's cache. One with a batch for each direction shares what is
/// empty between them: [`Batch::take_from`] moves frames one way and as many empty buffers the other, [`Batch::swap_cache`] exchanges all at once.
///
/// ```
/// # #[cfg(not(feature = "testing"))]
/// # fn main() {}
/// # #[cfg(feature = "testing")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use driver_core::buf::{Batch, BufPool, PoolConfig};
///
/// let (domain, _) = driver_core::testing::domain(); // a driver has it from its device
/// let pool = BufPool::new(&domain, PoolConfig::new(256))?;
/// let (mut received, mut answers) = (Batch::new(32), Batch::new(32));
/// for number in 0..10 {
///     received.push(pool.frame_from(&[number; 60])?).map_err(|_| "full")?; // in a program, `rx.poll(&mut received, 32)`
/// }
///
/// // What is not wanted is dropped, and its buffers stay for the next poll.
/// received.retain(|frame| frame.data()[0] % 2 == 0);
/// assert_eq!((received.len(), received.cache().count(&pool)), (5, 5));
///
/// for frame in received.frames_mut() {
///     frame.trim(30)?;
/// }
/// assert_eq!(answers.take_from(&mut received), 5);
/// while let Some(frame) = answers.pop() {
///     answers.recycle(frame); // in a program, `tx.submit(&mut answers)` does that with what was sent
/// }
/// assert_eq!(answers.cache().count(&pool), 5);
/// # Ok(())
/// # }
/// ```
pub struct Batch {
    frames: Box<[MaybeUninit<Frame>]>,
    /// Frames are at `head..tail`, always contiguous.
    head: usize,
    tail: usize,
    cache: BufCache,
}

impl Batch {
    /// The most frames that a batch holds.
    pub const MAX_FRAMES: usize = 1 << 20;

    /// A batch for at most `capacity` frames: at least 1 and at most [`Batch::MAX_FRAMES`].
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, Self::MAX_FRAMES);
        Self { frames: Box::new_uninit_slice(capacity), head: 0, tail: 0, cache: BufCache::new(2 * capacity) }
    }

    /// The number of frames.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.tail - self.head
    }

    /// Whether there is no frame.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// How many frames it can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.frames.len()
    }

    /// How many more frames fit.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.frames.len() - (self.tail - self.head)
    }

    /// The frames, oldest first.
    #[inline(always)]
    pub fn frames(&self) -> &[Frame] {
        // SAFETY: the frames at head..tail are initialised, and head <= tail <= frames.len().
        unsafe { core::slice::from_raw_parts(self.frames.as_ptr().add(self.head).cast(), self.len()) }
    }

    /// The frames, oldest first.
    #[inline(always)]
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        // SAFETY: as in `frames`, and `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.frames.as_mut_ptr().add(self.head).cast(), self.len()) }
    }

    /// Puts a frame at the back.
    ///
    /// # Errors
    /// Gives the frame back where the batch is full.
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.tail >= self.frames.len() && !self.makes_room() {
            return Err(frame);
        }
        // SAFETY: the tail is within the storage, as was just seen or made.
        unsafe { self.frames.get_unchecked_mut(self.tail).write(frame) };
        self.tail += 1;
        Ok(())
    }

    /// Makes room behind the tail, and says whether there is some.
    #[cold]
    #[inline(never)]
    fn makes_room(&mut self) -> bool {
        self.compact();
        self.tail < self.frames.len()
    }

    /// Takes the oldest frame.
    #[inline]
    pub fn pop(&mut self) -> Option<Frame> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the frame at head is initialised, and moving head past it makes this the only copy.
        let frame = unsafe { self.frames.get_unchecked(self.head).assume_init_read() };
        self.advance(1);
        Some(frame)
    }

    /// Takes the newest frame.
    pub(crate) fn pop_back(&mut self) -> Option<Frame> {
        if self.is_empty() {
            return None;
        }
        self.tail -= 1;
        // SAFETY: the frame before the tail was initialised, and moving the tail before it makes this the only copy.
        Some(unsafe { self.frames.get_unchecked(self.tail).assume_init_read() })
    }

    /// Moves the frames at the front of `other` to the back, as many as fit, and returns how many. As many empty buffers of the first frame's pool
    /// go from this batch's cache to `other`'s, as far as they are there: what receive takes and transmit completes finds its way back.
    pub fn take_from(&mut self, other: &mut Self) -> usize {
        let count = self.room().min(other.len());
        let Some(pool) = other.frames().first().map(Frame::pool_ptr).filter(|_| count > 0) else { return 0 };
        let Some(places) = self.places(count) else { return 0 };
        // SAFETY: the `count` frames at the front of `other` are initialised and as many places free here; `other` forgets them, and they are counted here.
        unsafe {
            places.copy_from_nonoverlapping(NonNull::from(other.frames()).cast(), count);
            other.advance(count);
            self.commit(count);
        }
        self.cache.hand_over_of(&mut other.cache, pool, count);
        count
    }

    /// Exchanges the caches of two batches.
    #[inline]
    pub fn swap_cache(&mut self, other: &mut Self) {
        mem::swap(&mut self.cache, &mut other.cache);
    }

    /// The empty buffers that it carries.
    pub fn cache(&self) -> &BufCache {
        &self.cache
    }

    /// The empty buffers that it carries, which may be exchanged for others.
    pub fn cache_mut(&mut self) -> &mut BufCache {
        &mut self.cache
    }

    /// Fills the batch with empty frames of `pool`, `count` at most, going to the pool once a block. Returns how many came.
    #[inline]
    pub fn fill(&mut self, pool: &BufPool, count: usize) -> usize {
        if count == 1
            // SAFETY: the place is written at once.
            && let Some((place, buf)) = unsafe { self.exchange_one(pool.as_ptr()) }
        {
            // SAFETY: the buffer was an empty one of `pool`, and is ours.
            unsafe { place.write(Frame::fresh(buf, pool.as_ptr())) };
            return 1;
        }
        self.fill_many(pool, count)
    }

    fn fill_many(&mut self, pool: &BufPool, count: usize) -> usize {
        let count = count.min(self.room());
        let Some(places) = self.places(count) else { return 0 };
        let mut done = 0;
        while done < count {
            // SAFETY: there are `count` places.
            let more = unsafe { self.cache.take_frames(pool, places.add(done), count - done) };
            if more == 0 {
                break;
            }
            done += more;
        }
        // SAFETY: `done` frames were written to the places.
        unsafe { self.commit(done) };
        done
    }

    /// Drops every frame. Their buffers stay in the cache as far as there is room.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(frame) = self.only().map(NonNull::from)
            // SAFETY: the only frame is there, and is forgotten where its buffer was kept.
            && unsafe { self.cache.recycle_one(frame) }
        {
            self.forget_all();
        } else {
            self.clear_many();
        }
    }

    fn clear_many(&mut self) {
        while !self.is_empty() {
            let frames = NonNull::from(self.frames()).cast();
            // SAFETY: the frames at the front are initialised; those that go to the cache are forgotten.
            let done = unsafe { self.cache.recycle_plain(frames, self.len()) };
            self.advance(done);
            if let Some(frame) = self.pop() {
                self.cache.recycle(frame);
            }
        }
    }

    /// Keeps the frames for which `keep` returns true, in order, and recycles the others. Where `keep` panics, the frame that it looked at
    /// and those behind it stay.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Frame) -> bool) {
        // SAFETY: head and tail are inside the storage, whose pointer is never null.
        let (head, end) = unsafe {
            let base = NonNull::new_unchecked(self.frames.as_mut_ptr()).cast::<Frame>();
            (base.add(self.head), base.add(self.tail))
        };
        let mut rest = Retain { kept: head, next: head, end, batch: self };
        while rest.next != rest.end {
            // SAFETY: the frame at `next` is initialised, and borrowed for the call alone.
            let kept = keep(unsafe { rest.next.as_mut() });
            rest.step(kept);
        }
    }

    /// Drops a frame and keeps its buffers in the cache.
    #[inline]
    pub fn recycle(&mut self, frame: Frame) {
        self.cache.recycle(frame);
    }

    /// [`Batch::recycle`], and returns the frame's bytes.
    #[inline]
    pub(crate) fn recycle_counted(&mut self, frame: Frame) -> u64 {
        self.cache.recycle_counted(frame)
    }

    /// Sees to it that `count` empty buffers of `pool` lie ready for [`Batch::take_empty`]: see [`BufCache::stock`].
    #[inline]
    pub fn stock(&mut self, pool: &BufPool, count: usize) -> usize {
        self.cache.stock(pool, count)
    }

    /// Takes an empty frame of `pool`: see [`BufCache::take_empty`].
    #[inline(always)]
    pub fn take_empty(&mut self, pool: &BufPool) -> Option<Frame> {
        self.cache.take_empty(pool)
    }

    /// Returns the empty buffers in the cache to their pools.
    pub fn release_spares(&mut self) {
        self.cache.release();
    }
}

/// For rings.
impl Batch {
    /// Forgets the first `n` frames: they were moved out.
    #[inline(always)]
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.head += n;
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
    }

    /// Moves the frames to the start of the storage.
    #[cold]
    fn compact(&mut self) {
        // SAFETY: source and destination are inside the storage; the frames are moved bit by bit, and head and tail follow.
        unsafe {
            let base = self.frames.as_mut_ptr();
            core::ptr::copy(base.add(self.head), base, self.len());
        }
        self.tail -= self.head;
        self.head = 0;
    }

    /// Uninitialised places for at least `count` more frames, if there is so much room in one piece or can be made.
    #[inline(always)]
    pub(crate) fn places(&mut self, count: usize) -> Option<NonNull<Frame>> {
        if count > self.frames.len() - self.tail {
            if count > self.room() {
                return None;
            }
            self.compact();
        }
        // SAFETY: tail + count <= frames.len() now.
        NonNull::new(unsafe { self.frames.as_mut_ptr().add(self.tail) }.cast())
    }

    /// Counts `count` frames that were written to [`Batch::places`].
    ///
    /// # Safety
    /// They were, after a call with at least this count.
    #[inline(always)]
    pub(crate) unsafe fn commit(&mut self, count: usize) {
        self.tail += count;
        debug_assert!(self.tail <= self.frames.len());
    }

    /// How many empty buffers of `pool` fit onto its stack, which is brought to hand, and emptied by half where there is no room for a block.
    #[inline(always)]
    pub(crate) fn room_for(&mut self, pool: NonNull<PoolInner>) -> usize {
        self.cache.room_for(pool)
    }

    /// How many empty buffers of `pool` fit onto the stack at hand: none where that is another pool's.
    #[inline(always)]
    pub(crate) fn room_at_hand(&self, pool: NonNull<PoolInner>) -> usize {
        self.cache.room(pool)
    }

    /// The base of the stack at hand, and how many buffers of `pool` lie there.
    #[inline(always)]
    pub(crate) fn spares_of(&mut self, pool: NonNull<PoolInner>) -> (NonNull<RawBuf>, usize) {
        (self.cache.base(), self.cache.ready(pool))
    }

    /// Sets the height of the stack at hand.
    ///
    /// # Safety
    /// That is the stack of `pool`: [`Batch::spare_room`] or [`Batch::spares_of`] was not 0, or [`Batch::refill`] was called. It holds buffers of `pool` at
    /// `..count`, which the caller gives up or took off above.
    #[inline(always)]
    pub(crate) unsafe fn set_spares(&mut self, pool: NonNull<PoolInner>, count: usize) {
        // SAFETY: the caller's.
        unsafe { self.cache.set_ready(pool, count) };
    }

    /// Puts empty buffers into the cache.
    ///
    /// # Safety
    /// The caller owns `bufs`, which are buffers of `pool`, and gives them up.
    #[inline]
    pub(crate) unsafe fn put_spares(&mut self, pool: NonNull<PoolInner>, bufs: &[RawBuf]) {
        for &buf in bufs {
            // SAFETY: the caller's.
            unsafe { self.cache.put(pool, buf) };
        }
    }

    /// Takes an empty buffer of `pool` that is at hand and counts a frame at the back, if there is a buffer, and room.
    ///
    /// # Safety
    /// The caller writes a frame to the place that it gets before it does anything else with the batch.
    #[inline(always)]
    pub(crate) unsafe fn exchange_one(&mut self, pool: NonNull<PoolInner>) -> Option<(NonNull<Frame>, RawBuf)> {
        let tail = self.tail;
        if tail >= self.frames.len() {
            return None;
        }
        let buf = self.cache.take_ready(pool)?;
        self.tail = tail + 1;
        // SAFETY: the index was just compared, and a slice's pointer is never null.
        Some((unsafe { NonNull::new_unchecked(self.frames.as_mut_ptr()).add(tail).cast() }, buf))
    }

    /// The only frame, if there is just one.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<&Frame> {
        // SAFETY: the frame at head is initialised where the batch is not empty.
        (self.tail == self.head + 1).then(|| unsafe { self.frames.get_unchecked(self.head).assume_init_ref() })
    }

    /// Forgets every frame: they were moved out.
    #[inline(always)]
    pub(crate) fn forget_all(&mut self) {
        self.head = 0;
        self.tail = 0;
    }

    /// Takes an empty buffer of `pool` that is at hand.
    #[inline(always)]
    pub(crate) fn take_ready(&mut self, pool: NonNull<PoolInner>) -> Option<RawBuf> {
        self.cache.take_ready(pool)
    }

    /// Takes one empty buffer of `pool`: from the cache, else from the pool, by the block.
    #[inline(always)]
    pub(crate) fn take_spare(&mut self, pool: &BufPool) -> Option<RawBuf> {
        self.cache.take(pool)
    }

    /// Brings `count` empty buffers of `pool` to hand, as far as there is room for them and the pool has them.
    #[inline]
    pub(crate) fn refill(&mut self, pool: &BufPool, count: usize) {
        self.cache.refill(pool, count);
    }
}

/// A walk over a batch that keeps some frames. Frames at `head..kept` stay, those at `next..tail` were not looked at, what is between was moved out.
struct Retain<'a> {
    batch: &'a mut Batch,
    /// In the batch's storage, which nothing else reaches meanwhile: where the next frame goes that is kept, the next one to be looked at, and the tail.
    kept: NonNull<Frame>,
    next: NonNull<Frame>,
    end: NonNull<Frame>,
}

impl Retain<'_> {
    /// Keeps the next frame or recycles it.
    #[inline(always)]
    fn step(&mut self, keep: bool) {
        let frame = self.next;
        // SAFETY: `kept <= next < end`: the frame at `next` is initialised and is counted out here; it goes to the place at `kept`, which is its own or
        // was moved out, or into the cache.
        unsafe {
            if keep {
                self.kept.copy_from(frame, 1);
                self.kept = self.kept.add(1);
            } else if !self.batch.cache.recycle_one(frame) {
                self.next = frame.add(1);
                self.batch.cache.recycle_other(frame.read());
                return;
            }
            self.next = frame.add(1);
        }
    }
}

impl Drop for Retain<'_> {
    fn drop(&mut self) {
        let Self { kept, next, end, .. } = *self;
        // Frames that were not looked at, because `keep` panicked, close the gap.
        // SAFETY: `next..end` are initialised frames inside the storage, and those at `kept..next` were moved out; the tail follows.
        let gone = unsafe {
            kept.copy_from(next, end.offset_from_unsigned(next));
            next.offset_from_unsigned(kept)
        };
        self.batch.tail -= gone;
        if self.batch.is_empty() {
            self.batch.forget_all();
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        while let Some(frame) = self.pop() {
            drop(frame);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} of {} frames)", self.len(), self.capacity())
    }
}
