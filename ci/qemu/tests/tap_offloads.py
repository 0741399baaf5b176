"""A card on a tap of the host's kernel, which leaves the checksums of its UDP and TCP to the card: our programs fill them in."""

import random
import select
import struct
import threading
import time

from harness import commands, frames
from harness.lab import Failure, check, stopped, test

DATAGRAMS = 1000
STREAM_BYTES = 200_000
ECHO_PORT = 7
PEER_IP = "10.9.0.2"
MOST = 1472
SYN, PSH, ACK = 2, 8, 16
# What travels, as each side knows it.
_NOISE = random.Random(1071).randbytes(1 << 18)


def _datagram(number):
    size = (number * 601) % (MOST + 1)
    return _NOISE[number * 7 : number * 7 + size]


def _echoed(stack, program, serve=lambda: None):
    """The kernel sends datagrams, one after the other, and gets each back as it was. `serve` is called while it waits."""
    udp = stack.udp
    udp.setblocking(False)
    udp.connect((PEER_IP, ECHO_PORT))
    deadline = time.monotonic() + 60
    # Until the program runs, nothing answers ARP.
    while not _exchanged(udp, b"knock", serve, 0.5):
        status = program.status()
        check(status is None, f"`{program.command}` ended with status {status}: {program.output()[-600:]}")
        check(time.monotonic() < deadline, f"no datagram of the kernel comes back: {program.output()[-600:]}")
    while _received(udp, serve, 0.5) is not None:
        pass
    for number in range(DATAGRAMS):
        check(_exchanged(udp, _datagram(number), serve, 10), f"datagram {number} of {len(_datagram(number))} bytes did not come back as it was")
    return f"{DATAGRAMS} datagrams of 0 to {MOST} bytes"


def _exchanged(udp, payload, serve, timeout):
    try:
        udp.send(payload)
    except OSError:
        # An earlier one was told to be unreachable: nobody answered ARP.
        return False
    return _received(udp, serve, timeout) == payload


def _received(udp, serve, timeout):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        serve()
        if select.select([udp], [], [], 0.001)[0]:
            try:
                return udp.recv(65536)
            except OSError:
                return None
    return None


class Far:
    """What answers at the far end of `forward`'s second card, on raw frames: ARP, UDP echo, and one TCP connection whose bytes it sends back.
    No frame whose checksum is wrong or missing passes."""

    def __init__(self, peer):
        self.peer = peer
        self.ip = frames.ip(PEER_IP)
        self.datagrams = 0
        self.segments = 0
        self._next = 0
        self._sent = 1000

    def serve(self, timeout=0.0):
        """Answers what has arrived."""
        while (data := self.peer.receive(timeout)) is not None:
            self._answer(frames.Frame(data))

    def _answer(self, frame):
        if frame.ethertype == frames.ETHERTYPE_ARP:
            operation, mac, address, _, wanted = frames.parse_arp(frame.payload)
            if operation == frames.ARP_REQUEST and wanted == self.ip:
                reply = frames.arp(frames.ARP_REPLY, self.peer.mac, self.ip, mac, address)
                self.peer.send(frames.ethernet(mac, self.peer.mac, frames.ETHERTYPE_ARP, reply))
        elif frame.ethertype == frames.ETHERTYPE_IPV4:
            source, destination, protocol, payload = frames.parse_ipv4(frame.payload)
            if destination != self.ip:
                return
            pseudo = source + destination + struct.pack("!HH", protocol, len(payload))
            place = 6 if protocol == frames.PROTOCOL_UDP else 16
            if payload[place : place + 2] == bytes(2) or frames.checksum(pseudo + payload):
                raise Failure(f"a packet of protocol {protocol} left the card with a wrong checksum: {frame.data.hex()}")
            for answer in self._udp(payload) if protocol == frames.PROTOCOL_UDP else self._tcp(payload):
                self._send(frame, source, protocol, answer, place)

    def _send(self, frame, to, protocol, answer, place):
        pseudo = self.ip + to + struct.pack("!HH", protocol, len(answer))
        total = frames.checksum(pseudo + answer) or 0xFFFF
        packet = frames.ipv4(self.ip, to, protocol, answer[:place] + struct.pack("!H", total) + answer[place + 2 :])
        self.peer.send(frames.ethernet(frame.source, self.peer.mac, frames.ETHERTYPE_IPV4, packet))

    def _udp(self, datagram):
        self.datagrams += 1
        source, destination = struct.unpack_from("!HH", datagram)
        return [struct.pack("!HHHH", destination, source, len(datagram), 0) + datagram[8:]]

    def _tcp(self, segment):
        """The wire loses nothing, so what is not the next byte is a segment that was sent again."""
        source, destination, sequence, _, offset, flags = struct.unpack_from("!HHIIBB", segment)
        payload = segment[(offset >> 4) * 4 :]
        self.segments += 1
        if flags & SYN:
            self._next = (sequence + 1) & 0xFFFFFFFF
            self._sent += 1
            return [self._segment(destination, source, self._sent - 1, SYN | ACK, b"")]
        if sequence != self._next or not payload:
            return []
        self._next = (self._next + len(payload)) & 0xFFFFFFFF
        self._sent += len(payload)
        return [self._segment(destination, source, self._sent - len(payload), PSH | ACK, payload)]

    def _segment(self, source, destination, sequence, flags, payload):
        return struct.pack("!HHIIBBHHH", source, destination, sequence, self._next, 5 << 4, flags, 65535, 0, 0) + payload


def _streamed(stack, far):
    """The kernel sends a stream of bytes by TCP and gets it back as it was."""
    wanted = _NOISE[:STREAM_BYTES]
    got, failure = bytearray(), []

    def client():
        try:
            stack.tcp.settimeout(30)
            stack.tcp.connect((PEER_IP, ECHO_PORT))
            for start in range(0, STREAM_BYTES, 10_000):
                stack.tcp.sendall(wanted[start : start + 10_000])
                while len(got) < min(start + 10_000, STREAM_BYTES):
                    got.extend(stack.tcp.recv(65536))
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=client)
    thread.start()
    while thread.is_alive():
        far.serve(0.01)
    check(not failure, f"the kernel's TCP failed after {len(got)} bytes: {failure}")
    check(bytes(got) == wanted, "the kernel's TCP stream came back otherwise")
    return f"{STREAM_BYTES} bytes of TCP in {far.segments} segments"


def _respond(lab, name):
    guest = lab.guest(name)
    address = guest.ports["tap"].address
    guest.run(f"bind_driver {address} vfio-pci")
    program = guest.start("respond", commands.respond(commands.spec(address)))
    report = _echoed(guest.ports["tap"].stack, program)
    stopped(program)
    return f"{report} echoed"


def _forward(lab, name):
    guest = lab.guest(name)
    addresses = [guest.ports[port].address for port in ("tap", "n1")]
    for address in addresses:
        guest.run(f"bind_driver {address} vfio-pci")
    far = Far(lab.peer(guest, "n1"))
    program = guest.start("forward", commands.forward(*map(commands.spec, addresses), 120))
    stack = guest.ports["tap"].stack
    datagrams, stream = _echoed(stack, program, far.serve), _streamed(stack, far)
    output = stopped(program)
    check("refused=0" in output, f"forward refused frames: {output[-600:]}")
    return f"{datagrams} and {stream} there and back"


@test("tap-offloads/respond", needs=["respond"])
def respond(lab):
    """the host's kernel on a tap with virtio headers: its UDP, whose checksums it leaves to the card, is echoed byte for byte"""
    return _respond(lab, "tap")


@test("tap-offloads/forward", needs=["forward"])
def forward(lab):
    """its UDP and TCP through `forward` to a card without checksum offload, and back, every checksum filled in"""
    return _forward(lab, "tap")


@test("tap-offloads/respond-newest", needs=["respond"])
def respond_newest(lab):
    """the same echo on the latest QEMU"""
    return _respond(lab, "tap-newest")


@test("tap-offloads/forward-newest", needs=["forward"])
def forward_newest(lab):
    """the same streams on the latest QEMU"""
    return _forward(lab, "tap-newest")
