//! One PCI function, wherever it comes from: kernel VFIO, a vfio-user socket, or a simulated card.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::host::bar::Bar;
use crate::host::dma::DmaDomain;
use crate::host::vectors::Vectors;

/// What a function says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciId {
    /// Vendor ID (configuration offset 0x00).
    pub vendor: u16,
    /// Device ID (0x02).
    pub device: u16,
    /// Revision (0x08).
    pub revision: u8,
    /// Class code, 24 bits: base class, subclass, interface (0x09).
    pub class: u32,
    /// Subsystem vendor ID (0x2c).
    pub subsystem_vendor: u16,
    /// Subsystem ID (0x2e).
    pub subsystem: u16,
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// One PCI function that this process owns.
///
/// Dropping it turns bus mastering off before its memory mappings go.
pub trait PciFunction: Send + 'static {
    /// Register access, monomorphised into the driver.
    type Bar: Bar;
    /// One interrupt vector.
    type Interrupt: Interrupt;

    /// How a person names it: `0000:01:00.0`, `sim:ixgbe`.
    fn name(&self) -> &str;

    /// Reads `width` bytes (1, 2 or 4) of configuration space at `offset`, little endian, in the low bits.
    ///
    /// # Errors
    /// [`PciError`] where the offset is outside configuration space or the function is gone.
    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError>;

    /// Writes `width` bytes (1, 2 or 4) of configuration space.
    ///
    /// # Errors
    /// As [`PciFunction::config_read`].
    fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError>;

    /// Opens BAR `index` (0 to 5).
    ///
    /// # Errors
    /// [`PciError`] where the function has no such memory BAR or it cannot be mapped.
    fn open_bar(&mut self, index: u8) -> Result<Self::Bar, PciError>;

    /// The memory that this function can reach. Functions that share a domain see the same IOVAs.
    fn dma(&self) -> &DmaDomain;

    /// Lets the function start DMA, or forbids it.
    ///
    /// # Errors
    /// As [`PciFunction::config_write`].
    fn set_bus_master(&mut self, on: bool) -> Result<(), PciError>;

    /// How many MSI-X (or, failing that, MSI) vectors the function has.
    fn interrupt_count(&self) -> u16;

    /// Turns on `count` vectors, those of the numbers from 0 on. [`VectorPlan`](crate::host::VectorPlan) says how many a driver needs and what for.
    ///
    /// # Errors
    /// [`PciError`] where there are fewer, or they are on already.
    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<Self::Interrupt>, PciError>;

    /// Resets the function (function-level reset, or what the host has in its place).
    ///
    /// # Errors
    /// [`PciError`] where the host cannot.
    fn reset(&mut self) -> Result<(), PciError>;

    /// The ID registers of configuration space.
    ///
    /// # Errors
    /// As [`PciFunction::config_read`].
    fn id(&self) -> Result<PciId, PciError> {
        Ok(PciId {
            vendor: self.config_read(0x00, 2)? as u16,
            device: self.config_read(0x02, 2)? as u16,
            revision: self.config_read(0x08, 1)? as u8,
            class: self.config_read(0x08, 4)? >> 8,
            subsystem_vendor: self.config_read(0x2c, 2)? as u16,
            subsystem: self.config_read(0x2e, 2)? as u16,
        })
    }

    /// The offset of the first capability with `id` after the one at `after` (0: from the start of the list).
    ///
    /// # Errors
    /// As [`PciFunction::config_read`]; and [`PciErrorKind::Config`] where the list runs in a circle.
    fn find_capability(&self, id: u8, after: u16) -> Result<Option<u16>, PciError> {
        const STATUS_CAPABILITIES: u32 = 1 << 4;
        if self.config_read(0x06, 2)? & STATUS_CAPABILITIES == 0 {
            return Ok(None);
        }
        let mut at = self.config_read(if after == 0 { 0x34 } else { after + 1 }, 1)? as u16 & 0xfc;
        // 48 capabilities of 4 bytes fill the space behind the header: a longer list is a circle.
        for _ in 0..48 {
            if at < 0x40 {
                return Ok(None);
            }
            if self.config_read(at, 1)? as u8 == id {
                return Ok(Some(at));
            }
            at = self.config_read(at + 1, 1)? as u16 & 0xfc;
        }
        Err(PciError::new(self.name(), "walking the capability list", PciErrorKind::Config("the list runs in a circle")))
    }
}

/// One interrupt vector.
pub trait Interrupt: Send + 'static {
    /// Waits until the vector fires, at most `timeout_us` (`None`: without limit), and takes what is pending.
    /// Returns how often it fired, 0 after a timeout.
    ///
    /// # Errors
    /// [`PciError`] where the function is gone.
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError>;

    /// A file descriptor that becomes readable when the vector fires, for `epoll` and its kin; `None` where the host has no such thing. It is the
    /// vector's own: to be watched, and neither read nor closed.
    fn raw_fd(&self) -> Option<i32> {
        None
    }
}

impl<I: Interrupt + ?Sized> Interrupt for Box<I> {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        (**self).wait(timeout_us)
    }
    fn raw_fd(&self) -> Option<i32> {
        (**self).raw_fd()
    }
}

/// What went wrong with a PCI function: what was tried, on what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciError {
    /// The function's name.
    pub function: String,
    /// What was tried.
    pub tried: String,
    /// Why it failed.
    pub kind: PciErrorKind,
}

/// Why an operation on a PCI function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PciErrorKind {
    /// The function has no such BAR, vector or capability.
    Missing(&'static str),
    /// Configuration space makes no sense.
    Config(&'static str),
    /// An argument is out of range.
    Argument(&'static str),
    /// The function does not answer any more.
    Gone,
    /// The operating system said no: its words, and what to do next.
    Host(String),
}

impl PciError {
    /// An error about `function`.
    pub fn new(function: &str, tried: &str, kind: PciErrorKind) -> Self {
        Self { function: function.into(), tried: tried.into(), kind }
    }
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.function, self.tried)?;
        match &self.kind {
            PciErrorKind::Missing(what) => write!(f, "the function has no {what}"),
            PciErrorKind::Config(what) => write!(f, "configuration space is wrong: {what}"),
            PciErrorKind::Argument(what) => f.write_str(what),
            PciErrorKind::Gone => f.write_str("the function does not answer any more (unplugged or reset by the host)"),
            PciErrorKind::Host(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for PciError {}
