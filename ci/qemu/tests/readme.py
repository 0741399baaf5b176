"""The commands of README.md's section 'On your own hardware', as they stand there."""

import pathlib
import re

from harness import commands
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

README = pathlib.Path(__file__).resolve().parents[3] / "README.md"
HEADING = "On your own hardware"
ADDRESS = "0000:00:03.0"


def _steps():
    """The section's command lines, without what a shell would not run and without the folder that the programs are built into."""
    section = re.search(rf"^## {HEADING}\n(.*?)^## ", README.read_text(), re.S | re.M).group(1)
    lines = [line.split("  #")[0].strip() for line in section.splitlines() if line.startswith("    ")]
    return [re.sub(r"^target/release/(examples/)?", "", line) for line in lines]


@test("readme", needs=["barewire", "respond"])
def readme(lab):
    """README's way from a card in the kernel's hands to the first frame: every command of 'On your own hardware'"""
    guest = lab.guest("group")
    guest.run(f"to_kernel {ADDRESS}")
    guest.run("echo 0 >/proc/sys/vm/nr_hugepages; modprobe -r vfio-pci", check=False)
    steps = _steps()
    builds = [step for step in steps if step.startswith("cargo build")]
    check(len(builds) == 2, f"the section builds the programs (the harness did, for its own target): {steps}")
    doctors, done = [], []
    for step in (step for step in steps if step not in builds):
        check(ADDRESS in step or not re.search(r"[0-9a-f]{4}:[0-9a-f]{2}:", step), f"`{step}` names another card")
        if step.startswith("respond"):
            peer, responder = lab.peer(guest, "n0"), lab.responder(guest, "n0")
            check(commands.ADDRESS in step, f"`{step}` answers for another address than {commands.ADDRESS}")
            program = guest.start("respond", step)
            answering(program, peer, responder)
            report = Exchange(peer, responder).run(1000)
            stopped(program)
        elif step.startswith("barewire doctor"):
            doctors.append(guest.run(step, check=False)[0])
        else:
            guest.run(step)
        done.append(step)
    check(doctors == [1, 0], f"`doctor` is red before and green after, its exit status: {doctors}")
    check(guest.run(f"driver_of {ADDRESS}").strip() == "virtio-pci", "the former driver is back")
    guest.run("echo 0 >/proc/sys/vm/nr_hugepages")
    return f"{len(done)} commands; {report}"
