//! Of which pool the buffer in each slot of a transmit ring is.
//!
//! Frames to be sent come from many pools: that of the port which received them, that of the program that made them. A ring names a few of them at a time by
//! a small number, its own by 0 ([`Sources`]). Where a ring keeps a byte for each slot ([`Owners`]), a block of eight is told to be of one pool by one comparison.

use alloc::boxed::Box;
use core::ptr::{self, NonNull};

use crate::buf::memory::{PoolInner, TAGS};
use crate::buf::pool::BufPool;
use crate::ring::desc::BLOCK;
use crate::ring::lane::Pair;

/// The name of the ring's own pool.
pub(crate) const OWN: u8 = 0;
/// How many other pools have a name at a time: more than a program has ports that it forwards to one another, as a rule.
const NAMED: usize = 8;
/// The slot's buffer is of a pool without a name: it is told for the slot alone.
const UNNAMED: u8 = u8::MAX;

/// The slot holds no buffer: its descriptor is none of a frame's.
const NOTHING: u8 = u8::MAX - 1;

/// A pool that frames come from.
struct Source {
    /// What makes of a plain frame's {pointer, pool} {IOVA, 0}: {IOVA minus pointer, minus pool}.
    key: Pair,
    pool: NonNull<PoolInner>,
    /// [`PoolInner::number`]: where a pool is gone, another may lie in its place.
    number: u64,
    /// IOVA minus pointer.
    delta: u64,
    headroom_bytes: u32,
    /// Its name, eight times.
    names: u64,
}

impl Source {
    fn new(pool: NonNull<PoolInner>, inner: &PoolInner, name: u8) -> Self {
        let key = Pair::new(inner.delta, (pool.addr().get() as u64).wrapping_neg());
        Self { key, pool, number: inner.number, delta: inner.delta, headroom_bytes: inner.strides.headroom_bytes, names: eight(name) }
    }
}

/// The name of eight slots of one pool.
#[inline(always)]
pub(crate) fn eight(name: u8) -> u64 {
    u64::from_ne_bytes([name; BLOCK])
}

/// The pools that have a name.
pub(crate) struct Sources {
    /// The pools named 1 and up. One that no slot in flight names may be gone.
    named: [*mut PoolInner; NAMED],
    own: NonNull<PoolInner>,
    /// Where frames came from last. That pool may be gone.
    source: Source,
}

// SAFETY: the pointers name pools, which any thread may reach as long as they are alive; which are, the ring knows by the buffers that it owns.
unsafe impl Send for Sources {}
// SAFETY: `&Sources` compares addresses, and reads what is behind a frame that is alive.
unsafe impl Sync for Sources {}

impl Sources {
    /// For a ring that keeps a handle of its own pool for as long.
    pub(crate) fn new(own: &BufPool) -> Self {
        Self { named: [ptr::null_mut(); NAMED], own: own.as_ptr(), source: Source::new(own.as_ptr(), own.inner(), OWN) }
    }

    /// Whether frames whose pool word is `word` are of the source that was turned to last.
    ///
    /// # Safety
    /// A frame with this pool word is alive.
    #[inline(always)]
    pub(crate) unsafe fn is_source(&self, word: NonNull<PoolInner>) -> bool {
        // SAFETY: without tags it is the pool that was turned to, or one in its place, and alive, by the caller's word.
        word == self.source.pool && unsafe { word.as_ref() }.number == self.source.number
    }

    /// Turns to the source of frames whose pool word is `word`, and says whether there is one: not where they are no plain ones, the device does not reach
    /// their memory, or no name is free. `is_used`: whether a slot in flight has that name.
    ///
    /// # Safety
    /// A frame with this pool word is alive.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn turn_to(&mut self, word: NonNull<PoolInner>, is_used: &dyn Fn(u8) -> bool) -> bool {
        if word.addr().get() & TAGS != 0 {
            return false;
        }
        // SAFETY: a pool's address without tags, of one that is alive, by the caller's word; `own` is kept by the ring.
        let (pool, own) = unsafe { (word.as_ref(), self.own.as_ref()) };
        if !pool.domain().is_same(own.domain()) {
            return false;
        }
        let name = if word == self.own { Some(OWN) } else { self.name(word, is_used) };
        let Some(name) = name else { return false };
        self.source = Source::new(word, pool, name);
        true
    }

    /// The pool's name: one that it has, else one that is free.
    fn name(&mut self, pool: NonNull<PoolInner>, is_used: &dyn Fn(u8) -> bool) -> Option<u8> {
        let known = self.named.iter().position(|&known| known == pool.as_ptr());
        let unused = || self.named.iter().position(|known| known.is_null()).or_else(|| (0..NAMED).find(|&at| !is_used(at as u8 + 1)));
        let at = known.or_else(unused)?;
        *self.named.get_mut(at)? = pool.as_ptr();
        Some(at as u8 + 1)
    }

    /// The pool that is named so, which is alive where a slot in flight is named so.
    #[inline(always)]
    pub(crate) fn named(&self, name: u8) -> Option<NonNull<PoolInner>> {
        if name == OWN {
            return Some(self.own);
        }
        self.named.get(usize::from(name) - 1).and_then(|&pool| NonNull::new(pool))
    }

    /// The source's pool.
    #[inline(always)]
    pub(crate) fn pool(&self) -> NonNull<PoolInner> {
        self.source.pool
    }

    /// Of the source: what makes of a plain frame's {pointer, pool} {IOVA, 0}.
    #[inline(always)]
    pub(crate) fn key(&self) -> Pair {
        self.source.key
    }

    /// Of the source: IOVA minus pointer.
    #[inline(always)]
    pub(crate) fn delta(&self) -> u64 {
        self.source.delta
    }

    /// Of the source: room before the data of an empty buffer.
    #[inline(always)]
    pub(crate) fn headroom_bytes(&self) -> usize {
        self.source.headroom_bytes as usize
    }

    /// Of the source: its name, eight times.
    #[inline(always)]
    pub(crate) fn names(&self) -> u64 {
        self.source.names
    }
}

/// A name for each slot, and what the names mean.
pub(crate) struct Owners {
    pub(crate) sources: Sources,
    names: Box<[u8]>,
    /// The pools of the slots that are [`UNNAMED`].
    unnamed: Box<[*mut PoolInner]>,
}

impl Owners {
    /// For a ring of `len` slots, which keeps a handle of its own pool for as long.
    pub(crate) fn new(own: &BufPool, len: usize) -> Self {
        Self { sources: Sources::new(own), names: (0..len).map(|_| OWN).collect(), unnamed: (0..len).map(|_| ptr::null_mut()).collect() }
    }

    /// [`Sources::turn_to`], where the source is another. `in_flight`: the slots that hold buffers, from the first to the one behind the last, round the
    /// ring's end.
    ///
    /// # Safety
    /// A frame with this pool word is alive.
    #[inline(always)]
    pub(crate) unsafe fn turn_to(&mut self, word: NonNull<PoolInner>, in_flight: (u32, u32)) -> bool {
        let Self { sources, names, .. } = self;
        // SAFETY: the caller's.
        unsafe {
            sources.is_source(word)
                || word.addr().get() & TAGS == 0
                    && sources.turn_to(word, &|name| slots(names.len(), in_flight).any(|at| names.get(at) == Some(&name)))
        }
    }

    /// Where the names of the slots from `at` on lie.
    ///
    /// # Safety
    /// There is a slot `at`.
    #[inline(always)]
    pub(crate) unsafe fn names_at(&mut self, at: usize) -> NonNull<u8> {
        // SAFETY: a slice's pointer is never null, and `at` lies within it by the caller's word.
        unsafe { NonNull::new_unchecked(self.names.as_mut_ptr()).add(at) }
    }

    /// Says that the `count` slots from `at` on, round the ring's end, hold buffers of the source's pool. `free` slots are free from there on, `count` among them.
    ///
    /// # Safety
    /// There is a slot `at`.
    #[inline(always)]
    pub(crate) unsafe fn set_source(&mut self, at: u32, count: u32, free: u32) {
        if count <= BLOCK as u32 && free >= BLOCK as u32 && at as usize + BLOCK <= self.names.len() {
            // SAFETY: a block of slots lies there.
            unsafe { self.names_at(at as usize).cast::<u64>().write_unaligned(self.sources.names()) };
        } else {
            self.set_source_of_many(at, count, free);
        }
    }

    #[inline(never)]
    fn set_source_of_many(&mut self, at: u32, count: u32, free: u32) {
        let (names, len) = (self.sources.names(), self.names.len());
        let mut done = 0;
        while done < count {
            let at = (at + done) as usize & (len - 1);
            // What is said of a free slot means nothing.
            let step = if free - done >= BLOCK as u32 && at + BLOCK <= len { BLOCK as u32 } else { 1 };
            // SAFETY: the slot `at`, and a block of slots, lie within the ring.
            unsafe {
                let place = self.names_at(at);
                if step == 1 { place.write(names as u8) } else { place.cast::<u64>().write_unaligned(names) }
            }
            done += step;
        }
    }

    /// Says that the slot `at` holds a buffer of the pool at `pool`, of whatever kind and domain.
    ///
    /// # Safety
    /// A frame of that pool is alive.
    #[inline]
    pub(crate) unsafe fn set(&mut self, at: usize, pool: NonNull<PoolInner>, in_flight: (u32, u32)) {
        // SAFETY: the caller's.
        let name = if unsafe { self.turn_to(pool, in_flight) } { self.sources.names() as u8 } else { UNNAMED };
        if let Some(place) = self.names.get_mut(at) {
            *place = name;
        }
        if name == UNNAMED
            && let Some(unnamed) = self.unnamed.get_mut(at)
        {
            *unnamed = pool.as_ptr();
        }
    }

    /// Says that the slot `at` holds no buffer.
    pub(crate) fn set_nothing(&mut self, at: usize) {
        if let Some(place) = self.names.get_mut(at) {
            *place = NOTHING;
        }
    }

    /// The pool of the buffer in slot `at`, which is in flight; `None` where it holds none.
    pub(crate) fn of(&self, at: usize) -> Option<NonNull<PoolInner>> {
        let name = *self.names.get(at)?;
        if name == UNNAMED { self.unnamed.get(at).and_then(|&pool| NonNull::new(pool)) } else { self.sources.named(name) }
    }
}

/// The slots from `first` to before `end`, round the end of a ring of `len`.
fn slots(len: usize, (first, end): (u32, u32)) -> impl Iterator<Item = usize> {
    let mask = len as u32 - 1;
    (0..end.wrapping_sub(first) & mask).map(move |k| (first.wrapping_add(k) & mask) as usize)
}
