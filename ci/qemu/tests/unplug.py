"""A card that is pulled out while the application runs."""

import re
import time

from harness import commands
from harness.lab import answering, check, test


UNPLUGS = 3
# What a process may grow by that keeps nothing: a region is 4400 KiB long.
GROWTH_KIB = 1000


@test("unplug", needs=["respond"])
def unplug(lab):
    """`device_del` on a running card: respond says so and ends, nothing hangs, the card is gone from the guest"""
    guest = lab.guest("group")
    address = guest.ports["hot"].address
    guest.run(f"bind_driver {address} vfio-pci")
    peer, responder = lab.peer(guest, "hot"), lab.responder(guest, "hot")
    program = guest.start("respond", commands.respond(address, interrupts=True))
    answering(program, peer, responder)
    start = time.monotonic()
    guest.qmp.execute("device_del", id="hot")
    status, output = program.wait(30)
    check(status not in (0, 101), f"the card was pulled out, and respond ended with status {status}: {output[-600:]}")
    message = output.strip().splitlines()[-1] if output.strip() else ""
    check(commands.says(commands.UNPLUGGED, output), f"respond does not say that the card is gone: {output[-600:]}")
    guest.qmp.wait_event("DEVICE_DELETED", 30, device="hot")
    seconds = time.monotonic() - start
    guest.run(f"! test -e /sys/bus/pci/devices/{address}")
    log = guest.kernel_log()
    check("Call Trace" not in log, f"the guest's kernel complains: {log[-900:]}")
    # What was mapped went with the card: nothing is kept, and nobody is told so.
    check("is kept" not in output and "unmapping" not in output, f"respond says that memory is kept: {output[-600:]}")
    guest.plug("hot")
    return f"status {status} with '{message}'; unplugged after {seconds:.1f} s"


@test("unplug-leaks-nothing", needs=["outlives"])
def unplug_leaks_nothing(lab):
    """a process that lives on while its card is pulled out and put back, three times, in one domain: nothing is kept, and nothing false is logged"""
    guest = lab.guest("group")
    address = guest.ports["hot"].address
    guest.run(f"bind_driver {address} vfio-pci")
    program = guest.start("outlives", f"outlives {address} {UNPLUGS}")
    held = []
    for number in range(1, UNPLUGS + 1):
        program.wait_output(f"round {number}: open", 30)
        guest.qmp.execute("device_del", id="hot")
        match = program.wait_output(rf"round {number}: gone, (\d+) KiB locked, (\d+) KiB resident", 60)
        held.append((int(match.group(1)), int(match.group(2))))
        guest.qmp.wait_event("DEVICE_DELETED", 30, device="hot")
        guest.plug("hot")
        if number < UNPLUGS:
            guest.run(f"bind_driver {address} vfio-pci")
    status, output = program.wait()
    check(status == 0, f"outlives ended with status {status}: {output[-600:]}")
    logged = re.findall(r"^(?:ERROR|WARN): .*", output, re.MULTILINE)
    check(not [line for line in logged if "huge pages" not in line], f"something was logged: {logged}")
    check(not any(locked for locked, _ in held), f"memory stays locked: {held}")
    check(held[-1][1] - held[0][1] < GROWTH_KIB, f"the process grows: {held}")
    return f"after each of {UNPLUGS}: " + ", ".join(f"{locked} KiB locked and {resident} resident" for locked, resident in held)
