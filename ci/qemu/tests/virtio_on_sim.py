"""The simulated virtio card under Linux's own, unmodified virtio_net, served over vfio-user as the 82599 is.

What the specification forbids the card records; Linux keeps to it, so here each test ends with none recorded."""

from harness.bench import FAR6, MAC, bench
from harness.lab import check, test

GROUP = "virtio-on-sim"


# Whose packed queues Linux takes where they are offered: without them, as the card is by itself, and with them.
LAYOUTS = {"": "sim-virtio", "-packed": "sim-virtio-packed"}
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
    """virtio_net probes: the address and the MTU are the card's, a vector each for changes, receive and transmit, checksums offloaded, packed queues where they are offered"""
    info = b.near("ethtool -i $if; cat /sys/class/net/$if/address /sys/class/net/$if/mtu")
    check("driver: virtio_net" in info and MAC in info, info)
    vectors = b.guest.run(f"ls /sys/bus/pci/devices/{b.address}/msi_irqs | wc -l").strip()
    check(vectors == "3", f"{vectors} vectors")
    has = b.offloads("rx on tx on")
    check(has["rx-checksumming"] == has["tx-checksumming"] == "on", f"{has}")
    features = b.guest.run(f"cat /sys/bus/pci/devices/{b.address}/virtio*/features").strip()
    agreed = [bit for bit, value in enumerate(features) if value == "1"]
    check({32, 29, 28, 15, 5, 1, 0} <= set(agreed), f"features {agreed}")
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
