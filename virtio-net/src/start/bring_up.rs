//! From the reset to a live device: 3.1.1 up to DRIVER_OK, with the queues of one layout or the other, and what the control queue sets behind it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use driver_core::buf::BufPool;
use driver_core::device::{Config, ErrorKind, Settings, Shared, warn};
use driver_core::host::{Interrupt, PciFunction, Vectors};
use driver_core::queue::TxGate;
use driver_core::queue::core::{RxCore, RxLimits, TxCore};
use driver_core::ring::{CommandQueue, RingMemory};

use super::VirtioNet;
use super::running::{Queues, Running, RxOf, TxOf};
use crate::config;
use crate::ctrl::Ctrl;
use crate::desc::{HASH_HDR_BYTES, NET_HDR_BYTES};
use crate::device_stats::DeviceStats;
use crate::error::HardwareError;
use crate::filter::{Filters, refuse};
use crate::large;
use crate::layout::{Layout, Packed, Split, SplitInOrder};
use crate::queues::{self, QueueAt, QueueUp};
use crate::recover::Places;
use crate::regs::{Features, Status, net};
use crate::rx::Receive;
use crate::segment;
use crate::tx::{MAX_SEGMENTS, Transmit};
use crate::watch::TxWatch;

/// Descriptors of a control queue: one command is under way at a time.
const CONTROL_DESCRIPTORS: u32 = 64;
/// Descriptors of a queue whose pair is in use for the other direction alone.
const IDLE_DESCRIPTORS: u32 = config::MIN_RING;

/// Descriptors of an indirect table.
const TABLE: u16 = 16;
/// The same where the device cuts, so that a large packet may lie in one.
const LONG_TABLE: u16 = MAX_SEGMENTS as u16 + 1;

/// How many descriptors an indirect table has: none where chains lie in the queue itself.
fn table_of(features: Features) -> u16 {
    match (features.contains(Features::INDIRECT_DESC), features.intersects(segment::CUTS)) {
        (false, _) => 0,
        (true, false) => TABLE,
        (true, true) => LONG_TABLE,
    }
}

/// The queues of one layout that are set up and not enabled yet.
type SetUp<F, L> = Running<(Vec<RxOf<F, L>>, Vec<TxOf<F, L>>)>;

/// How many queues of each direction there are, and how many pairs that makes.
#[derive(Clone, Copy)]
struct Counts {
    rx: u16,
    tx: u16,
}

impl Counts {
    fn of(settings: &Settings) -> Self {
        Self { rx: settings.rx().queue_count(), tx: settings.tx().queue_count() }
    }

    fn pairs(self) -> u16 {
        self.rx.max(self.tx)
    }
}

impl<F: PciFunction> VirtioNet<F> {
    /// Resets the device and makes it live. `ctrl` gets its control queue, which has to be given back where this fails.
    pub(super) fn bring_up(
        &self,
        config: &Config,
        settings: &mut Settings,
        shared: &mut Shared,
        ctrl: &mut Option<Ctrl<F>>,
    ) -> Result<Running<Queues<F>>, ErrorKind> {
        let card = &self.card;
        let header_bytes = if config.wants_rx_hash() && card.takes().contains(Features::HASH_REPORT) { HASH_HDR_BYTES } else { NET_HDR_BYTES };
        let mrg_rxbuf = config::spreads(self.info.used_caps, settings.offloads());
        config::check(config, settings, &card.domain, &self.limits(), mrg_rxbuf, header_bytes)?;
        warn(config, &self.info);
        refuse(config, card.takes())?;
        let counts = Counts::of(settings);
        if counts.tx > counts.rx && !card.takes().contains(Features::RSS) {
            // The device spreads what it receives over all pairs (5.1.6.5.6): nobody would poll the others.
            return Err(ErrorKind::Unsupported {
                what: "more transmit queues than receive queues without VIRTIO_NET_F_RSS",
                instead: "open as many receive queues",
            });
        }
        if !card.takes().contains(Features::ACCESS_PLATFORM) && !self.physical {
            return Err(HardwareError::NoAccessPlatform.into());
        }
        let pool = match config.given_pool() {
            Some(pool) => pool.clone(),
            None => BufPool::new(&card.domain, config::own_pool(settings, mrg_rxbuf))?,
        };
        card.greet()?;
        // 3.1.1: whoever gives up "SHOULD set the FAILED status bit"; the reset that gives the device back comes behind it.
        self.negotiate_and_go_live(config, settings, shared, pool, ctrl).inspect_err(|_| card.transport.add_status(Status::FAILED))
    }

    /// The same from the features on.
    fn negotiate_and_go_live(
        &self,
        config: &Config,
        settings: &mut Settings,
        shared: &mut Shared,
        pool: BufPool,
        ctrl: &mut Option<Ctrl<F>>,
    ) -> Result<Running<Queues<F>>, ErrorKind> {
        let card = &self.card;
        let features = card.negotiate(&pool, settings, config)?;
        // SAFETY: it was reset just now (`greet`), so that it knows of no memory. What it is told from here on are the areas of queues: it uses none before the
        // queue is enabled, below, and then `Rx`, `Tx` and `Ctrl` hold them until the device was seen to stop.
        #[allow(unsafe_code, reason = "from here on the device accesses memory")]
        unsafe { card.function.lock().allow_dma() }?;
        let vectors = card.set_up_vectors(settings.vectors())?;
        // Packed queues are of one kind in whichever order buffers come back.
        let is_in_order = features.contains(Features::IN_ORDER);
        let mut running = match (features.contains(Features::RING_PACKED), features.contains(Features::HASH_REPORT)) {
            (false, false) if is_in_order => {
                let running = self.set_up::<SplitInOrder<NET_HDR_BYTES>>(settings, shared, pool, vectors, features, ctrl)?;
                running.with(|(rx, tx)| Queues::SplitInOrder(rx, tx))
            }
            (false, true) if is_in_order => {
                let running = self.set_up::<SplitInOrder<HASH_HDR_BYTES>>(settings, shared, pool, vectors, features, ctrl)?;
                running.with(|(rx, tx)| Queues::SplitInOrderHash(rx, tx))
            }
            (false, false) => {
                let running = self.set_up::<Split<NET_HDR_BYTES>>(settings, shared, pool, vectors, features, ctrl)?;
                running.with(|(rx, tx)| Queues::Split(rx, tx))
            }
            (true, false) => {
                let running = self.set_up::<Packed<NET_HDR_BYTES>>(settings, shared, pool, vectors, features, ctrl)?;
                running.with(|(rx, tx)| Queues::Packed(rx, tx))
            }
            (false, true) => {
                let running = self.set_up::<Split<HASH_HDR_BYTES>>(settings, shared, pool, vectors, features, ctrl)?;
                running.with(|(rx, tx)| Queues::SplitHash(rx, tx))
            }
            (true, true) => {
                let running = self.set_up::<Packed<HASH_HDR_BYTES>>(settings, shared, pool, vectors, features, ctrl)?;
                running.with(|(rx, tx)| Queues::PackedHash(rx, tx))
            }
        };
        // Last, when nothing can fail any more that would free the queues' memory.
        let pairs = Counts::of(settings).pairs();
        (0..2 * pairs).for_each(|index| card.transport.enable_queue(index));
        if ctrl.is_some() {
            card.transport.enable_queue(self.control_index(features));
        }
        card.go_live()?;
        running.queues.kick();
        if let Some(ctrl) = ctrl {
            running.filters = card.tell_all(ctrl, features, (settings.rss(), pairs), settings, self.info.permanent_mac)?;
            let Counts { rx, tx } = Counts::of(settings);
            running.device_stats = DeviceStats::of(ctrl, &*card.transport, features, [rx, tx], self.control_index(features))?;
        }
        Ok(running)
    }

    /// 5.1.2: the control queue lies behind those of all pairs that the device has, where several were negotiated.
    fn control_index(&self, features: Features) -> u16 {
        if features.intersects(Features::MQ | Features::RSS) { net::receiveq(self.card.max_pairs) } else { net::receiveq(1) }
    }

    /// The queues, in one layout. They are not enabled yet.
    fn set_up<L: Layout>(
        &self,
        settings: &mut Settings,
        shared: &mut Shared,
        pool: BufPool,
        vectors: Vectors<Box<dyn Interrupt>>,
        features: Features,
        ctrl: &mut Option<Ctrl<F>>,
    ) -> Result<SetUp<F, L>, ErrorKind> {
        let (card, counts) = (&self.card, Counts::of(settings));
        let sizes = Sizes::of(self, settings, counts, features)?;
        settings.set_ring_lens(sizes.rx.into(), sizes.tx.into());
        let table = table_of(features);
        // One region for the queues, and for what transmit queues and the control queue have beside their rings.
        let mut memory = RingMemory::new(&card.domain, sizes.bytes::<L>(counts, table))?;

        let (mut rx, mut tx, mut watches, mut places) = (Vec::new(), Vec::new(), Vec::new(), Places::default());
        for pair in 0..counts.pairs() {
            if pair < counts.rx {
                let (queue, at) = self.set_up_rx::<L>(pair, &mut memory, sizes.rx, settings, shared, &pool, features)?;
                rx.push(queue);
                places.rx.push(at);
            } else {
                places.idle.push(card.set_up_queue::<L>(net::receiveq(pair), &mut memory, sizes.idle, features, None)?.at);
            }
            if pair < counts.tx {
                let (queue, watch, at) = self.set_up_tx::<L>(pair, &mut memory, sizes.tx, settings, shared, &pool, features)?;
                tx.push(queue);
                watches.push(watch);
                places.tx.push(at);
            } else {
                places.idle.push(card.set_up_queue::<L>(net::transmitq(pair), &mut memory, sizes.idle, features, None)?.at);
            }
        }
        if let Some(size) = sizes.control {
            let index = self.control_index(features);
            let QueueUp { queue, notify, at } = card.set_up_queue::<L>(index, &mut memory, size, features, None)?;
            places.idle.push(at);
            *ctrl = Some(Ctrl::new(L::commands(&mut memory, queue)?, notify));
        }
        let tx_interrupts = places.tx.iter().all(|at| at.vector.is_some());
        Ok(Running { queues: (rx, tx), watches, places, tx_interrupts, pool, vectors, features, filters: Filters::of_reset(), device_stats: None })
    }

    #[allow(clippy::too_many_arguments, reason = "what a queue is made of")]
    #[allow(clippy::type_complexity, reason = "a queue")]
    fn set_up_rx<L: Layout>(
        &self,
        pair: u16,
        memory: &mut RingMemory,
        size: u16,
        settings: &Settings,
        shared: &mut Shared,
        pool: &BufPool,
        features: Features,
    ) -> Result<(RxCore<Receive<F, L::Rx>>, QueueAt), ErrorKind> {
        let (limits, vector) = (settings.limits(), settings.vectors().and_then(|plan| plan.rx(pair)));
        let QueueUp { queue, notify, at } = self.card.set_up_queue::<L>(net::receiveq(pair), memory, size, features, vector)?;
        let ring = L::rx(queue, pool)?;
        let longest = limits.longest(true);
        let max_frame_bytes = if features.intersects(large::FRAMES) { longest.max(large::MAX_FRAME_BYTES) } else { longest };
        let rx_limits = RxLimits { max_frame_bytes, max_pieces: size.into() };
        Ok((
            RxCore::new(Receive::new(ring, notify, features, limits, (self.card.transport.another(), at.index)), shared.rx_seat(), pair, rx_limits),
            at,
        ))
    }

    /// The queue, what tells another thread how far the device is in it, and how it is set up.
    #[allow(clippy::too_many_arguments, reason = "what a queue is made of")]
    #[allow(clippy::type_complexity, reason = "a queue, and what goes with it")]
    fn set_up_tx<L: Layout>(
        &self,
        pair: u16,
        memory: &mut RingMemory,
        size: u16,
        settings: &Settings,
        shared: &mut Shared,
        pool: &BufPool,
        features: Features,
    ) -> Result<(TxCore<Transmit<F, L::Tx>>, TxWatch, QueueAt), ErrorKind> {
        let (transport, limits, plan) = (&*self.card.transport, settings.limits(), settings.vectors());
        let vector = plan.and_then(|plan| plan.tx(pair));
        let QueueUp { queue, notify, at } = self.card.set_up_queue::<L>(net::transmitq(pair), memory, size, features, vector)?;
        let gate = TxGate::new(settings.tx().gate_config(), size.into())?;
        let ring = L::tx(memory, queue, pool, table_of(features), features)?;
        let watch = L::watch(&ring);
        // Of one buffer at most, and untagged: only frames that go one at a time are looked at for a tag.
        let longest = limits.untagged_bytes().min(pool.data_bytes()) as u16;
        let max_ordinary_bytes = if gate.counts_bytes() { None } else { Some(longest) };
        let kernel = Transmit {
            ring,
            notify,
            transport: transport.another(),
            tells_link: features.contains(Features::STATUS),
            csum: features.contains(Features::CSUM),
            cuts: segment::of(features),
            max_ordinary_bytes,
            alone: queues::alone(at.index, features),
        };
        let tx = TxCore::new(kernel, shared.tx_seat(), pair, gate, limits).software(settings.software_work());
        Ok((tx, watch, at))
    }
}

/// How many descriptors queues have: all of a direction the same.
struct Sizes {
    rx: u16,
    tx: u16,
    idle: u16,
    /// `None`: there is no control queue.
    control: Option<u16>,
}

impl Sizes {
    fn of<F: PciFunction>(device: &VirtioNet<F>, settings: &Settings, counts: Counts, features: Features) -> Result<Self, ErrorKind> {
        let card = &device.card;
        let smallest = |count: u16, index: fn(u16) -> u16, wanted: u32| {
            (0..count).try_fold(u16::MAX, |least, pair| Ok::<_, ErrorKind>(least.min(card.ring_size(index(pair), wanted)?)))
        };
        let has_control = features.contains(Features::CTRL_VQ);
        Ok(Self {
            rx: smallest(counts.rx, net::receiveq, settings.rx().ring_len())?,
            tx: smallest(counts.tx, net::transmitq, settings.tx().ring_len())?,
            idle: IDLE_DESCRIPTORS as u16,
            control: if has_control { Some(card.control_size(device.control_index(features), CONTROL_DESCRIPTORS)?) } else { None },
        })
    }

    fn bytes<L: Layout>(&self, counts: Counts, table: u16) -> usize {
        let idle = 2 * counts.pairs() - counts.rx - counts.tx;
        let control = self.control.map_or(0, |size| L::queue_bytes(size) + CommandQueue::memory_bytes());
        usize::from(counts.rx) * L::queue_bytes(self.rx)
            + usize::from(counts.tx) * (L::queue_bytes(self.tx) + L::tx_bytes(self.tx, table))
            + usize::from(idle) * L::queue_bytes(self.idle)
            + control
    }
}
