//! Polled receive: used entries in, frames out (5.1.6.3, 5.1.6.4).
//!
//! A receive buffer is one descriptor: the device's header goes to the last 12 bytes of the headroom, the frame right behind it to where a fresh
//! buffer's data begins. Descriptor `id` always stands for slot `id`; a slot is empty from the moment its buffer comes back until the device was lent
//! another, so that an id that comes twice is seen.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;

use driver_core::barrier;
use driver_core::batch::Batch;
use driver_core::frame::Frame;
use driver_core::frame::meta::{Checksum, L4_CHECKED, LEN_SHIFT};
use driver_core::pci::PciFunction;
use driver_core::pool::BufPool;
use driver_core::queue::{QueueFault, RxCounters, RxQueue};

use crate::desc::{F_WRITE, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM, HDR_GSO_NONE, HEADER_BYTES, Header, descriptor};
use crate::queue::SplitQueue;
use crate::regs::{Features, net};
use crate::shared::Shared;
use crate::transport::Notify;

/// Used entries that are taken before their slots are filled again.
const BLOCK: usize = 64;
/// The shortest frame that is handed up: an Ethernet header.
const MIN_FRAME_BYTES: usize = 14;

/// What the device may write to: it must not go back to the pool while the device runs.
struct Lent {
    queue: SplitQueue,
    /// The buffer behind each descriptor, while the device has it.
    slots: Box<[Option<Frame>]>,
}

/// A frame of several buffers of which not all have come yet.
struct Partial {
    frame: Frame,
    missing: u16,
    header: Header,
    /// A buffer could not be chained, or the frame is too long: it is counted and dropped when it is complete.
    bad: bool,
}

/// One receive queue.
///
/// Dropped while the device runs, it leaves its rings and buffers with the control handle, which frees them when the device has confirmed its reset.
pub struct Rx<F: PciFunction> {
    lent: ManuallyDrop<Lent>,
    pool: BufPool,
    notify: Notify<F>,
    shared: Arc<Shared>,
    mrg_rxbuf: bool,
    guest_csum: bool,
    interrupts: bool,
    /// Bytes lent with each descriptor, header included.
    lent_bytes: u32,
    /// The longest frame, header included, that is handed up out of one buffer.
    max_used_bytes: u32,
    max_frame_bytes: usize,
    partial: Option<Partial>,
    fault: Option<QueueFault>,
    counters: RxCounters,
}

/// What a receive queue is made of.
pub(crate) struct RxParts<F: PciFunction> {
    pub(crate) queue: SplitQueue,
    pub(crate) pool: BufPool,
    pub(crate) notify: Notify<F>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) features: Features,
    pub(crate) interrupts: bool,
    pub(crate) max_frame_bytes: usize,
}

impl<F: PciFunction> Rx<F> {
    /// A full queue: every descriptor has a buffer and is available, but the device was not notified. `None`: the pool has too few buffers.
    pub(crate) fn new(parts: RxParts<F>) -> Option<Self> {
        let RxParts { queue, pool, notify, shared, features, interrupts, max_frame_bytes } = parts;
        let lent_bytes = pool.data_bytes() + HEADER_BYTES as u32;
        let slots = (0..queue.size()).map(|_| None).collect();
        let mut rx = Self {
            lent: ManuallyDrop::new(Lent { queue, slots }),
            pool,
            notify,
            shared,
            mrg_rxbuf: features.contains(Features::MRG_RXBUF),
            guest_csum: features.contains(Features::GUEST_CSUM),
            interrupts,
            lent_bytes,
            max_used_bytes: lent_bytes.min((max_frame_bytes + HEADER_BYTES) as u32),
            max_frame_bytes,
            partial: None,
            fault: None,
            counters: RxCounters::default(),
        };
        let mut batch = Batch::new(BLOCK);
        for id in 0..rx.lent.queue.size() {
            rx.lend(&mut batch, id).then_some(())?;
        }
        // Before DRIVER_OK the device is not notified (3.1.1).
        let _ = rx.lent.queue.publish();
        Some(rx)
    }

    /// Fills slot `id` and makes its descriptor available.
    #[inline(always)]
    fn lend(&mut self, batch: &mut Batch, id: u16) -> bool {
        let Lent { queue, slots } = &mut *self.lent;
        let (Some(slot), Some(buffer)) = (slots.get_mut(usize::from(id)), batch.take_empty(&self.pool)) else { return false };
        let iova = buffer.iova().0.wrapping_sub(HEADER_BYTES as u64);
        queue.desc.store(id.into(), descriptor(iova, self.lent_bytes, F_WRITE, 0));
        queue.make_available(id);
        *slot = Some(buffer);
        true
    }

    /// Notifies the device of the first buffers: to be called once after DRIVER_OK.
    pub(crate) fn kick(&mut self) {
        self.counters.doorbells += 1;
        self.notify.ring(net::RECEIVEQ);
    }

    /// The word of an ordinary frame: whole in one buffer, of a legal length, nothing known of its checksum but perhaps that it is good.
    #[inline(always)]
    fn ordinary(&self, frame: &Frame, used_bytes: u32) -> Option<u64> {
        const MIN: u32 = (HEADER_BYTES + MIN_FRAME_BYTES) as u32;
        let Header { flags, gso_type, num_buffers, .. } = Header::decode(frame.prefix()?);
        let whole = num_buffers == 1 || !self.mrg_rxbuf;
        let in_bounds = used_bytes.wrapping_sub(MIN) <= self.max_used_bytes - MIN;
        if !whole || !in_bounds || flags & HDR_F_NEEDS_CSUM != 0 || gso_type != HDR_GSO_NONE || self.partial.is_some() {
            return None;
        }
        let checked = if flags & HDR_F_DATA_VALID != 0 && self.guest_csum { L4_CHECKED } else { 0 };
        Some(checked | u64::from(used_bytes - HEADER_BYTES as u32) << LEN_SHIFT)
    }

    /// A buffer that is no ordinary frame: part of a longer one, with a partial checksum, or out of bounds. Returns the frames handed up.
    #[cold]
    fn take_unusual(&mut self, batch: &mut Batch, id: u32, frame: Frame, used_bytes: u32) -> Result<usize, QueueFault> {
        if used_bytes > self.lent_bytes {
            return Err(QueueFault::Length { slot: id, len_bytes: used_bytes, max_bytes: self.lent_bytes });
        }
        let partial = match self.partial.take() {
            Some(partial) => self.add_buffer(batch, partial, frame, used_bytes)?,
            None => self.first_buffer(frame, used_bytes)?,
        };
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(0);
        }
        Ok(usize::from(self.finish(batch, partial)))
    }

    /// The buffer that a frame begins in.
    fn first_buffer(&self, mut frame: Frame, used_bytes: u32) -> Result<Partial, QueueFault> {
        let header = frame.prefix().map(Header::decode).unwrap_or_default();
        let Some(len) = used_bytes.checked_sub(HEADER_BYTES as u32) else {
            return Err(QueueFault::Protocol("the device used a receive buffer for less than the header of a frame"));
        };
        let buffers = if self.mrg_rxbuf { header.num_buffers } else { 1 };
        // 5.1.6.4.1: the device "MUST set num_buffers to the number of descriptors used"; it has no more than the queue has.
        if buffers == 0 || buffers > self.lent.queue.size() {
            return Err(QueueFault::Protocol("the device's num_buffers is zero, or more than the queue has"));
        }
        let bad = frame.set_received([0, u64::from(len) << LEN_SHIFT]).is_err();
        Ok(Partial { frame, missing: buffers - 1, header, bad })
    }

    /// One more buffer of a frame: without a header, it is filled from its first byte, where the header would lie (5.1.6.4).
    fn add_buffer(&self, batch: &mut Batch, mut partial: Partial, mut frame: Frame, used_bytes: u32) -> Result<Partial, QueueFault> {
        if used_bytes == 0 {
            return Err(QueueFault::Protocol("the device used a buffer in the middle of a frame for no bytes"));
        }
        let behind = (used_bytes as usize).saturating_sub(HEADER_BYTES);
        let placed = frame.set_received([0, (behind as u64) << LEN_SHIFT]).is_ok()
            && frame.push(HEADER_BYTES).is_ok()
            && frame.trim(used_bytes as usize).is_ok();
        partial.missing -= 1;
        partial.bad |= !placed || partial.frame.len() + used_bytes as usize > self.max_frame_bytes;
        if partial.bad {
            batch.recycle(frame);
        } else {
            partial.frame.append(frame);
        }
        Ok(partial)
    }

    /// Hands a complete frame up, or counts what is wrong with it.
    fn finish(&mut self, batch: &mut Batch, partial: Partial) -> bool {
        let Partial { mut frame, header, bad, .. } = partial;
        let len = frame.len();
        if bad || !(MIN_FRAME_BYTES..=self.max_frame_bytes).contains(&len) {
            self.shared.rx.length_errors.add(1);
        } else if header.gso_type != HDR_GSO_NONE || !self.set_checksum(&mut frame, header, len) {
            self.shared.rx.header_errors.add(1);
        } else {
            // `poll` keeps its budget within the batch's room, so the push cannot fail; if it did, the frame would go back to the pool.
            self.shared.rx.bytes.add(len as u64);
            return batch.push(frame).is_ok();
        }
        self.counters.errors += 1;
        batch.recycle(frame);
        false
    }

    /// 5.1.6.4.2. Without VIRTIO_NET_F_GUEST_CSUM the flags say nothing.
    fn set_checksum(&self, frame: &mut Frame, header: Header, len: usize) -> bool {
        let Header { flags, csum_start: start, csum_offset: offset, .. } = header;
        if !self.guest_csum {
            return true;
        }
        if flags & HDR_F_NEEDS_CSUM != 0 {
            if usize::from(start) + usize::from(offset) + 2 > len {
                return false;
            }
            frame.set_checksum(Checksum::Partial { start, offset });
        } else if flags & HDR_F_DATA_VALID != 0 {
            frame.set_checksum(Checksum::Unnecessary);
        }
        true
    }

    #[cold]
    fn break_queue(&mut self, fault: QueueFault) {
        log::error!("virtio-net receive queue is broken: {fault}");
        self.fault = Some(fault);
    }

    /// Takes at most `budget` frames out of `ready` used entries, refilling their slots. Returns the frames.
    #[inline(always)]
    fn drain(&mut self, batch: &mut Batch, budget: usize, mut ready: usize) -> usize {
        let (mut taken, mut bytes) = (0, 0);
        while taken < budget && ready > 0 && self.fault.is_none() {
            let wanted = ready.min(budget - taken).min(BLOCK);
            // What is taken is replaced, so no more is taken than there are fresh buffers.
            let count = wanted.min(batch.stock(&self.pool, wanted));
            if count == 0 {
                self.counters.stalls += 1;
                break;
            }
            ready -= count;
            let mut ids = [0; BLOCK];
            let mut emptied = 0;
            for place in ids.iter_mut().take(count) {
                let (id, used_bytes) = self.lent.queue.take_used();
                let Some(mut frame) = self.lent.slots.get_mut(id as usize).and_then(Option::take) else {
                    self.break_queue(QueueFault::Index { index: id, limit: self.lent.queue.size().into() });
                    break;
                };
                *place = id as u16;
                emptied += 1;
                match self.ordinary(&frame, used_bytes) {
                    // The length was compared with what was lent, so it is within the frame's room.
                    Some(word) if frame.set_received([0, word]).is_ok() => {
                        bytes += u64::from(used_bytes - HEADER_BYTES as u32);
                        taken += usize::from(batch.push(frame).is_ok());
                    }
                    _ => match self.take_unusual(batch, id, frame, used_bytes) {
                        Ok(frames) => taken += frames,
                        Err(fault) => {
                            self.break_queue(fault);
                            break;
                        }
                    },
                }
            }
            for &id in ids.iter().take(emptied) {
                self.lend(batch, id);
            }
        }
        self.shared.rx.bytes.add(bytes);
        taken
    }
}

impl<F: PciFunction> RxQueue for Rx<F> {
    #[inline]
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let budget = budget.min(batch.room());
        if self.fault.is_some() || !self.shared.is_running() {
            return 0;
        }
        let ready = match self.lent.queue.ready() {
            Ok(ready) => ready.into(),
            Err(fault) => {
                self.break_queue(fault);
                return 0;
            }
        };
        if ready == 0 || budget == 0 {
            return 0;
        }
        barrier::after_done();
        self.lent.queue.disarm();
        let taken = self.drain(batch, budget, ready);
        self.counters.packets += taken as u64;
        self.shared.rx.packets.add(taken as u64);
        if self.fault.is_none() && self.lent.queue.publish() {
            self.notify.ring(net::RECEIVEQ);
            self.counters.doorbells += 1;
        }
        taken
    }

    fn arm(&mut self) -> bool {
        if self.fault.is_some() || !self.interrupts || !self.shared.is_running() {
            return false;
        }
        self.lent.queue.arm()
    }

    fn fault(&self) -> Option<QueueFault> {
        self.fault.or_else(|| self.shared.fault())
    }

    fn counters(&self) -> RxCounters {
        self.counters
    }
}

impl<F: PciFunction> Drop for Rx<F> {
    fn drop(&mut self) {
        // SAFETY: the value is taken out once, here, and not used afterwards.
        #[allow(unsafe_code, reason = "a field can be moved out of a value with a destructor in no other way")]
        let lent = unsafe { ManuallyDrop::take(&mut self.lent) };
        self.shared.retire(lent);
    }
}

impl<F: PciFunction> fmt::Debug for Rx<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio-net receive queue: {} descriptors", self.lent.queue.size())
    }
}
