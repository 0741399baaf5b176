//! Receiving: from the wire into the buffers of the receive queue (5.1.6.3, 5.1.6.4).

use super::join::{Arrived, Large};
use super::queue::{Chain, Entry, Lie};
use super::regs::*;
use super::{RxChecksum, VirtioNet, partial, receiveq};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::wire::Wire;

/// How many frames one step delivers.
const BUDGET: usize = 32;
/// 5.1.6.3.1: without mergeable buffers each is to hold a header and the largest frame without segmentation.
const WHOLE_FRAME_BYTES: u32 = 1526;
/// The same with it.
const LARGE_FRAME_BYTES: u32 = 65_562;
/// By which a driver takes large frames, but for ECN, which needs one of them.
const LARGE: [u32; 4] = [VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6];

impl VirtioNet {
    /// Delivers what arrives. Returns whether something moved.
    pub(super) fn receive(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        let moved = self.try_receive(slot, dma, wire);
        moved.unwrap_or_else(|(pair, fault)| {
            self.queues[receiveq(pair)].dead |= !fault.is_passing();
            !fault.is_passing()
        })
    }

    /// A fault is told with the pair that it struck.
    fn try_receive(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> Result<bool, (usize, DmaFault)> {
        let mut entries: Vec<_> = self.pairs.iter().map(|_| Vec::new()).collect();
        let mut busy = false;
        let mut stopped = Ok(());
        for (pair, state) in self.pairs.iter_mut().enumerate() {
            let notified = std::mem::take(&mut self.queues[receiveq(pair)].notified);
            state.has_buffers |= notified;
            busy |= notified;
        }
        for _ in 0..BUDGET {
            let has_waited = self.waiting.is_some();
            let (pair, mut frame) = match self.waiting.take() {
                Some(waiting) => waiting,
                None => {
                    let Some(frame) = self.next_frame(wire) else { break };
                    busy = true;
                    if !self.ctrl.filter.takes(&frame.bytes, self.mac) {
                        self.counters.filtered += 1;
                        continue;
                    }
                    (self.steer(&frame.bytes).0, frame)
                }
            };
            let Some(pair) = self.pair_instead(pair) else {
                busy = true;
                self.counters.dropped += 1;
                continue;
            };
            match self.gather_buffers(slot, dma, pair, self.header_bytes() + frame.bytes.len()) {
                Ok(true) => {}
                // What waited for a queue that was reset waits until that has buffers.
                Ok(false) if !wire.is_lossless() && !has_waited && self.queues[receiveq(pair)].enabled => {
                    self.counters.dropped += 1;
                    self.stats[receiveq(pair)].dropped();
                    break;
                }
                gathered => {
                    self.waiting = Some((pair, frame));
                    stopped = gathered.map(|_| ()).map_err(|fault| (pair, fault));
                    break;
                }
            }
            busy = true;
            self.deliver(dma, pair, &mut frame, &mut entries[pair]).map_err(|fault| (pair, fault))?;
            self.counters.received += 1;
            self.counters.received_by[pair] += 1;
            self.count_frames(slot, receiveq(pair), 1);
        }
        for (pair, entries) in entries.into_iter().enumerate() {
            self.report(slot, dma, pair, entries).map_err(|fault| (pair, fault))?;
        }
        stopped.map(|()| busy)
    }

    /// The next frame from the wire, put together from those behind it where the driver takes that.
    fn next_frame(&mut self, wire: &mut dyn Wire) -> Option<Arrived> {
        let link_up = self.link_up;
        let mut read = || {
            let mut frame = Vec::new();
            (link_up && wire.receive(&mut frame)).then_some(frame)
        };
        let first = self.ahead.take().or_else(&mut read)?;
        let mut large = match Large::begin(first, |feature| self.does(feature)) {
            Ok(large) => large,
            Err(bytes) => return Some(Arrived { bytes, gso: None }),
        };
        while !large.is_over() {
            let Some(next) = read() else { break };
            if let Err(other) = large.add(next) {
                self.ahead = Some(other);
                break;
            }
        }
        let arrived = large.finish();
        self.counters.joined += u64::from(arrived.gso.is_some());
        Some(arrived)
    }

    /// Gives the buffers of a pair back.
    fn report(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, pair: usize, mut entries: Vec<Entry>) -> Result<(), DmaFault> {
        if !entries.is_empty() {
            if let (Some(id), Some(last)) = (self.faults.rx_id.take().or(self.lies.then_some(u32::MAX)), entries.last_mut()) {
                last.id = id;
            }
            if std::mem::take(&mut self.faults.rx_twice)
                && let [first, second, ..] = entries.as_mut_slice()
            {
                second.id = first.id;
            }
            let lie = Lie { jump: std::mem::take(&mut self.faults.rx_jump), wrong_wrap: std::mem::take(&mut self.faults.rx_wrap) };
            let rules = self.rules();
            self.counters.skipped += self.queues[receiveq(pair)].give_back(dma, rules, &entries, lie)?;
            self.signal_if_due(slot, dma, receiveq(pair));
        }
        Ok(())
    }

    /// Takes buffers for `needed` bytes into the stash, and says whether there are enough. Where not, the driver is asked to notify.
    fn gather_buffers(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, pair: usize, needed: usize) -> Result<bool, DmaFault> {
        let rules = self.rules();
        let merges = self.has(VIRTIO_NET_F_MRG_RXBUF);
        let (queue, mut asked) = (receiveq(pair), false);
        loop {
            let room: usize = self.pairs[pair].stash.iter().map(room_of).sum();
            // A frame that one buffer does not hold is cut where buffers are not merged.
            if room >= needed || !merges && !self.pairs[pair].stash.is_empty() {
                // A card that has run out goes on waiting for more, though these were enough.
                if self.pairs[pair].has_buffers {
                    self.queues[queue].want_notification(dma, rules, false)?;
                }
                return Ok(true);
            }
            if !self.pairs[pair].has_buffers {
                return Ok(false);
            }
            if self.queues[queue].waiting(slot, dma, rules)? == 0 {
                if asked {
                    self.pairs[pair].has_buffers = false;
                    return Ok(false);
                }
                // Ask, then look once more: the driver may have been faster.
                self.queues[queue].want_notification(dma, rules, true)?;
                asked = true;
                continue;
            }
            let chain = self.queues[queue].take(slot, dma, rules)?;
            if self.queues[queue].dead {
                return Ok(false);
            }
            let least = match merges {
                true => self.header_bytes() as u32,
                false if LARGE.iter().any(|&feature| self.has(feature)) => LARGE_FRAME_BYTES,
                false => WHOLE_FRAME_BYTES,
            };
            if room_of(&chain) < least as usize {
                slot.violation("a receive buffer is too small", format_args!("descriptor {}", chain.head), room_of(&chain) as u64, "5.1.6.3.1");
            }
            if chain.pieces.iter().any(|piece| !piece.writable) {
                slot.violation("a readable descriptor in the receive queue", format_args!("descriptor {}", chain.head), 0, "5.1.6.3");
            }
            self.pairs[pair].stash.push_back(chain);
        }
    }

    /// Writes header and frame into the buffers of the stash.
    fn deliver(&mut self, dma: &Dma<'_>, pair: usize, frame: &mut Arrived, entries: &mut Vec<Entry>) -> Result<(), DmaFault> {
        let mut used = Vec::new();
        let mut left = self.header_bytes() + frame.bytes.len();
        while left > 0
            && let Some(chain) = self.pairs[pair].stash.pop_front()
        {
            left = left.saturating_sub(room_of(&chain));
            used.push(chain);
        }
        let true_buffers = used.len() as u16;
        self.counters.merged += u64::from(true_buffers > 1);
        let mut bytes = self.header(true_buffers, frame);
        self.stats[receiveq(pair)].delivered(frame.bytes.len(), bytes[0], frame.gso.is_some());
        bytes.append(&mut frame.bytes);
        let mut rest = bytes.as_slice();
        for chain in &used {
            let mut written = 0;
            for piece in &chain.pieces {
                let (now, later) = rest.split_at(rest.len().min(piece.len as usize));
                dma.write(piece.at, now)?;
                written += now.len() as u32;
                rest = later;
            }
            entries.push(chain.entry(self.faults.rx_len.take().unwrap_or(written)));
        }
        Ok(())
    }

    /// The header of `frame`, out of which it may take a checksum.
    fn header(&mut self, num_buffers: u16, arrived: &mut Arrived) -> Vec<u8> {
        let Arrived { bytes: frame, gso } = arrived;
        let (flags, start, offset) = match self.rx_checksum {
            _ if !self.does(VIRTIO_NET_F_GUEST_CSUM) => (0, 0, 0),
            RxChecksum::None => (0, 0, 0),
            RxChecksum::Valid => (VIRTIO_NET_HDR_F_DATA_VALID, 0, 0),
            RxChecksum::Partial { start, offset } => (VIRTIO_NET_HDR_F_NEEDS_CSUM, start, offset),
            RxChecksum::Local => partial::take_out(frame).map_or((0, 0, 0), |(start, offset)| (VIRTIO_NET_HDR_F_NEEDS_CSUM, start, offset)),
        };
        let (flags, start, offset) = gso.map_or((flags, start, offset), |gso| (VIRTIO_NET_HDR_F_NEEDS_CSUM, gso.csum_start, gso.csum_offset));
        let flags = self.faults.rx_flags.take().unwrap_or(flags as u8);
        let gso_type = self.faults.gso_type.take().unwrap_or(gso.map_or(VIRTIO_NET_HDR_GSO_NONE as u8, |gso| gso.kind));
        let hdr_len = self.faults.hdr_len.take().unwrap_or(gso.map_or(0, |gso| gso.hdr_len));
        let gso_size = self.faults.gso_size.take().unwrap_or(gso.map_or(0, |gso| gso.size));
        let start = self.faults.csum_start.take().unwrap_or(start);
        let num_buffers = self.faults.num_buffers.take().unwrap_or(num_buffers);
        let mut header = vec![flags, gso_type];
        for word in [hdr_len, gso_size, start, offset, num_buffers] {
            header.extend(word.to_le_bytes());
        }
        if let Some(lie) = self.faults.rx_header.take() {
            header.copy_from_slice(&lie);
        }
        if self.has(VIRTIO_NET_F_HASH_REPORT) {
            let (_, (value, report)) = self.steer(frame);
            let (value, report) = if self.ctrl.steering.reports { (value, report) } else { (0, 0) };
            let report = self.faults.hash_report.take().map_or(report, u32::from);
            header.extend(value.to_le_bytes());
            header.extend(report.to_le_bytes());
        }
        header
    }
}

fn room_of(chain: &Chain) -> usize {
    chain.pieces.iter().map(|piece| piece.len as usize).sum()
}
