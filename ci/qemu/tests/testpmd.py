"""Our `forward` beside DPDK's testpmd on the same virtio cards of QEMU, in turns: frames a second and instructions a frame.

The two cards of the guest are each other's wire, so that frames which were put in once go round for as long as somebody forwards. The guest has one processor,
and each of its instructions takes a nanosecond of its clock (`-icount shift=0`). The cards work when a timer of that clock says so, on which they take no time:
the forwarder alone is the limit (half as many frames in flight go as fast), whose frames a second are then 10^9 by the instructions a frame, all of them counted: its own, the kernel's, those of polls in vain."""

import contextlib
import os
import re
import signal
import statistics

from harness import commands, frames
from harness.lab import check, test

# Under -icount a pair is much like the next, and takes half a minute; BAREWIRE_PAIRS=9 is the long form.
PAIRS = int(os.environ.get("BAREWIRE_PAIRS", "1"))
PAIR_SECONDS = 240
IN_FLIGHT = 128
LEAST = 0.95
ETHERTYPE = 0x88B6
TESTPMD = (
    "dpdk-testpmd --lcores 0@0,1@0 --no-telemetry -m 64 -d /lib/x86_64-linux-gnu/librte_net_virtio.so -d /lib/x86_64-linux-gnu/librte_mempool_ring.so "
    "-a {0} -a {1} -- -i --forward-mode=io --burst=32 --rxd=256 --txd=256 --total-num-mbufs=4096 --no-flush-rx"
)


def made_ready(guest, addresses):
    """Gives the guest what testpmd wants, and binds its cards to vfio-pci."""
    guest.run("mkdir -p /var/run; chmod 755 /; echo 64 >/proc/sys/vm/nr_hugepages")
    for address in addresses:
        guest.run(f"bind_driver {address} vfio-pci")


class Loop:
    """The guest, its two cards, and the host's way in."""

    def __init__(self, lab, name):
        self.guest = lab.guest(name)
        self.peer = lab.peer(self.guest, "left")
        self.addresses = [self.guest.ports[port].address for port in ("left", "right")]
        made_ready(self.guest, self.addresses)

    def fill(self, count=IN_FLIGHT):
        """Puts frames of 60 bytes in, which each of the cards receives, and shuts the way in."""
        self.guest.qmp.execute("set_link", name="inlet", up=True)
        frame = frames.ethernet(frames.mac("02:00:00:00:00:99"), self.peer.mac, ETHERTYPE, bytes(46))
        for _ in range(count):
            self.peer.send(frame)
        self.peer.flush()
        self.guest.qmp.execute("set_link", name="inlet", up=False)
        self.peer.drain()


def _ours(loop):
    """Millions of frames a second, both ways together."""
    program = loop.guest.start("forward", f"{commands.forward(*loop.addresses, 60)} --mtu 1500 --batch 32")
    program.wait_output(f"link {loop.addresses[1]} up", timeout=60)
    loop.fill()
    # The first second has the start in it.
    second = int(program.wait_output(r"^t=(\d+)", timeout=60)[1]) + 2
    program.wait_output(rf"^t={second} .*\n(.*\n)*t={second} .*$", timeout=60)
    rates = [float(rate) for rate in re.findall(rf"^t={second} .* tx_mpps=([\d.]+)", program.output(), re.MULTILINE)]
    program.signal("KILL")
    program.wait()
    check(len(rates) == 2, f"forward tells no rates: {rates}")
    return sum(rates)


@contextlib.contextmanager
def forwarding(guest, addresses):
    """testpmd between the two cards, as long as the block runs; it reads what is written to /run/words."""
    guest.run("rm -f /run/words; mkfifo /run/words; sleep 100000 >/run/words & echo $! >/run/words.pid")
    program = guest.start("testpmd", f"sh -c 'exec {TESTPMD.format(*addresses)} </run/words'")
    try:
        program.wait_output("testpmd>", timeout=60)
        guest.run("echo start >/run/words")
        yield program
    finally:
        guest.run(f"kill $(cat /run/words.pid); kill -KILL {program.pid}", check=False)


def _theirs(loop):
    """The same of testpmd, between two questions for its ports' counters."""
    with forwarding(loop.guest, loop.addresses) as program:
        loop.fill()
        ask = "echo show port stats all >/run/words"
        # What it says reaches a file when it ends.
        loop.guest.run(f"sleep 1; {ask}; sleep 1; {ask}; (echo stop; echo quit) >/run/words", timeout=60)
        output = program.wait(timeout=60)[1]
    rates = [int(rate) for rate in re.findall(r"Tx-pps:\s+(\d+)", output)]
    check(len(rates) == 4, f"testpmd tells no rates: {output[-600:]}")
    return sum(rates[2:]) / 1e6


def _compare(lab, name):
    loop = Loop(lab, name)
    # More time than other tests have, for more pairs than one.
    signal.alarm(PAIRS * PAIR_SECONDS)
    pairs = [(_ours(loop), _theirs(loop)) for _ in range(PAIRS)]
    check(min(map(min, pairs)) > 0, f"nothing is forwarded: {pairs}")
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(side) for side in zip(*pairs))
    seen = f"{ours:.3f} and {theirs:.3f} million frames a second of the guest's clock, {1000 / ours:.0f} and {1000 / theirs:.0f} instructions a frame, ratio {ratio:.2f}"
    check(ratio >= LEAST, seen)
    return f"{PAIRS} pair{'s' if PAIRS > 1 else ''}: {seen}"


@test("testpmd/split", needs=["forward"])
def split(lab):
    """`forward` beside testpmd's io mode over split queues, in turns: the median ratio of their rates is at least 0.95"""
    return _compare(lab, "loop")
