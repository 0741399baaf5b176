//! The device's end of a virtqueue of either layout.

use crate::host::dma::Iova;
use crate::ring::packed::PackedQueue;
use crate::ring::split::SplitQueue;
use crate::ring::virtq::{F_NEXT, F_WRITE};
use crate::testing::memory::device_ptr;
use crate::testing::{DescEnd, SplitEnd};

/// What a device does, honest or not.
pub(super) trait Device {
    /// Uses what is due, if anything is, with so many bytes; with this header where it is a buffer to be written.
    fn use_next(&mut self, len_bytes: u32, header: &[u8]);
    /// Uses anything.
    fn use_id(&mut self, id: u32, len_bytes: u32);
    /// Writes a word of 32 bits anywhere in the queue's three areas.
    fn poke(&mut self, area: u8, index: u8, word: u32);
    /// Says that more was used than is.
    fn jump(&mut self, count: u16);
    /// Says of what it wants to be notified.
    fn wish(&mut self, word: u32);
    /// Whether what is due is a buffer to be written with so many bytes.
    fn may_write(&mut self, len_bytes: u32) -> bool;
}

/// The queue's three areas, and how many words of 32 bits each has.
struct Areas([(Iova, u32); 3]);

impl Areas {
    fn write(&self, area: usize, index: u32, word: u32) {
        let (iova, words) = self.0[area % 3];
        // SAFETY: the queue is in memory of a `HeapMapper` and outlives its device; the area has so many words, aligned to four bytes at least.
        unsafe { device_ptr(iova).cast::<u32>().add((index % words) as usize).write_volatile(word) };
    }
}

/// Writes the start of a buffer that a descriptor names: not where the device wrote over the address, which is then none.
fn write_header(iova: u64, lies: bool, header: &[u8]) {
    if !lies {
        // SAFETY: the driver wrote the address, of a buffer of its pool, which lives; nothing that is borrowed lies in it.
        unsafe { device_ptr(Iova(iova)).copy_from_nonoverlapping(header.as_ptr(), header.len()) };
    }
}

pub(super) struct SplitDevice {
    end: SplitEnd,
    areas: Areas,
    size: u16,
    /// Entries of the available ring that were used.
    seen: u16,
    /// Something was written to the descriptor table or the available ring that is not the driver's.
    lies: bool,
}

impl SplitDevice {
    /// Of a queue that outlives it.
    pub(super) fn new(queue: &SplitQueue) -> Self {
        let [desc, avail, used] = queue.areas();
        let n = u32::from(queue.size());
        let areas = Areas([(desc, 4 * n), (avail, (n + 3) / 2), (used, 2 * n + 2)]);
        // SAFETY: as it says; the queues of a story are all in such memory.
        Self { end: unsafe { SplitEnd::new(queue) }, areas, size: queue.size(), seen: 0, lies: false }
    }

    /// The head that is due.
    fn due(&self) -> Option<u16> {
        if self.end.available() == self.seen {
            return None;
        }
        let entry = usize::from(self.seen % self.size);
        // SAFETY: there are `size` entries behind `flags` and `idx`.
        let head = unsafe { device_ptr(self.areas.0[1].0).cast::<u16>().add(2 + entry).read() };
        (head < self.size).then_some(head)
    }
}

impl Device for SplitDevice {
    fn use_next(&mut self, len_bytes: u32, header: &[u8]) {
        let Some(head) = self.due() else { return };
        let (iova, _, flags, _) = self.end.descriptor(head);
        if flags & F_WRITE != 0 {
            write_header(iova.0, self.lies, header);
        }
        self.seen = self.seen.wrapping_add(1);
        self.end.use_all([head], len_bytes);
    }

    fn use_id(&mut self, id: u32, len_bytes: u32) {
        self.end.use_one(id, len_bytes);
        self.end.publish();
    }

    fn poke(&mut self, area: u8, index: u8, word: u32) {
        self.lies |= area % 3 < 2;
        self.areas.write(area.into(), index.into(), word);
    }

    fn jump(&mut self, count: u16) {
        self.end.skip(count);
        self.end.publish();
    }

    fn wish(&mut self, word: u32) {
        self.areas.write(2, u32::from(self.size) * 2 + 1, word);
    }

    fn may_write(&mut self, len_bytes: u32) -> bool {
        self.due().is_some_and(|head| {
            let (_, len, flags, _) = self.end.descriptor(head);
            (len, flags) == (len_bytes, F_WRITE)
        })
    }
}

pub(super) struct PackedDevice {
    desc: DescEnd,
    areas: Areas,
    size: u16,
    /// The place of the next used descriptor, and of the next one that is due.
    used: u16,
    /// Something was written to a descriptor that is not the driver's: one that looks available may hold any address.
    lies: bool,
}

impl PackedDevice {
    /// Of a queue that outlives it.
    pub(super) fn new(queue: &PackedQueue) -> Self {
        let [desc, driver, device] = queue.areas();
        let n = u32::from(queue.size());
        // SAFETY: as it says; no reference to a descriptor lives while the device writes.
        let end = unsafe { DescEnd::new(desc, n) };
        Self { desc: end, areas: Areas([(desc, 4 * n), (driver, 1), (device, 1)]), size: queue.size(), used: 0, lies: false }
    }

    /// Address and second word of the descriptor that is due.
    fn due(&self) -> Option<[u64; 2]> {
        let words = self.desc.read((self.used % self.size).into());
        let marks = if self.used & self.size == 0 { 0x0080 << 48 } else { 0x8000 << 48 };
        (words[1] & 0x8080 << 48 == marks).then_some(words)
    }

    fn mark(&mut self, id: u16, len_bytes: u32, flags: u16) {
        let marks = if self.used & self.size == 0 { 0x8080 } else { 0 };
        let slot = u32::from(self.used % self.size);
        let second = u64::from(len_bytes) | u64::from(id) << 32 | u64::from(flags & !0x8080 | marks) << 48;
        self.desc.write(slot, [self.desc.read(slot)[0], second]);
    }
}

impl Device for PackedDevice {
    fn use_next(&mut self, len_bytes: u32, header: &[u8]) {
        let Some([iova, word]) = self.due() else { return };
        let flags = (word >> 48) as u16;
        if flags & F_WRITE != 0 {
            write_header(iova, self.lies, header);
        }
        let id = (word >> 32) as u16;
        // A chain comes back in its first descriptor.
        let others = (1..self.size).map(|k| self.desc.read((self.used.wrapping_add(k) % self.size).into())[1]);
        let more = core::iter::once(word).chain(others).take_while(|word| word >> 48 & u64::from(F_NEXT) != 0).count();
        self.mark(id, len_bytes, flags & F_WRITE);
        self.used = self.used.wrapping_add(1 + more as u16);
    }

    fn use_id(&mut self, id: u32, len_bytes: u32) {
        self.mark(id as u16, len_bytes, (id >> 16) as u16);
        self.used = self.used.wrapping_add(1);
    }

    fn poke(&mut self, area: u8, index: u8, word: u32) {
        self.lies |= area.is_multiple_of(3);
        self.areas.write(area.into(), index.into(), word);
    }

    /// Marks what lies there, as it lies there, for as many descriptors.
    fn jump(&mut self, count: u16) {
        for _ in 0..count.min(4 * self.size) {
            let word = self.desc.read((self.used % self.size).into())[1];
            self.mark((word >> 32) as u16, word as u32, (word >> 48) as u16);
            self.used = self.used.wrapping_add(1);
        }
    }

    fn wish(&mut self, word: u32) {
        self.areas.write(2, 0, word);
    }

    fn may_write(&mut self, len_bytes: u32) -> bool {
        self.due().is_some_and(|[_, word]| word as u32 == len_bytes && (word >> 48) as u16 & !0x8080 == F_WRITE)
    }
}
