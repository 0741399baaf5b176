//! Programs that say what becomes of a frame where it lies.

use driver_core::buf::Batch;
use driver_core::queue::{FrameView, PollWith, RxQueue, TxQueue, Verdict, WhenFull};

use crate::swap::swap;
use crate::workload::Workload;

/// Where the stub puts a number that is different for each frame: the source address of IPv4.
pub(crate) const MARK_AT: usize = 26;

/// The number of the `k`th frame: spread over all of its 32 bits.
pub(crate) fn mark(k: u32) -> u32 {
    k.wrapping_add(1).wrapping_mul(0x9e37_79b9)
}

/// One of these programs, if it is one.
pub(crate) fn measured(workload: Workload, rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    match workload {
        Workload::HookQuarter => measured_part_hook_some::<{ 1 << 30 }>(rx, tx, batch, budget),
        Workload::HookDrop => measured_part_hook_some::<{ (u32::MAX / 100) * 99 }>(rx, tx, batch, budget),
        Workload::HookPass => measured_part_hook_pass(rx, tx, batch, budget),
        _ => measured_part_hook(rx, tx, batch, budget),
    }
}

/// Sends back all that comes.
#[inline(never)]
fn measured_part_hook(rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    let mut bounce = |frame: &mut FrameView<'_>| {
        swap_addresses(frame);
        Verdict::Tx
    };
    rx.poll_with(&mut bounce, &mut [tx], WhenFull::Drop, batch, budget);
}

/// Drops those that the mark says, and sends back the others.
#[inline(never)]
fn measured_part_hook_some<const BELOW: u32>(rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    let mut some = |frame: &mut FrameView<'_>| {
        let Some(head) = frame.data_mut().first_chunk_mut::<34>() else { return Verdict::Abort };
        if u32::from_le_bytes([head[26], head[27], head[28], head[29]]) < BELOW {
            return Verdict::Drop;
        }
        if let Some(head) = head.first_chunk_mut() {
            swap(head);
        }
        Verdict::Tx
    };
    rx.poll_with(&mut some, &mut [tx], WhenFull::Drop, batch, budget);
}

/// Hands all up that comes, and drops it there.
#[inline(never)]
fn measured_part_hook_pass(rx: &mut impl RxQueue, tx: &mut impl TxQueue, batch: &mut Batch, budget: usize) {
    rx.poll_with(&mut |_: &mut FrameView<'_>| Verdict::Pass, &mut [tx], WhenFull::Drop, batch, budget);
    batch.clear();
}

#[inline(always)]
fn swap_addresses(frame: &mut FrameView<'_>) {
    if let Some(head) = frame.data_mut().first_chunk_mut::<16>() {
        swap(head);
    }
}
