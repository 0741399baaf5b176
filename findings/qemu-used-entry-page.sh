#!/bin/bash
# What:    QEMU 7.2 (Debian 1:7.2+dfsg-7+deb12u18): a split virtqueue of virtio-rng-pci (iommu_platform=on) behind intel-iommu, whose used ring is aligned to 4 bytes
#          as VIRTIO 1.3 (2.7) asks for, and lies across two pages. Driven by qtest; the guest's processor stands still.
# Guess:   the used ring is right wherever it lies: its address is one that the driver chose, and both pages are mapped.
# Happens: where the 8 bytes of an entry lie across two pages, the first half is written there, and the second half elsewhere: at the device address that is its
#          offset in the used ring, be that mapped or not:
#              used ring at 0x12ff4: [[0, 8], [1, 8], [2, 8]], device address 0x10 has 0
#              used ring at 0x12ff0: [[0, 8], [1, 0], [2, 8]], device address 0x10 has 8
#          11.1.2 writes both halves where they belong. Where that address is not mapped the IOMMU tells a fault that no driver can explain.
# Matters: a driver takes a received frame for empty, or as long as the one that had the entry before; and 4 bytes of other memory of the same domain are overwritten. It
#          needs a ring of some hundred entries or an unlucky place, no vhost, and an emulated IOMMU: few meet all, so that it looks like bad luck. A used ring that begins 4 bytes
#          behind a multiple of 8 has no such entry.
# Source:  VIRTIO 1.3, 2.7: the used ring's alignment is 4. Intel VT-d 3.4: a page is mapped by itself. By a driver of ours that broke, by the address in QEMU's
#          complaint (vtd_iommu_translate: detected translation failure).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
deb qemu-system-x86=1:7.2+dfsg-7+deb12u18+b3
# Firmware that stops the processor at once: cli, hlt, and again.
python3 -c 'import sys; sys.stdout.buffer.write(bytes(0xFFF0) + b"\xfa\xf4\xeb\xfd" + bytes(12))' >"$T/halted"
cat >"$T/ask.py" <<'PY'
import os, struct, subprocess, time

root = os.environ["T"] + "/root/usr/share/"
QEMU = ["qemu-system-x86_64", "-L", root + "qemu", "-L", root + "seabios", "-L", "/usr/share/qemu", "-L", "/usr/share/seabios", "-machine", "q35", "-bios", os.environ["T"] + "/halted", "-m", "64",
        "-nodefaults", "-display", "none", "-qtest", "stdio", "-qtest-log", "none", "-device", "intel-iommu,intremap=off", "-object", "rng-builtin,id=r",
        "-device", "virtio-rng-pci,rng=r,addr=4,disable-legacy=on,iommu_platform=on"]
ROOT, CONTEXT, LEVELS, RAM, BAR, VTD = 0x100000, 0x101000, 0x102000, 0x200000, 0xFE000000, 0xFED90000
DESC, AVAIL, BUFFERS = 0x10000, 0x11000, 0x15000


def used_ring_at(used):
    qemu = subprocess.Popen(QEMU, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(*words):
        qemu.stdin.write(" ".join(word if isinstance(word, str) else hex(word) for word in words) + "\n")
        qemu.stdin.flush()
        while not (line := qemu.stdout.readline()).startswith("OK"):
            assert line, "QEMU ended"
        return line.split()[1:]

    def config(offset, value=None):
        ask("outl", 0xCF8, 0x80000000 | 4 << 11 | offset)
        return int(ask("inl", 0xCFC)[0], 16) if value is None else ask("outl", 0xCFC, value)

    def memory(iova, data=None, size=None):
        # Device address N lies at RAM + N, page by page.
        return bytes.fromhex(ask("read", RAM + iova, size)[0][2:]) if data is None else ask("write", RAM + iova, len(data), "0x" + data.hex())

    # The structures of a modern device: {kind: offset in BAR 4}.
    found, at = {}, config(0x34) & 0xFF
    while at:
        header = config(at)
        if header & 0xFF == 9:
            found[header >> 24] = config(at + 8)
        at = header >> 8 & 0xFF
    config(0x20, BAR), config(0x24, 0), config(4, 6)
    common, notify = BAR + found[1], BAR + found[2]
    # Root, context and three levels of tables: 32 pages of device addresses from 0 on.
    ask("writeq", ROOT, CONTEXT | 1)
    ask("writeq", CONTEXT + 16 * (4 << 3), LEVELS | 1), ask("writeq", CONTEXT + 16 * (4 << 3) + 8, 1 << 8 | 1)
    ask("writeq", LEVELS, LEVELS + 0x1000 | 3), ask("writeq", LEVELS + 0x1000, LEVELS + 0x2000 | 3)
    for page in range(32):
        ask("writeq", LEVELS + 0x2000 + 8 * page, RAM + (page << 12) | 3)
    ask("writeq", VTD + 0x20, ROOT), ask("writel", VTD + 0x18, 1 << 30), ask("writel", VTD + 0x18, 1 << 31)
    # A queue of 4 descriptors, of which each is 8 bytes for the device to fill.
    for status in (0, 1, 3):
        ask("writeb", common + 20, status)
    ask("writel", common + 8, 0), ask("writel", common + 12, 0), ask("writel", common + 8, 1), ask("writel", common + 12, 3)
    ask("writeb", common + 20, 11)
    ask("writew", common + 22, 0), ask("writew", common + 24, 4)
    for offset, iova in (32, DESC), (40, AVAIL), (48, used):
        ask("writel", common + offset, iova), ask("writel", common + offset + 4, 0)
    ask("writew", common + 28, 1), ask("writeb", common + 20, 15)
    memory(DESC, b"".join(struct.pack("<QIHH", BUFFERS + 16 * k, 8, 2, 0) for k in range(4)))
    memory(AVAIL, struct.pack("<5H", 0, 3, 0, 1, 2))
    ask("writew", notify, 0)
    for _ in range(500):
        if struct.unpack("<H", memory(used + 2, size=2))[0] == 3:
            break
        time.sleep(0.01)
    entries = [list(struct.unpack("<II", memory(used + 4 + 8 * k, size=8))) for k in range(3)]
    stray = struct.unpack("<I", memory(0x10, size=4))[0]
    qemu.kill()
    qemu.wait()
    return "used ring at %#x: %s, device address 0x10 has %d" % (used, entries, stray)


print(used_ring_at(0x12FF4))
print(used_ring_at(0x12FF0))
PY
got=$(T=$T timeout 120 python3 "$T/ask.py")
same "behind an emulated IOMMU QEMU 7.2 writes the second half of a used entry across two pages elsewhere" "$got" \
"used ring at 0x12ff4: [[0, 8], [1, 8], [2, 8]], device address 0x10 has 0
used ring at 0x12ff0: [[0, 8], [1, 0], [2, 8]], device address 0x10 has 8"
