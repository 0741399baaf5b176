//! Where frames come from: equal buffers in one DMA region, and private memory that says which are free.
//!
//! Buffers move in blocks. A buffer that is not in the pool's free list is owned by exactly one holder: a [`Frame`], a slot of a ring, or a
//! [`Batch`](crate::buf::batch::Batch) that keeps empty buffers between transmit and receive. The free list's length therefore says how much is lent
//! out, and the pool's memory goes when no handle is left and every buffer is back: no count per frame.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::buf::frame::{Ext, Frame};
use crate::host::dma::{DmaDomain, DmaError, DmaRegion, Iova};

/// The unit of address tags and of all offsets in a buffer.
const LINE_BYTES: u32 = 64;

/// How many buffers are moved at once between the pool and a holder.
pub const CHUNK: usize = 64;

/// What a pool is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// Number of buffers.
    pub buffers: u32,
    /// Room for data in each, in bytes: a multiple of 1024 for the Intel cards, at most 16384.
    pub data_bytes: u32,
    /// Room before the data, in bytes (rounded up to 64).
    pub headroom_bytes: u32,
}

impl PoolConfig {
    /// `buffers` buffers for 2048 bytes with 128 bytes of headroom: a stride of 2240 bytes, an odd number of cache lines, so that the buffers'
    /// first lines spread over all cache sets.
    pub const fn new(buffers: u32) -> Self {
        Self { buffers, data_bytes: 2048, headroom_bytes: 128 }
    }
}

/// Why a pool could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolError {
    /// No buffers, or buffers of no or too many bytes.
    Config(PoolConfig),
    /// The memory could not be had.
    Dma(DmaError),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(config) => write!(
                f,
                "a pool of {} buffers of {} bytes with {} bytes of headroom cannot be made: it takes at least one buffer, 64 to 16384 bytes of data, and at most 4096 bytes of headroom",
                config.buffers, config.data_bytes, config.headroom_bytes
            ),
            Self::Dma(error) => error.fmt(f),
        }
    }
}
impl core::error::Error for PoolError {}

/// An empty buffer, by the address where its data begins when it is fresh. A linear token: it is copied only by code that accounts for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RawBuf(pub(crate) NonNull<u8>);

// SAFETY: a buffer's owner may be any thread; the address alone gives no access.
unsafe impl Send for RawBuf {}
// SAFETY: as above.
unsafe impl Sync for RawBuf {}

/// What all handles, frames and slots of one pool refer to. Aligned so that the low bits of its address can carry a frame's tags.
#[repr(align(64))]
pub(crate) struct PoolInner {
    /// Where buffer 0's data begins when it is fresh.
    first: NonNull<u8>,
    /// IOVA minus pointer, the same for the whole region.
    pub(crate) delta: u64,
    stride_bytes: u32,
    pub(crate) headroom_bytes: u32,
    pub(crate) data_bytes: u32,
    buffers: u32,
    /// Private metadata of the buffers whose frames need more than their own words hold; a device cannot reach it.
    ext: Box<[UnsafeCell<Ext>]>,
    region: DmaRegion,
    free: spin::Mutex<Free>,
}

struct Free {
    stack: Vec<RawBuf>,
    handles: usize,
}

// SAFETY: `ext` cells are reached only through the frame that owns the buffer, everything else is immutable or behind the lock.
unsafe impl Send for PoolInner {}
// SAFETY: as above.
unsafe impl Sync for PoolInner {}

impl PoolInner {
    /// The number of the buffer that `ptr` points into. `ptr` is anywhere in the buffer, headroom and the end of the data included:
    /// a stride is longer than both together.
    #[inline]
    fn index(&self, ptr: NonNull<u8>) -> u32 {
        let start = self.first.addr().get() - self.headroom_bytes as usize;
        let offset = ptr.addr().get() - start;
        (offset / self.stride_bytes as usize) as u32
    }

    /// The fresh form of the buffer that `ptr` points into.
    #[inline]
    pub(crate) fn canonical(&self, ptr: NonNull<u8>) -> RawBuf {
        let index = self.index(ptr);
        // SAFETY: `ptr` lies in a buffer of this pool (callers own it as such), so `index` is below `buffers` and the sum inside the region.
        RawBuf(unsafe { self.first.add(index as usize * self.stride_bytes as usize) })
    }

    /// The private metadata of the buffer that `ptr` points into.
    ///
    /// # Safety
    /// The caller owns that buffer, and lets no other reference to its cell live.
    #[inline]
    pub(crate) unsafe fn ext(&self, ptr: NonNull<u8>) -> NonNull<Ext> {
        let index = self.index(ptr) as usize;
        // SAFETY: the caller owns a buffer of this pool, so the index is in range.
        let cell = unsafe { self.ext.get_unchecked(index) };
        // SAFETY: `UnsafeCell::get` is never null.
        unsafe { NonNull::new_unchecked(cell.get()) }
    }

    /// The domain that the buffers are mapped in.
    pub(crate) fn domain(&self) -> &DmaDomain {
        self.region.domain()
    }

    /// Where the buffer with fresh form `buf` ends.
    #[inline]
    pub(crate) fn end(&self, buf: RawBuf) -> usize {
        buf.0.addr().get() + self.data_bytes as usize
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
    // SAFETY: the caller owns a buffer that is not in the free list, so the pool is alive.
    let pool = unsafe { inner.as_ref() };
    let last = {
        let mut free = pool.free.lock();
        // Within capacity: there are never more than `buffers` of them.
        free.stack.extend_from_slice(bufs);
        free.handles == 0 && free.stack.len() == pool.buffers as usize
    };
    if last {
        // SAFETY: no handle and no buffer is out, both seen under the lock, so nobody can reach the pool any more; it came from `Box::into_raw`.
        drop(unsafe { Box::from_raw(inner.as_ptr()) });
    }
}

/// Takes up to `room.len()` buffers from the free list into `room`, and says how many.
pub(crate) fn take_block(pool: &PoolInner, room: &mut [core::mem::MaybeUninit<RawBuf>]) -> usize {
    let mut free = pool.free.lock();
    let count = room.len().min(free.stack.len());
    let keep = free.stack.len() - count;
    for (to, from) in room.iter_mut().zip(free.stack.drain(keep..)) {
        to.write(from);
    }
    count
}

/// A handle to a pool of buffers. Clones refer to the same pool; its memory is unmapped when the last handle and the last frame are gone.
pub struct BufPool(NonNull<PoolInner>);

// SAFETY: a handle gives shared access to PoolInner, which is Sync.
unsafe impl Send for BufPool {}
// SAFETY: as above.
unsafe impl Sync for BufPool {}

impl BufPool {
    /// Allocates and maps the buffers in `domain`.
    ///
    /// # Errors
    /// [`PoolError`]
    pub fn new(domain: &DmaDomain, config: PoolConfig) -> Result<Self, PoolError> {
        let PoolConfig { buffers, data_bytes, headroom_bytes } = config;
        if buffers == 0 || !(64..=16384).contains(&data_bytes) || headroom_bytes > 4096 {
            return Err(PoolError::Config(config));
        }
        let headroom_bytes = headroom_bytes.next_multiple_of(LINE_BYTES);
        // More than headroom and data, so that even the end of a buffer's data lies in its own stride: see `PoolInner::index`.
        let lines = (headroom_bytes + data_bytes) / LINE_BYTES + 1;
        let stride_bytes = (lines | 1) * LINE_BYTES;
        let region = domain.allocate(buffers as usize * stride_bytes as usize).map_err(PoolError::Dma)?;
        // SAFETY: the headroom of buffer 0 lies inside the region, which holds at least one stride.
        let first = unsafe { region.ptr().add(headroom_bytes as usize) };
        let stack = (0..buffers)
            .rev()
            // SAFETY: every index is below `buffers`, and the region holds that many strides.
            .map(|i| RawBuf(unsafe { first.add(i as usize * stride_bytes as usize) }))
            .collect();
        let inner = PoolInner {
            first,
            delta: region.iova().0.wrapping_sub(region.ptr().addr().get() as u64),
            stride_bytes,
            headroom_bytes,
            data_bytes,
            buffers,
            ext: (0..buffers).map(|_| UnsafeCell::new(Ext::default())).collect(),
            region,
            free: spin::Mutex::new(Free { stack, handles: 1 }),
        };
        let inner = NonNull::from(Box::leak(Box::new(inner)));
        // Rings move {pointer, pool} pairs through SIMD registers, which keep addresses and no provenance: frames get it back from here.
        inner.as_ptr().expose_provenance();
        // SAFETY: just leaked.
        unsafe { inner.as_ref() }.region.ptr().as_ptr().expose_provenance();
        Ok(Self(inner))
    }

    #[inline(always)]
    pub(crate) fn inner(&self) -> &PoolInner {
        // SAFETY: a handle keeps the pool alive.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> NonNull<PoolInner> {
        self.0
    }

    /// Takes one empty frame: no data, all of its headroom. `None` where every buffer is lent out.
    ///
    /// For many frames [`Batch::fill`](crate::buf::batch::Batch::fill) is cheaper: it takes the lock once a block.
    pub fn take(&self) -> Option<Frame> {
        let mut one = [core::mem::MaybeUninit::uninit()];
        if take_block(self.inner(), &mut one) == 0 {
            return None;
        }
        // SAFETY: `take_block` returned 1, so the first is initialised, and it is ours now.
        Some(unsafe { Frame::fresh(one[0].assume_init(), self.0) })
    }

    /// How many buffers there are.
    pub fn len(&self) -> u32 {
        self.inner().buffers
    }

    /// Whether there are none; never true.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// How many are in the free list now. Batches and rings hold others that are empty too.
    pub fn available(&self) -> u32 {
        self.inner().free.lock().stack.len() as u32
    }

    /// Room for data in each buffer, in bytes.
    pub fn data_bytes(&self) -> u32 {
        self.inner().data_bytes
    }

    /// Room before the data in a fresh frame, in bytes.
    pub fn headroom_bytes(&self) -> u32 {
        self.inner().headroom_bytes
    }

    /// The domain that the buffers are mapped in.
    pub fn domain(&self) -> &DmaDomain {
        self.inner().domain()
    }

    /// Where the device finds the first byte of the pool's memory, and how many bytes it has.
    pub fn iova_range(&self) -> (Iova, usize) {
        (self.inner().region.iova(), self.inner().region.len_bytes())
    }

    /// Whether `frame`'s first buffer is of this pool.
    pub fn owns(&self, frame: &Frame) -> bool {
        frame.pool_ptr() == self.0
    }
}

impl Clone for BufPool {
    fn clone(&self) -> Self {
        self.inner().free.lock().handles += 1;
        Self(self.0)
    }
}

impl Drop for BufPool {
    fn drop(&mut self) {
        let last = {
            let inner = self.inner();
            let mut free = inner.free.lock();
            free.handles -= 1;
            free.handles == 0 && free.stack.len() == inner.buffers as usize
        };
        if last {
            // SAFETY: no other handle and no buffer is out, both seen under the lock, so nobody else can reach the pool; it came from a leaked box.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl fmt::Debug for BufPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufPool({} of {} buffers of {} bytes free)", self.available(), self.len(), self.data_bytes())
    }
}

/// Gives up `frame` without returning its buffer: the slot that it went to owns the buffer now.
pub(crate) fn into_raw(frame: Frame) -> (NonNull<u8>, NonNull<PoolInner>) {
    let frame = ManuallyDrop::new(frame);
    (frame.ptr(), frame.pool_ptr())
}
