//! A PCI function that lies, over one that does not.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::host::bar::{Bar, BarError, RegSpace};
use crate::host::dma::DmaDomain;
use crate::host::pci::{PciError, PciErrorKind, PciFunction};
use crate::host::vectors::Vectors;

/// What a [`Lying`] function lies about.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Lies {
    /// Bits of registers of 32 bits that always read 1, and bits that always read 0.
    pub registers: HashMap<u32, (u32, u32)>,
    /// PCI vendor and device ID, as one word.
    pub id: Option<u32>,
    /// What registers of configuration space read as, by offset; `None`: reading fails.
    pub config: HashMap<u16, Option<u32>>,
    /// The size of every BAR in bytes.
    pub bar_len: Option<usize>,
    /// How many interrupt vectors there are.
    pub vectors: Option<u16>,
    /// No lie: whether DMA was allowed (`true`) or forbidden, oldest first.
    pub dma: Vec<bool>,
    /// No lie: how many reads and writes there were of registers, but for those by a doorbell. One of 64 bits is one.
    pub accesses: (usize, usize),
    /// No lie: which registers were read, by offset, in any BAR.
    pub registers_read: BTreeSet<u32>,
    /// No lie: writes of registers, oldest first: offset and value. None by a doorbell is among them.
    pub registers_written: Vec<(u32, u64)>,
    /// No lie: writes of configuration space by the driver itself, oldest first: offset, width in bytes, value.
    pub config_written: Vec<(u16, u8, u32)>,
}

impl Lies {
    fn note_read(&mut self, offset: u32) {
        self.accesses.0 += 1;
        self.registers_read.insert(offset);
    }

    fn note_write(&mut self, offset: u32, value: u64) {
        self.accesses.1 += 1;
        self.registers_written.push((offset, value));
    }
}

/// The lies, in the test's hands while the driver has the function.
#[derive(Debug, Clone, Default)]
pub struct Liar(Arc<Mutex<Lies>>);

impl Liar {
    /// All lies, to be changed.
    pub fn lies(&self) -> MutexGuard<'_, Lies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// From now on these bits of a register read 1, and no others of it are lied about.
    pub fn stick(&self, offset: u32, bits: u32) {
        self.lies().registers.insert(offset, (bits, 0));
    }
    /// From now on these bits of a register read 0, and no others of it are lied about.
    pub fn clear(&self, offset: u32, bits: u32) {
        self.lies().registers.insert(offset, (0, bits));
    }
    /// `function`, which lies from now on.
    pub fn over<F: PciFunction>(&self, function: F) -> Lying<F> {
        Lying { inner: function, liar: self.clone() }
    }
}

/// A PCI function that lies where its [`Liar`] says so, and tells what the one below says otherwise.
#[derive(Debug)]
pub struct Lying<F> {
    inner: F,
    liar: Liar,
}

// SAFETY: it passes on to a function that keeps the contract. What it makes up of registers and vectors makes a driver give up, wait or refuse; a test that has it
// say that a card which runs has stopped plays that card itself.
unsafe impl<F: PciFunction> PciFunction for Lying<F> {
    type Bar = LyingBar<F::Bar>;
    type Interrupt = F::Interrupt;

    fn name(&self) -> &str {
        self.inner.name()
    }
    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        match self.liar.lies().config.get(&offset) {
            Some(Some(value)) => return Ok(*value),
            Some(None) => return Err(PciError::new(self.name(), "reading configuration space", PciErrorKind::Gone)),
            None => {}
        }
        match (self.liar.lies().id, offset) {
            (Some(id), 0) => Ok(id & 0xffff),
            (Some(id), 2) => Ok(id >> 16),
            _ => self.inner.config_read(offset, width),
        }
    }
    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        self.liar.lies().config_written.push((offset, width, value));
        // SAFETY: the caller's.
        unsafe { self.inner.config_write(offset, width, value) }
    }
    unsafe fn open_bar(&mut self, index: u8) -> Result<Self::Bar, PciError> {
        // SAFETY: the caller's.
        let inner = unsafe { self.inner.open_bar(index) }?;
        Ok(LyingBar { inner, liar: self.liar.clone() })
    }
    fn dma(&self) -> &DmaDomain {
        self.inner.dma()
    }
    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        self.liar.lies().dma.push(true);
        // SAFETY: the caller's.
        unsafe { self.inner.allow_dma() }
    }
    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.liar.lies().dma.push(false);
        self.inner.forbid_dma()
    }
    fn interrupt_count(&self) -> u16 {
        self.liar.lies().vectors.unwrap_or_else(|| self.inner.interrupt_count())
    }
    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<Self::Interrupt>, PciError> {
        self.inner.enable_interrupts(count)
    }
    fn reset(&mut self) -> Result<(), PciError> {
        self.inner.reset()
    }
}

/// A BAR of a [`Lying`] function.
#[derive(Clone)]
pub struct LyingBar<B> {
    inner: B,
    liar: Liar,
}

impl<B: RegSpace> RegSpace for LyingBar<B> {
    fn len_bytes(&self) -> usize {
        self.liar.lies().bar_len.unwrap_or_else(|| self.inner.len_bytes())
    }
    fn read8(&self, offset: u32) -> u8 {
        self.liar.lies().note_read(offset);
        self.inner.read8(offset)
    }
    fn read16(&self, offset: u32) -> u16 {
        self.liar.lies().note_read(offset);
        self.inner.read16(offset)
    }
    fn read32(&self, offset: u32) -> u32 {
        self.liar.lies().note_read(offset);
        let (ones, zeros) = self.liar.lies().registers.get(&offset).copied().unwrap_or_default();
        (self.inner.read32(offset) | ones) & !zeros
    }
    fn read64(&self, offset: u32) -> u64 {
        self.liar.lies().note_read(offset);
        self.inner.read64(offset)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.liar.lies().note_write(offset, value.into());
        self.inner.write8(offset, value);
    }
    fn write16(&self, offset: u32, value: u16) {
        self.liar.lies().note_write(offset, value.into());
        self.inner.write16(offset, value);
    }
    fn write32(&self, offset: u32, value: u32) {
        self.liar.lies().note_write(offset, value.into());
        self.inner.write32(offset, value);
    }
    fn write64(&self, offset: u32, value: u64) {
        self.liar.lies().note_write(offset, value);
        self.inner.write64(offset, value);
    }
}

impl<B: Bar> Bar for LyingBar<B> {
    type Doorbell = B::Doorbell;

    fn doorbell(&self, offset: u32) -> Result<B::Doorbell, BarError> {
        self.inner.doorbell(offset)
    }
}

impl<B: RegSpace> fmt::Debug for LyingBar<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LyingBar({:#x} bytes)", self.len_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::bar::PlainBar;
    use crate::testing::function::FakeFunction;
    use crate::testing::memory::domain;

    #[test]
    fn what_it_lies_about_is_told_otherwise_and_nothing_else() {
        let (liar, bar) = (Liar::default(), PlainBar::new(16));
        let mut function = liar.over(FakeFunction::new("test", domain().0, bar.clone()).with_id(0x8086, 0x10fb).with_vectors(4));
        // SAFETY: there is no device.
        let below = unsafe { function.open_bar(0) }.unwrap();
        below.write32(4, 0xf0);
        assert_eq!((below.read32(4), below.len_bytes(), function.interrupt_count()), (0xf0, 16, 4));
        liar.stick(4, 0x101);
        assert_eq!(below.read32(4), 0x1f1);
        liar.clear(4, 0x30);
        assert_eq!((below.read32(4), bar.get(4)), (0xc0, 0xf0));
        {
            let mut lies = liar.lies();
            (lies.bar_len, lies.vectors, lies.id) = (Some(8), Some(1), Some(0x10d3_8086));
            lies.config.extend([(0xaa, Some(0x20)), (0xac, None)]);
        }
        assert_eq!((below.len_bytes(), function.interrupt_count(), function.id().unwrap().device), (8, 1, 0x10d3));
        assert_eq!((function.config_read(0xaa, 2), function.config_read(0xac, 2).unwrap_err().kind), (Ok(0x20), PciErrorKind::Gone));
        // SAFETY: there is no device.
        unsafe { function.allow_dma() }.unwrap();
        function.forbid_dma().unwrap();
        assert_eq!(liar.lies().dma, [true, false]);
        let (kept, lies) = (BTreeSet::from([4]), liar.lies());
        assert_eq!((lies.accesses, &lies.registers_read, lies.registers_written.as_slice()), ((3, 1), &kept, [(4, 0xf0)].as_slice()));
        assert_eq!(lies.config_written, []);
    }
}
