//! Rings, buffers and queues of a start, before the card knows of any: the same for a port and for a virtual function.

use alloc::sync::Arc;
use alloc::vec::Vec;

use driver_core::buf::BufPool;
use driver_core::device::config::Limits;
use driver_core::device::{Config, DeviceInfo, ErrorKind, Offloads, Settings, Shared, warn};
use driver_core::ether::FrameLimits;
use driver_core::host::{Bar, PciFunction, VectorPlan, Vectors};
use driver_core::queue::TxGate;
use driver_core::queue::core::RxLimits;
use driver_core::ring::{DescRing, RingMemory, RxRing, TxRing};

use crate::card::Card;
use crate::config::{self, MAX_VECTORS, buffer_kb, longest_in_memory};
use crate::desc::{rx, rx_rules, tx_rules};
use crate::irq::{Intervals, Paced, TxVector};
use crate::layout::Layout;
use crate::ptp::Ptp;
use crate::queues::{RingAt, RxSetup};
use crate::rx::whole::Manner;
use crate::rx::{Receive, Rx};
use crate::stats::Counting;
use crate::tx::{Transmit, Tx};

/// Rings begin at multiples of this (8.2.3.8.1 RDBAL, 8.2.3.9.5 TDBAL).
const RING_ALIGN_BYTES: usize = 128;

/// How many interrupt vectors can be used.
pub(crate) fn vectors(function: &impl PciFunction) -> u16 {
    function.interrupt_count().min(MAX_VECTORS)
}

/// Queues on their way into the card.
pub(crate) struct Queues<B: Bar> {
    pub(crate) rx: Vec<Rx<B>>,
    pub(crate) rx_setup: Vec<RxSetup>,
    pub(crate) tx: Vec<Tx<B>>,
    pub(crate) tx_rings: Vec<RingAt>,
    pub(crate) pool: BufPool,
    /// Which vector tells of what, as far as the function has them.
    pub(crate) plan: Option<VectorPlan>,
    pub(crate) shared: Shared,
    pub(crate) counting: Arc<Counting<B>>,
    pub(crate) intervals: Arc<Intervals>,
    pub(crate) ptp: Option<Arc<Ptp<B>>>,
}

impl<B: Bar> Queues<B> {
    /// Everything that touches memory and not the card: checks, pool, rings. `incoming`: the longest frames that the card may let in.
    pub(crate) fn prepare(
        function: &impl PciFunction,
        card: &Card<B>,
        (config, settings): (&Config, &Settings),
        info: &DeviceInfo,
        counting: Counting<B>,
        incoming: FrameLimits,
    ) -> Result<Self, ErrorKind> {
        config::check(config, settings, function.dma(), &Limits::of(info, vectors(function)), incoming)?;
        warn(config, info);
        let pool = match config.given_pool() {
            Some(pool) => pool.clone(),
            None => BufPool::new(function.dma(), config::own_pool(settings, incoming))?,
        };
        let mut memory = RingMemory::new(pool.domain(), ring_bytes(settings))?;
        let mut queues = Self {
            rx: Vec::new(),
            rx_setup: Vec::new(),
            tx: Vec::new(),
            tx_rings: Vec::new(),
            pool,
            plan: settings.vectors(),
            shared: Shared::watched(card.clock.clone(), settings.tx().hang_us()).recovering(settings.recovery()),
            counting: Arc::new(counting),
            intervals: Arc::new(Intervals::new(settings.moderation())),
            ptp: Ptp::of(card, settings),
        };
        for index in 0..settings.rx().queue_count() {
            queues.add_rx(card, settings, index, &mut memory, incoming)?;
        }
        for index in 0..settings.tx().queue_count() {
            queues.add_tx(card, settings, index, &mut memory)?;
        }
        Ok(queues)
    }

    fn add_rx(&mut self, card: &Card<B>, settings: &Settings, index: u16, memory: &mut RingMemory, incoming: FrameLimits) -> Result<(), ErrorKind> {
        let verdicts = if settings.offloads().contains(Offloads::RX_CHECKSUM) { 0 } else { rx::VERDICTS };
        // The card sets VP for every tagged frame, also where the tag is still in it (VP-UNSTRIPPED).
        let hidden = verdicts | if settings.strips_vlan() { 0 } else { rx::VP | rx::VLAN_TAG };
        let len = settings.rx().ring_len();
        let manner = Manner::of(settings);
        let mut ring = RxRing::in_part(memory.take(DescRing::part_bytes(len), RING_ALIGN_BYTES)?, &self.pool, len, index, rx_rules(verdicts))?;
        manner.prepare(&mut ring)?;
        let (buffer_kb, hardware) = (buffer_kb(self.pool.data_bytes())?, Layout::of(settings).queue(index));
        self.rx_setup.push(RxSetup {
            queue: hardware,
            ring: RingAt { iova: ring.iova(), len: ring.len() },
            tail: ring.tail(),
            buffer_kb,
            // DROP
            drop: settings.drops(index),
            strip: settings.strips_vlan(),
            manner,
        });
        let tail = card.bar.doorbell(card.places.rdt.at(hardware.into())?.offset())?;
        let whole = manner.limits(longest_in_memory(settings, incoming), buffer_kb);
        let limits = RxLimits { max_frame_bytes: whole.max_bytes, max_pieces: whole.max_segments };
        let vector = self.plan.and_then(|plan| plan.rx(index));
        let paced = Paced::new(self.intervals.clone(), len);
        let (bar, clock, counting, ptp) = (card.bar.clone(), card.clock.clone(), self.counting.clone(), self.ptp.clone());
        let kernel = Receive::new(ring, tail, bar, clock, hardware, vector, hidden, counting, paced, whole, ptp);
        self.rx.push(Rx::new(kernel, self.shared.rx_seat(), index, limits));
        Ok(())
    }

    fn add_tx(&mut self, card: &Card<B>, settings: &Settings, index: u16, memory: &mut RingMemory) -> Result<(), ErrorKind> {
        let limits = settings.limits();
        // Frames of one buffer at most: what is longer takes the scalar way.
        let rules = tx_rules(limits.untagged_bytes().min(self.pool.data_bytes()) as u16);
        let (len, gate) = (settings.tx().ring_len(), settings.tx().gate_config());
        let part = memory.take(DescRing::part_bytes(len), RING_ALIGN_BYTES)?;
        let ring = TxRing::in_part(part, &self.pool, len, rules, gate.byte_limit.is_some())?;
        let gate = TxGate::new(gate, len)?;
        self.tx_rings.push(RingAt { iova: ring.iova(), len: ring.len() });
        let tail = card.bar.doorbell(card.places.tdt.at(index.into())?.offset())?;
        let vector = self.plan.and_then(|plan| plan.tx(index)).map(TxVector::new);
        let work = config::card_work(settings);
        let (bar, clock, ptp) = (card.bar.clone(), card.clock.clone(), self.ptp.clone());
        let kernel = Transmit { ring, tail, bar, clock, places: card.places, index, work, outer: settings.double_vlan(), vector, ptp };
        let tx = Tx::new(kernel, self.shared.tx_seat(), index, gate, limits);
        self.tx.push(tx.software(settings.software_work()).behind(settings.double_vlan()));
        Ok(())
    }
}

/// What a card that came up is used through.
pub(crate) struct Up<F: PciFunction> {
    pub(crate) queues: Queues<F::Bar>,
    pub(crate) vectors: Vectors<F::Interrupt>,
}

/// How many bytes the rings of all queues take together.
fn ring_bytes(settings: &Settings) -> usize {
    let queues = |count: u16, len| usize::from(count) * DescRing::part_bytes(len);
    let (rx, tx) = (settings.rx(), settings.tx());
    queues(rx.queue_count(), rx.ring_len()) + queues(tx.queue_count(), tx.ring_len())
}
