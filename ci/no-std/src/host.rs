//! The host's side without std: memory from a fixed block, a PCI function that is not there, a panic that stops.

use alloc::string::String;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use driver_core::host::{
    Bar, BarError, Clock, DmaDomain, DmaError, DmaMapper, Doorbell, Interrupt, Iova, Mapping, PciError, PciErrorKind, PciFunction, RegSpace, Vectors,
};

const ARENA_BYTES: usize = 1 << 20;

/// Hands out memory from one block and never takes it back.
struct Arena {
    block: UnsafeCell<[u8; ARENA_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: `take` gives every byte of the block to one caller only, since `used` grows atomically.
unsafe impl Sync for Arena {}

impl Arena {
    fn take(&self, len_bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let base = self.block.get().cast::<u8>();
        let start = self.used.fetch_add(len_bytes + align, Ordering::Relaxed);
        let skip = base.wrapping_add(start).align_offset(align);
        if start + len_bytes + align > ARENA_BYTES {
            return None;
        }
        NonNull::new(base.wrapping_add(start + skip))
    }
}

#[global_allocator]
static ARENA: Arena = Arena { block: UnsafeCell::new([0; ARENA_BYTES]), used: AtomicUsize::new(0) };

// SAFETY: `take` gives aligned memory that nothing else uses, or null; nothing is ever used again.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size(), layout.align()).map_or(null_mut(), NonNull::as_ptr)
    }
    unsafe fn dealloc(&self, _ptr: *mut u8, _layout: Layout) {}
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// DMA memory from the same block; the device would see it at its address.
pub struct Memory;

// SAFETY: the block is static, zeroed and handed out once; there is no device.
unsafe impl DmaMapper for Memory {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let len_bytes = len_bytes.next_multiple_of(4096);
        let ptr = ARENA.take(len_bytes, 4096).ok_or_else(|| DmaError::new(len_bytes, self.name(), "the static block is used up"))?;
        Ok(Mapping { ptr, iova: Iova(ptr.as_ptr() as u64), len_bytes, page_bytes: 4096 })
    }
    unsafe fn unmap(&self, _mapping: Mapping) {}
    fn name(&self) -> String {
        "static memory".into()
    }
}

/// A BAR behind which there is nothing: reads give all ones, writes are lost.
#[derive(Clone)]
pub struct NoBar;

impl RegSpace for NoBar {
    fn len_bytes(&self) -> usize {
        0
    }
    fn read8(&self, _offset: u32) -> u8 {
        !0
    }
    fn read16(&self, _offset: u32) -> u16 {
        !0
    }
    fn read32(&self, _offset: u32) -> u32 {
        !0
    }
    fn read64(&self, _offset: u32) -> u64 {
        !0
    }
    fn write8(&self, _offset: u32, _value: u8) {}
    fn write16(&self, _offset: u32, _value: u16) {}
    fn write32(&self, _offset: u32, _value: u32) {}
    fn write64(&self, _offset: u32, _value: u64) {}
}

impl Bar for NoBar {
    type Doorbell = NoBar;

    fn doorbell(&self, offset: u32) -> Result<NoBar, BarError> {
        Err(BarError::new(offset, 0))
    }
}

impl Doorbell for NoBar {
    fn ring(&self, _value: u32) {}
    fn ring16(&self, _value: u16) {}
}

/// A clock that every look and every sleep moves on, so that each wait ends.
#[derive(Default)]
pub struct Ticks(AtomicUsize);

impl Clock for Ticks {
    fn now_us(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) as u64
    }
    fn sleep_us(&self, us: u64) {
        self.0.fetch_add(us as usize, Ordering::Relaxed);
    }
}

/// An interrupt line that never fires.
pub struct Line;

impl Interrupt for Line {
    fn wait(&mut self, _timeout_us: Option<u64>) -> Result<u64, PciError> {
        Ok(0)
    }
}

/// A PCI function whose configuration space reads as zero.
pub struct Card(DmaDomain);

impl Card {
    pub fn new(domain: DmaDomain) -> Self {
        Self(domain)
    }
}

// SAFETY: there is no hardware that would access memory.
unsafe impl PciFunction for Card {
    type Bar = NoBar;
    type Interrupt = Line;

    fn name(&self) -> &str {
        "card"
    }
    fn config_read(&self, _offset: u16, _width: u8) -> Result<u32, PciError> {
        Ok(0)
    }
    unsafe fn config_write(&mut self, _offset: u16, _width: u8, _value: u32) -> Result<(), PciError> {
        Ok(())
    }
    unsafe fn open_bar(&mut self, _index: u8) -> Result<NoBar, PciError> {
        Ok(NoBar)
    }
    fn dma(&self) -> &DmaDomain {
        &self.0
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
    fn enable_interrupts(&mut self, _count: u16) -> Result<Vectors<Line>, PciError> {
        Err(PciError::new("card", "turning on interrupts", PciErrorKind::Missing("interrupt vector")))
    }
    fn reset(&mut self) -> Result<(), PciError> {
        Ok(())
    }
}
