"""What becomes of a device whose program did not ask for it, under the kernel's own VFIO: reset by root, or its memory decoding switched off."""

from harness import commands
from harness.lab import answering, check, test

RESET = "was reset by somebody else"


def _ends(program, *, within=10):
    """The program says once what happened, and ends with an error in time."""
    status, output = program.wait(within)
    check(status == 1, f"the device was taken from respond, which ended with status {status}: {output[-600:]}")
    check(RESET in output, f"respond does not say what happened: {output[-600:]}")
    lines = [line for line in output.splitlines() if RESET in line]
    check(len(lines) <= 2, f"it is said {len(lines)} times: {lines[:3]}")
    return output.strip().splitlines()[-1]


def _respond(lab, guest, port, interrupts):
    address = guest.ports[port].address
    guest.run(f"bind_driver {address} vfio-pci")
    program = guest.start("respond", commands.respond(address, interrupts))
    answering(program, lab.peer(guest, port), lab.responder(guest, port))
    return address, program


def _reset_by_root(lab, guest, port):
    """Polling, and asleep until an interrupt; then a new start on the same device works."""
    for interrupts in (False, True):
        address, program = _respond(lab, guest, port, interrupts)
        guest.run(f"echo 1 >/sys/bus/pci/devices/{address}/reset")
        message = _ends(program)
    _, program = _respond(lab, guest, port, False)
    status, output = program.stop()
    check(status == 0, f"opened again, respond ended with status {status}: {output[-600:]}")
    return f"'{message}', polling and by interrupts; opened again, it answers"


@test("foreign-reset", needs=["respond"])
def foreign_reset(lab):
    """`echo 1 > reset` by root under a virtio card that runs: respond says so and ends with status 1, and starts again"""
    return _reset_by_root(lab, lab.guest("group"), "hot")


@test("foreign-reset-ixgbe", needs=["barewire", "respond"])
def foreign_reset_ixgbe(lab):
    """the same under the simulated 82599 behind the kernel's VFIO"""
    return _reset_by_root(lab, lab.guest("own"), "host")


@test("decoding-off", needs=["respond"])
def decoding_off(lab):
    """memory decoding switched off by root, bus mastering left: told as a reset, and a new start works"""
    guest = lab.guest("group")
    address, program = _respond(lab, guest, "n0", False)
    config = f"/sys/bus/pci/devices/{address}/config"
    # The Command register: Bus Master Enable alone.
    guest.run(f"printf '\\004\\000' | dd of={config} bs=1 seek=4 conv=notrunc 2>/dev/null")
    message = _ends(program)
    _, program = _respond(lab, guest, "n0", False)
    status, output = program.stop()
    check(status == 0, f"opened again, respond ended with status {status}: {output[-600:]}")
    return f"'{message}'; opened again, it answers"
