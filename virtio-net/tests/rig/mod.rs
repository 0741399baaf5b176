//! A simulated card, deterministic, with the far end of its wire in the test's hands.
// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use driver_core::buf::{Batch, BufPool, Frame, PoolConfig};
use driver_core::device::Config;
use driver_core::host::{Clock, DmaDomain};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::virtio_net::{Faults, VirtioNet as Model, VirtioNetOptions as Options};
use sim::wire::peer::{self, Peer};
use sim::wire::slow::Slow;
use sim::wire::{Sent, Wire};
use sim::{Iommu, SimClock, SimDevice, SimFunction};
use virtio_net::{Control, Error, Features, Rx, StartError, Started, Tx, VirtioNet};

/// The card, its clock and the far end of its wire.
pub struct Rig {
    pub device: SimDevice,
    pub clock: Arc<SimClock>,
    pub far: Peer,
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
        let (near, far) = peer::pair(4096);
        let clock = Arc::new(SimClock::new([]));
        let wire: Box<dyn Wire> = match interval_us {
            0 => Box::new(near),
            _ => Box::new(Slow::new(Box::new(near), clock.clone(), interval_us)),
        };
        let device = SimDevice::new("sim:virtio-net", Box::new(Model::new(options)), wire, iommu.clone());
        clock.attach(device.clone());
        Self { device, clock, far }
    }

    pub fn open(&self) -> Result<VirtioNet<SimFunction>, Error> {
        virtio_net::open(self.device.function(), self.clock.clone())
    }

    pub fn start(&self, config: &Config) -> Started<SimFunction> {
        self.open().unwrap().start(config).unwrap()
    }

    /// Control, receive and transmit queue, and the pool.
    pub fn parts(&self, config: &Config) -> Parts {
        let mut started = self.start(config);
        Parts { control: started.control, rx: started.rx.remove(0), tx: started.tx.remove(0), pool: started.pool }
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

    pub fn model<R>(&self, work: impl FnOnce(&mut Model) -> R) -> R {
        // SAFETY: no test exchanges the model.
        unsafe { self.device.with_model(work) }.unwrap()
    }

    pub fn faults<R>(&self, change: impl FnOnce(&mut Faults) -> R) -> R {
        // SAFETY: the card moves in the test's own thread, and no test holds a reference to a frame's bytes over a step.
        self.model(|model| change(unsafe { model.faults() }))
    }

    /// What the card saw that the specification forbids.
    pub fn violations(&self) -> String {
        self.device.violations().iter().map(|v| format!("{v}\n")).collect()
    }

    /// The end of every good test.
    pub fn assert_clean(&self) {
        assert_eq!(self.violations(), "");
    }
}

pub struct Parts {
    pub control: Control<SimFunction>,
    pub rx: Rx<SimFunction>,
    pub tx: Tx<SimFunction>,
    pub pool: BufPool,
}

impl Parts {
    /// Receives what is there.
    pub fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut batch = Batch::new(256);
        self.rx.poll(&mut batch, 256);
        batch.frames().iter().map(bytes_of).collect()
    }

    /// How often the transmit queue wakes from now on.
    pub fn count_wakes(&mut self) -> Arc<AtomicU32> {
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        self.tx.on_wake(Some(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })));
        woken
    }

    /// Sends frames of these bytes; all must be taken.
    pub fn send<'a>(&mut self, frames: impl IntoIterator<Item = &'a Vec<u8>>) {
        let mut batch = Batch::new(256);
        for bytes in frames {
            batch.push(self.pool.frame_from(bytes).unwrap()).unwrap();
        }
        assert_eq!(self.tx.submit(&mut batch), TxState::Running);
        assert!(batch.is_empty());
    }
}

/// An Ethernet frame of `len` bytes that carries `number`.
pub fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 0x77, 0x02, 0, 0, 0, 0, 0x78, 0x88, 0xb5];
    bytes.extend(number.to_be_bytes());
    bytes.extend((bytes.len()..len).map(|k| (k as u32 * 31 + number) as u8));
    bytes
}

pub fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

/// Why a device does not start.
pub fn start_error(device: VirtioNet<SimFunction>, config: &Config) -> StartError<SimFunction> {
    device.start(config).expect_err("an error")
}

/// A pool of `buffers` buffers of the usual size in the card's domain.
pub fn pool(rig: &Rig, buffers: u32) -> BufPool {
    BufPool::new(&rig.domain(), PoolConfig::new(buffers)).unwrap()
}

/// Small rings.
pub fn small() -> Config {
    Config::new().rx_ring(64).tx_ring(64)
}
