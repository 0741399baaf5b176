"""`forward` between two virtio cards in one DMA domain."""

from harness import commands, frames
from harness.lab import check, test
from harness.peer import Stream, run_streams

FRAMES = 20000
SECONDS = 30
FLOOD = frames.mac("02:00:00:00:00:99")


def _forward(lab, guest):
    addresses = [guest.ports[name].address for name in ("n0", "n1")]
    for address in addresses:
        guest.run(f"bind_driver {address} vfio-pci")
    program = guest.start("forward", commands.forward(*map(commands.spec, addresses), SECONDS))
    seen = crossing(program, lab.peer(guest, "n0"), lab.peer(guest, "n1"))
    program.signal("TERM")
    status, output = program.wait()
    check(status in (0, 143), f"forward ended with status {status}: {output[-600:]}")
    return seen


def crossing(program, left, right):
    """Frames both ways at once through a program that forwards between two cards: none lost, changed or out of order."""
    # The first frames cross as soon as both cards run; then nothing may be lost any more.
    _until_open(program, left, right)
    _until_open(program, right, left)
    streams = [Stream("to the right", left, right, FRAMES, FLOOD), Stream("to the left", right, left, FRAMES, FLOOD)]
    seconds = run_streams(streams, timeout=SECONDS)
    total = sum(stream.received for stream in streams)
    return f"{total} frames, {sum(stream.bytes for stream in streams)} bytes unchanged and in order in {seconds:.1f} s"


def _until_open(program, source, sink):
    """Sends frames that are not counted until one comes out at the other side."""
    knock = frames.ethernet(FLOOD, source.mac, 0x88B6, b"knock")
    for _ in range(100):
        source.send(knock)
        if sink.receive(0.1):
            while sink.receive(0.3):
                pass
            return
        status = program.status()
        check(status is None, f"`{program.command}` ended with status {status}: {program.output()[-600:]}")
    check(False, f"no frame crosses: {program.output()[-600:]}")


@test("forward", needs=["forward"])
def forward_group(lab):
    """two cards in one domain, 20,000 checksummed frames each way at once: none lost, changed or out of order (6.1)"""
    return _forward(lab, lab.guest("group"))


@test("forward-iommufd", needs=["forward"])
def forward_iommufd(lab):
    """the same over iommufd: two device nodes in one I/O address space (6.12)"""
    return _forward(lab, lab.guest("iommufd"))


@test("forward-apart", needs=["forward"])
def forward_apart(lab):
    """two cards reached in different ways cannot share memory: refused, and said why (6.12)"""
    guest = lab.guest("iommufd")
    addresses = [guest.ports[name].address for name in ("n0", "n1")]
    for address in addresses:
        guest.run(f"bind_driver {address} vfio-pci")
    ways = [commands.spec(address, way) for address, way in zip(addresses, ("iommufd", "group"))]
    status, output = guest.start("apart", commands.forward(*ways, SECONDS)).wait()
    message = output.strip().splitlines()[-1] if output.strip() else ""
    check(status == 2 and "cannot share memory" in message, f"forward ended with status {status}: {output[-600:]}")
    return f"status {status} with '{message}'"
