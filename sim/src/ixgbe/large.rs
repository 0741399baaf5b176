//! A large receive that is open: descriptors that segments of one connection fill (7.1.6.2, 7.11).

use std::ops::Range;

use driver_core::host::Iova;

use super::inbound::{Connection, Inbound, Placed, status};
use super::offload::sum;
use super::parse::TcpSegment;
use super::ring::{MOST_BUFFERS, Ring};
use crate::dma::Dma;
use crate::memory::DmaFault;

/// RSCCTL.MAXDESC (8.2.3.8.13): how many descriptors a large receive may have: 1, 4, 8 or 16.
pub(super) const MAXDESC_SHIFT: u32 = 2;
/// How many segments may start in one descriptor, as far as RSCCNT counts (7.1.6.2).
const MOST_STARTS: u32 = 14;
/// The longest packet that an IP header can describe.
pub(super) const LONGEST: usize = 65_535;
const RSCCNT_SHIFT: u32 = 17;
const NEXTP_SHIFT: u32 = 4;

/// Buffers of the ring's next descriptors, read before anything is written.
pub(super) type Buffers = [Iova; MOST_BUFFERS];

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
    pub(super) connection: Connection,
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
    /// The bytes of each frame that a segment came in.
    frames: Vec<usize>,
    /// What the last descriptor will say: of the segment that came last.
    lower: u64,
    status: u32,
    vlan: u16,
}

impl Large {
    /// Starts with a whole frame, in the ring's next descriptors, whose buffers are `buffers`.
    pub(super) fn open(
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
            frames: vec![inbound.frame.len()],
            lower: inbound.lower,
            status: inbound.status,
            vlan: inbound.vlan,
        };
        large.put(ring, dma, &mut buffers, &inbound.frame[..segment.payload.end])?;
        Ok(large)
    }

    /// The bytes of each frame that a segment came in.
    pub(super) fn frames(&self) -> &[usize] {
        &self.frames
    }

    /// How many more descriptors so many bytes take.
    pub(super) fn descs_for(&self, ring: &Ring, bytes: usize) -> u32 {
        bytes.saturating_sub(ring.buffer_bytes() - self.filled).div_ceil(ring.buffer_bytes()) as u32
    }

    /// Whether the segment is the next of this large receive, and there is room for it.
    pub(super) fn takes(&self, ring: &Ring, inbound: &Inbound, segment: &TcpSegment) -> bool {
        let most_descs = [1, 4, 8, 16][(ring.rscctl >> MAXDESC_SHIFT & 3) as usize];
        // Type of service, flags, time to live; or traffic class with flow label, and hop limit.
        let fields: &[Range<usize>] = if self.connection.is_v4 { &[1..2, 6..7, 8..9] } else { &[0..4, 7..8] };
        let at = |range: &Range<usize>| self.ip_at + range.start..self.ip_at + range.end;
        segment.seq == self.next_seq
            && segment.payload.start == self.header.len()
            && fields.iter().all(|range| inbound.frame.get(at(range)) == self.header.get(at(range)))
            && self.packet_bytes + segment.payload.len() <= LONGEST
            && self.starts < MOST_STARTS
            && self.descs + self.descs_for(ring, segment.payload.len()) <= most_descs
    }

    pub(super) fn append(
        &mut self,
        ring: &mut Ring,
        dma: &Dma<'_>,
        buffers: Buffers,
        inbound: &Inbound,
        segment: &TcpSegment,
    ) -> Result<(), DmaFault> {
        let mut buffers = buffers.into_iter();
        // A segment starts where its first byte lies.
        if self.filled == ring.buffer_bytes() {
            self.advance(ring, dma, &mut buffers)?;
        }
        self.starts += 1;
        self.segments += 1;
        self.frames.push(inbound.frame.len());
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
    pub(super) fn finish(&mut self, ring: &Ring, dma: &Dma<'_>) -> Result<(), DmaFault> {
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
        let checksum = !sum(ip, 0);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The buffers of so many descriptors; or what becomes of the frame that would need them.
pub(super) fn next_buffers(ring: &mut Ring, dma: &Dma<'_>, count: u32) -> Result<Buffers, Placed> {
    if ring.owned() < count {
        return Err(Placed::NoDescriptors);
    }
    ring.buffers(dma, count as usize).map_err(|fault| if fault.is_passing() { Placed::Later } else { ring.stopped_by(fault, Placed::Lost) })
}
