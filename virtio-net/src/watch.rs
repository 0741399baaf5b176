//! How far a device is in a transmit queue, for who looks whether it hangs.

use driver_core::device::control::TxPosition;
use driver_core::ring::packed::PackedWatch;
use driver_core::ring::split::UsedIndex;

/// A look at a transmit queue from another thread. It keeps the queue's memory.
pub(crate) enum TxWatch {
    /// Behind `base` frames, modulo 65536, the queue was made or rewound.
    Split {
        used: UsedIndex,
        base: u16,
    },
    Packed(PackedWatch),
}

impl TxWatch {
    /// What the device gave back, and what it was given, of which the queue has `taken` so many frames.
    pub(crate) fn load(&self, taken: u64) -> TxPosition {
        // In a split queue a frame is a chain, and each has an entry in the used ring (2.7.8).
        let (head, tail) = match self {
            Self::Split { used, base } => (used.load(), (taken as u16).wrapping_sub(*base)),
            Self::Packed(watch) => watch.load(),
        };
        TxPosition { head: head.into(), tail: tail.into() }
    }

    /// The queue was rewound, and has taken so many frames.
    pub(crate) fn rewound(&mut self, taken: u64) {
        if let Self::Split { base, .. } = self {
            *base = taken as u16;
        }
    }
}
