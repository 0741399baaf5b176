//! What is decided about a frame before the stack sees it: what smoltcp 0.14 does otherwise than a host should.

use std::borrow::Cow;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv4Address, Ipv4Packet, Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress, UdpPacket,
};

use crate::common::warn;

/// EtherType of a VLAN tag (IEEE 802.1Q), and the bits of its identifier.
const VLAN: u16 = 0x8100;
const VLAN_ID: u16 = 0x0fff;
/// Where Ethernet's payload begins, where an IPv6 header ends after it, and its fields for length and next header.
const ETHERNET_BYTES: usize = 14;
const IPV6_BYTES: usize = 40;
const IPV6_LENGTH: usize = ETHERNET_BYTES + 4;
const IPV6_NEXT_HEADER: usize = ETHERNET_BYTES + 6;

/// What becomes of a frame.
pub(crate) enum Verdict {
    /// It goes to the stack.
    Pass,
    /// This goes to the stack in its place.
    Instead(Vec<u8>),
    Drop,
    /// It is answered here.
    Answer(Vec<u8>),
}

/// Our addresses, and who else was seen with one of them.
pub(crate) struct Screen {
    mac: EthernetAddress,
    ipv4: Ipv4Address,
    ipv6: Vec<Ipv6Address>,
    conflicts: Vec<String>,
}

impl Screen {
    pub(crate) fn new(mac: EthernetAddress, ipv4: Ipv4Address, ipv6: Vec<Ipv6Address>) -> Self {
        Self { mac, ipv4, ipv6, conflicts: Vec::new() }
    }

    /// Questions whether anybody has one of our addresses (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2); who answers is told by [`Screen::look`].
    pub(crate) fn probes(&self) -> Vec<Vec<u8>> {
        let arp = self.arp(ArpOperation::Request, EthernetAddress::BROADCAST, EthernetAddress([0; 6]), Ipv4Address::UNSPECIFIED, self.ipv4);
        let solicit = |own: &Ipv6Address| {
            let [.., a, b, c] = own.octets();
            let group = Ipv6Address::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
            self.discovery(Ipv6Address::UNSPECIFIED, group, NdiscRepr::NeighborSolicit { target_addr: *own, lladdr: None })
        };
        [arp].into_iter().chain(self.ipv6.iter().map(solicit)).collect()
    }

    /// Looks at a frame that arrived.
    pub(crate) fn look(&mut self, frame: &[u8]) -> Verdict {
        let Ok(ethernet) = EthernetFrame::new_checked(frame) else { return Verdict::Drop };
        match ethernet.ethertype() {
            EthernetProtocol::Unknown(VLAN) => self.tagged(frame),
            EthernetProtocol::Arp => self.arp_arrived(ethernet.payload()),
            EthernetProtocol::Ipv4 => self.ipv4_arrived(ethernet.payload()),
            EthernetProtocol::Ipv6 => self.ipv6_arrived(frame, ethernet.src_addr()),
            EthernetProtocol::Unknown(_) => Verdict::Pass,
        }
    }

    /// A tag with identifier 0 gives a priority and names no VLAN (IEEE 802.1Q section 9.6).
    fn tagged(&mut self, frame: &[u8]) -> Verdict {
        let id = frame.get(ETHERNET_BYTES..).and_then(|rest| rest.first_chunk()).map(|tag| u16::from_be_bytes(*tag) & VLAN_ID);
        if id != Some(0) {
            return Verdict::Drop;
        }
        let untagged = [&frame[..12], frame.get(ETHERNET_BYTES + 2..).unwrap_or_default()].concat();
        // Of several tags the first is the one that counts.
        if untagged.get(12..14) == Some(&VLAN.to_be_bytes()) {
            return Verdict::Drop;
        }
        match self.look(&untagged) {
            Verdict::Pass => Verdict::Instead(untagged),
            verdict => verdict,
        }
    }

    fn arp_arrived(&mut self, packet: &[u8]) -> Verdict {
        let Ok(ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, target_protocol_addr, .. }) =
            ArpPacket::new_checked(packet).and_then(|packet| ArpRepr::parse(&packet))
        else {
            return Verdict::Drop;
        };
        if source_protocol_addr == self.ipv4 && source_hardware_addr != self.mac {
            self.conflict(format!("{} is the address of {source_hardware_addr}, too", self.ipv4));
        }
        // Who looks whether an address is taken has none yet (RFC 5227 section 1.1); smoltcp wants one.
        let is_probe = operation == ArpOperation::Request && source_protocol_addr.is_unspecified() && target_protocol_addr == self.ipv4;
        if is_probe && source_hardware_addr.is_unicast() && source_hardware_addr != self.mac {
            let answer = self.arp(ArpOperation::Reply, source_hardware_addr, source_hardware_addr, self.ipv4, Ipv4Address::UNSPECIFIED);
            return Verdict::Answer(answer);
        }
        Verdict::Pass
    }

    /// A ping to a group or to all is not answered (RFC 1122 section 3.2.2.6 leaves it open): it would be one frame in and many out.
    fn ipv4_arrived(&self, packet: &[u8]) -> Verdict {
        let Ok(packet) = Ipv4Packet::new_checked(packet) else { return Verdict::Drop };
        if packet.next_header() == IpProtocol::Icmp && packet.dst_addr() != self.ipv4 { Verdict::Drop } else { Verdict::Pass }
    }

    fn ipv6_arrived(&mut self, frame: &[u8], from: EthernetAddress) -> Verdict {
        let Some(bare) = without_extensions(frame) else { return Verdict::Drop };
        let Ok(packet) = Ipv6Packet::new_checked(&bare[ETHERNET_BYTES..]) else { return Verdict::Drop };
        let (source, destination) = (packet.src_addr(), packet.dst_addr());
        if packet.next_header() == IpProtocol::Icmpv6 {
            let Ok(message) = Icmpv6Packet::new_checked(packet.payload()) else { return Verdict::Drop };
            match Icmpv6Repr::parse(&source, &destination, &message, &smoltcp::phy::ChecksumCapabilities::default()) {
                Ok(Icmpv6Repr::EchoRequest { .. }) if destination.is_multicast() => return Verdict::Drop,
                Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, .. })) if self.ipv6.contains(&target_addr) && from != self.mac => {
                    self.conflict(format!("{target_addr} is the address of {from}, too"));
                }
                // Somebody looks whether the address is taken (RFC 4862 section 5.4.3): all nodes are told (RFC 4861 section 7.2.4).
                Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. }))
                    if source.is_unspecified() && self.ipv6.contains(&target_addr) && from != self.mac && packet.hop_limit() == 255 =>
                {
                    let lladdr = Some(RawHardwareAddress::from(self.mac));
                    let advertisement = NdiscRepr::NeighborAdvert { flags: NdiscNeighborFlags::OVERRIDE, target_addr, lladdr };
                    return Verdict::Answer(self.discovery(target_addr, Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1), advertisement));
                }
                _ => {}
            }
        } else if packet.next_header() == IpProtocol::Udp {
            let Ok(datagram) = UdpPacket::new_checked(packet.payload()) else { return Verdict::Drop };
            // RFC 8200 section 8.1; and RFC 4443 section 2.4 (e): a group that asks a port without a listener hears of no error.
            if datagram.checksum() == 0 || destination.is_multicast() && datagram.dst_port() != crate::echo::PORT {
                return Verdict::Drop;
            }
        } else if destination.is_multicast() {
            return Verdict::Drop;
        }
        match bare {
            Cow::Borrowed(_) => Verdict::Pass,
            Cow::Owned(bare) => Verdict::Instead(bare),
        }
    }

    /// Tells, once of each.
    fn conflict(&mut self, what: String) {
        if !self.conflicts.contains(&what) {
            warn(format_args!("warning: address conflict: {what}: give one of the two another"));
            self.conflicts.push(what);
        }
    }

    fn arp(
        &self,
        operation: ArpOperation,
        to: EthernetAddress,
        target: EthernetAddress,
        source_protocol_addr: Ipv4Address,
        asked: Ipv4Address,
    ) -> Vec<u8> {
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: self.mac,
            source_protocol_addr,
            target_hardware_addr: target,
            target_protocol_addr: asked,
        };
        let mut frame = self.ethernet(to, EthernetProtocol::Arp, repr.buffer_len());
        repr.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_BYTES..]));
        frame
    }

    /// A message of neighbour discovery to a group.
    fn discovery(&self, source: Ipv6Address, group: Ipv6Address, message: NdiscRepr<'_>) -> Vec<u8> {
        let message = Icmpv6Repr::Ndisc(message);
        let header =
            Ipv6Repr { src_addr: source, dst_addr: group, next_header: IpProtocol::Icmpv6, payload_len: message.buffer_len(), hop_limit: 255 };
        let [.., a, b, c, d] = group.octets();
        // RFC 2464 section 7.
        let mut frame = self.ethernet(EthernetAddress([0x33, 0x33, a, b, c, d]), EthernetProtocol::Ipv6, IPV6_BYTES + message.buffer_len());
        header.emit(&mut Ipv6Packet::new_unchecked(&mut frame[ETHERNET_BYTES..]));
        let mut payload = Icmpv6Packet::new_unchecked(&mut frame[ETHERNET_BYTES + IPV6_BYTES..]);
        message.emit(&source, &group, &mut payload, &smoltcp::phy::ChecksumCapabilities::default());
        frame
    }

    fn ethernet(&self, dst_addr: EthernetAddress, ethertype: EthernetProtocol, payload_bytes: usize) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_BYTES + payload_bytes];
        EthernetRepr { src_addr: self.mac, dst_addr, ethertype }.emit(&mut EthernetFrame::new_unchecked(&mut frame));
        frame
    }
}

/// The frame without the extension headers that say nothing to a host: options for the destination that are padding, a routing header with no
/// segment left, a fragment that is the whole packet (RFC 8200 section 4, RFC 6946). `None`: not for us to answer, not even with an error (what
/// follows the last header, fragments, options that are unknown). smoltcp calls all of these a parameter problem.
fn without_extensions(frame: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut next = IpProtocol::from(*frame.get(IPV6_NEXT_HEADER)?);
    let mut at = ETHERNET_BYTES + IPV6_BYTES;
    loop {
        let header = frame.get(at..)?.first_chunk::<8>();
        let len = match next {
            IpProtocol::Ipv6NoNxt => return None,
            IpProtocol::Ipv6Opts | IpProtocol::Ipv6Route => 8 * (usize::from(header?[1]) + 1),
            IpProtocol::Ipv6Frag => 8,
            _ => break,
        };
        let is_silent = match (next, header?) {
            (IpProtocol::Ipv6Opts, _) => is_padding(frame.get(at + 2..at + len)?),
            // Segments left.
            (IpProtocol::Ipv6Route, header) => header[3] == 0,
            // Offset, and more fragments.
            (_, header) => u16::from_be_bytes([header[2], header[3]]) & 0xfff9 == 0,
        };
        if !is_silent {
            return None;
        }
        next = IpProtocol::from(header?[0]);
        at += len;
    }
    let cut = at - (ETHERNET_BYTES + IPV6_BYTES);
    if cut == 0 {
        return Some(frame.into());
    }
    let mut bare = [&frame[..ETHERNET_BYTES + IPV6_BYTES], frame.get(at..)?].concat();
    let len = u16::from_be_bytes([frame[IPV6_LENGTH], frame[IPV6_LENGTH + 1]]).checked_sub(u16::try_from(cut).ok()?)?;
    bare[IPV6_LENGTH..IPV6_LENGTH + 2].copy_from_slice(&len.to_be_bytes());
    bare[IPV6_NEXT_HEADER] = next.into();
    Some(bare.into())
}

/// Whether options are Pad1 and PadN alone, or such as are to be skipped where they are unknown (RFC 8200 section 4.2: highest bits 00).
fn is_padding(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => rest,
            (kind, [len, rest @ ..]) if kind >> 6 == 0 => match rest.get(usize::from(*len)..) {
                Some(rest) => rest,
                None => return false,
            },
            _ => return false,
        };
    }
    true
}
