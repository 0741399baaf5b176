//! The device's end of rings, played by a test.

use alloc::vec::Vec;
use core::slice;

use crate::host::dma::Iova;
use crate::ring::packed::PackedQueue;
use crate::ring::split::{F_INDIRECT, F_NEXT, SplitQueue};
use crate::testing::memory::device_ptr;

/// The device's end of a ring of descriptors of 16 bytes, in memory of a [`HeapMapper`](crate::testing::HeapMapper). It writes what it is told, lies included.
#[derive(Debug, Clone, Copy)]
pub struct DescEnd {
    ring: *mut [u64; 2],
    entries: u32,
}

impl DescEnd {
    /// Of the ring of `entries` descriptors at `iova`.
    ///
    /// # Safety
    /// There is such a ring, it outlives every use of this, and no reference to a descriptor lives while this reads or writes it.
    pub unsafe fn new(iova: Iova, entries: u32) -> Self {
        Self { ring: device_ptr(iova).cast(), entries }
    }

    fn at(&self, slot: u32) -> *mut [u64; 2] {
        assert!(slot < self.entries, "descriptor {slot} of a ring of {}", self.entries);
        self.ring.wrapping_add(slot as usize)
    }

    /// The words of a descriptor.
    ///
    /// # Panics
    /// Beyond the ring, as all of these.
    pub fn read(&self, slot: u32) -> [u64; 2] {
        // SAFETY: by the word of `new`; the slot is one of the ring's.
        unsafe { self.at(slot).read() }
    }

    /// The words of all descriptors.
    pub fn read_all(&self) -> Vec<[u64; 2]> {
        (0..self.entries).map(|slot| self.read(slot)).collect()
    }

    /// Writes over a descriptor.
    ///
    /// # Panics
    /// Beyond the ring.
    pub fn write(&self, slot: u32, words: [u64; 2]) {
        // SAFETY: by the word of `new`; the slot is one of the ring's.
        unsafe { self.at(slot).write(words) }
    }

    /// Writes to the buffer whose address is a descriptor's first word.
    ///
    /// # Safety
    /// The descriptor holds the address of a buffer that the device was lent, of as many bytes as `bytes` or more.
    ///
    /// # Panics
    /// Beyond the ring.
    pub unsafe fn fill(&self, slot: u32, bytes: &[u8]) {
        // SAFETY: the caller's; nothing that is borrowed lies in a lent buffer.
        unsafe { device_ptr(Iova(self.read(slot)[0])).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// The first `len_bytes` of the buffer whose address is a descriptor's first word.
    ///
    /// # Safety
    /// The descriptor holds the address of a buffer in flight, of so many bytes or more.
    ///
    /// # Panics
    /// Beyond the ring.
    pub unsafe fn gather(&self, slot: u32, len_bytes: usize) -> Vec<u8> {
        // SAFETY: the caller's; the driver writes to no buffer in flight.
        unsafe { slice::from_raw_parts(device_ptr(Iova(self.read(slot)[0])), len_bytes) }.to_vec()
    }
}

/// The device's end of a split virtqueue (VIRTIO 1.2, 2.7). It uses what it is told to, lies included.
#[derive(Debug)]
pub struct SplitEnd {
    desc: *mut [u64; 2],
    avail: *mut u16,
    used: *mut u16,
    size: u16,
    /// Entries of the available ring that were looked at.
    seen: u16,
    /// The used ring's `idx`, published or not.
    idx: u16,
}

impl SplitEnd {
    /// Of `queue`, from its beginning.
    ///
    /// # Safety
    /// The queue is in memory of a [`HeapMapper`](crate::testing::HeapMapper), and outlives every use of this.
    pub unsafe fn new(queue: &SplitQueue) -> Self {
        let [desc, avail, used] = queue.areas().map(device_ptr);
        Self { desc: desc.cast(), avail: avail.cast(), used: used.cast(), size: queue.size(), seen: 0, idx: 0 }
    }

    /// `idx` of the available ring.
    pub fn available(&self) -> u16 {
        // SAFETY: by the word of `new`.
        unsafe { self.avail.add(1).read() }
    }

    /// `used_event`: behind which used entry the driver wants an interrupt (2.7.7).
    pub fn used_event(&self) -> u16 {
        // SAFETY: by the word of `new`; it stands behind `flags`, `idx` and the ring.
        unsafe { self.avail.add(2 + usize::from(self.size)).read() }
    }

    /// The descriptors that were made available since the last call.
    pub fn next_heads(&mut self) -> Vec<u16> {
        let heads = (0..self.available().wrapping_sub(self.seen)).map(|k| self.seen.wrapping_add(k) % self.size);
        // SAFETY: by the word of `new`; there are `size` entries behind `flags` and `idx`.
        let heads = heads.map(|entry| unsafe { self.avail.add(2 + usize::from(entry)).read() }).collect();
        self.seen = self.available();
        heads
    }

    /// Address, length in bytes, flags and `next` of a descriptor.
    ///
    /// # Panics
    /// Where the queue has no such descriptor.
    pub fn descriptor(&self, id: u16) -> (Iova, u32, u16, u16) {
        assert!(id < self.size, "descriptor {id} of a queue of {}", self.size);
        // SAFETY: by the word of `new`.
        unsafe { descriptor(self.desc, id) }
    }

    /// Writes over an entry of the used ring.
    ///
    /// # Panics
    /// Where the used ring has no such entry.
    pub fn write_used(&self, entry: u16, id: u32, len_bytes: u32) {
        assert!(entry < self.size, "entry {entry} of a used ring of {}", self.size);
        // SAFETY: by the word of `new`; an entry is two words of 32 bits, behind `flags` and `idx`.
        unsafe { self.used.add(2 + 4 * usize::from(entry)).cast::<[u32; 2]>().write([id, len_bytes]) };
    }

    /// Uses a descriptor. The driver sees it when it is [published](Self::publish).
    pub fn use_one(&mut self, id: u32, len_bytes: u32) {
        self.write_used(self.idx % self.size, id, len_bytes);
        self.skip(1);
    }

    /// Counts `count` entries as used that nobody wrote.
    pub fn skip(&mut self, count: u16) {
        self.idx = self.idx.wrapping_add(count);
    }

    /// Shows the driver how many were used.
    pub fn publish(&self) {
        self.write_idx(self.idx);
    }

    /// Shows the driver any `idx`.
    pub fn write_idx(&self, idx: u16) {
        // SAFETY: by the word of `new`.
        unsafe { self.used.add(1).write(idx) };
    }

    /// Uses descriptors, each with `len_bytes`, and publishes them.
    pub fn use_all(&mut self, ids: impl IntoIterator<Item = u16>, len_bytes: u32) {
        ids.into_iter().for_each(|id| self.use_one(id.into(), len_bytes));
        self.publish();
    }

    /// The bytes that a chain or a table of descriptors has for the device.
    ///
    /// # Safety
    /// `head` is in flight, as the driver made it available.
    pub unsafe fn gather(&self, head: u16) -> Vec<u8> {
        let (mut table, mut bytes) = (self.desc, Vec::new());
        let (mut at, mut len, mut flags, mut next) = self.descriptor(head);
        if flags & F_INDIRECT != 0 {
            table = device_ptr(at).cast();
            // SAFETY: the caller's: the table is in flight, and has one descriptor at least.
            (at, len, flags, next) = unsafe { descriptor(table, 0) };
        }
        loop {
            // SAFETY: the caller's: the buffer is in flight.
            bytes.extend_from_slice(unsafe { slice::from_raw_parts(device_ptr(at), len as usize) });
            if flags & F_NEXT == 0 {
                return bytes;
            }
            // SAFETY: the caller's: the driver wrote `next`.
            (at, len, flags, next) = unsafe { descriptor(table, next) };
        }
    }
}

/// # Safety
/// `table` has a descriptor `id`.
unsafe fn descriptor(table: *const [u64; 2], id: u16) -> (Iova, u32, u16, u16) {
    // SAFETY: the caller's.
    let [iova, word] = unsafe { table.add(id.into()).read() };
    (Iova(iova), word as u32, (word >> 32) as u16, (word >> 48) as u16)
}

/// The device's end of a packed virtqueue (VIRTIO 1.3, 2.8). It uses what it is told to, lies included.
#[derive(Debug)]
pub struct PackedEnd {
    desc: *mut [u64; 2],
    driver: *mut u32,
    size: u16,
    /// The place where the next descriptor is looked for, and where the next used one goes.
    seen: u16,
    used: u16,
}

/// A chain that a driver made available in a packed virtqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackedChain {
    /// The buffer ID of each of its descriptors.
    pub ids: Vec<u16>,
    /// Address, length in bytes and flags of each, without AVAIL and USED.
    pub pieces: Vec<(Iova, u32, u16)>,
}

impl PackedEnd {
    /// Of `queue`, from its beginning.
    ///
    /// # Safety
    /// The queue is in memory of a [`HeapMapper`](crate::testing::HeapMapper), and outlives every use of this.
    pub unsafe fn new(queue: &PackedQueue) -> Self {
        let [desc, driver, _] = queue.areas().map(device_ptr);
        Self { desc: desc.cast(), driver: driver.cast(), size: queue.size(), seen: 0, used: 0 }
    }

    /// The driver's event suppression: the place in bits 15:0, the flags above (2.8.14).
    pub fn driver_events(&self) -> u32 {
        // SAFETY: by the word of `new`.
        unsafe { self.driver.read_volatile() }
    }

    fn at(&self, place: u16) -> *mut [u64; 2] {
        // SAFETY: by the word of `new`; there are `size` descriptors.
        unsafe { self.desc.add(usize::from(place % self.size)) }
    }

    /// AVAIL and USED in the round of `place`.
    fn marks(&self, place: u16, used: bool) -> u64 {
        match ((place / self.size).is_multiple_of(2), used) {
            (true, true) => 0x8080 << 48,
            (true, false) => 0x0080 << 48,
            (false, true) => 0,
            (false, false) => 0x8000 << 48,
        }
    }

    /// The chains that were made available since the last call.
    pub fn next_chains(&mut self) -> Vec<PackedChain> {
        let (mut chains, mut chain) = (Vec::new(), PackedChain { ids: Vec::new(), pieces: Vec::new() });
        loop {
            // SAFETY: by the word of `new`.
            let [iova, word] = unsafe { self.at(self.seen).read_volatile() };
            if word & 0x8080 << 48 != self.marks(self.seen, false) {
                assert!(chain.ids.is_empty(), "a chain is whole when its first descriptor is there");
                return chains;
            }
            let flags = (word >> 48) as u16 & !0x8080;
            chain.ids.push((word >> 32) as u16);
            chain.pieces.push((Iova(iova), word as u32, flags));
            self.seen = self.seen.wrapping_add(1);
            if flags & F_NEXT == 0 {
                chains.push(core::mem::replace(&mut chain, PackedChain { ids: Vec::new(), pieces: Vec::new() }));
            }
        }
    }

    /// Uses a buffer whose chain has `slots` descriptors, with flags beside AVAIL and USED.
    pub fn use_one(&mut self, id: u16, len_bytes: u32, slots: u16, flags: u16) {
        let word = u64::from(len_bytes) | u64::from(id) << 32 | u64::from(flags) << 48 | self.marks(self.used, true);
        // SAFETY: by the word of `new`.
        unsafe { self.at(self.used).cast::<u64>().add(1).write_volatile(word) };
        self.used = self.used.wrapping_add(slots);
    }

    /// Writes a header or a frame, `offset` bytes behind the start of a buffer.
    ///
    /// # Safety
    /// The buffer is in flight, and as long.
    pub unsafe fn write(&self, iova: Iova, offset: usize, bytes: &[u8]) {
        // SAFETY: the caller's.
        unsafe { device_ptr(iova).cast::<u8>().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// The bytes that a chain or a table of descriptors has for the device.
    ///
    /// # Safety
    /// It is in flight, as the driver made it available.
    pub unsafe fn gather(&self, chain: &PackedChain) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(iova, len, flags) in &chain.pieces {
            let table = device_ptr(iova).cast::<[u64; 2]>();
            let pieces = if flags & F_INDIRECT != 0 {
                // SAFETY: the caller's: the table is in flight.
                (0..len as usize / 16).map(|k| unsafe { table.add(k).read() }).map(|[iova, word]| (Iova(iova), word as u32)).collect()
            } else {
                std::vec![(iova, len)]
            };
            for (iova, len) in pieces {
                // SAFETY: the caller's: the buffer is in flight.
                bytes.extend_from_slice(unsafe { slice::from_raw_parts(device_ptr(iova), len as usize) });
            }
        }
        bytes
    }
}
