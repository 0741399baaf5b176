//! What hooks over virtqueues have in common, in either layout.

use core::ptr::NonNull;

use crate::buf::memory::{PoolInner, RawBuf};
use crate::buf::meta::{LEN_SHIFT, VLAN_VALID};
use crate::ring::virtq::HookRules;

/// The low half of a word, less the bit by which it would carry a VLAN tag.
const LOW_HALF: u64 = 0xffff_ffff & !VLAN_VALID;

/// A verdict that the queue at hand does not carry out. The frame is the next one of its queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Undone {
    pub(crate) code: u8,
    pub(in crate::ring) start: NonNull<u8>,
    pub(in crate::ring) len: usize,
    pub(in crate::ring) words: [u64; 2],
}

impl Undone {
    /// The bytes with which it came.
    pub(crate) fn bytes(&self) -> u64 {
        self.words[1] >> LEN_SHIFT & 0xffff
    }

    /// Whether the ends that a hook left lie in this buffer.
    pub(in crate::ring) fn is_within(&self, pool: &PoolInner, buf: RawBuf) -> bool {
        let start = self.start.addr().get();
        let first = buf.word() as usize - pool.strides.headroom_bytes as usize;
        let words_len = (self.words[1] >> LEN_SHIFT) as u16;
        start >= first && start + self.len <= pool.end(buf) && u32::from(words_len) <= pool.data_bytes
    }
}

/// Where frames go.
pub(crate) struct Outlet<'a, Q> {
    pub(crate) tx: &'a mut Q,
    /// The code of the verdict that means it.
    pub(crate) code: u8,
    /// The shortest and the longest frame.
    pub(crate) bytes: (u16, u16),
}

/// The header that a device wrote, by its first eight bytes and the next four.
///
/// # Safety
/// The buffer has come back from the device, and has a header's headroom.
#[inline(always)]
pub(in crate::ring) unsafe fn header_of<const HEADER: usize>(buf: RawBuf) -> (u64, u32) {
    // SAFETY: the caller's.
    unsafe {
        let header = buf.ptr().sub(HEADER);
        (u64::from_le(header.cast().read_unaligned()), u32::from_le(header.add(8).cast().read_unaligned()))
    }
}

impl HookRules {
    /// Whether none of a header's bits says that a frame is unusual.
    #[inline(always)]
    pub(in crate::ring) fn is_usual(&self, low: u64, high: u32) -> bool {
        low & self.clear | u64::from(high & self.looked_at ^ self.wanted) == 0
    }

    /// What is known of a frame, as the low half of its second word.
    #[inline(always)]
    pub(in crate::ring) fn known(&self, low: u64) -> u64 {
        (low & self.known) << self.known_shift & LOW_HALF
    }
}
