"""The host side checked by itself: a peer that lets a wrong frame pass would make every other test worthless."""

import os
import tempfile
import threading
from pathlib import Path

from harness import frames
from harness.lab import Failure, check, test
from harness.peer import Exchange, Peer, PeerError, Responder, Stream, run_streams, size_of

COUNT = 3000
BAD = 1234  # number of the answer that goes wrong
MAC = "52:54:00:12:00:03"


def _answer(data):
    """The right answer to a request: written apart from what `Exchange` expects, by swapping fields in place."""
    answer = bytearray(data)
    answer[0:6], answer[6:12] = data[6:12], frames.mac(MAC)
    if data[12:14] == b"\x08\x06":
        answer[21] = 2
        answer[22:28], answer[28:32] = frames.mac(MAC), data[38:42]
        answer[32:38], answer[38:42] = data[22:28], data[28:32]
    else:
        answer[26:30], answer[30:34] = data[30:34], data[26:30]
        if data[23] == 1:
            answer[34] = 0
            # Type 8 became 0, so the checksum grows by 0x0800 (RFC 1624).
            total = int.from_bytes(data[36:38], "big") + 0x0800
            answer[36:38] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")
        else:
            answer[34:36], answer[36:38] = data[36:38], data[34:36]
    return bytes(answer)


def _flip(position):
    def change(data):
        changed = bytearray(data)
        changed[position] ^= 0x10
        return [bytes(changed)]

    return change


FAULTS = {
    "lost": lambda data: [],
    "doubled": lambda data: [data, data],
    "changed in its last byte": _flip(-1),
    "changed in its IP header": _flip(24),
    "changed in its destination MAC": _flip(5),
    "cut by one byte": lambda data: [data[:-1]],
    "never asked for": lambda data: [data, data[:60] + bytes(4)],
}


class _Echo(threading.Thread):
    """Answers every frame at the other end of a wire, and treats one of them by `fault`."""

    def __init__(self, folder, fault, treat):
        super().__init__(daemon=True)
        self._peer = Peer(folder / "echo", folder / "host")
        self._fault = fault
        self._treat = treat
        self._ended = False
        self.start()

    def run(self):
        number = 0
        while not self._ended:
            data = self._peer.receive(0.05)
            if data is None:
                continue
            number += 1
            answer = self._treat(data)
            for part in self._fault(answer) if number == BAD else [answer]:
                self._peer.send(part)

    def end(self):
        self._ended = True
        self.join()
        self._peer.close()


# Right answers come in a fifth of a second, and later on a busy machine; a lost one is waited for in vain.
RIGHT_SECONDS, FAULT_SECONDS = 30, 1.5


def _exchange(folder, fault, seconds):
    host = Peer(folder / "host", folder / "echo")
    echo = _Echo(folder, fault, _answer)
    try:
        return Exchange(host, Responder(MAC), ("arp", "icmp", "udp", "udp")).run(COUNT, timeout=seconds)
    finally:
        echo.end()
        host.close()


def _load(folder, fault, seconds):
    host = Peer(folder / "host", folder / "echo")
    echo = _Echo(folder, fault, _answer)
    try:
        return Exchange(host, Responder(MAC), ("icmp", "udp")).load(COUNT, timeout=seconds)
    finally:
        echo.end()
        host.close()


def _stream(folder, fault, seconds):
    host = Peer(folder / "host", folder / "echo")
    echo = _Echo(folder, fault, lambda data: data)
    try:
        run_streams([Stream("there and back", host, host, COUNT, frames.mac(MAC))], timeout=seconds)
    finally:
        echo.end()
        host.close()


@test("peer")
def peer(_lab):
    """the host side by itself: right answers pass; a lost, doubled, changed or cut frame among them is found"""
    sizes = {size_of(sequence) for sequence in range(20000)}
    check(sizes == set(range(60, 1515)), "the sizes of 20,000 frames do not run from 60 to 1514")
    with tempfile.TemporaryDirectory(prefix=f"bwq-{os.getpid()}-") as name:
        folder = Path(name)
        report, *_ = [run(folder, lambda data: [data], RIGHT_SECONDS) for run in (_exchange, _load, _stream)]
        for what, fault in FAULTS.items():
            for run in (_exchange, _load, _stream):
                try:
                    run(folder, fault, FAULT_SECONDS)
                except PeerError:
                    continue
                raise Failure(f"a frame {what} was not found by {run.__name__[1:]}")
    return f"{report}; {len(FAULTS)} kinds of wrong frames found"
