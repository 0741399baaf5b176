"""A card that is pulled out while the application runs."""

import time

from harness import commands
from harness.lab import answering, check, test


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
    guest.plug("hot")
    return f"status {status} with '{message}'; unplugged after {seconds:.1f} s"
