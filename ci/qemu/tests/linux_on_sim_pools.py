"""The simulated card under Linux's own ixgbe: pools of queues (VMDq), of which the driver gives one to each macvlan once `l2-fwd-offload` is on."""

from harness.bench import NEAR, capability
from harness.lab import check

ADDRESS, INSIDE, OTHER = "02:00:00:00:00:31", "10.9.0.31", "02:00:00:00:00:32"
# Frames that are sent; beside them a queue may receive a few (neighbours).
COUNT, SPARE = 40, 8


class _Macvlan:
    """A macvlan on the card's interface, in a namespace of its own, with a pool of the card."""

    def __init__(self, b):
        self.b = b

    def __enter__(self):
        b = self.b
        b.near("modprobe macvlan; ethtool -K $if l2-fwd-offload on")
        self.holder = b.guest.run("new_namespace").strip()
        b.near(f"ip link add link $if name mv0 address {ADDRESS} type macvlan; ip link set mv0 netns {self.holder}")
        self.inside(
            f"sysctl -qw net.ipv6.conf.mv0.disable_ipv6=1; ip link set mv0 up; ip addr add {INSIDE}/24 dev mv0", timeout=60
        )
        b.wait_carrier(1)
        return self

    def __exit__(self, *_):
        self.inside("ip link del mv0", check=False, timeout=60)
        self.b.guest.run(f"end {self.holder}", check=False)
        self.b.near("ethtool -K $if l2-fwd-offload off", timeout=60)
        self.b.wait_carrier(1)

    def inside(self, script, timeout=30, **options):
        return self.b.guest.run(f"nsenter -t {self.holder} -n sh -c '{script}'", timeout=timeout, **options)

    def received(self):
        """How many frames the macvlan received."""
        return int(self.inside("grep mv0: /proc/net/dev").split(":")[1].split()[1])

    def counted(self, work):
        """What the interface's own queues, the pool's and the macvlan received, and what went out of the card, while `work` ran."""
        b = self.b
        before, delivered = b.statistics(), self.received()
        work()
        grown = b.grown(before)
        # Two queues a pool, as many as the guest has processors.
        own, pool = (sum(grown.get(f"rx_queue_{queue}_packets", 0) for queue in queues) for queues in ((0, 1), (2, 3)))
        return own, pool, self.received() - delivered, grown.get("tx_pkts_nic", 0)


def _arrives(b, macvlan):
    """Frames of the far end, for the macvlan's address, for the interface's, and for nobody's."""
    b.far(f"ping -q -c 2 -W 5 {INSIDE}")
    own, pool, delivered, _ = macvlan.counted(lambda: b.far(f"ping -q -c {COUNT} -i 0.01 -W 5 {INSIDE}", timeout=60))
    check(pool >= COUNT and delivered >= COUNT and own <= SPARE, f"for the macvlan: {own} to the interface's queues, {pool} to the pool's, {delivered} delivered")
    own, pool, _, _ = macvlan.counted(lambda: b.far(f"ping -q -c {COUNT} -i 0.01 -W 5 {NEAR}", timeout=60))
    check(own >= COUNT and pool <= SPARE, f"for the interface: {own} to its queues, {pool} to the pool's")
    b.far(f"arp -i {b.far_name} -s 10.9.0.32 {OTHER}")
    try:
        lost = macvlan.counted(lambda: b.far(f"ping -q -c {COUNT} -i 0.01 -W 1 10.9.0.32", check=False, timeout=60))[:3]
    finally:
        b.far(f"arp -i {b.far_name} -d 10.9.0.32")
    check(max(lost) <= SPARE, f"for nobody: {lost} arrived")


def _switched(macvlan):
    """Frames from the pool to the interface and back, which the card keeps to itself."""
    macvlan.inside(f"ping -q -c 2 -W 5 {NEAR}")
    counts = macvlan.counted(lambda: macvlan.inside(f"ping -q -c {COUNT} -i 0.01 -W 5 {NEAR}", timeout=60))
    own, pool, _, leaked = counts
    check(own >= COUNT and pool >= COUNT and leaked <= SPARE, f"between the pools: {own} and {pool}, and {leaked} of them on the wire")
    return counts


@capability("pools")
def pools(b):
    """a macvlan with a pool of its own: what is sent to its address arrives in the pool's queues and nothing else; it talks to the interface inside the card"""
    with _Macvlan(b) as macvlan:
        _arrives(b, macvlan)
        own, pool, _, leaked = _switched(macvlan)
        b.ping(200, count=5)
    check(not b.complaints(), f"the kernel complains: {b.complaints()}")
    b.ping(200, count=5)
    return f"{COUNT} echoes of the far end through the pool; {own} and {pool} frames between the pools, and {leaked} on the wire meanwhile"
