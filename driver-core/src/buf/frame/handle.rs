//! The frame itself: a pointer, a pool with tags, two words, and the private metadata behind them.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::buf::memory::{self, PoolInner, RawBuf, RawFrame, TAGS};
use crate::buf::meta::{LEN_SHIFT, Meta, REQUEST_SHIFT, VLAN_VALID, Words};
use crate::host::dma::{DmaDomain, Iova};

/// The frame's metadata is in its pool's private place for its buffer; the words hold the length alone.
const TAG_META: usize = 1;
/// `ptr` is not (or was at some time not) its buffer's home address.
pub(crate) const TAG_MOVED: usize = 2;
/// Another segment is linked behind it, in its pool's private place for its buffer.
pub(crate) const TAG_NEXT: usize = 4;
/// The words carry a VLAN tag, which a transmit ring has to see: the bit by which they say so themselves.
pub(super) const TAG_VLAN: usize = VLAN_VALID as usize;
/// The words say where a checksum is to be filled in ([`requested`](crate::buf::meta::requested)), also where all else is in private memory. That a frame asks for
/// one is said here alone, where no device writes.
pub(super) const TAG_SUM: usize = 16;

/// What the words say of the length.
const LEN_MASK: u64 = 0xffff << LEN_SHIFT;
/// What they say of the checksum that is asked for.
pub(super) const REQUEST_MASK: u64 = 0xffff << REQUEST_SHIFT;

/// An owned frame. `Send`; dropping it returns its buffers to their pool from any thread.
///
/// Its bytes are in one buffer or in a chain of several ([`Frame::segments`]). `data`, `push`, `pull` and the room around them speak of the first
/// segment, as `skb->data` does; `len`, `trim`, `put` and `append` of the whole.
///
/// ```text
///  buffer   |<-- headroom -->|<----------- data ----------->|<-- tailroom -->|
///             reserve -->      <-- push        trim --> len    put -->
///                              pull -->
/// ```
///
/// ```
/// # #[cfg(not(feature = "testing"))]
/// # fn main() {}
/// # #[cfg(feature = "testing")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use driver_core::buf::{BufPool, PoolConfig};
///
/// let (domain, _) = driver_core::testing::domain(); // a driver has it from its device
/// let pool = BufPool::new(&domain, PoolConfig::new(64))?;
/// let mut frame = pool.take().ok_or("the pool is empty")?;
///
/// // Payload first, then headers in front of it: nothing is moved.
/// frame.put(5)?.copy_from_slice(b"hello");
/// frame.push(2)?.copy_from_slice(&[0x08, 0x00]);
/// frame.push(12)?.fill(0xff);
/// assert_eq!((frame.len(), frame.headroom()), (19, 128 - 14));
///
/// // The way up takes them off again.
/// frame.pull(14)?;
/// frame.trim(4)?;
/// assert_eq!(frame.data(), b"hell");
/// frame.data_mut()[0] = b'H';
///
/// // A verb that cannot be done leaves the frame as it was, and says why.
/// let error = frame.push(1000).unwrap_err();
/// assert_eq!(error.to_string(), "1000 bytes do not fit into 128 bytes of headroom");
/// assert_eq!(frame.data(), b"Hell");
/// # Ok(())
/// # }
/// ```
#[repr(transparent)]
pub struct Frame(RawFrame);

// Rings read and write frames as four 64-bit words.
const _: () = assert!(size_of::<Frame>() == 32 && align_of::<Frame>() == 16);
const _: () = assert!(core::mem::offset_of!(RawFrame, pool) == 8 && core::mem::offset_of!(RawFrame, words) == 16);

const _: () = assert!(TAG_VLAN.is_power_of_two() && TAG_VLAN > TAG_NEXT && TAG_SUM > TAG_VLAN && TAG_SUM <= TAGS);

// SAFETY: a frame owns its buffers and their private metadata alone, and the pool's free list is atomic.
unsafe impl Send for Frame {}
// SAFETY: `&Frame` gives shared access to bytes and metadata that only `&mut Frame` changes.
unsafe impl Sync for Frame {}

/// Between buffers, pools and frames.
impl Frame {
    /// An empty frame in `buf`, at home. Here and in [`Frame::write_owner`] alone a buffer becomes a frame.
    ///
    /// # Safety
    /// The caller owns `buf`, which is a buffer of the live pool at `pool`, and gives it up.
    #[inline(always)]
    pub(crate) unsafe fn fresh(buf: RawBuf, pool: NonNull<PoolInner>) -> Self {
        Self(RawFrame { ptr: buf.ptr(), pool, words: [0, 0] })
    }

    /// Writes the first half of a plain frame in `buf`, pointer and pool, as [`Frame::fresh`] does. The words that a device wrote follow it.
    ///
    /// # Safety
    /// As for [`Frame::fresh`]; `place` has room for a frame, which the caller completes with words as for [`Frame::set_plain_words`].
    #[inline(always)]
    pub(crate) unsafe fn write_owner(place: NonNull<Self>, buf: RawBuf, pool: NonNull<PoolInner>) {
        let raw = place.cast::<RawFrame>().as_ptr();
        // SAFETY: the fields of a place that has room for a frame, by the caller's word. Each is written as the pointer that it is.
        unsafe {
            (&raw mut (*raw).ptr).write(buf.ptr());
            (&raw mut (*raw).pool).write(pool);
        }
    }

    /// Writes a segment to `place` that is a plain frame in `buf`, and says where the one that is linked behind it is to be written, if `more` follow.
    ///
    /// # Safety
    /// As for [`Frame::fresh`]; `place` has room for a frame. The words are as for [`Frame::set_plain_words`]. Where `more` follow, the caller writes the next one.
    #[inline(always)]
    pub(crate) unsafe fn write_segment(place: NonNull<Self>, buf: RawBuf, pool: NonNull<PoolInner>, words: Words, more: bool) -> NonNull<Self> {
        debug_assert!(words[1] & VLAN_VALID == 0);
        let word = if more { pool.as_ptr().map_addr(|addr| addr | TAG_NEXT) } else { pool.as_ptr() };
        // SAFETY: the caller's: the place has room, the pool is alive and the buffer is its own. A pool's address is not null, whatever its tags.
        unsafe {
            place.cast::<RawFrame>().write(RawFrame { ptr: buf.ptr(), pool: NonNull::new_unchecked(word), words });
            if more { pool.as_ref().link(buf.ptr()).cast() } else { place }
        }
    }

    /// Says of the frame at `first`, whose words hold its length alone, what `words` say, which have none.
    ///
    /// # Safety
    /// [`Frame::write_segment`] wrote it, and nothing came behind that. The words carry no VLAN tag.
    #[inline(always)]
    pub(crate) unsafe fn say(first: NonNull<Self>, [w0, w1]: Words) {
        debug_assert!(w1 & (VLAN_VALID | LEN_MASK) == 0);
        let raw = first.cast::<RawFrame>().as_ptr();
        // SAFETY: the caller's.
        unsafe { (*raw).words = [w0, (*raw).words[1] | w1] };
    }

    /// Takes the mark off that another segment is linked behind it, which is not there.
    pub(super) fn unlink(&mut self) {
        self.set(TAG_NEXT, 0);
    }

    /// Gives up a frame of one segment without returning its buffer, which is whoever's that asked, and its pool.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> (RawBuf, NonNull<PoolInner>) {
        debug_assert!(self.next_segment().is_none());
        let frame = ManuallyDrop::new(self);
        (frame.raw(), frame.pool_ptr())
    }

    /// Gives up the first segment without returning its buffer, which is whoever's that asked, of the pool; and the others, which are a frame of their own.
    #[inline(always)]
    pub(crate) fn take_apart(mut self) -> (NonNull<PoolInner>, RawBuf, Option<Self>) {
        let next = self.take_next();
        let (buf, pool) = self.into_raw();
        (pool, buf, next)
    }

    #[inline(always)]
    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.0.ptr
    }

    /// The pool, without tags.
    #[inline(always)]
    pub(crate) fn pool_ptr(&self) -> NonNull<PoolInner> {
        // SAFETY: a pool's address is aligned and not null, so clearing the tags leaves it not null.
        unsafe { NonNull::new_unchecked(self.0.pool.as_ptr().map_addr(|addr| addr & !TAGS)) }
    }

    /// The pool's address with tags.
    #[inline(always)]
    pub(crate) fn pool_word(&self) -> NonNull<PoolInner> {
        self.0.pool
    }

    /// Whether it has no tag: one buffer with its data at home, and no metadata but in the words.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        !self.has(TAGS)
    }

    #[inline(always)]
    pub(super) fn pool(&self) -> &PoolInner {
        // SAFETY: the frame's buffer is not in the free list, so the pool is alive.
        unsafe { &*self.pool_ptr().as_ptr() }
    }

    #[inline(always)]
    pub(super) fn has(&self, tag: usize) -> bool {
        self.0.pool.addr().get() & tag != 0
    }

    /// Sets the bits of `tags` as they are in `to`.
    #[inline(always)]
    pub(super) fn set(&mut self, tags: usize, to: usize) {
        // SAFETY: a pool's address is aligned and not null, so whatever its tags are it is not null.
        self.0.pool = unsafe { NonNull::new_unchecked(self.0.pool.as_ptr().map_addr(|addr| addr & !tags | to & tags)) };
    }

    /// The buffer of the first segment.
    #[inline]
    pub(crate) fn raw(&self) -> RawBuf {
        if self.has(TAG_MOVED) { self.pool().buf_of(self.0.ptr) } else { RawBuf::at(self.0.ptr) }
    }

    /// Where the device finds the first byte of [`Frame::data`]. Meant for drivers, which keep the frame for as long as the device may use it.
    #[inline]
    pub fn iova(&self) -> Iova {
        Iova((self.0.ptr.addr().get() as u64).wrapping_add(self.pool().delta))
    }

    /// Whether `domain`'s devices can reach the first segment.
    pub fn is_reachable(&self, domain: &DmaDomain) -> bool {
        self.pool().domain().is_same(domain)
    }
}

/// The bytes of the first segment.
impl Frame {
    /// The bytes of the first segment.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: every verb and every receive ring keeps `ptr .. ptr + linear_len` inside the buffer, which this frame owns and no device holds.
        unsafe { core::slice::from_raw_parts(self.0.ptr.as_ptr(), self.linear_len()) }
    }

    /// The bytes of the first segment.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.0.ptr.as_ptr(), self.linear_len()) }
    }

    /// The length of the first segment in bytes.
    #[inline(always)]
    pub fn linear_len(&self) -> usize {
        usize::from((self.0.words[1] >> LEN_SHIFT) as u16)
    }

    #[inline(always)]
    pub(super) fn set_linear_len(&mut self, len: usize) {
        debug_assert!(len <= usize::from(u16::MAX));
        if cfg!(target_endian = "little") {
            let word: *mut u64 = &mut self.0.words[1];
            // SAFETY: the 16 bits that `LEN_SHIFT` names are the bytes 4 and 5 of the word.
            unsafe { word.cast::<u16>().add(LEN_SHIFT as usize / 16).write(len as u16) };
        } else {
            self.0.words[1] = self.0.words[1] & !LEN_MASK | (len as u64) << LEN_SHIFT & LEN_MASK;
        }
    }

    /// Room before the data of the first segment, in bytes.
    pub fn headroom(&self) -> usize {
        let start = self.raw().word() as usize - self.pool().strides.headroom_bytes as usize;
        self.0.ptr.addr().get() - start
    }

    /// Room behind the data of the first segment, in bytes.
    pub fn tailroom(&self) -> usize {
        self.pool().end(self.raw()) - self.0.ptr.addr().get() - self.linear_len()
    }

    /// The `N` bytes before the data, where the headroom has so many: where a driver finds or puts a device's own header without moving the data.
    #[inline(always)]
    pub fn prefix<const N: usize>(&self) -> Option<&[u8; N]> {
        // SAFETY: the bytes from the buffer's start to the data are this frame's own, as its data is, and `N` of them were seen to be there.
        (N <= self.headroom()).then(|| unsafe { self.0.ptr.sub(N).cast().as_ref() })
    }

    /// The `N` bytes before the data, as [`Frame::prefix`].
    #[inline(always)]
    pub fn prefix_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        // SAFETY: as in `prefix`, and `&mut self` makes the access exclusive.
        (N <= self.headroom()).then(|| unsafe { self.0.ptr.sub(N).cast().as_mut() })
    }

    /// Sets start and length of a frame of one segment.
    ///
    /// # Safety
    /// `len` bytes from `start` on lie in the frame's buffer.
    pub(crate) unsafe fn set_ends(&mut self, start: NonNull<u8>, len: usize) {
        if start != self.0.ptr {
            self.0.ptr = start;
            self.set(TAG_MOVED, TAG_MOVED);
        }
        self.set_linear_len(len);
    }

    /// The words as a hook sees them: those that a device wrote, where nothing was said otherwise since; the length in any case. Bits that [`meta`](crate::buf::meta) leaves
    /// to the device are as it wrote them.
    pub fn view_words(&self) -> Words {
        self.0.words
    }

    /// Moves `ptr`; the caller has checked that it stays in the buffer.
    pub(super) fn move_start(&mut self, by: isize) {
        if by != 0 {
            // SAFETY: the callers checked `by` against headroom, tailroom or length, so the sum stays inside the buffer.
            self.0.ptr = unsafe { self.0.ptr.offset(by) };
            self.set(TAG_MOVED, TAG_MOVED);
        }
    }
}

/// The words, and the private metadata.
impl Frame {
    /// The words as they are; where [`Frame::private_meta`] is something, they hold the length alone, and the place of a checksum that is asked for.
    #[inline(always)]
    pub(super) fn words(&self) -> &Words {
        &self.0.words
    }

    /// The second word, to say in it what is asked for: its length stays.
    #[inline(always)]
    pub(super) fn asking_word(&mut self) -> &mut u64 {
        &mut self.0.words[1]
    }

    /// Sets the words of a frame without private metadata, which asks for no checksum.
    ///
    /// # Safety
    /// Their length is within the buffer's room.
    #[inline(always)]
    pub(crate) unsafe fn set_words(&mut self, words: Words) {
        self.0.words = words;
        self.set(TAG_VLAN, words[1] as usize);
    }

    /// Sets the words of an empty plain frame, which stays a plain one.
    ///
    /// # Safety
    /// Their length is within the buffer's room, and they carry no VLAN tag.
    #[inline(always)]
    pub(crate) unsafe fn set_plain_words(&mut self, words: Words) {
        debug_assert!(words[1] & VLAN_VALID == 0);
        self.0.words = words;
    }

    /// Sets all of the words but the length, in a frame without private metadata.
    pub(super) fn set_words_without_len(&mut self, [w0, w1]: Words) {
        // SAFETY: the length stays.
        unsafe { self.set_words([w0, w1 & !LEN_MASK | self.0.words[1] & LEN_MASK]) };
    }

    /// Whether metadata lies in private memory.
    #[inline(always)]
    pub(super) fn has_meta(&self) -> bool {
        self.has(TAG_META)
    }

    /// Whether it asks for nothing but to be sent, as its tags say: no metadata of its own, no VLAN tag, no checksum.
    #[inline(always)]
    pub fn asks_for_nothing(&self) -> bool {
        !self.has(TAG_META | TAG_VLAN | TAG_SUM)
    }

    /// The private metadata, if the frame uses it.
    #[inline]
    pub(super) fn private_meta(&self) -> Option<&Meta> {
        if !self.has_meta() {
            return None;
        }
        // SAFETY: this frame owns the buffer, so the place is its own, and `meta_mut` has written it before it set the tag; `&self` forbids a `&mut Meta`
        // at the same time.
        Some(unsafe { self.pool().meta(self.0.ptr).as_ref() })
    }

    /// Gives up the private metadata, and the segments behind the first.
    pub(super) fn drop_private(&mut self) {
        drop(self.take_next());
        self.set(TAG_META | TAG_SUM, 0);
    }

    /// The private metadata, filled from the words at the first use.
    pub(super) fn meta_mut(&mut self) -> &mut Meta {
        // SAFETY: this frame owns the buffer, so the place is its own.
        let place = unsafe { self.pool().meta(self.0.ptr) };
        if !self.has_meta() {
            // SAFETY: as above; what an earlier frame left there needs no drop.
            unsafe { place.write(Meta::from_words(&self.0.words)) };
            self.0.words = [0, self.0.words[1] & (LEN_MASK | REQUEST_MASK)];
            self.set(TAG_META | TAG_VLAN, TAG_META);
        }
        // SAFETY: as above, and written before the tag was set; `&mut self` makes the reference the only one.
        unsafe { &mut *place.as_ptr() }
    }
}

/// The links from segment to segment. A link is a frame that its predecessor owns.
impl Frame {
    /// Whether a segment follows.
    #[inline(always)]
    pub(super) fn has_next(&self) -> bool {
        self.has(TAG_NEXT)
    }

    /// Where the next segment lies, which this one owns.
    #[inline(always)]
    fn next_place(&self) -> Option<NonNull<Self>> {
        // SAFETY: this frame owns the buffer, so the place is its own. A link is what `set_next` took a frame apart into, and has a frame's layout.
        self.has_next().then(|| unsafe { self.pool().link(self.0.ptr).cast() })
    }

    #[inline(always)]
    pub(super) fn next_segment(&self) -> Option<&Self> {
        // SAFETY: `set_next` wrote the place before it set the tag; this frame owns what is there and is borrowed for as long.
        self.next_place().map(|next| unsafe { next.as_ref() })
    }

    #[inline(always)]
    pub(super) fn next_mut(&mut self) -> Option<&mut Self> {
        // SAFETY: as in `next_segment`, and `&mut self` makes the access exclusive.
        self.next_place().map(|mut next| unsafe { next.as_mut() })
    }

    #[inline(always)]
    pub(super) fn take_next(&mut self) -> Option<Self> {
        let next = self.next_place()?;
        self.set(TAG_NEXT, 0);
        // SAFETY: as in `next_segment`; without the tag nobody reads the place again before it is written.
        Some(unsafe { next.read() })
    }

    /// Links `next` behind this segment, which is a chain's last, and says where it lies now: there it stays as long as the chain is not taken apart.
    #[inline(always)]
    pub(super) fn set_next(&mut self, next: Self) -> NonNull<Self> {
        debug_assert!(!self.has_next());
        // SAFETY: this frame owns the buffer, so the place is its own.
        let place = unsafe { self.pool().link(self.0.ptr).cast() };
        // SAFETY: as above. What an earlier frame left there needs no drop.
        unsafe { place.write(next) };
        self.set(TAG_NEXT, TAG_NEXT);
        place
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
