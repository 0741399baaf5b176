//! Which card the model is, and how it may misbehave.

use driver_core::reg::bitflags;

use super::regs::MTA;

/// Which card the model is: an 82599, until told otherwise.
///
/// ```
/// use sim::ixgbe::{Ixgbe, IxgbeOptions};
/// let card = Ixgbe::new(IxgbeOptions::new().device(0x1528).mac([2, 0, 0, 0, 0, 1]));
/// ```
#[derive(Debug, Clone)]
pub struct IxgbeOptions {
    pub(super) device: u16,
    pub(super) mac: [u8; 6],
    pub(super) link_up_us: u64,
    pub(super) speed_mbps: u32,
    pub(super) hang_tx_after: Option<u64>,
    pub(super) defect: Option<Defect>,
    pub(super) partner: Speeds,
    pub(super) cage: Cage,
    pub(super) celsius: [i8; 2],
}

impl Default for IxgbeOptions {
    fn default() -> Self {
        Self {
            device: 0x10FB,
            mac: [0x02, 0x00, 0x00, 0x82, 0x59, 0x90],
            link_up_us: 500,
            speed_mbps: 10_000,
            hang_tx_after: None,
            defect: None,
            partner: Speeds::all(),
            cage: Cage::Sr,
            celsius: [47, 52],
        }
    }
}

impl IxgbeOptions {
    /// An 82599 with a locally administered address.
    pub fn new() -> Self {
        Self::default()
    }

    /// PCI device ID: 0x10FB (82599), 0x1528 (X540) or 0x1563 (X550).
    #[must_use]
    pub fn device(self, device: u16) -> Self {
        Self { device, ..self }
    }

    /// The address in the EEPROM, until software writes another.
    #[must_use]
    pub fn mac(self, mac: [u8; 6]) -> Self {
        Self { mac, ..self }
    }

    /// How long link training takes after a reset or when the carrier comes, in microseconds.
    #[must_use]
    pub fn link_up_us(self, link_up_us: u64) -> Self {
        Self { link_up_us, ..self }
    }

    /// What the link's speed is, 1000 or 100 Mbit/s whatever the media say, or 10,000: what a copper PHY agrees on with its partner, at most. Frames go as fast as the wire takes them at any of them: the clock and LINKS follow it.
    #[must_use]
    pub fn speed_mbps(self, speed_mbps: u32) -> Self {
        Self { speed_mbps, ..self }
    }

    /// So many frames are transmitted, then nothing any more until the next reset. `None`: it never hangs.
    #[must_use]
    pub fn hang_tx_after(self, frames: Option<u64>) -> Self {
        Self { hang_tx_after: frames, ..self }
    }

    /// What the far end of a copper link offers: every speed, until told otherwise.
    #[must_use]
    pub fn partner(self, partner: Speeds) -> Self {
        Self { partner, ..self }
    }

    /// What the two thermal sensors of an 82599's board measure, in degrees.
    #[must_use]
    pub fn celsius(self, celsius: [i8; 2]) -> Self {
        Self { celsius, ..self }
    }

    /// What sits in an 82599's cage.
    #[must_use]
    pub fn cage(self, cage: Cage) -> Self {
        Self { cage, ..self }
    }

    /// What is broken in the card, for good. `None`: nothing.
    #[must_use]
    pub fn defect(self, defect: Option<Defect>) -> Self {
        Self { defect, ..self }
    }
}

bitflags! {
    /// Speeds of Ethernet over twisted pair, full duplex.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Speeds: u8 {
        /// 100BASE-TX.
        const M100 = 1 << 0;
        /// 1000BASE-T.
        const G1 = 1 << 1;
        /// 2.5GBASE-T.
        const G2_5 = 1 << 2;
        /// 5GBASE-T.
        const G5 = 1 << 3;
        /// 10GBASE-T.
        const G10 = 1 << 4;
    }
}

impl Speeds {
    /// Each of them, with the word for it.
    pub const WORDS: [(&str, Self); 5] = [("100M", Self::M100), ("1G", Self::G1), ("2.5G", Self::G2_5), ("5G", Self::G5), ("10G", Self::G10)];

    /// Those that `words` names, with a + between them.
    pub fn of(words: &str) -> Option<Self> {
        words.split('+').try_fold(Self::empty(), |all, word| Some(all | Self::WORDS.iter().find(|(known, _)| *known == word)?.1))
    }

    /// The fastest of them.
    pub(super) fn fastest(self) -> Option<Self> {
        self.iter().last()
    }
}

/// What sits in an 82599's SFP+ cage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cage {
    /// A 10GBASE-SR module.
    #[default]
    Sr,
    /// Nothing.
    Empty,
    /// A module that is not for Ethernet: it says so, and brings up no link.
    Foreign,
}

impl Cage {
    /// All of them, with the words for them.
    pub const ALL: [(&str, Self); 3] = [("sr", Self::Sr), ("none", Self::Empty), ("foreign", Self::Foreign)];

    /// That of the word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|&(_, cage)| cage)
    }
}

/// What may be broken in a card: each of them a self-test finds, in the part that looks for it. No reset mends it, and none of them makes the card touch memory that is not its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// A bit of a register stays 0, whatever is written.
    Register,
    /// The EEPROM's checksum is wrong.
    Eeprom,
    /// One vector's messages are lost.
    Interrupt,
    /// Frames that are looped inside the MAC lose a bit.
    Loopback,
}

impl Defect {
    /// All of them, with the words for them.
    pub const ALL: [(&str, Self); 4] =
        [("register", Self::Register), ("eeprom", Self::Eeprom), ("interrupt", Self::Interrupt), ("loopback", Self::Loopback)];

    /// The defect of that word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|&(_, defect)| defect)
    }
}

/// Ways in which the card misbehaves, for tests of a driver's reaction: see [`Ixgbe::faults`](crate::ixgbe::Ixgbe::faults).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Faults {
    /// CTRL.RST does not clear itself while this is set.
    pub reset_stuck: bool,
    /// STATUS says for ever that the card may master the bus.
    pub master_stuck: bool,
    /// EEC.AUTO_RD never comes.
    pub no_auto_read: bool,
    /// RDRXCTL.DMAIDONE never comes.
    pub no_dma_init: bool,
    /// The EEPROM's checksum is wrong.
    pub eeprom_corrupt: bool,
    /// SWSM.SMBI is never free.
    pub semaphore_stuck: bool,
    /// SECRXSTAT.SECRX_RDY never comes.
    pub secrx_never_ready: bool,
    /// Queues that are turned on do not get there: their RXDCTL.ENABLE and TXDCTL.ENABLE read zero.
    pub queue_enable_stuck: bool,
    /// RXDCTL.ENABLE and TXDCTL.ENABLE stay set when they are cleared.
    pub queue_disable_stuck: bool,
    /// Nothing is transmitted any more.
    pub hang_tx: bool,
    /// So many frames are transmitted, then nothing any more until the next reset.
    pub hang_tx_after: Option<u64>,
    /// Transmit descriptors are not reported.
    pub tx_no_write_back: bool,
    /// Frames that ask for a time stamp are sent without.
    pub tx_no_stamp: bool,
    /// Receive descriptors are not written back.
    pub rx_no_write_back: bool,
    /// The length that the last descriptor of each received frame claims.
    pub rx_length: Option<u16>,
    /// These bits of the register at this offset of BAR 0 read 0.
    pub stuck_bits: Option<(u32, u32)>,
    /// The messages of this MSI-X vector are lost.
    pub lost_vector: Option<u16>,
    /// The mask of this MSI-X vector (EIMS) holds nothing back.
    pub open_vector: Option<u16>,
    /// A bit of byte 522 changes in each frame that is looped inside the MAC and as long.
    pub loop_corrupts: bool,
    /// The copper PHY is too hot: it has shut down, and says so.
    pub overheated: bool,
    /// The card was unplugged: registers and configuration space read all ones, nothing moves.
    pub gone: bool,
}

impl Faults {
    /// Those of a card with these options.
    pub(super) fn of(options: &IxgbeOptions) -> Self {
        let mut faults = Self { hang_tx_after: options.hang_tx_after, ..Self::default() };
        match options.defect {
            None => {}
            Some(Defect::Register) => faults.stuck_bits = Some((MTA + 4 * 77, 1 << 13)),
            Some(Defect::Eeprom) => faults.eeprom_corrupt = true,
            Some(Defect::Interrupt) => faults.lost_vector = Some(1),
            Some(Defect::Loopback) => faults.loop_corrupts = true,
        }
        faults
    }

    /// What a register that holds `value` reads as.
    pub(super) fn read(&self, offset: u32, value: u32) -> u32 {
        match self.stuck_bits {
            Some((stuck, bits)) if stuck == offset => value & !bits,
            _ => value,
        }
    }
}
