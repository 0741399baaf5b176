//! SYSTIM: what runs, and how fast. The card's time, which all is measured by, goes in steps of a microsecond.

/// A part of SYSTIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// SYSTIMR: 2^-32 ns.
    Residue,
    /// SYSTIML: the lower half, or nanoseconds.
    Low,
    /// SYSTIMH: the upper half, or seconds.
    High,
}

/// The clock's cycle is 6.4 ns on a link of 10 Gbit/s, 64 ns at 1 Gbit/s and 640 ns at 100 Mbit/s (82599, X540): so many parts of it are counted, 6.25 in a
/// microsecond for each Mbit/s.
const PARTS: u64 = 400;
const PARTS_PER_US_10G: u64 = 62_500;
/// The X550's is 12.5 ns whatever the link is.
const CYCLES_PER_US: i128 = 80;
/// A nanosecond, in 2^-32 ns.
const NANOSECOND: i128 = 1 << 32;
const SECOND: u128 = 1_000_000_000 << 32;

/// How fast SYSTIM runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Rate {
    #[default]
    Stands,
    /// So much is added in so many cycles.
    Cycles { increment: u64, period: u64 },
    /// A nanosecond a nanosecond, with so many 2^-32 ns more in each cycle.
    Nanoseconds { correction: i64 },
}

impl Rate {
    pub(super) fn cycles(increment: u32, period: u32) -> Self {
        if increment == 0 || period == 0 { Self::Stands } else { Self::Cycles { increment: increment.into(), period: period.into() } }
    }
}

/// What SYSTIM shows: 64 bits in units of TIMINCA's increment, or seconds and nanoseconds (X550).
#[derive(Debug)]
pub(super) struct SystemTime {
    /// What it showed at `since_us`: the 64 bits, or 2^-32 ns.
    value: u128,
    since_us: u64,
    /// Parts of cycles behind the last increment before that, and how many a microsecond has.
    parts: u64,
    parts_per_us: u64,
    rate: Rate,
    /// What a read of the lowest part keeps for the others, residue, low and high; and whether SYSTIMR did so.
    latched: Option<[u32; 3]>,
    is_by_residue: bool,
}

impl Default for SystemTime {
    fn default() -> Self {
        Self { value: 0, since_us: 0, parts: 0, parts_per_us: PARTS_PER_US_10G, rate: Rate::Stands, latched: None, is_by_residue: false }
    }
}

impl SystemTime {
    /// Value and parts of cycles at `now_us`.
    fn at(&self, now_us: u64) -> (u128, u64) {
        let passed_us = now_us.saturating_sub(self.since_us);
        match self.rate {
            Rate::Stands => (self.value, self.parts),
            Rate::Cycles { increment, period } => {
                let parts = self.parts + passed_us * self.parts_per_us;
                let increments = parts / (PARTS * period);
                (u128::from((self.value as u64).wrapping_add(increments.wrapping_mul(increment))), parts % (PARTS * period))
            }
            Rate::Nanoseconds { correction } => {
                let per_us = (1000 * NANOSECOND + CYCLES_PER_US * i128::from(correction)).max(0);
                (self.value + u128::from(passed_us) * per_us as u128, 0)
            }
        }
    }

    /// From `now_us` on the value is counted anew.
    fn settle(&mut self, now_us: u64) {
        (self.value, self.parts) = self.at(now_us);
        self.since_us = now_us;
    }

    pub(super) fn run(&mut self, now_us: u64, rate: Rate) {
        self.settle(now_us);
        self.rate = rate;
    }

    /// A cycle is that of a link of `mbps` from now on.
    pub(super) fn set_cycle(&mut self, now_us: u64, mbps: u32) {
        self.settle(now_us);
        self.parts_per_us = PARTS_PER_US_10G * u64::from(mbps) / 10_000;
    }

    pub(super) fn adjust(&mut self, now_us: u64, by: u64) {
        self.settle(now_us);
        self.value = (self.value as u64).wrapping_add(by).into();
    }

    fn registers(&self, now_us: u64, has_seconds: bool) -> [u32; 3] {
        let value = self.at(now_us).0;
        if has_seconds { [value as u32, ((value % SECOND) >> 32) as u32, (value / SECOND) as u32] } else { [0, value as u32, (value >> 32) as u32] }
    }

    /// What a packet is stamped with: both registers.
    pub(super) fn stamp(&self, now_us: u64, has_seconds: bool) -> u64 {
        let [_, low, high] = self.registers(now_us, has_seconds);
        u64::from(high) << 32 | u64::from(low)
    }

    /// A read of the lowest register holds the others until they are read.
    pub(super) fn read(&mut self, now_us: u64, half: Half, has_seconds: bool) -> u32 {
        let now = self.registers(now_us, has_seconds);
        match half {
            Half::Residue => {
                (self.latched, self.is_by_residue) = (Some(now), true);
                now[0]
            }
            Half::Low => {
                let kept = self.latched.filter(|_| self.is_by_residue).unwrap_or(now);
                (self.latched, self.is_by_residue) = (Some(kept), false);
                kept[1]
            }
            Half::High => self.latched.take().unwrap_or(now)[2],
        }
    }

    pub(super) fn write(&mut self, now_us: u64, half: Half, value: u32, has_seconds: bool) {
        self.settle(now_us);
        let mut registers = self.registers(now_us, has_seconds);
        registers[half as usize] = value;
        let [residue, low, high] = registers.map(u128::from);
        self.value = if has_seconds { high * SECOND + (low << 32 | residue) } else { high << 32 | low };
        self.parts = 0;
        self.latched = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_come_every_period_of_cycles() {
        let mut clock = SystemTime::default();
        clock.run(0, Rate::cycles(64, 1));
        // 6.4 ns in units of a tenth: 156 cycles and a quarter.
        assert_eq!((clock.stamp(1, false), clock.stamp(4, false)), (156 * 64, 625 * 64));
        clock.run(1, Rate::cycles(64, 2));
        assert_eq!(clock.stamp(9, false), 156 * 64 + 625 * 64, "eight microseconds have 1250 cycles");
        clock.run(9, Rate::cycles(0, 1));
        assert_eq!(clock.stamp(1_000_000, false), 156 * 64 + 625 * 64);
    }

    #[test]
    fn seconds_and_nanoseconds() {
        let mut clock = SystemTime::default();
        clock.write(0, Half::Low, 999_999_000, true);
        clock.run(0, Rate::Nanoseconds { correction: 0 });
        assert_eq!(clock.registers(1, true), [0, 0, 1]);
        clock.run(1, Rate::Nanoseconds { correction: -(1 << 31) });
        assert_eq!(clock.registers(2, true), [0, 960, 1], "80 cycles a microsecond, each half a nanosecond short");
    }

    #[test]
    fn the_lowest_register_holds_the_others() {
        let mut clock = SystemTime::default();
        clock.write(0, Half::Low, u32::MAX, false);
        clock.run(0, Rate::cycles(1, 1));
        assert_eq!(clock.read(0, Half::Low, false), u32::MAX);
        assert_eq!(clock.read(1, Half::High, false), 0, "as it was when the lower was read");
        assert_eq!(clock.read(1, Half::High, false), 1);
    }
}
