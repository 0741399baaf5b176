//! A fixed-capacity FIFO of frames: what `poll` fills and `submit` drains.
//!
//! Behind the frames a batch keeps a stack of empty buffers: `submit` puts the buffers of completed frames there and `poll` refills its ring from
//! it, so that in a forwarding loop no buffer goes back to the pool, and the buffer used next is the one that the cache saw last.

use alloc::boxed::Box;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::buf::frame::handle::Frame;
use crate::buf::memory::{self, PoolInner, RawBuf};
use crate::buf::pool::{BufPool, CHUNK};

/// Frames in order, oldest first.
pub struct Batch {
    frames: Box<[MaybeUninit<Frame>]>,
    /// Frames are at `head..tail`, always contiguous.
    head: usize,
    tail: usize,
    /// Empty buffers of the pool at `spare_pool`, at `..spare_count`.
    spares: Box<[MaybeUninit<RawBuf>]>,
    spare_count: usize,
    /// Meaningful while `spare_count` is not 0; those buffers keep the pool alive.
    spare_pool: *mut PoolInner,
}

// SAFETY: a batch owns its frames and empty buffers, both of which may be owned by any thread.
unsafe impl Send for Batch {}
// SAFETY: `&Batch` gives `&Frame` at most, which is Sync.
unsafe impl Sync for Batch {}

impl Batch {
    /// A batch for at most `capacity` frames (at least 1).
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            frames: (0..capacity).map(|_| MaybeUninit::uninit()).collect(),
            head: 0,
            tail: 0,
            spares: (0..2 * capacity.max(CHUNK)).map(|_| MaybeUninit::uninit()).collect(),
            spare_count: 0,
            spare_pool: core::ptr::null_mut(),
        }
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
        if self.tail == self.frames.len() {
            self.compact();
        }
        match self.frames.get_mut(self.tail) {
            Some(slot) => {
                slot.write(frame);
                self.tail += 1;
                Ok(())
            }
            None => Err(frame),
        }
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

    /// Moves the frames at the front of `other` to the back, as many as fit, and returns how many.
    pub fn take_from(&mut self, other: &mut Self) -> usize {
        let mut moved = 0;
        while self.room() > 0
            && let Some(frame) = other.pop()
        {
            moved += usize::from(self.push(frame).is_ok());
        }
        moved
    }

    /// Fills the batch with empty frames of `pool`, `count` at most, taking the pool's lock once a block. Returns how many came.
    pub fn fill(&mut self, pool: &BufPool, count: usize) -> usize {
        let mut done = 0;
        while done < count && self.room() > 0 {
            let Some(buf) = self.take_spare(pool) else { break };
            // SAFETY: the buffer was an empty one of `pool`, and is ours.
            let frame = unsafe { Frame::fresh(buf, pool.as_ptr()) };
            done += usize::from(self.push(frame).is_ok());
        }
        done
    }

    /// Drops every frame. Their buffers stay here for the next poll as far as there is room.
    pub fn clear(&mut self) {
        while let Some(frame) = self.pop() {
            self.recycle(frame);
        }
    }

    /// Keeps the frames for which `keep` returns true, in order, and recycles the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Frame) -> bool) {
        for _ in 0..self.len() {
            if let Some(mut frame) = self.pop() {
                if keep(&mut frame) {
                    // A frame was just taken out, so there is room.
                    drop(self.push(frame));
                } else {
                    self.recycle(frame);
                }
            }
        }
    }

    /// Drops a frame whose buffer the next poll can have at once.
    #[inline]
    pub fn recycle(&mut self, frame: Frame) {
        if frame.is_plain() && self.spare_room(frame.pool_ptr()) > 0 {
            let (buf, pool) = frame.into_raw();
            // SAFETY: `into_raw` made the buffer ours.
            unsafe { self.put_spares(pool, &[buf]) };
        }
    }

    /// Drops `n` frames' places at the front after they were moved out.
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

    /// How many empty buffers of `pool` fit into the stack.
    #[inline(always)]
    pub(crate) fn spare_room(&self, pool: NonNull<PoolInner>) -> usize {
        if self.spare_count == 0 || self.spare_pool == pool.as_ptr() { self.spares.len() - self.spare_count } else { 0 }
    }

    /// The stack of empty buffers of `pool`: its base, and how many there are.
    #[inline(always)]
    pub(crate) fn spares_of(&mut self, pool: NonNull<PoolInner>) -> (NonNull<RawBuf>, usize) {
        let count = if self.spare_pool == pool.as_ptr() { self.spare_count } else { 0 };
        // SAFETY: a slice's pointer is never null.
        (unsafe { NonNull::new_unchecked(self.spares.as_mut_ptr().cast()) }, count)
    }

    /// Binds the stack to `pool`, which has room (see [`Batch::spare_room`]), and sets its height.
    ///
    /// # Safety
    /// The stack holds buffers of `pool` at `..count`, which the caller gives up or took off above.
    #[inline(always)]
    pub(crate) unsafe fn set_spares(&mut self, pool: NonNull<PoolInner>, count: usize) {
        debug_assert!(count <= self.spares.len());
        self.spare_pool = pool.as_ptr();
        self.spare_count = count;
    }

    /// Puts empty buffers on the stack, or back to their pool where it is full or holds another pool's.
    ///
    /// # Safety
    /// The caller owns `bufs`, which are buffers of `pool`, and gives them up.
    #[inline]
    pub(crate) unsafe fn put_spares(&mut self, pool: NonNull<PoolInner>, bufs: &[RawBuf]) {
        let (kept, over) = bufs.split_at(bufs.len().min(self.spare_room(pool)));
        if !kept.is_empty() {
            if self.spare_count == 0 {
                self.spare_pool = pool.as_ptr();
            }
            for (slot, &buf) in self.spares[self.spare_count..].iter_mut().zip(kept) {
                slot.write(buf);
            }
            self.spare_count += kept.len();
        }
        // SAFETY: the caller's.
        unsafe { memory::give_back(pool, over) };
    }

    /// Takes an empty buffer of `pool` off the stack and counts a frame at the back, if there is one and room: the caller has to
    /// write the frame to the place it gets.
    #[inline(always)]
    pub(crate) fn exchange_one(&mut self, pool: NonNull<PoolInner>) -> Option<(NonNull<Frame>, RawBuf)> {
        let (count, tail) = (self.spare_count, self.tail);
        if self.spare_pool != pool.as_ptr() || count == 0 || tail >= self.frames.len() {
            return None;
        }
        self.spare_count = count - 1;
        self.tail = tail + 1;
        // SAFETY: both indexes were just compared; the buffer at the top of the stack is initialised, and the lower count makes this its only copy.
        unsafe {
            let place = NonNull::new_unchecked(self.frames.as_mut_ptr()).add(tail).cast();
            Some((place, self.spares.get_unchecked(count - 1).assume_init()))
        }
    }

    /// The only frame, if there is just one.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<&Frame> {
        // SAFETY: the frame at head is initialised where the batch is not empty.
        (self.tail == self.head + 1).then(|| unsafe { self.frames.get_unchecked(self.head).assume_init_ref() })
    }

    /// Forgets every frame: their places were moved out.
    #[inline(always)]
    pub(crate) fn forget_all(&mut self) {
        self.head = 0;
        self.tail = 0;
    }

    /// Sees to it that `count` empty buffers of `pool` lie ready for [`Batch::take_empty`], as far as there is room for them and the pool has
    /// them. Returns how many do, which may be more.
    #[inline]
    pub fn stock(&mut self, pool: &BufPool, count: usize) -> usize {
        if self.spares_of(pool.as_ptr()).1 < count {
            self.refill(pool, count.max(CHUNK));
        }
        self.spares_of(pool.as_ptr()).1
    }

    /// Takes an empty frame of `pool`: from the buffers that completed transmits left here, else from the pool, by the block.
    #[inline(always)]
    pub fn take_empty(&mut self, pool: &BufPool) -> Option<Frame> {
        let buf = self.take_spare(pool)?;
        // SAFETY: the buffer was an empty one of `pool`, and is ours.
        Some(unsafe { Frame::fresh(buf, pool.as_ptr()) })
    }

    /// Takes one empty buffer of `pool`: from the stack, which is filled from the pool by the block.
    #[inline(always)]
    pub(crate) fn take_spare(&mut self, pool: &BufPool) -> Option<RawBuf> {
        if (self.spare_count == 0 || self.spare_pool != pool.as_ptr().as_ptr()) && !self.refill(pool, CHUNK) {
            return None;
        }
        self.spare_count -= 1;
        // SAFETY: the stack was not empty, so the buffer there is initialised; lowering the count makes this the only copy.
        Some(unsafe { self.spares.get_unchecked(self.spare_count).assume_init() })
    }

    /// Brings up to `count` more empty buffers of `pool` onto the stack, and says whether there are any.
    #[cold]
    pub(crate) fn refill(&mut self, pool: &BufPool, count: usize) -> bool {
        if self.spare_pool != pool.as_ptr().as_ptr() {
            self.give_spares_back();
            self.spare_pool = pool.as_ptr().as_ptr();
        }
        let end = (self.spare_count + count).min(self.spares.len());
        self.spare_count += memory::take_block(pool.inner(), &mut self.spares[self.spare_count..end]);
        self.spare_count > 0
    }

    /// Returns the empty buffers that it keeps to their pool.
    pub fn release_spares(&mut self) {
        self.give_spares_back();
    }

    fn give_spares_back(&mut self) {
        if let Some(pool) = NonNull::new(self.spare_pool)
            && self.spare_count > 0
        {
            // SAFETY: the buffers at ..spare_count are initialised, of this pool, and ours.
            unsafe {
                let bufs = core::slice::from_raw_parts(self.spares.as_ptr().cast(), self.spare_count);
                self.spare_count = 0;
                memory::give_back(pool, bufs);
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        while let Some(frame) = self.pop() {
            drop(frame);
        }
        self.give_spares_back();
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} of {} frames)", self.len(), self.capacity())
    }
}
