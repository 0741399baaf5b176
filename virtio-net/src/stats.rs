//! Statistics: the queues count, and beside them a device with VIRTIO_NET_F_DEVICE_STATS ([`device_stats`](crate::device_stats)).

use alloc::vec::Vec;

use driver_core::device::{Stats, XStat};
use driver_core::queue::core::Totals;

/// What nobody counts, last what a device does that has statistics.
const UNCOUNTED: &[&str] = &["multicast", "rx_crc_errors", "rx_over_errors", "rx_missed_errors"];

/// What the queues counted. `missed`: what the device did, which found no buffer.
pub(crate) fn stats(rx: &Totals, tx: &Totals, missed: Option<u64>) -> Stats {
    let mut stats = Stats::default();
    stats.rx_packets = rx.packets + rx.in_place;
    stats.rx_bytes = rx.bytes;
    stats.rx_errors = rx.errors;
    stats.rx_frame_errors = rx.header_errors;
    stats.rx_length_errors = rx.length_errors;
    stats.tx_packets = sent(tx);
    stats.tx_bytes = tx.bytes;
    stats.rx_missed_errors = missed.unwrap_or(0);
    stats.uncounted = if missed.is_some() { &UNCOUNTED[..3] } else { UNCOUNTED };
    stats
}

/// Frames on the wire: those that were taken, with what the device makes of them beyond one each, but for those that were lost with their queue.
fn sent(tx: &Totals) -> u64 {
    (tx.packets + tx.cut).saturating_sub(tx.lost)
}

/// The same of each queue by name; beside it, the names that all drivers' queues have.
pub(crate) fn xstats(rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
    let mut all = Vec::new();
    for (queue, totals) in rx.iter().enumerate() {
        let &Totals { packets, bytes, header_errors, length_errors, .. } = totals;
        let counters = [("packets", packets), ("bytes", bytes), ("header_errors", header_errors), ("length_errors", length_errors)];
        all.extend(counters.map(|(what, value)| XStat::of_queue("rx", queue, what, value)));
    }
    for (queue, totals) in tx.iter().enumerate() {
        let counters = [("packets", sent(totals)), ("bytes", totals.bytes)];
        all.extend(counters.map(|(what, value)| XStat::of_queue("tx", queue, what, value)));
    }
    all
}
