//! How fast SYSTIM runs, and in which units.

use driver_core::device::{ClockLimits, Frequency};

use crate::id::Family;
use crate::regs::{TIMINCA_PERIOD_SHIFT, TIMINCA_SIGN};

/// What TIMINCA is to say for a clock that runs by itself, and SYSTIM's unit: 2^-`shift` ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    family: Family,
    increment: u32,
    pub(super) shift: u32,
}

/// The X550's cycle, 12.5 ns, in the unit of its increment, 2^-32 ns. What TIMINCA says is added to it.
const X550_CYCLE: u64 = 25 << 31;
/// The increment's 31 bits.
const INCREMENT_MAX: u64 = (1 << 31) - 1;

impl Rate {
    /// LINK-CYCLE: of 82599 and X540 on a link of `mbps`. The increment is the cycle in the finest units that leave it a quarter of its field, by which it may be
    /// made larger: 24 bits on the 82599, 31 on the X540.
    pub(super) fn of(family: Family, mbps: Option<u32>) -> Self {
        let (increment, shift) = match (family, mbps) {
            (Family::X550, _) => (0, 0),
            (Family::I82599, Some(100)) => (640 << 14, 14),
            (Family::I82599, Some(1_000)) => (64 << 17, 17),
            (Family::I82599, _) => ((32 << 21) / 5, 21),
            (Family::X540, Some(100)) => (640 << 21, 21),
            (Family::X540, Some(1_000)) => (64 << 24, 24),
            (Family::X540, _) => (((32u64 << 28) / 5) as u32, 28),
        };
        Self { family, increment, shift }
    }

    pub(super) fn limits(family: Family) -> ClockLimits {
        match family {
            // A quarter more than 4/5 of the field.
            Family::I82599 => ClockLimits { max_ppb: 250_000_000, step_ppt: 74_506 },
            Family::X540 => ClockLimits { max_ppb: 250_000_000, step_ppt: 583 },
            // 31 bits beside the cycle: 4 percent.
            Family::X550 => ClockLimits { max_ppb: 39_000_000, step_ppt: 19 },
        }
    }

    /// TIMINCA for a clock that runs by `frequency` faster than by itself.
    pub(super) fn timinca(&self, frequency: Frequency) -> u32 {
        match self.family {
            Family::X550 => {
                let more = frequency.of(X550_CYCLE);
                let sign = if more < 0 { TIMINCA_SIGN } else { 0 };
                sign | more.unsigned_abs().min(INCREMENT_MAX.into()) as u32
            }
            Family::X540 => self.faster(frequency),
            Family::I82599 => 1 << TIMINCA_PERIOD_SHIFT | self.faster(frequency),
        }
    }

    fn faster(&self, frequency: Frequency) -> u32 {
        let largest = if self.family == Family::I82599 { (1 << TIMINCA_PERIOD_SHIFT) - 1 } else { INCREMENT_MAX };
        let increment = i128::from(self.increment) + frequency.of(self.increment.into());
        increment.clamp(1, largest.into()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOMINAL: Frequency = Frequency::NOMINAL;

    #[test]
    fn increments_are_the_cycles_of_the_links() {
        for (mbps, cycle_ps) in [(None, 6_400), (Some(10_000), 6_400), (Some(1_000), 64_000), (Some(100), 640_000)] {
            for (family, bits) in [(Family::I82599, 24), (Family::X540, 31)] {
                let rate = Rate::of(family, mbps);
                let picoseconds = (u64::from(rate.increment) * 1000) >> rate.shift;
                assert!((cycle_ps - 1..=cycle_ps).contains(&picoseconds), "{family}, {mbps:?}: {picoseconds} ps");
                let fastest = rate.timinca(Frequency::from_ppb(Rate::limits(family).max_ppb as i32));
                assert!(u64::from(fastest & 0x7fff_ffff) < if bits == 24 { 2 << 24 } else { 1 << 31 }, "{family}, {mbps:?}: {fastest:#x}");
            }
        }
        // As other drivers have them.
        assert_eq!([Some(10_000), Some(1_000)].map(|mbps| Rate::of(Family::I82599, mbps).timinca(NOMINAL)), [0x01cc_cccc, 0x0180_0000]);
        assert_eq!(Rate::of(Family::X550, Some(10_000)).timinca(NOMINAL), 0);
    }

    #[test]
    fn faster_and_slower() {
        let faster = Frequency::from_ppb(1_000_000);
        let slower = Frequency::from_ppb(-1_000_000);
        let rate = Rate::of(Family::I82599, None);
        assert_eq!([faster, slower].map(|frequency| rate.timinca(frequency)), [0x01cc_cccc + 13_421, 0x01cc_cccc - 13_421]);
        let rate = Rate::of(Family::X550, None);
        assert_eq!([faster, slower].map(|frequency| rate.timinca(frequency)), [53_687_091, 1 << 31 | 53_687_091]);
    }
}
