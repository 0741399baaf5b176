//! Rings of virtio devices, of either layout.

use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::ring::packed::{PackedRx, PackedTx, hook as packed};
use crate::ring::split::{HEADER_BYTES, HookRules, SplitRx, SplitTx, hook as split};
use crate::ring::verdict::{Hook, Judged, Settled};
use crate::ring::virtq::judged::{Outlet, Undone};

/// A receive ring.
#[derive(Debug)]
pub(crate) enum VirtqRx<'a> {
    Split(&'a mut SplitRx<HEADER_BYTES>),
    Packed(&'a mut PackedRx<HEADER_BYTES>),
}

/// A transmit ring.
#[derive(Debug)]
pub(crate) enum VirtqTx<'a> {
    Split(&'a mut SplitTx<HEADER_BYTES>),
    Packed(&'a mut PackedTx<HEADER_BYTES>),
}

/// A transmit ring, the code of the verdict that means it, and the shortest and the longest frame.
pub(crate) type VirtqOut<'a> = (VirtqTx<'a>, u8, (u16, u16));

impl VirtqRx<'_> {
    /// Takes the next frame, which was judged, out of the queue; `None` where it is not there any more, or no empty buffer is.
    pub(crate) fn take_judged(&mut self, batch: &mut Batch, undone: &Undone) -> Option<Frame> {
        match self {
            Self::Split(rx) => rx.take_judged(batch, undone),
            Self::Packed(rx) => rx.take_judged(batch, undone),
        }
    }

    /// Drops that frame, and says whether it was there.
    pub(crate) fn drop_judged(&mut self, undone: &Undone) -> bool {
        match self {
            Self::Split(rx) => rx.drop_judged(undone),
            Self::Packed(rx) => rx.drop_judged(undone),
        }
    }
}

/// Judges the frames that are ready, as the layout's own `judge` does. No frame leaves by a ring of the other layout: its verdict is left in `undone`.
#[inline(always)]
pub(crate) fn judge_virtq<H: Hook>(
    (rx, rules): (VirtqRx<'_>, &HookRules),
    out: Option<VirtqOut<'_>>,
    hook: &mut H,
    to: (&mut Batch, &mut Settled),
    budget: usize,
    undone: &mut Option<Undone>,
) -> (usize, Judged) {
    match rx {
        VirtqRx::Split(rx) => {
            let outlet = match out {
                Some((VirtqTx::Split(tx), code, bytes)) => Some(Outlet { tx, code, bytes }),
                _ => None,
            };
            split::judge((rx, rules), outlet, hook, to, budget, undone)
        }
        VirtqRx::Packed(rx) => {
            let outlet = match out {
                Some((VirtqTx::Packed(tx), code, bytes)) => Some(Outlet { tx, code, bytes }),
                _ => None,
            };
            packed::judge((rx, rules), outlet, hook, to, budget, undone)
        }
    }
}
