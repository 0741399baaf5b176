//! The simulated virtio card with a control queue, under a driver of a few lines.
#![allow(unreachable_pub)]

use driver_core::host::{DmaRegion, PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::{
    Wire,
    peer::{self, Peer},
};
use sim::{Iommu, SimDevice, SimFunction};

pub const SIZE: u16 = 64;
/// Where a queue's areas lie in its memory: descriptors, available ring, used ring; then buffers of 2 KiB.
pub const AREAS: [usize; 3] = [0, 0x600, 0x800];
pub const BUFFERS: usize = 0x1000;
pub const BUFFER_BYTES: usize = 2048;
/// Bits of a descriptor's flags (VIRTIO 1.3, 2.7.5).
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;

/// Feature bits (5.1.3).
pub const GUEST_CSUM: u64 = 1 << 1;
pub const CTRL_GUEST_OFFLOADS: u64 = 1 << 2;
pub const GUEST_TSO4: u64 = 1 << 7;
pub const CTRL_VQ: u64 = 1 << 17;
pub const CTRL_RX: u64 = 1 << 18;
pub const CTRL_VLAN: u64 = 1 << 19;
pub const CTRL_RX_EXTRA: u64 = 1 << 20;
pub const MQ: u64 = 1 << 22;
pub const CTRL_MAC_ADDR: u64 = 1 << 23;
pub const VERSION_1: u64 = 1 << 32;
pub const VQ_NOTF_COAL: u64 = 1 << 52;
pub const NOTF_COAL: u64 = 1 << 53;
pub const DEVICE_STATS: u64 = 1 << 50;
pub const RSS: u64 = 1 << 60;
pub const FILTERS: u64 = CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | CTRL_MAC_ADDR;

pub const PAIRS: u16 = 4;
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const OK: u8 = 0;
pub const ERR: u8 = 1;

pub struct Card {
    pub device: SimDevice,
    _function: SimFunction,
    pub bar: <SimFunction as PciFunction>::Bar,
    queues: Vec<DmaRegion>,
    pub far: Peer,
    sent: u16,
}

impl Card {
    /// A live card with these features and VERSION_1 and CTRL_VQ, on which the queues of so many pairs are enabled, receive queues with all their buffers.
    pub fn up(features: u64, pairs: u16) -> Self {
        let (near, far) = peer::pair(64);
        let options = VirtioNetOptions::new()
            .mac(MAC)
            .pairs(PAIRS)
            .rss(true)
            .notf_coal(true)
            .vq_notf_coal(true)
            .large_receive(true)
            .guest_offloads(true)
            .device_stats(true);
        let device = SimDevice::new("sim:virtio-net", Box::new(VirtioNet::new(options)), Box::new(near), Iommu::new());
        let mut function = device.function();
        // SAFETY: the card gets addresses of regions that live as long as it does.
        let bar = unsafe {
            function.allow_dma().unwrap();
            function.open_bar(4).unwrap()
        };
        bar.write8(20, 1);
        bar.write8(20, 3);
        let features = features | VERSION_1 | CTRL_VQ;
        for (half, wanted) in [(0, features as u32), (1, (features >> 32) as u32)] {
            bar.write32(8, half);
            bar.write32(12, wanted);
        }
        bar.write8(20, 11);
        // 5.1.2: the control queue lies behind those of all pairs, where several were negotiated.
        let control = if features & (MQ | RSS) != 0 { 2 * PAIRS } else { 2 };
        assert_eq!(bar.read16(18), control + 1, "num_queues");
        let queues: Vec<_> = (0..=2 * pairs).map(|_| function.dma().allocate(BUFFERS + usize::from(SIZE) * BUFFER_BYTES).unwrap()).collect();
        for (index, queue) in (0..2 * pairs).chain([control]).zip(&queues) {
            bar.write16(22, index);
            bar.write16(24, SIZE);
            for (field, at) in (32..).step_by(8).zip(AREAS) {
                bar.write32(field, (queue.iova().0 + at as u64) as u32);
                bar.write32(field + 4, ((queue.iova().0 + at as u64) >> 32) as u32);
            }
            bar.write16(28, 1);
        }
        bar.write8(20, 15);
        let card = Self { device, _function: function, bar, queues, far, sent: 0 };
        for pair in 0..pairs {
            let queue = usize::from(2 * pair);
            for k in 0..SIZE {
                card.put(queue, k, BUFFER_BYTES as u32, WRITE, 0);
                card.store(queue, AREAS[1] + 4 + 2 * usize::from(k), k);
            }
            card.store(queue, AREAS[1] + 2, SIZE);
            card.bar.write16(0x3000 + 4 * u32::from(2 * pair), 2 * pair);
        }
        _ = card.device.advance_us(10);
        card
    }

    /// Where the control queue's memory is.
    pub fn control(&self) -> usize {
        self.queues.len() - 1
    }

    pub fn store<T>(&self, queue: usize, at: usize, value: T) {
        assert!(at + size_of::<T>() <= self.queues[queue].len_bytes());
        // SAFETY: it lies in the region, and the card moves in this thread alone.
        unsafe { self.queues[queue].ptr().add(at).cast::<T>().write(value) };
    }

    pub fn load<T>(&self, queue: usize, at: usize) -> T {
        assert!(at + size_of::<T>() <= self.queues[queue].len_bytes());
        // SAFETY: as above; every value of the integers that are read is one.
        unsafe { self.queues[queue].ptr().add(at).cast::<T>().read() }
    }

    /// Descriptor `index`, which names buffer `index`.
    pub fn put(&self, queue: usize, index: u16, len: u32, flags: u16, next: u16) {
        let buffer = self.queues[queue].iova().0 + (BUFFERS + usize::from(index) * BUFFER_BYTES) as u64;
        let word = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        self.store(queue, 16 * usize::from(index), (buffer, word));
    }

    /// Sends a command: the answer of so many bytes that the card wrote, and the ack behind it.
    pub fn ask(&mut self, command: &[u8], answer_bytes: usize) -> (Vec<u8>, u8) {
        let (mut answer, used) = self.exchange(command, answer_bytes + 1);
        let ack = answer.pop().unwrap();
        // What is refused has an ack alone.
        let written = if ack == OK { answer_bytes as u32 + 1 } else { 1 };
        assert_eq!(used, written, "the used length");
        (answer, ack)
    }

    /// Sends a command with so much room for its answer: what is in it then, and how much of it the card says that it wrote.
    pub fn exchange(&mut self, command: &[u8], room_bytes: usize) -> (Vec<u8>, u32) {
        let control = self.control();
        let (first, room) = (BUFFERS, BUFFERS + BUFFER_BYTES);
        (first..).zip(command).for_each(|(at, &byte)| self.store(control, at, byte));
        (room..room + room_bytes).for_each(|at| self.store(control, at, 0xeeu8));
        self.put(control, 0, command.len() as u32, NEXT, 1);
        self.put(control, 1, room_bytes as u32, WRITE, 0);
        self.store(control, AREAS[1] + 4 + 2 * usize::from(self.sent % SIZE), 0u16);
        self.sent += 1;
        self.store(control, AREAS[1] + 2, self.sent);
        let index = if self.bar.read16(18) > 3 { 2 * PAIRS } else { 2 };
        self.bar.write16(0x3000 + 4 * u32::from(index), index);
        (0..4).for_each(|_| _ = self.device.advance_us(10));
        assert_eq!(self.load::<u16>(control, AREAS[2] + 2), self.sent, "it is answered");
        let entry = AREAS[2] + 4 + 8 * usize::from((self.sent - 1) % SIZE);
        assert_eq!(self.load::<u32>(control, entry), 0, "the used entry");
        ((room..room + room_bytes).map(|at| self.load(control, at)).collect(), self.load(control, entry + 4))
    }

    pub fn tell(&mut self, command: &[u8]) -> u8 {
        self.ask(command, 0).1
    }

    /// A command that is refused, and what the card notes of it.
    pub fn refused(&mut self, command: &[u8]) -> &'static str {
        assert_eq!(self.tell(command), ERR, "{command:?}");
        let whats = self.whats();
        assert_eq!(whats.len(), 1, "{whats:?}");
        whats[0]
    }

    pub fn whats(&self) -> Vec<&'static str> {
        self.device.take_violations().iter().map(|violation| violation.what).collect()
    }

    /// Whether a frame comes in, to this address, with this tag.
    pub fn comes_in(&mut self, to: [u8; 6], tag: Option<u16>) -> bool {
        let mut frame = Vec::from(to);
        frame.extend([2, 0, 0, 0, 0, 9]);
        frame.extend(tag.into_iter().flat_map(|tag| [[0x81, 0], tag.to_be_bytes()].concat()));
        frame.extend([0x88, 0xb5]);
        frame.resize(64, 0);
        self.arrives(&frame).is_some()
    }

    /// The pair to which a frame goes; `None`: it does not come in.
    pub fn arrives(&mut self, frame: &[u8]) -> Option<usize> {
        let counts = |card: &Self| -> Vec<u16> { (0..card.control()).step_by(2).map(|queue| card.load(queue, AREAS[2] + 2)).collect() };
        let before = counts(self);
        self.far.send(frame);
        (0..4).for_each(|_| _ = self.device.advance_us(10));
        let after = counts(self);
        before.iter().zip(&after).position(|(before, after)| before != after)
    }

    /// Notifications that the queues' wait for, by queue: frames, and microseconds.
    pub fn coalescing(&self) -> Vec<(u32, u32)> {
        // SAFETY: the model is asked, and nothing else.
        unsafe { self.device.with_model(|model: &mut VirtioNet| model.coalescing()) }.unwrap()
    }
}
