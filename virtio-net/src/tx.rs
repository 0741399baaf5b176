//! Transmit: frames in, descriptors out; stop and wake (5.1.6.2).
//!
//! The device's header goes to the 12 bytes before the frame's data where its headroom has them, so that one descriptor carries both; else it has a
//! descriptor of its own. Frames in flight lie whole in private slots, numbered by the first descriptor of their chain.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;

use driver_core::barrier;
use driver_core::batch::Batch;
use driver_core::dma::{DmaError, Iova};
use driver_core::frame::meta::Checksum;
use driver_core::frame::{Frame, FrameError};
use driver_core::gate::TxGate;
use driver_core::lane::Pair;
use driver_core::pci::PciFunction;
use driver_core::pool::BufPool;
use driver_core::queue::{QueueFault, Refusal, TxCounters, TxQueue, TxState, WakeFn};
use driver_core::ring::DescRing;
use driver_core::words::DmaWords;

use crate::desc::{F_INDIRECT, F_NEXT, HDR_F_NEEDS_CSUM, HEADER_BYTES, Header, descriptor};
use crate::queue::SplitQueue;
use crate::regs::{Features, net};
use crate::shared::Shared;
use crate::transport::Notify;

/// An Ethernet header.
const MIN_FRAME_BYTES: usize = 14;
/// Frames are padded to this (IEEE 802.3 clause 3.2.8, without the check sequence).
const PADDED_BYTES: usize = 60;
/// Segments of a frame.
const MAX_SEGMENTS: usize = 32;
/// Descriptors of one indirect table; longer chains lie in the ring.
const TABLE: u16 = 16;
/// 32-bit words from one header to the next where headers lie apart.
const HEADER_WORDS: u32 = 4;
/// No further descriptor in a chain.
const END: u16 = u16::MAX;

/// What the device may read or write: it must not go back to the pool while the device runs.
struct Lent {
    queue: SplitQueue,
    /// The frame whose chain begins at each descriptor, while the device has it.
    slots: Box<[Option<Frame>]>,
    /// Headers of frames without headroom, one place a descriptor.
    headers: DmaWords<u32>,
    /// Indirect tables, one a descriptor, where they were negotiated.
    tables: Option<DescRing>,
}

/// One transmit queue.
///
/// Dropped while the device runs, it leaves its rings and frames with the control handle, which frees them when the device has confirmed its reset.
pub struct Tx<F: PciFunction> {
    lent: ManuallyDrop<Lent>,
    /// Descriptors that are free, as a stack.
    free: Box<[u16]>,
    free_count: usize,
    /// The shadow of each descriptor's `next`, [`END`] at the end of a chain. What the device could write to the table is never read.
    next: Box<[u16]>,
    pool: BufPool,
    notify: Notify<F>,
    shared: Arc<Shared>,
    csum: bool,
    gate: TxGate,
    wake: Option<WakeFn>,
    /// Where buffers go when the caller brings no batch.
    home: Option<Batch>,
    max_frame_bytes: usize,
    fault: Option<QueueFault>,
    packets: u64,
    bounced: u64,
    doorbells: u64,
}

/// What a transmit queue is made of.
pub(crate) struct TxParts<F: PciFunction> {
    pub(crate) queue: SplitQueue,
    pub(crate) pool: BufPool,
    pub(crate) notify: Notify<F>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) features: Features,
    pub(crate) gate: TxGate,
    pub(crate) max_frame_bytes: usize,
}

/// What became of the frame at the front.
enum One {
    Taken,
    NoRoom,
    Refused(Refusal),
}

impl<F: PciFunction> Tx<F> {
    /// An empty queue.
    ///
    /// # Errors
    /// [`DmaError`]: no memory for headers or tables.
    pub(crate) fn new(parts: TxParts<F>) -> Result<Self, DmaError> {
        let TxParts { queue, pool, notify, shared, features, gate, max_frame_bytes } = parts;
        let size = queue.size();
        let headers = DmaWords::new(pool.domain(), u32::from(size) * HEADER_WORDS)?;
        let indirect = features.contains(Features::INDIRECT_DESC);
        let tables = if indirect { Some(DescRing::new(pool.domain(), u32::from(size) * u32::from(TABLE))?) } else { None };
        Ok(Self {
            lent: ManuallyDrop::new(Lent { queue, slots: (0..size).map(|_| None).collect(), headers, tables }),
            free: (0..size).rev().collect(),
            free_count: size.into(),
            next: (0..size).map(|_| END).collect(),
            pool,
            notify,
            shared,
            csum: features.contains(Features::CSUM),
            gate,
            wake: None,
            home: Some(Batch::new(32)),
            max_frame_bytes,
            fault: None,
            packets: 0,
            bounced: 0,
            doorbells: 0,
        })
    }

    #[inline(always)]
    fn take_free(&mut self) -> Option<u16> {
        let top = self.free_count.checked_sub(1)?;
        let id = *self.free.get(top)?;
        self.free_count = top;
        Some(id)
    }

    #[inline(always)]
    fn put_free(&mut self, id: u16) {
        if let Some(place) = self.free.get_mut(self.free_count) {
            *place = id;
            self.free_count += 1;
        }
    }

    /// Queues an ordinary frame: one buffer of this queue's pool with room for the header, nothing asked for, a legal length. Gives others back.
    #[inline(always)]
    fn put_plain(&mut self, batch: &mut Batch) -> Option<u32> {
        let frame = batch.frames_mut().first_mut()?;
        let len = frame.linear_len();
        let in_bounds = len.wrapping_sub(PADDED_BYTES) <= self.max_frame_bytes - PADDED_BYTES;
        if !in_bounds || !self.pool.owns(frame) || !frame.is_linear() || frame.wants_offload() {
            return None;
        }
        *frame.prefix_mut()? = Header::default().encode();
        let iova = frame.iova().0.wrapping_sub(HEADER_BYTES as u64);
        let id = self.take_free()?;
        let bytes = len as u32;
        let Lent { queue, slots, .. } = &mut *self.lent;
        queue.desc.store(id.into(), descriptor(iova, bytes + HEADER_BYTES as u32, 0, 0));
        queue.make_available(id);
        *slots.get_mut(usize::from(id))? = batch.pop();
        Some(bytes)
    }

    /// The frame at the front of the batch, whatever it is like.
    #[cold]
    fn put_unusual(&mut self, batch: &mut Batch) -> One {
        let Some(frame) = batch.frames_mut().first_mut() else { return One::Taken };
        let header = match self.check(frame) {
            Ok(header) => header,
            Err(why) => return One::Refused(why),
        };
        if !frame.all_reachable(self.pool.domain()) || pad(frame).is_err() {
            // Memory of another domain, or no room for the padding in any of its buffers: send a copy.
            match frame.copy(&self.pool).and_then(|mut copy| pad(&mut copy).map(|()| copy)) {
                Ok(copy) => *frame = copy,
                Err(_) => return One::Refused(Refusal::NoBounceBuffer),
            }
            self.bounced += 1;
        }
        let apart = frame.prefix::<HEADER_BYTES>().is_none();
        let needed = frame.segments().filter(|segment| !segment.is_empty()).count() + usize::from(apart);
        let in_table = needed > 1 && needed <= TABLE.into() && self.lent.tables.is_some();
        let descriptors = if in_table { 1 } else { needed };
        if descriptors > self.lent.slots.len() {
            return One::Refused(Refusal::TooManySegments { segments: needed, max: self.lent.slots.len() - usize::from(apart) });
        }
        if descriptors > self.free_count {
            return One::NoRoom;
        }
        let bytes = frame.len() as u64;
        if let Some(frame) = batch.pop() {
            self.put_frame(frame, header, in_table);
        }
        self.gate.sent(if self.gate.counts_bytes() { bytes } else { 0 });
        self.shared.tx.bytes.add(bytes);
        One::Taken
    }

    /// Whether the frame can be sent at all, and the header it gets.
    fn check(&self, frame: &Frame) -> Result<Header, Refusal> {
        let len_bytes = frame.len();
        if len_bytes < MIN_FRAME_BYTES {
            return Err(Refusal::TooShort { len_bytes });
        }
        if len_bytes > self.max_frame_bytes {
            return Err(Refusal::TooLong { len_bytes, max_bytes: self.max_frame_bytes });
        }
        if frame.segmentation().is_some() || frame.vlan().is_some() {
            return Err(Refusal::Offload("segmentation or VLAN insertion"));
        }
        let segments = frame.segments().filter(|segment| !segment.is_empty()).count();
        if segments > MAX_SEGMENTS {
            return Err(Refusal::TooManySegments { segments, max: MAX_SEGMENTS });
        }
        match frame.checksum() {
            Checksum::Partial { .. } if !self.csum => Err(Refusal::Offload("checksum insertion (the device has no VIRTIO_NET_F_CSUM)")),
            Checksum::Partial { start, offset } if usize::from(start) + usize::from(offset) + 2 > len_bytes => {
                Err(Refusal::Offload("a checksum whose place is outside the frame"))
            }
            // 5.1.6.2: "If the driver negotiated VIRTIO_NET_F_CSUM, it can skip checksumming the packet: flags has the VIRTIO_NET_HDR_F_NEEDS_CSUM set,
            // csum_start is set to the offset within the packet to begin checksumming, and csum_offset indicates how many bytes after the csum_start
            // the new (16 bit ones' complement) checksum is placed by the device."
            Checksum::Partial { start, offset } => {
                Ok(Header { flags: HDR_F_NEEDS_CSUM, csum_start: start, csum_offset: offset, ..Header::default() })
            }
            _ => Ok(Header::default()),
        }
    }

    /// A chain of descriptors for a frame, in the ring or in the indirect table of its head. There is room for it.
    fn put_frame(&mut self, mut frame: Frame, header: Header, in_table: bool) {
        let Some(head) = self.take_free() else { return };
        let header = header.encode();
        let before = match frame.prefix_mut() {
            Some(place) => {
                *place = header;
                HEADER_BYTES as u64
            }
            None => 0,
        };
        // Header and first segment in one piece, or the header apart in front.
        let apart = (before == 0).then(|| (self.store_header(head, header), HEADER_BYTES as u32));
        let segments = frame.dma_segments().filter(|&(_, len)| len > 0);
        let pieces = segments.enumerate().map(|(i, (iova, len))| {
            let before = if i == 0 { before } else { 0 };
            (Iova(iova.0.wrapping_sub(before)), len as u32 + before as u32)
        });
        let pieces = apart.into_iter().chain(pieces);
        if in_table {
            self.put_table(head, pieces);
        } else {
            self.put_chain(head, pieces);
        }
        let Lent { queue, slots, .. } = &mut *self.lent;
        queue.make_available(head);
        if let Some(slot) = slots.get_mut(usize::from(head)) {
            *slot = Some(frame);
        }
    }

    /// Writes a header that lies apart, and says where.
    fn store_header(&self, head: u16, header: [u8; HEADER_BYTES]) -> Iova {
        let at = u32::from(head) * HEADER_WORDS;
        let (words, _) = header.as_chunks::<4>();
        for (k, &word) in (0..).zip(words) {
            self.lent.headers.store(at + k, u32::from_le_bytes(word));
        }
        self.lent.headers.iova().offset(u64::from(at) * 4)
    }

    /// Descriptors one after another in the table of `head` (2.7.5.3).
    fn put_table(&self, head: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
        let Some(tables) = &self.lent.tables else { return };
        let first = u32::from(head) * u32::from(TABLE);
        let (mut count, mut last) = (0u16, Pair::new(0, 0));
        for (iova, len) in pieces {
            if count > 0 {
                // The piece before is not the last.
                let [addr, rest] = last.words();
                tables.store(first + u32::from(count) - 1, Pair::new(addr, rest | descriptor(0, 0, F_NEXT, count).high()));
            }
            last = descriptor(iova.0, len, 0, 0);
            tables.store(first + u32::from(count), last);
            count += 1;
        }
        let table = tables.iova().offset(u64::from(first) * 16);
        self.lent.queue.desc.store(head.into(), descriptor(table.0, u32::from(count) * 16, F_INDIRECT, 0));
    }

    /// Descriptors of the ring itself, chained by `next`.
    fn put_chain(&mut self, head: u16, pieces: impl Iterator<Item = (Iova, u32)>) {
        let mut pieces = pieces.peekable();
        let mut id = head;
        while let Some((iova, len)) = pieces.next() {
            let next = if pieces.peek().is_some() { self.take_free() } else { None };
            let flags = if next.is_some() { F_NEXT } else { 0 };
            self.lent.queue.desc.store(id.into(), descriptor(iova.0, len, flags, next.unwrap_or(0)));
            if let Some(place) = self.next.get_mut(usize::from(id)) {
                *place = next.unwrap_or(END);
            }
            match next {
                Some(next) => id = next,
                None => return,
            }
        }
    }

    /// Frees the descriptors of the chain at `head`.
    #[inline(always)]
    fn free_chain(&mut self, head: u16) {
        let mut id = head;
        loop {
            self.put_free(id);
            match self.next.get_mut(usize::from(id)) {
                Some(next) if *next != END => id = core::mem::replace(next, END),
                _ => return,
            }
        }
    }

    /// Takes back what the device used, and wakes the queue where that makes enough room. Returns the descriptors that came back.
    #[inline(always)]
    fn reclaim_into(&mut self, batch: &mut Batch) -> usize {
        if self.fault.is_some() || !self.shared.is_running() {
            return 0;
        }
        let ready = match self.lent.queue.ready() {
            Ok(0) => return 0,
            Ok(ready) => ready,
            Err(fault) => {
                self.break_queue(fault);
                return 0;
            }
        };
        barrier::after_done();
        let before = self.free_count;
        let by_bytes = self.gate.counts_bytes();
        for _ in 0..ready {
            // The length means nothing for buffers that the device only reads.
            let (id, _) = self.lent.queue.take_used();
            let Some(frame) = self.lent.slots.get_mut(id as usize).and_then(Option::take) else {
                self.break_queue(QueueFault::Index { index: id, limit: self.lent.queue.size().into() });
                break;
            };
            if by_bytes {
                self.gate.completed(frame.len() as u64);
            }
            batch.recycle(frame);
            self.free_chain(id as u16);
        }
        if self.gate.after_reclaim(self.free_count as u32)
            && let Some(wake) = &mut self.wake
        {
            wake();
        }
        self.free_count - before
    }

    #[cold]
    fn break_queue(&mut self, fault: QueueFault) {
        log::error!("virtio-net transmit queue is broken: {fault}");
        self.fault = Some(fault);
    }

    /// Queues frames until the batch is empty, the ring is full, or one is refused.
    #[inline(always)]
    fn fill(&mut self, batch: &mut Batch) -> Option<Refusal> {
        let by_bytes = self.gate.counts_bytes();
        let mut bytes = 0;
        let mut refusal = None;
        while !batch.is_empty() {
            if !by_bytes && let Some(len) = self.put_plain(batch) {
                bytes += u64::from(len);
                continue;
            }
            match self.put_unusual(batch) {
                One::Taken if by_bytes && self.gate.after_submit(self.free_count as u32) => break,
                One::Taken => {}
                One::NoRoom => {
                    self.gate.stop();
                    break;
                }
                One::Refused(why) => {
                    refusal = Some(why);
                    break;
                }
            }
        }
        self.shared.tx.bytes.add(bytes);
        refusal
    }
}

/// Zeros behind a frame that is shorter than the wire demands.
fn pad(frame: &mut Frame) -> Result<(), FrameError> {
    let len = frame.len();
    if len < PADDED_BYTES {
        frame.put(PADDED_BYTES - len)?.fill(0);
    }
    Ok(())
}

impl<F: PciFunction> TxQueue for Tx<F> {
    #[inline]
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        self.reclaim_into(batch);
        if let Some(fault) = self.fault() {
            return TxState::Broken(fault);
        }
        if self.gate.is_stopped() {
            return TxState::Stopped;
        }
        let had = batch.len();
        let refusal = self.fill(batch);
        let stopped = self.gate.after_submit(self.free_count as u32);
        let taken = (had - batch.len()) as u64;
        if taken > 0 {
            self.packets += taken;
            self.shared.tx.packets.add(taken);
            if self.lent.queue.publish() {
                self.notify.ring(net::TRANSMITQ);
                self.doorbells += 1;
            }
        }
        match refusal {
            Some(why) => TxState::Refused(why),
            None if stopped => TxState::Stopped,
            None => TxState::Running,
        }
    }

    fn reclaim(&mut self) -> usize {
        let Some(mut home) = self.home.take() else { return 0 };
        let count = self.reclaim_into(&mut home);
        home.release_spares();
        self.home = Some(home);
        count
    }

    fn pending(&self) -> usize {
        self.free.len() - self.free_count
    }

    fn on_wake(&mut self, wake: Option<WakeFn>) {
        self.wake = wake;
    }

    #[inline]
    fn fault(&self) -> Option<QueueFault> {
        self.fault.or_else(|| self.shared.fault())
    }

    fn counters(&self) -> TxCounters {
        let (stops, wakes) = self.gate.transitions();
        TxCounters { packets: self.packets, bounced: self.bounced, stops, wakes, doorbells: self.doorbells }
    }
}

impl<F: PciFunction> Drop for Tx<F> {
    fn drop(&mut self) {
        // SAFETY: the value is taken out once, here, and not used afterwards.
        #[allow(unsafe_code, reason = "a field can be moved out of a value with a destructor in no other way")]
        let lent = unsafe { ManuallyDrop::take(&mut self.lent) };
        self.shared.retire(lent);
    }
}

impl<F: PciFunction> fmt::Debug for Tx<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio-net transmit queue: {} descriptors, {} pending", self.free.len(), self.pending())
    }
}
