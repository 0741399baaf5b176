//! DMA memory from the heap.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::string::String;
use alloc::sync::Arc;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::host::dma::{DmaDomain, DmaError, DmaMapper, Iova, Mapping};

/// How far a device address lies from the pointer: what confuses the two is found at once.
const DISTANCE: u64 = 0x55_0000_0000_0000;
const PAGE_BYTES: usize = 4096;
/// What one mapping may have at most: a test that asks for more wants to see it refused.
const MOST_BYTES: usize = 1 << 30;

/// Maps zeroed memory of the heap, at most 1 GiB at once, for a device that is played by the test. Counts the mappings that are alive.
#[derive(Debug, Default)]
pub struct HeapMapper {
    pub(crate) alive: AtomicUsize,
}

impl HeapMapper {
    /// How many mappings are alive.
    pub fn live_mappings(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// Reads what a device finds at `iova`.
    ///
    /// # Safety
    /// All of it lies in one mapping of a `HeapMapper` that is alive, and nobody writes there meanwhile: it is the device's now, or everybody's who
    /// looks, as a frame's data are.
    pub unsafe fn read(&self, iova: Iova, to: &mut [u8]) {
        // SAFETY: the caller's; `to` is borrowed for writing, so it is no part of what is read.
        unsafe { device_ptr(iova).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) }
    }

    /// Writes to where a device finds `iova`.
    ///
    /// # Safety
    /// All of it lies in one mapping of a `HeapMapper` that is alive, and it is the device's now: a descriptor, or a buffer that was lent. No
    /// reference to it lives.
    pub unsafe fn write(&self, iova: Iova, from: &[u8]) {
        // SAFETY: the caller's; no reference reaches what is written, so `from` is no part of it.
        unsafe { device_ptr(iova).copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }
}

fn layout(len_bytes: usize) -> Option<Layout> {
    Layout::from_size_align(len_bytes, PAGE_BYTES).ok()
}

// SAFETY: `map` gives zeroed heap memory of its own, which stays until `unmap`. There is no device but who calls the unsafe functions above.
unsafe impl DmaMapper for HeapMapper {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let refused = |why: &str| DmaError { len_bytes, domain: self.name(), why: why.into() };
        if len_bytes > MOST_BYTES {
            return Err(refused("a mapping of a test has 1 GiB at most"));
        }
        let len_bytes = len_bytes.next_multiple_of(PAGE_BYTES).max(PAGE_BYTES);
        let memory = layout(len_bytes).and_then(|layout| {
            // SAFETY: the length is not zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        });
        let ptr = memory.ok_or_else(|| refused("no memory is left"))?;
        self.alive.fetch_add(1, Ordering::SeqCst);
        // The test that plays the device finds the memory by an integer.
        let iova = Iova((ptr.as_ptr().expose_provenance() as u64).wrapping_add(DISTANCE));
        Ok(Mapping { ptr, iova, len_bytes, page_bytes: PAGE_BYTES })
    }
    unsafe fn unmap(&self, mapping: Mapping) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        if let Some(layout) = layout(mapping.len_bytes) {
            // SAFETY: the caller's; the layout is the one of `map`.
            unsafe { dealloc(mapping.ptr.as_ptr(), layout) }
        }
    }
    fn name(&self) -> String {
        "heap".into()
    }
}

/// The memory that a device finds at `iova`, which a [`HeapMapper`] gave. Whoever uses the pointer plays the device, and keeps to what is its own:
/// descriptors, and buffers that were lent.
pub fn device_ptr(iova: Iova) -> *mut u8 {
    ptr::with_exposed_provenance_mut(iova.0.wrapping_sub(DISTANCE) as usize)
}

/// A domain, and the mapper behind it.
pub fn domain() -> (DmaDomain, Arc<HeapMapper>) {
    let mapper = Arc::new(HeapMapper::default());
    (DmaDomain::new(mapper.clone()), mapper)
}
