//! Opening and starting a device.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use core::fmt;

use driver_core::buf::{BufPool, PoolError};
use driver_core::device::config::Limits;
use driver_core::device::error::steps;
use driver_core::device::{Caps, Config, ConfigError, DeviceInfo, During, Error, ErrorKind, NetDriver, Offloads, Settings, Shared};
use driver_core::ether::{FrameLimits, MIN_MTU, MacAddr};
use driver_core::host::{Clock, DmaDomain, PciFunction, Vectors};
use driver_core::queue::TxGate;
use driver_core::queue::core::RxLimits;
use driver_core::ring::split::{SplitQueue, SplitRx, SplitTx};

use crate::config::{self, MAX_MTU, MAX_RING, MIN_RING};
use crate::control::Control;
use crate::error::HardwareError;
use crate::filter::local_mac;
use crate::regs::{Features, Status, common, net, pci};
use crate::rx::{Receive, Rx};
use crate::silence::silence;
use crate::transport::{SharedFunction, Transport};
use crate::tx::{Transmit, Tx};

/// What [`VirtioNet::start`] gives.
pub type Started<F> = driver_core::device::Started<VirtioNet<F>>;

/// A device could not be started: why, and the device, stopped, to be started otherwise.
pub type StartError<F> = driver_core::device::StartError<VirtioNet<F>>;

/// A device that was reset and identified, and waits to be started.
pub struct VirtioNet<F: PciFunction> {
    pub(crate) function: SharedFunction<F>,
    pub(crate) transport: Transport<F>,
    pub(crate) info: DeviceInfo,
    pub(crate) features: Features,
    pub(crate) offered: Features,
    domain: DmaDomain,
    vectors: u16,
    /// The device's own MTU, where it tells one.
    device_mtu: Option<u32>,
    /// IOVAs are physical addresses.
    physical: bool,
}

/// Takes a PCI function, resets it, and reads what it offers.
///
/// # Errors
/// [`Error`]: the function is no modern virtio network card, does not come out of its reset, or its configuration makes no sense.
pub fn open<F: PciFunction>(function: F, clock: Arc<dyn Clock>) -> Result<VirtioNet<F>, Error> {
    let name = String::from(function.name());
    let (domain, vectors) = (function.dma().clone(), function.interrupt_count());
    let (transport, function) = registers(function, clock).during(&name, steps::OPENING)?;
    greet(&transport).during(&name, steps::RESETTING)?;
    function.lock().forbid_dma().during(&name, steps::RESETTING)?;
    let Identity { offered, features, mac, device_mtu, queue_size } = identify(&transport).during(&name, steps::OPENING)?;

    let mut info = DeviceInfo::new(&name, "virtio-net", "virtio network device", mac);
    info.ring_limits = (MIN_RING, queue_size.into());
    info.max_mtu = device_mtu.unwrap_or(MAX_MTU).min(MAX_MTU);
    (info.caps, info.used_caps) = (config::caps(offered), config::caps(features));
    if vectors > 1 {
        info.caps |= Caps::INTERRUPTS;
        info.used_caps |= Caps::INTERRUPTS;
    }
    info.features = features.names();
    info.unused_features = offered.difference(features).names();
    log::info!("{}: address {mac}, features {}", info.name, info.features.join(" "));
    Ok(VirtioNet { function, transport, info, features, offered, domain, vectors, device_mtu, physical: false })
}

/// That the function is a virtio network card, and where its registers are.
fn registers<F: PciFunction>(mut function: F, clock: Arc<dyn Clock>) -> Result<(Transport<F>, SharedFunction<F>), ErrorKind> {
    let id = function.id()?;
    if id.vendor != pci::VENDOR || !matches!(id.device, pci::MODERN_DEVICE | pci::TRANSITIONAL_DEVICE) {
        return Err(ErrorKind::UnknownId { id, driver: "virtio-net", drives: "network cards 1af4:1041 and 1af4:1000" });
    }
    log::info!("{}: {id}", function.name());
    function.enable_registers()?;
    Transport::find(function, clock)
}

/// What a device says of itself.
struct Identity {
    offered: Features,
    features: Features,
    mac: MacAddr,
    device_mtu: Option<u32>,
    /// Descriptors of the larger queue.
    queue_size: u16,
}

fn identify<F: PciFunction>(transport: &Transport<F>) -> Result<Identity, ErrorKind> {
    let offered = transport.offered();
    if !offered.contains(Features::VERSION_1) {
        return Err(HardwareError::NotModern { missing: "VIRTIO_F_VERSION_1" }.into());
    }
    let features = offered & Features::USED;
    transport.check_device_len(config_len_bytes(features))?;
    let mac = permanent_mac(transport, features)?;
    let device_mtu = device_mtu(transport, features)?;
    let queue_size = queue_size(transport, net::RECEIVEQ)?.max(queue_size(transport, net::TRANSMITQ)?);
    Ok(Identity { offered, features, mac, device_mtu, queue_size })
}

/// What is left where the device did not confirm its reset: one of the whole function. Where that is done the device is silent.
pub(crate) fn force_silence<F: PciFunction>(function: &SharedFunction<F>, unconfirmed: ErrorKind) -> Result<(), ErrorKind> {
    let mut function = function.lock();
    match function.reset() {
        Ok(()) => {
            log::warn!("{}: {unconfirmed}; the function was reset instead", function.name());
            Ok(())
        }
        Err(error) => {
            log::error!("{error}");
            Err(unconfirmed)
        }
    }
}

/// 3.1.1, steps 1 to 3: "Reset the device.", "Set the ACKNOWLEDGE status bit: the guest OS has noticed the device.", "Set the DRIVER status bit".
fn greet<F: PciFunction>(transport: &Transport<F>) -> Result<(), ErrorKind> {
    transport.reset()?;
    transport.add_status(Status::ACKNOWLEDGE);
    transport.add_status(Status::DRIVER);
    Ok(())
}

/// How many bytes of the device configuration these features need.
fn config_len_bytes(features: Features) -> u32 {
    let ends = [(Features::MAC, net::MAC.end()), (Features::STATUS, net::STATUS.end()), (Features::MTU, net::MTU.end())];
    ends.into_iter().filter(|&(feature, _)| features.contains(feature)).map(|(_, end)| end).max().unwrap_or(0)
}

fn permanent_mac<F: PciFunction>(transport: &Transport<F>, features: Features) -> Result<MacAddr, ErrorKind> {
    if !features.contains(Features::MAC) {
        return Ok(local_mac(&transport.name, transport.clock.now_us()));
    }
    let mac = transport.config(|device| {
        let mut mac = [0; 6];
        mac.iter_mut().zip(net::MAC.iter()).for_each(|(byte, register)| *byte = register.read(device));
        MacAddr(mac)
    })?;
    if mac.is_valid_unicast() { Ok(mac) } else { Err(HardwareError::DeviceConfig { what: "mac is no unicast address" }.into()) }
}

fn device_mtu<F: PciFunction>(transport: &Transport<F>, features: Features) -> Result<Option<u32>, ErrorKind> {
    if !features.contains(Features::MTU) {
        return Ok(None);
    }
    let mtu = transport.config(|device| net::MTU.read(device))?.into();
    // 5.1.4.1: "The device MUST set mtu to between 68 and 65535 inclusive, if it offers VIRTIO_NET_F_MTU."
    if mtu < MIN_MTU { Err(HardwareError::DeviceConfig { what: "mtu is below 68" }.into()) } else { Ok(Some(mtu)) }
}

/// The largest size of a queue, which it has after a reset; the queue stays selected.
fn queue_size<F: PciFunction>(transport: &Transport<F>, index: u16) -> Result<u16, ErrorKind> {
    common::QUEUE_SELECT.write(&transport.common, index);
    let size = common::QUEUE_SIZE.read(&transport.common);
    if !size.is_power_of_two() || u32::from(size) > MAX_RING {
        return Err(HardwareError::Queue { index, size }.into());
    }
    Ok(size)
}

impl<F: PciFunction> VirtioNet<F> {
    /// What the device is and can do.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Everything that the device offers.
    pub fn offered(&self) -> Features {
        self.offered
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
    pub fn start(mut self, config: &Config) -> Result<Started<F>, StartError<F>> {
        let mut shared = Shared::new();
        let mut settings = Settings::new(config, self.info.permanent_mac);
        match self.bring_up(config, &mut settings, &mut shared) {
            Ok(Running { mut rx, tx, pool, mut vectors, features }) => {
                let plan = settings.vectors();
                if let Some(interrupt) = plan.and_then(|plan| plan.rx(rx.index())).and_then(|vector| vectors.take(vector)) {
                    rx.set_interrupt(Box::new(interrupt));
                }
                let control = Control::new(self, settings, features, shared, plan.and_then(|plan| vectors.take(plan.control())));
                Ok(Started::new(control, vec![rx], vec![tx], pool))
            }
            Err(kind) => {
                // The queues are gone already; what they had lent comes back where the device is silent.
                shared.set_stopping();
                let answer = self.transport.reset();
                if let Err(second) = self.function.lock().forbid_dma() {
                    log::error!("{}: {second}", self.info.name);
                }
                match silence(answer.or_else(|unconfirmed| force_silence(&self.function, unconfirmed))) {
                    Ok(silence) => shared.set_stopped(&silence),
                    Err(second) => log::error!("{}: {second}", self.info.name),
                }
                Err(StartError::new(Error::new(&self.info.name, steps::STARTING, kind), self))
            }
        }
    }

    /// Rings may be longer than the device's, and are cut then.
    fn limits(&self) -> Limits {
        let mut limits = Limits::of(&self.info, self.vectors);
        limits.ring = MIN_RING..=MAX_RING;
        limits
    }

    /// 3.1.1 from the start to DRIVER_OK.
    fn bring_up(&mut self, config: &Config, settings: &mut Settings, shared: &mut Shared) -> Result<Running<F>, ErrorKind> {
        let mrg_rxbuf = self.features.contains(Features::MRG_RXBUF);
        config::check(config, settings, &self.domain, &self.limits(), mrg_rxbuf)?;
        if !self.features.contains(Features::ACCESS_PLATFORM) && !self.physical {
            return Err(HardwareError::NoAccessPlatform.into());
        }
        let pool = match config.given_pool() {
            Some(pool) => pool.clone(),
            None => BufPool::new(&self.domain, config::own_pool(settings, mrg_rxbuf)).map_err(pool_error)?,
        };
        greet(&self.transport)?;
        let features = self.negotiate(&pool, settings.offloads())?;
        // SAFETY: it was reset just now (`greet`), so that it knows of no memory. What it is told from here on are the areas of queues: it uses none before the
        // queue is enabled, below, and then `Rx` and `Tx` hold them until the device was seen to stop.
        #[allow(unsafe_code, reason = "from here on the device accesses memory")]
        unsafe { self.function.lock().allow_dma() }?;
        let vectors = self.set_up_vectors(settings)?;
        let limits = settings.limits();

        let rx_vector = settings.vectors().and_then(|plan| plan.rx(0));
        let (queue, notify) = self.set_up_queue(net::RECEIVEQ, settings.rx().ring_len(), features, rx_vector)?;
        let rx_len = queue.size().into();
        let ring = SplitRx::new(queue, &pool)?;
        let rx_limits = RxLimits { max_frame_bytes: limits.longest(true), max_pieces: rx_len as usize };
        let mut rx = Rx::new(Receive::new(ring, notify, features, limits), shared.rx_seat(), 0, rx_limits);

        let (queue, notify) = self.set_up_queue(net::TRANSMITQ, settings.tx().ring_len(), features, None)?;
        let tx_len = queue.size().into();
        let gate = TxGate::new(settings.tx().gate_config(), tx_len)?;
        settings.set_ring_lens(rx_len, tx_len);
        let ring = SplitTx::new(queue, &self.domain, &pool, features.contains(Features::INDIRECT_DESC))?;
        // Of one buffer at most, and untagged: only frames that go one at a time are looked at for a tag.
        let longest = limits.untagged_bytes().min(pool.data_bytes()) as u16;
        let max_ordinary_bytes = if gate.counts_bytes() { None } else { Some(longest) };
        let kernel = Transmit { ring, notify, csum: features.contains(Features::CSUM), max_ordinary_bytes };
        let tx = Tx::new(kernel, shared.tx_seat(), 0, gate, limits);

        // Last, when nothing can fail any more that would free the queues' memory. 4.1.5.1.3: a queue is enabled when all else is set up.
        for index in [net::RECEIVEQ, net::TRANSMITQ] {
            common::QUEUE_SELECT.write(&self.transport.common, index);
            common::QUEUE_ENABLE.write(&self.transport.common, 1);
        }
        // Step 8: "Set the DRIVER_OK status bit. At this point the device is “live”."
        self.transport.add_status(Status::DRIVER_OK);
        if self.transport.status().contains(Status::DEVICE_NEEDS_RESET) {
            return Err(ErrorKind::NeedsReset);
        }
        rx.kick();
        Ok(Running { rx, tx, pool, vectors, features })
    }

    /// Steps 4 to 6: accept features, set FEATURES_OK, "Re-read device status to ensure the FEATURES_OK bit is still set".
    fn negotiate(&self, pool: &BufPool, offloads: Offloads) -> Result<Features, ErrorKind> {
        let mut features = self.features;
        // 5.1.4.2: with VIRTIO_NET_F_MTU the driver "MUST supply enough receive buffers to receive at least one receive packet of size mtu".
        let limits = FrameLimits::of(self.device_mtu.unwrap_or(0));
        if !features.contains(Features::MRG_RXBUF) && pool.data_bytes() < limits.tagged_bytes() {
            features.remove(Features::MTU);
        }
        for (offload, feature) in [(Offloads::RX_CHECKSUM, Features::GUEST_CSUM), (Offloads::TX_CHECKSUM, Features::CSUM)] {
            if !offloads.contains(offload) {
                features.remove(feature);
            }
        }
        self.transport.accept(features);
        self.transport.add_status(Status::FEATURES_OK);
        if !self.transport.status().contains(Status::FEATURES_OK) {
            self.transport.add_status(Status::FAILED);
            return Err(HardwareError::FeaturesRefused { accepted: features, offered: self.offered }.into());
        }
        Ok(features)
    }

    /// Turns the vectors on and gives the control vector to configuration changes (4.1.5.1.2).
    fn set_up_vectors(&self, settings: &Settings) -> Result<Vectors<F::Interrupt>, ErrorKind> {
        let common = &self.transport.common;
        let Some(plan) = settings.vectors() else {
            common::CONFIG_MSIX_VECTOR.write(common, common::NO_VECTOR);
            return Ok(Vectors::default());
        };
        let vectors = self.function.lock().enable_interrupts(plan.count())?;
        let vector = plan.control();
        common::CONFIG_MSIX_VECTOR.write(common, vector);
        // "After mapping an event to vector, the driver MUST verify success by reading the Vector field value".
        if common::CONFIG_MSIX_VECTOR.read(common) != vector {
            return Err(HardwareError::Vector { what: "configuration changes", vector }.into());
        }
        Ok(vectors)
    }

    /// 4.1.5.1.3: select, size, addresses, vector. The queue is not enabled yet.
    fn set_up_queue(
        &self,
        index: u16,
        wanted: u32,
        features: Features,
        vector: Option<u16>,
    ) -> Result<(SplitQueue, crate::transport::Notify<F>), ErrorKind> {
        let (transport, common) = (&self.transport, &self.transport.common);
        let size = queue_size(transport, index)?.min(wanted.min(MAX_RING) as u16);
        if u32::from(size) < wanted {
            log::info!("{}: queue {index} has {size} descriptors, the most that the device has, not {wanted}", transport.name);
        }
        let queue = SplitQueue::new(&self.domain, size, features.contains(Features::EVENT_IDX))?;
        common::QUEUE_SIZE.write(common, size);
        let [desc, driver, device] = queue.areas();
        common::QUEUE_DESC.write(common, desc.0);
        common::QUEUE_DRIVER.write(common, driver.0);
        common::QUEUE_DEVICE.write(common, device.0);
        let vector = vector.unwrap_or(common::NO_VECTOR);
        common::QUEUE_MSIX_VECTOR.write(common, vector);
        if common::QUEUE_MSIX_VECTOR.read(common) != vector {
            return Err(HardwareError::Vector { what: "the receive queue", vector }.into());
        }
        let notify = transport.notify()?;
        Ok((queue, notify))
    }
}

impl<F: PciFunction> NetDriver for VirtioNet<F> {
    type Control = Control<F>;
    type Rx = Rx<F>;
    type Tx = Tx<F>;

    fn info(&self) -> &DeviceInfo {
        self.info()
    }

    fn start(self, config: &Config) -> Result<Started<F>, StartError<F>> {
        self.start(config)
    }
}

impl<F: PciFunction> fmt::Debug for VirtioNet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioNet").field("info", &self.info).field("features", &format!("{:#x}", self.features.bits())).finish_non_exhaustive()
    }
}

/// A device that came up.
struct Running<F: PciFunction> {
    rx: Rx<F>,
    tx: Tx<F>,
    pool: BufPool,
    vectors: Vectors<F::Interrupt>,
    features: Features,
}

fn pool_error(error: PoolError) -> ErrorKind {
    match error {
        PoolError::Dma(error) => error.into(),
        PoolError::Config(config) => ConfigError::PoolBuffers { buffer_bytes: config.data_bytes, min_bytes: 2048 }.into(),
    }
}
