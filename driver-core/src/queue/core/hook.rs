//! What queues do for hooks: they lend their ring for one call and count what became of it.

use crate::buf::batch::Batch;
use crate::queue::contract::HookCounters;
use crate::queue::core::kernel::{RxKernel, TxKernel};
use crate::queue::core::rx::RxCore;
use crate::queue::core::seat::{Count, HookTally, Tally};
use crate::queue::core::tx::TxCore;
use crate::ring::hook::{RxHooked, TxHooked};
use crate::ring::verdict::{Settled, SettledRest};

impl<K: RxKernel> RxCore<K> {
    #[inline(always)]
    pub(super) fn begin_hook(&mut self) -> RxHooked<'_> {
        match if self.seat.is_running() { self.kernel.ready() } else { self.nothing_ready() } {
            Ok(0) => RxHooked::nothing(),
            Ok(_) => self.kernel.hooked(),
            Err(fault) => {
                self.break_queue(fault);
                RxHooked::nothing()
            }
        }
    }

    #[inline(always)]
    pub(super) fn end_hook(&mut self, settled: &Settled, batch: &mut Batch) {
        self.seat.tally().count_hooked(settled);
        self.count_bytes(settled.bytes);
        self.kernel.refill(batch);
        if self.kernel.publish() {
            self.ring_doorbell();
        }
    }
}

impl<K: TxKernel> TxCore<K> {
    #[inline(always)]
    pub(super) fn begin_hook(&mut self, batch: &mut Batch) -> TxHooked<'_> {
        // What was sent lies in the ring until a frame changes places with it. Where that is much of the ring, or keeps it stopped, it is wanted elsewhere.
        if self.kernel.allows_singles() && self.seat.is_running() {
            // There is room, and the gate is open.
            return self.kernel.hooked();
        }
        let is_short = !self.seat.is_running() || self.gate.is_stopped() || self.kernel.free() < self.kernel.capacity() / 2;
        if is_short && !self.make_room(batch) { TxHooked::full() } else { self.kernel.hooked() }
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, batch: &mut Batch) -> bool {
        if !self.seat.is_running() {
            let _ = self.broken();
            return false;
        }
        match self.kernel.reclaim(batch) {
            Ok(reclaimed) => self.count_reclaimed(reclaimed),
            Err(fault) => {
                self.break_queue(fault);
                let _ = self.broken();
                return false;
            }
        }
        if self.gate.is_stopped() {
            let _ = self.still_stopped();
            return false;
        }
        true
    }

    #[inline(always)]
    pub(super) fn end_hook(&mut self, frames: u32, bytes: u64, by_allowance: bool) {
        if frames == 0 {
            return;
        }
        let mut stops = false;
        if !by_allowance {
            let free = self.kernel.free();
            stops = self.gate.after_submit(free);
            if stops || (free as usize) < K::MAX_SEGMENTS + K::MORE_DESCRIPTORS {
                self.kernel.report();
            }
        }
        self.count_bytes(bytes);
        self.publish(frames as usize);
        if K::HAS_PUT_ONLY && frames == 1 && !by_allowance && !stops {
            self.kernel.allow_singles(self.never_stops_above);
        }
    }
}

impl Tally {
    #[inline(always)]
    fn count_hooked(&self, settled: &Settled) {
        self.hook.sent.add(settled.sent.into());
        if settled.dropped > 0 {
            self.hook.dropped.add(settled.dropped.into());
        }
        if settled.has_rest {
            self.count_rest(&settled.rest);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_rest(&self, rest: &SettledRest) {
        let SettledRest { passed, aborted, redirected, full, full_dropped, no_buffer, whole, whole_passed } = *rest;
        let hook = &self.hook;
        self.packets.add(passed.into());
        hook.passed.add((passed + whole_passed).into());
        hook.aborted.add(aborted.into());
        hook.redirected.add(redirected.into());
        hook.full.add(full.into());
        hook.full_dropped.add(full_dropped.into());
        hook.no_buffer.add(no_buffer.into());
        hook.whole.add((whole - whole_passed).into());
    }

    pub(super) fn hook_counters(&self) -> HookCounters {
        let hook = &self.hook;
        HookCounters {
            passed: hook.passed.value(),
            dropped: hook.dropped.value(),
            aborted: hook.aborted.value(),
            sent: hook.sent.value(),
            redirected: hook.redirected.value(),
            full: hook.full.value(),
            no_buffer: hook.no_buffer.value(),
        }
    }

    /// Frames that hooks settled and that were not handed up, neither before nor after.
    pub(super) fn settled_in_place(&self) -> u64 {
        let HookTally { dropped, aborted, sent, redirected, full_dropped, no_buffer, whole, .. } = &self.hook;
        let settled: u64 = [dropped, aborted, sent, redirected, full_dropped, no_buffer].into_iter().map(Count::value).sum();
        settled - whole.value()
    }
}
