#!/bin/bash
# What:    tcprewrite of tcpreplay 4.4.3 (Debian 4.4.3-1).
# Guess:   with nothing but --enet-dmac, six bytes of each frame change, the destination address.
# Happens: a frame padded to Ethernet's minimum also gets a new IPv4 total length, which now takes in the padding, and new checksums to match:
#              bytes changed: 5 17 25 51
#              total length 40 -> 46
#          A bare TCP acknowledgement has become a segment with six bytes of data.
# Matters: captures of received frames are full of padded ones. A replay that was "only re-addressed" tests another protocol than the capture
#          shows: a stack under test answers data that nobody sent, and byte counts per flow no longer agree.
# Source:  RFC 1042 and RFC 894: padding is no part of the IP packet, and the total length does not count it. The tool's manual page says of
#          --enet-dmac that it overrides the destination MAC address and of no length. appneta/tcpreplay issue 845; since 4.4.1, an option since.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb tcpreplay=4.4.3-1
cat >"$T/make.py" <<'PY'
import struct, sys
ack = bytes.fromhex("020000000002020000000001080045000028000100004006" "66cd0a0000010a000002"
                    "000100020000000300000004501000649b64" "0000") + bytes(6)
assert len(ack) == 60
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1) + struct.pack("<IIII", 1, 0, 60, 60) + ack)
PY
python3 "$T/make.py" "$T/in.pcap"
tcprewrite --enet-dmac=02:00:00:00:00:03 -i "$T/in.pcap" -o "$T/out.pcap"
got=$(python3 - "$T/in.pcap" "$T/out.pcap" <<'PY'
import sys
a, b = (open(name, "rb").read()[40:] for name in sys.argv[1:])
print("bytes changed:", *(i for i in range(60) if a[i] != b[i]))
print("total length", int.from_bytes(a[16:18], "big"), "->", int.from_bytes(b[16:18], "big"))
PY
)
same "tcprewrite 4.4.3 counts Ethernet padding into the IPv4 total length when asked for another MAC address" "$got" \
"bytes changed: 5 17 25 51
total length 40 -> 46"
