//! Polled receive: used entries in, frames out (5.1.6.3, 5.1.6.4).
//!
//! A receive buffer is one descriptor: the device's header goes to the last 12 bytes of the headroom, the frame right behind it to where a fresh
//! buffer's data begins.

use alloc::sync::Arc;
use core::fmt;

use driver_core::buf::meta::{Checksum, LEN_SHIFT};
use driver_core::buf::{Batch, Frame};
use driver_core::ether::{self, FrameLimits};
use driver_core::host::PciFunction;
use driver_core::queue::{QueueFault, RxCounters, RxQueue};
use driver_core::ring::split::{SplitRx, SplitTaken};

use crate::desc::{DATA_VALID_SHIFT, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM, HDR_GSO_NONE, Header, NET_HDR_BYTES};
use crate::regs::{Features, net};
use crate::shared::{Memory, Shared};
use crate::transport::Notify;

/// The shortest frame that is handed up, an Ethernet header, with the device's header before it.
const MIN_USED_BYTES: u32 = (NET_HDR_BYTES + ether::HEADER_BYTES) as u32;

/// A frame of several buffers of which not all have come yet.
struct Partial {
    frame: Frame,
    missing: u16,
    header: Header,
    /// A buffer could not be chained, or the frame is too long: it is counted and dropped when it is complete.
    bad: bool,
}

/// What was negotiated, as far as a received frame is judged by it.
#[derive(Debug, Clone, Copy)]
struct Rules {
    mrg_rxbuf: bool,
    guest_csum: bool,
    /// Which bits of num_buffers count: all or, without VIRTIO_NET_F_MRG_RXBUF, none.
    buffers_mask: u16,
    /// Which bits of the header's first two bytes say that the checksum is good.
    valid_mask: u16,
    /// The longest used length of a frame in one buffer, header included.
    max_used_bytes: u32,
    limits: FrameLimits,
}

impl Rules {
    /// Whether a frame is ordinary by its header: whole in one buffer, not segmented, and nothing known of its checksum but perhaps that it is good,
    /// which the returned bits say.
    #[inline(always)]
    fn ordinary(&self, header: &[u8; NET_HDR_BYTES]) -> Option<u32> {
        /// `flags` and `gso_type` in the header's first two bytes.
        const UNUSUAL: u16 = (HDR_F_NEEDS_CSUM as u16) | 0xff << 8;
        let [a, b, .., e, f] = *header;
        let (first, buffers) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([e, f]));
        const { assert!(HDR_GSO_NONE == 0) };
        let strange = first & UNUSUAL | (buffers ^ 1) & self.buffers_mask;
        (strange == 0).then_some(u32::from(first & self.valid_mask) << DATA_VALID_SHIFT)
    }

    /// The buffer that a frame begins in, in a queue of `size` descriptors.
    fn first_buffer(&self, mut frame: Frame, used_bytes: u32, size: u16) -> Result<Partial, QueueFault> {
        let header = frame.prefix().map(Header::decode).unwrap_or_default();
        let Some(len) = used_bytes.checked_sub(NET_HDR_BYTES as u32) else {
            return Err(QueueFault::Protocol("the device used a receive buffer for less than the header of a frame"));
        };
        let buffers = if self.mrg_rxbuf { header.num_buffers } else { 1 };
        // 5.1.6.4.1: the device sets num_buffers to the number of buffers that the frame takes; it has no more than the queue has.
        if buffers == 0 || buffers > size {
            return Err(QueueFault::Protocol("the device's num_buffers is zero, or more than the queue has"));
        }
        let bad = frame.set_received([0, u64::from(len) << LEN_SHIFT]).is_err();
        Ok(Partial { frame, missing: buffers - 1, header, bad })
    }

    /// One more buffer of a frame: without a header, it is filled from its first byte, where the header would lie (5.1.6.4).
    fn add_buffer(&self, batch: &mut Batch, partial: &mut Partial, mut frame: Frame, used_bytes: u32) -> Result<(), QueueFault> {
        if used_bytes == 0 {
            return Err(QueueFault::Protocol("the device used a buffer in the middle of a frame for no bytes"));
        }
        let behind = (used_bytes as usize).saturating_sub(NET_HDR_BYTES);
        let placed = frame.set_received([0, (behind as u64) << LEN_SHIFT]).is_ok()
            && frame.push(NET_HDR_BYTES).is_ok()
            && frame.trim(used_bytes as usize).is_ok();
        partial.missing -= 1;
        partial.bad |= !placed || partial.frame.len() + used_bytes as usize > self.limits.longest(true);
        if partial.bad {
            batch.recycle(frame);
        } else {
            partial.frame.append(frame);
        }
        Ok(())
    }

    /// 5.1.6.4.2: what the header says of the checksum. Without VIRTIO_NET_F_GUEST_CSUM the flags say nothing. False where it makes no sense.
    fn set_checksum(&self, frame: &mut Frame, header: Header) -> bool {
        let Header { flags, csum_start: start, csum_offset: offset, .. } = header;
        if !self.guest_csum {
            return true;
        }
        if flags & HDR_F_NEEDS_CSUM != 0 {
            if usize::from(start) + usize::from(offset) + 2 > frame.len() {
                return false;
            }
            frame.set_checksum(Checksum::Partial { start, offset });
        } else if flags & HDR_F_DATA_VALID != 0 {
            frame.set_checksum(Checksum::Good);
        }
        true
    }
}

/// One receive queue.
///
/// Dropped while the device runs, it leaves its rings and buffers with the control handle, which frees them when the device has confirmed its reset.
pub struct Rx<F: PciFunction> {
    /// Always there until the queue is dropped.
    ring: Option<SplitRx<NET_HDR_BYTES>>,
    notify: Notify<F>,
    interrupts: bool,
    intake: Intake,
}

/// What becomes of the buffers that come out of the ring.
struct Intake {
    shared: Arc<Shared>,
    rules: Rules,
    partial: Option<Partial>,
    fault: Option<QueueFault>,
    counters: RxCounters,
}

/// What a receive queue is made of.
pub(crate) struct RxParts<F: PciFunction> {
    pub(crate) ring: SplitRx<NET_HDR_BYTES>,
    pub(crate) notify: Notify<F>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) features: Features,
    pub(crate) interrupts: bool,
    pub(crate) limits: FrameLimits,
}

impl<F: PciFunction> Rx<F> {
    /// A queue of a device that is not live yet.
    pub(crate) fn new(parts: RxParts<F>) -> Self {
        let RxParts { ring, notify, shared, features, interrupts, limits } = parts;
        let (mrg_rxbuf, guest_csum) = (features.contains(Features::MRG_RXBUF), features.contains(Features::GUEST_CSUM));
        let rules = Rules {
            mrg_rxbuf,
            guest_csum,
            buffers_mask: if mrg_rxbuf { u16::MAX } else { 0 },
            valid_mask: if guest_csum { HDR_F_DATA_VALID.into() } else { 0 },
            max_used_bytes: ring.lent_bytes().min(limits.tagged_bytes() + NET_HDR_BYTES as u32),
            limits,
        };
        let intake = Intake { shared, rules, partial: None, fault: None, counters: RxCounters::default() };
        Self { ring: Some(ring), notify, interrupts, intake }
    }

    /// Notifies the device of the first buffers: to be called once after DRIVER_OK, and not before (3.1.1).
    pub(crate) fn kick(&mut self) {
        self.intake.counters.doorbells += 1;
        self.notify.ring(net::RECEIVEQ);
    }
}

impl Intake {
    /// A buffer that is no ordinary frame: part of a longer one, with a partial checksum, or out of bounds. Returns the frames handed up.
    #[cold]
    fn take_unusual(&mut self, batch: &mut Batch, ring: &mut SplitRx<NET_HDR_BYTES>) -> Result<usize, QueueFault> {
        let Some(SplitTaken { frame, used_bytes, .. }) = ring.take()? else { return Ok(0) };
        let partial = match self.partial.take() {
            Some(mut partial) => {
                self.rules.add_buffer(batch, &mut partial, frame, used_bytes)?;
                partial
            }
            None => self.rules.first_buffer(frame, used_bytes, ring.queue().size())?,
        };
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(0);
        }
        Ok(usize::from(self.finish(batch, partial)))
    }

    /// Hands a complete frame up, or counts what is wrong with it.
    fn finish(&mut self, batch: &mut Batch, partial: Partial) -> bool {
        let Partial { mut frame, header, bad, .. } = partial;
        let len = frame.len();
        if bad || !(ether::HEADER_BYTES..=self.rules.limits.longest(true)).contains(&len) {
            self.shared.rx.length_errors.add(1);
        } else if header.gso_type != HDR_GSO_NONE || !self.rules.set_checksum(&mut frame, header) {
            self.shared.rx.header_errors.add(1);
        } else {
            self.shared.rx.bytes.add(len as u64);
            // `poll` keeps its budget within the batch's room, so the push cannot fail; if it did, the frame would go back to the pool.
            return batch.push(frame).is_ok();
        }
        self.counters.errors += 1;
        batch.recycle(frame);
        false
    }

    #[cold]
    fn break_queue(&mut self, fault: QueueFault) {
        log::error!("virtio-net receive queue is broken: {fault}");
        self.fault = Some(fault);
    }

    /// Takes at most `budget` frames out of `ready` used entries. Returns the frames.
    #[inline(always)]
    fn drain(&mut self, batch: &mut Batch, ring: &mut SplitRx<NET_HDR_BYTES>, budget: usize, mut ready: usize) -> usize {
        let mut taken = 0;
        while taken < budget && ready > 0 {
            // What is taken is replaced, so no more is taken than there are fresh buffers.
            let mut count = ring.covered(batch, ready.min(budget - taken));
            if count == 0 {
                ring.refill(batch);
                count = ring.covered(batch, 1);
            }
            if count == 0 {
                self.counters.stalls += 1;
                break;
            }
            let rules = self.rules;
            let (frames, bytes) = match self.partial {
                None => ring.take_ordinary(batch, count, (MIN_USED_BYTES, rules.max_used_bytes), |header| rules.ordinary(header)),
                Some(_) => (0, 0),
            };
            self.shared.rx.bytes.add(bytes);
            (taken, ready) = (taken + frames, ready - frames);
            if frames < count {
                match self.take_unusual(batch, ring) {
                    Ok(frames) => (taken, ready) = (taken + frames, ready - 1),
                    Err(fault) => {
                        self.break_queue(fault);
                        break;
                    }
                }
            }
        }
        taken
    }
}

impl<F: PciFunction> RxQueue for Rx<F> {
    #[inline]
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        let Self { ring: Some(ring), intake, notify, .. } = self else { return 0 };
        let budget = budget.min(batch.room());
        if intake.fault.is_some() || budget == 0 || !intake.shared.is_running() {
            return 0;
        }
        let ready = match ring.ready() {
            Ok(0) => return 0,
            Ok(ready) => ready.into(),
            Err(fault) => {
                intake.break_queue(fault);
                return 0;
            }
        };
        ring.disarm();
        let taken = intake.drain(batch, ring, budget, ready);
        ring.refill(batch);
        intake.counters.packets += taken as u64;
        intake.shared.rx.packets.add(taken as u64);
        // A device that broke the rules gets nothing more.
        if intake.fault.is_none() && ring.publish() {
            notify.ring(net::RECEIVEQ);
            intake.counters.doorbells += 1;
        }
        taken
    }

    fn arm(&mut self) -> bool {
        match &mut self.ring {
            Some(ring) if self.intake.fault.is_none() && self.interrupts && self.intake.shared.is_running() => ring.arm(),
            _ => false,
        }
    }

    fn fault(&self) -> Option<QueueFault> {
        self.intake.fault.or_else(|| self.intake.shared.fault())
    }

    fn counters(&self) -> RxCounters {
        self.intake.counters
    }
}

impl<F: PciFunction> Drop for Rx<F> {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.intake.shared.retire(Memory::Rx(ring));
        }
    }
}

impl<F: PciFunction> fmt::Debug for Rx<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio-net receive queue: {:?}", self.ring)
    }
}
