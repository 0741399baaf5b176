//! A stub virtio network card: just enough registers for the driver to start, and the two split queues.

use std::sync::Arc;

use driver_core::device::Config;
use driver_core::host::DmaDomain;
use driver_core::queue::{RxQueue, TxQueue};

use crate::hook;
use crate::host::{HostClock, PlainBar, StubFunction, device_ptr};
use crate::lap::{Card, Port};
use crate::workload::Shape;

/// Bytes of `virtio_net_hdr` with VERSION_1 (virtio 1.3, 5.1.6).
const HEADER_BYTES: u32 = 12;
/// The same with a hash.
const HASH_HEADER_BYTES: u32 = 20;
/// Where the structures lie in BAR 4: common configuration, notification, device configuration.
const STRUCTURES: [(u8, u32, u32); 3] = [(1, 0, 0x38), (2, 0x1000, 0x100), (4, 0x2000, 0x40)];
/// MAC, STATUS, MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1, ACCESS_PLATFORM.
const FEATURES: u64 = 1 << 5 | 1 << 16 | 1 << 15 | 1 << 28 | 1 << 29 | 1 << 32 | 1 << 33;
/// RING_PACKED.
const PACKED: u64 = 1 << 34;
/// CTRL_VQ and HASH_REPORT.
const HASHES: u64 = 1 << 17 | 1 << 57;
/// CSUM, GUEST_CSUM, HOST_TSO4.
const OFFLOADS: u64 = 1 | 1 << 1 | 1 << 11;
/// VIRTIO_NET_HDR_F_DATA_VALID.
const DATA_VALID: u8 = 2;
const MAX_QUEUE: u32 = 4096;

/// Common configuration (4.1.4.3), by words, of a card with these features.
fn answer<const FEATURES: u64>(bar: &PlainBar, offset: u32) -> u32 {
    let stored = bar.stored(offset);
    match offset {
        // device_feature, by device_feature_select.
        0x04 => (FEATURES >> (32 * (bar.stored(0) & 1))) as u32,
        // num_queues, above the configuration vector.
        0x10 => stored & 0xffff | if FEATURES & HASHES == 0 { 2 } else { 3 } << 16,
        // Whoever waits for an answer looks at the status meanwhile.
        0x14 if FEATURES & HASHES != 0 => {
            obey::<FEATURES>(bar);
            stored
        }
        // queue_size: the most there is, until the driver asks for less.
        0x18 => stored | if stored & 0xffff == 0 { MAX_QUEUE } else { 0 },
        // queue_notify_off is 0, above queue_enable.
        0x1c => stored & 0xffff,
        // Device configuration: the address, and the link is up.
        0x2000 => 0x0200_0002,
        0x2004 => 0x0001_0000,
        // rss_max_key_size is 40; every type is supported.
        0x2010 => 40 << 8,
        0x2014 => 0x1ff,
        _ => stored,
    }
}

/// Says that the first command of the control queue is done, once it is there: there is no other.
fn obey<const FEATURES: u64>(bar: &PlainBar) {
    let ([desc, avail, used], size) = registers(bar, 2);
    if desc == 0 {
        return;
    }
    let table = device_ptr::<[u64; 2]>(desc);
    // SAFETY: the driver's rings are alive while it waits; a chain is no longer than the queue, and its last descriptor is where the answer goes.
    unsafe {
        let is_packed = FEATURES & PACKED != 0;
        let (is_new, first) = if is_packed {
            ((*table)[1] >> 48 & 0x8080 == 0x80, 0)
        } else {
            let (avail, used) = (device_ptr::<u16>(avail), device_ptr::<u16>(used));
            (avail.add(1).read_volatile() == 1 && used.add(1).read_volatile() == 0, avail.add(2).read_volatile())
        };
        if !is_new {
            return;
        }
        let mut last = first;
        // NEXT; a split chain goes on where it says.
        while (*table.add(usize::from(last)))[1] >> if is_packed { 48 } else { 32 } & 1 != 0 {
            last = if is_packed { last + 1 } else { ((*table.add(usize::from(last)))[1] >> 48) as u16 } % size;
        }
        let [answer, word] = *table.add(usize::from(last));
        // VIRTIO_NET_OK.
        device_ptr::<u8>(answer).write_volatile(0);
        if is_packed {
            table.cast::<u64>().add(1).write_volatile(1 | word & 0xffff << 32 | 0x8080 << 48);
        } else {
            let used = device_ptr::<u32>(used);
            used.add(1).write_volatile(first.into());
            used.add(2).write_volatile(1);
            used.write_volatile(1 << 16);
        }
    }
}

/// The device's view of a queue.
trait Queue: Send {
    /// The queue whose registers were last written to `bar` while `queue` was selected.
    fn find(bar: &PlainBar, queue: u32) -> Self;
    /// The next buffer that the driver made available: its name, address and length.
    fn pop(&mut self) -> Option<(u16, u64, u32)>;
    /// Gives one back.
    fn push(&mut self, id: u16, len_bytes: u32);
    /// Shows the driver what was given back.
    fn publish(&mut self);
}

/// Addresses of the areas, and the size, of a queue.
fn registers(bar: &PlainBar, queue: u32) -> ([u64; 3], u16) {
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
    (address, size as u16)
}

/// A packed one, whose device never wants to be notified.
struct PackedQueue {
    desc: *mut [u64; 2],
    size: u16,
    /// Descriptors taken and given back.
    seen: u16,
    index: u16,
    /// The second word of the first descriptor that is given back and not shown.
    first: Option<(u16, u64)>,
}

// SAFETY: the rings are memory of the process, and one thread has the card.
unsafe impl Send for PackedQueue {}

impl PackedQueue {
    fn word(&self, place: u16) -> *mut u64 {
        // SAFETY: positions are masked.
        unsafe { self.desc.add(usize::from(place & (self.size - 1))).cast::<u64>().add(1) }
    }
}

impl Queue for PackedQueue {
    fn find(bar: &PlainBar, queue: u32) -> Self {
        let ([desc, _, device], size) = registers(bar, queue);
        // SAFETY: the driver's rings are alive while the lap is. RING_EVENT_FLAGS_DISABLE (2.8.10).
        unsafe { device_ptr::<u32>(device).write_volatile(1 << 16) };
        Self { desc: device_ptr(desc), size, seen: 0, index: 0, first: None }
    }

    fn pop(&mut self) -> Option<(u16, u64, u32)> {
        // SAFETY: as in `find`.
        let [iova, word] = unsafe { self.desc.add(usize::from(self.seen & (self.size - 1))).read_volatile() };
        let is_available = if self.seen & self.size == 0 { word >> 48 & 0x8080 == 0x80 } else { word >> 48 & 0x8080 == 0x8000 };
        self.seen = self.seen.wrapping_add(is_available.into());
        is_available.then_some(((word >> 32) as u16, iova, word as u32))
    }

    fn push(&mut self, id: u16, len_bytes: u32) {
        let marks = if self.index & self.size == 0 { 0x8080u64 << 48 } else { 0 };
        let word = u64::from(len_bytes) | u64::from(id) << 32 | marks;
        match self.first {
            None => self.first = Some((self.index, word)),
            // SAFETY: as in `find`.
            Some(_) => unsafe { self.word(self.index).write_volatile(word) },
        }
        self.index = self.index.wrapping_add(1);
    }

    fn publish(&mut self) {
        if let Some((place, word)) = self.first.take() {
            // SAFETY: as in `find`.
            unsafe { self.word(place).write_volatile(word) };
        }
    }
}

/// A split one.
struct SplitQueue {
    desc: *mut [u64; 2],
    avail: *mut u16,
    used: *mut u32,
    mask: u16,
    seen: u16,
    index: u16,
}

// SAFETY: as of `PackedQueue`.
unsafe impl Send for SplitQueue {}

impl Queue for SplitQueue {
    fn find(bar: &PlainBar, queue: u32) -> Self {
        let ([desc, avail, used], size) = registers(bar, queue);
        Self { desc: device_ptr(desc), avail: device_ptr(avail), used: device_ptr(used), mask: size - 1, seen: 0, index: 0 }
    }

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

    fn publish(&mut self) {
        // SAFETY: as in `pop`. Flags (low) and index (high) are one word.
        unsafe { self.used.write_volatile(u32::from(self.index) << 16) };
    }
}

pub(crate) struct Stub<Q> {
    rx: Q,
    tx: Q,
    frames: u16,
    shape: Shape,
    header_bytes: u32,
    /// The flags of received frames.
    flags: u8,
}

impl<Q: Queue> Card for Stub<Q> {
    fn receive(&mut self, frames: usize) {
        let Shape { frame_bytes, buffer_bytes, is_marked } = self.shape;
        let (total, lent) = (self.header_bytes + frame_bytes, self.header_bytes + buffer_bytes);
        for _ in 0..frames {
            let mut left = total;
            while left > 0 {
                let Some((id, iova, _)) = self.rx.pop() else { break };
                if left == total {
                    self.frames = self.frames.wrapping_add(1);
                    // SAFETY: the driver lent this buffer, which is longer than a header.
                    unsafe {
                        let header: *mut u8 = device_ptr(iova);
                        header.write_bytes(0, 10);
                        header.write(self.flags);
                        // num_buffers
                        header.add(10).cast::<u16>().write_unaligned(total.div_ceil(lent) as u16);
                        if self.header_bytes == HASH_HEADER_BYTES {
                            // hash_value, and VIRTIO_NET_HASH_REPORT_UDPv4.
                            header.add(12).cast::<u32>().write_unaligned(self.frames.into());
                            header.add(16).cast::<u32>().write_unaligned(3);
                        }
                        if is_marked {
                            header.add(self.header_bytes as usize + hook::MARK_AT).cast::<u32>().write_unaligned(hook::mark(self.frames.into()));
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
            sent += usize::from(len_bytes == self.header_bytes + self.shape.frame_bytes || self.shape.frame_bytes > self.shape.buffer_bytes);
            self.tx.push(id, 0);
        }
        self.tx.publish();
        sent
    }
}

/// The virtio driver with split queues, started on a stub in `domain`.
pub(crate) fn split(domain: &DmaDomain, config: &Config, shape: Shape) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, impl Card + use<>> {
    port::<SplitQueue, FEATURES>(domain, config, shape)
}

/// The same with packed ones.
pub(crate) fn packed(domain: &DmaDomain, config: &Config, shape: Shape) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, impl Card + use<>> {
    port::<PackedQueue, { FEATURES | PACKED }>(domain, config, shape)
}

/// With split queues, and hashes of received frames.
pub(crate) fn split_hash(domain: &DmaDomain, config: &Config, shape: Shape) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, impl Card + use<>> {
    port::<SplitQueue, { FEATURES | HASHES }>(domain, config, shape)
}

/// The same with packed ones.
pub(crate) fn packed_hash(domain: &DmaDomain, config: &Config, shape: Shape) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, impl Card + use<>> {
    port::<PackedQueue, { FEATURES | PACKED | HASHES }>(domain, config, shape)
}

/// With split queues, and checksums and segmentation left to the card.
pub(crate) fn split_offloads(
    domain: &DmaDomain,
    config: &Config,
    shape: Shape,
) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, impl Card + use<>> {
    port::<SplitQueue, { FEATURES | OFFLOADS }>(domain, config, shape)
}

/// The same with packed ones.
pub(crate) fn packed_offloads(
    domain: &DmaDomain,
    config: &Config,
    shape: Shape,
) -> Port<impl RxQueue + use<>, impl TxQueue + use<>, impl Card + use<>> {
    port::<PackedQueue, { FEATURES | PACKED | OFFLOADS }>(domain, config, shape)
}

fn port<Q: Queue, const FEATURES: u64>(
    domain: &DmaDomain,
    config: &Config,
    shape: Shape,
) -> Port<impl RxQueue + use<Q, FEATURES>, impl TxQueue + use<Q, FEATURES>, Stub<Q>> {
    let bar = PlainBar::new(16 * 1024, answer::<FEATURES>);
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
    let header_bytes = if FEATURES & HASHES == 0 { HEADER_BYTES } else { HASH_HEADER_BYTES };
    let card = Stub {
        rx: Q::find(&bar, 0),
        tx: Q::find(&bar, 1),
        frames: 0,
        shape,
        header_bytes,
        flags: if FEATURES & OFFLOADS == 0 { 0 } else { DATA_VALID },
    };
    let (rx, tx) = (started.rx.remove(0), started.tx.remove(0));
    // The control handle would reset the card when dropped; the process ends with the benchmark.
    std::mem::forget(started.control);
    Port { rx, tx, card, pool: started.pool }
}
