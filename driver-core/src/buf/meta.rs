//! A frame's metadata, and the two words from which it is decoded.
//!
//! The words have the layout of the 82599's advanced receive write-back (datasheet 331520, section 7.1.6.2), so that its receive ring stores
//! them unchanged. Other drivers translate; a frame that was made to be sent has zeros and a length.
//!
//! | word | bits | what |
//! | --- | --- | --- |
//! | 0 | 3:0 | RSS type; 0: no hash |
//! | 0 | 16:4 | packet type |
//! | 0 | 30:21 | receive queue (the driver's; the card's header length is unused) |
//! | 0 | 63:32 | RSS hash |
//! | 1 | 0 | descriptor done |
//! | 1 | 1 | end of packet |
//! | 1 | 3 | VLAN tag stripped, bits 63:48 are valid |
//! | 1 | 5 | the card checked the L4 checksum |
//! | 1 | 6 | the card checked the IPv4 header checksum |
//! | 1 | 30 | L4 checksum wrong |
//! | 1 | 31 | IPv4 header checksum wrong |
//! | 1 | 47:32 | length of this segment in bytes |
//! | 1 | 63:48 | VLAN tag |

/// See the [module](self).
pub type Words = [u64; 2];

/// Where word 0 has the receive queue.
pub const QUEUE_SHIFT: u32 = 21;
/// Where word 1 has the segment's length.
pub const LEN_SHIFT: u32 = 32;
/// Where word 1 has the VLAN tag.
pub const VLAN_SHIFT: u32 = 48;
/// Word 1: the VLAN tag is valid.
pub const VLAN_VALID: u64 = 1 << 3;
/// Word 1: the L4 checksum was checked.
pub const L4_CHECKED: u64 = 1 << 5;
/// Word 1: the IPv4 header checksum was checked.
pub const IP_CHECKED: u64 = 1 << 6;
/// Word 1: the L4 checksum is wrong.
pub const L4_BAD: u64 = 1 << 30;
/// Word 1: the IPv4 header checksum is wrong.
pub const IP_BAD: u64 = 1 << 31;

/// What is known about a frame's transport checksum (Linux: `ip_summed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Nothing: software has to check it. On transmit: the frame is whole.
    #[default]
    None,
    /// The device checked it and found it good.
    Unnecessary,
    /// The device computed the ones' complement sum of the packet behind the Ethernet header.
    Complete(u16),
    /// To be filled in: sum from byte `start` of the frame to its end, stored at byte `start + offset`.
    Partial {
        /// First byte of the sum, counted from the start of the frame.
        start: u16,
        /// Where the sum goes, counted from `start`.
        offset: u16,
    },
}

/// What the flow hash covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RssKind {
    /// Addresses of an IPv4 or IPv6 packet.
    Ip,
    /// Addresses and TCP ports.
    Tcp,
    /// Addresses and UDP ports.
    Udp,
    /// The device names a kind that this version does not know.
    Other(u8),
}

/// The flow hash that a device computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rss {
    /// The hash.
    pub hash: u32,
    /// What it covers.
    pub kind: RssKind,
}

/// How a frame larger than the MTU is to be cut, or was put together (Linux: `gso_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP with a fragment of its own header each.
    Udp,
}

/// Segmentation of one frame into many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// What to cut.
    pub kind: SegmentationKind,
    /// Payload bytes in each segment.
    pub mss_bytes: u16,
    /// Bytes of headers that each segment repeats.
    pub header_bytes: u16,
}

/// Decoded metadata, where the words do not suffice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meta {
    pub(crate) checksum: Checksum,
    pub(crate) segmentation: Option<Segmentation>,
    pub(crate) vlan: Option<u16>,
    pub(crate) rss: Option<Rss>,
    pub(crate) queue: u16,
    pub(crate) timestamp_ns: Option<u64>,
}

impl Meta {
    pub(crate) fn from_words(words: &Words) -> Self {
        Self { checksum: checksum(words), segmentation: None, vlan: vlan(words), rss: rss(words), queue: queue(words), timestamp_ns: None }
    }
}

pub(crate) fn checksum([_, w1]: &Words) -> Checksum {
    let ip_good = w1 & IP_CHECKED == 0 || w1 & IP_BAD == 0;
    if w1 & L4_CHECKED != 0 && w1 & L4_BAD == 0 && ip_good { Checksum::Unnecessary } else { Checksum::None }
}

pub(crate) fn vlan([_, w1]: &Words) -> Option<u16> {
    (w1 & VLAN_VALID != 0).then_some((w1 >> VLAN_SHIFT) as u16)
}

/// RSS types of section 7.1.6.2, table 7-16.
pub(crate) fn rss([w0, _]: &Words) -> Option<Rss> {
    let kind = match (w0 & 0xf) as u8 {
        0 => return None,
        2 | 4 | 5 => RssKind::Ip,
        1 | 3 | 6 => RssKind::Tcp,
        7..=9 => RssKind::Udp,
        other => RssKind::Other(other),
    };
    Some(Rss { hash: (w0 >> 32) as u32, kind })
}

pub(crate) fn queue([w0, _]: &Words) -> u16 {
    (w0 >> QUEUE_SHIFT & 0x3ff) as u16
}
