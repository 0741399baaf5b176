//! The sk_buff: an owned frame in one or several buffers of a pool.
//!
//! A [`Frame`] is a value of 32 bytes: where its data begins, its pool, and two words that a receive ring stored exactly as the device wrote them
//! (see [`meta`]). Metadata is decoded when it is asked for. What does not fit lies in private memory of the pool, one place a buffer, and a tag in
//! the low bits of the pool's address says so; another tag says that the data was moved from where a fresh buffer has it. A transmit ring finds
//! both tags with the one comparison by which it recognises frames of its own pool.

mod chain;
pub mod meta;

use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::buf::memory::{self, PoolInner, RawBuf};
use crate::host::dma::{DmaDomain, Iova};

pub use chain::Segments;
pub use meta::{Checksum, Rss, RssKind, Segmentation, SegmentationKind};
use meta::{LEN_SHIFT, Words};

/// The frame's metadata is in its pool's private place for its buffer; the words hold the length alone.
const TAG_EXT: usize = 1;
/// `ptr` is not (or was at some time not) where a fresh buffer has it.
const TAG_MOVED: usize = 2;
const TAGS: usize = align_of::<PoolInner>() - 1;

/// An owned frame. `Send`; dropping it returns its buffers to their pool from any thread.
///
/// Its bytes are in one buffer or in a chain of several ([`Frame::segments`]). `data`, `push`, `pull` and the room around them speak of the first
/// segment, as `skb->data` does; `len`, `trim`, `put` and `append` of the whole.
#[repr(C, align(16))]
pub struct Frame {
    ptr: NonNull<u8>,
    /// The pool's address plus tags.
    pool: NonNull<PoolInner>,
    words: Words,
}

// Rings read and write frames as four 64-bit words.
const _: () = assert!(size_of::<Frame>() == 32 && core::mem::offset_of!(Frame, pool) == 8 && core::mem::offset_of!(Frame, words) == 16);

// SAFETY: a frame owns its buffers and their private metadata alone, and the pool's free list is behind a lock.
unsafe impl Send for Frame {}
// SAFETY: `&Frame` gives shared access to bytes and metadata that only `&mut Frame` changes.
unsafe impl Sync for Frame {}

/// What a frame needs beyond its words: private, one for each buffer, in use while the frame is tagged so.
#[derive(Debug, Default)]
pub(crate) struct Ext {
    pub(crate) next: Option<Frame>,
    pub(crate) meta: meta::Meta,
}

/// Why a verb could not be done. The frame is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Not enough room before the data.
    Headroom {
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// Not enough room behind the data.
    Tailroom {
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// The (first segment of the) frame has fewer bytes.
    Short {
        /// Bytes asked for.
        wanted_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// `reserve` on a frame that has data already.
    NotEmpty,
    /// The pool has no free buffer.
    PoolEmpty,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headroom { wanted_bytes, have_bytes } => write!(f, "{wanted_bytes} bytes do not fit into {have_bytes} bytes of headroom"),
            Self::Tailroom { wanted_bytes, have_bytes } => write!(f, "{wanted_bytes} bytes do not fit into {have_bytes} bytes of tailroom"),
            Self::Short { wanted_bytes, have_bytes } => write!(f, "{wanted_bytes} bytes are more than the {have_bytes} bytes that are there"),
            Self::NotEmpty => f.write_str("headroom can only be reserved in a frame without data"),
            Self::PoolEmpty => f.write_str("the pool has no free buffer: drop frames, or make it larger"),
        }
    }
}
impl core::error::Error for FrameError {}

impl Frame {
    /// An empty frame in `buf`.
    ///
    /// # Safety
    /// The caller owns `buf`, which is a buffer of the live pool at `pool`, and gives it up.
    #[inline(always)]
    pub(crate) unsafe fn fresh(buf: RawBuf, pool: NonNull<PoolInner>) -> Self {
        Self { ptr: buf.ptr(), pool, words: [0, 0] }
    }

    /// Writes the first half of a plain frame in `buf`, pointer and pool, as [`Frame::fresh`] does. The words that a device wrote follow it.
    ///
    /// # Safety
    /// As for [`Frame::fresh`]; `place` has room for a frame, which the caller completes with words whose length is within the buffer's room.
    #[inline(always)]
    pub(crate) unsafe fn write_owner(place: NonNull<Self>, buf: RawBuf, pool: NonNull<PoolInner>) {
        // SAFETY: the fields of a place that has room for a frame, by the caller's word. Each is written as the pointer that it is.
        unsafe {
            (&raw mut (*place.as_ptr()).ptr).write(buf.ptr());
            (&raw mut (*place.as_ptr()).pool).write(pool);
        }
    }

    #[inline(always)]
    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// The pool, without tags.
    #[inline(always)]
    pub(crate) fn pool_ptr(&self) -> NonNull<PoolInner> {
        // SAFETY: a pool's address is aligned and not null, so clearing the tags leaves it not null.
        unsafe { NonNull::new_unchecked(self.pool.as_ptr().map_addr(|addr| addr & !TAGS)) }
    }

    /// The pool's address with tags.
    #[inline(always)]
    pub(crate) fn pool_word(&self) -> NonNull<PoolInner> {
        self.pool
    }

    #[inline(always)]
    fn has(&self, tag: usize) -> bool {
        self.pool.addr().get() & tag != 0
    }

    #[inline(always)]
    fn set(&mut self, tag: usize) {
        self.pool = self.pool.map_addr(|addr| addr | tag);
    }

    /// Whether the frame is one fresh-placed buffer whose words say all.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.pool.addr().get() & TAGS == 0
    }

    /// Of a plain frame: whether its words ask for a VLAN tag to be put back.
    #[inline(always)]
    pub(crate) fn has_vlan_word(&self) -> bool {
        self.words[1] & meta::VLAN_VALID != 0
    }

    #[inline(always)]
    pub(crate) fn pool(&self) -> &PoolInner {
        // SAFETY: the frame's buffer is not in the free list, so the pool is alive.
        unsafe { &*self.pool_ptr().as_ptr() }
    }

    /// The buffer of the first segment.
    #[inline]
    pub(crate) fn raw(&self) -> RawBuf {
        if self.has(TAG_MOVED) { self.pool().buf_of(self.ptr) } else { RawBuf::at(self.ptr) }
    }

    /// Gives up the first segment without returning its buffer, which is whoever's that asked, and its pool.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> (RawBuf, NonNull<PoolInner>) {
        let frame = ManuallyDrop::new(self);
        (frame.raw(), frame.pool_ptr())
    }

    /// Where the device finds the first byte of [`Frame::data`]. Meant for drivers, which keep the frame for as long as the device may use it.
    #[inline]
    pub fn iova(&self) -> Iova {
        Iova((self.ptr.addr().get() as u64).wrapping_add(self.pool().delta))
    }

    /// Whether `domain`'s devices can reach the first segment.
    pub fn is_reachable(&self, domain: &DmaDomain) -> bool {
        self.pool().domain().is_same(domain)
    }

    /// Whether `domain`'s devices can reach every segment.
    pub fn all_reachable(&self, domain: &DmaDomain) -> bool {
        core::iter::successors(Some(self), |frame| frame.next_segment()).all(|frame| frame.is_reachable(domain))
    }

    /// The bytes of the first segment.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: every verb and every receive ring keeps `ptr .. ptr + linear_len` inside the buffer, which this frame owns and no device holds.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.linear_len()) }
    }

    /// The bytes of the first segment.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.linear_len()) }
    }

    /// The length of the first segment in bytes.
    #[inline(always)]
    pub fn linear_len(&self) -> usize {
        usize::from((self.words[1] >> LEN_SHIFT) as u16)
    }

    #[inline(always)]
    fn set_linear_len(&mut self, len: usize) {
        debug_assert!(len <= usize::from(u16::MAX));
        self.words[1] = self.words[1] & !(0xffff << LEN_SHIFT) | (len as u64 & 0xffff) << LEN_SHIFT;
    }

    /// The length of the whole frame in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "below")]
    pub fn len(&self) -> usize {
        if self.has(TAG_EXT) { self.segments().map(<[u8]>::len).sum() } else { self.linear_len() }
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room before the data of the first segment, in bytes.
    pub fn headroom(&self) -> usize {
        let start = self.raw().word() as usize - self.pool().headroom_bytes as usize;
        self.ptr.addr().get() - start
    }

    /// The `N` bytes before the data, where the headroom has so many: where a driver finds or puts a device's own header without moving the data.
    #[inline(always)]
    pub fn prefix<const N: usize>(&self) -> Option<&[u8; N]> {
        // SAFETY: the bytes from the buffer's start to the data are this frame's own, as its data is, and `N` of them were seen to be there.
        (N <= self.headroom()).then(|| unsafe { self.ptr.sub(N).cast().as_ref() })
    }

    /// The `N` bytes before the data, as [`Frame::prefix`].
    #[inline(always)]
    pub fn prefix_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        // SAFETY: as in `prefix`, and `&mut self` makes the access exclusive.
        (N <= self.headroom()).then(|| unsafe { self.ptr.sub(N).cast().as_mut() })
    }

    /// Room behind the data of the first segment, in bytes.
    pub fn tailroom(&self) -> usize {
        self.pool().end(self.raw()) - self.ptr.addr().get() - self.linear_len()
    }

    /// Moves the start of an empty frame `bytes` towards the end, to leave room for headers (`skb_reserve`).
    ///
    /// # Errors
    /// [`FrameError::NotEmpty`], [`FrameError::Tailroom`].
    pub fn reserve(&mut self, bytes: usize) -> Result<(), FrameError> {
        if !self.is_empty() {
            return Err(FrameError::NotEmpty);
        }
        let have_bytes = self.tailroom();
        if bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes: bytes, have_bytes });
        }
        self.move_start(bytes.cast_signed());
        Ok(())
    }

    /// Puts `bytes` bytes before the data and returns them (`skb_push`). They hold what was there before.
    ///
    /// # Errors
    /// [`FrameError::Headroom`].
    pub fn push(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        let have_bytes = self.headroom();
        if bytes > have_bytes {
            return Err(FrameError::Headroom { wanted_bytes: bytes, have_bytes });
        }
        let len = self.linear_len() + bytes;
        self.move_start(-bytes.cast_signed());
        self.set_linear_len(len);
        Ok(self.data_mut().get_mut(..bytes).unwrap_or_default())
    }

    /// Takes `bytes` bytes off the front (`skb_pull`).
    ///
    /// # Errors
    /// [`FrameError::Short`] where the first segment has fewer.
    pub fn pull(&mut self, bytes: usize) -> Result<(), FrameError> {
        let have_bytes = self.linear_len();
        if bytes > have_bytes {
            return Err(FrameError::Short { wanted_bytes: bytes, have_bytes });
        }
        self.move_start(bytes.cast_signed());
        self.set_linear_len(have_bytes - bytes);
        Ok(())
    }

    /// Puts `bytes` bytes behind the data and returns them (`skb_put`); in a chain, behind the last segment. They hold what was there before.
    ///
    /// # Errors
    /// [`FrameError::Tailroom`].
    pub fn put(&mut self, bytes: usize) -> Result<&mut [u8], FrameError> {
        let last = self.last_mut();
        let have_bytes = last.tailroom();
        if bytes > have_bytes {
            return Err(FrameError::Tailroom { wanted_bytes: bytes, have_bytes });
        }
        let len = last.linear_len();
        last.set_linear_len(len + bytes);
        Ok(last.data_mut().get_mut(len..).unwrap_or_default())
    }

    /// Moves `ptr`; the caller has checked that it stays in the buffer.
    fn move_start(&mut self, by: isize) {
        if by != 0 {
            // SAFETY: the callers checked `by` against headroom, tailroom or length, so the sum stays inside the buffer.
            self.ptr = unsafe { self.ptr.offset(by) };
            self.set(TAG_MOVED);
        }
    }

    /// The private metadata, if the frame uses it.
    #[inline]
    fn ext(&self) -> Option<&Ext> {
        if !self.has(TAG_EXT) {
            return None;
        }
        // SAFETY: this frame owns the buffer, so the cell is its own; `&self` forbids a `&mut Ext` from `ext_mut` at the same time.
        Some(unsafe { self.pool().ext(self.ptr).as_ref() })
    }

    /// The private metadata, filled from the words at the first use.
    fn ext_mut(&mut self) -> &mut Ext {
        // SAFETY: this frame owns the buffer, so the cell is its own; `&mut self` makes the reference the only one.
        let ext = unsafe { self.pool().ext(self.ptr).as_mut() };
        if !self.has(TAG_EXT) {
            *ext = Ext { next: None, meta: meta::Meta::from_words(&self.words) };
            self.words = [0, self.words[1] & 0xffff << LEN_SHIFT];
            self.set(TAG_EXT);
        }
        ext
    }

    /// Sets the words of a fresh frame.
    ///
    /// # Safety
    /// Their length is within the buffer's room.
    #[inline(always)]
    pub(crate) unsafe fn set_words(&mut self, words: Words) {
        self.words = words;
    }

    /// For receive rings and drivers that fill a buffer by DMA: sets the words that the device wrote, in the layout of [`meta`], after checking
    /// that their length fits behind the frame's start.
    ///
    /// # Errors
    /// [`FrameError::Tailroom`] where the device claims more than it was lent.
    pub fn set_received(&mut self, words: Words) -> Result<(), FrameError> {
        let wanted_bytes = usize::from((words[1] >> LEN_SHIFT) as u16);
        let have_bytes = self.tailroom() + self.linear_len();
        if wanted_bytes > have_bytes || self.has(TAG_EXT) {
            return Err(FrameError::Tailroom { wanted_bytes, have_bytes });
        }
        self.words = words;
        Ok(())
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        drop_slow(self);
    }
}

#[cold]
fn drop_slow(frame: &mut Frame) {
    let mut next = frame.take_next();
    // SAFETY: the frame owns its buffer and is never used again; its pool is alive because the buffer is out.
    unsafe { memory::give_back(frame.pool_ptr(), &[frame.raw()]) };
    // A loop, since a chain may be long and the stack short.
    while let Some(segment) = next {
        let mut segment = ManuallyDrop::new(segment);
        next = segment.take_next();
        // SAFETY: as above, for the segment, which `ManuallyDrop` keeps from being dropped twice.
        unsafe { memory::give_back(segment.pool_ptr(), &[segment.raw()]) };
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.len())
            .field("segments", &self.segments().count())
            .field("checksum", &self.checksum())
            .field("vlan", &self.vlan())
            .field("rss", &self.rss())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
