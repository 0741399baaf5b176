//! The Toeplitz hash, by which devices spread flows over receive queues (RSS): the same in software, of what they hash.
//!
//! The definition is Microsoft's (*RSS hashing functions* and *RSS hashing types*), which the 82599 (7.1.2.8.1) and virtio (5.1.6.4.3) take over. A device's
//! hash ([`Frame::rss`](crate::buf::Frame::rss)) is that of [`FlowTuple::hash`] with the key and the types that it is set to.

use core::net::{Ipv4Addr, Ipv6Addr};

use bitflags::bitflags;

use crate::buf::frame::Frame;
use crate::buf::meta::{Rss, RssKind};
use crate::offload::packet::{TCP, Transport, UDP, bytes, ip_addresses, transport};

bitflags! {
    /// What of a frame is hashed: the first of these that is set and that the frame is, ports before addresses alone.
    ///
    /// The last three take, in place of an address, the one that an extension header names: the home address of a destination option, the last stop of a
    /// routing header (RFC 6275). They are virtio's and Microsoft's; no card that `ixgbe` drives has them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RssTypes: u32 {
        /// The addresses of an IPv4 packet.
        const IPV4 = 1 << 0;
        /// Addresses and ports of TCP over IPv4.
        const TCP_IPV4 = 1 << 1;
        /// Addresses and ports of UDP over IPv4.
        const UDP_IPV4 = 1 << 2;
        /// The addresses of an IPv6 packet.
        const IPV6 = 1 << 3;
        /// Addresses and ports of TCP over IPv6.
        const TCP_IPV6 = 1 << 4;
        /// Addresses and ports of UDP over IPv6.
        const UDP_IPV6 = 1 << 5;
        /// As `IPV6`, with the addresses of extension headers.
        const IPV6_EX = 1 << 6;
        /// As `TCP_IPV6`, with the addresses of extension headers.
        const TCP_IPV6_EX = 1 << 7;
        /// As `UDP_IPV6`, with the addresses of extension headers.
        const UDP_IPV6_EX = 1 << 8;
    }
}

impl RssTypes {
    /// The names of those that are set.
    ///
    /// ```
    /// use driver_core::offload::RssTypes;
    ///
    /// assert!((RssTypes::UDP_IPV4 | RssTypes::IPV4).names().eq(["IPV4", "UDP_IPV4"]));
    /// ```
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::all().iter_names().filter_map(move |(name, kind)| self.contains(kind).then_some(name))
    }
}

/// The hash of `input` by `key`: for each bit of the input that is set, the 32 bits of the key that begin at its place, combined by exclusive or.
///
/// A key is to have four bytes more than the input (40 for the addresses and ports of IPv6); what it lacks counts as zero.
pub fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
    let key_byte = |at: usize| u64::from(key.get(at).copied().unwrap_or(0));
    let mut window = (0..4).fold(0, |window, at| window << 8 | key_byte(at));
    let mut hash = 0;
    for (at, byte) in input.iter().enumerate() {
        // Behind the 32 bits of the byte's first bit there are eight more, which its other bits begin further on.
        window = window << 8 | key_byte(at + 4);
        hash = (0..8).filter(|bit| byte >> (7 - bit) & 1 != 0).fold(hash, |hash, bit| hash ^ (window >> (8 - bit)) as u32);
    }
    hash
}

/// Longest input: two IPv6 addresses and two ports.
const INPUT_BYTES: usize = 36;

/// What tells a flow from others: addresses, and ports where its packets have them.
///
/// ```
/// use driver_core::buf::RssKind;
/// use driver_core::device::RssConfig;
/// use driver_core::offload::{FlowTuple, RssTypes};
///
/// let flow = FlowTuple::v4([66, 9, 149, 187].into(), [161, 142, 100, 80].into()).tcp(2794, 1766);
/// let rss = flow.hash(RssConfig::new().key_bytes(), RssTypes::TCP_IPV4 | RssTypes::IPV4).unwrap();
/// assert_eq!((rss.hash, rss.kind), (0x51cc_c178, RssKind::Tcp));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    addresses: Addresses,
    /// The kind, and source and destination port.
    ports: Option<(Kind, [u16; 2])>,
}

/// Source and destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Addresses {
    V4([Ipv4Addr; 2]),
    V6([Ipv6Addr; 2]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Tcp,
    Udp,
}

impl FlowTuple {
    /// Packets of IPv4.
    pub const fn v4(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { addresses: Addresses::V4([source, destination]), ports: None }
    }
    /// Packets of IPv6.
    pub const fn v6(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { addresses: Addresses::V6([source, destination]), ports: None }
    }
    /// With TCP ports.
    pub const fn tcp(self, source: u16, destination: u16) -> Self {
        Self { ports: Some((Kind::Tcp, [source, destination])), ..self }
    }
    /// With UDP ports.
    pub const fn udp(self, source: u16, destination: u16) -> Self {
        Self { ports: Some((Kind::Udp, [source, destination])), ..self }
    }

    /// Of a frame, behind up to two VLAN tags; `None` where it is no IP packet. A fragment has no ports, whichever of its packet it is and be it the only one, and
    /// neither has a packet whose lengths make no sense.
    pub fn of(frame: &Frame) -> Option<Self> {
        let mut raw = [0; 32];
        let raw = ip_addresses(frame, &mut raw)?;
        let flow = match raw.len() {
            8 => {
                let [source, destination] = halves::<4>(raw)?;
                Self::v4(source.into(), destination.into())
            }
            _ => {
                let [source, destination] = halves::<16>(raw)?;
                Self::v6(source.into(), destination.into())
            }
        };
        let has_ports = |found: &Transport| matches!(found.protocol, TCP | UDP) && !found.is_atomic_fragment;
        let Some(found) = transport(frame).ok().filter(has_ports) else { return Some(flow) };
        let [a, b, c, d] = bytes(frame, found.from).ok()?;
        let (source, destination) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Some(if found.protocol == TCP { flow.tcp(source, destination) } else { flow.udp(source, destination) })
    }

    /// What a device set to `types` says of the flow's frames: the hash by `key`, and what it covers; `None` where it hashes nothing of them.
    pub fn hash(&self, key: &[u8], types: RssTypes) -> Option<Rss> {
        let (alone, tcp, udp) = match self.addresses {
            Addresses::V4(_) => (RssTypes::IPV4, RssTypes::TCP_IPV4, RssTypes::UDP_IPV4),
            Addresses::V6(_) => (RssTypes::IPV6, RssTypes::TCP_IPV6, RssTypes::UDP_IPV6),
        };
        let with_ports = self.ports.and_then(|(transport, ports)| {
            let (needed, kind) = match transport {
                Kind::Tcp => (tcp, RssKind::Tcp),
                Kind::Udp => (udp, RssKind::Udp),
            };
            types.contains(needed).then_some((kind, Some(ports)))
        });
        let (kind, ports) = with_ports.or_else(|| types.contains(alone).then_some((RssKind::Ip, None)))?;
        let (input, len) = self.input(ports);
        Some(Rss { hash: toeplitz(key, &input[..len]), kind })
    }

    /// What is hashed, as it stands in a packet: addresses, then ports.
    fn input(&self, ports: Option<[u16; 2]>) -> ([u8; INPUT_BYTES], usize) {
        let (mut input, mut len) = ([0; INPUT_BYTES], 0);
        let mut put = |bytes: &[u8]| {
            input[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        match self.addresses {
            Addresses::V4(both) => both.iter().for_each(|address| put(&address.octets())),
            Addresses::V6(both) => both.iter().for_each(|address| put(&address.octets())),
        }
        ports.into_iter().flatten().for_each(|port| put(&port.to_be_bytes()));
        (input, len)
    }
}

/// Two times `N` bytes.
fn halves<const N: usize>(raw: &[u8]) -> Option<[[u8; N]; 2]> {
    Some([*raw.first_chunk()?, *raw.last_chunk()?])
}

#[cfg(test)]
#[path = "toeplitz_tests.rs"]
mod tests;
