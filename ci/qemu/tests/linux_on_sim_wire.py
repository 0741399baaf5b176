"""The simulated card under Linux's own ixgbe, where the harness has a hand in it: frames put on the card's wire from outside, and
its cable pulled."""

import contextlib
import re
import statistics
import threading
import time

from harness import commands, frames
from harness.bench import FAR, MAC, NEAR, capability
from harness.lab import check
from harness.peer import Peer

# IEEE 802.3 annex 31: no bridge forwards what goes to this address.
CONTROL = frames.mac("01:80:c2:00:00:01")
ETHERTYPE_CONTROL = 0x8808
ETHERTYPE_VLAN = 0x8100
HAND = frames.mac("02:00:00:00:00:01")


def pause_frame(quanta):
    """A pause frame; 0 quanta end a pause."""
    return frames.ethernet(CONTROL, HAND, ETHERTYPE_CONTROL, b"\0\1" + quanta.to_bytes(2, "big"))


@contextlib.contextmanager
def hand_on(b):
    """A hand on the card's wire: what it sends arrives at the card as if its far end had sent it."""
    card = b.guest.ports["near"].near
    hand = Peer(card.with_suffix(".hand"), card)
    try:
        yield hand
    finally:
        hand.close()


def wait_grown(b, before, names, wanted, timeout=10):
    """Waits until `ethtool -S` says that the named counters have grown as `wanted` says, and returns by how much."""
    deadline = time.monotonic() + timeout
    while True:
        grown = b.grown(before)
        seen = [grown.get(name, 0) for name in names]
        if wanted(*seen):
            return seen
        check(time.monotonic() < deadline, f"{dict(zip(names, seen))} after {timeout} s")
        time.sleep(0.3)


def round_trips(b, count=8):
    """The round trips of so many pings, one after the other, in milliseconds. Each has to be answered."""
    output = b.near(f"pings {count} -W 5 {FAR}", timeout=60)
    return [float(time) for time in re.findall(r"= [\d.]+/[\d.]+/([\d.]+) ms", output)]


def send_train(hand, over, seconds):
    """XOFF after XOFF for so long, then XON. `over` ends it early."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not over.wait(0.0005):
        hand.send(pause_frame(0xFFFF))
    hand.send(pause_frame(0))


def slowest_in_a_pause(b, hand):
    """The longest round trip while XOFF frames come for a second."""
    over = threading.Event()
    train = threading.Thread(target=send_train, args=(hand, over, 1))
    train.start()
    try:
        return max(round_trips(b, 30))
    finally:
        over.set()
        train.join()


@capability("pause-received")
def pause_received(b):
    """pause frames are counted; a train of XOFF holds pings back, and XON lets them go"""
    names = ("rx_flow_control_xoff", "rx_flow_control_xon")
    b.ping(100)
    with hand_on(b) as hand:
        before = b.statistics()
        for frame in [pause_frame(100)] * 7 + [pause_frame(0)] * 3:
            hand.send(frame)
        xoff, xon = wait_grown(b, before, names, lambda xoff, xon: xoff >= 7 and xon >= 3)
        check((xoff, xon) == (7, 3), f"of 7 XOFF and 3 XON {xoff} and {xon} are counted")
        free = statistics.median(round_trips(b))
        # An XOFF holds for 3.4 ms at most. Where the train itself is held up for longer, the pings slip through: it may try again.
        for _ in range(5):
            held = slowest_in_a_pause(b, hand)
            if held > 100 + 5 * free:
                break
        after = statistics.median(round_trips(b))
    check(held > 100 + 5 * max(free, after), f"pings took {free} ms before, up to {held} ms in a pause, {after} ms after it")
    check(not b.complaints(), f"{b.complaints()[:4]}")
    return f"7 XOFF and 3 XON counted; a ping takes {free:.0f} ms, in a pause up to {held:.0f} ms, after it {after:.0f} ms"


@capability("pause-sent")
def pause_sent(b):
    """while the guest stands still, frames fill its small ring and the packet buffer: XOFF; when it goes on, XON"""
    count = 2000
    frame = frames.ethernet(frames.mac(MAC), HAND, frames.ETHERTYPE_EXPERIMENTAL, b"\x5a" * 1486)
    b.near("ethtool -G $if rx 64", timeout=60)
    try:
        b.wait_carrier(1)
        b.ping(100)
        before = b.statistics()
        with hand_on(b) as hand:
            b.guest.qmp.execute("stop")
            try:
                for _ in range(count):
                    hand.send(frame)
                hand.flush()
            finally:
                b.guest.qmp.execute("cont")
        names = ("tx_flow_control_xoff", "tx_flow_control_xon", "rx_packets", "rx_missed_errors")
        xoff, xon, taken, missed = wait_grown(b, before, names, lambda xoff, xon, taken, missed: xoff and xon and taken + missed >= count)
        check(300 < taken < 400, f"{taken} frames of 1500 bytes lay in 64 buffers and 448 KiB")
        b.ping(1000)
    finally:
        b.reload()
    return f"{count} frames, of which {taken} had room: {xoff} XOFF and {xon} XON sent"


def _segment(wrong):
    """A TCP segment to the near end, whose checksum may be wrong."""
    source, destination = frames.ip(FAR), frames.ip(NEAR)
    segment = bytearray(frames.tcp(source, destination, 40009, 9, b"\x3c" * 64))
    segment[-1] ^= wrong
    return frames.ethernet(frames.mac(MAC), HAND, frames.ETHERTYPE_IPV4, frames.ipv4(source, destination, frames.PROTOCOL_TCP, bytes(segment)))


@capability("checksums-received", "x540", "x550")
def checksums_received(b):
    """of TCP segments with right and with wrong checksums the card reports the wrong ones (of UDP's the driver does not believe the 82599)"""
    names = ("rx_packets", "rx_csum_offload_errors")
    b.ping(100)
    with hand_on(b) as hand:
        before = b.statistics()
        for number in range(60):
            hand.send(_segment(wrong=number % 3 == 0))
        packets, wrong = wait_grown(b, before, names, lambda packets, wrong: packets >= 60)
    check(wrong == 20, f"of 20 wrong ones among {packets} {wrong} are counted")
    return "20 of 60, and Linux counts 20"


@capability("vlan-stripping", "x540", "x550")
def vlan_stripping(b):
    """the card takes VLAN tags out of frames, or leaves them, as it is told"""
    tagged = frames.ethernet(frames.mac(MAC), HAND, ETHERTYPE_VLAN, b"\0\7" + frames.ETHERTYPE_EXPERIMENTAL.to_bytes(2, "big") + bytes(100))
    count, sizes = 200, []

    def work():
        for state in ("on", "off"):
            check(b.offloads(f"rxvlan {state}")["rx-vlan-offload"] == state, f"rxvlan does not become {state}")
            b.wait_carrier(1)
            b.ping(100, b.VLAN_FAR)
            with hand_on(b) as hand:
                before = b.statistics()
                for _ in range(count):
                    hand.send(tagged)
                packets, size = wait_grown(b, before, ("rx_packets", "rx_bytes"), lambda packets, _: packets >= count)
            # A few others may come meanwhile, none of them longer than these.
            sizes.append(size - (packets - count) * len(tagged))
        expected = [count * (len(tagged) - 4), count * len(tagged)]
        check(all(abs(size - wanted) < 2 * count for size, wanted in zip(sizes, expected)), f"{sizes} bytes of {expected}")
        return f"{count} tagged frames of {len(tagged)} bytes are {sizes[0]} bytes stripped, {sizes[1]} left as they are"

    try:
        return b.with_vlan(work)
    finally:
        b.offloads("rxvlan on")
        b.wait_carrier(1)


def _interrupts(b, microseconds, seconds=1.0):
    """How many interrupts come of frames that arrive one by one, at an interval; and how many a vector may raise at most in that time."""
    b.near(f"ethtool -C $if rx-usecs {microseconds}", timeout=60)
    b.wait_carrier(1)
    said = re.search(r"^rx-usecs:\s+(\d+)$", b.near("ethtool -c $if"), re.MULTILINE)[1]
    check(said == str(microseconds), f"`ethtool -c` says {said}, not {microseconds}")
    b.ping(100)
    # Not hashed: they come to queue 0, and to its vector.
    frame = frames.ethernet(frames.mac(MAC), HAND, frames.ETHERTYPE_EXPERIMENTAL, bytes(100))
    count = "cat /proc/uptime; awk '/TxRx-0/ { print $2 + $3 }' /proc/interrupts"
    with hand_on(b) as hand:
        start, before = (float(line.split()[0]) for line in b.near(count).splitlines())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            hand.send(frame)
            time.sleep(0.0001)
        now, after = (float(line.split()[0]) for line in b.near(count).splitlines())
    return after - before, (now - start + 0.02) * 1e6 / microseconds + 2


@capability("coalescing", "x540", "x550")
def coalescing(b):
    """`ethtool -C rx-usecs`: the vector does not fire more often than the interval allows; at a short interval the same frames bring more interrupts"""
    try:
        # Where the machine is busy otherwise, the guest itself may be too slow to need so many interrupts: it may try again.
        for _ in range(8):
            (many, _), (few, most) = (_interrupts(b, microseconds) for microseconds in (10, 1000))
            check(0 < few <= most, f"{few:.0f} interrupts where {most:.0f} are allowed")
            if many > min(most, 1.5 * few):
                break
    finally:
        b.near("ethtool -C $if rx-usecs 1", timeout=60)
        b.wait_carrier(1)
    check(many > min(most, 1.5 * few), f"{many:.0f} interrupts at 10 us, {few:.0f} at 1000 us")
    return f"{few:.0f} interrupts at 1000 us, where {most:.0f} are allowed; {many:.0f} at 10 us"


@capability("cable", "x540")
def cable(b):
    """the card's cable is pulled and plugged in again: Linux sees the carrier go and come"""
    port = b.guest.ports["near"]
    counts = lambda: [b.log().count(f"NIC Link is {state}") for state in ("Down", "Up")]
    before = counts()
    # So it is where a frame was about to leave.
    b.expected += ["initiating reset to clear Tx work after link loss", "Reset adapter"]
    port.tell(commands.PULL_CABLE)
    try:
        b.wait_carrier(0)
        check(counts()[0] > before[0], f"Linux does not say that the link is down: {b.log()[-300:]}")
        status, output = b.far(f"ping -q -c 2 -i 0.2 -W 1 {NEAR}", check=False)
        check(status != 0, f"an answer came over a pulled cable: {output}")
    finally:
        port.tell(commands.PLUG_IN_CABLE)
    b.wait_carrier(1)
    check(counts()[1] > before[1], f"Linux does not say that the link is up: {b.log()[-300:]}")
    b.ping(1000)
    return "NIC Link is Down, NIC Link is Up; 10 pings answered"


@capability("overheat", "x550", first="x540")
def overheat(b):
    """the thermal sensor finds the card too hot: Linux says so, and there is no link until the card is reset"""
    before = b.log().count("has over heated")
    b.expected += ["has over heated"]
    b.guest.ports["near"].tell(commands.OVERHEAT)
    try:
        b.wait_carrier(0)
        deadline = time.monotonic() + 10
        while b.log().count("has over heated") == before:
            check(time.monotonic() < deadline, f"Linux does not say that the card is too hot: {b.log()[-300:]}")
            time.sleep(0.1)
    finally:
        b.reload()
    b.ping(1000)
    return "Network adapter has been stopped because it has over heated; behind a reset 10 pings answered"
