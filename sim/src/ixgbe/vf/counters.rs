//! What a virtual function counts: registers that no read and no reset of the function clears, and that begin anew where they are full (8.3).

use super::map::{VFGORC_LSB, VFGORC_MSB, VFGOTC_LSB, VFGOTC_MSB, VFGPRC, VFGPTC, VFMPRC};
use crate::ixgbe::card::Ixgbe;
use crate::ixgbe::regs::{GORCL, GOTCL, GPRC, GPTC, MPRC};

/// Octets have 36 bits.
const OCTETS: u64 = (1 << 36) - 1;

/// Frames and octets that passed the filters, and that were sent; octets with their check sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    gprc: u64,
    gorc: u64,
    mprc: u64,
    gptc: u64,
    gotc: u64,
}

impl Counters {
    /// Takes over what the port has counted.
    pub(super) fn take(&mut self, port: &mut Ixgbe) {
        let Ixgbe { regs, stats, .. } = port;
        let mut octets = |low: u32| {
            let lower = stats.read(low).unwrap_or(0);
            u64::from(lower) | u64::from(stats.read(low + 4).unwrap_or(0)) << 32
        };
        self.gorc += octets(GORCL);
        self.gotc += octets(GOTCL);
        self.gprc += u64::from(regs.take(GPRC));
        self.mprc += u64::from(regs.take(MPRC));
        self.gptc += u64::from(regs.take(GPTC));
    }

    /// Reads a register, `None` where `offset` is none of them.
    pub(super) fn read(&self, offset: u32) -> Option<u32> {
        Some(match offset {
            VFGPRC => self.gprc as u32,
            VFMPRC => self.mprc as u32,
            VFGPTC => self.gptc as u32,
            VFGORC_LSB => self.gorc as u32,
            VFGORC_MSB => ((self.gorc & OCTETS) >> 32) as u32,
            VFGOTC_LSB => self.gotc as u32,
            VFGOTC_MSB => ((self.gotc & OCTETS) >> 32) as u32,
            _ => return None,
        })
    }
}
