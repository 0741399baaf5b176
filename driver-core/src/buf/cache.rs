//! Empty buffers at hand.
//!
//! Transmit puts the buffers of completed frames here, receive refills its ring from here: in a forwarding loop no buffer goes back to the pool,
//! and the buffer used next is the one that the processor's cache saw last.
//!
//! A cache has a stack for each of several pools. One of them, the pool that was used last, is at hand: the fast paths look at it alone. A cold path
//! puts it aside and brings another to hand, so that a program with several pools pays for the turn and not for visits to the pools.

use alloc::boxed::Box;
use core::fmt;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use crate::buf::frame::handle::{Frame, TAG_MOVED, TAG_NEXT};
use crate::buf::memory::{self, CHUNK, PoolInner, RawBuf};
use crate::buf::pool::BufPool;

/// Buffers come back by blocks of so many.
const BLOCK: usize = 8;

/// Empty buffers of up to [`BufCache::POOLS`] pools. Every `Batch` carries one.
///
/// What lies here nobody else can take: a pool that several batches or threads use has room for what each of their caches keeps
/// ([`BufCache::capacity`]).
///
/// ```
/// # #[cfg(not(feature = "testing"))]
/// # fn main() {}
/// # #[cfg(feature = "testing")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use driver_core::buf::{BufCache, BufPool, PoolConfig};
///
/// let (domain, _) = driver_core::testing::domain(); // a driver has it from its device
/// let pool = BufPool::new(&domain, PoolConfig::new(256))?;
/// let mut cache = BufCache::new(128);
/// // One visit to the pool brings a block.
/// let frame = cache.take_empty(&pool).ok_or("the pool is empty")?;
/// assert_eq!((cache.count(&pool), pool.available()), (63, 192));
/// cache.recycle(frame);
/// assert_eq!((cache.count(&pool), pool.available()), (64, 192));
/// cache.release();
/// assert_eq!(pool.available(), 256);
/// # Ok(())
/// # }
/// ```
pub struct BufCache {
    /// The stack at hand.
    hot: Stack,
    /// The others, the one that was at hand last first. No two stacks hold buffers of the same pool.
    aside: Box<[Stack]>,
}

/// Empty buffers of one pool.
struct Stack {
    /// Those at `..count` are initialised, and this stack owns them.
    bufs: Box<[MaybeUninit<RawBuf>]>,
    count: usize,
    /// The address of their pool, which they keep alive; where there are none perhaps that of one that is gone, in whose place another may lie, or 0.
    pool: usize,
}

// SAFETY: a cache owns its buffers, which any thread may own, and reaches their pools by atomics.
unsafe impl Send for BufCache {}
// SAFETY: `&BufCache` reads counts and addresses only.
unsafe impl Sync for BufCache {}

impl Stack {
    fn new(buffers: usize) -> Self {
        Self { bufs: Box::new_uninit_slice(buffers), count: 0, pool: 0 }
    }

    /// Whether there are buffers of `pool`.
    #[inline(always)]
    fn holds(&self, pool: NonNull<PoolInner>) -> bool {
        self.pool == pool.addr().get() && self.count > 0
    }

    #[inline(always)]
    fn room(&self) -> usize {
        self.bufs.len() - self.count
    }

    /// The buffer at the top.
    #[inline(always)]
    fn pop(&mut self) -> Option<RawBuf> {
        let top = self.count.checked_sub(1)?;
        self.count = top;
        // SAFETY: the buffer at the top is initialised, and the lower count makes this its only copy.
        Some(unsafe { self.bufs.get_unchecked(top).assume_init() })
    }

    /// Returns the `count` oldest buffers to their pool.
    fn give_back(&mut self, count: usize) {
        let count = count.min(self.count);
        let Some(pool) = NonNull::new(ptr::with_exposed_provenance_mut(self.pool)).filter(|_| count > 0) else { return };
        let rest = self.count - count;
        self.count = 0;
        // SAFETY: the buffers at `..count` are initialised, of this pool, and were this stack's until its count said otherwise.
        unsafe { memory::give_back(pool, core::slice::from_raw_parts(self.bufs.as_ptr().cast(), count)) };
        self.bufs.copy_within(count..count + rest, 0);
        self.count = rest;
    }
}

impl BufCache {
    /// Of how many pools buffers are kept at once. Those of one pool more send the buffers of the pool home that was not used for the longest time.
    pub const POOLS: usize = 4;
    /// The most buffers that are kept of one pool.
    pub const MAX_BUFFERS: usize = 1 << 16;

    /// An empty cache for `buffers` buffers of each pool, at least twice [`CHUNK`] and at most [`BufCache::MAX_BUFFERS`].
    pub fn new(buffers: usize) -> Self {
        let buffers = buffers.clamp(2 * CHUNK, Self::MAX_BUFFERS);
        Self { hot: Stack::new(buffers), aside: (1..Self::POOLS).map(|_| Stack::new(buffers)).collect() }
    }

    /// How many buffers there are, of all pools.
    pub fn len(&self) -> usize {
        self.hot.count + self.aside.iter().map(|stack| stack.count).sum::<usize>()
    }

    /// Whether there is no buffer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many buffers of `pool` there are.
    pub fn count(&self, pool: &BufPool) -> usize {
        core::iter::once(&self.hot).chain(&self.aside).find(|stack| stack.holds(pool.as_ptr())).map_or(0, |stack| stack.count)
    }

    /// How many buffers of each pool fit.
    pub fn capacity(&self) -> usize {
        self.hot.bufs.len()
    }

    /// Sees to it that `count` buffers of `pool` lie ready for [`BufCache::take_empty`], as far as there is room for them and the pool has them.
    /// Returns how many do, which may be more.
    #[inline]
    pub fn stock(&mut self, pool: &BufPool, count: usize) -> usize {
        if self.ready(pool.as_ptr()) < count {
            self.refill(pool, count);
        }
        self.ready(pool.as_ptr())
    }

    /// Takes an empty frame of `pool`: from here, else from the pool, by the block. `None` where neither has one.
    #[inline(always)]
    pub fn take_empty(&mut self, pool: &BufPool) -> Option<Frame> {
        let buf = self.take(pool)?;
        // SAFETY: the buffer was an empty one of `pool`, and is ours.
        Some(unsafe { Frame::fresh(buf, pool.as_ptr()) })
    }

    /// Drops a frame and keeps its buffers.
    #[inline]
    pub fn recycle(&mut self, frame: Frame) {
        self.recycle_counted(frame);
    }

    /// The same, and returns the frame's bytes.
    #[inline]
    pub(crate) fn recycle_counted(&mut self, frame: Frame) -> u64 {
        let (mut bytes, mut rest) = (0, Some(frame));
        while let Some(frame) = rest {
            bytes += frame.linear_len() as u64;
            let (pool, buf, next) = frame.take_apart();
            // SAFETY: the buffer is ours.
            unsafe { self.put(pool, buf) };
            rest = next.and_then(|next| self.recycle_run(pool, next, &mut bytes));
        }
        bytes
    }

    /// Keeps the buffers of a frame as long as its segments are of `pool`, which is at hand, say nothing but where they lie, and fit. Returns what is left of it.
    #[inline(always)]
    fn recycle_run(&mut self, pool: NonNull<PoolInner>, frame: Frame, bytes: &mut u64) -> Option<Frame> {
        let (mut count, most) = (self.hot.count, self.hot.count + self.room(pool));
        let base = self.base();
        let mut segment = ManuallyDrop::new(frame);
        loop {
            let (tags, ptr) = (segment.pool_word().addr().get().wrapping_sub(pool.addr().get()), segment.ptr());
            if count == most || tags & !(TAG_NEXT | TAG_MOVED) != 0 {
                self.hot.count = count;
                return Some(ManuallyDrop::into_inner(segment));
            }
            *bytes += segment.linear_len() as u64;
            // SAFETY: there is room for it.
            unsafe { base.add(count).write(segment.raw()) };
            count += 1;
            if tags & TAG_NEXT == 0 {
                self.hot.count = count;
                return None;
            }
            // SAFETY: the segment's tags say that there is one, which it owned; its buffer is ours still, and with it that place.
            segment = unsafe { pool.as_ref().link(ptr).cast::<ManuallyDrop<Frame>>().read() };
        }
    }

    /// Moves up to `count` buffers of `pool` to `to`, as far as it has room, those used last first. Returns how many.
    pub fn hand_over(&mut self, to: &mut Self, pool: &BufPool, count: usize) -> usize {
        self.hand_over_of(to, pool.as_ptr(), count)
    }

    /// Returns every buffer to its pool.
    pub fn release(&mut self) {
        for stack in core::iter::once(&mut self.hot).chain(&mut self.aside) {
            stack.give_back(usize::MAX);
        }
    }

    /// Brings the stack of `pool` to hand, an empty one where there is none.
    #[inline(always)]
    fn turn_to(&mut self, pool: NonNull<PoolInner>) {
        if self.hot.pool != pool.addr().get() {
            self.turn(pool);
        }
    }

    /// The same where that is not at hand.
    #[cold]
    fn turn(&mut self, pool: NonNull<PoolInner>) {
        let known = self.aside.iter().position(|stack| stack.holds(pool));
        if known.is_some() || self.hot.count > 0 {
            let empty = || self.aside.iter().position(|stack| stack.count == 0);
            let at = known.or_else(empty).unwrap_or(Self::POOLS - 2);
            if let Some(stacks) = self.aside.get_mut(..=at)
                && let Some(stack) = stacks.last_mut()
            {
                if known.is_none() {
                    stack.give_back(usize::MAX);
                }
                mem::swap(&mut self.hot, stack);
                stacks.rotate_right(1);
            }
        }
        self.hot.pool = pool.addr().get();
    }

    pub(super) fn hand_over_of(&mut self, to: &mut Self, pool: NonNull<PoolInner>, count: usize) -> usize {
        let from = core::iter::once(&mut self.hot).chain(&mut self.aside).find(|stack| stack.holds(pool));
        let Some(from) = from.filter(|_| count > 0) else { return 0 };
        to.turn_to(pool);
        let count = count.min(from.count).min(to.hot.room());
        // SAFETY: `count` initialised buffers lie below the top of `from`, and `to`, another cache, has as many places above its own; the counts
        // say afterwards who owns them. Both stacks are of `pool`.
        unsafe {
            let taken = from.bufs.as_ptr().add(from.count - count);
            to.hot.bufs.as_mut_ptr().add(to.hot.count).copy_from_nonoverlapping(taken, count);
        }
        from.count -= count;
        to.hot.count += count;
        count
    }
}

/// For batches and rings.
impl BufCache {
    /// How many buffers of `pool` are at hand.
    #[inline(always)]
    pub(crate) fn ready(&self, pool: NonNull<PoolInner>) -> usize {
        if self.hot.pool == pool.addr().get() { self.hot.count } else { 0 }
    }

    /// How many more buffers of `pool` fit onto the stack at hand: none where that is another pool's.
    #[inline(always)]
    pub(crate) fn room(&self, pool: NonNull<PoolInner>) -> usize {
        if self.hot.pool == pool.addr().get() { self.hot.room() } else { 0 }
    }

    /// How many more buffers of `pool` fit onto the stack at hand, which is that of `pool` now. Where only few fitted, the older half went to the pool.
    #[inline(always)]
    pub(crate) fn room_for(&mut self, pool: NonNull<PoolInner>) -> usize {
        if self.room(pool) < BLOCK {
            self.make_room(pool);
        }
        self.hot.room()
    }

    /// The base of the stack at hand.
    #[inline(always)]
    pub(crate) fn base(&mut self) -> NonNull<RawBuf> {
        // SAFETY: a slice's pointer is never null.
        unsafe { NonNull::new_unchecked(self.hot.bufs.as_mut_ptr().cast()) }
    }

    /// Sets the height of the stack at hand.
    ///
    /// # Safety
    /// That is the stack of `pool`. It holds buffers of `pool` at `..count`, which the caller gives up or took off above.
    #[inline(always)]
    pub(crate) unsafe fn set_ready(&mut self, pool: NonNull<PoolInner>, count: usize) {
        debug_assert!(self.hot.pool == pool.addr().get());
        debug_assert!(count <= self.hot.bufs.len());
        self.hot.count = count;
    }

    /// Takes a buffer of `pool` that is at hand.
    #[inline(always)]
    pub(crate) fn take_ready(&mut self, pool: NonNull<PoolInner>) -> Option<RawBuf> {
        if self.hot.pool == pool.addr().get() { self.hot.pop() } else { None }
    }

    /// Takes a buffer of `pool`: from here, else from the pool, by the block.
    #[inline(always)]
    pub(crate) fn take(&mut self, pool: &BufPool) -> Option<RawBuf> {
        if self.ready(pool.as_ptr()) == 0 {
            self.refill(pool, 1);
        }
        self.take_ready(pool.as_ptr())
    }

    /// Brings the stack of `pool` to hand, and where it has less than `count` buffers fetches as many more, at least [`CHUNK`].
    #[cold]
    pub(crate) fn refill(&mut self, pool: &BufPool, count: usize) {
        self.turn_to(pool.as_ptr());
        let have = self.hot.count;
        if have < count {
            let end = have.saturating_add(count.max(CHUNK)).min(self.hot.bufs.len());
            if let Some(places) = self.hot.bufs.get_mut(have..end) {
                self.hot.count += memory::take_block(pool.inner(), places);
            }
        }
    }

    /// Writes up to `count` empty frames of `pool` to `places`, from the stack at hand, which is filled from the pool where it is empty. Returns how many.
    ///
    /// # Safety
    /// There are `count` places.
    #[inline]
    pub(crate) unsafe fn take_frames(&mut self, pool: &BufPool, places: NonNull<Frame>, count: usize) -> usize {
        if self.ready(pool.as_ptr()) == 0 {
            self.refill(pool, count);
        }
        let have = self.ready(pool.as_ptr());
        let count = count.min(have);
        // SAFETY: `count` buffers lie below the top of the stack at hand, which is of `pool`; each goes to one frame, and the count says so. A frame is
        // pointer, pool and two words, which are 0 in an empty one.
        unsafe {
            let top = self.base().add(have);
            for k in 0..count {
                let place = places.add(k);
                Frame::write_owner(place, top.sub(k + 1).read(), pool.as_ptr());
                place.cast::<[u64; 2]>().add(1).write([0; 2]);
            }
        }
        self.hot.count = have - count;
        count
    }

    /// Puts the buffers of up to `count` plain frames of the pool at hand on its stack, as long as one follows another and there is room. Returns how many.
    ///
    /// # Safety
    /// There are `count` frames at `frames`. The caller forgets those that were taken.
    #[inline]
    pub(crate) unsafe fn recycle_plain(&mut self, frames: NonNull<Frame>, count: usize) -> usize {
        let (have, pool) = (self.hot.count, self.hot.pool);
        let count = count.min(self.hot.room());
        let mut done = 0;
        // SAFETY: there are `count` frames, and as many places above the top. A frame whose pool word, tags included, is that pool's address is one buffer
        // with its data at home.
        unsafe {
            let top = self.base().add(have);
            while done + BLOCK <= count {
                let block: [&Frame; BLOCK] = core::array::from_fn(|k| frames.add(done + k).as_ref());
                let others = block.iter().fold(0, |others, frame| others | frame.pool_word().addr().get() ^ pool);
                if others != 0 {
                    break;
                }
                for (k, frame) in block.into_iter().enumerate() {
                    top.add(done + k).write(RawBuf::at(frame.ptr()));
                }
                done += BLOCK;
            }
            while done < count {
                let frame = frames.add(done).as_ref();
                if frame.pool_word().addr().get() != pool {
                    break;
                }
                top.add(done).write(RawBuf::at(frame.ptr()));
                done += 1;
            }
        }
        self.hot.count = have + done;
        done
    }

    /// Keeps the buffer of a plain frame of the pool at hand, and says whether the frame was one.
    ///
    /// # Safety
    /// There is a frame at `frame`, which the caller forgets where it was one.
    #[inline(always)]
    pub(crate) unsafe fn recycle_one(&mut self, frame: NonNull<Frame>) -> bool {
        // SAFETY: the caller's.
        let plain = unsafe { frame.as_ref() };
        if plain.pool_word().addr().get() == self.hot.pool && self.hot.count < self.hot.bufs.len() {
            // SAFETY: the count was just seen to be below the number of places. The frame is one buffer with its data at home, and is forgotten.
            unsafe { self.hot.bufs.get_unchecked_mut(self.hot.count).write(RawBuf::at(plain.ptr())) };
            self.hot.count += 1;
            true
        } else {
            false
        }
    }

    /// [`BufCache::recycle`], out of line.
    #[cold]
    #[inline(never)]
    pub(crate) fn recycle_other(&mut self, frame: Frame) {
        self.recycle(frame);
    }

    /// Puts an empty buffer on the stack of `pool`.
    ///
    /// # Safety
    /// The caller owns `buf`, which is a buffer of `pool`, and gives it up.
    #[inline(always)]
    pub(crate) unsafe fn put(&mut self, pool: NonNull<PoolInner>, buf: RawBuf) {
        if self.room(pool) == 0 {
            self.make_room(pool);
        }
        // There is room now; if there were not, the buffer would be lost rather than owned twice.
        if let Some(place) = self.hot.bufs.get_mut(self.hot.count) {
            place.write(buf);
            self.hot.count += 1;
        }
    }

    /// Brings the stack of `pool` to hand, and where it is full returns the older half to the pool.
    #[cold]
    fn make_room(&mut self, pool: NonNull<PoolInner>) {
        self.turn_to(pool);
        if self.hot.room() < BLOCK {
            self.hot.give_back(self.hot.bufs.len() / 2);
        }
    }
}

impl Drop for BufCache {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for BufCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufCache({} empty buffers)", self.len())
    }
}
