//! Statistics. A virtio device has no counters of its own: the queues count.

use driver_core::device::Stats;
use driver_core::queue::core::Totals;

/// What the queues counted.
pub(crate) fn stats(rx: &Totals, tx: &Totals) -> Stats {
    let mut stats = Stats::default();
    stats.rx_packets = rx.packets;
    stats.rx_bytes = rx.bytes;
    stats.rx_errors = rx.errors;
    stats.rx_frame_errors = rx.header_errors;
    stats.rx_length_errors = rx.length_errors;
    stats.tx_packets = tx.packets;
    stats.tx_bytes = tx.bytes;
    stats
}
