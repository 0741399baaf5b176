//! Transmitting: from the chains of the transmit queue to the wire (5.1.6.2).

use super::queue::{Chain, Lie};
use super::regs::*;
use super::{HASH_HEADER_BYTES, VirtioNet, transmitq};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::wire::{Sent, Wire};

/// How many frames one step sends.
const BUDGET: usize = 32;
/// The most that a chain may hold: no frame is longer, since segmentation is not negotiated.
const LONGEST_CHAIN_BYTES: usize = HASH_HEADER_BYTES + 65_536;
/// Ethernet header and VLAN tag.
const ETHERNET_BYTES: usize = 14 + 4;

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
        if let Some((chain, frame)) = self.pairs[pair].unsent.take() {
            if !self.put_on_wire(wire, pair, chain, frame) {
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
        let frame = self.unwrap_frame(slot, &chain, bytes);
        Ok(self.put_on_wire(wire, pair, chain, frame))
    }

    /// Takes the header off, checks it, and does what it asks for (5.1.6.2.1).
    fn unwrap_frame(&self, slot: &Slot<'_>, chain: &Chain, mut bytes: Vec<u8>) -> Vec<u8> {
        let wrong = |what, value: u64| slot.violation(what, format_args!("header of descriptor {}", chain.head), value, "5.1.6.2.1");
        let header_bytes = self.header_bytes();
        if bytes.len() < header_bytes + 14 {
            wrong("a chain has no room for header and frame", bytes.len() as u64);
            return Vec::new();
        }
        let frame = bytes.split_off(header_bytes);
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (flags, gso_type, start, offset, num_buffers) = (u32::from(bytes[0]), u32::from(bytes[1]), word(6), word(8), word(10));
        if num_buffers != 0 {
            wrong("num_buffers of a transmitted frame is not zero", num_buffers.into());
        }
        if gso_type != VIRTIO_NET_HDR_GSO_NONE {
            wrong("segmentation was not negotiated", gso_type.into());
        }
        if flags & !VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 || flags != 0 && !self.has(VIRTIO_NET_F_CSUM) {
            wrong("flags that are not the driver's to set", flags.into());
        }
        if self.has(VIRTIO_NET_F_MTU) && frame.len() > usize::from(self.options.mtu) + ETHERNET_BYTES {
            wrong("a frame is longer than the MTU allows", frame.len() as u64);
        }
        if flags & VIRTIO_NET_HDR_F_NEEDS_CSUM == 0 {
            return frame;
        }
        let (start, place) = (usize::from(start), usize::from(start) + usize::from(offset));
        if place + 2 > frame.len() {
            wrong("the checksum's place is outside the frame", place as u64);
            return frame;
        }
        with_checksum(frame, start, place)
    }

    /// Whether the wire took the frame; else it waits.
    fn put_on_wire(&mut self, wire: &mut dyn Wire, pair: usize, chain: Chain, frame: Vec<u8>) -> bool {
        if !frame.is_empty() && wire.send(&frame) == Sent::Busy {
            self.pairs[pair].unsent = Some((chain, frame));
            return false;
        }
        self.learn(&frame, pair);
        self.counters.sent += 1;
        self.counters.sent_by[pair] += 1;
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
        self.queues[transmitq(pair)].give_back(dma, rules, &entries, lie)?;
        self.count_frames(slot, transmitq(pair), entries.len());
        self.signal_if_due(slot, dma, transmitq(pair));
        Ok(())
    }
}

/// The ones' complement sum from `start` to the end, complemented, at `place`.
fn with_checksum(mut frame: Vec<u8>, start: usize, place: usize) -> Vec<u8> {
    let mut sum = frame[start..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[place..place + 2].copy_from_slice(&(!sum as u16).to_be_bytes());
    frame
}
