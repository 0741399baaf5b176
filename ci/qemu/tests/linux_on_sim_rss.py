"""The simulated card under Linux's own ixgbe: RSS, whose table and key `ethtool` shows and sets, against a Toeplitz hash in Python."""

import ipaddress
import itertools
import re

from harness.bench import CARDS, FAR, NEAR, NEAR6, capability
from harness.lab import check

# The ports that TCP's flows come from, a pair for each use. Linux's driver leaves a filter of the flow director for one in 20 of
# the flows that it answers, and whoever comes from the same port again goes where that says, whatever its hash is.
SOURCES = itertools.count(20000, 2)


def toeplitz(key, data):
    """The hash of RSS, bit by bit."""
    value, bits = int.from_bytes(key, "big"), 8 * len(key)
    result = 0
    for number, byte in enumerate(data):
        for bit in range(8):
            if byte >> (7 - bit) & 1:
                result ^= value >> (bits - 32 - 8 * number - bit) & 0xFFFFFFFF
    return result


def indirection(b, queues):
    """RSS's indirection table, of so many queues, and key, as the driver has set them."""
    text = b.near("ethtool -x $if")
    table = [int(entry) for row in re.findall(r"^\s*\d+:((?:\s+\d+)+)$", text, re.MULTILINE) for entry in row.split()]
    check(len(table) == (512 if b.card is CARDS["x550"] else 128) and len(set(table)) == queues, f"the indirection table uses {len(set(table))} queues")
    return table, bytes.fromhex(re.search(r"((?:[0-9a-f]{2}:){39}[0-9a-f]{2})", text)[1].replace(":", ""))


def packed(*addresses):
    """IPv4 addresses as RSS hashes them."""
    return b"".join(bytes(int(part) for part in address.split(".")) for address in addresses)


def flows_for(table, key, candidates, each=8):
    """For each queue of the indirection table, those of the candidates, pairs of a flow and what is hashed of it, that come to it.

    The kernel draws the key anew at every boot. A few fixed flows that differ in few bits would now and then all come to one queue.
    """
    flows = {queue: [] for queue in sorted(set(table))}
    for flow, hashed in candidates:
        of_queue = flows[table[toeplitz(key, hashed) % len(table)]]
        if len(of_queue) < each:
            of_queue.append(flow)
        if all(len(of_queue) == each for of_queue in flows.values()):
            break
    return flows


def spread(b, flows, frames, script, spare=3):
    """Has the far end send `frames` frames of each flow, and compares what the queues received. `spare` frames more may come to a queue."""
    before = b.statistics()
    b.far("; ".join(script.format(flow) for of_queue in flows.values() for flow in of_queue), timeout=60)
    grown = b.grown(before)
    expected = {queue: frames * len(of_queue) for queue, of_queue in flows.items()}
    seen = {queue: grown.get(f"rx_queue_{queue}_packets", 0) for queue in expected}
    check(not grown.get("fdir_match"), f"{grown.get('fdir_match')} frames went where the flow director says, not where their hash does")
    # ARP is not hashed and comes to queue 0.
    wrong = [q for q in expected if seen[q] < expected[q] or q != 0 and seen[q] > expected[q] + spare]
    check(not wrong, f"by the hash {expected}, seen {seen}")
    return f"{sum(expected.values())} frames of {sum(map(len, flows.values()))} flows: by the hash {expected}, seen {seen}"


@capability("rss", "x540", "x550")
def rss(b):
    """echo requests spread over the receive queues as the Toeplitz hash of their addresses says"""
    addresses = (f"10.9.{upper}.{lower}" for upper in range(1, 255) for lower in range(1, 255))
    flows = flows_for(*indirection(b, 2), ((address, packed(address, NEAR)) for address in addresses))
    used = [address for of_queue in flows.values() for address in of_queue]
    b.far("; ".join(f"ip addr add {address}/32 dev {b.far_name}" for address in used))
    b.near("ip route add 10.9.0.0/16 dev $if")
    try:
        return spread(b, flows, 5, f"ping -q -c 5 -i 0.02 -I {{}} {NEAR}")
    finally:
        b.near("ip route del 10.9.0.0/16 dev $if")
        b.far("; ".join(f"ip addr del {address}/32 dev {b.far_name}" for address in used))


@capability("rss-tcp", "x540", "x550")
def rss_tcp(b, queues=2):
    """TCP's first segments spread over the receive queues as the Toeplitz hash of their addresses and ports says"""
    # Of the two ports the kernel takes the lower where it is free.
    source = next(SOURCES)
    both = packed(FAR, NEAR) + source.to_bytes(2, "big")
    ports = ((port, both + port.to_bytes(2, "big")) for port in range(1024, 65536))
    flows = flows_for(*indirection(b, queues), ports, each=16)
    usual = b.far("cat /proc/sys/net/ipv4/ip_local_port_range").split()
    b.far(f"echo {source} {source + 1} >/proc/sys/net/ipv4/ip_local_port_range")
    try:
        # Nothing listens at the near end: each flow is one segment, and one to refuse it.
        return spread(b, flows, 1, f"nc -w 3 {NEAR} {{}} 2>/dev/null && exit 1; true")
    finally:
        b.far(f"echo {' '.join(usual)} >/proc/sys/net/ipv4/ip_local_port_range")


@capability("rss-ipv6", "x540", "x550")
def rss_ipv6(b):
    """echo requests over IPv6 spread over the receive queues as the Toeplitz hash of their addresses says"""
    packed6 = lambda *addresses: b"".join(ipaddress.IPv6Address(address).packed for address in addresses)
    addresses = (f"fd00:9:{upper:x}::{lower:x}" for upper in range(1, 255) for lower in range(1, 255))
    flows = flows_for(*indirection(b, 2), ((address, packed6(address, NEAR6)) for address in addresses))
    used = [address for of_queue in flows.values() for address in of_queue]
    b.far("; ".join(f"ip addr add {address}/128 dev {b.far_name}" for address in used))
    b.near("ip -6 route add fd00:9::/32 dev $if")
    try:
        # Neighbours look for each other once a flow, with the same addresses.
        return spread(b, flows, 10, f"ping -6 -q -c 10 -i 0.02 -I {{}} {NEAR6}", spare=3 + 2 * len(used))
    finally:
        b.near("ip -6 route del fd00:9::/32 dev $if")
        b.far("; ".join(f"ip addr del {address}/128 dev {b.far_name}" for address in used))


@capability("rss-udp", "x540", "x550")
def rss_udp(b):
    """`ethtool -N rx-flow-hash udp4`: UDP spreads by its ports where that is asked for, and otherwise by its addresses alone"""
    source, frames = 20000, 5
    table, key = indirection(b, 2)
    both = packed(FAR, NEAR)
    ports = lambda: ((port, both + source.to_bytes(2, "big") + port.to_bytes(2, "big")) for port in range(1024, 65536))
    flows = flows_for(table, key, ports())
    script = f"udp-echo send {source} {NEAR}:{{}} {frames}"
    b.expected.append("enabling UDP RSS: fragmented packets may arrive out of order")
    b.near("ethtool -N $if rx-flow-hash udp4 sdfn")
    try:
        seen = spread(b, flows, frames, script)
    finally:
        b.near("ethtool -N $if rx-flow-hash udp4 sd")
    alone = table[toeplitz(key, both) % len(table)]
    mixed = {queue: [flow for of_queue in flows.values() for flow in of_queue] if queue == alone else [] for queue in flows}
    return f"by ports: {seen}; by addresses: {spread(b, mixed, frames, script)}"


@capability("rss-set", "x540", "x550")
def rss_set(b):
    """`ethtool -X`: another key and unequal shares, shown again as they were set, and flows go where these say"""
    before = indirection(b, 2)
    key = bytes((number * 37 + 11) % 256 for number in range(40))
    try:
        for shares in ("3 1", "1 7"):
            b.near(f"ethtool -X $if hkey {key.hex(':')} weight {shares}")
            table, shown = indirection(b, 2)
            first, second = map(int, shares.split())
            check(shown == key != before[1], f"the key that was set is {key.hex()}, and {shown.hex()} is shown")
            wanted = len(table) * first // (first + second)
            check(table.count(0) == wanted and table != before[0], f"{table.count(0)} of {len(table)} entries are of queue 0, not {wanted}")
            b.stream("both", count=500_000, seed=first)
            seen = rss_tcp(b)
            key = key[::-1]
    finally:
        b.near(f"ethtool -X $if hkey {before[1].hex(':')}; ethtool -X $if default", check=False)
    check(indirection(b, 2) == before, "the table and key of before do not come back")
    return f"shares 3:1 and 1:7, two keys; {seen}"
