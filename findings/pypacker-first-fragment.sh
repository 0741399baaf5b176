#!/bin/bash
# What:    the Python package pypacker 5.4: the first fragment of a UDP datagram, its IP source set, and bin().
# Guess:   the IP header is written anew; what is above it is left, or the checksum is updated by the difference.
# Happens: the UDP length and checksum of the whole datagram are replaced by those of this piece:
#              udp length 48 -> 24
#              udp checksum replaced more fragments True
#          The second fragment still goes out, and the datagram put together of both is damaged.
# Matters: address rewriting for a replay ruins every datagram that does not fit the MTU, and no short one. For fragments the automatic fields
#          have to be switched off by hand.
# Source:  RFC 791, 3.2 and RFC 768: length and checksum of UDP are those of the datagram, of which a fragment's header carries a piece.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
pypi pypacker==5.4
got=$(python3 - <<'PY'
from pypacker.layer12 import ethernet
from pypacker.layer3 import ip
before = bytes.fromhex("020000000002020000000001" "0800" "4500002c00012000401146be0a0000010a000002" "1234000700306fe7") + b"x" * 16
packet = ethernet.Ethernet(before)
packet[ip.IP].src_s = "10.0.0.9"
after = packet.bin()
print("udp length", int.from_bytes(before[38:40], "big"), "->", int.from_bytes(after[38:40], "big"))
right = 0x6FE7 - 8  # the source grew by 8
print("udp checksum", "updated" if int.from_bytes(after[40:42], "big") == right else "replaced", "more fragments", bool(after[20] & 0x20))
PY
)
same "pypacker 5.4 gives the first fragment of a datagram the length and checksum of the piece" "$got" \
"udp length 48 -> 24
udp checksum replaced more fragments True"
