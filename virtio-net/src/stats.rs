//! Statistics. A virtio device has no counters of its own: the queues count.

use driver_core::device::Stats;

use crate::shared::Shared;

/// What the queues counted, and `carrier_changes` as the control handle saw them.
pub(crate) fn stats(shared: &Shared, carrier_changes: u64) -> Stats {
    let (rx, tx) = (&shared.rx, &shared.tx);
    Stats {
        rx_packets: rx.packets.value(),
        rx_bytes: rx.bytes.value(),
        rx_errors: rx.header_errors.value() + rx.length_errors.value(),
        rx_frame_errors: rx.header_errors.value(),
        rx_length_errors: rx.length_errors.value(),
        tx_packets: tx.packets.value(),
        tx_bytes: tx.bytes.value(),
        carrier_changes,
        ..Stats::default()
    }
}
