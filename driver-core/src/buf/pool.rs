//! Where frames come from: handles to a pool of equal buffers.

use core::fmt;
use core::ptr::NonNull;

use crate::buf::frame::handle::Frame;
use crate::buf::memory::{self, PoolInner};
use crate::host::dma::{DmaDomain, DmaError, Iova};

/// What a pool is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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

    /// With room for this many bytes of data in each buffer.
    #[must_use]
    pub const fn data_bytes(self, data_bytes: u32) -> Self {
        Self { data_bytes, ..self }
    }

    /// With this many bytes of room before the data.
    #[must_use]
    pub const fn headroom_bytes(self, headroom_bytes: u32) -> Self {
        Self { headroom_bytes, ..self }
    }
}

/// Why a pool could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

/// A handle to a pool of buffers. Clones refer to the same pool; its memory is unmapped when the last handle and the last frame are gone.
///
/// ```
/// # #[cfg(not(feature = "testing"))]
/// # fn main() {}
/// # #[cfg(feature = "testing")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use driver_core::buf::{BufPool, PoolConfig};
///
/// let (domain, mapper) = driver_core::testing::domain(); // a driver has it from its device
/// let pool = BufPool::new(&domain, PoolConfig::new(64))?;
/// let empty = pool.take().ok_or("the pool is empty")?;
/// let frame = pool.frame_from(b"some bytes")?;
/// assert_eq!((empty.len(), frame.data(), pool.available()), (0, &b"some bytes"[..], 62));
///
/// // Frames keep the memory alive, and give their buffers back from any thread.
/// drop(empty);
/// assert_eq!(pool.available(), 63);
/// drop(pool);
/// assert_eq!(mapper.live_mappings(), 1);
/// std::thread::spawn(move || drop(frame)).join().unwrap();
/// assert_eq!(mapper.live_mappings(), 0);
/// # Ok(())
/// # }
/// ```
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
        PoolInner::create(domain, buffers, data_bytes, headroom_bytes).map(Self).map_err(PoolError::Dma)
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
    /// For many frames `Batch::fill` is cheaper: it goes to the pool once a block.
    pub fn take(&self) -> Option<Frame> {
        let mut one = [core::mem::MaybeUninit::uninit()];
        if memory::take_block(self.inner(), &mut one) == 0 {
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

    /// How many are in the free list now. Batches and rings hold others that are empty too. While other threads take and give back, theirs may be counted
    /// a moment late.
    pub fn available(&self) -> u32 {
        self.inner().available() as u32
    }

    /// Room for data in each buffer, in bytes.
    pub fn data_bytes(&self) -> u32 {
        self.inner().data_bytes
    }

    /// Room before the data of an empty frame, in bytes.
    pub fn headroom_bytes(&self) -> u32 {
        self.inner().strides.headroom_bytes
    }

    /// The domain that the buffers are mapped in.
    pub fn domain(&self) -> &DmaDomain {
        self.inner().domain()
    }

    /// Where the device finds the first byte of the pool's memory, and how many bytes it has.
    pub fn iova_range(&self) -> (Iova, usize) {
        (self.inner().region.iova(), self.inner().region.len_bytes())
    }

    /// Whether both are handles to one pool.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Whether `frame`'s first buffer is of this pool.
    pub fn owns(&self, frame: &Frame) -> bool {
        frame.pool_ptr() == self.0
    }
}

impl Clone for BufPool {
    fn clone(&self) -> Self {
        self.inner().add_handle();
        Self(self.0)
    }
}

impl Drop for BufPool {
    fn drop(&mut self) {
        // SAFETY: this is a handle to a pool that `PoolInner::create` made, and it goes now.
        unsafe { memory::drop_handle(self.0) };
    }
}

impl fmt::Debug for BufPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufPool({} of {} buffers of {} bytes free)", self.available(), self.len(), self.data_bytes())
    }
}
