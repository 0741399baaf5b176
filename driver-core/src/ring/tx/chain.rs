//! Frames of several buffers, in one go.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::{REPORT_EVERY, TxRing};
use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, TAG_NEXT};
use crate::buf::memory::RawBuf;
use crate::ring::desc as words;
use crate::ring::lane::Pair;

/// The most segments of a chain that goes in one go.
const MAX_SEGMENTS: usize = 40;

/// The segments of a chain, seen in one walk.
type Segments = [MaybeUninit<NonNull<Frame>>; MAX_SEGMENTS];

impl TxRing {
    /// Takes the frame at the front of `batch` if it is a chain of plain segments of one pool of this ring's domain, each with bytes, `max_segments` at most
    /// and with no less bytes than an ordinary frame and no more than `max_bytes` nor 65535, and as many descriptors are free. Returns its bytes.
    ///
    /// Its descriptors' words are those of an ordinary frame of so many bytes, with the length of each buffer, and the end ([`TxRules::with_end`]) in the last
    /// alone: rings without such a bit take none, nor do those that count bytes.
    ///
    /// [`TxRules::with_end`]: crate::ring::TxRules::with_end
    #[inline(always)]
    pub fn put_chain(&mut self, batch: &mut Batch, max_segments: usize, max_bytes: usize) -> Option<usize> {
        let first = batch.frames().first()?;
        let is_chain = first.pool_word().addr().get() == first.pool_ptr().addr().get() | TAG_NEXT;
        if !is_chain || self.rules.end == 0 || !self.bytes.is_empty() {
            return None;
        }
        self.put_whole_chain(batch, max_segments, max_bytes)
    }

    #[inline(never)]
    fn put_whole_chain(&mut self, batch: &mut Batch, max_segments: usize, max_bytes: usize) -> Option<usize> {
        let first = batch.frames().first()?;
        let pool = first.pool_ptr();
        // SAFETY: the frame is alive.
        let has_source = unsafe { self.owners.turn_to(pool, (self.head, self.tail)) };
        let mut segments: Segments = [const { MaybeUninit::uninit() }; MAX_SEGMENTS];
        let (count, bytes) = walk(first, &mut segments)?;
        // The rules were checked for lengths of 16 bits.
        let max_bytes = max_bytes.min(u16::MAX.into());
        let is_sound = has_source && count <= max_segments.min(self.free() as usize) && (self.min_bytes as usize..=max_bytes).contains(&bytes);
        if !is_sound {
            return None;
        }
        // SAFETY: `count` segments were written by the walk, whose buffers are the frame's; as many descriptors are free. The frame is forgotten.
        unsafe {
            self.put_segments(segments.get_unchecked(..count), bytes);
            batch.advance(1);
        }
        Some(bytes)
    }

    /// # Safety
    /// The segments are initialised, plain ones of the source's pool, and the caller forgets them. As many descriptors are free.
    #[inline(always)]
    unsafe fn put_segments(&mut self, segments: &[MaybeUninit<NonNull<Frame>>], bytes: usize) {
        self.count_singles();
        let (mask, delta, name) = (self.desc.mask(), self.owners.sources.delta(), self.owners.sources.names() as u8);
        let payload = bytes as u64 * (self.length_factor - 1);
        let more = self.rules.command & !self.rules.end | payload;
        let mut at = self.tail;
        let mut last = (at, Pair::new(0, 0));
        for segment in segments {
            // SAFETY: the caller's; `at` is below the number of slots, names and descriptors.
            unsafe {
                let segment = segment.assume_init().as_ref();
                let buf = RawBuf::at(segment.ptr());
                *self.slots.get_unchecked_mut(at as usize) = buf;
                self.owners.names_at(at as usize).write(name);
                last = (at, Pair::new(buf.word().wrapping_add(delta), more | segment.linear_len() as u64));
                words::store(self.desc.at_unmasked(at), last.1);
            }
            at = (at + 1) & mask;
        }
        self.tail = at;
        self.unreported += segments.len() as u32;
        let (at, pair) = last;
        let mut end = self.rules.end;
        self.last = pair.or(Pair::new(0, end));
        if self.unreported >= REPORT_EVERY {
            self.unreported = 0;
            end |= self.rules.report;
            self.push_report(at);
        }
        self.desc.store(at, pair.or(Pair::new(0, end)));
    }
}

/// How many segments a chain has, which are written to `segments`, and its bytes; `None` where one is not a plain one of the first's pool, has no bytes, or
/// there are too many.
#[inline(always)]
fn walk(first: &Frame, segments: &mut Segments) -> Option<(usize, usize)> {
    let pool = first.pool_ptr();
    let (plain, linked) = (pool.addr().get(), pool.addr().get() | TAG_NEXT);
    let (mut at, mut bytes) = (first, 0);
    for (k, place) in segments.iter_mut().enumerate() {
        let (word, len) = (at.pool_word().addr().get(), at.linear_len());
        if len == 0 {
            return None;
        }
        place.write(NonNull::from(at));
        bytes += len;
        if word == plain {
            return Some((k + 1, bytes));
        }
        if word != linked {
            return None;
        }
        // SAFETY: the segment is one of this pool's, whose tags say that it has a next one, which it owns; all of them are borrowed with the first.
        at = unsafe { pool.as_ref().link(at.ptr()).cast().as_ref() };
    }
    None
}
