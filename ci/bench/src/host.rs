//! The host's side of a stub: memory from the heap, a PCI function whose BAR is plain memory.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use driver_core::host::{
    Bar, BarError, Clock, DmaDomain, DmaError, DmaMapper, Doorbell, Interrupt, Iova, Mapping, PciError, PciErrorKind, PciFunction, RegSpace, Vectors,
};

/// Device addresses differ from pointers by this, so that a driver that confuses them fails at once.
const DISTANCE: u64 = 1 << 40;
const PAGE_BYTES: usize = 2 << 20;

/// Memory from the heap, aligned to huge pages.
struct Heap;

fn layout(len_bytes: usize) -> Layout {
    // Whole huge pages of at most a few gigabytes always make a layout.
    Layout::from_size_align(len_bytes, PAGE_BYTES).unwrap_or(Layout::new::<u8>())
}

// SAFETY: `map` gives zeroed heap memory of its own, which stays until `unmap`; the stub in this process is the only device.
unsafe impl DmaMapper for Heap {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let len_bytes = len_bytes.next_multiple_of(PAGE_BYTES);
        // SAFETY: the length is not zero.
        let Some(ptr) = NonNull::new(unsafe { alloc_zeroed(layout(len_bytes)) }) else { handle_alloc_error(layout(len_bytes)) };
        Ok(Mapping { ptr, iova: Iova(ptr.as_ptr().expose_provenance() as u64 + DISTANCE), len_bytes, page_bytes: PAGE_BYTES })
    }
    unsafe fn unmap(&self, mapping: Mapping) {
        // SAFETY: the caller's; the layout is the one of `map`.
        unsafe { dealloc(mapping.ptr.as_ptr(), layout(mapping.len_bytes)) }
    }
    fn name(&self) -> String {
        "the heap".into()
    }
}

/// A domain that stub cards share.
pub(crate) fn domain() -> DmaDomain {
    DmaDomain::new(Arc::new(Heap))
}

/// The memory that a device finds at `iova`.
pub(crate) fn device_ptr<T>(iova: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut((iova - DISTANCE) as usize)
}

/// Registers in plain memory. Reads of a few registers answer as a card would; everything else reads what was written.
#[derive(Clone)]
pub(crate) struct PlainBar {
    words: NonNull<u32>,
    len_bytes: usize,
    answer: Answer,
    /// Every register write but those through doorbells: offset and value.
    writes: Arc<Mutex<Vec<(u32, u32)>>>,
}

/// What a card answers to a read of the word at an offset.
type Answer = fn(&PlainBar, u32) -> u32;

// SAFETY: the memory is never freed, and all access to it is volatile and by one thread.
unsafe impl Send for PlainBar {}

impl PlainBar {
    /// `len_bytes` of zeros, never freed.
    pub(crate) fn new(len_bytes: usize, answer: Answer) -> Self {
        Self { words: NonNull::from(vec![0u32; len_bytes / 4].leak()).cast(), len_bytes, answer, writes: Arc::default() }
    }

    /// All that was written until now, in order.
    pub(crate) fn writes(&self) -> Vec<(u32, u32)> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores the low `width` bytes of `value`, and remembers it.
    fn store(&self, offset: u32, width: u32, value: u32) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).push((offset, value));
        let Some(at) = self.at(offset & !3) else { return };
        let shift = 8 * (offset & 3);
        let mask = (u32::MAX >> (32 - 8 * width)) << shift;
        let word = self.stored(offset & !3) & !mask | value << shift & mask;
        // SAFETY: `at` gives addresses inside the memory, aligned.
        unsafe { at.write_volatile(word) };
    }

    fn at(&self, offset: u32) -> Option<NonNull<u32>> {
        let inside = offset.is_multiple_of(4) && (offset as usize) < self.len_bytes;
        // SAFETY: the offset is inside the memory.
        inside.then(|| unsafe { self.words.byte_add(offset as usize) })
    }

    /// What the driver wrote.
    pub(crate) fn stored(&self, offset: u32) -> u32 {
        // SAFETY: `at` gives addresses inside the memory, aligned.
        self.at(offset).map_or(u32::MAX, |at| unsafe { at.read_volatile() })
    }
}

impl RegSpace for PlainBar {
    fn len_bytes(&self) -> usize {
        self.len_bytes
    }
    fn read8(&self, offset: u32) -> u8 {
        (self.read32(offset & !3) >> (8 * (offset & 3))) as u8
    }
    fn read16(&self, offset: u32) -> u16 {
        (self.read32(offset & !3) >> (8 * (offset & 2))) as u16
    }
    fn read32(&self, offset: u32) -> u32 {
        (self.answer)(self, offset)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.store(offset, 1, value.into());
    }
    fn write16(&self, offset: u32, value: u16) {
        self.store(offset, 2, value.into());
    }
    fn write32(&self, offset: u32, value: u32) {
        self.store(offset, 4, value);
    }
}

impl Bar for PlainBar {
    type Doorbell = PlainDoorbell;

    fn doorbell(&self, offset: u32) -> Result<PlainDoorbell, BarError> {
        self.at(offset).map(PlainDoorbell).ok_or(BarError::new(offset, self.len_bytes))
    }
}

/// One word of a [`PlainBar`].
pub(crate) struct PlainDoorbell(NonNull<u32>);

// SAFETY: as for `PlainBar`.
unsafe impl Send for PlainDoorbell {}

impl Doorbell for PlainDoorbell {
    #[inline(always)]
    fn ring(&self, value: u32) {
        // SAFETY: the address was validated, and the memory is never freed.
        unsafe { self.0.write_volatile(value) }
    }
    #[inline(always)]
    fn ring16(&self, value: u16) {
        // SAFETY: as above; the word is aligned for its half.
        unsafe { self.0.cast::<u16>().write_volatile(value) }
    }
}

/// A PCI function of the given id with one BAR.
pub(crate) struct StubFunction {
    dma: DmaDomain,
    bar: PlainBar,
    config: [u8; 256],
}

impl StubFunction {
    /// `capabilities` are the bytes of configuration space from 0x40 on.
    pub(crate) fn new((vendor, device): (u16, u16), capabilities: &[u8], bar: PlainBar, dma: &DmaDomain) -> Self {
        let mut config = [0; 256];
        config[..2].copy_from_slice(&vendor.to_le_bytes());
        config[2..4].copy_from_slice(&device.to_le_bytes());
        if !capabilities.is_empty() {
            // Status: there is a capability list, and it begins at 0x40.
            (config[0x06], config[0x34]) = (1 << 4, 0x40);
            config[0x40..][..capabilities.len()].copy_from_slice(capabilities);
        }
        Self { dma: dma.clone(), bar, config }
    }
}

/// A stub has no interrupts.
pub(crate) struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        std::thread::sleep(Duration::from_micros(timeout_us.unwrap_or(0)));
        Ok(0)
    }
}

// SAFETY: there is no hardware: the program itself plays the card, in the thread that runs the driver, and touches what the rings name.
unsafe impl PciFunction for StubFunction {
    type Bar = PlainBar;
    type Interrupt = NoInterrupt;

    fn name(&self) -> &'static str {
        "stub"
    }
    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        let bytes = self.config.iter().skip(offset.into()).take(width.into());
        Ok(bytes.rev().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
    unsafe fn config_write(&mut self, _offset: u16, _width: u8, _value: u32) -> Result<(), PciError> {
        Ok(())
    }
    unsafe fn open_bar(&mut self, _index: u8) -> Result<PlainBar, PciError> {
        Ok(self.bar.clone())
    }
    fn dma(&self) -> &DmaDomain {
        &self.dma
    }
    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        Ok(())
    }
    fn forbid_dma(&mut self) -> Result<(), PciError> {
        Ok(())
    }
    fn interrupt_count(&self) -> u16 {
        0
    }
    fn enable_interrupts(&mut self, _count: u16) -> Result<Vectors<NoInterrupt>, PciError> {
        Err(PciError::new("stub", "turning on interrupts", PciErrorKind::Missing("interrupts")))
    }
    fn reset(&mut self) -> Result<(), PciError> {
        Ok(())
    }
}

/// The time of this process. Waits are cut short: a stub answers at once.
pub(crate) struct HostClock(Instant);

impl HostClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for HostClock {
    fn now_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
    fn sleep_us(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us.min(10)));
    }
}
