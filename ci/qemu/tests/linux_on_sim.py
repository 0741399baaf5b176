"""The simulated 82599 under Linux's own, unmodified ixgbe: one test a capability.

The guest has two cards: the simulated one, served over vfio-user by a process beside QEMU, and a virtio card at the other
end of its wire, in a network namespace of its own. The virtio card offloads nothing, so Linux checks in software, byte by
byte, what the simulated card sent."""

import re
import time

from harness.lab import check, test

GROUP = "linux-on-sim"
NEAR, FAR = "10.9.0.2", "10.9.0.1"
NEAR6, FAR6 = "fd00::2", "fd00::1"
MAC = "02:00:00:82:59:90"
FIRMWARE = "0x800010fb"
# What dmesg may hold of the driver: a probe's usual words, and those of actions that a test asks for.
COMPLAINT = re.compile(
    r"warn|fail|error|hang|unable|timed? ?out|timeout|not (?:supported|complete|initialized)|pre-production|bug:|call trace",
    re.IGNORECASE,
)


class Bench:
    """The guest with ixgbe on one side and virtio_net on the other."""

    def __init__(self, guest):
        self.guest = guest
        self.address = guest.ports["near"].address
        guest.run("modprobe 8021q; modprobe ixgbe", timeout=60)
        self.name = self.find()
        far = guest.run(f"interface_of {guest.ports['far'].address}").strip()
        # The holder of the far end's namespace lives as long as the guest.
        self.holder = guest.run("unshare -n sleep 1000000 >/dev/null 2>&1 & echo $!").strip()
        guest.run(f"sleep 0.3; ip link set {far} netns {self.holder}")
        self.far_name = far
        self.far(
            f"ip link set lo up; sysctl -qw net.ipv6.conf.{far}.accept_dad=0; ip link set {far} mtu 9000 up; "
            f"ip addr add {FAR}/24 dev {far}; ip addr add {FAR6}/64 dev {far}"
        )
        self.up()

    def find(self):
        """The interface of the simulated card."""
        deadline = time.monotonic() + 20
        while not (name := self.guest.run(f"interface_of {self.address}; true").strip()):
            check(time.monotonic() < deadline, f"ixgbe made no interface: {self.complaints() or self.log()[-600:]}")
            time.sleep(0.2)
        return name

    def near(self, script, timeout=30, **options):
        """Runs a script on the near side; `$if` is the card's interface."""
        return self.guest.run(f"if={self.name}; {script}", timeout=timeout, **options)

    def far(self, script, timeout=30, **options):
        """Runs a script in the far end's namespace."""
        return self.guest.run(f"nsenter -t {self.holder} -n sh -c '{script}'", timeout=timeout, **options)

    def up(self):
        """Brings the near interface up with its addresses, and waits for the carrier."""
        self.near(
            f"sysctl -qw net.ipv6.conf.$if.accept_dad=0; ip link set $if up; ip addr flush dev $if; "
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
        """Lines of the kernel's log that complain."""
        return [line for line in self.log().splitlines() if COMPLAINT.search(line)]

    def statistics(self):
        """`ethtool -S` as numbers."""
        pairs = re.findall(r"^\s*(\S[^:\n]*): (\d+)$", self.near("ethtool -S $if"), re.MULTILINE)
        return {name: int(value) for name, value in pairs}

    def grown(self, before):
        """What of `ethtool -S` has grown since `before`."""
        return {name: value - before.get(name, 0) for name, value in self.statistics().items() if value != before.get(name, 0)}

    def far_packets(self):
        """How many frames the far end received and sent."""
        columns = self.far(f"grep {self.far_name}: /proc/net/dev").split(":")[1].split()
        return int(columns[1]), int(columns[9])

    def tails(self):
        """TDT of the first two queues, out of the register dump."""
        dump = self.near("ethtool -d $if raw on | dd bs=4 skip=665 count=2 2>/dev/null | hexdump -v -e '1/4 \"%u \"'")
        return [int(word) for word in dump.split()]

    def used(self, before, ring=512):
        """How many transmit descriptors were used since `before`; fewer than a ring."""
        return sum((now - then) % ring for now, then in zip(self.tails(), before))

    def ping(self, size, address=FAR, count=10, options=""):
        """Pings the far end; every answer has to come."""
        output = self.near(f"ping -q -c {count} -i 0.02 -W 3 {options} -s {size} {address}", timeout=60)
        check(f"{count} packets received" in output, f"{size} bytes to {address}: {output.strip()[-200:]}")

    def stream(self, ways, count=8_000_000, address=FAR, seed=1):
        """A TCP stream from the near side. Every byte is compared."""
        host = f"[{address}]" if ":" in address else address
        bind = "[::]:5001" if ":" in address else f"{address}:5001"
        # A server of an earlier test was ended with it.
        self.far(f"tcp-stream serve {bind} >/run/stream.out 2>&1 & echo $! >/run/stream.pid; sleep 0.3")
        try:
            return self.near(f"tcp-stream run {host}:5001 {seed} {count} {ways}", timeout=120).strip()
        finally:
            self.guest.run("kill $(cat /run/stream.pid)", check=False)


def bench(lab, name="sim"):
    """The guest, made ready where it was not."""
    guest = lab.guest(name)
    if not hasattr(guest, "bench"):
        guest.bench = Bench(guest)
    return guest.bench


def capability(name):
    """Registers a test of the group, whose function takes a `Bench`."""

    def register(function):
        def run(lab):
            return function(bench(lab))

        run.__doc__ = function.__doc__
        test(f"{GROUP}/{name}", needs=["barewire"])(run)
        return function

    return register


@capability("probe")
def probe(b):
    """ixgbe probes, and the kernel's log holds no complaint; the address and the firmware's version are the EEPROM's"""
    check(not b.complaints(), f"the kernel complains: {b.complaints()}")
    check(b.near("cat /sys/class/net/$if/address").strip() == MAC, "the MAC address is not the EEPROM's")
    info = b.near("ethtool -i $if")
    check(FIRMWARE in info and "driver: ixgbe" in info, info)
    line = next((line for line in b.log().splitlines() if "PBA No" in line), "no PBA line")
    check("SFP+: 5" in line, f"the SFP+ module is not identified as 10GBASE-SR on port 0: {line}")
    return f"{MAC}, firmware {FIRMWARE}; {line.split('ixgbe', 1)[-1].strip()}"


@capability("link")
def link(b):
    """the link is up at 10 Gb/s full duplex"""
    text = b.near("ethtool $if")
    for words in ("Speed: 10000Mb/s", "Duplex: Full", "Port: FIBRE", "Link detected: yes"):
        check(words in text, f"`ethtool` lacks {words}: {text}")
    return "10000 Mb/s, full duplex, fibre"


@capability("ping-ipv4")
def ping_ipv4(b):
    """IPv4 echo of 0 to 1472 bytes"""
    for size in (0, 1, 18, 56, 219, 512, 1000, 1471, 1472):
        b.ping(size)
    return "9 sizes, 10 each"


@capability("ping-ipv6")
def ping_ipv6(b):
    """IPv6 echo of 0 to 1452 bytes, to the address and to all nodes' multicast"""
    for size in (0, 1, 18, 56, 219, 512, 1000, 1452):
        b.ping(size, FAR6, options="-6")
    b.far(f"ping -6 -c 3 -I {b.far_name} ff02::1")
    return "8 sizes, 10 each"


@capability("udp")
def udp(b):
    """UDP echo through sockets, every datagram compared, with checksums by the card"""
    b.far(f"udp-echo serve {FAR}:7 >/dev/null 2>&1 & echo $! >/run/udp.pid; sleep 0.3")
    try:
        return b.near(f"udp-echo ask {FAR}:7 500", timeout=60).strip()
    finally:
        b.guest.run("kill $(cat /run/udp.pid)", check=False)


def _offloads(b, features):
    """Sets features, and returns what the driver then says that it has."""
    b.near(f"ethtool -K $if {features}")
    return dict(re.findall(r"^\s*([a-z0-9-]+): (on|off)", b.near("ethtool -k $if"), re.MULTILINE))


@capability("tcp-out")
def tcp_out(b):
    """TCP from the card with segmentation and checksum offload"""
    used = {}
    for state in ("off", "on"):
        has = _offloads(b, f"tso {state} gso {state} tx on sg on")
        check(has["tcp-segmentation-offload"] == state, f"TSO is not {state}: {has}")
        b.ping(100)
        before, tails = b.statistics(), b.tails()
        b.stream("out", count=100_000)
        used[state] = (b.used(tails), b.grown(before)["tx_packets"])
    (plain, frames_plain), (cut, frames_cut) = used["off"], used["on"]
    check(plain >= frames_plain and cut < frames_cut, f"descriptors and frames: without TSO {used['off']}, with {used['on']}")
    return f"{b.stream('out')}; {frames_cut} frames from {cut} descriptors, {frames_plain} from {plain} without TSO"


@capability("tcp-in")
def tcp_in(b):
    """TCP to the card, with checksums checked by it"""
    before = b.statistics()
    seen = b.stream("in", count=6_000_000)
    errors = {k: v for k, v in b.grown(before).items() if "error" in k or "csum" in k}
    check(not errors, f"errors were counted: {errors}")
    return seen


@capability("tcp-both")
def tcp_both(b):
    """TCP both ways at once"""
    return b.stream("both", count=5_000_000, seed=3)


@capability("tcp-ipv6")
def tcp_ipv6(b):
    """TCP over IPv6 with segmentation"""
    b.ping(100, FAR6, options="-6")
    before, tails = b.statistics(), b.tails()
    b.stream("out", count=100_000, address=FAR6)
    used, frames = b.used(tails), b.grown(before)["tx_packets"]
    check(used < frames, f"nothing was segmented: {frames} frames from {used} descriptors")
    return f"{b.stream('both', count=5_000_000, address=FAR6, seed=4)}; {frames} frames from {used} descriptors"


@capability("offloads-off")
def offloads_off(b):
    """the same with checksums and segmentation in software"""
    try:
        has = _offloads(b, "tso off gso off tx off rx off gro off")
        check(has["tcp-segmentation-offload"] == has["rx-checksumming"] == "off", f"offloads stayed on: {has}")
        return b.stream("both", count=3_000_000, seed=5)
    finally:
        _offloads(b, "tx on rx on tso on gso on gro on")
        b.wait_carrier(1)


@capability("lro")
def lro(b):
    """large receive offload off and on again, with TCP each time"""
    try:
        for state in ("off", "on"):
            check(_offloads(b, f"lro {state}")["large-receive-offload"] == state, f"LRO is not {state}")
            b.wait_carrier(1)
            seen = b.stream("in", count=2_000_000, seed=6)
    finally:
        _offloads(b, "lro off")
        b.wait_carrier(1)
    return seen


@capability("jumbo")
def jumbo(b):
    """MTU 9000: echo of 8972 bytes, and TCP both ways"""
    b.near("ip link set $if mtu 9000")
    try:
        b.wait_carrier(1)
        for size in (1473, 4000, 8972):
            b.ping(size, count=5)
        b.ping(8952, FAR6, count=5, options="-6")
        return b.stream("both", count=8_000_000, seed=7)
    finally:
        b.near("ip link set $if mtu 1500")
        b.wait_carrier(1)


def _with_vlan(b, work):
    """Runs `work` with VLAN 7 on both sides, on 10.9.7.0/24."""
    b.near(f"ip link add link $if name v7 type vlan id 7; ip addr add 10.9.7.2/24 dev v7; ip link set v7 up")
    b.far(f"ip link add link {b.far_name} name v7 type vlan id 7; ip addr add 10.9.7.1/24 dev v7; ip link set v7 up")
    try:
        return work()
    finally:
        b.near("ip link del v7")
        b.far("ip link del v7")


@capability("vlan")
def vlan(b):
    """VLAN tags inserted and stripped by the card, with TCP and segmentation"""
    _offloads(b, "rxvlan on txvlan on")

    def work():
        b.ping(1472, "10.9.7.1")
        return b.stream("both", count=3_000_000, address="10.9.7.1", seed=8)

    return _with_vlan(b, work)


@capability("vlan-software")
def vlan_software(b):
    """VLAN tags left to the kernel"""
    try:
        has = _offloads(b, "rxvlan off txvlan off")
        check(has["rx-vlan-offload"] == has["tx-vlan-offload"] == "off", f"{has}")
        b.wait_carrier(1)
        return _with_vlan(b, lambda: b.ping(1472, "10.9.7.1") or "10 pings with tags in the frames")
    finally:
        _offloads(b, "rxvlan on txvlan on")
        b.wait_carrier(1)


@capability("vlan-filter")
def vlan_filter(b):
    """frames of a VLAN that nobody joined do not pass the filter"""
    b.far(f"ip link add link {b.far_name} name v9 type vlan id 9; ip addr add 10.9.9.1/24 dev v9; ip link set v9 up")
    try:
        b.far(f"arp -i v9 -s 10.9.9.2 {MAC}; ping -c 1 -W 1 -w 1 10.9.9.2", check=False)
        before, sent = b.statistics(), b.far_packets()[1]
        b.far("ping -c 5 -i 0.1 -W 1 -w 1 10.9.9.2", check=False)
        grown = b.grown(before)
        check(b.far_packets()[1] - sent >= 5, "the far end sent fewer than 5 frames")
        check(grown.get("rx_packets", 0) < 5, f"frames of VLAN 9 reached the host: {grown}")
        return f"5 sent, {grown.get('rx_packets', 0)} delivered"
    finally:
        b.far("ip link del v9")


def toeplitz(key, data):
    """The hash of RSS, bit by bit."""
    value, bits = int.from_bytes(key, "big"), 8 * len(key)
    result = 0
    for number, byte in enumerate(data):
        for bit in range(8):
            if byte >> (7 - bit) & 1:
                result ^= value >> (bits - 32 - 8 * number - bit) & 0xFFFFFFFF
    return result


@capability("rss")
def rss(b):
    """UDP flows spread over the receive queues as the Toeplitz hash of the programmed key says"""
    text = b.near("ethtool -x $if")
    table = [int(entry) for row in re.findall(r"^\s*\d+:((?:\s+\d+)+)$", text, re.MULTILINE) for entry in row.split()]
    key = bytes.fromhex(re.search(r"((?:[0-9a-f]{2}:){39}[0-9a-f]{2})", text)[1].replace(":", ""))
    check(len(table) == 128 and len(set(table)) > 1, f"the indirection table uses {len(set(table))} queues")
    expected = dict.fromkeys(sorted(set(table)), 0)
    addresses = [f"10.9.0.{last}" for last in range(101, 117)]
    b.far("; ".join(f"ip addr add {address}/24 dev {b.far_name}" for address in addresses))
    try:
        before = b.statistics()
        for address in addresses:
            data = bytes(int(part) for part in f"{address}.{NEAR}".split("."))
            expected[table[toeplitz(key, data) & 0x7F]] += 5
        b.far("; ".join(f"ping -q -c 5 -i 0.02 -I {address} {NEAR}" for address in addresses), timeout=60)
        grown = b.grown(before)
    finally:
        b.far("; ".join(f"ip addr del {address}/24 dev {b.far_name}" for address in addresses))
    seen = {queue: grown.get(f"rx_queue_{queue}_packets", 0) for queue in expected}
    # ARP is not hashed and comes to queue 0.
    wrong = [q for q in expected if seen[q] < expected[q] or q != 0 and seen[q] > expected[q] + 3]
    check(not wrong and min(expected.values()) > 0, f"by the hash {expected}, seen {seen}")
    return f"80 echo requests of 16 flows: by the hash {expected}, seen {seen}"


@capability("promiscuous")
def promiscuous(b):
    """a frame for another address passes in promiscuous mode alone"""
    b.far(f"arp -i {b.far_name} -s 10.9.0.77 02:00:00:00:00:77")
    counts = []
    try:
        for state in ("off", "on"):
            b.near(f"ip link set $if promisc {state}; sleep 0.5")
            before = b.statistics()
            b.far("ping -c 5 -i 0.05 -W 1 -w 1 10.9.0.77", check=False)
            counts.append(b.grown(before).get("rx_packets", 0))
    finally:
        b.near("ip link set $if promisc off")
    check(counts[0] < 5 <= counts[1], f"delivered: {counts[0]} with the filter, {counts[1]} without")
    return f"5 sent: {counts[0]} delivered with the filter, {counts[1]} in promiscuous mode"


@capability("multicast")
def multicast(b):
    """a multicast group that was not joined is filtered; all-multicast lets it pass"""
    counts = []
    try:
        for state in ("off", "on"):
            b.near(f"ifconfig $if {'' if state == 'on' else '-'}allmulti; sleep 0.5")
            before = b.statistics()
            b.far(f"ping -c 5 -i 0.05 -W 1 -w 1 -I {b.far_name} 239.1.2.3", check=False)
            counts.append(b.grown(before).get("rx_packets", 0))
    finally:
        b.near("ifconfig $if -allmulti")
    check(counts[0] < 5 <= counts[1], f"delivered: {counts[0]} not joined, {counts[1]} with all-multicast")
    return f"5 sent: {counts[0]} delivered without, {counts[1]} with all-multicast"


@capability("statistics")
def statistics(b):
    """`ethtool -S` agrees with what the other end of the wire counted"""
    time.sleep(2.5)  # the driver reads the card's counters every two seconds
    near, (rx, tx) = b.statistics(), b.far_packets()
    for size in (60, 200, 1400):
        b.ping(size, count=50)
    time.sleep(2.5)
    grown = b.grown(near)
    rx, tx = (now - then for now, then in zip(b.far_packets(), (rx, tx)))
    check((grown["tx_pkts_nic"], grown["rx_pkts_nic"]) == (rx, tx), f"the card {grown}, the far end received {rx}, sent {tx}")
    errors = {k: v for k, v in b.statistics().items() if v and re.search("error|missed|dropped|no_buffer|hw_rsc|timeout", k)}
    check(not {k: v for k, v in errors.items() if "rsc" not in k}, f"errors: {errors}")
    return f"{rx} frames out and {tx} in on both ends, no errors"


def _self_test(b, mode):
    status, text = b.near(f"ethtool -t $if {mode}", timeout=120, check=False)
    check(status == 0 and "PASS" in text, f"status {status}: {text} {b.complaints()[-3:]}")
    failed = [line for line in re.findall(r"^(.*\))\s+(\d+)$", text, re.MULTILINE) if line[1] != "0"]
    check(not failed, f"failed: {failed}")
    b.wait_carrier(1)
    return " ".join(text.split())


@capability("self-test-online")
def self_test_online(b):
    """`ethtool -t online`: the link"""
    return _self_test(b, "online")


@capability("self-test-offline")
def self_test_offline(b):
    """`ethtool -t offline`: registers, EEPROM, interrupts, loopback, link"""
    return _self_test(b, "offline")


@capability("rings")
def rings(b):
    """`ethtool -g` and `-G`: other ring sizes, with traffic"""
    try:
        for size in (64, 4096):
            b.near(f"ethtool -G $if rx {size} tx {size}", timeout=60)
            b.wait_carrier(1)
            current = re.findall(r"^(?:RX|TX):\s+(\d+)$", b.near("ethtool -g $if"), re.MULTILINE)
            check(current[2:] == [str(size)] * 2, f"`ethtool -g` says {current}")
            seen = b.stream("both", count=1_000_000, seed=size)
    finally:
        b.near("ethtool -G $if rx 512 tx 512", timeout=60)
        b.wait_carrier(1)
    return f"64 and 4096 descriptors; {seen}"


@capability("channels")
def channels(b):
    """`ethtool -l` and `-L`: one queue, then two, with traffic"""
    try:
        for count in (1, 2):
            b.near(f"ethtool -L $if combined {count}", timeout=60)
            b.wait_carrier(1)
            check(re.findall(r"^Combined:\s+(\d+)$", b.near("ethtool -l $if"), re.MULTILINE)[1] == str(count), "`ethtool -l` differs")
            seen = b.stream("both", count=1_000_000, seed=count)
    finally:
        b.up()
    return f"1 and 2 queues; {seen}"


@capability("coalescing")
def coalescing(b):
    """`ethtool -C rx-usecs`: both ends of the scale are taken over, and interrupts come at each"""
    interrupts = "awk '/TxRx/ { total += $2 + $3 } END { print total + 0 }' /proc/interrupts"
    counts = []
    for microseconds in (10, 900):
        b.near(f"ethtool -C $if rx-usecs {microseconds}", timeout=60)
        b.wait_carrier(1)
        before = int(b.near(interrupts))
        b.near(f"ping -q -c 300 -i 0.0001 {FAR}", timeout=60)
        counts.append(int(b.near(interrupts)) - before)
    b.near("ethtool -C $if rx-usecs 1", timeout=60)
    b.wait_carrier(1)
    check(min(counts) > 0, f"no interrupts: {counts}")
    return f"{counts[0]} interrupts at 10 us, {counts[1]} at 900 us"


@capability("pause")
def pause(b):
    """`ethtool -a` and `-A`: flow control off and on"""
    try:
        for state in ("off", "on"):
            b.near(f"ethtool -A $if rx {state} tx {state}", check=False, timeout=60)
            b.wait_carrier(1)
            text = b.near("ethtool -a $if")
            check(len(re.findall(rf"^(?:RX|TX):\s+{state}$", text, re.MULTILINE)) == 2, f"{state}: {text}")
            b.ping(1000)
    finally:
        b.near("ethtool -A $if rx on tx on", check=False, timeout=60)
    return "off and on"


@capability("registers")
def registers(b):
    """`ethtool -d` dumps the registers"""
    text = b.near("ethtool -d $if")
    check(re.search(r"LINKS.*0x7|Link Up|up", text), text[:400])
    return f"{len(text.splitlines())} lines"


@capability("eeprom")
def eeprom(b):
    """`ethtool -e`: the words add up to BABA, and hold the address"""
    data = bytes(int(byte, 16) for row in re.findall(r"^0x[0-9a-f]+:\s+(.*)$", b.near("ethtool -e $if"), re.MULTILINE) for byte in row.split())
    words = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    total = sum(words[:0x40])
    for pointer in words[0x03:0x0F]:
        if pointer not in (0, 0xFFFF):
            total += sum(words[pointer + 1 : pointer + 1 + words[pointer]])
    check(total & 0xFFFF == 0xBABA, f"the sum is {total & 0xFFFF:#06x}")
    check(bytes.fromhex(MAC.replace(":", "")) in data, "the address is not in it")
    return f"{len(data)} bytes, sum 0xBABA"


@capability("module")
def module(b):
    """`ethtool -m` reads the SFP+ module through I2CCTL"""
    text = b.near("ethtool -m $if", timeout=120)
    for words in ("10G Ethernet: 10G Base-SR", "Vendor name", "Barewire", "SIM-10G-SR", "850nm", "Module temperature"):
        check(words in text, f"`ethtool -m` lacks {words}: {text[:800]}")
    return "10GBASE-SR, Barewire SIM-10G-SR, diagnostics"


@capability("identify")
def identify(b):
    """`ethtool -p` blinks"""
    b.near("ethtool -p $if 1")
    return "one second"


@capability("address")
def address(b):
    """another MAC address is taken over by the filter"""
    try:
        b.near("ip link set $if address 02:00:00:00:55:66")
        b.far(f"ip neigh flush dev {b.far_name}", check=False)
        b.far(f"arping -c 2 -I {b.far_name} {NEAR}")
        b.ping(100)
    finally:
        b.near(f"ip link set $if address {MAC}")
    b.far(f"arping -c 2 -I {b.far_name} {NEAR}")
    b.ping(100)
    return "02:00:00:00:55:66 and back"


@capability("down-up")
def down_up(b):
    """the interface goes down and up ten times"""
    for _ in range(10):
        b.near("ip link set $if down", timeout=60)
        b.up()
    b.ping(1000)
    return "ten times"


@capability("restart")
def restart(b):
    """`ethtool -r` restarts the link"""
    b.near("ethtool -r $if", timeout=60)
    b.wait_carrier(1)
    b.ping(1000)
    return "the link came back"


@capability("clean-log")
def clean_log(b):
    """after all this the kernel's log still holds no complaint of the driver"""
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return f"{len(b.log().splitlines())} lines"


@capability("reload")
def reload(b):
    """rmmod and modprobe ten times"""
    for number in range(10):
        b.guest.run("rmmod ixgbe; modprobe ixgbe", timeout=60)
        b.name = b.find()
        if number % 3 == 0:
            b.up()
            b.ping(1000)
    b.up()
    b.ping(1000)
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return "ten times, traffic after the first, fourth, seventh and last"


@test(f"{GROUP}/hang", needs=["barewire"])
def hang(lab):
    """a transmitter that hangs on request: Linux sees it, resets the card, and traffic flows again"""
    b = bench(lab, "sim-hang")
    hung = re.compile(r"Detected Tx Unit Hang|initiating reset due to tx timeout|NETDEV WATCHDOG")
    check(not hung.search(b.log()), f"Linux saw a hang too early: {b.log()[-400:]}")
    b.near(f"ping -q -i 0.02 -c 300 -W 1 {FAR}", timeout=60, check=False)
    deadline = time.monotonic() + 40
    while not ((found := hung.search(b.log())) and "Reset adapter" in b.log()):
        check(time.monotonic() < deadline, f"Linux sees no hang, or does not reset: {b.log()[-400:]}")
        b.near(f"ping -q -i 0.2 -c 5 -W 1 {FAR}", check=False)
    time.sleep(1)
    b.wait_carrier(1, timeout=30)
    b.ping(1000)
    return f"Linux: {found[0]}, Reset adapter; then 10 pings answered"
