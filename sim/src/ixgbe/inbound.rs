//! A frame on its way to a queue.

use super::parse::{Headers, TcpSegment};

/// Extended status and extended error of the write-back (7.1.6.2).
pub(super) mod status {
    pub(in crate::ixgbe) const DD: u32 = 1;
    pub(in crate::ixgbe) const EOP: u32 = 1 << 1;
    pub(in crate::ixgbe) const VP: u32 = 1 << 3;
    pub(in crate::ixgbe) const UDPCS: u32 = 1 << 4;
    pub(in crate::ixgbe) const L4I: u32 = 1 << 5;
    pub(in crate::ixgbe) const IPCS: u32 = 1 << 6;
    pub(in crate::ixgbe) const PIF: u32 = 1 << 7;
    pub(in crate::ixgbe) const UDPV: u32 = 1 << 10;
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
