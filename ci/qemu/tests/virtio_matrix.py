"""Our driver on QEMU's virtio card in all the ways that the card can be (`harness/matrix.py`), on the host's QEMU and on the latest.

All the cards are in one guest. On a wire of raw frames `respond` answers, and the harness compares; on a tap `forward` carries what two kernels of the host
say to each other, UDP and TCP, both ways: each of the two compares every byte, and verifies the checksums that the cards were not told to have verified."""

import json
import random
import re
import select
import socket
import threading
import time

from harness import commands
from harness.lab import EXPECTED, Failure, answering, check, stopped, test
from harness.matrix import CELLS, FAR, FAR_IP, IN_ORDER
from harness.peer import Exchange

GROUP = "virtio-matrix"
FRAMES = 3000
KINDS = ("arp", "icmp", "udp", "icmp", "udp")
DATAGRAMS = 600
WINDOW = 16
FLOWS = 16
MOST = 1472
STREAM_BYTES = 1_500_000
PORT = 7
SECONDS = 60
# Once in some 90 runs of a tap's cell on the latest QEMU (11.1) it read an available index, which stood above 256, as 0, and asked for a reset. Why is not known: the
# index is one word of 16 bits in mapped memory, which nothing sets to 0 while the device is live. Where QEMU says so, and only there, a cell has a second try, and tells of it.
COMPLAINT = "Guest moved used index"
# What travels, as each side knows it.
_NOISE = random.Random(1311).randbytes(STREAM_BYTES)


def _ready(guest, name):
    """The card's address, bound to vfio-pci; it must be what its cell says."""
    address = guest.ports[name].address
    guest.run(f"bind_driver {address} vfio-pci")
    return address


def _agreed(guest, cell):
    """The features that driver and card agree on."""
    info = json.loads(guest.run(commands.tool(f"info {guest.ports[cell.name].address} --json 2>/dev/null")))
    for name, wanted in cell.features().items():
        check((name in info["features"]) == wanted, f"{name} should be {wanted} in {cell.name}: {info['features']}")


def _on_frames(lab, guest, cell):
    """Frames from the harness, echoed."""
    address = _ready(guest, cell.name)
    _agreed(guest, cell)
    peer, responder = lab.peer(guest, cell.name), lab.responder(guest, cell.name)
    program = guest.start("respond", commands.respond(address))
    answering(program, peer, responder)
    report = Exchange(peer, responder, KINDS).run(FRAMES)
    stopped(program)
    return report


class Echo:
    """The kernel behind the far card: sends back what UDP and TCP bring."""

    def __init__(self, stack):
        self._udp = stack.socket(socket.SOCK_DGRAM)
        self._listener = stack.socket(socket.SOCK_STREAM)
        # What an earlier cell's connection left behind does not matter: it had another port at its other end.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._udp.bind((FAR_IP, PORT))
        self._listener.bind((FAR_IP, PORT))
        self._listener.listen(1)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._datagrams, self._stream)]
        for thread in self._threads:
            thread.start()

    def close(self):
        """Ends the threads and the sockets."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._listener.close()

    def _readable(self, which):
        while not self._ended.is_set():
            if select.select([which], [], [], 0.05)[0]:
                return True
        return False

    def _datagrams(self):
        while self._readable(self._udp):
            data, sender = self._udp.recvfrom(65536)
            self._udp.sendto(data, sender)

    def _stream(self):
        while self._readable(self._listener):
            connection = self._listener.accept()[0]
            with connection:
                connection.settimeout(SECONDS)
                try:
                    while self._readable(connection) and (data := connection.recv(65536)):
                        connection.sendall(data)
                except OSError:
                    # The other end misses what was not sent back, and says so.
                    pass


def _until_open(udp, program):
    """Knocks until the far kernel answers, and takes in what is late."""
    for _ in range(100):
        try:
            udp.send(b"knock")
            if select.select([udp], [], [], 0.2)[0] and udp.recv(65536) == b"knock":
                break
        except OSError:
            # An earlier one could not be delivered: nobody answered ARP yet.
            time.sleep(0.05)
        status = program.status()
        check(status is None, f"`{program.command}` ended with status {status}: {program.output()[-600:]}")
    else:
        check(False, f"no datagram crosses: {program.output()[-600:]}")
    while select.select([udp], [], [], 0.3)[0]:
        udp.recv(65536)


def _datagram(number):
    size = number * 601 % (MOST + 1)
    return number.to_bytes(4, "big")[: min(4, size)] + _NOISE[number * 7 : number * 7 + max(0, size - 4)]


def _echoed_datagrams(sockets):
    """Datagrams of all sizes, some of them under way at once; each comes back as it was, and those of a socket in order."""
    sent = 0
    for number in range(DATAGRAMS):
        while sent < min(DATAGRAMS, number + WINDOW):
            sockets[sent % len(sockets)].send(_datagram(sent))
            sent += 1
        udp = sockets[number % len(sockets)]
        came = select.select([udp], [], [], 8)[0]
        check(came, f"datagram {number} of {len(_datagram(number))} bytes did not come back")
        check(udp.recv(65536) == _datagram(number), f"datagram {number} of {len(_datagram(number))} bytes came back otherwise")
    return f"{DATAGRAMS} datagrams of 0 to {MOST} bytes"


def _echoed_stream(tcp):
    """A TCP stream, written as fast as the kernel takes it and read as it comes back."""
    tcp.settimeout(20)
    tcp.connect((FAR_IP, PORT))
    failures = []

    def write():
        try:
            tcp.sendall(_NOISE)
        except OSError as error:
            failures.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    got = bytearray()
    try:
        while len(got) < STREAM_BYTES:
            data = tcp.recv(65536)
            check(data, f"the stream ended after {len(got)} of {STREAM_BYTES} bytes")
            got += data
    except OSError as error:
        failures.append(error)
    check(not failures, f"TCP failed after {len(got)} of {STREAM_BYTES} bytes: {failures}")
    writer.join()
    check(bytes(got) == _NOISE, "the stream came back otherwise")
    return f"{STREAM_BYTES} bytes of TCP"


def _on_taps(_lab, guest, cell):
    """A kernel's UDP and TCP to another kernel's, through `forward`."""
    addresses = [_ready(guest, name) for name in (cell.name, FAR)]
    _agreed(guest, cell)
    echo = Echo(guest.ports[FAR].stack)
    stack = guest.ports[cell.name].stack
    # A flow has one queue: of many flows, several have.
    flows = [stack.socket(socket.SOCK_DGRAM) for _ in range(FLOWS if cell.queues > 1 else 1)]
    tcp = stack.socket(socket.SOCK_STREAM)
    try:
        for udp in flows:
            udp.connect((FAR_IP, PORT))
        program = guest.start("forward", commands.forward(*map(commands.spec, addresses), SECONDS, cell.queues, cell.offloads))
        _until_open(flows[0], program)
        start = time.monotonic()
        try:
            seen = f"{_echoed_datagrams(flows)}, {_echoed_stream(tcp)}, there and back, in {time.monotonic() - start:.1f} s"
        except EXPECTED as error:
            raise Failure(f"{error}; `forward` says {program.stop()[1][-900:]}") from error
        output = stopped(program)
    finally:
        for held in (*flows, tcp):
            held.close()
        echo.close()
    counted = re.search(r"forwarded=(\d+) lost=0 refused=0", output)
    check(counted, f"forward lost or refused frames: {output[-600:]}")
    check(int(counted[1]) > 2 * DATAGRAMS, f"what came back did not come through `forward`: {output[-600:]}")
    return f"{seen}, {counted[1]} frames{_spread(cell, addresses, output)}{_coalesced(cell, int(counted[1]))}"


def _spread(cell, addresses, output):
    """Each card received in several queues, where it has several."""
    if cell.queues == 1:
        return ""
    received = re.findall(commands.RECEIVED_BY_QUEUE, output, re.MULTILINE)
    counts = [[int(count) for name, count in received if address in name] for address in addresses]
    for of_card in counts:
        check(len(of_card) == cell.queues and sum(count > 0 for count in of_card) > 1, f"all came in one queue: {output[-900:]}")
    return f", by queue {counts}"


def _coalesced(cell, frames):
    """The stream came in far fewer frames than it has segments, where the card may put them together."""
    if not (cell.offloads and cell.merged):
        return ""
    # There and back, in segments of 1448 bytes.
    segments = 2 * STREAM_BYTES // 1448
    check(frames - 2 * DATAGRAMS < segments, f"{frames} frames, of which the stream's {segments} segments are not put together")
    return ", segments put together"


def _register(cell, guest):
    work = _on_taps if cell.tap else _on_frames

    def run(lab):
        try:
            return work(lab, lab.guest(guest), cell)
        except EXPECTED:
            said = [line for line in lab.guest(guest).qemu_said().splitlines() if COMPLAINT in line]
            if not said:
                raise
        lab.settle(failed=True)
        return f"{work(lab, lab.guest(guest), cell)}; at the second try: at the first QEMU said {said[0].partition(': ')[2]!r}"

    run.__doc__ = f"{'two kernels on taps through `forward`' if cell.tap else 'frames of the harness at `respond`'}: {cell.properties()}"
    test(f"{GROUP}/{cell.name}{guest.removeprefix('matrix')}", needs=["barewire", "forward", "respond"])(run)


for which, cells in (("matrix", CELLS), ("matrix-newest", CELLS + IN_ORDER)):
    for one in cells:
        _register(one, which)
