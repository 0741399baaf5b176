//! How received flows are spread over several receive queues (receive side scaling): what is asked for, and what of it a device does.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::offload::RssTypes;

/// Length of a hash key in bytes: enough for the addresses and ports of IPv6.
pub const RSS_KEY_BYTES: usize = 40;

/// How flows are spread over several receive queues: a hash of their addresses and ports picks an entry of a table, which names the queue.
///
/// What is not set is as every device does it best: the queues that were asked for take turns in the table, and everything is hashed that the device can hash.
///
/// ```
/// use driver_core::device::RssConfig;
/// use driver_core::offload::RssTypes;
///
/// // Three of four flows to queue 1, by their addresses alone.
/// let rss = RssConfig::new().table(&[0, 1, 1, 1]).types(RssTypes::IPV4 | RssTypes::IPV6);
/// assert_eq!(rss.queue_of(0xdead_beef), Some(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RssConfig {
    key: [u8; RSS_KEY_BYTES],
    table: Option<Vec<u16>>,
    types: Option<RssTypes>,
}

impl Default for RssConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl RssConfig {
    /// Over all queues in turn, by the hash key that Microsoft's definition of RSS uses in its examples: any would do, this one makes hashes comparable with
    /// other systems'.
    pub const fn new() -> Self {
        Self {
            key: [
                0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b,
                0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
            ],
            table: None,
            types: None,
        }
    }
    /// The hash key, its first byte first on the wire. A key that peers cannot guess keeps them from choosing the queue that their flows land on.
    pub fn key(self, key: [u8; RSS_KEY_BYTES]) -> Self {
        Self { key, ..self }
    }
    /// The redirection table: the queue of each remainder of the hash. As many entries as the device's table has ([`RssLimits::table_len`]), or a number that
    /// divides that: then they repeat.
    pub fn table(self, queues: &[u16]) -> Self {
        Self { table: Some(queues.into()), ..self }
    }
    /// What is hashed. A frame of which nothing is comes to queue 0, and tells no hash.
    pub fn types(self, types: RssTypes) -> Self {
        Self { types: Some(types), ..self }
    }

    /// The hash key.
    pub fn key_bytes(&self) -> &[u8; RSS_KEY_BYTES] {
        &self.key
    }
    /// The redirection table; `None`: all queues in turn.
    pub fn table_entries(&self) -> Option<&[u16]> {
        self.table.as_deref()
    }
    /// What is hashed; `None`: all that the device can hash.
    pub fn hash_types(&self) -> Option<RssTypes> {
        self.types
    }
    /// The queue that the table has for a hash; `None` without a table.
    pub fn queue_of(&self, hash: u32) -> Option<u16> {
        let table = self.table_entries().filter(|table| !table.is_empty())?;
        table.get(hash as usize % table.len()).copied()
    }

    /// That a device with `limits` of which `rx_queues` receive queues are open can be set so.
    ///
    /// # Errors
    /// [`RssError`]. Types that the device does not hash are none: see [`RssConfig::warn`].
    pub fn check(&self, limits: &RssLimits, rx_queues: u16) -> Result<(), RssError> {
        let Some(table) = self.table_entries().filter(|_| limits.table_len > 0) else { return Ok(()) };
        if table.is_empty() || !usize::from(limits.table_len).is_multiple_of(table.len()) {
            return Err(RssError::Table { asked: table.len(), len: limits.table_len });
        }
        let queues = rx_queues.min(limits.queues);
        match table.iter().find(|&&queue| queue >= queues) {
            Some(&queue) => Err(RssError::Queue { queue, queues, open: rx_queues }),
            None => Ok(()),
        }
    }

    /// Says in the log what a device called `name` does not do of it, or of the queues that were opened: it is started, or set, all the same.
    pub fn warn(&self, name: &str, limits: &RssLimits, rx_queues: u16) {
        if rx_queues <= 1 {
            return;
        }
        let reached = rx_queues.min(limits.queues);
        if reached < rx_queues {
            log::warn!("{name}: RSS reaches {reached} receive queues of this device: the other {} get no frame by it", rx_queues - reached);
        }
        let left_out = self.types.unwrap_or_default() - limits.types;
        if !left_out.is_empty() {
            let mut text = String::new();
            left_out.names().for_each(|kind| text.extend([" ", kind]));
            log::warn!("{name}: RSS: the device does not hash{text}: of such frames it hashes what else was asked for, or they come to queue 0");
        }
    }

    /// What a device with `limits` does of it: a table of its length, types that it has. The same where it spreads nothing.
    pub(crate) fn on(&self, limits: &RssLimits, rx_queues: u16) -> Self {
        let queues = rx_queues.min(limits.queues);
        if queues <= 1 {
            return self.clone();
        }
        let len = usize::from(limits.table_len);
        let table = match self.table_entries() {
            Some(table) => table.iter().copied().cycle().take(len).collect(),
            None => (0..queues).cycle().take(len).collect(),
        };
        Self { key: self.key, table: Some(table), types: Some(self.types.unwrap_or(limits.types) & limits.types) }
    }
}

/// A redirection table that a device cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RssError {
    /// Its length.
    Table {
        /// Its entries.
        asked: usize,
        /// Entries of the device's.
        len: u16,
    },
    /// It names a queue that it does not reach.
    Queue {
        /// The queue.
        queue: u16,
        /// How many it reaches, of those that are open.
        queues: u16,
        /// Receive queues that are open.
        open: u16,
    },
}

impl fmt::Display for RssError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { asked, len } => {
                write!(f, "a redirection table of {asked} entries asked for: the device has {len}, so take {len} or a number that divides it")
            }
            Self::Queue { queue, queues, open } => {
                let last = queues.saturating_sub(1);
                write!(f, "the redirection table names receive queue {queue}: RSS reaches 0 to {last} of the {open} queues that are open")
            }
        }
    }
}
impl core::error::Error for RssError {}

/// What a device can do of receive side scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RssLimits {
    /// How many receive queues it reaches, from queue 0 on; there may be more, for frames that rules send there. 0 and 1: it spreads nothing.
    pub queues: u16,
    /// Entries of its redirection table, a power of two.
    pub table_len: u16,
    /// What it can hash.
    pub types: RssTypes,
}

impl RssLimits {
    /// A device that spreads over `queues` by a table of `table_len` entries.
    pub const fn new(queues: u16, table_len: u16, types: RssTypes) -> Self {
        Self { queues, table_len, types }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    const LIMITS: RssLimits = RssLimits::new(4, 8, RssTypes::IPV4.union(RssTypes::TCP_IPV4));

    #[test]
    fn queues_take_turns_and_a_table_that_divides_repeats() {
        let entries = |rss: RssConfig, queues| rss.on(&LIMITS, queues).table_entries().unwrap().to_vec();
        assert_eq!(entries(RssConfig::new(), 3), [0, 1, 2, 0, 1, 2, 0, 1]);
        assert_eq!(entries(RssConfig::new(), 9), [0, 1, 2, 3, 0, 1, 2, 3], "as far as it reaches");
        assert_eq!(entries(RssConfig::new().table(&[2, 0]), 3), [2, 0, 2, 0, 2, 0, 2, 0]);
        let alone = RssConfig::new().types(RssTypes::all());
        assert_eq!((alone.on(&LIMITS, 1), alone.on(&RssLimits::default(), 9)), (alone.clone(), alone.clone()), "nothing is spread");
    }

    #[test]
    fn types_are_those_that_the_device_has() {
        let types = |rss: RssConfig| rss.on(&LIMITS, 2).hash_types();
        assert_eq!(types(RssConfig::new()), Some(LIMITS.types));
        assert_eq!(types(RssConfig::new().types(RssTypes::all())), Some(LIMITS.types));
        assert_eq!(types(RssConfig::new().types(RssTypes::IPV4 | RssTypes::IPV6_EX)), Some(RssTypes::IPV4));
        assert_eq!(types(RssConfig::new().types(RssTypes::UDP_IPV6)), Some(RssTypes::empty()));
    }

    #[test]
    fn the_table_is_looked_up_by_the_hashs_remainder() {
        let rss = RssConfig::new().table(&[5, 6, 7, 8]);
        assert_eq!([0, 1, 2, 3, 4, u32::MAX].map(|hash| rss.queue_of(hash)), [5, 6, 7, 8, 5, 8].map(Some));
        assert_eq!((RssConfig::new().queue_of(1), RssConfig::new().table(&[]).queue_of(1)), (None, None));
    }

    #[test]
    fn a_table_that_cannot_be_is_refused_in_a_sentence() {
        let refused = |table: &[u16], queues| RssConfig::new().table(table).check(&LIMITS, queues).unwrap_err().to_string();
        for table in [&[][..], &[0; 3], &[0; 16]] {
            let text = format!("a redirection table of {} entries asked for: the device has 8, so take 8 or a number that divides it", table.len());
            assert_eq!(refused(table, 2), text);
        }
        assert_eq!(refused(&[0, 2], 2), "the redirection table names receive queue 2: RSS reaches 0 to 1 of the 2 queues that are open");
        assert_eq!(refused(&[4], 64), "the redirection table names receive queue 4: RSS reaches 0 to 3 of the 64 queues that are open");
        for (table, queues) in [(&[1, 0][..], 2), (&[3], 4), (&[0; 8], 1)] {
            assert_eq!(RssConfig::new().table(table).check(&LIMITS, queues), Ok(()));
        }
        assert_eq!(RssConfig::new().table(&[7]).check(&RssLimits::default(), 1), Ok(()), "a device without a table looks at none");
        assert_eq!(RssConfig::new().check(&LIMITS, 2), Ok(()));
    }
}
