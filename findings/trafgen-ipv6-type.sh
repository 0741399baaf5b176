#!/bin/bash
# What:    trafgen of netsniff-ng 0.6.8 (Debian 0.6.8-3): eth(), then ipv4() or ipv6(), then udp(), written to a pcap.
# Guess:   what is not given is filled in alike for both: the type in the Ethernet header, the protocol, the lengths, the checksums.
# Happens: ipv6() has its next header, length and UDP checksum filled in, and the Ethernet type left 0:
#              ipv4: type 0800 protocol 17
#              ipv6: type 0000 next header 17 hop limit 0
# Matters: type 0000 is a length field of 802.3, so that the frame is no IPv6 packet for any receiver: a card's type filters, RSS and checksum
#          offload look at none of it, and the test "sees no IPv6". It takes eth(type=0x86dd), and hl=64 for a router to forward it.
# Source:  RFC 2464, 3: the Ethernet type of IPv6 is 86DD. The manual page gives 0 as the default of both fields for eth() and ipv6(), and of the
#          type does not say that ipv4() overrides it and ipv6() does not.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb netsniff-ng=0.6.8-3
cd "$T"
write() { # NAME ADDRESSES: in a network namespace of its own, although nothing is sent
    printf '{ eth(da=02:00:00:00:00:02, sa=02:00:00:00:00:01), %s(%s), udp(sport=4660, dport=7), "abcd" }\n' "$1" "$2" >"$1.cfg"
    timeout -k 2 30 unshare -n trafgen --no-sock-mem -P 1 -n 1 -i "$1.cfg" -o "$1.pcap" >/dev/null 2>&1 </dev/null
}
write ipv4 'saddr=10.0.0.1, daddr=10.0.0.2'
write ipv6 'saddr=fe80::1, daddr=fe80::2'
got=$(python3 - <<'PY'
four, six = (open(name + ".pcap", "rb").read()[40:] for name in ("ipv4", "ipv6"))
print("ipv4: type", four[12:14].hex(), "protocol", four[23])
print("ipv6: type", six[12:14].hex(), "next header", six[20], "hop limit", six[21])
PY
)
same "trafgen 0.6.8 fills in the Ethernet type before ipv4() and leaves it 0 before ipv6()" "$got" \
"ipv4: type 0800 protocol 17
ipv6: type 0000 next header 17 hop limit 0"
