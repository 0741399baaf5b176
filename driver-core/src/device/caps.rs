//! What network devices can do, in one vocabulary above every driver.

use bitflags::bitflags;

bitflags! {
    /// Capabilities of a device. Their [names](Caps::names) are those of the constants.
    ///
    /// What a driver uses of them is switched off by a [`Config`](crate::device::config::Config):
    ///
    /// | capability | its switch |
    /// | --- | --- |
    /// | `RX_CHECKSUM`, `TX_CHECKSUM`, `TX_SCTP_CRC`, `TX_VLAN_INSERT`, `TX_SEGMENTATION`, `RX_SCATTER` | [`Config::offloads`](crate::device::config::Config::offloads) without it |
    /// | `TX_CHECKSUM`, `TX_SCTP_CRC`, `TX_VLAN_INSERT`, `TX_SEGMENTATION` in software | [`Config::software`](crate::device::config::Config::software) without it |
    /// | `RSS` | [`Config::rx_queues`](crate::device::config::Config::rx_queues): off with one, as it is unless more are asked for |
    /// | `RX_HASH` | [`Config::rx_hash`](crate::device::config::Config::rx_hash): off unless asked for |
    /// | `RX_VLAN_STRIP` | [`Config::rx_vlan_strip`](crate::device::config::Config::rx_vlan_strip): off unless asked for |
    /// | `DOUBLE_VLAN` | [`Config::double_vlan`](crate::device::config::Config::double_vlan): off unless asked for |
    /// | `RX_COALESCING` | [`Config::rx_coalescing`](crate::device::config::Config::rx_coalescing): off unless asked for |
    /// | `HEADER_SPLIT` | [`Config::header_split`](crate::device::config::Config::header_split): off unless asked for |
    /// | `INTERRUPTS` | [`Config::interrupts`](crate::device::config::Config::interrupts): off unless asked for |
    /// | `FLOW_CONTROL` | [`Config::flow_control`](crate::device::config::Config::flow_control): off unless asked for |
    /// | `RECOVERY` | [`Config::recovery`](crate::device::config::Config::recovery): [`Recovery::Off`](crate::device::Recovery::Off) |
    /// | `TIMESTAMPS`, `TIMESTAMPS_ALL` | [`Config::timestamps`](crate::device::config::Config::timestamps): off unless asked for |
    /// | `RX_FILTERS` | [`RxMode::PROMISCUOUS`](crate::device::RxMode::PROMISCUOUS), which lets everything through them |
    ///
    /// `TX_GATHER`, `SET_MAC`, `VLAN_FILTERS` and `FLOW_STEERING` do nothing until a frame of several segments is sent, an address, VLANs or a rule set, and `LINK_STATE` and `TX_COUNT` only tell.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Caps: u64 {
        /// It checks the checksums of received frames.
        const RX_CHECKSUM = 1 << 0;
        /// It fills in checksums of frames that it sends ([`Checksum::Partial`](crate::buf::Checksum::Partial)).
        const TX_CHECKSUM = 1 << 1;
        /// A received frame may lie in several buffers, so that buffers need not be as large as the largest frame.
        const RX_SCATTER = 1 << 2;
        /// A frame to be sent may lie in several buffers.
        const TX_GATHER = 1 << 3;
        /// It spreads received flows over several queues by a hash.
        const RSS = 1 << 4;
        /// It has an interrupt for each receive queue.
        const INTERRUPTS = 1 << 5;
        /// It drops frames that are neither for one of its addresses nor asked for by its receive mode.
        const RX_FILTERS = 1 << 6;
        /// It can be given another address.
        const SET_MAC = 1 << 7;
        /// It tells the state of its link.
        const LINK_STATE = 1 << 8;
        /// It drops frames of VLANs that were not asked for.
        const VLAN_FILTERS = 1 << 9;
        /// It takes VLAN tags out of received frames.
        const RX_VLAN_STRIP = 1 << 10;
        /// It puts VLAN tags into frames that it sends.
        const TX_VLAN_INSERT = 1 << 11;
        /// It cuts frames larger than the MTU into many.
        const TX_SEGMENTATION = 1 << 12;
        /// It puts received segments of a flow together.
        const RX_COALESCING = 1 << 13;
        /// It sends received frames of chosen flows to chosen queues.
        const FLOW_STEERING = 1 << 14;
        /// It sends and obeys pause frames.
        const FLOW_CONTROL = 1 << 15;
        /// It stands for several PCI functions.
        const SR_IOV = 1 << 16;
        /// It counts the frames that have left it in [`tx_packets`](crate::device::stats::Stats::tx_packets). Else the driver counts what the queues took.
        const TX_COUNT = 1 << 17;
        /// Its driver resets it where it fails, and sets it up as it was.
        const RECOVERY = 1 << 18;
        /// It puts the headers of received frames into buffers of their own.
        const HEADER_SPLIT = 1 << 19;
        /// It has a clock, and stamps frames of PTP that it receives and any frame that it sends.
        const TIMESTAMPS = 1 << 20;
        /// It stamps every frame that it receives.
        const TIMESTAMPS_ALL = 1 << 21;
        /// It fills in SCTP's CRC32c of frames that it sends.
        const TX_SCTP_CRC = 1 << 22;
        /// It expects an outer VLAN tag on every frame, and does what it does behind that (QinQ, IEEE 802.1ad).
        const DOUBLE_VLAN = 1 << 23;
        /// It tells the hashes of received frames ([`Frame::rss`](crate::buf::Frame::rss)) on one queue too. A device without it may tell them where it spreads by them.
        const RX_HASH = 1 << 24;
    }
}

impl Caps {
    /// What transmit queues do in software where the device does not, or is not to, unless [`Config::software`](crate::device::config::Config::software) says
    /// otherwise.
    pub const SOFTWARE: Self = Self::TX_CHECKSUM.union(Self::TX_VLAN_INSERT).union(Self::TX_SCTP_CRC).union(Self::TX_SEGMENTATION);

    /// The names of those that are set.
    ///
    /// ```
    /// use driver_core::device::Caps;
    ///
    /// assert!((Caps::RSS | Caps::RX_CHECKSUM).names().eq(["RX_CHECKSUM", "RSS"]));
    /// ```
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::all().iter_names().filter_map(move |(name, cap)| self.contains(cap).then_some(name))
    }
}
