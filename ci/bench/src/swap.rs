//! What the programs do to a frame: they exchange destination and source.

#[cfg(target_feature = "ssse3")]
#[inline(always)]
pub(crate) fn swap(head: &mut [u8; 16]) {
    use core::arch::x86_64::{_mm_loadu_si128, _mm_set_epi8, _mm_shuffle_epi8, _mm_storeu_si128};
    let at = head.as_mut_ptr().cast();
    // SAFETY: SSSE3 is there by the `cfg`, and 16 bytes are there by the type.
    unsafe { _mm_storeu_si128(at, _mm_shuffle_epi8(_mm_loadu_si128(at), _mm_set_epi8(15, 14, 13, 12, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6))) }
}

#[cfg(not(target_feature = "ssse3"))]
#[inline(always)]
pub(crate) fn swap(head: &mut [u8; 16]) {
    let &mut [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, v0, v1] = head;
    *head = [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5, t0, t1, v0, v1];
}
