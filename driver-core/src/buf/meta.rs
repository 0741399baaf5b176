//! What is known of a frame: the vocabulary, and the two words in which a frame carries most of it undecoded.
//!
//! The words' layout is ours. Each driver's `desc.rs` says how what its device writes becomes these words. For Intel's 82599 nothing has to be done:
//! the layout is that of its advanced receive write-back (datasheet 331520, section 7.1.6.2) as far as a frame has a use for it, so that the receive
//! ring stores the words as the card wrote them; assertions in the driver hold it to that. A frame that was made to be sent has zeros and a length.
//!
//! | word | bits | name | what |
//! | --- | --- | --- | --- |
//! | 0 | 3:0 | [`KIND_MASK`] | what bits 63:32 are: 0 nothing, 1 to 14 a flow hash of that kind ([`RssKind`]), 15 a flow filter's mark |
//! | 0 | 9 | [`UDP`] | the frame is UDP; the other bits of 16:4 are the device's |
//! | 0 | 20:17 | [`COALESCED_SHIFT`] | one more than the received segments that begin in this buffer; 0 where none were put together |
//! | 0 | 30:21 | [`QUEUE_SHIFT`] | receive queue |
//! | 0 | 31 | | the device's |
//! | 0 | 63:32 | [`VALUE_SHIFT`] | flow hash, or a flow filter's mark |
//! | 1 | 1:0 | | the device's: done, end of frame |
//! | 1 | 2 | [`FLOW_MATCH`] | a flow filter matched |
//! | 1 | 3 | [`VLAN_VALID`] | the device took a VLAN tag out of the frame: bits 63:48 |
//! | 1 | 5 | [`L4_CHECKED`] | the device checked the L4 checksum |
//! | 1 | 6 | [`IP_CHECKED`] | the device checked the IPv4 header checksum |
//! | 1 | 30 | [`L4_BAD`] | the L4 checksum is wrong |
//! | 1 | 31 | [`IP_BAD`] | the IPv4 header checksum is wrong |
//! | 1 | 31:16 | `REQUEST_SHIFT` | instead, of a frame whose tags say that it asks for a checksum: where that is to be filled in |
//! | 1 | 47:32 | [`LEN_SHIFT`] | length of this segment in bytes |
//! | 1 | 63:48 | [`VLAN_SHIFT`] | VLAN tag |
//!
//! What has no place here lies in the pool's private memory once somebody sets it: segmentation, a time stamp, the length of a header that the device
//! split off, more than 14 coalesced segments, SCTP's CRC to be filled in, or a checksum farther from the frame's start than [`Checksum::Partial`] is as a rule. A frame's
//! tags are in its pool's address: no word that a device writes asks for anything.

/// See the [module](self).
pub type Words = [u64; 2];

/// Word 0: what kind of value is in its high half.
pub const KIND_MASK: u64 = 0xf;
/// The kind of a flow filter's mark.
pub const KIND_MARK: u64 = 0xf;
/// Word 0: the frame is UDP. There is hardware that calls the checksum of a UDP frame wrong which has none, so that such a verdict is not believed.
pub const UDP: u64 = 1 << 9;
/// Where word 0 has one more than the number of coalesced segments: 4 bits.
pub const COALESCED_SHIFT: u32 = 17;
/// Where word 0 has the receive queue: 10 bits.
pub const QUEUE_SHIFT: u32 = 21;
/// Where word 0 has the flow hash or mark.
pub const VALUE_SHIFT: u32 = 32;
/// Word 1: a flow filter matched.
pub const FLOW_MATCH: u64 = 1 << 2;
/// Word 1: the VLAN tag is valid.
pub const VLAN_VALID: u64 = 1 << 3;
/// Word 1: the L4 checksum was checked.
pub const L4_CHECKED: u64 = 1 << 5;
/// Word 1: the IPv4 header checksum was checked.
pub const IP_CHECKED: u64 = 1 << 6;
/// Where word 1 has the place of a checksum to be filled in, which leaves no verdict: 10 bits of [`Checksum::Partial`]'s `start`, below 6 of its `offset`.
pub(crate) const REQUEST_SHIFT: u32 = 16;
/// Word 1: the L4 checksum is wrong.
pub const L4_BAD: u64 = 1 << 30;
/// Word 1: the IPv4 header checksum is wrong.
pub const IP_BAD: u64 = 1 << 31;
/// Where word 1 has the segment's length.
pub const LEN_SHIFT: u32 = 32;
/// Where word 1 has the VLAN tag.
pub const VLAN_SHIFT: u32 = 48;

/// What is known about a frame's transport checksum (Linux: `ip_summed`).
///
/// On transmit [`Checksum::Partial`] and [`Checksum::PartialSctp`] alone ask for something: a frame that is forwarded may say what its receiver found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Checksum {
    /// Nothing: software has to check it.
    #[default]
    Unknown,
    /// The device checked it and found it good.
    Good,
    /// The device checked it, or that of the IPv4 header, and found it wrong.
    Bad,
    /// The device found the data good, but the checksum in the frame need not match them: it put the frame together from several. Who sends the
    /// frame on has the checksum computed anew.
    GoodButUnsure,
    /// The device computed the ones' complement sum of the packet behind the Ethernet header, and leaves the verdict to software.
    Complete(u16),
    /// To be filled in: sum from byte `start` of the frame to its end, stored at byte `start + offset`. A received frame says so when it never
    /// crossed a wire: its data are good.
    Partial {
        /// First byte of the sum, counted from the start of the frame.
        start: u16,
        /// Where the sum goes, counted from `start`.
        offset: u16,
    },
    /// SCTP's CRC32c is to be filled in (Linux: `csum_not_inet`): from byte `start` of the frame, where the SCTP header begins, to the frame's end, as if its
    /// own four bytes, from `start + 8` on, were zero (RFC 9260, section 6.8). Bytes that are no part of the packet have to be trimmed off first.
    PartialSctp {
        /// First byte of the SCTP header, counted from the start of the frame.
        start: u16,
    },
}

/// What the flow hash covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
#[allow(clippy::exhaustive_structs, reason = "plain data: a hash, and what it covers")]
pub struct Rss {
    /// The hash.
    pub hash: u32,
    /// What it covers.
    pub kind: RssKind,
}

/// A flow filter of the device (the 82599's flow director) matched the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowMatch {
    /// What the filter was given to be told by, where the device reports it (then it reports no hash).
    pub mark: Option<u32>,
}

/// How a frame larger than the MTU is to be cut, or was put together (Linux: `gso_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
#[allow(clippy::exhaustive_structs, reason = "plain data: what a card's context descriptor has, and virtio's header")]
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
    pub(crate) flow_match: Option<FlowMatch>,
    pub(crate) coalesced: Option<u16>,
    pub(crate) split_header_bytes: Option<u16>,
    pub(crate) queue: u16,
    pub(crate) stamp: Stamp,
}

/// A time stamp. One place for both, so that [`Meta`] is no larger: a frame that asks for a stamp needs that of its arrival no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stamp {
    #[default]
    None,
    /// When it arrived, in nanoseconds.
    Arrived(u64),
    /// It is to have one when it is sent, of which is told by this number.
    Wanted(u32),
}

impl Meta {
    pub(crate) fn from_words(words: &Words) -> Self {
        Self {
            checksum: checksum(words),
            segmentation: None,
            vlan: vlan(words),
            rss: rss(words),
            flow_match: flow_match(words),
            coalesced: coalesced(words),
            split_header_bytes: None,
            queue: queue(words),
            stamp: Stamp::None,
        }
    }
}

pub(crate) fn checksum(words: &Words) -> Checksum {
    let [w0, w1] = *words;
    let has = |bits: u64| w1 & bits == bits;
    if has(IP_CHECKED | IP_BAD) {
        return Checksum::Bad;
    }
    match (has(L4_CHECKED), has(L4_BAD)) {
        (false, _) => Checksum::Unknown,
        (true, true) if w0 & UDP != 0 => Checksum::Unknown,
        (true, true) => Checksum::Bad,
        (true, false) if coalesced(words).is_some() => Checksum::GoodButUnsure,
        (true, false) => Checksum::Good,
    }
}

/// A checksum to be filled in as the words have it, where its place is near enough to the frame's start.
#[inline(always)]
pub(crate) const fn request(start: u16, offset: u16) -> Option<u16> {
    if start < 1 << 10 && offset < 1 << 6 { Some(offset << 10 | start) } else { None }
}

/// What [`request`] made of it, where the frame asks for a checksum.
pub(crate) fn requested([_, w1]: &Words) -> Checksum {
    let request = (w1 >> REQUEST_SHIFT) as u16;
    Checksum::Partial { start: request & 0x3ff, offset: request >> 10 }
}

pub(crate) fn vlan([_, w1]: &Words) -> Option<u16> {
    (w1 & VLAN_VALID != 0).then_some((w1 >> VLAN_SHIFT) as u16)
}

/// The kinds are the 82599's RSS types (table 7-16 of section 7.1.6.2).
pub(crate) fn rss([w0, _]: &Words) -> Option<Rss> {
    let kind = match w0 & KIND_MASK {
        0 | KIND_MARK => return None,
        2 | 4 | 5 => RssKind::Ip,
        1 | 3 | 6 => RssKind::Tcp,
        7..=9 => RssKind::Udp,
        other => RssKind::Other(other as u8),
    };
    Some(Rss { hash: (w0 >> VALUE_SHIFT) as u32, kind })
}

pub(crate) fn flow_match([w0, w1]: &Words) -> Option<FlowMatch> {
    let mark = (w0 & KIND_MASK == KIND_MARK).then_some((w0 >> VALUE_SHIFT) as u32);
    (w1 & FLOW_MATCH != 0).then_some(FlowMatch { mark })
}

pub(crate) fn coalesced([w0, _]: &Words) -> Option<u16> {
    let one_more = (w0 >> COALESCED_SHIFT & 0xf) as u16;
    (one_more > 2).then(|| one_more - 1)
}

pub(crate) fn queue([w0, _]: &Words) -> u16 {
    (w0 >> QUEUE_SHIFT & 0x3ff) as u16
}
