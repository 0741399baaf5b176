//! What is generated.

/// The shortest frame generated: Ethernet's minimum without frame check sequence, in bytes.
pub const MIN_BYTES: usize = 60;
/// The longest frame generated, in bytes: an MTU of 9710 and an Ethernet header.
pub const MAX_BYTES: usize = 9724;

/// What a [`pair`](super::pair) generates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficConfig {
    /// Length of every frame in bytes, [`MIN_BYTES`] to [`MAX_BYTES`].
    pub frame_bytes: usize,
    /// Told apart by this number: frames of another pair count as corrupted.
    pub flow: u32,
    /// The MAC addresses of the two cards: what the wire at a card generates is addressed to that card, from the other.
    pub macs: [[u8; 6]; 2],
    /// 0: frames of no protocol above Ethernet, all of them in one order. More: UDP over IPv4, of so many flows (64,511 at most) that take turns; each has an order of
    /// its own, whatever a card with several queues does to the others.
    pub udp_flows: u16,
    /// Frames a second in each direction; `None`: as fast as the card takes them.
    pub rate_pps: Option<u64>,
    /// Frames in each direction; `None`: until [`Flow::stop`](super::Flow::stop).
    pub count: Option<u64>,
    /// Generate whether the card has a free descriptor or not. The card counts what it drops ("missed"); hand that number to [`FlowTotals::lost`](super::FlowTotals::lost).
    pub flood: bool,
    /// Time each frame from its generator to its checker: [`Flow::latency`](super::Flow::latency).
    pub latency: bool,
}

impl Default for TrafficConfig {
    /// Frames of 60 bytes as fast as the card takes them, until stopped, to cards that receive any address.
    fn default() -> Self {
        let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
        Self { frame_bytes: MIN_BYTES, flow: 1, macs, udp_flows: 0, rate_pps: None, count: None, flood: false, latency: false }
    }
}
