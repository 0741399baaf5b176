//! 5-tuple filters: SAQF, DAQF, SDPQF, FTQF and L34TIMIR (7.1.2.5, 8.2.3.7.16 to 19, 8.2.3.5.13).
//!
//! They are for IPv4. A field that a frame does not have, as ports of a fragment, matches no filter that compares it.

use crate::ixgbe::file::RegFile;
use crate::ixgbe::parse::{Headers, packet_type};
use crate::ixgbe::regs::{DAQF, FTQF, L34TIMIR, SAQF, SDPQF};
use crate::slot::Slot;

/// FTQF: protocol in bits 1:0, priority in 4:2; bits of the mask say what is not compared.
const PRIORITY_SHIFT: u32 = 2;
const POOL_SHIFT: u32 = 8;
const MASK_SOURCE_ADDRESS: u32 = 1 << 25;
const MASK_DESTINATION_ADDRESS: u32 = 1 << 26;
const MASK_SOURCE_PORT: u32 = 1 << 27;
const MASK_DESTINATION_PORT: u32 = 1 << 28;
const MASK_PROTOCOL: u32 = 1 << 29;
const MASK_POOL: u32 = 1 << 30;
const QUEUE_ENABLE: u32 = 1 << 31;
/// L34TIMIR: bits 19:13 are to be 1000000b; the queue is in 27:21.
const RESERVED: u32 = 0x7F << 13;
const RESERVED_VALUE: u32 = 0x40 << 13;
const RX_QUEUE_SHIFT: u32 = 21;

/// One filter that is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct FiveTuple {
    index: u32,
    source: u32,
    destination: u32,
    ports: u32,
    control: u32,
    action: u32,
}

impl FiveTuple {
    fn read(regs: &RegFile, index: u32) -> Option<Self> {
        let at = |first: u32| regs.at(first + 4 * index);
        let control = at(FTQF);
        let filter = Self { index, source: at(SAQF), destination: at(DAQF), ports: at(SDPQF), control, action: at(L34TIMIR) };
        (control & QUEUE_ENABLE != 0).then_some(filter)
    }

    fn priority(&self) -> u32 {
        self.control >> PRIORITY_SHIFT & 7
    }

    fn compares(&self, mask: u32) -> bool {
        self.control & mask == 0
    }

    fn matches(&self, tuple: &Tuple) -> bool {
        let ports = self.ports.to_le_bytes();
        let port_is = |mask, wanted: [u8; 2], port: Option<[u8; 2]>| !self.compares(mask) || port == Some(wanted);
        (!self.compares(MASK_SOURCE_ADDRESS) || self.source == tuple.source)
            && (!self.compares(MASK_DESTINATION_ADDRESS) || self.destination == tuple.destination)
            && port_is(MASK_SOURCE_PORT, [ports[0], ports[1]], tuple.source_port)
            && port_is(MASK_DESTINATION_PORT, [ports[2], ports[3]], tuple.destination_port)
            && (!self.compares(MASK_PROTOCOL) || tuple.protocol == Some(self.control & 3))
            && (!self.compares(MASK_POOL) || self.control >> POOL_SHIFT & 0x3F == tuple.pool)
    }
}

/// What filters compare of a frame. Addresses and ports are in the order of the wire.
struct Tuple {
    source: u32,
    destination: u32,
    source_port: Option<[u8; 2]>,
    destination_port: Option<[u8; 2]>,
    /// 0 TCP, 1 UDP, 2 SCTP, 3 anything else; none for a fragment.
    protocol: Option<u32>,
    /// Without pools every frame is pool 0's.
    pool: u32,
}

impl Tuple {
    fn of(frame: &[u8], headers: &Headers, pool: u32) -> Option<Self> {
        let addresses = headers.addresses.clone().filter(|_| headers.has(packet_type::IPV4))?;
        let addresses: &[u8; 8] = frame.get(addresses)?.first_chunk()?;
        let [a, b, c, d, e, f, g, h] = *addresses;
        let ports = headers.l4_ports(frame);
        let protocol = headers.protocol.map(|protocol| match protocol {
            6 => 0,
            17 => 1,
            132 => 2,
            _ => 3,
        });
        Some(Self {
            source: u32::from_le_bytes([a, b, c, d]),
            destination: u32::from_le_bytes([e, f, g, h]),
            source_port: ports.map(|[high, low, ..]| [high, low]),
            destination_port: ports.map(|[_, _, high, low]| [high, low]),
            protocol,
            pool,
        })
    }
}

/// The filters that are on, the highest priority first.
pub(super) fn load(regs: &RegFile) -> Vec<FiveTuple> {
    let mut filters: Vec<_> = (0..128).filter_map(|index| FiveTuple::read(regs, index)).collect();
    filters.sort_by_key(|filter| (7 - filter.priority(), filter.index));
    filters
}

/// The queue of the filter that matches a frame.
pub(super) fn queue(filters: &[FiveTuple], slot: &Slot<'_>, frame: &[u8], headers: &Headers, pool: u32) -> Option<u32> {
    if filters.is_empty() {
        return None;
    }
    let tuple = Tuple::of(frame, headers, pool)?;
    let mut matching = filters.iter().filter(|filter| filter.matches(&tuple));
    let first = matching.next()?;
    let FiveTuple { index, action, .. } = *first;
    let forbid = |what, register, value: u32, section| slot.violation(what, format_args!("{register}[{index}]"), value.into(), section);
    if matching.next().is_some_and(|second| second.priority() == first.priority()) {
        forbid("a frame matches two 5-tuple filters of one priority", "FTQF", first.control, "7.1.2.5");
    }
    if first.priority() == 0 {
        forbid("a 5-tuple filter has priority 0: they are 1 to 7", "FTQF", first.control, "8.2.3.7.19");
    }
    if action & RESERVED != RESERVED_VALUE {
        forbid("a 5-tuple filter steers while bits 19:13 are not 1000000b", "L34TIMIR", action, "8.2.3.5.13");
    }
    Some(action >> RX_QUEUE_SHIFT & 0x7F)
}
