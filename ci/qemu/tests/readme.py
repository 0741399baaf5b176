"""The commands of README.md's sections 'On your own hardware' and 'Use the simulated card', as they stand there."""

import pathlib
import re
import shlex

from harness import commands, provide
from harness.guest import SimulatedPort
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

README = pathlib.Path(__file__).resolve().parents[3] / "README.md"
ADDRESS = "0000:00:03.0"


def _lines(heading):
    """The section's command lines, without what a shell would not run."""
    section = re.search(rf"^## {heading}\n(.*?)^## ", README.read_text(), re.S | re.M).group(1)
    return [line.split("  #")[0].strip() for line in section.splitlines() if line.startswith("    ")]


def _steps():
    """What to do on one's own hardware, without the folder that the programs are built into."""
    lines = _lines("On your own hardware")
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


class _Served(SimulatedPort):
    """The card of 'Use the simulated card', served by the command that stands there, on a wire that needs no privileges."""

    def __init__(self, command):
        super().__init__("card", 0, "02:00:00:00:00:01")
        words = shlex.split(command)
        check(words[:2] == ["cargo", "run"] and "--" in words, f"`{command}` runs the tool by cargo")
        self._words = words[words.index("--") + 1 :]
        # By its address the card is found in the guest; without one it has another each time.
        self._words[self._words.index("--device") + 1] += f",mac={self.mac}"
        check(re.fullmatch(r"tap=\w+", self._words[-1]), f"`{command}` ends with a tap as the wire")
        # What QEMU's command names has to be what this one serves.
        self.named = self._words[self._words.index("--socket") + 1]

    def command(self):
        return [str(self.socket) if word == self.named else word for word in self._words[:-1]] + [f"dgram={self.near}:{self.far}"]


@test("readme-sim", needs=["barewire"])
def readme_sim(lab):
    """README's two commands that give any reader an 82599 in QEMU: Linux's ixgbe has a link and answers"""
    lines = _lines("Use the simulated card")
    serve = next(line for line in lines if line.startswith("cargo run"))
    card = _Served(serve)
    card.socket = lab.socket("readme.vfio")
    program, *machine = shlex.split(next(line for line in lines if line.startswith("qemu-system-x86_64")))
    check(card.named in " ".join(machine), f"the two commands name different sockets: {machine}")
    check(machine.pop().endswith(".qcow2"), f"the last word of QEMU's command is the reader's own disk, in whose place the kernel comes: {program}")
    machine = [word.replace(card.named, str(card.socket)) for word in machine]
    guest = lab.boot("readme", provide.ixgbe_kernel(), [card], machine=machine)
    name = guest.run("modprobe ixgbe; ls /sys/bus/pci/drivers/ixgbe/*/net").strip()
    guest.run(f"ip link set {name} up; ip addr add 10.9.0.2/24 dev {name}")
    peer, responder = lab.peer(guest, "card"), lab.responder(guest, "card")
    peer.wait_ready(responder)
    return f"{name}: {Exchange(peer, responder, ('arp', 'icmp')).run(200)}"
