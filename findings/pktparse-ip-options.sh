#!/bin/bash
# What:    the crate pktparse 0.7.1, parse_ipv4_header and then parse_udp_header, as its README chains them.
# Guess:   the rest that parse_ipv4_header returns begins where the header length says that the payload does.
# Happens: it begins after 20 bytes, whatever the header length. Of a datagram from port 4660 to port 7 with a router alert option:
#              ihl 6, rest 14 of 34 bytes
#              udp ports 37892 -> 0
#          The option (94 04 00 00) is read as two port numbers. No error.
# Matters: IGMP and RSVP carry the router alert in every packet. A classifier or receive filter built on it steers such packets by their
#          options. The caller has to skip (ihl - 5) * 4 bytes itself.
# Source:  RFC 791, 3.1: the internet header length points to the beginning of the data. RFC 2113 for the option.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'pktparse = "=0.7.1"' <<'RS'
fn main() {
    let packet = [
        0x46, 0, 0, 34, 0, 1, 0, 0, 64, 17, 0xd1, 0xc3, 10, 0, 0, 1, 10, 0, 0, 2,
        0x94, 4, 0, 0, // router alert
        0x12, 0x34, 0, 7, 0, 10, 0, 0, b'a', b'b', // no checksum
    ];
    let (rest, ip) = pktparse::ipv4::parse_ipv4_header(&packet).unwrap();
    println!("ihl {}, rest {} of {} bytes", ip.ihl, rest.len(), packet.len());
    let (_, udp) = pktparse::udp::parse_udp_header(rest).unwrap();
    println!("udp ports {} -> {}", udp.source_port, udp.dest_port);
}
RS
)
same "pktparse 0.7.1 takes IPv4 options for the payload" "$got" \
"ihl 6, rest 14 of 34 bytes
udp ports 37892 -> 0"
