//! Memory behind device addresses: where it lies in this process, how its bytes are accessed, and what can be wrong with an access.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use driver_core::host::Iova;

/// Device addresses with memory of this process behind them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) first: u64,
    pub(crate) len: u64,
    pub(crate) ptr: NonNull<u8>,
    /// Whether the device may read and write.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

// SAFETY: a window names memory that whoever made the window owns; all access to its bytes goes through raw pointers and atomics whose users state their
// reasons.
unsafe impl Send for Window {}
// SAFETY: as above; `&Window` gives addresses and no access.
unsafe impl Sync for Window {}

const WORD: usize = size_of::<u64>();

/// Cuts `len` bytes at `shared` into aligned pieces of 1, 2, 4 and [`WORD`] bytes, words as far as there are whole ones. `each` copies a piece: its place and its
/// length.
#[inline(always)]
fn in_pieces(shared: NonNull<u8>, len: usize, mut each: impl FnMut(usize, usize)) {
    let (address, mut at) = (shared.addr().get(), 0);
    if !address.is_multiple_of(WORD) {
        for bytes in [1, 2, 4] {
            if (address + at) & bytes != 0 && len - at >= bytes {
                each(at, bytes);
                at += bytes;
            }
        }
    }
    while len - at >= WORD {
        each(at, WORD);
        at += WORD;
    }
    // Where bytes end before the first whole word, they are fewer than the next piece up to it, so that these are aligned, too.
    for bytes in [4, 2, 1] {
        if len - at >= bytes {
            each(at, bytes);
            at += bytes;
        }
    }
}

/// Copies `len` bytes out of memory that others may write to meanwhile, in this process or in another: each aligned word is read at once, so that the copy may be
/// a mixture of old and new words, and nothing worse.
///
/// # Safety
/// `shared` is valid for reads of `len` bytes. Whoever writes them in this process writes atomically, or before or after this call as both can tell.
/// `to` is valid for writes of `len` bytes that nobody else accesses; they may not overlap the others.
#[inline]
pub(crate) unsafe fn copy_out(shared: NonNull<u8>, to: *mut u8, len: usize) {
    if cfg!(miri) {
        // Miri knows no atomics of different sizes in one place, and no other process; it shall see a race of card and driver where there is one.
        // SAFETY: both places are valid for `len` bytes and do not overlap, by the contract.
        return unsafe { shared.as_ptr().copy_to_nonoverlapping(to, len) };
    }
    in_pieces(shared, len, |at, bytes| {
        // SAFETY: `bytes` from `at` on are below `len`, so that both places are valid by the contract; in `shared` they are aligned.
        unsafe {
            let (from, to) = (shared.as_ptr().add(at), to.add(at));
            match bytes {
                1 => to.write(AtomicU8::from_ptr(from).load(Ordering::Relaxed)),
                2 => to.cast::<u16>().write_unaligned(AtomicU16::from_ptr(from.cast()).load(Ordering::Relaxed)),
                4 => to.cast::<u32>().write_unaligned(AtomicU32::from_ptr(from.cast()).load(Ordering::Relaxed)),
                _ => to.cast::<u64>().write_unaligned(AtomicU64::from_ptr(from.cast()).load(Ordering::Relaxed)),
            }
        }
    });
}

/// Copies bytes into memory that others may read or write meanwhile; else as [`copy_out`].
///
/// # Safety
/// `shared` is valid for writes of as many bytes as `from` has. Whoever accesses them in this process does so atomically, or before or after this call as both
/// can tell.
#[inline]
pub(crate) unsafe fn copy_in(shared: NonNull<u8>, from: &[u8]) {
    if cfg!(miri) {
        // SAFETY: as in `copy_out`.
        return unsafe { shared.as_ptr().copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }
    in_pieces(shared, from.len(), |at, bytes| {
        // SAFETY: as in `copy_out`, with the direction reversed.
        unsafe {
            let (from, to) = (from.as_ptr().add(at), shared.as_ptr().add(at));
            match bytes {
                1 => AtomicU8::from_ptr(to).store(from.read(), Ordering::Relaxed),
                2 => AtomicU16::from_ptr(to.cast()).store(from.cast::<u16>().read_unaligned(), Ordering::Relaxed),
                4 => AtomicU32::from_ptr(to.cast()).store(from.cast::<u32>().read_unaligned(), Ordering::Relaxed),
                _ => AtomicU64::from_ptr(to.cast()).store(from.cast::<u64>().read_unaligned(), Ordering::Relaxed),
            }
        }
    });
}

/// Why a device's access failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DmaFault {
    /// The first address of the access.
    pub iova: Iova,
    /// Its length in bytes.
    pub len_bytes: usize,
    /// Whether it was a write.
    pub write: bool,
    /// What is wrong with it.
    pub why: FaultCause,
}

/// What is wrong with a device's access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultCause {
    /// No mapping holds all of it.
    Unmapped,
    /// Bus mastering is off in the PCI command register.
    BusMasterOff,
    /// A descriptor is not aligned to its size.
    Misaligned,
    /// The memory is mapped, and its owner refused the access.
    Refused,
    /// The memory is mapped, and its owner has to be asked again later: nothing was done.
    Later,
}

impl DmaFault {
    /// Whether the same access may be made again later, as if it had not been tried.
    pub fn is_passing(&self) -> bool {
        self.why == FaultCause::Later
    }
}

impl FaultCause {
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Unmapped => "DMA outside the mappings",
            Self::BusMasterOff => "DMA while bus mastering is off",
            Self::Misaligned => "DMA of a descriptor that is not aligned",
            Self::Refused => "DMA to memory whose owner refuses",
            Self::Later => "DMA to memory whose owner does not answer now",
        }
    }
}

impl fmt::Display for DmaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.write { "write" } else { "read" };
        write!(f, "{}: {verb} of {} bytes at iova {:#x}", self.why.what(), self.len_bytes, self.iova)
    }
}

impl std::error::Error for DmaFault {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place of a copy in 40 bytes: nothing but the copied bytes changes.
    #[test]
    fn copies_take_all_bytes_and_no_others() {
        let mut shared = [0u64; 5];
        let pattern: Vec<u8> = (1..=40).collect();
        for start in 0..16 {
            for len in 0..=24 {
                let ptr = NonNull::from(&mut shared).cast::<u8>();
                // SAFETY: 40 bytes of an array that nothing else refers to meanwhile.
                unsafe { copy_in(ptr, &[0xff; 40]) };
                let mut copy = [0; 40];
                // SAFETY: as above, from one of its bytes on to one of its bytes; and 40 bytes of another.
                unsafe {
                    copy_in(ptr.add(start), &pattern[..len]);
                    copy_out(ptr, copy.as_mut_ptr(), 40);
                }
                let mut wanted = [0xff; 40];
                wanted[start..start + len].copy_from_slice(&pattern[..len]);
                assert_eq!(copy, wanted, "{len} bytes at {start}");
                let mut part = [0; 24];
                // SAFETY: as above.
                unsafe { copy_out(ptr.add(start), part.as_mut_ptr(), len) };
                assert_eq!(part[..len], pattern[..len]);
            }
        }
    }

    /// What a driver in another process may do.
    #[test]
    #[cfg(not(miri))]
    fn who_writes_meanwhile_makes_a_mixture_of_whole_words() {
        let shared: Vec<AtomicU64> = (0..32).map(|_| AtomicU64::new(0)).collect();
        let ptr = NonNull::from(shared.as_slice()).cast();
        let rounds = 2000;
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=rounds).for_each(|round: u64| shared.iter().for_each(|word| word.store(round << 32 | round, Ordering::Relaxed))));
            for _ in 0..rounds {
                let mut copy = [0u64; 32];
                // SAFETY: 256 bytes of atomics, which the other thread writes atomically.
                unsafe { copy_out(ptr, copy.as_mut_ptr().cast(), 256) };
                assert!(copy.iter().all(|word| word >> 32 == word & 0xffff_ffff));
            }
        });
    }
}
