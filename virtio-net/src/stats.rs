//! Statistics. A virtio device has no counters of its own: the queues count.

use driver_core::device::{Shared, Stats};

/// What the queues counted, and `carrier_changes` as the control handle saw them.
pub(crate) fn stats(shared: &Shared, carrier_changes: u64) -> Stats {
    let (rx, tx) = (shared.rx_totals(), shared.tx_totals());
    let mut stats = Stats::default();
    stats.rx_packets = rx.packets;
    stats.rx_bytes = rx.bytes;
    stats.rx_errors = rx.errors;
    stats.rx_frame_errors = rx.header_errors;
    stats.rx_length_errors = rx.length_errors;
    stats.tx_packets = tx.packets;
    stats.tx_bytes = tx.bytes;
    stats.carrier_changes = carrier_changes;
    stats
}
