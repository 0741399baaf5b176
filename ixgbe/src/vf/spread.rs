//! RSS of a virtual function. An X550's has a key and a table of its own; on 82599 and X540 they are its physical function's, and VFPSRTYPE says how many bits of the
//! table's entries choose one of the function's queues.

use driver_core::device::{Config, ErrorKind, RssConfig, RssLimits, Settings};
use driver_core::host::Bar;
use driver_core::offload::RssTypes;

use crate::card::Card;
use crate::id::Family;
use crate::regs::vf::{VFMRQC, VFPSRTYPE, VFPSRTYPE_HEADERS, VFPSRTYPE_RQPL_SHIFT, VFRETA, VFRSSRK};
use crate::rss::{fields, hashed, key_words, table_words};
use crate::vf::bring_up::Function;

/// Entries of the physical function's table, and of an X550's own.
const SHARED_TABLE: u16 = 128;
const OWN_TABLE: u16 = 64;

/// What the physical function of an 82599 or X540 has hashed: in Linux, whatever else it is told, no UDP.
const SHARED_TYPES: RssTypes = RssTypes::TCP_IPV4.union(RssTypes::IPV4).union(RssTypes::TCP_IPV6).union(RssTypes::IPV6);

pub(crate) fn limits(family: Family, queues: u16) -> RssLimits {
    match family {
        Family::I82599 | Family::X540 => RssLimits::new(queues.min(4), SHARED_TABLE, SHARED_TYPES),
        Family::X550 => RssLimits::new(queues, OWN_TABLE, hashed()),
    }
}

/// That the queues can be spread over.
pub(crate) fn check(family: Family, settings: &Settings) -> Result<(), ErrorKind> {
    match family {
        Family::I82599 | Family::X540 if !settings.rx().queue_count().is_power_of_two() => Err(ErrorKind::Unsupported {
            what: "3 receive queues: its physical function spreads frames over 1, 2 or 4",
            instead: "start it with one of these",
        }),
        _ => Ok(()),
    }
}

/// A function that has no table of its own is started all the same.
pub(crate) fn warn(family: Family, config: &Config, name: &str) {
    let asked = config.rss_config();
    let differs = asked.table_entries().is_some() || asked.key_bytes() != RssConfig::new().key_bytes();
    if family != Family::X550 && differs {
        log::warn!("{name}: its physical function has key and table of RSS: what was asked for is not used");
    }
}

impl<B: Bar> Card<B> {
    /// The X550's own key, table and fields: whole before the mode that reads them, where it was off.
    pub(crate) fn set_own_rss(&self, rss: &RssConfig) {
        for (register, word) in VFRSSRK.iter().zip(key_words(rss)) {
            register.write(&self.bar, word);
        }
        for (register, word) in VFRETA.iter().zip(table_words(rss)) {
            register.write(&self.bar, word);
        }
        VFMRQC.write(&self.bar, fields(rss));
    }
}

impl<B: Bar> Function<B> {
    pub(crate) fn init_rss(&mut self, settings: &Settings) -> Result<(), ErrorKind> {
        let queues = settings.rx().queue_count();
        // VF-SET-UP: no queue splits frames, and the types say that the function was set up.
        VFPSRTYPE.write(&self.card.bar, VFPSRTYPE_HEADERS | queues.next_power_of_two().ilog2() << VFPSRTYPE_RQPL_SHIFT);
        if queues > 1 && self.card.model.family == Family::X550 {
            self.card.set_own_rss(settings.rss());
        }
        Ok(())
    }

    /// How frames are spread where that is not the function's business, as far as its physical function tells.
    pub(crate) fn told_rss(&mut self, queues: u16) -> Result<Option<RssConfig>, ErrorKind> {
        if queues <= 1 || self.card.model.family == Family::X550 {
            return Ok(None);
        }
        let api = self.terms.api;
        let (key, table) = (self.requests().rss_key(api)?, self.requests().rss_table(api)?);
        let (Some(key), Some(table)) = (key, table) else { return Ok(None) };
        let mask = queues.next_power_of_two() - 1;
        let table: alloc::vec::Vec<u16> = table.iter().map(|&entry| u16::from(entry) & mask).collect();
        Ok(Some(RssConfig::new().key(key).table(&table).types(SHARED_TYPES)))
    }
}
