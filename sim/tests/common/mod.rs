//! A card on a wire of the test's own, driven by raw register access.
// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use driver_core::host::{DmaRegion, Iova, PciFunction, RegSpace};
use sim::ixgbe::{Faults, Ixgbe, IxgbeOptions};
use sim::wire::{Sent, Wire, WireError};
use sim::{Iommu, SimBar, SimDevice, SimFunction};

pub const MAC: [u8; 6] = [0x02, 0, 0, 0x82, 0x59, 0x90];

#[derive(Default)]
pub struct Ends {
    pub to_card: VecDeque<Vec<u8>>,
    pub from_card: Vec<Vec<u8>>,
    pub busy: bool,
    pub lossless: bool,
    pub has_fd: bool,
    pub flushes: u32,
}

/// The second field is a descriptor that never becomes readable, as long as its far end is open.
pub struct TestWire(Arc<Mutex<Ends>>, UnixStream);

impl Wire for TestWire {
    fn send(&mut self, frame: &[u8]) -> Sent {
        let mut ends = self.0.lock().unwrap();
        if ends.busy {
            return Sent::Busy;
        }
        ends.from_card.push(frame.to_vec());
        Sent::Taken
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        let Some(next) = self.0.lock().unwrap().to_card.pop_front() else { return false };
        frame.clear();
        frame.extend_from_slice(&next);
        true
    }
    fn is_finished(&self) -> bool {
        self.0.lock().unwrap().to_card.is_empty()
    }
    fn is_lossless(&self) -> bool {
        self.0.lock().unwrap().lossless
    }
    fn flush(&mut self) -> Result<(), WireError> {
        self.0.lock().unwrap().flushes += 1;
        Ok(())
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.lock().unwrap().has_fd.then(|| self.1.as_fd())
    }
}

/// A card that is reset and linked up, with a bus master, and its registers.
pub struct Card {
    pub device: SimDevice,
    pub function: SimFunction,
    pub bar: SimBar,
    pub ends: Arc<Mutex<Ends>>,
    far_end: UnixStream,
}

/// One ring of 16-byte descriptors.
pub struct TestRing {
    pub region: DmaRegion,
    pub block: u32,
    pub slots: u32,
}

/// Extended status of a received frame's last descriptor.
pub const DD: u64 = 1;
pub const EOP: u64 = 2;

impl Card {
    pub fn new() -> Self {
        Self::with(IxgbeOptions::default())
    }

    pub fn with(options: IxgbeOptions) -> Self {
        let ends = Arc::new(Mutex::new(Ends::default()));
        let (near_end, far_end) = UnixStream::pair().unwrap();
        let iommu = Iommu::new();
        let model = Box::new(Ixgbe::new(options));
        let device = SimDevice::new("sim:ixgbe", model, Box::new(TestWire(Arc::clone(&ends), near_end)), iommu);
        let mut function = device.function();
        // SAFETY: what the tests tell the card of memory are regions that they hold, and look into through the IOMMU alone.
        let bar = unsafe { function.open_bar(0) }.unwrap();
        // SAFETY: as above.
        unsafe { function.allow_dma() }.unwrap();
        Self { device, function, bar, ends, far_end }
    }

    /// Lets the reset end and the link come up.
    pub fn up() -> Self {
        let card = Self::new();
        card.device.advance_us(100);
        card.device.advance_us(1000);
        card.device.step();
        assert_ne!(card.r(0x42A4) & 1 << 30, 0, "LINKS says that the link is up");
        card
    }

    pub fn r(&self, offset: u32) -> u32 {
        self.bar.read32(offset)
    }

    pub fn w(&self, offset: u32, value: u32) {
        self.bar.write32(offset, value);
    }

    /// Zeros in a table, which no reset fills.
    pub fn clear_table(&self, first: u32, count: u32) {
        (0..count).for_each(|i| self.w(first + 4 * i, 0));
    }

    pub fn config_write(&mut self, offset: u16, width: u8, value: u32) {
        // SAFETY: as in `with`.
        unsafe { self.function.config_write(offset, width, value) }.unwrap();
    }

    pub fn settle(&self) {
        self.device.settle(1000);
    }

    /// RXCTRL.RXEN in the datasheet's order (4.6.7).
    pub fn enable_receive(&self) {
        self.w(0x2F00, self.r(0x2F00) | 2);
        self.w(0x8D00, self.r(0x8D00) | 2);
        assert_eq!(self.r(0x8D04) & 1, 1);
        self.w(0x3000, 1);
        self.w(0x8D00, self.r(0x8D00) & !2);
    }

    pub fn ring(&self, block: u32, slots: u32) -> TestRing {
        let region = self.function.dma().allocate(slots as usize * 16).unwrap();
        let iova = region.iova().0;
        self.w(block, iova as u32);
        self.w(block + 4, (iova >> 32) as u32);
        self.w(block + 8, slots * 16);
        TestRing { region, block, slots }
    }

    /// A receive queue with buffers of `kib` KiB: the ring, and the buffers' memory.
    pub fn receive_queue(&self, queue: u32, slots: u32, kib: u32) -> (TestRing, DmaRegion) {
        let ring = self.ring(0x1000 + 0x40 * queue, slots);
        self.w(ring.block + 0x14, 1 << 25 | kib);
        self.enable(&ring);
        let buffers = self.function.dma().allocate((slots * kib * 1024) as usize).unwrap();
        for i in 0..slots {
            self.put(&ring, i, [buffers.iova().0 + u64::from(i * kib * 1024), 0]);
        }
        (ring, buffers)
    }

    /// A transmit queue.
    pub fn transmit_queue(&self, queue: u32, slots: u32) -> TestRing {
        self.w(0x4A80, self.r(0x4A80) | 1);
        let ring = self.ring(0x6000 + 0x40 * queue, slots);
        self.enable(&ring);
        ring
    }

    pub fn enable(&self, ring: &TestRing) {
        self.w(ring.block + 0x28, 1 << 25);
        self.device.step();
        assert_eq!(self.r(ring.block + 0x28), 1 << 25, "the queue is enabled");
    }

    pub fn tail(&self, ring: &TestRing, tail: u32) {
        self.w(ring.block + 0x18, tail);
    }

    pub fn put(&self, ring: &TestRing, index: u32, words: [u64; 2]) {
        let bytes = [words[0].to_le_bytes(), words[1].to_le_bytes()].concat();
        self.fill(&ring.region, index * 16, &bytes);
    }

    /// Writes to a region that the card is to read.
    pub fn fill(&self, region: &DmaRegion, at: u32, bytes: &[u8]) {
        // SAFETY: as in `bytes`.
        unsafe { self.device.iommu().write(region.iova().offset(at.into()), bytes) }.unwrap();
    }

    pub fn model<R>(&self, work: impl FnOnce(&mut Ixgbe) -> R) -> R {
        // SAFETY: no test exchanges the model.
        unsafe { self.device.with_model(work) }.unwrap()
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        // SAFETY: tests have no references to memory that is mapped for the card.
        self.model(|card| change(unsafe { card.faults() }));
    }

    pub fn get(&self, ring: &TestRing, index: u32) -> [u64; 2] {
        let bytes = self.bytes(ring.region.iova().offset(u64::from(index) * 16), 16);
        [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
    }

    pub fn bytes(&self, iova: Iova, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // SAFETY: tests have no references to memory that is mapped for the card, and it leaves a region alone until it is told of it.
        unsafe { self.device.iommu().read(iova, &mut bytes) }.unwrap();
        bytes
    }

    pub fn arrive(&self, frame: &[u8]) {
        self.ends.lock().unwrap().to_card.push_back(frame.to_vec());
    }

    pub fn sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.ends.lock().unwrap().from_card)
    }

    /// Asserts that the card saw exactly these violations, and forgets them.
    #[track_caller]
    pub fn expect_violations(&self, whats: &[&str]) {
        let seen = self.device.take_violations();
        let seen: Vec<_> = seen.iter().map(|violation| violation.what).collect();
        assert_eq!(seen, whats);
    }
}

/// An advanced data descriptor's upper word: EOP, IFCS and RS as asked.
pub fn data_word(len: usize, payload_len: usize, eop: bool, rs: bool) -> u64 {
    let command = 1 << 29 | 1 << 25 | u64::from(eop) << 24 | u64::from(rs) << 27;
    len as u64 | 3 << 20 | command | (payload_len as u64) << 46
}

/// A frame to `to` of `len` bytes with a pattern.
pub fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
    frame[..6].copy_from_slice(&to);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xB5]);
    frame
}
