#!/bin/bash
# What:    tcpslice 1.5 (Debian 1.5-1), which cuts and joins captures by time: valid pcap files of one, two and three packets of 47 bytes, a second apart.
# Guess:   -r prints name, first and last time of each; of the file with one packet both times are the same.
# Happens: the file with one packet cannot be read, whatever its packet and time; those with more can:
#              one: exit 1, tcpslice: problems finding end packet of file one.pcap
#              two: exit 0
#              three: exit 0
#          So it is where it is to be joined with others: nothing is written then, of the others neither.
#              one and three: exit 1, 0 bytes written
# Matters: ring buffers of captures (`tcpdump -G`, `-C`) have files with a single packet whenever traffic is thin, and one of them keeps all from being joined.
#          mergecap of the same archive joins them.
# Source:  tcpslice(1): it works on what tcpdump -w writes; the page says nothing of a least number of packets.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb tcpslice=1.5-1
cd "$T"
python3 - <<'PY'
import struct
frame = bytes.fromhex("020000000002020000000001" "0800" "45000021000100004011" "66c9" "0a0000010a000002" "12340007000d0000") + b"hello"
for name, count in (("one", 1), ("two", 2), ("three", 3)):
    with open(name + ".pcap", "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for k in range(count):
            out.write(struct.pack("<IIII", 1700000000 + k, 123456, len(frame), len(frame)) + frame)
PY
got=$(
    for name in one two three; do
        said=$(tcpslice -r $name.pcap 2>&1) && code=0 || code=$?
        ((code)) && echo "$name: exit $code, $said" || echo "$name: exit 0"
    done
    tcpslice -w both.pcap three.pcap one.pcap 2>/dev/null && code=0 || code=$?
    echo "one and three: exit $code, $( (wc -c <both.pcap) 2>/dev/null || echo 0) bytes written"
)
same "tcpslice 1.5 cannot read a capture of one packet" "$got" \
"one: exit 1, tcpslice: problems finding end packet of file one.pcap
two: exit 0
three: exit 0
one and three: exit 1, 0 bytes written"
