//! What the two layouts of virtqueues have in common: flags, headers, and what a transmit slot says.

use core::ptr::NonNull;

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::LINE_BYTES;
use crate::buf::meta::VALUE_SHIFT;
use crate::buf::pool::BufPool;
use crate::host::dma::DmaDomain;
use crate::ring::error::{self, RingError};

pub(super) mod apart;
pub(super) mod asking;
pub(super) mod flight;
pub(crate) mod judged;

/// VIRTQ_DESC_F_NEXT: the buffer goes on in the next descriptor (2.7.5, 2.8.6).
pub const F_NEXT: u16 = 1;
/// VIRTQ_DESC_F_WRITE: the device writes to the buffer.
pub const F_WRITE: u16 = 2;
/// VIRTQ_DESC_F_INDIRECT: the buffer is a table of descriptors.
pub const F_INDIRECT: u16 = 4;

/// The longest header that a device puts before a frame, in bytes: more than twice virtio's longest (5.1.6).
pub(crate) const MAX_HEADER: usize = 64;

/// The low bits of a slot that holds a buffer: the name of its pool. A home address has them clear.
pub(crate) const TAG_MASK: u64 = LINE_BYTES as u64 - 1;
/// What a slot says that is empty. Like [`FRAME`], it has a tag that is no pool's.
pub(crate) const EMPTY: u64 = TAG_MASK;
/// A slot that holds no buffer but says that a whole frame lies in `frames`.
pub(crate) const FRAME: u64 = TAG_MASK + LINE_BYTES as u64;

/// The header that a network device puts before a frame (virtio 1.3, 5.1.6).
pub const HEADER_BYTES: usize = 12;
/// The same with the frame's flow hash, where hashes are reported: the word that [`flow_hash`] reads comes last.
pub const HASH_HEADER_BYTES: usize = 20;

/// The kinds of a frame's first word (see [`meta`](crate::buf::meta)) by the low byte of `hash_report` (5.1.6.4.3.3): without a hash, IPv4, TCP and UDP over it; IPv6, TCP and UDP over it, and
/// the same three with extension headers. What else a device says tells of no hash.
static KINDS: [u8; 256] = {
    let known = [0, 2, 1, 7, 5, 3, 8, 4, 6, 9];
    let (mut kinds, mut k) = ([0; 256], 0);
    while k < known.len() {
        kinds[k] = known[k];
        k += 1;
    }
    kinds
};

/// The flow hash in the last eight bytes of a header of [`HASH_HEADER_BYTES`], as a frame's first word has it: `hash_value`, `hash_report`, and two bytes more.
#[inline(always)]
pub fn flow_hash(last: u64) -> u64 {
    // What a byte says is below 256.
    let kind = KINDS[usize::from((last >> 32) as u8)];
    last << VALUE_SHIFT | u64::from(kind)
}

/// A frame's first word as its halves lie in memory, by a header of [`HASH_HEADER_BYTES`] that ends at `end`.
///
/// # Safety
/// The bytes are there, and nobody writes to them.
#[inline(always)]
pub(super) unsafe fn first_halves(end: NonNull<u8>) -> [u32; 2] {
    // SAFETY: the caller's.
    let (hash, report) = unsafe { (u32::from_le(end.sub(8).cast().read_unaligned()), end.sub(4).read()) };
    let kind = u32::from(KINDS[usize::from(report)]);
    if cfg!(target_endian = "big") { [hash, kind] } else { [kind, hash] }
}

/// A frame's first word, by the header of `HEADER` bytes that ends at `end`.
///
/// # Safety
/// The bytes are there, and nobody writes to them.
#[inline(always)]
pub(super) unsafe fn first_word<const HEADER: usize>(end: NonNull<u8>) -> u64 {
    if HEADER != HASH_HEADER_BYTES {
        return 0;
    }
    // SAFETY: the caller's.
    flow_hash(u64::from_le(unsafe { end.sub(8).cast().read_unaligned() }))
}

/// Which received frames are ordinary, by the header that the device put before them.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "plain data: every driver makes it")]
pub struct HookRules {
    /// The fewest and the most used bytes, the header included.
    pub used_bytes: (u32, u32),
    /// What has to be clear of the header's first eight bytes, little-endian.
    pub clear: u64,
    /// Which bits of the next four are looked at, and what they have to be.
    pub looked_at: u32,
    /// See `looked_at`.
    pub wanted: u32,
    /// Which of the first eight bytes say what is known of the frame: shifted left by `known_shift` they are the low half of its second word.
    pub known: u64,
    /// See `known`.
    pub known_shift: u32,
}

/// What finds a received frame to be ordinary by its header: a closure, or a type of one's own whose code goes in line wherever it is asked.
pub trait Ordinary<const HEADER: usize> {
    /// What is known of the frame, as the low half of its second word (see [`meta`](crate::buf::meta)); `None` where it is not ordinary.
    fn known(&self, header: &[u8; HEADER]) -> Option<u32>;
}

impl<const HEADER: usize, F: Fn(&[u8; HEADER]) -> Option<u32>> Ordinary<HEADER> for F {
    #[inline(always)]
    fn known(&self, header: &[u8; HEADER]) -> Option<u32> {
        self(header)
    }
}

/// One received buffer, as the `take` of either layout finds it.
#[derive(Debug)]
#[non_exhaustive]
pub struct VirtqTaken {
    /// An empty frame whose buffer the device has filled: headroom and room for data hold what it wrote.
    pub frame: Frame,
    /// The descriptor, or the buffer ID.
    pub id: u32,
    /// How many bytes the device says that it wrote, the header included: at most as many as were lent.
    pub used_bytes: u32,
}

/// Frames that went from a batch into a queue, each with a header of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data")]
pub struct PutWhole {
    /// How many.
    pub frames: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many the device makes of them beyond these.
    pub cut: u64,
}

impl PutWhole {
    /// One more of so many bytes, of which the device makes so many.
    #[inline(always)]
    pub(super) fn count(&mut self, bytes: u64, frames: u32) {
        self.frames += 1;
        self.bytes += bytes;
        self.cut += u64::from(frames).saturating_sub(1);
    }
}

/// As many empty buffers of `pool` as a receive queue in `domain` lends at once: one with each of its `size` descriptors, each with room for a header before its data.
///
/// # Errors
/// [`RingError::Domain`], [`RingError::Headroom`], [`RingError::PoolTooSmall`].
pub(super) fn stocked<const HEADER: usize>(domain: &DmaDomain, size: u16, pool: &BufPool) -> Result<Batch, RingError> {
    error::same_domain(domain, pool)?;
    let have_bytes = pool.headroom_bytes() as usize;
    if have_bytes < HEADER {
        return Err(RingError::Headroom { needed_bytes: HEADER, have_bytes });
    }
    let mut batch = Batch::new(size.into());
    let free = batch.stock(pool, size.into());
    if free < usize::from(size) {
        return Err(RingError::PoolTooSmall { entries: size.into(), needed: size.into(), free: free as u32 });
    }
    Ok(batch)
}

/// How many descriptors a frame needs with its header.
pub(crate) fn pieces<const HEADER: usize>(frame: &Frame) -> usize {
    frame.segments().filter(|segment| !segment.is_empty()).count() + usize::from(is_apart::<HEADER>(frame))
}

/// Whether the header cannot lie right before the frame's first byte.
pub(crate) fn is_apart<const HEADER: usize>(frame: &Frame) -> bool {
    HEADER > 0 && (frame.linear_len() == 0 || frame.prefix::<HEADER>().is_none())
}
