//! A simulated card on a wire whose far end is the test, and a PCI function that lies about what the test chooses.
#![allow(unreachable_pub)]

use std::cell::Cell;
use std::ops::Deref;

use driver_core::buf::{BufPool, PoolConfig};
use driver_core::device::{Config, NetDriver};
use driver_core::ether::MacAddr;
use driver_core::host::PciFunction;
pub use driver_core::testing::{Audit, Audited, Liar, Lying, received, transmit};
use ixgbe::{Error, Ixgbe, StartError};
use sim::ixgbe::{Faults, Ixgbe as Model, IxgbeOptions};
use sim::{Iommu, SimBar, SimFunction, Testbed};

/// A started card, every frame of which is accounted for at the test's end.
pub type Started = driver_core::device::Started<Audited<Ixgbe<SimFunction>>>;

/// The simulated card's address.
pub const MAC: MacAddr = MacAddr([0x02, 0x00, 0x00, 0x82, 0x59, 0x90]);
/// Some other card's.
pub const PEER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x77]);

/// Device ids of one card of each family.
pub const I82599: u16 = 0x10fb;
pub const X540: u16 = 0x1528;
pub const X550: u16 = 0x1563;

/// A card, its clock, and the far end of its wire.
pub struct Card {
    bed: Testbed,
    pub audit: Audit,
    /// Pause frames that came out, which the card makes itself.
    pauses: Cell<u64>,
}

impl Card {
    pub fn new() -> Self {
        Self::of(I82599)
    }

    /// A card with this PCI device id.
    pub fn of(device: u16) -> Self {
        Self::with(IxgbeOptions::new().device(device))
    }

    pub fn with(options: IxgbeOptions) -> Self {
        let model = Model::new(options);
        Self { bed: Testbed::new("sim:ixgbe", Box::new(model), &Iommu::new()), audit: Audit::new(), pauses: Cell::new(0) }
    }

    pub fn open(&self) -> Result<Ixgbe<SimFunction>, Error> {
        ixgbe::open(self.device.function(), self.clock.clone())
    }

    /// Opened and started, with the link up and the counters at rest.
    pub fn start(&self, config: &Config) -> Started {
        let started = self.audit.watch(self.open().unwrap()).start(config).unwrap();
        self.run_us(2_000);
        started
    }

    /// Puts a frame on the wire and lets the card take it.
    pub fn send(&self, frame: &[u8]) {
        self.send_within(frame, 50);
    }

    /// Puts a frame on the wire and lets `us` pass.
    pub fn send_within(&self, frame: &[u8], us: u64) {
        self.bed.send(frame);
        self.run_us(us);
    }

    /// What came out of the card since the last call.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.run_us(50);
        let frames = self.bed.arrived();
        let pauses = frames.iter().filter(|frame| frame[12..14] == [0x88, 0x08]).count();
        self.pauses.set(self.pauses.get() + pauses as u64);
        frames
    }

    /// The card's registers, whoever drives it. DMA is forbidden from then on.
    pub fn registers(&self) -> SimBar {
        // SAFETY: the tests read them, and write nothing that names memory.
        unsafe { self.device.another_function().open_bar(0) }.unwrap()
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        // SAFETY: the card moves in the test's own thread, and no test holds a reference to a frame's bytes over a step.
        unsafe { self.device.with_model(|model: &mut Model| change(model.faults())) }.unwrap();
    }

    pub fn pool(&self, config: PoolConfig) -> BufPool {
        BufPool::new(&self.domain(), config).unwrap()
    }

    /// The end of every test: the driver did nothing that the datasheet forbids.
    pub fn assert_no_violations(&self) {
        assert_eq!(self.violations(), "");
    }

    /// Its function, which lies.
    pub fn lying(&self, liar: &Liar) -> Lying<SimFunction> {
        liar.over(self.device.function())
    }

    /// One more function of a card that has a driver, which does nothing any more but to go. It lies.
    pub fn lying_beside(&self, liar: &Liar) -> Lying<SimFunction> {
        // SAFETY: the driver that is there rings no doorbell any more.
        liar.over(unsafe { self.device.another_function() })
    }
}

impl Drop for Card {
    /// The end of every test: what left the card is what was taken and not given up.
    fn drop(&mut self) {
        self.audit.saw_on_wire(self.bed.count_arrived() - self.pauses.get());
    }
}

impl Deref for Card {
    type Target = Testbed;

    fn deref(&self) -> &Testbed {
        &self.bed
    }
}

/// Why a start failed, and the card.
pub fn refused<F: PciFunction>(result: Result<ixgbe::Started<F>, StartError<F>>) -> (Error, Ixgbe<F>) {
    match result {
        Ok(_) => panic!("the card was started"),
        Err(error) => error.into_parts(),
    }
}

/// A frame from [`PEER`] with `len` bytes, whose payload counts up from `seed`.
pub fn frame(to: MacAddr, len: usize, seed: u8) -> Vec<u8> {
    driver_core::testing::frame(to, PEER, len, seed)
}
