//! A device's own clock, by which it stamps frames, and what a time daemon does with it.
//!
//! What is here is what Linux's PTP hardware clocks offer: read, set, moved and slewed. A daemon (IEEE 1588, or one that lets the clock follow the system's) has a
//! [`HardwareClock`] of its own, in its own thread; queues carry the stamps ([`Frame::timestamp_ns`](crate::buf::Frame::timestamp_ns)).

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::device::caps::Caps;
use crate::device::error::{During, Error, ErrorKind, steps};

/// Which frames a device stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Timestamps {
    /// None, and its clock stands still.
    #[default]
    Off,
    /// Of received frames PTP's event messages (version 2, over Ethernet and over UDP's port 319); of sent frames those that ask for it.
    Ptp,
    /// Every received frame, and of sent frames those that ask for it.
    All,
}

impl Timestamps {
    /// What a device does of it that has `caps`.
    #[must_use]
    pub fn on(self, caps: Caps) -> Self {
        match self {
            Self::All if caps.contains(Caps::TIMESTAMPS_ALL) => Self::All,
            Self::All | Self::Ptp if caps.contains(Caps::TIMESTAMPS) => Self::Ptp,
            _ => Self::Off,
        }
    }
}

/// By how much a clock is to run faster than by itself, negative: slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Frequency {
    scaled_ppm: i64,
}

impl Frequency {
    /// As it runs by itself.
    pub const NOMINAL: Self = Self { scaled_ppm: 0 };

    /// In parts per million, with 16 bits behind the point: the unit of `clock_adjtime` and of the kernel's `adjfine`.
    pub const fn from_scaled_ppm(scaled_ppm: i64) -> Self {
        Self { scaled_ppm }
    }

    /// In parts per billion.
    ///
    /// ```
    /// use driver_core::device::Frequency;
    ///
    /// assert_eq!(Frequency::from_ppb(1000).scaled_ppm(), 1 << 16);
    /// assert_eq!(Frequency::from_ppb(-250).ppb(), -250);
    /// ```
    pub const fn from_ppb(ppb: i32) -> Self {
        Self { scaled_ppm: (ppb as i64 * (1 << 16)) / 1000 }
    }

    /// In the unit of [`Frequency::from_scaled_ppm`].
    pub const fn scaled_ppm(self) -> i64 {
        self.scaled_ppm
    }

    /// In parts per billion, to the nearest.
    pub const fn ppb(self) -> i64 {
        let thousands = self.scaled_ppm as i128 * 1000;
        ((thousands + (1 << 15)) >> 16) as i64
    }

    /// What `value` becomes where it is one of so many a second.
    pub const fn of(self, value: u64) -> i128 {
        // A million, and the 16 bits.
        value as i128 * self.scaled_ppm as i128 / (1_000_000 << 16)
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+} ppb", self.ppb())
    }
}

/// What a clock can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct ClockLimits {
    /// By how much it runs faster or slower at most, in parts per billion.
    pub max_ppb: u32,
    /// The steps in which that goes, in parts per trillion.
    pub step_ppt: u32,
}

/// A clock, read between two looks at the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: a cross stamp")]
pub struct ClockReading {
    /// The device's clock, in nanoseconds.
    pub device_ns: u64,
    /// The host's ([`Clock`](crate::host::Clock)) before and behind the read, in nanoseconds.
    pub system_before_ns: u64,
    /// See [`ClockReading::system_before_ns`].
    pub system_after_ns: u64,
}

impl ClockReading {
    /// The host's clock in the middle of the read, in nanoseconds.
    pub const fn system_ns(&self) -> u64 {
        self.system_before_ns + self.uncertainty_ns() / 2
    }

    /// How long the read took, in nanoseconds: the two clocks are known to each other by half of that at best.
    pub const fn uncertainty_ns(&self) -> u64 {
        self.system_after_ns.saturating_sub(self.system_before_ns)
    }

    /// How far the device's clock is ahead of the host's, in nanoseconds.
    pub const fn offset_ns(&self) -> i64 {
        self.device_ns.wrapping_sub(self.system_ns()).cast_signed()
    }
}

/// What became of a frame that asked for a stamp ([`Frame::ask_for_timestamp`](crate::buf::Frame::ask_for_timestamp)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: an answer")]
pub struct SentStamp {
    /// What the frame asked by.
    pub id: u32,
    /// When it was sent, in nanoseconds of the device's clock; `None`: it has no stamp, because the device had none free when it was submitted, or never made it.
    pub at_ns: Option<u64>,
}

/// A clock as a driver has it. Its times are in nanoseconds.
pub trait DeviceClock: Send + Sync {
    /// What it can be told.
    fn limits(&self) -> ClockLimits;
    /// Reads it.
    ///
    /// # Errors
    /// Where the device does not answer, or was stopped.
    fn read(&self) -> Result<ClockReading, ErrorKind>;
    /// Sets it.
    ///
    /// # Errors
    /// As for [`DeviceClock::read`].
    fn set(&self, ns: u64) -> Result<(), ErrorKind>;
    /// Moves it.
    ///
    /// # Errors
    /// As for [`DeviceClock::read`].
    fn adjust(&self, by_ns: i64) -> Result<(), ErrorKind>;
    /// Has it run faster or slower. The frequency is within the limits.
    ///
    /// # Errors
    /// As for [`DeviceClock::read`].
    fn set_frequency(&self, frequency: Frequency) -> Result<(), ErrorKind>;
    /// The next of the frames that asked for a stamp and of which it is known what became of it.
    ///
    /// # Errors
    /// As for [`DeviceClock::read`].
    fn take_sent(&self) -> Result<Option<SentStamp>, ErrorKind>;
}

/// The clock of a started device ([`NetDevice::clock`](crate::device::NetDevice::clock)). Handles to it can be copied to other threads; once the device is stopped their
/// calls fail.
#[derive(Clone)]
pub struct HardwareClock {
    name: String,
    clock: Arc<dyn DeviceClock>,
}

impl HardwareClock {
    /// The clock of the function `name`.
    pub fn new(name: &str, clock: Arc<dyn DeviceClock>) -> Self {
        Self { name: name.into(), clock }
    }

    /// What it can be told.
    pub fn limits(&self) -> ClockLimits {
        self.clock.limits()
    }

    /// Reads it, with the host's clock before and behind.
    ///
    /// # Errors
    /// Where the device does not answer, or was stopped.
    pub fn read(&self) -> Result<ClockReading, Error> {
        self.clock.read().during(&self.name, steps::CLOCK)
    }

    /// Sets it to `ns` nanoseconds. Stamps that were made and not taken yet are those of the clock as it was set then.
    ///
    /// # Errors
    /// As for [`HardwareClock::read`].
    pub fn set(&self, ns: u64) -> Result<(), Error> {
        self.clock.set(ns).during(&self.name, steps::CLOCK)
    }

    /// Moves it by `by_ns` nanoseconds, without losing the time that the call takes.
    ///
    /// # Errors
    /// As for [`HardwareClock::read`].
    pub fn adjust(&self, by_ns: i64) -> Result<(), Error> {
        self.clock.adjust(by_ns).during(&self.name, steps::CLOCK)
    }

    /// Has it run faster or slower than by itself, from now on. What is beyond its [limits](HardwareClock::limits) is taken as far as they go.
    ///
    /// # Errors
    /// As for [`HardwareClock::read`].
    pub fn set_frequency(&self, frequency: Frequency) -> Result<(), Error> {
        let most = Frequency::from_ppb(i32::try_from(self.limits().max_ppb).unwrap_or(i32::MAX));
        let least = Frequency::from_scaled_ppm(-most.scaled_ppm());
        self.clock.set_frequency(frequency.clamp(least, most)).during(&self.name, steps::CLOCK)
    }

    /// What became of the next frame that asked for a stamp, in the order in which it became known; `None`: nothing yet, or all was told. A frame of which nothing is
    /// heard is given up a second after it was submitted, once it has left its ring.
    ///
    /// # Errors
    /// As for [`HardwareClock::read`].
    pub fn take_sent(&self) -> Result<Option<SentStamp>, Error> {
        self.clock.take_sent().during(&self.name, steps::CLOCK)
    }
}

impl fmt::Debug for HardwareClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HardwareClock of {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_a_device_cannot_stamp_is_masked() {
        let all = [Timestamps::Off, Timestamps::Ptp, Timestamps::All];
        let on = |caps: Caps| all.map(|wanted| wanted.on(caps));
        assert_eq!(on(Caps::empty()), [Timestamps::Off; 3]);
        assert_eq!(on(Caps::TIMESTAMPS), [Timestamps::Off, Timestamps::Ptp, Timestamps::Ptp]);
        assert_eq!(on(Caps::TIMESTAMPS | Caps::TIMESTAMPS_ALL), all);
    }

    #[test]
    fn frequencies() {
        for ppb in [0, 1, -1, 999, -999, 250_000_000, i32::MAX, i32::MIN] {
            assert!((Frequency::from_ppb(ppb).ppb() - i64::from(ppb)).abs() <= 1, "{ppb}");
        }
        assert_eq!(Frequency::from_ppb(1_000_000).of(5_000_000), 5_000);
        assert_eq!(Frequency::from_ppb(-1_000_000).of(5_000_000), -5_000);
        assert_eq!(Frequency::from_ppb(-7000).to_string(), "-7000 ppb");
    }

    #[test]
    fn a_cross_stamp() {
        let reading = ClockReading { device_ns: 900, system_before_ns: 1000, system_after_ns: 1100 };
        assert_eq!((reading.system_ns(), reading.uncertainty_ns(), reading.offset_ns()), (1050, 100, -150));
    }
}
