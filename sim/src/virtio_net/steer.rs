//! Which receive queue a frame goes to: by its hash (5.1.6.5.7.3), or as the card sees fit (5.1.6.5.6).

use std::collections::HashMap;

use super::VirtioNet;
use super::flow::{Flow, KEY_BYTES};
use super::regs::*;

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

impl VirtioNet {
    /// The pair to which a frame goes, and its hash with the report of what was hashed.
    pub(super) fn steer(&self, frame: &[u8]) -> (usize, (u32, u32)) {
        let steering = &self.ctrl.steering;
        let flow = Flow::of(frame);
        let hash = flow.as_ref().map_or((0, 0), |flow| flow.hash(steering.types, &steering.key.0));
        let queue = if steering.table.is_empty() {
            let number = flow.map_or(0, |flow| flow.number());
            let by_itself = number as usize % steering.pairs.max(1);
            return (steering.seen.get(&number).copied().filter(|&pair| pair < steering.pairs).unwrap_or(by_itself), hash);
        } else if hash.1 == 0 {
            steering.unclassified
        } else {
            steering.table.get(hash.0 as usize % steering.table.len()).copied().unwrap_or(0)
        };
        // max_tx_vq limits receive queues as well, as with QEMU's card.
        (usize::from(queue) % steering.pairs.max(1), hash)
    }

    /// What is sent teaches the card where a flow's other direction belongs.
    pub(super) fn learn(&mut self, frame: &[u8], pair: usize) {
        if self.has(VIRTIO_NET_F_MQ)
            && let Some(flow) = Flow::of(frame)
        {
            self.ctrl.steering.seen.insert(flow.number(), pair);
        }
    }
}
