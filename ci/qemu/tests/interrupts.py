"""Interrupt mode: asleep when idle, awake at a frame, polling under load."""

import time

from harness import commands
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

IDLE_SECONDS = 4
IDLE_LIMIT = 0.03
LONE_FRAMES = 50
LOAD_FRAMES = 20000
# Interrupts for each frame. Not nearer to none, since the guest is often faster than the host can send, and runs dry.
LOAD_LIMIT = 0.2


def _idle_share(program):
    """The share of a processor that the program uses while no frames come."""
    before, start = program.cpu_ticks(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (program.cpu_ticks() - before) / 100 / (time.monotonic() - start)


@test("interrupts", needs=["respond"])
def interrupts(lab):
    """interrupt mode: next to no processor time when idle, woken by each lone frame, polling under load"""
    guest = lab.guest("group")
    address = guest.ports["n0"].address
    guest.run(f"bind_driver {address} vfio-pci")
    peer, responder = lab.peer(guest, "n0"), lab.responder(guest, "n0")
    program = guest.start("respond", commands.respond(address, interrupts=True))
    answering(program, peer, responder)

    def count():
        return int(guest.run(f"interrupt_count {address}"))

    idle = _idle_share(program)
    check(idle <= IDLE_LIMIT, f"idle, respond uses {idle:.1%} of a processor; at most {IDLE_LIMIT:.0%} is allowed")
    before = count()
    lone = Exchange(peer, responder, ("icmp", "udp")).run(LONE_FRAMES, window=1, gap=0.02)
    woken = count() - before
    check(woken >= LONE_FRAMES // 2, f"{LONE_FRAMES} lone frames made only {woken} interrupts: respond does not sleep")
    before = count()
    load = Exchange(peer, responder, ("icmp", "udp")).load(LOAD_FRAMES)
    under_load = count() - before
    check(under_load <= LOAD_FRAMES * LOAD_LIMIT, f"{LOAD_FRAMES} frames in a row made {under_load} interrupts: no polling")
    again = _idle_share(program)
    check(again <= IDLE_LIMIT, f"idle after load, respond uses {again:.1%} of a processor")
    stopped(program)
    return (
        f"idle {idle:.1%} and {again:.1%} of a processor; {LONE_FRAMES} lone frames, {woken} interrupts, "
        f"{lone.seconds / LONE_FRAMES * 1000:.0f} ms each; under load {under_load} interrupts for {load}"
    )
