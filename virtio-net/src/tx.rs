//! Transmit: what the device's header of a frame asks for, and how its transmit queue is stopped (5.1.6.2).
//!
//! The device's header goes to the 12 bytes (20 with VIRTIO_NET_F_HASH_REPORT) before the frame's data where its headroom has them, so that one descriptor carries both; else it has a
//! descriptor of its own.

use alloc::boxed::Box;
use core::fmt;

use driver_core::buf::meta::Checksum;
use driver_core::buf::{Batch, BufPool, Frame};
use driver_core::ether::{FrameLimits, MIN_FRAME_BYTES};
use driver_core::host::{Interrupt, PciError, PciFunction};
use driver_core::offload::Work;
use driver_core::queue::core::{Put, Silence, Stop, TxCore, TxKernel, WhyStuck};
use driver_core::queue::{QueueFault, TxCounters, TxHooked, TxQueue, TxState, WakeFn};
use driver_core::ring::packed::PackedTx;
use driver_core::ring::split::{InOrderTx, SplitTx};
use driver_core::ring::{PutWhole, REPORT_EVERY, Reclaimed};

use crate::card::lost;
use crate::desc::{HASH_HDR_BYTES, Header, NET_HDR_BYTES};
use crate::layout::TxVirtq;
use crate::queues;
use crate::regs::{Features, net};
use crate::segment;
use crate::transport::{Notify, Transport};

/// One transmit queue, in the layout that was negotiated.
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "both are of one size, but for the ring's private words")]
pub enum Tx<F: PciFunction> {
    /// A packed virtqueue (2.8).
    Packed(TxCore<Transmit<F, PackedTx<NET_HDR_BYTES>>>),
    /// A split virtqueue (2.7).
    Split(TxCore<Transmit<F, SplitTx<NET_HDR_BYTES>>>),
    /// A split one whose header has room for a hash.
    SplitHash(TxCore<Transmit<F, SplitTx<HASH_HDR_BYTES>>>),
    /// A packed one.
    PackedHash(TxCore<Transmit<F, PackedTx<HASH_HDR_BYTES>>>),
    /// A split one whose device uses buffers in order (2.7.9).
    SplitInOrder(TxCore<Transmit<F, InOrderTx<NET_HDR_BYTES>>>),
    /// The same whose header has room for a hash.
    SplitInOrderHash(TxCore<Transmit<F, InOrderTx<HASH_HDR_BYTES>>>),
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

impl<F: PciFunction> Tx<F> {
    /// [`TxQueue::submit`] of the other kinds, apart.
    #[cold]
    #[inline(never)]
    fn submit_apart(&mut self, batch: &mut Batch) -> TxState {
        either!(self, queue => queue.submit(batch))
    }

    /// [`TxQueue::reclaim`] of the other kinds, apart.
    #[cold]
    #[inline(never)]
    fn reclaim_apart(&mut self) -> usize {
        either!(self, queue => queue.reclaim())
    }

    /// Lets the interrupt fire when so many more descriptors come back: see [`TxCore::arm_for`].
    pub(crate) fn arm_for(&mut self, descriptors: u32) {
        either!(self, queue => queue.arm_for(descriptors));
    }
}

impl<F: PciFunction> TxQueue for Tx<F> {
    #[inline(always)]
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        /// Apart, so that a caller in which the other layout's way is in line saves no registers for this one's.
        #[inline(never)]
        fn submit_apart<K: TxKernel>(queue: &mut TxCore<K>, batch: &mut Batch) -> TxState {
            queue.submit(batch)
        }
        match self {
            Self::Split(queue) => queue.submit(batch),
            Self::Packed(queue) => submit_apart(queue, batch),
            other => other.submit_apart(batch),
        }
    }
    fn reclaim(&mut self) -> usize {
        match self {
            Self::Split(queue) => queue.reclaim(),
            Self::Packed(queue) => queue.reclaim(),
            other => other.reclaim_apart(),
        }
    }
    fn pending(&self) -> usize {
        either!(self, queue => queue.pending())
    }
    fn arm(&mut self) -> bool {
        either!(self, queue => queue.arm())
    }
    fn interrupt(&mut self) -> Option<&mut dyn Interrupt> {
        either!(self, queue => queue.interrupt())
    }
    fn wait_for_room(&mut self, timeout_us: Option<u64>) -> Result<bool, PciError> {
        either!(self, queue => queue.wait_for_room(timeout_us))
    }
    fn on_wake(&mut self, wake: Option<WakeFn>) {
        either!(self, queue => queue.on_wake(wake));
    }
    fn fault(&self) -> Option<QueueFault> {
        either!(self, queue => queue.fault())
    }
    fn counters(&self) -> TxCounters {
        either!(self, queue => queue.counters())
    }
    #[inline(always)]
    fn hook_begin(&mut self, batch: &mut Batch) -> TxHooked<'_> {
        either!(self, queue => queue.hook_begin(batch))
    }
    #[inline(always)]
    fn hook_end(&mut self, frames: u32, bytes: u64, by_allowance: bool) {
        either!(self, queue => queue.hook_end(frames, bytes, by_allowance));
    }
    fn hook_frame(&mut self, frame: Frame) -> Result<(), (Frame, bool)> {
        either!(self, queue => queue.hook_frame(frame))
    }
}

impl<F: PciFunction> fmt::Debug for Tx<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        either!(self, queue => queue.fmt(f))
    }
}

/// The header of a frame of so many bytes that needs nothing done to it, and how many frames the device makes of it; `None`: it goes another way.
#[inline(always)]
fn whole(frame: &mut Frame, bytes: usize, csum: bool, cuts: Features, longest: usize) -> Option<(Header, u32)> {
    let fits = (MIN_FRAME_BYTES..=longest).contains(&bytes);
    if frame.asks_for_nothing() {
        return fits.then(|| (Header::default(), 1));
    }
    if let Some(cut) = frame.segmentation() {
        return if frame.vlan().is_none() { segment::whole(frame, cut, bytes, cuts, longest) } else { None };
    }
    match frame.checksum() {
        _ if !fits || frame.vlan().is_some() => None,
        Checksum::Partial { start, offset } if csum && usize::from(start) + usize::from(offset) + 2 <= bytes => {
            Some((Header::to_fill_in(start, offset), 1))
        }
        Checksum::Partial { .. } | Checksum::PartialSctp { .. } => None,
        _ => Some((Header::default(), 1)),
    }
}

/// The most buffers of a frame: what the longest packet takes of 2 KiB each, with some that are not full. A header that has a place of its own goes before them.
pub(crate) const MAX_SEGMENTS: usize = 63;

/// What a transmit queue of a virtio device is made of.
pub struct Transmit<F: PciFunction, T: TxVirtq> {
    pub(crate) ring: T,
    pub(crate) notify: Notify<F>,
    /// Where the device's status is.
    pub(crate) transport: Box<dyn Transport<F>>,
    /// The device tells its link's state.
    pub(crate) tells_link: bool,
    /// VIRTIO_NET_F_CSUM was negotiated.
    pub(crate) csum: bool,
    /// What was negotiated of segmentation.
    pub(crate) cuts: Features,
    /// The longest ordinary frame, in bytes. `None`: none is.
    pub(crate) max_ordinary_bytes: Option<u16>,
    /// Its number, where the device can reset it alone.
    pub(crate) alone: Option<u16>,
}

impl<F: PciFunction, T: TxVirtq> TxKernel for Transmit<F, T> {
    type Lent = T;
    const DRIVER: &'static str = "virtio-net";
    const COUNTS_BYTES: bool = true;
    const HAS_PUT_ONLY: bool = true;
    const MAX_SEGMENTS: usize = MAX_SEGMENTS;
    const MAX_CUT_BYTES: usize = segment::MAX_PAYLOAD_BYTES;

    #[inline(always)]
    fn capacity(&self) -> u32 {
        self.ring.size() as u32
    }

    #[inline(always)]
    fn free(&self) -> u32 {
        self.ring.free() as u32
    }

    fn pool(&self) -> &BufPool {
        self.ring.pool()
    }

    #[inline(always)]
    fn reclaim(&mut self, batch: &mut Batch) -> Result<Reclaimed, QueueFault> {
        self.ring.reclaim(batch)
    }

    #[inline(always)]
    fn put_only(&mut self, batch: &mut Batch) -> Option<u64> {
        self.ring.put_only(batch, MIN_FRAME_BYTES as u16, self.max_ordinary_bytes?)
    }

    #[inline(always)]
    fn allow_singles(&mut self, min_free: u32) {
        // What came back is looked at after so many.
        self.ring.allow_singles(min_free, REPORT_EVERY - 1);
    }

    #[inline(always)]
    fn put_ordinary(&mut self, batch: &mut Batch) -> Put {
        let Some(max_bytes) = self.max_ordinary_bytes else { return Put::default() };
        let (_, bytes) = self.ring.put_ordinary(batch, MIN_FRAME_BYTES as u16, max_bytes);
        Put { bytes, again: false }
    }

    #[inline(always)]
    fn has_chain(&self, batch: &Batch) -> bool {
        // Where bytes in flight are counted, each frame's are, one at a time.
        self.max_ordinary_bytes.is_some() && self.ring.has_whole(batch)
    }

    fn put_chains(&mut self, batch: &mut Batch, limits: FrameLimits) -> PutWhole {
        let (csum, cuts, longest) = (self.csum, self.cuts, limits.longest(false));
        self.ring.put_whole(batch, |frame, bytes| whole(frame, bytes, csum, cuts, longest))
    }

    #[inline(always)]
    fn hooked(&mut self) -> TxHooked<'_> {
        match self.max_ordinary_bytes {
            Some(max_bytes) => self.ring.hooked(MIN_FRAME_BYTES as u16, max_bytes),
            None => TxHooked::whole(),
        }
    }

    fn offload(&self, frame: &Frame) -> Work {
        let mut work = if self.csum { Work::CHECKSUM } else { Work::empty() };
        work.set(Work::SEGMENTATION, segment::by_device(frame, self.cuts));
        work
    }

    fn most_descriptors(&self) -> usize {
        self.ring.most_descriptors(Self::MAX_SEGMENTS)
    }

    fn descriptors(&self, frame: &Frame, _filled: usize) -> usize {
        self.ring.descriptors(frame)
    }

    fn put_unusual(&mut self, mut frame: Frame, _bytes: usize) {
        let cut = if frame.asks_for_nothing() { None } else { segment::header(&mut frame) };
        let header = cut.unwrap_or_else(|| match frame.checksum() {
            Checksum::Partial { start, offset } => Header::to_fill_in(start, offset),
            _ => Header::default(),
        });
        if self.ring.put(frame, header).is_err() {
            log::error!("virtio-net transmit queue: a counted descriptor was not free");
        }
    }

    #[inline(always)]
    fn publish(&mut self) -> bool {
        self.ring.publish()
    }

    #[inline(always)]
    fn ring_doorbell(&mut self) {
        self.notify.ring(|| self.ring.next_available());
    }

    fn why_stuck(&mut self) -> WhyStuck {
        if let Some(fault) = lost(self.transport.status()) {
            return WhyStuck::Lost(fault);
        }
        let has_link = !self.tells_link || net::STATUS.read(self.transport.device_config()) & net::S_LINK_UP != 0;
        if has_link { WhyStuck::Unknown } else { WhyStuck::NoLink }
    }

    fn arm(&mut self, descriptors: u32) {
        self.ring.arm(descriptors);
    }

    fn disarm(&mut self) {
        self.ring.disarm();
    }

    fn stop(&mut self) -> Stop {
        queues::stop(&*self.transport, self.alone)
    }

    fn rewind(&mut self, silence: &Silence, batch: &mut Batch) -> (u64, Reclaimed) {
        self.ring.rewind(silence, batch)
    }

    fn into_lent(self) -> T {
        self.ring
    }
}

impl<F: PciFunction, T: TxVirtq> fmt::Debug for Transmit<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}
