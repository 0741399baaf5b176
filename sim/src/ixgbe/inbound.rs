//! A frame on its way to a queue.

use driver_core::host::Iova;

use super::parse::{Headers, TcpSegment};

/// Extended status and extended error of the write-back (7.1.6.2).
pub(super) mod status {
    pub(in crate::ixgbe) const DD: u32 = 1;
    pub(in crate::ixgbe) const EOP: u32 = 1 << 1;
    pub(in crate::ixgbe) const FLM: u32 = 1 << 2;
    pub(in crate::ixgbe) const VP: u32 = 1 << 3;
    pub(in crate::ixgbe) const UDPCS: u32 = 1 << 4;
    pub(in crate::ixgbe) const L4I: u32 = 1 << 5;
    pub(in crate::ixgbe) const IPCS: u32 = 1 << 6;
    pub(in crate::ixgbe) const PIF: u32 = 1 << 7;
    /// There is an outer tag (CTRL_EXT.EXTENDED_VLAN).
    pub(in crate::ixgbe) const VEXT: u32 = 1 << 9;
    pub(in crate::ixgbe) const UDPV: u32 = 1 << 10;
    /// A time stamp lies behind the frame (X550), or in registers.
    pub(in crate::ixgbe) const TSIP: u32 = 1 << 15;
    pub(in crate::ixgbe) const TS: u32 = 1 << 16;
    /// From another pool of the port.
    pub(in crate::ixgbe) const LB: u32 = 1 << 18;
    pub(in crate::ixgbe) const L4E: u32 = 1 << 30;
    pub(in crate::ixgbe) const IPE: u32 = 1 << 31;
}

/// A frame on its way to a queue, with what the last descriptor will say of it.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) frame: Vec<u8>,
    pub(super) queue: u32,
    /// The lower word of the write-back: RSS type, packet type, hash.
    pub(super) lower: u64,
    pub(super) status: u32,
    pub(super) vlan: u16,
    /// Of a queue that coalesces: the connection, and the segment where it may be coalesced.
    pub(super) tcp: Option<(Connection, Option<TcpSegment>)>,
}

impl Inbound {
    /// The write-back of an advanced descriptor with `len` bytes of the frame (7.1.6.2).
    pub(super) fn advanced(&self, len: u16, is_last: bool) -> [u64; 2] {
        let upper = u64::from(len) << 32 | u64::from(status::DD);
        if is_last { [self.lower, u64::from(self.vlan) << 48 | upper | u64::from(self.status | status::EOP)] } else { [0, upper] }
    }

    /// The write-back of a legacy descriptor (7.1.5): the address stays, then length, fragment checksum (not modelled), status, errors, VLAN tag.
    /// The status is the extended one's lowest byte, and of the errors those that the model knows are IPE and TCPE, in the byte's upper bits.
    pub(super) fn legacy(&self, buffer: Iova, len: u16, is_last: bool) -> [u64; 2] {
        let upper = u64::from(len) | u64::from(status::DD) << 32;
        if !is_last {
            return [buffer.0, upper];
        }
        let errors = self.status >> 24 & (status::L4E | status::IPE) >> 24;
        let status = self.status & 0xFF | status::EOP;
        [buffer.0, u64::from(self.vlan) << 48 | u64::from(errors) << 40 | u64::from(status) << 32 | upper]
    }
}

/// A frame on its way from transmit to receive inside the card.
pub(super) struct Looped {
    pub(super) frame: Vec<u8>,
    /// The pools that the switch sends it to; none for one that goes through the filters as if it came from the wire.
    pub(super) pools: Option<u64>,
}

/// What became of a frame that was offered to its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    Done,
    NoDescriptors,
    /// Its turn comes later: another waits before it, or memory cannot be reached now.
    Later,
    Lost,
}

/// A TCP connection: what has to be equal for segments to belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection {
    addresses: [u8; 32],
    ports: [u8; 4],
    pub(super) is_v4: bool,
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
