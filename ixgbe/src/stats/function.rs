//! The counters of a virtual function (8.3): none is cleared by a read, nor by the function's reset, and each begins anew where it is full.

use alloc::vec::Vec;

use driver_core::device::{Stats, XStat};
use driver_core::ether::FCS_BYTES;
use driver_core::host::Bar;
use driver_core::queue::core::Totals;
use driver_core::reg::{Reg, Ro};

use crate::regs::vf::*;

/// What a counter counts in.
#[derive(Clone, Copy)]
enum Place {
    /// 32 bits.
    One(Reg<u32, Ro>),
    /// 36 bits: the lower 32, and the rest.
    Pair(Reg<u32, Ro>, Reg<u32, Ro>),
}

const LIST: [(&str, Place); 5] = [
    ("rx_good_packets", Place::One(VFGPRC)),
    ("rx_good_octets", Place::Pair(VFGORC_LSB, VFGORC_MSB)),
    ("rx_multicast_packets", Place::One(VFMPRC)),
    ("tx_good_packets", Place::One(VFGPTC)),
    ("tx_good_octets", Place::Pair(VFGOTC_LSB, VFGOTC_MSB)),
];

/// What no virtual function tells.
const UNCOUNTED: &[&str] = &["rx_crc_errors", "rx_over_errors", "rx_missed_errors"];

impl Place {
    fn mask(self) -> u64 {
        match self {
            Self::One(_) => u64::from(u32::MAX),
            Self::Pair(..) => (1 << 36) - 1,
        }
    }

    /// A pair is not latched: where its upper half changes meanwhile, the lower one is read once more.
    fn read(self, bar: &impl Bar) -> u64 {
        match self {
            Self::One(register) => register.read(bar).into(),
            Self::Pair(low, high) => {
                let before = high.read(bar);
                let lower = low.read(bar);
                let after = high.read(bar);
                let lower = if before == after { lower } else { low.read(bar) };
                (u64::from(after) << 32 | u64::from(lower)) & self.mask()
            }
        }
    }
}

/// What the counters added up to since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FunctionCounters {
    last: [u64; LIST.len()],
    sums: [u64; LIST.len()],
    /// A counter began anew, and what was counted between the last read and that is not known.
    has_gap: bool,
}

impl FunctionCounters {
    /// Counts from what stands there now.
    pub(crate) fn begin(&mut self, bar: &impl Bar) {
        for (last, (_, place)) in self.last.iter_mut().zip(LIST) {
            *last = place.read(bar);
        }
    }

    /// The same of counters that lost what they had counted since the last read.
    pub(crate) fn begin_again(&mut self, bar: &impl Bar) {
        self.begin(bar);
        self.has_gap = true;
    }

    /// Adds what was counted since the last read. VF-COUNTERS: a step of more than half of what a counter holds is none; the counter began anew, as all do when
    /// the physical function is reset.
    pub(crate) fn update(&mut self, bar: &impl Bar) {
        for ((last, sum), (_, place)) in self.last.iter_mut().zip(&mut self.sums).zip(LIST) {
            let now = place.read(bar);
            let step = now.wrapping_sub(*last) & place.mask();
            let goes_on = step <= place.mask() / 2;
            *sum += if goes_on { step } else { now };
            self.has_gap |= !goes_on;
            *last = now;
        }
    }

    /// The frames that were sent; `None`: not all of them are known.
    pub(crate) fn sent(&self) -> Option<u64> {
        let [_, _, _, tx_frames, _] = self.sums;
        (!self.has_gap).then_some(tx_frames)
    }

    /// Received frames as the queues counted them, octets and multicast frames as the function did; sent frames likewise, and behind a gap as the queues took them.
    pub(crate) fn stats(&self, rx: &Totals, tx: &Totals) -> Stats {
        let [rx_frames, rx_octets, multicast, tx_frames, tx_octets] = self.sums;
        let mut stats = Stats::default();
        stats.rx_packets = rx.packets + rx.in_place;
        stats.rx_bytes = rx_octets.saturating_sub(rx_frames * FCS_BYTES as u64);
        stats.rx_errors = rx.errors;
        stats.multicast = multicast;
        stats.tx_packets = self.sent().unwrap_or_else(|| tx_frames.max((tx.packets + tx.cut).saturating_sub(tx.lost)));
        stats.tx_bytes = tx_octets.saturating_sub(tx_frames * FCS_BYTES as u64);
        stats.uncounted = UNCOUNTED;
        stats
    }

    /// The registers by name, and what each queue counted.
    pub(crate) fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        let mut all: Vec<_> = self.sums.iter().zip(LIST).map(|(&sum, (name, _))| XStat::new(name, sum)).collect();
        all.extend(rx.iter().enumerate().map(|(queue, totals)| XStat::of_queue("rx", queue, "packets", totals.packets + totals.in_place)));
        all.extend(tx.iter().enumerate().map(|(queue, totals)| XStat::of_queue("tx", queue, "packets", totals.packets.saturating_sub(totals.lost))));
        all
    }
}

#[cfg(test)]
mod tests {
    use driver_core::testing::PlainBar;

    use super::*;

    #[test]
    fn counters_go_on_where_they_begin_anew() {
        let bar = PlainBar::new(VF_BAR_BYTES);
        let mut counters = FunctionCounters::default();
        bar.set(VFGPRC.offset(), u32::MAX - 4);
        bar.set(VFGORC_LSB.offset(), u32::MAX);
        bar.set(VFGORC_MSB.offset(), 0xf);
        counters.begin(&bar);
        bar.set(VFGPRC.offset(), 5);
        bar.set(VFGORC_LSB.offset(), 99);
        bar.set(VFGORC_MSB.offset(), 0);
        counters.update(&bar);
        assert_eq!(counters.sums[..2], [10, 100]);
    }

    #[test]
    fn a_reset_of_the_physical_function_is_no_four_billion_frames() {
        let bar = PlainBar::new(VF_BAR_BYTES);
        let mut counters = FunctionCounters::default();
        bar.set(VFGPTC.offset(), 1_000);
        counters.update(&bar);
        bar.set(VFGPTC.offset(), 7);
        counters.update(&bar);
        assert_eq!(counters.sums[3], 1_007);
    }
}
