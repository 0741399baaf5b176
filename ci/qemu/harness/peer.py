"""The host side of a guest's network port: sends raw frames over the unix datagram socket and checks what comes back.

Every frame carries a sequence number and bytes that depend on it, so that a lost, doubled, changed or misplaced
frame is told from a right one. Nothing is sent again: one lost frame fails the test."""

import fcntl
import random
import select
import socket
import struct
import termios
import time
import zlib

from . import frames
from .frames import Malformed

UDP_ECHO_PORT = 7
WINDOW = 64
# Without any answer for so long, what is missing is lost.
STALL_SECONDS = 8
_IDENTIFIER = 0xB4E1
_SOURCE_PORT = 40007
# Pseudo-random bytes that payloads are cut from. Fixed, so that a failure repeats.
_NOISE = random.Random(82599).randbytes(1 << 17)


class PeerError(Exception):
    """A frame is missing or wrong."""


def noise(sequence, length):
    """`length` bytes that depend on the sequence number."""
    start = sequence * 7919 % (len(_NOISE) - frames.MAX_FRAME)
    return _NOISE[start : start + length]


def size_of(sequence):
    """The frame size of a sequence number: runs through all sizes from 60 to 1514, in a mixed order."""
    return frames.MIN_FRAME + sequence * 601 % (frames.MAX_FRAME - frames.MIN_FRAME + 1)


class Peer:
    """One end of a wire. Frames go to the unix datagram socket `remote`; `local` is bound here."""

    def __init__(self, local, remote, mac="52:54:00:b4:00:01", address="10.9.0.1"):
        self.mac = frames.mac(mac)
        self.ip = frames.ip(address)
        self._remote = str(remote)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        local.unlink(missing_ok=True)
        self._socket.bind(str(local))
        self._connected = False

    def close(self):
        """Closes the socket."""
        self._socket.close()

    def send(self, data, deadline=None):
        """Sends one frame, waiting while the guest's queue is full."""
        deadline = deadline or time.monotonic() + 10
        while not self.try_send(data):
            if not select.select([], [self._socket], [], max(0, deadline - time.monotonic()))[1]:
                raise PeerError("the guest takes no more frames: its receive queue stays full")

    def try_send(self, data):
        """Sends one frame where there is room, and says whether it did."""
        if not self._connected:
            # QEMU binds its socket when it starts, which may be after this object was made.
            self._socket.connect(self._remote)
            self._connected = True
        try:
            self._socket.send(data)
            return True
        except BlockingIOError:
            return False

    def receive(self, timeout=0.0):
        """The next frame; None where none arrives within `timeout` seconds."""
        try:
            return self._socket.recv(65536)
        except BlockingIOError:
            pass
        if timeout <= 0 or not select.select([self._socket], [], [], timeout)[0]:
            return None
        try:
            return self._socket.recv(65536)
        except BlockingIOError:
            return None

    def drain(self):
        """Throws away what has arrived so far, and says how many frames that was."""
        count = 0
        while self.receive() is not None:
            count += 1
        return count

    def flush(self, timeout=10):
        """Waits until the other end has taken all that was sent."""
        deadline = time.monotonic() + timeout
        while struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))[0]:
            if time.monotonic() > deadline:
                raise PeerError("the guest does not take what was sent")
            time.sleep(0.005)

    def wait_ready(self, responder, timeout=20):
        """Sends ARP requests until the responder answers, which says that its driver and its link are up."""
        deadline = time.monotonic() + timeout
        request = responder.arp_request(self)
        while time.monotonic() < deadline:
            self.send(request)
            until = time.monotonic() + 0.25
            while (remaining := until - time.monotonic()) > 0:
                data = self.receive(remaining)
                if data and frames.Frame(data).ethertype == frames.ETHERTYPE_ARP:
                    if frames.parse_arp(data[14:])[0] == frames.ARP_REPLY:
                        # What earlier requests brought about must not be taken for the answers of a test.
                        while self.receive(0.3) is not None:
                            pass
                        return
        raise PeerError(f"no answer to ARP for {socket.inet_ntoa(responder.ip)} within {timeout} s")


class Responder:
    """What is known of the other end: the addresses that it answers for."""

    def __init__(self, mac, address="10.9.0.2"):
        self.mac = frames.mac(mac)
        self.ip = frames.ip(address)

    def arp_request(self, peer):
        """The broadcast question for the responder's MAC."""
        message = frames.arp(frames.ARP_REQUEST, peer.mac, peer.ip, bytes(6), self.ip)
        return frames.ethernet(frames.BROADCAST, peer.mac, frames.ETHERTYPE_ARP, message)


class Report:
    """What an exchange saw."""

    def __init__(self, counts, seconds):
        self.counts = counts
        self.seconds = seconds

    def __str__(self):
        total = sum(self.counts.values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items() if count)
        return f"{total} frames answered and equal ({kinds}) in {self.seconds:.1f} s"


class Exchange:
    """Requests sent to a responder, and the answers that it owes.

    `kinds` is the cycle of request kinds, of `arp`, `icmp` and `udp`."""

    def __init__(self, peer, responder, kinds=("icmp", "udp")):
        self.peer = peer
        self.responder = responder
        self.kinds = kinds
        self.counts = dict.fromkeys(("arp", "icmp", "udp"), 0)
        self._owed = {}

    def run(self, count, window=WINDOW, timeout=60, sizes=size_of, gap=0.0):
        """Sends `count` requests, at most `window` of them unanswered, and checks every answer.
        With `gap`, waits that many seconds before each request."""
        start = time.monotonic()
        deadline = start + timeout
        answered, progress = sum(self.counts.values()), start
        sequence = 0
        waiting = None
        while sequence < count or self._owed:
            while sequence < count and len(self._owed) < window:
                if gap:
                    time.sleep(gap)
                waiting = waiting or self._request(sequence, sizes(sequence))
                # A second ARP answer would look like the first, so the first is awaited.
                if waiting[0] in self._owed or not self.peer.try_send(waiting[1]):
                    break
                self._owed[waiting[0]] = sequence
                waiting = None
                sequence += 1
            data = self.peer.receive(0.002 if waiting else 0.2)
            while data is not None:
                self._check(data)
                data = self.peer.receive()
            now = time.monotonic()
            if sum(self.counts.values()) != answered:
                answered, progress = sum(self.counts.values()), now
            if now > deadline or now - progress > STALL_SECONDS:
                missing = sorted(self._owed.values())
                raise PeerError(
                    f"{len(missing)} of {sequence} requests are unanswered {now - progress:.0f} s after the last answer; "
                    f"the first is number {missing[0] if missing else '-'} ({answered} were answered)"
                )
        self._check_extra()
        return Report(dict(self.counts), time.monotonic() - start)

    def load(self, count, window=256, timeout=60, sizes=size_of):
        """As `run`, as fast as this end can: requests are made before the start, and answers are checked after the end.
        Not for ARP, whose answers look all the same."""
        requests = [self._request(sequence, sizes(sequence)) for sequence in range(count)]
        answers = []
        start = progress = time.monotonic()
        sequence = 0
        while len(answers) < count and time.monotonic() < min(start + timeout, progress + STALL_SECONDS):
            while sequence < count and sequence - len(answers) < window and self.peer.try_send(requests[sequence][1]):
                sequence += 1
            data = self.peer.receive(0.002)
            while data is not None:
                if not data[0] & 1:
                    answers.append(data)
                    progress = time.monotonic()
                data = self.peer.receive()
        seconds = time.monotonic() - start
        self._owed = {key: number for number, (key, _) in enumerate(requests[:sequence])}
        for data in answers:
            self._check(data)
        self._check_extra()
        if self._owed or sequence < count:
            raise PeerError(f"{len(self._owed)} of {sequence} requests unanswered under load after {seconds:.1f} s")
        return Report(dict(self.counts), seconds)

    def _check_extra(self):
        """Answers too many would arrive now."""
        while (data := self.peer.receive(0.05)) is not None:
            self._check(data)

    def _request(self, sequence, size):
        """(key of the answer, frame)."""
        peer, responder = self.peer, self.responder
        kind = self.kinds[sequence % len(self.kinds)]
        if kind == "arp":
            # Always the same asker: a small stack's neighbour cache holds few.
            return ("arp", peer.ip), responder.arp_request(peer)
        payload = struct.pack("!I", sequence) + noise(sequence, size - 14 - 20 - 8 - 4)
        if kind == "icmp":
            protocol = frames.PROTOCOL_ICMP
            message = frames.icmp_echo(frames.ICMP_ECHO, _IDENTIFIER, sequence & 0xFFFF, payload)
        else:
            protocol = frames.PROTOCOL_UDP
            message = frames.udp(peer.ip, responder.ip, _SOURCE_PORT, UDP_ECHO_PORT, payload)
        packet = frames.ipv4(peer.ip, responder.ip, protocol, message, sequence & 0xFFFF)
        frame = frames.ethernet(responder.mac, peer.mac, frames.ETHERTYPE_IPV4, packet)
        return (kind, payload), frame

    def _check(self, data):
        """Takes one received frame off what is owed."""
        try:
            key = self._key(frames.Frame(data))
        except Malformed as error:
            raise PeerError(f"malformed frame of {len(data)} bytes: {error}: {data[:64].hex()}") from None
        if key is None:
            return
        if self._owed.pop(key, None) is None:
            text = key[1][:16].hex()
            raise PeerError(f"an {key[0]} answer that is doubled, changed or was never asked for: {text}..., {len(data)} bytes")
        self.counts[key[0]] += 1

    def _key(self, frame):
        """The key of an answer; None for frames that are none (the Linux stack also sends multicast of its own)."""
        peer, responder = self.peer, self.responder
        if frame.ethertype not in (frames.ETHERTYPE_ARP, frames.ETHERTYPE_IPV4) or frame.destination[0] & 1:
            return None
        if (frame.destination, frame.source) != (peer.mac, responder.mac):
            raise Malformed("MAC addresses are not those of an answer")
        if frame.ethertype == frames.ETHERTYPE_ARP:
            operation, sender_mac, sender_ip, target_mac, target_ip = frames.parse_arp(frame.payload)
            if operation == frames.ARP_REQUEST:
                self._answer_arp(sender_mac, sender_ip)
                return None
            if (sender_mac, sender_ip, target_mac) != (responder.mac, responder.ip, peer.mac):
                raise Malformed("ARP answer with wrong addresses")
            return "arp", target_ip
        source, destination, protocol, payload = frames.parse_ipv4(frame.payload)
        if (source, destination) != (responder.ip, peer.ip):
            raise Malformed("IP addresses are not those of an answer")
        if protocol == frames.PROTOCOL_ICMP:
            kind, identifier, sequence, echoed = frames.parse_icmp_echo(payload)
            if (kind, identifier) != (frames.ICMP_ECHO_REPLY, _IDENTIFIER):
                raise Malformed(f"ICMP type {kind}, identifier {identifier:#x}")
            if sequence != int.from_bytes(echoed[:4], "big") & 0xFFFF:
                raise Malformed("ICMP sequence number of another request")
            return "icmp", echoed
        if protocol == frames.PROTOCOL_UDP:
            source_port, destination_port, echoed = frames.parse_udp(source, destination, payload)
            if (source_port, destination_port) != (UDP_ECHO_PORT, _SOURCE_PORT):
                raise Malformed(f"UDP from port {source_port} to {destination_port}")
            return "udp", echoed
        raise Malformed(f"IP protocol {protocol}")

    def _answer_arp(self, asker_mac, asker_ip):
        """The responder asks for this end's MAC, as a network stack does before it answers."""
        message = frames.arp(frames.ARP_REPLY, self.peer.mac, self.peer.ip, asker_mac, asker_ip)
        self.peer.send(frames.ethernet(asker_mac, self.peer.mac, frames.ETHERTYPE_ARP, message))


class Stream:
    """Numbered, checksummed frames from one peer to another through a forwarder: all of them, unchanged, in order."""

    _HEADER = struct.Struct("!III")

    def __init__(self, name, source, sink, count, destination_mac):
        self.name = name
        self.sent = 0
        self.received = 0
        self.bytes = 0
        self._source = source
        self._sink = sink
        self._count = count
        self._destination = destination_mac
        self._tag = zlib.crc32(name.encode())

    def frame(self, sequence):
        """The frame of a sequence number: tag, number, and the CRC-32 of the rest, then noise."""
        body = noise(sequence + self._tag, size_of(sequence) - 14 - self._HEADER.size)
        total = zlib.crc32(body, sequence)
        payload = self._HEADER.pack(self._tag, sequence, total) + body
        return frames.ethernet(self._destination, self._source.mac, frames.ETHERTYPE_EXPERIMENTAL, payload)

    def step(self, window):
        """Sends what the window allows and takes in what arrived. Says whether anything moved."""
        before = self.sent + self.received
        while self.sent < self._count and self.sent - self.received < window:
            if not self._source.try_send(self.frame(self.sent)):
                break
            self.sent += 1
        while (data := self._sink.receive()) is not None:
            self._take(data)
        return self.sent + self.received != before

    def done(self):
        """Whether all frames have arrived."""
        return self.received == self._count

    def _take(self, data):
        if frames.Frame(data).ethertype != frames.ETHERTYPE_EXPERIMENTAL:
            return
        if data != self.frame(self.received):
            tag, sequence, _ = self._HEADER.unpack_from(data.ljust(26, b"\0"), 14)
            what = "of another stream" if tag != self._tag else f"number {sequence}, {len(data)} bytes"
            raise PeerError(f"{self.name}: expected frame {self.received} unchanged, received one {what}")
        self.received += 1
        self.bytes += len(data)


def run_streams(streams, window=WINDOW, timeout=60):
    """Runs all streams at once to their end, and returns the seconds that took."""
    start = progress = time.monotonic()
    while not all(stream.done() for stream in streams):
        # A list, so that every stream takes its step.
        if any([stream.step(window) for stream in streams]):
            progress = time.monotonic()
        else:
            time.sleep(0.0005)
        now = time.monotonic()
        if now > start + timeout or now > progress + STALL_SECONDS:
            states = ", ".join(f"{stream.name}: {stream.received} of {stream.sent}" for stream in streams)
            raise PeerError(f"frames still missing after {now - start:.1f} s ({states})")
    return time.monotonic() - start
