//! One lap: the stub receives, the driver forwards, the stub sends.

use driver_core::buf::{Batch, Frame};
use driver_core::queue::{RxQueue, TxQueue, TxState};

/// The card's side of a lap.
pub(crate) trait Card {
    /// Receives `frames` frames of 60 bytes.
    fn receive(&mut self, frames: usize);
    /// Sends everything up to the transmit tail and reports where it was asked to. Returns how many frames it sent.
    fn send(&mut self) -> usize;
}

/// What the measurements drive, whatever the driver.
pub(crate) trait Lap {
    /// The card receives `frames` frames.
    fn fill(&mut self, frames: usize);
    /// The part that is measured.
    fn driver_part(&mut self, budget: usize);
    /// The card sends, and all of it is checked to have been there.
    fn complete(&mut self, frames: usize);
    /// Tail writes until now, both directions.
    fn doorbells(&self) -> u64;
}

/// A driver's queues and its stub.
pub(crate) struct Forward<R, T, C> {
    rx: R,
    tx: T,
    card: C,
    batch: Batch,
}

impl<R: RxQueue, T: TxQueue, C: Card> Forward<R, T, C> {
    pub(crate) fn new(rx: R, tx: T, card: C, batch: usize) -> Self {
        Self { rx, tx, card, batch: Batch::new(batch) }
    }
}

impl<R: RxQueue, T: TxQueue, C: Card> Lap for Forward<R, T, C> {
    fn fill(&mut self, frames: usize) {
        self.card.receive(frames);
    }

    fn driver_part(&mut self, budget: usize) {
        measured_part(&mut self.rx, &mut self.tx, &mut self.batch, budget);
    }

    fn complete(&mut self, frames: usize) {
        let sent = self.card.send();
        assert!(
            sent == frames && self.batch.is_empty(),
            "the driver forwarded {sent} of {frames} frames: {:?} {:?}",
            self.rx.fault(),
            self.tx.fault()
        );
    }

    fn doorbells(&self) -> u64 {
        self.rx.counters().doorbells + self.tx.counters().doorbells
    }
}

/// Receive, swap, transmit. Callgrind counts what happens between entering and leaving this function.
#[inline(never)]
fn measured_part(rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    rx.poll(batch, budget);
    for frame in batch.frames_mut() {
        swap_addresses(frame);
    }
    if tx.submit(batch) != TxState::Running {
        cold_refusal();
    }
}

/// What `Forward::complete` finds out about is not worth a message here.
#[cold]
#[inline(never)]
fn cold_refusal() {}

/// Exchanges destination and source: one 16-byte load, a shuffle, one store.
#[inline(always)]
fn swap_addresses(frame: &mut Frame) {
    if let Some(head) = frame.data_mut().first_chunk_mut::<16>() {
        swap(head);
    }
}

#[cfg(target_feature = "ssse3")]
#[inline(always)]
fn swap(head: &mut [u8; 16]) {
    use core::arch::x86_64::{_mm_loadu_si128, _mm_set_epi8, _mm_shuffle_epi8, _mm_storeu_si128};
    let at = head.as_mut_ptr().cast();
    // SAFETY: SSSE3 is there by the `cfg`, and 16 bytes are there by the type.
    unsafe { _mm_storeu_si128(at, _mm_shuffle_epi8(_mm_loadu_si128(at), _mm_set_epi8(15, 14, 13, 12, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6))) }
}

#[cfg(not(target_feature = "ssse3"))]
#[inline(always)]
fn swap(head: &mut [u8; 16]) {
    let &mut [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1, v0, v1] = head;
    *head = [s0, s1, s2, s3, s4, s5, d0, d1, d2, d3, d4, d5, t0, t1, v0, v1];
}
