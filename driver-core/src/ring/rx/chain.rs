//! Frames of several buffers, in one go.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::RxRing;
use crate::barrier;
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::RawBuf;
use crate::buf::meta::{LEN_SHIFT, VLAN_VALID};
use crate::ring::desc as words;
use crate::ring::lane::Pair;
use crate::ring::rules::RX_LENGTH;

/// The most segments of a chain that goes in one go.
const MAX_SEGMENTS: usize = 40;

/// The completion words of a frame's descriptors, each read once.
type Words = [MaybeUninit<Pair>; MAX_SEGMENTS];

impl RxRing {
    /// Moves the next frame to `batch` if the device is done with all of it, it lies in several buffers, `max_segments` at most, and has no more than `max_bytes`
    /// bytes, none of its descriptors has any of the `bad` bits, a VLAN tag that is not hidden or a length beyond its buffer, and there is room and as many empty
    /// buffers lie at hand. Returns its bytes. `bad` and `hide` are as for [`RxRing::take`], and what is known of the frame is what its last descriptor says.
    ///
    /// In the middle of a frame ([`RxRing::allow_ordinary`]) it takes none.
    #[inline(always)]
    pub fn take_chain(&mut self, batch: &mut Batch, max_segments: usize, max_bytes: usize, bad: u64, hide: u64) -> Option<usize> {
        // One that ends where it begins is none.
        if self.ordinary != self.whole || self.peek().high() & self.whole != self.done {
            return None;
        }
        self.take_segments(batch, max_segments, max_bytes, bad, hide)
    }

    #[inline(never)]
    fn take_segments(&mut self, batch: &mut Batch, max_segments: usize, max_bytes: usize, bad: u64, hide: u64) -> Option<usize> {
        let mut words: Words = [const { MaybeUninit::uninit() }; MAX_SEGMENTS];
        let (count, bytes) = self.walk(&mut words, bad | VLAN_VALID & !hide)?;
        let pool = self.pool.as_ptr();
        let (spares, spare_count) = batch.spares_of(pool);
        if count < 2 || count > max_segments || bytes > max_bytes || spare_count < count {
            return None;
        }
        let place = batch.places(1)?;
        barrier::after_done();
        // SAFETY: the walk wrote `count` words, of descriptors that are done, with lengths within their buffers. As many empty buffers of this pool lie at the top
        // of the stack. The place takes the frame.
        unsafe {
            self.put_chain(place, words.get_unchecked(..count), spares.add(spare_count - count), hide);
            batch.set_spares(pool, spare_count - count);
            batch.commit(1);
        }
        Some(bytes)
    }

    /// Reads the descriptors of the next frame, and says how many there are and how many bytes they have; `None` where one is not done, has one of the `unusual`
    /// bits or too long a length, or there are too many.
    #[inline(always)]
    fn walk(&self, words: &mut Words, unusual: u64) -> Option<(usize, usize)> {
        let (mask, room, end) = (self.desc.mask(), self.pool.inner().data_bytes, self.end);
        let (tested, done) = (self.done | unusual, self.done);
        let (mut at, mut bytes) = (self.next, 0);
        for (k, place) in words.iter_mut().enumerate() {
            // SAFETY: the index is masked.
            let pair = unsafe { words::load(self.desc.at_unmasked(at)) };
            let (high, len) = (pair.high(), u32::from((pair.high() >> LEN_SHIFT) as u16));
            if high & tested != done || len > room {
                return None;
            }
            place.write(pair);
            bytes += len as usize;
            if high & end == end {
                return Some((k + 1, bytes));
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// # Safety
    /// The words are initialised, and those of the next descriptors, which are done, with lengths within their buffers. As many buffers of this ring's pool are at
    /// `empties`, which the caller gives up. `place` takes a frame.
    #[inline(always)]
    unsafe fn put_chain(&mut self, place: NonNull<Frame>, words: &[MaybeUninit<Pair>], mut empties: NonNull<RawBuf>, hide: u64) {
        let (mask, delta, pool) = (self.desc.mask(), self.delta, self.pool.as_ptr());
        let (kept, queue, shown) = (self.kept, self.queue, !hide | RX_LENGTH);
        let mut at = self.next;
        let mut place = place;
        // SAFETY: the caller's; there is one.
        let [says0, says1] = unsafe { words.get_unchecked(words.len() - 1).assume_init() }.words();
        let (says0, says1) = (says0 & kept | queue, says1 & shown & !RX_LENGTH);
        for (k, word) in words.iter().enumerate() {
            // SAFETY: the caller's; `at` is below the number of slots and descriptors. Each filled buffer leaves its slot for an empty one and becomes a segment,
            // written where its predecessor links to.
            unsafe {
                let len = word.assume_init().high() & RX_LENGTH;
                let empty: RawBuf = empties.read();
                empties = empties.add(1);
                let filled = core::mem::replace(self.slots.get_unchecked_mut(at as usize), empty);
                crate::ring::desc::store(self.desc.at_unmasked(at), Pair::new(empty.word().wrapping_add(delta), 0));
                let more = k + 1 < words.len();
                let next = Frame::write_segment(place, filled, pool, [says0, says1 | len], more);
                place = next;
            }
            at = (at + 1) & mask;
        }
        self.next = at;
    }
}
