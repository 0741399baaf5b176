//! Statistics registers (8.2.3.23): counters that a read clears, and pairs of them that count octets.

use super::file::RegFile;
use super::regs::{
    BPRC, BPTC, GORCL, GOTCL, GPRC, GPTC, MPRC, MPTC, PRC64, PTC64, QBRCL, QBTCL, QPRC, QPTC, RQSMR, RXDGBCL, RXDGPC, RXNFGBCL, RXNFGPC, TORL, TPR,
    TPT, TQSM, TXDGBCL, TXDGPC,
};

/// Octet counters count the frame check sequence, too.
const FCS_BYTES: u64 = 4;

/// A 36-bit octet counter behind two registers.
///
/// The upper register's read clears it. What arrived between the reads of the lower and the upper half is kept, so that a reader loses nothing.
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
        self.count as u32
    }

    fn read_high(&mut self) -> u32 {
        let shown = self.shown.take().unwrap_or(self.count);
        self.count -= shown;
        (shown >> 32) as u32 & 0xF
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

    /// A frame came from the wire, whatever becomes of it.
    #[inline]
    pub(super) fn arrived(&mut self, regs: &mut RegFile, len: usize) {
        regs.count(TPR);
        self.tor.add(len as u64 + FCS_BYTES);
    }

    /// It is well formed and of legal length.
    #[inline]
    pub(super) fn well_formed(&mut self, regs: &mut RegFile, len: usize) {
        regs.count(PRC64 + 4 * size_class(len + FCS_BYTES as usize));
        regs.count(RXNFGPC);
        self.rxnfgbc.add(len as u64 + FCS_BYTES);
    }

    /// It passed the filters.
    #[inline]
    pub(super) fn accepted(&mut self, regs: &mut RegFile, len: usize, cast: Cast) {
        regs.count(GPRC);
        self.gorc.add(len as u64 + FCS_BYTES);
        match cast {
            Cast::Unicast => {}
            Cast::Multicast => regs.count(MPRC),
            Cast::Broadcast => regs.count(BPRC),
        }
    }

    /// It lies in host memory.
    #[inline]
    pub(super) fn delivered(&mut self, regs: &mut RegFile, queue: u32, len: usize) {
        regs.count(RXDGPC);
        self.rxdgbc.add(len as u64);
        let index = regs.at(RQSMR + (queue & !3)) >> (8 * (queue & 3)) & 0xF;
        regs.count(QPRC + 0x40 * index);
        self.qbrc[index as usize].add(len as u64);
    }

    /// A frame went out, whether the host or the MAC made it.
    #[inline]
    pub(super) fn sent(&mut self, regs: &mut RegFile, len: usize, cast: Cast) {
        regs.count(TPT);
        regs.count(GPTC);
        regs.count(PTC64 + 4 * size_class(len + FCS_BYTES as usize));
        self.gotc.add(len as u64 + FCS_BYTES);
        match cast {
            Cast::Unicast => {}
            Cast::Multicast => regs.count(MPTC),
            Cast::Broadcast => regs.count(BPTC),
        }
    }

    /// It came from host memory.
    #[inline]
    pub(super) fn fetched(&mut self, regs: &mut RegFile, queue: u32, len: usize) {
        regs.count(TXDGPC);
        self.txdgbc.add(len as u64);
        let index = regs.at(TQSM + (queue & !3)) >> (8 * (queue & 3)) & 0xF;
        regs.count(QPTC + 0x40 * index);
        self.qbtc[index as usize].add(len as u64);
    }
}
