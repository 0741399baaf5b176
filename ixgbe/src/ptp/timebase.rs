//! From what SYSTIM shows to nanoseconds. The clock is set and moved here, in software (CLOCK-SET), so that nothing is lost of the time that it takes.

/// What the clock showed, and what time it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timebase {
    raw: u64,
    /// In units of 2^-`shift` ns.
    time: i128,
    shift: u32,
    /// On the host's clock, in microseconds.
    seen_us: u64,
}

impl Timebase {
    /// SYSTIM, in units of 2^-`shift` ns, showed `raw` at `ns` nanoseconds.
    pub(super) fn new(raw: u64, ns: u64, shift: u32, seen_us: u64) -> Self {
        Self { raw, time: i128::from(ns) << shift, shift, seen_us }
    }

    /// SYSTIM shows `raw` now. The 64 bits of 82599 and X540 begin anew after hours or minutes, so that this is called more often.
    pub(super) fn advance(&mut self, raw: u64, seen_us: u64) {
        self.time += i128::from(raw.wrapping_sub(self.raw));
        (self.raw, self.seen_us) = (raw, seen_us);
    }

    /// Nanoseconds of what it showed, before or behind.
    pub(super) fn ns(&self, raw: u64) -> u64 {
        let apart = raw.wrapping_sub(self.raw).cast_signed();
        u64::try_from((self.time + i128::from(apart)) >> self.shift).unwrap_or(0)
    }

    pub(super) fn set(&mut self, ns: u64) {
        self.time = i128::from(ns) << self.shift;
    }

    pub(super) fn adjust(&mut self, by_ns: i64) {
        self.time = (self.time + (i128::from(by_ns) << self.shift)).max(0);
    }

    /// From here on SYSTIM has other units.
    pub(super) fn rescale(&mut self, shift: u32) {
        self.time = if shift >= self.shift { self.time << (shift - self.shift) } else { self.time >> (self.shift - shift) };
        self.shift = shift;
    }

    /// What time it is where SYSTIM cannot be asked: as much has passed as on the host's clock.
    pub(super) fn estimate(&self, now_us: u64) -> u64 {
        self.ns(self.raw).saturating_add(now_us.saturating_sub(self.seen_us).saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_where_the_counter_begins_anew() {
        let mut base = Timebase::new(u64::MAX - 3, 1000, 2, 0);
        assert_eq!((base.ns(u64::MAX - 3), base.ns(4), base.ns(u64::MAX - 11)), (1000, 1002, 998));
        base.advance(4, 0);
        assert_eq!((base.ns(4), base.ns(8)), (1002, 1003));
        base.rescale(4);
        assert_eq!(base.ns(4 + 16), 1003);
        base.adjust(-2);
        assert_eq!(base.ns(4), 1000);
        base.adjust(i64::MIN);
        assert_eq!(base.ns(4), 0, "before the beginning is none");
        base.set(77);
        assert_eq!((base.ns(4), base.estimate(3)), (77, 3077));
    }
}
