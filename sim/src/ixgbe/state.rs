//! What parts of the card remember.

use super::options::Speeds;

/// What flow control remembers.
#[derive(Debug, Clone)]
pub(super) struct FlowControl {
    /// When transmission may go on after a pause frame; `u64::MAX`: it is not held back.
    pub(super) resume_us: u64,
    /// When the far end has to hear again that it shall pause; `u64::MAX`: never.
    pub(super) refresh_us: u64,
    /// The packet buffer was filled above the high mark and is not below the low mark yet.
    pub(super) is_above: bool,
    /// The pause time of the frame that waits for the wire.
    pub(super) due: Option<u16>,
}

impl FlowControl {
    pub(super) fn new() -> Self {
        Self { resume_us: u64::MAX, refresh_us: u64::MAX, is_above: false, due: None }
    }
}

/// What the model remembers of its link.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) up: bool,
    /// One of them, of a link that is up.
    pub(super) speed: Speeds,
    /// When training ends.
    pub(super) up_us: u64,
    /// The link was down since LINKS was read last.
    pub(super) was_down: bool,
    /// The MDIO register that the last address cycle chose.
    pub(super) mdio: u16,
    /// MDIO registers that software wrote: device type, register, value.
    pub(super) mdio_written: Vec<(u8, u16, u16)>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { up: false, speed: Speeds::G10, up_us: u64::MAX, was_down: true, mdio: 0, mdio_written: Vec::new() }
    }
}

/// What a transmit ring has sent and not reported.
#[derive(Debug, Clone)]
pub(super) struct Unreported {
    /// Descriptors that asked for a report, with their words.
    pub(super) reports: Vec<(u32, [u64; 2])>,
    /// Descriptors since the first of them, with it.
    pub(super) descs: u32,
    /// When they are reported at the latest.
    pub(super) due_us: u64,
}

impl Default for Unreported {
    fn default() -> Self {
        Self { reports: Vec::new(), descs: 0, due_us: u64::MAX }
    }
}
