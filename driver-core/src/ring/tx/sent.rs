//! What was sent: the reports of the device, and the way of the buffers back.

use core::ptr::NonNull;

use super::{Reclaimed, TxRing};
use crate::barrier;
use crate::buf::batch::Batch;
use crate::ring::desc::BLOCK;
use crate::ring::owners::eight;

impl TxRing {
    /// The position of the oldest report, if it is there.
    #[inline(always)]
    pub(super) fn reported(&self) -> Option<u32> {
        if self.report_head == self.report_tail {
            return None;
        }
        // SAFETY: the position is masked, and `reports` has as many places as the ring.
        let at = unsafe { *self.reports.get_unchecked((self.report_head & self.desc.mask()) as usize) };
        (self.desc.load_high(at) & self.rules.done != 0).then_some(at)
    }

    /// Whether the oldest report is there.
    #[inline(always)]
    pub fn has_report(&self) -> bool {
        self.reported().is_some()
    }

    /// Whether the device was asked for a report that nobody has seen yet.
    pub fn owes_report(&self) -> bool {
        self.report_head != self.report_tail
    }

    /// Puts the buffers of reported frames onto `batch`'s stack of empty buffers (or back to their pools, where it has no room).
    #[inline(always)]
    pub fn reclaim(&mut self, batch: &mut Batch) -> Reclaimed {
        let mut all = Reclaimed::default();
        while let Some(at) = self.reported() {
            barrier::after_done();
            self.report_head = self.report_head.wrapping_add(1);
            let count = (at.wrapping_sub(self.head) & self.desc.mask()) + 1;
            all.bytes += self.free_slots(batch, count);
            all.descriptors += count;
        }
        all
    }

    /// Frees the `count` oldest slots and returns their frames' bytes.
    #[inline(always)]
    pub(in crate::ring) fn free_slots(&mut self, batch: &mut Batch, count: u32) -> u64 {
        let mut left = count;
        while left > 0 {
            let run = left.min(self.desc.len() - self.head);
            let mut step = self.free_blocks(batch, run as usize / BLOCK) as u32;
            if step == 0 {
                step = self.free_part(batch, run);
            }
            self.head = (self.head + step) & self.desc.mask();
            left -= step;
        }
        if self.bytes.is_empty() { 0 } else { self.bytes_before_head(count) }
    }

    /// The bytes of the `count` slots that were just freed.
    #[cold]
    fn bytes_before_head(&self, count: u32) -> u64 {
        let mask = self.desc.mask();
        (1..=count).filter_map(|k| self.bytes.get((self.head.wrapping_sub(k) & mask) as usize)).map(|&b| u64::from(b)).sum()
    }

    /// Frees up to `blocks` blocks of 8 slots at `head`, as long as all their buffers are of one pool whose stack is at hand and has room.
    #[inline(always)]
    fn free_blocks(&mut self, batch: &mut Batch, blocks: usize) -> usize {
        if blocks == 0 {
            return 0;
        }
        // SAFETY: a block follows `head`, which is a slot then.
        let (names, slots) =
            unsafe { (self.owners.names_at(self.head as usize), NonNull::new_unchecked(self.slots.as_mut_ptr()).add(self.head as usize)) };
        // SAFETY: as above.
        let name = unsafe { names.read() };
        let Some(pool) = self.owners.sources.named(name) else { return 0 };
        let blocks = blocks.min(batch.room_for(pool) / BLOCK);
        let (base, count) = batch.spares_of(pool);
        let wanted = eight(name);
        let mut done = 0;
        while done < blocks * BLOCK {
            // SAFETY: `blocks` whole blocks of names and slots follow `head`, and as many places `count` on the stack.
            unsafe {
                if names.add(done).cast::<u64>().read_unaligned() != wanted {
                    break;
                }
                base.add(count + done).copy_from_nonoverlapping(slots.add(done), BLOCK);
            }
            done += BLOCK;
        }
        if done > 0 {
            // SAFETY: the loop put `done` buffers of this pool, which the slots owned, above `count`.
            unsafe { batch.set_spares(pool, count + done) };
        }
        done
    }

    /// Frees up to `count` slots, fewer than a block where they are of one pool whose stack is at hand and has room, else one. Returns how many.
    #[cold]
    #[inline(never)]
    fn free_part(&mut self, batch: &mut Batch, count: u32) -> u32 {
        let at = self.head as usize;
        if at + BLOCK <= self.slots.len() && (count as usize) < BLOCK {
            // SAFETY: a block of names follows `head`.
            let names = unsafe { self.owners.names_at(at).cast::<u64>().read_unaligned() };
            if let Some(pool) = self.owners.sources.named(names as u8)
                && (names ^ eight(names as u8)) << (u64::BITS - u8::BITS * count) == 0
                && batch.room_at_hand(pool) >= BLOCK
            {
                let (base, spares) = batch.spares_of(pool);
                // SAFETY: a block of slots follows `head`, and as many places lie above the stack's top, of which the first `count` are counted: buffers of this pool, which the slots owned.
                unsafe {
                    base.add(spares).copy_from_nonoverlapping(NonNull::new_unchecked(self.slots.as_mut_ptr()).add(at), BLOCK);
                    batch.set_spares(pool, spares + count as usize);
                }
                return count;
            }
        }
        self.free_one(batch);
        1
    }

    fn free_one(&mut self, batch: &mut Batch) {
        let at = self.head as usize;
        let (Some(&slot), Some(pool)) = (self.slots.get(at), self.owners.of(at)) else { return };
        // SAFETY: the slot owned the buffer, which is of `pool`, and `head` moves past it.
        unsafe { batch.put_spares(pool, &[slot]) };
    }
}
