//! Packet filtering: destination addresses and VLAN tags (7.1.1), and spreading over queues by hash (7.1.2.8).

use super::card::Ixgbe;
use super::parse::Headers;
use super::regs::{ERETA, FCTRL, MCSTCTRL, MRQC, MTA, RAL, RETA, RSSRK, VFTA, VLNCTRL};
use super::rss::{Hash, KEY_BYTES, Toeplitz};
use super::stats::Cast;

/// FCTRL (8.2.3.7.1).
const FCTRL_MPE: u32 = 1 << 8;
const FCTRL_UPE: u32 = 1 << 9;
const FCTRL_BAM: u32 = 1 << 10;
/// VLNCTRL.VFE (8.2.3.7.2).
const VLNCTRL_VFE: u32 = 1 << 30;
/// MCSTCTRL.MFE (8.2.3.7.3).
const MCSTCTRL_MFE: u32 = 1 << 2;
/// RAH.AV (8.2.3.7.9).
const RAH_AV: u32 = 1 << 31;
/// MRQC.MRQE: receive side scaling alone (8.2.3.7.12).
const MRQE_RSS: u32 = 1;

/// How a frame passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    /// By a hash or because everything passes: software has to look (PIF).
    Inexact,
}

impl Ixgbe {
    /// Reads the exact addresses anew after a write to RAL or RAH.
    pub(super) fn load_addresses(&mut self) {
        self.addresses.clear();
        for i in 0..128 {
            let (low, high) = (self.regs.at(RAL + 8 * i), self.regs.at(RAL + 8 * i + 4));
            if high & RAH_AV != 0 {
                self.addresses.push(u64::from(high & 0xFFFF) << 32 | u64::from(low));
            }
        }
    }

    /// Whether a frame passes the address and VLAN filters.
    #[inline]
    pub(super) fn filter(&self, frame: &[u8], cast: Cast, headers: &Headers) -> Option<Match> {
        let control = self.regs.at(FCTRL);
        let mac: &[u8; 6] = frame.first_chunk()?;
        let [a, b, c, d, e, f] = *mac;
        let address = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let exact = || self.addresses.contains(&address).then_some(Match::Exact);
        let passed = match cast {
            Cast::Unicast => exact().or((control & FCTRL_UPE != 0).then_some(Match::Inexact)),
            Cast::Broadcast => (control & FCTRL_BAM != 0).then_some(Match::Exact),
            Cast::Multicast => exact().or((control & FCTRL_MPE != 0 || self.in_multicast_table(mac)).then_some(Match::Inexact)),
        }?;
        if let Some(tag) = headers.vlan
            && self.regs.at(VLNCTRL) & VLNCTRL_VFE != 0
        {
            let id = u32::from(tag & 0xFFF);
            if self.regs.at(VFTA + 4 * (id / 32)) >> (id % 32) & 1 == 0 {
                return None;
            }
        }
        Some(passed)
    }

    /// The 12 bits of the address that MCSTCTRL.MO chooses select a bit of the table.
    pub(super) fn in_multicast_table(&self, mac: &[u8; 6]) -> bool {
        let control = self.regs.at(MCSTCTRL);
        if control & MCSTCTRL_MFE == 0 {
            return false;
        }
        // Bits 47:32 of the address, its last byte on top.
        let upper = u32::from(mac[5]) << 8 | u32::from(mac[4]);
        let shift = match control & 3 {
            0 => 4,
            1 => 3,
            2 => 2,
            _ => 0,
        };
        let vector = upper >> shift & 0xFFF;
        self.regs.at(MTA + 4 * (vector / 32)) >> (vector % 32) & 1 != 0
    }

    /// The queue that its hash gives a frame, in its pool where it has one, and the hash.
    #[inline]
    pub(super) fn spread(&mut self, frame: &[u8], headers: &Headers, pool: Option<u32>) -> (u32, Hash) {
        let (control, first) = (self.regs.at(MRQC), pool.map_or(0, |pool| self.queue_in_pool(pool, 0)));
        if control & 0xF != MRQE_RSS && (pool.is_none() || !self.spreads_in_pools()) {
            return (first, Hash::default());
        }
        if self.toeplitz.is_none() {
            let mut key = [0; KEY_BYTES];
            for (i, word) in key.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *word = self.regs.at(RSSRK + 4 * i as u32).to_le_bytes();
            }
            self.toeplitz = Some(Toeplitz::new(&key));
        }
        let hash = self.toeplitz.as_ref().map_or(Hash::default(), |toeplitz| toeplitz.of(frame, headers, control));
        if hash.rss_type == 0 {
            return (first, hash);
        }
        let entry = hash.value & if self.has_long_reta() { 0x1FF } else { 0x7F };
        let word = if entry < 128 { self.regs.at(RETA + (entry & !3)) } else { self.regs.at(ERETA + (entry & !3) - 128) };
        let queue = word >> (8 * (entry & 3)) & if self.has_long_reta() { 0x3F } else { 0xF };
        (pool.map_or(queue, |pool| self.queue_in_pool(pool, queue)), hash)
    }
}
