"""The cells of `virtio-matrix`: how QEMU's virtio card can be, and what our driver must then have agreed on."""

import itertools

# The card at the other end of the taps' cells: the kernel behind it echoes. It has as many queues as any cell.
FAR = "far"
FAR_IP = "10.9.0.2"
QUEUES = 4
# What a card without offloads is told. QEMU offers none of them on a wire without virtio headers anyway.
_OFFLOADS = ("csum", "gso", "guest_csum", "host_tso4", "host_tso6", "host_ecn", "host_ufo")
_OFFLOADS += ("guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo")


class Cell:
    """One way that the card can be. `tap`: its wire ends in the host's own kernel, with virtio headers; else at the harness, as raw frames. With `offloads` that kernel
    gives checksums to the card, and segments of up to 64 KiB."""

    def __init__(self, packed, merged, tap=False, offloads=False, queues=1, in_order=False):
        self.packed = packed
        self.merged = merged
        self.tap = tap
        self.offloads = offloads
        self.queues = queues
        self.in_order = in_order
        words = ["packed" if packed else "split", "merged" if merged else "single", "tap" if tap else "dgram"]
        words += ["offloads"] if offloads else ["plain"] if tap else []
        words += [f"{queues}q"] if queues > 1 else []
        self.name = "-".join(words + (["in-order"] if in_order else []))

    def properties(self):
        """Of QEMU's device, but for what its queues take."""
        told = {"packed": self.packed, "mrg_rxbuf": self.merged}
        if self.in_order:
            told["in_order"] = True
        if not self.offloads:
            told.update(dict.fromkeys(_OFFLOADS, False))
        return ",".join(f"{name}={'on' if value else 'off'}" for name, value in told.items())

    def features(self):
        """Which features of the cell's axes are agreed on, and which are not: {name: whether}. Of several queues and of large receives `info` does not ask."""
        return {
            "RING_PACKED": self.packed,
            "IN_ORDER": self.in_order,
            "MRG_RXBUF": self.merged,
            "CSUM": self.offloads,
            "GUEST_CSUM": self.offloads,
            "HOST_TSO4": self.offloads,
        }


_LAYOUTS = tuple(itertools.product((False, True), (True, False)))
CELLS = [
    *(Cell(packed, merged) for packed, merged in _LAYOUTS),
    *(
        Cell(packed, merged, tap=True, offloads=offloads, queues=queues)
        for (packed, merged), offloads, queues in itertools.product(_LAYOUTS, (False, True), (1, QUEUES))
    ),
]
# Of the latest QEMU alone: 7.2 uses no buffers in order.
IN_ORDER = [
    *(Cell(packed, merged, in_order=True) for packed, merged in _LAYOUTS),
    *(Cell(packed, True, tap=True, offloads=True, queues=queues, in_order=True) for packed, queues in ((False, 1), (True, QUEUES))),
]
