//! A stub virtio network card: just enough registers for the driver to start, and the two split queues.

use std::sync::Arc;

use driver_core::device::Config;
use driver_core::host::DmaDomain;
use driver_core::queue::{RxQueue, TxQueue};

use crate::hook;
use crate::host::{HostClock, PlainBar, StubFunction, device_ptr};
use crate::lap::{Card, Port};
use crate::workload::Shape;

/// Bytes of `virtio_net_hdr` with VERSION_1 (virtio 1.2, 5.1.6).
const HEADER_BYTES: u32 = 12;
/// Where the structures lie in BAR 4: common configuration, notification, device configuration.
const STRUCTURES: [(u8, u32, u32); 3] = [(1, 0, 0x38), (2, 0x1000, 0x100), (4, 0x2000, 0x40)];
/// MAC, STATUS, MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1, ACCESS_PLATFORM.
const FEATURES: u64 = 1 << 5 | 1 << 16 | 1 << 15 | 1 << 28 | 1 << 29 | 1 << 32 | 1 << 33;
const MAX_QUEUE: u32 = 4096;

/// Common configuration (4.1.4.3), by words.
fn answer(bar: &PlainBar, offset: u32) -> u32 {
    let stored = bar.stored(offset);
    match offset {
        // device_feature, by device_feature_select.
        0x04 => (FEATURES >> (32 * (bar.stored(0) & 1))) as u32,
        // num_queues is 2, above the configuration vector.
        0x10 => stored & 0xffff | 2 << 16,
        // queue_size: the most there is, until the driver asks for less.
        0x18 => stored | if stored & 0xffff == 0 { MAX_QUEUE } else { 0 },
        // queue_notify_off is 0, above queue_enable.
        0x1c => stored & 0xffff,
        // Device configuration: the address, and the link is up.
        0x2000 => 0x0200_0002,
        0x2004 => 0x0001_0000,
        _ => stored,
    }
}

/// The device's view of a split queue.
struct Queue {
    desc: *mut [u64; 2],
    avail: *mut u16,
    used: *mut u32,
    mask: u16,
    seen: u16,
    index: u16,
}

impl Queue {
    /// The queue whose registers were last written to `bar` while `queue` was selected.
    fn find(bar: &PlainBar, queue: u32) -> Self {
        let (mut selected, mut size, mut address) = (0, MAX_QUEUE, [0u64; 3]);
        for (offset, value) in bar.writes() {
            match offset {
                0x16 => selected = value,
                0x18 if selected == queue => size = value,
                0x20..0x38 if selected == queue => {
                    let (place, high) = ((offset as usize - 0x20) / 8, offset % 8 != 0);
                    let kept = if high { address[place] & 0xffff_ffff } else { address[place] >> 32 << 32 };
                    address[place] = kept | u64::from(value) << if high { 32 } else { 0 };
                }
                _ => {}
            }
        }
        let [desc, avail, used] = address;
        Self { desc: device_ptr(desc), avail: device_ptr(avail), used: device_ptr(used), mask: size as u16 - 1, seen: 0, index: 0 }
    }

    /// The next buffer that the driver made available: its descriptor's number, address and length.
    fn pop(&mut self) -> Option<(u16, u64, u32)> {
        // SAFETY: the driver's rings are alive while the lap is; positions are masked, and descriptors are numbered below the queue's size.
        unsafe {
            if self.avail.add(1).read_volatile() == self.seen {
                return None;
            }
            let id = self.avail.add(2 + usize::from(self.seen & self.mask)).read_volatile();
            self.seen = self.seen.wrapping_add(1);
            let [iova, rest] = self.desc.add(usize::from(id & self.mask)).read_volatile();
            Some((id, iova, rest as u32))
        }
    }

    fn push(&mut self, id: u16, len_bytes: u32) {
        let at = 1 + 2 * usize::from(self.index & self.mask);
        // SAFETY: as in `pop`.
        unsafe {
            self.used.add(at).write_volatile(id.into());
            self.used.add(at + 1).write_volatile(len_bytes);
        }
        self.index = self.index.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: as in `pop`. Flags (low) and index (high) are one word.
        unsafe { self.used.write_volatile(u32::from(self.index) << 16) };
    }
}

pub(crate) struct Stub {
    rx: Queue,
    tx: Queue,
    shape: Shape,
}

impl Card for Stub {
    fn receive(&mut self, frames: usize) {
        let Shape { frame_bytes, buffer_bytes, is_marked } = self.shape;
        let (total, lent) = (HEADER_BYTES + frame_bytes, HEADER_BYTES + buffer_bytes);
        for _ in 0..frames {
            let mut left = total;
            while left > 0 {
                let Some((id, iova, _)) = self.rx.pop() else { break };
                if left == total {
                    // SAFETY: the driver lent this buffer, which is longer than a header.
                    unsafe {
                        let header: *mut u8 = device_ptr(iova);
                        header.write_bytes(0, 10);
                        // num_buffers
                        header.add(10).cast::<u16>().write_unaligned(total.div_ceil(lent) as u16);
                        if is_marked {
                            header.add(HEADER_BYTES as usize + hook::MARK_AT).cast::<u32>().write_unaligned(hook::mark(self.rx.seen.into()));
                        }
                    }
                }
                let len = left.min(lent);
                self.rx.push(id, len);
                left -= len;
            }
        }
        self.rx.publish();
    }

    fn send(&mut self) -> usize {
        let mut sent = 0;
        while let Some((id, _, len_bytes)) = self.tx.pop() {
            // A frame of several buffers is a chain, or a table: one entry as well.
            sent += usize::from(len_bytes == HEADER_BYTES + self.shape.frame_bytes || self.shape.frame_bytes > self.shape.buffer_bytes);
            self.tx.push(id, 0);
        }
        self.tx.publish();
        sent
    }
}

/// The virtio driver, started on a stub in `domain`.
pub(crate) fn port(domain: &DmaDomain, config: &Config, shape: Shape) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, Stub> {
    let bar = PlainBar::new(16 * 1024, answer);
    let mut capabilities = [0u8; 72];
    for (k, (cfg_type, offset, len_bytes)) in STRUCTURES.into_iter().enumerate() {
        let (at, next) = (24 * k, if k == 2 { 0 } else { 0x40 + 24 * (k + 1) });
        let cap = &mut capabilities[at..at + 24];
        cap[..5].copy_from_slice(&[0x09, next as u8, 20, cfg_type, 4]);
        cap[8..12].copy_from_slice(&offset.to_le_bytes());
        cap[12..16].copy_from_slice(&len_bytes.to_le_bytes());
    }
    let function = StubFunction::new((0x1af4, 0x1041), &capabilities, bar.clone(), domain);
    let device = virtio_net::open(function, Arc::new(HostClock::new())).expect("the stub answers");
    let mut started = device.start(config).expect("the stub starts");
    let card = Stub { rx: Queue::find(&bar, 0), tx: Queue::find(&bar, 1), shape };
    let (rx, tx) = (started.rx.remove(0), started.tx.remove(0));
    // The control handle would reset the card when dropped; the process ends with the benchmark.
    std::mem::forget(started.control);
    Port { rx, tx, card, pool: started.pool }
}
