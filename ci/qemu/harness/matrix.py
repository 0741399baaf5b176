"""The cells of `virtio-matrix`: how QEMU's virtio card can be, and what our driver must then have agreed on."""

import itertools

# The card at the other end of the taps' cells: the kernel behind it echoes.
FAR = "far"
FAR_IP = "10.9.0.2"
# What a card without offloads is told. QEMU offers none of them on a wire without virtio headers anyway.
_OFFLOADS = ("csum", "gso", "guest_csum", "host_tso4", "host_tso6", "host_ecn", "host_ufo")
_OFFLOADS += ("guest_tso4", "guest_tso6", "guest_ecn", "guest_ufo")


class Cell:
    """One way that the card can be. `tap`: its wire ends in the host's own kernel, with virtio headers; else at the harness, as raw frames."""

    def __init__(self, packed, merged, tap, offloads):
        self.packed = packed
        self.merged = merged
        self.tap = tap
        self.offloads = offloads
        words = ["packed" if packed else "split", "merged" if merged else "single", "tap" if tap else "dgram"]
        self.name = "-".join(words + (["offloads"] if offloads else ["plain"] if tap else []))

    def properties(self):
        """Of QEMU's device."""
        told = {"packed": self.packed, "mrg_rxbuf": self.merged}
        if not self.offloads:
            told.update(dict.fromkeys(_OFFLOADS, False))
        return ",".join(f"{name}={'on' if value else 'off'}" for name, value in told.items())

    def features(self):
        """Which features of the cell's axes are agreed on, and which are not: {name: whether}."""
        return {
            "RING_PACKED": self.packed,
            "MRG_RXBUF": self.merged,
            "CSUM": self.offloads,
            "GUEST_CSUM": self.offloads,
        }


CELLS = [
    Cell(packed, merged, tap, offloads)
    for packed, merged, (tap, offloads) in itertools.product((False, True), (True, False), ((False, False), (True, False), (True, True)))
]
