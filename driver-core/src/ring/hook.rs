//! Verdicts on frames in the slots of a receive ring: from there into the slots of a transmit ring, and no further.
//!
//! A buffer has one owner at all times. To send a frame its buffer and an empty one change places: the filled one goes from its receive slot into the
//! transmit ring's shadow, the oldest one there that was sent goes into the receive slot. Only where none was sent yet does the empty one come from the
//! batch's cache. To drop a frame, its buffer is lent again where it lies.
//!
//! `blocks` is the short way, for blocks of 8 frames; this is the long one, a frame at a time, to whatever queue.

mod blocks;
mod eight;
mod single;
mod virtq;
mod ways;

use core::ptr::NonNull;

use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{PoolInner, RawBuf};
use crate::ether::MIN_FRAME_BYTES;
use crate::ring::desc::{self as words, BLOCK};
use crate::ring::lane::Pair;
use crate::ring::rx::RxRing;
use crate::ring::tx::{REPORT_EVERY, TxRing};
use crate::ring::verdict::{FrameView, Hook, Judged, Settled, Shut, Verdict, WhenFull};
pub(crate) use blocks::judge_blocks;
pub(crate) use single::{Unfit, judge_one};
pub(crate) use virtq::judge_virtq;
pub(crate) use ways::{Opened, Outlets, RxWay, TxWay};
pub use ways::{RxHooked, TxHooked};

/// Where frames for the open queue go.
enum Way {
    /// No queue is open.
    Shut,
    Ring(Outlet),
    Whole,
    Full,
    Missing,
}

/// A transmit ring that is open, with what changes with every block: fields of the ring itself would be loaded anew behind each barrier.
struct Outlet {
    ring: NonNull<TxRing>,
    slots: NonNull<RawBuf>,
    names: NonNull<u8>,
    desc: NonNull<Pair>,
    mask: u32,
    head: u32,
    tail: u32,
    /// How many slots from `head` on have been reported: their buffers are empty.
    sent: u32,
    /// How many were when it was opened.
    had_sent: u32,
    /// The name of the receive ring's pool, eight times.
    names_of_pool: u64,
    /// Frames put since it was opened.
    frames: u32,
}

impl Outlet {
    /// `None` where the ring's device does not reach the pool's memory, or has no name for it.
    #[inline(always)]
    fn open(mut at: NonNull<TxRing>, pool: NonNull<PoolInner>) -> Option<Self> {
        // SAFETY: `Outlets::open` lent the ring for as long as this outlet lives.
        let ring = unsafe { at.as_mut() };
        // SAFETY: the receive ring keeps its pool.
        if !unsafe { ring.owners.turn_to(pool, (ring.head, ring.tail)) } || u32::from(ring.rules.min_bytes) < MIN_FRAME_BYTES as u32 {
            return None;
        }
        ring.count_singles();
        let sent = ring.reported_slots();
        // SAFETY: there is a slot 0; a slice's pointer is never null.
        let (slots, names) = unsafe { (NonNull::new_unchecked(ring.slots.as_mut_ptr()), ring.owners.names_at(0)) };
        Some(Self {
            ring: at,
            slots,
            names,
            desc: ring.desc.at(0),
            mask: ring.desc.mask(),
            head: ring.head,
            tail: ring.tail,
            sent,
            had_sent: sent,
            names_of_pool: ring.owners.sources.names(),
            frames: 0,
        })
    }

    /// Writes back what changed.
    #[inline(always)]
    fn close(&mut self) {
        // SAFETY: as in `open`.
        let ring = unsafe { self.ring.as_mut() };
        if self.sent != self.had_sent {
            ring.pop_reports(self.had_sent - self.sent);
            ring.head = self.head;
        }
        ring.tail = self.tail;
    }

    #[inline(always)]
    fn free(&self) -> u32 {
        self.mask - (self.tail.wrapping_sub(self.head) & self.mask)
    }

    /// Counts `count` descriptors that were written, the last of which is `last` and lies right before the tail, and asks for a report there where one is due.
    #[inline(always)]
    fn count(&mut self, count: u32, last: Pair) {
        // SAFETY: as in `open`.
        let ring = unsafe { self.ring.as_mut() };
        ring.last = last;
        ring.unreported += count;
        if ring.unreported >= REPORT_EVERY {
            ring.unreported = 0;
            let at = self.tail.wrapping_sub(1) & self.mask;
            ring.push_report(at);
            // SAFETY: the index is masked.
            unsafe { words::store(self.desc.add(at as usize), last.or(Pair::new(0, ring.rules.report))) };
        }
    }
}

/// For outlets.
impl TxRing {
    /// How many slots from the head on have been reported.
    #[inline(always)]
    pub(super) fn reported_slots(&self) -> u32 {
        let (mask, mut at, mut end) = (self.desc.mask(), self.report_head, self.head);
        while at != self.report_tail {
            // SAFETY: the position is masked, and `reports` has as many places as the ring.
            let index = unsafe { *self.reports.get_unchecked((at & mask) as usize) };
            if self.desc.load_high(index) & self.rules.done == 0 {
                break;
            }
            end = index + 1;
            at = at.wrapping_add(1);
        }
        barrier::after_done();
        end.wrapping_sub(self.head) & mask
    }

    /// Frees the slots from the head to the ring's end, which have been reported.
    #[cold]
    #[inline(never)]
    pub(super) fn free_to_end(&mut self, batch: &mut Batch) {
        let count = self.desc.len() - self.head;
        self.pop_reports(count);
        self.free_slots(batch, count);
    }

    /// Forgets the reports of the `count` slots from the head on, which are emptied.
    #[inline(always)]
    pub(super) fn pop_reports(&mut self, count: u32) {
        let mask = self.desc.mask();
        while self.report_head != self.report_tail {
            // SAFETY: as in `reported_slots`.
            let index = unsafe { *self.reports.get_unchecked((self.report_head & mask) as usize) };
            if index.wrapping_sub(self.head) & mask >= count {
                return;
            }
            self.report_head = self.report_head.wrapping_add(1);
        }
    }
}

/// One call: a hook, where its frames may go, and what became of them. Dropped, also by a panic of the hook, it leaves rings that are whole.
pub(crate) struct Judge<'a, H, O: Outlets<TxRing>> {
    hook: &'a mut H,
    outlets: &'a mut O,
    batch: &'a mut Batch,
    when_full: WhenFull,
    settled: &'a mut Settled,
    shut: &'a mut Shut,
    way: Way,
    /// The number of the queue that is open.
    queue: u8,
}

impl<H, O: Outlets<TxRing>> Drop for Judge<'_, H, O> {
    #[inline(always)]
    fn drop(&mut self) {
        self.close();
    }
}

impl<'a, H: Hook, O: Outlets<TxRing>> Judge<'a, H, O> {
    /// Nothing is open yet.
    pub(crate) fn new(
        hook: &'a mut H,
        outlets: &'a mut O,
        batch: &'a mut Batch,
        when_full: WhenFull,
        settled: &'a mut Settled,
        shut: &'a mut Shut,
    ) -> Self {
        Self { hook, outlets, batch, when_full, settled, shut, way: Way::Shut, queue: 0 }
    }

    /// Settles a block that was judged already.
    pub(crate) fn settle_unfit(&mut self, rx: &mut RxRing, unfit: &Unfit) {
        for (k, (words, &code)) in unfit.words.iter().zip(&unfit.codes).enumerate().take(unfit.count) {
            let words = [words.low() & rx.kept | rx.queue, words.high()];
            // SAFETY: `next` is always below the number of slots; the slot's buffer is done and of this pool, and what was tested of the words' length and kept by
            // the view are within its room.
            let view = unsafe {
                let home = *rx.slots.get_unchecked(rx.next as usize);
                match unfit.ends.as_ref().and_then(|ends| ends.get(k)) {
                    Some(&ends) => FrameView::again(home, rx.pool.as_ptr(), words, ends),
                    None => FrameView::new(home, rx.pool.as_ptr(), words),
                }
            };
            self.settle(rx, view, code);
        }
    }

    /// Judges frames one at a time, up to the next place at which blocks are tried again: `None`.
    pub(crate) fn singles(&mut self, rx: &mut RxRing, budget: usize) -> Option<Judged> {
        for _ in 0..budget {
            let words = rx.peek();
            if words.high() & rx.done == 0 {
                // Of a ring whose frames are apart the descriptors look so at all times.
                return Some(if rx.is_apart() { Judged::Unusual } else { Judged::All });
            }
            if !rx.is_ordinary(words) {
                return Some(Judged::Unusual);
            }
            barrier::after_done();
            // SAFETY: `next` is always below the number of slots; the slot's buffer is done and of this pool, and an ordinary frame's length within its room.
            let mut view = unsafe {
                let home = *rx.slots.get_unchecked(rx.next as usize);
                FrameView::new(home, rx.pool.as_ptr(), [words.low() & rx.kept | rx.queue, words.high()])
            };
            let code = self.hook.verdict(&mut view).code();
            self.settle(rx, view, code);
            if rx.next.is_multiple_of(BLOCK as u32) {
                return None;
            }
        }
        Some(Judged::All)
    }

    /// Settles the next frame of the ring, whatever the verdict.
    #[inline(never)]
    fn settle(&mut self, rx: &mut RxRing, view: FrameView<'_>, code: u8) {
        match code {
            Verdict::DROP => self.settled.dropped += 1,
            Verdict::PASS => return self.hand_up(rx, view),
            queue if queue < Verdict::PASS => return self.send(rx, view, queue),
            _ => self.settled.rest().aborted += 1,
        }
        rx.skip();
    }

    /// Hands the next frame up.
    fn hand_up(&mut self, rx: &mut RxRing, view: FrameView<'_>) {
        let Some(frame) = self.take(rx, view) else { return };
        match self.batch.push(frame) {
            Ok(()) => self.settled.rest().passed += 1,
            // The budget is within the batch's room.
            Err(frame) => drop(frame),
        }
    }

    /// Makes a frame of the next one, and fills its slot again.
    fn take(&mut self, rx: &mut RxRing, view: FrameView<'_>) -> Option<Frame> {
        let Some(empty) = self.batch.take_spare(&rx.pool) else {
            self.settled.rest().no_buffer += 1;
            rx.skip();
            return None;
        };
        // SAFETY: the slot's buffer is done, and leaves the slot for `empty`.
        let frame = unsafe {
            *rx.slots.get_unchecked_mut(rx.next as usize) = empty;
            view.into_frame()
        };
        rx.rearm(empty);
        Some(frame)
    }

    /// Sends the next frame.
    fn send(&mut self, rx: &mut RxRing, view: FrameView<'_>, queue: u8) {
        if self.shut.has(queue) {
            return self.full(rx, view, queue);
        }
        if queue != self.queue || matches!(self.way, Way::Shut) {
            self.close();
            self.open(rx, queue);
        }
        match &mut self.way {
            Way::Ring(outlet) => {
                // SAFETY: as in `Outlet::open`.
                let ring = unsafe { outlet.ring.as_ref() };
                let (start, len) = (view.start(), view.len());
                if (len as u32).wrapping_sub(ring.min_bytes) > ring.len_span {
                    return self.send_whole(rx, view);
                }
                let word = ring.word(len as u32);
                let at = outlet.head as usize;
                // SAFETY: `head` is always below the number of slots.
                let is_empty = outlet.sent > 0 && unsafe { outlet.names.add(at).read() } == outlet.names_of_pool as u8;
                let empty = if is_empty {
                    // SAFETY: as above; the slot's buffer was sent, and `head` moves past it.
                    let empty = unsafe { outlet.slots.add(at).read() };
                    outlet.head = (outlet.head + 1) & outlet.mask;
                    outlet.sent -= 1;
                    empty
                } else if outlet.free() == 0 {
                    return self.full(rx, view, queue);
                } else {
                    match self.batch.take_spare(&rx.pool) {
                        Some(empty) => empty,
                        None => {
                            self.settled.rest().no_buffer += 1;
                            return rx.skip();
                        }
                    }
                };
                let to = outlet.tail as usize;
                let last = Pair::new((start.addr().get() as u64).wrapping_add(rx.delta), word);
                // SAFETY: the tail's slot is free; the filled buffer leaves its own for `empty`.
                unsafe {
                    let slot = rx.slots.get_unchecked_mut(rx.next as usize);
                    outlet.slots.add(to).write(core::mem::replace(slot, empty));
                    outlet.names.add(to).write(outlet.names_of_pool as u8);
                    words::store(outlet.desc.add(to), last);
                }
                outlet.tail = (outlet.tail + 1) & outlet.mask;
                outlet.frames += 1;
                outlet.count(1, last);
                rx.rearm(empty);
            }
            Way::Whole => self.send_whole(rx, view),
            Way::Full => self.full(rx, view, queue),
            Way::Missing | Way::Shut => {
                self.settled.rest().aborted += 1;
                rx.skip();
            }
        }
    }

    /// Sends the next frame as one that a program submits: it is short, long, or for a ring of another kind or domain.
    #[cold]
    fn send_whole(&mut self, rx: &mut RxRing, view: FrameView<'_>) {
        let queue = self.queue;
        self.close();
        if let Some(frame) = self.take(rx, view) {
            match self.outlets.put_whole(queue, frame) {
                Ok(()) => self.count_sent(queue, 1),
                Err((frame, is_full)) => {
                    if is_full {
                        self.shut.add(queue);
                    }
                    self.not_sent(frame);
                }
            }
        }
    }

    /// The queue has no room for the next frame.
    #[cold]
    fn full(&mut self, rx: &mut RxRing, view: FrameView<'_>, queue: u8) {
        self.shut.add(queue);
        self.settled.rest().full += 1;
        if self.when_full == WhenFull::HandUp {
            return self.hand_up(rx, view);
        }
        self.settled.rest().full_dropped += 1;
        rx.skip();
    }

    /// The same for one that is in a frame already.
    #[cold]
    fn not_sent(&mut self, frame: Frame) {
        self.settled.rest().full += 1;
        if self.when_full == WhenFull::HandUp {
            match self.batch.push(frame) {
                Ok(()) => self.settled.rest().passed += 1,
                Err(frame) => drop(frame),
            }
            return;
        }
        self.settled.rest().full_dropped += 1;
        self.batch.recycle(frame);
    }

    #[inline(always)]
    fn count_sent(&mut self, queue: u8, frames: u32) {
        match queue {
            0 => self.settled.sent += frames,
            _ => self.settled.rest().redirected += frames,
        }
    }

    #[inline(always)]
    fn open(&mut self, rx: &RxRing, queue: u8) {
        self.queue = queue;
        self.way = match self.outlets.open(queue, self.batch) {
            Opened::Ring(ring) => match Outlet::open(ring, rx.pool.as_ptr()) {
                Some(outlet) => Way::Ring(outlet),
                None => {
                    self.outlets.close(queue, 0, 0);
                    Way::Whole
                }
            },
            Opened::Whole => Way::Whole,
            Opened::Full => Way::Full,
            Opened::Missing => Way::Missing,
        };
    }
}

impl<H, O: Outlets<TxRing>> Judge<'_, H, O> {
    #[inline(always)]
    fn close(&mut self) {
        if let Way::Ring(outlet) = &mut self.way {
            outlet.close();
            let frames = outlet.frames;
            match self.queue {
                0 => self.settled.sent += frames,
                _ => self.settled.rest().redirected += frames,
            }
            self.outlets.close(self.queue, frames, 0);
        }
        self.way = Way::Shut;
    }
}
