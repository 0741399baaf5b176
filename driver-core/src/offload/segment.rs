//! How a frame is cut into many: where its headers lie, which each of them repeats, and what becomes of them.

use alloc::vec::Vec;
use core::fmt;

use crate::buf::frame::Frame;
use crate::buf::meta::{Checksum, Segmentation, SegmentationKind};
use crate::buf::pool::BufPool;
use crate::offload::checksum::{fill_ipv4, fill_transport};
use crate::offload::packet::{DESTINATION, HOP_BY_HOP, IPV4, IPV4_CHECKSUM, IPV6, MAX_EXTENSIONS, ROUTING, TCP, UDP, network_in};
use crate::offload::sum::{Sum, fold, pieces};

/// TCP's flags that the first of several segments keeps alone, and those of the last.
const CWR: u8 = 0x80;
const FIN_PSH: u8 = 0x09;

/// Why a frame cannot be cut. It is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentationError {
    /// What is asked for is not the kind of packet that the frame's first buffer begins with, headers and all.
    Headers(SegmentationKind),
    /// The packet's headers have another length than its metadata say.
    HeaderBytes {
        /// What the metadata say.
        said: u16,
        /// What Ethernet's, IP's and the transport's headers have together.
        found: u16,
    },
    /// Segments are to have no bytes (`mss_bytes` is 0).
    NoBytes,
    /// The frame has so many bytes behind its headers.
    Payload {
        /// How many.
        bytes: usize,
        /// The most that the device cuts.
        max: usize,
    },
    /// The frame asks for a checksum at another place than that of its transport.
    Checksum,
    /// The pool has no buffer for a segment.
    PoolEmpty,
}

impl fmt::Display for SegmentationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headers(kind) => write!(
                f,
                "the frame is to be cut as {kind:?}, and its first buffer does not begin with whole headers of that kind: put all headers there, and name the kind that it is"
            ),
            Self::HeaderBytes { said, found } => {
                write!(f, "the frame is to be cut behind headers of {said} bytes, and its headers have {found}: correct Segmentation::header_bytes")
            }
            Self::NoBytes => f.write_str("the frame is to be cut into segments without bytes: set Segmentation::mss_bytes"),
            Self::Payload { bytes: 0, .. } => f.write_str("the frame is to be cut, and has no bytes behind its headers: send it without segmentation"),
            Self::Payload { bytes, max } => {
                write!(f, "the frame is to be cut, and has {bytes} bytes behind its headers, more than the device cuts ({max}): make it shorter")
            }
            Self::Checksum => f.write_str(
                "the frame is to be cut, and asks for a checksum at another place than its transport's: ask for that, or for none, since it is filled in anyway",
            ),
            Self::PoolEmpty => f.write_str("no buffer is free for a segment: give the pool more, or cut later"),
        }
    }
}
impl core::error::Error for SegmentationError {}

/// Where the headers lie of a frame that is to be cut, and into what: its metadata, held to its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Headers {
    /// Ethernet's header, with VLAN tags.
    pub mac_bytes: u16,
    /// That of IP, with options or extension headers.
    pub ip_bytes: u16,
    /// That of TCP, with options, or of UDP.
    pub l4_bytes: u16,
    /// Whether it is IPv6.
    pub is_ipv6: bool,
    /// Whether it is TCP, and not UDP.
    pub is_tcp: bool,
    /// Bytes behind the headers in each segment but the last.
    pub mss_bytes: u16,
    /// Bytes behind the headers of the frame.
    pub payload_bytes: usize,
}

impl Segmentation {
    /// How a frame would be cut again that a device put together from so many TCP segments; `None` where it does not begin with headers of TCP, or has fewer bytes
    /// behind them than there were segments. All but the last count as equally long, which is as long as they were where none was short.
    pub fn of_coalesced(frame: &Frame, segments: u16) -> Option<Self> {
        let (mac_bytes, ip_bytes, l4_bytes, is_ipv6, is_tcp) = find(frame)?;
        let header_bytes = mac_bytes + ip_bytes + l4_bytes;
        let payload_bytes = frame.len().checked_sub(header_bytes)?;
        if !is_tcp || segments == 0 || payload_bytes < usize::from(segments) {
            return None;
        }
        let kind = if is_ipv6 { SegmentationKind::Tcp6 } else { SegmentationKind::Tcp4 };
        let mss_bytes = payload_bytes.div_ceil(segments.into()).try_into().ok()?;
        Some(Self { kind, mss_bytes, header_bytes: header_bytes.try_into().ok()? })
    }

    /// How a received frame is cut again, of which the device says what kind it is and how long its segments were; and its headers, in which is found where they
    /// end.
    ///
    /// # Errors
    /// [`SegmentationError`]: it is not what the device says.
    pub fn of_received(frame: &Frame, kind: SegmentationKind, mss_bytes: u16) -> Result<(Self, Headers), SegmentationError> {
        let (mac_bytes, ip_bytes, l4_bytes, ..) = find(frame).ok_or(SegmentationError::Headers(kind))?;
        // Of headers that do not lie in the first buffer, the next says so.
        let cut = Self { kind, mss_bytes, header_bytes: (mac_bytes + ip_bytes + l4_bytes) as u16 };
        Ok((cut, Headers::of(frame, cut)?))
    }
}

impl Headers {
    /// Of a frame that is to be cut by `cut`.
    ///
    /// # Errors
    /// [`SegmentationError`]
    pub fn of(frame: &Frame, cut: Segmentation) -> Result<Self, SegmentationError> {
        Self::of_bytes(frame, cut, frame.len())
    }

    /// The same, where it is known that the frame has so many bytes.
    ///
    /// # Errors
    /// As for [`Headers::of`].
    #[inline]
    pub fn of_bytes(frame: &Frame, cut: Segmentation, len_bytes: usize) -> Result<Self, SegmentationError> {
        let (mac_bytes, ip_bytes, l4_bytes, is_ipv6, is_tcp) = find(frame).ok_or(SegmentationError::Headers(cut.kind))?;
        let is_kind = match cut.kind {
            SegmentationKind::Tcp4 => is_tcp && !is_ipv6,
            SegmentationKind::Tcp6 => is_tcp && is_ipv6,
            SegmentationKind::Udp => !is_tcp,
        };
        let found = mac_bytes + ip_bytes + l4_bytes;
        if !is_kind || frame.linear_len() < found {
            return Err(SegmentationError::Headers(cut.kind));
        }
        if found != cut.header_bytes.into() {
            return Err(SegmentationError::HeaderBytes { said: cut.header_bytes, found: found as u16 });
        }
        if cut.mss_bytes == 0 {
            return Err(SegmentationError::NoBytes);
        }
        let payload_bytes = len_bytes.saturating_sub(found);
        if payload_bytes == 0 {
            return Err(SegmentationError::Payload { bytes: 0, max: usize::MAX });
        }
        // What was found lies within a buffer, whose length has 16 bits.
        let [mac_bytes, ip_bytes, l4_bytes] = [mac_bytes, ip_bytes, l4_bytes].map(|bytes| bytes as u16);
        let headers = Self { mac_bytes, ip_bytes, l4_bytes, is_ipv6, is_tcp, mss_bytes: cut.mss_bytes, payload_bytes };
        match frame.checksum() {
            Checksum::Partial { start, offset } if (usize::from(start), usize::from(offset)) != (headers.l4_at(), headers.sum_offset()) => {
                Err(SegmentationError::Checksum)
            }
            Checksum::PartialSctp { .. } => Err(SegmentationError::Checksum),
            _ => Ok(headers),
        }
    }

    /// All of them together, in bytes.
    pub fn bytes(&self) -> usize {
        self.l4_at() + usize::from(self.l4_bytes)
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.payload_bytes.div_ceil(self.mss_bytes.into())
    }

    /// The bytes of the longest segment, headers included.
    pub fn longest(&self) -> usize {
        self.bytes() + self.payload_bytes.min(self.mss_bytes.into())
    }

    fn l4_at(&self) -> usize {
        usize::from(self.mac_bytes + self.ip_bytes)
    }

    fn sum_offset(&self) -> usize {
        if self.is_tcp { 16 } else { 6 }
    }

    /// Writes into the frame's headers what devices want to find there that cut: no IPv4 checksum, and in the transport's the pseudo header's sum, without a length.
    pub fn prime(&self, frame: &mut Frame) {
        let (ip, l4) = (usize::from(self.mac_bytes), self.l4_at());
        let data = frame.data_mut();
        let mut pseudo = Sum::new();
        let addresses = if self.is_ipv6 { ip + 8..ip + 40 } else { ip + 12..ip + 20 };
        pseudo.add(data.get(addresses).unwrap_or_default());
        pseudo.add(&[0, if self.is_tcp { TCP } else { UDP }]);
        if !self.is_ipv6 {
            put(data, ip + IPV4_CHECKSUM, [0; 2]);
        }
        put(data, l4 + self.sum_offset(), pseudo.value().to_be_bytes());
    }

    /// How many bytes the packet has as a whole, IP's header included.
    pub fn packet_bytes(&self) -> usize {
        usize::from(self.ip_bytes) + usize::from(self.l4_bytes) + self.payload_bytes
    }

    /// Where the transport's checksum goes, as a frame asks for it.
    pub fn partial(&self) -> Checksum {
        let (start, offset) = self.partial_place();
        Checksum::Partial { start, offset }
    }

    /// Where its sum begins, in bytes from the frame's start, and where it goes, counted from there.
    #[inline]
    pub fn partial_place(&self) -> (u16, u16) {
        // Both lie within a buffer, whose length has 16 bits.
        (self.l4_at() as u16, self.sum_offset() as u16)
    }

    /// Whether it is TCP with CWR: the sender answers a mark of congestion (RFC 3168, section 6.1.2).
    pub fn has_ecn(&self, frame: &Frame) -> bool {
        self.is_tcp && get::<1>(frame.data(), self.l4_at() + 13)[0] & CWR != 0
    }

    /// Writes into the frame's headers what devices want to find there that may hand the frame on uncut: lengths of the packet as a whole, IPv4's checksum, and in the
    /// transport's the sum of the pseudo header, length included. The packet has 65,535 bytes at most.
    #[inline]
    pub fn complete(&self, frame: &mut Frame) {
        let (ip, l4) = (usize::from(self.mac_bytes), self.l4_at());
        let packet_bytes = self.packet_bytes();
        let l4_bytes = packet_bytes - usize::from(self.ip_bytes);
        let data = frame.data_mut();
        // They were found in these bytes.
        let Some((network, transport)) = data.get_mut(ip..).and_then(|packet| packet.split_at_mut_checked(l4 - ip)) else { return };
        let addresses = if self.is_ipv6 {
            put(network, 4, ((packet_bytes - 40) as u16).to_be_bytes());
            words(network.get(8..40))
        } else {
            put(network, 2, (packet_bytes as u16).to_be_bytes());
            put(network, IPV4_CHECKSUM, [0; 2]);
            let checksum = !fold(words(Some(network)));
            put(network, IPV4_CHECKSUM, checksum.to_be_bytes());
            words(network.get(12..20))
        };
        if !self.is_tcp {
            put(transport, 4, (l4_bytes as u16).to_be_bytes());
        }
        let protocol = if self.is_tcp { TCP } else { UDP };
        put(transport, self.sum_offset(), fold(addresses + u64::from(protocol) + l4_bytes as u64).to_be_bytes());
    }

    /// Corrects the headers of segment `index`, which has `len_bytes` bytes: lengths, identification, sequence number, flags.
    fn correct(&self, data: &mut [u8], index: usize, len_bytes: usize) {
        let (ip, l4) = (usize::from(self.mac_bytes), self.l4_at());
        let packet_bytes = len_bytes - ip;
        if self.is_ipv6 {
            put(data, ip + 4, ((packet_bytes - 40) as u16).to_be_bytes());
        } else {
            put(data, ip + 2, (packet_bytes as u16).to_be_bytes());
            let identification = u16::from_be_bytes(get(data, ip + 4)).wrapping_add(index as u16);
            put(data, ip + 4, identification.to_be_bytes());
        }
        if !self.is_tcp {
            return put(data, l4 + 4, ((len_bytes - l4) as u16).to_be_bytes());
        }
        let sequence = u32::from_be_bytes(get(data, l4 + 4)).wrapping_add((index * usize::from(self.mss_bytes)) as u32);
        put(data, l4 + 4, sequence.to_be_bytes());
        let [flags] = get(data, l4 + 13);
        let (is_first, is_last) = (index == 0, index + 1 == self.segments());
        let dropped = if is_first { 0 } else { CWR } | if is_last { 0 } else { FIN_PSH };
        put(data, l4 + 13, [flags & !dropped]);
    }
}

/// The sum of the 32-bit words of a header, which has whole ones.
#[inline(always)]
fn words(header: Option<&[u8]>) -> u64 {
    header.unwrap_or_default().chunks_exact(4).map(|word| u64::from(u32::from_be_bytes(get(word, 0)))).sum()
}

fn get<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    data.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn put<const N: usize>(data: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = data.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

/// The bytes of Ethernet's, IP's and the transport's headers, and whether these are IPv6 and TCP; `None` where they are none that can be cut.
#[inline]
fn find(frame: &Frame) -> Option<(usize, usize, usize, bool, bool)> {
    // Of the first buffer, where all headers are.
    let byte = |at: usize| frame.data().get(at).copied();
    let (kind, ip) = network_in(frame.data())?;
    let (protocol, l4, is_ipv6) = match (kind, byte(ip)? >> 4) {
        (IPV4, 4) => {
            let is_fragment = u16::from_be_bytes([byte(ip + 6)?, byte(ip + 7)?]) & 0x3fff != 0;
            let len = usize::from(byte(ip)? & 0xf) * 4;
            (byte(ip + 9)?, (len >= 20 && !is_fragment).then_some(ip + len)?, false)
        }
        (IPV6, 6) => {
            let (mut next, mut at) = (byte(ip + 6)?, ip + 40);
            for _ in 0..MAX_EXTENSIONS {
                if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION) {
                    break;
                }
                (next, at) = (byte(at)?, at + 8 + usize::from(byte(at + 1)?) * 8);
            }
            (next, at, true)
        }
        _ => return None,
    };
    match protocol {
        TCP => Some(usize::from(byte(l4 + 12)? >> 4) * 4).filter(|&len| len >= 20).map(|len| (ip, l4 - ip, len, is_ipv6, true)),
        UDP => Some((ip, l4 - ip, 8, is_ipv6, false)),
        _ => None,
    }
}

impl Frame {
    /// How many frames the device makes of it.
    pub(crate) fn segments_on_wire(&self) -> usize {
        self.segmentation().and_then(|cut| Headers::of(self, cut).ok()).map_or(1, |headers| headers.segments())
    }

    /// Cuts the frame as it asks for ([`Frame::segmentation`]), into frames in buffers of `pool`, whose checksums are filled in: what a device does that cuts by
    /// itself (Linux: `skb_segment`). A VLAN tag that it asks for is theirs as well. A frame that asks for nothing gives none.
    ///
    /// ```
    /// # #[cfg(not(feature = "testing"))]
    /// # fn main() {}
    /// # #[cfg(feature = "testing")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use driver_core::buf::{BufPool, PoolConfig, Segmentation, SegmentationKind};
    ///
    /// let (domain, _) = driver_core::testing::domain(); // a driver has it from its device
    /// let pool = BufPool::new(&domain, PoolConfig::new(64))?;
    /// // UDP over IPv4: 42 bytes of headers, 250 of payload.
    /// let mut frame = pool.frame_from(b"to....from..\x08\0\x45\0\0\0\0\x07\0\0\x40\x11\0\0\x0a\0\0\x01\x0a\0\0\x02\0\x09\0\x09\0\0\0\0")?;
    /// frame.extend_from_slice(&pool, &[7; 250])?;
    /// frame.set_segmentation(Some(Segmentation { kind: SegmentationKind::Udp, mss_bytes: 100, header_bytes: 42 }));
    /// let lengths: Vec<usize> = frame.cut(&pool)?.iter().map(|segment| segment.len()).collect();
    /// assert_eq!(lengths, [142, 142, 92]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SegmentationError`]
    pub fn cut(&self, pool: &BufPool) -> Result<Vec<Self>, SegmentationError> {
        let Some(cut) = self.segmentation() else { return Ok(Vec::new()) };
        let headers = Headers::of(self, cut)?;
        (0..headers.segments()).map(|index| self.cut_one(&headers, cut.kind, index, pool)).collect()
    }

    fn cut_one(&self, headers: &Headers, kind: SegmentationKind, index: usize, pool: &BufPool) -> Result<Self, SegmentationError> {
        let mut segment = pool.frame_from(self.data().get(..headers.bytes()).unwrap_or_default()).map_err(|_| SegmentationError::PoolEmpty)?;
        let from = headers.bytes() + index * usize::from(headers.mss_bytes);
        for piece in pieces(self, from, from + usize::from(headers.mss_bytes)) {
            segment.extend_from_slice(pool, piece).map_err(|_| SegmentationError::PoolEmpty)?;
        }
        let len_bytes = segment.len();
        headers.correct(segment.data_mut(), index, len_bytes);
        if !headers.is_ipv6 {
            fill_ipv4(&mut segment).map_err(|_| SegmentationError::Headers(kind))?;
        }
        fill_transport(&mut segment).map_err(|_| SegmentationError::Headers(kind))?;
        segment.set_vlan(self.vlan());
        Ok(segment)
    }
}
