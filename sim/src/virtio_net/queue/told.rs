//! What notifications say of how far a queue is (VIRTIO_F_NOTIFICATION_DATA, 2.9).

use super::state::{Queue, Rules};
use crate::slot::Slot;

impl Queue {
    /// The place at which the next chain is looked for: an available index, or a packed ring's place.
    pub(super) fn next(&self, rules: Rules) -> u32 {
        if rules.packed { self.packed.next } else { self.split.taken.into() }
    }

    /// How far `to` lies behind `from`.
    fn distance(&self, rules: Rules, from: u32, to: u32) -> u32 {
        let places = if rules.packed { 2 * u32::from(self.size) } else { 1 << 16 };
        (to + places - from) % places
    }

    /// A notification names the place behind all that is available: next_off in its low 15 bits, next_wrap above. It may not lie before what was taken, nor a round ahead.
    pub(in crate::virtio_net) fn tell(&mut self, slot: &Slot<'_>, rules: Rules, next: u16) {
        let (offset, wrap, size) = (u32::from(next & 0x7fff), next >> 15 != 0, u32::from(self.size));
        let place = match rules.packed {
            true => offset + if wrap { 0 } else { size },
            false => next.into(),
        };
        if rules.packed && offset >= size || self.distance(rules, self.next(rules), place) > size {
            slot.violation("a notification names a place that cannot be the next", format_args!("next_off and next_wrap"), next.into(), "2.9");
            return;
        }
        self.told = Some(place);
    }

    /// What a notification vouched for was there before it (4.1.5.2): where nothing waits, all of it was taken.
    pub(super) fn judge_told(&mut self, slot: &Slot<'_>, rules: Rules, waiting: u16) {
        let next = self.next(rules);
        let Some(told) = self.told else { return };
        let left = self.distance(rules, next, told);
        let is_there = if rules.packed { waiting > 0 || left == 0 } else { u32::from(waiting) >= left };
        if !is_there && !self.dead {
            slot.violation("a notification told of more than is available", format_args!("next_off and next_wrap"), told.into(), "2.9");
            self.told = None;
        }
    }

    /// What was told of is taken from `before` on.
    pub(super) fn take_told(&mut self, rules: Rules, before: u32) {
        let taken = self.distance(rules, before, self.next(rules));
        self.told = self.told.filter(|&told| self.distance(rules, before, told) > taken);
    }
}
