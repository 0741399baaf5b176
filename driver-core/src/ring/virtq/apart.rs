//! What a transmit queue has beside its frames, in either layout.

use core::mem::{self, ManuallyDrop};
use core::ptr::NonNull;

use super::{F_INDIRECT, F_NEXT, MAX_HEADER, is_apart};
use crate::buf::batch::Batch;
use crate::buf::frame::{Frame, TAG_MOVED, TAG_NEXT};
use crate::buf::memory::{PoolInner, RawBuf};
use crate::host::dma::Iova;
use crate::ring::desc::{DESC_BYTES, DescRing};
use crate::ring::error::RingError;
use crate::ring::lane::Pair;
use crate::ring::memory::RingMemory;
use crate::ring::words::DmaWords;

/// Headers of frames that have no room for theirs, and tables of chains: a place of each for every number that a frame in flight has. Dropping it leaks the memory.
pub(in crate::ring) struct Apart<const HEADER: usize> {
    headers: ManuallyDrop<DmaWords<u32>>,
    tables: ManuallyDrop<Option<DescRing>>,
    /// Descriptors of each table; longer chains lie in the queue itself.
    table: u16,
    /// The longest chain that lies in a table: 2.7.5.3.1 and 2.8.19 allow none of more descriptors than the queue has, in a table or not.
    longest: usize,
}

impl<const HEADER: usize> Apart<HEADER> {
    /// 32-bit words from one header to the next.
    const HEADER_WORDS: u32 = HEADER.next_multiple_of(16) as u32 / 4;

    /// For a queue of `size` descriptors, in a part of `memory`: [`Apart::memory_bytes`] of it. `table`: how many descriptors a table has; 0 where there are none.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub(in crate::ring) fn in_memory(memory: &mut RingMemory, size: u16, table: u16) -> Result<Self, RingError> {
        const { assert!(HEADER <= MAX_HEADER) }
        let (headers, tables) = (Self::header_words(size), Self::table_entries(size, table));
        let tables = if table > 0 { Some(DescRing::in_part(memory.take(DescRing::part_bytes(tables), 16)?, tables)?) } else { None };
        let headers = DmaWords::in_part(memory.take(DmaWords::<u32>::part_bytes(headers), 4)?, headers)?;
        Ok(Self { headers: ManuallyDrop::new(headers), tables: ManuallyDrop::new(tables), table, longest: table.min(size).into() })
    }

    /// How many bytes of a [`RingMemory`] it takes.
    pub(in crate::ring) const fn memory_bytes(size: u16, table: u16) -> usize {
        let headers = DmaWords::<u32>::part_bytes(Self::header_words(size));
        if table > 0 { headers + DescRing::part_bytes(Self::table_entries(size, table)) } else { headers }
    }

    const fn header_words(size: u16) -> u32 {
        size as u32 * Self::HEADER_WORDS
    }

    const fn table_entries(size: u16, table: u16) -> u32 {
        size as u32 * (table as u32).next_power_of_two()
    }

    /// The most descriptors of the queue that so many pieces take, or fewer.
    pub(in crate::ring) fn most_descriptors(&self, pieces: usize) -> usize {
        if pieces <= self.longest && self.tables.is_some() { 1 } else { pieces }
    }

    /// How many descriptors of the queue so many pieces take.
    pub(in crate::ring) fn descriptors_of(&self, pieces: usize) -> usize {
        if self.fits_table(pieces) { 1 } else { pieces }
    }

    /// Whether so many pieces lie in a table.
    pub(in crate::ring) fn fits_table(&self, pieces: usize) -> bool {
        (2..=self.longest).contains(&pieces) && self.tables.is_some()
    }

    /// Puts the frame's header before its first byte, or where it finds no room there into the place of `id`. Returns what the device is to gather: addresses and
    /// lengths.
    pub(in crate::ring) fn pieces<'f>(
        &mut self,
        id: u16,
        frame: &'f mut Frame,
        header: [u8; HEADER],
    ) -> impl Iterator<Item = (Iova, u32)> + use<'f, HEADER> {
        let apart = is_apart::<HEADER>(frame).then(|| (self.store_header(id, header), HEADER as u32));
        let mut before = 0;
        if apart.is_none()
            && let Some(place) = frame.prefix_mut()
        {
            *place = header;
            before = HEADER as u64;
        }
        // Header and first segment in one piece, or the header apart in front.
        let segments = frame.dma_segments().filter(|&(_, len)| len > 0).map(move |(iova, len)| {
            let before = mem::take(&mut before);
            (Iova(iova.0.wrapping_sub(before)), len as u32 + before as u32)
        });
        apart.into_iter().chain(segments)
    }

    /// Writes a header that lies apart, and says where.
    fn store_header(&mut self, id: u16, header: [u8; HEADER]) -> Iova {
        let at = u32::from(id) * Self::HEADER_WORDS;
        for (k, bytes) in (0..).zip(header.chunks(4)) {
            let word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
            self.headers.store(at + k, word);
        }
        self.headers.iova().offset(u64::from(at) * 4)
    }

    /// Writes descriptors one after another into the table of `id`: where it is, and its bytes. `descriptor` makes each of address and length, its place in the table, and whether
    /// it is the last.
    pub(in crate::ring) fn put_table(
        &mut self,
        id: u16,
        pieces: impl Iterator<Item = (Iova, u32)>,
        descriptor: impl Fn((Iova, u32), u16, bool) -> Pair,
    ) -> Option<(Iova, u32)> {
        let tables = (*self.tables).as_mut()?;
        let first = u32::from(id) * u32::from(self.table).next_power_of_two();
        let (mut pieces, mut count) = (pieces.peekable(), 0);
        while let Some(piece) = pieces.next() {
            tables.store(first + u32::from(count), descriptor(piece, count, pieces.peek().is_none()));
            count += 1;
        }
        Some((tables.iova().offset(u64::from(first) * DESC_BYTES as u64), u32::from(count) * DESC_BYTES as u32))
    }

    /// Unmaps the memory.
    ///
    /// # Safety
    /// The device does not read it any more, and nobody uses this again.
    pub(in crate::ring) unsafe fn release(&mut self) {
        // SAFETY: the caller's.
        unsafe {
            ManuallyDrop::drop(&mut self.headers);
            ManuallyDrop::drop(&mut self.tables);
        }
    }
}

/// Writes a header of zeros before the data at `ptr`, and gives the data's address.
///
/// # Safety
/// It is the home of a buffer with `HEADER` bytes of headroom, which the caller owns.
#[inline(always)]
pub(in crate::ring) unsafe fn place_header<const HEADER: usize>(ptr: NonNull<u8>) -> u64 {
    // SAFETY: the caller's.
    unsafe { place(ptr, [0; HEADER]) }
}

/// Writes a header before the data at `ptr`, and gives the data's address.
///
/// # Safety
/// As for [`place_header`].
#[inline(always)]
pub(in crate::ring) unsafe fn place<const HEADER: usize>(ptr: NonNull<u8>, header: [u8; HEADER]) -> u64 {
    // SAFETY: the caller's.
    unsafe { ptr.sub(HEADER).cast::<[u8; HEADER]>().write(header) };
    RawBuf::at(ptr).word()
}

/// A header of zeros behind its first twelve bytes, in words.
#[derive(Clone, Copy)]
pub(in crate::ring) struct HeaderWords(u64, u32);

impl HeaderWords {
    pub(in crate::ring) const ZERO: Self = Self(0, 0);

    #[inline(always)]
    pub(in crate::ring) fn of<const HEADER: usize>(header: [u8; HEADER]) -> Self {
        let low = header.first_chunk().copied().unwrap_or_default();
        let high = header.get(8..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        Self(u64::from_ne_bytes(low), u32::from_ne_bytes(high))
    }

    /// Writes it before the data at `ptr`, and gives the data's address.
    ///
    /// # Safety
    /// As for [`place_header`].
    #[inline(always)]
    pub(in crate::ring) unsafe fn place<const HEADER: usize>(self, ptr: NonNull<u8>) -> u64 {
        const { assert!(HEADER == 0 || HEADER >= 12) }
        // SAFETY: the caller's: `HEADER` bytes are there.
        unsafe {
            if HEADER > 12 {
                ptr.sub(HEADER).cast::<[u8; HEADER]>().write([0; HEADER]);
            }
            if HEADER > 0 {
                ptr.sub(HEADER).cast::<u64>().write_unaligned(self.0);
                ptr.sub(HEADER).add(8).cast::<u32>().write_unaligned(self.1);
            }
        }
        RawBuf::at(ptr).word()
    }
}

/// The descriptor of a whole frame.
pub(in crate::ring) struct Gathered {
    pub(in crate::ring) iova: u64,
    /// Bytes at this address.
    pub(in crate::ring) len: u64,
    pub(in crate::ring) flags: u16,
    /// Bytes of the frame.
    pub(in crate::ring) bytes: u64,
    /// How many frames the device makes of it.
    pub(in crate::ring) frames: u32,
}

impl<const HEADER: usize> Apart<HEADER> {
    /// Whether the frame at the front of `batch` may be one for [`Apart::take_whole`], being none that goes with others like it.
    #[inline(always)]
    pub(in crate::ring) fn has_whole(&self, batch: &Batch) -> bool {
        self.tables.is_some() && batch.frames().first().is_some_and(|frame| !frame.is_linear() || !frame.asks_for_nothing())
    }

    /// Takes the frame at the front of `batch`, which has room for a header before its first byte: the header that `header` makes of it and its bytes is there then, and so is its
    /// table. `None` where it makes none or [`Apart::gather`] finds nothing; the frame stays then.
    ///
    /// # Safety
    /// As for [`Apart::gather`].
    #[inline(always)]
    pub(in crate::ring) unsafe fn take_whole<const CHAINED: bool>(
        &mut self,
        id: u16,
        batch: &mut Batch,
        source: (NonNull<PoolInner>, u64),
        header: &mut impl FnMut(&mut Frame, usize) -> Option<([u8; HEADER], u32)>,
    ) -> Option<(Frame, Gathered)> {
        let frame = batch.frames_mut().first_mut()?;
        // SAFETY: the caller's.
        let mut gathered = unsafe { self.gather::<CHAINED>(id, frame, source) }?;
        let (header, frames) = header(frame, gathered.bytes as usize)?;
        gathered.frames = frames;
        // SAFETY: the headroom has a header's room.
        unsafe { place(frame.ptr(), header) };
        Some((batch.pop()?, gathered))
    }

    /// Writes descriptors of a frame, whose header goes right before its first byte, into the table of `id`, in one walk: where the table is, or the only segment. `None` where a segment has
    /// no bytes or is of another pool than `pool`, or there are more than a table has. `CHAINED`: those in a table say what comes next (2.7.5.3), where else their order does (2.8.7).
    ///
    /// # Safety
    /// The pool is alive, and `delta` what makes of its addresses the device's. Nothing of the table is the device's.
    #[inline(always)]
    pub(in crate::ring) unsafe fn gather<const CHAINED: bool>(
        &mut self,
        id: u16,
        frame: &Frame,
        (pool, delta): (NonNull<PoolInner>, u64),
    ) -> Option<Gathered> {
        let tables = (*self.tables).as_ref()?;
        let first = u32::from(id) * u32::from(self.table).next_power_of_two();
        let table = tables.at(first);
        let (len, iova) = (frame.linear_len() as u64, (frame.ptr().addr().get() as u64).wrapping_add(delta).wrapping_sub(HEADER as u64));
        let mut last = [iova, len + HEADER as u64];
        let (mut at, mut count, mut bytes, mut segment) = (table, 1, len, frame);
        // Of it something may be asked; of the others nothing is, but that they are there.
        if segment.pool_ptr() != pool || len == 0 {
            return None;
        }
        let mut more = segment.pool_word().addr().get() & TAG_NEXT != 0;
        while more {
            if count == self.longest {
                return None;
            }
            let flags = if CHAINED { u64::from(F_NEXT) << 32 | (count as u64) << 48 } else { 0 };
            // SAFETY: a table has `longest` descriptors at least. The segment is one of this pool's, whose tags say that it has a next one, which it owns; all of them are
            // borrowed with the first.
            unsafe {
                write(at, last[0], last[1] | flags);
                segment = pool.as_ref().link(segment.ptr()).cast().as_ref();
                at = at.add(1);
            }
            let (word, len) = (segment.pool_word().addr().get(), segment.linear_len() as u64);
            let tags = word.wrapping_sub(pool.addr().get());
            if len == 0 || tags & !(TAG_NEXT | TAG_MOVED) != 0 {
                return None;
            }
            more = tags & TAG_NEXT != 0;
            last = [(segment.ptr().addr().get() as u64).wrapping_add(delta), len];
            bytes += len;
            count += 1;
        }
        if count == 1 {
            return Some(Gathered { iova: last[0], len: last[1], flags: 0, bytes, frames: 1 });
        }
        // SAFETY: as above.
        unsafe { write(at, last[0], last[1]) };
        let iova = tables.iova().offset(u64::from(first) * DESC_BYTES as u64).0;
        Some(Gathered { iova, len: (count * DESC_BYTES) as u64, flags: F_INDIRECT, bytes, frames: 1 })
    }
}

/// Writes a descriptor of a table that is not the device's yet.
///
/// # Safety
/// It is one.
#[inline(always)]
unsafe fn write(at: NonNull<Pair>, low: u64, high: u64) {
    // SAFETY: the caller's: two aligned words.
    unsafe {
        at.cast::<u64>().write_volatile(low.to_le());
        at.cast::<u64>().add(1).write_volatile(high.to_le());
    }
}
