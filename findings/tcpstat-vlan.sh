#!/bin/bash
# What:    tcpstat 1.5 (Debian 1.5-8+b1): four UDP datagrams over IPv4, untagged and with one 802.1Q tag, and four ARP requests likewise.
# Guess:   a tag is looked behind, as tcptrace and softflowd of the same archive do: the counts by protocol are the same.
# Happens: packets and bytes are counted, and of what kind they are is not seen behind a tag:
#              ip untagged: packets 4 IPv4 4 UDP 4 ARP 0
#              ip tagged: packets 4 IPv4 0 UDP 0 ARP 0
#              arp untagged: packets 4 IPv4 0 UDP 0 ARP 4
#              arp tagged: packets 4 IPv4 0 UDP 0 ARP 0
# Matters: on a trunk, or on a port whose driver leaves tags in the frames, every count by protocol is 0 and every total is right, which looks like a quiet network
#          with unknown traffic. Tags have to be stripped first (the card does, or tcprewrite).
# Source:  tcpstat(1) counts with %I the packets of IPv4, with %U those of UDP, with %A those of ARP, and does not speak of tags.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb tcpstat=1.5-8+b1
cd "$T"
python3 - <<'PY'
import struct
addresses = bytes.fromhex("020000000002020000000001")
ip = bytes.fromhex("0800" "45000021000100004011" "66c9" "0a0000010a000002" "12340007000d0000") + b"hello"
arp = bytes.fromhex("0806" "0001080006040001" "020000000001" "0a000001" "000000000000" "0a000002")
for kind, rest in (("ip", ip), ("arp", arp)):
    for name, tag in (("untagged", b""), ("tagged", bytes.fromhex("81000007"))):
        frame = addresses + tag + rest
        with open(f"{kind}-{name}.pcap", "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
            for k in range(4):
                out.write(struct.pack("<IIII", 1700000000 + k, 0, len(frame), len(frame)) + frame)
PY
got=$(
    for kind in ip arp; do
        for name in untagged tagged; do
            echo "$kind $name: $(tcpstat -r $kind-$name.pcap -o 'packets %n IPv4 %I UDP %U ARP %A\n' -1 2>/dev/null)"
        done
    done
)
same "tcpstat 1.5 counts no protocol behind a VLAN tag" "$got" \
"ip untagged: packets 4 IPv4 4 UDP 4 ARP 0
ip tagged: packets 4 IPv4 0 UDP 0 ARP 0
arp untagged: packets 4 IPv4 0 UDP 0 ARP 4
arp tagged: packets 4 IPv4 0 UDP 0 ARP 0"
