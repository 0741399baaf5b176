//! Interrupt moderation: a down counter for each vector, which interrupts, write-backs of transmit descriptors and large receives wait for
//! (7.3.2, 8.2.3.5.12).

/// EITR: the interval in units of 2 us at 10 Gb/s and 1 Gb/s; what else is kept; the counter's upper seven bits; leave the counter as it is.
const INTERVAL_SHIFT: u32 = 3;
const INTERVAL_MASK: u32 = 0x1FF;
const KEPT: u32 = 0x001F_8000 | INTERVAL_MASK << INTERVAL_SHIFT;
const COUNTER_SHIFT: u32 = 21;
const CNT_WDIS: u32 = 1 << 31;
const UNIT_US: u64 = 2;
/// The counter has nine bits, of which the register shows seven.
const COUNTER_HIDDEN_BITS: u32 = 2;
const REGISTERS: usize = 128;

/// The counters of all vectors.
#[derive(Debug, Clone)]
pub(super) struct Moderation {
    eitr: [u32; REGISTERS],
    /// When each counter is at zero, where it stops.
    zero_us: [u64; REGISTERS],
}

impl Moderation {
    pub(super) fn new() -> Self {
        Self { eitr: [0; REGISTERS], zero_us: [0; REGISTERS] }
    }

    /// How long a vector keeps silent after an interrupt; 0: it is not moderated.
    pub(super) fn interval_us(&self, vector: usize) -> u64 {
        u64::from(self.eitr[vector] >> INTERVAL_SHIFT & INTERVAL_MASK) * UNIT_US
    }

    /// When a vector's counter is, or was, at zero.
    pub(super) fn zero_us(&self, vector: usize) -> u64 {
        self.zero_us[vector]
    }

    /// Starts a counter anew, where it is at zero; otherwise says that it is not.
    pub(super) fn start(&mut self, vector: usize, now_us: u64) -> bool {
        let is_zero = now_us >= self.zero_us[vector];
        if is_zero {
            self.zero_us[vector] = now_us + self.interval_us(vector);
        }
        is_zero
    }

    pub(super) fn read(&self, vector: usize, now_us: u64) -> u32 {
        let left = self.zero_us[vector].saturating_sub(now_us).div_ceil(UNIT_US) as u32;
        self.eitr[vector] | (left >> COUNTER_HIDDEN_BITS) << COUNTER_SHIFT
    }

    pub(super) fn write(&mut self, vector: usize, now_us: u64, value: u32) {
        self.eitr[vector] = value & KEPT;
        if value & CNT_WDIS == 0 {
            let counter = (value >> COUNTER_SHIFT & 0x7F) << COUNTER_HIDDEN_BITS;
            self.zero_us[vector] = now_us + u64::from(counter) * UNIT_US;
        }
    }
}
