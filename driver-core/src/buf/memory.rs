//! The memory behind the pools: equal buffers in one DMA region, and private memory that says which are free.
//!
//! A buffer that is not in the pool's free list is owned by exactly one holder: a frame, a slot of a ring, or a cache of empty buffers. How many are out is
//! counted where a block of them is taken or given back, and the pool's memory goes when no handle is left and every buffer is back: no count per frame.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic;

use crate::buf::free::FreeList;
use crate::buf::meta::{Meta, Words};
use crate::buf::raw::PLACE_BYTES;
pub(crate) use crate::buf::raw::{LINE_BYTES, RawBuf, Strides};
use crate::host::dma::{DmaDomain, DmaError, DmaRegion};
use crate::sync::{AtomicU64, Ordering};

/// How many buffers are moved at once between the pool and a holder.
pub const CHUNK: usize = 64;

/// Pools made so far.
static POOLS: atomic::AtomicU64 = atomic::AtomicU64::new(0);

/// The low bits of a pool's address, in which a frame has its tags.
pub(crate) const TAGS: usize = align_of::<PoolInner>() - 1;

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
    /// IOVA minus pointer, the same for the whole region.
    pub(crate) delta: u64,
    pub(crate) strides: Strides,
    pub(crate) data_bytes: u32,
    pub(crate) buffers: u32,
    /// Metadata of frames that need more than their own words hold.
    metas: Places<Meta>,
    /// The next segments of chains.
    links: Places<RawFrame>,
    pub(crate) region: DmaRegion,
    shared: Shared,
}

/// What threads change, apart from what the data path reads of a pool.
#[repr(align(64))]
struct Shared {
    free: FreeList,
    /// What keeps the pool: each buffer that is out, and the handles together as long as there is one. Who takes it to 0 frees the pool.
    keeping: AtomicU64,
    /// 64 bits: not even clones that are all forgotten overflow it.
    handles: AtomicU64,
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

// SAFETY: private places are reached only through the frame that owns the buffer, everything else is immutable or atomic.
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
        let stride_bytes = Strides::bytes(data_bytes, headroom_bytes);
        let region = domain.allocate(buffers as usize * stride_bytes as usize)?;
        let free = FreeList::new(reserved(domain, buffers)?, buffers);
        let (mut metas, mut links) = (reserved(domain, buffers)?, reserved(domain, buffers)?);
        // SAFETY: the places were reserved, and `MaybeUninit` needs nothing to be there.
        unsafe {
            metas.set_len(buffers as usize);
            links.set_len(buffers as usize);
        }
        // The one place where the region's provenance is exposed: from here on its buffers are known by integers, see `RawBuf`.
        let start = region.ptr().as_ptr().expose_provenance();
        let inner = Self {
            number: POOLS.fetch_add(1, Ordering::Relaxed),
            delta: region.iova().0.wrapping_sub(start as u64),
            strides: Strides::new(start, stride_bytes, headroom_bytes),
            data_bytes,
            buffers,
            metas,
            links,
            region,
            shared: Shared { free, keeping: AtomicU64::new(1), handles: AtomicU64::new(1) },
        };
        inner.fill();
        let inner = NonNull::from(Box::leak(Box::new(inner)));
        // Caches know their pools by address.
        inner.as_ptr().expose_provenance();
        Ok(inner)
    }

    /// Puts every buffer into the free list, the first one uppermost.
    fn fill(&self) {
        let mut chunk = [RawBuf::MARK; CHUNK];
        let mut rest = self.buffers;
        while rest > 0 {
            let count = rest.min(CHUNK as u32);
            rest -= count;
            let bufs = chunk.get_mut(..count as usize).unwrap_or_default();
            for (buf, index) in bufs.iter_mut().rev().zip(rest..) {
                *buf = self.strides.buf(index);
            }
            // SAFETY: these are buffers of the pool, which nobody else has: it was not handed out yet, and each number comes once.
            unsafe { self.shared.free.give(&self.strides, bufs) };
        }
    }

    /// The buffer that `ptr` points into.
    #[inline]
    pub(crate) fn buf_of(&self, ptr: NonNull<u8>) -> RawBuf {
        self.strides.buf(self.strides.index(ptr.addr().get()))
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
        const { assert!(size_of::<RawFrame>() == PLACE_BYTES) };
        let start = NonNull::from(self.links.as_slice()).cast::<UnsafeCell<MaybeUninit<RawFrame>>>();
        // SAFETY: the caller owns a buffer of this pool, so that its place is one of them.
        unsafe { NonNull::new_unchecked(start.byte_add(self.strides.place(ptr.addr().get())).as_ref().get()).cast() }
    }

    /// # Safety
    /// As for [`PoolInner::meta`]; `places` are this pool's.
    #[inline(always)]
    unsafe fn place<T>(&self, places: &Places<T>, ptr: NonNull<u8>) -> NonNull<T> {
        // SAFETY: the caller owns a buffer of this pool, so the index is in range, and `UnsafeCell::get` is never null.
        unsafe { NonNull::new_unchecked(places.get_unchecked(self.strides.index(ptr.addr().get()) as usize).get()).cast() }
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

    /// How many buffers are free. While other threads take and give back, what is on its way is counted as it was or as it will be.
    pub(crate) fn available(&self) -> usize {
        // Who asks has a handle. A block that is given back can be taken, and is counted again, before it is counted back.
        let out = self.shared.keeping.load(Ordering::Relaxed) - 1;
        u64::from(self.buffers).saturating_sub(out) as usize
    }

    /// Counts one handle more.
    pub(crate) fn add_handle(&self) {
        // Whoever the clone goes to learns of it by that.
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts one handle less, and frees the pool where it was the last thing that kept it.
///
/// # Safety
/// The caller has a handle to the live pool at `inner`, which came from [`PoolInner::create`], and gives it up.
pub(crate) unsafe fn drop_handle(inner: NonNull<PoolInner>) {
    // SAFETY: the caller's handle keeps the pool alive. Where it was the last one it goes on doing so until `let_go`, since no other can be made.
    unsafe {
        if inner.as_ref().shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            let_go(inner, 1);
        }
    }
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
    // SAFETY: the buffers are the caller's to give. They are counted as out until they are in the list, and keep the pool alive until then.
    unsafe {
        let pool = inner.as_ref();
        pool.shared.free.give(&pool.strides, bufs);
        let_go(inner, bufs.len() as u64);
    }
}

/// Takes `count` off what keeps the pool, and frees the pool where that was all. Who calls this does not touch the pool afterwards.
///
/// # Safety
/// The caller accounts for `count` of what keeps the pool at `inner`, which came from [`PoolInner::create`].
#[inline(always)]
unsafe fn let_go(inner: NonNull<PoolInner>, count: u64) {
    // `Release`: what this thread did with the pool comes before it is freed. `Acquire`: so does what the others did.
    // SAFETY: what the caller accounts for keeps the pool alive until this subtraction.
    let before = unsafe { inner.as_ref() }.shared.keeping.fetch_sub(count, Ordering::AcqRel);
    if before == count {
        // SAFETY: there is no handle, and so nobody who could take a buffer or make a handle; no buffer is out; all others who let go before do not
        // touch the pool any more. It came from a leaked box.
        drop(unsafe { Box::from_raw(inner.as_ptr()) });
    }
}

/// Takes up to `room.len()` buffers from the free list into `room`, and says how many. The one that came back last is the last of them.
///
/// More than [`CHUNK`] come by several visits, since one who walks far loses against those who come for little. Where two threads at once want more
/// than there is, each may get a part.
pub(crate) fn take_block(pool: &PoolInner, room: &mut [MaybeUninit<RawBuf>]) -> usize {
    let mut left = room.len();
    loop {
        let from = left.saturating_sub(CHUNK);
        // SAFETY: `from <= left`, and `left` is at most the length.
        let chunk = unsafe { room.get_unchecked_mut(from..left) };
        left -= pool.shared.free.take(&pool.strides, chunk);
        // Where a visit brought fewer it saw the end of the list.
        if left > from || from == 0 {
            break;
        }
    }
    let count = room.len() - left;
    if left > 0 {
        room.copy_within(left.., 0);
    }
    // Before the caller's handle goes, and so before the pool could: see `let_go`.
    pool.shared.keeping.fetch_add(count as u64, Ordering::Relaxed);
    count
}
