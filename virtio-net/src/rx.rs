//! Polled receive: what the device's header says of a frame, and how its receive queue is armed and stopped (5.1.6.3, 5.1.6.4).
//!
//! A receive buffer is one descriptor: the device's header goes to the last 12 bytes of the headroom (20 where frames tell their hash), the frame right behind it to where an empty buffer's
//! data begins.

use alloc::boxed::Box;
use core::fmt;

use driver_core::buf::meta::{Checksum, LEN_SHIFT};
use driver_core::buf::{Batch, Frame, FrameError};
use driver_core::ether::{self, FrameLimits};
use driver_core::host::{Interrupt, PciFunction};
use driver_core::queue::core::{NotTaken, Piece, RxCore, RxError, RxKernel, Silence, Stop, Taken};
use driver_core::queue::{QueueFault, RxCounters, RxHooked, RxQueue, Settled};
use driver_core::ring::VirtqTaken;
use driver_core::ring::packed::PackedRx;
use driver_core::ring::split::{InOrderRx, SplitRx};

use crate::desc::{HASH_HDR_BYTES, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM, HDR_GSO_NONE, Header, NET_HDR_BYTES};
use crate::large;
use crate::layout::RxVirtq;
use crate::queues;
use crate::regs::Features;
use crate::rules::Rules;
use crate::transport::{Notify, Transport};

/// One receive queue, in the layout that was negotiated.
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "both are of one size, but for the ring's private words")]
pub enum Rx<F: PciFunction> {
    /// A packed virtqueue (2.8).
    Packed(RxCore<Receive<F, PackedRx<NET_HDR_BYTES>>>),
    /// A split virtqueue (2.7).
    Split(RxCore<Receive<F, SplitRx<NET_HDR_BYTES>>>),
    /// A split one whose frames tell their hash.
    SplitHash(RxCore<Receive<F, SplitRx<HASH_HDR_BYTES>>>),
    /// A packed one whose frames do.
    PackedHash(RxCore<Receive<F, PackedRx<HASH_HDR_BYTES>>>),
    /// A split one whose device uses buffers in order (2.7.9).
    SplitInOrder(RxCore<Receive<F, InOrderRx<NET_HDR_BYTES>>>),
    /// The same whose frames tell their hash.
    SplitInOrderHash(RxCore<Receive<F, InOrderRx<HASH_HDR_BYTES>>>),
}

/// Does the same with the queue of either layout.
macro_rules! either {
    ($this:expr, $queue:ident => $work:expr) => {
        match $this {
            Self::Split($queue) => $work,
            Self::Packed($queue) => $work,
            Self::SplitHash($queue) => $work,
            Self::PackedHash($queue) => $work,
            Self::SplitInOrder($queue) => $work,
            Self::SplitInOrderHash($queue) => $work,
        }
    };
}

impl<F: PciFunction> Rx<F> {
    /// [`RxQueue::poll`] of the other kinds, apart, so that a caller in which the other ways are in line saves no registers for this one's.
    #[cold]
    #[inline(never)]
    fn poll_apart(&mut self, batch: &mut Batch, budget: usize) -> usize {
        either!(self, queue => queue.poll(batch, budget))
    }
}

impl<F: PciFunction> RxQueue for Rx<F> {
    #[inline(always)]
    fn poll(&mut self, batch: &mut Batch, budget: usize) -> usize {
        match self {
            Self::Split(queue) => queue.poll(batch, budget),
            Self::Packed(queue) => queue.poll(batch, budget),
            other => other.poll_apart(batch, budget),
        }
    }
    fn arm(&mut self) -> bool {
        either!(self, queue => queue.arm())
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        either!(self, queue => queue.interrupt())
    }
    fn fault(&self) -> Option<QueueFault> {
        either!(self, queue => queue.fault())
    }
    fn counters(&self) -> RxCounters {
        either!(self, queue => queue.counters())
    }
    #[inline(always)]
    fn hook_begin(&mut self) -> RxHooked<'_> {
        either!(self, queue => queue.hook_begin())
    }
    #[inline(always)]
    fn hook_end(&mut self, settled: &Settled, batch: &mut Batch) {
        either!(self, queue => queue.hook_end(settled, batch));
    }
}

impl<F: PciFunction> fmt::Debug for Rx<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        either!(self, queue => queue.fmt(f))
    }
}

/// What a receive queue of a virtio device is made of.
pub struct Receive<F: PciFunction, R: RxVirtq> {
    ring: R,
    notify: Notify<F>,
    rules: Rules,
    /// The header of the frame of which not all buffers have come yet.
    header: Header,
    /// How many of them are missing.
    missing: u16,
    /// What was negotiated of large frames.
    large: Features,
    /// The longest frame that is none.
    longest: usize,
    /// Of how many segments the frame was that was judged last.
    segments: u16,
    /// Where the queue is reset alone, and its number, if the device can do that.
    transport: Box<dyn Transport<F>>,
    alone: Option<u16>,
}

impl<F: PciFunction, R: RxVirtq> Receive<F, R> {
    /// On a ring that is filled, of a device that may not be live yet.
    pub(crate) fn new(ring: R, notify: Notify<F>, features: Features, limits: FrameLimits, (transport, index): (Box<dyn Transport<F>>, u16)) -> Self {
        let rules = Rules::new(features, ring.lent_bytes().min(limits.tagged_bytes() + R::HEADER_BYTES as u32));
        let (large, longest) = (large::of(features), limits.longest(true));
        Self {
            ring,
            notify,
            rules,
            header: Header::default(),
            missing: 0,
            large,
            longest,
            segments: 1,
            transport,
            alone: queues::alone(index, features),
        }
    }

    /// The buffer that a frame begins in.
    fn first_buffer(&mut self, frame: &mut Frame, used_bytes: u32) -> Result<(), QueueFault> {
        let (header, word) = (R::header(frame).unwrap_or_default(), R::first_word(frame));
        let Some(len) = used_bytes.checked_sub(R::HEADER_BYTES as u32) else {
            return Err(QueueFault::Protocol("the device used a receive buffer for less than the header of a frame"));
        };
        let buffers = if self.rules.mrg_rxbuf { header.num_buffers } else { 1 };
        // 5.1.6.4.1: the device sets num_buffers to the number of buffers that the frame takes; it has no more than the queue has.
        if buffers == 0 || u32::from(buffers) > self.capacity() {
            return Err(QueueFault::Protocol("the device's num_buffers is zero, or more than the queue has"));
        }
        (self.header, self.missing) = (header, buffers - 1);
        frame.set_received([word, u64::from(len) << LEN_SHIFT]).map_err(misplaced)
    }

    /// One more buffer of a frame: without a header, it is filled from its first byte, where the header would lie (5.1.6.4).
    fn next_buffer(&mut self, frame: &mut Frame, used_bytes: u32) -> Result<(), QueueFault> {
        if used_bytes == 0 {
            return Err(QueueFault::Protocol("the device used a buffer in the middle of a frame for no bytes"));
        }
        self.missing -= 1;
        let behind = (used_bytes as usize).saturating_sub(R::HEADER_BYTES);
        frame.set_received([0, (behind as u64) << LEN_SHIFT]).map_err(misplaced)?;
        frame.push(R::HEADER_BYTES).map_err(misplaced)?;
        frame.trim(used_bytes as usize).map_err(misplaced)
    }

    /// 5.1.6.4.2: what the header says of the checksum. Without VIRTIO_NET_F_GUEST_CSUM the flags say nothing.
    fn set_checksum(&self, frame: &mut Frame) -> Result<(), RxError> {
        let Header { flags, csum_start: start, csum_offset: offset, .. } = self.header;
        if !self.rules.guest_csum {
            return Ok(());
        }
        if flags & HDR_F_NEEDS_CSUM != 0 {
            if usize::from(start) + usize::from(offset) + 2 > frame.len() {
                return Err(RxError::Header);
            }
            frame.set_checksum(Checksum::Partial { start, offset });
        } else if flags & HDR_F_DATA_VALID != 0 {
            frame.set_checksum(Checksum::Good);
        }
        Ok(())
    }
}

/// The ring has seen that what the device used lies within what it was lent.
fn misplaced(_: FrameError) -> QueueFault {
    QueueFault::Protocol("the bytes that the device used do not fit into their buffer")
}

impl<F: PciFunction, R: RxVirtq> RxKernel for Receive<F, R> {
    type Lent = R;
    const DRIVER: &'static str = "virtio-net";
    const COUNTS_BYTES: bool = true;
    const COUNTS_READY: bool = R::COUNTS_READY;
    const HAS_TAKE_ONLY: bool = true;
    /// No device promises anything of the length of its frames.
    const TOO_LONG: Option<QueueFault> = None;

    fn capacity(&self) -> u32 {
        self.ring.size().into()
    }

    #[inline(always)]
    fn ready(&mut self) -> Result<usize, QueueFault> {
        let ready = self.ring.ready()?;
        if ready > 0 {
            self.ring.disarm();
        }
        Ok(ready)
    }

    #[inline(always)]
    fn take_only(&mut self, batch: &mut Batch) -> Option<u64> {
        if self.missing > 0 {
            return None;
        }
        let rules = self.rules;
        self.ring.take_only(batch, &rules)
    }

    #[inline(always)]
    fn take_first(&mut self, batch: &mut Batch, most: usize) -> Taken {
        self.take_ordinary(batch, most)
    }

    #[inline(always)]
    fn take_ordinary(&mut self, batch: &mut Batch, most: usize) -> Taken {
        if self.missing > 0 {
            return Taken::default();
        }
        let rules = self.rules;
        let count = self.ring.covered(batch, most);
        let (frames, bytes) = self.ring.take_ordinary(batch, count, &rules);
        Taken { frames, bytes }
    }

    fn take_unusual(&mut self, batch: &mut Batch) -> Result<Piece, NotTaken> {
        if R::COUNTS_READY && self.ring.covered(batch, 1) == 0 {
            return Err(NotTaken::NoBuffer);
        }
        let VirtqTaken { mut frame, used_bytes, .. } = self.ring.take(batch)?;
        let placed = if self.missing == 0 { self.first_buffer(&mut frame, used_bytes) } else { self.next_buffer(&mut frame, used_bytes) };
        placed.map_err(NotTaken::Fault)?;
        Ok(Piece { frame, ends: self.missing == 0 })
    }

    fn judge(&mut self, frame: &mut Frame) -> Result<(), RxError> {
        if frame.len() < ether::HEADER_BYTES {
            return Err(RxError::Length);
        }
        self.segments = 1;
        self.set_checksum(frame)?;
        if self.header.gso_type != HDR_GSO_NONE {
            self.segments = large::mark(frame, &self.header, self.large).ok_or(RxError::Header)?;
        } else if frame.len() > self.longest {
            return Err(RxError::Length);
        }
        Ok(())
    }

    fn segments(&self) -> u16 {
        self.segments
    }

    #[inline(always)]
    fn hooked(&mut self) -> RxHooked<'_> {
        if self.missing > 0 {
            return RxHooked::whole();
        }
        let rules = self.rules;
        self.ring.hooked(rules.of_hooks::<NET_HDR_BYTES>())
    }

    #[inline(always)]
    fn refill(&mut self, batch: &mut Batch) {
        self.ring.refill(batch);
    }

    #[inline(always)]
    fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    #[inline(always)]
    fn ring_doorbell(&mut self) {
        self.notify.ring(|| self.ring.next_available());
    }

    fn arm(&mut self) {
        self.ring.arm();
    }

    fn has_frames(&self) -> bool {
        self.ring.has_frames()
    }

    fn stop(&mut self) -> Stop {
        queues::stop(&*self.transport, self.alone)
    }

    fn rewind(&mut self, silence: &Silence) -> u64 {
        (self.header, self.missing) = (Header::default(), 0);
        self.ring.rewind(silence)
    }

    fn into_lent(self) -> R {
        self.ring
    }
}

impl<F: PciFunction, R: RxVirtq> fmt::Debug for Receive<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}
