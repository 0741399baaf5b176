//! Transmitting: descriptors are fetched, gathered into frames, sent, and reported where software asked for it (7.2).

use driver_core::dma::Iova;

use super::regs::{CTRL, CTRL_GIO_DIS, DMATXCTL, DMATXCTL_TE, HLREG0, HLREG0_TXPADEN, SECTXCTRL, SECTXCTRL_TX_DIS};
use super::stats::Cast;
use super::{Ixgbe, MIN_FRAME_BYTES};
use crate::dma::Dma;
use crate::model::Host;
use crate::wire::{Sent, Wire};

/// How many frames one step sends.
const BUDGET: usize = 32;
/// The most descriptors of one packet (7.2.1.1).
const MAX_PARTS: u32 = 40;
/// The shortest packet that software may hand over (7.2.1.1).
const SHORTEST: usize = 17;
/// The longest buffer of one descriptor (7.2.3.2.2).
const LONGEST_PART: u64 = 15 * 1024 + 512;

/// The upper word of a transmit descriptor (7.2.3.2.2, 7.2.3.2.3, 7.2.3.2.4).
mod desc {
    pub(super) const DTYP_SHIFT: u32 = 20;
    pub(super) const DTYP_CONTEXT: u64 = 2;
    pub(super) const DTYP_DATA: u64 = 3;
    pub(super) const EOP: u64 = 1 << 24;
    pub(super) const IFCS: u64 = 1 << 25;
    pub(super) const IC: u64 = 1 << 26;
    pub(super) const RS: u64 = 1 << 27;
    pub(super) const DEXT: u64 = 1 << 29;
    pub(super) const VLE: u64 = 1 << 30;
    pub(super) const TSE: u64 = 1 << 31;
    pub(super) const STA: u64 = 0xF << 32;
    pub(super) const DD: u64 = 1 << 32;
    pub(super) const IDX_SHIFT: u32 = 36;
    pub(super) const POPTS_IXSM_TXSM: u64 = 3 << 40;
    pub(super) const PAYLEN_SHIFT: u32 = 46;
}

/// TDWBAL: write the head back instead of DD (8.2.3.9.11).
const HEAD_WRITE_BACK: u32 = 1;

/// What a context descriptor left behind: its VLAN tag.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context {
    vlan: u16,
}

/// A packet that was fetched.
struct Outbound {
    /// The descriptor behind the last one.
    next: u32,
    /// The descriptor to report on, with its words, where a report is asked for.
    report: Option<(u32, [u64; 2])>,
    /// What is wrong with it.
    problem: Option<&'static str>,
}

enum Fetched {
    Packet(Outbound),
    Context(Outbound),
    /// The packet's last descriptor is not there yet, or a fault stopped the queue.
    Nothing,
}

impl Ixgbe {
    /// Sends frames of all queues in turn. Returns whether something moved.
    pub(super) fn transmit(&mut self, host: &Host<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        let sends = self.regs.has(DMATXCTL, DMATXCTL_TE)
            && !self.regs.has(SECTXCTRL, SECTXCTRL_TX_DIS)
            && !self.regs.has(CTRL, CTRL_GIO_DIS)
            && self.port_is_up();
        if !sends || self.faults.hang_tx {
            return false;
        }
        let (mut budget, mut busy) = (BUDGET, false);
        // Start behind the queue that was served last, so that none starves.
        let from = self.tx_turn;
        for lot in [self.tx_running & (!0 << from), self.tx_running & !(!0 << from)] {
            let mut queues = lot;
            while queues != 0 && budget > 0 {
                let queue = queues.trailing_zeros();
                queues &= queues - 1;
                self.tx_turn = (queue + 1) % 128;
                busy |= self.transmit_queue(host, dma, wire, queue, &mut budget);
            }
        }
        busy
    }

    fn transmit_queue(&mut self, host: &Host<'_>, dma: &Dma<'_>, wire: &mut dyn Wire, queue: u32, budget: &mut usize) -> bool {
        let mut moved = false;
        while *budget > 0 && self.tx[queue as usize].owned() > 0 {
            let outbound = match self.fetch(dma, queue) {
                Fetched::Nothing => break,
                Fetched::Context(outbound) => outbound,
                Fetched::Packet(outbound) => {
                    if self.faults.hang_tx_after == Some(0) {
                        self.faults.hang_tx = true;
                        break;
                    }
                    if self.send(wire) == Sent::Busy {
                        break;
                    }
                    self.faults.hang_tx_after = self.faults.hang_tx_after.map(|left| left - 1);
                    self.stats.sent(&mut self.regs, queue, self.outgoing.len(), Cast::of(&self.outgoing));
                    outbound
                }
            };
            *budget -= 1;
            moved = true;
            self.complete(host, dma, queue, &outbound);
        }
        moved
    }

    fn send(&mut self, wire: &mut dyn Wire) -> Sent {
        if self.is_looped() {
            self.looped.push_back(self.outgoing.clone());
            return Sent::Taken;
        }
        wire.send(&self.outgoing)
    }

    /// Moves the head past a packet, and reports it.
    fn complete(&mut self, host: &Host<'_>, dma: &Dma<'_>, queue: u32, outbound: &Outbound) {
        let ring = &mut self.tx[queue as usize];
        if let Some(problem) = outbound.problem {
            host.violation(problem, format_args!("TX queue {queue}, descriptor {}", ring.head), 0, "7.2.3.2");
        }
        ring.head = outbound.next;
        let Some((index, words)) = outbound.report else { return };
        if !self.faults.tx_no_write_back {
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
        self.interrupts.tx(queue);
    }

    /// Fetches the packet at the head into `outgoing`.
    fn fetch(&mut self, dma: &Dma<'_>, queue: u32) -> Fetched {
        let ring = &mut self.tx[queue as usize];
        if ring.faulted {
            return Fetched::Nothing;
        }
        self.outgoing.clear();
        let mut problem = None;
        let mut first = 0;
        let (mut index, mut parts) = (ring.head, 0);
        loop {
            if index == ring.tail {
                return Fetched::Nothing;
            }
            let Ok([address, word]) = dma.load16(ring.desc(index)) else {
                ring.faulted = true;
                return Fetched::Nothing;
            };
            let words = [address, word];
            if word & desc::DEXT != 0 && word >> desc::DTYP_SHIFT & 0xF == desc::DTYP_CONTEXT {
                if parts > 0 {
                    problem = problem.or(Some("a context descriptor lies inside a packet"));
                }
                self.contexts[queue as usize][(word >> desc::IDX_SHIFT & 1) as usize] = Context { vlan: (address >> 16) as u16 };
                let report = (word & desc::RS != 0).then_some((index, words));
                return Fetched::Context(Outbound { next: ring.next(index), report, problem });
            }
            problem = problem.or_else(|| unfit_part(word));
            if parts == 0 {
                first = word;
            }
            parts += 1;
            if dma.append(Iova(address), (word & 0xFFFF) as usize, &mut self.outgoing).is_err() {
                ring.faulted = true;
                return Fetched::Nothing;
            }
            index = ring.next(index);
            if word & desc::EOP != 0 {
                let report = (word & desc::RS != 0).then(|| (if index == 0 { ring.slots() - 1 } else { index - 1 }, words));
                problem = problem.or((parts > MAX_PARTS).then_some("a packet has more than 40 descriptors"));
                let problem = problem.or_else(|| self.finish(queue, first));
                return Fetched::Packet(Outbound { next: index, report, problem });
            }
        }
    }

    /// Does to the fetched packet what its first descriptor asks for: offloads, VLAN tag, padding.
    fn finish(&mut self, queue: u32, first: u64) -> Option<&'static str> {
        let len = self.outgoing.len();
        let is_advanced = first & desc::DEXT != 0;
        let mut problem = None;
        if is_advanced && first >> desc::PAYLEN_SHIFT != len as u64 {
            problem = Some("PAYLEN is not the length of the packet");
        }
        if len < SHORTEST {
            problem = Some("a packet is shorter than 17 bytes");
        }
        let offloads = if is_advanced { desc::TSE | desc::POPTS_IXSM_TXSM } else { desc::IC };
        if first & offloads != 0 {
            problem = Some("an offload was asked for that is not modelled");
        }
        if first & desc::VLE != 0 && len >= 12 {
            let context = self.contexts[queue as usize][(first >> desc::IDX_SHIFT & 1) as usize];
            let tag = if is_advanced { context.vlan } else { (first >> 48) as u16 };
            let header = self.regs.at(DMATXCTL) & 0xFFFF_0000 | u32::from(tag);
            self.outgoing.splice(12..12, header.to_be_bytes());
        }
        // 8.2.3.22.13: a VLAN header comes on top, whoever put it there.
        let is_tagged = self.outgoing.get(12..14).is_some_and(|kind| kind == [0x81, 0x00] || kind == [0x88, 0xA8]);
        if self.outgoing.len() > self.longest_frame(is_tagged) {
            problem = Some("a packet is longer than MAXFRS allows");
        }
        if self.outgoing.len() < MIN_FRAME_BYTES {
            if !self.regs.has(HLREG0, HLREG0_TXPADEN) {
                problem = Some("a short packet was sent while HLREG0.TXPADEN is off");
            }
            self.outgoing.resize(MIN_FRAME_BYTES, 0);
        }
        problem
    }
}

/// What is wrong with one data descriptor.
fn unfit_part(word: u64) -> Option<&'static str> {
    let len = word & 0xFFFF;
    if len == 0 {
        Some("a descriptor has no length")
    } else if len > LONGEST_PART {
        Some("a descriptor's buffer is longer than 15.5 KiB")
    } else if word & desc::DEXT != 0 && word >> desc::DTYP_SHIFT & 0xF != desc::DTYP_DATA {
        Some("a descriptor's DTYP is neither context nor data")
    } else if word & desc::STA != 0 {
        Some("a descriptor was handed over with its status set")
    } else if word & desc::RS != 0 && word & desc::EOP == 0 {
        Some("a report was asked for on a descriptor that is not the last of its packet")
    } else if word & desc::IFCS == 0 {
        Some("a packet was sent without IFCS")
    } else {
        None
    }
}
