//! Spreading of flows over receive queues by hash: RSS (7.1.2.8, 4.6.10.1.1).

use driver_core::device::{RssConfig, RssLimits, Settings};
use driver_core::host::Bar;
use driver_core::offload::RssTypes;

use crate::card::Card;
use crate::id::{Family, Model};
use crate::layout::Layout;
use crate::regs::*;

/// What is hashed, by MRQC's field enables (8.2.3.7.12). RSS-FIELDS: none for the addresses of extension headers.
const FIELDS: [(RssTypes, Mrqc); 6] = [
    (RssTypes::TCP_IPV4, Mrqc::TCP_IPV4),
    (RssTypes::IPV4, Mrqc::IPV4),
    (RssTypes::IPV6, Mrqc::IPV6),
    (RssTypes::TCP_IPV6, Mrqc::TCP_IPV6),
    (RssTypes::UDP_IPV4, Mrqc::UDP_IPV4),
    (RssTypes::UDP_IPV6, Mrqc::UDP_IPV6),
];

/// What a model can do of it. An entry of RETA has four bits and the table 128 of them (8.2.3.7.15); the X550's has six bits, and goes on in ERETA.
pub(crate) fn limits(model: &Model) -> RssLimits {
    let types = hashed();
    match model.family {
        Family::I82599 | Family::X540 => RssLimits::new(16, 128, types),
        Family::X550 => RssLimits::new(64, 512, types),
    }
}

/// All that these cards hash.
pub(crate) fn hashed() -> RssTypes {
    FIELDS.iter().fold(RssTypes::empty(), |types, (kind, _)| types | *kind)
}

impl<B: Bar> Card<B> {
    /// 4.6.10.1.1: "In RSS mode, the RSS key (RSSRK) and redirection table (RETA) should be programmed." With one queue they are left alone.
    pub(crate) fn init_rss(&self, settings: &Settings) {
        let layout = Layout::of(settings);
        if settings.rx().spread_queues() > 1 {
            self.set_rss(settings.rss(), layout);
        } else {
            MRQC.modify(&self.bar, |v| (v - Mrqc::MRQE) | if layout.has_pools() { layout.mrqe() } else { Mrqc::empty() });
        }
    }

    /// RSS-LIVE: the receiver may be on. Key and table are whole before the mode that reads them, where it was off.
    pub(crate) fn set_rss(&self, rss: &RssConfig, layout: Layout) {
        let bar = &self.bar;
        for (register, word) in RSSRK.iter().zip(key_words(rss)) {
            register.write(bar, word);
        }
        // RETA ends where the table of a card without ERETA does.
        for (register, word) in RETA.iter().chain(ERETA.iter()).zip(table_words(rss)) {
            register.write(bar, word);
        }
        MRQC.write(bar, (fields(rss) - Mrqc::MRQE) | layout.mrqe());
    }
}

/// RSS, with what is hashed.
pub(crate) fn fields(rss: &RssConfig) -> Mrqc {
    let types = rss.hash_types().unwrap_or_default();
    FIELDS.iter().filter(|(kind, _)| types.contains(*kind)).fold(Mrqc::MRQE_RSS, |fields, (_, field)| fields | *field)
}

/// The hash key as RSSRK holds it (8.2.3.7.14): its first byte in the lowest bits of the first register.
pub(crate) fn key_words(rss: &RssConfig) -> impl Iterator<Item = u32> {
    rss.key_bytes().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes))
}

/// The redirection table as RETA and ERETA hold it (8.2.3.7.15): a byte an entry, the first in the lowest bits.
pub(crate) fn table_words(rss: &RssConfig) -> impl Iterator<Item = u32> {
    rss.table_entries().unwrap_or_default().as_chunks::<4>().0.iter().map(|entries| u32::from_le_bytes(entries.map(|queue| queue as u8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_four_entries_a_register() {
        let words = |table: &[u16]| table_words(&RssConfig::new().table(table)).collect::<alloc::vec::Vec<_>>();
        assert_eq!(words(&[0, 1, 0, 1, 2, 0, 1, 2]), [0x0100_0100, 0x0201_0002]);
        assert_eq!(words(&[12, 13, 14, 15]), [0x0f0e_0d0c]);
        assert_eq!(words(&[60, 61, 62, 63]), [0x3f3e_3d3c]);
    }

    #[test]
    fn the_key_is_in_wire_order() {
        let words =
            [0xda56_5a6d, 0xc20e_5b25, 0x3d25_6741, 0xb08f_a343, 0xcb2b_cad0, 0xb430_7bae, 0xa32d_cb77, 0x0cf2_3080, 0x3bb7_426a, 0xfa01_acbe];
        assert!(key_words(&RssConfig::new()).eq(words));
        assert!(key_words(&RssConfig::new().key(core::array::from_fn(|i| i as u8))).eq((0..10).map(|i| 0x0302_0100 + i * 0x0404_0404)));
    }
}
