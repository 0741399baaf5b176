//! What flow director compares of a rule: its fields, and the mask that all rules share (8.2.3.21).

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use driver_core::device::{Masked, Rule};

use crate::filter::five_tuple::wire_order;
use crate::filter::place::other_field;
use crate::regs::Fdirm;

/// Types of flows: none of these, UDP, TCP, SCTP; and IPv6.
const TYPES: [(u8, u32); 3] = [(17, 1), (6, 2), (132, 3)];
const TYPE_IPV6: u32 = 1 << 2;
const VLAN_PRIORITY_SHIFT: u32 = 13;

/// Which bits are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    /// Of the addresses, in the order of the wire.
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    has_protocol: bool,
    has_vlan: bool,
    has_vlan_priority: bool,
}

/// The fields of a flow. What is not compared is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) kind: u32,
    pub(super) vlan: u32,
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    /// The addresses, summed up as the hash wants them.
    addresses: u32,
}

fn port(port: Option<Masked<u16>>) -> (u16, u16) {
    port.map_or((0, 0), |port| (port.value, port.mask))
}

/// The exclusive or of an address's double words as they are on the wire.
fn summed(address: Option<Masked<IpAddr>>) -> u32 {
    match address.map(|address| address.value) {
        None => 0,
        Some(IpAddr::V4(address)) => address.into(),
        Some(IpAddr::V6(address)) => address.octets().as_chunks().0.iter().fold(0, |sum, &word| sum ^ u32::from_be_bytes(word)),
    }
}

impl Fields {
    pub(super) fn of(rule: &Rule) -> Self {
        let is_v6 = matches!(rule.wanted_source(), Some(Masked { value: IpAddr::V6(_), .. }));
        let l4 = rule.wanted_protocol().and_then(|protocol| TYPES.iter().find(|(number, _)| *number == protocol)).map_or(0, |(_, kind)| *kind);
        Self {
            kind: l4 | if is_v6 { TYPE_IPV6 } else { 0 },
            vlan: u32::from(rule.wanted_vlan().unwrap_or(0)) | u32::from(rule.wanted_vlan_priority().unwrap_or(0)) << VLAN_PRIORITY_SHIFT,
            source: wire_order(rule.wanted_source()),
            destination: wire_order(rule.wanted_destination()),
            source_port: port(rule.wanted_source_port()).0,
            destination_port: port(rule.wanted_destination_port()).0,
            addresses: summed(rule.wanted_source()) ^ summed(rule.wanted_destination()),
        }
    }

    /// The double word with type and tag, and the sum of the others.
    pub(super) fn hashed(&self) -> (u32, u32) {
        let ports = u32::from(self.source_port) << 16 | u32::from(self.destination_port);
        (self.kind << 16 | self.vlan, self.addresses ^ ports)
    }
}

impl Mask {
    pub(super) fn of(rule: &Rule, is_hashed: bool) -> Self {
        let vlan = (rule.wanted_vlan().is_some(), rule.wanted_vlan_priority().is_some());
        if is_hashed {
            // Hashes are over whole flows, of either version of IP.
            let (address, port) = (u32::MAX, u16::MAX);
            let (source, destination, source_port, destination_port) = (address, address, port, port);
            return Self { source, destination, source_port, destination_port, has_protocol: true, has_vlan: vlan.0, has_vlan_priority: vlan.1 };
        }
        let mask = |address: Option<Masked<IpAddr>>| wire_order(address.map(|address| Masked { value: address.mask, mask: address.mask }));
        Self {
            source: mask(rule.wanted_source()),
            destination: mask(rule.wanted_destination()),
            source_port: port(rule.wanted_source_port()).1,
            destination_port: port(rule.wanted_destination_port()).1,
            has_protocol: rule.wanted_protocol().is_some(),
            has_vlan: vlan.0,
            has_vlan_priority: vlan.1,
        }
    }

    /// FDIRM. The pool there is without virtualisation is not compared, nor are flexible bytes.
    pub(super) fn fields(&self) -> Fdirm {
        let mut m = Fdirm::POOL | Fdirm::FLEX | Fdirm::DIPV6;
        m.set(Fdirm::VLANID, !self.has_vlan);
        m.set(Fdirm::VLANP, !self.has_vlan_priority);
        m.set(Fdirm::L4P, !self.has_protocol);
        m
    }

    /// FDIRTCPM and FDIRUDPM: the bits that are not compared, each port's in the reverse order (MASK-REVERSED).
    pub(super) fn ports(&self) -> u32 {
        !(u32::from(self.destination_port.reverse_bits()) << 16 | u32::from(self.source_port.reverse_bits()))
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut say = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let comma = if core::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{text}")
        };
        for (name, mask) in [("source", self.source), ("destination", self.destination)] {
            if mask != 0 {
                say(f, format_args!("{name} {}", core::net::Ipv4Addr::from(mask.to_le_bytes())))?;
            }
        }
        for (name, mask) in [("source port", self.source_port), ("destination port", self.destination_port)] {
            if mask != 0 {
                say(f, format_args!("{name} {mask:#06x}"))?;
            }
        }
        for (name, is_set) in [("protocol", self.has_protocol), ("VLAN id", self.has_vlan), ("VLAN priority", self.has_vlan_priority)] {
            if is_set {
                say(f, format_args!("{name}"))?;
            }
        }
        Ok(())
    }
}

/// What keeps a rule out of either mode.
fn unfit(rule: &Rule) -> Option<String> {
    let others = [(rule.wanted_destination_mac().is_some(), "the destination's Ethernet address"), (rule.wants_syn(), "TCP's SYN")];
    if let Some(field) = other_field(&others) {
        return Some(format!("compares addresses, protocol, ports and VLAN, and not {field}"));
    }
    if rule.wanted_protocol().is_some_and(|protocol| TYPES.iter().all(|(number, _)| *number != protocol)) {
        return Some("compares the protocols TCP, UDP and SCTP, and no other".into());
    }
    let is_untagged = rule.wanted_vlan().is_some_and(|id| id == 0);
    is_untagged.then(|| "takes VLAN 0 for no tag, and cannot tell them apart".into())
}

/// What keeps a rule out of perfect match.
pub(super) fn unfit_for_match(rule: &Rule) -> Option<String> {
    let has_ports = rule.wanted_source_port().is_some() || rule.wanted_destination_port().is_some();
    if !rule.is_ipv4() {
        Some("looks at IPv4 alone here (of IPv6 the card compares the source, and the destination with its own addresses): name it, or an address of it".into())
    } else if has_ports && !matches!(rule.wanted_protocol(), Some(6 | 17)) {
        Some("compares the ports of TCP and UDP, each named".into())
    } else {
        unfit(rule)
    }
}

/// What keeps a rule out of the mode of hashes, which are over all that makes a flow.
pub(super) fn unfit_for_hash(rule: &Rule) -> Option<String> {
    let is_whole = |address: Option<Masked<IpAddr>>| address.is_some_and(|address| address.is_whole());
    let is_whole_port = |port: Option<Masked<u16>>| port.is_some_and(|port| port.is_whole());
    let missing = [
        (!is_whole(rule.wanted_source()), "the whole source address"),
        (!is_whole(rule.wanted_destination()), "the whole destination address"),
        (!matches!(rule.wanted_protocol(), Some(6 | 17)), "the protocol, TCP or UDP"),
        (!is_whole_port(rule.wanted_source_port()), "the whole source port"),
        (!is_whole_port(rule.wanted_destination_port()), "the whole destination port"),
    ];
    other_field(&missing).map(|field| format!("in the mode of hashes wants {field}")).or_else(|| unfit(rule))
}
