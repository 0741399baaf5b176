//! A simulated virtio card with one receive and one transmit queue, for drivers of a few lines, which may do what no driver must.
#![allow(unreachable_pub)]

use driver_core::host::{DmaRegion, PciFunction, RegSpace};
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::{
    Wire,
    peer::{self, Peer},
};
use sim::{Iommu, SimDevice, SimFunction};

pub const SIZE: u16 = 8;
/// Receive and transmit queue.
pub const RX: usize = 0;
pub const TX: usize = 1;
/// Behind a queue's areas lie buffers of 2 KiB in its memory.
pub const BUFFERS: usize = 0x1000;
pub const BUFFER_BYTES: usize = 2048;

/// struct virtio_pci_common_cfg (VIRTIO 1.3, 4.1.4.3), and where notifications go.
pub const DRIVER_FEATURE_SELECT: u32 = 8;
pub const DRIVER_FEATURE: u32 = 12;
pub const STATUS: u32 = 20;
pub const QUEUE_SELECT: u32 = 22;
pub const QUEUE_SIZE: u32 = 24;
pub const QUEUE_ENABLE: u32 = 28;
pub const QUEUE_DESC: u32 = 32;
pub const NOTIFY: u32 = 0x3000;

/// A driver of its own on such a card, which has all that the card has.
macro_rules! driver {
    ($driver:ident) => {
        struct $driver(crate::raw::Raw);

        impl std::ops::Deref for $driver {
            type Target = crate::raw::Raw;
            fn deref(&self) -> &crate::raw::Raw {
                &self.0
            }
        }

        impl std::ops::DerefMut for $driver {
            fn deref_mut(&mut self) -> &mut crate::raw::Raw {
                &mut self.0
            }
        }
    };
}
pub(crate) use driver;

/// The card, the memory of its two queues, and the far end of its wire.
pub struct Raw {
    pub device: SimDevice,
    _function: SimFunction,
    pub bar: <SimFunction as PciFunction>::Bar,
    pub queues: [DmaRegion; 2],
    pub far: Peer,
}

impl Raw {
    /// As far as a driver that knows the card: what it takes of it is next.
    pub fn new(options: VirtioNetOptions) -> Self {
        let (near, far) = peer::pair(64);
        let device = SimDevice::new("sim:virtio-net", Box::new(VirtioNet::new(options)), Box::new(near), Iommu::new());
        let mut function = device.function();
        // SAFETY: the card gets addresses of regions that live as long as it does.
        let bar = unsafe {
            function.allow_dma().unwrap();
            function.open_bar(4).unwrap()
        };
        let queues = [(); 2].map(|()| function.dma().allocate(BUFFERS + usize::from(SIZE) * BUFFER_BYTES).unwrap());
        bar.write8(STATUS, 1);
        bar.write8(STATUS, 3);
        Self { device, _function: function, bar, queues, far }
    }

    /// Takes these features, and sets FEATURES_OK.
    pub fn take(&self, features: u64) {
        for (half, wanted) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.bar.write32(DRIVER_FEATURE_SELECT, half);
            self.bar.write32(DRIVER_FEATURE, wanted);
        }
        self.bar.write8(STATUS, 11);
    }

    /// Selects a queue, says where its areas lie in its memory, and enables it.
    pub fn enable(&self, queue: usize, areas: [usize; 3]) {
        self.bar.write16(QUEUE_SELECT, queue as u16);
        self.bar.write16(QUEUE_SIZE, SIZE);
        for (field, at) in (QUEUE_DESC..).step_by(8).zip(areas) {
            let iova = self.queues[queue].iova().0 + at as u64;
            self.bar.write32(field, iova as u32);
            self.bar.write32(field + 4, (iova >> 32) as u32);
        }
        self.bar.write16(QUEUE_ENABLE, 1);
    }

    /// Enables both queues, and sets DRIVER_OK.
    pub fn live(self, areas: [usize; 3]) -> Self {
        (0..2).for_each(|queue| self.enable(queue, areas));
        self.bar.write8(STATUS, 15);
        self
    }

    pub fn store<T>(&self, queue: usize, at: usize, value: T) {
        assert!(at + size_of::<T>() <= self.queues[queue].len_bytes());
        // SAFETY: it lies in the region, and the card moves in this thread alone.
        unsafe { self.queues[queue].ptr().add(at).cast::<T>().write(value) };
    }

    pub fn load<T: Copy>(&self, queue: usize, at: usize) -> T {
        assert!(at + size_of::<T>() <= self.queues[queue].len_bytes());
        // SAFETY: as in `store`; the types that are read have no invalid bits.
        unsafe { self.queues[queue].ptr().add(at).cast::<T>().read_unaligned() }
    }

    /// Where buffer `k` lies.
    pub fn buffer(&self, queue: usize, k: u16) -> u64 {
        self.queues[queue].iova().0 + (BUFFERS + usize::from(k) * BUFFER_BYTES) as u64
    }

    /// Notifies of a queue.
    pub fn notify(&self, queue: usize) {
        self.bar.write16(NOTIFY + 4 * queue as u32, queue as u16);
    }

    /// Notifies of a queue, and lets the card move.
    pub fn go(&self, queue: usize) {
        self.notify(queue);
        (0..4).for_each(|_| _ = self.device.advance_us(10));
    }

    /// What it noted since the last look, each once.
    pub fn whats(&self) -> Vec<&'static str> {
        let mut whats: Vec<_> = self.device.take_violations().iter().map(|violation| violation.what).collect();
        whats.dedup();
        whats
    }

    /// Whether it asks for a reset.
    pub fn is_dead(&self) -> bool {
        self.bar.read8(STATUS) & 0x40 != 0
    }

    /// How many frames arrived at the far end.
    pub fn arrived(&mut self) -> usize {
        let mut frame = Vec::new();
        std::iter::from_fn(|| self.far.receive(&mut frame).then_some(())).count()
    }
}
