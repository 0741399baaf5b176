"""The simulated card under Linux's own, unmodified ixgbe: one test a capability. Here: from the probe to the filters."""

import re
import time

from harness.bench import FAR, FAR6, MAC, NEAR, NEAR6, capability
from harness.lab import check


@capability("probe", "x540", "x550")
def probe(b):
    """ixgbe probes, and the kernel's log holds no complaint; the address and the firmware's version are the EEPROM's"""
    check(not b.complaints(), f"the kernel complains: {b.complaints()}")
    check(b.near("cat /sys/class/net/$if/address").strip() == MAC, "the MAC address is not the EEPROM's")
    info = b.near("ethtool -i $if")
    check(b.card.firmware in info and "driver: ixgbe" in info, info)
    line = next((line for line in b.log().splitlines() if "PBA No" in line), "no PBA line")
    check(b.card.kind in line, f"the card is not known as {b.card.kind}: {line}")
    return f"{MAC}, firmware {b.card.firmware}; {line.split('ixgbe', 1)[-1].strip()}"


@capability("link", "x540", "x550")
def link(b):
    """the link is up at 10 Gb/s full duplex"""
    text = b.near("ethtool $if")
    for words in ("Speed: 10000Mb/s", "Duplex: Full", f"Port: {b.card.port}", "Link detected: yes"):
        check(words in text, f"`ethtool` lacks {words}: {text}")
    return f"10000 Mb/s, full duplex, {b.card.medium}"


@capability("ping-ipv4", "x540", "x550")
def ping_ipv4(b):
    """IPv4 echo of 0 to 1472 bytes"""
    for size in (0, 1, 18, 56, 219, 512, 1000, 1471, 1472):
        b.ping(size)
    return "9 sizes, 10 each"


@capability("ping-ipv6", "x540", "x550")
def ping_ipv6(b):
    """IPv6 echo of 0 to 1452 bytes, to the address and to all nodes' multicast"""
    for size in (0, 1, 18, 56, 219, 512, 1000, 1452):
        b.ping(size, FAR6, options="-6")
    # The far end is itself one of the nodes, so that its ping says nothing of the near end.
    taken = received(b, f"-6 -I {b.far_name} ff02::1")
    check(taken >= ALL, f"of 50 to all nodes {taken} came")
    return "8 sizes, 10 each"


@capability("udp", "x540", "x550")
def udp(b):
    """UDP echo through sockets, every datagram compared, with checksums by the card"""
    return b.echo()


def received(b, script, count=50, interval=0.01):
    """How many frames reach the near end's kernel while the far end pings `count` times, as `script` says."""
    before = b.statistics()
    b.far(f"ping -q -c {count} -i {interval} -W 1 {script}", check=False, timeout=60)
    return b.grown(before).get("rx_packets", 0)


# Where none of 50 frames is to be delivered, fewer than so many are: neighbours may be looked for meanwhile. Where all are, at least so many.
FEW, ALL = 10, 50


@capability("promiscuous", "x540")
def promiscuous(b):
    """a frame for another address passes in promiscuous mode alone"""
    b.far(f"arp -i {b.far_name} -s 10.9.0.77 02:00:00:00:00:77")
    counts = []
    try:
        for state in ("off", "on"):
            b.near(f"ip link set $if promisc {state}; sleep 0.5")
            counts.append(received(b, "10.9.0.77"))
    finally:
        b.near("ip link set $if promisc off")
    check(counts[0] < FEW and counts[1] >= ALL, f"delivered: {counts[0]} with the filter, {counts[1]} without")
    return f"50 sent: {counts[0]} delivered with the filter, {counts[1]} in promiscuous mode"


@capability("multicast", "x540")
def multicast(b):
    """a multicast group that was not joined is filtered; one that was joined passes, and all do with all-multicast"""
    counts = []
    # An address brings its solicited-node group with it.
    steps = [("true", "true"), (f"ip addr add {NEAR6[:-1]}9:1234/64 dev $if", f"ip addr del {NEAR6[:-1]}9:1234/64 dev $if")]
    for join, leave in [*steps, ("ifconfig $if allmulti", "ifconfig $if -allmulti")]:
        b.near(f"{join}; sleep 0.5")
        try:
            counts.append(received(b, f"-6 -I {b.far_name} ff02::1:ff09:1234"))
        finally:
            b.near(leave)
    check(counts[0] < FEW and min(counts[1:]) >= ALL, f"delivered: {counts[0]} not joined, {counts[1]} joined, {counts[2]} with all-multicast")
    return f"50 sent: {counts[0]} delivered without, {counts[1]} joined, {counts[2]} with all-multicast"


@capability("vlan-filter", "x540")
def vlan_filter(b):
    """frames of a VLAN that nobody joined do not pass the filter; once it is joined they do"""
    b.far(f"ip link add link {b.far_name} name v9 type vlan id 9; ip addr add 10.9.9.1/24 dev v9; ip link set v9 up")
    try:
        b.far(f"arp -i v9 -s 10.9.9.2 {MAC}; ping -c 1 -W 1 10.9.9.2", check=False)
        sent = b.far_counts()["rx_pkts_nic"]
        without = received(b, "10.9.9.2")
        check(b.far_counts()["rx_pkts_nic"] - sent >= ALL, "the far end sent fewer than 50 frames")
        b.near("ip link add link $if name v9 type vlan id 9; ip link set v9 up")
        try:
            joined = received(b, "10.9.9.2")
        finally:
            b.near("ip link del v9")
        check(without < FEW and joined >= ALL, f"{without} frames of VLAN 9 reached the host before it was joined, {joined} after")
        return f"50 sent: {without} delivered before the VLAN was joined, {joined} after"
    finally:
        b.far("ip link del v9")


def _both_ends(b):
    """What the card's driver and the far end have counted, once neither counts any more: the driver reads the card every two seconds."""
    near, far = b.statistics(), b.far_counts()
    deadline = time.monotonic() + 60
    while True:
        time.sleep(2.5)
        before, (near, far) = (near, far), (b.statistics(), b.far_counts())
        if (near, far) == before:
            return near, far
        check(time.monotonic() < deadline, "the wire does not become quiet")


def _compare_counts(b):
    before, far = _both_ends(b)
    for size in (60, 200, 1400):
        b.ping(size, count=50)
    b.far("ping -q -c 10 -i 0.02 -W 1 10.9.0.255", check=False)
    after, far_after = _both_ends(b)
    grown = {name: after[name] - before[name] for name in after}
    wire = {name: far_after[name] - far[name] for name in far}
    for way in ("tx", "rx"):
        # The card counts the FCS too.
        wire[f"{way}_bytes_nic"] += 4 * wire[f"{way}_pkts_nic"]
    seen = {name: grown[name] for name in wire}
    check(seen == wire and wire["tx_pkts_nic"] >= 150 and wire["rx_pkts_nic"] >= 160, f"the card counted {seen}, the far end {wire}")
    check(grown["broadcast"] == 10, f"{grown['broadcast']} of 10 broadcasts are counted")
    queues = {way: sum(value for name, value in grown.items() if re.fullmatch(rf"{way}_queue_\d+_packets", name)) for way in ("rx", "tx")}
    check(queues == {way: wire[f"{way}_pkts_nic"] for way in queues}, f"the queues counted {queues}")
    errors = {k: v for k, v in grown.items() if v and re.search("error|missed|dropped|no_buffer|timeout", k)}
    check(not errors, f"errors: {errors}")
    sizes = f"{wire['tx_bytes_nic']} and {wire['rx_bytes_nic']} bytes"
    return f"{wire['tx_pkts_nic']} frames out and {wire['rx_pkts_nic']} in, {sizes}, 10 broadcasts, on both ends; no errors"


@capability("statistics", "x540", "x550")
def statistics(b):
    """`ethtool -S` agrees with what the other end of the wire counted: frames, bytes, broadcasts, queues"""
    # Neighbours are looked for by frames shorter than the shortest, which the card pads and the far end does not.
    b.near(f"arp -i $if -s {FAR} {b.guest.ports['far'].mac}")
    b.far(f"arp -i {b.far_name} -s {NEAR} {MAC}")
    try:
        return _compare_counts(b)
    finally:
        b.near(f"arp -i $if -d {FAR}")
        b.far(f"arp -i {b.far_name} -d {NEAR}")
