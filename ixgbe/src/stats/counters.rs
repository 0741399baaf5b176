//! What is read from the counters' registers, and what it added up to.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Stats, XStat};
use driver_core::ether::{FCS_BYTES, MIN_FRAME_BYTES};
use driver_core::host::Bar;
use driver_core::queue::core::Totals;
use driver_core::reg::{ReadToClear, Reg};

use crate::card::Card;
use crate::config::DROP_QUEUE;
use crate::id::Family;
use crate::layout::Layout;
use crate::regs::*;
use crate::stats::list::{COUNTERS, LIST, Look, Place, Row};

/// What one set of a receive queue's counters added up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RxSet {
    /// Frames and octets that were put into memory (QPRC, QBRC).
    packets: u64,
    octets: u64,
    /// Frames dropped for want of descriptors (QPRDC).
    dropped: u64,
}

/// The same of a transmit queue (QPTC, QBTC).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TxSet {
    packets: u64,
    octets: u64,
}

/// How many queues of each direction there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queues {
    pub(crate) rx: u16,
    pub(crate) tx: u16,
    /// Rules may drop frames: those count in a set that is no queue's, where there is one (DROP-COUNT).
    pub(crate) has_drops: bool,
    /// Which of the card's queues the receive queues are.
    pub(crate) layout: Layout,
}

/// The set of the queue to which rules send what they drop.
const DROPS: u32 = DROP_QUEUE % COUNTED_QUEUES;

impl Queues {
    /// How many sets of counters `queues` queues count in: each has its own where they are no more than the sets.
    fn sets(queues: u16) -> usize {
        usize::from(queues).min(COUNTED_QUEUES as usize)
    }

    /// Whether what rules drop has a set to itself.
    fn tells_drops(self) -> bool {
        self.has_drops && u32::from(self.rx) <= DROPS
    }
}

/// What the counters added up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Of the port, in the list's order.
    port: [u64; COUNTERS],
    rx: [RxSet; COUNTED_QUEUES as usize],
    tx: [TxSet; COUNTED_QUEUES as usize],
    /// Frames that rules dropped.
    rule_dropped: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { port: [0; COUNTERS], rx: Default::default(), tx: Default::default(), rule_dropped: 0 }
    }
}

/// Reads counters, and finds those that are full.
struct Reader<'a, B> {
    bar: &'a B,
    /// The first counter that was full when it was read.
    full: Option<&'static str>,
}

impl<B: Bar> Reader<'_, B> {
    /// Reads, and so clears, one register.
    fn one(&mut self, register: Reg<u32, ReadToClear>) -> u64 {
        let value = register.read_and_clear(self.bar);
        if value == u32::MAX {
            self.full.get_or_insert(register.name());
        }
        value.into()
    }

    /// Reads a pair: reading the low half latches the high one, reading that clears both. WIDE-36: bits that the card does not have read 0.
    fn pair(&mut self, low: Reg<u32, ReadToClear>, high: Reg<u32, ReadToClear>) -> u64 {
        let value = u64::from(low.read_and_clear(self.bar)) | u64::from(high.read_and_clear(self.bar)) << 32;
        if value & FULL_OCTETS == FULL_OCTETS {
            self.full.get_or_insert(low.name());
        }
        value
    }
}

/// Octets in 36 bits that count no further.
const FULL_OCTETS: u64 = (1 << 36) - 1;

impl Counters {
    /// Reads, and so clears, the counters that `look` sees, of those that a card of this family has and `queues` use, and adds them up. Names the first that was
    /// full, and so has lost something.
    pub(crate) fn update(&mut self, bar: &impl Bar, family: Family, queues: Queues, look: Look) -> Option<&'static str> {
        let mut reader = Reader { bar, full: None };
        let mut values = self.port.iter_mut();
        for row in LIST {
            let values = values.by_ref().take(row.counters());
            if row.chips.have(family) && row.look <= look {
                add(values, row, &mut reader);
            } else {
                values.for_each(drop);
            }
        }
        for ((((set, packets), low), high), dropped) in
            self.rx.iter_mut().zip(QPRC.iter()).zip(QBRC_L.iter()).zip(QBRC_H.iter()).zip(QPRDC.iter()).take(Queues::sets(queues.rx))
        {
            set.packets = set.packets.wrapping_add(reader.one(packets));
            set.octets = set.octets.wrapping_add(reader.pair(low, high));
            set.dropped = set.dropped.wrapping_add(reader.one(dropped));
        }
        if queues.tells_drops()
            && let Ok(dropped) = QPRDC.at(DROPS)
        {
            self.rule_dropped += reader.one(dropped);
        }
        if look == Look::Whole {
            for (((set, packets), low), high) in
                self.tx.iter_mut().zip(QPTC.iter()).zip(QBTC_L.iter()).zip(QBTC_H.iter()).take(Queues::sets(queues.tx))
            {
                set.packets = set.packets.wrapping_add(reader.one(packets));
                set.octets = set.octets.wrapping_add(reader.pair(low, high));
            }
        }
        reader.full
    }

    /// What the register, or the registers of its kind, added up to.
    fn of(&self, offset: u32) -> u64 {
        let mut first = 0;
        for row in LIST {
            if row.offset() == offset {
                return self.port.iter().skip(first).take(row.counters()).sum();
            }
            first += row.counters();
        }
        0
    }

    /// Frames that queues put into memory.
    pub(crate) fn received(&self) -> u64 {
        self.rx.iter().map(|set| set.packets).sum()
    }

    /// Pause frames sent.
    fn pauses(&self) -> u64 {
        self.of(LXONTXC.offset()) + self.of(LXOFFTXC.offset())
    }

    /// Good frames sent. PAUSE-COUNTED: those that the card made itself are not of any queue.
    pub(crate) fn sent(&self) -> u64 {
        self.of(GPTC.offset()).saturating_sub(self.pauses())
    }

    /// Under Linux's names.
    pub(crate) fn stats(&self) -> Stats {
        let of = |register: Reg<u32, ReadToClear>| self.of(register.offset());
        let mut stats = Stats::default();
        // GPRC-MISSED: GPRC also counts frames that were missed later; QPRC counts what memory got.
        stats.rx_packets = self.received();
        // QBRC-NO-FCS: without the check sequence where it is stripped.
        stats.rx_bytes = self.rx.iter().map(|set| set.octets).sum();
        stats.tx_packets = self.sent();
        // GOTC counts "from the <Destination Address> field through the <CRC> field", of pause frames too.
        let pauses = self.pauses() * (MIN_FRAME_BYTES + FCS_BYTES) as u64;
        stats.tx_bytes = of(GOTCL).saturating_sub(self.sent() * FCS_BYTES as u64).saturating_sub(pauses);
        stats.multicast = of(MPRC);
        // Length fields that lie, frames shorter and longer than allowed.
        stats.rx_length_errors = [RLEC, RUC, RFC, ROC, RJC].map(of).iter().sum();
        stats.rx_crc_errors = of(CRCERRS);
        stats.rx_frame_errors = of(ILLERRC) + of(ERRBC);
        stats.rx_errors = stats.rx_crc_errors + stats.rx_length_errors + stats.rx_frame_errors;
        // MISSED: the card's two ways of losing frames, in the packet buffer and for want of descriptors, are not told apart.
        stats.rx_missed_errors = RXMPC.at(0).map_or(0, of) + self.rx.iter().map(|set| set.dropped).sum::<u64>();
        stats
    }

    /// All of them by name. `rx` and `tx` are what each queue counted by itself.
    pub(crate) fn xstats(&self, family: Family, queues: Queues, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        let mut all = Vec::new();
        let mut values = self.port.iter();
        for row in LIST {
            let values = values.by_ref().take(row.counters()).copied();
            if row.chips.have(family) {
                all.extend((0..).zip(values).map(|(at, value)| XStat::new(name(row, at), value)));
            } else {
                values.for_each(drop);
            }
        }
        if queues.tells_drops() {
            all.push(XStat::new("rx_rule_dropped", self.rule_dropped));
        }
        for (at, set) in self.rx.iter().take(rx.len()).enumerate() {
            all.extend(
                [("packets", set.packets), ("bytes", set.octets), ("dropped", set.dropped)].map(|(what, value)| of_set("rx", at, rx, what, value)),
            );
        }
        for (at, set) in self.tx.iter().take(tx.len()).enumerate() {
            all.extend([("packets", set.packets), ("bytes", set.octets)].map(|(what, value)| of_set("tx", at, tx, what, value)));
        }
        all
    }
}

/// A counter of a set. Of more queues than sets, several count in one, and which of them did it does not say: it has a name of its own then.
fn of_set(direction: &str, at: usize, queues: &[Totals], what: &str, value: u64) -> XStat {
    if queues.len() <= COUNTED_QUEUES as usize {
        XStat::of_queue(direction, at, what, value)
    } else {
        XStat::new(alloc::format!("{direction}_set{at}_{what}"), value)
    }
}

/// Adds what the registers of a row counted to their sums.
fn add<'a>(mut values: impl Iterator<Item = &'a mut u64>, row: &Row, reader: &mut Reader<'_, impl Bar>) {
    let mut to_next = |counted: u64| {
        if let Some(value) = values.next() {
            // A card that vanishes meanwhile reads all ones: nothing of it is believed then.
            *value = value.wrapping_add(counted);
        }
    };
    match row.place {
        Place::One(register) => to_next(reader.one(register)),
        Place::Pair(low, high) => to_next(reader.pair(low, high)),
        Place::Halves(register, _) => {
            let both = reader.one(register);
            to_next(both & 0xffff);
            to_next(both >> 16);
        }
        Place::Each(array) => array.iter().for_each(|register| to_next(reader.one(register))),
    }
}

/// The name of a row's counter.
fn name(row: &Row, at: usize) -> Cow<'static, str> {
    match row.place {
        Place::Halves(_, upper) if at == 1 => upper.into(),
        Place::Each(_) => row.name.replace('#', &alloc::format!("{at}")).into(),
        _ => row.name.into(),
    }
}

impl<B: Bar> Card<B> {
    /// 4.6.5: reads all counters, which clears them, and gives each queue counters, of its own as far as there are any. COUNTERS-LEFT: where those
    /// that count every frame have seen none, the others have not either, and are left alone.
    pub(crate) fn init_stats(&self, queues: Queues) -> Result<(), ErrorKind> {
        // "the RQSMR and TQSM registers must be re-programmed following a device reset"
        let mut rx_sets: [u8; QUEUES as usize] = core::array::from_fn(|queue| queue as u8 % COUNTED_QUEUES as u8);
        let tx_sets = rx_sets;
        for (index, set) in (0..queues.rx).zip((0..COUNTED_QUEUES as u8).cycle()) {
            if let Some(of_queue) = rx_sets.get_mut(usize::from(queues.layout.queue(index))) {
                *of_queue = set;
            }
        }
        for (map, sets, queues) in [(RQSMR, rx_sets, queues.layout.span(queues.rx)), (TQSM, tx_sets, queues.tx)] {
            let used = usize::from(queues).max(COUNTED_QUEUES as usize).div_ceil(4);
            for (register, &sets) in map.iter().zip(sets.as_chunks::<4>().0).take(used) {
                register.write(&self.bar, u32::from_le_bytes(sets));
            }
        }
        if queues.has_drops {
            // RQSMR has four queues a register.
            RQSMR.at(DROP_QUEUE / 4)?.write(&self.bar, DROPS << (8 * (DROP_QUEUE % 4)));
        }
        let mut before = Counters::default();
        before.update(&self.bar, self.model.family, queues, Look::Brief);
        if before != Counters::default() {
            before.update(&self.bar, self.model.family, queues, Look::Whole);
        }
        Ok(())
    }
}
