//! Opening and starting a device.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use core::{fmt, slice};

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::config::Limits;
use driver_core::device::control::{hand_out, refuse_filters, take_back};
use driver_core::device::error::steps;
use driver_core::device::{Caps, Config, DeviceInfo, During, Error, ErrorKind, NetDriver, SelfTest, Settings, Shared, warn};
use driver_core::host::{Clock, Interrupt, PciFunction, VectorPlan, Vectors};
use driver_core::queue::TxGate;
use driver_core::queue::core::{RxCore, RxLimits, TxCore};
use driver_core::ring::RingMemory;

use crate::card::Card;
use crate::config::{self, MAX_MTU, MAX_RING, MIN_RING};
use crate::control::{Control, Manage};
use crate::error::HardwareError;
use crate::layout::{Layout, Packed, Split, TxWatch};
use crate::queues::QueueUp;
use crate::regs::{Features, Status, net};
use crate::rx::{Receive, Rx};
use crate::silence::silence;
use crate::tx::{Transmit, Tx};

/// What [`VirtioNet::start`] gives.
pub type Started<F> = driver_core::device::Started<VirtioNet<F>>;

/// A device could not be started: why, and the device, stopped, to be started otherwise.
pub type StartError<F> = driver_core::device::StartError<VirtioNet<F>>;

/// A device that was reset and identified, and waits to be started.
pub struct VirtioNet<F: PciFunction> {
    card: Card<F>,
    info: DeviceInfo,
    /// Interrupt vectors that the function has.
    vectors: u16,
    /// IOVAs are physical addresses.
    physical: bool,
}

/// Takes a PCI function, resets it, and reads what it offers.
///
/// On a simulated device, whose time the program itself lets pass:
///
/// ```
/// use std::sync::Arc;
///
/// use driver_core::buf::Batch;
/// use driver_core::device::{Config, NetDevice, RxMode};
/// use driver_core::host::Clock;
/// use driver_core::queue::{RxQueue, TxQueue, TxState};
/// use sim::wire::{Wire, peer};
/// use sim::{Iommu, SimClock, SimDevice};
///
/// # fn main() -> Result<(), virtio_net::Error> {
/// let (near, mut far) = peer::pair(8);
/// let model = sim::virtio_net::VirtioNet::new(sim::virtio_net::VirtioNetOptions::new());
/// let card = SimDevice::new("sim", Box::new(model), Box::new(near), Iommu::new());
/// let clock = Arc::new(SimClock::new([card.clone()]));
///
/// let device = virtio_net::open(card.function(), clock.clone())?;
/// let mut started = device.start(&Config::new().rx_mode(RxMode::PROMISCUOUS))?;
/// clock.sleep_us(5_000); // the link comes up
/// far.send(&[7; 100]);
/// clock.sleep_us(100);
///
/// let mut batch = Batch::new(8);
/// assert_eq!(started.rx[0].poll(&mut batch, 8), 1);
/// assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
/// clock.sleep_us(100);
/// let mut back = Vec::new();
/// assert!(far.receive(&mut back) && back == [7; 100]);
/// started.control.stop()?;
/// assert!(card.violations().is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error`]: the function is no modern virtio network card, does not come out of its reset, or its configuration makes no sense.
pub fn open<F: PciFunction>(function: F, clock: Arc<dyn Clock>) -> Result<VirtioNet<F>, Error> {
    let name = String::from(function.name());
    let vectors = function.interrupt_count();
    let mut card = Card::find(function, clock).during(&name, steps::OPENING)?;
    card.greet().during(&name, steps::RESETTING)?;
    card.function.lock().forbid_dma().during(&name, steps::RESETTING)?;
    let mac = card.identify().during(&name, steps::OPENING)?;
    let queue_size = card.queue_size(net::RECEIVEQ).and_then(|rx| Ok(rx.max(card.queue_size(net::TRANSMITQ)?))).during(&name, steps::OPENING)?;

    let mut info = DeviceInfo::new(&name, "virtio-net", "virtio network device", mac);
    info.ring_limits = MIN_RING..=queue_size.into();
    info.max_mtu = card.device_mtu.unwrap_or(MAX_MTU).min(MAX_MTU);
    info.caps = config::caps(card.offered);
    info.caps.set(Caps::INTERRUPTS, vectors > 0);
    tell_features(&mut info, &card, card.takes(), vectors > 0);
    log::info!("{}: address {mac}, features {}", info.name, info.features.join(" "));
    Ok(VirtioNet { card, info, vectors, physical: false })
}

/// Says which of the offered features are in use, in every vocabulary.
fn tell_features<F: PciFunction>(info: &mut DeviceInfo, card: &Card<F>, used: Features, has_interrupts: bool) {
    info.used_caps = config::caps(used);
    info.used_caps.set(Caps::INTERRUPTS, has_interrupts);
    info.features = used.names();
    info.unused_features = card.offered.difference(used).names();
}

impl<F: PciFunction> VirtioNet<F> {
    /// What the device is and can do.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Everything that the device offers.
    pub fn offered(&self) -> Features {
        self.card.offered
    }

    /// IOVAs are physical addresses, as in VFIO's no-IOMMU mode: then, and only then, a device without VIRTIO_F_ACCESS_PLATFORM may be started.
    ///
    /// # Safety
    /// They are: such a device takes what it is given for a physical address, whatever an IOMMU would make of it.
    #[allow(unsafe_code, reason = "a device that bypasses the IOMMU reaches all memory")]
    pub unsafe fn assume_physical_addresses(&mut self) {
        self.physical = true;
    }

    /// Negotiates features, sets the queues up and lets the device receive and transmit. Rings are made as long as `config` says and the device allows.
    ///
    /// # Errors
    /// [`StartError`] with the reason and the device, stopped. Where the device does not even confirm its reset, the buffers it was lent leak.
    pub fn start(self, config: &Config) -> Result<Started<F>, StartError<F>> {
        let mut settings = Settings::new(config, &self.info);
        settings.set_available_vectors(self.vectors);
        let mut shared = Shared::watched(self.card.transport.clock().clone(), settings.tx().hang_us());
        match self.bring_up(config, &mut settings, &mut shared) {
            Ok(Running { mut pair, tx_interrupts, watch, pool, vectors, features }) => {
                let interrupt = pair.hand_out(vectors, settings.vectors(), tx_interrupts);
                let (rx, tx) = pair.queues();
                let (rx, tx) = (vec![rx], vec![tx]);
                let Self { card, mut info, .. } = self;
                tell_features(&mut info, &card, features, settings.vectors().is_some());
                Ok(Started::new(Control::new(Manage::new(card, features, watch), info, settings, shared, interrupt), rx, tx, pool))
            }
            Err(kind) => {
                // The queues are gone already; what they had lent comes back where the device is silent.
                let answer = silence(self.card.transport.reset());
                if let Err(second) = take_back(&mut *self.card.function.lock(), &mut shared, answer) {
                    log::error!("{}: {second}", self.info.name);
                }
                Err(StartError::new(Error::new(&self.info.name, steps::STARTING, kind), self))
            }
        }
    }

    /// The device, of which the features are not negotiated.
    pub(crate) fn card(&self) -> &Card<F> {
        &self.card
    }

    /// How many interrupt vectors the function has.
    pub(crate) fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Starts the device for `work` alone, which gets the transmit queue and its vector, where it has one. Afterwards it is as it was opened.
    pub(crate) fn with_transmit_queue<T>(
        &mut self,
        config: &Config,
        work: impl FnOnce(&mut Tx<F>, &BufPool, Option<F::Interrupt>) -> T,
    ) -> Result<T, ErrorKind> {
        let mut settings = Settings::new(config, &self.info);
        settings.set_available_vectors(self.vectors);
        let mut shared = Shared::watched(self.card.transport.clock().clone(), settings.tx().hang_us());
        let running = self.bring_up(config, &mut settings, &mut shared);
        let result = running.map(|Running { pair, tx_interrupts, pool, mut vectors, .. }| {
            let vector = settings.vectors().and_then(|plan| plan.tx(0)).filter(|_| tx_interrupts).and_then(|vector| vectors.take(vector));
            let (rx, mut tx) = pair.queues();
            (work(&mut tx, &pool, vector), (rx, tx, vectors))
        });
        let answer = silence(self.card.transport.reset());
        take_back(&mut *self.card.function.lock(), &mut shared, answer)?;
        self.card.greet()?;
        result.map(|(result, _)| result)
    }

    /// Rings may be longer than the device's, and are cut then.
    fn limits(&self) -> Limits {
        let mut limits = Limits::of(&self.info, self.vectors);
        limits.ring = MIN_RING..=MAX_RING;
        limits
    }

    /// 3.1.1 from the start to DRIVER_OK.
    fn bring_up(&self, config: &Config, settings: &mut Settings, shared: &mut Shared) -> Result<Running<F>, ErrorKind> {
        let card = &self.card;
        let mrg_rxbuf = config::spreads(self.info.used_caps, settings.offloads());
        config::check(config, settings, &card.domain, &self.limits(), mrg_rxbuf)?;
        warn(config, &self.info);
        refuse_filters(config)?;
        if !card.takes().contains(Features::ACCESS_PLATFORM) && !self.physical {
            return Err(HardwareError::NoAccessPlatform.into());
        }
        let pool = match config.given_pool() {
            Some(pool) => pool.clone(),
            None => BufPool::new(&card.domain, config::own_pool(settings, mrg_rxbuf))?,
        };
        card.greet()?;
        // 3.1.1: whoever gives up "SHOULD set the FAILED status bit"; the reset that gives the device back comes behind it.
        self.negotiate_and_go_live(config, settings, shared, pool).inspect_err(|_| card.transport.add_status(Status::FAILED))
    }

    /// The same from the features on.
    fn negotiate_and_go_live(&self, config: &Config, settings: &mut Settings, shared: &mut Shared, pool: BufPool) -> Result<Running<F>, ErrorKind> {
        let card = &self.card;
        let features = card.negotiate(&pool, settings.offloads(), config.wants_packed_queues())?;
        // SAFETY: it was reset just now (`greet`), so that it knows of no memory. What it is told from here on are the areas of queues: it uses none before the
        // queue is enabled, below, and then `Rx` and `Tx` hold them until the device was seen to stop.
        #[allow(unsafe_code, reason = "from here on the device accesses memory")]
        unsafe { card.function.lock().allow_dma() }?;
        let vectors = card.set_up_vectors(settings.vectors())?;
        let mut running = if features.contains(Features::RING_PACKED) {
            let (rx, tx, running) = self.set_up::<Packed>(settings, shared, pool, vectors, features)?;
            running.with(Pair::Packed(rx, tx))
        } else {
            let (rx, tx, running) = self.set_up::<Split>(settings, shared, pool, vectors, features)?;
            running.with(Pair::Split(rx, tx))
        };
        // Last, when nothing can fail any more that would free the queues' memory.
        card.transport.enable_queue(net::RECEIVEQ);
        card.transport.enable_queue(net::TRANSMITQ);
        card.go_live()?;
        running.pair.kick();
        Ok(running)
    }

    /// The queues, in one layout. They are not enabled yet.
    #[allow(clippy::type_complexity, reason = "a pair of queues, and what goes with them")]
    fn set_up<L: Layout>(
        &self,
        settings: &mut Settings,
        shared: &mut Shared,
        pool: BufPool,
        vectors: Vectors<F::Interrupt>,
        features: Features,
    ) -> Result<(RxCore<Receive<F, L::Rx>>, TxCore<Transmit<F, L::Tx>>, Running<F, ()>), ErrorKind> {
        let (card, plan, limits) = (&self.card, settings.vectors(), settings.limits());
        let rx_size = card.ring_size(net::RECEIVEQ, settings.rx().ring_len())?;
        let tx_size = card.ring_size(net::TRANSMITQ, settings.tx().ring_len())?;
        let (rx_len, tx_len) = (u32::from(rx_size), u32::from(tx_size));
        settings.set_ring_lens(rx_len, tx_len);
        let indirect = features.contains(Features::INDIRECT_DESC);
        // One region for the queues, and for what the transmit queue has beside its rings.
        let bytes = L::queue_bytes(rx_size) + L::queue_bytes(tx_size) + L::tx_bytes(tx_size, indirect);
        let mut memory = RingMemory::new(&card.domain, bytes)?;

        let rx_vector = plan.and_then(|plan| plan.rx(0));
        let QueueUp { queue, notify, .. } = card.set_up_queue::<L>(net::RECEIVEQ, &mut memory, rx_size, features, rx_vector)?;
        let ring = L::rx(queue, &pool)?;
        let rx_limits = RxLimits { max_frame_bytes: limits.longest(true), max_pieces: rx_len as usize };
        let rx = RxCore::new(Receive::new(ring, notify, features, limits), shared.rx_seat(), 0, rx_limits);

        let QueueUp { queue, notify, interrupts: tx_interrupts } =
            card.set_up_queue::<L>(net::TRANSMITQ, &mut memory, tx_size, features, plan.and_then(|plan| plan.tx(0)))?;
        let gate = TxGate::new(settings.tx().gate_config(), tx_len)?;
        let ring = L::tx(&mut memory, queue, &pool, indirect)?;
        let watch = L::watch(&ring);
        // Of one buffer at most, and untagged: only frames that go one at a time are looked at for a tag.
        let longest = limits.untagged_bytes().min(pool.data_bytes()) as u16;
        let max_ordinary_bytes = if gate.counts_bytes() { None } else { Some(longest) };
        let kernel = Transmit {
            ring,
            notify,
            transport: card.transport.another(),
            tells_link: features.contains(Features::STATUS),
            csum: features.contains(Features::CSUM),
            max_ordinary_bytes,
        };
        let tx = TxCore::new(kernel, shared.tx_seat(), 0, gate, limits).software(settings.software_work());
        Ok((rx, tx, Running { pair: (), watch, tx_interrupts, pool, vectors, features }))
    }
}

impl<F: PciFunction> NetDriver for VirtioNet<F> {
    type Control = Control<F>;
    type Rx = Rx<F>;
    type Tx = Tx<F>;

    fn pool_config(info: &DeviceInfo, config: &Config) -> PoolConfig {
        let settings = Settings::new(config, info);
        config::own_pool(&settings, config::spreads(info.used_caps, settings.offloads()))
    }

    fn info(&self) -> &DeviceInfo {
        self.info()
    }

    fn start(self, config: &Config) -> Result<Started<F>, StartError<F>> {
        self.start(config)
    }

    fn self_test(&mut self, link_us: u64) -> Result<SelfTest, Error> {
        self.self_test(link_us)
    }
}

impl<F: PciFunction> fmt::Debug for VirtioNet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioNet").field("info", &self.info).field("features", &format!("{:#x}", self.card.takes().bits())).finish_non_exhaustive()
    }
}

/// A receive and a transmit queue of one layout.
#[allow(clippy::large_enum_variant, reason = "both are of one size, but for the rings' private words")]
enum Pair<F: PciFunction> {
    Split(RxCore<Receive<F, <Split as Layout>::Rx>>, TxCore<Transmit<F, <Split as Layout>::Tx>>),
    Packed(RxCore<Receive<F, <Packed as Layout>::Rx>>, TxCore<Transmit<F, <Packed as Layout>::Tx>>),
}

impl<F: PciFunction> Pair<F> {
    /// Tells the device of its first receive buffers.
    fn kick(&mut self) {
        match self {
            Self::Split(rx, _) => rx.kick(),
            Self::Packed(rx, _) => rx.kick(),
        }
    }

    /// Gives each its vector, the transmit queue where it `has` one. Returns the control handle's.
    fn hand_out(&mut self, vectors: Vectors<F::Interrupt>, plan: Option<VectorPlan>, has: bool) -> Option<Box<dyn Interrupt>> {
        fn told<T>(tx: &mut T, has: bool) -> &mut [T] {
            if has { slice::from_mut(tx) } else { &mut [] }
        }
        match self {
            Self::Split(rx, tx) => hand_out(vectors, plan, slice::from_mut(rx), told(tx, has)),
            Self::Packed(rx, tx) => hand_out(vectors, plan, slice::from_mut(rx), told(tx, has)),
        }
    }

    fn queues(self) -> (Rx<F>, Tx<F>) {
        match self {
            Self::Split(rx, tx) => (Rx::Split(rx), Tx::Split(tx)),
            Self::Packed(rx, tx) => (Rx::Packed(rx), Tx::Packed(tx)),
        }
    }
}

/// A device that came up, with its queues.
struct Running<F: PciFunction, P = Pair<F>> {
    pair: P,
    watch: TxWatch,
    /// The transmit queue has its vector.
    tx_interrupts: bool,
    pool: BufPool,
    vectors: Vectors<F::Interrupt>,
    features: Features,
}

impl<F: PciFunction> Running<F, ()> {
    fn with(self, pair: Pair<F>) -> Running<F> {
        let Self { watch, tx_interrupts, pool, vectors, features, .. } = self;
        Running { pair, watch, tx_interrupts, pool, vectors, features }
    }
}
