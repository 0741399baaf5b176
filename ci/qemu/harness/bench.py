"""The guest in which Linux's own ixgbe drives the simulated card, with a virtio card at the other end of its wire."""

import re
import time

from .lab import check, test

GROUP = "linux-on-sim"
NEAR, FAR = "10.9.0.2", "10.9.0.1"
NEAR6, FAR6 = "fd00::2", "fd00::1"
MAC = "02:00:00:82:59:90"


class Card:
    """One of the cards that are simulated, and what Linux says of it."""

    def __init__(self, guest, device, mac_type, port, driver="ixgbe"):
        self.guest = guest
        self.driver = driver
        self.device = device
        self.firmware = f"0x8000{device}"
        # What the driver prints of the kinds of MAC, PHY and module that it found.
        self.kind = f"MAC: {mac_type}"
        self.port = port
        self.medium = port.lower()


CARDS = {
    "82599": Card("sim", "10fb", "2, PHY: 20, SFP+: 5", "FIBRE"),
    "x540": Card("sim-x540", "1528", "3", "Twisted Pair"),
    "x550": Card("sim-x550", "1563", "4", "Twisted Pair"),
    "82599-vf": Card("sim-82599-vf", "10ed", "", "Other", "ixgbevf"),
    "x540-vf": Card("sim-x540-vf", "1515", "", "Other", "ixgbevf"),
    "x550-vf": Card("sim-x550-vf", "1565", "", "Other", "ixgbevf"),
    "virtio-net": Card("sim-virtio", "", "", "Other"),
}
# Written into the kernel's log where the tests begin.
MARK = "barewire: the tests begin"
# Levels of the kernel's log from here down are warnings and worse.
WARNING = 4
# What the driver may not say at whatever level.
COMPLAINT = re.compile(
    r"warn|fail|error|hang|unable|timed? ?out|timeout|not (?:supported|complete|initialized)|pre-production|bug:|call trace",
    re.IGNORECASE,
)


class Bench:
    """The guest with ixgbe on one side and virtio_net on the other."""

    VLAN_FAR = "10.9.7.1"

    def __init__(self, guest, card):
        self.guest = guest
        self.card = card
        # Warnings that a test brings about on purpose; and one that says how busy the machine is.
        self.expected = ["hrtimer: interrupt took"]
        self.address = guest.ports["near"].address
        guest.run(f"modprobe 8021q; echo '{MARK}' >/dev/kmsg; modprobe {card.driver}", timeout=120)
        self.name = self.find()
        far = guest.run(f"interface_of {guest.ports['far'].address}").strip()
        # The holder of the far end's namespace lives as long as the guest.
        self.holder = guest.run("new_namespace").strip()
        guest.run(f"ip link set {far} netns {self.holder}")
        self.far_name = far
        self.far(
            f"ip link set lo up; sysctl -qw net.ipv6.conf.{far}.accept_dad=0 net.ipv6.conf.{far}.router_solicitations=0; ip link set {far} mtu 9000 up; "
            f"ip addr add {FAR}/24 dev {far}; ip addr add {FAR6}/64 dev {far}"
        )
        # On from the start, it would be on in every test; `lro` looks at it.
        self.near("ethtool -K $if lro off", check=False)
        self.up()

    def find(self):
        """The interface of the simulated card."""
        deadline = time.monotonic() + 20
        while not (name := self.guest.run(f"interface_of {self.address}; true").strip()):
            check(time.monotonic() < deadline, f"{self.card.driver} made no interface: {self.complaints() or self.log()[-600:]}")
            time.sleep(0.2)
        return name

    def reload(self):
        """Loads the driver again: rings, settings and counters are new."""
        self.guest.run(f"rmmod {self.card.driver} && modprobe {self.card.driver}", timeout=60)
        self.name = self.find()
        self.near("ethtool -K $if lro off", check=False)
        self.up()

    def near(self, script, timeout=30, **options):
        """Runs a script on the near side; `$if` is the card's interface."""
        return self.guest.run(f"if={self.name}; {script}", timeout=timeout, **options)

    def far(self, script, timeout=30, **options):
        """Runs a script in the far end's namespace."""
        return self.guest.run(f"nsenter -t {self.holder} -n sh -c '{script}'", timeout=timeout, **options)

    def up(self):
        """Brings the near interface up with its addresses, beside the kernel's link-local one, and waits for the carrier."""
        self.near(
            f"sysctl -qw net.ipv6.conf.$if.accept_dad=0 net.ipv6.conf.$if.router_solicitations=0; ip link set $if up; "
            f"ip -4 addr flush dev $if; ip -6 addr flush dev $if scope global; "
            f"ip addr add {NEAR}/24 dev $if; ip addr add {NEAR6}/64 dev $if"
        )
        self.wait_carrier(1)

    def wait_carrier(self, wanted, timeout=15):
        """Waits until the carrier is 1 or 0."""
        deadline = time.monotonic() + timeout
        while (seen := self.near("cat /sys/class/net/$if/carrier", check=False)[1].strip()) != str(wanted):
            check(time.monotonic() < deadline, f"the carrier is {seen!r}, not {wanted}, after {timeout} s")
            time.sleep(0.1)

    def log(self):
        """What the kernel says of the driver and the card."""
        return "\n".join(line for line in self.guest.kernel_log().splitlines() if "ixgbe" in line or self.address in line)

    def complaints(self):
        """Lines of the kernel's log since the tests began that complain: the driver's by their words, anybody's by their level."""
        lines = self.guest.run("dmesg -r").split(MARK, 1)[-1].splitlines()[1:]
        levelled = [(int(found[1]) & 7, found[2]) for line in lines if (found := re.match(r"<(\d+)>(.*)", line))]
        check(levelled, "the kernel's log is empty")
        bad = [line for level, line in levelled if level <= WARNING or COMPLAINT.search(line) and ("ixgbe" in line or self.address in line)]
        return [line for line in bad if not any(words in line for words in self.expected)]

    def statistics(self):
        """`ethtool -S` as numbers."""
        pairs = re.findall(r"^\s*(\S[^:\n]*): (\d+)$", self.near("ethtool -S $if"), re.MULTILINE)
        return {name: int(value) for name, value in pairs}

    def grown(self, before):
        """What of `ethtool -S` has grown since `before`."""
        return {name: value - before.get(name, 0) for name, value in self.statistics().items() if value != before.get(name, 0)}

    def far_counts(self):
        """How many frames and bytes the far end received and sent, as the card's driver names what it sent and received."""
        columns = [int(column) for column in self.far(f"grep {self.far_name}: /proc/net/dev").split(":")[1].split()]
        return {"tx_bytes_nic": columns[0], "tx_pkts_nic": columns[1], "rx_bytes_nic": columns[8], "rx_pkts_nic": columns[9]}

    def tails(self):
        """TDT of the first two queues, out of the register dump."""
        dump = self.near("ethtool -d $if raw on | dd bs=4 skip=665 count=2 2>/dev/null | hexdump -v -e '1/4 \"%u \"'")
        return [int(word) for word in dump.split()]

    def used(self, before, ring=512):
        """How many transmit descriptors were used since `before`; fewer than a ring."""
        return sum((now - then) % ring for now, then in zip(self.tails(), before))

    def ping(self, size, address=FAR, count=10, options=""):
        """Pings the far end; every answer has to come."""
        status, output = self.near(f"pings {count} -W 10 {options} -s {size} {address}", timeout=60, check=False)
        check(status == 0, f"{size} bytes to {address}: {output.strip()[-200:]}")

    def offloads(self, features):
        """Sets features, and returns what the driver then says that it has."""
        self.near(f"ethtool -K $if {features}")
        return dict(re.findall(r"^\s*([a-z0-9-]+): (on|off)", self.near("ethtool -k $if"), re.MULTILINE))

    def stream(self, ways, count=8_000_000, address=FAR, seed=1, protocol=""):
        """A TCP stream from the near side, or one of the protocol `sctp`. Every byte is compared."""
        host = f"[{address}]" if ":" in address else address
        bind = "[::]:5001" if ":" in address else f"{address}:5001"
        self.far(f"tcp-stream {protocol} serve {bind} >/run/stream.out 2>&1 & echo $! >/run/stream.pid")
        try:
            return self.near(f"tcp-stream {protocol} run {host}:5001 {seed} {count} {ways}", timeout=120).strip()
        finally:
            self.guest.run("end $(cat /run/stream.pid)", check=False)

    def segments(self, address, count, size):
        """Datagrams that the kernel or the card cuts out of larger sends, every one compared."""
        host = f"[{address}]" if ":" in address else address
        self.far(f"udp-echo serve {host}:7 >/dev/null 2>&1 & echo $! >/run/udp.pid")
        try:
            return self.near(f"udp-echo segments {host}:7 {count} {size}", timeout=60).strip()
        finally:
            self.guest.run("end $(cat /run/udp.pid)", check=False)

    def echo(self):
        """UDP echo through sockets, every datagram compared."""
        self.far(f"udp-echo serve {FAR}:7 >/dev/null 2>&1 & echo $! >/run/udp.pid")
        try:
            return self.near(f"udp-echo ask {FAR}:7 500", timeout=60).strip()
        finally:
            self.guest.run("end $(cat /run/udp.pid)", check=False)

    def with_vlan(self, work):
        """Runs `work` with VLAN 7 on both sides, on 10.9.7.0/24."""
        self.near("ip link add link $if name v7 type vlan id 7; ip addr add 10.9.7.2/24 dev v7; ip link set v7 up")
        self.far(f"ip link add link {self.far_name} name v7 type vlan id 7; ip addr add {self.VLAN_FAR}/24 dev v7; ip link set v7 up")
        try:
            return work()
        finally:
            self.near("ip link del v7")
            self.far("ip link del v7")


def bench(lab, card="82599", guest=None):
    """The guest with the card, made ready where it was not."""
    guest = lab.guest(guest or CARDS[card].guest)
    if not hasattr(guest, "bench"):
        guest.bench = Bench(guest, CARDS[card])
    return guest.bench


def capability(name, *others, first="82599"):
    """Registers a test of the group for the card `first` and for the cards `others`. Its function takes a `Bench`."""

    def register(function):
        for card in [first, *others]:

            def run(lab, card=card):
                return function(bench(lab, card))

            run.__doc__ = f"{card}: {function.__doc__}"
            full = name if card == "82599" else f"{name}-{card}"
            test(f"{GROUP}/{full}", needs=["barewire"])(run)
        return function

    return register
