//! A card that the calls of its program move.

use std::fmt;
use std::sync::Arc;

use crate::chassis::Chassis;
use crate::clock::{Clocked, SimClock};
use crate::device::SimDevice;
use crate::schedule::Schedule;
use crate::wire::WireError;

impl SimDevice {
    /// Lets its program move the device from now on, in whichever thread it is: with what the returned handle and its [`Stepper`]s are told, while somebody
    /// sleeps by `clock`, and while somebody waits for one of its interrupts. Its time is that of `clock`, so that with one thread everything is the same
    /// each time, however busy the machine is.
    ///
    /// With a `seed` a turn is none to three steps, as drawn: a program sees its cards late, early and uneven, the same each time for the same seed.
    ///
    /// # Panics
    /// Where the device runs already.
    pub fn step_by(&self, clock: &Arc<SimClock>, seed: Option<u64>) -> Stepped {
        assert!(self.chassis().go_live(), "{} runs already: stop the handle that its first run() or step_by() gave", self.name());
        Stepped::new(self.clone(), clock, seed)
    }
}

/// A device that its program's calls move: see [`SimDevice::step_by`]. Dropping it makes the device stand still, and flushes the wire.
#[must_use = "the device stands still when this handle is dropped"]
pub struct Stepped {
    device: SimDevice,
    /// The same as its clock knows it.
    moved: Arc<dyn Clocked>,
    stepper: Stepper,
    is_over: bool,
}

impl fmt::Debug for Stepped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stepped({})", self.device.name())
    }
}

impl Stepped {
    /// The device is claimed by the caller.
    fn new(device: SimDevice, clock: &Arc<SimClock>, seed: Option<u64>) -> Self {
        device.chassis().set_schedule(Some(Schedule::new(clock, seed)));
        let moved: Arc<dyn Clocked> = Arc::new(device.clone());
        clock.share(Arc::clone(&moved));
        let stepper = Stepper { chassis: Arc::clone(device.chassis()), clock: Arc::clone(clock) };
        Self { device, moved, stepper, is_over: false }
    }

    /// What moves it, for each of those who use it.
    pub fn stepper(&self) -> Stepper {
        self.stepper.clone()
    }

    /// Makes it stand still, and flushes the wire.
    ///
    /// # Errors
    /// [`WireError`]: the first error of the wire.
    pub fn stop(mut self) -> Result<(), WireError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), WireError> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        self.stepper.clock.detach(&self.moved);
        self.stepper.chassis.set_schedule(None);
        self.stepper.chassis.rest();
        self.device.flush_wire()
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("{}: {error}", self.device.name());
        }
    }
}

/// Tells a [`Stepped`] device what its program does. Once the device stands still again, nothing comes of it.
#[derive(Clone)]
pub struct Stepper {
    chassis: Arc<Chassis>,
    clock: Arc<SimClock>,
}

impl fmt::Debug for Stepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stepper({})", self.chassis.name)
    }
}

impl Stepper {
    /// The program is about to look for frames: the device has its turn. Returns whether it did something.
    #[inline]
    pub fn turn(&self) -> bool {
        self.chassis.turn(&self.clock)
    }

    /// The program has nothing to do: all devices of the clock make a step. Returns whether one of them did something.
    pub fn idle(&self) -> bool {
        self.clock.step()
    }

    /// The program gave the device something to send: it moves now where it has had no turn since the last time.
    #[inline]
    pub fn given(&self) {
        self.chassis.given(&self.clock);
    }

    /// The clock by which it moves.
    pub fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }
}
