//! Every memory barrier of the framework, each named for the hand-over it orders.
//!
//! A processor fence is enough because descriptor memory is cache coherent with the device on every platform that VFIO serves; on x86 all of them are
//! compiler barriers, on weakly ordered machines they become the instruction that the architecture asks for.

use core::sync::atomic::{Ordering, fence};

/// Between the load that finds a descriptor done and every later load of what the device wrote.
///
/// Without it a weakly ordered processor may have fetched the frame's bytes before the status word that vouches for them.
#[inline(always)]
pub fn after_done() {
    fence(Ordering::Acquire);
}

/// Between the stores that fill descriptors and frames and the doorbell that hands them to the device.
#[inline(always)]
pub fn before_doorbell() {
    fence(Ordering::Release);
}

/// Between a store that the device must see and a load that decides on what the device did meanwhile
/// (publish an index, then look whether a notification is wanted).
#[inline(always)]
pub fn store_then_load() {
    fence(Ordering::SeqCst);
}
