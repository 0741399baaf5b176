//! Rules for received frames: which frames a rule is for, and which queue they go to. One type above every driver; a device refuses what it cannot do, by name.

use core::net::IpAddr;

use crate::ether::MacAddr;

mod error;
mod id;
#[cfg(test)]
mod tests;

pub use error::{RuleError, RuleRefusal};
pub use id::RuleId;

/// EtherTypes that fields of IP imply.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Protocols whose headers begin with two ports.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// Priorities.
const PRIORITIES: core::ops::RangeInclusive<u8> = 1..=7;

/// What becomes of a frame that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleAction {
    /// It goes to a receive queue that is open.
    Queue(u16),
    /// It is dropped by the device.
    Drop,
    /// It goes where it would go if there were no rules: for exceptions to rules behind this one.
    Pass,
}

/// A value of which the bits that the mask has are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: a value and its mask")]
pub struct Masked<T> {
    /// The value; bits that are not compared are zero.
    pub value: T,
    /// The bits that are compared.
    pub mask: T,
}

impl Masked<u16> {
    fn new(value: u16, mask: u16) -> Self {
        Self { value: value & mask, mask }
    }

    /// Whether all bits are compared.
    pub fn is_whole(&self) -> bool {
        self.mask == u16::MAX
    }
}

impl Masked<IpAddr> {
    /// Whether all bits are compared.
    pub fn is_whole(&self) -> bool {
        bits(self.mask) == if self.value.is_ipv4() { u32::MAX.into() } else { u128::MAX }
    }
}

/// A rule for received frames: the fields that a frame has to have, and what becomes of it then. What is not set is not compared; a frame that does not have a field
/// that is compared (a fragment its ports) is none of the rule's.
///
/// ```
/// use driver_core::device::Rule;
///
/// // Datagrams for port 53 of one server to queue 3.
/// let dns = Rule::to_queue(3).destination([10, 0, 0, 1]).udp().destination_port(53);
/// // All that a subnet sends is dropped.
/// let block = Rule::drop().source_within([192, 0, 2, 0], [255, 255, 255, 0]);
/// assert!(dns.check().is_ok() && dns.overlaps(&block), "a datagram from the subnet to the server is in both");
/// assert!(Rule::to_queue(0).source([10, 0, 0, 1]).syn().udp().check().is_err(), "UDP has no SYN");
/// ```
///
/// # Order
///
/// Of several rules that a frame is in, the one of the highest [priority](Rule::priority) decides. A rule that a device could not give its place in that order is
/// refused when it is added. Among rules without a priority the device's own order holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    action: RuleAction,
    priority: Option<u8>,
    ethertype: Option<u16>,
    destination_mac: Option<MacAddr>,
    vlan_id: Option<u16>,
    vlan_priority: Option<u8>,
    source: Option<Masked<IpAddr>>,
    destination: Option<Masked<IpAddr>>,
    protocol: Option<u8>,
    source_port: Option<Masked<u16>>,
    destination_port: Option<Masked<u16>>,
    is_syn: bool,
}

impl Rule {
    /// A rule for every frame, until fields are set.
    pub const fn new(action: RuleAction) -> Self {
        Self {
            action,
            priority: None,
            ethertype: None,
            destination_mac: None,
            vlan_id: None,
            vlan_priority: None,
            source: None,
            destination: None,
            protocol: None,
            source_port: None,
            destination_port: None,
            is_syn: false,
        }
    }
    /// Its frames go to a receive queue.
    pub const fn to_queue(queue: u16) -> Self {
        Self::new(RuleAction::Queue(queue))
    }
    /// Its frames are dropped.
    pub const fn drop() -> Self {
        Self::new(RuleAction::Drop)
    }
    /// Its frames go where they would go without rules.
    pub const fn pass() -> Self {
        Self::new(RuleAction::Pass)
    }

    /// Where it stands among rules that a frame is in too: 1 to 7, the highest first.
    pub fn priority(self, priority: u8) -> Self {
        Self { priority: Some(priority), ..self }
    }
    /// The EtherType, behind a VLAN tag where there is one.
    pub fn ethertype(self, ethertype: u16) -> Self {
        Self { ethertype: Some(ethertype), ..self }
    }
    /// IPv4, whatever its addresses are.
    pub fn ipv4(self) -> Self {
        self.ethertype(IPV4)
    }
    /// IPv6, whatever its addresses are.
    pub fn ipv6(self) -> Self {
        self.ethertype(IPV6)
    }
    /// The destination's Ethernet address. A device whose addresses choose queues ([`Config::mac_pools`](crate::device::Config::mac_pools)) lets frames for it in as
    /// long as the rule holds.
    pub fn destination_mac(self, mac: MacAddr) -> Self {
        Self { destination_mac: Some(mac), ..self }
    }
    /// A VLAN tag with this id.
    pub fn vlan(self, id: u16) -> Self {
        Self { vlan_id: Some(id), ..self }
    }
    /// A VLAN tag with this priority, 0 to 7.
    pub fn vlan_priority(self, priority: u8) -> Self {
        Self { vlan_priority: Some(priority), ..self }
    }
    /// The IP packet's source.
    pub fn source(self, address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        self.source_within(address, whole(address))
    }
    /// A source of which the bits that `mask` has are those of `address`.
    pub fn source_within(self, address: impl Into<IpAddr>, mask: impl Into<IpAddr>) -> Self {
        self.with_addresses(|rule, value| rule.source = Some(value), address.into(), mask.into())
    }
    /// The IP packet's destination.
    pub fn destination(self, address: impl Into<IpAddr>) -> Self {
        let address = address.into();
        self.destination_within(address, whole(address))
    }
    /// A destination of which the bits that `mask` has are those of `address`.
    pub fn destination_within(self, address: impl Into<IpAddr>, mask: impl Into<IpAddr>) -> Self {
        self.with_addresses(|rule, value| rule.destination = Some(value), address.into(), mask.into())
    }

    fn with_addresses(mut self, set: impl FnOnce(&mut Self, Masked<IpAddr>), value: IpAddr, mask: IpAddr) -> Self {
        // An address says which IP it is; one that contradicts what was said before is found by `check`.
        self.ethertype = self.ethertype.or(Some(if value.is_ipv4() { IPV4 } else { IPV6 }));
        set(&mut self, Masked { value: and(value, mask), mask });
        self
    }

    /// The protocol above IP, by its number (IANA).
    pub fn protocol(self, protocol: u8) -> Self {
        Self { protocol: Some(protocol), ..self }
    }
    /// TCP.
    pub fn tcp(self) -> Self {
        self.protocol(TCP)
    }
    /// UDP.
    pub fn udp(self) -> Self {
        self.protocol(UDP)
    }
    /// SCTP.
    pub fn sctp(self) -> Self {
        self.protocol(SCTP)
    }
    /// The source's port, of TCP, UDP or SCTP.
    pub fn source_port(self, port: u16) -> Self {
        self.source_port_within(port, u16::MAX)
    }
    /// A source's port of which the bits that `mask` has are those of `port`.
    pub fn source_port_within(self, port: u16, mask: u16) -> Self {
        Self { source_port: Some(Masked::<u16>::new(port, mask)), ..self }
    }
    /// The destination's port, of TCP, UDP or SCTP.
    pub fn destination_port(self, port: u16) -> Self {
        self.destination_port_within(port, u16::MAX)
    }
    /// A destination's port of which the bits that `mask` has are those of `port`.
    pub fn destination_port_within(self, port: u16, mask: u16) -> Self {
        Self { destination_port: Some(Masked::<u16>::new(port, mask)), ..self }
    }
    /// TCP segments with SYN, with ACK or without: those that open a connection.
    pub fn syn(self) -> Self {
        Self { is_syn: true, ..self }
    }

    /// What becomes of its frames.
    pub fn action(&self) -> RuleAction {
        self.action
    }
    /// See [`Rule::priority`].
    pub fn wanted_priority(&self) -> Option<u8> {
        self.priority
    }
    /// The EtherType: as it was set, or that of the addresses.
    pub fn wanted_ethertype(&self) -> Option<u16> {
        self.ethertype
    }
    /// See [`Rule::destination_mac`].
    pub fn wanted_destination_mac(&self) -> Option<MacAddr> {
        self.destination_mac
    }
    /// See [`Rule::vlan`].
    pub fn wanted_vlan(&self) -> Option<u16> {
        self.vlan_id
    }
    /// See [`Rule::vlan_priority`].
    pub fn wanted_vlan_priority(&self) -> Option<u8> {
        self.vlan_priority
    }
    /// See [`Rule::source`].
    pub fn wanted_source(&self) -> Option<Masked<IpAddr>> {
        self.source
    }
    /// See [`Rule::destination`].
    pub fn wanted_destination(&self) -> Option<Masked<IpAddr>> {
        self.destination
    }
    /// The protocol: as it was set, or TCP where SYN was.
    pub fn wanted_protocol(&self) -> Option<u8> {
        self.protocol.or(self.is_syn.then_some(TCP))
    }
    /// See [`Rule::source_port`].
    pub fn wanted_source_port(&self) -> Option<Masked<u16>> {
        self.source_port
    }
    /// See [`Rule::destination_port`].
    pub fn wanted_destination_port(&self) -> Option<Masked<u16>> {
        self.destination_port
    }
    /// See [`Rule::syn`].
    pub fn wants_syn(&self) -> bool {
        self.is_syn
    }
    /// Whether its frames are IP packets, of either version.
    pub fn is_ip(&self) -> bool {
        matches!(self.ethertype, Some(IPV4 | IPV6))
            || self.wanted_protocol().is_some()
            || self.source_port.is_some()
            || self.destination_port.is_some()
    }
    /// Whether its frames are IPv4 packets.
    pub fn is_ipv4(&self) -> bool {
        self.ethertype == Some(IPV4)
    }

    /// That a frame can be in it, and that its values are in their ranges.
    ///
    /// # Errors
    /// [`RuleError::Senseless`], the first that is found.
    pub fn check(&self) -> Result<(), RuleError> {
        let version = |address: Option<Masked<IpAddr>>| address.map(|address| if address.value.is_ipv4() { IPV4 } else { IPV6 });
        let is_mixed = |address: Option<Masked<IpAddr>>| address.is_some_and(|address| address.value.is_ipv4() != address.mask.is_ipv4());
        let has_ports = self.source_port.is_some() || self.destination_port.is_some();
        let carries_ports = matches!(self.wanted_protocol(), None | Some(TCP | UDP | SCTP));
        let faults = [
            (is_mixed(self.source) || is_mixed(self.destination), "an address and its mask are of two versions of IP"),
            (
                [self.source, self.destination].into_iter().any(|at| version(at).is_some_and(|it| Some(it) != self.ethertype)),
                "its addresses are not of its EtherType",
            ),
            (self.is_ip() && !matches!(self.ethertype, None | Some(IPV4 | IPV6)), "it has a protocol or ports, and an EtherType that is not IP"),
            (self.is_syn && self.protocol.is_some_and(|protocol| protocol != TCP), "it wants SYN of a protocol that is not TCP"),
            (has_ports && !carries_ports, "it wants ports of a protocol that is not TCP, UDP or SCTP"),
            (self.vlan_id.is_some_and(|id| id > 4095), "its VLAN id is not between 0 and 4095"),
            (self.vlan_priority.is_some_and(|priority| priority > 7), "its VLAN priority is not between 0 and 7"),
            (self.priority.is_some_and(|priority| !PRIORITIES.contains(&priority)), "its priority is not between 1 and 7"),
            (self.clone().unranked() == Self::new(self.action), "it has no field: spread frames otherwise with RSS"),
        ];
        match faults.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, why)) => Err(RuleError::Senseless { why }),
            None => Ok(()),
        }
    }

    /// The same, and that a device of which so many receive queues are open has the one that it names.
    ///
    /// # Errors
    /// [`RuleError::Senseless`], [`RuleError::Queue`].
    pub fn check_with(&self, open: u16) -> Result<(), RuleError> {
        self.check()?;
        match self.action {
            RuleAction::Queue(queue) if queue >= open => Err(RuleError::Queue { queue, open }),
            _ => Ok(()),
        }
    }

    fn unranked(self) -> Self {
        Self { priority: None, ..self }
    }

    /// Whether there can be a frame that is in both rules.
    pub fn overlaps(&self, other: &Self) -> bool {
        let differ = |a: Option<u32>, b: Option<u32>| a.zip(b).is_some_and(|(a, b)| a != b);
        let apart = |a: Option<Masked<IpAddr>>, b: Option<Masked<IpAddr>>| {
            a.zip(b)
                .is_some_and(|(a, b)| a.value.is_ipv4() != b.value.is_ipv4() || (bits(a.value) ^ bits(b.value)) & bits(a.mask) & bits(b.mask) != 0)
        };
        let ports_apart = |a: Option<Masked<u16>>, b: Option<Masked<u16>>| a.zip(b).is_some_and(|(a, b)| (a.value ^ b.value) & a.mask & b.mask != 0);
        let is_other_than_ip = |rule: &Self| rule.ethertype.is_some_and(|it| it != IPV4 && it != IPV6);
        !(differ(self.ethertype.map(u32::from), other.ethertype.map(u32::from))
            || self.is_ip() && is_other_than_ip(other)
            || other.is_ip() && is_other_than_ip(self)
            || self.destination_mac.zip(other.destination_mac).is_some_and(|(a, b)| a != b)
            || differ(self.vlan_id.map(u32::from), other.vlan_id.map(u32::from))
            || differ(self.vlan_priority.map(u32::from), other.vlan_priority.map(u32::from))
            || differ(self.wanted_protocol().map(u32::from), other.wanted_protocol().map(u32::from))
            || apart(self.source, other.source)
            || apart(self.destination, other.destination)
            || ports_apart(self.source_port, other.source_port)
            || ports_apart(self.destination_port, other.destination_port))
    }
}

fn whole(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(u32::MAX.into()),
        IpAddr::V6(_) => IpAddr::V6(u128::MAX.into()),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Two versions stay as they are, for `check` to find.
fn and(value: IpAddr, mask: IpAddr) -> IpAddr {
    match (value, mask) {
        (IpAddr::V4(value), IpAddr::V4(mask)) => IpAddr::V4((u32::from(value) & u32::from(mask)).into()),
        (IpAddr::V6(value), IpAddr::V6(mask)) => IpAddr::V6((u128::from(value) & u128::from(mask)).into()),
        _ => value,
    }
}

/// Where a driver has put a rule: the table by the name that the device has for it, and the place in the driver's own numbers, by which it is put there again after the
/// device was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: a table's name and a number")]
pub struct RulePlace {
    /// The table.
    pub table: &'static str,
    /// The place in it.
    pub number: u32,
}

/// A rule that a device has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleInForce {
    /// Its number.
    pub id: RuleId,
    /// The rule.
    pub rule: Rule,
    /// Where it is.
    pub place: RulePlace,
}

impl RuleInForce {
    /// A rule that was put at `place`.
    pub const fn new(id: RuleId, rule: Rule, place: RulePlace) -> Self {
        Self { id, rule, place }
    }
}

/// A table of flows in the device's own memory, for thousands of rules: none unless it is asked for, since it takes room from frames that wait for descriptors.
///
/// The 82599's is flow director. A device that has none goes without, and refuses rules that would want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FlowTable {
    /// None.
    #[default]
    Off,
    /// Rules' fields are compared (flow director's perfect match): masked as the first rule is, to a queue, dropped or passed.
    Exact(FlowRoom),
    /// Two hashes of them are (signature mode): four times as many, and a frame of another flow with the same hashes is in the rule as well.
    Hashed(FlowRoom),
}

/// How much of the packet buffer a [`FlowTable`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FlowRoom {
    /// 64 KB: 2046 exact rules or 8191 hashed ones.
    #[default]
    Small,
    /// 128 KB: 4094 or 16383.
    Medium,
    /// 256 KB: 8190 or 32767.
    Large,
}
