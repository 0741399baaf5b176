//! The free list of a pool: a stack of blocks of buffers, changed by one compare-and-swap a visit. A thread that loses its processor in the middle of
//! a visit delays nobody; one that others overtook looks again.
//!
//! ```text
//!            top               node of buffer 7           node of buffer 3
//!  { takes | 7, position 2 } -> { below | 1 9 . . } ------> { below | 0 8 2 4 ... } -----> none
//! ```
//!
//! Each buffer has a node in private memory. Buffers that are given back together form blocks of up to [`BLOCK`]; a block lies in the node of its first
//! buffer, beside the place of the block below. A *place* is the number of a block's first buffer times [`BLOCK`], plus the position in the block
//! of the uppermost buffer that is there. So a block can be taken in parts, and nothing in a node changes while its first buffer is in the list.
//!
//! **A take reads before it owns.** It walks down from `top`, copies, and then swaps `top` for the place that it came to. What it reads may be of another
//! time, where others take these buffers and give them back meanwhile; then its swap fails, since `top` counts the takes too. The walk stays in
//! bounds whatever it reads: a `below` never holds anything but the place of a block of this list, or that of none, and each step fills a
//! part of the room that is asked for.
//!
//! **The count of takes** has the bits that places do not need: 47 in a pool of 4096 buffers, 39 in one of a million. A take would have to be held up, between
//! its look at `top` and its swap, for exactly 2^39 other takes or a multiple, and then find the same place on top: at 10 ns each that is an hour and a half of
//! nothing but takes.
//!
//! **Orderings.** `top` changes by read-modify-write operations alone, so who reads it with `Acquire` sees what all the others wrote before they gave
//! back (`Release`). A take releases as well: who owns a node after it, and writes there, does so after the take has read.

use alloc::vec::Vec;
use core::hint;
use core::mem::MaybeUninit;

use crate::buf::raw::{RawBuf, Strides};
use crate::sync::{AtomicU64, Ordering};

/// The most buffers in a block: what fits into two cache lines beside the place of the block below. The models have smaller ones, so that few
/// buffers make several.
const BLOCK: usize = if cfg!(all(test, loom)) { 2 } else { 16 };

/// A buffer's node, in use while the buffer is the first one of a block in the list.
#[repr(C, align(128))]
pub(super) struct Node {
    /// The place of the block below.
    below: AtomicU64,
    /// The home addresses of the block's second buffer and those behind it.
    others: [AtomicU64; BLOCK - 1],
}

impl Node {
    /// Makes `count` nodes, all of zeros, in an empty vector.
    #[cfg(not(all(test, loom)))]
    fn fill(nodes: &mut Vec<Self>, count: usize) {
        nodes.reserve_exact(count);
        // At once: there are sixteen words for each buffer.
        // SAFETY: the places are there, and a node of zeros is one.
        unsafe {
            nodes.as_mut_ptr().write_bytes(0, count);
            nodes.set_len(count);
        }
    }

    /// The same with the models' atomics, which are more than their values.
    #[cfg(all(test, loom))]
    fn fill(nodes: &mut Vec<Self>, count: usize) {
        nodes.extend((0..count).map(|_| Self { below: AtomicU64::new(0), others: core::array::from_fn(|_| AtomicU64::new(0)) }));
    }
}

/// The buffers of a pool that nobody has. See the module.
pub(super) struct FreeList {
    /// The place of the uppermost buffer in the bits of `mask`, the count of takes in those above.
    top: AtomicU64,
    mask: u64,
    nodes: Vec<Node>,
}

impl FreeList {
    /// A list for `buffers` buffers with none of them in it. `nodes` is empty, with room for as many.
    pub(super) fn new(mut nodes: Vec<Node>, buffers: u32) -> Self {
        Node::fill(&mut nodes, buffers as usize);
        // The product, an even number, is more than every place, and the mask, an odd one, more than that.
        let mask = (u64::from(buffers) * BLOCK as u64 + 1).next_power_of_two() - 1;
        let list = Self { top: AtomicU64::new(0), mask, nodes };
        list.top.store(list.none(), Ordering::Relaxed);
        list
    }

    /// The place of nothing: in no block, and at a position that is not the last of one.
    #[inline(always)]
    fn none(&self) -> u64 {
        self.mask - 1
    }

    /// The node of the buffer with this number.
    ///
    /// # Safety
    /// The list is for more buffers than that.
    #[inline(always)]
    unsafe fn node(&self, index: usize) -> &Node {
        debug_assert!(index < self.nodes.len());
        // SAFETY: the caller's.
        unsafe { self.nodes.get_unchecked(index) }
    }

    /// Puts `bufs` into the list, the last one uppermost.
    ///
    /// # Safety
    /// The list is for the buffers of `strides`. `bufs` are some of those, each once, which the caller owns and gives up.
    #[inline]
    pub(super) unsafe fn give(&self, strides: &Strides, bufs: &[RawBuf]) {
        let Some(first) = bufs.first() else { return };
        // What does not fill a block lies lowest, so that a take that follows finds whole ones.
        let (rest, blocks) = bufs.as_rchunks::<BLOCK>();
        // SAFETY: the caller's. The nodes are the caller's with the buffers: nobody else writes there, and who reads does not believe it.
        let (bottom, place) = unsafe {
            let lowest = self.lay(strides, rest, self.none());
            let place = blocks.iter().fold(lowest, |below, block| self.lay(strides, block, below));
            (self.node(strides.index(first.word() as usize) as usize), place)
        };
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            bottom.below.store(top & self.mask, Ordering::Relaxed);
            #[cfg(all(test, not(loom)))]
            super::free_tests::in_the_middle();
            match self.top.compare_exchange_weak(top, top & !self.mask | place, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
            hint::spin_loop();
        }
    }

    /// Lays a block into the node of its first buffer, with the place of what is `below`. Returns the block's place; `below` where the block is empty.
    ///
    /// # Safety
    /// As for [`FreeList::give`]; there are at most [`BLOCK`] buffers.
    #[inline(always)]
    unsafe fn lay(&self, strides: &Strides, block: &[RawBuf], below: u64) -> u64 {
        let Some((first, others)) = block.split_first() else { return below };
        let index = strides.index(first.word() as usize) as usize;
        // SAFETY: the caller's.
        let node = unsafe { self.node(index) };
        node.below.store(below, Ordering::Relaxed);
        for (to, buf) in node.others.iter().zip(others) {
            to.store(buf.word(), Ordering::Relaxed);
        }
        (index * BLOCK + others.len()) as u64
    }

    /// Takes the uppermost buffers, as many as there is room for or there are, into the end of `room`; the uppermost comes last. Returns how many.
    #[inline(always)]
    pub(super) fn take(&self, strides: &Strides, room: &mut [MaybeUninit<RawBuf>]) -> usize {
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let (count, place) = self.copy(strides, top & self.mask, room);
            if count == 0 {
                return 0;
            }
            #[cfg(all(test, not(loom)))]
            super::free_tests::in_the_middle();
            // One take more, and the place of what is uppermost then.
            let rest = (top | self.mask).wrapping_add(1) | place;
            match self.top.compare_exchange_weak(top, rest, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return count,
                Err(now) => top = now,
            }
            hint::spin_loop();
        }
    }

    /// Copies from `place` on downwards into the end of `room`. Returns how many buffers, and the place of the next. None of it is the caller's yet, nor
    /// certain to be a buffer.
    #[inline(always)]
    fn copy(&self, strides: &Strides, mut place: u64, room: &mut [MaybeUninit<RawBuf>]) -> (usize, u64) {
        let len = room.len();
        let base = room.as_mut_ptr().cast::<u64>();
        let mut left = len;
        loop {
            // Whole blocks. This is not the position of none.
            while left >= BLOCK && place as usize % BLOCK == BLOCK - 1 {
                left -= BLOCK;
                // SAFETY: every place but that of none is that of a buffer of this list, and there were `BLOCK` places left in `room`.
                unsafe {
                    let index = place as usize / BLOCK;
                    let (node, to) = (self.node(index), base.add(left));
                    to.write(strides.buf(index as u32).word());
                    for (k, other) in node.others.iter().enumerate() {
                        to.add(1 + k).write(other.load(Ordering::Relaxed));
                    }
                    place = node.below.load(Ordering::Relaxed);
                }
            }
            if left == 0 || place == self.none() {
                return (len - left, place);
            }
            // SAFETY: this is the place of a buffer of this list, and `room` has `left` places.
            (left, place) = unsafe { self.copy_part(strides, place, base, left) };
        }
    }

    /// Copies from one block alone, into the end of the room at `base..left`. Returns what is left of the room, and the place of the next buffer.
    ///
    /// # Safety
    /// There is that room, and `place` is that of a buffer of this list.
    #[inline(never)]
    unsafe fn copy_part(&self, strides: &Strides, place: u64, base: *mut u64, left: usize) -> (usize, u64) {
        let (index, position) = (place as usize / BLOCK, place as usize % BLOCK);
        let from = (position + 1).saturating_sub(left);
        let left = left - (position + 1 - from);
        // SAFETY: the caller's; positions are below `BLOCK`, and as many places were left.
        unsafe {
            let node = self.node(index);
            for k in from..=position {
                let word = if k == 0 { strides.buf(index as u32).word() } else { node.others.get_unchecked(k - 1).load(Ordering::Relaxed) };
                base.add(left + k - from).write(word);
            }
            (left, if from == 0 { node.below.load(Ordering::Relaxed) } else { (index * BLOCK + from - 1) as u64 })
        }
    }
}
