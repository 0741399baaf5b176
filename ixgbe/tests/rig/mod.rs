//! A simulated card with queues, for tests of the data path: deterministic, the far end of its wire in the test's hands.
#![allow(unreachable_pub)]

use std::ops::Deref;
use std::sync::Arc;

use driver_core::device::{Config, NetDriver, RxMode};
pub use driver_core::testing::{Audit, Audited, bytes_of, count_wakes, fill_numbered as queue, number_in, numbered};
use ixgbe::Ixgbe;
use sim::ixgbe::{Faults, Ixgbe as Model, IxgbeOptions};
use sim::{Iommu, SimFunction, Testbed};

/// A started card, every frame of which is accounted for at the test's end.
pub type Started = driver_core::device::Started<Audited<Ixgbe<SimFunction>>>;

/// The card, its clock and the far end of its wire.
pub struct Rig {
    bed: Testbed,
    pub audit: Audit,
}

impl Rig {
    /// A card on a fast wire.
    pub fn new() -> Self {
        Self::in_domain(&Iommu::new(), 0)
    }

    /// A card on a wire that takes one frame in `interval_us` (0: as fast as it goes).
    pub fn slowed(interval_us: u64) -> Self {
        Self::in_domain(&Iommu::new(), interval_us)
    }

    /// The same in a domain that may have other cards.
    pub fn in_domain(iommu: &Arc<Iommu>, interval_us: u64) -> Self {
        let model = Model::new(IxgbeOptions::default());
        Self { bed: Testbed::slowed("sim:ixgbe", Box::new(model), iommu, interval_us), audit: Audit::new() }
    }

    /// Opened and started, promiscuous, with the link up.
    pub fn start(&self, config: &Config) -> Started {
        let config = config.clone().rx_mode(config.rx_config().rx_mode() | RxMode::PROMISCUOUS);
        let started = self.audit.watch(ixgbe::open(self.device.function(), self.clock.clone()).unwrap()).start(&config).unwrap();
        self.run_us(5_000);
        started
    }

    /// The far end sends a frame.
    pub fn send(&mut self, bytes: &[u8]) {
        self.bed.send(bytes);
    }

    /// What arrived at the far end.
    pub fn arrived(&mut self) -> Vec<Vec<u8>> {
        self.bed.arrived()
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        // SAFETY: the card moves in the test's own thread, and no test holds a reference to a frame's bytes over a step.
        unsafe { self.device.with_model(|model: &mut Model| change(model.faults())) }.unwrap();
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
