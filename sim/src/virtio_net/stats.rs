//! Statistics of the card's own (VIRTIO_NET_F_DEVICE_STATS, from virtio 1.4, 5.1.6.5.11): what it counts since power-on, which no reset clears, and the commands that ask for it.

use super::VirtioNet;
use super::counts::Counts;
use super::regs::*;

/// Receive and transmit statistics by their numbers, which are those of their bits: how many counters, and the features of which one is needed.
const TYPES: [(u8, usize, &[u32]); 8] = [
    (0, 6, &[]),
    (1, 4, &[VIRTIO_NET_F_GUEST_CSUM]),
    (2, 4, &[VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6]),
    (3, 2, &[]),
    (16, 6, &[]),
    (17, 2, &[VIRTIO_NET_F_CSUM]),
    (18, 6, &[VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_USO]),
    (19, 2, &[]),
];
/// VIRTIO_NET_STATS_TYPE_REPLY_CVQ.
const CONTROL: u8 = 32;

impl VirtioNet {
    /// VIRTIO_NET_CTRL_STATS_QUERY.
    pub(super) fn supported_stats(&self) -> Vec<u8> {
        let all = TYPES.iter().map(|&(number, ..)| number).chain([CONTROL]);
        Vec::from(all.fold(0u64, |bits, number| bits | 1 << number).to_le_bytes())
    }

    /// VIRTIO_NET_CTRL_STATS_GET of the types `wanted` of a queue, as the driver counts queues. One that is wrong fails all.
    pub(super) fn stats_of(&self, queue: usize, wanted: u64) -> Result<Vec<u8>, &'static str> {
        let place = self.place_of(queue).filter(|&place| place < self.queues.len()).ok_or("statistics of a queue that there is not")?;
        let mut reply = Vec::new();
        let mut tell = |number: u8, counters: &[u64]| {
            reply.extend([number, 0]);
            reply.extend((queue as u16).to_le_bytes());
            reply.extend([0; 2]);
            reply.extend((8 + 8 * counters.len() as u16).to_le_bytes());
            reply.extend(counters.iter().flat_map(|counter| counter.to_le_bytes()));
        };
        let mut left = wanted;
        if place == self.control() {
            if wanted >> CONTROL & 1 != 0 {
                // With the one under way.
                tell(CONTROL, &[self.counters.commands + self.counters.refused + 1, self.counters.commands + 1]);
            }
            left &= !(1 << CONTROL);
        } else {
            let Counts { mut basic, csum, gso } = self.stats[place];
            basic[0] = self.counters.notifications[place];
            // No speed is kept to.
            let structures: [&[u64]; 4] = [&basic, &csum, &gso, &[0; 2]];
            for ((number, count, needed), structure) in TYPES.into_iter().zip(structures.into_iter().cycle()) {
                if wanted >> number & 1 == 0 || number >= 16 && place.is_multiple_of(2) || number < 16 && !place.is_multiple_of(2) {
                    continue;
                }
                if !needed.is_empty() && !needed.iter().any(|&feature| self.has(feature)) {
                    return Err("statistics whose feature was not negotiated");
                }
                tell(number, &structure[..count]);
                left &= !(1 << number);
            }
        }
        if left == 0 { Ok(reply) } else { Err("statistics that there are not, or not of that queue") }
    }
}
