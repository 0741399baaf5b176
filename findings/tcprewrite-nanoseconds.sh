#!/bin/bash
# What:    tcprewrite of tcpreplay 4.4.3 (Debian 4.4.3-1), and bittwiste of bittwist 2.0 (Debian 2.0-15), with a nanosecond pcap (magic a1b23c4d).
# Guess:   both carry it through as it is: neither was asked to touch a time.
# Happens: tcprewrite writes a microsecond file, the last three digits gone, and says nothing; bittwiste refuses the file:
#              tcprewrite: a1b2c3d4 123456
#              bittwiste: n.pcap is not a valid pcap based trace file
# Matters: hardware time stamps (PTP-capable cards) are what the nanosecond magic is for. A capture loses them in an edit of its addresses, and
#          gaps of less than a microsecond, which is any two frames at 10 Gbit/s, become zero.
# Source:  draft-ietf-opsawg-pcap, magic number: A1B23C4D, the second field of a record's time in nanoseconds. libpcap reads such a file in
#          microseconds unless pcap_open_offline_with_tstamp_precision asks for more.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb tcpreplay=4.4.3-1 bittwist=2.0-15
cd "$T"
python3 - <<'PY'
import struct
udp = bytes.fromhex("02000000000202000000000108004500001f00010000401166cb0a0000010a00000212340007000b1538616263")
open("n.pcap", "wb").write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1) + struct.pack("<IIII", 1700000000, 123456789, 45, 45) + udp)
PY
tcprewrite --enet-dmac=02:00:00:00:00:03 -i n.pcap -o out.pcap
got=$(python3 -c '
import struct
b = open("out.pcap", "rb").read()
print("tcprewrite: %08x" % struct.unpack("<I", b[:4]), struct.unpack("<I", b[28:32])[0])'
bittwiste -I n.pcap -O other.pcap -T ip -t 9 2>&1 | grep '^bittwiste:' || true)
same "a nanosecond pcap comes out of tcprewrite 4.4.3 in microseconds, and bittwiste 2.0 does not take it" "$got" \
"tcprewrite: a1b2c3d4 123456
bittwiste: n.pcap is not a valid pcap based trace file"
