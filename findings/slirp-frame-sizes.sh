#!/bin/bash
# What:    libslirp 4.7.0 (Debian 4.7.0-1) behind QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18), -netdev user, spoken to in raw frames through a hub.
# Guess:   short answers are 60 bytes, Ethernet's minimum without FCS; a frame beyond 1514 bytes is dropped, as a wire of MTU 1500 would.
# Happens: an ARP reply is 64 bytes, an ICMP one 60; an echo request in one frame of 3042 bytes is answered, in three fragments:
#              arp: 64
#              echo of 8 bytes: 60
#              echo of 3000 bytes in one frame: 1514 1514 82
# Matters: a receive path that takes 64 for "the FCS was not stripped" cuts four bytes of an ARP reply of any other peer. And a driver whose
#          transmit limit or jumbo setting is wrong passes its tests on this network, one way, and fails on the first switch.
# Source:  IEEE 802.3, 4A.2: minimum 64 bytes and basic maximum 1518 bytes, each with FCS, which -netdev user does not carry.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb qemu-system-x86=1:7.2+dfsg-7+deb12u18+b3 libslirp0=4.7.0-1
cat >"$T/ask.py" <<'PY'
import select, socket, struct, subprocess, sys
here = sys.argv[1]
near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
near.bind(here + "/near")
qemu = subprocess.Popen(["qemu-system-x86_64", "-M", "none", "-display", "none", "-nodefaults", "-monitor", "none",
                         "-netdev", "user,id=u,restrict=on", "-netdev", "hubport,id=h0,hubid=0,netdev=u", "-netdev", "hubport,id=h1,hubid=0,netdev=d",
                         "-netdev", "dgram,id=d,local.type=unix,local.path=%s/far,remote.type=unix,remote.path=%s/near" % (here, here)],
                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", 0xFFFF - total)
def ask(what, frame, answers):
    for _ in range(20):
        try:
            near.sendto(frame, here + "/far")
        except (FileNotFoundError, ConnectionRefusedError):
            select.select([], [], [], 0.5)  # it is still starting
            continue
        sizes = []
        while len(sizes) < answers and select.select([near], [], [], 3)[0]:
            sizes.append(len(near.recv(65536)))
        if sizes:
            return print(what, *sizes)
    print(what, "no answer")
def echo(size):
    icmp = b"\x08\0\0\0\0\1\0\1" + bytes(size)
    icmp = icmp[:2] + checksum(icmp) + icmp[4:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0) + bytes([10, 0, 2, 15, 10, 0, 2, 2])
    return bytes.fromhex("52550a000202" "020000000001" "0800") + ip[:10] + checksum(ip) + ip[12:] + icmp
try:
    ask("arp:", bytes.fromhex("ffffffffffff" "020000000001" "0806" "0001080006040001" "020000000001" "0a00020f" "000000000000" "0a000202"), 1)
    ask("echo of 8 bytes:", echo(8), 1)
    ask("echo of 3000 bytes in one frame:", echo(3000), 3)
finally:
    qemu.terminate()
    qemu.wait()
PY
mkdir "$T/s"
got=$(timeout 120 python3 "$T/ask.py" "$T/s")
same "libslirp 4.7.0 answers ARP in 64 bytes without FCS, and takes frames of twice its MTU" "$got" \
"arp: 64
echo of 8 bytes: 60
echo of 3000 bytes in one frame: 1514 1514 82"
