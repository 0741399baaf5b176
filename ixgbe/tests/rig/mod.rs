//! A simulated card with queues, for tests of the data path: deterministic, the far end of its wire in the test's hands.
// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use driver_core::buf::{Batch, BufPool, Frame};
use driver_core::device::{Config, RxMode};
use driver_core::host::{Clock, DmaDomain};
use ixgbe::Started;
use sim::ixgbe::{Faults, Ixgbe as Model, IxgbeOptions};
use sim::wire::peer::{self, Peer};
use sim::wire::slow::Slow;
use sim::wire::{Sent, Wire};
use sim::{Iommu, SimClock, SimDevice, SimFunction};

/// The card, its clock and the far end of its wire.
pub struct Rig {
    pub device: SimDevice,
    pub clock: Arc<SimClock>,
    pub far: Peer,
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
        let (near, far) = peer::pair(4096);
        let clock = Arc::new(SimClock::new([]));
        let wire: Box<dyn Wire> = match interval_us {
            0 => Box::new(near),
            _ => Box::new(Slow::new(Box::new(near), clock.clone(), interval_us)),
        };
        let model = Model::new(IxgbeOptions::default());
        let device = SimDevice::new("sim:ixgbe", Box::new(model), wire, iommu.clone());
        clock.attach(device.clone());
        Self { device, clock, far }
    }

    /// Opened and started, promiscuous, with the link up.
    pub fn start(&self, config: &Config) -> Started<SimFunction> {
        let config = config.clone().rx_mode(config.rx_config().rx_mode() | RxMode::PROMISCUOUS);
        let started = ixgbe::open(self.device.function(), self.clock.clone()).unwrap().start(&config).unwrap();
        self.run_us(5_000);
        started
    }

    pub fn run_us(&self, us: u64) {
        self.clock.sleep_us(us);
    }

    pub fn domain(&self) -> DmaDomain {
        self.device.iommu().domain()
    }

    /// The far end sends a frame.
    pub fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.far.send(bytes), Sent::Taken);
    }

    /// What arrived at the far end.
    pub fn arrived(&mut self) -> Vec<Vec<u8>> {
        let mut frame = Vec::new();
        std::iter::from_fn(|| self.far.receive(&mut frame).then(|| frame.clone())).collect()
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        // SAFETY: the card moves in the test's own thread, and no test holds a reference to a frame's bytes over a step.
        unsafe { self.device.with_model(|model: &mut Model| change(model.faults())) }.unwrap();
    }

    /// What the card saw that the datasheet forbids.
    pub fn violations(&self) -> String {
        self.device.violations().iter().map(|v| format!("{v}\n")).collect()
    }
}

impl Drop for Rig {
    /// The end of every test: the driver did nothing that the datasheet forbids. A test that provokes a violation takes it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.violations(), "");
        }
    }
}

/// An Ethernet frame of `len` bytes that carries `number`.
pub fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 0x77, 0x02, 0, 0, 0, 0, 0x78, 0x88, 0xb5];
    bytes.extend(number.to_be_bytes());
    bytes.extend((bytes.len()..len).map(|k| (k as u32 * 31 + number) as u8));
    bytes
}

/// The number in a frame.
pub fn number_in(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[14..18].try_into().unwrap())
}

pub fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

/// Fills `batch` with frames of these numbers.
pub fn queue(batch: &mut Batch, pool: &BufPool, numbers: impl IntoIterator<Item = u32>, len: usize) {
    for number in numbers {
        batch.push(pool.frame_from(&numbered(number, len)).unwrap()).unwrap();
    }
}
