//! The card: everything that it remembers.

use std::collections::VecDeque;

use super::file::RegFile;
use super::image;
use super::inbound::{Inbound, Looped};
use super::interrupt::Interrupts;
use super::large::Large;
use super::offload::Context;
use super::options::{Faults, IxgbeOptions};
use super::ptp::state::Time;
use super::regs::*;
use super::ring::Ring;
use super::rss::Toeplitz;
use super::sfp::Module;
use super::space;
use super::spi::Spi;
use super::state::{FlowControl, Link};
use super::stats::Stats;
use super::steering::state::Steering;
use super::tables::Written;
use super::tags::TAG_BYTES;
use crate::config::ConfigSpace;
use crate::msix::Msix;

/// What frames are padded to, without their check sequence.
pub(super) const PADDED_BYTES: usize = 60;
/// Queues in each direction (1.3).
const QUEUES: usize = 128;

/// A queue on its way up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    pub(super) receives: bool,
    pub(super) queue: usize,
}

/// The card.
pub struct Ixgbe {
    pub(super) faults: Faults,
    pub(super) options: IxgbeOptions,
    pub(super) config: ConfigSpace,
    pub(super) msix: Msix,
    pub(super) regs: RegFile,
    pub(super) stats: Stats,
    /// What was written of the tables that a reset leaves undefined.
    pub(super) tables: Written,
    pub(super) interrupts: Interrupts,
    pub(super) link: Link,
    pub(super) flow: FlowControl,
    /// Its clock, and time stamps.
    pub(super) time: Time,
    /// What sits in the SFP+ cage.
    pub(super) module: Module,
    pub(super) eeprom: Vec<u16>,
    pub(super) spi: Spi,
    pub(super) eerd_done_us: u64,
    pub(super) hicr_done_us: u64,
    pub(super) eewr_done_us: u64,
    pub(super) rx: Vec<Ring>,
    pub(super) tx: Vec<Ring>,
    /// Transmit queues that are enabled.
    pub(super) tx_running: u128,
    /// Transmit queues that have something to report, later.
    pub(super) tx_waiting: u128,
    /// The transmit queue whose turn is next.
    pub(super) tx_turn: u32,
    pub(super) moving: Vec<Moving>,
    pub(super) contexts: Vec<[Context; 2]>,
    /// Receive queues that QDE lets drop.
    pub(super) drop_queues: u128,
    /// Exact addresses of the filter, as in RAL and RAH.
    pub(super) addresses: Vec<u64>,
    /// Filters that choose a queue.
    pub(super) steering: Steering,
    /// Made from RSSRK when it is first needed.
    pub(super) toeplitz: Option<Toeplitz>,
    /// The receive packet buffer: frames that wait for descriptors.
    pub(super) held: VecDeque<Box<Inbound>>,
    pub(super) held_bytes: usize,
    /// Large receives that are open, the oldest first.
    pub(super) large: Vec<Large>,
    /// Frames on their way from transmit to receive inside the MAC, and what they take up in the packet buffer.
    pub(super) looped: VecDeque<Looped>,
    pub(super) looped_bytes: usize,
    /// Emptied buffers.
    #[allow(clippy::vec_box, reason = "they go from hand to hand, and are large")]
    pub(super) spare: Vec<Box<Inbound>>,
    pub(super) outgoing: Vec<u8>,
    /// A segment of `outgoing`.
    pub(super) segment: Vec<u8>,
    /// Transmission stands still until the next reset.
    pub(super) hung: bool,
    /// What is said of received frames makes no sense, until a reset.
    pub(super) lies: bool,
    /// The PHY has shut down for the heat, until a reset.
    pub(super) hot: bool,
    pub(super) reset_done_us: u64,
    pub(super) auto_read_us: u64,
    pub(super) dma_init_us: u64,
    /// The earliest of the above and of flow control's.
    pub(super) timer_us: u64,
}

impl Ixgbe {
    /// A card as after power-on.
    pub fn new(options: IxgbeOptions) -> Self {
        let mut card = Self {
            faults: Faults::of(&options),
            config: space::config_space(&options),
            msix: Msix::new(space::VECTORS),
            regs: RegFile::new(),
            stats: Stats::default(),
            tables: Written::default(),
            interrupts: Interrupts::new(),
            link: Link::new(),
            flow: FlowControl::new(),
            module: Module::new(options.cage, options.celsius),
            time: Time::default(),
            eeprom: image::image(options.device, options.mac),
            spi: Spi::new(),
            eerd_done_us: u64::MAX,
            hicr_done_us: u64::MAX,
            eewr_done_us: 0,
            rx: vec![Ring::receive(); QUEUES],
            tx: vec![Ring::transmit(); QUEUES],
            tx_running: 0,
            tx_waiting: 0,
            tx_turn: 0,
            moving: Vec::new(),
            contexts: vec![Default::default(); QUEUES],
            drop_queues: 0,
            addresses: Vec::new(),
            steering: Steering::default(),
            toeplitz: None,
            held: VecDeque::new(),
            held_bytes: 0,
            large: Vec::new(),
            looped: VecDeque::new(),
            looped_bytes: 0,
            spare: Vec::new(),
            outgoing: Vec::with_capacity(16 * 1024),
            segment: Vec::new(),
            hung: false,
            lies: false,
            hot: false,
            reset_done_us: u64::MAX,
            auto_read_us: u64::MAX,
            dma_init_us: u64::MAX,
            timer_us: u64::MAX,
            options,
        };
        card.reset_registers(0);
        card
    }

    /// How it misbehaves. Change it while it runs with [`SimDevice::with_model`](crate::SimDevice::with_model).
    ///
    /// # Safety
    /// A card that misbehaves breaks what its driver relies on, beyond what a driver can see: a queue that says it is off and is not still writes to its buffers.
    /// Nobody holds a reference to the bytes of a frame while such a card moves.
    pub unsafe fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The next training of the link ends at another speed: see [`IxgbeOptions::speed_mbps`]. The link is trained again when it was down.
    pub fn set_speed(&mut self, speed_mbps: u32) {
        self.options.speed_mbps = speed_mbps;
    }

    /// Whether the PHY is copper, behind MDIO, and semaphores follow the X540's rules.
    pub(super) fn is_copper(&self) -> bool {
        matches!(self.options.device, 0x1528 | 0x1563)
    }

    /// Whether a link is forced, which the loop inside the MAC wants where there is none: by AUTOC, or from the X540 on by MACC.
    pub(super) fn is_forced_up(&self) -> bool {
        if self.is_copper() { self.regs.has(MACC, MACC_FLU) } else { self.regs.has(AUTOC, AUTOC_FLU) }
    }

    pub(super) fn is_82599(&self) -> bool {
        !self.is_copper()
    }

    pub(super) fn is_x550(&self) -> bool {
        self.options.device == 0x1563
    }

    /// Whether the redirection table has 512 entries of 6 bits.
    pub(super) fn has_long_reta(&self) -> bool {
        self.is_x550()
    }

    pub(super) fn is_resetting(&self) -> bool {
        self.regs.at(CTRL) & (CTRL_RST | CTRL_LRST) != 0
    }

    /// The longest frame without its check sequence (8.2.3.22.13).
    pub(super) fn longest_frame(&self, tagged: bool) -> usize {
        let with_fcs = if self.regs.has(HLREG0, HLREG0_JUMBOEN) { self.regs.at(MAXFRS) >> 16 } else { 1518 };
        // "When double VLAN is enabled, the device adds 8 to the MFS for any packets."
        let tags = if self.expects_outer_tags() { 2 } else { usize::from(tagged) };
        (with_fcs as usize).saturating_sub(4) + tags * TAG_BYTES
    }
}
