//! Rules: what is written of a frame, and whether a frame is one of those.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// Tags of IEEE 802.1Q and 802.1ad, which are looked behind.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a rule wants to be of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of an EtherType.
    Ethertype(u16),
    /// IP of either version, with this protocol.
    Protocol(u8),
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    address: u128,
    mask: u128,
    is_ipv6: bool,
}

/// `pass` or `drop`, and which frames: all that is said has to be so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) drops: bool,
    kind: Option<Kind>,
    source: Option<Prefix>,
    destination: Option<Prefix>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    /// Of either side.
    port: Option<u16>,
}

/// A rule that says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RuleError(String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: a rule is `drop` or `pass`, then any of: tcp, udp, icmp, icmp6, arp, ip, ip6, src PREFIX, dst PREFIX, sport N, dport N, port N",
            self.0
        )
    }
}
impl std::error::Error for RuleError {}

impl FromStr for Prefix {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError(format!("{text} is no prefix such as 10.0.0.0/8 or fd00::/8"));
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv6() { 128 } else { 32 };
        let length = length.map_or(Ok(bits), |length| length.parse().map_err(|_| wrong()))?;
        if length > bits {
            return Err(wrong());
        }
        let address_bits = number(address);
        // Of no bits the shift would be by all of them.
        let mask = if length == 0 { 0 } else { u128::MAX << (bits - length) };
        Ok(Self { address: address_bits & mask, mask, is_ipv6: address.is_ipv6() })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Prefix {
    fn has(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6 && number(address) & self.mask == self.address
    }
}

impl FromStr for Rule {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut words = text.split_whitespace();
        let drops = match words.next() {
            Some("drop") => true,
            Some("pass") => false,
            Some(word) => return Err(RuleError(format!("`{word}` is neither"))),
            None => return Err(RuleError("nothing is said".into())),
        };
        let mut rule = Self { drops, ..Self::default() };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| RuleError(format!("`{word}` lacks its value")));
            let port = |text: &str| text.parse().map_err(|_| RuleError(format!("`{text}` is no port from 0 to 65535")));
            match word {
                "tcp" => rule.kind = Some(Kind::Protocol(TCP)),
                "udp" => rule.kind = Some(Kind::Protocol(UDP)),
                "icmp" => rule.kind = Some(Kind::Protocol(1)),
                "icmp6" => rule.kind = Some(Kind::Protocol(58)),
                "arp" => rule.kind = Some(Kind::Ethertype(ARP)),
                "ip" => rule.kind = Some(Kind::Ethertype(IPV4)),
                "ip6" => rule.kind = Some(Kind::Ethertype(IPV6)),
                "src" => rule.source = Some(value()?.parse()?),
                "dst" => rule.destination = Some(value()?.parse()?),
                "sport" => rule.source_port = Some(port(value()?)?),
                "dport" => rule.destination_port = Some(port(value()?)?),
                "port" => rule.port = Some(port(value()?)?),
                _ => return Err(RuleError(format!("`{word}` is not known"))),
            }
        }
        Ok(rule)
    }
}

/// Rules, one a line; what follows a `#` is a remark.
pub(crate) fn parse(text: &str) -> Result<Vec<Rule>, RuleError> {
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| line.parse().map_err(|RuleError(what)| RuleError(format!("line {number}: {what}"))))
        .collect()
}

/// What rules look at. A frame that is cut short, or a fragment behind the first, has no ports, and is of no rule that names one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    ethertype: u16,
    protocol: Option<u8>,
    addresses: Option<[IpAddr; 2]>,
    ports: Option<[u16; 2]>,
}

impl Headers {
    /// Of a frame that begins so.
    pub(crate) fn of(frame: &[u8]) -> Self {
        let mut at = 12;
        while let Some(ethertype) = u16_at(frame, at) {
            at += 2;
            if TAGS.contains(&ethertype) {
                at += 2;
                continue;
            }
            let rest = frame.get(at..).unwrap_or_default();
            let mut headers = Self { ethertype, ..Self::default() };
            match ethertype {
                IPV4 => headers.look_at_ipv4(rest),
                IPV6 => headers.look_at_ipv6(rest),
                _ => {}
            }
            return headers;
        }
        Self::default()
    }

    fn look_at_ipv4(&mut self, packet: &[u8]) {
        let Some(header) = packet.first_chunk::<20>() else { return };
        let &[version, _, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = header;
        let header_bytes = usize::from(version & 0xf) * 4;
        if version >> 4 != 4 || header_bytes < 20 {
            return;
        }
        self.protocol = Some(protocol);
        self.addresses = Some([[s0, s1, s2, s3].into(), [d0, d1, d2, d3].into()]);
        if u16::from_be_bytes([f0, f1]) & 0x1fff == 0 {
            self.look_at_ports(packet.get(header_bytes..).unwrap_or_default());
        }
    }

    fn look_at_ipv6(&mut self, packet: &[u8]) {
        let Some((header, mut rest)) = packet.split_first_chunk::<40>() else { return };
        let &[version, _, _, _, _, _, mut next, _, ref addresses @ ..] = header;
        let [source, destination] = [0, 16].map(|at| addresses.get(at..at + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()));
        let (Some(source), Some(destination)) = (source, destination) else { return };
        if version >> 4 != 6 {
            return;
        }
        self.addresses = Some([source.into(), destination.into()]);
        // Hop-by-hop options, routing, destination options (RFC 8200, section 4); a fragment's header is 8 bytes long.
        while let 0 | 43 | 44 | 60 = next {
            let Some(&[following, length, o0, o1]) = rest.first_chunk::<4>() else { return };
            let bytes = if next == 44 { 8 } else { (usize::from(length) + 1) * 8 };
            if next == 44 && u16::from_be_bytes([o0, o1]) >> 3 != 0 {
                self.protocol = Some(following);
                return;
            }
            next = following;
            rest = rest.get(bytes..).unwrap_or_default();
        }
        self.protocol = Some(next);
        self.look_at_ports(rest);
    }

    fn look_at_ports(&mut self, segment: &[u8]) {
        if let Some(TCP | UDP) = self.protocol {
            self.ports = u16_at(segment, 0).zip(u16_at(segment, 2)).map(|(source, destination)| [source, destination]);
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

impl Rule {
    /// Whether a frame with these headers is one of the rule's.
    pub(crate) fn is_of(&self, headers: &Headers) -> bool {
        let kind = match self.kind {
            None => true,
            Some(Kind::Ethertype(ethertype)) => headers.ethertype == ethertype,
            Some(Kind::Protocol(protocol)) => headers.protocol == Some(protocol),
        };
        let address = |prefix: Option<Prefix>, side: usize| prefix.is_none_or(|prefix| headers.addresses.is_some_and(|both| prefix.has(both[side])));
        let port = |wanted: Option<u16>, side: usize| wanted.is_none_or(|wanted| headers.ports.is_some_and(|both| both[side] == wanted));
        let either = self.port.is_none_or(|wanted| headers.ports.is_some_and(|both| both.contains(&wanted)));
        kind && address(self.source, 0) && address(self.destination, 1) && port(self.source_port, 0) && port(self.destination_port, 1) && either
    }
}
