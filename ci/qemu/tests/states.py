"""What becomes of a device whose program did not ask for it, under the kernel's own VFIO: reset by root, memory decoding switched off, hung, broken, gone."""

import time

from harness import commands
from harness.lab import answering, check, test

RESET = "somebody else reset it"


def _respond(lab, guest, port, interrupts):
    address = guest.ports[port].address
    guest.run(f"bind_driver {address} vfio-pci")
    program = guest.start("respond", commands.respond(address, interrupts))
    answering(program, lab.peer(guest, port), lab.responder(guest, port))
    return address, program


def _answers_on(lab, guest, port, program, words):
    """respond runs on, says once what it was, and answers. Returns what it said."""
    peer, responder = lab.peer(guest, port), lab.responder(guest, port)
    deadline = time.monotonic() + 30
    while not [line for line in program.output().splitlines() if "was recovered" in line]:
        check(program.status() is None, f"respond ended with status {program.status()}: {program.output()[-600:]}")
        check(time.monotonic() < deadline, f"no recovery: {program.output()[-600:]}")
        peer.send(responder.arp_request(peer))
        time.sleep(0.1)
    answering(program, peer, responder)
    status, output = program.stop()
    lines = [line for line in output.splitlines() if "was recovered" in line and words in line]
    check(status == 0 and 1 <= len(lines) <= 2, f"respond ended with status {status} and says it {len(lines)} times: {output[-900:]}")
    return lines[-1]


def _reset_by_root(lab, guest, port):
    """Polling, and asleep until an interrupt."""
    for interrupts in (False, True):
        address, program = _respond(lab, guest, port, interrupts)
        guest.run(f"echo 1 >/sys/bus/pci/devices/{address}/reset")
        message = _answers_on(lab, guest, port, program, RESET)
    return f"'{message}', and it answers on, polling and by interrupts"


@test("foreign-reset", needs=["respond"])
def foreign_reset(lab):
    """`echo 1 > reset` by root under a virtio card that runs: it is set up as it was, respond says so and answers on"""
    return _reset_by_root(lab, lab.guest("group"), "hot")


@test("foreign-reset-ixgbe", needs=["barewire", "respond"])
def foreign_reset_ixgbe(lab):
    """the same under the simulated 82599 behind the kernel's VFIO"""
    return _reset_by_root(lab, lab.guest("own"), "host")


@test("decoding-off", needs=["respond"])
def decoding_off(lab):
    """memory decoding switched off by root, bus mastering left: it is turned on again, respond says so and answers on"""
    guest = lab.guest("group")
    address, program = _respond(lab, guest, "n0", False)
    config = f"/sys/bus/pci/devices/{address}/config"
    # The Command register: Bus Master Enable alone.
    guest.run(f"printf '\\004\\000' | dd of={config} bs=1 seek=4 conv=notrunc 2>/dev/null")
    return f"'{_answers_on(lab, guest, 'n0', program, RESET)}', and it answers on"


def _mishap(lab, port, what):
    """Something happens to a simulated card under respond, and frames go on to arrive. Returns the program when it has been told."""
    guest = lab.guest("own-doomed")
    _, program = _respond(lab, guest, port, False)
    guest.ports[port].tell(f"mishap {what}")
    return guest, program


def _told(lab, port, what, words):
    """respond ends with status 1 and says why, once; opened again, the card is well."""
    guest, program = _mishap(lab, port, what)
    peer, responder = lab.peer(guest, port), lab.responder(guest, port)
    deadline = time.monotonic() + 30
    while program.status() is None:
        check(time.monotonic() < deadline, f"respond runs on: {program.output()[-600:]}")
        peer.send(responder.arp_request(peer))
        time.sleep(0.1)
    status, output = program.wait()
    lines = [line for line in output.splitlines() if words in line]
    check(status == 1 and 1 <= len(lines) <= 2, f"respond ended with status {status} and says it {len(lines)} times: {output[-900:]}")
    _, program = _respond(lab, guest, port, False)
    status, output = program.stop()
    check(status == 0, f"opened again, respond ended with status {status}: {output[-600:]}")
    return f"'{lines[-1]}'; opened again, it answers"


def _recovered(lab, port, what, words):
    """respond runs on, says once what it was, and answers."""
    guest, program = _mishap(lab, port, what)
    return f"'{_answers_on(lab, guest, port, program, words)}', and it answers on"


@test("hang-ixgbe", needs=["barewire", "respond"])
def hang_ixgbe(lab):
    """a simulated 82599 behind the kernel's VFIO whose transmitter hangs: it is reset and set up as it was, respond says so and answers on"""
    return _recovered(lab, "ixgbe", "hang", "transmit queue 0 hung")


@test("memory-error-ixgbe", needs=["barewire", "respond"])
def memory_error_ixgbe(lab):
    """the same with one that reports an uncorrectable error of its memory"""
    return _recovered(lab, "ixgbe", "memory-error", "EICR.ECC")


@test("hang-virtio", needs=["barewire", "respond"])
def hang_virtio(lab):
    """a simulated virtio card behind the kernel's VFIO whose transmitter hangs: it is reset and set up as it was, respond says so and answers on"""
    return _recovered(lab, "virtio", "hang", "transmit queue 0 hung")


@test("broken-ixgbe", needs=["barewire", "respond"])
def broken_ixgbe(lab):
    """the same with an 82599 that reports more bytes than a buffer holds"""
    return _told(lab, "ixgbe", "lie", "receive queue 0 is broken")


@test("broken-virtio", needs=["barewire", "respond"])
def broken_virtio(lab):
    """the same with a virtio card that uses a buffer which there is not"""
    return _told(lab, "virtio", "lie", "receive queue 0 is broken")


@test("needs-reset", needs=["barewire", "respond"])
def needs_reset(lab):
    """a simulated virtio card that asks for a reset gets one, and respond answers on"""
    return _recovered(lab, "virtio", "needs-reset", "asked for a reset")


GONE = "does not answer any more"


def _vanish(lab, port):
    """A simulated card vanishes for good under respond, and the guest goes with this test."""
    guest, program = _mishap(lab, port, "vanish")
    guest.trusted = False
    program.wait_output(GONE)
    return guest, program


@test("gone-virtio", needs=["barewire", "respond"])
def gone_virtio(lab):
    """a simulated virtio card behind the kernel's VFIO that vanishes: respond says so and ends with status 1"""
    _, program = _vanish(lab, "virtio")
    status, output = program.wait(10)
    check(status == 1, f"respond ended with status {status}: {output[-600:]}")
    return f"'{output.strip().splitlines()[-1]}'"


@test("gone-ixgbe", needs=["barewire", "respond"])
def gone_ixgbe(lab):
    """the same with a simulated 82599, which has a function-level reset: respond asks for none, and the kernel's own, when the last descriptor closes, takes it a minute"""
    guest, program = _vanish(lab, "ixgbe")
    deadline = time.monotonic() + 15
    while program.status() is None:
        stack = guest.run(f"cat /proc/{program.pid}/stack")
        if "vfio_pci_core_disable" in stack:
            return "told at once; what is left is the kernel's wait for the function after vfio_pci_core_disable"
        check(time.monotonic() < deadline, f"respond is kept elsewhere: {stack}")
        time.sleep(0.2)
    status, output = program.wait()
    check(status == 1, f"respond ended with status {status}: {output[-600:]}")
    return f"'{output.strip().splitlines()[-1]}'"
