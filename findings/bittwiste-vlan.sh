#!/bin/bash
# What:    bittwiste of bittwist 2.0 (Debian 2.0-15), with a tagged and an untagged frame of the same datagram.
# Guess:   -T ip -t 9 sets the time to live of both; or the tagged one is refused.
# Happens: both are "written", exit 0, and the tagged one comes out as it went in:
#              2 packets (94 bytes) written
#              ttl untagged 9, tagged 64
# Matters: a VLAN test made by editing a trunk capture runs with the old addresses, ports and lifetimes, and nothing in the tool's report
#          tells how many frames were edited.
# Source:  IEEE 802.1Q: the type after the tag says what follows. The manual page says that Ethernet and IP headers can be edited, and names
#          truncated packets alone as those written as they are.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb bittwist=2.0-15
cd "$T"
python3 - <<'PY'
import struct
mac, ip = bytes.fromhex("020000000002020000000001"), bytes.fromhex("08004500001f00010000401166cb0a0000010a00000212340007000b1538616263")
with open("in.pcap", "wb") as f:
    f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
    for frame in (mac + ip, mac + bytes.fromhex("81002005") + ip):
        f.write(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)
PY
said=$(bittwiste -I in.pcap -O out.pcap -T ip -t 9 2>&1)
got=$(grep written <<<"$said"
python3 -c 'b = open("out.pcap", "rb").read(); print("ttl untagged %d, tagged %d" % (b[40 + 22], b[40 + 45 + 16 + 26]))')
same "bittwiste 2.0 reports a VLAN-tagged packet as written and has edited nothing in it" "$got" \
"2 packets (94 bytes) written
ttl untagged 9, tagged 64"
