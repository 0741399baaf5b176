//! What the physical function's driver does to the port for its virtual function: filters, spreading, frame sizes, on and off.

use super::function::IxgbeVf;
use super::map::{VFMRQC, VFPSRTYPE, VFRETA, VFRSSRK};
use super::state::Xcast;
use crate::ixgbe::interrupt::{GPIE_EIAME, GPIE_MULTIPLE_MSIX};
use crate::ixgbe::regs::{
    DMATXCTL, DMATXCTL_TE, ERETA, FCTRL, HLREG0, HLREG0_JUMBOEN, MAXFRS, MCSTCTRL, MRQC, MTA, RAL, RETA, RSSRK, RXCSUM, RXCSUM_PCSD, RXCTRL,
    RXCTRL_RXEN, SECRXCTRL, SECRXCTRL_RX_DIS, SECTXCTRL, SECTXCTRL_TX_DIS, VFTA, VLNCTRL,
};

/// FCTRL (8.2.3.7.1): in a pool's VMOLR they are MPE, UPE and BAM.
const MPE: u32 = 1 << 8;
const UPE: u32 = 1 << 9;
const BAM: u32 = 1 << 10;
/// MCSTCTRL.MFE; in a pool's VMOLR it is ROMPE.
const MFE: u32 = 1 << 2;
/// VLNCTRL.VFE.
const VFE: u32 = 1 << 30;
/// RAH.AV.
const AV: u32 = 1 << 31;
/// MRQC: spread by hash, of everything that it can hash but UDP, as Linux sets it.
const SPREAD: u32 = 1 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21;
/// VFPSRTYPE.RQPL: how many bits of the redirection table's entries choose a queue.
const RQPL_SHIFT: u32 = 29;
/// Entries of the X550's own table of a function.
const OWN_ENTRIES: u32 = 64;
/// The longest frame, with its check sequence, that a port is made for, and one without jumbo frames.
pub(super) const LONGEST: u32 = 9728;
pub(super) const STANDARD: u32 = 1518;

/// The physical function's key.
pub(super) fn key() -> [u32; 10] {
    std::array::from_fn(|word| 0x9E37_79B9u32.wrapping_mul(2 * word as u32 + 1))
}

/// The physical function's table.
pub(super) const fn entry(index: u32) -> u32 {
    index % 4
}

impl IxgbeVf {
    /// The port as its driver sets it up, for a function that has not said anything yet: nothing is received or sent for it.
    pub(super) fn set_up_port(&mut self) {
        let longest = if self.pf.options.has_jumbo { LONGEST } else { STANDARD };
        let regs = &mut self.port.regs;
        regs.set(RAL + 4, 0);
        for (register, bits) in [(HLREG0, HLREG0_JUMBOEN), (RXCSUM, RXCSUM_PCSD), (RXCTRL, RXCTRL_RXEN), (DMATXCTL, DMATXCTL_TE), (VLNCTRL, VFE)] {
            regs.change(register, bits, true);
        }
        regs.set(MAXFRS, longest << 16);
        self.port.load_addresses();
        self.prepare_interrupts();
        self.let_through(false, false);
        self.forget_filters();
    }

    /// A vector for each cause, which masks itself where VTEIAM says so, and clears itself where VTEIAC does.
    pub(super) fn prepare_interrupts(&mut self) {
        self.port.interrupts.set_gpie(GPIE_MULTIPLE_MSIX | GPIE_EIAME);
    }

    /// Whether the function's pool receives and sends (PFVFRE, PFVFTE).
    pub(super) fn let_through(&mut self, receives: bool, transmits: bool) {
        self.port.regs.change(SECRXCTRL, SECRXCTRL_RX_DIS, !receives);
        self.port.regs.change(SECTXCTRL, SECTXCTRL_TX_DIS, !transmits);
    }

    /// The filters of a function that has just been reset: broadcast, and frames without a tag.
    pub(super) fn forget_filters(&mut self) {
        self.set_addresses();
        for word in 0..128 {
            self.port.regs.set(VFTA + 4 * word, u32::from(word == 0));
        }
        self.set_multicast(&[]);
        self.set_xcast(Xcast::None);
        self.spread_again();
    }

    /// The function's address and those that it filters beside it, as the physical function's driver has them.
    pub(super) fn set_addresses(&mut self) {
        let addresses: Vec<_> = self.pf.address.into_iter().chain(self.pf.further.iter().copied()).collect();
        for index in 0..128 {
            let (low, high) = match addresses.get(index as usize) {
                Some(&[a, b, c, d, e, f]) => (u32::from_le_bytes([a, b, c, d]), AV | u32::from_le_bytes([e, f, 0, 0])),
                None => (0, 0),
            };
            self.port.regs.set(RAL + 8 * index, low);
            self.port.regs.set(RAL + 8 * index + 4, high);
        }
        self.port.load_addresses();
    }

    pub(super) fn set_vlan(&mut self, id: u32, on: bool) {
        self.port.regs.change(VFTA + 4 * (id / 32), 1 << (id % 32), on);
    }

    /// Multicast addresses by their hashes of twelve bits.
    pub(super) fn set_multicast(&mut self, hashes: &[u32]) {
        for word in 0..128 {
            self.port.regs.set(MTA + 4 * word, 0);
        }
        for hash in hashes {
            self.port.regs.change(MTA + 4 * (hash >> 5 & 0x7F), 1 << (hash & 0x1F), true);
        }
    }

    pub(super) fn set_xcast(&mut self, mode: Xcast) {
        self.pf.xcast = mode;
        self.port.regs.change(MCSTCTRL, MFE, mode >= Xcast::Multi);
        self.port.regs.set(FCTRL, BAM);
        self.port.regs.change(FCTRL, MPE, mode >= Xcast::AllMulti);
        self.port.regs.change(FCTRL, UPE, mode == Xcast::Promiscuous);
    }

    /// The table, the key and the fields by which frames are spread over the function's queues. On an X550 they are its own where it turned them on; elsewhere they
    /// are the physical function's, of which it chooses how many bits count.
    pub(super) fn spread_again(&mut self) {
        let plain = |offset: u32| self.pf.plain.get(&offset).copied().unwrap_or(0);
        let has_own = self.port.is_x550() && plain(VFMRQC) & 1 != 0;
        let mask = (1u32 << (plain(VFPSRTYPE) >> RQPL_SHIFT)) - 1;
        let own_entry = |index: u32| plain(VFRETA + ((index % OWN_ENTRIES) & !3)) >> (8 * (index & 3)) & 0xFF;
        let queues = self.pf.options.queues - 1;
        let to = |index: u32| if has_own { own_entry(index) & queues } else { entry(index) & queues & mask };
        let key: [u32; 10] = std::array::from_fn(|word| if has_own { plain(VFRSSRK + 4 * word as u32) } else { key()[word] });
        let fields = match (has_own, mask) {
            (true, _) => plain(VFMRQC) & 0xFFFF_0000 | 1,
            // Without bits that choose a queue nothing is hashed.
            (false, 0) => 0,
            (false, _) => SPREAD,
        };
        let words: Vec<u32> = (0..128).map(|word| (0..4).fold(0, |value, byte| value | to(4 * word + byte) << (8 * byte))).collect();
        for (word, value) in (0..).zip(words) {
            let at = if word < 32 { RETA + 4 * word } else { ERETA + 4 * (word - 32) };
            self.port.regs.set(at, value);
        }
        for (word, value) in (0..).zip(key) {
            self.port.regs.set(RSSRK + 4 * word, value);
        }
        self.port.toeplitz = None;
        self.port.regs.set(MRQC, fields);
    }

    /// The longest frame grows where the function asks for longer ones.
    pub(super) fn allow_length(&mut self, with_fcs: u32) {
        if with_fcs > self.port.regs.at(MAXFRS) >> 16 {
            self.port.regs.set(MAXFRS, with_fcs << 16);
        }
    }
}
