//! A simulated card on a wire whose far end is the test, and a PCI function that lies about what the test chooses.
// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::Config;
use driver_core::ether::MacAddr;
use driver_core::host::{Bar, BarError, Clock, DmaDomain, PciError, PciErrorKind, PciFunction, RegSpace, Vectors};
use driver_core::queue::{RxQueue, TxQueue, TxState};
use ixgbe::Started;
use ixgbe::{Error, Ixgbe, StartError};
use sim::ixgbe::{Faults, Ixgbe as Model, IxgbeOptions};
use sim::wire::{Sent, Wire};
use sim::{Iommu, SimBar, SimClock, SimDevice, SimFunction};

/// The simulated card's address.
pub const MAC: MacAddr = MacAddr([0x02, 0x00, 0x00, 0x82, 0x59, 0x90]);
/// Some other card's.
pub const PEER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x77]);

/// Device ids of one card of each family.
pub const I82599: u16 = 0x10fb;
pub const X540: u16 = 0x1528;
pub const X550: u16 = 0x1563;

#[derive(Default)]
struct Ends {
    to_card: VecDeque<Vec<u8>>,
    from_card: Vec<Vec<u8>>,
}

struct TestWire(Arc<Mutex<Ends>>);

impl Wire for TestWire {
    fn send(&mut self, frame: &[u8]) -> Sent {
        self.0.lock().unwrap().from_card.push(frame.to_vec());
        Sent::Taken
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        let Some(next) = self.0.lock().unwrap().to_card.pop_front() else { return false };
        frame.clear();
        frame.extend_from_slice(&next);
        true
    }
}

/// A card, its clock, and the far end of its wire.
pub struct Card {
    pub device: SimDevice,
    pub clock: Arc<SimClock>,
    ends: Arc<Mutex<Ends>>,
}

impl Card {
    pub fn new() -> Self {
        Self::of(I82599)
    }

    /// A card with this PCI device id.
    pub fn of(device: u16) -> Self {
        let ends = Arc::new(Mutex::new(Ends::default()));
        let model = Model::new(IxgbeOptions::new().device(device));
        let device = SimDevice::new("sim:ixgbe", Box::new(model), Box::new(TestWire(ends.clone())), Iommu::new());
        let clock = Arc::new(SimClock::new([device.clone()]));
        Self { device, clock, ends }
    }

    pub fn open(&self) -> Result<Ixgbe<SimFunction>, Error> {
        ixgbe::open(self.device.function(), self.clock.clone())
    }

    /// Opened and started, with the link up and the counters at rest.
    pub fn start(&self, config: &Config) -> Started<SimFunction> {
        let started = self.open().unwrap().start(config).unwrap();
        self.run_us(2_000);
        started
    }

    /// Lets time pass.
    pub fn run_us(&self, us: u64) {
        self.clock.sleep_us(us);
    }

    /// Puts a frame on the wire and lets the card take it.
    pub fn send(&self, frame: &[u8]) {
        self.send_within(frame, 50);
    }

    /// Puts a frame on the wire and lets `us` pass.
    pub fn send_within(&self, frame: &[u8], us: u64) {
        self.ends.lock().unwrap().to_card.push_back(frame.to_vec());
        self.run_us(us);
    }

    /// What came out of the card since the last call.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.run_us(50);
        std::mem::take(&mut self.ends.lock().unwrap().from_card)
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
        BufPool::new(self.device.dma(), config).unwrap()
    }

    /// The end of every test: the driver did nothing that the datasheet forbids.
    pub fn assert_no_violations(&self) {
        let violations = self.device.violations();
        assert!(violations.is_empty(), "{}", violations.iter().map(|v| format!("{v}\n")).collect::<String>());
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_violations();
        }
    }
}

/// Why a start failed, and the card.
pub fn refused<F: PciFunction>(result: Result<Started<F>, StartError<F>>) -> (Error, Ixgbe<F>) {
    match result {
        Ok(_) => panic!("the card was started"),
        Err(error) => error.into_parts(),
    }
}

/// A frame from [`PEER`] with `len` bytes, whose payload counts up from `seed`.
pub fn frame(to: MacAddr, len: usize, seed: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = to.0.into_iter().chain(PEER.0).chain([0x88, 0xb5]).collect();
    bytes.extend((0..len.saturating_sub(14)).map(|i| seed.wrapping_add(i as u8)));
    bytes
}

/// Everything that a queue received.
pub fn received(rx: &mut impl RxQueue) -> Vec<Vec<u8>> {
    let mut batch = Batch::new(64);
    let mut frames = Vec::new();
    while rx.poll(&mut batch, 64) > 0 {
        while let Some(frame) = batch.pop() {
            frames.push(frame.segments().flatten().copied().collect());
        }
    }
    frames
}

/// Hands one frame to a queue.
pub fn transmit(tx: &mut impl TxQueue, pool: &BufPool, bytes: &[u8]) -> TxState {
    let mut batch = Batch::new(8);
    batch.push(pool.frame_from(bytes).unwrap()).unwrap();
    tx.submit(&mut batch)
}

/// What a [`Lying`] function lies about.
#[derive(Default)]
pub struct Lies {
    /// Bits of registers that always read 1, and bits that always read 0.
    pub registers: HashMap<u32, (u32, u32)>,
    /// PCI vendor and device id, as one word.
    pub id: Option<u32>,
    /// What registers of configuration space read as, by offset; `None`: reading fails.
    pub config: HashMap<u16, Option<u32>>,
    /// Size of BAR0 in bytes.
    pub bar_len: Option<usize>,
    /// How many interrupt vectors there are.
    pub vectors: Option<u16>,
    /// Whether DMA was allowed or forbidden, oldest first.
    pub dma: Vec<bool>,
}

/// Shared with the functions that lie.
#[derive(Clone, Default)]
pub struct Liar(Arc<Mutex<Lies>>);

impl Liar {
    pub fn lies(&self) -> MutexGuard<'_, Lies> {
        self.0.lock().unwrap()
    }
    /// From now on these bits of a register read 1.
    pub fn stick(&self, offset: u32, bits: u32) {
        self.lies().registers.insert(offset, (bits, 0));
    }
    /// From now on these bits of a register read 0.
    pub fn clear(&self, offset: u32, bits: u32) {
        self.lies().registers.insert(offset, (0, bits));
    }
    pub fn function(&self, card: &Card) -> Lying {
        Lying { inner: card.device.function(), liar: self.clone() }
    }
    /// One more function of a card that has a driver, which does nothing any more but to go.
    pub fn function_beside(&self, card: &Card) -> Lying {
        // SAFETY: the driver that is there rings no doorbell any more.
        Lying { inner: unsafe { card.device.another_function() }, liar: self.clone() }
    }
}

/// A simulated function that lies.
pub struct Lying {
    inner: SimFunction,
    liar: Liar,
}

#[derive(Clone)]
pub struct LyingBar {
    inner: <SimFunction as PciFunction>::Bar,
    liar: Liar,
}

// SAFETY: it passes on to a function that keeps the contract. What it makes up of registers and vectors makes a driver give up, wait or refuse; none of it says that
// a card that runs has stopped.
unsafe impl PciFunction for Lying {
    type Bar = LyingBar;
    type Interrupt = <SimFunction as PciFunction>::Interrupt;

    fn name(&self) -> &str {
        self.inner.name()
    }
    fn config_read(&self, offset: u16, width: u8) -> Result<u32, PciError> {
        match self.liar.lies().config.get(&offset) {
            Some(Some(value)) => return Ok(*value),
            Some(None) => return Err(PciError::new(self.name(), "reading configuration space", PciErrorKind::Gone)),
            None => {}
        }
        match (self.liar.lies().id, offset) {
            (Some(id), 0) => Ok(id & 0xffff),
            (Some(id), 2) => Ok(id >> 16),
            _ => self.inner.config_read(offset, width),
        }
    }
    unsafe fn config_write(&mut self, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
        // SAFETY: the caller's.
        unsafe { self.inner.config_write(offset, width, value) }
    }
    unsafe fn open_bar(&mut self, index: u8) -> Result<LyingBar, PciError> {
        // SAFETY: the caller's.
        let inner = unsafe { self.inner.open_bar(index) }?;
        Ok(LyingBar { inner, liar: self.liar.clone() })
    }
    fn dma(&self) -> &DmaDomain {
        self.inner.dma()
    }
    unsafe fn allow_dma(&mut self) -> Result<(), PciError> {
        self.liar.lies().dma.push(true);
        // SAFETY: the caller's.
        unsafe { self.inner.allow_dma() }
    }
    fn forbid_dma(&mut self) -> Result<(), PciError> {
        self.liar.lies().dma.push(false);
        self.inner.forbid_dma()
    }
    fn interrupt_count(&self) -> u16 {
        self.liar.lies().vectors.unwrap_or_else(|| self.inner.interrupt_count())
    }
    fn enable_interrupts(&mut self, count: u16) -> Result<Vectors<Self::Interrupt>, PciError> {
        self.inner.enable_interrupts(count)
    }
    fn reset(&mut self) -> Result<(), PciError> {
        self.inner.reset()
    }
}

impl RegSpace for LyingBar {
    fn len_bytes(&self) -> usize {
        self.liar.lies().bar_len.unwrap_or_else(|| self.inner.len_bytes())
    }
    fn read8(&self, offset: u32) -> u8 {
        self.inner.read8(offset)
    }
    fn read16(&self, offset: u32) -> u16 {
        self.inner.read16(offset)
    }
    fn read32(&self, offset: u32) -> u32 {
        let (ones, zeros) = self.liar.lies().registers.get(&offset).copied().unwrap_or_default();
        (self.inner.read32(offset) | ones) & !zeros
    }
    fn read64(&self, offset: u32) -> u64 {
        self.inner.read64(offset)
    }
    fn write8(&self, offset: u32, value: u8) {
        self.inner.write8(offset, value);
    }
    fn write16(&self, offset: u32, value: u16) {
        self.inner.write16(offset, value);
    }
    fn write32(&self, offset: u32, value: u32) {
        self.inner.write32(offset, value);
    }
    fn write64(&self, offset: u32, value: u64) {
        self.inner.write64(offset, value);
    }
}

impl Bar for LyingBar {
    type Doorbell = <<SimFunction as PciFunction>::Bar as Bar>::Doorbell;

    fn doorbell(&self, offset: u32) -> Result<Self::Doorbell, BarError> {
        self.inner.doorbell(offset)
    }
}
