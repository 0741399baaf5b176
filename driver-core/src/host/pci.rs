//! One PCI function, wherever it comes from: kernel VFIO, a vfio-user socket, or a simulated card.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

use crate::host::bar::Bar;
use crate::host::dma::DmaDomain;
use crate::host::vectors::Vectors;

/// What a function says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: the ID registers of a function")]
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

/// The Command register of configuration space (PCI Local Bus Specification 3.0, 6.2.2).
const COMMAND: u16 = 0x04;
/// Command: the function answers accesses to its memory BARs.
const COMMAND_MEMORY: u32 = 1 << 1;
/// Command: the function does not assert INTx.
const COMMAND_INTX_DISABLE: u32 = 1 << 10;
/// What the Vendor ID register reads where there is no function.
const NO_VENDOR: u32 = 0xffff;
/// The same of class code and revision ID together: base class 0xff has no subclasses.
const NO_CLASS: u32 = 0xffff_ffff;
/// Where the header of configuration space ends and capabilities may lie.
const CAPABILITIES: core::ops::RangeInclusive<u16> = 0x40..=0xfc;

/// One PCI function that this process owns.
///
/// A driver lends memory to the device behind it and takes it back when the device is seen to be done. So whoever can write its registers can make it write
/// to any memory of its domain: [`open_bar`](Self::open_bar), [`config_write`](Self::config_write) and [`allow_dma`](Self::allow_dma) are unsafe, and who calls
/// them answers for what is written. Everything else is safe.
///
/// # Implementation safety
/// Drivers free memory on the word of this function. Whoever implements it vouches that
/// * **its registers are real:** configuration space and every BAR, with its clones and its doorbells, reach this very function. A read gives what the
///   function answered, or all ones or an error where nobody answers; a write arrives as it was made, after those made before it, or not at all where the
///   function is gone;
/// * **it is the only way to them:** while this object, a BAR or a doorbell of it lives, nothing else in reach of safe code drives the same function;
/// * **[`dma`](Self::dma) is its memory:** the addresses that this domain hands out lead the function where the domain says;
/// * **silence is silence:** when [`forbid_dma`](Self::forbid_dma) or [`reset`](Self::reset) returns `Ok`, the function starts no access to memory any more,
///   until `allow_dma`; after `reset` none is under way either, and it remembers nothing of the memory that it was lent;
/// * **gone is gone:** where a read of the vendor ID gives all ones, and no error, the function is not on its bus: it reaches no memory any more, and remembers
///   nothing of it should it come back. A host that cannot know that gives an error;
/// * **it ends well:** dropping it forbids DMA, and no memory of the domain goes to another use while the function could still reach it.
///
/// What no host can vouch for is the hardware itself. A device is trusted to access only memory that its registers and rings name, while they name it, and
/// none after it confirmed that it stopped. Everything that it *says* is checked: indexes, lengths, ids. Behind an IOMMU the harm that a worse device does
/// ends with its domain.
pub unsafe trait PciFunction: Send + 'static {
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
    /// # Safety
    /// As for [`PciFunction::open_bar`]: configuration space allows DMA, moves BARs, and in some devices leads to all other registers (virtio's PCI access
    /// window).
    ///
    /// # Errors
    /// As [`PciFunction::config_read`].
    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError>;

    /// Opens BAR `index` (0 to 5).
    ///
    /// # Safety
    /// Registers tell the device which memory to read and to write. What is written through the BAR, its clones and its doorbells makes the device access
    /// only memory of [`PciFunction::dma`] that was lent to it: no reference to these bytes exists, and they are neither freed nor used for anything else,
    /// until the device was seen to be done with them.
    ///
    /// # Errors
    /// [`PciError`] where the function has no such memory BAR or it cannot be mapped.
    unsafe fn open_bar(&mut self, index: u8) -> Result<Self::Bar, PciError>;

    /// The memory that this function can reach. Functions that share a domain see the same IOVAs.
    fn dma(&self) -> &DmaDomain;

    /// Lets the function do DMA (Bus Master Enable).
    ///
    /// # Safety
    /// What the function was told before, it does from now on: it was reset and told nothing, or all memory that its registers and rings name is lent to it
    /// as [`PciFunction::open_bar`] says.
    ///
    /// # Errors
    /// As [`PciFunction::config_write`].
    unsafe fn allow_dma(&mut self) -> Result<(), PciError>;

    /// Forbids DMA. What the function has under way it may still finish.
    ///
    /// # Errors
    /// As [`PciFunction::config_write`].
    fn forbid_dma(&mut self) -> Result<(), PciError>;

    /// How many MSI-X (or, failing that, MSI) vectors the function has.
    fn interrupt_count(&self) -> u16;

    /// Turns on `count` vectors, those of the numbers from 0 on. [`VectorPlan`](crate::host::VectorPlan) says how many a driver needs and what for.
    ///
    /// # Errors
    /// [`PciError`] where there are fewer, or they are on already.
    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<Self::Interrupt>, PciError>;

    /// Resets the function (function-level reset, or what the host has in its place). Afterwards registers answer as after power-on, DMA is forbidden, and
    /// nothing is left of what the function was told.
    ///
    /// The last resort of a driver whose device does not confirm that it stopped: after `Ok` what the device was lent may be used again.
    ///
    /// # Errors
    /// [`PciError`] where the host cannot: what the function does then is not known.
    fn reset(&mut self) -> Result<(), PciError>;

    /// Whether the function answers on its bus.
    fn is_present(&self) -> bool {
        answers(self) == Some(true)
    }

    /// Whether the host knows that the function is not on its bus any more: its vendor ID, or its class and revision, read all ones, which no function has (PCI
    /// Local Bus Specification 3.0, 6.2.1). Then it reaches no memory, and has forgotten all it was told when it comes back. Where the host itself cannot say, a
    /// read fails, and this is `false`.
    fn is_removed(&self) -> bool {
        answers(self) == Some(false)
    }

    /// Whether it answers accesses to its memory BARs (Command, bit 1); also `false` where that cannot be read.
    fn is_decoding(&self) -> bool {
        matches!(self.config_read(COMMAND, 2), Ok(command) if command & COMMAND_MEMORY != 0)
    }

    /// Lets the function answer accesses to its BARs, and keeps it from asserting INTx, which no driver of this family uses.
    ///
    /// # Errors
    /// As [`PciFunction::config_write`].
    fn enable_registers(&mut self) -> Result<(), PciError> {
        let command = self.config_read(COMMAND, 2)?;
        // SAFETY: of the Command register's bits two are set here, and neither makes a function access memory: it answers accesses, and asserts no INTx.
        // All others, Bus Master Enable among them, stay as they are.
        unsafe { self.config_write(COMMAND, 2, command | COMMAND_MEMORY | COMMAND_INTX_DISABLE) }
    }

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

    /// The offset of the first capability with `id`: in the whole list, or behind the one at the offset `after`.
    ///
    /// # Errors
    /// As [`PciFunction::config_read`]; [`PciErrorKind::Argument`] where no capability can lie at `after`, and [`PciErrorKind::Config`] where the list runs
    /// in a circle.
    fn find_capability(&self, id: u8, after: Option<u16>) -> Result<Option<u16>, PciError> {
        find_capability(
            id,
            after,
            |offset| Ok(self.config_read(offset, 1)? as u8),
            |kind| PciError::new(self.name(), "walking the capability list", kind),
        )
    }
}

/// Whether a function answers on its bus; `None` where the host cannot say.
///
/// The IDs alone do not tell: Linux' VFIO answers them from a copy of its own (`vfio_pci_config.c`, since virtual functions have none), and the class from the
/// function.
fn answers(function: &(impl PciFunction + ?Sized)) -> Option<bool> {
    let vendor = function.config_read(0x00, 2).ok()?;
    let class = function.config_read(0x08, 4).ok()?;
    Some(vendor != NO_VENDOR && class != NO_CLASS)
}

/// Walks the list of capabilities (PCI Local Bus Specification 3.0, 6.7). Each is its ID, and one byte further the pointer to the next, whose two lowest bits
/// are reserved.
fn find_capability(
    id: u8,
    after: Option<u16>,
    read: impl Fn(u16) -> Result<u8, PciError>,
    error: impl Fn(PciErrorKind) -> PciError,
) -> Result<Option<u16>, PciError> {
    /// The upper byte of the Status register has nothing to say of it.
    const STATUS: u16 = 0x06;
    const STATUS_CAPABILITIES: u8 = 1 << 4;
    const FIRST_POINTER: u16 = 0x34;
    let mut pointer = match after {
        None => FIRST_POINTER,
        Some(after) if CAPABILITIES.contains(&after) => after + 1,
        Some(_) => return Err(error(PciErrorKind::Argument("capabilities lie at offsets from 0x40 to 0xfc"))),
    };
    if read(STATUS)? & STATUS_CAPABILITIES == 0 {
        return Ok(None);
    }
    // 48 capabilities of 4 bytes fill the space behind the header: a longer list is a circle.
    for _ in 0..48 {
        let at = u16::from(read(pointer)? & 0xfc);
        if !CAPABILITIES.contains(&at) {
            return Ok(None);
        }
        if read(at)? == id {
            return Ok(Some(at));
        }
        pointer = at + 1;
    }
    Err(error(PciErrorKind::Config("the list runs in a circle")))
}

/// One interrupt vector.
///
/// A host that has descriptors for its vectors says so on its own type, by `std::os::fd::AsFd`. Whoever holds the trait object finds that type by
/// `downcast_ref`, for which the trait is [`Any`].
pub trait Interrupt: Any + Send {
    /// Waits until the vector fires, at most `timeout_us` (`None`: without limit), and takes what is pending.
    /// Returns how often it fired, 0 after a timeout and after a wait that was ended by [`Interrupt::waker`]. `wait(Some(0))` never sleeps: it acknowledges what a
    /// descriptor told, which is not readable any more then.
    ///
    /// # Errors
    /// [`PciError`] where the function is gone.
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError>;

    /// What ends the waits of this vector from elsewhere; `None` where the host has no such thing.
    ///
    /// # Errors
    /// [`PciError`] where the host has none left.
    fn waker(&mut self) -> Result<Option<Arc<dyn WaitWaker>>, PciError> {
        Ok(None)
    }
}

impl<I: Interrupt + ?Sized> Interrupt for Box<I> {
    fn wait(&mut self, timeout_us: Option<u64>) -> Result<u64, PciError> {
        (**self).wait(timeout_us)
    }
    fn waker(&mut self) -> Result<Option<Arc<dyn WaitWaker>>, PciError> {
        (**self).waker()
    }
}

/// Ends the waits of one interrupt vector, from any thread: see [`Interrupt::waker`].
pub trait WaitWaker: Send + Sync {
    /// Ends the wait under way, or the next one, as if its time were over. Never blocks, and may be called by a signal handler.
    fn wake(&self);
}

/// What went wrong with a PCI function: what was tried, on what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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
            PciErrorKind::Gone => {
                f.write_str("the function does not answer any more: it was unplugged, its host has reset it, or its server has gone")
            }
            PciErrorKind::Host(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for PciError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(config: &[u8; 256], id: u8, after: Option<u16>) -> Result<Option<u16>, PciErrorKind> {
        let read = |offset: u16| Ok(config[usize::from(offset)]);
        find_capability(id, after, read, |kind| PciError::new("", "", kind)).map_err(|error| error.kind)
    }

    /// Configuration space with capabilities of these IDs, each at its offset.
    fn with(capabilities: &[(u8, u8)]) -> [u8; 256] {
        let mut config = [0; 256];
        config[0x06] = 1 << 4;
        let mut pointer = 0x34;
        for &(id, at) in capabilities {
            config[pointer] = at;
            config[usize::from(at)] = id;
            pointer = usize::from(at) + 1;
        }
        config
    }

    #[test]
    fn capabilities_are_found_one_after_the_other() {
        let mut config = with(&[(9, 0x50), (5, 0xfc), (9, 0x40)]);
        assert_eq!(
            [None, Some(0x50), Some(0xfc), Some(0x40)].map(|after| find(&config, 9, after)),
            [Ok(Some(0x50)), Ok(Some(0x40)), Ok(Some(0x40)), Ok(None)]
        );
        assert_eq!(find(&config, 5, None), Ok(Some(0xfc)));
        config[0x41] = 0x50;
        assert_eq!(find(&config, 0x11, None), Err(PciErrorKind::Config("the list runs in a circle")));
        config[0x06] = !(1 << 4);
        assert_eq!(find(&config, 9, None), Ok(None), "there is no list");
    }

    #[test]
    fn no_capability_lies_in_the_header_or_beyond_the_first_256_bytes() {
        for after in [0, 1, 0x34, 0x3f, 0xfd, 0xff, 0x100, 0xfffe, u16::MAX] {
            assert!(matches!(find(&with(&[(9, 0x40)]), 9, Some(after)), Err(PciErrorKind::Argument(_))), "{after:#x}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_arguments_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 256), id: u8, after: Option<u16>) {
            let config = bytes.try_into().unwrap();
            if let Ok(Some(at)) = find(&config, id, after) {
                prop_assert!(CAPABILITIES.contains(&at) && config[usize::from(at)] == id);
            }
        }
    }
}
