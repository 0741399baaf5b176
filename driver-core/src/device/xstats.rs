//! Extended statistics: everything that a device and its driver count, by name.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use crate::queue::core::seat::Totals;

/// One counter of [`NetDevice::xstats`](crate::device::NetDevice::xstats).
///
/// A name says direction, queue where it is one's, what is counted and, where it is no number of frames, the unit: `rx_size_64_packets`, `tx_q0_bytes`. No two
/// counters of a device have the same name; those of several devices of a kind have the same names in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XStat {
    /// What is counted.
    pub name: Cow<'static, str>,
    /// How often since the start.
    pub value: u64,
}

impl XStat {
    /// A counter of the whole device.
    pub fn new(name: impl Into<Cow<'static, str>>, value: u64) -> Self {
        Self { name: name.into(), value }
    }

    /// A counter of one queue, `rx` or `tx`: `rx_q0_packets`.
    pub fn of_queue(direction: &str, queue: usize, what: &str, value: u64) -> Self {
        Self::new(format!("{direction}_q{queue}_{what}"), value)
    }
}

impl fmt::Display for XStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// What the queues of all drivers count by themselves, whatever their devices do. Names that a device has of its own are others: nothing is in two of them.
pub(crate) fn of_queues(rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
    let mut all = Vec::new();
    for (queue, totals) in rx.iter().enumerate() {
        let &Totals { packets, errors, stalls, doorbells, lost, in_place, .. } = totals;
        let counters =
            [("delivered", packets), ("in_place", in_place), ("errors", errors), ("stalls", stalls), ("doorbells", doorbells), ("lost", lost)];
        all.extend(counters.map(|(what, value)| XStat::of_queue("rx", queue, what, value)));
    }
    for (queue, totals) in tx.iter().enumerate() {
        let &Totals { packets, bounced, doorbells, lost, .. } = totals;
        let counters = [("taken", packets), ("bounced", bounced), ("doorbells", doorbells), ("lost", lost)];
        all.extend(counters.map(|(what, value)| XStat::of_queue("tx", queue, what, value)));
    }
    all
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn each_queue_has_its_own_counters_by_name() {
        let rx = Totals { packets: 1, errors: 2, stalls: 3, doorbells: 4, lost: 5, in_place: 10, ..Totals::default() };
        let tx = Totals { packets: 6, bounced: 7, doorbells: 8, lost: 9, ..Totals::default() };
        let text: Vec<_> = of_queues(&[Totals::default(), rx], &[tx]).iter().map(ToString::to_string).collect();
        let of_rx = ["rx_q1_delivered=1", "rx_q1_in_place=10", "rx_q1_errors=2", "rx_q1_stalls=3", "rx_q1_doorbells=4", "rx_q1_lost=5"];
        assert_eq!(text[6..], [&of_rx[..], &["tx_q0_taken=6", "tx_q0_bounced=7", "tx_q0_doorbells=8", "tx_q0_lost=9"]].concat());
        assert!(text[..6].iter().all(|line| line.starts_with("rx_q0_") && line.ends_with("=0")));
    }
}
