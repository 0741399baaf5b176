//! Opening and starting a virtual function.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use driver_core::buf::PoolConfig;
use driver_core::device::control::{hand_out, take_back};
use driver_core::device::error::steps;
use driver_core::device::{Caps, Config, DeviceInfo, During, Error, ErrorKind, NetDriver, Settings};
use driver_core::ether::MacAddr;
use driver_core::host::{Clock, PciFunction, RegSpace, Vectors};

use crate::bring_up::counted;
use crate::card::Card;
use crate::config::{self, MAX_RING, MIN_RING};
use crate::error::HardwareError;
use crate::id::{Model, VENDOR};
use crate::irq::MAX_MODERATION_US;
use crate::making::{Queues, Up, vectors};
use crate::regs::vf::VF_BAR_BYTES;
use crate::rx::Rx;
use crate::silence::silence;
use crate::stats::Counting;
use crate::tx::Tx;
use crate::vf::bring_up::Function;
use crate::vf::control::{Control, Manage};
use crate::vf::id::MODELS;
use crate::vf::limits::{self, DRIVEN};
use crate::vf::mailbox::Mailbox;
use crate::vf::requests::Terms;
use crate::vf::spread;

/// What [`IxgbeVf::start`] gives.
pub type Started<F> = driver_core::device::Started<IxgbeVf<F>>;

/// A function could not be started: why, and the function, stopped, to be started otherwise.
pub type StartError<F> = driver_core::device::StartError<IxgbeVf<F>>;

/// A virtual function that was reset and has an address, and waits to be started. Its queues are off.
pub struct IxgbeVf<F: PciFunction> {
    function: F,
    vf: Function<F::Bar>,
    info: DeviceInfo,
}

/// Takes a virtual function, stops what it may be doing, resets it and asks its physical function for its terms.
///
/// ```
/// use std::sync::Arc;
///
/// use driver_core::device::{Config, NetDevice};
/// use driver_core::host::Clock;
/// use sim::ixgbe::{IxgbeOptions, IxgbeVf, PfOptions};
///
/// # fn main() -> Result<(), ixgbe::Error> {
/// let (near, _far) = sim::wire::peer::pair(8);
/// let model = IxgbeVf::new(IxgbeOptions::new().device(0x10ed), PfOptions::default());
/// let card = sim::SimDevice::new("sim", Box::new(model), Box::new(near), sim::Iommu::new());
/// let clock = Arc::new(sim::SimClock::new([card.clone()]));
///
/// let device = ixgbe::vf::open(card.function(), clock.clone())?;
/// let mut control = device.start(&Config::new())?.control;
/// clock.sleep_us(5_000); // the link comes up
/// assert!(control.link().up);
/// control.stop()?;
/// assert!(card.violations().is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error`]: the function is no virtual one of these cards, does not answer, or its physical function does not, or not as it should.
pub fn open<F: PciFunction>(mut function: F, clock: Arc<dyn Clock>) -> Result<IxgbeVf<F>, Error> {
    let name = String::from(function.name());
    let (model, bar) = registers(&mut function).during(&name, steps::OPENING)?;
    let card = Card::new(bar, clock, model, &name);
    card.silence_function().during(&name, steps::RESETTING)?;
    function.forbid_dma().during(&name, steps::RESETTING)?;
    let mut mailbox = Mailbox::new();
    let terms = Function::shake_hands(&card, &mut mailbox).during(&name, steps::OPENING)?;
    let permanent_mac = terms.mac.unwrap_or_else(|| chosen_mac(&card));
    let mut info = DeviceInfo::new(&name, "ixgbevf", model.name, permanent_mac);
    describe(&mut info, model, &terms, vectors(&function));
    log::info!(
        "{}: {} ({VENDOR:04x}:{:04x}), address {permanent_mac}, mailbox version {}, {} receive and {} transmit queues",
        info.name,
        model.name,
        model.device,
        terms.api,
        terms.rx_queues,
        terms.tx_queues
    );
    Ok(IxgbeVf { function, vf: Function { card, mailbox, terms, vlans: Vec::new() }, info })
}

fn describe(info: &mut DeviceInfo, model: &Model, terms: &Terms, vectors: u16) {
    info.max_rx_queues = terms.rx_queues;
    info.max_tx_queues = terms.tx_queues;
    info.ring_limits = MIN_RING..=MAX_RING;
    info.max_mtu = limits::max_mtu(model.family, terms.api);
    info.rss = spread::limits(model.family, terms.rx_queues);
    info.max_moderation_us = MAX_MODERATION_US;
    info.caps = DRIVEN;
    info.caps.set(Caps::INTERRUPTS, vectors > 0);
    info.caps.set(Caps::RSS, terms.rx_queues > 1);
    info.used_caps = info.caps;
}

/// VF-ADDRESS: an address for a function that was given none. Locally administered, and another one at another time and for another function.
fn chosen_mac(card: &Card<impl driver_core::host::Bar>) -> MacAddr {
    // FNV-1a: nobody is to be kept from guessing it.
    let seed = 0xcbf2_9ce4_8422_2325u64 ^ card.clock.now_us();
    let hash = card.name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

/// Which function it is, and its registers.
fn registers<F: PciFunction>(function: &mut F) -> Result<(&'static Model, F::Bar), ErrorKind> {
    let id = function.id()?;
    let drives = "virtual functions of Intel (8086) 82599, X540 and X550";
    let found = MODELS.iter().find(|model| (VENDOR, model.device) == (id.vendor, id.device));
    let model = found.ok_or(ErrorKind::UnknownId { id, driver: "ixgbevf", drives })?;
    function.enable_registers()?;
    // SAFETY: as for a port: no address of memory is written but those of rings and of buffers that their rings hold until the function, or this queue of it, was
    // seen to stop.
    #[allow(unsafe_code, reason = "whoever writes registers answers for what the card does to memory")]
    let bar = unsafe { function.open_bar(0) }?;
    let len_bytes = bar.len_bytes();
    if len_bytes < VF_BAR_BYTES { Err(HardwareError::SmallFunctionBar { len_bytes }.into()) } else { Ok((model, bar)) }
}

impl<F: PciFunction> IxgbeVf<F> {
    /// What the function is and can do.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Sets the function up and lets it receive and transmit. Its physical function is asked anew for all that it may have.
    ///
    /// # Errors
    /// [`StartError`] with the reason and the function, stopped. Where it does not even confirm that it stopped, the buffers it was lent leak.
    pub fn start(mut self, config: &Config) -> Result<Started<F>, StartError<F>> {
        let mut settings = Settings::new(config, &self.info);
        settings.set_available_vectors(vectors(&self.function));
        match self.prepare(config, &settings).and_then(|queues| self.bring_up(&mut settings, queues)) {
            Ok(Up { queues, vectors }) => {
                let Queues { mut rx, rx_setup, mut tx, tx_rings, pool, shared, plan, counting, intervals, .. } = queues;
                let interrupt = hand_out(vectors, plan, &mut rx, &mut tx);
                let Self { function, vf, mut info } = self;
                info.used_caps = config::used_caps(&settings) & DRIVEN;
                let manage = Manage::new(function, vf, counting, intervals, rx_setup, tx_rings);
                Ok(Started::new(Control::new(manage, info, settings, shared, interrupt), rx, tx, pool))
            }
            Err(kind) => Err(StartError::new(Error::new(&self.info.name, steps::STARTING, kind), self)),
        }
    }

    fn prepare(&self, config: &Config, settings: &Settings) -> Result<Queues<F::Bar>, ErrorKind> {
        let Self { function, vf, info, .. } = self;
        limits::check(config)?;
        spread::check(vf.card.model.family, settings)?;
        spread::warn(vf.card.model.family, config, &info.name);
        let counting = Counting::of(&vf.card, counted(settings));
        Queues::prepare(function, &vf.card, (config, settings), info, counting, limits::incoming())
    }

    /// Sets the function up; after an error it is silent again, and the queues are gone.
    fn bring_up(&mut self, settings: &mut Settings, mut queues: Queues<F::Bar>) -> Result<Up<F>, ErrorKind> {
        match self.init(settings, &queues) {
            Ok(vectors) => Ok(Up { queues, vectors }),
            Err(error) => {
                let answer = silence(self.vf.card.silence_function());
                if let Err(second) = take_back(&mut self.function, &mut queues.shared, answer) {
                    log::error!("{}: {second}", self.info.name);
                }
                Err(error)
            }
        }
    }

    fn init(&mut self, settings: &mut Settings, queues: &Queues<F::Bar>) -> Result<Vectors<F::Interrupt>, ErrorKind> {
        self.vf.card.silence_function()?;
        // SAFETY: being reset, it knows of no memory; what it is told from here on are the rings of `queues`.
        #[allow(unsafe_code, reason = "from here on the function accesses memory")]
        unsafe { self.function.allow_dma() }?;
        queues.counting.begin();
        let granted = self.vf.bring_up(settings, &queues.rx_setup, &queues.tx_rings)?;
        settings.set_rx_mode(granted.rx_mode);
        if let Some(rss) = self.vf.told_rss(settings.rx().queue_count())? {
            settings.set_rss(rss);
        }
        let Some(plan) = queues.plan else { return Ok(Vectors::default()) };
        let vectors = self.function.enable_interrupts(plan.count())?;
        self.vf.card.init_function_interrupts(plan, settings.moderation())?;
        Ok(vectors)
    }
}

impl<F: PciFunction> NetDriver for IxgbeVf<F> {
    type Control = Control<F>;
    type Rx = Rx<F::Bar>;
    type Tx = Tx<F::Bar>;

    fn pool_config(info: &DeviceInfo, config: &Config) -> PoolConfig {
        config::own_pool(&Settings::new(config, info), limits::incoming())
    }

    fn info(&self) -> &DeviceInfo {
        self.info()
    }

    fn start(self, config: &Config) -> Result<Started<F>, StartError<F>> {
        self.start(config)
    }
}

impl<F: PciFunction> fmt::Debug for IxgbeVf<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IxgbeVf").field("info", &self.info).finish_non_exhaustive()
    }
}
