//! The receive half.

use alloc::boxed::Box;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use super::queue::{SplitQueue, descriptor};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::memory::{self, PoolInner, RawBuf};
use crate::buf::meta::{LEN_SHIFT, VLAN_VALID};
use crate::buf::pool::BufPool;
use crate::ring::error::RingError;
use crate::ring::fault::QueueFault;
use crate::ring::virtq::{F_WRITE, MAX_HEADER, Ordinary, VirtqTaken, first_word, stocked};

/// A receive queue full of lent buffers. Descriptor `id` always stands for slot `id`.
///
/// Each buffer is lent from `HEADER` bytes before its data on, so that a header that the device writes lies in the headroom and the frame at its
/// buffer's home address. A slot is empty from the moment its buffer comes back until [`SplitRx::refill`]: an id that comes twice meanwhile is seen.
///
/// Dropping it leaks its memory and buffers, since nothing here knows whether the device still writes to them; a driver that has seen the device
/// stop calls [`SplitRx::release`].
pub struct SplitRx<const HEADER: usize> {
    pub(super) queue: ManuallyDrop<SplitQueue>,
    /// The buffer behind each descriptor while the device has it.
    pub(super) slots: Box<[Option<RawBuf>]>,
    /// Slots that are empty, at `..owed_count`.
    pub(super) owed: Box<[u16]>,
    pub(super) owed_count: usize,
    pub(super) pool: BufPool,
    /// IOVA minus pointer, of the pool.
    pub(super) delta: u64,
    pub(super) lent_bytes: u32,
}

impl<const HEADER: usize> SplitRx<HEADER> {
    /// Lends a buffer of `pool` with each descriptor and makes it available; the device was not notified. The device does not know of the queue yet: it can
    /// be told after this.
    ///
    /// A header is at most 64 bytes, which the compiler sees:
    ///
    /// ```compile_fail,E0080
    /// use driver_core::{buf::BufPool, ring::{RingError, split::{SplitQueue, SplitRx}}};
    /// const HEADER: usize = 1 << 32; // 0 in 32 bits
    /// let new: fn(SplitQueue, &BufPool) -> Result<SplitRx<HEADER>, RingError> = SplitRx::new;
    /// ```
    ///
    /// # Errors
    /// [`RingError::Domain`], [`RingError::Headroom`], [`RingError::PoolTooSmall`]; nothing is kept then, and the queue's memory is unmapped.
    pub fn new(queue: SplitQueue, pool: &BufPool) -> Result<Self, RingError> {
        const { assert!(HEADER <= MAX_HEADER) }
        let mut batch = stocked::<HEADER>(queue.domain(), queue.size(), pool)?;
        let size = usize::from(queue.size());
        let mut rx = Self {
            slots: (0..size).map(|_| None).collect(),
            owed: (0..queue.size()).collect(),
            owed_count: size,
            queue: ManuallyDrop::new(queue),
            pool: pool.clone(),
            delta: pool.inner().delta,
            lent_bytes: pool.data_bytes() + HEADER as u32,
        };
        rx.make_all_available();
        rx.refill(&mut batch);
        rx.publish();
        Ok(rx)
    }

    /// Writes every descriptor and makes those with a buffer available, in a queue of which nothing is.
    fn make_all_available(&mut self) {
        for (id, slot) in (0..).zip(&self.slots) {
            let iova = slot.map_or(0, |buf| self.iova_of(buf));
            self.queue.desc.store(id, descriptor(iova, self.lent_bytes, F_WRITE, 0));
            if slot.is_some() {
                self.queue.make_available(id as u16);
            }
        }
    }

    /// Where the device writes when it is lent `buf`.
    #[inline(always)]
    pub(super) fn iova_of(&self, buf: RawBuf) -> u64 {
        buf.word().wrapping_add(self.delta).wrapping_sub(HEADER as u64)
    }

    /// The rings and their indexes.
    #[inline(always)]
    pub fn queue(&self) -> &SplitQueue {
        &self.queue
    }

    /// Bytes lent with each descriptor.
    #[inline(always)]
    pub fn lent_bytes(&self) -> u32 {
        self.lent_bytes
    }

    /// The pool that the buffers come from.
    pub fn pool(&self) -> &BufPool {
        &self.pool
    }

    /// How many buffers the device gave back that were not taken. As many can be taken until the next call, and no more: what the device has is out of
    /// reach.
    ///
    /// # Errors
    /// [`QueueFault::Protocol`] where the device claims to have used more than it was given.
    #[inline(always)]
    pub fn ready(&mut self) -> Result<u16, QueueFault> {
        self.queue.ready()
    }

    /// Whether a used entry is there that was not taken, or an index that makes no sense, as [`SplitRx::ready`] will tell. Counts nothing.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.queue.is_ready()
    }

    /// Shows the device what was made available, and says whether it wants to be notified (2.7.10).
    #[inline(always)]
    pub fn publish(&mut self) -> bool {
        self.queue.publish()
    }

    /// Asks for an interrupt at the next used entry, and says whether there is one already.
    pub fn arm(&mut self) -> bool {
        self.queue.arm()
    }

    /// Asks for no interrupts. One may come all the same, for what the device used before it saw this, and with event indexes once in 65536 entries.
    #[inline(always)]
    pub fn disarm(&mut self) {
        self.queue.disarm();
    }

    /// How many used entries can be taken of `wanted` so that every empty slot still finds an empty buffer.
    #[inline(always)]
    pub fn covered(&self, batch: &mut Batch, wanted: usize) -> usize {
        let have = batch.spares_of(self.pool.as_ptr()).1;
        if have.saturating_sub(self.owed_count) >= wanted {
            return wanted;
        }
        let needed = self.owed_count + wanted.min(self.slots.len());
        wanted.min(batch.stock(&self.pool, needed).saturating_sub(self.owed_count))
    }

    /// Moves ordinary frames to `batch`, `count` at most, and returns how many, and their bytes. It stops before an entry that is not ordinary, and takes
    /// no more than [`SplitRx::ready`] counted. `batch` has room for `count` frames, or none are taken.
    ///
    /// An ordinary frame has `min_used..=max_used` used bytes, and `ordinary` finds its header to be one: it gives what is known of the frame as the low
    /// half of its second word (see [`meta`](crate::buf::meta)). Where `ordinary` panics, the frames before are in `batch`, and the one that it
    /// looked at is still in the queue.
    #[inline]
    pub fn take_ordinary(
        &mut self,
        batch: &mut Batch,
        count: usize,
        (min_used, max_used): (u32, u32),
        ordinary: impl Fn(&[u8; HEADER]) -> Option<u32>,
    ) -> (usize, u64) {
        let (min_used, max_used) = (min_used.max(HEADER as u32), max_used.min(self.lent_bytes));
        let count = count.min(self.queue.seen());
        let (mut done, mut bytes) = (0, 0);
        while done < count && min_used <= max_used {
            let (used, entries) = self.queue.used_run();
            let run = entries.min(count - done);
            let Some(places) = batch.places(run) else { break };
            // SAFETY: there are `run` places, and `run` entries that `ready` saw are at `used`: as many numbers fit into `owed`, since the device has no
            // more buffers than there are full slots. The range lies within `HEADER` and what is lent, and is not empty.
            let (frames, more) = unsafe { self.take_run(batch, used, places, run, (min_used, max_used), &ordinary) };
            done += frames;
            bytes += more;
            if frames < run {
                break;
            }
        }
        (done, bytes)
    }

    /// # Safety
    /// `count` places for frames are at `places`, which [`Batch::places`] gave; `owed` has room for as many numbers, and as many used entries are at `used`,
    /// the next one first. The range of lengths lies within `HEADER..=lent_bytes`, and is not empty.
    #[inline(never)]
    unsafe fn take_run(
        &mut self,
        batch: &mut Batch,
        used: NonNull<u32>,
        places: NonNull<Frame>,
        count: usize,
        (min_used, max_used): (u32, u32),
        ordinary: &impl Fn(&[u8; HEADER]) -> Option<u32>,
    ) -> (usize, u64) {
        let pool = self.pool.as_ptr();
        let (slots, size) = (self.slots.as_mut_ptr(), self.slots.len());
        // SAFETY: `owed` has room behind `owed_count`, by the caller's word.
        let owed = unsafe { self.owed.as_mut_ptr().add(self.owed_count) };
        let mut run = Run { rx: self, batch, done: 0 };
        let mut bytes = 0;
        while run.done < count {
            let done = run.done;
            // SAFETY: `done` is below `count`: the entry, the place and the number lie inside their memory, by the caller's word. `id` is below the number
            // of slots. The buffer was lent and came back, it has `HEADER` bytes of headroom (seen in `new`), and its length is within its room.
            unsafe {
                let entry = used.add(2 * done);
                let id = u32::from_le(entry.read_volatile());
                let used_bytes = u32::from_le(entry.add(1).read_volatile());
                if id as usize >= size {
                    break;
                }
                let slot = slots.add(id as usize);
                let Some(filled) = *slot else { break };
                if used_bytes.wrapping_sub(min_used) > max_used.wrapping_sub(min_used) {
                    break;
                }
                let Some(known) = ordinary(filled.ptr().sub(HEADER).cast().as_ref()) else { break };
                *slot = None;
                *owed.add(done) = id as u16;
                let len = u64::from(used_bytes - HEADER as u32);
                bytes += len;
                let mut frame = ManuallyDrop::new(Frame::fresh(filled, pool));
                frame.set_plain_words([first_word::<HEADER>(filled.ptr()), u64::from(known) & !VLAN_VALID | len << LEN_SHIFT]);
                places.add(done).cast::<ManuallyDrop<Frame>>().write(frame);
            }
            run.done = done + 1;
        }
        (run.done, bytes)
    }

    /// Moves the next frame to `batch` if it is there, an ordinary one as for [`SplitRx::take_ordinary`], every slot is full, no interrupt is asked for, and an
    /// empty buffer lies at hand, which takes its place and is made available. Returns its bytes. It counts by itself what [`SplitRx::ready`] counts for others.
    #[inline(always)]
    pub fn take_only(&mut self, batch: &mut Batch, (min_used, max_used): (u32, u32), ordinary: &impl Ordinary<HEADER>) -> Option<u64> {
        let (min_used, max_used) = (min_used.max(HEADER as u32), max_used.min(self.lent_bytes));
        if self.owed_count > 0 || self.queue.is_armed() || !matches!(self.queue.ready(), Ok(1..)) {
            return None;
        }
        let (id, used_bytes) = self.queue.used_entry();
        let filled = (*self.slots.get(id as usize)?)?;
        if min_used > max_used || used_bytes.wrapping_sub(min_used) > max_used - min_used {
            return None;
        }
        // SAFETY: the buffer was lent and came back, and has `HEADER` bytes of headroom (seen in `new`).
        let known = ordinary.known(unsafe { filled.ptr().sub(HEADER).cast().as_ref() })?;
        let pool = self.pool.as_ptr();
        let len = u64::from(used_bytes - HEADER as u32);
        // SAFETY: the place is written before anything else. The buffer leaves its slot for `empty`, its length is within its room; `id` is below the
        // number of slots and descriptors.
        unsafe {
            let (place, empty) = batch.exchange_one(pool)?;
            let mut frame = Frame::fresh(filled, pool);
            frame.set_plain_words([first_word::<HEADER>(filled.ptr()), u64::from(known) & !VLAN_VALID | len << LEN_SHIFT]);
            place.write(frame);
            *self.slots.get_unchecked_mut(id as usize) = Some(empty);
            let iova = self.iova_of(empty);
            self.queue.desc.at_unmasked(id).cast::<u64>().write_volatile(iova.to_le());
        }
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        self.queue.make_available(id as u16);
        Some(len)
    }

    /// Takes the next used entry whatever it is like, of those that [`SplitRx::ready`] counted; `None` where none of them is left, or it was not called.
    ///
    /// # Errors
    /// [`QueueFault::Index`], [`QueueFault::Length`]: the device names a descriptor that it does not have, or more bytes than it was lent.
    pub fn take(&mut self) -> Result<Option<VirtqTaken>, QueueFault> {
        if self.queue.seen() == 0 {
            return Ok(None);
        }
        let (id, used_bytes) = self.queue.used_entry();
        let filled = self.slots.get(id as usize).copied().flatten();
        let (Some(filled), Some(owed)) = (filled, self.owed.get_mut(self.owed_count)) else {
            return Err(QueueFault::Index { index: id, limit: self.slots.len() as u32 });
        };
        if used_bytes > self.lent_bytes {
            return Err(QueueFault::Length { slot: id, len_bytes: used_bytes, max_bytes: self.lent_bytes });
        }
        *owed = id as u16;
        self.owed_count += 1;
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = None;
        }
        self.queue.next_used = self.queue.next_used.wrapping_add(1);
        // SAFETY: the slot owned the buffer, which is one of the pool's, and has just given it up.
        let frame = unsafe { Frame::fresh(filled, self.pool.as_ptr()) };
        Ok(Some(VirtqTaken { frame, id, used_bytes }))
    }

    /// Fills the empty slots with empty buffers, as far as `batch` has them, and makes them available.
    #[inline]
    pub fn refill(&mut self, batch: &mut Batch) {
        let pool = self.pool.as_ptr();
        while self.owed_count > 0 {
            let (spares, spare_count) = batch.spares_of(pool);
            let (avail, room) = self.queue.avail_run();
            let run = self.owed_count.min(spare_count).min(room);
            if run == 0 {
                return;
            }
            // SAFETY: `run` buffers of this pool lie on the stack below `spare_count`, as many numbers in `owed`, and as many entries at `avail`.
            unsafe {
                self.refill_run(avail, spares.add(spare_count - run), run);
                batch.set_spares(pool, spare_count - run);
            }
        }
    }

    /// # Safety
    /// `count` buffers of this queue's pool are at `spares`, which the caller gives up; as many numbers in `owed`, and as many entries of the
    /// available ring are at `avail`, the next one first.
    #[inline(never)]
    unsafe fn refill_run(&mut self, avail: NonNull<u16>, spares: NonNull<RawBuf>, count: usize) {
        let first = self.owed_count - count;
        let (slots, descriptors) = (self.slots.as_mut_ptr(), self.queue.desc.at(0));
        let iova = self.delta.wrapping_sub(HEADER as u64);
        // SAFETY: `first` is at most `owed_count`, which is within `owed`.
        let owed = unsafe { self.owed.as_ptr().add(first) };
        for k in 0..count {
            // SAFETY: `k` is below `count`, by the caller's word; a number in `owed` is below the number of slots and descriptors, since it was when it was
            // put there.
            unsafe {
                let buf: RawBuf = spares.add(k).read();
                let id = *owed.add(k);
                *slots.add(usize::from(id)) = Some(buf);
                let at = buf.word().wrapping_add(iova);
                // Length and flags stay as `new` wrote them; the device looks only after `publish`.
                descriptors.add(usize::from(id)).cast::<u64>().write_volatile(at.to_le());
                avail.add(k).write_volatile(id.to_le());
            }
        }
        self.owed_count = first;
        self.queue.next_avail = self.queue.next_avail.wrapping_add(count as u16);
    }

    /// Makes every buffer that is lent available again, in a queue that is otherwise as new: for a device that was reset and is to be told of the queue
    /// once more. Frames that it filled and nobody took are lost. Empty slots stay so until [`SplitRx::refill`].
    ///
    /// # Safety
    /// As for [`SplitRx::release`].
    pub unsafe fn rewind(&mut self) {
        // SAFETY: the caller's.
        unsafe { self.queue.rewind() };
        self.make_all_available();
        self.publish();
    }

    /// Takes the queue apart: its buffers return to the pool and its memory is unmapped.
    ///
    /// # Safety
    /// The device has confirmed that it stopped: it does not write to the rings or their buffers any more.
    pub unsafe fn release(mut self) {
        let pool: NonNull<PoolInner> = self.pool.as_ptr();
        for buf in self.slots.iter().flatten() {
            // SAFETY: the slot owned the buffer, which is one of the pool's; `self` is consumed, so no slot is read again.
            unsafe { memory::give_back(pool, &[*buf]) };
        }
        // SAFETY: `self` is consumed, and `SplitRx` has no `Drop` of its own.
        unsafe { ManuallyDrop::drop(&mut self.queue) };
    }
}

/// Frames on their way from the slots to a batch. They are counted when this is dropped, also by a panic: each buffer has one owner throughout.
struct Run<'a, const HEADER: usize> {
    rx: &'a mut SplitRx<HEADER>,
    batch: &'a mut Batch,
    /// Entries whose slots are empty, whose numbers are in `owed`, and whose frames are in the batch's places.
    done: usize,
}

impl<const HEADER: usize> Drop for Run<'_, HEADER> {
    #[inline(always)]
    fn drop(&mut self) {
        self.rx.owed_count += self.done;
        self.rx.queue.next_used = self.rx.queue.next_used.wrapping_add(self.done as u16);
        // SAFETY: `take_run` wrote as many frames to the places that `Batch::places` gave.
        unsafe { self.batch.commit(self.done) };
    }
}

impl<const HEADER: usize> fmt::Debug for SplitRx<HEADER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SplitRx({} descriptors, {} without a buffer)", self.slots.len(), self.owed_count)
    }
}
