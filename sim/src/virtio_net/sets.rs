//! What the control queue sets (5.1.6.5), as the card keeps it.

use std::collections::HashMap;

use super::filter::Filter;
use super::flow::KEY_BYTES;
use super::regs::MAX_PAIRS;

/// The longest indirection table.
pub(super) const RSS_TABLE: u16 = 128;

/// What the control queue sets.
#[derive(Debug, Clone)]
pub(super) struct Ctrl {
    pub(super) filter: Filter,
    pub(super) steering: Steering,
    /// The address was set by a command, which a reset undoes.
    pub(super) mac_was_set: bool,
    /// VIRTIO_NET_S_ANNOUNCE.
    pub(super) announces: bool,
    /// Which notifications wait.
    pub(super) coalescing: All,
    /// Offloads that were negotiated and are switched off, by their features' bits.
    pub(super) offloads_off: u64,
    /// What the command under way answers beside its ack.
    pub(super) answer: Vec<u8>,
}

impl Ctrl {
    pub(super) fn new() -> Self {
        Self {
            filter: Filter::new(),
            steering: Steering { pairs: 1, ..Steering::default() },
            mac_was_set: false,
            announces: false,
            coalescing: All::default(),
            offloads_off: 0,
            answer: Vec::new(),
        }
    }
}

/// How flows are spread, and hashed.
#[derive(Debug, Clone, Default)]
pub(super) struct Steering {
    /// The pairs that are in use.
    pub(super) pairs: usize,
    /// The types of hashes; 0: none.
    pub(super) types: u32,
    /// Whether the hash is reported.
    pub(super) reports: bool,
    pub(super) key: Key,
    /// The queues by the hash's low bits; empty: the card steers as it sees fit.
    pub(super) table: Vec<u16>,
    /// The queue of what has no hash.
    pub(super) unclassified: u16,
    /// By the number of a flow, the pair that sent of it last.
    pub(super) seen: HashMap<u64, usize>,
}

/// A key, all zeros at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(pub(super) [u8; KEY_BYTES]);

impl Default for Key {
    fn default() -> Self {
        Self([0; KEY_BYTES])
    }
}

impl Steering {
    /// Spreading and hashing are off, as behind a command that was refused.
    pub(super) fn switch_off(&mut self) {
        (self.types, self.reports) = (0, false);
        self.table.clear();
    }
}

/// struct virtio_net_ctrl_coal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) max_packets: u32,
    pub(super) max_usecs: u32,
}

/// How long a queue's notification waits, and what it waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Coalescing {
    pub(super) limits: Limits,
    /// Frames since the last notification, and when the first of them was.
    pub(super) frames: u32,
    pub(super) since_us: u64,
}

/// Of the queues of all pairs, by their place.
pub(super) type All = [Coalescing; 2 * MAX_PAIRS];

impl Coalescing {
    /// When its notification is to go out; `None`: it has none to give.
    pub(super) fn due_us(&self) -> Option<u64> {
        let Limits { max_packets, max_usecs } = self.limits;
        let waits = self.frames > 0 && self.frames < max_packets && max_usecs > 0;
        match self.frames {
            0 => None,
            // Of either of the two being zero: after every frame.
            _ if !waits => Some(0),
            _ => Some(self.since_us.saturating_add(max_usecs.into())),
        }
    }
}
