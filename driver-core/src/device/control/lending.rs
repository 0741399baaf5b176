//! What a start hands out, and what its end takes back.

use alloc::boxed::Box;

use crate::device::error::ErrorKind;
use crate::device::state::Shared;
use crate::host::pci::{Interrupt, PciFunction};
use crate::host::vectors::{VectorPlan, Vectors};
use crate::queue::core::kernel::{RxKernel, TxKernel};
use crate::queue::core::lent::Silence;
use crate::queue::core::rx::RxCore;
use crate::queue::core::tx::TxCore;

/// Gives each queue its interrupt and returns that of the control handle, all of them as `plan` has them.
pub fn hand_out<R: RxKernel, T: TxKernel>(
    vectors: Vectors<impl Interrupt>,
    plan: Option<VectorPlan>,
    rx: &mut [RxCore<R>],
    tx: &mut [TxCore<T>],
) -> Option<Box<dyn Interrupt>> {
    hand_out_boxed(vectors.map(|interrupt| Box::new(interrupt) as _), plan, rx, tx)
}

/// The same of vectors of which not all are of one type.
pub fn hand_out_boxed<R: RxKernel, T: TxKernel>(
    mut vectors: Vectors<Box<dyn Interrupt>>,
    plan: Option<VectorPlan>,
    rx: &mut [RxCore<R>],
    tx: &mut [TxCore<T>],
) -> Option<Box<dyn Interrupt>> {
    let plan = plan?;
    for queue in rx {
        if let Some(interrupt) = plan.rx(queue.index()).and_then(|vector| vectors.take(vector)) {
            queue.set_interrupt(interrupt);
        }
    }
    for queue in tx {
        if let Some(interrupt) = plan.tx(queue.index()).and_then(|vector| vectors.take(vector)) {
            queue.set_interrupt(interrupt);
        }
    }
    vectors.take(plan.control())
}

/// Takes back what a device was lent, after its `answer` to being stopped: for its word that it is silent or, where it does not give it, after a reset of the
/// whole function. Without either the memory leaks, since the device may still use it.
///
/// A function that was removed from its bus keeps nothing. Of any other DMA is forbidden in any case: with that, what a device may still do that did not confirm is behind the IOMMU and the bridge.
///
/// # Errors
/// What the device failed to confirm, where the function cannot be reset; what the host said, where DMA cannot be forbidden.
pub fn take_back(function: &mut impl PciFunction, shared: &mut Shared, answer: Result<Silence, ErrorKind>) -> Result<(), ErrorKind> {
    shared.set_stopping();
    if function.is_removed() {
        log::warn!("{}: it is not on its bus any more, and keeps nothing of what it was lent", function.name());
        // SAFETY: what is not on the bus reaches no memory, and what comes there later was reset: whoever implements `PciFunction` vouches for that.
        shared.set_stopped(unsafe { Silence::confirmed() });
        return Ok(());
    }
    let forbidden = function.forbid_dma();
    let silence = answer.or_else(|unconfirmed| force_silence(function, unconfirmed))?;
    shared.set_stopped(silence);
    Ok(forbidden?)
}

fn force_silence(function: &mut impl PciFunction, unconfirmed: ErrorKind) -> Result<Silence, ErrorKind> {
    match function.reset() {
        Ok(()) => {
            log::warn!("{}: {unconfirmed}; the function was reset instead", function.name());
            // SAFETY: after a reset of the whole function no access to memory is under way, and it remembers nothing of what it was lent: whoever implements
            // `PciFunction` vouches for that.
            Ok(unsafe { Silence::confirmed() })
        }
        Err(error) => {
            log::error!("{error}");
            Err(unconfirmed)
        }
    }
}
