//! A model of the Intel 82599 10 GbE controller (datasheet 331520), and of the X540 and X550 as far as they share its registers.
//!
//! Section numbers are the 82599 datasheet's. The model is stricter than the hardware: what the datasheet forbids is recorded as a violation.

mod access;
mod eeprom;
mod file;
mod filter;
mod flow;
mod hostif;
mod i2c;
mod interrupt;
mod link;
mod moderation;
mod offload;
mod parse;
mod pci;
mod regs;
mod ring;
mod rsc;
mod rss;
mod rx;
mod spi;
mod stats;
mod tx;
mod writeback;

use std::collections::VecDeque;

use crate::config::ConfigSpace;
use crate::dma::Dma;
use crate::model::{Legacy, Model};
use crate::msix::Msix;
use crate::slot::Slot;
use crate::wire::Wire;
use file::{CSR_BYTES, RegFile};
use flow::Flow;
use i2c::Module;
use interrupt::Interrupts;
use link::Link;
use offload::Context;
use regs::*;
use ring::{Ring, State};
use rsc::Large;
use rss::Toeplitz;
use rx::Inbound;
use spi::Spi;
use stats::Stats;

/// The shortest frame on a wire, without its check sequence.
const MIN_FRAME_BYTES: usize = 60;
/// Queues in each direction (1.3).
const QUEUES: usize = 128;
/// How long CTRL.RST takes to clear itself, in microseconds.
const RESET_US: u64 = 2;
/// How long after a reset the EEPROM has been read.
const AUTO_READ_US: u64 = 20;
/// How long after a reset the DMA block is initialized.
const DMA_INIT_US: u64 = 40;

/// Which card the model is: an 82599, until told otherwise.
///
/// ```
/// use sim::ixgbe::{Ixgbe, IxgbeOptions};
/// let card = Ixgbe::new(IxgbeOptions::new().device(0x1528).mac([2, 0, 0, 0, 0, 1]));
/// ```
#[derive(Debug, Clone)]
pub struct IxgbeOptions {
    device: u16,
    mac: [u8; 6],
    link_up_us: u64,
    hang_tx_after: Option<u64>,
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

/// Ways in which the card misbehaves, for tests of a driver's reaction: see [`Ixgbe::faults`].
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Faults {
    /// CTRL.RST never clears itself.
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
    /// RXDCTL.ENABLE and TXDCTL.ENABLE read zero for ever.
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
    /// The card was unplugged: registers read all ones, nothing moves.
    pub gone: bool,
}

/// A queue on its way up or down.
#[derive(Debug, Clone, Copy)]
struct Moving {
    receives: bool,
    queue: usize,
}

/// The card.
pub struct Ixgbe {
    faults: Faults,
    options: IxgbeOptions,
    config: ConfigSpace,
    msix: Msix,
    regs: RegFile,
    stats: Stats,
    interrupts: Interrupts,
    link: Link,
    flow: Flow,
    /// What sits in the SFP+ cage.
    module: Module,
    eeprom: Vec<u16>,
    spi: Spi,
    eerd_done_us: u64,
    hicr_done_us: u64,
    eewr_done_us: u64,
    rx: Vec<Ring>,
    tx: Vec<Ring>,
    /// Transmit queues that are enabled.
    tx_running: u128,
    /// Transmit queues that have something to report, later.
    tx_waiting: u128,
    /// The transmit queue whose turn is next.
    tx_turn: u32,
    moving: Vec<Moving>,
    contexts: Vec<[Context; 2]>,
    /// Receive queues that QDE lets drop.
    drop_queues: u128,
    /// Exact addresses of the filter.
    addresses: Vec<[u8; 6]>,
    /// Made from RSSRK when it is first needed.
    toeplitz: Option<Toeplitz>,
    /// The receive packet buffer: frames that wait for descriptors.
    held: VecDeque<Inbound>,
    held_bytes: usize,
    /// Large receives that are open, the oldest first.
    large: Vec<Large>,
    /// Frames on their way from transmit to receive inside the MAC.
    looped: VecDeque<Vec<u8>>,
    /// Emptied buffers.
    spare: Vec<Inbound>,
    outgoing: Vec<u8>,
    /// A segment of `outgoing`.
    segment: Vec<u8>,
    /// Transmission stands still until the next reset.
    hung: bool,
    reset_done_us: u64,
    auto_read_us: u64,
    dma_init_us: u64,
    /// The earliest of the above and of flow control's.
    timer_us: u64,
}

impl Ixgbe {
    /// A card as after power-on.
    pub fn new(options: IxgbeOptions) -> Self {
        let mut card = Self {
            faults: Faults { hang_tx_after: options.hang_tx_after, ..Faults::default() },
            config: pci::config_space(&options),
            msix: Msix::new(pci::VECTORS),
            regs: RegFile::new(),
            stats: Stats::default(),
            interrupts: Interrupts::new(),
            link: Link::new(),
            flow: Flow::new(),
            module: Module::new(),
            eeprom: eeprom::image(options.device, options.mac),
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
            toeplitz: None,
            held: VecDeque::new(),
            held_bytes: 0,
            large: Vec::new(),
            looped: VecDeque::new(),
            spare: Vec::new(),
            outgoing: Vec::with_capacity(16 * 1024),
            segment: Vec::new(),
            hung: false,
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

    /// Whether the PHY is copper, behind MDIO, and semaphores follow the X540's rules.
    fn is_copper(&self) -> bool {
        matches!(self.options.device, 0x1528 | 0x1563)
    }

    /// Whether the redirection table has 512 entries of 6 bits.
    fn has_long_reta(&self) -> bool {
        self.options.device == 0x1563
    }

    fn is_resetting(&self) -> bool {
        self.regs.at(CTRL) & (CTRL_RST | CTRL_LRST) != 0
    }

    /// The longest frame without its check sequence (8.2.3.22.13).
    fn longest_frame(&self, tagged: bool) -> usize {
        let with_fcs = if self.regs.has(HLREG0, HLREG0_JUMBOEN) { self.regs.at(MAXFRS) >> 16 } else { 1518 };
        (with_fcs as usize).saturating_sub(4) + if tagged { 4 } else { 0 }
    }

    fn write_ctrl(&mut self, slot: &Slot<'_>, value: u32) {
        if value & (CTRL_RST | CTRL_LRST) != 0 && !self.is_resetting() {
            self.reset_registers(slot.now_us());
            // What else the write sets is reset with the rest: Linux resets with GIO_DIS still set, and never clears it.
            self.regs.set(CTRL, value & (CTRL_RST | CTRL_LRST));
            self.reset_done_us = slot.now_us() + RESET_US;
            self.timer_us = self.timer_us.min(self.reset_done_us);
        } else {
            // The reset bits clear themselves and nothing else clears them.
            self.regs.set(CTRL, value | self.regs.at(CTRL) & (CTRL_RST | CTRL_LRST));
        }
    }

    /// What a software reset does: every register to its value after reset, queues down, link down, the address from the EEPROM (4.2.1.6).
    fn reset_registers(&mut self, now_us: u64) {
        let kept = [SWSM, SW_FW_SYNC].map(|register| (register, self.regs.at(register)));
        self.regs.reset();
        for (register, value) in kept {
            self.regs.set(register, value);
        }
        self.regs.set(RXPBSIZE, if self.is_copper() { 384 << 10 } else { 512 << 10 });
        self.regs.set(TXPBSIZE, 160 << 10);
        let [a, b, c, d, e, f] = eeprom::address(&self.eeprom);
        self.regs.set(RAL, u32::from_le_bytes([a, b, c, d]));
        self.regs.set(RAL + 4, 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        self.spi.drive(&mut self.eeprom, now_us, spi::CS);
        self.stats = Stats::default();
        self.interrupts = Interrupts::new();
        self.link = Link::new();
        self.flow = Flow::new();
        self.rx.fill(Ring::receive());
        self.tx.fill(Ring::transmit());
        self.contexts.fill(Default::default());
        (self.tx_running, self.tx_waiting, self.drop_queues, self.held_bytes, self.eerd_done_us) = (0, 0, 0, 0, u64::MAX);
        self.hung = false;
        self.reset_host_interface();
        self.moving.clear();
        self.held.clear();
        self.large.clear();
        self.looped.clear();
        self.toeplitz = None;
        self.load_addresses();
        self.auto_read_us = now_us + AUTO_READ_US;
        self.dma_init_us = now_us + DMA_INIT_US;
        self.timer_us = self.auto_read_us;
    }

    /// Lets the timers of a reset and of flow control expire.
    #[inline]
    fn expire(&mut self, slot: &Slot<'_>) -> bool {
        let due = slot.now_us() >= self.timer_us;
        if due {
            self.expire_due(slot.now_us());
        }
        due
    }

    fn expire_due(&mut self, now_us: u64) {
        if now_us >= self.reset_done_us {
            self.reset_done_us = u64::MAX;
            if !self.faults.reset_stuck {
                self.regs.change(CTRL, CTRL_RST | CTRL_LRST, false);
            }
        }
        if now_us >= self.auto_read_us {
            self.auto_read_us = u64::MAX;
            self.regs.change(EEC, EEC_AUTO_RD, !self.faults.no_auto_read);
        }
        if now_us >= self.dma_init_us {
            self.dma_init_us = u64::MAX;
            self.regs.change(RDRXCTL, RDRXCTL_DMAIDONE, !self.faults.no_dma_init);
        }
        self.expire_flow(now_us);
        let timers = [self.reset_done_us, self.auto_read_us, self.dma_init_us, self.flow.resume_us, self.flow.refresh_us];
        self.timer_us = timers.into_iter().fold(u64::MAX, u64::min);
    }

    /// Brings queues up and down.
    fn move_queues(&mut self) -> bool {
        let mut moved = false;
        let stuck = self.faults.queue_disable_stuck;
        let (rx, tx, running, large) = (&mut self.rx, &mut self.tx, &mut self.tx_running, &mut self.large);
        self.moving.retain(|&Moving { receives, queue }| {
            let ring = if receives { &mut rx[queue] } else { &mut tx[queue] };
            if ring.state == State::Disabling && stuck {
                return true;
            }
            let up = ring.state == State::Enabling;
            if up && ring.slots() > 0 {
                ring.state = State::Enabled;
            } else if ring.state == State::Disabling {
                ring.state = State::Disabled;
            }
            (ring.faulted, ring.segments_sent, ring.unreported) = (up && !ring.fits(), 0, Default::default());
            if receives {
                large.retain(|large| large.queue as usize != queue);
            } else {
                *running = if ring.state == State::Enabled { *running | 1 << queue } else { *running & !(1 << queue) };
            }
            moved = true;
            false
        });
        moved
    }
}

// SAFETY: its DMA is that of the rings of enabled queues: their descriptors, and the buffers that these name, each until it is reported as done; a queue that is
// disabled, and the whole card in a reset, forgets them. Frames are copied to and from vectors of its own. (Faults make it lie: see [`Faults`].)
unsafe impl Model for Ixgbe {
    fn config_read(&mut self, _: &Slot<'_>, offset: u16, width: u8) -> u32 {
        self.read_config(offset, width)
    }

    fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        self.write_config(slot, offset, width, value);
    }

    fn bar_len_bytes(&self, index: u8) -> Option<usize> {
        match index {
            0 => Some(pci::REGISTERS_BYTES as usize),
            4 => Some(pci::MSIX_BYTES as usize),
            _ => None,
        }
    }

    fn bar_read(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8) -> u64 {
        if self.faults.gone {
            return u64::MAX;
        }
        let word = |card: &mut Self, offset: u32| match index {
            0 if offset < CSR_BYTES => card.read_register(slot, offset),
            0 => u32::MAX,
            _ if offset < pci::MSIX_PENDING => card.msix.table_read(offset as usize),
            _ => card.msix.pending_read((offset - pci::MSIX_PENDING) as usize),
        };
        match width {
            4 => word(self, offset).into(),
            8 => u64::from(word(self, offset)) | u64::from(word(self, offset + 4)) << 32,
            _ => {
                if index == 0 {
                    slot.violation("a register was read with less than 32 bits", format_args!("offset {offset:#07x}"), 0, "8.1.2");
                }
                u64::from(word(self, offset & !3)) >> (8 * (offset & 3))
            }
        }
    }

    fn bar_write(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8, value: u64) {
        let write = |card: &mut Self, offset: u32, value: u32| match index {
            0 if offset < CSR_BYTES => card.write_register(slot, offset, value),
            4 if offset < pci::MSIX_PENDING => card.msix.table_write(slot, offset as usize, value),
            _ => {}
        };
        if self.faults.gone {
            return;
        }
        match width {
            4 => write(self, offset, value as u32),
            8 => {
                write(self, offset, value as u32);
                write(self, offset + 4, (value >> 32) as u32);
            }
            _ if index == 0 => {
                slot.violation("a register was written with less than 32 bits", format_args!("offset {offset:#07x}"), value, "8.1.2");
            }
            _ => {}
        }
    }

    fn reset(&mut self, slot: &Slot<'_>) {
        self.config = pci::config_space(&self.options);
        self.msix.reset();
        for semaphore in [SWSM, SW_FW_SYNC] {
            self.regs.set(semaphore, 0);
        }
        self.reset_registers(slot.now_us());
    }

    fn is_bus_master(&self) -> bool {
        self.may_master()
    }

    fn msix(&mut self) -> &mut Msix {
        &mut self.msix
    }

    fn legacy(&mut self) -> Legacy {
        self.legacy_interrupts()
    }

    fn step(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        if self.faults.gone {
            return false;
        }
        let mut busy = self.expire(slot);
        busy |= self.follow_link(slot);
        busy |= self.report_due(slot, dma);
        if !self.moving.is_empty() {
            busy |= self.move_queues();
        }
        // A pause frame that found the wire busy goes before the next frame.
        busy |= self.control_flow(slot.now_us(), wire);
        busy |= self.transmit(slot, dma, wire);
        busy |= self.receive(slot, dma, wire);
        busy |= self.control_flow(slot.now_us(), wire);
        busy |= self.interrupts.signal(slot, &mut self.msix);
        busy
    }

    fn holds_frames(&self) -> bool {
        !self.held.is_empty()
    }

    fn next_event_us(&self) -> Option<u64> {
        let own = [self.timer_us, self.link.up_us, self.eerd_done_us, self.next_report_us(), self.next_large_us()];
        let timers = own.into_iter().map(Some).chain([self.interrupts.next_event_us()]);
        timers.flatten().filter(|&us| us != u64::MAX).min()
    }
}
