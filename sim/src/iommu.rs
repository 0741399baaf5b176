//! An IOMMU that faults: the only way from a model to the memory of a driver.
//!
//! Device addresses are deliberately not pointers, lie on both sides of 4 GiB, and have unmapped guard gaps between them, so that a driver that confuses
//! the two address spaces, forgets the upper half of an address or lets a card run over the end of a region is caught at once.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use driver_core::dma::{DmaDomain, DmaError, DmaMapper, Iova, Mapping};
use driver_core::iova::IovaAllocator;

use crate::violation::Violations;

const PAGE: usize = 4096;
/// Regions of this size and more are aligned to it, so that the host can back them with huge pages.
const LARGE: usize = 2 << 20;
/// Unmapped device addresses behind each mapping.
const GUARD: u64 = 64 * 1024;
/// The first mappings lie below 4 GiB, later and larger ones above: both halves of a descriptor's address are exercised.
const USABLE: std::ops::RangeInclusive<u64> = 0xffe0_0000..=0x7f_ffff_ffff;

struct Entry {
    first: u64,
    len: u64,
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an entry owns the allocation that `ptr` points to; all access to its bytes goes through raw pointers and atomics whose users state their reasons.
unsafe impl Send for Entry {}
// SAFETY: as above; `&Entry` gives addresses and no access.
unsafe impl Sync for Entry {}

struct Table {
    iovas: IovaAllocator,
    /// Sorted by first address.
    entries: Vec<Entry>,
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
        Self { name: name.into(), table: RwLock::new(Table { iovas, entries: Vec::new() }) }
    }

    /// The domain that drivers allocate from. Two domains of one IOMMU are the same domain.
    pub fn domain(self: &Arc<Self>) -> DmaDomain {
        DmaDomain::new(Arc::clone(self) as Arc<dyn DmaMapper>)
    }

    /// How many mappings there are.
    pub fn mappings(&self) -> usize {
        self.read_table().entries.len()
    }

    fn read_table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device's access for a bounded piece of work. No mapping goes away before it is dropped.
    pub fn device<'a>(&'a self, bus_master: bool, violations: &'a Violations) -> Dma<'a> {
        Dma { table: self.read_table(), last: Cell::new((0, 0)), bus_master, violations }
    }

    /// Reads as a device that is not watched: for tests and tools.
    ///
    /// # Errors
    /// [`DmaFault`] where the range is not mapped whole.
    pub fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let violations = Violations::default();
        self.device(true, &violations).read(iova, into)
    }

    /// Writes as a device that is not watched: for tests and tools.
    ///
    /// # Errors
    /// As [`Iommu::read`].
    pub fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let violations = Violations::default();
        self.device(true, &violations).write(iova, from)
    }
}

impl fmt::Debug for Iommu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Iommu({}, {} mappings)", self.name, self.mappings())
    }
}

// SAFETY: `map` returns zeroed heap memory, aligned to a page, owned by the table until `unmap`; every entry has device addresses of its own,
// and a `Dma` reaches nothing but entries.
unsafe impl DmaMapper for Iommu {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let error = |why: String| DmaError { len_bytes, domain: self.name.clone(), why };
        let len = len_bytes.max(1).checked_next_multiple_of(PAGE).ok_or_else(|| error("the length overflows: ask for less".into()))?;
        let align = if len >= LARGE { LARGE } else { PAGE };
        let layout = Layout::from_size_align(len, align).map_err(|_| error("the length overflows: ask for less".into()))?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let iova = table.iovas.take(len as u64 + GUARD, align as u64).map_err(|exhausted| error(exhausted.to_string()))?;
        // SAFETY: `len` is at least one page, so the layout is not of size zero.
        let Some(ptr) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            table.iovas.give_back(iova, len as u64 + GUARD);
            return Err(error("the process has no memory left: ask for less, or free some".into()));
        };
        let at = table.entries.partition_point(|entry| entry.first < iova.0);
        table.entries.insert(at, Entry { first: iova.0, len: len as u64, ptr, layout });
        Ok(Mapping { ptr, iova, len_bytes: len, page_bytes: PAGE })
    }

    unsafe fn unmap(&self, mapping: Mapping) {
        let entry = {
            // The write lock waits for every device access under way.
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let Ok(at) = table.entries.binary_search_by_key(&mapping.iova.0, |entry| entry.first) else { return };
            let entry = table.entries.remove(at);
            table.iovas.give_back(Iova(entry.first), entry.len + GUARD);
            entry
        };
        // SAFETY: `map` allocated the pointer with this layout; the entry left the table above, so no device reaches it any more and it is freed
        // once; the caller of `unmap` vouches that nothing else uses it.
        unsafe { dealloc(entry.ptr.as_ptr(), entry.layout) }
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Why a device's access failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaFault {
    /// The first address of the access.
    pub iova: Iova,
    /// Its length in bytes.
    pub len_bytes: usize,
    /// Whether it was a write.
    pub write: bool,
    /// What is wrong with it.
    pub why: FaultCause,
}

/// What is wrong with a device's access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultCause {
    /// No mapping holds all of it.
    Unmapped,
    /// Bus mastering is off in the PCI command register.
    BusMasterOff,
    /// A descriptor is not aligned to its size.
    Misaligned,
}

impl FaultCause {
    const fn what(self) -> &'static str {
        match self {
            Self::Unmapped => "DMA outside the mappings",
            Self::BusMasterOff => "DMA while bus mastering is off",
            Self::Misaligned => "DMA of a descriptor that is not aligned",
        }
    }
}

impl fmt::Display for DmaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.write { "write" } else { "read" };
        write!(f, "{}: {verb} of {} bytes at iova {:#x}", self.why.what(), self.len_bytes, self.iova)
    }
}

impl std::error::Error for DmaFault {}

/// One device's access to memory for a bounded piece of work. Every fault is recorded as a violation.
///
/// Descriptors are loaded and stored as naturally aligned words in the processor's atomics; frame bytes are copied.
pub struct Dma<'a> {
    table: RwLockReadGuard<'a, Table>,
    /// Indexes of the two entries that were hit last: a card alternates between a ring and its buffers.
    last: Cell<(usize, usize)>,
    bus_master: bool,
    violations: &'a Violations,
}

impl Dma<'_> {
    #[inline]
    fn locate(&self, iova: Iova, len_bytes: usize, write: bool) -> Result<NonNull<u8>, DmaFault> {
        let hit = |index: usize| {
            let entry = self.table.entries.get(index)?;
            let offset = iova.0.wrapping_sub(entry.first);
            // `offset <= len` first, so that the subtraction cannot wrap.
            (offset <= entry.len && len_bytes as u64 <= entry.len - offset)
                // SAFETY: `offset` and `len_bytes` lie inside the entry's allocation, which lives as long as the guard in `self.table`.
                .then(|| unsafe { entry.ptr.add(offset as usize) })
        };
        if self.bus_master {
            let (a, b) = self.last.get();
            if let Some(ptr) = hit(a) {
                return Ok(ptr);
            }
            if let Some(ptr) = hit(b) {
                self.last.set((b, a));
                return Ok(ptr);
            }
            let index = self.table.entries.partition_point(|entry| entry.first <= iova.0).wrapping_sub(1);
            if let Some(ptr) = hit(index) {
                self.last.set((index, a));
                return Ok(ptr);
            }
        }
        Err(self.fault(iova, len_bytes, write, if self.bus_master { FaultCause::Unmapped } else { FaultCause::BusMasterOff }))
    }

    #[cold]
    fn fault(&self, iova: Iova, len_bytes: usize, write: bool, why: FaultCause) -> DmaFault {
        let verb = if write { "write" } else { "read" };
        self.violations.record(why.what(), format_args!("DMA {verb} of {len_bytes} bytes"), iova.0, "PCI, IOMMU");
        DmaFault { iova, len_bytes, write, why }
    }

    fn aligned(&self, iova: Iova, len_bytes: usize, align: u64, write: bool) -> Result<NonNull<u8>, DmaFault> {
        if !iova.0.is_multiple_of(align) {
            return Err(self.fault(iova, len_bytes, write, FaultCause::Misaligned));
        }
        self.locate(iova, len_bytes, write)
    }

    /// Copies bytes from memory.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let from = self.locate(iova, into.len(), false)?;
        // SAFETY: `locate` checked that `into.len()` bytes from `from` lie in a mapping that outlives this call; `into` is this process's own memory
        // and cannot overlap it, since DMA memory is only reached through raw pointers. A driver that writes to a buffer it lent breaks its contract.
        unsafe { from.as_ptr().copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
        Ok(())
    }

    /// Appends `len_bytes` from memory to `into`.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn append(&self, iova: Iova, len_bytes: usize, into: &mut Vec<u8>) -> Result<(), DmaFault> {
        let from = self.locate(iova, len_bytes, false)?;
        into.reserve(len_bytes);
        let len = into.len();
        // SAFETY: as in `read`; `reserve` made room for `len_bytes` behind `len`, and exactly these bytes are written before the length covers them.
        unsafe {
            from.as_ptr().copy_to_nonoverlapping(into.as_mut_ptr().add(len), len_bytes);
            into.set_len(len + len_bytes);
        }
        Ok(())
    }

    /// Copies bytes to memory.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let to = self.locate(iova, from.len(), true)?;
        // SAFETY: as in `read`, with the direction reversed: the range is mapped, and `from` cannot overlap it.
        unsafe { to.as_ptr().copy_from_nonoverlapping(from.as_ptr(), from.len()) }
        Ok(())
    }

    /// Loads a 16-byte descriptor as two little-endian words.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load16(&self, iova: Iova) -> Result<[u64; 2], DmaFault> {
        let ptr = self.aligned(iova, 16, 16, false)?.cast::<u64>();
        // SAFETY: 16 bytes from `ptr` are mapped and aligned (checked above), and drivers access descriptors as aligned words too.
        let words = unsafe { [AtomicU64::from_ptr(ptr.as_ptr()), AtomicU64::from_ptr(ptr.add(1).as_ptr())] };
        Ok([u64::from_le(words[0].load(Ordering::Acquire)), u64::from_le(words[1].load(Ordering::Relaxed))])
    }

    /// Stores a 16-byte descriptor: the lower word first, then the upper one, which holds the status, with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store16(&self, iova: Iova, words: [u64; 2]) -> Result<(), DmaFault> {
        let ptr = self.aligned(iova, 16, 16, true)?.cast::<u64>();
        // SAFETY: as in `load16`.
        let to = unsafe { [AtomicU64::from_ptr(ptr.as_ptr()), AtomicU64::from_ptr(ptr.add(1).as_ptr())] };
        to[0].store(words[0].to_le(), Ordering::Relaxed);
        to[1].store(words[1].to_le(), Ordering::Release);
        Ok(())
    }

    /// Loads an aligned 8-byte word.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load8(&self, iova: Iova) -> Result<u64, DmaFault> {
        let ptr = self.aligned(iova, 8, 8, false)?.cast::<u64>();
        // SAFETY: 8 bytes from `ptr` are mapped and aligned.
        Ok(u64::from_le(unsafe { AtomicU64::from_ptr(ptr.as_ptr()) }.load(Ordering::Acquire)))
    }

    /// Stores an aligned 8-byte word with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store8(&self, iova: Iova, word: u64) -> Result<(), DmaFault> {
        let ptr = self.aligned(iova, 8, 8, true)?.cast::<u64>();
        // SAFETY: 8 bytes from `ptr` are mapped and aligned.
        unsafe { AtomicU64::from_ptr(ptr.as_ptr()) }.store(word.to_le(), Ordering::Release);
        Ok(())
    }

    /// Loads an aligned 4-byte word.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load4(&self, iova: Iova) -> Result<u32, DmaFault> {
        let ptr = self.aligned(iova, 4, 4, false)?.cast::<u32>();
        // SAFETY: 4 bytes from `ptr` are mapped and aligned.
        Ok(u32::from_le(unsafe { AtomicU32::from_ptr(ptr.as_ptr()) }.load(Ordering::Acquire)))
    }

    /// Loads an aligned 2-byte word.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load2(&self, iova: Iova) -> Result<u16, DmaFault> {
        let ptr = self.aligned(iova, 2, 2, false)?.cast::<u16>();
        // SAFETY: 2 bytes from `ptr` are mapped and aligned.
        Ok(u16::from_le(unsafe { AtomicU16::from_ptr(ptr.as_ptr()) }.load(Ordering::Acquire)))
    }

    /// Stores an aligned 2-byte word with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store2(&self, iova: Iova, word: u16) -> Result<(), DmaFault> {
        let ptr = self.aligned(iova, 2, 2, true)?.cast::<u16>();
        // SAFETY: 2 bytes from `ptr` are mapped and aligned.
        unsafe { AtomicU16::from_ptr(ptr.as_ptr()) }.store(word.to_le(), Ordering::Release);
        Ok(())
    }

    /// Stores an aligned 4-byte word with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store4(&self, iova: Iova, word: u32) -> Result<(), DmaFault> {
        let ptr = self.aligned(iova, 4, 4, true)?.cast::<u32>();
        // SAFETY: 4 bytes from `ptr` are mapped and aligned.
        unsafe { AtomicU32::from_ptr(ptr.as_ptr()) }.store(word.to_le(), Ordering::Release);
        Ok(())
    }
}
