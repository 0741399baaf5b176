//! Header splitting: the headers of a frame go to a buffer of their own (7.1.10).

use driver_core::host::Iova;

use super::card::Ixgbe;
use super::inbound::{Inbound, Placed};
use super::parse::{Headers, packet_type, parse};
use super::ring::Ring;
use super::rx::unread;
use crate::dma::Dma;
use crate::memory::DmaFault;
use crate::slot::Slot;

/// PSRTYPE (8.2.3.7.4): behind which headers the payload begins.
const TCPHDR: u32 = 1 << 4;
const UDPHDR: u32 = 1 << 5;
const IPV4HDR: u32 = 1 << 8;
const IPV6HDR: u32 = 1 << 9;
const L2HDR: u32 = 1 << 12;

/// Lower word of the write-back: how long the headers are, and that there are any (7.1.6.2).
const HDR_LEN_SHIFT: u32 = 21;
const SPH: u64 = 1 << 31;
/// Extended error: the headers are longer than their buffer.
const HBO: u32 = 1 << 23;

/// The innermost headers of a frame that PSRTYPE names, in bytes; 0 where none is.
fn header_bytes(frame: &[u8], headers: &Headers, types: u32) -> usize {
    let l2 = headers.l2_bytes;
    let ip = headers.addresses.as_ref().map(|addresses| addresses.end);
    // What follows the addresses: options of IPv4; extension headers of IPv6 where the walk came to their end.
    let l3 = match ip {
        Some(_) if headers.has(packet_type::IPV4) => Some(l2 + usize::from(frame[l2] & 0xF) * 4),
        Some(_) if headers.protocol.is_some() => Some(headers.l4_at),
        Some(end) => Some(end),
        None => None,
    };
    let l4 = headers.l4_at;
    if headers.has(packet_type::TCP) && types & TCPHDR != 0 {
        l4 + frame.get(l4 + 12).map_or(20, |offset| usize::from(offset >> 4) * 4)
    } else if headers.has(packet_type::UDP) && types & UDPHDR != 0 {
        l4 + 8
    } else if let Some(l3) = l3.filter(|_| types & if headers.has(packet_type::IPV4) { IPV4HDR } else { IPV6HDR } != 0) {
        l3
    } else if types & L2HDR != 0 {
        l2
    } else {
        0
    }
}

impl Ixgbe {
    /// Writes a frame into the buffers of a queue that splits headers off.
    pub(super) fn place_split(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, inbound: &Inbound) -> Placed {
        let types = self.psrtype_of(inbound.queue);
        let headers = parse(&inbound.frame, self.tag_types());
        let ring = &mut self.rx[inbound.queue as usize];
        if ring.header_room() < 128 {
            let what = "a receive queue splits headers into buffers below 128 bytes";
            slot.violation(what, format_args!("SRRCTL[{}]", inbound.queue), ring.srrctl.into(), "8.2.3.8.7");
        }
        let found = header_bytes(&inbound.frame, &headers, types).min(inbound.frame.len());
        let fits = found <= ring.header_room();
        let (head, body) = inbound.frame.split_at(if fits { found } else { 0 });
        let says = Says { lower: if found > 0 { SPH | ((found as u64) & 0x3FF) << HDR_LEN_SHIFT } else { 0 }, status: if fits { 0 } else { HBO } };
        let parts = body.len().div_ceil(ring.buffer_bytes()).max(1);
        if (ring.owned() as usize) < parts {
            return Placed::NoDescriptors;
        }
        let first = match dma.load16(ring.desc(ring.head)) {
            Ok([_, header]) => Iova(header),
            Err(fault) => return unread(ring, fault),
        };
        let buffers = match ring.buffers(dma, parts) {
            Ok(buffers) => buffers,
            Err(fault) => return unread(ring, fault),
        };
        if first.0 & 1 != 0 || first.0 == 0 && !head.is_empty() {
            let what = "a header's buffer is missing, or begins at an odd address";
            slot.violation(what, format_args!("RX queue {}, descriptor {}", inbound.queue, ring.head), first.0, "7.1.6.1");
        }
        let written = if head.is_empty() { Ok(()) } else { dma.write(first, head) };
        match written.and_then(|()| write_body(ring, dma, inbound, body, &buffers[..parts], &says)) {
            Ok(()) => Placed::Done,
            Err(_) => {
                ring.faulted = true;
                Placed::Lost
            }
        }
    }
}

/// What the descriptor of a frame's first buffer says of its headers; the others say nothing of them (HEADER-FIRST).
struct Says {
    lower: u64,
    status: u32,
}

fn write_body(ring: &mut Ring, dma: &Dma<'_>, inbound: &Inbound, body: &[u8], buffers: &[Iova], says: &Says) -> Result<(), DmaFault> {
    let room = ring.buffer_bytes();
    for (i, &buffer) in buffers.iter().enumerate() {
        let part = body.get(i * room..body.len().min((i + 1) * room)).unwrap_or_default();
        if !part.is_empty() {
            dma.write(buffer, part)?;
        }
        let [mut lower, mut upper] = inbound.advanced(part.len() as u16, i + 1 == buffers.len());
        if i == 0 {
            lower |= says.lower;
            upper |= u64::from(says.status);
        }
        dma.store16(ring.desc(ring.head), [lower, upper])?;
        ring.head = ring.next(ring.head);
    }
    Ok(())
}
