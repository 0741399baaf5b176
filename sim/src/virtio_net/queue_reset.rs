//! A queue that is reset alone (VIRTIO_F_RING_RESET, 2.6.1), and may be set up and enabled again.

use super::queue::Queue;
use super::regs::*;
use super::{VirtioNet, receiveq};
use crate::slot::Slot;

impl VirtioNet {
    /// Whether the selected queue's reset goes on: "The device MUST continue to present 1 in queue_reset as long as the queue reset is ongoing" (4.1.4.3.1).
    pub(super) fn read_queue_reset(&self, slot: &Slot<'_>) -> u64 {
        self.judge_queue_reset(slot);
        let queue = self.place_of(self.queue_select.into()).and_then(|place| self.queues.get(place));
        queue.is_some_and(|queue| queue.reset_done_us.is_some()).into()
    }

    /// Resets the selected queue. Until that is over the card uses it as before.
    pub(super) fn write_queue_reset(&mut self, slot: &Slot<'_>, value: u64) {
        self.judge_queue_reset(slot);
        let done_us = if self.faults.queue_reset_stuck { u64::MAX } else { slot.now_us() + self.options.reset_us };
        let (select, place) = (self.queue_select, self.place_of(self.queue_select.into()));
        let Some(queue) = place.and_then(|place| self.queues.get_mut(place)).filter(|_| value == 1) else {
            slot.violation("queue_reset is written with another value than 1, or of no queue", format_args!("queue {select}"), value, "4.1.4.3");
            return;
        };
        queue.reset_done_us = Some(done_us);
    }

    fn judge_queue_reset(&self, slot: &Slot<'_>) {
        if !self.has(VIRTIO_F_RING_RESET) {
            slot.violation("queue_reset is accessed, which was not negotiated", format_args!("queue {}", self.queue_select), 0, "4.1.4.3");
        }
    }

    /// Ends the resets of queues that are over by now. Whether there were any.
    pub(super) fn end_queue_resets(&mut self, slot: &Slot<'_>) -> bool {
        let is_over = |queue: &Queue| queue.reset_done_us.is_some_and(|us| us <= slot.now_us());
        let over: Vec<_> = (0..self.queues.len()).filter(|&place| is_over(&self.queues[place])).collect();
        over.iter().for_each(|&place| self.reset_place(place));
        !over.is_empty()
    }

    /// 2.6.1.1.1: "The device MUST reset any state of a virtqueue to the default state", and of what it had taken of it nothing is done any more.
    fn reset_place(&mut self, place: usize) {
        self.queues[place] = Queue::new(self.options.queue_size);
        self.queues[place].was_reset = true;
        if let Some(coalescing) = self.ctrl.coalescing.get_mut(place) {
            coalescing.frames = 0;
        }
        let Some(pair) = self.pairs.get_mut(place / 2) else { return };
        if place == receiveq(place / 2) {
            pair.has_buffers = false;
            pair.stash.clear();
        } else {
            (pair.fetching, pair.unsent) = (None, None);
            pair.sent.clear();
            // What had lost its way in a transmit queue finds it again.
            self.hung = false;
        }
    }

    /// How the queue that the driver calls `index` is set up: size, vector, areas; `None`: it is not there, or not enabled.
    pub fn queue_set_up(&self, index: u16) -> Option<(u16, u16, [u64; 3])> {
        let queue = self.queues.get(self.place_of(index.into())?)?;
        queue.enabled.then_some((queue.size, queue.vector, queue.areas))
    }

    /// When the next reset of a queue is over.
    pub(super) fn next_queue_reset_us(&self) -> Option<u64> {
        self.queues.iter().filter_map(|queue| queue.reset_done_us).filter(|&us| us != u64::MAX).min()
    }

    /// The pair whose receive queue takes a frame that was to go to this one's, which may have been reset: with RSS none takes it (5.1.6.5.7.3), else another one that the
    /// card chooses, if there is one (5.1.6.5.6.2). A frame for the only queue waits, as with QEMU's card, for as long as the wire holds it.
    pub(super) fn pair_instead(&self, pair: usize) -> Option<usize> {
        let is_enabled = |pair: usize| self.queues[receiveq(pair)].enabled;
        if is_enabled(pair) || self.ctrl.steering.pairs <= 1 {
            return Some(pair);
        }
        if self.has(VIRTIO_NET_F_RSS) { None } else { (0..self.ctrl.steering.pairs).find(|&other| is_enabled(other)) }
    }
}
