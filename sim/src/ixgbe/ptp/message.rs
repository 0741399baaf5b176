//! Which packets are PTP messages, and what the card compares of them (7.9.4; IEEE 1588-2002 and IEEE 1588-2008, 13.3).

use crate::ixgbe::parse::{Headers, packet_type};

/// What the card looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Version 1, over UDP, by its control field.
    V1 { control: u8 },
    /// Version 2, by its type; over UDP, or behind the EtherType of a filter.
    V2 { kind: u8, is_udp: bool },
}

/// Version 1 (IEEE 1588-2002, table 17): where the control field lies.
const V1_CONTROL_AT: usize = 32;
/// Version 2: messages with this bit in their type are not time-critical.
const V2_GENERAL: u8 = 1 << 3;
const PDELAY_REQ: u8 = 2;
const PDELAY_RESP: u8 = 3;

/// TSYNCRXCTL.Type.
pub(super) mod types {
    pub(in super::super) const L2_V2: u32 = 0;
    pub(in super::super) const L4_V1: u32 = 1;
    pub(in super::super) const L2_L4_V2: u32 = 2;
    /// X550.
    pub(in super::super) const ALL: u32 = 4;
    pub(in super::super) const EVENT_V2: u32 = 5;
}

impl Message {
    /// The message in a frame, of which `by_type` says whether a filter for time stamps has its EtherType; `port` is UDP's.
    pub(super) fn of(frame: &[u8], headers: &Headers, by_type: bool, port: u32) -> Option<Self> {
        let is_udp = headers.has(packet_type::UDP);
        let at = match () {
            () if by_type => headers.l2_bytes,
            () if is_udp && u32::from(u16::from_be_bytes([headers.l4_ports(frame)?[2], headers.l4_ports(frame)?[3]])) == port => headers.l4_at + 8,
            () => return None,
        };
        let message = frame.get(at..)?;
        match message.get(1)? & 0xF {
            2 => Some(Self::V2 { kind: message[0] & 0xF, is_udp: !by_type }),
            1 if !by_type => Some(Self::V1 { control: *message.get(V1_CONTROL_AT)? }),
            _ => None,
        }
    }

    /// Whether packets of TSYNCRXCTL's type, with RXMTRL's control field and message type, are such.
    pub(super) fn is_wanted(self, kind: u32, control: u8, message: u8) -> bool {
        // Those that measure a path are stamped whatever RXMTRL says.
        let by_message = |kind: u8| kind == message || matches!(kind, PDELAY_REQ | PDELAY_RESP);
        match (kind, self) {
            (types::L2_V2, Self::V2 { kind, is_udp }) => !is_udp && by_message(kind),
            (types::L4_V1, Self::V1 { control: found }) => found == control,
            (types::L2_L4_V2, Self::V2 { kind, .. }) => by_message(kind),
            (types::EVENT_V2, Self::V2 { kind, .. }) => kind & V2_GENERAL == 0,
            _ => false,
        }
    }
}
