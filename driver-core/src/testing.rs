//! What the tests of this crate share: DMA memory from the heap, with device addresses that are no pointers.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::string::String;
use alloc::sync::Arc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use proptest::test_runner::Config as ProptestConfig;

use crate::host::dma::{DmaDomain, DmaError, DmaMapper, Iova, Mapping};

/// How far a device address lies from the pointer.
const DISTANCE: u64 = 0x55_0000_0000_0000;

/// What one mapping may have at most.
const MOST_BYTES: usize = 1 << 30;

/// Counts the mappings that are alive.
#[derive(Default)]
pub(crate) struct HeapMapper {
    pub(crate) alive: AtomicUsize,
}

fn layout(len_bytes: usize) -> Layout {
    Layout::from_size_align(len_bytes, 4096).expect("a small layout")
}

// SAFETY: `map` gives zeroed heap memory of its own, which stays until `unmap`; there is no device.
unsafe impl DmaMapper for HeapMapper {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let refused = |why: &str| DmaError { len_bytes, domain: self.name(), why: why.into() };
        if len_bytes > MOST_BYTES {
            return Err(refused("a test asks for less than 1 GiB"));
        }
        let len_bytes = len_bytes.next_multiple_of(4096).max(4096);
        // SAFETY: the length is not zero.
        let ptr = NonNull::new(unsafe { alloc_zeroed(layout(len_bytes)) }).ok_or_else(|| refused("no memory is left"))?;
        self.alive.fetch_add(1, Ordering::SeqCst);
        // The test that plays the device finds the memory by an integer.
        let iova = Iova((ptr.as_ptr().expose_provenance() as u64).wrapping_add(DISTANCE));
        Ok(Mapping { ptr, iova, len_bytes, page_bytes: 4096 })
    }
    unsafe fn unmap(&self, mapping: Mapping) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: the caller's; the layout is the one of `map`.
        unsafe { dealloc(mapping.ptr.as_ptr(), layout(mapping.len_bytes)) }
    }
    fn name(&self) -> String {
        "heap".into()
    }
}

/// The memory that a device finds at `iova`.
pub(crate) fn device_ptr(iova: Iova) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(iova.0.wrapping_sub(DISTANCE) as usize)
}

/// A domain, and the mapper behind it.
pub(crate) fn domain() -> (DmaDomain, Arc<HeapMapper>) {
    let mapper = Arc::new(HeapMapper::default());
    (DmaDomain::new(mapper.clone()), mapper)
}

/// How many random cases a test looks at: what PROPTEST_CASES says. Without it few under Miri, which is some hundred times slower; nor does it let tests
/// write files.
pub(crate) fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    if !cfg!(miri) {
        return config;
    }
    let cases = std::env::var("PROPTEST_CASES").map_or(4, |_| config.cases);
    ProptestConfig { cases, failure_persistence: None, ..config }
}
