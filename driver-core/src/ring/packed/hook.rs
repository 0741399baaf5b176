//! Verdicts on frames in the buffers of a receive queue: from there into the slots of a transmit queue, and no further.
//!
//! As over split queues a filled buffer goes from its receive slot to the transmit queue, and an empty one takes its place, in the descriptor that lends it anew. The
//! empty one is of the batch's stack, onto which buffers that were sent come back, a run at a time. To drop a frame, its buffer is lent anew.
//!
//! Frames are judged here that come in order, to leave by a queue in which frames come back in order: there the descriptors that are free have IDs that are. All others are
//! polled, or put as frames.

use core::hint;
use core::ptr::NonNull;

use super::queue::{NEXT_ID, TESTED, store_word};
use super::{PackedRx, PackedTx};
use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::meta::LEN_SHIFT;
use crate::ether::MIN_FRAME_BYTES;
use crate::ring::verdict::{FrameView, Hook, Judged, Settled, Verdict};
use crate::ring::virtq::apart::place_header;
use crate::ring::virtq::judged::{Outlet, Undone, header_of};
use crate::ring::virtq::{HEADER_BYTES, HookRules, TAG_MASK};

type PackedOutlet<'a> = Outlet<'a, PackedTx<HEADER_BYTES>>;

impl PackedRx<HEADER_BYTES> {
    /// The second word of the next used descriptor, if there is one, and its buffer, if it comes in order: that of its offset.
    #[inline(always)]
    fn next_in_order(&self) -> Option<(u64, Option<RawBuf>)> {
        let word = self.queue.used()?;
        let id = (word >> 32) as u16;
        let is_in_order = id == self.queue.offset(self.queue.next_used);
        Some((word, self.slots.get(usize::from(id)).copied().filter(|_| is_in_order)))
    }

    /// The buffer and the words of the next frame; without one, how far the queue was judged.
    #[inline(always)]
    fn next_ordinary(&self, rules: &HookRules) -> Result<(RawBuf, [u64; 2]), Judged> {
        let (word, filled) = self.next_in_order().ok_or(Judged::All)?;
        let filled = filled.ok_or(Judged::Unusual)?;
        let (min_used, span) = self.bounds(rules).ok_or(Judged::Unusual)?;
        let used_bytes = word as u32;
        // SAFETY: the buffer was lent and came back, and has as many bytes of headroom (seen in `new`).
        let (low, high) = unsafe { header_of::<HEADER_BYTES>(filled) };
        if used_bytes.wrapping_sub(min_used) > span || !rules.is_usual(low, high) {
            return Err(Judged::Unusual);
        }
        let len = u64::from(used_bytes) - HEADER_BYTES as u64;
        Ok((filled, [0, rules.known(low) | len << LEN_SHIFT]))
    }

    /// Passes the next used descriptor, which came in order, and lends `buf` in its stead.
    ///
    /// # Safety
    /// The caller has taken the buffer that was lent there; `buf` is it, or one of this queue's pool, and goes there.
    #[inline(always)]
    unsafe fn lend(&mut self, buf: RawBuf) {
        let id = self.queue.offset(self.queue.next_used);
        // SAFETY: an offset is below the number of slots.
        unsafe { *self.slots.get_unchecked_mut(usize::from(id)) = buf };
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        let (iova, word) = (self.iova_of(buf), self.lent_word(id));
        self.queue.put(iova, word);
    }

    /// Takes the frame of the next used descriptor, which was judged, out of the queue; `None` where it is not there any more, or no empty buffer is.
    pub(crate) fn take_judged(&mut self, batch: &mut Batch, undone: &Undone) -> Option<Frame> {
        let filled = self.judged(undone)?;
        let empty = batch.take_spare(&self.pool)?;
        // SAFETY: the slot's buffer leaves it for `empty`; what the hook did lies within it, as was just seen.
        unsafe {
            let view = FrameView::again(filled, self.pool.as_ptr(), undone.words, (undone.start, undone.len));
            self.lend(empty);
            Some(view.into_frame())
        }
    }

    /// Drops that frame, and says whether it was there.
    pub(crate) fn drop_judged(&mut self, undone: &Undone) -> bool {
        let judged = self.judged(undone);
        if let Some(filled) = judged {
            // SAFETY: it is lent where it was.
            unsafe { self.lend(filled) };
        }
        judged.is_some()
    }

    /// The buffer of the next used descriptor, if it is the one that was judged: the device may have written there since.
    fn judged(&self, undone: &Undone) -> Option<RawBuf> {
        self.next_in_order()?.1.filter(|&filled| undone.is_within(self.pool.inner(), filled))
    }
}

/// Judges the frames that are ready, at most `budget`, up to one that is not ordinary, or whose verdict `outlet` does not carry out: that is left in
/// `undone`. Where there is one at first, it is the verdict on the first frame. Returns how many frames were settled, and how far that was.
#[inline(never)]
pub(crate) fn judge<H: Hook>(
    (rx, rules): (&mut PackedRx<HEADER_BYTES>, &HookRules),
    mut outlet: Option<PackedOutlet<'_>>,
    hook: &mut H,
    (batch, settled): (&mut Batch, &mut Settled),
    budget: usize,
    undone: &mut Option<Undone>,
) -> (usize, Judged) {
    let pool = rx.pool.as_ptr();
    let wanted = budget.min(rx.slots.len());
    if let Some(outlet) = &mut outlet {
        outlet.tx.singles = 0;
        // SAFETY: the receive queue keeps its pool.
        let is_source = unsafe { outlet.tx.turn_to(pool) };
        if is_source {
            outlet.tx.reclaim_for(batch, pool, wanted);
        }
        if !is_source || !outlet.tx.is_in_order {
            outlet.bytes = (1, 0);
        }
    }
    if batch.spares_of(pool).1 < wanted {
        batch.refill(&rx.pool, wanted);
    }
    let mut done = 0;
    while done < budget {
        if undone.is_none()
            && let Some(outlet) = &mut outlet
        {
            let mut run = Run::new(rx, outlet, batch, settled, budget - done);
            // Of one pool, in the common case, there is no tag.
            if run.outlet.tx.sources.pool() == run.outlet.tx.pool.as_ptr() {
                run.judge::<H, true>(rules, hook, undone);
            } else {
                run.judge::<H, false>(rules, hook, undone);
            }
            done += run.done();
            drop(run);
            if done == budget {
                break;
            }
        }
        match settle_next((&mut *rx, rules), outlet.as_mut(), hook, (&mut *batch, &mut *settled), undone) {
            Some(judged) => return (done, judged),
            None => done += 1,
        }
    }
    (done, Judged::All)
}

/// Frames that lie behind one another in both rings, each of which is dropped, passes, or leaves by the outlet. The devices may use what is lent and sent at once, unless
/// something before it is not published yet. What the rings and the stack were moved by is written back when this is dropped, also by a panic of the hook.
struct Run<'a, 'b> {
    rx: &'a mut PackedRx<HEADER_BYTES>,
    outlet: &'a mut PackedOutlet<'b>,
    batch: &'a mut Batch,
    settled: &'a mut Settled,
    /// The first descriptor, the next one, and the one behind the last.
    first: NonNull<Words>,
    at: NonNull<Words>,
    end: NonNull<Words>,
    /// The same of the transmit queue.
    out_first: NonNull<Words>,
    out: NonNull<Words>,
    out_end: NonNull<Words>,
    /// Empty buffers at first.
    spares: usize,
    passed: usize,
    /// Of frames that were sent, and of all others.
    sent_bytes: u64,
    other_bytes: u64,
}

/// The words of a descriptor.
type Words = [u64; 2];

impl<'a, 'b> Run<'a, 'b> {
    #[inline(always)]
    fn new(
        rx: &'a mut PackedRx<HEADER_BYTES>,
        outlet: &'a mut PackedOutlet<'b>,
        batch: &'a mut Batch,
        settled: &'a mut Settled,
        most: usize,
    ) -> Self {
        let spares = batch.spares_of(rx.pool.as_ptr()).1;
        let (next, out_next) = (rx.queue.offset(rx.queue.next_used), outlet.tx.queue.offset(outlet.tx.queue.next_avail));
        let most = most.min(rx.slots.len() - usize::from(next));
        let most_sent =
            if outlet.bytes.0 <= outlet.bytes.1 { outlet.tx.free().min(outlet.tx.slots.len() - usize::from(out_next)).min(spares) } else { 0 };
        let (first, out_first) = (rx.queue.desc.at(next.into()).cast(), outlet.tx.queue.desc.at(out_next.into()).cast());
        // SAFETY: so many descriptors lie up to each ring's end.
        let (end, out_end) = unsafe { (first.add(most), out_first.add(most_sent)) };
        Self {
            rx,
            outlet,
            batch,
            settled,
            first,
            at: first,
            end,
            out_first,
            out: out_first,
            out_end,
            spares,
            passed: 0,
            sent_bytes: 0,
            other_bytes: 0,
        }
    }

    /// How many frames were settled.
    #[inline(always)]
    fn done(&self) -> usize {
        (self.at.addr().get() - self.first.addr().get()) / size_of::<Words>()
    }

    /// And how many of them sent.
    #[inline(always)]
    fn sent(&self) -> usize {
        (self.out.addr().get() - self.out_first.addr().get()) / size_of::<Words>()
    }

    /// Goes on until a frame is not such a one; where it is judged already, its verdict is in `undone`.
    #[inline(always)]
    fn judge<H: Hook, const OWN: bool>(&mut self, rules: &HookRules, hook: &mut H, undone: &mut Option<Undone>) {
        let rules = *rules;
        let pool = self.rx.pool.as_ptr();
        let iova = self.rx.delta;
        // Lengths that both queues take.
        let (min, max) = self.outlet.bytes;
        let Some((min_used, span)) = self.rx.bounds(&rules) else { return };
        let max_used = (min_used + span).min(u32::from(max) + HEADER_BYTES as u32);
        let min_used = min_used.max(u32::from(min) + HEADER_BYTES as u32);
        let span = u64::from(max_used.wrapping_sub(min_used));
        if min_used < (HEADER_BYTES + MIN_FRAME_BYTES) as u32 || span > u16::MAX.into() {
            return;
        }
        let min_used = u64::from(min_used);
        let (queue, tx) = (&self.rx.queue, &*self.outlet.tx);
        let (next, out_next) = (queue.offset(queue.next_used), tx.queue.offset(tx.queue.next_avail));
        // What makes of the next used descriptor's second word what its length is above the shortest, and of that the word of the descriptor that is lent there.
        let mut least = queue.used_marks(queue.next_used) | u64::from(next) << 32 | min_used;
        let lent = (self.rx.lent_word(next) | queue.available_marks(queue.next_avail)).wrapping_sub(least);
        // The second word of the next descriptor that is sent, less what a length is above the shortest.
        let mut rest = u64::from(out_next) << 32 | tx.queue.available_marks(tx.queue.next_avail) | min_used;
        let tag = if OWN { 0 } else { tx.sources.names() & TAG_MASK };
        let code_of_tx = self.outlet.code;
        // SAFETY: offsets are below the numbers of slots.
        let (mut slot, mut to) = unsafe { (self.rx.slots.as_mut_ptr().add(next.into()), self.outlet.tx.slots.as_mut_ptr().add(out_next.into())) };
        let (base, spares) = self.batch.spares_of(pool);
        // SAFETY: so many buffers lie above the base.
        let mut top = unsafe { base.add(spares) };
        while self.at < self.end {
            // SAFETY: `at` is before `end`, and `out` before `out_end` where a frame is sent: descriptors and slots lie inside their memory, and an empty buffer is below
            // `top`. A slot's buffer was lent and came back, with `HEADER_BYTES` of headroom, and its length is within its room. It goes to a slot that is free, and
            // the empty one, of the same pool, to its own; else it is lent anew. 2.8.21.1: a descriptor's address is out before its flags are.
            unsafe {
                let words = self.at.cast::<u64>();
                let above = (u64::from_le(words.add(1).read_volatile()) & TESTED).wrapping_sub(least);
                if above > span {
                    return;
                }
                barrier::after_done();
                let filled = *slot;
                let (low, high) = header_of::<HEADER_BYTES>(filled);
                if !rules.is_usual(low, high) {
                    return;
                }
                let len = above + min_used - HEADER_BYTES as u64;
                let mut view = FrameView::new(filled, pool, [0, rules.known(low) | len << LEN_SHIFT]);
                hint::assert_unchecked(view.len() >= MIN_FRAME_BYTES);
                let code = hook.verdict(&mut view).code();
                let has_moved = view.has_moved();
                if code == code_of_tx && !has_moved && self.out < self.out_end {
                    top = top.sub(1);
                    let empty = top.read();
                    slot.write(empty);
                    to.write(place_header::<HEADER_BYTES>(filled.ptr()) | tag);
                    let out = self.out.cast::<u64>();
                    out.write_volatile(filled.word().wrapping_add(iova).to_le());
                    words.write_volatile(empty.word().wrapping_add(iova).to_le());
                    barrier::before_doorbell();
                    store_word(out.add(1), rest + above);
                    rest += NEXT_ID;
                    self.out = self.out.add(1);
                    to = to.add(1);
                    self.sent_bytes += len;
                } else {
                    let mut buf = filled;
                    if code == Verdict::PASS && !has_moved && self.sent() + self.passed < self.spares && pass(self.batch, pool, filled, view.words())
                    {
                        top = top.sub(1);
                        buf = top.read();
                        slot.write(buf);
                        self.passed += 1;
                        let sendable = self.spares - self.passed;
                        self.out_end = self.out_end.min(self.out_first.add(sendable));
                    } else if code != Verdict::DROP {
                        *undone = Some(Undone { code, start: view.start(), len: view.len(), words: view.words() });
                        return;
                    }
                    words.write_volatile(buf.word().wrapping_add(iova).to_le());
                    barrier::before_doorbell();
                    self.other_bytes += len;
                }
                store_word(words.add(1), least.wrapping_add(lent));
                self.at = self.at.add(1);
                slot = slot.add(1);
            }
            least += NEXT_ID;
        }
    }
}

/// Hands a frame up, if there is room.
///
/// # Safety
/// The buffer is done and leaves its slot, and the words' length is within its room.
#[inline(never)]
unsafe fn pass(batch: &mut Batch, pool: NonNull<PoolInner>, filled: RawBuf, words: [u64; 2]) -> bool {
    let Some(place) = batch.places(1) else { return false };
    // SAFETY: the caller's; the place is in the batch, and counted there.
    unsafe {
        place.write(FrameView::new(filled, pool, words).into_frame());
        batch.commit(1);
    }
    true
}

impl Drop for Run<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        let (done, sent, passed) = (self.done(), self.sent(), self.passed);
        let Self { rx, outlet, batch, settled, .. } = self;
        rx.queue.next_used = rx.queue.next_used.wrapping_add(done as u16);
        rx.queue.was_put(done as u16);
        outlet.tx.queue.was_put(sent as u16);
        let taken = sent + passed;
        if taken > 0 {
            // SAFETY: the stack of this pool is at hand, since buffers were on it; the run took the upper ones off.
            unsafe { batch.set_spares(rx.pool.as_ptr(), self.spares - taken) };
        }
        settled.sent += sent as u32;
        settled.dropped += (done - taken) as u32;
        settled.bytes += self.sent_bytes + self.other_bytes;
        if passed > 0 {
            settled.rest().passed += passed as u32;
        }
        settled.sent_bytes += self.sent_bytes;
    }
}

/// Settles the next frame; where it does not, it says how far the queue was judged.
#[inline(never)]
fn settle_next<H: Hook>(
    (rx, rules): (&mut PackedRx<HEADER_BYTES>, &HookRules),
    mut outlet: Option<&mut PackedOutlet<'_>>,
    hook: &mut H,
    (batch, settled): (&mut Batch, &mut Settled),
    undone: &mut Option<Undone>,
) -> Option<Judged> {
    let pool = rx.pool.as_ptr();
    let (min, max) = outlet.as_ref().map_or((1, 0), |outlet| outlet.bytes);
    let to = outlet.as_ref().map_or(Verdict::ABORT, |outlet| outlet.code);
    let (filled, words) = match rx.next_ordinary(rules) {
        Ok(next) => next,
        Err(judged) => return Some(judged),
    };
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
    let (start, len, came) = (view.start(), view.len(), view.words());
    if code == to
        && (usize::from(min)..=usize::from(max)).contains(&len)
        && (!view.has_moved() || view.headroom() >= HEADER_BYTES)
        && let Some(outlet) = &mut outlet
        && let Some((empty, id)) = outlet.exchange(rx, batch)
    {
        // SAFETY: the ID is one that is free, and so is a descriptor. The filled buffer goes there, and `empty` to its slot. The header lies in the headroom, of which
        // there is enough.
        unsafe {
            let at = place_header::<HEADER_BYTES>(start).wrapping_add(rx.delta);
            let tag = outlet.tx.sources.names() & TAG_MASK;
            *outlet.tx.slots.get_unchecked_mut(usize::from(id)) = filled.word() | tag;
            outlet.tx.queue.put(at, (len + HEADER_BYTES) as u64 | u64::from(id) << 32);
            rx.lend(empty);
        }
        settled.sent_bytes += len as u64;
        settled.sent += 1;
    } else if code & Verdict::DROP != 0 {
        // SAFETY: the buffer is lent where it was.
        unsafe { rx.lend(filled) };
        if code == Verdict::DROP {
            settled.dropped += 1;
        } else {
            settled.rest().aborted += 1;
        }
    } else if code == Verdict::PASS
        && !view.has_moved()
        && batch.room() > 0
        && let Some(empty) = batch.take_spare(&rx.pool)
        && let Some(place) = batch.places(1)
    {
        // SAFETY: the buffer leaves its slot for the empty one; the place is in the batch, and counted there.
        unsafe {
            place.write(view.into_frame());
            batch.commit(1);
            rx.lend(empty);
        }
        settled.rest().passed += 1;
    } else {
        *undone = Some(Undone { code, start, len, words: came });
        return Some(Judged::All);
    }
    settled.bytes += came[1] >> LEN_SHIFT & 0xffff;
    None
}

impl PackedOutlet<'_> {
    /// An empty buffer for a receive slot, and the ID of the next descriptor, if that is free.
    #[inline(always)]
    fn exchange(&mut self, rx: &PackedRx<HEADER_BYTES>, batch: &mut Batch) -> Option<(RawBuf, u16)> {
        if self.tx.free() == 0 {
            self.tx.reclaim_for(batch, rx.pool.as_ptr(), usize::MAX);
            if self.tx.free() == 0 {
                return None;
            }
        }
        Some((batch.take_spare(&rx.pool)?, self.tx.queue.offset(self.tx.queue.next_avail)))
    }
}
