"""The simulated virtio card under Linux's own, unmodified virtio_net, served over vfio-user as the 82599 is.

What the specification forbids the card records; Linux keeps to it, so here each test ends with none recorded."""

import re
import time

from harness.bench import FAR, FAR6, MAC, NEAR, bench
from harness.lab import check, test
from tests.linux_on_sim_rss import rss, rss_tcp

GROUP = "virtio-on-sim"


# Whose packed queues Linux takes where they are offered: without them, as the card is by itself, and with them.
LAYOUTS = {"": "sim-virtio", "-packed": "sim-virtio-packed"}
# Linux 6.1's part of what the card offers: checksums and their switch, TCP in large frames both ways with ECN, the control queue's filters, announcements, queues, hashes, RSS, moderation.
AGREED = {0, 1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 28, 29, 32, 53, 57, 60, 63}
# VIRTIO_F_RING_PACKED
PACKED = 34


def capability(name, guests=LAYOUTS):
    """Registers a test of the group for each of `guests`, by what is put behind its name. Its function takes a `Bench`."""

    def register(function):
        for suffix, guest in guests.items():

            def run(lab, guest=guest):
                b = bench(lab, "virtio-net", guest)
                seen = function(b)
                violations = b.guest.ports["near"].violations()
                check(not violations, f"the card: {violations[:4]}")
                return seen

            run.__doc__ = function.__doc__
            test(f"{GROUP}/{name}{suffix}", needs=["barewire"])(run)
        return function

    return register


@capability("probe")
def probe(b):
    """virtio_net probes: the address, the MTU, speed and duplex are the card's, a vector each for changes and for each of eight queues, checksums and segments offloaded, packed queues where they are offered"""
    info = b.near("ethtool -i $if; cat /sys/class/net/$if/address /sys/class/net/$if/mtu")
    check("driver: virtio_net" in info and MAC in info, info)
    vectors = b.guest.run(f"ls /sys/bus/pci/devices/{b.address}/msi_irqs | wc -l").strip()
    check(vectors == "9", f"{vectors} vectors")
    speed = b.near("cat /sys/class/net/$if/speed /sys/class/net/$if/duplex").split()
    check(speed == ["10000", "full"], f"speed and duplex {speed}")
    has = b.offloads("rx on tx on tso on")
    check(has["rx-checksumming"] == has["tx-checksumming"] == has["tcp-segmentation-offload"] == "on", f"{has}")
    features = b.guest.run(f"cat /sys/bus/pci/devices/{b.address}/virtio*/features").strip()
    agreed = [bit for bit, value in enumerate(features) if value == "1"]
    check(AGREED <= set(agreed), f"features {agreed}")
    check((PACKED in agreed) == (b.guest.name == LAYOUTS["-packed"]), f"features {agreed}")
    return f"{MAC}, MTU {info.split()[-1]}, features {agreed}"


@capability("ping")
def ping(b):
    """IPv4 and IPv6 echo, in sizes up to what 9000 bytes hold"""
    b.near("ip link set $if mtu 9000")
    for size in (0, 1, 18, 56, 219, 1472, 4000, 8972):
        b.ping(size)
    for size in (0, 56, 1452, 8952):
        b.ping(size, FAR6, options="-6")
    return "12 sizes, 10 each"


@capability("tcp")
def tcp(b):
    """TCP both ways, with checksums by the card, and without"""
    seen = []
    for state in ("on", "off"):
        b.offloads(f"tx {state}")
        seen.append(b.stream("both", count=5_000_000, seed=11))
    b.offloads("tx on")
    b.stream("both", count=2_000_000, address=FAR6, seed=12)
    return f"{seen[0]}; without: {seen[1].rsplit(', ', 1)[1]}"


@capability("udp")
def udp(b):
    """UDP echo through sockets, every datagram compared"""
    return b.echo()


def came_in(b, address, tagged=""):
    """Whether frames to a MAC address come through the card's filters, by what its driver counts. `tagged`: the far end's interface, where it is a VLAN's."""
    subnet = "10.9.8" if tagged else "10.9.0"
    before = b.near("cat /sys/class/net/$if/statistics/rx_packets")
    b.far(f"arp -i {tagged or b.far_name} -s {subnet}.77 {address}; ping -q -c 20 -i 0.01 -W 1 {subnet}.77; arp -i {tagged or b.far_name} -d {subnet}.77; true")
    grown = int(b.near("cat /sys/class/net/$if/statistics/rx_packets")) - int(before)
    check(grown >= 20 or grown < 10, f"of 20 frames to {address} came {grown}")
    return grown >= 20


@capability("filters")
def filters(b):
    """promiscuous mode, all groups, a further address, a group, a VLAN and another address of its own let frames in that stay out before and behind"""
    other, group, ours = "02:00:00:00:77:77", "33:33:ff:77:77:77", "02:00:00:82:59:91"
    cases = [
        (other, "ip link set $if promisc on", "ip link set $if promisc off"),
        (group, "ifconfig $if allmulti", "ifconfig $if -allmulti"),
        # A virtual interface is an address more, and so is for a group whoever has an address of IPv6.
        (other, f"modprobe macvlan && ip link add link $if name m7 address {other} type macvlan && ip link set m7 up", "ip link del m7"),
        (group, "ip addr add fd00:7::77:7777/128 dev $if", "ip addr del fd00:7::77:7777/128 dev $if"),
        (ours, f"ip link set $if address {ours}", f"ip link set $if address {MAC}"),
    ]
    for address, on, off in cases:
        check(not came_in(b, address), f"before `{on}` frames to {address} come in")
        b.near(on)
        try:
            check(came_in(b, address), f"behind `{on}` no frame to {address} comes in")
        finally:
            b.near(off)
        check(not came_in(b, address), f"behind `{off}` frames to {address} come in")
    b.far(f"ip link add link {b.far_name} name v8 type vlan id 8; ip addr add 10.9.8.1/24 dev v8; ip link set v8 up")
    try:
        check(not came_in(b, MAC, "v8"), "frames of a VLAN come in that was not added")
        b.near("ip link add link $if name v8 type vlan id 8; ip link set v8 up")
        check(came_in(b, MAC, "v8"), "frames of a VLAN stay out that was added")
        b.near("ip link del v8")
        check(not came_in(b, MAC, "v8"), "frames of a VLAN come in that was taken away")
    finally:
        b.far("ip link del v8")
    return f"{len(cases)} filters and a VLAN, each with 20 frames before, while and behind"


@capability("queues")
def queues(b):
    """pairs of queues come and go, flows are spread by the hash of their addresses and ports under the driver's table and key, and moderation is told"""
    seen = []
    for pairs in (1, 4, 2):
        b.near(f"ethtool -L $if combined {pairs}")
        check(re.findall(r"Combined:\s+(\d+)", b.near("ethtool -l $if")) == ["4", str(pairs)], f"{pairs} pairs")
        b.stream("both", count=200_000, seed=20 + pairs)
    # The driver tells the device how many pairs there are when it sets up, and keeps to that number with each table.
    b.near(f"ethtool -X $if equal 2 hkey {':'.join(f'{3 * n + 1:02x}' for n in range(40))}")
    seen.append(rss(b))
    seen.append(rss_tcp(b))
    b.near("ethtool -C $if rx-usecs 150 rx-frames 16 tx-usecs 100 tx-frames 8")
    told = dict(re.findall(r"^([rt]x-(?:usecs|frames)):\s+(\d+)", b.near("ethtool -c $if"), re.MULTILINE))
    check(told == {"rx-usecs": "150", "rx-frames": "16", "tx-usecs": "100", "tx-frames": "8"}, f"{told}")
    b.ping(56)
    b.stream("both", count=200_000, seed=19)
    b.near("ethtool -C $if rx-usecs 0 rx-frames 1 tx-usecs 0 tx-frames 1")
    return "; ".join(seen)


@capability("large")
def large(b):
    """TCP in frames that the card cuts, and in frames that it puts together, each switched off and on: every byte compared, and frames counted at both ends"""
    seen = {}
    b.near("ip link set $if mtu 1500")
    try:
        for state in ("off", "on"):
            has = b.offloads(f"tso {state} rx-gro-hw {state}")
            check(has["tcp-segmentation-offload"] == has["rx-gro-hw"] == state, f"{has}")
            for ways, address in (("out", FAR), ("in", FAR), ("out", FAR6), ("in", FAR6)):
                before, far = b.statistics(), b.far_counts()
                b.stream(ways, count=400_000, address=address, seed=15)
                grown, direction = b.grown(before), "tx" if ways == "out" else "rx"
                near = sum(value for name, value in grown.items() if re.fullmatch(rf"{direction}_queue_\d+_packets", name))
                seen[state, ways, address] = (near, b.far_counts()[f"{direction}_pkts_nic"] - far[f"{direction}_pkts_nic"])
    finally:
        b.offloads("tso on rx-gro-hw on")
    for (state, ways, address), (near, far) in seen.items():
        # Without, a frame is a frame; with, many are one.
        right = near < far * 2 // 3 if state == "on" else near >= far - 5
        check(right, f"{ways} to {address}, {state}: {near} frames of the driver, {far} on the wire: {seen}")
    return "; ".join(f"{state} {ways}: {near} of {far}" for (state, ways, _), (near, far) in seen.items())


@capability("announce")
def announce(b):
    """a card that was moved asks for it, and the driver says where it is to everybody: the far end, which knew nobody, knows it"""
    b.far(f"sysctl -qw net.ipv4.conf.{b.far_name}.arp_accept=1")
    for _ in range(2):
        b.far(f"arp -d {NEAR}; true")
        check(MAC not in b.far("cat /proc/net/arp"), "the far end knows it")
        b.guest.ports["near"].tell("mishap moved")
        deadline = time.monotonic() + 10
        while MAC not in b.far("cat /proc/net/arp"):
            check(time.monotonic() < deadline, "nobody was told")
            time.sleep(0.1)
    return "twice"


@capability("rebind")
def rebind(b):
    """the driver is unbound and bound again five times, with traffic each time"""
    device = b.guest.run(f"basename /sys/bus/pci/devices/{b.address}/virtio*").strip()
    for _ in range(5):
        b.guest.run(f"echo {device} >/sys/bus/virtio/drivers/virtio_net/unbind; echo {device} >/sys/bus/virtio/drivers/virtio_net/bind")
        b.name = b.find()
        b.up()
        b.ping(1000)
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return "five times"


@capability("private-memory", {"": "sim-virtio-private"})
def private_memory(b):
    """a guest whose memory the card's process does not share: every descriptor and every byte asked of QEMU"""
    for size in (0, 56, 1472):
        b.ping(size)
    return b.stream("both", count=300_000, seed=14)
