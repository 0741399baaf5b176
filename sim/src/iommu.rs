//! An IOMMU that faults: the only way from a model to the memory of a driver.
//!
//! Device addresses are deliberately not pointers, lie on both sides of 4 GiB, and have unmapped guard gaps between them, so that a driver that confuses
//! the two address spaces, forgets the upper half of an address or lets a card run over the end of a region is caught at once.

use std::alloc::{Layout, LayoutError, alloc_zeroed, dealloc};
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use driver_core::host::{DmaDomain, DmaError, DmaMapper, Iova, IovaAllocator, IovaRequest, Mapping};

use crate::dma::Dma;
use crate::memory::{DmaFault, Window};
use crate::violation::Violations;

const PAGE: usize = 4096;
/// Regions of this size and more are aligned to it, so that the host can back them with huge pages.
const LARGE: usize = 2 << 20;
/// Unmapped device addresses behind each mapping.
const GUARD: u64 = 64 * 1024;
/// The first mappings lie below 4 GiB, later and larger ones above: both halves of a descriptor's address are exercised.
const USABLE: std::ops::RangeInclusive<u64> = 0xffe0_0000..=0x7f_ffff_ffff;

struct Table {
    iovas: IovaAllocator,
    /// Sorted by first address. Each owns an allocation with the layout of its length.
    windows: Vec<Window>,
}

impl Table {
    fn give_back(&mut self, iova: Iova, len: u64) {
        if let Err(error) = self.iovas.give_back(iova, len + GUARD) {
            log::error!("simulated IOMMU: {error}");
        }
    }
}

/// The layout of a mapping of `len` bytes, a multiple of a page.
fn layout(len: usize) -> Result<Layout, LayoutError> {
    Layout::from_size_align(len, if len >= LARGE { LARGE } else { PAGE })
}

/// The memory that a set of simulated devices can reach. Devices with the same `Iommu` share one DMA domain.
pub struct Iommu {
    name: String,
    table: RwLock<Table>,
}

impl Default for Iommu {
    fn default() -> Self {
        Self::named("simulated IOMMU")
    }
}

impl Iommu {
    /// An IOMMU without mappings.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The same under a name that errors use.
    pub fn named(name: &str) -> Self {
        let iovas = IovaAllocator::new(PAGE as u64, [USABLE]).expect("the page size is a power of two");
        Self { name: name.into(), table: RwLock::new(Table { iovas, windows: Vec::new() }) }
    }

    /// The domain that drivers allocate from. Two domains of one IOMMU are the same domain.
    pub fn domain(self: &Arc<Self>) -> DmaDomain {
        DmaDomain::new(Arc::clone(self) as Arc<dyn DmaMapper>)
    }

    /// How many mappings there are.
    pub fn mappings(&self) -> usize {
        self.read_table().windows.len()
    }

    /// The length of each mapping in bytes.
    pub fn mapping_bytes(&self) -> Vec<u64> {
        self.read_table().windows.iter().map(|window| window.len).collect()
    }

    fn read_table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the mappings for a bounded piece of work: none goes away before the result is dropped.
    pub fn hold(&self) -> Held<'_> {
        Held { table: self.read_table() }
    }

    /// Reads as a device that is not watched: for tests and tools.
    ///
    /// # Safety
    /// As for [`Held::device`]. `into` lies in no mapping.
    ///
    /// # Errors
    /// [`DmaFault`] where the range is not mapped whole.
    pub unsafe fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let (memory, violations) = (self.hold(), Violations::default());
        // SAFETY: the caller's.
        let dma = unsafe { memory.device(true, &violations) };
        dma.read(iova, into)
    }

    /// Writes as a device that is not watched: for tests and tools.
    ///
    /// # Safety
    /// As for [`Held::device`]. `from` lies in no mapping.
    ///
    /// # Errors
    /// As [`Iommu::read`].
    pub unsafe fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let (memory, violations) = (self.hold(), Violations::default());
        // SAFETY: the caller's.
        let dma = unsafe { memory.device(true, &violations) };
        dma.write(iova, from)
    }
}

/// The mappings of an [`Iommu`], held.
pub struct Held<'a> {
    table: RwLockReadGuard<'a, Table>,
}

impl Held<'_> {
    /// A device's access to them.
    ///
    /// # Safety
    /// The mappings hold rings and frames of drivers. What is read has no `&mut` reference, what is written has no reference at all, and who uses these bytes at
    /// the same time does so by atomics: as it is with memory that a driver lent to a device. Slices to copy from and to lie in no mapping.
    pub unsafe fn device<'a>(&'a self, bus_master: bool, violations: &'a Violations) -> Dma<'a> {
        Dma::new(&self.table.windows, None, bus_master, violations)
    }
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} mappings)", self.table.windows.len())
    }
}

impl fmt::Debug for Iommu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iommu({}, {} mappings)", self.name, self.mappings())
    }
}

// SAFETY: `map` returns zeroed heap memory, aligned to a page, owned by the table until `unmap`; every window has device addresses of its own,
// and a `Dma` reaches nothing but windows.
unsafe impl DmaMapper for Iommu {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let error = |why: String| DmaError::new(len_bytes, self.name.as_str(), why);
        let len = len_bytes.max(1).checked_next_multiple_of(PAGE).ok_or_else(|| error("the length overflows: ask for less".into()))?;
        let layout = layout(len).map_err(|_| error("the length overflows: ask for less".into()))?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let iova = table
            .iovas
            .take(IovaRequest { len_bytes: len as u64 + GUARD, align: layout.align() as u64 })
            .map_err(|exhausted| error(exhausted.to_string()))?;
        // SAFETY: `len` is at least one page, so the layout is not of size zero.
        let Some(ptr) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            table.give_back(iova, len as u64);
            return Err(error("the process has no memory left: ask for less, or free some".into()));
        };
        let at = table.windows.partition_point(|window| window.first < iova.0);
        table.windows.insert(at, Window { first: iova.0, len: len as u64, ptr, readable: true, writable: true });
        Ok(Mapping { ptr, iova, len_bytes: len, page_bytes: PAGE })
    }

    unsafe fn unmap(&self, mapping: Mapping) {
        let (window, layout) = {
            // The write lock waits for every device access under way.
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let Ok(at) = table.windows.binary_search_by_key(&mapping.iova.0, |window| window.first) else { return };
            // A length that `map` made a layout of.
            let Ok(layout) = layout(table.windows[at].len as usize) else { return };
            let window = table.windows.remove(at);
            table.give_back(Iova(window.first), window.len);
            (window, layout)
        };
        // SAFETY: `map` allocated the pointer with the layout of this length; the window left the table above, so no device reaches it any more and it
        // is freed once; the caller of `unmap` vouches that nothing else uses it.
        unsafe { dealloc(window.ptr.as_ptr(), layout) }
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
