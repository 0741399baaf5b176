"""Interrupt mode: asleep when idle, awake at a frame, polling under load."""

import re
import time

from harness import commands
from harness.frames import MAX_FRAME
from harness.lab import answering, check, stopped, test
from harness.peer import Exchange

IDLE_SECONDS = 4
IDLE_LIMIT = 0.03
LONE_FRAMES = 50
LOAD_FRAMES = 20000
# Interrupts, and sleeps, for each frame; lone frames make 1.0. Not nearer to none, since the guest is at times faster than the host
# can send: then its queue runs dry, and it is right to sleep.
LOAD_LIMIT = 0.4


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
    program = guest.start("respond", commands.respond(address, interrupts=True), limits="export RUST_LOG=info")
    answering(program, peer, responder)
    # Each queue's interrupt has a processor that it is best led to, and the words for it.
    led = re.findall(r"(receive|transmit) queue 0 by processor (\d+): (echo \2 >(/proc/irq/\d+/smp_affinity_list))", program.output())
    check(led and led[0][0] == "receive", f"respond suggests no processor: {program.output()[-400:]}")
    for _, processor, command, file in led:
        guest.run(command)
        check(guest.run(f"cat {file}").strip() == processor, f"`{command}` changes nothing")

    def count():
        return int(guest.run(f"interrupt_count {address}"))

    def sleeps():
        return int(guest.run(f"awk '/^voluntary_ctxt/ {{ print $2 }}' /proc/{program.pid}/status"))

    idle = _idle_share(program)
    check(idle <= IDLE_LIMIT, f"idle, respond uses {idle:.1%} of a processor; at most {IDLE_LIMIT:.0%} is allowed")
    before = count()
    lone = Exchange(peer, responder, ("icmp", "udp")).run(LONE_FRAMES, window=1, gap=0.02)
    woken = count() - before
    check(woken >= LONE_FRAMES // 2, f"{LONE_FRAMES} lone frames made only {woken} interrupts: respond does not sleep")
    before, asleep = count(), sleeps()
    load = Exchange(peer, responder, ("icmp", "udp")).load(LOAD_FRAMES, sizes=lambda _: MAX_FRAME)
    under_load, slept = count() - before, sleeps() - asleep
    most = LOAD_FRAMES * LOAD_LIMIT
    check(under_load <= most, f"{LOAD_FRAMES} frames in a row made {under_load} interrupts: no polling under load")
    check(slept <= most, f"respond slept {slept} times during {LOAD_FRAMES} frames in a row: no polling under load")
    again = _idle_share(program)
    check(again <= IDLE_LIMIT, f"idle after load, respond uses {again:.1%} of a processor")
    stopped(program)
    return (
        f"idle {idle:.1%} and {again:.1%} of a processor; {LONE_FRAMES} lone frames, {woken} interrupts, "
        f"{lone.seconds / LONE_FRAMES * 1000:.0f} ms each; under load {under_load} interrupts and {slept} sleeps for {load}"
    )
