//! The flow that a frame is of, and its hash (5.1.6.4.3).

/// The types of hashes by their bits (5.1.6.4.3.1), and the reports of what was hashed (5.1.6.4.3.3), which come in the same order from 1 on.
pub(super) mod hash {
    pub(in super::super) const IPV4: u32 = 1 << 0;
    pub(in super::super) const TCP4: u32 = 1 << 1;
    pub(in super::super) const UDP4: u32 = 1 << 2;
    pub(in super::super) const IPV6: u32 = 1 << 3;
    pub(in super::super) const TCP6: u32 = 1 << 4;
    pub(in super::super) const UDP6: u32 = 1 << 5;
    pub(in super::super) const IPV6_EX: u32 = 1 << 6;
    pub(in super::super) const TCP6_EX: u32 = 1 << 7;
    pub(in super::super) const UDP6_EX: u32 = 1 << 8;
    pub(in super::super) const ALL: u32 = (1 << 9) - 1;
}

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 40;

/// Addresses and ports of a frame of IP, as they are hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flow {
    is_v6: bool,
    /// IPv6 with extension headers.
    extended: bool,
    /// Source, then destination.
    addresses: Vec<u8>,
    /// Source, then destination, with the protocol that they are of.
    ports: Option<(u8, [u8; 4])>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

impl Flow {
    /// Of a frame, behind a VLAN tag too. A fragment has no ports.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let at = if frame.get(12..14)? == [0x81, 0x00] { 18 } else { 14 };
        match frame.get(at - 2..at)? {
            [0x08, 0x00] => Self::of_ipv4(frame.get(at..)?),
            [0x86, 0xdd] => Self::of_ipv6(frame.get(at..)?),
            _ => None,
        }
    }

    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 15) * 4;
        let is_fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff != 0;
        let ports = if is_fragment { None } else { ports_of(*packet.get(9)?, packet.get(header..)?) };
        Some(Self { is_v6: false, extended: false, addresses: packet.get(12..20)?.to_vec(), ports })
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let (mut next, mut at, mut extended, mut is_fragment) = (*packet.get(6)?, 40, false, false);
        loop {
            match next {
                // Hop-by-hop options, routing, destination options.
                0 | 43 | 60 => {
                    next = *packet.get(at)?;
                    at += 8 + 8 * usize::from(*packet.get(at + 1)?);
                }
                44 => {
                    is_fragment = true;
                    next = *packet.get(at)?;
                    at += 8;
                }
                _ => break,
            }
            extended = true;
        }
        let ports = if is_fragment { None } else { packet.get(at..).and_then(|rest| ports_of(next, rest)) };
        Some(Self { is_v6: true, extended, addresses: packet.get(8..40)?.to_vec(), ports })
    }

    /// What is hashed of it by these types, and how that is reported: 0 where none of them fits. As QEMU's card does, IPv6 is reported as with extension headers where
    /// those types are on, whether it has any or not.
    pub(super) fn report(&self, types: u32) -> u32 {
        let protocol = self.ports.map(|(protocol, _)| protocol);
        let candidates: &[(bool, u32)] = if self.is_v6 {
            &[
                (protocol == Some(TCP), hash::TCP6_EX),
                (protocol == Some(TCP), hash::TCP6),
                (protocol == Some(UDP), hash::UDP6_EX),
                (protocol == Some(UDP), hash::UDP6),
                (true, hash::IPV6_EX),
                (true, hash::IPV6),
            ]
        } else {
            &[(protocol == Some(TCP), hash::TCP4), (protocol == Some(UDP), hash::UDP4), (true, hash::IPV4)]
        };
        candidates.iter().find(|&&(fits, kind)| fits && types & kind != 0).map_or(0, |&(_, kind)| kind.trailing_zeros() + 1)
    }

    /// The hash, and its report.
    pub(super) fn hash(&self, types: u32, key: &[u8; KEY_BYTES]) -> (u32, u32) {
        let report = self.report(types);
        if report == 0 {
            return (0, 0);
        }
        let mut input = self.addresses.clone();
        let with_ports = hash::TCP4 | hash::UDP4 | hash::TCP6 | hash::UDP6 | hash::TCP6_EX | hash::UDP6_EX;
        if with_ports & 1 << (report - 1) != 0
            && let Some((_, ports)) = self.ports
        {
            input.extend(ports);
        }
        (toeplitz(&input, key), report)
    }

    /// A number of the flow that is the same for both ends, for a card that steers by itself.
    pub(super) fn number(&self) -> u64 {
        let sum = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let half = self.addresses.len() / 2;
        let (from, to) = self.addresses.split_at(half);
        let ports = self.ports.map_or(0, |(_, ports)| sum(&ports[..2]).wrapping_add(sum(&ports[2..])));
        sum(from).wrapping_add(sum(to)).wrapping_add(ports)
    }
}

fn ports_of(protocol: u8, segment: &[u8]) -> Option<(u8, [u8; 4])> {
    if matches!(protocol, TCP | UDP) { Some((protocol, *segment.first_chunk()?)) } else { None }
}

/// The sum of the key's 32 bits at each place where the input has a one.
fn toeplitz(input: &[u8], key: &[u8; KEY_BYTES]) -> u32 {
    let mut window = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    let mut rest = key[4..].iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut sum = 0;
    for bit in input.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
        if bit == 1 {
            sum ^= window;
        }
        window = window << 1 | u32::from(rest.next().unwrap_or(0));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Flow {
        /// The same flow seen from its other end.
        fn turned(&self) -> Self {
            let mut turned = self.clone();
            let half = self.addresses.len() / 2;
            turned.addresses.rotate_left(half);
            if let Some((_, ports)) = &mut turned.ports {
                ports.rotate_left(2);
            }
            turned
        }
    }

    /// Microsoft's verification suite for RSS, which the specification's algorithm is that of.
    #[test]
    fn hashes_are_those_of_the_verification_suite() {
        let key: [u8; KEY_BYTES] = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30,
            0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        // 66.9.149.187:2794 to 161.142.100.80:1766.
        let flow =
            Flow { is_v6: false, extended: false, addresses: vec![66, 9, 149, 187, 161, 142, 100, 80], ports: Some((TCP, [0x0a, 0xea, 0x06, 0xe6])) };
        assert_eq!(flow.hash(hash::ALL, &key), (0x51cc_c178, 2));
        assert_eq!(flow.hash(hash::IPV4, &key), (0x323e_8fc2, 1));
        assert_eq!(flow.hash(hash::UDP4, &key), (0, 0));
    }

    #[test]
    fn both_ends_of_a_flow_have_one_number() {
        let frame: Vec<u8> =
            [[2; 6].as_slice(), &[4; 6], &[8, 0], &[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4]].concat();
        let flow = Flow::of(&frame).unwrap();
        let turned = flow.turned();
        assert_ne!(flow, turned);
        assert_eq!((flow.number(), &turned.turned()), (turned.number(), &flow));
    }
}
