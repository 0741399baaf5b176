//! The short way: blocks of 8 frames, all of which are dropped or leave by one transmit ring.

use core::hint;
use core::ptr::NonNull;

use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::RawBuf;
use crate::buf::meta::LEN_SHIFT;
use crate::ether::MIN_FRAME_BYTES;
use crate::ring::desc::{self as words, BLOCK};
use crate::ring::hook::eight::Eight;
use crate::ring::hook::single::{Unfit, judge_one, takes_frames_of};
use crate::ring::lane::{LengthLanes, Pair};
use crate::ring::owners::eight;
use crate::ring::rules::RX_LENGTH;
use crate::ring::rx::RxRing;
use crate::ring::tx::{REPORT_EVERY, TxRing};
use crate::ring::verdict::{FrameView, Hook, Settled, Verdict};

/// The highest bit of each of eight codes.
const STAYS: u64 = 0x8080_8080_8080_8080;
const LOW: u64 = 0x0101_0101_0101_0101;

/// How many of eight bytes, each 0 or 1, are 1.
#[inline(always)]
fn sum(bytes: u64) -> u32 {
    (bytes.wrapping_mul(LOW) >> 56) as u32
}

/// Two rings during a run of blocks. What they were moved by is written back when this is dropped, also by a panic of the hook.
struct Run<'a> {
    rx: &'a mut RxRing,
    tx: &'a mut TxRing,
    batch: &'a mut Batch,
    settled: &'a mut Settled,
    /// Blocks that were settled.
    blocks: u32,
    /// Empty buffers come from the batch's stack, not from the transmit ring's head.
    from_stack: bool,
    /// Frames that went into the transmit ring.
    sent: u32,
    dropped: u32,
    last: Pair,
}

impl Drop for Run<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let Self { rx, tx, settled, sent, .. } = self;
        let sent = *sent;
        rx.next = (rx.next + self.blocks * BLOCK as u32) & rx.desc.mask();
        settled.dropped += self.dropped;
        if sent == 0 {
            return;
        }
        settled.sent += sent;
        tx.last = self.last;
        tx.tail = (tx.tail + sent) & tx.desc.mask();
        if self.from_stack {
            let pool = rx.pool.as_ptr();
            let have = self.batch.spares_of(pool).1;
            // SAFETY: the run took the upper `sent` buffers off the stack.
            unsafe { self.batch.set_spares(pool, have - sent as usize) };
        } else {
            tx.pop_reports(sent);
            tx.head = (tx.head + sent) & tx.desc.mask();
        }
    }
}

/// Judges frames in blocks of 8, at most `budget`, as long as the next 8 are all done, ordinary, contiguous, and of lengths that the transmit ring takes.
/// Those for the first queue go to `tx`. Returns how many frames it settled; where a block's verdicts were for the long way, that block is in `unfit`, unsettled.
#[inline(never)]
pub(crate) fn judge_blocks<H: Hook>(
    rx: &mut RxRing,
    tx: &mut TxRing,
    hook: &mut H,
    batch: &mut Batch,
    settled: &mut Settled,
    budget: usize,
    unfit: &mut Option<Unfit>,
) -> usize {
    let pool = rx.pool.as_ptr();
    // SAFETY: the receive ring keeps its pool.
    if budget < BLOCK || !unsafe { tx.owners.turn_to(pool, (tx.head, tx.tail)) } || !takes_frames_of(rx, tx) {
        return 0;
    }
    tx.count_singles();
    let mut done = 0;
    loop {
        let at = rx.next as usize;
        let blocks = (budget - done).min(rx.slots.len() - at) / BLOCK;
        if blocks == 0 {
            return done;
        }
        let (head, tail, len) = (tx.head, tx.tail, tx.len());
        let all_reported = tx.reported_slots();
        let reported = all_reported.min(len - head);
        let room = tx.free().min(len - tail);
        let from_stack = reported < BLOCK as u32;
        if from_stack && all_reported >= BLOCK as u32 {
            tx.free_to_end(batch);
            continue;
        }
        if room < BLOCK as u32 {
            // Round the ring's end one at a time.
            let now = judge_singly(rx, tx, hook, batch, settled, unfit);
            done += now;
            if now < BLOCK {
                return done;
            }
            continue;
        }
        let (lengths, names_of_pool) = (tx.lengths, tx.owners.sources.names());
        // SAFETY: `head`, `tail` and `at` are below the numbers of slots and descriptors.
        let (slots, desc, to, out, names, names_of_empty, mut empty) = unsafe {
            let (slots, names) = (NonNull::new_unchecked(tx.slots.as_mut_ptr()), tx.owners.names_at(0));
            (
                NonNull::new_unchecked(rx.slots.as_mut_ptr()).add(at),
                rx.desc.at_unmasked(at as u32),
                slots.add(tail as usize),
                tx.desc.at_unmasked(tail),
                names.add(tail as usize),
                names.add(head as usize),
                slots.add(head as usize),
            )
        };
        let mut empties = reported;
        if from_stack {
            (empty, empties) = top_of_stack(rx, batch);
        }
        let left = room.min(empties);
        let ways = Ways { slots, desc, to, out, names, names_of_empty, empty, lengths, names_of_pool, left };
        let run = Run { rx, tx, batch, settled, blocks: 0, from_stack, sent: 0, dropped: 0, last: Pair::new(0, 0) };
        let now = if from_stack { run.judge::<H, true>(hook, &ways, blocks, unfit) } else { run.judge::<H, false>(hook, &ways, blocks, unfit) };
        done += now;
        // Where it stopped for want of empty buffers it goes on with others.
        if now == 0 || now == blocks * BLOCK || unfit.is_some() {
            return done;
        }
    }
}

/// Judges eight frames one at a time, and returns how many it settled.
#[inline(never)]
fn judge_singly<H: Hook>(
    rx: &mut RxRing,
    tx: &mut TxRing,
    hook: &mut H,
    batch: &mut Batch,
    settled: &mut Settled,
    unfit: &mut Option<Unfit>,
) -> usize {
    (0..BLOCK).take_while(|_| judge_one::<H, false>(rx, tx, hook, batch, settled, unfit) == 1).count()
}

/// Where the stack of empty buffers ends, and how many lie below.
#[cold]
#[inline(never)]
fn top_of_stack(rx: &RxRing, batch: &mut Batch) -> (NonNull<RawBuf>, u32) {
    if batch.spares_of(rx.pool.as_ptr()).1 < BLOCK {
        batch.refill(&rx.pool, BLOCK);
    }
    let (base, count) = batch.spares_of(rx.pool.as_ptr());
    // SAFETY: `count` buffers lie above the base.
    (unsafe { base.add(count) }, count as u32)
}

/// Where a run reads and writes.
struct Ways {
    slots: NonNull<RawBuf>,
    desc: NonNull<Pair>,
    to: NonNull<RawBuf>,
    out: NonNull<Pair>,
    names: NonNull<u8>,
    /// The names of the next empty buffers at the ring's head.
    names_of_empty: NonNull<u8>,
    /// The next empty buffers, from here on; on the stack, below here.
    empty: NonNull<RawBuf>,
    lengths: LengthLanes,
    names_of_pool: u64,
    /// How many frames can still be sent.
    left: u32,
}

impl Run<'_> {
    #[inline(always)]
    fn judge<H: Hook, const STACK: bool>(mut self, hook: &mut H, ways: &Ways, blocks: usize, unfit: &mut Option<Unfit>) -> usize {
        let Ways { mut slots, mut desc, mut to, mut out, mut names, mut names_of_empty, mut empty, lengths, names_of_pool, mut left } = *ways;
        // SAFETY: a block of names lies where a block of empty buffers does.
        let is_named = |names: NonNull<u8>, wanted| unsafe { names.cast::<u64>().read_unaligned() } == wanted;
        let pool = self.rx.pool.as_ptr();
        let delta = Pair::new(self.rx.delta, self.rx.delta);
        // Lengths are tested by those of the transmit ring, which are within the buffer.
        let unusual = self.rx.unusual & !RX_LENGTH;
        let (whole, ordinary, queue, kept) = (self.rx.whole, self.rx.ordinary, Pair::new(self.rx.queue, 0), self.rx.kept);
        while (self.blocks as usize) < blocks && left >= BLOCK as u32 {
            // SAFETY: `blocks` whole blocks follow in descriptors and slots.
            let words: [Pair; BLOCK] = core::array::from_fn(|k| unsafe { words::load(desc.add(k)) });
            let all = words[1..].iter().fold(words[0], |a, &b| a.and(b));
            let any = words[1..].iter().fold(words[0], |a, &b| a.or(b));
            let lens: [u16; BLOCK] = words.map(|word| (word.high() >> LEN_SHIFT) as u16);
            if all.high() & whole != ordinary || any.high() & unusual | any.low() & !kept != 0 || !lengths.all_within(lens) {
                break;
            }
            barrier::after_done();
            let mut codes = [0; BLOCK];
            let mut ends = [(NonNull::dangling(), 0); BLOCK];
            let mut has_moved = false;
            for k in 0..BLOCK {
                // SAFETY: the slot's buffer is done and of this pool; the length was just tested to be within its room, and no less than a frame's.
                let mut view = unsafe {
                    let view = FrameView::new(slots.add(k).read(), pool, words[k].or(queue).words());
                    hint::assert_unchecked(view.len() >= MIN_FRAME_BYTES);
                    view
                };
                codes[k] = hook.verdict(&mut view).code();
                has_moved |= view.has_moved();
                ends[k] = (view.start(), view.len());
            }
            let eight_codes = u64::from_le_bytes(codes);
            // A byte is 0x80 where the code is the first queue's.
            let goes = !((eight_codes & !STAYS).wrapping_add(!STAYS) | eight_codes | !STAYS);
            if has_moved {
                *unfit = Some(Unfit { count: BLOCK, words, codes, ends: Some(ends) });
                break;
            }
            if eight_codes == 0 {
                if !STACK && !is_named(names_of_empty, names_of_pool) {
                    *unfit = Some(Unfit { count: BLOCK, words, codes, ends: None });
                    break;
                }
                if STACK {
                    // SAFETY: eight buffers are left.
                    empty = unsafe { empty.sub(BLOCK) };
                }
                let tails = lengths.words(lens);
                // SAFETY: the block's buffers are done, and eight empty ones of the same pool are at `empty`. Each takes the other's place. Eight slots and
                // descriptors behind the tail are free, and none of them is one of those at `empty`.
                unsafe {
                    for (k, &tail) in tails.iter().enumerate() {
                        let filled = slots.add(2 * k).cast::<Pair>().read_unaligned();
                        let two = empty.add(2 * k).cast::<Pair>().read_unaligned();
                        to.add(2 * k).cast::<Pair>().write_unaligned(filled);
                        slots.add(2 * k).cast::<Pair>().write_unaligned(two);
                        let iovas = two.plus(delta);
                        words::store(desc.add(2 * k), iovas.low_zero());
                        words::store(desc.add(2 * k + 1), iovas.high_zero());
                        let iovas = filled.plus(delta);
                        words::store(out.add(2 * k), iovas.low_low(tail));
                        self.last = iovas.high_high(tail);
                        words::store(out.add(2 * k + 1), self.last);
                    }
                    names.cast::<u64>().write_unaligned(names_of_pool);
                    self.report(out, BLOCK as u32);
                    if !STACK {
                        (empty, names_of_empty) = (empty.add(BLOCK), names_of_empty.add(BLOCK));
                    }
                    (to, out, names) = (to.add(BLOCK), out.add(BLOCK), names.add(BLOCK));
                }
                left -= BLOCK as u32;
                self.sent += BLOCK as u32;
            } else if eight_codes & STAYS == STAYS {
                self.count_dropped(eight_codes, BLOCK as u32);
                // SAFETY: the block's buffers are lent again as they lie.
                unsafe {
                    for k in 0..BLOCK / 2 {
                        let iovas = slots.add(2 * k).cast::<Pair>().read_unaligned().plus(delta);
                        words::store(desc.add(2 * k), iovas.low_zero());
                        words::store(desc.add(2 * k + 1), iovas.high_zero());
                    }
                }
            } else if (goes | eight_codes) & STAYS == STAYS && (STACK || is_named(names_of_empty, names_of_pool)) {
                if STACK {
                    // SAFETY: eight buffers are left.
                    empty = unsafe { empty.sub(sum(goes >> 7) as usize) };
                }
                let eight = Eight { slots, desc, to, out, empty };
                // SAFETY: as above, but that only those leave their slots that go; where the empty ones are not the stack's, there are eight.
                unsafe {
                    let (at, last) =
                        if STACK { eight.by_twos(goes, lengths.words(lens), delta) } else { eight.exchange(goes, lengths.words(lens), delta) };
                    let going = at as u32;
                    self.last = last;
                    names.cast::<u64>().write_unaligned(names_of_pool);
                    self.report(out, going);
                    if !STACK {
                        (empty, names_of_empty) = (empty.add(at), names_of_empty.add(at));
                    }
                    (to, out, names) = (to.add(at), out.add(at), names.add(at));
                    left -= going;
                    self.sent += going;
                    self.count_dropped(eight_codes, BLOCK as u32 - going);
                }
            } else if eight_codes != eight(Verdict::PASS) || STACK && self.sent > 0 || !pass_block(self.rx, self.batch, slots, desc, words) {
                *unfit = Some(Unfit { count: BLOCK, words, codes, ends: None });
                break;
            } else {
                self.settled.rest().passed += BLOCK as u32;
                if STACK {
                    let (base, count) = self.batch.spares_of(pool);
                    // SAFETY: `count` buffers lie above the base.
                    (empty, left) = (unsafe { base.add(count) }, left.min(count as u32));
                }
            }
            self.blocks += 1;
            // SAFETY: as above.
            (slots, desc) = unsafe { (slots.add(BLOCK), desc.add(BLOCK)) };
        }
        self.blocks as usize * BLOCK
    }

    /// Counts descriptors that were just written at `out`, the last of which is `last`, and asks for a report there where one is due.
    #[inline(always)]
    fn report(&mut self, out: NonNull<Pair>, count: u32) {
        self.tx.unreported += count;
        if self.tx.unreported >= REPORT_EVERY {
            self.tx.unreported = 0;
            let index = self.tx.tail + self.sent + count - 1;
            self.tx.push_report(index);
            // SAFETY: the descriptor was just written, and lies before the ring's end.
            unsafe { words::store(out.add(count as usize - 1), self.last.or(Pair::new(0, self.tx.rules.report))) };
        }
    }

    /// Counts `count` frames that stay, with the codes of their block.
    #[inline(always)]
    fn count_dropped(&mut self, codes: u64, count: u32) {
        self.dropped += count;
        if codes & STAYS >> 1 != 0 {
            self.count_aborted(codes);
        }
    }

    /// Of the codes of a block that has none that pass.
    #[cold]
    #[inline(never)]
    fn count_aborted(&mut self, codes: u64) {
        let aborted = sum(codes >> 6 & LOW);
        self.dropped -= aborted;
        self.settled.rest().aborted += aborted;
    }
}

/// Hands a block up, where empty buffers are there to take its place, and room.
#[inline(never)]
fn pass_block(rx: &RxRing, batch: &mut Batch, slots: NonNull<RawBuf>, desc: NonNull<Pair>, words: [Pair; BLOCK]) -> bool {
    let pool = rx.pool.as_ptr();
    if batch.spares_of(pool).1 < BLOCK {
        batch.refill(&rx.pool, BLOCK);
    }
    let (base, count) = batch.spares_of(pool);
    if count < BLOCK {
        return false;
    }
    let Some(places) = batch.places(BLOCK) else { return false };
    let (delta, queue) = (Pair::new(rx.delta, rx.delta), Pair::new(rx.queue, 0));
    // SAFETY: the block's buffers are done, their words tested, and eight empty buffers on the stack and eight places in the batch are there.
    unsafe {
        let empty = base.add(count - BLOCK);
        for (k, word) in words.into_iter().enumerate() {
            let place = places.add(k);
            Frame::write_owner(place, slots.add(k).read(), pool);
            place.cast::<Pair>().add(1).write(word.or(queue));
        }
        for k in (0..BLOCK).step_by(2) {
            let two = empty.add(k).cast::<Pair>().read_unaligned();
            slots.add(k).cast::<Pair>().write_unaligned(two);
            let iovas = two.plus(delta);
            words::store(desc.add(k), iovas.low_zero());
            words::store(desc.add(k + 1), iovas.high_zero());
        }
        batch.commit(BLOCK);
        batch.set_spares(pool, count - BLOCK);
    }
    true
}
