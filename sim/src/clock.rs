//! Clocks for drivers.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use driver_core::host::Clock;

use crate::device::SimDevice;

/// The longest piece of time that a simulated sleep advances the devices by at once, in microseconds.
const SLICE_US: u64 = 50;
/// How many further steps a slice makes while a device is busy: time stands still meanwhile, so the number is bounded.
const BUSY_STEPS: usize = 64;

/// A clock that only advances while somebody sleeps, and moves the attached devices meanwhile: tests with it are deterministic.
#[derive(Debug, Default)]
pub struct SimClock {
    now_us: AtomicU64,
    devices: Mutex<Vec<SimDevice>>,
}

impl SimClock {
    /// A clock at zero that moves `devices`.
    pub fn new(devices: impl IntoIterator<Item = SimDevice>) -> Self {
        Self { now_us: AtomicU64::new(0), devices: Mutex::new(devices.into_iter().collect()) }
    }

    /// Moves `device` too, from now on.
    pub fn attach(&self, device: SimDevice) {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).push(device);
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }

    fn sleep_us(&self, us: u64) {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut left_us = us;
        while left_us > 0 {
            let slice_us = left_us.min(SLICE_US);
            left_us -= slice_us;
            self.now_us.fetch_add(slice_us, Ordering::Relaxed);
            let mut busy = false;
            for device in &devices {
                busy |= device.advance_us(slice_us);
            }
            for _ in 0..BUSY_STEPS {
                if !std::mem::take(&mut busy) {
                    break;
                }
                for device in &devices {
                    busy |= device.advance_us(0);
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

    fn sleep_us(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }
}
