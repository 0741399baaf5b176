//! What a device keeps of a queue, and what is handed over there.

use std::collections::BTreeSet;

use driver_core::host::Iova;

use crate::virtio_net::options::UsedIds;
use crate::virtio_net::regs::*;

/// One piece of a chain.
#[derive(Debug, Clone, Copy)]
pub(in crate::virtio_net) struct Piece {
    pub(in crate::virtio_net) at: Iova,
    pub(in crate::virtio_net) len: u32,
    pub(in crate::virtio_net) writable: bool,
}

/// A chain that the driver made available.
#[derive(Debug, Clone, Default)]
pub(in crate::virtio_net) struct Chain {
    /// What names it: the first descriptor of a split queue's, the buffer ID of a packed queue's.
    pub(in crate::virtio_net) head: u16,
    pub(in crate::virtio_net) pieces: Vec<Piece>,
    /// How many descriptors of the ring, or of a split queue's table, it lies in.
    pub(super) slots: u16,
}

impl Chain {
    /// How it is given back with so many bytes written.
    pub(in crate::virtio_net) fn entry(&self, written: u32) -> Entry {
        let room: u32 = self.pieces.iter().filter(|piece| piece.writable).map(|piece| piece.len).sum();
        Entry { id: self.head.into(), len: written, chain: self.head, slots: self.slots, is_whole: written == room }
    }
}

/// A chain that is given back, as it is written.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::virtio_net) struct Entry {
    pub(in crate::virtio_net) id: u32,
    pub(in crate::virtio_net) len: u32,
    /// The chain that it is, whatever is written.
    pub(super) chain: u16,
    /// How far a packed ring's next used descriptor lies behind this one's.
    pub(in crate::virtio_net) slots: u16,
    /// The device has written all that it was lent of it, if anything.
    is_whole: bool,
}

impl Entry {
    /// Whether the entry behind may stand for this one too, where buffers are used in order: "The skipped buffers [...] are assumed to have been used (read or
    /// written) by the device completely." What is not true is said of each alone.
    fn may_be_skipped(&self, behind: &Self) -> bool {
        self.is_whole && [self, behind].iter().all(|entry| entry.id == u32::from(entry.chain))
    }
}

/// Parts entries into those that are told by their last one (2.7.9, 2.8.8), where the device uses buffers in order and does so; else each is told alone.
pub(super) fn bursts(rules: Rules, entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    entries.chunk_by(move |entry, behind| rules.in_order && rules.skips && entry.may_be_skipped(behind))
}

/// What else is said of what is given back, and is not true.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::virtio_net) struct Lie {
    /// So many more are said to be used, of which nothing is written.
    pub(in crate::virtio_net) jump: u16,
    /// The used descriptors of a packed queue have the marks of the other round.
    pub(in crate::virtio_net) wrong_wrap: bool,
}

/// Registers and state of one queue.
#[derive(Debug, Clone)]
pub(in crate::virtio_net) struct Queue {
    pub(in crate::virtio_net) size: u16,
    pub(in crate::virtio_net) vector: u16,
    pub(in crate::virtio_net) enabled: bool,
    /// Descriptors, driver area, device area.
    pub(in crate::virtio_net) areas: [u64; 3],
    pub(in crate::virtio_net) notified: bool,
    /// When the reset of this queue alone is over that is under way.
    pub(in crate::virtio_net) reset_done_us: Option<u64>,
    /// It was reset alone, and not enabled since: it may be set up.
    pub(in crate::virtio_net) was_reset: bool,
    /// Up to where the last notification said that there is something, as long as that was not taken (VIRTIO_F_NOTIFICATION_DATA).
    pub(super) told: Option<u32>,
    pub(super) split: Split,
    pub(super) packed: Packed,
    /// The queue's memory made no sense: it is not looked at any more.
    pub(in crate::virtio_net) dead: bool,
}

/// What the driver and the device agreed on, and what the device does of what it may.
#[derive(Debug, Clone, Copy)]
pub(in crate::virtio_net) struct Rules {
    pub(in crate::virtio_net) event_idx: bool,
    pub(in crate::virtio_net) indirect: bool,
    pub(in crate::virtio_net) packed: bool,
    /// Of a packed queue: which descriptor's buffer ID is a chain's.
    pub(in crate::virtio_net) ids: UsedIds,
    /// Of a packed queue: used descriptors of buffers that were written to say so.
    pub(in crate::virtio_net) says_write: bool,
    pub(in crate::virtio_net) in_order: bool,
    /// With it, one entry stands for all buffers up to its own.
    pub(in crate::virtio_net) skips: bool,
}

/// What a device keeps of a split queue.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// Chains taken from the available ring.
    pub(super) taken: u16,
    /// Entries written to the used ring.
    pub(super) used: u16,
    /// Used entries of which the driver was told, as far as the event index goes.
    pub(super) signalled: u16,
    /// Heads that the device has.
    pub(super) held: Vec<bool>,
    /// The descriptor behind the last chain's, at which the next one begins where buffers are used in order.
    pub(super) behind: u16,
}

impl Split {
    pub(super) fn new(max: u16) -> Self {
        Self { taken: 0, used: 0, signalled: 0, held: vec![false; max.into()], behind: 0 }
    }

    /// Chains that the device has and did not return.
    pub(super) fn outstanding(&self) -> u16 {
        self.taken.wrapping_sub(self.used)
    }
}

/// What a device keeps of a packed queue. A place in the ring is a number below twice the ring's size: in the first half while its wrap counter is 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    /// Where the next descriptor is looked for.
    pub(super) next: u32,
    /// Where the next used descriptor goes.
    pub(super) used: u32,
    /// Up to where the driver was told of used ones.
    pub(super) signalled: u32,
    /// Descriptors that the device has and did not give back.
    pub(super) held: u16,
    /// The buffer IDs of the chains that it has.
    pub(super) ids: BTreeSet<u16>,
}

impl Queue {
    pub(in crate::virtio_net) fn new(max: u16) -> Self {
        Self {
            size: max,
            vector: NO_VECTOR,
            enabled: false,
            areas: [0; 3],
            notified: false,
            reset_done_us: None,
            was_reset: false,
            told: None,
            split: Split::new(max),
            packed: Packed::default(),
            dead: false,
        }
    }

    pub(super) fn descriptors(&self, offset: u64) -> Iova {
        Iova(self.areas[0]).offset(offset)
    }

    pub(super) fn driver(&self, offset: u64) -> Iova {
        Iova(self.areas[1]).offset(offset)
    }

    pub(super) fn device(&self, offset: u64) -> Iova {
        Iova(self.areas[2]).offset(offset)
    }
}
