"""Virtual functions of the simulated cards under Linux's own, unmodified ixgbevf. The model plays the physical function as well."""

import time

from harness.bench import FAR, FAR6, MAC, NEAR, capability
from harness.lab import check

from tests import linux_on_sim as basics
from tests import linux_on_sim_ethtool as settings
from tests import linux_on_sim_offloads as offloads
from tests.linux_on_sim import ALL, FEW, received

ALL_CARDS = ["x540-vf", "x550-vf"]


def function(name, *others):
    """Registers a test for the 82599's virtual function, and for the others'."""
    return capability(name, *others, first="82599-vf")


@function("probe", *ALL_CARDS)
def probe(b):
    """ixgbevf probes without a complaint; the address is what the physical function gave"""
    check(not b.complaints(), f"the kernel complains: {b.complaints()}")
    check(b.near("cat /sys/class/net/$if/address").strip() == MAC, "the MAC address is not the one that was given")
    check("driver: ixgbevf" in (info := b.near("ethtool -i $if")), info)
    return f"{MAC}, {info.split('bus-info')[0].split('expansion')[0].strip().splitlines()[1]}"


@function("link", *ALL_CARDS)
def link(b):
    """the link is up at 10 Gb/s"""
    text = b.near("ethtool $if")
    for words in ("Speed: 10000Mb/s", "Link detected: yes"):
        check(words in text, f"`ethtool` lacks {words}: {text}")
    return "10000 Mb/s"


# What a port of one's own can do as well is judged by the same acts.
function("ping-ipv4", *ALL_CARDS)(basics.ping_ipv4)
function("ping-ipv6", *ALL_CARDS)(basics.ping_ipv6)
function("udp", *ALL_CARDS)(basics.udp)
function("tcp-both", *ALL_CARDS)(offloads.tcp_both)
function("tcp-in")(offloads.tcp_in)
function("jumbo", *ALL_CARDS)(offloads.jumbo)
function("vlan", *ALL_CARDS)(offloads.vlan)
function("vlan-filter", *ALL_CARDS)(basics.vlan_filter)
function("multicast", *ALL_CARDS)(basics.multicast)
capability("promiscuous", "x550-vf", first="x540-vf")(basics.promiscuous)
function("address", "x540-vf")(settings.address)


@function("tcp-ipv6", "x550-vf")
def tcp_ipv6(b):
    """TCP over IPv6, with segmentation and checksums by the function"""
    return b.stream("both", count=3_000_000, address=FAR6, seed=5)


@function("not-promiscuous")
def not_promiscuous(b):
    """an 82599's function that asks to be promiscuous is refused, and goes on without"""
    b.far(f"arp -i {b.far_name} -s 10.9.0.77 02:00:00:00:00:77")
    try:
        b.near("ip link set $if promisc on; sleep 0.5")
        count = received(b, "10.9.0.77")
    finally:
        b.near("ip link set $if promisc off")
    check(count < FEW, f"{count} frames for another address were delivered")
    b.ping(100)
    return f"50 sent: {count} delivered"


@function("rss", *ALL_CARDS)
def rss(b):
    """two queues, and flows spread over both by their hash"""
    before = b.statistics()
    sources = range(20000, 20040)
    b.far("; ".join(f"udp-echo send {source} {NEAR}:9 5" for source in sources), check=False, timeout=60)
    b.stream("in", count=500_000, seed=4)
    b.stream("in", count=500_000, seed=5)
    b.far("; ".join(f"ip addr add 10.9.1.{host}/32 dev {b.far_name}" for host in range(1, 33)))
    b.near("ip route add 10.9.1.0/24 dev $if")
    try:
        b.far("; ".join(f"ping -q -c 3 -i 0.02 -I 10.9.1.{host} {NEAR}" for host in range(1, 33)), timeout=60)
    finally:
        b.near("ip route del 10.9.1.0/24 dev $if")
        b.far("; ".join(f"ip addr del 10.9.1.{host}/32 dev {b.far_name}" for host in range(1, 33)))
    grown = b.grown(before)
    queues = [grown.get(f"rx_queue_{queue}_packets", 0) for queue in (0, 1)]
    check(min(queues) >= 20, f"received by queue: {queues}")
    return f"received by queue: {queues}"


@function("further-addresses", *ALL_CARDS)
def further_addresses(b):
    """an address beside the function's own, of a VLAN's interface above it, is let in"""
    b.far(f"arp -i {b.far_name} -s 10.9.0.88 02:00:00:00:00:88")
    without = received(b, "10.9.0.88")
    b.near("ip link add link $if name v8 type vlan id 8; ip link set v8 address 02:00:00:00:00:88; ip link set v8 up; sleep 0.5")
    try:
        with_it = received(b, "10.9.0.88")
    finally:
        b.near("ip link del v8")
    check(without < FEW and with_it >= ALL, f"delivered: {without} without it, {with_it} with it")
    return f"50 sent: {without} delivered without it, {with_it} with it"


@function("statistics", "x550-vf")
def statistics(b):
    """the function counts what the far end counted"""
    def both():
        time.sleep(2.5)
        return b.statistics(), b.far_counts()

    near, far = both()
    for size in (60, 200, 1400):
        b.ping(size, count=50)
    near_after, far_after = both()
    seen = {way: near_after[f"{way}_packets"] - near[f"{way}_packets"] for way in ("rx", "tx")}
    wire = {way: far_after[f"{way}_pkts_nic"] - far[f"{way}_pkts_nic"] for way in ("rx", "tx")}
    check(all(abs(seen[way] - wire[way]) <= 4 for way in seen) and seen["tx"] >= 150, f"the function counted {seen}, the far end {wire}")
    return f"{seen}"


@function("down-up", *ALL_CARDS)
def down_up(b):
    """the interface goes down and up five times"""
    for _ in range(5):
        b.near("ip link set $if down", timeout=60)
        b.up()
    b.ping(1000)
    return "five times"


@function("cable", *ALL_CARDS)
def cable(b):
    """the port's cable is pulled: the function is told by its mailbox, and sees the link come back"""
    card = b.guest.ports["near"]
    card.tell("link down")
    b.wait_carrier(0)
    card.tell("link up")
    b.wait_carrier(1)
    b.ping(1000)
    return "down and up"


@function("pf-reset", *ALL_CARDS)
def pf_reset(b):
    """the physical function is reset, three times: the driver resets the function, and traffic goes on"""
    for number in range(3):
        seen = b.log().count("NIC Link is Down")
        b.near(f"ping -q -i 0.05 -c 200 -W 1 {FAR} >/run/pings 2>&1 & echo $! >/run/pings.pid; sleep 1")
        b.guest.ports["near"].tell("mishap pf-reset")
        deadline = time.monotonic() + 30
        while b.log().count("NIC Link is Down") == seen:
            check(time.monotonic() < deadline, f"the driver notices nothing: {b.log()[-400:]}")
            time.sleep(0.1)
        b.near("wait $(cat /run/pings.pid) 2>/dev/null; true", timeout=60, check=False)
        b.wait_carrier(1, timeout=30)
        # The kernel drops what it is given until it has heard of the carrier itself.
        while b.near(f"ping -q -c 1 -W 1 {FAR}", check=False)[0]:
            check(time.monotonic() < deadline + 30, f"nothing is answered: {b.log()[-400:]}")
        b.ping(1000)
        b.ping(1000, FAR6, options="-6")
    b.expected += ["PF still in reset state", "VF reset failed", "PF still resetting"]
    return f"{number + 1} times; {b.stream('both', count=1_000_000, seed=21)}"


@function("reload", *ALL_CARDS)
def reload(b):
    """rmmod and modprobe, three times, with traffic"""
    for _ in range(3):
        b.reload()
        b.ping(1000)
    return "three times"


@function("clean-log", *ALL_CARDS)
def clean_log(b):
    """after all this the kernel's log still holds no complaint of the driver"""
    check(not b.complaints(), f"{b.complaints()[:8]}")
    return f"{len(b.log().splitlines())} lines"


@function("violations", *ALL_CARDS)
def violations(b):
    """the function recorded nothing as forbidden"""
    seen = b.guest.ports["near"].violation_kinds()
    check(not seen, f"{sorted(seen)}: {b.guest.ports['near'].violations()[:8]}")
    return "none"
