//! The short way for one frame.

use core::hint;
use core::ptr::NonNull;

use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::memory::RawBuf;
use crate::buf::meta::LEN_SHIFT;
use crate::ether::MIN_FRAME_BYTES;
use crate::ring::desc::{self as words, BLOCK};
use crate::ring::lane::Pair;
use crate::ring::rules::RX_LENGTH;
use crate::ring::rx::RxRing;
use crate::ring::tx::{REPORT_EVERY, TxRing};
use crate::ring::verdict::{FrameView, Hook, Settled, Verdict};

/// A block that was judged, and whose verdicts are for the long way.
pub(crate) struct Unfit {
    /// How many frames there are.
    pub(crate) count: usize,
    pub(crate) words: [Pair; BLOCK],
    pub(crate) codes: [u8; BLOCK],
    /// Where the data begin and how long they are, where a frame's ends were moved.
    pub(crate) ends: Option<[(NonNull<u8>, usize); BLOCK]>,
}

impl Unfit {
    #[cold]
    fn one(words: Pair, code: u8, ends: (NonNull<u8>, usize)) -> Self {
        Self { count: 1, words: [words; BLOCK], codes: [code; BLOCK], ends: Some([ends; BLOCK]) }
    }
}

/// Judges the next frame, if it is an ordinary one, where a descriptor is free. `ALLOWED`: the transmit ring allows a frame without a report. Returns how many frames
/// it settled; where the verdict was for the long way, `unfit` has it.
#[inline(always)]
pub(crate) fn judge_one<H: Hook, const ALLOWED: bool>(
    rx: &mut RxRing,
    tx: &mut TxRing,
    hook: &mut H,
    batch: &mut Batch,
    settled: &mut Settled,
    unfit: &mut Option<Unfit>,
) -> usize {
    debug_assert!(!ALLOWED || tx.allows_singles());
    if !ALLOWED && tx.free() == 0 {
        return 0;
    }
    let pool = rx.pool.as_ptr();
    let at = rx.next;
    // SAFETY: the receive ring keeps its pool.
    if !unsafe { tx.owners.sources.is_source(pool) } {
        return 0;
    }
    // SAFETY: `next` is always below the numbers of slots and descriptors.
    let (words, slot, desc) = unsafe {
        let desc = rx.desc.at_unmasked(at);
        (words::load(desc), NonNull::new_unchecked(rx.slots.as_mut_ptr()).add(at as usize), desc)
    };
    let len = (words.high() >> LEN_SHIFT) as u16;
    if words.high() & rx.tested & !RX_LENGTH != rx.ordinary || u32::from(len).wrapping_sub(tx.min_bytes) > tx.len_span {
        return 0;
    }
    if usize::from(len) < MIN_FRAME_BYTES || u32::from(len) > rx.room_bytes() {
        return 0;
    }
    barrier::after_done();
    // Before the hook, whose verdict stands.
    let (mut base, mut count) = batch.spares_of(pool);
    if count == 0 {
        (base, count) = fetch(rx, tx, batch);
        if count == 0 {
            return 0;
        }
    }
    // SAFETY: the slot's buffer is done and of this pool; the length is within its room.
    let (filled, mut view) = unsafe {
        let filled = slot.read();
        let view = FrameView::new(filled, pool, [words.low() & rx.kept | rx.queue, words.high()]);
        hint::assert_unchecked(view.len() >= MIN_FRAME_BYTES);
        (filled, view)
    };
    let code = hook.verdict(&mut view).code();
    let has_moved = view.has_moved();
    if code == 0 && !has_moved {
        // SAFETY: the batch is as it was before the hook, which cannot reach it.
        let buf = unsafe {
            batch.set_spares(pool, count - 1);
            base.add(count - 1).read()
        };
        let to = tx.tail;
        let (iova, word) = (filled.word().wrapping_add(rx.delta), tx.word(len.into()));
        let report = if ALLOWED {
            // It is counted as unreported already.
            tx.singles -= 1;
            settled.by_allowance = true;
            0
        } else {
            tx.last = Pair::new(iova, word);
            count_one(tx, to)
        };
        // SAFETY: the tail's slot and descriptor are free; the filled buffer and the empty one change places.
        unsafe {
            *tx.slots.get_unchecked_mut(to as usize) = filled;
            tx.owners.names_at(to as usize).write(tx.owners.sources.names() as u8);
            // In two halves, which is less to do: the device looks behind the doorbell only.
            let halves = tx.desc.at_unmasked(to).cast::<u64>();
            halves.write_volatile(iova.to_le());
            halves.add(1).write_volatile((word | report).to_le());
            slot.write(buf);
            words::store(desc, Pair::new(buf.word().wrapping_add(rx.delta), 0));
        }
        tx.tail = (to + 1) & tx.desc.mask();
        settled.sent += 1;
    } else if code & Verdict::DROP != 0 && !has_moved {
        settled.dropped += 1;
        if code != Verdict::DROP {
            settled.dropped -= 1;
            settled.rest().aborted += 1;
        }
        // SAFETY: as above.
        unsafe { words::store(desc, Pair::new(filled.word().wrapping_add(rx.delta), 0)) };
    } else if code == Verdict::PASS
        && !has_moved
        // SAFETY: the place is written below, and nothing comes before.
        && let Some((place, buf)) = unsafe { batch.exchange_one(pool) }
    {
        // SAFETY: the filled buffer leaves its slot for the empty one, and the place is a frame's.
        unsafe {
            place.write(view.into_frame());
            slot.write(buf);
            words::store(desc, Pair::new(buf.word().wrapping_add(rx.delta), 0));
        }
        settled.rest().passed += 1;
    } else {
        // One frame is a block that has one.
        *unfit = Some(Unfit::one(words, code, (view.start(), view.len())));
        return 0;
    }
    rx.next = (at + 1) & rx.desc.mask();
    1
}

/// Counts a descriptor that is to be written at `to`, and returns the bits by which it asks for a report, where one is due.
#[inline(always)]
fn count_one(tx: &mut TxRing, to: u32) -> u64 {
    tx.unreported += 1;
    if tx.unreported < REPORT_EVERY {
        return 0;
    }
    tx.unreported = 0;
    tx.push_report(to);
    tx.rules.report
}

/// Fetches empty buffers, those that were sent or else those of the pool, and says where their stack begins and how many there are.
#[cold]
#[inline(never)]
fn fetch(rx: &RxRing, tx: &mut TxRing, batch: &mut Batch) -> (NonNull<RawBuf>, usize) {
    tx.reclaim(batch);
    batch.refill(&rx.pool, 1);
    batch.spares_of(rx.pool.as_ptr())
}

/// Whether all frames that the transmit ring takes as they are lie within a receive buffer, and are no shorter than a frame on the wire.
#[inline(always)]
pub(super) fn takes_frames_of(rx: &RxRing, tx: &TxRing) -> bool {
    tx.min_bytes >= MIN_FRAME_BYTES as u32 && tx.min_bytes + tx.len_span <= rx.room_bytes()
}
