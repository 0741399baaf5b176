"""`respond` on a virtio card, through each way to VFIO: 20,000 frames from the host, all answered and equal."""

import json

from harness import commands
from harness.lab import Failure, answering, stopped, test
from harness.peer import Exchange

FRAMES = 20000
KINDS = ("arp", "icmp", "udp", "icmp", "udp", "icmp", "udp", "icmp")


def _respond(lab, guest, way):
    address = guest.ports["n0"].address
    guest.run(f"bind_driver {address} vfio-pci")
    peer = lab.peer(guest, "n0")
    responder = lab.responder(guest, "n0")
    program = guest.start("respond", commands.respond(commands.spec(address, way)))
    answering(program, peer, responder)
    report = Exchange(peer, responder, KINDS).run(FRAMES)
    nodes = guest.run(f"ls -l /proc/{program.pid}/fd | sed -n 's/.*-> \\(\\/dev\\/.*\\|anon_inode:.vfio.*\\)/\\1/p' | sort -u")
    stopped(program)
    used = [node for node in nodes.split() if node.startswith("/dev/vfio") or node == "/dev/iommu"]
    return report, used


@test("respond-group", needs=["respond"])
def respond_group(lab):
    """Linux 6.1, group and container behind the virtual IOMMU: 20,000 ARP, ICMP and UDP frames answered and equal"""
    guest = lab.guest("group")
    report, used = _respond(lab, guest, None)
    group = guest.run(f"group_of {guest.ports['n0'].address}").strip()
    missing = {"/dev/vfio/vfio", f"/dev/vfio/{group}"} - set(used)
    if missing:
        raise Failure(f"respond answered, but did not hold {missing} open: {used}")
    return f"{report}, through {' and '.join(used)}"


@test("respond-iommufd", needs=["respond"])
def respond_iommufd(lab):
    """Linux 6.12, device node and iommufd behind the virtual IOMMU: the same 20,000 frames"""
    guest = lab.guest("iommufd")
    report, used = _respond(lab, guest, None)
    if "/dev/iommu" not in used or not any(node.startswith("/dev/vfio/devices/") for node in used):
        raise Failure(f"respond answered, but not through iommufd and the device node: {used}")
    return f"{report}, through {' and '.join(used)}"


@test("respond-packed", needs=["respond", "barewire"])
def respond_packed(lab):
    """Linux 6.12, a card of QEMU's with packed queues: the same 20,000 frames over them"""
    guest = lab.guest("packed")
    report, _ = _respond(lab, guest, None)
    # Identified, it says which of the features that it has are used.
    info = guest.run(f"barewire info {commands.spec(guest.ports['n0'].address)} --json 2>/dev/null")
    if "RING_PACKED" not in json.loads(info)["features"]:
        raise Failure(f"the card has no packed queues, or they are not used: {info}")
    return f"{report}, over packed queues"


@test("respond-chosen", needs=["respond"])
def respond_chosen(lab):
    """Linux 6.12, where both ways are there: `way=group` takes the group although iommufd is there"""
    guest = lab.guest("iommufd")
    report, used = _respond(lab, guest, "group")
    if "/dev/iommu" in used:
        raise Failure(f"respond was told way=group and used /dev/iommu: {used}")
    return f"{report}, through {' and '.join(used)}"


@test("respond-noiommu", needs=["respond"])
def respond_noiommu(lab):
    """Linux 6.12 without an IOMMU: refused unless `way=noiommu` asks for it, then the same frames over huge pages"""
    guest = lab.guest("noiommu")
    address = guest.ports["n0"].address
    guest.run("echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode; echo 32 >/proc/sys/vm/nr_hugepages")
    guest.run(f"bind_driver {address} vfio-pci")
    refused = guest.start("refused", commands.respond(commands.spec(address)))
    status, output = refused.wait()
    if status == 0 or "iommu" not in output.lower():
        raise Failure(f"not asked for no-IOMMU, respond ended with status {status}: {output}")
    report, used = _respond(lab, guest, "noiommu")
    return f"refused when not asked for; {report}, through {' and '.join(used)}"
