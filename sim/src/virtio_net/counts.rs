//! What the card counts of its queues for whoever asks for statistics of its own.

use super::regs::*;

/// What is counted of one queue, each structure in its order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Notifications (kept elsewhere), packets, bytes, interrupts, drops, drops by overrun or of what is malformed.
    pub(super) basic: [u64; 6],
    /// rx: valid, needed, none, bad; tx: none, needed.
    pub(super) csum: [u64; 4],
    /// rx: packets, bytes, packets and bytes that were joined; tx: packets, bytes, segments, bytes of segments, packets and bytes that were not cut.
    pub(super) gso: [u64; 6],
}

impl Counts {
    /// A frame was delivered with these flags; `joined`: put together from several.
    pub(super) fn delivered(&mut self, bytes: usize, flags: u8, joined: bool) {
        self.moved(bytes);
        let kind = match u32::from(flags) {
            flags if flags & VIRTIO_NET_HDR_F_DATA_VALID != 0 => 0,
            flags if flags & VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 => 1,
            _ => 2,
        };
        self.csum[kind] += 1;
        if joined {
            for (count, more) in self.gso.iter_mut().zip([1, bytes, 1, bytes]) {
                *count += more as u64;
            }
        }
    }

    /// A frame was fetched with this header: of so many bytes, which became these frames.
    pub(super) fn fetched(&mut self, [flags, gso_type]: [u8; 2], bytes: usize, frames: &[Vec<u8>]) {
        self.csum[usize::from(u32::from(flags) & VIRTIO_NET_HDR_F_NEEDS_CSUM != 0)] += 1;
        if u32::from(gso_type) != VIRTIO_NET_HDR_GSO_NONE {
            let segments_bytes = frames.iter().map(Vec::len).sum();
            for (count, more) in self.gso.iter_mut().zip([1, bytes, frames.len(), segments_bytes]) {
                *count += more as u64;
            }
        }
    }

    /// A frame went to the driver, or to the wire.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.basic[1] += 1;
        self.basic[2] += bytes as u64;
    }

    pub(super) fn interrupted(&mut self) {
        self.basic[3] += 1;
    }

    /// There was no buffer for a frame, or it was none.
    pub(super) fn dropped(&mut self) {
        self.basic[4] += 1;
        self.basic[5] += 1;
    }
}
