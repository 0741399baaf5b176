//! How long frames take from a generator to the checker at the other end.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// Frames of one direction that can be under way: more than all rings and batches between the two ends hold. A power of two.
const UNDER_WAY: usize = 1 << 17;
/// Decimal digits of a time that are kept.
const DIGITS: u8 = 3;

/// When the frames under way were made, and how long those took that arrived.
pub(super) struct Stamps {
    made_us: Box<[AtomicU64]>,
    arrived: Mutex<Latency>,
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self { made_us: (0..UNDER_WAY).map(|_| AtomicU64::new(0)).collect(), arrived: Mutex::new(Latency::new()) }
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.made_us[number as usize % UNDER_WAY]
    }

    /// Frame `number` is made now.
    pub(super) fn made(&self, number: u64, now_us: u64) {
        self.slot(number).store(now_us, Ordering::Release);
    }

    /// It has arrived, for the first time.
    pub(super) fn arrived(&self, number: u64, now_us: u64) {
        let us = now_us.saturating_sub(self.slot(number).load(Ordering::Acquire));
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).record(us);
    }

    pub(super) fn latency(&self) -> Latency {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stamps")
    }
}

/// How long frames took, in microseconds of the clock that the wires were given: the shortest and the longest time exactly, what lies between within a thousandth.
#[derive(Debug, Clone)]
pub struct Latency {
    times: Histogram<u64>,
    /// The histogram's own are edges of its buckets.
    ends_us: Option<(u64, u64)>,
}

impl Latency {
    fn new() -> Self {
        #[allow(clippy::unwrap_used, reason = "three digits are among the five that there can be")]
        let times = Histogram::new(DIGITS).unwrap();
        Self { times, ends_us: None }
    }

    fn record(&mut self, us: u64) {
        // It grows with what it is told, and there is no time that it cannot hold.
        let _ = self.times.record(us);
        let (min, max) = self.ends_us.unwrap_or((us, us));
        self.ends_us = Some((min.min(us), max.max(us)));
    }

    /// How many frames were timed.
    pub fn frames(&self) -> u64 {
        self.times.len()
    }

    /// The shortest time in microseconds; `None`: no frame arrived.
    pub fn min_us(&self) -> Option<u64> {
        self.ends_us.map(|(min, _)| min)
    }

    /// The longest.
    pub fn max_us(&self) -> Option<u64> {
        self.ends_us.map(|(_, max)| max)
    }

    /// The time within which a part `quantile` (0 to 1) of the frames arrived.
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        self.ends_us.map(|(min, max)| self.times.value_at_quantile(quantile).clamp(min, max))
    }

    /// Those of both, for two directions.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        // Both are of the same digits and grow by themselves.
        let _ = self.times.add(&other.times);
        self.ends_us = match (self.ends_us, other.ends_us) {
            (Some((min, max)), Some((other_min, other_max))) => Some((min.min(other_min), max.max(other_max))),
            (one, other) => one.or(other),
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_from_the_making_to_the_arrival() {
        let stamps = Stamps::new();
        assert_eq!((stamps.latency().frames(), stamps.latency().min_us(), stamps.latency().quantile_us(0.5)), (0, None, None));
        for number in 0..1000 {
            stamps.made(number, 5_000 + number);
        }
        for number in 0..999 {
            stamps.arrived(number, 5_000 + 2 * number);
        }
        stamps.arrived(999, 5_999 + 12_345);
        let latency = stamps.latency();
        assert_eq!((latency.frames(), latency.min_us(), latency.max_us()), (1000, Some(0), Some(12_345)), "the ends are exact");
        assert_eq!([0.5, 0.99, 1.0].map(|part| latency.quantile_us(part).unwrap()), [499, 989, 12_345]);
        let both = latency.clone().and(&Latency::new()).and(&latency);
        assert_eq!((both.frames(), both.min_us(), both.max_us()), (2000, Some(0), Some(12_345)));
    }
}
