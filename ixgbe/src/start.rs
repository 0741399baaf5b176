//! Opening and starting a card.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::control::{hand_out, take_back};
use driver_core::device::error::steps;
use driver_core::device::{Caps, Config, ConfigError, DeviceInfo, During, Error, ErrorKind, NetDriver, SelfTest, Settings};
use driver_core::host::{Clock, PciFunction, RegSpace, Vectors};

use crate::bring_up::counted;
use crate::card::Card;
use crate::config::{self, DRIVEN, MAX_MTU, MAX_QUEUES, MAX_RING, MIN_RING, NOT_DRIVEN, rx_limits};
use crate::control::{Control, Manage};
use crate::error::HardwareError;
use crate::filter;
use crate::id::{Family, Model, Relative, VENDOR};
use crate::irq::MAX_MODERATION_US;
use crate::layout::{Layout, MAC_POOLS};
use crate::making::{Queues, Up, vectors};
use crate::regs::BAR_BYTES;
use crate::rss;
use crate::rx::Rx;
use crate::silence::silence;
use crate::stats::Counting;
use crate::tx::Tx;

/// What [`Ixgbe::start`] gives.
pub type Started<F> = driver_core::device::Started<Ixgbe<F>>;

/// A card could not be started: why, and the card, stopped, to be started otherwise.
pub type StartError<F> = driver_core::device::StartError<Ixgbe<F>>;

/// A card that was reset and identified, and waits to be started. Its receiver and transmitter are off.
pub struct Ixgbe<F: PciFunction> {
    function: F,
    card: Card<F::Bar>,
    info: DeviceInfo,
    /// A failed start ended without the card's own word that it is silent: it is reset once more before it is started again.
    unconfirmed: bool,
}

/// Takes a PCI function, stops what it may be doing, resets it and reads its address.
///
/// On a simulated card, whose time the program itself lets pass:
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
/// # fn main() -> Result<(), ixgbe::Error> {
/// let (near, mut far) = peer::pair(8);
/// let model = sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions::new());
/// let card = SimDevice::new("sim", Box::new(model), Box::new(near), Iommu::new());
/// let clock = Arc::new(SimClock::new([card.clone()]));
///
/// let device = ixgbe::open(card.function(), clock.clone())?;
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
/// [`Error`]: the function is no card of this driver, does not answer, does not come out of its reset, or has no valid EEPROM.
pub fn open<F: PciFunction>(mut function: F, clock: Arc<dyn Clock>) -> Result<Ixgbe<F>, Error> {
    let name = String::from(function.name());
    let (model, bar) = registers(&mut function).during(&name, steps::OPENING)?;
    let card = Card::new(bar, clock, model, &name);
    // 4.6.3: "Disable interrupts", "Issue global reset and perform general configuration"
    card.mask_interrupts();
    card.silence(&function).during(&name, steps::RESETTING)?;
    function.forbid_dma().during(&name, steps::RESETTING)?;
    let permanent_mac = card.permanent_mac().during(&name, steps::OPENING)?;
    let what = model.describe(&function.id().during(&name, steps::OPENING)?);
    let mut info = DeviceInfo::new(&name, "ixgbe", &what, permanent_mac);
    info.max_rx_queues = MAX_QUEUES;
    info.max_tx_queues = MAX_QUEUES;
    info.ring_limits = MIN_RING..=MAX_RING;
    info.max_mtu = MAX_MTU;
    info.rss = rss::limits(model);
    info.max_moderation_us = MAX_MODERATION_US;
    info.link_speeds = model.link_speeds();
    info.mac_pools = &MAC_POOLS;
    info.caps = DRIVEN | NOT_DRIVEN;
    // One for a receive queue, which tells of the link as well where it is the only one; transmit queues can do without.
    info.caps.set(Caps::INTERRUPTS, vectors(&function) > 0);
    info.caps.set(Caps::TIMESTAMPS_ALL, model.family == Family::X550);
    info.used_caps = info.caps & DRIVEN;
    log::info!("{}: {what} ({VENDOR:04x}:{:04x}), address {permanent_mac}", info.name, model.device);
    Ok(Ixgbe { function, card, info, unconfirmed: false })
}

/// Which card the function is, and its registers.
fn registers<F: PciFunction>(function: &mut F) -> Result<(&'static Model, F::Bar), ErrorKind> {
    let id = function.id()?;
    if let Some(&Relative { name, why, .. }) = Relative::find(&id) {
        return Err(HardwareError::NotDriven { name, why }.into());
    }
    let drives = "physical functions of Intel (8086) 82599, X540 and X550";
    let model = Model::find(&id).ok_or(ErrorKind::UnknownId { id, driver: "ixgbe", drives })?;
    // 8.1: registers are memory. BUS-MASTER: it comes with the first ring, in `start`.
    function.enable_registers()?;
    // SAFETY: the BAR stays within this crate, which writes no address of memory but those of rings and of buffers that their rings hold until the card,
    // or this queue of it, was seen to stop (`RxRing`, `TxRing`, and silence.rs).
    #[allow(unsafe_code, reason = "whoever writes registers answers for what the card does to memory")]
    let bar = unsafe { function.open_bar(0) }?;
    let len_bytes = bar.len_bytes();
    if len_bytes < BAR_BYTES { Err(HardwareError::SmallBar { len_bytes }.into()) } else { Ok((model, bar)) }
}

impl<F: PciFunction> Ixgbe<F> {
    /// What the card is and can do.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The card, which is reset.
    pub(crate) fn card(&mut self) -> &mut Card<F::Bar> {
        &mut self.card
    }

    /// How many interrupt vectors can be used.
    pub(crate) fn vectors(&self) -> u16 {
        vectors(&self.function)
    }

    /// Resets a card that has no queues: afterwards it is as it was opened.
    pub(crate) fn reset(&mut self) -> Result<(), ErrorKind> {
        self.unconfirmed = true;
        self.card.silence(&self.function)?;
        self.unconfirmed = false;
        Ok(self.function.forbid_dma()?)
    }

    /// Lets a card send interrupts that knows of no memory, and resets it.
    pub(crate) fn with_vectors<T>(&mut self, count: u16, work: impl FnOnce(&Card<F::Bar>, Vectors<F::Interrupt>) -> T) -> Result<T, ErrorKind> {
        self.reset()?;
        // SAFETY: it was reset just now, and is told of no ring here.
        #[allow(unsafe_code, reason = "a message is a write to memory")]
        unsafe { self.function.allow_dma() }?;
        self.card.allow_master();
        let result = self.function.enable_interrupts(count).map(|vectors| work(&self.card, vectors));
        self.reset()?;
        Ok(result?)
    }

    /// Starts the card with a queue of each direction, for `work` alone; it is reset afterwards.
    pub(crate) fn with_queues<T>(
        &mut self,
        config: &Config,
        work: impl FnOnce(&Card<F::Bar>, &mut Rx<F::Bar>, &mut Tx<F::Bar>, &BufPool) -> T,
    ) -> Result<T, ErrorKind> {
        let settings = Settings::new(config, &self.info);
        let queues = self.prepare(config, &settings)?;
        let Up { mut queues, .. } = self.bring_up(&settings, queues)?;
        let Queues { rx, tx, pool, .. } = &mut queues;
        let result = rx.first_mut().zip(tx.first_mut()).map(|(rx, tx)| work(&self.card, rx, tx, pool));
        let answer = silence(self.card.silence(&self.function));
        self.unconfirmed = answer.is_err();
        take_back(&mut self.function, &mut queues.shared, answer)?;
        result.ok_or_else(|| ConfigError::Queues { direction: "receive", asked: 0, max: MAX_QUEUES }.into())
    }

    /// Sets the card up and lets it receive and transmit.
    ///
    /// # Errors
    /// [`StartError`] with the reason and the card, stopped. Where the card does not even confirm that it stopped, the buffers it was lent leak.
    pub fn start(mut self, config: &Config) -> Result<Started<F>, StartError<F>> {
        let mut settings = Settings::new(config, &self.info);
        settings.set_available_vectors(vectors(&self.function));
        let placed = filter::place_all(config.wanted_rules(), &mut settings).map_err(ErrorKind::from);
        match placed.and_then(|()| self.prepare(config, &settings)).and_then(|queues| self.bring_up(&settings, queues)) {
            Ok(Up { queues, vectors }) => {
                let Queues { mut rx, rx_setup, mut tx, tx_rings, pool, shared, plan, counting, intervals, ptp } = queues;
                let interrupt = hand_out(vectors, plan, &mut rx, &mut tx);
                let Self { function, card, mut info, .. } = self;
                info.used_caps = config::used_caps(&settings);
                Ok(Started::new(
                    Control::new(Manage::new(function, card, counting, intervals, ptp, rx_setup, tx_rings), info, settings, shared, interrupt),
                    rx,
                    tx,
                    pool,
                ))
            }
            Err(kind) => Err(StartError::new(Error::new(&self.info.name, steps::STARTING, kind), self)),
        }
    }

    fn prepare(&self, config: &Config, settings: &Settings) -> Result<Queues<F::Bar>, ErrorKind> {
        let Self { function, card, info, .. } = self;
        let counting = Counting::of(card, counted(settings));
        Queues::prepare(function, card, (config, settings), info, counting, rx_limits(settings))
    }

    /// Sets the card up; after an error it is silent again, and the queues are gone.
    fn bring_up(&mut self, settings: &Settings, mut queues: Queues<F::Bar>) -> Result<Up<F>, ErrorKind> {
        match self.init(settings, &queues) {
            Ok(vectors) => Ok(Up { queues, vectors }),
            Err(error) => {
                let answer = silence(self.card.silence(&self.function));
                self.unconfirmed = answer.is_err();
                if let Err(second) = take_back(&mut self.function, &mut queues.shared, answer) {
                    log::error!("{}: {second}", self.info.name);
                }
                Err(error)
            }
        }
    }

    /// 4.6.3, from "Setup the PHY and the link" on.
    fn init(&mut self, settings: &Settings, queues: &Queues<F::Bar>) -> Result<Vectors<F::Interrupt>, ErrorKind> {
        let card = &mut self.card;
        if self.unconfirmed {
            card.silence(&self.function)?;
            self.unconfirmed = false;
        }
        // The card is as `open` or a failed start left it: reset, with nothing pending.
        // SAFETY: being reset, it knows of no memory; what it is told from here on are the rings of `queues`.
        #[allow(unsafe_code, reason = "from here on the card accesses memory")]
        unsafe { self.function.allow_dma() }?;
        if let Some(ptp) = &queues.ptp {
            ptp.open(true);
        }
        card.bring_up(settings, &queues.rx_setup, &queues.tx_rings)?;
        // "Enable interrupts (see Section 4.6.3.1)."
        let Some(plan) = queues.plan else { return Ok(Vectors::default()) };
        let vectors = self.function.enable_interrupts(plan.count())?;
        self.card.init_interrupts(plan, Layout::of(settings), settings.moderation())?;
        Ok(vectors)
    }
}

impl<F: PciFunction> NetDriver for Ixgbe<F> {
    type Control = Control<F>;
    type Rx = Rx<F::Bar>;
    type Tx = Tx<F::Bar>;

    fn pool_config(info: &DeviceInfo, config: &Config) -> PoolConfig {
        let settings = Settings::new(config, info);
        config::own_pool(&settings, rx_limits(&settings))
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

impl<F: PciFunction> fmt::Debug for Ixgbe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ixgbe").field("info", &self.info).finish_non_exhaustive()
    }
}
