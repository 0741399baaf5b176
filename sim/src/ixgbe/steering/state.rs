//! What the card remembers of its filters.

use std::collections::HashMap;

use super::five_tuple::FiveTuple;
use super::hash::Input;

/// What the card has made of its filters' registers.
#[derive(Debug, Default)]
pub(in crate::ixgbe) struct Steering {
    /// Some filter is on.
    pub(super) is_on: bool,
    /// Enabled 5-tuple filters, the highest priority first.
    pub(super) five_tuples: Vec<FiveTuple>,
    pub(super) director: Director,
}

/// What tells a filter from the others of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Perfect(Input),
    Signature { signature: u16, kind: u32 },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Software's index, or the signature: what FDIRHASH names the filter by, with the bucket.
    pub(super) name: u16,
    pub(super) filter: Filter,
    pub(super) command: u32,
}

/// The table.
#[derive(Debug, Default)]
pub(in crate::ixgbe) struct Director {
    pub(super) buckets: HashMap<u16, Vec<Entry>>,
    pub(super) count: u32,
}
