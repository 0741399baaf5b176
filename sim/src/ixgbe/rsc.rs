//! Receive side coalescing: segments of a TCP connection that follow each other become one large receive (7.11).
//!
//! A large receive takes descriptors as its segments arrive, so that other frames of its queue lie between them, and a descriptor that is not its last
//! names the next (NEXTP, 7.1.6.2). Its header is updated in the first buffer when it ends. It ends with what cannot follow, with a pushed segment, at
//! its limits, and when the counter of its queue's interrupt runs out.

use super::card::Ixgbe;
use super::inbound::{Inbound, Placed};
use super::large::{LONGEST, Large, MAXDESC_SHIFT, next_buffers};
use super::parse::TcpSegment;
use super::regs::{HLREG0, HLREG0_RXCRCSTRP, RDRXCTL, RFCTL};
use super::ring::DescType;
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;

/// RSCCTL (8.2.3.8.13): the queue coalesces.
const RSCEN: u32 = 1;
/// RFCTL.RSC_DIS (8.2.3.7.6).
const RFCTL_RSC_DIS: u32 = 1 << 5;
/// RDRXCTL: RSCACKC, "must be set to 1"; RSCFRSTSIZE, to be cleared (8.2.3.8.8).
const RDRXCTL_RSCACKC: u32 = 1 << 25;
const RDRXCTL_RSCFRSTSIZE: u32 = 0x1F << 17;
/// PSRTYPE: TCP headers are recognised (8.2.3.7.4).
const PSRTYPE_TCPHDR: u32 = 1 << 4;
/// SRRCTL.BSIZEHEADER in units of 64 bytes.
const BSIZEHEADER_SHIFT: u32 = 8;

/// How many large receives are open at a time (7.11).
const CONTEXTS: usize = 32;
const PSH: u8 = 1 << 3;

impl Ixgbe {
    /// Whether a queue coalesces.
    pub(super) fn coalesces(&self, queue: u32) -> bool {
        self.rx[queue as usize].rscctl & RSCEN != 0 && !self.regs.has(RFCTL, RFCTL_RSC_DIS)
    }

    /// What forbids that a queue be enabled which coalesces (7.11.1, 8.2.3.8.8, 8.2.3.8.13).
    pub(super) fn unfit_to_coalesce(&self, queue: usize) -> Option<&'static str> {
        let ring = &self.rx[queue];
        let longest = ring.buffer_bytes() << [0, 2, 3, 4][(ring.rscctl >> MAXDESC_SHIFT & 3) as usize];
        if !self.coalesces(queue as u32) {
            None
        } else if ring.desc_type() == DescType::Legacy {
            Some("a queue that coalesces has legacy descriptors")
        } else if ring.buffer_bytes() < 2048 || longest > LONGEST {
            Some("a queue that coalesces has buffers below 2 KiB, or together above 64 KiB less one")
        } else if ring.srrctl >> BSIZEHEADER_SHIFT & 0x3F < 2 {
            Some("a queue that coalesces has SRRCTL.BSIZEHEADER below 128 bytes")
        } else if self.psrtype_of(queue as u32) & PSRTYPE_TCPHDR == 0 {
            Some("a queue coalesces while PSRTYPE does not recognise TCP headers")
        } else if !self.regs.has(HLREG0, HLREG0_RXCRCSTRP) || !self.regs.has(RDRXCTL, RDRXCTL_RSCACKC) {
            Some("a queue coalesces without the check sequence stripped and RDRXCTL.RSCACKC")
        } else if self.regs.at(RDRXCTL) & RDRXCTL_RSCFRSTSIZE != 0 {
            Some("a queue coalesces while RDRXCTL.RSCFRSTSIZE is not cleared")
        } else {
            None
        }
    }

    /// Gives a TCP frame to a large receive. `None`: it goes to memory as any frame.
    pub(super) fn coalesce(&mut self, dma: &Dma<'_>, inbound: &Inbound, touched: &mut u128) -> Option<Placed> {
        let (connection, segment) = inbound.tcp.as_ref()?;
        let found = self.large.iter().position(|large| large.queue == inbound.queue && large.connection == *connection);
        if let Some(at) = found {
            let (large, ring) = (&mut self.large[at], &mut self.rx[inbound.queue as usize]);
            match segment {
                Some(segment) if large.takes(ring, inbound, segment) => {
                    let buffers = match next_buffers(ring, dma, large.descs_for(ring, segment.payload.len())) {
                        Ok(buffers) => buffers,
                        Err(placed) => return Some(placed),
                    };
                    let written = large.append(ring, dma, buffers, inbound, segment);
                    return Some(self.coalesced(dma, at, written, inbound, segment, touched));
                }
                // Whatever it is, what came before it comes first.
                _ => self.end_large(dma, at, touched),
            }
        }
        let segment = segment.as_ref().filter(|segment| segment.flags & PSH == 0)?;
        let ring = &mut self.rx[inbound.queue as usize];
        let buffers = match next_buffers(ring, dma, segment.payload.end.div_ceil(ring.buffer_bytes()) as u32) {
            Ok(buffers) => buffers,
            Err(placed) => return Some(placed),
        };
        let opened = Large::open(ring, dma, buffers, inbound, *connection, segment);
        if self.large.len() == CONTEXTS {
            self.end_large(dma, 0, touched);
        }
        let written = opened.map(|large| self.large.push(large));
        let at = self.large.len().saturating_sub(1);
        Some(self.coalesced(dma, at, written, inbound, segment, touched))
    }

    /// Counts a segment that was written, and ends the large receive at `at` where it has to end with it.
    fn coalesced(
        &mut self,
        dma: &Dma<'_>,
        at: usize,
        written: Result<(), DmaFault>,
        inbound: &Inbound,
        segment: &TcpSegment,
        touched: &mut u128,
    ) -> Placed {
        if written.is_err() {
            self.rx[inbound.queue as usize].faulted = true;
            self.abort_large(inbound.queue);
            return Placed::Lost;
        }
        if segment.flags & PSH != 0 {
            self.end_large(dma, at, touched);
        }
        Placed::Done
    }

    fn end_large(&mut self, dma: &Dma<'_>, at: usize, touched: &mut u128) {
        let mut large = self.large.remove(at);
        let queue = large.queue;
        if large.finish(&self.rx[queue as usize], dma).is_err() {
            self.rx[queue as usize].faulted = true;
            self.abort_large(queue);
        } else {
            // What a driver never learns of is not counted as received.
            large.frames().iter().for_each(|&len| self.stats.delivered(&mut self.regs, queue, 1, len));
        }
        *touched |= 1 << queue;
    }

    /// A queue that goes down, or faults, does not complete its large receives: their frames count as the queue's drops.
    pub(super) fn abort_large(&mut self, queue: u32) {
        let of_queue = self.large.iter().filter(|large| large.queue == queue);
        let dropped: usize = of_queue.map(|large| large.frames().len()).sum();
        self.large.retain(|large| large.queue != queue);
        (0..dropped).for_each(|_| self.count_queue_drop(queue));
    }

    /// Ends the large receives whose queue's interrupt is due. Returns whether there was one.
    #[inline]
    pub(super) fn end_due(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, touched: &mut u128) -> bool {
        !self.large.is_empty() && self.end_expired(slot, dma, touched)
    }

    fn end_expired(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, touched: &mut u128) -> bool {
        let mut queues: u128 = 0;
        while let Some(at) = self.large.iter().position(|large| self.large_ends_us(large) <= slot.now_us()) {
            queues |= 1 << self.large[at].queue;
            self.end_large(dma, at, touched);
        }
        let ended = queues != 0;
        while queues != 0 {
            self.restart_moderation(slot, true, queues.trailing_zeros());
            queues &= queues - 1;
        }
        ended
    }

    fn large_ends_us(&self, large: &Large) -> u64 {
        self.interrupts.vector_of(true, large.queue).map_or(u64::MAX, |vector| self.interrupts.moderation().zero_us(vector))
    }

    /// When the next large receive ends, `u64::MAX` where none is open.
    pub(super) fn next_large_us(&self) -> u64 {
        self.large.iter().map(|large| self.large_ends_us(large)).min().unwrap_or(u64::MAX)
    }
}
