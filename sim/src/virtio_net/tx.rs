//! Transmitting: from the chains of the transmit queue to the wire (5.1.6.2).

use std::collections::VecDeque;

use super::gso::{Asked, Wrong};
use super::partial::with_checksum;
use super::queue::{Chain, Lie};
use super::regs::*;
use super::{HASH_HEADER_BYTES, VirtioNet, transmitq};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::wire::{Sent, Wire};

/// How many frames one step sends.
const BUDGET: usize = 32;
/// Ethernet header and VLAN tag.
const ETHERNET_BYTES: usize = 14 + 4;
/// The most that a chain may hold: the longest packet of IPv6, whose length does not count its own header.
const LONGEST_CHAIN_BYTES: usize = HASH_HEADER_BYTES + ETHERNET_BYTES + 40 + 65_535;

impl VirtioNet {
    /// Sends what waits. Returns whether something moved.
    pub(super) fn transmit(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire, pair: usize) -> bool {
        let moved = self.try_transmit(slot, dma, wire, pair);
        // A fault that does not pass was recorded as a violation: the card has lost its way.
        moved.unwrap_or_else(|fault| {
            self.queues[transmitq(pair)].dead |= !fault.is_passing();
            !fault.is_passing()
        })
    }

    fn try_transmit(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire, pair: usize) -> Result<bool, DmaFault> {
        let mut busy = false;
        if let Some((chain, frames)) = self.pairs[pair].unsent.take() {
            if !self.put_on_wire(wire, pair, chain, frames) {
                return Ok(false);
            }
            busy = true;
        }
        // The queue is looked at after a notification alone: a driver that forgets one waits for ever.
        let taken = if self.queues[transmitq(pair)].notified { self.take_chains(slot, dma, wire, pair) } else { Ok(false) };
        if !self.hold_tx && !self.hung && !self.pairs[pair].sent.is_empty() {
            self.complete(slot, dma, pair)?;
            busy = true;
        }
        Ok(taken? || busy)
    }

    fn take_chains(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire, pair: usize) -> Result<bool, DmaFault> {
        let (rules, queue) = (self.rules(), transmitq(pair));
        let mut busy = false;
        // 5.1.6.5.6.1: before the pairs are enabled, on the first one alone.
        if pair >= self.ctrl.steering.pairs {
            slot.violation("a frame on a transmit queue that is not in use", format_args!("queue {queue}"), 0, "5.1.6.5.6.1");
            self.queues[queue].notified = false;
            return Ok(false);
        }
        self.queues[transmitq(pair)].want_notification(dma, rules, false)?;
        if !self.send_fetched(slot, dma, wire, pair)? {
            return Ok(true);
        }
        for _ in 0..BUDGET {
            if self.queues[transmitq(pair)].waiting(slot, dma, rules)? == 0 {
                // Ask for the next notification, then look once more: the driver may have been faster.
                self.queues[transmitq(pair)].want_notification(dma, rules, true)?;
                if self.queues[transmitq(pair)].waiting(slot, dma, rules)? == 0 {
                    self.queues[transmitq(pair)].notified = false;
                    return Ok(busy);
                }
            }
            busy = true;
            let chain = self.queues[transmitq(pair)].take(slot, dma, rules)?;
            if self.queues[transmitq(pair)].dead {
                return Ok(true);
            }
            self.pairs[pair].fetching = Some(chain);
            if !self.send_fetched(slot, dma, wire, pair)? {
                break;
            }
        }
        Ok(busy)
    }

    /// Fetches the chain that was taken, and puts it on the wire. Whether the wire took it.
    fn send_fetched(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire, pair: usize) -> Result<bool, DmaFault> {
        let Some(chain) = &self.pairs[pair].fetching else { return Ok(true) };
        let mut bytes = Vec::new();
        for piece in &chain.pieces {
            if piece.writable {
                slot.violation("a writable descriptor in the transmit queue", format_args!("descriptor {}", chain.head), piece.at.0, "5.1.6.2");
            }
            if bytes.len() + piece.len as usize > LONGEST_CHAIN_BYTES {
                slot.violation("a chain is longer than any frame", format_args!("descriptor {}", chain.head), piece.len.into(), "5.1.6.2");
                self.queues[transmitq(pair)].dead = true;
                return Ok(false);
            }
            dma.append(piece.at, piece.len as usize, &mut bytes)?;
        }
        let Some(chain) = self.pairs[pair].fetching.take() else { return Ok(true) };
        self.counters.chained += u64::from(chain.pieces.len() > 1);
        let (header, frame_bytes) = (bytes.first_chunk().copied().unwrap_or_default(), bytes.len().saturating_sub(self.header_bytes()));
        let frames = self.unwrap_frame(slot, &chain, bytes);
        self.stats[transmitq(pair)].fetched(header, frame_bytes, &frames);
        Ok(self.put_on_wire(wire, pair, chain, frames.into()))
    }

    /// Takes the header off, checks it, and does what it asks for (5.1.6.2.1). Returns what goes on the wire.
    fn unwrap_frame(&self, slot: &Slot<'_>, chain: &Chain, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let wrong = |what, value: u64| slot.violation(what, format_args!("header of descriptor {}", chain.head), value, "5.1.6.2.1");
        let header_bytes = self.header_bytes();
        if bytes.len() < header_bytes + 14 {
            wrong("a chain has no room for header and frame", bytes.len() as u64);
            return vec![Vec::new()];
        }
        let frame = bytes.split_off(header_bytes);
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (flags, gso_type, start, offset, num_buffers) = (u32::from(bytes[0]), u32::from(bytes[1]), word(6), word(8), word(10));
        if num_buffers != 0 {
            wrong("num_buffers of a transmitted frame is not zero", num_buffers.into());
        }
        if flags & !VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 || flags != 0 && !self.has(VIRTIO_NET_F_CSUM) {
            wrong("flags that are not the driver's to set", flags.into());
        }
        let fits = |frame: &Vec<u8>| !self.has(VIRTIO_NET_F_MTU) || frame.len() <= usize::from(self.options.mtu) + ETHERNET_BYTES;
        if gso_type != VIRTIO_NET_HDR_GSO_NONE {
            let [hdr_len, gso_size, csum_start, csum_offset] = [2, 4, 6, 8].map(|at| usize::from(word(at)));
            let asked = Asked { gso_type, hdr_len, gso_size, csum_start, csum_offset };
            let frames = match self.segments(asked, flags, &frame) {
                Ok(frames) => frames,
                Err((what, value)) => {
                    wrong(what, value);
                    return vec![Vec::new()];
                }
            };
            if let Some(long) = frames.iter().find(|frame| !fits(frame)) {
                wrong("a segment is longer than the MTU allows", long.len() as u64);
            }
            return frames;
        }
        if !fits(&frame) {
            wrong("a frame is longer than the MTU allows", frame.len() as u64);
        }
        if flags & VIRTIO_NET_HDR_F_NEEDS_CSUM == 0 {
            return vec![frame];
        }
        let (start, place) = (usize::from(start), usize::from(start) + usize::from(offset));
        if place + 2 > frame.len() {
            wrong("the checksum's place is outside the frame", place as u64);
            return vec![frame];
        }
        vec![with_checksum(frame, start, place)]
    }

    /// Cuts a frame that asks for it, where that was negotiated.
    fn segments(&self, asked: Asked, flags: u32, frame: &[u8]) -> Result<Vec<Vec<u8>>, Wrong> {
        let is_negotiated = asked.feature().is_some_and(|feature| self.has(feature));
        if !is_negotiated || asked.has_ecn() && !self.has(VIRTIO_NET_F_HOST_ECN) {
            return Err(("segmentation was not negotiated", asked.gso_type.into()));
        }
        if flags & VIRTIO_NET_HDR_F_NEEDS_CSUM == 0 {
            return Err(("segmentation without VIRTIO_NET_HDR_F_NEEDS_CSUM", flags.into()));
        }
        asked.cut(frame, self.has(VIRTIO_NET_F_GUEST_HDRLEN))
    }

    /// Whether the wire took all the frames of a chain; else the rest wait.
    fn put_on_wire(&mut self, wire: &mut dyn Wire, pair: usize, chain: Chain, mut frames: VecDeque<Vec<u8>>) -> bool {
        while let Some(frame) = frames.pop_front() {
            if !frame.is_empty() && wire.send(&frame) == Sent::Busy {
                frames.push_front(frame);
                self.pairs[pair].unsent = Some((chain, frames));
                return false;
            }
            let stats = &mut self.stats[transmitq(pair)];
            if frame.is_empty() {
                stats.dropped();
            } else {
                stats.moved(frame.len());
            }
            self.learn(&frame, pair);
            self.counters.sent += 1;
            self.counters.sent_by[pair] += 1;
        }
        self.pairs[pair].sent.push(chain);
        true
    }

    /// Gives the chains of sent frames back.
    fn complete(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, pair: usize) -> Result<(), DmaFault> {
        let mut entries: Vec<_> = self.pairs[pair].sent.drain(..).map(|chain| chain.entry(0)).collect();
        if self.last_first && !self.has(VIRTIO_F_IN_ORDER) {
            entries.reverse();
        }
        if let (Some(id), Some(first)) = (self.faults.tx_id.take(), entries.first_mut()) {
            first.id = id;
        }
        if std::mem::take(&mut self.faults.tx_twice)
            && let [first, second, ..] = entries.as_mut_slice()
        {
            second.id = first.id;
        }
        let lie = Lie { jump: std::mem::take(&mut self.faults.tx_jump), wrong_wrap: std::mem::take(&mut self.faults.tx_wrap) };
        let rules = self.rules();
        self.counters.skipped += self.queues[transmitq(pair)].give_back(dma, rules, &entries, lie)?;
        self.count_frames(slot, transmitq(pair), entries.len());
        self.signal_if_due(slot, dma, transmitq(pair));
        Ok(())
    }
}
