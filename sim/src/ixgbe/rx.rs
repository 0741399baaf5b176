//! Receiving: from the wire through the filters into descriptors with one buffer, legacy or advanced (7.1.5, 7.1.6).

use driver_core::host::Iova;

use super::card::{Ixgbe, PADDED_BYTES};
use super::filter::Match;
use super::flow::Control;
use super::inbound::{Connection, Inbound, Looped, Placed, status};
use super::interrupt::CAUSE_RX_MISS;
use super::parse::{Headers, TcpSegment, packet_type, parse};
use super::ptp::{Arrival, STAMP_BYTES};
use super::regs::{
    CTRL, CTRL_GIO_DIS, HLREG0, HLREG0_RXCRCSTRP, MPC, QPRDC, ROC, RQSMR, RXCSUM, RXCSUM_PCSD, RXCTRL, RXCTRL_RXEN, RXLPBKPC, RXPBSIZE, SECRXCTRL,
    SECRXCTRL_RX_DIS, XEC,
};
use super::ring::{DescType, Ring, State};
use super::stats::Cast;
use super::steering::Route;
use super::tags::{TAG_BYTES, tag_at};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;
use crate::wire::Wire;

/// How many frames one step takes from the wire.
const BUDGET: usize = 32;
/// What a frame takes up in the packet buffer beside its bytes.
const BUFFER_OVERHEAD: usize = 64;

/// SRRCTL.DROP_EN (8.2.3.8.7).
const DROP_EN: u32 = 1 << 28;
/// RXDCTL.VME: strip the VLAN tag (8.2.3.8.6).
const RXDCTL_VME: u32 = 1 << 30;

/// A frame that passed the filters of a card with pools.
struct Admitted {
    headers: Headers,
    matched: Match,
    /// The pools that it goes to.
    pools: u64,
    /// It comes from another pool.
    is_looped: bool,
}

impl Ixgbe {
    /// Takes frames from the wire. Returns whether something moved.
    pub(super) fn receive(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        if !self.receives() {
            return self.ignore(wire);
        }
        let mut touched = 0u128;
        let lossless = wire.is_lossless();
        let mut busy = self.place_held(slot, dma, lossless, &mut touched);
        for _ in 0..BUDGET {
            if lossless && !self.held.is_empty() {
                break;
            }
            let mut inbound = self.spare.pop().unwrap_or_default();
            let mut switched = None;
            let got = match self.looped.pop_front() {
                Some(Looped { frame, pools }) => {
                    self.looped_bytes -= frame.len() + BUFFER_OVERHEAD;
                    inbound.frame = frame;
                    switched = pools;
                    true
                }
                None => !self.is_looped() && wire.receive(&mut inbound.frame),
            };
            if !got {
                self.spare.push(inbound);
                break;
            }
            busy = true;
            let admitted = match switched {
                None => self.admit(slot, &mut inbound),
                Some(pools) => Some(Some(self.switched(&inbound.frame, pools))),
            };
            match admitted {
                None => self.spare.push(inbound),
                Some(None) => self.offer(slot, dma, inbound, lossless, &mut touched),
                Some(Some(admitted)) => self.offer_to_pools(slot, dma, inbound, &admitted, lossless, &mut touched),
            }
        }
        busy |= self.end_due(slot, dma, &mut touched);
        while touched != 0 {
            self.interrupts.queue(true, touched.trailing_zeros());
            touched &= touched - 1;
        }
        busy
    }

    /// Whether the port receives: it is on, and has a link.
    pub(super) fn receives(&self) -> bool {
        self.regs.has(RXCTRL, RXCTRL_RXEN) && !self.regs.has(SECRXCTRL, SECRXCTRL_RX_DIS) && !self.regs.has(CTRL, CTRL_GIO_DIS) && self.port_is_up()
    }

    /// A frame that transmit hands to receive inside the MAC (HLREG0.LPBK). No wire holds it up: a port that does not receive loses it, and so does a
    /// packet buffer without room.
    pub(super) fn loop_back(&mut self, frame: &[u8]) {
        if !self.receives() {
            return;
        }
        let size = frame.len() + BUFFER_OVERHEAD;
        if self.has_room(self.looped_bytes + size) {
            self.looped_bytes += size;
            let mut frame = frame.to_vec();
            if self.faults.loop_corrupts
                && let Some(byte) = frame.get_mut(522)
            {
                *byte ^= 1;
            }
            self.looped.push_back(Looped { frame, pools: None });
        } else {
            self.count_missed();
        }
    }

    /// Whether a frame may go to other pools of the port now: 7.10.3.4, none is dropped on the way.
    pub(super) fn has_room_to_switch(&self, frame: &[u8]) -> bool {
        self.has_room(self.looped_bytes + frame.len() + BUFFER_OVERHEAD)
    }

    /// A frame that goes to other pools of the port.
    #[cold]
    pub(super) fn switch_over(&mut self, frame: &[u8], pools: u64) {
        self.looped_bytes += frame.len() + BUFFER_OVERHEAD;
        self.looped.push_back(Looped { frame: frame.to_vec(), pools: Some(pools) });
        self.regs.count(RXLPBKPC, 1);
    }

    /// Whether the packet buffer takes so many bytes more.
    fn has_room(&self, bytes: usize) -> bool {
        self.held_bytes + bytes <= (self.regs.at(RXPBSIZE) & 0xF_FC00) as usize
    }

    fn count_missed(&mut self) {
        self.regs.count(MPC, 1);
        self.interrupts.misc(CAUSE_RX_MISS);
    }

    /// A port that does not receive loses what arrives, unless the far end waits.
    fn ignore(&mut self, wire: &mut dyn Wire) -> bool {
        self.held.clear();
        self.looped.clear();
        (self.held_bytes, self.looped_bytes) = (0, 0);
        if wire.is_lossless() {
            return false;
        }
        let mut inbound = self.spare.pop().unwrap_or_default();
        let lost = (0..BUDGET).take_while(|_| wire.receive(&mut inbound.frame)).count();
        self.spare.push(inbound);
        lost > 0
    }

    /// Counts, checks and filters a frame, and works out its queue and its write-back; what a card with pools does so for each of them is returned.
    fn admit(&mut self, slot: &Slot<'_>, inbound: &mut Inbound) -> Option<Option<Box<Admitted>>> {
        let frame = &mut inbound.frame;
        let control = self.control_frame(frame);
        if frame.len() < PADDED_BYTES {
            // On a wire no frame is shorter: the far end padded it.
            frame.resize(PADDED_BYTES, 0);
        }
        self.stats.arrived(&mut self.regs, 1, frame.len());
        let headers = parse(frame, self.tag_types());
        if frame.len() > self.longest_frame(headers.vlan.is_some()) {
            self.regs.count(ROC, 1);
            return None;
        }
        if control.is_some_and(|control| !self.obey(slot.now_us(), control)) {
            return None;
        }
        // Counters of good frames leave received pause frames out (8.2.3.23), TPR and TOR do not.
        let counts = !matches!(control, Some(Control::Pause(_)));
        if counts {
            self.stats.well_formed(&mut self.regs, 1, frame.len());
        }
        let cast = Cast::of(frame);
        let matched = self.filter(frame, cast, &headers)?;
        let mut pools = 0;
        if self.has_pools() {
            pools = self.pools_of_received(frame, cast, &headers);
            if pools == 0 {
                return None;
            }
        }
        if counts {
            self.stats.accepted(&mut self.regs, 1, frame.len(), cast);
        }
        if headers.ip_checksum == Some(false) || headers.l4_checksum == Some(false) {
            self.regs.count(XEC, 1);
        }
        if pools != 0 {
            return Some(Some(Box::new(Admitted { headers, matched, pools, is_looped: false })));
        }
        self.aim(slot, inbound, &headers, matched, None);
        Some(None)
    }

    /// What another pool sends.
    #[cold]
    fn switched(&self, frame: &[u8], pools: u64) -> Box<Admitted> {
        let headers = parse(frame, self.tag_types());
        Box::new(Admitted { headers, matched: Match::Exact, pools, is_looped: true })
    }

    /// A copy of the frame for each of its pools.
    #[cold]
    fn offer_to_pools(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, inbound: Box<Inbound>, admitted: &Admitted, lossless: bool, touched: &mut u128) {
        let (mut inbound, mut left) = (Some(inbound), admitted.pools);
        while let Some(mut copy) = inbound.take() {
            let pool = left.trailing_zeros();
            left &= left - 1;
            if left != 0 {
                let mut other = self.spare.pop().unwrap_or_default();
                other.frame.clone_from(&copy.frame);
                inbound = Some(other);
            }
            self.aim(slot, &mut copy, &admitted.headers, admitted.matched, Some((pool, admitted.is_looped)));
            self.offer(slot, dma, copy, lossless, touched);
        }
    }

    /// Works out a frame's queue and its write-back. `pool`: where there are any, and whether the frame comes from another.
    #[inline]
    fn aim(&mut self, slot: &Slot<'_>, inbound: &mut Inbound, headers: &Headers, matched: Match, pool: Option<(u32, bool)>) {
        let Inbound { frame, queue, lower, status, vlan, tcp } = inbound;
        let (pool, is_looped) = pool.map_or((None, false), |(pool, is_looped)| (Some(pool), is_looped));
        let route = self.route(slot, frame, headers, pool);
        let to = route.queue;
        let stamp = if is_looped { Arrival::Unstamped } else { self.stamp_arrival(slot, frame, headers) };
        *queue = to;
        *lower = self.lower_word(headers, &route);
        *status = status_word(headers, matched) | if route.is_flow { status::FLM } else { 0 } | if is_looped { status::LB } else { 0 };
        *vlan = 0;
        if !self.regs.has(HLREG0, HLREG0_RXCRCSTRP) {
            let fcs = crc32fast::hash(frame);
            frame.extend_from_slice(&fcs.to_le_bytes());
        }
        if let Some(tag) = headers.vlan
            && self.rx[to as usize].dctl & RXDCTL_VME != 0
        {
            *vlan = tag;
            let at = tag_at(headers.has_outer);
            frame.copy_within(at + TAG_BYTES.., at);
            frame.truncate(frame.len() - TAG_BYTES);
        }
        match stamp {
            Arrival::Unstamped => {}
            Arrival::InRegisters => *status |= status::TS,
            Arrival::InMemory(stamp) => {
                *status |= status::TSIP;
                frame.extend_from_slice(&stamp);
            }
        }
        if tcp.is_some() || self.coalesces(to) {
            *tcp = (self.coalesces(to) && stamp == Arrival::Unstamped).then(|| self.tcp_of(frame, headers.vlan)).flatten();
        }
    }

    /// The frame's connection, read where memory will have it: behind the tag, or without.
    fn tcp_of(&self, frame: &[u8], vlan: Option<u16>) -> Option<(Connection, Option<TcpSegment>)> {
        let headers = parse(frame, self.tag_types());
        Some((Connection::of(frame, &headers, vlan)?, headers.segment(frame)))
    }

    fn lower_word(&self, headers: &Headers, route: &Route) -> u64 {
        // RXCSUM.PCSD chooses between the hash and a fragment's checksum, which is not modelled and reads zero.
        let value = if self.regs.has(RXCSUM, RXCSUM_PCSD) { route.hash.value } else { 0 };
        u64::from(value) << 32 | u64::from(route.packet_type.unwrap_or(headers.packet_type) | route.hash.rss_type)
    }

    /// Gives a frame to its queue, or keeps or drops it where there are no descriptors.
    fn offer(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, inbound: Box<Inbound>, lossless: bool, touched: &mut u128) {
        let placed = if self.held.is_empty() { self.place(slot, dma, &inbound, touched) } else { Placed::Later };
        let size = inbound.frame.len() + BUFFER_OVERHEAD;
        match placed {
            Placed::Done | Placed::Lost => {}
            Placed::NoDescriptors if !lossless && self.drops(inbound.queue) => self.count_queue_drop(inbound.queue),
            _ if lossless || self.has_room(size) => {
                self.held_bytes += size;
                self.held.push_back(inbound);
                return;
            }
            _ => self.count_missed(),
        }
        self.spare.push(inbound);
    }

    /// Whether a frame for a queue without descriptors is dropped, lest it hold up those of other queues.
    fn drops(&self, queue: u32) -> bool {
        self.rx[queue as usize].srrctl & DROP_EN != 0 || self.drop_queues >> queue & 1 != 0
    }

    pub(super) fn count_queue_drop(&mut self, queue: u32) {
        let index = self.regs.at(RQSMR + (queue & !3)) >> (8 * (queue & 3)) & 0xF;
        self.regs.count(QPRDC + 0x40 * index, 1);
    }

    /// Gives queues what waits in the packet buffer, in order.
    fn place_held(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, lossless: bool, touched: &mut u128) -> bool {
        let mut moved = false;
        for _ in 0..BUDGET {
            let Some(inbound) = self.held.pop_front() else { break };
            match self.place(slot, dma, &inbound, touched) {
                Placed::Done | Placed::Lost => {}
                Placed::NoDescriptors if !lossless && self.drops(inbound.queue) => self.count_queue_drop(inbound.queue),
                Placed::NoDescriptors | Placed::Later => {
                    self.held.push_front(inbound);
                    break;
                }
            }
            self.held_bytes -= inbound.frame.len() + BUFFER_OVERHEAD;
            self.spare.push(inbound);
            moved = true;
        }
        moved
    }

    /// Writes a frame into as many buffers as it needs.
    fn place(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, inbound: &Inbound, touched: &mut u128) -> Placed {
        let queue = inbound.queue;
        let ring = &mut self.rx[queue as usize];
        if !ring.runs() {
            if ring.state == State::Disabled {
                self.count_queue_drop(queue);
            }
            return Placed::Lost;
        }
        let buffer_bytes = ring.buffer_bytes();
        let desc_type = ring.desc_type();
        if buffer_bytes == 0 || desc_type == DescType::Other {
            let what = "a receive queue runs with a descriptor type or buffer size that is not modelled";
            slot.violation(what, format_args!("SRRCTL[{queue}]"), ring.srrctl.into(), "8.2.3.8.7");
            ring.faulted = true;
            return Placed::Lost;
        }
        if desc_type == DescType::Split {
            let placed = self.place_split(slot, dma, inbound);
            if placed == Placed::Done {
                *touched |= 1 << queue;
                self.stats.delivered(&mut self.regs, queue, 1, inbound.frame.len());
            }
            return placed;
        }
        if inbound.tcp.is_some()
            && desc_type == DescType::Advanced
            && let Some(placed) = self.coalesce(dma, inbound, touched)
        {
            return placed;
        }
        let ring = &mut self.rx[queue as usize];
        let (frame, lie) = (&inbound.frame[..], self.faults.rx_length.or(self.lies.then_some(u16::MAX)));
        let writer = Writer { slot, dma, inbound, is_legacy: desc_type == DescType::Legacy, lie, writes_back: !self.faults.rx_no_write_back };
        // Nearly all frames have one buffer.
        let placed = if frame.len() <= buffer_bytes { writer.whole(ring) } else { writer.in_parts(ring, frame.len().div_ceil(buffer_bytes)) };
        if placed != Placed::Done {
            return placed;
        }
        *touched |= 1 << queue;
        let stamp_bytes = if inbound.status & status::TSIP != 0 { STAMP_BYTES } else { 0 };
        self.stats.delivered(&mut self.regs, queue, 1, inbound.frame.len() - stamp_bytes);
        Placed::Done
    }
}

/// Writes one frame into the buffers of the ring's next descriptors, and says so in these.
struct Writer<'a> {
    slot: &'a Slot<'a>,
    dma: &'a Dma<'a>,
    inbound: &'a Inbound,
    is_legacy: bool,
    /// The length that the last descriptor tells instead of the true one.
    lie: Option<u16>,
    writes_back: bool,
}

impl Writer<'_> {
    #[inline(always)]
    fn whole(&self, ring: &mut Ring) -> Placed {
        if ring.owned() == 0 {
            return Placed::NoDescriptors;
        }
        match self.dma.load16(ring.desc(ring.head)) {
            Ok([buffer, _]) => self.part(ring, Iova(buffer), &self.inbound.frame, true),
            Err(fault) => unread(ring, fault),
        }
    }

    fn in_parts(&self, ring: &mut Ring, parts: usize) -> Placed {
        if (ring.owned() as usize) < parts {
            return Placed::NoDescriptors;
        }
        let buffers = match ring.buffers(self.dma, parts) {
            Ok(buffers) => buffers,
            Err(fault) => return unread(ring, fault),
        };
        for ((i, part), buffer) in self.inbound.frame.chunks(ring.buffer_bytes()).enumerate().zip(buffers) {
            if self.part(ring, buffer, part, i + 1 == parts) == Placed::Lost {
                return Placed::Lost;
            }
        }
        Placed::Done
    }

    /// Fills the buffer of the descriptor at the head.
    #[inline(always)]
    fn part(&self, ring: &mut Ring, buffer: Iova, part: &[u8], is_last: bool) -> Placed {
        if buffer.0 == 0 {
            let what = "a receive descriptor has no buffer";
            self.slot.violation(what, format_args!("RX queue {}, descriptor {}", self.inbound.queue, ring.head), 0, "7.1.6.1");
        }
        let len = self.lie.filter(|_| is_last).unwrap_or(part.len() as u16);
        let words = if self.is_legacy { self.inbound.legacy(buffer, len, is_last) } else { self.inbound.advanced(len, is_last) };
        let at = ring.desc(ring.head);
        let written = self.dma.write(buffer, part).and_then(|()| if self.writes_back { self.dma.store16(at, words) } else { Ok(()) });
        if written.is_err() {
            ring.faulted = true;
            return Placed::Lost;
        }
        ring.head = ring.next(ring.head);
        Placed::Done
    }
}

/// What becomes of a frame whose descriptors cannot be read.
#[cold]
pub(super) fn unread(ring: &mut Ring, fault: DmaFault) -> Placed {
    if fault.is_passing() { Placed::Later } else { ring.stopped_by(fault, Placed::Lost) }
}

/// Extended status and error of the last descriptor, without DD and EOP.
fn status_word(headers: &Headers, matched: Match) -> u32 {
    let mut word = 0;
    if matched == Match::Inexact {
        word |= status::PIF;
    }
    if headers.vlan.is_some() {
        word |= status::VP;
    }
    if headers.has_outer {
        word |= status::VEXT;
    }
    if let Some(right) = headers.ip_checksum {
        word |= status::IPCS | if right { 0 } else { status::IPE };
    }
    if let Some(right) = headers.l4_checksum {
        word |= status::L4I | if right { 0 } else { status::L4E };
        if headers.has(packet_type::UDP) {
            word |= status::UDPCS | if right { status::UDPV } else { 0 };
        }
    }
    word
}
