//! Which receive queue a frame goes to: by its hash (5.1.6.5.7.3), or as the card sees fit (5.1.6.5.6).

use super::VirtioNet;
use super::flow::Flow;
use super::regs::*;

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
