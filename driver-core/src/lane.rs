//! Two 64-bit words at a time: a descriptor, or half a [`Frame`](crate::frame::Frame).
//!
//! On x86-64 a [`Pair`] is an SSE2 register, elsewhere two integers. The two are twins: the same tests run against both.

/// Two 64-bit words, low address first.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Pair(imp::Repr);

#[cfg(target_arch = "x86_64")]
mod imp {
    pub(super) use core::arch::x86_64::__m128i as Repr;
}
#[cfg(not(target_arch = "x86_64"))]
mod imp {
    pub(super) type Repr = scalar::Repr;
    use super::scalar;
}

/// The twin without SIMD.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod scalar {
    /// As wide and as aligned as the SIMD register.
    #[derive(Debug, Clone, Copy)]
    #[repr(C, align(16))]
    pub(super) struct Repr(pub(super) [u64; 2]);
    pub(super) fn and(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0] & b.0[0], a.0[1] & b.0[1]])
    }
    pub(super) fn or(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0] | b.0[0], a.0[1] | b.0[1]])
    }
    pub(super) fn add(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0].wrapping_add(b.0[0]), a.0[1].wrapping_add(b.0[1])])
    }
    pub(super) fn low_low(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0], b.0[0]])
    }
    pub(super) fn low_high(a: Repr, b: Repr) -> Repr {
        Repr([a.0[0], b.0[1]])
    }
    /// For each length in `lens`: `len | len << 46 | base`.
    pub(super) fn length_words(lens: [u16; 8], base: u64) -> [Repr; 4] {
        core::array::from_fn(|i| {
            let word = |k: usize| {
                let len = u64::from(lens[k]);
                base | len | len << 46
            };
            Repr([word(2 * i), word(2 * i + 1)])
        })
    }
    /// Whether every length is in `min..=max`.
    pub(super) fn all_within(lens: [u16; 8], min: u16, max: u16) -> bool {
        lens.iter().all(|len| (min..=max).contains(len))
    }
}
