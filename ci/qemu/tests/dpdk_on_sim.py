"""The simulated virtio card under DPDK's testpmd, whose driver of virtio cards is nothing of ours: polling, behind a virtual IOMMU, split and packed queues."""

from harness.lab import check, test
from tests.forward import crossing
from tests.testpmd import forwarding, made_ready

# Ports of the guest `dpdk-on-sim`, two a layout: each forwards what the other receives.
PAIRS = {kind: (f"left{kind}", f"right{kind}") for kind in ("", "-packed", "-in-order", "-split-in-order")}
# What that driver does and the specification forbids; the card says so and works on: it reads every field of the device configuration byte by byte, and sends what it received with
# the header that it came with, whose num_buffers is 1.
VIOLATIONS = {
    "an access of another width than the field's",
    "the device configuration is read in a wrong way or too early",
    "num_buffers of a transmitted frame is not zero",
}
# And of a kind of card: over split queues in order its commands all begin at the same descriptors.
FURTHER = {"-split-in-order": {"a chain does not begin behind the last one, in order"}}


def _testpmd(lab, kind, pair):
    guest = lab.guest("dpdk-on-sim")
    ports = [guest.ports[name] for name in pair]
    addresses = [port.address for port in ports]
    made_ready(guest, addresses)
    with forwarding(guest, addresses) as program:
        seen = crossing(program, *(lab.peer(guest, name) for name in pair))
        guest.run("(echo stop; echo show port info all; echo quit) >/run/words")
        output = program.wait(timeout=60)[1]
    check(output.count("Driver name: net_virtio") == 2, f"the ports are driven by: {output[-800:]}")
    kinds = set().union(*(port.violation_kinds() for port in ports))
    check(kinds == VIOLATIONS | FURTHER.get(kind, set()), f"what the specification forbids: {sorted(kinds)}")
    return f"{seen}; {len(kinds)} kinds of what the specification forbids, as listed"


def _register(suffix, pair):
    def run(lab):
        return _testpmd(lab, suffix, pair)

    run.__doc__ = f"testpmd forwards between two simulated virtio cards{suffix.replace('-', ', ', 1)}, 20,000 checksummed frames each way at once: none lost, changed or out of order"
    test(f"dpdk-on-sim{suffix}", needs=["barewire"])(run)


for _suffix, _pair in PAIRS.items():
    _register(_suffix, _pair)
