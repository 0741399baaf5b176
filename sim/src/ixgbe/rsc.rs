//! Receive side coalescing: segments of a TCP connection that follow each other become one large receive (7.11).
//!
//! A large receive takes descriptors as its segments arrive, so that other frames of its queue lie between them, and a descriptor that is not its last
//! names the next (NEXTP, 7.1.6.2). Its header is updated in the first buffer when it ends. It ends with what cannot follow, with a pushed segment, at
//! its limits, and when the counter of its queue's interrupt runs out.

use driver_core::host::Iova;

use super::Ixgbe;
use super::parse::{Headers, TcpSegment};
use super::regs::{HLREG0, HLREG0_RXCRCSTRP, PSRTYPE, RDRXCTL, RFCTL};
use super::ring::{MOST_BUFFERS, Ring};
use super::rx::{Inbound, Placed, status};
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;

/// RSCCTL (8.2.3.8.13): the queue coalesces; how many descriptors a large receive may have: 1, 4, 8 or 16.
const RSCEN: u32 = 1;
const MAXDESC_SHIFT: u32 = 2;
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
/// How many segments may start in one descriptor, as far as RSCCNT counts (7.1.6.2).
const MOST_STARTS: u32 = 14;
/// The longest packet that an IP header can describe.
const LONGEST: usize = 65_535;
const RSCCNT_SHIFT: u32 = 17;
const NEXTP_SHIFT: u32 = 4;

const PSH: u8 = 1 << 3;

/// A TCP connection: what has to be equal for segments to belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection {
    addresses: [u8; 32],
    ports: [u8; 4],
    is_v4: bool,
    vlan: Option<u16>,
}

impl Connection {
    /// `None`: no TCP, or a fragment.
    pub(super) fn of(frame: &[u8], headers: &Headers, vlan: Option<u16>) -> Option<Self> {
        let (from, ports) = (headers.addresses.clone()?, headers.ports.clone()?);
        if !headers.is_tcp() {
            return None;
        }
        let (from, mut addresses) = (frame.get(from)?, [0; 32]);
        addresses.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { addresses, ports: *frame.get(ports)?.first_chunk()?, is_v4: from.len() == 8, vlan })
    }
}

/// Buffers of the ring's next descriptors, read before anything is written.
type Buffers = [Iova; MOST_BUFFERS];

/// Takes the ring's next descriptor, with its buffer.
fn take(ring: &mut Ring, buffers: &mut impl Iterator<Item = Iova>) -> (u32, Iova) {
    let index = ring.head;
    ring.head = ring.next(index);
    // As many were read as there are taken.
    (index, buffers.next().unwrap_or(Iova(0)))
}

/// A large receive that is open.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) queue: u32,
    connection: Connection,
    /// The headers, as far as they are known.
    header: Vec<u8>,
    ip_at: usize,
    tcp_at: usize,
    /// The IP packet's length so far.
    packet_bytes: usize,
    next_seq: u32,
    /// The first buffer, where the header lies.
    first: Iova,
    /// The descriptor that is being filled, its buffer, and how far.
    index: u32,
    buffer: Iova,
    filled: usize,
    /// Descriptors taken, and segments that start in the one that is being filled.
    descs: u32,
    starts: u32,
    segments: u32,
    /// What the last descriptor will say: of the segment that came last.
    lower: u64,
    status: u32,
    vlan: u16,
}

impl Large {
    /// Starts with a whole frame, in the ring's next descriptors, whose buffers are `buffers`.
    fn open(
        ring: &mut Ring,
        dma: &Dma<'_>,
        buffers: Buffers,
        inbound: &Inbound,
        connection: Connection,
        segment: &TcpSegment,
    ) -> Result<Self, DmaFault> {
        let mut buffers = buffers.into_iter();
        let (index, buffer) = take(ring, &mut buffers);
        let mut large = Self {
            queue: inbound.queue,
            connection,
            header: inbound.frame[..segment.payload.start].to_vec(),
            ip_at: segment.ip_at,
            tcp_at: segment.tcp_at,
            packet_bytes: segment.payload.end - segment.ip_at,
            next_seq: segment.seq.wrapping_add(segment.payload.len() as u32),
            first: buffer,
            index,
            buffer,
            filled: 0,
            descs: 1,
            starts: 1,
            segments: 1,
            lower: inbound.lower,
            status: inbound.status,
            vlan: inbound.vlan,
        };
        large.put(ring, dma, &mut buffers, &inbound.frame[..segment.payload.end])?;
        Ok(large)
    }

    /// How many more descriptors so many bytes take.
    fn descs_for(&self, ring: &Ring, bytes: usize) -> u32 {
        bytes.saturating_sub(ring.buffer_bytes() - self.filled).div_ceil(ring.buffer_bytes()) as u32
    }

    /// Whether the segment is the next of this large receive, and there is room for it.
    fn takes(&self, ring: &Ring, inbound: &Inbound, segment: &TcpSegment) -> bool {
        let most_descs = [1, 4, 8, 16][(ring.rscctl >> MAXDESC_SHIFT & 3) as usize];
        // Type of service, flags, time to live; or traffic class with flow label, and hop limit.
        let fields: &[std::ops::Range<usize>] = if self.connection.is_v4 { &[1..2, 6..7, 8..9] } else { &[0..4, 7..8] };
        let at = |range: &std::ops::Range<usize>| self.ip_at + range.start..self.ip_at + range.end;
        segment.seq == self.next_seq
            && segment.payload.start == self.header.len()
            && fields.iter().all(|range| inbound.frame.get(at(range)) == self.header.get(at(range)))
            && self.packet_bytes + segment.payload.len() <= LONGEST
            && self.starts < MOST_STARTS
            && self.descs + self.descs_for(ring, segment.payload.len()) <= most_descs
    }

    fn append(&mut self, ring: &mut Ring, dma: &Dma<'_>, buffers: Buffers, inbound: &Inbound, segment: &TcpSegment) -> Result<(), DmaFault> {
        let mut buffers = buffers.into_iter();
        // A segment starts where its first byte lies.
        if self.filled == ring.buffer_bytes() {
            self.advance(ring, dma, &mut buffers)?;
        }
        self.starts += 1;
        self.segments += 1;
        self.packet_bytes += segment.payload.len();
        self.next_seq = segment.seq.wrapping_add(segment.payload.len() as u32);
        (self.lower, self.status, self.vlan) = (inbound.lower, inbound.status, inbound.vlan);
        // Acknowledgement, flags, window and time stamp are those of the segment that came last.
        let (tcp, end) = (self.tcp_at, self.header.len());
        for range in [tcp + 8..tcp + 12, tcp + 13..tcp + 16, tcp + 20..end] {
            self.header[range.clone()].copy_from_slice(&inbound.frame[range]);
        }
        self.put(ring, dma, &mut buffers, &inbound.frame[segment.payload.clone()])
    }

    /// Writes bytes behind those that are there.
    fn put(&mut self, ring: &mut Ring, dma: &Dma<'_>, buffers: &mut impl Iterator<Item = Iova>, mut bytes: &[u8]) -> Result<(), DmaFault> {
        while !bytes.is_empty() {
            if self.filled == ring.buffer_bytes() {
                self.advance(ring, dma, buffers)?;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(ring.buffer_bytes() - self.filled));
            dma.write(self.buffer.offset(self.filled as u64), part)?;
            self.filled += part.len();
            bytes = rest;
        }
        Ok(())
    }

    /// Goes on in the next descriptor: the full one is written back and names it.
    fn advance(&mut self, ring: &mut Ring, dma: &Dma<'_>, buffers: &mut impl Iterator<Item = Iova>) -> Result<(), DmaFault> {
        let (index, buffer) = take(ring, buffers);
        let status = status::DD | index << NEXTP_SHIFT;
        dma.store16(ring.desc(self.index), [self.count(), (self.filled as u64) << 32 | u64::from(status)])?;
        (self.index, self.buffer, self.filled, self.starts) = (index, buffer, 0, 0);
        self.descs += 1;
        Ok(())
    }

    /// RSCCNT: one more than the segments that start in the descriptor.
    fn count(&self) -> u64 {
        u64::from(self.starts + 1) << RSCCNT_SHIFT
    }

    /// Writes the header and the last descriptor.
    fn finish(mut self, ring: &Ring, dma: &Dma<'_>) -> Result<(), DmaFault> {
        if self.segments > 1 {
            self.update_ip();
            dma.write(self.first, &self.header)?;
        }
        let status = self.status | status::DD | status::EOP;
        let upper = u64::from(self.vlan) << 48 | (self.filled as u64) << 32 | u64::from(status);
        dma.store16(ring.desc(self.index), [self.lower | self.count(), upper])
    }

    /// The length, and where there is one the checksum. The TCP checksum stays the first segment's: the write-back says that it was right.
    fn update_ip(&mut self) {
        let ip = &mut self.header[self.ip_at..self.tcp_at];
        if !self.connection.is_v4 {
            let payload_bytes = (self.packet_bytes - 40) as u16;
            return ip[4..6].copy_from_slice(&payload_bytes.to_be_bytes());
        }
        ip[2..4].copy_from_slice(&(self.packet_bytes as u16).to_be_bytes());
        ip[10..12].fill(0);
        let checksum = !super::offload::sum(ip, 0);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The buffers of so many descriptors; or what becomes of the frame that would need them.
fn next_buffers(ring: &mut Ring, dma: &Dma<'_>, count: u32) -> Result<Buffers, Placed> {
    if ring.owned() < count {
        return Err(Placed::NoDescriptors);
    }
    ring.buffers(dma, count as usize).map_err(|fault| if fault.is_passing() { Placed::Later } else { ring.stopped_by(fault, Placed::Lost) })
}

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
        } else if ring.buffer_bytes() < 2048 || longest > LONGEST {
            Some("a queue that coalesces has buffers below 2 KiB, or together above 64 KiB less one")
        } else if ring.srrctl >> BSIZEHEADER_SHIFT & 0x3F < 2 {
            Some("a queue that coalesces has SRRCTL.BSIZEHEADER below 128 bytes")
        } else if self.regs.at(PSRTYPE) & PSRTYPE_TCPHDR == 0 {
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
        self.stats.delivered(&mut self.regs, inbound.queue, inbound.frame.len());
        if segment.flags & PSH != 0 {
            self.end_large(dma, at, touched);
        }
        Placed::Done
    }

    fn end_large(&mut self, dma: &Dma<'_>, at: usize, touched: &mut u128) {
        let large = self.large.remove(at);
        let queue = large.queue;
        if large.finish(&self.rx[queue as usize], dma).is_err() {
            self.rx[queue as usize].faulted = true;
            self.abort_large(queue);
        }
        *touched |= 1 << queue;
    }

    /// A queue that goes down, or faults, does not complete its large receives.
    pub(super) fn abort_large(&mut self, queue: u32) {
        self.large.retain(|large| large.queue != queue);
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
