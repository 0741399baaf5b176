//! Why a rule is refused, in sentences.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::device::rule::id::RuleId;

/// A rule that a device does not take, or does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleError {
    /// No frame can be in it, or a value is out of its range.
    Senseless {
        /// What is wrong.
        why: &'static str,
    },
    /// It names a receive queue that is not open.
    Queue {
        /// The queue.
        queue: u16,
        /// How many are open.
        open: u16,
    },
    /// None of the device's tables takes it: what each says.
    NoTable(Vec<RuleRefusal>),
    /// The device cannot put it in its place beside another rule that frames of it are in too.
    Order {
        /// The other.
        other: RuleId,
        /// What the device's order is.
        why: &'static str,
    },
    /// There is no such rule.
    Unknown {
        /// What was asked for.
        id: RuleId,
    },
}

/// Why one table of a device does not take a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "plain data: what an error says")]
pub struct RuleRefusal {
    /// The table.
    pub table: &'static str,
    /// Which field it is, what the table can do instead.
    pub why: String,
    /// Places that are free in it.
    pub free: u32,
    /// Places that it has.
    pub room: u32,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Senseless { why } => write!(f, "the rule makes no sense: {why}"),
            Self::Queue { queue, open } => write!(f, "the rule names receive queue {queue}: {open} are open, from 0 on"),
            Self::NoTable(refusals) => {
                f.write_str("none of the device's tables takes the rule: ")?;
                for (at, RuleRefusal { table, why, free, room }) in refusals.iter().enumerate() {
                    write!(f, "{}the {table} {why} ({free} of {room} free)", if at > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
            Self::Order { other, why } => write!(f, "the rule has frames in common with {other}, and no place beside it: {why}"),
            Self::Unknown { id } => write!(f, "there is no {id}: `rules` has those that there are"),
        }
    }
}

impl core::error::Error for RuleError {}
