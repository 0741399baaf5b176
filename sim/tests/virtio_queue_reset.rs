//! The simulated virtio card's queues that are reset alone (VIRTIO_F_RING_RESET), by a driver of a few lines: what becomes of what they held, and what must not be done meanwhile.

use crate::raw::{BUFFER_BYTES, BUFFERS, QUEUE_DESC, QUEUE_ENABLE, QUEUE_SELECT, QUEUE_SIZE, RX, Raw, SIZE, TX};
use driver_core::host::{PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::{Wire, peer};
use sim::{Iommu, SimDevice};

const QUEUE_MSIX: u32 = 26;
const QUEUE_RESET: u32 = 58;

/// Where a split queue's areas lie in its memory: descriptors, available ring, used ring; then buffers.
const AREAS: [usize; 3] = [0, 0x200, 0x400];
const WRITE: u16 = 2;
const RESET_US: u64 = 50;

crate::raw::driver!(Card);

impl Card {
    /// A live card; `ring_reset`: with VIRTIO_F_RING_RESET.
    fn up(ring_reset: bool) -> Self {
        let raw = Raw::new(VirtioNetOptions::new().ring_reset(true).reset_us(RESET_US));
        // VERSION_1, and RING_RESET.
        raw.take(1 << 32 | u64::from(ring_reset) << 40);
        Self(raw.live(AREAS))
    }

    /// Sets a queue up and enables it, with nothing in its rings.
    fn set_up(&self, queue: usize) {
        (0..0x800).step_by(8).for_each(|at| self.store(queue, at, 0u64));
        self.enable(queue, AREAS);
    }

    fn used_idx(&self, queue: usize) -> u16 {
        self.load(queue, AREAS[2] + 2)
    }

    /// Makes `count` buffers available, the first ones of the queue, and notifies.
    fn give(&self, queue: usize, count: u16, len: u32, flags: u16) {
        for k in 0..count {
            self.store(queue, 16 * usize::from(k), (self.buffer(queue, k), u64::from(len) | u64::from(flags) << 32));
            self.store(queue, AREAS[1] + 4 + 2 * usize::from(k), k);
        }
        self.store(queue, AREAS[1] + 2, count);
        self.notify(queue);
        self.step();
    }

    fn step(&self) {
        (0..4).for_each(|_| _ = self.device.advance_us(1));
    }

    /// Resets a queue, and waits until that is over.
    fn reset(&self, queue: usize) {
        self.bar.write16(QUEUE_SELECT, queue as u16);
        self.bar.write16(QUEUE_RESET, 1);
        assert_eq!(self.bar.read16(QUEUE_RESET), 1, "it goes on");
        self.device.advance_us(RESET_US);
        assert_eq!((self.bar.read16(QUEUE_RESET), self.bar.read16(QUEUE_ENABLE)), (0, 0), "it is over");
    }
}

/// 2.6.1.1.1, 4.1.4.3.1.
#[test]
fn what_a_queue_held_is_forgotten_and_so_is_how_it_was_set() {
    let mut card = Card::up(true);
    card.bar.write16(QUEUE_SELECT, TX as u16);
    assert_eq!(card.bar.read16(QUEUE_RESET), 0, "of a queue that is enabled");
    // SAFETY: the model is told to hold what it sends, and not exchanged.
    unsafe { card.device.with_model(|model: &mut VirtioNet| model.hold_tx = true) };
    card.give(TX, 3, 72, 0);
    card.give(RX, 5, BUFFER_BYTES as u32, WRITE);
    assert_eq!(card.arrived(), 3);
    card.reset(TX);
    card.reset(RX);
    let default = [card.bar.read16(QUEUE_SIZE), card.bar.read16(QUEUE_MSIX), card.bar.read32(QUEUE_DESC) as u16];
    assert_eq!(default, [256, 0xffff, 0], "size, vector and areas");
    // Nothing of either is used any more.
    // SAFETY: as above.
    unsafe { card.device.with_model(|model: &mut VirtioNet| model.hold_tx = false) };
    card.far.send(&[7; 60]);
    card.step();
    assert_eq!((card.used_idx(TX), card.used_idx(RX), card.arrived()), (0, 0, 0));
    // Enabled again they begin where new ones do, and the frame that came meanwhile is the first.
    card.set_up(TX);
    card.set_up(RX);
    card.give(TX, 2, 72, 0);
    card.far.send(&[8; 60]);
    card.give(RX, 5, BUFFER_BYTES as u32, WRITE);
    assert_eq!((card.used_idx(TX), card.arrived()), (2, 2));
    // SAFETY: as in `store`.
    let first = unsafe { card.queues[RX].ptr().add(BUFFERS + 12).read() };
    assert_eq!((card.used_idx(RX), first), (2, 7));
    assert_eq!(card.whats(), [""; 0]);
}

/// As long as its reset goes on a queue is the card's.
#[test]
fn a_queue_is_used_until_its_reset_is_over() {
    let mut card = Card::up(true);
    card.give(RX, 5, BUFFER_BYTES as u32, WRITE);
    card.bar.write16(QUEUE_SELECT, RX as u16);
    card.bar.write16(QUEUE_RESET, 1);
    card.far.send(&[7; 60]);
    card.step();
    assert_eq!((card.bar.read16(QUEUE_RESET), card.used_idx(RX)), (1, 1));
    card.device.advance_us(RESET_US);
    assert_eq!((card.bar.read16(QUEUE_RESET), card.whats()), (0, vec![]));
}

#[test]
fn what_must_not_be_done_with_queue_reset() {
    let card = Card::up(false);
    card.bar.write16(QUEUE_RESET, 1);
    card.bar.read16(QUEUE_RESET);
    assert_eq!(card.whats(), ["queue_reset is accessed, which was not negotiated"]);
    let card = Card::up(true);
    card.bar.write16(QUEUE_RESET, 0);
    assert_eq!(card.whats(), ["queue_reset is written with another value than 1, or of no queue"]);
    card.bar.write16(QUEUE_RESET, 1);
    card.bar.write16(QUEUE_SIZE, SIZE);
    card.bar.write16(QUEUE_ENABLE, 1);
    assert_eq!(card.whats(), ["a queue is set up outside its step"], "before it is over");
    card.device.advance_us(RESET_US);
    card.bar.write16(QUEUE_ENABLE, 1);
    assert_eq!(card.whats(), ["a queue area is missing or not aligned"], "without being set up");
}

/// 4.2.2.1.
#[test]
fn a_memory_mapped_card_has_the_register_as_well() {
    const QUEUE_SEL: u32 = 0x030;
    const QUEUE_READY: u32 = 0x044;
    const QUEUE_RESET: u32 = 0x0c0;
    let model = VirtioNet::new(VirtioNetOptions::new().mmio(true).ring_reset(true).reset_us(RESET_US));
    let device = SimDevice::new("sim:virtio-net", Box::new(model), Box::new(peer::pair(4).0), Iommu::new());
    let mut function = device.function();
    // SAFETY: queues get the addresses of no memory, and nothing is made available in them.
    let bar = unsafe { function.open_bar(0) }.unwrap();
    [0x000, 0x004, 0x008].into_iter().for_each(|register| _ = bar.read32(register));
    bar.write32(0x070, 1);
    bar.write32(0x070, 3);
    bar.write32(0x024, 1);
    bar.write32(0x020, 1 | 1 << 8);
    bar.write32(0x070, 11);
    let set_up = || {
        bar.write32(QUEUE_SEL, 0);
        bar.write32(0x038, 8);
        [0x080, 0x090, 0x0a0].into_iter().for_each(|low| bar.write32(low, 0x1000));
        bar.write32(QUEUE_READY, 1);
    };
    set_up();
    assert_eq!((bar.read32(QUEUE_RESET), bar.read32(QUEUE_READY)), (0, 1));
    bar.write32(QUEUE_RESET, 1);
    assert_eq!(bar.read32(QUEUE_RESET), 1);
    device.advance_us(RESET_US);
    assert_eq!((bar.read32(QUEUE_RESET), bar.read32(QUEUE_READY)), (0, 0));
    set_up();
    assert_eq!((bar.read32(QUEUE_READY), device.take_violations().len()), (1, 0));
}
