//! A model of a virtio network card (virtio 1.3, modern PCI transport or memory mapped, split and packed queues, one or several pairs of them and a control queue).
//!
//! Section numbers are those of Virtual I/O Device (VIRTIO) Version 1.3. The model is stricter than a device has to be: what the specification forbids a
//! driver is recorded as a violation, and a queue is only looked at after a notification where one was asked for.

mod access;
mod coalesce;
mod counts;
mod ctrl;
mod filter;
mod flow;
mod gso;
mod join;
mod mmio;
mod options;
mod partial;
mod pci;
mod queue;
mod queue_reset;
mod regs;
mod rx;
mod sets;
mod space;
mod stats;
mod steer;
mod tx;

use std::collections::VecDeque;

use crate::config::ConfigSpace;
use crate::dma::Dma;
use crate::mishap::Mishap;
use crate::model::Model;
use crate::msix::Msix;
use crate::slot::Slot;
use crate::wire::Wire;
use counts::Counts;
use join::Arrived;
use queue::{Chain, Queue, Rules};
use regs::*;
use sets::Ctrl;

pub use options::{Faults, RxChecksum, UsedIds, VirtioNetOptions};

/// struct virtio_net_hdr with num_buffers (5.1.6).
const HEADER_BYTES: usize = 12;
/// The same with hash_value, hash_report and padding, where VIRTIO_NET_F_HASH_REPORT was negotiated.
const HASH_HEADER_BYTES: usize = 20;
/// Queues with the control queue.
const MAX_QUEUES: usize = 2 * MAX_PAIRS + 1;

/// The receive queue of a pair (5.1.2).
const fn receiveq(pair: usize) -> usize {
    2 * pair
}

/// Its transmit queue.
const fn transmitq(pair: usize) -> usize {
    2 * pair + 1
}

/// What the card keeps of one pair beside its queues.
#[derive(Default)]
struct Pair {
    /// The driver has notified of receive buffers since the card ran out of them: only then it looks for more.
    has_buffers: bool,
    /// Receive buffers that were taken and are too few for the frame that waits.
    stash: VecDeque<Chain>,
    /// A chain that was taken and is not fetched yet.
    fetching: Option<Chain>,
    /// Frames that the wire had no room for, with the chain that they came of.
    unsent: Option<(Chain, VecDeque<Vec<u8>>)>,
    /// Chains that were sent and are not given back.
    sent: Vec<Chain>,
}

/// The card.
pub struct VirtioNet {
    faults: Faults,
    /// What it says of the checksum of frames that it delivers. Only with VIRTIO_NET_F_GUEST_CSUM.
    pub rx_checksum: RxChecksum,
    /// Chains that were sent are kept while this is set.
    pub hold_tx: bool,
    /// Chains are given back in the wrong order, last first: as allowed without VIRTIO_F_IN_ORDER.
    pub last_first: bool,
    options: VirtioNetOptions,
    config: ConfigSpace,
    msix: Msix,
    status: u8,
    /// When the reset under way is over.
    reset_done_us: Option<u64>,
    device_feature_select: u32,
    driver_feature_select: u32,
    driver_features: u64,
    config_vector: u16,
    generation: u8,
    queue_select: u16,
    /// Those of the pairs, and last the control queue, wherever the driver finds it.
    queues: Vec<Queue>,
    pairs: Vec<Pair>,
    ctrl: Ctrl,
    block: Block,
    isr: u8,
    mac: [u8; 6],
    link_up: bool,
    /// Mbit/s, and duplex (5.1.4).
    speed: (u32, u8),
    wants_reset: bool,
    /// The configuration changed, of which nobody was told yet.
    changed: bool,
    /// What was sent is not reported, until a reset.
    hung: bool,
    /// What is said of received frames makes no sense, until a reset.
    lies: bool,
    /// The frame that waits for buffers of a pair.
    waiting: Option<(usize, Arrived)>,
    /// The frame that came behind one that was put together.
    ahead: Option<Vec<u8>>,
    counters: Counters,
    /// What it tells of each queue, by its place.
    stats: [Counts; MAX_QUEUES],
}

/// What the card counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Frames delivered.
    pub received: u64,
    /// Frames lost for want of buffers.
    pub dropped: u64,
    /// Frames sent.
    pub sent: u64,
    /// Notifications of each queue.
    pub notifications: [u64; MAX_QUEUES],
    /// Frames that its filters kept out.
    pub filtered: u64,
    /// Commands of the control queue that were done.
    pub commands: u64,
    /// Commands that were refused.
    pub refused: u64,
    /// Frames delivered by each pair's receive queue.
    pub received_by: [u64; MAX_PAIRS],
    /// Frames sent by each pair's transmit queue.
    pub sent_by: [u64; MAX_PAIRS],
    /// Chains of an indirect table.
    pub indirect: u64,
    /// Transmit chains of more than one piece.
    pub chained: u64,
    /// Received frames in more than one buffer.
    pub merged: u64,
    /// How often a queue was enabled.
    pub enabled: u64,
    /// Received frames that were put together from several.
    pub joined: u64,
    /// Chains of receive and transmit queues that were used and had no entry, or descriptor, of their own (VIRTIO_F_IN_ORDER).
    pub skipped: u64,
}

impl VirtioNet {
    /// A card as after power-on.
    pub fn new(options: VirtioNetOptions) -> Self {
        let size = options.queue_size;
        Self {
            faults: Faults::default(),
            rx_checksum: options.rx_checksum,
            hold_tx: false,
            last_first: false,
            config: space::config_space(&options),
            msix: Msix::new(options.vector_count()),
            status: 0,
            reset_done_us: None,
            device_feature_select: 0,
            driver_feature_select: 0,
            driver_features: 0,
            config_vector: NO_VECTOR,
            generation: 0,
            queue_select: 0,
            queues: (0..=2 * options.pairs).map(|_| Queue::new(size)).collect(),
            pairs: (0..options.pairs).map(|_| Pair::default()).collect(),
            ctrl: Ctrl::new(),
            block: Block::default(),
            isr: 0,
            mac: options.mac,
            link_up: true,
            speed: (10_000, 1),
            wants_reset: false,
            changed: false,
            hung: false,
            lies: false,
            waiting: None,
            ahead: None,
            counters: Counters::default(),
            stats: [Counts::default(); MAX_QUEUES],
            options,
        }
    }

    /// How it misbehaves. Change it while it runs with [`SimDevice::with_model`](crate::SimDevice::with_model).
    ///
    /// # Safety
    /// A card that misbehaves breaks what its driver relies on, beyond what a driver can see: it reports a buffer that it was lent and did not use, and uses it
    /// later. Nobody holds a reference to the bytes of a frame while such a card moves.
    pub unsafe fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// What it counted since power-on.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The features that the driver accepted.
    pub fn negotiated(&self) -> u64 {
        self.driver_features
    }

    /// The address that it tells now.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The device status field.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Sets speed and duplex as the card tells them: Mbit/s, and 0 for half, 1 for full, 0xff for unknown duplex.
    pub fn set_speed(&mut self, mbps: u32, duplex: u8) {
        self.speed = (mbps, duplex);
        self.generation = self.generation.wrapping_add(1);
    }

    /// Whether it waits to be announced.
    pub fn is_announcing(&self) -> bool {
        self.ctrl.announces
    }

    /// The driver is asked to announce itself (5.1.6.5.4): VIRTIO_NET_S_ANNOUNCE, which a command clears.
    pub fn ask_for_announcement(&mut self) {
        self.ctrl.announces = true;
        self.changed = true;
    }

    /// The card loses its way: DEVICE_NEEDS_RESET with the next step.
    pub fn lose_its_way(&mut self) {
        self.wants_reset = true;
    }

    /// Somebody else than its driver resets it, by the status.
    pub fn be_reset(&mut self) {
        self.forget();
    }

    /// It stops a queue, and forgets how that was set up. `false`: there is none of that number.
    pub fn forget_queue(&mut self, index: u16) -> bool {
        let place = self.place_of(index.into());
        let Some(queue) = place.and_then(|place| self.queues.get_mut(place)) else { return false };
        *queue = Queue::new(self.options.queue_size);
        true
    }

    /// How many queues the pairs have as the driver counts them: one pair, until several were negotiated (5.1.2).
    fn pair_queues(&self) -> usize {
        let is_multi = self.has(VIRTIO_NET_F_MQ) || self.has(VIRTIO_NET_F_RSS);
        if is_multi { 2 * self.options.pairs } else { 2 }
    }

    /// How many queues there are, with the control queue behind those of the pairs.
    fn queue_count(&self) -> usize {
        self.pair_queues() + usize::from(self.offers(VIRTIO_NET_F_CTRL_VQ))
    }

    /// Where the queue that the driver calls `index` is kept; `None`: there is none.
    fn place_of(&self, index: usize) -> Option<usize> {
        match index.checked_sub(self.pair_queues()) {
            None => Some(index),
            Some(0) if self.offers(VIRTIO_NET_F_CTRL_VQ) => Some(self.control()),
            Some(_) => None,
        }
    }

    /// Where the control queue is kept.
    fn control(&self) -> usize {
        self.queues.len() - 1
    }

    /// How long the header before each frame is, in both directions.
    fn header_bytes(&self) -> usize {
        if self.has(VIRTIO_NET_F_HASH_REPORT) { HASH_HEADER_BYTES } else { HEADER_BYTES }
    }

    fn offers(&self, number: u32) -> bool {
        self.options.features & bit(number) != 0
    }

    fn has(&self, number: u32) -> bool {
        self.driver_features & bit(number) != 0
    }

    /// Whether it does what a feature of received frames is about: that was negotiated, and not switched off since.
    fn does(&self, number: u32) -> bool {
        self.has(number) && self.ctrl.offloads_off & bit(number) == 0
    }

    fn is(&self, status: u32) -> bool {
        u32::from(self.status) & status != 0
    }

    fn is_live(&self) -> bool {
        self.is(VIRTIO_CONFIG_S_DRIVER_OK) && !self.is(VIRTIO_CONFIG_S_NEEDS_RESET) && self.reset_done_us.is_none()
    }

    fn rules(&self) -> Rules {
        Rules {
            event_idx: self.has(VIRTIO_RING_F_EVENT_IDX),
            indirect: self.has(VIRTIO_RING_F_INDIRECT_DESC),
            packed: self.has(VIRTIO_F_RING_PACKED),
            ids: self.options.used_ids,
            says_write: self.options.says_write,
            in_order: self.has(VIRTIO_F_IN_ORDER),
            skips: self.options.skips,
        }
    }

    /// 2.4.1: everything as after power-on, and no queue is touched any more.
    fn forget(&mut self) {
        let kept = (self.config.clone(), self.msix.clone(), (self.link_up, self.speed), self.counters, self.faults.clone());
        let toggles = (self.rx_checksum, self.hold_tx, self.last_first, self.generation);
        let stats = self.stats;
        let block = Block { selected: [false; 2], ..self.block.clone() };
        let mac = if self.ctrl.mac_was_set { self.options.mac } else { self.mac };
        *self = Self::new(self.options.clone());
        (self.config, self.msix, (self.link_up, self.speed), self.counters, self.faults) = kept;
        (self.mac, self.block, self.stats) = (mac, block, stats);
        (self.rx_checksum, self.hold_tx, self.last_first, self.generation) = toggles;
    }

    /// The configuration changed (4.1.5.3).
    fn announce_change(&mut self, slot: &Slot<'_>) {
        self.generation = self.generation.wrapping_add(1);
        if self.is(VIRTIO_CONFIG_S_DRIVER_OK) {
            self.tell_of_change(slot);
        }
    }

    fn follow_link(&mut self, slot: &Slot<'_>) -> bool {
        if slot.carrier() == self.link_up {
            return false;
        }
        self.link_up = slot.carrier();
        if self.has(VIRTIO_NET_F_STATUS) {
            self.announce_change(slot);
        }
        true
    }

    /// Tells the driver that `queue` has used entries, where it wants to know.
    fn signal(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, queue: usize) {
        let rules = self.rules();
        let Some(end) = self.queues.get_mut(queue) else { return };
        // A fault is recorded by the IOMMU. Where the driver's wish cannot be read now, an interrupt too many does no harm.
        if end.wants_interrupt(slot, dma, rules).unwrap_or_else(|fault| fault.is_passing()) {
            let vector = end.vector;
            self.stats[queue].interrupted();
            self.tell_of_buffers(slot, vector);
        }
    }
}

// SAFETY: its DMA is that of the rings of enabled queues: their descriptors, and the buffers that these name, each until it is reported as done; a queue that is
// disabled, and the whole card in a reset, forgets them. Frames are copied to and from vectors of its own. (Faults make it lie: see [`Faults`].)
unsafe impl Model for VirtioNet {
    fn config_read(&mut self, slot: &Slot<'_>, offset: u16, width: u8) -> u32 {
        if self.faults.gone { u32::MAX >> (32 - 8 * u32::from(width)) } else { self.read_config_space(slot, offset, width) }
    }

    fn config_write(&mut self, slot: &Slot<'_>, offset: u16, width: u8, value: u32) {
        if !self.faults.gone {
            self.write_config_space(slot, offset, width, value);
        }
    }

    fn bar_len_bytes(&self, index: u8) -> Option<usize> {
        match index {
            BLOCK_BAR if self.options.mmio => Some(BLOCK_BYTES),
            _ if index == space::msix_bar(&self.options) => Some(space::MSIX_BYTES),
            STRUCTURES_BAR if self.options.has_bar && !self.options.mmio => Some(STRUCTURES_BYTES),
            _ => None,
        }
    }

    fn bar_read(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8) -> u64 {
        match index {
            _ if self.faults.gone => u64::MAX,
            BLOCK_BAR if self.options.mmio => self.read_block(slot, offset, width),
            STRUCTURES_BAR => self.read_structure(slot, offset, width),
            _ if offset < space::MSIX_PENDING => self.msix.table_read(offset as usize).into(),
            _ => self.msix.pending_read((offset - space::MSIX_PENDING) as usize).into(),
        }
    }

    fn bar_write(&mut self, slot: &Slot<'_>, index: u8, offset: u32, width: u8, value: u64) {
        match index {
            _ if self.faults.gone => {}
            BLOCK_BAR if self.options.mmio => self.write_block(slot, offset, width, value),
            STRUCTURES_BAR => self.write_structure(slot, offset, width, value),
            _ if offset < space::MSIX_PENDING => self.msix.table_write(slot, offset as usize, value as u32),
            _ => {}
        }
    }

    fn reset(&mut self, _: &Slot<'_>) {
        self.forget();
        self.config = space::config_space(&self.options);
        self.msix.reset();
    }

    fn is_bus_master(&self) -> bool {
        self.may_master()
    }

    fn msix(&mut self) -> &mut Msix {
        &mut self.msix
    }

    fn suffer(&mut self, mishap: Mishap) -> bool {
        match mishap {
            Mishap::Hang => self.hung = true,
            Mishap::NeedsReset => self.lose_its_way(),
            Mishap::Lie => self.lies = true,
            Mishap::Vanish => self.faults.gone = true,
            Mishap::Moved if self.has(VIRTIO_NET_F_GUEST_ANNOUNCE) => self.ask_for_announcement(),
            Mishap::Moved => return false,
            // It has no word for them.
            Mishap::MemoryError | Mishap::BusError | Mishap::Overheat | Mishap::PfReset => return false,
        }
        true
    }

    fn step(&mut self, slot: &Slot<'_>, dma: &Dma<'_>, wire: &mut dyn Wire) -> bool {
        if self.faults.gone {
            return false;
        }
        let mut busy = self.follow_link(slot);
        if std::mem::take(&mut self.changed) && self.has(VIRTIO_NET_F_GUEST_ANNOUNCE) {
            self.announce_change(slot);
            busy = true;
        }
        if self.reset_done_us.is_some_and(|us| us <= slot.now_us()) {
            self.forget();
            busy = true;
        }
        busy |= self.end_queue_resets(slot);
        let lost = self.wants_reset || self.queues.iter().any(|queue| queue.dead);
        if lost && !self.is(VIRTIO_CONFIG_S_NEEDS_RESET) {
            self.wants_reset = false;
            // 2.1.2: "the device MUST set DEVICE_NEEDS_RESET", and "If DRIVER_OK is set, [...] MUST send a device configuration change notification".
            self.status |= VIRTIO_CONFIG_S_NEEDS_RESET as u8;
            self.announce_change(slot);
            busy = true;
        }
        if self.is_live() {
            busy |= self.obey(slot, dma);
            for pair in 0..self.pairs.len() {
                busy |= self.transmit(slot, dma, wire, pair);
            }
            busy |= self.receive(slot, dma, wire);
            busy |= self.signal_what_is_due(slot, dma);
        }
        busy
    }

    fn next_event_us(&self) -> Option<u64> {
        let signal_us = self.next_signal_us().filter(|_| self.is_live());
        self.reset_done_us.filter(|&us| us != u64::MAX).into_iter().chain(signal_us).chain(self.next_queue_reset_us()).min()
    }
}
