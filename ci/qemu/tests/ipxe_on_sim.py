"""The simulated cards under iPXE: its drivers know nothing of Linux' or of ours. It asks for an address, pings, and fetches a kernel and a file system that
take the machine over and say whether every byte came."""

import hashlib
import os
import re

from harness import netboot, provide
from harness.cpio import Archive
from harness.lab import check, test

GROUP = "ipxe-on-sim"
DATA_BYTES = 3_000_000
PINGS = (0, 56, 1000, 1472)
COUNT = 3
INIT = b"""#!/bin/busybox sh
/bin/busybox echo "the file system is here: $(/bin/busybox sha256sum /data)"
/bin/busybox reboot -f
"""
# What iPXE's drivers do and the specification forbids; the card says so and works on.
INTEL = {
    "RXEN was set while RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP differ",
    "RXEN was set while the receive data path was not halted by SECRXCTRL.RX_DIS",
    "a ring was changed while its queue is enabled",
    "a transmit queue was enabled before DMATXCTL.TE",
}
VIRTIO = {
    "a status bit is set before the one that it needs",
    "an access of another width than the field's",
    "features are written outside their step",
    "the device configuration is read in a wrong way or too early",
}


def _script(port):
    """What iPXE does. Its interface is opened twice, and the second time must be as good as the first."""
    base = f"http://{netboot.HOST}:{port}"
    pings = [f"ping --count {COUNT} --size {size} {netboot.HOST} && echo pinged {size}" for size in PINGS]
    lines = ["show net0/chip", "show net0/mac", "ifopen net0", "dhcp net0 && echo first address", "ifstat", "ifclose net0", "ifopen net0"]
    lines += ["dhcp net0 && echo second address", "show net0.dhcp/ip", *pings]
    lines += [f"kernel {base}/kernel console=ttyS0 quiet panic=-1 initrd=initrd", f"initrd {base}/initrd", "ifstat", "boot"]
    # Whatever fails ends the machine, and what is missing on its console tells.
    return "\n".join(f"{line} || echo failed: {line.split()[0]}" for line in lines) + "\npoweroff"


def _boot(lab, device, chip, forbidden):
    data = os.urandom(DATA_BYTES)
    archive = Archive()
    archive.folder("dev")
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", provide.busybox().read_bytes(), 0o755)
    archive.file("init", INIT, 0o755)
    archive.file("data", data)
    server = netboot.Served({"kernel": provide.debian_kernel().image.read_bytes(), "initrd": archive.bytes()})
    try:
        shown, violations = netboot.boot(lab, f"ipxe-{chip}", device, _script(server.port))
    finally:
        server.close()
    version = re.search(r"iPXE (\d\S*)", shown)
    check(f"net0/chip:string = {chip}\n" in shown, f"iPXE's driver did not take the card as {chip}: {shown[-900:]}")
    for words in ("first address", "second address", "net0.dhcp/ip:ipv4 = 10.0.2.15", *(f"pinged {size}" for size in PINGS)):
        check(words in shown, f"the console lacks '{words}': {shown[-900:]}")
    check("failed: " not in shown, f"a command of iPXE's failed: {shown[-900:]}")
    check(hashlib.sha256(data).hexdigest() in shown, f"the file system that was fetched is not what was sent: {shown[-900:]}")
    errors = re.findall(r"\[Link:\w+, TX:\d+ TXE:\d+ RX:(\d+) RXE:(\d+)\]", shown)
    check(errors and all(wrong == "0" for _, wrong in errors), f"iPXE counts receive errors: {errors}")
    check(violations == forbidden, f"what the specification forbids: {sorted(violations)}")
    pings = len(PINGS) * COUNT
    return f"iPXE {version[1]}, {chip}: two DHCP leases, {pings} pings, a kernel and {len(archive.bytes())} bytes by HTTP, which booted and are equal"


@test(f"{GROUP}/82599", needs=["barewire"])
def card_82599(lab):
    """iPXE boots over a simulated 82599: DHCP, twice, pings, and by HTTP a kernel that checks every byte of what it was given"""
    return _boot(lab, "ixgbe", "82599-sfp", INTEL)


@test(f"{GROUP}/x540", needs=["barewire"])
def card_x540(lab):
    """the same over an X540"""
    return _boot(lab, "ixgbe,card=x540", "x540t", INTEL)


@test(f"{GROUP}/x550", needs=["barewire"])
def card_x550(lab):
    """the same over an X550"""
    return _boot(lab, "ixgbe,card=x550", "x550t2", INTEL)


@test(f"{GROUP}/virtio", needs=["barewire"])
def card_virtio(lab):
    """the same over a simulated virtio card"""
    return _boot(lab, "virtio-net", "virtio-net", VIRTIO)
