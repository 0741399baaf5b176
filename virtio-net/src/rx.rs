//! Polled receive: what the device's header says of a frame, and how its receive queue is armed and stopped (5.1.6.3, 5.1.6.4).
//!
//! A receive buffer is one descriptor: the device's header goes to the last 12 bytes of the headroom, the frame right behind it to where an empty buffer's
//! data begins.

use core::fmt;

use driver_core::buf::meta::{Checksum, LEN_SHIFT};
use driver_core::buf::{Batch, Frame, FrameError};
use driver_core::ether::{self, FrameLimits};
use driver_core::host::PciFunction;
use driver_core::queue::core::{NotTaken, Piece, RxCore, RxError, RxKernel, Stop, Taken};
use driver_core::queue::{QueueFault, RxHooked};
use driver_core::ring::split::{HookRules, SplitRx, SplitTaken};

use crate::desc::{DATA_VALID_SHIFT, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM, HDR_GSO_NONE, Header, NET_HDR_BYTES};
use crate::regs::{Features, net};
use crate::transport::Notify;

/// The shortest frame that is handed up, an Ethernet header, with the device's header before it.
const MIN_USED_BYTES: u32 = (NET_HDR_BYTES + ether::HEADER_BYTES) as u32;

/// One receive queue.
pub type Rx<F> = RxCore<Receive<F>>;

/// What a receive queue of a virtio device is made of.
pub struct Receive<F: PciFunction> {
    ring: SplitRx<NET_HDR_BYTES>,
    notify: Notify<F>,
    rules: Rules,
    /// The header of the frame of which not all buffers have come yet.
    header: Header,
    /// How many of them are missing.
    missing: u16,
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
        if first & UNUSUAL != 0 || (buffers ^ 1) & self.buffers_mask != 0 {
            return None;
        }
        Some(u32::from(first & self.valid_mask) << DATA_VALID_SHIFT)
    }
}

impl Rules {
    /// The same, by the bits of the header's eight and four bytes.
    #[inline(always)]
    fn of_hooks(self) -> HookRules {
        HookRules {
            used_bytes: (MIN_USED_BYTES, self.max_used_bytes),
            clear: u64::from(HDR_F_NEEDS_CSUM) | 0xff << 8,
            looked_at: u32::from(self.buffers_mask) << 16,
            wanted: (1 & u32::from(self.buffers_mask)) << 16,
            known: self.valid_mask.into(),
            known_shift: DATA_VALID_SHIFT,
        }
    }
}

impl<F: PciFunction> Receive<F> {
    /// On a ring that is filled, of a device that may not be live yet.
    pub(crate) fn new(ring: SplitRx<NET_HDR_BYTES>, notify: Notify<F>, features: Features, limits: FrameLimits) -> Self {
        let (mrg_rxbuf, guest_csum) = (features.contains(Features::MRG_RXBUF), features.contains(Features::GUEST_CSUM));
        let rules = Rules {
            mrg_rxbuf,
            guest_csum,
            buffers_mask: if mrg_rxbuf { u16::MAX } else { 0 },
            valid_mask: if guest_csum { HDR_F_DATA_VALID.into() } else { 0 },
            max_used_bytes: ring.lent_bytes().min(limits.tagged_bytes() + NET_HDR_BYTES as u32),
        };
        Self { ring, notify, rules, header: Header::default(), missing: 0 }
    }

    /// How many of `wanted` descriptors may be emptied: each is filled again.
    #[inline(always)]
    fn covered(&mut self, batch: &mut Batch, wanted: usize) -> usize {
        match self.ring.covered(batch, wanted) {
            0 if wanted > 0 => {
                self.ring.refill(batch);
                self.ring.covered(batch, 1)
            }
            count => count,
        }
    }

    /// The buffer that a frame begins in.
    fn first_buffer(&mut self, frame: &mut Frame, used_bytes: u32) -> Result<(), QueueFault> {
        let header = frame.prefix().map(Header::decode).unwrap_or_default();
        let Some(len) = used_bytes.checked_sub(NET_HDR_BYTES as u32) else {
            return Err(QueueFault::Protocol("the device used a receive buffer for less than the header of a frame"));
        };
        let buffers = if self.rules.mrg_rxbuf { header.num_buffers } else { 1 };
        // 5.1.6.4.1: the device sets num_buffers to the number of buffers that the frame takes; it has no more than the queue has.
        if buffers == 0 || u32::from(buffers) > self.capacity() {
            return Err(QueueFault::Protocol("the device's num_buffers is zero, or more than the queue has"));
        }
        (self.header, self.missing) = (header, buffers - 1);
        frame.set_received([0, u64::from(len) << LEN_SHIFT]).map_err(misplaced)
    }

    /// One more buffer of a frame: without a header, it is filled from its first byte, where the header would lie (5.1.6.4).
    fn next_buffer(&mut self, frame: &mut Frame, used_bytes: u32) -> Result<(), QueueFault> {
        if used_bytes == 0 {
            return Err(QueueFault::Protocol("the device used a buffer in the middle of a frame for no bytes"));
        }
        self.missing -= 1;
        let behind = (used_bytes as usize).saturating_sub(NET_HDR_BYTES);
        frame.set_received([0, (behind as u64) << LEN_SHIFT]).map_err(misplaced)?;
        frame.push(NET_HDR_BYTES).map_err(misplaced)?;
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

impl<F: PciFunction> RxKernel for Receive<F> {
    type Lent = SplitRx<NET_HDR_BYTES>;
    const DRIVER: &'static str = "virtio-net";
    const COUNTS_BYTES: bool = true;
    const COUNTS_READY: bool = true;
    const HAS_TAKE_ONLY: bool = true;
    /// No device promises anything of the length of its frames.
    const TOO_LONG: Option<QueueFault> = None;

    fn capacity(&self) -> u32 {
        self.ring.queue().size().into()
    }

    #[inline(always)]
    fn ready(&mut self) -> Result<usize, QueueFault> {
        let ready = self.ring.ready()?.into();
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
        self.ring.take_only(batch, (MIN_USED_BYTES, rules.max_used_bytes), |header| rules.ordinary(header))
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
        let count = self.covered(batch, most);
        let (frames, bytes) = self.ring.take_ordinary(batch, count, (MIN_USED_BYTES, rules.max_used_bytes), |header| rules.ordinary(header));
        Taken { frames, bytes }
    }

    fn take_unusual(&mut self, batch: &mut Batch) -> Result<Piece, NotTaken> {
        if self.covered(batch, 1) == 0 {
            return Err(NotTaken::NoBuffer);
        }
        let Some(SplitTaken { mut frame, used_bytes, .. }) = self.ring.take().map_err(NotTaken::Fault)? else { return Err(NotTaken::NotDone) };
        let placed = if self.missing == 0 { self.first_buffer(&mut frame, used_bytes) } else { self.next_buffer(&mut frame, used_bytes) };
        placed.map_err(NotTaken::Fault)?;
        Ok(Piece { frame, ends: self.missing == 0 })
    }

    fn judge(&mut self, frame: &mut Frame) -> Result<(), RxError> {
        if frame.len() < ether::HEADER_BYTES {
            return Err(RxError::Length);
        }
        if self.header.gso_type != HDR_GSO_NONE {
            return Err(RxError::Header);
        }
        self.set_checksum(frame)
    }

    #[inline(always)]
    fn hooked(&mut self) -> RxHooked<'_> {
        if self.missing > 0 {
            return RxHooked::whole();
        }
        let rules = self.rules;
        RxHooked::split(&mut self.ring, rules.of_hooks())
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
        self.notify.ring(net::RECEIVEQ);
    }

    fn arm(&mut self) {
        self.ring.arm();
    }

    fn has_frames(&self) -> bool {
        self.ring.is_ready()
    }

    /// A device cannot stop one queue alone.
    fn stop(&mut self) -> Stop {
        Stop::WithDevice
    }

    fn into_lent(self) -> SplitRx<NET_HDR_BYTES> {
        self.ring
    }
}

impl<F: PciFunction> fmt::Debug for Receive<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}
