//! A simulated card, deterministic, with the far end of its wire in the test's hands.
#![allow(unreachable_pub)]

use std::ops::Deref;
use std::sync::Arc;

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::{Config, NetDriver, RxMode};
pub use driver_core::testing::{Audit, Audited, bytes_of, numbered};
use sim::virtio_net::{Faults, VirtioNet as Model, VirtioNetOptions as Options};
use sim::{Iommu, SimFunction, Testbed};
use virtio_net::{Error, Features, StartError, VirtioNet};

/// A started device, every frame of which is accounted for at the test's end.
pub type Started = driver_core::device::Started<Audited<VirtioNet<SimFunction>>>;
/// The same with one queue in each direction.
pub type Parts = driver_core::testing::Parts<Audited<VirtioNet<SimFunction>>>;

/// Whether the card offers packed queues: all but the scenarios that `tests/all.rs` goes through once more without.
pub fn is_packed() -> bool {
    !["::split::", "::in_order_split::"].iter().any(|file| module_path!().contains(file))
}

/// Whether it uses buffers in order: in scenarios that are gone through once more for that.
fn is_in_order() -> bool {
    module_path!().contains("::in_order_")
}

/// The card, its clock and the far end of its wire.
pub struct Rig {
    bed: Testbed,
    pub audit: Audit,
}

/// The options without these features.
pub fn without(features: Features) -> Options {
    Options::new().without(features.bits())
}

impl Rig {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self::in_domain(&Iommu::new(), options, 0)
    }

    /// A card in a domain that may have others, on a wire that takes one frame in `interval_us` (0: as fast as it goes).
    pub fn in_domain(iommu: &Arc<Iommu>, options: Options, interval_us: u64) -> Self {
        let options = options.packed(is_packed());
        let options = if is_in_order() { options.in_order(true) } else { options };
        Self { bed: Testbed::slowed("sim:virtio-net", Box::new(Model::new(options)), iommu, interval_us), audit: Audit::new() }
    }

    pub fn open(&self) -> Result<VirtioNet<SimFunction>, Error> {
        virtio_net::open(self.device.function(), self.clock.clone())
    }

    pub fn start(&self, config: &Config) -> Started {
        self.audit.watch(self.open().unwrap()).start(config).unwrap()
    }

    /// Control, receive and transmit queue, and the pool.
    pub fn parts(&self, config: &Config) -> Parts {
        Parts::of(self.start(config))
    }

    /// The far end sends a frame.
    pub fn send(&mut self, bytes: &[u8]) {
        self.bed.send(bytes);
    }

    /// What arrived at the far end.
    pub fn arrived(&mut self) -> Vec<Vec<u8>> {
        self.bed.arrived()
    }

    pub fn model<R>(&self, work: impl FnOnce(&mut Model) -> R) -> R {
        // SAFETY: no test exchanges the model.
        unsafe { self.device.with_model(work) }.unwrap()
    }

    pub fn faults<R>(&self, change: impl FnOnce(&mut Faults) -> R) -> R {
        // SAFETY: the card moves in the test's own thread, and no test holds a reference to a frame's bytes over a step.
        self.model(|model| change(unsafe { model.faults() }))
    }

    /// The end of every good test.
    pub fn assert_clean(&self) {
        assert_eq!(self.violations(), "");
    }
}

impl Drop for Rig {
    /// The end of every test: what left the card is what was taken and not given up.
    fn drop(&mut self) {
        self.audit.saw_on_wire(self.bed.count_arrived());
    }
}

impl Deref for Rig {
    type Target = Testbed;

    fn deref(&self) -> &Testbed {
        &self.bed
    }
}

/// Why a device does not start.
pub fn start_error(device: VirtioNet<SimFunction>, config: &Config) -> StartError<SimFunction> {
    device.start(config).expect_err("an error")
}

/// A pool of `buffers` buffers of the usual size in the card's domain.
pub fn pool(rig: &Rig, buffers: u32) -> BufPool {
    BufPool::new(&rig.domain(), PoolConfig::new(buffers)).unwrap()
}

/// Every frame comes in, as tests of everything but filters want it.
pub fn any() -> Config {
    Config::new().rx_mode(RxMode::PROMISCUOUS)
}

/// The same with small rings.
pub fn small() -> Config {
    any().rx_ring(64).tx_ring(64)
}
