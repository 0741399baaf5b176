"""The simulated 82599 under ixy.rs, whose driver another project publishes as the library ixgbe-driver: physical addresses, polling, one queue, no IOMMU.

The program around it, and nothing but that, is this project's: `../ixy`."""

from harness import provide
from harness.lab import check, test
from tests.forward import crossing

# What that driver does and the datasheet forbids; the card says so and works on.
VIOLATIONS = {
    "RXEN was set while the receive data path was not halted by SECRXCTRL.RX_DIS",
    "a ring was changed while its queue is enabled",
}


@test("ixy-on-sim", needs=["barewire", provide.IXY])
def ixy(lab):
    """ixy.rs between two simulated cards, 20,000 checksummed frames each way at once: none lost, changed or out of order; then once more, on cards that ran"""
    guest = lab.guest("ixy")
    seen = []
    for _ in range(2):
        program = guest.start("ixy", f"{provide.IXY} {guest.ports['left'].address} {guest.ports['right'].address}")
        program.wait_output("Mbit/s[^$]*Mbit/s", timeout=60)
        seen.append(crossing(program, lab.peer(guest, "left"), lab.peer(guest, "right")))
        speeds = program.output()
        check(speeds.count("10000 Mbit/s") == 2, f"the links: {speeds}")
        program.stop()
    kinds = guest.ports["left"].violation_kinds() | guest.ports["right"].violation_kinds()
    check(kinds == VIOLATIONS, f"what the datasheet forbids: {sorted(kinds)}")
    return f"{'; again: '.join(seen)}; {len(kinds)} kinds of what the datasheet forbids, as listed"
