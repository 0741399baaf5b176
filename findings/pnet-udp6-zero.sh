#!/bin/bash
# What:    the crates pnet_packet 0.35.0 and libpacket 0.1.2, udp::ipv6_checksum of a datagram whose sum comes to zero, and etherparse 0.21.0.
# Guess:   all say ffff: the function is for UDP alone, and zero has another meaning there.
# Happens: pnet_packet 0000, libpacket 0000, etherparse ffff
# Matters: over IPv6 a zero checksum makes the datagram invalid, and the receiver has to drop it; over IPv4 it says "not summed". One datagram in
#          65536 is lost, and its retransmission too, since that has the same sum. A UDP caller has to write ffff
#          where these two answer 0. TCP and ICMPv6 have no such rule.
# Source:  RFC 768: if the computed checksum is zero, it is transmitted as all ones. RFC 8200, 8.1: receivers must discard IPv6 packets with a
#          UDP zero checksum.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'pnet_packet = "=0.35.0"' 'libpacket = "=0.1.2"' 'etherparse = "=0.21.0"' <<'RS'
fn main() {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfe, 0x80, 1);
    let mut datagram = vec![0x12, 0x34, 0, 7, 0, 10, 0, 0, 0, 0];
    let udp = |bytes: &[u8]| pnet_packet::udp::ipv6_checksum(&pnet_packet::udp::UdpPacket::new(bytes).unwrap(), &address.into(), &address.into());
    let rest = udp(&datagram); // as data it makes the sum ffff, and so the checksum zero
    datagram[8..].copy_from_slice(&rest.to_be_bytes());
    let other = libpacket::udp::ipv6_checksum(&libpacket::udp::UdpPacket::new(&datagram).unwrap(), &address.into(), &address.into());
    let header = etherparse::Ipv6Header { source: address, destination: address, ..Default::default() };
    let third = etherparse::UdpHeader::with_ipv6_checksum(0x1234, 7, &header, &datagram[8..]).unwrap().checksum;
    println!("pnet_packet {:04x}, libpacket {other:04x}, etherparse {third:04x}", udp(&datagram));
}
RS
)
same "pnet_packet 0.35.0 and libpacket 0.1.2 give UDP over IPv6 the checksum 0, which a receiver must drop" "$got" \
"pnet_packet 0000, libpacket 0000, etherparse ffff"
