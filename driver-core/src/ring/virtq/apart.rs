//! What a transmit queue has beside its frames, in either layout.

use core::mem::{self, ManuallyDrop};
use core::ptr::NonNull;

use super::{MAX_HEADER, is_apart};
use crate::buf::frame::Frame;
use crate::buf::memory::RawBuf;
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
    unsafe { ptr.sub(HEADER).cast::<[u8; HEADER]>().write([0; HEADER]) };
    RawBuf::at(ptr).word()
}
