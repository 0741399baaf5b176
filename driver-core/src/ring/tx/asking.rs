//! Frames that ask for what a context says: what a ring does with them.

use core::ptr::NonNull;

use super::TxRing;
use super::context::{Asking, Contexts, Told, TxContext};
use crate::buf::batch::Batch;
use crate::buf::frame::{Ask, Frame};
use crate::buf::memory::RawBuf;
use crate::buf::meta::Checksum;
use crate::ring::desc::BLOCK;
use crate::ring::lane::LengthLanes;

impl TxRing {
    /// Whether the device was told what `context` says.
    pub fn knows(&self, context: &TxContext) -> bool {
        self.contexts.as_ref().is_some_and(|contexts| contexts.position(context.words).is_some())
    }

    /// Sees to it that the device knows `context`, by a descriptor where it does not, and returns what the second word of each descriptor of `frame` has beside
    /// the command. `None` where no descriptor is free, or the rules know of no contexts.
    pub fn set_context(&mut self, context: &TxContext, frame: &Frame) -> Option<u64> {
        let second = self.rules.second_context;
        let contexts = self.contexts.as_ref()?;
        let at = match contexts.position(context.words) {
            Some(at) => at,
            None if self.free() == 0 => return None,
            None => {
                // Two flows in turn keep one each.
                let at = 1 - contexts.last;
                let [low, high] = context.words;
                self.put_context(low, if at == 0 { high } else { high | second });
                at
            }
        };
        let more = if at == 0 { context.more } else { context.more | second };
        let (ask, min_bytes) = (frame.asked(), self.rules.min_bytes.max(context.min_bytes).min(self.rules.max_bytes));
        let asking = Asking {
            ask: if context.min_bytes > self.rules.max_bytes { Ask::NONE } else { ask },
            more,
            min_bytes,
            lengths: LengthLanes::new(self.rules.command | more, self.rules.payload_shift, min_bytes, self.rules.max_bytes),
            request: ask.request().map(LengthLanes::all),
            tag: ask.vlan().map(LengthLanes::all),
        };
        let told = Told { context: *context, asking };
        let contexts = self.contexts.as_mut()?;
        *contexts.told.get_mut(at)? = Some(told);
        contexts.last = at;
        Some(more)
    }

    /// Queues a descriptor that is none of a frame's.
    fn put_context(&mut self, low: u64, high: u64) {
        self.owners.set_nothing(self.tail as usize);
        if let Some(place) = self.bytes.get_mut(self.tail as usize) {
            *place = 0;
        }
        self.store(RawBuf::MARK, low, high, false);
    }

    /// Forgets what the device was told: it was reset.
    pub(super) fn forget_contexts(&mut self) {
        if let Some(contexts) = &mut self.contexts {
            **contexts = Contexts::new();
        }
    }

    /// Takes frames from the front of `batch` that all ask for what the device was told, as [`TxRing::put_blocks`] takes those that ask for nothing; `blocks` at
    /// most, and where they reach the ring's end as many more as there is room for.
    ///
    /// # Safety
    /// So many blocks are in the batch, and as many descriptors are free from the tail to the ring's end.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn put_asking_blocks(&mut self, batch: &mut Batch, blocks: usize) -> usize {
        // Taken out for as long, so that the ring can be changed meanwhile.
        let Some(mut contexts) = self.contexts.take() else { return 0 };
        let mut taken = 0;
        if let Some(first) = batch.frames().first()
            && let Some(asking) = contexts.asked_for(first)
            // SAFETY: the frame is alive.
            && unsafe { self.owners.turn_to(first.pool_ptr(), (self.head, self.tail)) }
        {
            let mut blocks = blocks;
            // Up to the ring's end, and on from its start.
            while blocks > 0 {
                let frames = NonNull::from(batch.frames_mut()).cast::<Frame>();
                // SAFETY: the caller's, and below.
                let now = unsafe { self.run_blocks(frames, blocks, Some(asking)) };
                batch.advance(now);
                taken += now;
                self.tail = (self.tail + now as u32) & self.desc.mask();
                blocks = if self.tail == 0 && now > 0 { batch.len().min(self.free() as usize) / BLOCK } else { 0 };
            }
        }
        // Nothing was put in its place meanwhile, so that there is nothing to drop.
        core::mem::forget(self.contexts.replace(contexts));
        taken
    }

    /// Takes the frame at the front of `batch` where it asks for what the device was told and is an ordinary one otherwise, and a descriptor is free.
    #[inline(never)]
    pub fn put_asking(&mut self, batch: &mut Batch) -> bool {
        let Some(frame) = batch.frames().first() else { return false };
        let (pool, len, buf) = (frame.pool_ptr(), frame.linear_len(), RawBuf::at(frame.ptr()));
        let Some(asking) = self.contexts.as_mut().and_then(|contexts| contexts.asked_for(frame)) else { return false };
        let (more, min_bytes) = (asking.more, asking.min_bytes);
        let fits = (min_bytes.into()..=self.rules.max_bytes.into()).contains(&len) && self.free() > 0;
        // SAFETY: the frame is alive.
        if !fits || !unsafe { self.owners.turn_to(pool, (self.head, self.tail)) } {
            return false;
        }
        if self.goes_round(batch.len()) {
            let blocks = batch.len().min(self.free() as usize) / BLOCK;
            // SAFETY: they are in the batch, and the ring's start is free for as many.
            return unsafe { self.put_asking_blocks(batch, blocks) > 0 } || self.put_asking(batch);
        }
        batch.advance(1);
        let (iova, word) = (buf.word().wrapping_add(self.owners.sources.delta()), self.word(len as u32) | more);
        // SAFETY: `tail` is always below the number of slots.
        unsafe { self.owners.names_at(self.tail as usize).write(self.owners.sources.names() as u8) };
        self.store(buf, iova, word, true);
        true
    }

    /// Behind a context blocks end askew of the ring's end: what is left before it is filled with the same context once more, for `frames` that may go as blocks
    /// from the ring's start on, and from then on. Returns whether it did.
    fn goes_round(&mut self, frames: usize) -> bool {
        let left = self.desc.len() - self.tail;
        let Some(contexts) = &self.contexts else { return false };
        let last = contexts.last;
        let Some(told) = contexts.told.get(last).copied().flatten() else { return false };
        if left >= BLOCK as u32 || frames < BLOCK || self.free() < left + BLOCK as u32 {
            return false;
        }
        let [low, high] = told.context.words;
        for _ in 0..left {
            self.put_context(low, if last == 0 { high } else { high | self.rules.second_context });
        }
        true
    }
}

impl Frame {
    /// What the frame asks for, whatever kind of frame it is, where words can say all of it.
    fn asked(&self) -> Ask {
        if self.segmentation().is_some() {
            return Ask::NONE;
        }
        let checksum = match self.checksum() {
            Checksum::Partial { start, offset } => Some((start, offset)),
            Checksum::PartialSctp { .. } => return Ask::NONE,
            _ => None,
        };
        Ask::new(checksum, self.vlan())
    }
}
