//! The card's counters (8.2.3.23), accumulated in 64 bits, under Linux's names.

use driver_core::device::{ErrorKind, Stats};
use driver_core::ether::FCS_BYTES;
use driver_core::host::Bar;
use driver_core::reg::{ReadToClear, Reg};

use crate::card::Card;
use crate::regs::*;

/// What the counters added up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Frames and octets that queues put into memory (QPRC, QBRC).
    received: u64,
    received_octets: u64,
    /// Good frames sent and their octets, check sequences included (GPTC, GOTC).
    sent: u64,
    sent_octets: u64,
    multicast: u64,
    crc: u64,
    /// Length fields that lie (RLEC), frames shorter (RUC, RFC) and longer (ROC, RJC) than allowed.
    length: u64,
    /// Illegal and error bytes (ILLERRC, ERRBC).
    symbol: u64,
    /// Lost for want of room in the packet buffer (RXMPC) or of descriptors (QPRDC).
    missed: u64,
}

impl Counters {
    /// Reads, and so clears, the card's counters and adds them up; of those that queues have, the first `rx_queues`.
    pub(crate) fn update(&mut self, bar: &impl Bar, rx_queues: u16) {
        let read = |register: Reg<u32, ReadToClear>| u64::from(register.read_and_clear(bar));
        // 36-bit counters: reading the low half latches the pair, reading the high one clears it.
        let wide = |low: Reg<u32, ReadToClear>, high: Reg<u32, ReadToClear>| {
            let low = read(low);
            low | (read(high) & 0xf) << 32
        };
        let queues = usize::from(rx_queues);
        self.received += QPRC.iter().take(queues).map(read).sum::<u64>();
        self.received_octets += QBRC_L.iter().zip(QBRC_H.iter()).take(queues).map(|(low, high)| wide(low, high)).sum::<u64>();
        self.missed += RXMPC.iter().chain(QPRDC.iter().take(queues)).map(read).sum::<u64>();
        self.sent += read(GPTC);
        self.sent_octets += wide(GOTCL, GOTCH);
        self.multicast += read(MPRC);
        self.crc += read(CRCERRS);
        self.length += [RLEC, RUC, RFC, ROC, RJC].map(read).iter().sum::<u64>();
        self.symbol += read(ILLERRC) + read(ERRBC);
        // Not used, and read so that they do not saturate for whoever looks next.
        for register in [MLFC, MRFC, GPRC, GORCL, GORCH, TORL, TORH, TPR, TPT] {
            read(register);
        }
    }

    /// Under Linux's names.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        // GPRC-MISSED: GPRC also counts frames that were missed later; QPRC counts what memory got.
        stats.rx_packets = self.received;
        // QBRC-NO-FCS: without the check sequence where it is stripped.
        stats.rx_bytes = self.received_octets;
        stats.tx_packets = self.sent;
        // GOTC counts "from the <Destination Address> field through the <CRC> field".
        stats.tx_bytes = self.sent_octets.saturating_sub(self.sent * FCS_BYTES as u64);
        stats.rx_errors = self.crc + self.length + self.symbol;
        stats.multicast = self.multicast;
        stats.rx_length_errors = self.length;
        stats.rx_crc_errors = self.crc;
        stats.rx_frame_errors = self.symbol;
        // MISSED: the card's two ways of losing frames are not told apart.
        stats.rx_missed_errors = self.missed;
        stats
    }
}

impl<B: Bar> Card<B> {
    /// 4.6.5: reads all counters that will be looked at, which clears them, and gives each of the first 16 queues counters of its own.
    pub(crate) fn init_stats(&self, rx_queues: u16) -> Result<(), ErrorKind> {
        // "the RQSMR and TQSM registers must be re-programmed following a device reset"
        for first in (0..COUNTED_QUEUES).step_by(4) {
            let map = u32::from_le_bytes([first, first + 1, first + 2, first + 3].map(|queue| queue as u8));
            RQSMR.at(first / 4)?.write(&self.bar, map);
            TQSM.at(first / 4)?.write(&self.bar, map);
        }
        Counters::default().update(&self.bar, rx_queues);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use driver_core::testing::PlainBar;

    use super::*;

    #[test]
    fn counters_add_up_over_reads_that_clear() {
        let bar = PlainBar::new(BAR_BYTES);
        let mut counters = Counters::default();
        for _ in 0..2 {
            bar.set_clearing(QPRC.at(0).unwrap().offset(), 10);
            bar.set_clearing(QPRC.at(15).unwrap().offset(), 5);
            bar.set_clearing(QBRC_L.at(0).unwrap().offset(), 0xffff_ffff);
            bar.set_clearing(QBRC_H.at(0).unwrap().offset(), 0xf);
            bar.set_clearing(RXMPC.at(0).unwrap().offset(), 3);
            bar.set_clearing(QPRDC.at(1).unwrap().offset(), 4);
            counters.update(&bar, 16);
        }
        counters.update(&bar, 16);
        let stats = counters.stats();
        assert_eq!((stats.rx_packets, stats.rx_bytes, stats.rx_missed_errors), (30, 2 * 0xf_ffff_ffff, 14));
        assert_eq!(stats.rx_errors, 0);
    }

    #[test]
    fn sent_bytes_have_no_check_sequence() {
        let bar = PlainBar::new(BAR_BYTES);
        bar.set_clearing(GPTC.offset(), 2);
        bar.set_clearing(GOTCL.offset(), 64 + 1518);
        let mut counters = Counters::default();
        counters.update(&bar, 16);
        assert_eq!((counters.stats().tx_packets, counters.stats().tx_bytes), (2, 60 + 1514));
    }

    #[test]
    fn errors_are_summed_from_their_kinds() {
        let bar = PlainBar::new(BAR_BYTES);
        for (register, value) in [(CRCERRS, 1), (RLEC, 2), (RUC, 4), (RFC, 8), (ROC, 16), (RJC, 32), (ILLERRC, 64), (ERRBC, 128), (MPRC, 9)] {
            bar.set_clearing(register.offset(), value);
        }
        let mut counters = Counters::default();
        counters.update(&bar, 16);
        let stats = counters.stats();
        assert_eq!((stats.rx_crc_errors, stats.rx_length_errors, stats.rx_frame_errors), (1, 62, 192));
        assert_eq!((stats.rx_errors, stats.multicast), (255, 9));
    }
}
