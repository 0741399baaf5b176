//! A split virtqueue (2.7): the two rings and the descriptor table in DMA memory, and the indexes that are believed, in private memory.
//!
//! Which buffer lies behind which descriptor is the business of [`Rx`](crate::rx::Rx) and [`Tx`](crate::tx::Tx). Of what the device can write, only the
//! used ring is ever read, each word once, and every index is checked before it is used.

use driver_core::barrier;
use driver_core::dma::{DmaDomain, DmaError, Iova};
use driver_core::queue::QueueFault;
use driver_core::ring::DescRing;
use driver_core::words::DmaWords;

use crate::desc::{AVAIL_F_NO_INTERRUPT, USED_F_NO_NOTIFY, need_event};

/// Where `ring` starts in the available ring: behind `flags` and `idx`, in words of 16 bits.
const AVAIL_RING: u32 = 2;
/// Where `idx` lies in the available ring.
const AVAIL_IDX: u32 = 1;
/// Where `ring` starts in the used ring: behind `flags` and `idx`, which share the first word of 32 bits.
const USED_RING: u32 = 1;

/// The memory of one virtqueue.
pub(crate) struct SplitQueue {
    pub(crate) desc: DescRing,
    /// `flags`, `idx`, `ring`, `used_event`. Written here, read by the device.
    avail: DmaWords<u16>,
    /// `flags` and `idx`, pairs of `id` and `len`, `avail_event`. Written by the device.
    used: DmaWords<u32>,
    size: u16,
    /// `idx` of the available ring, counting entries that the device was not told of yet.
    next_avail: u16,
    /// `idx` of the available ring as the device sees it.
    published: u16,
    /// Used entries taken.
    next_used: u16,
    event_idx: bool,
    /// Whether the device is asked to interrupt.
    armed: bool,
}

impl SplitQueue {
    /// A queue of `size` descriptors, a power of two of at most 32768. `event_idx`: VIRTIO_F_EVENT_IDX was negotiated.
    ///
    /// Interrupts are off: by flag, or by an event index that lies as far away as can be.
    pub(crate) fn new(domain: &DmaDomain, size: u16, event_idx: bool) -> Result<Self, DmaError> {
        let n = u32::from(size);
        let queue = Self {
            desc: DescRing::new(domain, n)?,
            avail: DmaWords::new(domain, AVAIL_RING + n + 1)?,
            used: DmaWords::new(domain, USED_RING + 2 * n + 1)?,
            size,
            next_avail: 0,
            published: 0,
            next_used: 0,
            event_idx,
            armed: true,
        };
        Ok(Self { armed: false, ..queue.disarmed() })
    }

    fn disarmed(mut self) -> Self {
        self.disarm();
        self
    }

    /// How many descriptors there are.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// The addresses of the descriptor table, the available ring and the used ring: queue_desc, queue_driver, queue_device.
    pub(crate) fn areas(&self) -> [Iova; 3] {
        [self.desc.iova(), self.avail.iova(), self.used.iova()]
    }

    #[inline(always)]
    fn slot(&self, index: u16) -> u32 {
        u32::from(index & (self.size - 1))
    }

    /// Entries of the available ring that the device has and did not return.
    #[inline(always)]
    fn outstanding(&self) -> u16 {
        self.published.wrapping_sub(self.next_used)
    }

    /// How many used entries wait. The caller goes on with [`barrier::after_done`].
    ///
    /// # Errors
    /// [`QueueFault::Protocol`] where the device claims to have used more than it was given.
    #[inline(always)]
    pub(crate) fn ready(&self) -> Result<u16, QueueFault> {
        let idx = (self.used.load(0) >> 16) as u16;
        let ready = idx.wrapping_sub(self.next_used);
        if ready > self.outstanding() {
            return Err(QueueFault::Protocol("the used ring's idx runs ahead of the buffers that the device was given"));
        }
        Ok(ready)
    }

    /// Takes the next used entry, one of those that [`SplitQueue::ready`] counted: `id` and `len` as the device wrote them.
    #[inline(always)]
    pub(crate) fn take_used(&mut self) -> (u32, u32) {
        let at = USED_RING + 2 * self.slot(self.next_used);
        self.next_used = self.next_used.wrapping_add(1);
        (self.used.load(at), self.used.load(at + 1))
    }

    /// Puts a descriptor chain's head into the available ring. The device sees it after [`SplitQueue::publish`].
    #[inline(always)]
    pub(crate) fn make_available(&mut self, head: u16) {
        self.avail.store(AVAIL_RING + self.slot(self.next_avail), head);
        self.next_avail = self.next_avail.wrapping_add(1);
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.7.10).
    #[inline(always)]
    pub(crate) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_avail);
        if old == new {
            return false;
        }
        // 2.7.13.3: "The driver performs a suitable memory barrier to ensure the device sees the updated descriptor table and available ring before the
        // next step."
        barrier::before_doorbell();
        self.avail.store(AVAIL_IDX, new);
        self.published = new;
        // 2.7.13.4: the index must be out before the look at whether the device sleeps, else both sides could wait for ever.
        barrier::store_then_load();
        if self.event_idx {
            let avail_event = self.used.load(USED_RING + 2 * u32::from(self.size)) as u16;
            need_event(avail_event, new, old)
        } else {
            self.used.load(0) as u16 & USED_F_NO_NOTIFY == 0
        }
    }

    /// Asks for an interrupt at the next used entry, and says whether there is one already.
    pub(crate) fn arm(&mut self) -> bool {
        self.armed = true;
        if self.event_idx {
            self.avail.store(AVAIL_RING + u32::from(self.size), self.next_used);
        } else {
            self.avail.store(0, 0);
        }
        // As in `publish`, the other way round.
        barrier::store_then_load();
        (self.used.load(0) >> 16) as u16 != self.next_used
    }

    /// Asks for no interrupts. With event indexes that is a request only: one passes in 65536 entries, and before the index is out of sight.
    #[inline(always)]
    pub(crate) fn disarm(&mut self) {
        if !self.armed {
            return;
        }
        self.armed = false;
        if self.event_idx {
            self.avail.store(AVAIL_RING + u32::from(self.size), self.next_used.wrapping_sub(1));
        } else {
            self.avail.store(0, AVAIL_F_NO_INTERRUPT);
        }
    }
}
