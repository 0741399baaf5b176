//! Which card the model is, and how it may misbehave.

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
    pub(super) hang_tx_after: Option<u64>,
}

impl Default for IxgbeOptions {
    fn default() -> Self {
        Self { device: 0x10FB, mac: [0x02, 0x00, 0x00, 0x82, 0x59, 0x90], link_up_us: 500, hang_tx_after: None }
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

    /// So many frames are transmitted, then nothing any more until the next reset. `None`: it never hangs.
    #[must_use]
    pub fn hang_tx_after(self, frames: Option<u64>) -> Self {
        Self { hang_tx_after: frames, ..self }
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
    /// Receive descriptors are not written back.
    pub rx_no_write_back: bool,
    /// The length that the last descriptor of each received frame claims.
    pub rx_length: Option<u16>,
    /// The card was unplugged: registers and configuration space read all ones, nothing moves.
    pub gone: bool,
}
