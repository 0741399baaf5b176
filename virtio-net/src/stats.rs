//! Statistics. A virtio device has no counters of its own: the queues count.

use driver_core::device::Stats;

use crate::shared::Shared;

/// What the queues counted, and `carrier_changes` as the control handle saw them.
pub(crate) fn stats(shared: &Shared, carrier_changes: u64) -> Stats {
    let (rx, tx) = (&shared.rx, &shared.tx);
    let mut stats = Stats::default();
    stats.rx_packets = rx.packets.value();
    stats.rx_bytes = rx.bytes.value();
    stats.rx_errors = rx.header_errors.value() + rx.length_errors.value();
    stats.rx_frame_errors = rx.header_errors.value();
    stats.rx_length_errors = rx.length_errors.value();
    stats.tx_packets = tx.packets.value();
    stats.tx_bytes = tx.bytes.value();
    stats.carrier_changes = carrier_changes;
    stats
}
