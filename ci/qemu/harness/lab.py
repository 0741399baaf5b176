"""What a test works with: guests that are booted when first asked for and shared between tests, and the peers at the
other end of their network ports."""

import time

from . import matrix, provide
from .guest import Guest, GuestError, HubPort, Port, SimulatedPort, TapPort
from .peer import Peer, PeerError, Responder

TESTS = []


class Failure(Exception):
    """What a test saw is not what must be seen."""


# Errors whose message alone says what is wrong.
EXPECTED = (Failure, GuestError, PeerError)


class Test:
    """One registered test: its name, the programs of the project it runs, and the function, which returns what was seen."""

    def __init__(self, name, needs, function):
        self.name = name
        self.needs = needs
        self.function = function
        self.about = (function.__doc__ or "").strip().splitlines()[0]


def test(name, needs=()):
    """Registers a test function. `needs` are names of examples or binaries of the workspace, found in the guest's PATH."""

    def register(function):
        TESTS.append(Test(name, tuple(needs), function))
        return function

    return register


def check(condition, message):
    """Fails the test with the message unless the condition holds."""
    if not condition:
        raise Failure(message)


def _cards(*extra):
    return lambda _sockets: [
        Port("n0", 3, "52:54:00:12:00:03"),
        Port("n1", 4, "52:54:00:12:00:04"),
        *(Port(*arguments, **options) for arguments, options in extra),
    ]


def _tapped(_sockets):
    """A card on the tap of the host's kernel, and one without checksum offload."""
    return [TapPort("tap", 3, "52:54:00:7a:00:03"), Port("n1", 4, "52:54:00:7a:00:04")]


def _matrix(cells):
    """A card for each cell of the matrix, and the one at the other end of the taps."""

    def make(_sockets):
        cards = []
        for slot, cell in enumerate(cells, 3):
            mac, properties = f"52:54:00:3a:00:{slot:02x}", cell.properties()
            if cell.tap:
                cards.append(TapPort(cell.name, slot, mac, properties=properties, queues=cell.queues))
            else:
                cards.append(Port(cell.name, slot, mac, properties=properties))
        slot = 3 + len(cards)
        return [*cards, TapPort(matrix.FAR, slot, f"52:54:00:3a:00:{slot:02x}", address=matrix.FAR_IP, queues=matrix.QUEUES)]

    return make


def _looped(_sockets):
    """Two cards that are each other's wire: a forwarder between them has its own frames back."""
    return [
        HubPort("left", 3, "52:54:00:10:00:03", inlet=True),
        HubPort("right", 4, "52:54:00:10:00:04"),
    ]


def _crossed(sockets):
    """A card whose wire ends at card `cross` of guest `group`: each sends to the socket that the other binds."""
    port = Port("cross", 3, "52:54:00:34:00:03")
    port.near = sockets / "group-cross.peer"
    port.far = sockets / "group-cross.qemu"
    return [port]


def _facing(name, device="ixgbe", *further):
    """A simulated card, wired to a virtio card of the same guest, and `further` cards."""

    def cards(sockets):
        far = Port("far", 3, "52:54:00:82:59:03")
        far.near, far.far = sockets / f"{name}-far.qemu", sockets / f"{name}-far.card"
        near = SimulatedPort("near", 4, "02:00:00:82:59:90", device)
        near.near, near.far = far.far, far.near
        return [far, near, *(make() for make in further)]

    return cards


def _simulated(slot, bus, name="host", device="ixgbe"):
    """A simulated card, an 82599 where nothing else is said, whose wire ends at the host, on PCI bus `bus` of the guest."""
    return SimulatedPort(name, slot, f"02:00:00:82:59:{slot:02x}", device, bus)


def _virtio_pairs(_sockets):
    """Two simulated virtio cards of each kind, whose wires end at the host."""
    kinds = [("", ""), ("-packed", ",packed=on"), ("-in-order", ",packed=on,in-order=on"), ("-split-in-order", ",in-order=on")]
    names = [(f"{side}{kind}", f"virtio-net{option}") for kind, option in kinds for side in ("left", "right")]
    return [_simulated(slot, slot - 3, name, device) for slot, (name, device) in enumerate(names, 4)]


# A virtual IOMMU, and a kernel that uses it.
IOMMU = {"iommu": True, "parameters": "intel_iommu=on"}
# A virtio card with all that it has by option, but for its layout.
WHOLE_VIRTIO = "virtio-net,queues=4,rss=on,hashes=on,segmentation=on,moderation=on"
# name: (kernel, cards, what else is told to `Guest`)
GUESTS = {
    "group": (
        provide.debian_kernel,
        _cards(
            (("kernel", 5, "52:54:00:12:00:05"), {}),
            (("cross", 6, "52:54:00:12:00:06"), {}),
            (("hot", 8, "52:54:00:12:00:08"), {"hotplug": True, "address": "0000:01:00.0"}),
        ),
        IOMMU,
    ),
    "iommufd": (provide.iommufd_kernel, _cards(), IOMMU),
    # QEMU's card with packed queues, which it offers when it is told to.
    "packed": (provide.iommufd_kernel, lambda _sockets: [Port("n0", 3, "52:54:00:12:00:03", properties="packed=on")], IOMMU),
    # An IOMMU that remaps no interrupts; and a card with one vector for its queue and the link.
    "no-remapping": (
        provide.iommufd_kernel,
        _cards((("lone", 5, "52:54:00:12:00:05"), {"properties": "vectors=1"})),
        {"iommu": "no-remapping", "parameters": "intel_iommu=on"},
    ),
    "noiommu": (provide.iommufd_kernel, _cards(), {}),
    "tap": (provide.iommufd_kernel, _tapped, IOMMU),
    "tap-newest": (provide.iommufd_kernel, _tapped, {"newest": True, **IOMMU}),
    # The same cards on the host's QEMU, and on the latest.
    "matrix": (provide.iommufd_kernel, _matrix(matrix.CELLS), IOMMU),
    "matrix-newest": (provide.iommufd_kernel, _matrix(matrix.CELLS + matrix.IN_ORDER), {"newest": True, **IOMMU}),
    # Two cards that are each other's wire, and a processor whose clock counts its instructions.
    "loop": (provide.dpdk_kernel, _looped, {"counted": True, **IOMMU}),
    "stack": (provide.debian_kernel, _crossed, IOMMU),
    "sim": (provide.ixgbe_kernel, _facing("sim"), {}),
    "sim-intx": (provide.ixgbe_kernel, _facing("sim-intx"), {"parameters": "pci=nomsi"}),
    "sim-private": (provide.ixgbe_kernel, _facing("sim-private"), {"shared": False}),
    "sim-x540": (provide.ixgbe_kernel, _facing("sim-x540", "ixgbe,card=x540"), {}),
    "sim-x550": (provide.ixgbe_kernel, _facing("sim-x550", "ixgbe,card=x550"), {}),
    "sim-82599-vf": (provide.ixgbe_kernel, _facing("sim-82599-vf", "ixgbe,card=82599-vf"), {}),
    "sim-x540-vf": (provide.ixgbe_kernel, _facing("sim-x540-vf", "ixgbe,card=x540-vf"), {}),
    "sim-x550-vf": (provide.ixgbe_kernel, _facing("sim-x550-vf", "ixgbe,card=x550-vf"), {}),
    "sim-virtio": (provide.ixgbe_kernel, _facing("sim-virtio", WHOLE_VIRTIO), {}),
    "sim-virtio-packed": (provide.ixgbe_kernel, _facing("sim-virtio-packed", f"{WHOLE_VIRTIO},packed=on"), {}),
    "sim-virtio-private": (provide.ixgbe_kernel, _facing("sim-virtio-private", "virtio-net"), {"shared": False}),
    # Simulated cards behind a virtual IOMMU, for the project's own drivers.
    "own": (provide.ixgbe_kernel, _facing("own", "ixgbe", lambda: _simulated(5, 2)), IOMMU),
    "own-iommufd": (provide.iommufd_kernel, lambda _sockets: [_simulated(4, 1)], IOMMU),
    # Cards to which something happens.
    "own-doomed": (provide.ixgbe_kernel, lambda _sockets: [_simulated(4, 1, "ixgbe"), _simulated(5, 2, "virtio", "virtio-net")], IOMMU),
    # Two simulated cards without an IOMMU, for a driver that knows none.
    "ixy": (provide.debian_kernel, lambda _sockets: [_simulated(4, 1, "left"), _simulated(5, 2, "right")], {}),
    # Pairs of simulated virtio cards for DPDK's driver, split and packed, with buffers in order and without.
    "dpdk-on-sim": (provide.dpdk_kernel, _virtio_pairs, IOMMU),
    "sim-hang": (provide.ixgbe_kernel, _facing("sim-hang", "ixgbe,hang-tx=after:200"), {}),
}


class Lab:
    """The guests and peers of one run. `sockets` and `logs` are folders."""

    def __init__(self, sockets, logs, programs):
        self.programs = programs
        self._sockets = sockets
        self._logs = logs
        self._guests = {}
        self._peers = {}
        self._boots = 0

    def guest(self, name):
        """The guest of that name, booted where it does not run."""
        if name not in self._guests:
            kernel, cards, options = GUESTS[name]
            self.boot(name, kernel(), cards(self._sockets), **options)
        return self._guests[name]

    def boot(self, name, kernel, cards, **options):
        """Boots a guest that no other test shares."""
        self._guests[name] = Guest(name, kernel, cards, self.programs, self._sockets, self.logs(name), **options)
        return self._guests[name]

    def logs(self, name):
        """A new folder for what a guest leaves behind to be read."""
        self._boots += 1
        logs = self._logs / f"{self._boots}-{name}"
        logs.mkdir()
        return logs

    def socket(self, name):
        """A path for a socket."""
        return self._sockets / name

    def peer(self, guest, port, address="10.9.0.1"):
        """The host's end of a port's wire, with nothing left in it from before."""
        if (guest.name, port) not in self._peers:
            ends = guest.ports[port]
            self._peers[guest.name, port] = Peer(ends.far, ends.near, address=address)
        peer = self._peers[guest.name, port]
        peer.drain()
        return peer

    def responder(self, guest, port):
        """What answers at the other end of the port's wire."""
        return Responder(guest.ports[port].mac)

    def settle(self, failed):
        """After each test: ends what still runs in the guests. After a failed one, ends the guests too."""
        for guest in list(self._guests.values()):
            try:
                if failed and guest.trusted:
                    guest.run("dmesg; ps; cat /proc/interrupts; tail -n 50 /run/process/*.out", check=False)
                elif guest.trusted:
                    guest.run("end_all")
            except (GuestError, OSError):
                guest.trusted = False
            if failed or not guest.trusted:
                self._end(guest)

    def close(self):
        """Ends all guests."""
        for guest in list(self._guests.values()):
            self._end(guest)

    def _end(self, guest):
        guest.close()
        del self._guests[guest.name]
        for key in [key for key in self._peers if key[0] == guest.name]:
            self._peers.pop(key).close()


def answering(program, peer, responder, timeout=20):
    """Waits until the program answers ARP; where it ends instead, fails with what it printed."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return peer.wait_ready(responder, 1)
        except PeerError:
            status = program.status()
            output = program.output().strip()[-600:]
            if status is not None:
                raise Failure(f"`{program.command}` ended with status {status}: {output}") from None
            if time.monotonic() > deadline:
                raise Failure(f"`{program.command}` runs but answers no ARP in {timeout} s: {output}") from None


def stopped(program, timeout=10):
    """Ends the program by SIGTERM: it must end by itself, without an error."""
    status, output = program.stop(timeout)
    check(status in (0, 143), f"`{program.command}` ended with status {status} on SIGTERM: {output.strip()[-600:]}")
    return output
