//! Clocks for drivers.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use driver_core::host::Clock;

/// The longest piece of time that a simulated sleep advances the devices by at once, in microseconds.
const SLICE_US: u64 = 50;
/// How many further steps a slice makes while a device is busy: time stands still meanwhile, so the number is bounded.
const BUSY_STEPS: usize = 64;

/// What a [`SimClock`] moves: a [`SimDevice`](crate::SimDevice).
pub trait Clocked: Send + Sync {
    /// `us` microseconds passed, until `now_us` on the clock: makes a step, and says whether it did something.
    fn move_on(&self, us: u64, now_us: u64) -> bool;
    /// When, on the clock, something will happen by itself, if anything will.
    fn next_event_us(&self) -> Option<u64>;
    /// What becomes readable when a frame comes from outside of this program, where one can.
    fn wire_fd(&self) -> Option<OwnedFd>;
}

/// A clock that only advances while somebody sleeps, or where a device that moves by it makes a step ([`SimDevice::step_by`](crate::SimDevice::step_by)); it moves
/// the attached devices meanwhile. Tests with it are deterministic.
#[derive(Default)]
pub struct SimClock {
    now_us: AtomicU64,
    devices: Mutex<Vec<Arc<dyn Clocked>>>,
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimClock({} us, {} devices)", self.now_us(), self.devices().len())
    }
}

impl SimClock {
    /// A clock at zero that moves `devices`.
    pub fn new<D: Clocked + 'static>(devices: impl IntoIterator<Item = D>) -> Self {
        let clock = Self::default();
        devices.into_iter().for_each(|device| clock.attach(device));
        clock
    }

    /// Moves `device` too, from now on.
    pub fn attach<D: Clocked + 'static>(&self, device: D) {
        self.share(Arc::new(device));
    }

    /// Moves `device` too, until it is [taken away](Self::detach).
    pub(crate) fn share(&self, device: Arc<dyn Clocked>) {
        self.devices().push(device);
    }

    /// Moves `device` no more.
    pub(crate) fn detach(&self, device: &Arc<dyn Clocked>) {
        self.devices().retain(|other| !Arc::ptr_eq(other, device));
    }

    /// A microsecond passes, and every attached device makes a step. Returns whether one of them did something.
    pub fn step(&self) -> bool {
        let devices = self.devices();
        let now_us = self.tick();
        let mut busy = false;
        for device in devices.iter() {
            busy |= device.move_on(1, now_us);
        }
        busy
    }

    /// A microsecond passes. Returns what time it is then.
    pub(crate) fn tick(&self) -> u64 {
        self.now_us.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Time passes in which no device makes a step.
    pub(crate) fn pass_us(&self, us: u64) {
        self.now_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How long the devices have nothing to do by themselves, in microseconds, where they had none now: a slice at most, since wires tell no time.
    pub(crate) fn quiet_us(&self) -> u64 {
        let now_us = self.now_us();
        let next_us = self.devices().iter().filter_map(|device| device.next_event_us()).min();
        next_us.map_or(SLICE_US, |next_us| next_us.saturating_sub(now_us).clamp(1, SLICE_US))
    }

    /// What becomes readable when a frame comes from outside of this program.
    pub(crate) fn outside(&self) -> Vec<OwnedFd> {
        self.devices().iter().filter_map(|device| device.wire_fd()).collect()
    }

    fn devices(&self) -> MutexGuard<'_, Vec<Arc<dyn Clocked>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }

    fn sleep_us(&self, us: u64) {
        let devices = self.devices().clone();
        let mut left_us = us;
        while left_us > 0 {
            let slice_us = left_us.min(SLICE_US);
            left_us -= slice_us;
            let now_us = self.now_us.fetch_add(slice_us, Ordering::Relaxed) + slice_us;
            let mut busy = false;
            for device in &devices {
                busy |= device.move_on(slice_us, now_us);
            }
            for _ in 0..BUSY_STEPS {
                if !std::mem::take(&mut busy) {
                    break;
                }
                for device in &devices {
                    busy |= device.move_on(0, now_us);
                }
            }
        }
    }
}

/// The machine's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct HostClock {
    start: Instant,
}

impl Default for HostClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl HostClock {
    /// A clock that starts at zero now.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for HostClock {
    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn sleep_us(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }
}
