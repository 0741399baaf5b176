//! Statistics registers (8.2.3.23): counters that a read clears, and pairs of them that count octets.

use super::file::RegFile;
use super::regs::{
    BPRC, BPTC, GORCL, GOTCL, GPRC, GPTC, MPRC, MPTC, PRC64, PTC64, QBRCL, QBTCL, QPRC, QPTC, RQSMR, RXDGBCL, RXDGPC, RXNFGBCL, RXNFGPC, TORL, TPR,
    TPT, TQSM, TXDGBCL, TXDGPC,
};

/// Octet counters count the frame check sequence, too.
const FCS_BYTES: usize = 4;

/// What 36 bits hold at most. There an octet counter stays until it is read.
const OCTETS_FULL: u64 = (1 << 36) - 1;

/// A 36-bit octet counter behind two registers.
///
/// The upper register's read clears it. What arrived between the reads of the lower and the upper half is kept, so that a reader loses nothing. It is
/// kept in more bits than the card has, and cut where it is read, so that counting costs no test.
#[derive(Debug, Clone, Copy, Default)]
struct Octets {
    count: u64,
    shown: Option<u64>,
}

impl Octets {
    fn add(&mut self, bytes: u64) {
        self.count += bytes;
    }

    fn read_low(&mut self) -> u32 {
        self.shown = Some(self.count);
        self.count.min(OCTETS_FULL) as u32
    }

    fn read_high(&mut self) -> u32 {
        let shown = self.shown.take().unwrap_or(self.count);
        self.count -= shown;
        (shown.min(OCTETS_FULL) >> 32) as u32
    }
}

/// The octet counters by the offset of their lower register.
#[derive(Debug, Default)]
pub(super) struct Stats {
    gorc: Octets,
    gotc: Octets,
    tor: Octets,
    rxnfgbc: Octets,
    rxdgbc: Octets,
    txdgbc: Octets,
    qbrc: [Octets; 16],
    qbtc: [Octets; 16],
}

/// What a frame's destination address says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cast {
    Unicast,
    Multicast,
    Broadcast,
}

impl Cast {
    pub(super) fn of(frame: &[u8]) -> Self {
        match frame.get(..6) {
            Some(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => Self::Broadcast,
            Some(mac) if mac[0] & 1 != 0 => Self::Multicast,
            _ => Self::Unicast,
        }
    }
}

/// The register of six, by length with the frame check sequence: 64, 65-127, 128-255, 256-511, 512-1023, 1024 and more.
fn size_class(len_with_fcs: usize) -> u32 {
    match len_with_fcs {
        0..=64 => 0,
        65..=127 => 1,
        128..=255 => 2,
        256..=511 => 3,
        512..=1023 => 4,
        _ => 5,
    }
}

impl Stats {
    fn octets(&mut self, offset: u32) -> Option<(&mut Octets, bool)> {
        let pair = |low: u32| offset == low || offset == low + 4;
        if pair(GORCL) {
            return Some((&mut self.gorc, offset != GORCL));
        } else if pair(GOTCL) {
            return Some((&mut self.gotc, offset != GOTCL));
        } else if pair(TORL) {
            return Some((&mut self.tor, offset != TORL));
        } else if pair(RXNFGBCL) {
            return Some((&mut self.rxnfgbc, offset != RXNFGBCL));
        } else if pair(RXDGBCL) {
            return Some((&mut self.rxdgbc, offset != RXDGBCL));
        } else if pair(TXDGBCL) {
            return Some((&mut self.txdgbc, offset != TXDGBCL));
        }
        if (QBTCL..QBTCL + 0x80).contains(&offset) {
            return Some((&mut self.qbtc[((offset - QBTCL) / 8) as usize], offset % 8 == 4));
        }
        let queue = offset.wrapping_sub(QBRCL) / 0x40;
        if queue < 16 && matches!(offset % 0x40, 0x34 | 0x38) {
            return Some((&mut self.qbrc[queue as usize], offset % 0x40 == 0x38));
        }
        None
    }

    /// Reads one half of an octet counter, `None` where `offset` is none.
    pub(super) fn read(&mut self, offset: u32) -> Option<u32> {
        let (octets, high) = self.octets(offset)?;
        Some(if high { octets.read_high() } else { octets.read_low() })
    }

    /// `n` frames came from the wire, whatever becomes of them.
    #[inline]
    pub(super) fn arrived(&mut self, regs: &mut RegFile, n: u32, len: usize) {
        regs.count(TPR, n);
        self.tor.add(octets(n, len + FCS_BYTES));
    }

    /// They are well formed and of legal length.
    #[inline]
    pub(super) fn well_formed(&mut self, regs: &mut RegFile, n: u32, len: usize) {
        regs.count(PRC64 + 4 * size_class(len + FCS_BYTES), n);
        regs.count(RXNFGPC, n);
        self.rxnfgbc.add(octets(n, len + FCS_BYTES));
    }

    /// They passed the filters.
    #[inline]
    pub(super) fn accepted(&mut self, regs: &mut RegFile, n: u32, len: usize, cast: Cast) {
        regs.count(GPRC, n);
        self.gorc.add(octets(n, len + FCS_BYTES));
        match cast {
            Cast::Unicast => {}
            Cast::Multicast => regs.count(MPRC, n),
            Cast::Broadcast => regs.count(BPRC, n),
        }
    }

    /// They lie in host memory.
    #[inline]
    pub(super) fn delivered(&mut self, regs: &mut RegFile, queue: u32, n: u32, len: usize) {
        regs.count(RXDGPC, n);
        self.rxdgbc.add(octets(n, len));
        let index = regs.at(RQSMR + (queue & !3)) >> (8 * (queue & 3)) & 0xF;
        regs.count(QPRC + 0x40 * index, n);
        self.qbrc[index as usize].add(octets(n, len));
    }

    /// `n` frames went out, whether the host or the MAC made them.
    #[inline]
    pub(super) fn sent(&mut self, regs: &mut RegFile, n: u32, len: usize, cast: Cast) {
        regs.count(TPT, n);
        regs.count(GPTC, n);
        regs.count(PTC64 + 4 * size_class(len + FCS_BYTES), n);
        self.gotc.add(octets(n, len + FCS_BYTES));
        match cast {
            Cast::Unicast => {}
            Cast::Multicast => regs.count(MPTC, n),
            Cast::Broadcast => regs.count(BPTC, n),
        }
    }

    /// They came from host memory.
    #[inline]
    pub(super) fn fetched(&mut self, regs: &mut RegFile, queue: u32, n: u32, len: usize) {
        regs.count(TXDGPC, n);
        self.txdgbc.add(octets(n, len));
        let index = regs.at(TQSM + (queue & !3)) >> (8 * (queue & 3)) & 0xF;
        regs.count(QPTC + 4 * index, n);
        self.qbtc[index as usize].add(octets(n, len));
    }
}

fn octets(n: u32, len: usize) -> u64 {
    u64::from(n) * len as u64
}
