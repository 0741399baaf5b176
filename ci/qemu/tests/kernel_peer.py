"""Two guests on one wire: the kernel's virtio_net in one, `respond` in the other. The host only looks on."""

from harness import commands
from harness.lab import check, test

ADDRESS = "10.9.0.2"
SIZES = (18, 56, 219, 512, 1000, 1472)
PINGS = 50
DATAGRAMS = 2000


def exchange(stack, address=ADDRESS):
    """The kernel's network stack in guest `stack` talks to `address`. Returns what it saw."""
    name = stack.run(f"interface_of {stack.ports['cross'].address}").strip()
    stack.run(f"ip addr flush dev {name}; ip addr add 10.9.0.1/24 dev {name}; ip link set {name} up")
    seconds = 20
    stack.run(f"arping -I {name} -f -w {seconds} {address}", timeout=seconds + 5)
    for size in SIZES:
        stack.run(f"flood {PINGS} -s {size} {address}", timeout=40)
    neighbour = stack.run(f"ip neigh show {address}").split()
    return f"{len(SIZES) * PINGS} pings of {SIZES[0]} to {SIZES[-1]} bytes answered by {neighbour[4]}"


def echo(stack, address=ADDRESS):
    """UDP echo through the kernel's sockets: every datagram comes back equal."""
    return "UDP: " + stack.run(f"udp-echo ask {address}:7 {DATAGRAMS}", timeout=60).strip()


@test("kernel-peer", needs=["respond"])
def kernel_peer(lab):
    """two QEMUs joined by their sockets: the kernel's own virtio_net in the second guest talks to respond in the first"""
    guest = lab.guest("group")
    port = guest.ports["cross"]
    guest.run(f"bind_driver {port.address} vfio-pci")
    program = guest.start("respond", commands.respond(port.address))
    stack = lab.guest("stack")
    seen = exchange(stack)
    check(port.mac in seen, f"the answers came from elsewhere: {seen}")
    seen += "; " + echo(stack)
    status = program.status()
    check(status is None, f"respond ended with status {status}: {program.output()[-600:]}")
    program.stop()
    return seen
