//! The in-process adapter: a model with its wire, stepped by hand or on a thread of its own.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use driver_core::host::DmaDomain;

use crate::chassis::Chassis;
use crate::clock::Clocked;
use crate::function::SimFunction;
use crate::iommu::Iommu;
use crate::model::Model;
use crate::violation::Violation;
use crate::wire::{Wire, WireError};

/// A model in this process, with its wire and its IOMMU. Cloning gives another handle to the same device.
///
/// As made it stands still: [`SimDevice::step`] moves it in the caller's thread, deterministically; [`SimDevice::step_by`] lets the calls of its program do that;
/// [`SimDevice::run`] moves it on a thread of its own.
#[derive(Clone)]
pub struct SimDevice {
    chassis: Arc<Chassis>,
}

impl fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDevice({})", self.chassis.name)
    }
}

impl SimDevice {
    /// A device that a person calls `name`. Devices with the same `iommu` share one DMA domain.
    ///
    /// # Panics
    /// Where the process may open no more file descriptors (each device takes one for each interrupt vector, and one more).
    pub fn new(name: &str, model: Box<dyn Model>, wire: Box<dyn Wire>, iommu: Arc<Iommu>) -> Self {
        Self::try_new(name, model, wire, iommu).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`SimDevice::new`].
    ///
    /// # Errors
    /// [`WireError::System`] where the process may open no more file descriptors.
    pub fn try_new(name: &str, model: Box<dyn Model>, wire: Box<dyn Wire>, iommu: Arc<Iommu>) -> Result<Self, WireError> {
        let made = Chassis::new(name, model, wire, iommu);
        let refused = |e: &io::Error| WireError::system("make its events", "simulated card", e, "raise the limit of open files (ulimit -n)");
        Ok(Self { chassis: Arc::new(made.map_err(|e| refused(&e))?) })
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.chassis.name
    }

    /// The function that a driver opens. Memory decoding is on, bus mastering is off, as a host leaves it for a user-space driver.
    ///
    /// # Panics
    /// Where it was given out before and is not gone yet, with its BARs and doorbells: two drivers of one card make it write where the other's frames are.
    pub fn function(&self) -> SimFunction {
        let function = SimFunction::claim(Arc::clone(&self.chassis));
        function.unwrap_or_else(|| panic!("{} has a driver: drop its function, its control handle and its queues first", self.name()))
    }

    /// One more function beside the one that a driver has, for tests that look at registers and misuse them. As any function it forbids DMA when it is
    /// dropped.
    ///
    /// # Safety
    /// What is done with it makes the card access no memory but such as is lent to it. No driver opens it while another one has buffers in the card's hands.
    pub unsafe fn another_function(&self) -> SimFunction {
        SimFunction::beside(Arc::clone(&self.chassis))
    }

    /// The memory that the device reaches.
    pub fn dma(&self) -> &DmaDomain {
        &self.chassis.domain
    }

    /// One step in the caller's thread; the card's clock advances by a microsecond. Returns whether the card did something.
    pub fn step(&self) -> bool {
        self.chassis.step(1)
    }

    /// Advances the card's clock by `us` and makes one step. Returns whether the card did something.
    pub fn advance_us(&self, us: u64) -> bool {
        self.chassis.step(us)
    }

    pub(crate) fn chassis(&self) -> &Arc<Chassis> {
        &self.chassis
    }

    /// Steps until the card has nothing to do, at most `limit` times. Returns the number of steps made.
    pub fn settle(&self, limit: usize) -> usize {
        (0..limit).find(|_| !self.step()).map_or(limit, |made| made + 1)
    }

    /// Moves the device on a thread of its own until the returned handle is stopped or dropped.
    ///
    /// # Panics
    /// Where the device runs already, or the process may start no thread.
    pub fn run(&self) -> Live {
        self.try_run().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`SimDevice::run`].
    ///
    /// # Errors
    /// [`WireError::System`] where the process may start no thread.
    ///
    /// # Panics
    /// Where the device runs already.
    pub fn try_run(&self) -> Result<Live, WireError> {
        assert!(self.chassis.go_live(), "{} runs already: stop the handle that its first run() or step_by() gave", self.name());
        let chassis = Arc::clone(&self.chassis);
        let thread = std::thread::Builder::new().name(self.name().into()).spawn(move || chassis.run());
        let thread = thread.map_err(|e| {
            self.chassis.rest();
            WireError::system("start its thread", "simulated card", &e, "raise the limit of processes (ulimit -u)")
        })?;
        Ok(Live { chassis: Arc::clone(&self.chassis), thread: Some(thread) })
    }

    /// What the driver did that the datasheet forbids, oldest first; a bounded number is kept.
    pub fn violations(&self) -> Vec<Violation> {
        self.chassis.access(|_, _| ());
        self.chassis.violations.to_vec()
    }

    /// Takes the violations seen so far: for tests that provoke one.
    pub fn take_violations(&self) -> Vec<Violation> {
        self.chassis.access(|_, _| ());
        self.chassis.violations.take()
    }

    /// Pulls the cable, or plugs it in. The card notices with its next step.
    pub fn set_carrier(&self, on: bool) {
        self.chassis.set_carrier(on);
    }

    /// Whether the wire will never deliver a frame any more, and all that it delivered left the card, or the wire took the card with it
    /// ([`Wire::is_gone`]).
    pub fn wire_finished(&self) -> bool {
        self.chassis.access(|core, _| core.wire.is_gone() || core.wire.is_finished() && !core.model.holds_frames())
    }

    /// The wire's first error so far, if any; see [`Wire::error`].
    pub fn wire_error(&self) -> Option<WireError> {
        self.chassis.access(|core, _| core.wire.error())
    }

    /// Writes out what the wire buffers.
    ///
    /// # Errors
    /// [`WireError`]: the first error since the wire was made.
    pub fn flush_wire(&self) -> Result<(), WireError> {
        self.chassis.access(|core, _| core.wire.flush())
    }

    /// The device's IOMMU.
    pub fn iommu(&self) -> &Arc<Iommu> {
        &self.chassis.iommu
    }

    /// Whether a host can reset the function (function-level reset). It can, until told otherwise; there are cards that cannot be reset from outside.
    pub fn set_has_reset(&self, has_reset: bool) {
        self.chassis.has_reset.store(has_reset, Ordering::Relaxed);
    }

    /// Runs `f` on the model, `None` where it is not an `M`: for tests, and for fault injection.
    ///
    /// # Safety
    /// The model stays what drivers and their frames rely on: it is not exchanged for another one, which would know of other memory.
    pub unsafe fn with_model<M: Model, R>(&self, f: impl FnOnce(&mut M) -> R) -> Option<R> {
        self.chassis.access(|core, _| {
            let model: &mut dyn Any = &mut *core.model;
            model.downcast_mut::<M>().map(f)
        })
    }
}

impl Clocked for SimDevice {
    fn move_on(&self, us: u64, now_us: u64) -> bool {
        self.chassis.move_on(us, now_us)
    }
    fn next_event_us(&self) -> Option<u64> {
        self.chassis.next_event_us()
    }
    fn wire_fd(&self) -> Option<OwnedFd> {
        self.chassis.wire_fd()
    }
}

/// A device that moves on a thread of its own. Dropping it stops the thread and flushes the wire.
#[must_use = "the device stops when this handle is dropped"]
pub struct Live {
    chassis: Arc<Chassis>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({})", self.chassis.name)
    }
}

impl Live {
    /// Stops the thread and flushes the wire.
    ///
    /// # Errors
    /// [`WireError`]: the first error of the wire.
    pub fn stop(mut self) -> Result<(), WireError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), WireError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.chassis.ask_to_stop();
        let joined = thread.join();
        self.chassis.rest();
        if joined.is_err() {
            log::error!("{}: the device's thread panicked", self.chassis.name);
        }
        self.chassis.access(|core, _| core.wire.flush())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            log::error!("{}: {error}", self.chassis.name);
        }
    }
}
