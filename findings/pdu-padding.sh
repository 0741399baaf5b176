#!/bin/bash
# What:    the crate pdu 1.5.1, an Ethernet frame of 60 bytes with a UDP datagram of 5 bytes of data, and the same with its FCS (64 bytes).
# Guess:   the payload of UdpPdu is the 5 bytes that both lengths give, and computed_checksum agrees with the field.
# Happens: each layer hands on the whole rest of the buffer, so that padding and FCS count as data:
#              60 bytes: payload 18, checksum field 95c4, computed 95c4
#              64 bytes: payload 22, checksum field 95c4, computed 2a88
#          The checksum of the first agrees only because its padding is zero.
# Matters: a card set to keep the FCS, or a switch that pads with what lay there, makes every short datagram "damaged", and long ones not.
#          The data handed on is too long in both cases. The buffer has to be cut to the total length before it is given to the crate.
# Source:  RFC 768: the length is of this datagram; RFC 1071 sums the datagram. IEEE 802.3, 3.2.8: the contents of PAD are unspecified.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
got=$(crates 'pdu = "=1.5.1"' <<'RS'
use pdu::*;
fn main() {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 33, 0, 1, 0, 0, 64, 17, 0x66, 0xc9, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x12, 0x34, 0, 7, 0, 13, 0x95, 0xc4, b'h', b'e', b'l', b'l', b'o']);
    frame.resize(60, 0);
    show(&frame);
    frame.extend(FCS);
    show(&frame);
}
const FCS: [u8; 4] = [0xf3, 0xe8, 0x77, 0x53];
fn show(frame: &[u8]) {
    let ethernet = EthernetPdu::new(frame).unwrap();
    let Ok(Ethernet::Ipv4(ip)) = ethernet.inner() else { panic!() };
    let Ok(Ipv4::Udp(udp)) = ip.inner() else { panic!() };
    let Ok(Udp::Raw(payload)) = udp.inner() else { panic!() };
    let computed = udp.computed_checksum(&Ip::Ipv4(ip));
    println!("{} bytes: payload {}, checksum field {:04x}, computed {computed:04x}", frame.len(), payload.len(), udp.checksum());
}
RS
)
same "pdu 1.5.1 takes Ethernet padding and FCS for UDP data, in its checksum too" "$got" \
"60 bytes: payload 18, checksum field 95c4, computed 95c4
64 bytes: payload 22, checksum field 95c4, computed 2a88"
