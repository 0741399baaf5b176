#!/bin/bash
# What:    mausezahn of netsniff-ng 0.6.8 (Debian 0.6.8-3), -t udp over IPv4 and, with -6, over IPv6, sent on the loopback of a network namespace.
# Guess:   the UDP checksum is computed for both.
# Happens: over IPv4 it is, over IPv6 the field is 0:
#              ipv4 1538
#              ipv6 0000
# Matters: 0 is no "not summed" in IPv6: a receiver has to drop the datagram, and Linux does. A card that checks sums reports it as bad, or not at
#          all; neither tells anything about the driver. With sum= the right value has to be given by hand.
# Source:  RFC 8200, 8.1: the UDP checksum is not optional, receivers must discard a zero one. The manual page says of the
#          UDP arguments len and sum that they are set correctly by default.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb netsniff-ng=0.6.8-3
cat >"$T/run.py" <<'PY'
import fcntl, socket, struct, subprocess
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))  # SIOCSIFFLAGS: up, running
heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
heard.bind(("lo", 0))
heard.settimeout(10)
macs = ["-a", "02:00:00:00:00:01", "-b", "02:00:00:00:00:02"]
for name, to, kind, udp in (("ipv4", ["-A", "10.0.0.1", "-B", "10.0.0.2"], b"\x08\0", 34),
                            ("ipv6", ["-6", "-A", "fe80::1", "-B", "fe80::2"], b"\x86\xdd", 54)):
    subprocess.run(["mausezahn", "lo", "-c", "1", *macs, *to, "-t", "udp", "sp=4660,dp=7", "-P", "abc"], check=True, timeout=30,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    frame = heard.recv(2048)
    while frame[12:14] != kind or frame[udp:udp + 2] != b"\x12\x34":
        frame = heard.recv(2048)
    print(name, frame[udp + 6:udp + 8].hex())
PY
got=$(unshare -n python3 "$T/run.py")
same "mausezahn 0.6.8 sends UDP over IPv6 with the checksum 0, which a receiver must drop" "$got" \
"ipv4 1538
ipv6 0000"
