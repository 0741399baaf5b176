#!/bin/bash
# What:    the Python package dpkt 1.9.8, dpkt.pcapng.Reader: two interfaces, a simple packet block, a section of the other byte order.
# Guess:   each packet's time in the resolution of its own interface; every packet of the file is seen.
# Happens: the resolution of the first interface serves all, simple packets are skipped, and a section of the other byte order is passed over,
#          without error:
#              microseconds then nanoseconds: [1700000000.5, 1700000000500.0]
#              a simple packet: []
#              little, then big-endian section: [1700000000.5]
# Matters: a capture of two cards, one with hardware time stamps, comes out with one card's frames in the year 55840. A big-endian
#          appliance's part of a joined file is lost. Reader serves sections of one byte order with one kind of interface.
# Source:  draft-ietf-opsawg-pcapng: options of an interface block hold for that interface; 4.1, the byte order is that of
#          each section; 4.4.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
pypi dpkt==1.9.8
got=$(python3 - <<'PY'
import dpkt, io, struct
def block(kind, body, order="<"):
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)
def packet(interface, time, order="<"):
    return block(6, struct.pack(order + "IIIII", interface, time >> 32, time & 0xFFFFFFFF, 60, 60) + bytes(60), order)
def start(order):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order) + block(1, struct.pack(order + "HHI", 1, 0, 0), order)
nano = block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHIHH", 9, 1, 9, 0, 0))
one = packet(0, 1700000000500000)
for name, file in (("microseconds then nanoseconds", start("<") + nano + one + packet(1, 1700000000500000000)),
                   ("a simple packet", start("<") + block(3, struct.pack("<I", 60) + bytes(60))),
                   ("little, then big-endian section", start("<") + one + start(">") + packet(0, 1700000000500000, ">"))):
    print("%s:" % name, [time for time, _ in dpkt.pcapng.Reader(io.BytesIO(file))])
PY
)
same "dpkt 1.9.8 reads a pcapng file with the first interface's resolution, without simple packets, and one byte order" "$got" \
"microseconds then nanoseconds: [1700000000.5, 1700000000500.0]
a simple packet: []
little, then big-endian section: [1700000000.5]"
