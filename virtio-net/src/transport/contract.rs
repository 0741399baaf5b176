//! The verbs of a transport.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::convert::Infallible;
use core::ops::ControlFlow;

use driver_core::device::{ErrorKind, Flaw};
use driver_core::host::{Bar, Clock, Doorbell, Interrupt, Iova, PciFunction, RegSpace};
use driver_core::reg::{Pace, Pure, Reg, RegValue, look_until};

use super::selected::Selected;
use super::structure::Structure;
use crate::error::HardwareError;
use crate::regs::{Features, Status, notify};

/// For how long a device configuration that changes at every look is looked at again, in microseconds: enough for any number of changes that a person makes.
const CONFIG_LIMIT_US: u64 = 50_000;

/// How one queue is notified (4.1.5.2).
pub(crate) enum Notify<F: PciFunction> {
    /// By 16 bits, which name it.
    Plain(NotifyAt<F>, u16),
    /// By 32 bits, which name it (4.2.3.3).
    Wide(NotifyAt<F>, u16),
    /// By 32 bits: those, and how far the queue is (VIRTIO_F_NOTIFICATION_DATA).
    WithNext(NotifyAt<F>, u16),
}

/// Where it is notified.
pub(crate) enum NotifyAt<F: PciFunction> {
    /// One posted store.
    Doorbell(<F::Bar as Bar>::Doorbell),
    /// Where no doorbell can be had: an address that is not aligned to four bytes, or no mapped BAR.
    Register(Structure<F>),
}

impl<F: PciFunction> NotifyAt<F> {
    #[inline(always)]
    fn ring(&self, value: u32) {
        match self {
            Self::Doorbell(doorbell) => doorbell.ring(value),
            Self::Register(structure) => notify::QUEUE_NOTIFY_NEXT.write(structure, value),
        }
    }
}

impl<F: PciFunction> Notify<F> {
    /// Notifies the device, which `next` tells of how far the queue is where it wants to know: next_off in the low 15 bits, next_wrap above (2.9).
    #[inline(always)]
    pub(crate) fn ring(&self, next: impl FnOnce() -> u16) {
        match self {
            Self::Plain(NotifyAt::Doorbell(doorbell), name) => doorbell.ring16(*name),
            Self::Plain(NotifyAt::Register(structure), name) => notify::QUEUE_NOTIFY.write(structure, *name),
            Self::Wide(at, name) => at.ring((*name).into()),
            Self::WithNext(at, name) => at.ring(u32::from(*name) | u32::from(next()) << 16),
        }
    }
}

/// A device's registers, by what they are for. Whoever needs them elsewhere too takes [`another`](Self::another) handle.
///
/// Queues are named by their index, whatever else is selected.
pub(crate) trait Transport<F: PciFunction>: Send {
    /// The device's name, for what is logged.
    fn name(&self) -> &str;
    fn clock(&self) -> &Arc<dyn Clock>;
    /// Another handle to the same device.
    fn another(&self) -> Box<dyn Transport<F>>;

    fn status(&self) -> Status;
    /// Adds bits to the status. "The driver MUST NOT clear a device status bit" (2.1.1).
    fn add_status(&self, bits: Status);
    /// Resets the device. When it returns `Ok`, the device has said that it is reset, and uses no memory any more (2.4.1).
    ///
    /// # Errors
    /// Where it does not say so in time.
    fn reset(&self) -> Result<(), ErrorKind>;

    /// The features that are offered.
    fn offered(&self) -> Features;
    /// Features that only other transports have the registers for: they are not accepted.
    fn lacks(&self) -> Features {
        Features::empty()
    }
    /// Writes those that are accepted.
    fn accept(&self, features: Features);

    /// The device configuration as it stands. What it holds may change between two reads: [`config`](#method.config) is for values that belong together.
    fn device_config(&self) -> &dyn RegSpace;
    /// Calls `look` until the device configuration was the same before and after (2.5.1).
    ///
    /// # Errors
    /// [`HardwareError::ConfigUnstable`]
    fn steady(&self, look: &mut dyn FnMut()) -> Result<(), ErrorKind>;

    /// A vector of the function as its owner is to wait for it.
    fn interrupt(&self, vector: F::Interrupt) -> Box<dyn Interrupt> {
        Box::new(vector)
    }
    /// Gives changes of the configuration a vector, or none. Whether the device took it.
    fn set_config_vector(&self, vector: Option<u16>) -> bool;

    /// The largest size of a queue in descriptors, as the device has it after a reset; 0: no such queue.
    fn queue_size(&self, queue: u16) -> u16;
    /// Sets the size, and where the descriptor area, the driver's area and the device's area are.
    fn place_queue(&self, queue: u16, size: u16, areas: [Iova; 3]);
    /// Gives a queue a vector, or none. Whether the device took it (4.1.5.1.2).
    fn set_queue_vector(&self, queue: u16, vector: Option<u16>) -> bool;
    /// Lets the device use a queue, when all else of it is set up.
    fn enable_queue(&self, queue: u16);
    /// Whether the device uses a queue, by its own word.
    fn is_enabled(&self, queue: u16) -> bool;
    /// What all handles to the device agree on of its queues.
    fn selected(&self) -> &Selected;
    /// Tells a live device to reset a queue alone, and waits until it says that it is over.
    ///
    /// # Errors
    /// Where it does not say so in time, or is not live.
    fn ask_for_queue_reset(&self, queue: u16) -> Result<(), ErrorKind>;
    /// Resets a queue of a live device alone (VIRTIO_F_RING_RESET). When it returns `Ok`, the device has said that it uses nothing of the queue any more, and the queue may be
    /// set up again.
    ///
    /// # Errors
    /// Those of [`Transport::ask_for_queue_reset`]; where the queue is enabled all the same.
    fn reset_queue(&self, queue: u16) -> Result<(), ErrorKind> {
        self.ask_for_queue_reset(queue)?;
        if self.is_enabled(queue) { Err(HardwareError::QueueNotReset { index: queue }.into()) } else { Ok(()) }
    }
    /// Whether the last that was done to a queue of a live device was to reset it alone.
    fn was_reset(&self, queue: u16) -> bool {
        self.selected().was_reset(queue)
    }
    /// How a queue is notified, by the `features` that were negotiated.
    ///
    /// # Errors
    /// Where its address lies outside of what the device has, or is not aligned.
    fn notify(&self, queue: u16, features: Features) -> Result<Notify<F>, ErrorKind>;

    /// That registers keep what is written to them, for a device that was reset and greeted: those of features, then, behind FEATURES_OK with `features`, those
    /// of `queues`. Returns what was seen.
    ///
    /// # Errors
    /// [`Flaw`]: what does not.
    fn test_registers(&self, features: Features, queues: &[u16]) -> Result<String, Flaw>;
}

impl<F: PciFunction> dyn Transport<F> + '_ {
    /// 2.5.1: "Drivers MUST NOT assume reads from fields greater than 32 bits wide are atomic, nor are reads from multiple fields": what `read` reads
    /// is taken only where the configuration is the same before and after.
    pub(crate) fn config<T>(&self, read: impl Fn(&dyn RegSpace) -> T) -> Result<T, ErrorKind> {
        let mut value = None;
        self.steady(&mut || value = Some(read(self.device_config())))?;
        Ok(value.unwrap_or_else(|| read(self.device_config())))
    }

    /// Whether the device configuration has `needed_bytes`.
    pub(crate) fn check_device_len(&self, needed_bytes: u32) -> Result<(), ErrorKind> {
        let len_bytes = self.device_config().len_bytes() as u32;
        if len_bytes < needed_bytes {
            return Err(HardwareError::Structure { structure: "device configuration", len_bytes, needed_bytes }.into());
        }
        Ok(())
    }
}

/// [`Transport::steady`] by a register that moves with the configuration.
pub(super) fn steady_by<T: RegValue + PartialEq, M: Pure>(
    generation: Reg<T, M>,
    space: &impl RegSpace,
    clock: &dyn Clock,
    look: &mut dyn FnMut(),
) -> Result<(), ErrorKind> {
    let both = || {
        let before = generation.read(space);
        look();
        let after = generation.read(space);
        Ok::<_, Infallible>(if after == before { ControlFlow::Break(()) } else { ControlFlow::Continue(after) })
    };
    let Ok(outcome) = look_until(generation, "the device configuration to stay the same", clock, Pace::within(CONFIG_LIMIT_US), both);
    outcome.map_err(|wait| HardwareError::ConfigUnstable { wait }.into())
}
