"""A limit on locked memory that is too low: the first error names one that serves."""

import re

from harness import commands
from harness.lab import answering, check, stopped, test

SECONDS = 2


def _needed(guest, name, command, limit_kib):
    """Runs the command as a user with this limit, which must be too low, and returns the limit that its error asks for, and the error."""
    program = guest.start(name, command, user="user", limits=f"ulimit -l {limit_kib}")
    status, output = program.wait()
    check(status not in (0, 101), f"with {limit_kib} KiB `{command}` ended with status {status}: {output[-600:]}")
    match = re.search(commands.ULIMIT, output)
    check(match and commands.says(commands.MEMLOCK, output), f"the error names no limit: {output[-600:]}")
    return int(match.group(1)), output


def _give(guest, *names):
    """Binds the cards, for the user."""
    for name in names:
        guest.run(commands.tool(f"bind {guest.ports[name].address} --user user"))
    return [guest.ports[name].address for name in names]


@test("memlock-one-restart", needs=["barewire", "respond", "forward"])
def memlock_one_restart(lab):
    """from 64 KiB of locked memory: the first error of respond, and of forward with two cards, names the limit with which the next start works"""
    guest = lab.guest("group")
    n0, n1 = _give(guest, "n0", "n1")
    one, _ = _needed(guest, "refused", commands.respond(n0), 64)
    program = guest.start("respond", commands.respond(n0), user="user", limits=f"ulimit -l {one}")
    answering(program, lab.peer(guest, "n0"), lab.responder(guest, "n0"))
    used = int(guest.run(f"awk '/^VmLck/ {{ print $2 }}' /proc/{program.pid}/status"))
    stopped(program)
    two, _ = _needed(guest, "refused", commands.forward(n0, n1, SECONDS), 64)
    program = guest.start("forward", commands.forward(n0, n1, SECONDS), user="user", limits=f"ulimit -l {two}")
    status, output = program.wait(30)
    check(status == 0, f"forward with the {two} KiB that it asked for ended with status {status}: {output[-600:]}")
    return f"respond asks for {one} KiB (and locks {used}), forward for {two} KiB, and both run with that"


@test("memlock-iommufd", needs=["barewire", "respond"])
def memlock_iommufd(lab):
    """iommufd counts all processes of a user: the second is told so, with numbers, and of a limit that serves"""
    guest = lab.guest("iommufd")
    n0, n1 = _give(guest, "n0", "n1")
    guest.run("chmod 0666 /dev/iommu")
    one, _ = _needed(guest, "refused", commands.respond(n0), 64)
    first = guest.start("first", commands.respond(n0), user="user", limits=f"ulimit -l {one}")
    answering(first, lab.peer(guest, "n0"), lab.responder(guest, "n0"))
    two, output = _needed(guest, "refused", commands.respond(n1), one)
    check(f"by respond (process {first.pid})" in output, f"the error does not name process {first.pid}: {output[-600:]}")
    second = guest.start("second", commands.respond(n1), user="user", limits=f"ulimit -l {two}")
    answering(second, lab.peer(guest, "n1"), lab.responder(guest, "n1"))
    stopped(second)
    stopped(first)
    return f"the first asks for {one} KiB, the second for {two} KiB: '{output.strip().splitlines()[-1]}'"
