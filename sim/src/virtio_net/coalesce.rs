//! Notifications that wait (5.1.6.5.9): a queue's goes out when so many frames have come together, or so much time after the first of them.

use super::regs::*;
use super::sets::{Coalescing, Limits};
use super::{VirtioNet, receiveq, transmitq};
use crate::dma::Dma;
use crate::slot::Slot;

impl VirtioNet {
    /// A queue has so many frames more of which its driver is to hear.
    pub(super) fn count_frames(&mut self, slot: &Slot<'_>, queue: usize, frames: usize) {
        let Some(coalescing) = self.ctrl.coalescing.get_mut(queue) else { return };
        if coalescing.frames == 0 {
            coalescing.since_us = slot.now_us();
        }
        coalescing.frames = coalescing.frames.saturating_add(frames as u32);
    }

    /// Tells the driver of a queue's frames where it is time.
    pub(super) fn signal_if_due(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, queue: usize) -> bool {
        let Some(coalescing) = self.ctrl.coalescing.get_mut(queue) else { return false };
        let is_due = coalescing.due_us().is_some_and(|us| us <= slot.now_us());
        if is_due {
            coalescing.frames = 0;
            self.signal(slot, dma, queue);
        }
        is_due
    }

    /// The same of all queues. Limits that were changed are looked at here, too.
    pub(super) fn signal_what_is_due(&mut self, slot: &Slot<'_>, dma: &Dma<'_>) -> bool {
        let mut busy = false;
        for queue in 0..2 * self.pairs.len() {
            busy |= self.signal_if_due(slot, dma, queue);
        }
        busy
    }

    /// When the next notification goes out.
    pub(super) fn next_signal_us(&self) -> Option<u64> {
        self.ctrl.coalescing.iter().filter_map(Coalescing::due_us).min()
    }

    /// What queues wait for, in the order of their places: frames, and microseconds.
    pub fn coalescing(&self) -> Vec<(u32, u32)> {
        let all = self.ctrl.coalescing.iter().take(2 * self.pairs.len());
        all.map(|of| (of.limits.max_packets, of.limits.max_usecs)).collect()
    }

    /// VIRTIO_NET_CTRL_NOTF_COAL_TX_SET (0), _RX_SET (1).
    pub(super) fn coalesce_all(&mut self, command: u8, limits: Limits) {
        let first = if command == 1 { receiveq(0) } else { transmitq(0) };
        self.ctrl.coalescing.iter_mut().skip(first).step_by(2).for_each(|of| of.limits = limits);
    }

    /// VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET (2), _VQ_GET (3), which gives the limits.
    pub(super) fn coalesce_queue(&mut self, queue: usize, set: Option<Limits>) -> Result<Limits, &'static str> {
        let is_enabled = queue < self.pair_queues() && self.queues.get(queue).is_some_and(|queue| queue.enabled);
        let of = self.ctrl.coalescing.get_mut(queue).filter(|_| is_enabled).ok_or("a queue that is no receive or transmit queue, or not enabled")?;
        of.limits = set.unwrap_or(of.limits);
        Ok(of.limits)
    }
}

/// The feature that a command of this class requires.
pub(super) fn needed(command: u8) -> u32 {
    if command < 2 { VIRTIO_NET_F_NOTF_COAL } else { VIRTIO_NET_F_VQ_NOTF_COAL }
}
