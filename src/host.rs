//! Opening devices: what several devices of one program share.

use std::fmt;
#[cfg(feature = "vfio")]
use std::path::Path;
use std::sync::Arc;

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::During;
use driver_core::device::error::steps;
use driver_core::host::Clock;

use crate::clock::HostClock;
use crate::device::Device;
use crate::error::Error;
use crate::pools::Pools;
use crate::spec::Spec;
#[cfg(feature = "sim")]
use crate::{
    origin::sim::{Cards, Mover},
    spec::{Run, SimSpec},
};
#[cfg(feature = "vfio")]
use crate::{origin::vfio, spec::PciSpec};
#[cfg(feature = "sim")]
use ::sim::SimClock;

/// What the devices of one program share: a DMA domain and a pool of buffers in it, so that a frame received on one is sent on another without a copy, and a clock.
///
/// Simulated cards, PCI functions and vfio-user devices, or PCI functions reached in different ways, cannot share one: who wants both makes two hosts and
/// copies.
pub struct Host {
    shared: Option<Shared>,
    /// For what is made by hand.
    clock: Arc<dyn Clock>,
    /// The machine's time.
    #[cfg_attr(not(any(feature = "sim", feature = "vfio")), allow(dead_code, reason = "no kind of device is built in"))]
    real: Arc<dyn Clock>,
    /// That of simulated cards that the program's calls move.
    #[cfg(feature = "sim")]
    steps: Arc<SimClock>,
    /// Whether these are all that do not say otherwise.
    #[cfg(feature = "sim")]
    is_stepped: bool,
    pools: Pools,
}

/// The DMA domain, of the kind of the first device.
#[cfg_attr(not(any(feature = "sim", feature = "vfio")), allow(dead_code, reason = "no kind of device is built in"))]
enum Shared {
    #[cfg(feature = "sim")]
    Sim(Cards),
    #[cfg(feature = "vfio")]
    Vfio { domain: ::vfio::Domain, first: String },
    #[cfg(feature = "vfio")]
    User { domain: ::vfio::UserDomain, first: String },
}

#[cfg(feature = "vfio")]
impl Shared {
    /// The error for a device of another kind.
    fn refuse(&self, device: &str, kind: &str) -> Error {
        let with = match self {
            #[cfg(feature = "sim")]
            Self::Sim(_) => "simulated cards",
            Self::Vfio { first, .. } | Self::User { first, .. } => first,
        };
        not_sharable(device, format!("{kind} cannot share memory with {with}; open it by a host of its own, and copy frames between them"))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared {
            None => f.write_str("Host(no device opened)"),
            #[cfg(feature = "sim")]
            Some(Shared::Sim(cards)) => write!(f, "Host({cards:?})"),
            #[cfg(feature = "vfio")]
            Some(Shared::Vfio { domain, .. }) => write!(f, "Host({domain:?})"),
            #[cfg(feature = "vfio")]
            Some(Shared::User { domain, .. }) => write!(f, "Host({domain:?})"),
            #[cfg(not(any(feature = "sim", feature = "vfio")))]
            Some(none) => match *none {},
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host with no device yet.
    pub fn new() -> Self {
        let real: Arc<dyn Clock> = Arc::new(HostClock::new());
        Self {
            shared: None,
            clock: real.clone(),
            real,
            #[cfg(feature = "sim")]
            steps: Arc::default(),
            #[cfg(feature = "sim")]
            is_stepped: false,
            pools: Pools::default(),
        }
    }

    /// A host whose simulated cards have no threads: the program's own calls move them, and simulated time passes only then. So a program with one thread does
    /// the same each time, and as fast as it can, however busy the machine is. A card's spec may say otherwise (`run=threads`), and that of a card of any
    /// other host may say `run=stepped`.
    ///
    /// | call | what moves |
    /// | --- | --- |
    /// | [`RxQueue::poll`](crate::RxQueue::poll), and one that finds nothing | its card by a turn; then all cards of the host |
    /// | [`TxQueue::submit`](crate::TxQueue::submit) | its card, where no poll has moved it since the last time, or not all of the batch went |
    /// | [`TxQueue::reclaim`](crate::TxQueue::reclaim), `arm` of either queue, [`Port::is_output_over`](crate::Port::is_output_over) | its card by a turn |
    /// | a wait for an interrupt ([`Poller`](crate::Poller), [`TxQueue::wait_for_room`](crate::TxQueue::wait_for_room)), [`Port::sleep_us`](crate::Port::sleep_us), a driver's own waits | all cards of the host, as long as it lasts |
    ///
    /// A turn is a step of the card, some 32 frames each way; with `seed=N` in its spec none to three, as drawn. A program that only looks at its link, or sleeps by
    /// other means, moves nothing (for a while: in the end reads of registers do, too); event loops that watch descriptors want cards with threads.
    ///
    /// ```
    /// # #[cfg(all(feature = "sim", feature = "ixgbe"))]
    /// # fn main() -> Result<(), barewire::Error> {
    /// use barewire::{Config, Host};
    ///
    /// let port = Host::stepped().open("sim:ixgbe,seed=7")?.start(&Config::new())?;
    /// port.sleep_us(1_000_000); // at once
    /// port.finish().check()?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "sim", feature = "ixgbe")))]
    /// # fn main() {}
    /// ```
    #[cfg(feature = "sim")]
    pub fn stepped() -> Self {
        let host = Self::new();
        Self { clock: host.steps.clone(), is_stepped: true, ..host }
    }

    /// Its clock, for wires made by hand: that of [`Host::stepped`] is simulated.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Opens the device that `spec` names (see [`crate::spec`]): it is reset and identified, and stands still.
    ///
    /// # Errors
    /// [`Error::Spec`] where the spec names no device, [`Error::Wire`] where a simulated card cannot be plugged in as it says, [`Error::Vfio`] where a
    /// PCI function or a vfio-user server cannot be had, [`Error::NoDriver`] where nothing drives it, [`Error::NotSharable`] where it cannot share the DMA domain of the
    /// devices before it, [`Error::Device`] where the device does not come up.
    pub fn open(&mut self, spec: &str) -> Result<Device, Error> {
        match spec.parse::<Spec>()? {
            #[cfg(feature = "sim")]
            Spec::Sim(sim) => {
                let wire = sim.wire.open(&self.time(&sim)).map_err(|error| Error::Wire { device: spec.into(), error })?;
                self.simulate(spec, &sim, wire)
            }
            #[cfg(feature = "vfio")]
            Spec::Pci(pci) => self.reach(spec, pci),
            #[cfg(feature = "vfio")]
            Spec::VfioUser(path) => self.connect(spec, &path),
        }
    }

    /// Makes the pool that every device of this host is started with from here on, unless [`Config::pool`](crate::Config::pool) gives it another, in place of
    /// the one that they would share by themselves (see [`Device::start`]): with more buffers, or with room for jumbo frames in one piece. It has to serve
    /// each of them: a device that it does not is not started, and says why.
    ///
    /// It stays the host's until another is made, or the host and its devices are gone.
    ///
    /// ```
    /// # #[cfg(all(feature = "sim", feature = "ixgbe"))]
    /// # fn main() -> Result<(), barewire::Error> {
    /// use barewire::{Config, Host, PoolConfig};
    ///
    /// let mut host = Host::new();
    /// let (a, b) = (host.open("sim:ixgbe")?, host.open("sim:ixgbe")?);
    /// // Frames of up to 9014 bytes lie in one piece.
    /// let pool = host.pool(PoolConfig::new(4096).data_bytes(9216))?;
    /// let config = Config::new().mtu(9000);
    /// let (a, b) = (a.start(&config)?, b.start(&config)?);
    /// assert!(a.pool.is_same(&pool) && b.pool.is_same(&pool));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(all(feature = "sim", feature = "ixgbe")))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Error::NoDomain`] where no device was opened yet; [`Error::Device`] where `config` makes no pool, or the memory cannot be had or mapped.
    pub fn pool(&self, config: PoolConfig) -> Result<BufPool, Error> {
        let made = self.pools.make(config).ok_or(Error::NoDomain)?;
        Ok(made.during("the host's devices", steps::MAKING_A_POOL)?)
    }

    /// Opens the simulated card that `spec` names, plugged into `wire` in place of what its options say.
    ///
    /// # Errors
    /// As [`Host::open`]; and [`Error::Spec`] where `spec` is not simulated.
    #[cfg(feature = "sim")]
    pub fn plug(&mut self, spec: &str, wire: Box<dyn sim::wire::Wire>) -> Result<Device, Error> {
        match spec.parse()? {
            Spec::Sim(sim) => self.simulate(spec, &sim, wire),
            #[cfg(feature = "vfio")]
            _ => Err(crate::SpecError::new(spec, "only a simulated card can be plugged into a wire of the program: sim:ixgbe").into()),
        }
    }

    #[cfg(feature = "sim")]
    fn is_stepped(&self, spec: &SimSpec) -> bool {
        spec.run.map_or(self.is_stepped, |run| run == Run::Stepped)
    }

    /// The time of the card that `spec` describes.
    #[cfg(feature = "sim")]
    fn time(&self, spec: &SimSpec) -> Arc<dyn Clock> {
        if self.is_stepped(spec) { self.steps.clone() } else { self.real.clone() }
    }

    #[cfg(feature = "sim")]
    fn simulate(&mut self, name: &str, spec: &SimSpec, wire: Box<dyn sim::wire::Wire>) -> Result<Device, Error> {
        let mover = if self.is_stepped(spec) { Mover::Calls(self.steps.clone()) } else { Mover::Thread(self.real.clone()) };
        match self.shared.get_or_insert_with(|| Shared::Sim(Cards::new())) {
            Shared::Sim(cards) => Ok(cards.open(name, spec, wire, mover)?.among(&self.pools)),
            #[cfg(feature = "vfio")]
            other => Err(other.refuse(name, "a simulated card")),
        }
    }

    #[cfg(feature = "vfio")]
    fn reach(&mut self, name: &str, spec: PciSpec) -> Result<Device, Error> {
        let domain = match &self.shared {
            None => vfio::domain_for(spec)?,
            Some(Shared::Vfio { domain, first }) => match spec.way {
                Some(way) if way != domain.way() => {
                    let why = format!(
                        "a device reached by {way} cannot share memory with {first}, which is reached by {}; give both the same way",
                        domain.way()
                    );
                    return Err(not_sharable(name, why));
                }
                _ => domain.clone(),
            },
            Some(other) => return Err(other.refuse(name, "a PCI function")),
        };
        let device = vfio::reach(&domain, spec.address, self.real.clone())?.among(&self.pools);
        self.shared.get_or_insert_with(|| Shared::Vfio { domain, first: name.into() });
        Ok(device)
    }

    #[cfg(feature = "vfio")]
    fn connect(&mut self, name: &str, socket: &Path) -> Result<Device, Error> {
        let domain = match &self.shared {
            None => ::vfio::UserDomain::new(),
            Some(Shared::User { domain, .. }) => domain.clone(),
            Some(other) => return Err(other.refuse(name, "a vfio-user device")),
        };
        let device = vfio::connect(&domain, socket, self.real.clone())?.among(&self.pools);
        self.shared.get_or_insert_with(|| Shared::User { domain, first: name.into() });
        Ok(device)
    }
}

#[cfg(feature = "vfio")]
fn not_sharable(device: &str, why: String) -> Error {
    Error::NotSharable { device: device.into(), why }
}

/// Opens one device; see [`Host::open`].
///
/// # Errors
/// As [`Host::open`].
pub fn open(spec: &str) -> Result<Device, Error> {
    Host::new().open(spec)
}

/// Opens several devices in one DMA domain, in the order of `specs`. Started one after the other, they share a pool: see [`Device::start`].
///
/// # Errors
/// As [`Host::open`], for the first that fails; those before it are closed.
pub fn open_all<S: AsRef<str>>(specs: &[S]) -> Result<Vec<Device>, Error> {
    let mut host = Host::new();
    specs.iter().map(|spec| host.open(spec.as_ref())).collect()
}
