#!/bin/bash
# What:    the Python package python-pcapng 2.1.1, EnhancedPacket.timestamp with an interface that has if_tsoffset.
# Guess:   the offset is added, as the format says; its resolution option is honoured.
# Happens: the resolution is honoured, the offset is not:
#              offset 0: 1700000000.5
#              offset 1700000000: 0.5
#          tshark and tcpdump put both in 2023.
# Matters: capture hardware counts from its own start and gives the offset in the interface block. Frames of two interfaces, one with an offset,
#          cannot be put in order by this field; they lie fifty years apart.
# Source:  draft-ietf-opsawg-pcapng, if_tsoffset: seconds that must be added to the timestamp of each packet to obtain the absolute timestamp.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
pypi python-pcapng==2.1.1
got=$(python3 - <<'PY'
import io, pcapng, struct
def block(kind, body):
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
for offset in 0, 1700000000:
    interface = block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHqI", 14, 8, offset, 0))
    time = 500000 + (0 if offset else 1700000000000000)
    packet = block(6, struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, 60, 60) + bytes(60))
    file = io.BytesIO(section + interface + packet)
    print("offset %d:" % offset, *(found.timestamp for found in pcapng.FileScanner(file) if type(found).__name__ == "EnhancedPacket"))
PY
)
same "python-pcapng 2.1.1 does not add if_tsoffset to a packet's time" "$got" \
"offset 0: 1700000000.5
offset 1700000000: 0.5"
