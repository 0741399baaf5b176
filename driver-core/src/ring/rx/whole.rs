//! Rings whose descriptors are not frames one behind the other: the device puts segments of a flow together, so that a frame's descriptors have others
//! between them ("large receives"), or it puts the headers of frames into buffers of their own.
//!
//! Nothing is ordinary in such a ring, so that the ways of ordinary frames, which know nothing of it, take none, and pay nothing: every frame comes up
//! by [`RxRing::take_whole`], which reads a descriptor once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::RxRing;
use super::apart::{Begun, Large, LargeRules, Manner, Split, SplitRules, WholeLimits, lent_high};
use super::taking::{RxTakeError, WholeError};
use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{self, RawBuf};
use crate::buf::meta::{COALESCED_SHIFT, LEN_SHIFT, QUEUE_SHIFT};
use crate::ring::error::RingError;
use crate::ring::lane::Pair;
use crate::ring::rules::RX_LENGTH;

/// Where word 0 has how many segments begin in a buffer, one more where any were put together.
const COALESCED: u64 = 0xf << COALESCED_SHIFT;
/// Where word 0 has the length of a header that was split off: where a frame's has its queue.
const HEADER_BYTES: u64 = 0x3ff;

impl RxRing {
    /// From here on the device may put segments together. To be called before it knows of the ring.
    ///
    /// # Errors
    /// [`RingError::PoolTooSmall`]: beside the buffers in the ring the pool has fewer than frames that are not complete may hold. The ring is as it was.
    pub fn coalesces(&mut self, rules: LargeRules) -> Result<(), RingError> {
        let (entries, free) = (self.desc.len(), self.pool.available());
        if free < rules.held {
            return Err(RingError::PoolTooSmall { entries, needed: entries + rules.held, free: entries + free });
        }
        let open = (0..entries).map(|_| None).collect();
        self.turn_to(Manner::Large(Large { open, held: 0, rules }));
        Ok(())
    }

    /// From here on the device puts headers into buffers of their own, one of the pool with each descriptor. To be called before it knows of the ring.
    ///
    /// # Errors
    /// [`RingError::PoolTooSmall`]. The ring is as it was.
    pub fn splits_headers(&mut self, rules: SplitRules) -> Result<(), RingError> {
        let mut headers = Box::new_uninit_slice(self.slots.len());
        let taken = memory::take_block(self.pool.inner(), &mut headers);
        let more = self.pool.available();
        if taken < headers.len() || more == 0 {
            // SAFETY: `take_block` initialised the first `taken` places with buffers that are ours.
            unsafe { memory::give_back(self.pool.as_ptr(), core::slice::from_raw_parts(headers.as_ptr().cast(), taken)) };
            let entries = self.desc.len();
            return Err(RingError::PoolTooSmall { entries, needed: 2 * entries + 1, free: entries + taken as u32 + more });
        }
        // SAFETY: every place was filled.
        let headers = unsafe { headers.assume_init() };
        self.turn_to(Manner::Split(Split { headers, open: None, rules }));
        Ok(())
    }

    fn turn_to(&mut self, manner: Manner) {
        *self.manner = Some(Box::new(manner));
        self.done_apart = mem::replace(&mut self.done, 0);
        self.allow_ordinary(false);
        self.lend_all();
    }

    /// Whether frames come up by [`RxRing::take_whole`] alone; other ways find none.
    #[inline(always)]
    pub fn is_apart(&self) -> bool {
        self.manner.is_some()
    }

    /// Takes the next descriptor, if it is done, and puts empty buffers where filled ones were. Returns the frame that is complete with it, if one is.
    /// `bad` and `hide` are as for [`RxRing::take`]; where the device marked a frame bad all of it goes back to the pool.
    ///
    /// # Errors
    /// [`WholeError`]; but for [`RxTakeError::Bad`] the ring is as it was.
    pub fn take_whole(&mut self, batch: &mut Batch, bad: u64, hide: u64, limits: WholeLimits) -> Result<Option<Frame>, WholeError> {
        let [w0, w1] = self.peek().words();
        if w1 & self.done_apart == 0 {
            return Err(WholeError::Take(RxTakeError::NotDone));
        }
        barrier::after_done();
        // The manner is taken out for the call, so that it and the ring are borrowed apart.
        let Some(mut manner) = self.manner.take() else { return Ok(None) };
        let words = [w0, w1];
        let taken = match &mut *manner {
            Manner::Large(large) => self.take_large(large, batch, words, bad, hide, limits),
            Manner::Split(split) => self.take_split(split, batch, words, bad, hide, limits),
        };
        *self.manner = Some(manner);
        if matches!(taken, Ok(_) | Err(WholeError::Take(RxTakeError::Bad))) {
            self.lend_next();
        }
        taken
    }

    /// Gives the device the next descriptor again, with the buffers that are in its slots.
    pub(super) fn lend_next(&mut self) {
        // SAFETY: `next` is always below the number of slots.
        let buf = unsafe { *self.slots.get_unchecked(self.next as usize) };
        let high = lent_high(self.manner.as_deref(), self.next, self.delta);
        self.desc.store(self.next, Pair::new(buf.word().wrapping_add(self.delta), high));
        self.next = (self.next + 1) & self.desc.mask();
    }

    fn take_large(
        &mut self,
        large: &mut Large,
        batch: &mut Batch,
        [w0, w1]: [u64; 2],
        bad: u64,
        hide: u64,
        limits: WholeLimits,
    ) -> Result<Option<Frame>, WholeError> {
        let Large { open, held, rules } = large;
        // SAFETY: there is a place for each descriptor.
        let begun = unsafe { open.get_unchecked_mut(self.next as usize) };
        if w1 & bad != 0 {
            if let Some(begun) = begun.take() {
                *held -= begun.chain.segments as u32;
                begun.recycle(batch);
            }
            return Err(WholeError::Take(RxTakeError::Bad));
        }
        let bytes = self.checked_len(w1)?;
        let (begun_bytes, begun_segments) = begun.as_ref().map_or((0, 0), |begun| (begun.chain.bytes, begun.chain.segments));
        let ends = w1 & self.end == self.end;
        if begun_bytes + bytes > limits.max_bytes || begun_segments >= limits.max_segments || !ends && *held == rules.held {
            return Err(WholeError::TooLong);
        }
        let next = (w1 >> rules.next_shift) as u16;
        // It may not go on where another does, nor where none of it can be: in this descriptor.
        if !ends && (u32::from(next) == self.next || open.get(usize::from(next)).is_none_or(Option::is_some)) {
            return Err(WholeError::Next { descriptor: next });
        }
        let Some(frame) = self.exchange(batch, [w0 & !COALESCED, w1], hide) else { return Err(WholeError::Take(RxTakeError::NoBuffer)) };
        // SAFETY: as above.
        let begun = unsafe { open.get_unchecked_mut(self.next as usize) }.take();
        let mut begun = add(begun, frame, bytes);
        begun.segments = begun.segments.saturating_add((w0 >> COALESCED_SHIFT & 0xf).saturating_sub(1) as u16);
        if ends {
            *held -= begun_segments as u32;
            return Ok(Some(begun.complete()));
        }
        *held += 1;
        if let Some(place) = open.get_mut(usize::from(next)) {
            *place = Some(begun);
        }
        Ok(None)
    }

    fn take_split(
        &mut self,
        split: &mut Split,
        batch: &mut Batch,
        [w0, w1]: [u64; 2],
        bad: u64,
        hide: u64,
        limits: WholeLimits,
    ) -> Result<Option<Frame>, WholeError> {
        let Split { headers, open, rules } = split;
        if w1 & bad != 0 {
            if let Some(begun) = open.take() {
                begun.recycle(batch);
            }
            return Err(WholeError::Take(RxTakeError::Bad));
        }
        let bytes = self.checked_len(w1)?;
        // Behind a frame's first buffer nothing is split off, whatever the descriptor says.
        let has_header = open.is_none() && w0 & rules.found != 0 && w1 & rules.too_long == 0;
        let header_bytes = if has_header { (w0 >> QUEUE_SHIFT & HEADER_BYTES) as u32 } else { 0 };
        if header_bytes > rules.max_header_bytes {
            return Err(WholeError::Take(RxTakeError::Length { len_bytes: header_bytes }));
        }
        let (begun_bytes, begun_segments) = open.as_ref().map_or((0, 0), |begun| (begun.chain.bytes, begun.chain.segments));
        if begun_bytes + bytes + header_bytes as usize > limits.max_bytes || begun_segments >= limits.max_segments {
            return Err(WholeError::TooLong);
        }
        let head = if header_bytes > 0 {
            let Some(empty) = batch.take_spare(&self.pool) else { return Err(WholeError::Take(RxTakeError::NoBuffer)) };
            Some(empty)
        } else {
            None
        };
        // A frame that is all headers leaves its other buffer as it is.
        let body = if bytes > 0 || head.is_none() {
            let Some(frame) = self.exchange(batch, [w0, w1], hide) else {
                if let Some(empty) = head {
                    // SAFETY: the buffer is of this pool, and ours.
                    batch.recycle(unsafe { Frame::fresh(empty, self.pool.as_ptr()) });
                }
                return Err(WholeError::Take(RxTakeError::NoBuffer));
            };
            Some(frame)
        } else {
            None
        };
        let head = head.map(|empty| {
            // SAFETY: `next` is always below the number of headers.
            let slot = unsafe { headers.get_unchecked_mut(self.next as usize) };
            let filled = mem::replace(slot, empty);
            self.filled(filled, [w0, w1 & !RX_LENGTH | u64::from(header_bytes) << LEN_SHIFT], hide)
        });
        let mut begun = open.take();
        if let Some(head) = head {
            begun = Some(Begun { header_bytes: header_bytes as u16, ..add(begun, head, header_bytes as usize) });
        }
        if let Some(body) = body {
            begun = Some(add(begun, body, bytes));
        }
        if w1 & self.end == self.end {
            return Ok(begun.map(Begun::complete));
        }
        *open = begun;
        Ok(None)
    }

    /// The length that a descriptor tells, which is within its buffer.
    fn checked_len(&self, w1: u64) -> Result<usize, WholeError> {
        let len_bytes = (w1 >> LEN_SHIFT) as u16;
        if u32::from(len_bytes) > self.pool.inner().data_bytes {
            return Err(WholeError::Take(RxTakeError::Length { len_bytes: len_bytes.into() }));
        }
        Ok(len_bytes.into())
    }

    /// Takes the buffer of the next descriptor, whose length was checked, and puts an empty one into its slot.
    fn exchange(&mut self, batch: &mut Batch, words: [u64; 2], hide: u64) -> Option<Frame> {
        let empty = batch.take_spare(&self.pool)?;
        // SAFETY: `next` is always below the number of slots.
        let slot = unsafe { self.slots.get_unchecked_mut(self.next as usize) };
        let filled = mem::replace(slot, empty);
        Some(self.filled(filled, words, hide))
    }

    /// A frame of one buffer that the device filled.
    fn filled(&self, buf: RawBuf, [w0, w1]: [u64; 2], hide: u64) -> Frame {
        // SAFETY: the slot's buffer was lent and is done; it is of this pool.
        let mut frame = unsafe { Frame::fresh(buf, self.pool.as_ptr()) };
        // SAFETY: the callers checked the length against the buffer's room.
        unsafe { frame.set_words([w0 & self.kept | self.queue, w1 & (!hide | RX_LENGTH)]) };
        frame
    }

    /// What was begun goes back to the pool.
    pub(super) fn forget_begun(&mut self) {
        match self.manner.as_deref_mut() {
            Some(Manner::Large(large)) => {
                large.open.fill_with(|| None);
                large.held = 0;
            }
            Some(Manner::Split(split)) => split.open = None,
            None => {}
        }
    }

    /// How many frames the device is done with that were not taken, with what was begun of them; of large receives, how many segments. One that the device had not
    /// ended is none that it counts.
    pub(super) fn ready_or_begun(&self, manner: &Manner) -> u32 {
        let (mask, len) = (self.desc.mask(), self.desc.len());
        let at = (0..len).map(|k| (self.next + k) & mask);
        let ready = at.map(|at| (at, self.desc.load(at))).take_while(|(_, words)| words.high() & self.done_apart != 0);
        match manner {
            Manner::Large(large) => {
                // By descriptor: the segments before it of the frame that goes on there.
                let mut before: Vec<u32> = large.open.iter().map(|open| open.as_ref().map_or(0, |begun| begun.segments.into())).collect();
                let mut segments = 0;
                for (at, words) in ready {
                    // A frame that was not put together says 0.
                    let here = (words.low() >> COALESCED_SHIFT & 0xf) as u32;
                    let all = before.get(at as usize).copied().unwrap_or(0) + here.max(2) - 1;
                    if words.high() & self.end == self.end {
                        segments += all;
                    } else if let Some(place) = before.get_mut(usize::from((words.high() >> large.rules.next_shift) as u16)) {
                        *place = all;
                    }
                }
                segments
            }
            Manner::Split(split) => {
                let begun = split.open.is_some();
                let ends = ready.filter(|(_, words)| words.high() & self.end == self.end).count() as u32;
                // Of one that was begun and has not ended the device has counted the frame all the same.
                ends.max(begun.into())
            }
        }
    }

    /// Gives back what is held and lent beside the slots' buffers.
    ///
    /// # Safety
    /// As for [`RxRing::release`].
    pub(super) unsafe fn release_manner(&mut self) {
        if let Some(Manner::Split(split)) = self.manner.take().as_deref() {
            // SAFETY: the headers' buffers are of this pool and the ring's, which is at its end.
            unsafe { memory::give_back(self.pool.as_ptr(), &split.headers) };
        }
    }
}

/// Puts a buffer behind what came of its frame. What is known of a frame is what its last descriptor says.
fn add(begun: Option<Begun>, frame: Frame, bytes: usize) -> Begun {
    match begun {
        None => Begun::new(frame, bytes),
        Some(mut begun) => {
            begun.chain.say(&frame);
            begun.chain.append(frame, bytes);
            begun
        }
    }
}
