"""How the project's programs are called: the one place where their command lines are spelled."""

import re

ADDRESS = "10.9.0.2/24"


def spec(address, way=None):
    """A device specification of kernel VFIO; `way` is `iommufd`, `group` or `noiommu`, or None for the best there is."""
    return f"{address},way={way}" if way else address


def respond(device, interrupts=False):
    """Answers ARP, ICMP echo and UDP port 7 until SIGTERM; with `interrupts`, sleeps while no frames come."""
    return f"respond {device} --ip {ADDRESS}" + (" --interrupts" if interrupts else "")


def forward(one, other, seconds, queues=1, coalescing=False):
    """Sends what one device receives out of the other, both ways, in one DMA domain; with `coalescing`, what the devices put together they send as one frame.

    With several queues it prints what each received, on lines as RECEIVED_BY_QUEUE has it."""
    return f"forward {one} {other} --seconds {seconds}" + (f" --queues {queues}" if queues > 1 else "") + (" --coalescing" if coalescing else "")


RECEIVED_BY_QUEUE = r"^(\S+): queue=\d+ rx_packets=(\d+)"


def simulate(device, socket, near, far):
    """The arguments of `barewire` that serve a simulated card over vfio-user, on a wire of unix datagrams."""
    return ["sim", "--device", device, "--socket", str(socket), "--wire", f"dgram={near}:{far}"]


# What the process that serves a simulated card does when it reads them.
PULL_CABLE = "link down"
PLUG_IN_CABLE = "link up"
OVERHEAT = "mishap overheat"


def tool(arguments):
    """The `barewire` tool.

    `list --json` prints an array of objects, among whose values are the address, the driver and the IOMMU group.
    `doctor ADDRESS --json` prints an array of objects with `name`, `verdict` (green, warning, red, skipped), `cause` and `remedy`;
    its exit status is 1 when one is red. `info ADDRESS` starts the device and prints what it is. A remedy that is a command is nothing but that command."""
    return f"barewire {arguments}"


# What the programs print, as regular expressions without regard to case. Their wording may change, these words may not.
LINK_DOWN = r"link\b.*\bdown"
LINK_UP = r"link\b.*\bup\b"
UNPLUGGED = r"unplug|removed|is gone"
MEMLOCK = r"RLIMIT_MEMLOCK|locked memory"
NO_REMAPPING = r"nothing remaps interrupts"
# Of the remedy for a limit on locked memory that is too low: the limit, in KiB.
ULIMIT = r"ulimit -l (\d+)"


def says(pattern, output):
    """Whether the output matches one of the patterns above."""
    return re.search(pattern, output, re.IGNORECASE) is not None
