//! The driver's end of a virtqueue of either layout, as a story calls it: whatever fault was seen, it goes on.

use super::ends::{Device, PackedDevice, SplitDevice};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::BufPool;
use crate::host::dma::DmaDomain;
use crate::ring::fault::QueueFault;
use crate::ring::packed::{PackedQueue, PackedRx, PackedTx};
use crate::ring::split::{SplitQueue, SplitRx, SplitTx};
use crate::ring::virtq::{HEADER_BYTES, HookRules, VirtqTaken};

/// Descriptors of each queue: few, so that rounds are short.
pub(super) const SIZE: u16 = 8;
pub(super) const DATA_BYTES: u32 = 512;
/// Frames of one buffer of which nothing is known.
const RULES: HookRules = HookRules {
    used_bytes: (HEADER_BYTES as u32 + 14, HEADER_BYTES as u32 + DATA_BYTES),
    clear: 1 | 0xff << 8,
    looked_at: 0xffff << 16,
    wanted: 1 << 16,
    known: 2,
    known_shift: 4,
};

/// A receive queue.
pub(super) trait Receive {
    type Device: Device;
    fn new(domain: &DmaDomain, pool: &BufPool, event_idx: bool) -> Self;
    fn device(&self) -> Self::Device;
    /// Takes ordinary frames.
    fn poll(&mut self, batch: &mut Batch, count: usize) -> Result<usize, QueueFault>;
    /// Takes one buffer whatever it is like.
    fn take(&mut self, batch: &mut Batch) -> Result<Option<Frame>, QueueFault>;
    fn publish(&mut self, batch: &mut Batch);
    fn arm(&mut self, wanted: bool);
    fn restart(&mut self, batch: &mut Batch);
    fn release(self);
}

/// A transmit queue.
pub(super) trait Send {
    type Device: Device;
    fn new(domain: &DmaDomain, pool: &BufPool, event_idx: bool, indirect: bool) -> Self;
    fn device(&self) -> Self::Device;
    fn put_ordinary(&mut self, batch: &mut Batch) -> usize;
    fn allow_singles(&mut self, min_free: u32, most: u32);
    fn put_only(&mut self, batch: &mut Batch) -> bool;
    /// Whether the frame was taken.
    fn put(&mut self, frame: Frame) -> bool;
    fn publish(&mut self);
    fn arm(&mut self, descriptors: Option<u32>);
    fn pending(&self) -> usize;
    /// How many descriptors came back.
    fn reclaim(&mut self, batch: &mut Batch) -> Result<u32, QueueFault>;
    fn restart(&mut self, batch: &mut Batch);
    fn release(self);
}

pub(super) type SplitReceive = SplitRx<HEADER_BYTES>;
pub(super) type PackedReceive = PackedRx<HEADER_BYTES>;
pub(super) type SplitSend = SplitTx<HEADER_BYTES>;
pub(super) type PackedSend = PackedTx<HEADER_BYTES>;

/// The frame of what was taken: no length goes up that was not lent.
fn frame_of(taken: VirtqTaken, lent_bytes: u32) -> Frame {
    assert!(taken.used_bytes <= lent_bytes, "{} bytes in a buffer of {lent_bytes}", taken.used_bytes);
    taken.frame
}

impl Receive for SplitReceive {
    type Device = SplitDevice;

    fn new(domain: &DmaDomain, pool: &BufPool, event_idx: bool) -> Self {
        Self::new(SplitQueue::new(domain, SIZE, event_idx).expect("a queue"), pool).expect("a receive queue")
    }
    fn device(&self) -> SplitDevice {
        SplitDevice::new(self.queue())
    }
    fn poll(&mut self, batch: &mut Batch, count: usize) -> Result<usize, QueueFault> {
        self.ready()?;
        let count = self.covered(batch, count);
        let done = self.take_ordinary(batch, count, RULES.used_bytes, |header| (header[0] & 1 == 0 && header[1] == 0).then_some(0)).0;
        self.refill(batch);
        Ok(done)
    }
    fn take(&mut self, batch: &mut Batch) -> Result<Option<Frame>, QueueFault> {
        self.ready()?;
        let taken = if self.covered(batch, 1) == 1 { self.take()? } else { None };
        self.refill(batch);
        Ok(taken.map(|taken| frame_of(taken, self.lent_bytes())))
    }
    fn publish(&mut self, batch: &mut Batch) {
        self.covered(batch, SIZE.into());
        self.refill(batch);
        self.publish();
    }
    fn arm(&mut self, wanted: bool) {
        if wanted {
            self.arm();
        } else {
            self.disarm();
        }
    }
    fn restart(&mut self, batch: &mut Batch) {
        // SAFETY: the device of a story writes nothing of its own accord.
        unsafe { self.rewind() };
        self.covered(batch, SIZE.into());
        self.refill(batch);
    }
    fn release(self) {
        // SAFETY: as above.
        unsafe { self.release() };
    }
}

impl Receive for PackedReceive {
    type Device = PackedDevice;

    fn new(domain: &DmaDomain, pool: &BufPool, event_idx: bool) -> Self {
        Self::new(PackedQueue::new(domain, SIZE, event_idx).expect("a queue"), pool).expect("a receive queue")
    }
    fn device(&self) -> PackedDevice {
        PackedDevice::new(self.queue())
    }
    fn poll(&mut self, batch: &mut Batch, count: usize) -> Result<usize, QueueFault> {
        let count = self.covered(batch, count);
        Ok(self.take_ordinary(batch, count, &RULES).0)
    }
    fn take(&mut self, batch: &mut Batch) -> Result<Option<Frame>, QueueFault> {
        self.covered(batch, 1);
        let lent_bytes = self.lent_bytes();
        Ok(self.take(batch)?.map(|taken| frame_of(taken, lent_bytes)))
    }
    fn publish(&mut self, _: &mut Batch) {
        self.publish();
    }
    fn arm(&mut self, wanted: bool) {
        if wanted {
            self.arm();
        } else {
            self.disarm();
        }
    }
    fn restart(&mut self, _: &mut Batch) {
        // SAFETY: the device of a story writes nothing of its own accord.
        unsafe { self.rewind() };
    }
    fn release(self) {
        // SAFETY: as above.
        unsafe { self.release() };
    }
}

/// The two transmit queues are called in the same way.
macro_rules! send {
    ($($tx:ty, $queue:ty, $device:ty;)*) => { $(
        impl Send for $tx {
            type Device = $device;

            fn new(domain: &DmaDomain, pool: &BufPool, event_idx: bool, indirect: bool) -> Self {
                Self::new(<$queue>::new(domain, SIZE, event_idx).expect("a queue"), domain, pool, if indirect { 16 } else { 0 }).expect("a transmit queue")
            }
            fn device(&self) -> $device {
                <$device>::new(self.queue())
            }
            fn put_ordinary(&mut self, batch: &mut Batch) -> usize {
                self.put_ordinary(batch, 60, 512).0
            }
            fn allow_singles(&mut self, min_free: u32, most: u32) {
                self.allow_singles(min_free, most);
            }
            fn put_only(&mut self, batch: &mut Batch) -> bool {
                self.put_only(batch, 60, 512).is_some()
            }
            fn put(&mut self, frame: Frame) -> bool {
                self.put(frame, [0; HEADER_BYTES]).is_ok()
            }
            fn publish(&mut self) {
                self.publish();
            }
            fn arm(&mut self, descriptors: Option<u32>) {
                match descriptors {
                    Some(descriptors) => drop(self.arm(descriptors)),
                    None => self.disarm(),
                }
            }
            fn pending(&self) -> usize {
                self.pending()
            }
            fn reclaim(&mut self, batch: &mut Batch) -> Result<u32, QueueFault> {
                Ok(self.reclaim(batch)?.descriptors)
            }
            fn restart(&mut self, batch: &mut Batch) {
                // SAFETY: the device of a story reads nothing of its own accord.
                unsafe { self.rewind(batch) };
            }
            fn release(self) {
                // SAFETY: as above.
                unsafe { self.release() };
            }
        }
    )* };
}
send! {
    SplitSend, SplitQueue, SplitDevice;
    PackedSend, PackedQueue, PackedDevice;
}
