//! The memory behind the pools: equal buffers in one DMA region, and private memory that says which are free.
//!
//! A buffer that is not in the pool's free list is owned by exactly one holder: a frame, a slot of a ring, or a cache of empty buffers. The free list's length therefore says how much is lent out, and the pool's memory goes when no handle is left and every buffer is
//! back: no count per frame.
//!
//! Who owns an empty buffer holds a [`RawBuf`]: an integer, since blocks of them travel through SIMD registers, which keep no provenance. A pool
//! exposes its region's provenance once, when it is made, and [`RawBuf::ptr`] alone takes it up again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::num::NonZero;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::buf::meta::{Meta, Words};
use crate::host::dma::{DmaDomain, DmaError, DmaRegion};
use crate::sync::Mutex;

/// Pools made so far.
static POOLS: AtomicU64 = AtomicU64::new(0);

/// The low bits of a pool's address, in which a frame has its tags.
pub(crate) const TAGS: usize = align_of::<PoolInner>() - 1;

/// The unit of address tags and of all offsets in a buffer.
pub(crate) const LINE_BYTES: u32 = 64;

/// An empty buffer, by its home address: where its data begins when it is empty, as an integer. A linear token: it is copied only by code that
/// accounts for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RawBuf(NonZero<u64>);

impl RawBuf {
    /// The buffer whose home address is that of `ptr`.
    #[inline(always)]
    pub(crate) fn at(ptr: NonNull<u8>) -> Self {
        // SAFETY: the address of a pointer that is not null is not 0, and this crate is for 64-bit targets.
        Self(unsafe { NonZero::new_unchecked(ptr.addr().get() as u64) })
    }

    /// The buffer whose home address is `word`.
    ///
    /// # Safety
    /// It is such an address, which is not 0.
    #[inline(always)]
    pub(crate) unsafe fn of_word(word: u64) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { NonZero::new_unchecked(word) })
    }

    /// What a ring's slot holds where it holds no buffer: an odd number, while home addresses are multiples of [`LINE_BYTES`].
    pub(crate) const MARK: Self = Self(NonZero::<u64>::MIN);

    /// The buffer with this home address.
    #[inline(always)]
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        NonZero::new(word).map(Self)
    }

    /// The home address.
    #[inline(always)]
    pub(crate) fn word(self) -> u64 {
        self.0.get()
    }

    /// The pointer to the home address. Only the buffer's owner may use it, as long as it is that.
    #[inline(always)]
    pub(crate) fn ptr(self) -> NonNull<u8> {
        // The pool exposed its region in `PoolInner::create`, so the pointer may reach all of it.
        // SAFETY: the address is not 0.
        unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(self.0.get() as usize)) }
    }
}

/// A frame as plain data: what links the segments of a chain. Who holds one owns its buffer, and whatever is linked behind it.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct RawFrame {
    /// Where the data begins.
    pub(crate) ptr: NonNull<u8>,
    /// The pool's address, with tags in its low bits.
    pub(crate) pool: NonNull<PoolInner>,
    pub(crate) words: Words,
}

/// Private memory, one place for each buffer, in use while the frame in it is tagged so: a device cannot reach it. A frame writes its place before it reads it.
type Places<T> = Vec<UnsafeCell<MaybeUninit<T>>>;

/// What all handles, frames and slots of one pool refer to. Aligned so that the low bits of its address can carry a frame's tags.
#[repr(align(64))]
pub(crate) struct PoolInner {
    /// No other pool of this process has it, nor had.
    pub(crate) number: u64,
    /// The address at which buffer 0's headroom begins.
    start: usize,
    /// IOVA minus pointer, the same for the whole region.
    pub(crate) delta: u64,
    stride_bytes: u32,
    pub(crate) headroom_bytes: u32,
    pub(crate) data_bytes: u32,
    pub(crate) buffers: u32,
    /// What a distance in lines is multiplied with to have the number of strides in its high word: 2^64 over the lines of a stride, rounded up.
    per_stride: u64,
    /// Metadata of frames that need more than their own words hold.
    metas: Places<Meta>,
    /// The next segments of chains.
    links: Places<RawFrame>,
    pub(crate) region: DmaRegion,
    free: Mutex<Free>,
}

/// An empty vector with room for one `T` for each of `buffers` buffers.
fn reserved<T>(domain: &DmaDomain, buffers: u32) -> Result<Vec<T>, DmaError> {
    let mut places = Vec::new();
    let len_bytes = buffers as usize * size_of::<T>();
    match places.try_reserve_exact(buffers as usize) {
        Ok(()) => Ok(places),
        Err(_) => Err(DmaError {
            len_bytes,
            domain: alloc::format!("{domain:?}"),
            why: "no private memory is left to say which of the pool's buffers are free: make it smaller".into(),
        }),
    }
}

struct Free {
    stack: Vec<RawBuf>,
    handles: usize,
}

// SAFETY: private places are reached only through the frame that owns the buffer, everything else is immutable or behind the lock.
unsafe impl Send for PoolInner {}
// SAFETY: as above.
unsafe impl Sync for PoolInner {}

impl PoolInner {
    /// Allocates and maps `buffers` buffers in `domain`, for one handle.
    ///
    /// # Errors
    /// [`DmaError`]
    pub(crate) fn create(domain: &DmaDomain, buffers: u32, data_bytes: u32, headroom_bytes: u32) -> Result<NonNull<Self>, DmaError> {
        let headroom_bytes = headroom_bytes.next_multiple_of(LINE_BYTES);
        // More than headroom and data, so that even the end of a buffer's data lies in its own stride: see `PoolInner::index`.
        let lines = (headroom_bytes + data_bytes) / LINE_BYTES + 1;
        let stride_bytes = (lines | 1) * LINE_BYTES;
        let region = domain.allocate(buffers as usize * stride_bytes as usize)?;
        let mut stack = reserved(domain, buffers)?;
        let (mut metas, mut links) = (reserved(domain, buffers)?, reserved(domain, buffers)?);
        // SAFETY: the places were reserved, and `MaybeUninit` needs nothing to be there.
        unsafe {
            metas.set_len(buffers as usize);
            links.set_len(buffers as usize);
        }
        // The one place where the region's provenance is exposed: from here on its buffers are known by integers, see `RawBuf`.
        let start = region.ptr().as_ptr().expose_provenance();
        stack.extend((0..buffers).rev().map(|index| {
            let home = index as usize * stride_bytes as usize + headroom_bytes as usize;
            // SAFETY: every index is below `buffers`, and the region holds that many strides of more than `headroom_bytes` each.
            RawBuf::at(unsafe { region.ptr().add(home) })
        }));
        let inner = Self {
            number: POOLS.fetch_add(1, Ordering::Relaxed),
            start,
            delta: region.iova().0.wrapping_sub(start as u64),
            stride_bytes,
            headroom_bytes,
            data_bytes,
            buffers,
            // Exact for less than 2^32 lines: rounding up adds less than one in 2^32 of a stride.
            per_stride: u64::MAX / u64::from(stride_bytes / LINE_BYTES) + 1,
            metas,
            links,
            region,
            free: Mutex::new(Free { stack, handles: 1 }),
        };
        Ok(NonNull::from(Box::leak(Box::new(inner))))
    }

    /// The number of the buffer that `ptr` points into. `ptr` is anywhere in the buffer, headroom and the end of the data included:
    /// a stride is longer than both together.
    #[inline]
    fn index(&self, ptr: NonNull<u8>) -> u32 {
        let lines = (ptr.addr().get() - self.start) as u64 / u64::from(LINE_BYTES);
        let index = ((u128::from(lines) * u128::from(self.per_stride)) >> 64) as u32;
        debug_assert_eq!(index as usize, (ptr.addr().get() - self.start) / self.stride_bytes as usize);
        index
    }

    /// The buffer that `ptr` points into.
    #[inline]
    pub(crate) fn buf_of(&self, ptr: NonNull<u8>) -> RawBuf {
        let home = self.start + self.index(ptr) as usize * self.stride_bytes as usize + self.headroom_bytes as usize;
        // SAFETY: the address lies inside the region, so it is not 0.
        RawBuf(unsafe { NonZero::new_unchecked(home as u64) })
    }

    /// The place for the private metadata of the buffer that `ptr` points into; nothing where no frame has written any.
    ///
    /// # Safety
    /// The caller owns that buffer, and lets no other reference to its place live.
    #[inline]
    pub(crate) unsafe fn meta(&self, ptr: NonNull<u8>) -> NonNull<Meta> {
        // SAFETY: the caller's.
        unsafe { self.place(&self.metas, ptr) }
    }

    /// The place for what is linked behind the buffer that `ptr` points into; nothing where no frame has written any.
    ///
    /// # Safety
    /// As for [`PoolInner::meta`].
    #[inline]
    pub(crate) unsafe fn link(&self, ptr: NonNull<u8>) -> NonNull<RawFrame> {
        // SAFETY: the caller's.
        unsafe { self.place(&self.links, ptr) }
    }

    /// # Safety
    /// As for [`PoolInner::meta`]; `places` are this pool's.
    #[inline(always)]
    unsafe fn place<T>(&self, places: &Places<T>, ptr: NonNull<u8>) -> NonNull<T> {
        // SAFETY: the caller owns a buffer of this pool, so the index is in range, and `UnsafeCell::get` is never null.
        unsafe { NonNull::new_unchecked(places.get_unchecked(self.index(ptr) as usize).get()).cast() }
    }

    /// The domain that the buffers are mapped in.
    pub(crate) fn domain(&self) -> &DmaDomain {
        self.region.domain()
    }

    /// The address at which `buf` ends.
    #[inline]
    pub(crate) fn end(&self, buf: RawBuf) -> usize {
        buf.word() as usize + self.data_bytes as usize
    }

    /// How many buffers are free.
    pub(crate) fn available(&self) -> usize {
        self.free.lock().stack.len()
    }

    /// Counts one handle more.
    pub(crate) fn add_handle(&self) {
        self.free.lock().handles += 1;
    }
}

/// Counts one handle less, and frees the pool where it was the last thing that kept it.
///
/// # Safety
/// The caller has a handle to the live pool at `inner`, which came from [`PoolInner::create`], and gives it up.
pub(crate) unsafe fn drop_handle(inner: NonNull<PoolInner>) {
    // SAFETY: the caller's handle keeps the pool alive.
    unsafe { update(inner, |free| free.handles -= 1) };
}

/// Returns `bufs` to the pool at `inner`, and frees the pool where they were the last thing that kept it.
///
/// # Safety
/// `inner` is a live pool, and `bufs` are buffers of it that the caller owns and gives up.
#[cold]
pub(crate) unsafe fn give_back(inner: NonNull<PoolInner>, bufs: &[RawBuf]) {
    if bufs.is_empty() {
        return;
    }
    // Within capacity: there are never more than `buffers` of them.
    // SAFETY: the caller owns a buffer that is not in the free list, so the pool is alive.
    unsafe { update(inner, |free| free.stack.extend_from_slice(bufs)) };
}

/// Changes what is out of the pool under its lock, and frees the pool where that is nothing.
///
/// # Safety
/// The pool is alive until `change`, and came from [`PoolInner::create`].
#[inline(always)]
unsafe fn update(inner: NonNull<PoolInner>, change: impl FnOnce(&mut Free)) {
    let last = {
        // SAFETY: the pool is alive, by the caller's word, and the reference ends with the lock.
        let pool = unsafe { inner.as_ref() };
        let mut free = pool.free.lock();
        change(&mut free);
        free.handles == 0 && free.stack.len() == pool.buffers as usize
    };
    if last {
        // SAFETY: no handle and no buffer is out, both seen under the lock, so nobody can reach the pool any more; it came from a leaked box.
        drop(unsafe { Box::from_raw(inner.as_ptr()) });
    }
}

/// Takes up to `room.len()` buffers from the free list into `room`, and says how many.
pub(crate) fn take_block(pool: &PoolInner, room: &mut [MaybeUninit<RawBuf>]) -> usize {
    let mut free = pool.free.lock();
    let count = room.len().min(free.stack.len());
    let keep = free.stack.len() - count;
    for (to, from) in room.iter_mut().zip(free.stack.drain(keep..)) {
        to.write(from);
    }
    count
}
