//! Interface statistics, with the names of Linux's `rtnl_link_stats64`.

use core::fmt;
use core::ops::AddAssign;

/// Counters since the device was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Good frames received.
    pub rx_packets: u64,
    /// Good frames sent.
    pub tx_packets: u64,
    /// Bytes of good frames received, without the frame check sequence.
    pub rx_bytes: u64,
    /// Bytes of good frames sent, without the frame check sequence.
    pub tx_bytes: u64,
    /// Frames received with any error; the sum of the detailed ones and more.
    pub rx_errors: u64,
    /// Frames that could not be sent because of an error.
    pub tx_errors: u64,
    /// Frames received and not delivered for want of memory or by choice of the driver.
    pub rx_dropped: u64,
    /// Frames that the driver did not send.
    pub tx_dropped: u64,
    /// Multicast frames received (broadcast not included where the hardware counts it apart).
    pub multicast: u64,
    /// Frames whose length field or size was out of bounds.
    pub rx_length_errors: u64,
    /// Frames with a bad check sequence.
    pub rx_crc_errors: u64,
    /// Frames with an alignment or symbol error.
    pub rx_frame_errors: u64,
    /// Frames lost inside the card because its packet buffer overflowed.
    pub rx_over_errors: u64,
    /// Frames that the card dropped because no descriptor was free.
    pub rx_missed_errors: u64,
    /// How often the link came or went.
    pub carrier_changes: u64,
    /// The names of those counters that nobody counts, neither the device nor its driver: they are 0, and say nothing.
    pub uncounted: &'static [&'static str],
}

impl Stats {
    /// Frames that the device dropped because no descriptor was free; `None` where it does not tell.
    pub fn rx_missed(&self) -> Option<u64> {
        (!self.uncounted.contains(&"rx_missed_errors")).then_some(self.rx_missed_errors)
    }

    /// Name and value of every counter, in a fixed order; `None` where nobody counts it.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> + use<> {
        let entries = [
            ("rx_packets", self.rx_packets),
            ("tx_packets", self.tx_packets),
            ("rx_bytes", self.rx_bytes),
            ("tx_bytes", self.tx_bytes),
            ("rx_errors", self.rx_errors),
            ("tx_errors", self.tx_errors),
            ("rx_dropped", self.rx_dropped),
            ("tx_dropped", self.tx_dropped),
            ("multicast", self.multicast),
            ("rx_length_errors", self.rx_length_errors),
            ("rx_crc_errors", self.rx_crc_errors),
            ("rx_frame_errors", self.rx_frame_errors),
            ("rx_over_errors", self.rx_over_errors),
            ("rx_missed_errors", self.rx_missed_errors),
            ("carrier_changes", self.carrier_changes),
        ];
        let uncounted = self.uncounted;
        entries.into_iter().map(move |(name, value)| (name, (!uncounted.contains(&name)).then_some(value)))
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.rx_packets += other.rx_packets;
        self.tx_packets += other.tx_packets;
        self.rx_bytes += other.rx_bytes;
        self.tx_bytes += other.tx_bytes;
        self.rx_errors += other.rx_errors;
        self.tx_errors += other.tx_errors;
        self.rx_dropped += other.rx_dropped;
        self.tx_dropped += other.tx_dropped;
        self.multicast += other.multicast;
        self.rx_length_errors += other.rx_length_errors;
        self.rx_crc_errors += other.rx_crc_errors;
        self.rx_frame_errors += other.rx_frame_errors;
        self.rx_over_errors += other.rx_over_errors;
        self.rx_missed_errors += other.rx_missed_errors;
        self.carrier_changes += other.carrier_changes;
        if self.uncounted.len() < other.uncounted.len() {
            self.uncounted = other.uncounted;
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (name, value) in self.entries() {
            match value {
                Some(value) => write!(f, "{space}{name}={value}")?,
                None => write!(f, "{space}{name}=unknown")?,
            }
            space = " ";
        }
        Ok(())
    }
}
