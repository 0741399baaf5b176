//! Places in the card's tables, and what all tables ask of a rule.

use alloc::string::String;

use driver_core::device::{Rule, RuleAction, RulePlace, RuleRefusal};

/// The tables, as errors name them.
pub(super) const ETHERTYPE: &str = "EtherType filters";
pub(super) const SYN: &str = "SYN filter";
pub(super) const FIVE_TUPLE: &str = "five-tuple filters";
pub(super) const FLOW_DIRECTOR: &str = "flow director";
pub(super) const POOLS: &str = "MAC pools";

/// Where a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    EtherType {
        index: u8,
    },
    /// Before all 5-tuple filters, or behind them.
    Syn {
        is_first: bool,
    },
    FiveTuple {
        index: u8,
        priority: u8,
    },
    /// `index`: software's name for the filter.
    FlowDirector {
        index: u16,
    },
    /// The receive address is where [`Plan`](super::plan::Plan) has it.
    Pool {
        pool: u16,
    },
}

impl Place {
    fn table(self) -> &'static str {
        match self {
            Self::EtherType { .. } => ETHERTYPE,
            Self::Syn { .. } => SYN,
            Self::FiveTuple { .. } => FIVE_TUPLE,
            Self::FlowDirector { .. } => FLOW_DIRECTOR,
            Self::Pool { .. } => POOLS,
        }
    }

    pub(super) fn kept(self) -> RulePlace {
        let number = match self {
            Self::EtherType { index } => u32::from(index),
            Self::Syn { is_first } => 1 << 24 | u32::from(is_first),
            Self::FiveTuple { index, priority } => 2 << 24 | u32::from(priority) << 16 | u32::from(index),
            Self::FlowDirector { index } => 3 << 24 | u32::from(index),
            Self::Pool { pool } => 4 << 24 | u32::from(pool),
        };
        RulePlace { table: self.table(), number }
    }

    /// The place that [`Place::kept`] made the number of.
    pub(super) fn of(kept: RulePlace) -> Self {
        let number = kept.number;
        match number >> 24 {
            0 => Self::EtherType { index: number as u8 },
            1 => Self::Syn { is_first: number & 1 != 0 },
            2 => Self::FiveTuple { index: number as u8, priority: (number >> 16) as u8 },
            3 => Self::FlowDirector { index: number as u16 },
            _ => Self::Pool { pool: number as u16 },
        }
    }

    /// When the card looks there: the higher goes first.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::EtherType { .. } => 30,
            Self::Syn { is_first: true } => 20,
            Self::FiveTuple { priority, .. } => 10 + priority,
            Self::Syn { is_first: false } => 10,
            // No frame is in two rules of pools.
            Self::FlowDirector { .. } | Self::Pool { .. } => 0,
        }
    }
}

/// A table without a place for a rule.
pub(super) fn refuse<T>(table: &'static str, why: impl Into<String>, used: usize, room: u32) -> Result<T, RuleRefusal> {
    Err(RuleRefusal { table, why: why.into(), free: room.saturating_sub(used as u32), room })
}

/// The first field of a rule beside those that a table compares, by its name.
pub(super) fn other_field(fields: &[(bool, &'static str)]) -> Option<&'static str> {
    fields.iter().find(|(is_set, _)| *is_set).map(|(_, name)| *name)
}

/// Fields that few tables compare.
pub(super) fn layer_2_fields(rule: &Rule) -> [(bool, &'static str); 3] {
    [
        (rule.wanted_destination_mac().is_some(), "the destination's Ethernet address"),
        (rule.wanted_vlan().is_some(), "the VLAN id"),
        (rule.wanted_vlan_priority().is_some(), "the VLAN priority"),
    ]
}

pub(super) fn layer_3_fields(rule: &Rule) -> [(bool, &'static str); 5] {
    [
        (rule.wanted_source().is_some(), "the source address"),
        (rule.wanted_destination().is_some(), "the destination address"),
        (rule.wanted_protocol().is_some(), "the protocol"),
        (rule.wanted_source_port().is_some(), "the source port"),
        (rule.wanted_destination_port().is_some(), "the destination port"),
    ]
}

/// The receive queue that a rule sends to.
pub(super) fn queue_of(rule: &Rule) -> Option<u32> {
    match rule.action() {
        RuleAction::Queue(queue) => Some(queue.into()),
        _ => None,
    }
}
