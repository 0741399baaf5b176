"""barewire's own ixgbe on the simulated 82599 in a guest: guest vfio-pci on QEMU's vfio-user device, behind a virtual IOMMU.

The same model that Linux's ixgbe judges, reached as a real card is: the guest's IOMMU maps what the driver lends, QEMU passes
each mapping on to the process that simulates the card, and that process reaches nothing else."""

import json
import re

from harness import commands
from harness.bench import FAR, NEAR
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

GROUP = "own-on-sim"
FRAMES = 5000


def _respond(guest, port, interrupts=False):
    address = guest.ports[port].address
    guest.run(f"bind_driver {address} vfio-pci")
    return guest.start("respond", commands.respond(address, interrupts))


def _clean(guest, port, before=()):
    """No DMA but to what was mapped, as the IOMMU saw it, and nothing that the datasheet forbids, as the card saw it; but for what it saw `before`."""
    faults = [line for line in guest.kernel_log().splitlines() if re.search(r"DMAR:.*fault|vfio.*(fail|error)|BUG|WARNING", line)]
    check(not faults, f"the guest's kernel: {faults[:4]}")
    violations = guest.ports[port].violations()[len(before) :]
    check(not violations, f"the card: {violations[:4]}")


def _frames(lab, guest, interrupts=False):
    """Frames from the host, all answered and equal; then a clean end. Returns what was seen, and how many interrupts came."""
    program = _respond(guest, "host", interrupts)
    peer, responder = lab.peer(guest, "host"), lab.responder(guest, "host")
    answering(program, peer, responder)
    report = Exchange(peer, responder, ("arp", "icmp", "udp", "icmp", "udp")).run(FRAMES)
    count = int(guest.run(f"interrupt_count {guest.ports['host'].address}"))
    stopped(program)
    _clean(guest, "host")
    return f"{report}, no DMAR fault, no violation", count


@test(f"{GROUP}/frames", needs=["barewire", "respond"])
def frames(lab):
    """guest vfio-pci (6.1, group) behind the virtual IOMMU: 5,000 frames from the host answered by our ixgbe"""
    return _frames(lab, lab.guest("own"))[0]


@test(f"{GROUP}/interrupts", needs=["barewire", "respond"])
def interrupts(lab):
    """the same with MSI-X: from the card through QEMU and interrupt remapping to an eventfd in the guest"""
    report, count = _frames(lab, lab.guest("own"), interrupts=True)
    check(count > 0, f"{report}, but no interrupt came")
    return f"{report}, {count} interrupts"


@test(f"{GROUP}/iommufd", needs=["barewire", "respond"])
def iommufd(lab):
    """guest vfio-pci by device node and iommufd (6.12): the same 5,000 frames"""
    return _frames(lab, lab.guest("own-iommufd"))[0]


@test(f"{GROUP}/ping", needs=["barewire", "respond"])
def ping(lab):
    """Linux's own stack at the other end of the wire: pings of 0 to 1472 bytes and UDP, answered by our ixgbe"""
    guest = lab.guest("own")
    program = _respond(guest, "near")
    far = guest.run(f"interface_of {guest.ports['far'].address}; true").strip()
    guest.run(f"ip link set {far} up; ip addr add {FAR}/24 dev {far}")
    try:
        guest.run(f"until ping -q -c 1 -W 1 {NEAR}; do :; done")
        for size in (0, 1, 18, 56, 219, 512, 1000, 1471, 1472):
            status, output = guest.run(f"pings 20 -W 3 -s {size} {NEAR}", timeout=60, check=False)
            check(status == 0, f"{size} bytes: {output.strip()[-200:]}")
        echoed = guest.run(f"udp-echo ask {NEAR}:7 500", timeout=60).strip()
    finally:
        guest.run(f"ip addr flush dev {far}")
    stopped(program)
    _clean(guest, "near")
    return f"180 pings of 9 sizes, {echoed}"


@test(f"{GROUP}/detach", needs=["barewire", "respond"])
def detach(lab):
    """after our driver is gone, Linux's ixgbe takes the same card over, and gives it back"""
    guest = lab.guest("own")
    address, earlier = guest.ports["near"].address, guest.ports["near"].violations()
    program = _respond(guest, "near")
    program.wait_output("answering|10.9.0.2")
    stopped(program)
    _clean(guest, "near", earlier)
    far = guest.run(f"interface_of {guest.ports['far'].address}; true").strip()
    guest.run(f"modprobe ixgbe; bind_driver {address} ixgbe", timeout=60)
    near = guest.run(f"interface_of {address}; true").strip()
    holder = guest.run("new_namespace").strip()
    guest.run(f"ip link set {far} netns {holder}")
    guest.run(f"nsenter -t {holder} -n sh -c 'ip link set {far} up; ip addr add {FAR}/24 dev {far}'")
    guest.run(f"ip link set {near} up; ip addr add {NEAR}/24 dev {near}; until ping -q -c 1 -W 1 {FAR}; do :; done", timeout=30)
    guest.run(f"flood 20 -s 1000 {FAR}", timeout=40)
    linux = guest.ports["near"].violations()
    # The interface comes back to where the harness's pings are from.
    guest.run(f"ip link set {near} down; end {holder}; until interface_of {guest.ports['far'].address} | grep -q .; do usleep 10000; done")
    program = _respond(guest, "near")
    program.wait_output("answering|10.9.0.2")
    far = guest.run(f"interface_of {guest.ports['far'].address}").strip()
    guest.run(f"ip link set {far} up; ip addr add {FAR}/24 dev {far}")
    try:
        guest.run(f"until ping -q -c 1 -W 1 {NEAR}; do :; done; pings 20 -W 10 {NEAR}", timeout=60)
    finally:
        guest.run(f"ip addr flush dev {far}")
    stopped(program)
    _clean(guest, "near", linux)
    return "respond, then Linux's ixgbe (20 pings answered), then respond again (20 more)"


@test(f"{GROUP}/tool", needs=["barewire"])
def tool(lab):
    """`barewire selftest`, `dump`, `stats`, `eeprom` and `module` of the simulated 82599 as a guest's card, behind the virtual IOMMU"""
    guest = lab.guest("own")
    address, before = guest.ports["host"].address, guest.ports["host"].violations()
    guest.run(f"bind_driver {address} vfio-pci")
    ask = lambda line: json.loads(guest.run(commands.tool(f"{line} --json 2>/dev/null"), timeout=120))  # noqa: E731
    found = ask(f"selftest {address}")
    parts = {part["part"]: part["outcome"] for part in found["parts"]}
    check(found["good"] and set(parts.values()) == {"passed"} and len(parts) == 5, f"`selftest` finds {found}")
    registers = {register["name"]: register["fields"] for register in ask(f"dump {address}")["registers"]}
    check(registers["RXCTRL"]["RXEN"] == registers["DMATXCTL"]["TE"] == registers["LINKS"]["LINK_UP"] == 1, f"`dump` shows {registers['LINKS']}")
    counters = ask(f"stats {address} --all --seconds 0.5")
    check(counters["stats"]["rx_errors"] == 0 and len(counters["xstats"]) > 100, f"`stats` counts {counters['stats']}")
    words = ask(f"eeprom {address}")
    check(words["checksum"]["good"] and words["words"][0x2D] == 0x10FB, f"`eeprom` reads {words['checksum']}")
    kind = ask(f"module {address}")["kind"]
    check(kind == "10GBASE-SR", f"`module` says {kind}")
    _clean(guest, "host", before)
    texts = "; ".join(part["text"] for part in found["parts"])
    return f"{texts}; {len(registers)} registers, {len(counters['xstats'])} counters, {len(words['words'])} words, {kind}; no DMAR fault, no violation"


# How Linux's `ethtool -S` calls what our `xstats` count. Of frames of 1,518 bytes and less both count all that the filter lets through.
ETHTOOL = {
    "rx_pkts_nic": "rx_good_packets",
    "rx_bytes_nic": "rx_good_octets",
    "broadcast": "rx_broadcast_packets",
    "rx_long_length_errors": "rx_oversize_errors",
    "rx_short_length_errors": "rx_undersize_errors",
    "rx_length_errors": "rx_length_field_errors",
    "rx_crc_errors": "rx_crc_errors",
    "rx_no_dma_resources": "rx_q0_dropped",
    "rx_flow_control_xon": "rx_xon_packets",
    "rx_flow_control_xoff": "rx_xoff_packets",
    "fdir_match": "flow_director_matched_filters",
}


@test(f"{GROUP}/xstats", needs=["barewire"])
def xstats(lab):
    """the same frames at the same card under Linux's ixgbe and under ours: `ethtool -S` and `barewire stats --all` count the same, name by name"""
    guest = lab.guest("own")
    address, mac = guest.ports["near"].address, guest.ports["near"].mac
    far = guest.run(f"interface_of {guest.ports['far'].address}; true").strip()
    holder = guest.run("new_namespace").strip()
    guest.run(f"ip link set {far} netns {holder}")
    inside = f"nsenter -t {holder} -n sh -c"
    # Nothing but what is sent on purpose: no IPv6, no question for an address.
    quiet = f"sysctl -qw net.ipv6.conf.{far}.disable_ipv6=1; ip link set {far} mtu 9000 up; ip addr add {FAR}/24 dev {far}; arp -i {far} -s {NEAR} {mac}"
    guest.run(f"{inside} '{quiet}'")
    sent = ((7, 18, NEAR), (11, 400, NEAR), (13, 1472, NEAR), (5, 3000, NEAR), (9, 100, "10.9.0.255"))
    send = "; ".join(f"ping -q -c {count} -i 0.02 -W 1 -s {size} {to}" for count, size, to in sent)
    try:
        guest.run(f"modprobe ixgbe; bind_driver {address} ixgbe", timeout=60)
        near = guest.run(f"interface_of {address}; true").strip()
        counters = lambda: {name: int(value) for name, value in re.findall(r"^\s*(\S+): (\d+)$", guest.run(f"ethtool -S {near}"), re.MULTILINE)}  # noqa: E731
        guest.run(f"sysctl -qw net.ipv6.conf.{near}.disable_ipv6=1; ip link set {near} up; until [ \"$(cat /sys/class/net/{near}/carrier)\" = 1 ]; do usleep 10000; done")
        old = counters()
        guest.run(f"{inside} '{send}' || true", timeout=60)
        # Linux reads its counters every two seconds, and at each question.
        linux = {ours: value - old[name] for name, value in counters().items() if (ours := ETHTOOL.get(name))}
        guest.run(f"ip link set {near} down; bind_driver {address} vfio-pci")
        before = guest.ports["near"].violations()
        program = guest.start("stats", f"env RUST_LOG=info {commands.tool(f'stats {address} --all --json --seconds 15')}")
        program.wait_output("Intel 82599")
        guest.run(f"sleep 2; {inside} '{send}' || true", timeout=60)
        text = program.wait_output(r"^\{[^\0]*^\}", timeout=40).group()
    finally:
        guest.run(f"end {holder}; until interface_of {guest.ports['far'].address} | grep -q .; do usleep 10000; done")
    own = json.loads(text)
    ours = {name: own["xstats"][name] for name in linux}
    check(linux == ours, f"Linux counts {linux}, we count {ours}")
    wanted = {"rx_good_packets": 7 + 11 + 13 + 9, "rx_broadcast_packets": 9, "rx_oversize_errors": 5}
    check(all(linux[name] == count for name, count in wanted.items()), f"{linux}, where {wanted} were sent")
    check(own["stats"]["rx_packets"] == own["xstats"]["rx_q0_packets"] == own["xstats"]["rx_q0_delivered"] == wanted["rx_good_packets"], f"{own}")
    _clean(guest, "near", before)
    return f"{len(linux)} names, {linux['rx_good_packets']} frames, {linux['rx_good_octets']} octets, {linux['rx_oversize_errors']} too long: the same"
