#!/bin/bash
# What:    the crate edge-raw 0.8.0 (no_std, below edge-dhcp), ip_udp_decode and ip_udp_encode.
# Guess:   a datagram without checksum (0) is accepted, as is one whose checksum ffff stands for a sum of zero; one that it writes itself, too.
# Happens: both are refused, and it writes the 0 that means "not summed" where the sum is zero:
#              without checksum: Err(InvalidChecksum)
#              checksum ffff: Err(InvalidChecksum)
#              written: 0000
# Matters: a DHCP server that leaves the checksum out is never heard, and the crate does not read one datagram in 65536 of its own making.
#          A driver that took the sum to be checked by the card has no way to say so either.
# Source:  RFC 768: an all zero transmitted checksum value means that the transmitter generated no checksum; a computed zero is transmitted as
#          all ones.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'edge-raw = "=0.8.0"' <<'RS'
fn main() {
    let ip = [0x45, 0, 0, 30, 0, 1, 0, 0, 64, 17, 0x66, 0xcc, 10, 0, 0, 1, 10, 0, 0, 2];
    for (what, checksum, data) in [("without checksum", [0, 0], *b"ab"), ("checksum ffff", [0xff, 0xff], [0xd9, 0x9c])] {
        let mut packet = ip.to_vec();
        packet.extend([0x12, 0x34, 0, 7, 0, 10]);
        packet.extend(checksum);
        packet.extend(data);
        println!("{what}: {:?}", edge_raw::ip_udp_decode(&packet, None, None).map(|found| found.map(|(_, _, data)| data.len())));
    }
    let mut room = [0; 64];
    let (from, to) = ("10.0.0.1:4660".parse().unwrap(), "10.0.0.2:7".parse().unwrap());
    let put = |data: &mut [u8]| { data[..2].copy_from_slice(&[0xd9, 0x9c]); Ok(2) };
    let packet = edge_raw::ip_udp_encode(&mut room, from, to, put).unwrap();
    println!("written: {:02x}{:02x}", packet[26], packet[27]);
}
RS
)
same "edge-raw 0.8.0 refuses UDP without checksum, and the checksum ffff, which it writes as 0" "$got" \
"without checksum: Err(InvalidChecksum)
checksum ffff: Err(InvalidChecksum)
written: 0000"
