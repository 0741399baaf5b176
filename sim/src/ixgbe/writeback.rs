//! When sent descriptors are reported: at once, in bursts of TXDCTL.WTHRESH, or when the interrupt's counter runs out (7.2.3.4).

use driver_core::host::Iova;

use super::card::Ixgbe;
use super::state::Unreported;
use super::tx::desc;
use crate::dma::Dma;
use crate::slot::Slot;

/// TDWBAL: write the head back instead of DD (8.2.3.9.11).
const HEAD_WRITE_BACK: u32 = 1;
/// TXDCTL (8.2.3.9.10): the threshold, and "write back now".
const WTHRESH_SHIFT: u32 = 16;
const WTHRESH_MASK: u32 = 0x7F;
pub(super) const SWFLSH: u32 = 1 << 26;

impl Ixgbe {
    /// A packet of `descs` descriptors was sent; `report` is its last one, where it asked for a report.
    pub(super) fn note_sent(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, queue: u32, descs: u32, report: Option<(u32, [u64; 2])>) {
        let ring = &mut self.tx[queue as usize];
        if ring.unreported.reports.is_empty() && report.is_none() {
            return;
        }
        ring.unreported.descs += if ring.unreported.reports.is_empty() { 1 } else { descs };
        ring.unreported.reports.extend(report);
        if ring.unreported.descs >= ring.dctl >> WTHRESH_SHIFT & WTHRESH_MASK {
            return self.report(dma, queue);
        }
        if ring.unreported.due_us == u64::MAX {
            self.tx[queue as usize].unreported.due_us = self.burst_ends_us(slot, queue);
            self.tx_waiting |= 1 << queue;
        }
    }

    /// When a burst that begins now is reported though it is small: the first packet starts the counter where it stands still. A queue whose
    /// interrupt is not moderated waits until the burst is complete.
    fn burst_ends_us(&self, slot: &Slot<'_>, queue: u32) -> u64 {
        let Some(vector) = self.interrupts.vector_of(false, queue) else { return u64::MAX };
        let moderation = self.interrupts.moderation();
        match (moderation.interval_us(vector), moderation.zero_us(vector)) {
            (0, _) => u64::MAX,
            (_, zero_us) if zero_us > slot.now_us() => zero_us,
            (interval_us, _) => slot.now_us() + interval_us,
        }
    }

    /// Reports what is due. Returns whether something was.
    #[inline]
    pub(super) fn report_due(&mut self, slot: &Slot<'_>, dma: &Dma<'_>) -> bool {
        self.tx_waiting != 0 && self.report_expired(slot, dma)
    }

    fn report_expired(&mut self, slot: &Slot<'_>, dma: &Dma<'_>) -> bool {
        let (mut queues, mut reported) = (self.tx_waiting, false);
        while queues != 0 {
            let queue = queues.trailing_zeros();
            queues &= queues - 1;
            if slot.now_us() >= self.tx[queue as usize].unreported.due_us {
                self.report(dma, queue);
                self.restart_moderation(slot, false, queue);
                reported = true;
            }
        }
        reported
    }

    /// The counter of a vector that cannot fire is started anew by the write-back that it timed; that of another, by its interrupt.
    pub(super) fn restart_moderation(&mut self, slot: &Slot<'_>, receives: bool, queue: u32) {
        if let Some(vector) = self.interrupts.vector_of(receives, queue).filter(|_| !self.interrupts.is_open(receives, queue)) {
            self.interrupts.restart(vector, slot.now_us());
        }
    }

    /// The next step reports what was sent, however little it is.
    pub(super) fn flush_reports(&mut self, queue: usize) {
        if !self.tx[queue].unreported.reports.is_empty() {
            self.tx[queue].unreported.due_us = 0;
            self.tx_waiting |= 1 << queue;
        }
    }

    /// When the next burst is reported, `u64::MAX` where none waits.
    pub(super) fn next_report_us(&self) -> u64 {
        let waiting = (0..self.tx.len()).filter(|queue| self.tx_waiting >> queue & 1 != 0);
        waiting.map(|queue| self.tx[queue].unreported.due_us).min().unwrap_or(u64::MAX)
    }

    fn report(&mut self, dma: &Dma<'_>, queue: u32) {
        let ring = &mut self.tx[queue as usize];
        self.tx_waiting &= !(1 << queue);
        let Unreported { mut reports, .. } = std::mem::take(&mut ring.unreported);
        for &(index, words) in reports.iter().filter(|_| !self.faults.tx_no_write_back) {
            let written = if ring.tdwb[0] & HEAD_WRITE_BACK != 0 {
                let iova = Iova(u64::from(ring.tdwb[1]) << 32 | u64::from(ring.tdwb[0] & !3));
                dma.store4(iova, ring.head)
            } else if words[1] & desc::DEXT != 0 {
                // Only the status is defined in the write-back of an advanced descriptor (7.2.3.2.4.1).
                dma.store16(ring.desc(index), [0, desc::DD])
            } else {
                dma.store16(ring.desc(index), [words[0], words[1] | desc::DD])
            };
            ring.faulted |= written.is_err();
        }
        // The allocation is kept for the next burst.
        reports.clear();
        ring.unreported.reports = reports;
        self.interrupts.queue(false, queue);
    }
}
