"""Link changes reach the application as events."""

from harness import commands
from harness.lab import answering, stopped, test
from harness.peer import Exchange


@test("link", needs=["respond"])
def link(lab):
    """QEMU's monitor takes the link down and up: respond reports both, and answers again afterwards"""
    guest = lab.guest("group")
    address = guest.ports["n0"].address
    guest.run(f"bind_driver {address} vfio-pci")
    peer, responder = lab.peer(guest, "n0"), lab.responder(guest, "n0")
    program = guest.start("respond", commands.respond(address, interrupts=True))
    answering(program, peer, responder)
    # `set_link` on the card itself, so that the device reports it. Up is printed at the start, too: look behind down.
    guest.qmp.execute("set_link", name="n0", up=False)
    try:
        down = program.wait_output(f"^.*{commands.LINK_DOWN}.*$").group(0)
    finally:
        guest.qmp.execute("set_link", name="n0", up=True)
    up = program.wait_output(f"{commands.LINK_DOWN}[\\s\\S]*\\n(.*{commands.LINK_UP}.*)").group(1)
    answering(program, peer, responder)
    report = Exchange(peer, responder).run(1000)
    stopped(program)
    return f"'{down.strip()}', '{up.strip()}'; then {report}"
