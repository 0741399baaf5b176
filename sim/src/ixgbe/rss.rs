//! Receive side scaling: the Toeplitz hash and the redirection table (7.1.2.8).

use super::parse::{Headers, packet_type};

/// Two IPv6 addresses and two ports.
const INPUT_BYTES: usize = 36;
/// Bytes of RSSRK.
pub(super) const KEY_BYTES: usize = 40;

/// MRQC's bits that choose what is hashed (8.2.3.7.12).
mod mrqc {
    pub(super) const TCP_IPV4: u32 = 1 << 16;
    pub(super) const IPV4: u32 = 1 << 17;
    pub(super) const IPV6: u32 = 1 << 20;
    pub(super) const TCP_IPV6: u32 = 1 << 21;
    pub(super) const UDP_IPV4: u32 = 1 << 22;
    pub(super) const UDP_IPV6: u32 = 1 << 23;
}

/// The RSS type of the receive descriptor (7.1.6.2, bits 0 to 3) and the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hash {
    pub rss_type: u32,
    pub value: u32,
}

/// The hash of each value of each input byte, made from the key when it is first needed.
pub(super) struct Toeplitz {
    table: Box<[[u32; 256]; INPUT_BYTES]>,
}

impl Toeplitz {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut table = Box::new([[0; 256]; INPUT_BYTES]);
        for (byte, row) in table.iter_mut().enumerate() {
            // The five key bytes whose 32-bit windows the byte's eight bits select.
            let window = key[byte..byte + 5].iter().fold(0u64, |window, &b| window << 8 | u64::from(b));
            for (value, hash) in row.iter_mut().enumerate() {
                *hash = (0..8).filter(|bit| value >> (7 - bit) & 1 != 0).fold(0, |hash, bit| hash ^ (window >> (8 - bit)) as u32);
            }
        }
        Self { table }
    }

    fn hash(&self, inputs: [&[u8]; 2]) -> u32 {
        self.table.iter().zip(inputs[0].iter().chain(inputs[1])).fold(0, |hash, (row, &byte)| hash ^ row[usize::from(byte)])
    }

    /// The hash of a frame under MRQC, type 0 where nothing of it is hashed.
    pub(super) fn of(&self, frame: &[u8], headers: &Headers, control: u32) -> Hash {
        let Some(addresses) = headers.addresses.clone().and_then(|range| frame.get(range)) else { return Hash::default() };
        let ports = headers.ports.clone().and_then(|range| frame.get(range));
        let is_v4 = headers.has(packet_type::IPV4);
        let (with_ports, alone) = match (is_v4, headers.has(packet_type::TCP), headers.has(packet_type::UDP)) {
            (true, true, _) => ((mrqc::TCP_IPV4, 1), (mrqc::IPV4, 2)),
            (true, _, true) => ((mrqc::UDP_IPV4, 7), (mrqc::IPV4, 2)),
            (true, ..) => ((0, 0), (mrqc::IPV4, 2)),
            (false, true, _) => ((mrqc::TCP_IPV6, 3), (mrqc::IPV6, 5)),
            (false, _, true) => ((mrqc::UDP_IPV6, 8), (mrqc::IPV6, 5)),
            (false, ..) => ((0, 0), (mrqc::IPV6, 5)),
        };
        match ports {
            Some(ports) if control & with_ports.0 != 0 => Hash { rss_type: with_ports.1, value: self.hash([addresses, ports]) },
            _ if control & alone.0 != 0 => Hash { rss_type: alone.1, value: self.hash([addresses, &[]]) },
            _ => Hash::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the vectors of Microsoft's 'Verifying the RSS hash calculation'.
    const KEY: [u8; KEY_BYTES] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30,
        0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    #[test]
    fn ipv4_vectors() {
        let toeplitz = Toeplitz::new(&KEY);
        for (source, source_port, destination, destination_port, with_ports, alone) in [
            ([66, 9, 149, 187], 2794u16, [161, 142, 100, 80], 1766u16, 0x51cc_c178, 0x323e_8fc2),
            ([199, 92, 111, 2], 14230, [65, 69, 140, 83], 4739, 0xc626_b0ea, 0xd718_262a),
            ([24, 19, 198, 95], 12898, [12, 22, 207, 184], 38024, 0x5c2b_394a, 0xd2d0_a5de),
            ([38, 27, 205, 30], 48228, [209, 142, 163, 6], 2217, 0xafc7_327f, 0x8298_9176),
            ([153, 39, 163, 191], 44251, [202, 188, 127, 2], 1303, 0x10e8_28a2, 0x5d18_09c5),
        ] {
            let addresses = [source, destination].concat();
            let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
            assert_eq!(toeplitz.hash([&addresses, &ports]), with_ports);
            assert_eq!(toeplitz.hash([&addresses, &[]]), alone);
        }
    }

    #[test]
    fn ipv6_vectors() {
        let toeplitz = Toeplitz::new(&KEY);
        for (source, source_port, destination, destination_port, with_ports, alone) in [
            ("3ffe:2501:200:1fff::7", 2794u16, "3ffe:2501:200:3::1", 1766u16, 0x4020_7d3d, 0x2cc1_8cd5),
            ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0xdde5_1bbf, 0x0f0c_461c),
            ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x02d1_feef, 0x4b61_e985),
        ] {
            let parse = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
            let addresses = [parse(source), parse(destination)].concat();
            let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
            assert_eq!(toeplitz.hash([&addresses, &ports]), with_ports, "{source}");
            assert_eq!(toeplitz.hash([&addresses, &[]]), alone, "{source}");
        }
    }
}
