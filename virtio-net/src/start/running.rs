//! A device that came up, and its queues in one layout or the other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use driver_core::buf::BufPool;
use driver_core::device::control::hand_out_boxed;
use driver_core::host::{Interrupt, PciFunction, VectorPlan, Vectors};
use driver_core::queue::core::{RxCore, TxCore};

use crate::desc::{HASH_HDR_BYTES, NET_HDR_BYTES};
use crate::device_stats::DeviceStats;
use crate::filter::Filters;
use crate::layout::{Layout, Packed, Split, SplitInOrder};
use crate::recover::Places;
use crate::regs::Features;
use crate::rx::{Receive, Rx};
use crate::tx::{Transmit, Tx};
use crate::watch::TxWatch;

/// A receive queue of one layout.
pub(super) type RxOf<F, L> = RxCore<Receive<F, <L as Layout>::Rx>>;
/// A transmit queue of one layout.
pub(super) type TxOf<F, L> = TxCore<Transmit<F, <L as Layout>::Tx>>;

/// The queues of both directions, in one layout, with one header.
pub(super) enum Queues<F: PciFunction> {
    Split(Vec<RxOf<F, Split<NET_HDR_BYTES>>>, Vec<TxOf<F, Split<NET_HDR_BYTES>>>),
    Packed(Vec<RxOf<F, Packed<NET_HDR_BYTES>>>, Vec<TxOf<F, Packed<NET_HDR_BYTES>>>),
    SplitHash(Vec<RxOf<F, Split<HASH_HDR_BYTES>>>, Vec<TxOf<F, Split<HASH_HDR_BYTES>>>),
    PackedHash(Vec<RxOf<F, Packed<HASH_HDR_BYTES>>>, Vec<TxOf<F, Packed<HASH_HDR_BYTES>>>),
    SplitInOrder(Vec<RxOf<F, SplitInOrder<NET_HDR_BYTES>>>, Vec<TxOf<F, SplitInOrder<NET_HDR_BYTES>>>),
    SplitInOrderHash(Vec<RxOf<F, SplitInOrder<HASH_HDR_BYTES>>>, Vec<TxOf<F, SplitInOrder<HASH_HDR_BYTES>>>),
}

impl<F: PciFunction> Queues<F> {
    /// Tells the device of its first receive buffers.
    pub(super) fn kick(&mut self) {
        match self {
            Self::Split(rx, _) => rx.iter_mut().for_each(RxCore::kick),
            Self::Packed(rx, _) => rx.iter_mut().for_each(RxCore::kick),
            Self::SplitHash(rx, _) => rx.iter_mut().for_each(RxCore::kick),
            Self::PackedHash(rx, _) => rx.iter_mut().for_each(RxCore::kick),
            Self::SplitInOrder(rx, _) => rx.iter_mut().for_each(RxCore::kick),
            Self::SplitInOrderHash(rx, _) => rx.iter_mut().for_each(RxCore::kick),
        }
    }

    /// Gives each its vector, transmit queues where all of them `have` theirs. Returns the control handle's.
    pub(super) fn hand_out(&mut self, vectors: Vectors<Box<dyn Interrupt>>, plan: Option<VectorPlan>, have: bool) -> Option<Box<dyn Interrupt>> {
        fn told<T>(tx: &mut [T], have: bool) -> &mut [T] {
            if have { tx } else { &mut [] }
        }
        match self {
            Self::Split(rx, tx) => hand_out_boxed(vectors, plan, rx, told(tx, have)),
            Self::Packed(rx, tx) => hand_out_boxed(vectors, plan, rx, told(tx, have)),
            Self::SplitHash(rx, tx) => hand_out_boxed(vectors, plan, rx, told(tx, have)),
            Self::PackedHash(rx, tx) => hand_out_boxed(vectors, plan, rx, told(tx, have)),
            Self::SplitInOrder(rx, tx) => hand_out_boxed(vectors, plan, rx, told(tx, have)),
            Self::SplitInOrderHash(rx, tx) => hand_out_boxed(vectors, plan, rx, told(tx, have)),
        }
    }

    pub(super) fn all(self) -> (Vec<Rx<F>>, Vec<Tx<F>>) {
        match self {
            Self::Split(rx, tx) => (rx.into_iter().map(Rx::Split).collect(), tx.into_iter().map(Tx::Split).collect()),
            Self::Packed(rx, tx) => (rx.into_iter().map(Rx::Packed).collect(), tx.into_iter().map(Tx::Packed).collect()),
            Self::SplitHash(rx, tx) => (rx.into_iter().map(Rx::SplitHash).collect(), tx.into_iter().map(Tx::SplitHash).collect()),
            Self::PackedHash(rx, tx) => (rx.into_iter().map(Rx::PackedHash).collect(), tx.into_iter().map(Tx::PackedHash).collect()),
            Self::SplitInOrder(rx, tx) => (rx.into_iter().map(Rx::SplitInOrder).collect(), tx.into_iter().map(Tx::SplitInOrder).collect()),
            Self::SplitInOrderHash(rx, tx) => {
                (rx.into_iter().map(Rx::SplitInOrderHash).collect(), tx.into_iter().map(Tx::SplitInOrderHash).collect())
            }
        }
    }
}

/// A device that came up, with its queues.
pub(super) struct Running<Q> {
    pub(super) queues: Q,
    /// Of each transmit queue.
    pub(super) watches: Vec<TxWatch>,
    /// How every queue is set up.
    pub(super) places: Places,
    /// Every transmit queue has its vector.
    pub(super) tx_interrupts: bool,
    pub(super) pool: BufPool,
    pub(super) vectors: Vectors<Box<dyn Interrupt>>,
    pub(super) features: Features,
    pub(super) filters: Filters,
    pub(super) device_stats: Option<DeviceStats>,
}

impl<Q> Running<Q> {
    /// The same with its queues made into others.
    pub(super) fn with<R>(self, make: impl FnOnce(Q) -> R) -> Running<R> {
        let Self { queues, watches, places, tx_interrupts, pool, vectors, features, filters, device_stats } = self;
        Running { queues: make(queues), watches, places, tx_interrupts, pool, vectors, features, filters, device_stats }
    }
}
