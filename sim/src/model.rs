//! What a simulated card is, apart from how it is presented.

use std::any::Any;

use crate::dma::Dma;
use crate::mishap::Mishap;
use crate::msix::Msix;
use crate::slot::Slot;
use crate::wire::Wire;

/// Interrupts of a function without MSI-X.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "plain data: the two kinds of interrupt before MSI-X")]
pub struct Legacy {
    /// INTA# is asserted.
    pub intx: bool,
    /// An MSI message goes out.
    pub msi: bool,
}

/// One simulated PCI function with one network port.
///
/// A model knows nothing of threads or of who carries it: each call does a bounded piece of work. Models move data in [`Model::step`] only.
///
/// # Implementation safety
/// A model is the hardware of a driver in the same process, and drivers take memory back on its word. As sound hardware does, it accesses only memory that its
/// registers and the rings behind them name, while they name it: a buffer until it was reported as done, nothing of a queue that reads as disabled, nothing at
/// all after a reset or once it confirmed that it stopped. Slices that it passes to [`Dma`] are its own, and no memory of a driver.
pub unsafe trait Model: Any + Send {
    /// Reads `width` bytes (1, 2 or 4) of configuration space. Offsets are naturally aligned and below 4096.
    fn config_read(&mut self, slot: &Slot<'_>, offset: u16, width: u8) -> u32;

    /// Writes `width` bytes (1, 2 or 4) of configuration space.
    fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32);

    /// The size in bytes of BAR `index`, `None` where the function has no such memory BAR.
    fn bar_len_bytes(&self, index: u8) -> Option<usize>;

    /// Reads `width` bytes (1, 2, 4 or 8) of a BAR. The offset is naturally aligned and inside the BAR.
    fn bar_read(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8) -> u64;

    /// Writes `width` bytes (1, 2, 4 or 8) of a BAR.
    fn bar_write(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8, value: u64);

    /// Resets the function as a function-level reset does.
    fn reset(&mut self, slot: &Slot<'_>);

    /// Whether the function may start DMA: the PCI command register's bit 2.
    fn is_bus_master(&self) -> bool;

    /// The MSI-X table.
    fn msix(&mut self) -> &mut Msix;

    /// Interrupts without MSI-X: the level of INTA#, and whether a message became due since the last call. To be asked after each access and step.
    fn legacy(&mut self) -> Legacy {
        Legacy::default()
    }

    /// Lets something happen to the card, before its next step. `false`: a card of this kind cannot have it.
    fn suffer(&mut self, _mishap: Mishap) -> bool {
        false
    }

    /// Moves some frames and lets timers expire. Returns whether it did something: false means that nothing will happen before a register is
    /// written, a frame arrives, or [`Model::next_event_us`] has come.
    fn step(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool;

    /// Whether frames that arrived wait inside the card for the driver to make room.
    fn holds_frames(&self) -> bool {
        false
    }

    /// When the next timer expires, on the clock of [`Slot::now_us`].
    fn next_event_us(&self) -> Option<u64> {
        None
    }
}
