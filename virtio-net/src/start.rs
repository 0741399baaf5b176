//! Opening and starting a device.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

mod bring_up;
mod running;

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::config::Limits;
use driver_core::device::control::take_back;
use driver_core::device::error::steps;
use driver_core::device::{Caps, Config, DeviceInfo, DeviceState, During, Error, ErrorKind, NetDriver, Recovery, SelfTest, Settings, Shared};
use driver_core::host::{Clock, Interrupt, PciFunction, WaitWaker};
use driver_core::queue::core::Silence;
use driver_core::queue::{RxQueue, TxQueue};

use crate::card::Card;
use crate::coalesce::{self, MAX_MODERATION_US};
use crate::config::{self, MAX_MTU, MAX_RING, MIN_RING};
use crate::control::{Control, Manage};
use crate::ctrl::Ctrl;
use crate::recover::Origin;
use crate::regs::{Features, net};
use crate::rx::Rx;
use crate::silence::silence;
use crate::tx::Tx;
use running::Running;

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
    let card = Card::find(function, clock).during(&name, steps::OPENING)?;
    identify(&name, vectors, card)
}

/// Takes a memory mapped device (4.2), resets it, and reads what it offers. `None`: there is none at this place, only room for one (DeviceID 0), which is no
/// error.
///
/// What a platform knows of the device is `function`: its BAR 0 is the block of registers from MagicValue on, [`dma`](PciFunction::dma) the memory that the
/// device reaches, and its only vector the device's interrupt line, which the driver acknowledges in the device (InterruptACK) whenever a wait for it ends by it.
/// The driver does not read its configuration space, but asks [`enable_registers`](PciFunction::enable_registers), [`is_removed`](PciFunction::is_removed),
/// [`allow_dma`](PciFunction::allow_dma), [`forbid_dma`](PciFunction::forbid_dma) and [`reset`](PciFunction::reset): a platform that has an IOMMU answers them
/// by it. There is nothing to be found on a bus: whoever implements the function knows the place (a device tree's `virtio,mmio`, ACPI, a command line).
///
/// # Errors
/// [`Error`]: the registers are none of a virtio device, or of one of the legacy interface (Version 1), or of another device than a network card; as [`open`].
pub fn open_mmio<F: PciFunction>(function: F, clock: Arc<dyn Clock>) -> Result<Option<VirtioNet<F>>, Error> {
    let name = String::from(function.name());
    let vectors = function.interrupt_count().min(1);
    match Card::at_registers(function, clock).during(&name, steps::OPENING)? {
        Some(card) => identify(&name, vectors, card).map(Some),
        None => {
            log::info!("{name}: no device is at this place");
            Ok(None)
        }
    }
}

/// Resets a device whose registers were found, and reads what it offers.
fn identify<F: PciFunction>(name: &str, vectors: u16, mut card: Card<F>) -> Result<VirtioNet<F>, Error> {
    card.greet().during(name, steps::RESETTING)?;
    card.function.lock().forbid_dma().during(name, steps::RESETTING)?;
    let mac = card.identify().during(name, steps::OPENING)?;
    let queue_size = card.queue_size(net::receiveq(0)).and_then(|rx| Ok(rx.max(card.queue_size(net::transmitq(0))?))).during(name, steps::OPENING)?;

    let mut info = DeviceInfo::new(name, "virtio-net", "virtio network device", mac);
    info.ring_limits = MIN_RING..=queue_size.into();
    info.max_mtu = card.device_mtu.unwrap_or(MAX_MTU).min(MAX_MTU);
    (info.max_rx_queues, info.max_tx_queues) = (card.max_pairs, card.max_pairs);
    info.rss = card.rss_limits().during(name, steps::OPENING)?;
    card.hash_types = info.rss.types;
    info.caps = config::caps(card.offered);
    info.caps.set(Caps::INTERRUPTS, vectors > 0);
    info.max_moderation_us = if vectors > 0 && coalesce::has(card.takes()) { MAX_MODERATION_US } else { 0 };
    tell_features(&mut info, &card, card.takes(), vectors > 0);
    log::info!("{}: address {mac}, features {}", info.name, info.features.join(" "));
    Ok(VirtioNet { card, info, vectors, physical: false })
}

/// What wakes those who sleep on these queues' interrupts. Where the host has none left, they find out by themselves.
fn wakers<F: PciFunction>(rx: &mut [Rx<F>], tx: &mut [Tx<F>]) -> Vec<Arc<dyn WaitWaker>> {
    let of_rx = rx.iter_mut().filter_map(RxQueue::interrupt);
    let of_tx = tx.iter_mut().filter_map(TxQueue::interrupt);
    of_rx.chain(of_tx).filter_map(|interrupt| interrupt.waker().ok().flatten()).collect()
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
        let mut shared = Shared::watched(self.card.transport.clock().clone(), settings.tx().hang_us()).recovering(settings.recovery());
        let mut ctrl = None;
        match self.bring_up(config, &mut settings, &mut shared, &mut ctrl) {
            Ok(Running { mut queues, tx_interrupts, places, watches, pool, vectors, features, filters, device_stats }) => {
                let interrupt = queues.hand_out(vectors, settings.vectors(), tx_interrupts);
                let (mut rx, mut tx) = queues.all();
                let wakers = if settings.recovery() == Recovery::Off { Vec::new() } else { wakers(&mut rx, &mut tx) };
                let Self { card, mut info, .. } = self;
                tell_features(&mut info, &card, features, settings.vectors().is_some());
                info.used_caps.set(Caps::RECOVERY, settings.recovery() != Recovery::Off);
                let origin = Origin::new(features, info.permanent_mac, places, wakers);
                let manage = Manage::new(card, origin, watches, ctrl, filters, &settings).counting(device_stats);
                Ok(Started::new(Control::new(manage, info, settings, shared, interrupt), rx, tx, pool))
            }
            Err(kind) => {
                // The queues are gone already; what they had lent comes back where the device is silent.
                let answer = self.silence(ctrl);
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
        work: impl FnOnce(&mut Tx<F>, &BufPool, Option<Box<dyn Interrupt>>) -> T,
    ) -> Result<T, ErrorKind> {
        let mut settings = Settings::new(config, &self.info);
        settings.set_available_vectors(self.vectors);
        let mut shared = Shared::watched(self.card.transport.clock().clone(), settings.tx().hang_us());
        let mut ctrl = None;
        let running = self.bring_up(config, &mut settings, &mut shared, &mut ctrl);
        let result = running.and_then(|Running { queues, tx_interrupts, pool, mut vectors, .. }| {
            let vector = settings.vectors().and_then(|plan| plan.tx(0)).filter(|_| tx_interrupts).and_then(|vector| vectors.take(vector));
            let (rx, mut tx) = queues.all();
            let first = tx.first_mut().ok_or(ErrorKind::NotRunning(DeviceState::Stopped))?;
            let result = work(first, &pool, vector);
            Ok((result, (rx, tx, vectors)))
        });
        let answer = self.silence(ctrl);
        take_back(&mut *self.card.function.lock(), &mut shared, answer)?;
        self.card.greet()?;
        result.map(|(result, _)| result)
    }

    /// Resets a device that was brought up, or failed to come up, and takes its control queue back.
    fn silence(&self, ctrl: Option<Ctrl<F>>) -> Result<Silence, ErrorKind> {
        let silence = silence(self.card.transport.reset())?;
        if let Some(ctrl) = ctrl {
            ctrl.release(&silence);
        }
        Ok(silence)
    }

    /// Rings may be longer than the device's, and are cut then.
    fn limits(&self) -> Limits {
        let mut limits = Limits::of(&self.info, self.vectors);
        limits.ring = MIN_RING..=MAX_RING;
        limits
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
