//! Statistics. A virtio device has no counters of its own: the queues count.

use alloc::vec::Vec;

use driver_core::device::{Stats, XStat};
use driver_core::queue::core::Totals;

/// What a device alone could count, and does not tell without VIRTIO_NET_F_DEVICE_STATS (5.1.6.5.8).
const UNCOUNTED: &[&str] = &["multicast", "rx_crc_errors", "rx_over_errors", "rx_missed_errors"];

/// What the queues counted.
pub(crate) fn stats(rx: &Totals, tx: &Totals) -> Stats {
    let mut stats = Stats::default();
    stats.rx_packets = rx.packets + rx.in_place;
    stats.rx_bytes = rx.bytes;
    stats.rx_errors = rx.errors;
    stats.rx_frame_errors = rx.header_errors;
    stats.rx_length_errors = rx.length_errors;
    stats.tx_packets = sent(tx);
    stats.tx_bytes = tx.bytes;
    stats.uncounted = UNCOUNTED;
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
