//! Memory that devices can reach.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::ptr::NonNull;

/// An address as the device sees it. Never made from a pointer: it comes from the mapping that the IOMMU holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[allow(clippy::exhaustive_structs, reason = "plain data: a number with a meaning")]
pub struct Iova(pub u64);

impl Iova {
    /// The address `bytes` further on. Wraps, as the bus does.
    #[inline(always)]
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl fmt::LowerHex for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// What a [`DmaMapper`] hands out: memory of this process, and where the device finds it.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "plain data, which every mapper fills in whole")]
pub struct Mapping {
    /// First byte in this process.
    pub ptr: NonNull<u8>,
    /// First byte for the device. The whole mapping is contiguous for both.
    pub iova: Iova,
    /// Length in bytes, a multiple of `page_bytes`.
    pub len_bytes: usize,
    /// The size of the pages that back it.
    pub page_bytes: usize,
}

/// Where DMA memory comes from: kernel VFIO, a vfio-user server, a simulated IOMMU.
///
/// # Implementation safety
/// Whoever implements it vouches for what it hands out:
/// * `map` gives memory that is zeroed, readable and writable, aligned to at least 4096 bytes, and at least as long as was asked for. It lies in no object of
///   this process, nobody else uses it, and it stays valid, from any thread, until `unmap`, whoever else lets go of the domain;
/// * for every device of the domain the addresses from `iova` on are this memory, in its order and to its end, and no other mapping's;
/// * after `unmap` the memory goes to no other use in this process as long as a device of the domain can still reach it there. An IOMMU takes the mapping
///   away, a server in another process lets go of it or keeps what is memory of its own; who has neither (no-IOMMU mode, a guest that gives physical
///   addresses) keeps the memory until no device does DMA any more.
///
/// That devices reach *nothing else* it does not promise: an IOMMU sees to that, and without one only the device itself, which accesses what its registers and
/// rings name (see [`PciFunction`](crate::host::PciFunction)). Nothing in this family of drivers rests on more.
pub unsafe trait DmaMapper: Send + Sync {
    /// Allocates and maps at least `len_bytes`, for reads and writes by the device.
    ///
    /// # Errors
    /// [`DmaError`]
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError>;

    /// Takes the mapping away from the devices, then frees the memory.
    ///
    /// # Safety
    /// `mapping` came from `map` of this object, was not unmapped before, and nothing in this process uses its memory any more.
    unsafe fn unmap(&self, mapping: Mapping);

    /// How a person names the domain.
    fn name(&self) -> String;
}

/// The memory mapped for a set of devices that share mappings. Cloning gives another handle to the same domain.
#[derive(Clone)]
pub struct DmaDomain(Arc<dyn DmaMapper>);

impl DmaDomain {
    /// The domain that `mapper` serves.
    pub fn new(mapper: Arc<dyn DmaMapper>) -> Self {
        Self(mapper)
    }

    /// Whether an IOVA of one is an IOVA of the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Allocates at least `len_bytes` of zeroed memory, contiguous for the device.
    ///
    /// # Errors
    /// [`DmaError`] from the host.
    pub fn allocate(&self, len_bytes: usize) -> Result<DmaRegion, DmaError> {
        let mapping = self.0.map(len_bytes.max(1))?;
        Ok(DmaRegion { mapping, domain: self.clone() })
    }
}

impl fmt::Debug for DmaDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaDomain({})", self.0.name())
    }
}

/// One allocation that a device can reach. Dropping it unmaps it first and frees it then.
///
/// It gives no references to its bytes, since a device may write to them at any time: the rings and the pool that own a region
/// decide who may touch what.
#[derive(Debug)]
pub struct DmaRegion {
    mapping: Mapping,
    domain: DmaDomain,
}

// SAFETY: the region owns its memory, and DmaMapper's contract makes it valid from any thread; all access goes through raw pointers whose users
// state their own reasons.
unsafe impl Send for DmaRegion {}
// SAFETY: as above; `&DmaRegion` gives addresses and no access.
unsafe impl Sync for DmaRegion {}

impl DmaRegion {
    /// First byte for the device.
    #[inline]
    pub fn iova(&self) -> Iova {
        self.mapping.iova
    }
    /// First byte in this process.
    #[inline]
    pub fn ptr(&self) -> NonNull<u8> {
        self.mapping.ptr
    }
    /// Length in bytes, which may be more than was asked for.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.mapping.len_bytes
    }
    /// The size of the pages that back it.
    pub fn page_bytes(&self) -> usize {
        self.mapping.page_bytes
    }
    /// The domain it is mapped in.
    pub fn domain(&self) -> &DmaDomain {
        &self.domain
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        // SAFETY: the mapping came from this domain's mapper in `DmaDomain::allocate`, it is dropped once, and whoever used its addresses owned
        // or borrowed this region.
        unsafe { self.domain.0.unmap(self.mapping) }
    }
}

/// Why DMA memory could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DmaError {
    /// How many bytes were asked for.
    pub len_bytes: usize,
    /// Where: the domain's name.
    pub domain: String,
    /// What the host said, and what to do next.
    pub why: String,
}

impl DmaError {
    /// An error about `len_bytes` that were asked for in `domain`; `why` says what to do next.
    pub fn new(len_bytes: usize, domain: impl Into<String>, why: impl Into<String>) -> Self {
        Self { len_bytes, domain: domain.into(), why: why.into() }
    }
}

impl fmt::Display for DmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map {} bytes for DMA in {}: {}", self.len_bytes, self.domain, self.why)
    }
}
impl core::error::Error for DmaError {}
