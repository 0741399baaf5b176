//! Eight frames of which some go: two rings' words, sorted.
//!
//! Two twins, by two words and, where the target has AVX2, by four; the tests compare them.

use core::ptr::NonNull;

use crate::buf::memory::RawBuf;
use crate::ring::desc::{self as words, BLOCK};
use crate::ring::lane::Pair;

/// Where eight received frames lie, and where those of them come that go.
pub(super) struct Eight {
    pub(super) slots: NonNull<RawBuf>,
    pub(super) desc: NonNull<Pair>,
    /// Behind the transmit ring's tail.
    pub(super) to: NonNull<RawBuf>,
    pub(super) out: NonNull<Pair>,
    /// Empty buffers.
    pub(super) empty: NonNull<RawBuf>,
}

/// Both of two frames go, or one: their bits.
const BOTH: u64 = FIRST | SECOND;
const FIRST: u64 = 0x0001;
const SECOND: u64 = 0x0100;

impl Eight {
    /// Lets those frames whose byte of `goes` is 0x80, and not 0, change places with the next empty buffers, and lends all eight slots to the device; `tails` are the second words of
    /// their descriptors. Returns how many go, one at least, and the last one's descriptor.
    ///
    /// # Safety
    /// A frame goes. The eight buffers are done, and as many empty ones as go are at `empty`, of the same pool, in memory that has eight. Eight slots and descriptors behind the tail are free: all of
    /// them may be written to, since the device looks behind the doorbell only, and the ring behind its tail never.
    #[inline(always)]
    pub(super) unsafe fn exchange(self, goes: u64, tails: [Pair; BLOCK / 2], delta: Pair) -> (usize, Pair) {
        // SAFETY: the caller's; the target has what it takes.
        #[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
        return unsafe { self.by_fours(goes, tails, delta) };
        // SAFETY: the caller's.
        #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
        return unsafe { self.by_twos(goes, tails, delta) };
    }

    /// The same with no more empty buffers read than go.
    ///
    /// # Safety
    /// As for [`Eight::exchange`].
    #[inline(always)]
    pub(super) unsafe fn by_twos(self, goes: u64, tails: [Pair; BLOCK / 2], delta: Pair) -> (usize, Pair) {
        let Self { slots, desc, to, out, empty } = self;
        let (mut at, mut last) = (0, Pair::new(0, 0));
        for (k, tail) in tails.into_iter().enumerate() {
            // SAFETY: the caller's: `at` is no more than the number of frames before.
            unsafe {
                let slots = slots.add(2 * k);
                let (to, out, empty) = (to.add(at), out.add(at), empty.add(at));
                let filled = slots.cast::<Pair>().read_unaligned();
                let iovas = filled.plus(delta);
                match goes >> (16 * k + 7) & BOTH {
                    BOTH => {
                        to.cast::<Pair>().write_unaligned(filled);
                        slots.cast::<Pair>().write_unaligned(empty.cast::<Pair>().read_unaligned());
                        words::store(out, iovas.low_low(tail));
                        last = iovas.high_high(tail);
                        words::store(out.add(1), last);
                        at += 2;
                    }
                    FIRST => {
                        to.cast::<u64>().write(filled.low());
                        slots.write(empty.read());
                        last = iovas.low_low(tail);
                        words::store(out, last);
                        at += 1;
                    }
                    SECOND => {
                        to.cast::<u64>().write(filled.high());
                        slots.add(1).write(empty.read());
                        last = iovas.high_high(tail);
                        words::store(out, last);
                        at += 1;
                    }
                    _ => {}
                }
                let iovas = slots.cast::<Pair>().read_unaligned().plus(delta);
                words::store(desc.add(2 * k), iovas.low_zero());
                words::store(desc.add(2 * k + 1), iovas.high_zero());
            }
        }
        (at, last)
    }

    /// The same by four words at a time.
    ///
    /// # Safety
    /// As for [`Eight::exchange`]; the processor has AVX2.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    #[cfg_attr(not(target_feature = "avx2"), allow(dead_code, reason = "its twin's judge in tests"))]
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn by_fours(self, goes: u64, tails: [Pair; BLOCK / 2], delta: Pair) -> (usize, Pair) {
        use core::arch::x86_64 as x86;
        let Self { slots, desc, to, out, empty } = self;
        let both = |pair: x86::__m256i| (Pair::of(x86::_mm256_castsi256_si128(pair)), Pair::of(x86::_mm256_extracti128_si256::<1>(pair)));
        let delta = x86::_mm256_broadcastsi128_si256(delta.repr());
        let mask = x86::_mm_movemask_epi8(x86::_mm_cvtsi64_si128(goes.cast_signed())) as usize;
        let mut sorted = [const { core::mem::MaybeUninit::<u64>::uninit() }; BLOCK];
        let mut at = 0;
        for half in 0..2 {
            let bits = mask >> (4 * half) & 15;
            // SAFETY: the caller's: `at` is no more than 4 in the second half, so that nothing beyond the eight is touched.
            unsafe {
                let slots = slots.add(4 * half).cast::<x86::__m256i>();
                let filled = x86::_mm256_loadu_si256(slots.as_ptr());
                let order = x86::_mm256_load_si256((&raw const GATHER[bits]).cast());
                let going = x86::_mm256_permutevar8x32_epi32(filled, order);
                x86::_mm256_storeu_si256(to.add(at).cast().as_ptr(), going);
                let iovas = x86::_mm256_add_epi64(going, delta);
                let tails = x86::_mm256_set_m128i(tails[2 * half + 1].repr(), tails[2 * half].repr());
                let tails = x86::_mm256_permutevar8x32_epi32(tails, order);
                x86::_mm256_storeu_si256(sorted.as_mut_ptr().add(at).cast(), tails);
                let (first, third) = both(x86::_mm256_unpacklo_epi64(iovas, tails));
                let (second, fourth) = both(x86::_mm256_unpackhi_epi64(iovas, tails));
                for (k, word) in [first, second, third, fourth].into_iter().enumerate() {
                    words::store(out.add(at + k), word);
                }
                let spread = x86::_mm256_load_si256((&raw const SPREAD[bits]).cast());
                let empties = x86::_mm256_permutevar8x32_epi32(x86::_mm256_loadu_si256(empty.add(at).cast().as_ptr()), spread);
                let goes = x86::_mm256_cvtepi8_epi64(x86::_mm_cvtsi32_si128((goes >> (32 * half)) as i32));
                let lent = x86::_mm256_blendv_epi8(filled, empties, goes);
                x86::_mm256_storeu_si256(slots.as_ptr(), lent);
                let (iovas, zero) = (x86::_mm256_add_epi64(lent, delta), x86::_mm256_setzero_si256());
                let (first, third) = both(x86::_mm256_unpacklo_epi64(iovas, zero));
                let (second, fourth) = both(x86::_mm256_unpackhi_epi64(iovas, zero));
                for (k, word) in [first, second, third, fourth].into_iter().enumerate() {
                    words::store(desc.add(4 * half + k), word);
                }
            }
            at += bits.count_ones() as usize;
        }
        // SAFETY: one goes, so that the place before `at` was written, here and in private memory behind the tail.
        let (filled, tail) = unsafe { (to.add(at - 1).cast::<u64>().read(), sorted.get_unchecked(at - 1).assume_init()) };
        (at, Pair::new(filled.wrapping_add(x86::_mm256_extract_epi64::<0>(delta).cast_unsigned()), tail))
    }
}

/// Four 64-bit words by the numbers of their halves.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Order([i32; 8]);

/// For each choice of four words those that are chosen, in order, from the first place on.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
static GATHER: [Order; 16] = orders(true);

/// For each choice of four words the first ones in the places of those that are chosen, in order.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
static SPREAD: [Order; 16] = orders(false);

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
const fn orders(gathers: bool) -> [Order; 16] {
    let mut all = [Order([0; 8]); 16];
    let mut bits = 0;
    while bits < 16 {
        let (mut place, mut chosen) = (0, 0);
        while place < 4 {
            if bits >> place & 1 != 0 {
                let (to, from) = if gathers { (chosen, place) } else { (place, chosen) };
                all[bits].0[2 * to] = 2 * from as i32;
                all[bits].0[2 * to + 1] = 2 * from as i32 + 1;
                chosen += 1;
            }
            place += 1;
        }
        bits += 1;
    }
    all
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::is_x86_feature_detected;

    use super::*;

    /// What lies in two rings, by slots, descriptors and shadows, and the empty buffers.
    #[derive(Clone, PartialEq, Debug)]
    struct Rings {
        slots: [u64; BLOCK],
        desc: [[u64; 2]; BLOCK],
        to: [u64; BLOCK],
        out: [[u64; 2]; BLOCK],
        empty: [u64; BLOCK],
    }

    impl Rings {
        fn new() -> Self {
            let from = |base: u64| core::array::from_fn(|k| base + 64 * k as u64);
            Self { slots: from(0x1_0000), desc: [[7; 2]; BLOCK], to: [0; BLOCK], out: [[0; 2]; BLOCK], empty: from(0x2_0000) }
        }

        fn eight(&mut self) -> Eight {
            let desc = |words: &mut [[u64; 2]; BLOCK]| NonNull::from(words).cast();
            Eight {
                slots: NonNull::from(&mut self.slots).cast(),
                desc: desc(&mut self.desc),
                to: NonNull::from(&mut self.to).cast(),
                out: desc(&mut self.out),
                empty: NonNull::from(&mut self.empty).cast(),
            }
        }
    }

    /// A descriptor in memory of a test has any address.
    #[repr(align(16))]
    struct Aligned(Rings);

    #[test]
    fn of_eight_frames_those_that_go_change_places_whichever_they_are() {
        let delta = 0x5000_0000_0000_u64;
        let tails = core::array::from_fn(|k| Pair::new(0xa0 + 2 * k as u64, 0xa1 + 2 * k as u64));
        for choice in 1..=u8::MAX {
            let goes = (0..BLOCK).filter(|k| choice >> k & 1 != 0).fold(0, |goes, k| goes | 0x80 << (8 * k));
            let mut wanted = Rings::new();
            let mut gone = 0;
            for k in 0..BLOCK {
                if choice >> k & 1 != 0 {
                    wanted.to[gone] = wanted.slots[k];
                    wanted.out[gone] = [wanted.slots[k] + delta, 0xa0 + k as u64];
                    wanted.slots[k] = wanted.empty[gone];
                    gone += 1;
                }
                wanted.desc[k] = [wanted.slots[k] + delta, 0];
            }
            let check = |found: &Rings, (count, last): (usize, Pair), by: &str| {
                assert_eq!(count, gone, "{choice:#010b} by {by}");
                assert_eq!((found.slots, found.desc, found.empty), (wanted.slots, wanted.desc, wanted.empty), "{choice:#010b} by {by}");
                assert_eq!((&found.to[..gone], &found.out[..gone]), (&wanted.to[..gone], &wanted.out[..gone]), "{choice:#010b} by {by}");
                assert!(last.words() == wanted.out[gone - 1], "{choice:#010b} by {by}: {last:?}");
            };
            let mut rings = Aligned(Rings::new());
            // SAFETY: all pointers are to eight words or descriptors of the rings.
            let found = unsafe { rings.0.eight().by_twos(goes, tails, Pair::new(delta, delta)) };
            check(&rings.0, found, "twos");
            if is_x86_feature_detected!("avx2") {
                let mut rings = Aligned(Rings::new());
                // SAFETY: as above, and the processor has AVX2.
                let found = unsafe { rings.0.eight().by_fours(goes, tails, Pair::new(delta, delta)) };
                check(&rings.0, found, "fours");
            }
        }
    }
}
