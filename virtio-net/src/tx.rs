//! Transmit: frames in, descriptors out; stop and wake (5.1.6.2).
//!
//! The device's header goes to the 12 bytes before the frame's data where its headroom has them, so that one descriptor carries both; else it has a
//! descriptor of its own.

use alloc::sync::Arc;
use core::fmt;

use driver_core::buf::meta::Checksum;
use driver_core::buf::{Batch, Frame, FrameError};
use driver_core::ether::{self, FrameLimits, MIN_FRAME_BYTES, padding_bytes};
use driver_core::host::PciFunction;
use driver_core::queue::{QueueFault, Refusal, TxCounters, TxGate, TxQueue, TxState, WakeFn};
use driver_core::ring::split::SplitTx;

use crate::desc::{HDR_F_NEEDS_CSUM, Header, NET_HDR_BYTES};
use crate::regs::{Features, net};
use crate::shared::{Memory, Shared};
use crate::transport::Notify;

/// Segments of a frame.
const MAX_SEGMENTS: usize = 32;

/// One transmit queue.
///
/// Dropped while the device runs, it leaves its rings and frames with the control handle, which frees them when the device has confirmed its reset.
pub struct Tx<F: PciFunction> {
    /// Always there until the queue is dropped.
    ring: Option<SplitTx<NET_HDR_BYTES>>,
    notify: Notify<F>,
    /// Where buffers go when the caller brings no batch.
    home: Batch,
    outlet: Outlet,
}

/// What frames have to pass on their way into the ring, and what is known of those in it.
struct Outlet {
    shared: Arc<Shared>,
    csum: bool,
    gate: TxGate,
    wake: Option<WakeFn>,
    limits: FrameLimits,
    fault: Option<QueueFault>,
    packets: u64,
    bounced: u64,
    doorbells: u64,
}

/// What a transmit queue is made of.
pub(crate) struct TxParts<F: PciFunction> {
    pub(crate) ring: SplitTx<NET_HDR_BYTES>,
    pub(crate) notify: Notify<F>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) features: Features,
    pub(crate) gate: TxGate,
    pub(crate) limits: FrameLimits,
}

/// What became of the frame at the front.
enum One {
    Taken,
    NoRoom,
    Refused(Refusal),
}

impl<F: PciFunction> Tx<F> {
    /// An empty queue.
    pub(crate) fn new(parts: TxParts<F>) -> Self {
        let TxParts { ring, notify, shared, features, gate, limits } = parts;
        let csum = features.contains(Features::CSUM);
        let outlet = Outlet { shared, csum, gate, wake: None, limits, fault: None, packets: 0, bounced: 0, doorbells: 0 };
        Self { ring: Some(ring), notify, home: Batch::new(1), outlet }
    }
}

impl Outlet {
    fn fault(&self) -> Option<QueueFault> {
        self.fault.or_else(|| self.shared.fault())
    }

    #[cold]
    fn break_queue(&mut self, fault: QueueFault) {
        log::error!("virtio-net transmit queue is broken: {fault}");
        self.fault = Some(fault);
    }

    /// Takes back what the device used, and wakes the queue where that makes enough room. Returns the descriptors that came back.
    #[inline(always)]
    fn reclaim(&mut self, ring: &mut SplitTx<NET_HDR_BYTES>, batch: &mut Batch) -> usize {
        if self.fault.is_some() || !self.shared.is_running() {
            return 0;
        }
        let done = match ring.reclaim(batch) {
            Ok(done) => done,
            Err(fault) => {
                self.break_queue(fault);
                return 0;
            }
        };
        self.gate.completed(done.bytes);
        if self.gate.after_reclaim(ring.free() as u32)
            && let Some(wake) = &mut self.wake
        {
            wake();
        }
        done.descriptors as usize
    }

    /// Queues frames until the batch is empty, the ring is full, or one is refused.
    #[inline(always)]
    fn fill(&mut self, ring: &mut SplitTx<NET_HDR_BYTES>, batch: &mut Batch) -> Option<Refusal> {
        let by_bytes = self.gate.counts_bytes();
        // Frames of one buffer at most, and untagged: what is longer takes the long way, which alone looks for a tag.
        let longest = self.limits.untagged_bytes().min(ring.pool().data_bytes()) as u16;
        while !batch.is_empty() {
            if !by_bytes {
                let (_, bytes) = ring.put_ordinary(batch, MIN_FRAME_BYTES as u16, longest);
                self.shared.tx.bytes.add(bytes);
                if batch.is_empty() {
                    break;
                }
            }
            match self.put_unusual(ring, batch) {
                One::Taken if by_bytes && self.gate.after_submit(ring.free() as u32) => break,
                One::Taken => {}
                One::NoRoom => {
                    self.gate.stop();
                    break;
                }
                One::Refused(why) => return Some(why),
            }
        }
        None
    }

    /// The frame at the front of the batch, whatever it is like.
    #[cold]
    fn put_unusual(&mut self, ring: &mut SplitTx<NET_HDR_BYTES>, batch: &mut Batch) -> One {
        let Some(frame) = batch.frames_mut().first_mut() else { return One::Taken };
        let header = match self.check(frame) {
            Ok(header) => header,
            Err(why) => return One::Refused(why),
        };
        if ring.free() == 0 {
            return One::NoRoom;
        }
        if !frame.all_reachable(ring.pool().domain()) || pad(frame).is_err() {
            // Memory of another domain, or no room for the padding in any of its buffers: send a copy.
            match frame.copy(ring.pool()).and_then(|mut copy| pad(&mut copy).map(|()| copy)) {
                Ok(copy) => *frame = copy,
                Err(_) => return One::Refused(Refusal::NoBounceBuffer),
            }
            self.bounced += 1;
        }
        let needed = ring.descriptors(frame);
        if needed > ring.len() {
            return One::Refused(Refusal::TooManySegments { segments: needed, max: ring.len() });
        }
        if needed > ring.free() {
            return One::NoRoom;
        }
        let bytes = frame.len() as u64;
        // There is room: the frame is taken.
        drop(batch.pop().map(|frame| ring.put(frame, header.encode())));
        self.gate.sent(if self.gate.counts_bytes() { bytes } else { 0 });
        self.shared.tx.bytes.add(bytes);
        One::Taken
    }

    /// Whether the frame can be sent at all, and the header it gets.
    fn check(&self, frame: &Frame) -> Result<Header, Refusal> {
        let len_bytes = frame.len();
        if len_bytes < ether::HEADER_BYTES {
            return Err(Refusal::TooShort { len_bytes });
        }
        let max_bytes = self.limits.longest(frame.has_vlan_header());
        if len_bytes > max_bytes {
            return Err(Refusal::TooLong { len_bytes, max_bytes });
        }
        if frame.segmentation().is_some() || frame.vlan().is_some() {
            return Err(Refusal::Offload("segmentation or VLAN insertion"));
        }
        let segments = frame.segments().filter(|segment| !segment.is_empty()).count();
        if segments > MAX_SEGMENTS {
            return Err(Refusal::TooManySegments { segments, max: MAX_SEGMENTS });
        }
        match frame.checksum() {
            Checksum::Partial { .. } if !self.csum => Err(Refusal::Offload("checksum insertion (VIRTIO_NET_F_CSUM is not in use)")),
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
}

/// Zeros behind a frame that is shorter than the wire demands.
fn pad(frame: &mut Frame) -> Result<(), FrameError> {
    match padding_bytes(frame.len()) {
        0 => Ok(()),
        missing => frame.put(missing).map(|bytes| bytes.fill(0)),
    }
}

impl<F: PciFunction> TxQueue for Tx<F> {
    #[inline]
    fn submit(&mut self, batch: &mut Batch) -> TxState {
        let Self { ring: Some(ring), notify, outlet, .. } = self else { return TxState::Broken(QueueFault::Stopped) };
        outlet.reclaim(ring, batch);
        if let Some(fault) = outlet.fault() {
            return TxState::Broken(fault);
        }
        if outlet.gate.is_stopped() {
            return TxState::Stopped;
        }
        let had = batch.len();
        let refusal = outlet.fill(ring, batch);
        let stopped = outlet.gate.after_submit(ring.free() as u32);
        let taken = (had - batch.len()) as u64;
        if taken > 0 {
            outlet.packets += taken;
            outlet.shared.tx.packets.add(taken);
            if ring.publish() {
                notify.ring(net::TRANSMITQ);
                outlet.doorbells += 1;
            }
        }
        match refusal {
            Some(why) => TxState::Refused(why),
            None if stopped => TxState::Stopped,
            None => TxState::Running,
        }
    }

    fn reclaim(&mut self) -> usize {
        let Self { ring: Some(ring), outlet, home, .. } = self else { return 0 };
        let count = outlet.reclaim(ring, home);
        home.release_spares();
        // Nothing will complete any more: who waits for room learns from the next submit that the queue is broken.
        if outlet.fault().is_some()
            && outlet.gate.open()
            && let Some(wake) = &mut outlet.wake
        {
            wake();
        }
        count
    }

    fn pending(&self) -> usize {
        self.ring.as_ref().map_or(0, SplitTx::pending)
    }

    fn on_wake(&mut self, wake: Option<WakeFn>) {
        self.outlet.wake = wake;
    }

    fn fault(&self) -> Option<QueueFault> {
        self.outlet.fault()
    }

    fn counters(&self) -> TxCounters {
        let Outlet { packets, bounced, doorbells, .. } = self.outlet;
        let (stops, wakes) = self.outlet.gate.transitions();
        TxCounters { packets, bounced, stops, wakes, doorbells }
    }
}

impl<F: PciFunction> Drop for Tx<F> {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.outlet.shared.retire(Memory::Tx(ring));
        }
    }
}

impl<F: PciFunction> fmt::Debug for Tx<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio-net transmit queue: {:?}", self.ring)
    }
}
