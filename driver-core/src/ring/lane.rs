//! Two 64-bit words at a time: a descriptor, or half a [`Frame`](crate::buf::frame::Frame).
//!
//! On x86-64 with SSE2, which all but programs without an operating system may use, a [`Pair`] is an SSE2 register, elsewhere two integers. The two are twins: the tests compare them.

/// Two 64-bit words, low address first.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Pair(imp::Repr);

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
use simd as imp;

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
use scalar as imp;

impl core::fmt::Debug for Pair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [low, high] = self.words();
        write!(f, "{low:#018x}:{high:#018x}")
    }
}

impl Pair {
    /// From two words.
    #[inline(always)]
    pub fn new(low: u64, high: u64) -> Self {
        Self(imp::new(low, high))
    }
    /// The two words.
    #[inline(always)]
    pub fn words(self) -> [u64; 2] {
        [imp::low(self.0), imp::high(self.0)]
    }
    /// The low word.
    #[inline(always)]
    pub fn low(self) -> u64 {
        imp::low(self.0)
    }
    /// The high word.
    #[inline(always)]
    pub fn high(self) -> u64 {
        imp::high(self.0)
    }
    /// Bitwise and.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(imp::and(self.0, other.0))
    }
    /// Bitwise or.
    #[inline(always)]
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(imp::or(self.0, other.0))
    }
    /// Each word shifted left by half its width.
    #[inline(always)]
    #[must_use]
    pub(crate) fn shl32(self) -> Self {
        Self(imp::shl32(self.0))
    }
    /// The larger of each two of the eight 16-bit numbers, unsigned.
    #[inline(always)]
    #[must_use]
    pub(crate) fn max_u16(self, other: Self) -> Self {
        Self(imp::max_u16(self.0, other.0))
    }
    /// Adds word by word, wrapping.
    #[inline(always)]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(imp::add(self.0, other.0))
    }
    /// The low word, and 0.
    #[inline(always)]
    #[must_use]
    pub(crate) fn low_zero(self) -> Self {
        Self(imp::low_zero(self.0))
    }
    /// The high word, and 0.
    #[inline(always)]
    #[must_use]
    pub(crate) fn high_zero(self) -> Self {
        Self(imp::high_zero(self.0))
    }
    /// The low word of `self` and the low word of `other`.
    #[inline(always)]
    #[must_use]
    pub fn low_low(self, other: Self) -> Self {
        Self(imp::low_low(self.0, other.0))
    }
    /// The low word of `self` and the high word of `other`.
    #[inline(always)]
    #[must_use]
    pub fn low_high(self, other: Self) -> Self {
        Self(imp::low_high(self.0, other.0))
    }
    /// The high word of `self` and the high word of `other`.
    #[inline(always)]
    #[must_use]
    pub(crate) fn high_high(self, other: Self) -> Self {
        Self(imp::high_high(self.0, other.0))
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
impl Pair {
    /// The register.
    #[inline(always)]
    pub(crate) fn repr(self) -> imp::Repr {
        self.0
    }
    /// Of a register.
    #[inline(always)]
    pub(crate) fn of(repr: imp::Repr) -> Self {
        Self(repr)
    }
}

/// A shift that leaves nothing of a length.
const NOWHERE: u32 = 64;

/// What makes of the lengths of eight frames the second words of their descriptors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LengthLanes {
    /// Eight times the shortest length, and eight times what the longest is above it.
    min: imp::Repr,
    span: imp::Repr,
    /// Twice the command.
    base: imp::Repr,
    shift: u32,
}

impl LengthLanes {
    /// For lengths in `min..=max`, which is not empty: `command` gets the buffer's length in bits 15:0 and, where `shift` is 32 to 48, the frame's at that
    /// bit. The command has none of the lengths' bits set.
    pub(crate) fn new(command: u64, shift: Option<u32>, min: u16, max: u16) -> Self {
        let eight = |length: u16| u64::from(length) * 0x0001_0001_0001_0001;
        Self {
            min: imp::new(eight(min), eight(min)),
            span: imp::new(eight(max.wrapping_sub(min)), eight(max.wrapping_sub(min))),
            base: imp::new(command, command),
            shift: shift.unwrap_or(NOWHERE),
        }
    }

    /// Whether each of eight lengths is within the range.
    #[inline(always)]
    pub(crate) fn all_within(&self, lens: [u16; 8]) -> bool {
        imp::all_within(lens, self.min, self.span)
    }

    /// For whether eight numbers are `number`, by [`LengthLanes::all_within`].
    pub(crate) fn all(number: u16) -> Self {
        Self::new(0, None, number, number)
    }

    /// For each of eight lengths the word `command + len + (len << shift)`.
    #[inline(always)]
    pub(crate) fn words(&self, lens: [u16; 8]) -> [Pair; 4] {
        imp::length_words(lens, self.base, self.shift).map(Pair)
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod simd {
    use core::arch::x86_64 as x86;

    pub(super) type Repr = x86::__m128i;

    /// Calls register-only intrinsics of SSE2.
    macro_rules! sse2 {
        ($call:expr) => {
            // SAFETY: this is compiled where SSE2 may be used, and no pointer is involved.
            unsafe { $call }
        };
    }

    #[inline(always)]
    pub(super) fn new(low: u64, high: u64) -> Repr {
        sse2!(x86::_mm_set_epi64x(high.cast_signed(), low.cast_signed()))
    }
    #[inline(always)]
    pub(super) fn low(a: Repr) -> u64 {
        sse2!(x86::_mm_cvtsi128_si64(a)).cast_unsigned()
    }
    #[inline(always)]
    pub(super) fn high(a: Repr) -> u64 {
        low(sse2!(x86::_mm_unpackhi_epi64(a, a)))
    }
    #[inline(always)]
    pub(super) fn and(a: Repr, b: Repr) -> Repr {
        sse2!(x86::_mm_and_si128(a, b))
    }
    #[inline(always)]
    pub(super) fn or(a: Repr, b: Repr) -> Repr {
        sse2!(x86::_mm_or_si128(a, b))
    }
    #[inline(always)]
    pub(super) fn add(a: Repr, b: Repr) -> Repr {
        sse2!(x86::_mm_add_epi64(a, b))
    }
    #[inline(always)]
    pub(super) fn shl32(a: Repr) -> Repr {
        sse2!(x86::_mm_slli_epi64::<32>(a))
    }
    #[inline(always)]
    pub(super) fn max_u16(a: Repr, b: Repr) -> Repr {
        // SSE2 has no maximum of unsigned words, but subtraction that stops at 0.
        sse2!(x86::_mm_add_epi16(a, x86::_mm_subs_epu16(b, a)))
    }
    #[inline(always)]
    pub(super) fn low_zero(a: Repr) -> Repr {
        sse2!(x86::_mm_move_epi64(a))
    }
    #[inline(always)]
    pub(super) fn high_zero(a: Repr) -> Repr {
        sse2!(x86::_mm_srli_si128::<8>(a))
    }
    #[inline(always)]
    pub(super) fn low_low(a: Repr, b: Repr) -> Repr {
        sse2!(x86::_mm_unpacklo_epi64(a, b))
    }
    #[inline(always)]
    pub(super) fn low_high(a: Repr, b: Repr) -> Repr {
        sse2!(x86::_mm_castpd_si128(x86::_mm_shuffle_pd::<0b10>(x86::_mm_castsi128_pd(a), x86::_mm_castsi128_pd(b))))
    }

    #[inline(always)]
    pub(super) fn high_high(a: Repr, b: Repr) -> Repr {
        sse2!(x86::_mm_unpackhi_epi64(a, b))
    }

    #[inline(always)]
    fn gather(l: [u16; 8]) -> Repr {
        let [a, b, c, d, e, f, g, h] = l.map(u16::cast_signed);
        sse2!(x86::_mm_set_epi16(h, g, f, e, d, c, b, a))
    }

    #[inline(always)]
    pub(super) fn length_words(lens: [u16; 8], base: Repr, shift: u32) -> [Repr; 4] {
        let lens = gather(lens);
        // Within the upper half of the word. A shift by 32 leaves nothing there.
        let shift = sse2!(x86::_mm_cvtsi32_si128(shift.wrapping_sub(32).cast_signed()));
        let widen = |four: Repr| {
            let frames = sse2!(x86::_mm_sll_epi32(four, shift));
            [or(sse2!(x86::_mm_unpacklo_epi32(four, frames)), base), or(sse2!(x86::_mm_unpackhi_epi32(four, frames)), base)]
        };
        let [a, b] = widen(sse2!(x86::_mm_unpacklo_epi16(lens, x86::_mm_setzero_si128())));
        let [c, d] = widen(sse2!(x86::_mm_unpackhi_epi16(lens, x86::_mm_setzero_si128())));
        [a, b, c, d]
    }

    #[inline(always)]
    pub(super) fn all_within(lens: [u16; 8], min: Repr, span: Repr) -> bool {
        // Lengths below `min` wrap to more than any span; saturating subtraction leaves zero where the span is kept.
        let above_min = sse2!(x86::_mm_sub_epi16(gather(lens), min));
        let beyond = sse2!(x86::_mm_subs_epu16(above_min, span));
        let inside = sse2!(x86::_mm_cmpeq_epi16(beyond, x86::_mm_setzero_si128()));
        sse2!(x86::_mm_movemask_epi8(inside)) == 0xffff
    }
}

/// The twin without SIMD.
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
mod scalar {
    /// As wide and as aligned as the SIMD register.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[repr(C, align(16))]
    pub(super) struct Repr([u64; 2]);

    pub(super) fn new(low: u64, high: u64) -> Repr {
        Repr([low, high])
    }
    pub(super) fn low(a: Repr) -> u64 {
        a.0[0]
    }
    pub(super) fn high(a: Repr) -> u64 {
        a.0[1]
    }
    pub(super) fn and(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0] & b.0[0], a.0[1] & b.0[1]])
    }
    pub(super) fn or(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0] | b.0[0], a.0[1] | b.0[1]])
    }
    pub(super) fn add(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0].wrapping_add(b.0[0]), a.0[1].wrapping_add(b.0[1])])
    }
    pub(super) fn shl32(a: Repr) -> Repr {
        Repr([a.0[0] << 32, a.0[1] << 32])
    }
    pub(super) fn max_u16(a: Repr, b: Repr) -> Repr {
        let of_word = |k: usize| {
            let lanes = [0, 16, 32, 48].map(|shift| u64::from(((a.0[k] >> shift) as u16).max((b.0[k] >> shift) as u16)) << shift);
            lanes.into_iter().fold(0, |word, lane| word | lane)
        };
        Repr([of_word(0), of_word(1)])
    }
    pub(super) fn low_zero(a: Repr) -> Repr {
        Repr([a.0[0], 0])
    }
    pub(super) fn high_zero(a: Repr) -> Repr {
        Repr([a.0[1], 0])
    }
    pub(super) fn low_low(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0], b.0[0]])
    }
    pub(super) fn low_high(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0], b.0[1]])
    }
    pub(super) fn high_high(a: Repr, b: Repr) -> Repr {
        Repr([a.0[1], b.0[1]])
    }
    pub(super) fn length_words(lens: [u16; 8], base: Repr, shift: u32) -> [Repr; 4] {
        let base = low(base);
        let [a, b, c, d, e, f, g, h] = lens.map(u64::from).map(|len| base | len | len.checked_shl(shift).unwrap_or(0));
        [Repr([a, b]), Repr([c, d]), Repr([e, f]), Repr([g, h])]
    }
    pub(super) fn all_within(lens: [u16; 8], min: Repr, span: Repr) -> bool {
        let (min, span) = (low(min) as u16, low(span) as u16);
        lens.iter().all(|len| len.wrapping_sub(min) <= span)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{scalar, simd};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::testing::cases())]
        #[test]
        fn the_twins_agree(a: [u64; 2], b: [u64; 2], lens: [u16; 8], base: u64, shift in 32u32..=48, min: u16, max: u16) {
            let of_simd = |p| [simd::low(p), simd::high(p)];
            let of_scalar = |p| [scalar::low(p), scalar::high(p)];
            let (va, vb) = (simd::new(a[0], a[1]), simd::new(b[0], b[1]));
            let (sa, sb) = (scalar::new(a[0], a[1]), scalar::new(b[0], b[1]));
            prop_assert_eq!(of_simd(va), a);
            prop_assert_eq!(of_simd(simd::and(va, vb)), of_scalar(scalar::and(sa, sb)));
            prop_assert_eq!(of_simd(simd::or(va, vb)), of_scalar(scalar::or(sa, sb)));
            prop_assert_eq!(of_simd(simd::add(va, vb)), of_scalar(scalar::add(sa, sb)));
            prop_assert_eq!(of_simd(simd::shl32(va)), of_scalar(scalar::shl32(sa)));
            prop_assert_eq!(of_simd(simd::max_u16(va, vb)), of_scalar(scalar::max_u16(sa, sb)));
            prop_assert_eq!(of_simd(simd::low_zero(va)), of_scalar(scalar::low_zero(sa)));
            prop_assert_eq!(of_simd(simd::high_zero(va)), of_scalar(scalar::high_zero(sa)));
            prop_assert_eq!(of_simd(simd::low_low(va, vb)), of_scalar(scalar::low_low(sa, sb)));
            prop_assert_eq!(of_simd(simd::low_high(va, vb)), of_scalar(scalar::low_high(sa, sb)));
            prop_assert_eq!(of_simd(simd::high_high(va, vb)), of_scalar(scalar::high_high(sa, sb)));
            for shift in [shift, 46, super::NOWHERE] {
                let base = base & !(0xffff | 0xffff_u64.checked_shl(shift).unwrap_or(0));
                let of_simd = simd::length_words(lens, simd::new(base, base), shift).map(of_simd);
                prop_assert_eq!(of_simd, scalar::length_words(lens, scalar::new(base, base), shift).map(of_scalar));
            }
            let eight = |length: u16| u64::from(length) * 0x0001_0001_0001_0001;
            for (lens, min, span) in [(lens, min, max.wrapping_sub(min)), (lens.map(|len| len % 8 + 58), 60, 4)] {
                let of_simd = simd::all_within(lens, simd::new(eight(min), eight(min)), simd::new(eight(span), eight(span)));
                prop_assert_eq!(of_simd, scalar::all_within(lens, scalar::new(eight(min), eight(min)), scalar::new(eight(span), eight(span))));
            }
        }
    }
}
