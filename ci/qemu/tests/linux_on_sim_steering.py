"""The simulated card under Linux's own ixgbe: rules of `ethtool -N` and `tc`, which are flow director's perfect filters, and the filters by hash that the driver adds for its own flows."""

import re

from harness.bench import FAR, NEAR, capability
from harness.lab import check

# Datagrams of one flow that are sent, and how many frames beside them a queue may receive meanwhile (neighbours, ARP).
FRAMES, SPARE = 20, 5
SOURCE, PORT = 20000, 9


def _counts(b, script):
    """What each queue received, and the stack, while the far end ran a script."""
    before = b.statistics()
    b.far(script, timeout=60, check=False)
    grown = b.grown(before)
    return [grown.get(f"rx_queue_{queue}_packets", 0) for queue in (0, 1)]


def _udp(source=SOURCE, port=PORT, to=NEAR):
    return f"udp-echo send {source} {to}:{port} {FRAMES}"


def _landed(counts):
    """The queue that received the datagrams; none where they were dropped."""
    there = [queue for queue, count in enumerate(counts) if count >= FRAMES]
    check(len(there) < 2 and all(count <= SPARE or count >= FRAMES for count in counts), f"neither all nor none: {counts}")
    return there[0] if there else None


def _listed(b):
    """The rules that `ethtool -n` shows, by their numbers."""
    text = b.near("ethtool -n $if")
    rules = re.split(r"^Filter: ", text, flags=re.MULTILINE)[1:]
    check(f"Total {len(rules)} rules" in text, text)
    return {int(rule.split()[0]): " ".join(rule.split()[1:]) for rule in rules}


def _add(b, spec):
    text = b.near(f"ethtool -N $if {spec}", check=False)[1]
    # ethtool's status does not tell: it is 0 where the kernel says no.
    found = re.search(r"Added rule with ID (\d+)", text)
    check(found, f"{spec}: {text}")
    return int(found[1])


def _with_rules(b, work):
    """Runs `work` while the driver has perfect filters instead of those by hash."""
    b.near("ethtool -K $if ntuple on", timeout=60)
    try:
        b.wait_carrier(1)
        b.ping(56, count=2)
        return work()
    finally:
        b.near("ethtool -K $if ntuple off", timeout=60)
        b.wait_carrier(1)


def _other(b):
    """The queue that the datagrams' hash does not lead to."""
    return 1 - _landed(_counts(b, _udp()))


# What ethtool is asked for, what matches it, and what does not, by one field.
RULES = [
    (f"udp4 dst-port {PORT}", [_udp(), _udp(source=7)], [_udp(port=10), _udp(port=PORT + 256)]),
    (f"udp4 src-port {SOURCE}", [_udp(), _udp(port=77)], [_udp(source=20001)]),
    (f"udp4 src-ip {FAR} dst-ip {NEAR} src-port {SOURCE} dst-port {PORT}", [_udp()], [_udp(source=1), _udp(port=1)]),
    (f"udp4 src-ip 10.9.0.0 m 0.0.0.255 dst-port {PORT} m 0x00ff", [_udp(), _udp(port=200)], [_udp(port=300)]),
    (f"ip4 src-ip {FAR}", [_udp(), _udp(1, 2)], []),
    (f"ip4 src-ip 10.9.0.3", [], [_udp()]),
    (f"tcp4 dst-port {PORT}", [], [_udp()]),
]


@capability("steering", "x540", "x550")
def steering(b):
    """`ethtool -N`: datagrams that a rule names land on its queue, others on the one that their hash gives them; `-n` lists it until it is deleted"""

    def work():
        other = _other(b)
        usual = 1 - other
        for spec, matching, different in RULES:
            number = _add(b, f"flow-type {spec} action {other}")
            listed = _listed(b)
            check(list(listed) == [number] and f"Direct to queue {other}" in listed[number], f"{spec}: {listed}")
            seen = [_landed(_counts(b, script)) for script in matching + different]
            check(seen == [other] * len(matching) + [usual] * len(different), f"{spec}: queues {seen}, not {other} for {len(matching)} and {usual}")
            b.near(f"ethtool -N $if delete {number}")
            check(_listed(b) == {}, "a deleted rule is still listed")
            check(_landed(_counts(b, _udp())) == usual, f"{spec}: a deleted rule still steers")
        return f"{len(RULES)} rules, each alone: what they name to queue {other}, all else to {usual}"

    return _with_rules(b, work)


@capability("steering-many", "x540", "x550")
def steering_many(b):
    """`ethtool -N`: a hundred rules of one mask, to either queue and to none, steer what each names; one of another mask is refused"""

    def work():
        usual = 1 - _other(b)
        actions = [(port, [0, 1, -1][port % 3]) for port in range(1000, 1100)]
        numbers = {port: _add(b, f"flow-type udp4 dst-port {port} action {action}") for port, action in actions}
        check(len(_listed(b)) == len(numbers), f"{len(_listed(b))} rules are listed")
        for port, action in actions[:: 9]:
            wanted = None if action < 0 else action
            seen = _landed(_counts(b, _udp(port=port)))
            check(seen == wanted, f"port {port} came to queue {seen}, not {wanted}")
        check(_landed(_counts(b, _udp(port=1100))) == usual, "what no rule names is steered")
        b.expected.append("Only one mask supported per port")
        text = b.near("ethtool -N $if flow-type udp4 src-port 9 action 0", check=False)[1]
        check("Cannot insert" in text, f"another mask was taken: {text}")
        b.near("; ".join(f"ethtool -N $if delete {number}" for number in numbers.values()), timeout=120)
        check(_listed(b) == {}, "deleted rules are still listed")
        return f"{len(numbers)} rules; another mask: {' '.join(text.split())}"

    return _with_rules(b, work)


@capability("steering-drop", "x540", "x550")
def steering_drop(b):
    """`ethtool -N` with action -1: what the rule names reaches no queue, and the rest arrives"""

    def work():
        other = _other(b)
        number = _add(b, f"flow-type udp4 dst-port {PORT} action -1")
        check("Drop" in _listed(b)[number], f"{_listed(b)}")
        seen = [_landed(_counts(b, script)) for script in (_udp(), _udp(port=10))]
        check(seen == [None, 1 - other], f"queues {seen}")
        b.ping(56)
        b.near(f"ethtool -N $if delete {number}")
        check(_landed(_counts(b, _udp())) == 1 - other, "dropped after the rule was deleted")
        return f"{FRAMES} datagrams dropped, and none once the rule was deleted"

    return _with_rules(b, work)


@capability("steering-vlan", "x540", "x550")
def steering_vlan(b):
    """`ethtool -N … vlan 7`: datagrams of that VLAN land on the queue, those without a tag do not"""

    def work():
        to = "10.9.7.2"
        b.ping(56, b.VLAN_FAR, count=2)
        usual, tagged = _landed(_counts(b, _udp())), _landed(_counts(b, _udp(to=to)))
        seen = []
        for vlan, queue in ((7, 1 - tagged), (8, 1 - tagged)):
            number = _add(b, f"flow-type udp4 dst-port {PORT} vlan {vlan} m 0xf000 action {queue}")
            seen.append([_landed(_counts(b, script)) for script in (_udp(to=to), _udp(port=10, to=to), _udp())])
            b.near(f"ethtool -N $if delete {number}")
        check(seen == [[1 - tagged, tagged, usual], [tagged, tagged, usual]], f"VLAN 7's rule and VLAN 8's: queues {seen}; without: {tagged}, {usual}")
        return f"VLAN 7 to queue {1 - tagged}; another port, VLAN 8 and no tag as without"

    return _with_rules(b, lambda: b.with_vlan(work))


@capability("steering-learned", "x540", "x550")
def steering_learned(b):
    """filters by hash, which the driver adds for the TCP flows that it sends: the card finds what comes back of them by the same two hashes"""
    before = b.statistics()
    seen = b.stream("both", count=3_000_000, seed=21)
    grown = b.grown(before)
    matched, missed = grown.get("fdir_match", 0), grown.get("fdir_miss", 0)
    check(matched > 100, f"{matched} frames matched filters of flows that the driver has sent, {missed} did not")
    datagrams = b.statistics()
    b.far(_udp())
    check(b.grown(datagrams).get("fdir_match", 0) < SPARE, "datagrams match filters of TCP flows")
    return f"{seen}; {matched} frames matched, {missed} did not"


@capability("steering-tc", "x540", "x550")
def steering_tc(b):
    """`tc filter … u32 skip_sw`: what it names is dropped by the card, and nothing else; flower the driver refuses"""
    b.near("ethtool -K $if hw-tc-offload on; iproute2-tc qdisc add dev $if ingress", timeout=60)
    try:
        b.wait_carrier(1)
        b.ping(56, count=2)
        usual = _landed(_counts(b, _udp()))
        rule = "parent ffff: protocol ip prio 99"
        b.near(f"iproute2-tc filter add dev $if {rule} handle 800:0:1 u32 ht 800: match ip src {FAR}/32 match ip dst 10.9.0.0/24 skip_sw action drop")
        check("in_hw" in b.near("iproute2-tc filter show dev $if ingress"), b.near("iproute2-tc filter show dev $if ingress"))
        before = b.statistics()
        check(_landed(_counts(b, _udp())) is None, "what the filter names is not dropped")
        dropped = b.grown(before).get("fdir_match", 0)
        check(dropped >= FRAMES, f"{dropped} frames matched")
        b.near(f"iproute2-tc filter del dev $if {rule} handle 800:0:1 u32")
        check(_landed(_counts(b, _udp())) == usual, "dropped after the filter was deleted")
        b.near(f"iproute2-tc filter add dev $if {rule} handle 800:0:2 u32 ht 800: match ip src 10.9.0.3/32 skip_sw action drop")
        check(_landed(_counts(b, _udp())) == usual, "what another filter names was dropped")
        b.near(f"iproute2-tc filter del dev $if {rule} handle 800:0:2 u32")
        status, text = b.near(f"iproute2-tc filter add dev $if {rule} flower skip_sw ip_proto udp dst_port {PORT} action drop", check=False)
        check(status != 0, f"flower was taken: {text}")
        return f"{dropped} frames dropped by the card; flower: {' '.join(text.split())}"
    finally:
        b.near("iproute2-tc qdisc del dev $if ingress; ethtool -K $if hw-tc-offload off", timeout=60, check=False)
        b.wait_carrier(1)
