//! Verdicts on frames in the buffers of a receive queue: from there into the slots of a transmit queue, and no further.
//!
//! As with cards' rings ([`hook`](crate::ring::hook)) a filled buffer and an empty one change places: the empty one is what lies behind the next entry of the
//! transmit queue's used ring, whose descriptor the filled one takes over. To drop a frame, its descriptor is made available again as it is.
//!
//! A slot is never empty here, so a device that names one twice in a call is not found out, as a poll would: the hook is shown what lies in the slot's buffer by then, which
//! is this queue's as before. Neither an owner nor a bound is taken from what the device says.

use core::hint;
use core::ptr::NonNull;

use super::{SplitRx, SplitTx};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::meta::LEN_SHIFT;
use crate::ether::MIN_FRAME_BYTES;
use crate::ring::verdict::{FrameView, Hook, Judged, Settled, Verdict};
use crate::ring::virtq::apart::place_header;
use crate::ring::virtq::judged::{Outlet, Undone, header_of};
use crate::ring::virtq::{HEADER_BYTES, HookRules, TAG_MASK};

type SplitOutlet<'a> = Outlet<'a, SplitTx<HEADER_BYTES>>;

/// The next used entry that is to be judged.
struct Next {
    id: usize,
    filled: RawBuf,
    words: [u64; 2],
}

impl SplitRx<HEADER_BYTES> {
    /// The next used entry, if it is an ordinary frame.
    #[inline(always)]
    fn next_ordinary(&self, rules: &HookRules) -> Option<Next> {
        let (id, used_bytes) = self.queue.used_entry();
        let filled = (*self.slots.get(id as usize)?)?;
        let (min, max) = rules.used_bytes;
        if used_bytes.wrapping_sub(min) > max.wrapping_sub(min) {
            return None;
        }
        // SAFETY: the buffer was lent and came back, and has as many bytes of headroom (seen in `new`).
        let (low, high) = unsafe { header_of::<HEADER_BYTES>(filled) };
        if !rules.is_usual(low, high) {
            return None;
        }
        let len = u64::from(used_bytes - HEADER_BYTES as u32);
        Some(Next { id: id as usize, filled, words: [0, rules.known(low) | len << LEN_SHIFT] })
    }

    /// Passes the next used entry, whose buffer stays, and makes its descriptor available again.
    #[inline(always)]
    fn lend_again(&mut self, id: usize) {
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        self.queue.make_available(id as u16);
    }

    /// The same with `empty` in the slot.
    ///
    /// # Safety
    /// `id` is a slot's, whose buffer the caller has taken; `empty` is a buffer of this queue's pool, and goes there.
    #[inline(always)]
    unsafe fn lend_other(&mut self, id: usize, empty: RawBuf) {
        let iova = self.iova_of(empty);
        // SAFETY: `id` is below the number of slots and descriptors, by the caller's word. Length and flags stay as `new` wrote them.
        unsafe {
            *self.slots.get_unchecked_mut(id) = Some(empty);
            self.queue.desc.at_unmasked(id as u32).cast::<u64>().write_volatile(iova.to_le());
        }
        self.lend_again(id);
    }

    /// Takes the frame behind the next used entry, which was judged, out of the queue; `None` where it is not there any more, or no empty buffer is.
    pub(crate) fn take_judged(&mut self, batch: &mut Batch, undone: &Undone) -> Option<Frame> {
        let (id, filled) = self.judged(undone)?;
        let empty = batch.take_spare(&self.pool)?;
        // SAFETY: the slot's buffer leaves it for `empty`; what the hook did lies within it, as was just seen.
        unsafe {
            let view = FrameView::again(filled, self.pool.as_ptr(), undone.words, (undone.start, undone.len));
            self.lend_other(id, empty);
            Some(view.into_frame())
        }
    }

    /// Drops that frame, and says whether it was there.
    pub(crate) fn drop_judged(&mut self, undone: &Undone) -> bool {
        let judged = self.judged(undone);
        if let Some((id, _)) = judged {
            self.lend_again(id);
        }
        judged.is_some()
    }

    /// The slot and the buffer behind the next used entry, if they are those that were judged: the device may have written there since.
    fn judged(&self, undone: &Undone) -> Option<(usize, RawBuf)> {
        if self.queue.seen() == 0 {
            return None;
        }
        let (id, _) = self.queue.used_entry();
        let filled = (*self.slots.get(id as usize)?)?;
        undone.is_within(self.pool.inner(), filled).then_some((id as usize, filled))
    }
}

impl Outlet<'_, SplitTx<HEADER_BYTES>> {
    /// An empty buffer of `pool` for a receive slot, and the descriptor that is free with it: that of a frame that was sent, else a free one and a buffer of the
    /// batch's stack, but for the `owed` ones there that empty slots wait for.
    #[inline(always)]
    fn exchange(&mut self, batch: &mut Batch, pool: NonNull<PoolInner>, owed: usize, (tag, sent): (u64, &mut usize)) -> Option<(RawBuf, u16)> {
        if *sent > 0 {
            let (id, _) = self.tx.queue.used_entry();
            if let Some(slot) = self.tx.slots.get(id as usize)
                && *slot & TAG_MASK == tag
            {
                *sent -= 1;
                self.tx.queue.next_used = self.tx.queue.next_used.wrapping_add(1);
                // SAFETY: a slot with this tag holds a buffer of this pool; the caller writes over it.
                return Some((unsafe { RawBuf::of_word(*slot - tag) }, id as u16));
            }
        }
        self.exchange_other(batch, pool, owed)
    }

    #[cold]
    #[inline(never)]
    fn exchange_other(&mut self, batch: &mut Batch, pool: NonNull<PoolInner>, owed: usize) -> Option<(RawBuf, u16)> {
        if self.tx.free_count == 0 || batch.spares_of(pool).1 <= owed {
            return None;
        }
        let empty = batch.take_ready(pool)?;
        self.tx.take_free().map(|id| (empty, id))
    }
}

/// Judges the frames that are ready, at most `budget`, up to one that is not ordinary, or whose verdict `outlet` does not carry out: that is left in
/// `undone`. Where there is one at first, it is the verdict on the first frame. Returns how many frames were settled, and how far that was.
#[inline(never)]
pub(crate) fn judge<H: Hook>(
    (rx, rules): (&mut SplitRx<HEADER_BYTES>, &HookRules),
    mut outlet: Option<SplitOutlet<'_>>,
    hook: &mut H,
    (batch, settled): (&mut Batch, &mut Settled),
    budget: usize,
    undone: &mut Option<Undone>,
) -> (usize, Judged) {
    let pool = rx.pool.as_ptr();
    let mut sent = 0;
    let mut tag = 0;
    if let Some(outlet) = &mut outlet {
        // SAFETY: the receive queue keeps its pool.
        if unsafe { outlet.tx.turn_to(pool) } {
            outlet.tx.singles = 0;
            tag = outlet.tx.sources.names() & TAG_MASK;
            sent = outlet.tx.queue.ready().unwrap_or(0).into();
            if sent == 0 && batch.spares_of(pool).1 < rx.owed_count + budget {
                batch.refill(&rx.pool, rx.owed_count + budget);
            }
        } else {
            outlet.bytes = (1, 0);
        }
    }
    let limit = budget.min(rx.queue.seen());
    let mut done = 0;
    while done < limit {
        if undone.is_none()
            && let Some(outlet) = &mut outlet
        {
            let mut run = Run::new(rx, outlet, batch, settled, tag, sent, limit - done);
            // Of one pool, in the common case, there is no tag.
            if tag == 0 {
                run.judge::<H, true>(rules, hook, undone);
            } else {
                run.judge::<H, false>(rules, hook, undone);
            }
            (done, sent) = (done + run.done, sent - run.sent);
            drop(run);
            if done == limit {
                break;
            }
        }
        match settle_next((&mut *rx, rules), outlet.as_mut(), hook, (&mut *batch, &mut *settled), (tag, &mut sent), undone) {
            Some(Judged::Unusual) => return (done, Judged::Unusual),
            Some(Judged::All) => return (done, Judged::All),
            None => done += 1,
        }
    }
    (done, Judged::All)
}

/// Frames that lie behind one another in all rings, each of which is dropped, or leaves by the outlet for the buffer of one that was sent. What they were moved
/// by is written back when this is dropped, also by a panic of the hook.
struct Run<'a, 'b> {
    rx: &'a mut SplitRx<HEADER_BYTES>,
    outlet: &'a mut SplitOutlet<'b>,
    batch: &'a mut Batch,
    settled: &'a mut Settled,
    tag: u64,
    /// How many frames there are at most, and how many of them can be sent.
    most: usize,
    most_sent: usize,
    done: usize,
    sent: usize,
    passed: usize,
    passed_bytes: u64,
    sent_bytes: u64,
    dropped_bytes: u64,
}

impl<'a, 'b> Run<'a, 'b> {
    #[inline(always)]
    fn new(
        rx: &'a mut SplitRx<HEADER_BYTES>,
        outlet: &'a mut SplitOutlet<'b>,
        batch: &'a mut Batch,
        settled: &'a mut Settled,
        tag: u64,
        sent: usize,
        most: usize,
    ) -> Self {
        let most = most.min(rx.queue.used_run().1).min(rx.queue.avail_run().1);
        let most_sent = sent.min(outlet.tx.queue.used_run().1).min(outlet.tx.queue.avail_run().1);
        Self { rx, outlet, batch, settled, tag, most, most_sent, done: 0, sent: 0, passed: 0, passed_bytes: 0, sent_bytes: 0, dropped_bytes: 0 }
    }

    /// Goes on until a frame is not such a one; where it is judged already, its verdict is in `undone`.
    #[inline(always)]
    fn judge<H: Hook, const OWN: bool>(&mut self, rules: &HookRules, hook: &mut H, undone: &mut Option<Undone>) {
        let rules = *rules;
        let (pool, iova) = (self.rx.pool.as_ptr(), self.rx.delta.wrapping_sub(HEADER_BYTES as u64));
        let (used, mut avail) = (self.rx.queue.used_run().0, self.rx.queue.avail_run().0);
        let (slots, size, desc) = (self.rx.slots.as_mut_ptr(), self.rx.slots.len(), self.rx.queue.desc.at(0));
        let tx = &mut *self.outlet.tx;
        let (sent_used, out) = (tx.queue.used_run().0, tx.queue.avail_run().0);
        let (to, to_size, to_desc) = (tx.slots.as_mut_ptr(), tx.slots.len(), tx.queue.desc.at(0));
        let (code_of_tx, most, most_sent) = (self.outlet.code, self.most, self.most_sent);
        let tag = if OWN { 0 } else { self.tag };
        // Lengths that both queues take.
        let (min, max) = self.outlet.bytes;
        let min_used = rules.used_bytes.0.max(u32::from(min) + HEADER_BYTES as u32);
        let span = rules.used_bytes.1.min(u32::from(max) + HEADER_BYTES as u32).wrapping_sub(min_used);
        if min_used < (HEADER_BYTES + MIN_FRAME_BYTES) as u32 || span > u32::from(u16::MAX) {
            return;
        }
        while self.done < most {
            // SAFETY: `done` is below `most`: entries lie inside their rings, and numbers were compared with the numbers of slots and descriptors. A slot's
            // buffer was lent and came back, with `HEADER_BYTES` of headroom, and its length is within its room. A buffer of the same pool, behind a used
            // entry of the transmit queue, and it change places.
            unsafe {
                let entry = used.add(2 * self.done);
                let (id, used_bytes) = (u32::from_le(entry.read_volatile()) as usize, u32::from_le(entry.add(1).read_volatile()));
                if id >= size {
                    return;
                }
                let Some(filled) = *slots.add(id) else { return };
                let home = filled.ptr();
                let (low, high) = header_of::<HEADER_BYTES>(filled);
                if used_bytes.wrapping_sub(min_used) > span || !rules.is_usual(low, high) {
                    return;
                }
                let len = (used_bytes - HEADER_BYTES as u32) as usize;
                let mut view = FrameView::new(filled, pool, [0, rules.known(low) | (len as u64) << LEN_SHIFT]);
                hint::assert_unchecked(view.len() >= MIN_FRAME_BYTES);
                let code = hook.verdict(&mut view).code();
                let has_moved = view.has_moved();
                if code == code_of_tx && !has_moved && self.sent < most_sent {
                    let out_id = u32::from_le(sent_used.add(2 * self.sent).read_volatile()) as usize;
                    if out_id < to_size && *to.add(out_id) & TAG_MASK == tag {
                        let empty = *to.add(out_id) - tag;
                        home.sub(HEADER_BYTES).cast::<[u8; HEADER_BYTES]>().write([0; HEADER_BYTES]);
                        *to.add(out_id) = filled.word() | tag;
                        let descriptor = to_desc.add(out_id).cast::<u64>();
                        descriptor.write_volatile(filled.word().wrapping_add(iova).to_le());
                        descriptor.add(1).write_volatile((len as u64 + HEADER_BYTES as u64).to_le());
                        out.add(self.sent).write_volatile((out_id as u16).to_le());
                        slots.add(id).cast::<u64>().write(empty);
                        desc.add(id).cast::<u64>().write_volatile(empty.wrapping_add(iova).to_le());
                        avail.add(self.done).write_volatile((id as u16).to_le());
                        self.sent += 1;
                        self.sent_bytes += len as u64;
                        self.done += 1;
                        continue;
                    }
                }
                if code == Verdict::DROP {
                    avail.add(self.done).write_volatile((id as u16).to_le());
                    self.dropped_bytes += len as u64;
                    self.done += 1;
                    continue;
                }
                if code == Verdict::PASS && !has_moved && self.pass(slots, id, filled, view.words()) {
                    self.passed_bytes += len as u64;
                    // Nothing is made available for it yet: the entry of the next frame is the one that this would have had.
                    avail = avail.sub(1);
                    self.done += 1;
                    continue;
                }
                *undone = Some(Undone { code, start: view.start(), len: view.len(), words: view.words() });
                return;
            }
        }
    }

    /// Hands a frame up, if there will be an empty buffer for its slot.
    ///
    /// # Safety
    /// The slot `id` of the receive queue's has this buffer, which is done, and the words' length is within its room.
    #[inline(never)]
    unsafe fn pass(&mut self, slots: *mut Option<RawBuf>, id: usize, filled: RawBuf, words: [u64; 2]) -> bool {
        let Some(place) = place_for(self.rx, self.batch) else { return false };
        // SAFETY: the buffer leaves its slot, which is owed one of those on the stack; the place is in the batch, and counted there.
        unsafe {
            *slots.add(id) = None;
            *self.rx.owed.get_unchecked_mut(self.rx.owed_count) = id as u16;
            place.write(FrameView::new(filled, self.rx.pool.as_ptr(), words).into_frame());
            self.batch.commit(1);
        }
        self.rx.owed_count += 1;
        self.passed += 1;
        true
    }
}

impl Drop for Run<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        let Self { rx, outlet, settled, done, sent, passed, sent_bytes, dropped_bytes, passed_bytes, .. } = self;
        let (rx, tx) = (&mut rx.queue, &mut outlet.tx.queue);
        rx.next_used = rx.next_used.wrapping_add(*done as u16);
        rx.next_avail = rx.next_avail.wrapping_add((*done - *passed) as u16);
        tx.next_used = tx.next_used.wrapping_add(*sent as u16);
        tx.next_avail = tx.next_avail.wrapping_add(*sent as u16);
        settled.sent += *sent as u32;
        settled.dropped += (*done - *sent - *passed) as u32;
        settled.bytes += *sent_bytes + *dropped_bytes + *passed_bytes;
        if *passed > 0 {
            settled.rest().passed += *passed as u32;
        }
        settled.sent_bytes += *sent_bytes;
    }
}

// A slot holds a buffer or nothing, in one word: a home address, or 0.
const _: () = assert!(size_of::<Option<RawBuf>>() == size_of::<u64>());

/// Settles the next frame; where it does not, it says how far the queue was judged.
#[inline(never)]
fn settle_next<H: Hook>(
    (rx, rules): (&mut SplitRx<HEADER_BYTES>, &HookRules),
    mut outlet: Option<&mut SplitOutlet<'_>>,
    hook: &mut H,
    (batch, settled): (&mut Batch, &mut Settled),
    (tag, sent): (u64, &mut usize),
    undone: &mut Option<Undone>,
) -> Option<Judged> {
    let pool = rx.pool.as_ptr();
    let (min, max) = outlet.as_ref().map_or((1, 0), |outlet| outlet.bytes);
    let to = outlet.as_ref().map_or(Verdict::ABORT, |outlet| outlet.code);
    let Some(Next { id, filled, words }) = rx.next_ordinary(rules) else { return Some(Judged::Unusual) };
    // SAFETY: the slot's buffer is done and of this pool; the length is within its room, by the used bytes.
    let mut view = unsafe { FrameView::new(filled, pool, words) };
    let code = match undone.take() {
        Some(before) if before.is_within(rx.pool.inner(), filled) => {
            // SAFETY: the ends were just seen to lie within the buffer.
            view = unsafe { FrameView::again(filled, pool, before.words, (before.start, before.len)) };
            before.code
        }
        _ => hook.verdict(&mut view).code(),
    };
    let (start, len) = (view.start(), view.len());
    if code == to
        && (usize::from(min)..=usize::from(max)).contains(&len)
        && (!view.has_moved() || view.headroom() >= HEADER_BYTES)
        && let Some(outlet) = &mut outlet
        && let Some((empty, out)) = outlet.exchange(batch, pool, rx.owed_count, (tag, sent))
    {
        // SAFETY: `out` is free, with `empty` taken from it or from the stack; the filled buffer goes there, and `empty` to its slot. The header lies in the
        // headroom, of which there is enough.
        unsafe {
            let at = place_header::<HEADER_BYTES>(start);
            *outlet.tx.slots.get_unchecked_mut(usize::from(out)) = filled.word() | tag;
            let descriptor = outlet.tx.queue.desc.at_unmasked(out.into()).cast::<u64>();
            descriptor.write_volatile(at.wrapping_add(rx.delta).wrapping_sub(HEADER_BYTES as u64).to_le());
            descriptor.add(1).write_volatile((len as u64 + HEADER_BYTES as u64).to_le());
            outlet.tx.queue.make_available(out);
            rx.lend_other(id, empty);
        }
        settled.sent_bytes += len as u64;
        settled.sent += 1;
    } else if code & Verdict::DROP != 0 {
        rx.lend_again(id);
        if code == Verdict::DROP {
            settled.dropped += 1;
        } else {
            settled.rest().aborted += 1;
        }
    } else if code == Verdict::PASS
        && !view.has_moved()
        && let Some(place) = place_for(rx, batch)
    {
        // SAFETY: the buffer leaves its slot, which is owed one of those on the stack; the place is in the batch, and counted there.
        unsafe {
            *rx.slots.get_unchecked_mut(id) = None;
            *rx.owed.get_unchecked_mut(rx.owed_count) = id as u16;
            place.write(view.into_frame());
            batch.commit(1);
        }
        rx.owed_count += 1;
        rx.queue.next_used = rx.queue.next_used.wrapping_add(1);
        settled.rest().passed += 1;
    } else {
        *undone = Some(Undone { code, start, len, words });
        return Some(Judged::All);
    }
    settled.bytes += words[1] >> LEN_SHIFT & 0xffff;
    None
}

/// A place for a frame, where the stack has a buffer more than slots are owed.
#[inline(always)]
fn place_for(rx: &SplitRx<HEADER_BYTES>, batch: &mut Batch) -> Option<NonNull<Frame>> {
    if batch.spares_of(rx.pool.as_ptr()).1 <= rx.owed_count {
        batch.refill(&rx.pool, rx.owed_count + 1);
        if batch.spares_of(rx.pool.as_ptr()).1 <= rx.owed_count {
            return None;
        }
    }
    batch.places(1)
}
