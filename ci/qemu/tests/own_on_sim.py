"""barewire's own ixgbe on the simulated 82599 in a guest: guest vfio-pci on QEMU's vfio-user device, behind a virtual IOMMU.

The same model that Linux's ixgbe judges, reached as a real card is: the guest's IOMMU maps what the driver lends, QEMU passes
each mapping on to the process that simulates the card, and that process reaches nothing else."""

import re

from harness import commands
from harness.bench import FAR, NEAR
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

GROUP = "own-on-sim"
FRAMES = 5000


def _respond(guest, port, interrupts=False):
    address = guest.ports[port].address
    guest.run(f"bind_driver {address} vfio-pci")
    return guest.start("respond", commands.respond(address, interrupts))


def _clean(guest, port, before=()):
    """No DMA but to what was mapped, as the IOMMU saw it, and nothing that the datasheet forbids, as the card saw it; but for what it saw `before`."""
    faults = [line for line in guest.kernel_log().splitlines() if re.search(r"DMAR:.*fault|vfio.*(fail|error)|BUG|WARNING", line)]
    check(not faults, f"the guest's kernel: {faults[:4]}")
    violations = guest.ports[port].violations()[len(before) :]
    check(not violations, f"the card: {violations[:4]}")


def _frames(lab, guest, interrupts=False):
    """Frames from the host, all answered and equal; then a clean end. Returns what was seen, and how many interrupts came."""
    program = _respond(guest, "host", interrupts)
    peer, responder = lab.peer(guest, "host"), lab.responder(guest, "host")
    answering(program, peer, responder)
    report = Exchange(peer, responder, ("arp", "icmp", "udp", "icmp", "udp")).run(FRAMES)
    count = int(guest.run(f"interrupt_count {guest.ports['host'].address}"))
    stopped(program)
    _clean(guest, "host")
    return f"{report}, no DMAR fault, no violation", count


@test(f"{GROUP}/frames", needs=["barewire", "respond"])
def frames(lab):
    """guest vfio-pci (6.1, group) behind the virtual IOMMU: 5,000 frames from the host answered by our ixgbe"""
    return _frames(lab, lab.guest("own"))[0]


@test(f"{GROUP}/interrupts", needs=["barewire", "respond"])
def interrupts(lab):
    """the same with MSI-X: from the card through QEMU and interrupt remapping to an eventfd in the guest"""
    report, count = _frames(lab, lab.guest("own"), interrupts=True)
    check(count > 0, f"{report}, but no interrupt came")
    return f"{report}, {count} interrupts"


@test(f"{GROUP}/iommufd", needs=["barewire", "respond"])
def iommufd(lab):
    """guest vfio-pci by device node and iommufd (6.12): the same 5,000 frames"""
    return _frames(lab, lab.guest("own-iommufd"))[0]


@test(f"{GROUP}/ping", needs=["barewire", "respond"])
def ping(lab):
    """Linux's own stack at the other end of the wire: pings of 0 to 1472 bytes and UDP, answered by our ixgbe"""
    guest = lab.guest("own")
    program = _respond(guest, "near")
    far = guest.run(f"interface_of {guest.ports['far'].address}; true").strip()
    guest.run(f"ip link set {far} up; ip addr add {FAR}/24 dev {far}")
    try:
        guest.run(f"until ping -q -c 1 -W 1 {NEAR}; do :; done")
        for size in (0, 1, 18, 56, 219, 512, 1000, 1471, 1472):
            status, output = guest.run(f"pings 20 -W 3 -s {size} {NEAR}", timeout=60, check=False)
            check(status == 0, f"{size} bytes: {output.strip()[-200:]}")
        echoed = guest.run(f"udp-echo ask {NEAR}:7 500", timeout=60).strip()
    finally:
        guest.run(f"ip addr flush dev {far}")
    stopped(program)
    _clean(guest, "near")
    return f"180 pings of 9 sizes, {echoed}"


@test(f"{GROUP}/detach", needs=["barewire", "respond"])
def detach(lab):
    """after our driver is gone, Linux's ixgbe takes the same card over, and gives it back"""
    guest = lab.guest("own")
    address = guest.ports["near"].address
    program = _respond(guest, "near")
    program.wait_output("answering|10.9.0.2")
    stopped(program)
    _clean(guest, "near")
    far = guest.run(f"interface_of {guest.ports['far'].address}; true").strip()
    guest.run(f"modprobe ixgbe; bind_driver {address} ixgbe", timeout=60)
    near = guest.run(f"interface_of {address}; true").strip()
    holder = guest.run("new_namespace").strip()
    guest.run(f"ip link set {far} netns {holder}")
    guest.run(f"nsenter -t {holder} -n sh -c 'ip link set {far} up; ip addr add {FAR}/24 dev {far}'")
    guest.run(f"ip link set {near} up; ip addr add {NEAR}/24 dev {near}; until ping -q -c 1 -W 1 {FAR}; do :; done", timeout=30)
    guest.run(f"flood 20 -s 1000 {FAR}", timeout=40)
    linux = guest.ports["near"].violations()
    # The interface comes back to where the harness's pings are from.
    guest.run(f"ip link set {near} down; end {holder}; until interface_of {guest.ports['far'].address} | grep -q .; do usleep 10000; done")
    program = _respond(guest, "near")
    program.wait_output("answering|10.9.0.2")
    far = guest.run(f"interface_of {guest.ports['far'].address}").strip()
    guest.run(f"ip link set {far} up; ip addr add {FAR}/24 dev {far}")
    try:
        guest.run(f"until ping -q -c 1 -W 1 {NEAR}; do :; done; pings 20 -W 10 {NEAR}", timeout=60)
    finally:
        guest.run(f"ip addr flush dev {far}")
    stopped(program)
    _clean(guest, "near", linux)
    return "respond, then Linux's ixgbe (20 pings answered), then respond again (20 more)"
