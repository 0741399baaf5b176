"""A machine that remaps no interrupts, and a card that has one."""

import json
import re

from harness import commands
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

# How vfio-pci is reached, and the kernel module that decides on that way whether a device is lent out all the same.
WAYS = {"group": "vfio_iommu_type1", "iommufd": "iommufd"}
FRAMES = 100
# Longer than a busy queue is polled for.
GAP_SECONDS = 0.02


def _check_of(guest, address):
    """The check of interrupts that `doctor` makes, and its exit status."""
    status, output = guest.run(commands.tool(f"doctor {address} --json"), check=False)
    return next(entry for entry in json.loads(output) if entry["name"] == "interrupts"), status


@test("no-remapping", needs=["barewire"])
def no_remapping(lab):
    """intremap=off: the doctor is red, opening names the cause and the module's parameter by group and by iommufd, and the parameter mends it"""
    guest = lab.guest("no-remapping")
    address = guest.ports["n0"].address
    guest.run(f"bind_driver {address} vfio-pci")
    for module in WAYS.values():
        guest.run(f"echo 0 >/sys/module/{module}/parameters/allow_unsafe_interrupts")
    seen, status = _check_of(guest, address)
    check((seen["verdict"], status) == ("red", 1), f"`doctor` ends with {status}, and says: {seen}")
    check(commands.says(commands.NO_REMAPPING, seen["cause"]), f"`doctor` does not name the cause: {seen}")
    steps = []
    for way, module in WAYS.items():
        info = commands.tool(f"info {commands.spec(address, way)}")
        status, output = guest.run(info, check=False)
        check(status == 1 and commands.says(commands.NO_REMAPPING, output), f"{way}: status {status}, and the cause is not named: {output}")
        remedy = re.search(r"echo 1 > (\S+)", output)
        parameter = f"/sys/module/{module}/parameters/allow_unsafe_interrupts"
        check(remedy and remedy.group(1) == parameter, f"{way}: {parameter} is not named: {output}")
        steps.append(f"{way}: {re.search(r'[^:]*: nothing remaps', output).group(0).rsplit(':', 1)[0].strip()}")
        guest.run(remedy.group(0))
        guest.run(info)
    seen, status = _check_of(guest, address)
    check((seen["verdict"], status) == ("green", 0), f"with both allowed `doctor` ends with {status}, and says: {seen}")
    return f"'{seen['cause']}' at the end; refused at {'; '.join(steps)}"


@test("one-vector", needs=["respond"])
def one_vector(lab):
    """a card with one interrupt vector: it serves the queue and the link, and respond sleeps until it fires"""
    guest = lab.guest("no-remapping")
    address = guest.ports["lone"].address
    guest.run(f"echo 1 >/sys/module/iommufd/parameters/allow_unsafe_interrupts; bind_driver {address} vfio-pci")
    peer, responder = lab.peer(guest, "lone"), lab.responder(guest, "lone")
    program = guest.start("respond", commands.respond(address, interrupts=True))
    answering(program, peer, responder)
    report = Exchange(peer, responder, ("icmp", "udp")).run(FRAMES, window=1, gap=GAP_SECONDS)
    fired = int(guest.run(f"interrupt_count {address}"))
    check(fired >= FRAMES // 2, f"{FRAMES} lone frames made only {fired} interrupts: respond does not sleep")
    stopped(program)
    return f"{report}, {fired} interrupts"
