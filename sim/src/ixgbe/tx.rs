//! Transmitting: descriptors are fetched, gathered into frames, sent, and reported where software asked for it (7.2).

use driver_core::host::Iova;

use super::card::{Ixgbe, PADDED_BYTES};
use super::offload::{Context, IXSM, Segmentation, TXSM, insert_checksums};
use super::pools::Ways;
use super::regs::{CTRL, CTRL_GIO_DIS, DMATXCTL, DMATXCTL_TE, DTXTCPFLGH, DTXTCPFLGL, HLREG0, HLREG0_TXPADEN, SECTXCTRL, SECTXCTRL_TX_DIS};
use super::stats::Cast;
use super::tags::{TAG_BYTES, tag_at};
use crate::dma::Dma;
use crate::slot::Slot;
use crate::wire::{Sent, Wire};

/// How many frames one step sends.
const BUDGET: usize = 32;
/// The most descriptors of one packet (7.2.1.1).
const MAX_PARTS: u32 = 40;
/// The shortest packet that software may hand over (7.2.1.1).
const SHORTEST: usize = 17;
/// The longest packet that is sent at all, before and after it is cut into frames: PAYLEN's 18 bits (7.2.3.2.4) behind headers as long as a context can
/// say (7.2.3.2.3), and no frame is longer than 64 KiB on any wire. A frame that is longer than this card may send is a violation further down.
const LONGEST_SEGMENTED: usize = (1 << 18) - 1 + 0x7F + 0x1FF + 0xFF;
const LONGEST_WHOLE: usize = 64 * 1024;
/// The longest buffer of one descriptor: 15.5 KB is the longest packet (7.2.1.1); of one that is segmented, Linux puts 16 KiB into a descriptor.
const LONGEST_PART: u64 = 15 * 1024 + 512;
const LONGEST_SEGMENTED_PART: u64 = 16 * 1024;

/// The upper word of a transmit descriptor (7.2.3.2.2, 7.2.3.2.3, 7.2.3.2.4).
pub(super) mod desc {
    pub(super) const DTYP_SHIFT: u32 = 20;
    pub(super) const DTYP_CONTEXT: u64 = 2;
    pub(super) const DTYP_DATA: u64 = 3;
    /// MAC: the packet is time-stamped (1588).
    pub(super) const STAMPED: u64 = 1 << 19;
    pub(super) const EOP: u64 = 1 << 24;
    pub(super) const IFCS: u64 = 1 << 25;
    pub(super) const IC: u64 = 1 << 26;
    pub(super) const RS: u64 = 1 << 27;
    pub(in super::super) const DEXT: u64 = 1 << 29;
    pub(super) const VLE: u64 = 1 << 30;
    pub(super) const TSE: u64 = 1 << 31;
    pub(super) const STA: u64 = 0xF << 32;
    pub(in super::super) const DD: u64 = 1 << 32;
    pub(super) const IDX_SHIFT: u32 = 36;
    pub(super) const PAYLEN_SHIFT: u32 = 46;
}

/// A VLAN tag that is inserted: its bytes, and where.
type Tag = ([u8; TAG_BYTES], usize);

/// A packet that was fetched.
struct Outbound {
    /// The descriptor behind the last one.
    next: u32,
    /// The descriptor to report on, with its words, where a report is asked for.
    report: Option<(u32, [u64; 2])>,
    /// How it is cut into frames, where it is.
    segmentation: Option<Segmentation>,
    /// The VLAN tag's four bytes, where one is inserted, and where.
    tag: Option<Tag>,
    /// It asks for a time stamp.
    is_stamped: bool,
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
    pub(super) fn transmit(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        let sends = self.regs.has(DMATXCTL, DMATXCTL_TE)
            && !self.regs.has(SECTXCTRL, SECTXCTRL_TX_DIS)
            && !self.regs.has(CTRL, CTRL_GIO_DIS)
            && self.port_is_up()
            && !self.is_paused();
        if !sends || self.faults.hang_tx || self.hung {
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
                busy |= self.transmit_queue(slot, dma, wire, queue, &mut budget);
            }
        }
        busy
    }

    fn transmit_queue(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire, queue: u32, budget: &mut usize) -> bool {
        let mut moved = false;
        if !self.may_send(queue) {
            return false;
        }
        while *budget > 0 && self.tx[queue as usize].owned() > 0 {
            let fetched = self.fetch(slot, dma, queue);
            let outbound = match &fetched {
                Fetched::Nothing => break,
                Fetched::Context(outbound) => outbound,
                Fetched::Packet(outbound) => {
                    if !self.send_packet(wire, queue, outbound) {
                        break;
                    }
                    if outbound.is_stamped {
                        self.stamp_departure(slot, queue);
                    }
                    outbound
                }
            };
            *budget -= 1;
            moved = true;
            self.complete(slot, dma, queue, outbound);
        }
        moved
    }

    /// Sends the fetched packet, whole or in segments. Returns whether all of it is on the wire; what is, is not sent again.
    fn send_packet(&mut self, wire: &mut dyn Wire, queue: u32, outbound: &Outbound) -> bool {
        let Some(segmentation) = &outbound.segmentation else {
            std::mem::swap(&mut self.outgoing, &mut self.segment);
            return self.send_segment(wire, queue, outbound.tag);
        };
        for index in self.tx[queue as usize].segments_sent..segmentation.count() {
            segmentation.cut(&self.outgoing, index, &mut self.segment);
            if !self.send_segment(wire, queue, outbound.tag) {
                return false;
            }
            self.tx[queue as usize].segments_sent = index + 1;
        }
        self.tx[queue as usize].segments_sent = 0;
        true
    }

    /// Sends the frame in `segment`, with its tag. Returns whether it is on the wire.
    #[inline]
    fn send_segment(&mut self, wire: &mut dyn Wire, queue: u32, tag: Option<Tag>) -> bool {
        if self.faults.hang_tx_after == Some(0) {
            (self.faults.hang_tx_after, self.hung) = (None, true);
            return false;
        }
        let mut frame = std::mem::take(&mut self.segment);
        if let Some((tag, at)) = tag {
            frame.splice(at..at, tag);
        }
        if frame.len() < PADDED_BYTES {
            frame.resize(PADDED_BYTES, 0);
        }
        let ways = self.ways_of(&frame, queue);
        let sent = self.send_ways(wire, &frame, ways);
        if sent {
            self.stats.fetched(&mut self.regs, queue, 1, frame.len());
            if ways.to_wire {
                self.stats.sent(&mut self.regs, 1, frame.len(), Cast::of(&frame));
            }
            self.faults.hang_tx_after = self.faults.hang_tx_after.map(|left| left - 1);
        }
        self.segment = frame;
        sent
    }

    /// Sends a frame to the wire, to other pools, or both: all of it, or nothing.
    #[inline]
    fn send_ways(&mut self, wire: &mut dyn Wire, frame: &[u8], Ways { pools, to_wire }: Ways) -> bool {
        if pools != 0 && !self.has_room_to_switch(frame) || to_wire && self.send(wire, frame) == Sent::Busy {
            return false;
        }
        if pools != 0 {
            self.switch_over(frame, pools);
        }
        true
    }

    pub(super) fn send(&mut self, wire: &mut dyn Wire, frame: &[u8]) -> Sent {
        if self.is_looped() {
            self.loop_back(frame);
            return Sent::Taken;
        }
        wire.send(frame)
    }

    /// Moves the head past a packet, and reports it now or later.
    fn complete(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, queue: u32, outbound: &Outbound) {
        let ring = &mut self.tx[queue as usize];
        if let Some(problem) = outbound.problem {
            slot.violation(problem, format_args!("TX queue {queue}, descriptor {}", ring.head), 0, "7.2.3.2");
        }
        let descs = if outbound.next > ring.head { outbound.next - ring.head } else { ring.slots() - ring.head + outbound.next };
        ring.head = outbound.next;
        self.note_sent(slot, dma, queue, descs, outbound.report);
    }

    /// Fetches the packet at the head into `outgoing`.
    fn fetch(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, queue: u32) -> Fetched {
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
            let [address, word] = match dma.load16(ring.desc(index)) {
                Ok(words) => words,
                Err(fault) => return ring.stopped_by(fault, Fetched::Nothing),
            };
            let words = [address, word];
            if word & desc::DEXT != 0 && word >> desc::DTYP_SHIFT & 0xF == desc::DTYP_CONTEXT {
                if parts > 0 {
                    problem = problem.or(Some("a context descriptor lies inside a packet"));
                }
                self.contexts[queue as usize][(word >> desc::IDX_SHIFT & 1) as usize] = Context::new(words);
                let report = (word & desc::RS != 0).then_some((index, words));
                return Fetched::Context(Outbound { next: ring.next(index), report, segmentation: None, tag: None, is_stamped: false, problem });
            }
            if parts == 0 {
                first = word;
            }
            if !is_plain(word) {
                problem = problem.or_else(|| unfit_part(word, first));
            }
            parts += 1;
            if parts > MAX_PARTS {
                slot.violation("a packet has more than 40 descriptors", format_args!("TX queue {queue}, descriptor {}", ring.head), 0, "7.2.1.1");
                ring.faulted = true;
                return Fetched::Nothing;
            }
            if let Err(fault) = dma.append(Iova(address), (word & 0xFFFF) as usize, &mut self.outgoing) {
                return ring.stopped_by(fault, Fetched::Nothing);
            }
            index = ring.next(index);
            if word & desc::EOP != 0 {
                if self.outgoing.len() > if is_segmented(first) { LONGEST_SEGMENTED } else { LONGEST_WHOLE } {
                    let at = format_args!("TX queue {queue}, descriptor {}", ring.head);
                    slot.violation("a packet is longer than any frame", at, self.outgoing.len() as u64, "7.2.1.1");
                    ring.faulted = true;
                    return Fetched::Nothing;
                }
                let report = (word & desc::RS != 0).then(|| (if index == 0 { ring.slots() - 1 } else { index - 1 }, words));
                let is_stamped = first & (desc::DEXT | desc::STAMPED) == desc::DEXT | desc::STAMPED;
                let mut outbound = Outbound { next: index, report, segmentation: None, tag: None, is_stamped, problem };
                self.finish(queue, first, &mut outbound);
                return Fetched::Packet(outbound);
            }
        }
    }

    /// Does to the fetched packet what its first descriptor asks for: checksums, segmentation, VLAN tag.
    fn finish(&mut self, queue: u32, first: u64, outbound: &mut Outbound) {
        let len = self.outgoing.len();
        // Nearly all packets ask for nothing, and nothing is wrong with them.
        let asks = first & (desc::DEXT | desc::TSE | desc::VLE | IXSM | TXSM);
        if asks == desc::DEXT && first >> desc::PAYLEN_SHIFT == len as u64 && (PADDED_BYTES..=self.longest_frame(false)).contains(&len) {
            return;
        }
        let is_advanced = first & desc::DEXT != 0;
        let context = self.contexts[queue as usize][(first >> desc::IDX_SHIFT & 1) as usize];
        let mut found = |problem: Option<&'static str>| outbound.problem = outbound.problem.or(problem);
        found((len < SHORTEST).then_some("a packet is shorter than 17 bytes"));
        if is_advanced && first & (desc::TSE | desc::VLE | IXSM | TXSM) != 0 {
            found(context.problem(first));
        }
        let outer = self.outer_tag_of(&self.outgoing);
        let is_looked_into = outer != Some(false);
        if !is_looked_into && first & (IXSM | TXSM | desc::TSE | desc::VLE) != 0 {
            found(Some("an offload was asked for of a packet without the outer tag that DMATXCTL.GDV announces"));
        } else if !is_advanced {
            found((first & desc::IC != 0).then_some("a legacy checksum was asked for, which is not modelled"));
        } else if first & desc::TSE != 0 {
            match Segmentation::new(len, first, context, [self.regs.at(DTXTCPFLGL), self.regs.at(DTXTCPFLGH)]) {
                Ok(segmentation) => outbound.segmentation = Some(segmentation),
                Err(problem) => found(Some(problem)),
            }
        } else {
            found(insert_checksums(&mut self.outgoing, first, &context, 0));
        }
        let (longest, payload) = outbound.segmentation.map_or((len, len), |segmentation| (segmentation.longest(), segmentation.payload_bytes()));
        let mut found = |problem: Option<&'static str>| outbound.problem = outbound.problem.or(problem);
        found((is_advanced && first >> desc::PAYLEN_SHIFT != payload as u64).then_some("PAYLEN is not the length of the packet"));
        let tagged = first & desc::VLE != 0;
        let tag_at = tag_at(outer == Some(true));
        if tagged && is_looked_into && len >= tag_at {
            let tag = if is_advanced { context.vlan() } else { (first >> 48) as u16 };
            outbound.tag = Some(((self.regs.at(DMATXCTL) & 0xFFFF_0000 | u32::from(tag)).to_be_bytes(), tag_at));
        }
        let on_wire = longest + if outbound.tag.is_some() { TAG_BYTES } else { 0 };
        let mut found = |problem: Option<&'static str>| outbound.problem = outbound.problem.or(problem);
        // 8.2.3.22.13: a VLAN header comes on top, whoever put it there.
        let carries_tag = tagged || self.outgoing.get(12..14).is_some_and(|kind| kind == [0x81, 0x00] || kind == [0x88, 0xA8]);
        found((on_wire > self.longest_frame(carries_tag)).then_some("a packet is longer than MAXFRS allows"));
        let unpadded = on_wire < PADDED_BYTES && !self.regs.has(HLREG0, HLREG0_TXPADEN);
        found(unpadded.then_some("a short packet was sent while HLREG0.TXPADEN is off"));
    }
}

/// Whether a packet with this first descriptor is cut into frames.
fn is_segmented(first: u64) -> bool {
    first & (desc::DEXT | desc::TSE) == desc::DEXT | desc::TSE
}

/// Whether this is the one descriptor of a packet, with nothing about it that could be wrong.
#[inline]
fn is_plain(word: u64) -> bool {
    const MASK: u64 = desc::DEXT | 0xF << desc::DTYP_SHIFT | desc::STA | desc::TSE | desc::EOP | desc::IFCS;
    const PLAIN: u64 = desc::DEXT | desc::DTYP_DATA << desc::DTYP_SHIFT | desc::EOP | desc::IFCS;
    word & MASK == PLAIN && (1..=LONGEST_PART).contains(&(word & 0xFFFF))
}

/// What is wrong with one data descriptor.
fn unfit_part(word: u64, first: u64) -> Option<&'static str> {
    let len = word & 0xFFFF;
    let longest = if is_segmented(first) { LONGEST_SEGMENTED_PART } else { LONGEST_PART };
    if len == 0 {
        Some("a descriptor has no length")
    } else if len > longest {
        Some("a descriptor's buffer is longer than 15.5 KiB, or 16 KiB where it is segmented")
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
