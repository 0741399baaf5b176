//! Empty buffers as integers, and where a pool's buffers lie.
//!
//! Who owns an empty buffer holds a [`RawBuf`]: an integer, since blocks of them travel through SIMD registers, which keep no provenance. A pool
//! exposes its region's provenance once, when it is made, and [`RawBuf::ptr`] alone takes it up again.

use core::num::NonZero;
use core::ptr::{self, NonNull};

/// The unit of address tags and of all offsets in a buffer.
pub(crate) const LINE_BYTES: u32 = 64;

/// An empty buffer, by its home address: where its data begins when it is empty, as an integer. A linear token: it is copied only by code that
/// accounts for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RawBuf(NonZero<u64>);

impl RawBuf {
    /// The buffer whose home address is that of `ptr`.
    #[inline(always)]
    pub(crate) fn at(ptr: NonNull<u8>) -> Self {
        // SAFETY: the address of a pointer that is not null is not 0, and this crate is for 64-bit targets.
        Self(unsafe { NonZero::new_unchecked(ptr.addr().get() as u64) })
    }

    /// The buffer whose home address is `word`.
    ///
    /// # Safety
    /// It is such an address, which is not 0.
    #[inline(always)]
    pub(crate) unsafe fn of_word(word: u64) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { NonZero::new_unchecked(word) })
    }

    /// What a ring's slot holds where it holds no buffer: an odd number, while home addresses are multiples of [`LINE_BYTES`].
    pub(crate) const MARK: Self = Self(NonZero::<u64>::MIN);

    /// The buffer with this home address.
    #[inline(always)]
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        NonZero::new(word).map(Self)
    }

    /// The home address.
    #[inline(always)]
    pub(crate) fn word(self) -> u64 {
        self.0.get()
    }

    /// The pointer to the home address. Only the buffer's owner may use it, as long as it is that.
    #[inline(always)]
    pub(crate) fn ptr(self) -> NonNull<u8> {
        // The pool exposed its region in `PoolInner::create`, so the pointer may reach all of it.
        // SAFETY: the address is not 0.
        unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(self.0.get() as usize)) }
    }
}

/// Where the buffers of a pool lie: equally far apart, in one region.
pub(crate) struct Strides {
    /// The address at which buffer 0's headroom begins.
    start: usize,
    stride_bytes: u32,
    pub(crate) headroom_bytes: u32,
    /// What a distance in bytes is multiplied with to have [`PLACE_BYTES`] times the number of strides in its high word: as many times 2^64 over a stride, rounded up.
    place_per_byte: u64,
}

/// The size of a place of which there is one for each buffer: see [`Strides::place`].
pub(crate) const PLACE_BYTES: usize = 32;

impl Strides {
    /// How far apart buffers are that have room for `data_bytes` behind `headroom_bytes`, a multiple of [`LINE_BYTES`].
    pub(crate) fn bytes(data_bytes: u32, headroom_bytes: u32) -> u32 {
        // More than headroom and data, so that even the end of a buffer's data lies in its own stride: see `Strides::index`.
        let lines = (headroom_bytes + data_bytes) / LINE_BYTES + 1;
        (lines | 1) * LINE_BYTES
    }

    /// Buffers from the address `start` on, `stride_bytes` apart: [`Strides::bytes`] of it.
    pub(crate) fn new(start: usize, stride_bytes: u32, headroom_bytes: u32) -> Self {
        let place_per_byte = ((PLACE_BYTES as u128) << 64).div_ceil(stride_bytes.into()) as u64;
        Self { start, stride_bytes, headroom_bytes, place_per_byte }
    }

    /// The number of the buffer that the address `addr` points into: anywhere in it, headroom and the end of the data included, since
    /// a stride is longer than both together.
    #[inline]
    pub(crate) fn index(&self, addr: usize) -> u32 {
        (self.place(addr) / PLACE_BYTES) as u32
    }

    /// How far in among places of [`PLACE_BYTES`] that of the buffer lies which the address `addr` points into: that many times its number.
    #[inline(always)]
    pub(crate) fn place(&self, addr: usize) -> usize {
        // Rounding up adds less than one in 2^64 for each byte of the distance, and a quotient lacks one in a stride of the next number at least: exact where pool and
        // stride, both in bytes, multiply to less than 2^69.
        let product = u128::from((addr - self.start) as u64) * u128::from(self.place_per_byte);
        let place = (product >> 64) as usize & !(PLACE_BYTES - 1);
        debug_assert_eq!(place, (addr - self.start) / self.stride_bytes as usize * PLACE_BYTES);
        place
    }

    /// The buffer with this number, which is one of the pool's.
    #[inline]
    pub(crate) fn buf(&self, index: u32) -> RawBuf {
        let home = self.start + index as usize * self.stride_bytes as usize + self.headroom_bytes as usize;
        // SAFETY: the address lies inside the region, so it is not 0.
        RawBuf(unsafe { NonZero::new_unchecked(home as u64) })
    }
}
