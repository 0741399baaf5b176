#!/bin/bash
# What:    trafgen of netsniff-ng 0.6.8 (Debian 0.6.8-3), icmp4(echorequest) with data after it, written to a pcap.
# Guess:   the ICMP checksum that it fills in is right for data of any length, as is the one of udp().
# Happens: for data of odd length the last byte is not summed; udp() with the same data is right:
#              icmp "abcd": checksum 3339, right 3339
#              icmp "abcde": checksum 3339, right ce38
#              udp "abcde": checksum afcf, right afcf
# Matters: pings of odd size are dropped by the receiver for their checksum, and it is the driver's or card's checksum code that is looked at.
# Source:  RFC 792, echo message: if the total length is odd, the received data is padded with one octet of zeros for computing the checksum.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb netsniff-ng=0.6.8-3
cd "$T"
ethernet='eth(da=02:00:00:00:00:02, sa=02:00:00:00:00:01), ipv4(saddr=10.0.0.1, daddr=10.0.0.2, ttl=64)'
write() { # NAME PACKET: in a network namespace of its own, although nothing is sent
    printf '{ %s, %s }\n' "$ethernet" "$2" >"$1.cfg"
    timeout -k 2 30 unshare -n trafgen --no-sock-mem -P 1 -n 1 -i "$1.cfg" -o "$1.pcap" >/dev/null 2>&1 </dev/null
}
write even 'icmp4(echorequest), "abcd"'
write odd 'icmp4(echorequest), "abcde"'
write udp 'udp(sport=4660, dport=7), "abcde"'
got=$(python3 - <<'PY'
def checksum(data):
    total = sum(int.from_bytes((data + b"\0")[i:i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
for name, what, at in ("even", 'icmp "abcd"', 2), ("odd", 'icmp "abcde"', 2), ("udp", 'udp "abcde"', 6):
    data = open(name + ".pcap", "rb").read()[40 + 34:]
    head = bytes.fromhex("0a0000010a0000020011") + len(data).to_bytes(2, "big") if name == "udp" else b""
    right = checksum(head + data[:at] + b"\0\0" + data[at + 2:])
    print("%s: checksum %s, right %04x" % (what, data[at:at + 2].hex(), right))
PY
)
same "trafgen 0.6.8 leaves the last byte of odd data out of an ICMP checksum, not of a UDP one" "$got" \
'icmp "abcd": checksum 3339, right 3339
icmp "abcde": checksum 3339, right ce38
udp "abcde": checksum afcf, right afcf'
