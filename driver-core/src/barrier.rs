//! Every memory barrier of the framework, each named for the hand-over it orders.
//!
//! Descriptors and frames lie in ordinary memory that is cache coherent with the device, on every platform that VFIO serves: nothing is flushed. What
//! is ordered is when accesses become visible. A device is not one of the processors, so what orders processors among each other (an atomic fence)
//! is not everywhere enough:
//!
//! | | x86-64 | aarch64 | riscv64 | elsewhere, Miri, loom |
//! | --- | --- | --- | --- | --- |
//! | [`after_done`] | compiler only | `dmb oshld` | `fence r,rw` | acquire fence |
//! | [`before_doorbell`] | compiler only | `dmb oshld`, `dmb oshst` | `fence rw,ow` | release fence |
//! | [`store_then_load`] | `mfence` or a locked access | `dmb osh` | `fence iorw,iorw` | sequentially consistent fence |
//!
//! - **x86-64** keeps loads in order, stores in order, and no store passes an earlier load, whether the addresses are memory's or a register's. Only a
//!   load may pass an earlier store.
//! - **aarch64** orders within a shareability domain. A fence is `dmb ish`, for the inner one, which holds the processors. A device observes memory
//!   from the outer one. Linux takes the same forms for `dma_rmb` and `writel`; there is no form for "loads and stores before stores", and the
//!   two cheap halves cost less than `dmb osh`, which also makes stores wait for nothing's sake.
//! - **riscv64** has no domains: what a fence orders, it orders for devices too. But a fence names kinds of access, and registers are a kind of their own
//!   (`i` for input, `o` for output) that an atomic fence (`rw`) leaves out. Linux's `writel` is `fence w,o`, its `dma_rmb` `fence ir,ir`.
//!   Here `o` and `w` both stand behind the doorbell's, since a doorbell may also be an index in memory; nothing that a done bit vouches for
//!   is in a register, so `after_done` needs no `i`.
//!
//! Where Linux orders only stores before a doorbell, the loads are ordered here too: a doorbell also lends out buffers that the program has
//! read, and no other instruction stands between those reads and the device's writing.
//!
//! A virtio device that does not offer VIRTIO_F_ORDER_PLATFORM would do with what orders processors. It gets the same as every other: on x86-64 there is no difference, and elsewhere
//! a test of which it is would cost what it saves.
//!
//! The step `barriers` of `ci/test` looks at the instructions that come out.

/// Between the load that finds a descriptor done and every later access to what the device wrote or gave back.
///
/// Without it a weakly ordered processor may have fetched the frame's bytes before the status word that vouches for them.
#[inline(always)]
pub fn after_done() {
    arch::after_done();
}

/// Between every access to descriptors and frames and the doorbell that hands them to the device, be it a register or an index in memory.
#[inline(always)]
pub fn before_doorbell() {
    arch::before_doorbell();
}

/// Between a store that the device must see and a load that decides on what the device did meanwhile
/// (publish an index, then look whether a notification is wanted). It keeps every access on its side, to memory and to registers.
#[inline(always)]
pub fn store_then_load() {
    arch::store_then_load();
}

#[cfg(all(target_arch = "aarch64", not(any(miri, all(test, loom)))))]
mod arch {
    use core::arch::asm;

    #[inline(always)]
    pub(super) fn after_done() {
        // SAFETY: a barrier reads and writes nothing; without `nomem` the compiler moves no access over it.
        unsafe { asm!("dmb oshld", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    pub(super) fn before_doorbell() {
        // SAFETY: as in `after_done`.
        unsafe { asm!("dmb oshld", "dmb oshst", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    pub(super) fn store_then_load() {
        // SAFETY: as in `after_done`.
        unsafe { asm!("dmb osh", options(nostack, preserves_flags)) };
    }
}

#[cfg(all(target_arch = "riscv64", not(any(miri, all(test, loom)))))]
mod arch {
    use core::arch::asm;

    #[inline(always)]
    pub(super) fn after_done() {
        // SAFETY: a barrier reads and writes nothing; without `nomem` the compiler moves no access over it.
        unsafe { asm!("fence r, rw", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    pub(super) fn before_doorbell() {
        // SAFETY: as in `after_done`.
        unsafe { asm!("fence rw, ow", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    pub(super) fn store_then_load() {
        // SAFETY: as in `after_done`.
        unsafe { asm!("fence iorw, iorw", options(nostack, preserves_flags)) };
    }
}

/// On x86-64 the first two become no instruction at all and bind the compiler alone.
#[cfg(any(not(any(target_arch = "aarch64", target_arch = "riscv64")), miri, all(test, loom)))]
mod arch {
    #[cfg(not(all(test, loom)))]
    use core::sync::atomic::{Ordering, fence};
    #[cfg(all(test, loom))]
    use loom::sync::atomic::{Ordering, fence};

    #[inline(always)]
    pub(super) fn after_done() {
        fence(Ordering::Acquire);
    }

    #[inline(always)]
    pub(super) fn before_doorbell() {
        fence(Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn store_then_load() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
#[path = "barrier_loom_tests.rs"]
mod loom_tests;
