//! A device's access to memory.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use driver_core::host::Iova;

use crate::memory::{DmaFault, FaultCause, Window, copy_in, copy_out};
use crate::violation::Violations;

/// Memory that is mapped for a device but is not memory of this process: its owner is asked.
pub(crate) trait Remote {
    /// How many of the bytes from `iova` on lie in one such mapping that may be read, or written.
    fn reach(&self, iova: u64, write: bool) -> u64;
    /// Reads.
    ///
    /// # Errors
    /// [`FaultCause::Refused`] or [`FaultCause::Later`].
    fn read(&self, iova: u64, into: &mut [u8]) -> Result<(), FaultCause>;
    /// Writes. What was sent to the owner counts as written: a write is not made again later.
    ///
    /// # Errors
    /// [`FaultCause::Refused`].
    fn write(&self, iova: u64, from: &[u8]) -> Result<(), FaultCause>;
}

/// One device's access to memory for a bounded piece of work. Every fault is recorded as a violation.
///
/// Descriptors are loaded and stored as naturally aligned words in the processor's atomics; frame bytes are copied.
///
/// It reaches all memory of the domain, and with it what frames lie in. So safe code gets hold of none: an adapter makes one for a step of a
/// [`Model`](crate::Model), whose author vouches for what it does with it, and [`Held::device`](crate::Held::device) is unsafe.
pub struct Dma<'a> {
    /// Sorted by first address.
    windows: &'a [Window],
    /// The same, and none where bus mastering is off: one test less for each access.
    reached: &'a [Window],
    remote: Option<&'a dyn Remote>,
    /// Where descriptors and where frames lay last: a card alternates between them.
    descs: Recent,
    frames: Recent,
    bus_master: bool,
    violations: &'a Violations,
}

/// Indexes of the two windows that were hit last. What they say is looked up in the window each time, so that one that went away is not reached by it.
type Recent = Cell<(usize, usize)>;

/// Where the first bytes of an access lie.
enum Place {
    Here(NonNull<u8>),
    Remote,
}

impl<'a> Dma<'a> {
    /// `windows` are sorted by their first address, do not overlap, and their memory outlives `'a`.
    pub(crate) fn new(windows: &'a [Window], remote: Option<&'a dyn Remote>, bus_master: bool, violations: &'a Violations) -> Self {
        Self {
            windows,
            reached: if bus_master { windows } else { &[] },
            remote,
            descs: Recent::default(),
            frames: Recent::default(),
            bus_master,
            violations,
        }
    }

    /// The memory behind an access that lies in one window.
    #[inline(always)]
    fn locate(&self, recent: &Recent, iova: Iova, len_bytes: usize, write: bool) -> Option<NonNull<u8>> {
        self.look_in(recent.get().0, iova, len_bytes, write).or_else(|| self.look_elsewhere(recent, iova, len_bytes, write))
    }

    /// The same where it lies in window `index`.
    #[inline(always)]
    fn look_in(&self, index: usize, iova: Iova, len_bytes: usize, write: bool) -> Option<NonNull<u8>> {
        let window = self.reached.get(index)?;
        let offset = iova.0.wrapping_sub(window.first);
        let allowed = if write { window.writable } else { window.readable };
        // Below the first address the offset is beyond any length.
        let fits = window.len.checked_sub(offset).is_some_and(|left| len_bytes as u64 <= left);
        // SAFETY: `offset` and `len_bytes` lie inside the window's memory, which outlives `self`.
        (allowed && fits).then(|| unsafe { window.ptr.add(offset as usize) })
    }

    #[inline(never)]
    fn look_elsewhere(&self, recent: &Recent, iova: Iova, len_bytes: usize, write: bool) -> Option<NonNull<u8>> {
        let (first, second) = recent.get();
        let ptr = self.look_in(second, iova, len_bytes, write);
        if ptr.is_some() {
            recent.set((second, first));
            return ptr;
        }
        let index = self.index_of(iova.0);
        let ptr = self.look_in(index, iova, len_bytes, write)?;
        recent.set((index, first));
        Some(ptr)
    }

    /// The window that holds `iova`, if any does.
    fn index_of(&self, iova: u64) -> usize {
        self.windows.partition_point(|window| window.first <= iova).wrapping_sub(1)
    }

    /// Where the byte at `iova` lies, and how many bytes from it on are mapped without a gap in the same place.
    fn piece(&self, iova: u64, write: bool) -> Option<(Place, u64)> {
        if let Some(window) = self.windows.get(self.index_of(iova)) {
            let (offset, allowed) = (iova - window.first, if write { window.writable } else { window.readable });
            if offset < window.len && allowed {
                // SAFETY: `offset` lies inside the window's memory, which outlives `self`.
                return Some((Place::Here(unsafe { window.ptr.add(offset as usize) }), window.len - offset));
            }
        }
        let reach = self.remote.map_or(0, |remote| remote.reach(iova, write));
        (reach > 0).then_some((Place::Remote, reach))
    }

    /// Passes an access that does not lie in one window on in pieces, where all of it is mapped: `each` takes the place of a piece and which of the
    /// bytes it holds, and accesses them.
    #[inline(never)]
    fn in_pieces(
        &self,
        iova: Iova,
        len_bytes: usize,
        write: bool,
        mut each: impl FnMut(Place, u64, std::ops::Range<usize>) -> Result<(), FaultCause>,
    ) -> Result<(), DmaFault> {
        if !self.bus_master {
            return Err(self.fault(iova, len_bytes, write, FaultCause::BusMasterOff));
        }
        let walk = |each: &mut dyn FnMut(Place, u64, std::ops::Range<usize>) -> Result<(), FaultCause>| {
            let mut done = 0;
            while done < len_bytes {
                let piece = iova.0.checked_add(done as u64).and_then(|at| Some((at, self.piece(at, write)?)));
                let Some((at, (place, reach))) = piece else { return Err(FaultCause::Unmapped) };
                let end = len_bytes.min(done.saturating_add(usize::try_from(reach).unwrap_or(usize::MAX)));
                each(place, at, done..end)?;
                done = end;
            }
            Ok(())
        };
        // An access that faults at its end does nothing at its beginning.
        walk(&mut |_, _, _| Ok(())).and_then(|()| walk(&mut each)).map_err(|why| self.fault(iova, len_bytes, write, why))
    }

    #[inline(never)]
    fn read_pieces(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.in_pieces(iova, into.len(), false, |place, at, range| {
            let into = &mut into[range];
            match (place, self.remote) {
                (Place::Here(from), _) => {
                    // SAFETY: `piece` found as many bytes from `from` on in one window as `range` is long; for the rest see `read`.
                    unsafe { copy_out(from, into.as_mut_ptr(), into.len()) }
                    Ok(())
                }
                (Place::Remote, Some(remote)) => remote.read(at, into),
                (Place::Remote, None) => Err(FaultCause::Unmapped),
            }
        })
    }

    #[inline(never)]
    fn write_pieces(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.in_pieces(iova, from.len(), true, |place, at, range| {
            let from = &from[range];
            match (place, self.remote) {
                (Place::Here(to), _) => {
                    // SAFETY: as in `read_pieces`, with the direction reversed.
                    unsafe { copy_in(to, from) }
                    Ok(())
                }
                (Place::Remote, Some(remote)) => remote.write(at, from),
                (Place::Remote, None) => Err(FaultCause::Unmapped),
            }
        })
    }

    #[cold]
    fn fault(&self, iova: Iova, len_bytes: usize, write: bool, why: FaultCause) -> DmaFault {
        let verb = if write { "write" } else { "read" };
        // What the owner of the memory says is no mistake of the driver's.
        if !matches!(why, FaultCause::Refused | FaultCause::Later) {
            self.violations.record(why.what(), format_args!("DMA {verb} of {len_bytes} bytes"), iova.0, "PCI, IOMMU");
        }
        DmaFault { iova, len_bytes, write, why }
    }

    /// The memory behind a descriptor's word; `align` is a power of two. `None`: not memory of this process.
    #[inline(always)]
    fn aligned(&self, iova: Iova, len_bytes: usize, align: u64, write: bool) -> Result<Option<NonNull<u8>>, DmaFault> {
        // A division by what the compiler does not know costs more than all the rest.
        if iova.0 & (align - 1) != 0 {
            return Err(self.fault(iova, len_bytes, write, FaultCause::Misaligned));
        }
        // A client may map memory at any offset: a word that lies askew in this process is copied.
        Ok(self.locate(&self.descs, iova, len_bytes, write).filter(|ptr| ptr.as_ptr().addr() as u64 & (align.min(8) - 1) == 0))
    }

    #[inline(never)]
    fn load_pieces<const N: usize>(&self, iova: Iova) -> Result<[u8; N], DmaFault> {
        let mut bytes = [0; N];
        self.read_pieces(iova, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies bytes from memory.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        let Some(from) = self.locate(&self.frames, iova, into.len(), false) else { return self.read_pieces(iova, into) };
        // SAFETY: `locate` checked that `into.len()` bytes from `from` on lie in a mapping that outlives this call. Who uses them in this process meanwhile does so
        // by atomics or volatile words, or it lent them to the device and looks at them when it has them back; `into` is the device's own: so promise the
        // drivers (`PciFunction::open_bar`), and those who have a `Dma` (see there). What another process does with its own mapping of them is no access of
        // this program's.
        unsafe { copy_out(from, into.as_mut_ptr(), into.len()) }
        Ok(())
    }

    /// Appends `len_bytes` from memory to `into`, which is as it was after an error.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline(always)]
    pub fn append(&self, iova: Iova, len_bytes: usize, into: &mut Vec<u8>) -> Result<(), DmaFault> {
        let len = into.len();
        let Some(from) = self.locate(&self.frames, iova, len_bytes, false) else { return self.append_pieces(iova, len_bytes, into) };
        into.reserve(len_bytes);
        // SAFETY: as in `read`; `reserve` made room for `len_bytes` behind `len`, and exactly these bytes are written before the length covers them.
        unsafe {
            copy_out(from, into.as_mut_ptr().add(len), len_bytes);
            into.set_len(len + len_bytes);
        }
        Ok(())
    }

    #[inline(never)]
    fn append_pieces(&self, iova: Iova, len_bytes: usize, into: &mut Vec<u8>) -> Result<(), DmaFault> {
        // Looked at first: a length that is not mapped costs no memory.
        self.in_pieces(iova, len_bytes, false, |_, _, _| Ok(()))?;
        let len = into.len();
        into.resize(len + len_bytes, 0);
        self.read_pieces(iova, &mut into[len..]).inspect_err(|_| into.truncate(len))
    }

    /// Copies bytes to memory.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline(always)]
    pub fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        let Some(to) = self.locate(&self.frames, iova, from.len(), true) else { return self.write_pieces(iova, from) };
        // SAFETY: as in `read`, with the direction reversed.
        unsafe { copy_in(to, from) }
        Ok(())
    }

    /// Loads a 16-byte descriptor as two little-endian words.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline(always)]
    pub fn load16(&self, iova: Iova) -> Result<[u64; 2], DmaFault> {
        let Some(ptr) = self.aligned(iova, 16, 16, false)? else {
            let both = u128::from_le_bytes(self.load_pieces(iova)?);
            return Ok([both as u64, (both >> 64) as u64]);
        };
        let ptr = ptr.cast::<u64>();
        // SAFETY: 16 bytes from `ptr` are mapped and aligned (checked above), and drivers access descriptors as aligned words too.
        let words = unsafe { [AtomicU64::from_ptr(ptr.as_ptr()), AtomicU64::from_ptr(ptr.add(1).as_ptr())] };
        Ok([u64::from_le(words[0].load(Ordering::Acquire)), u64::from_le(words[1].load(Ordering::Relaxed))])
    }

    /// Stores a 16-byte descriptor: the lower word first, then the upper one, which holds the status, with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline(always)]
    pub fn store16(&self, iova: Iova, words: [u64; 2]) -> Result<(), DmaFault> {
        let Some(ptr) = self.aligned(iova, 16, 16, true)? else {
            self.write_pieces(iova, &words[0].to_le_bytes())?;
            return self.write_pieces(Iova(iova.0 + 8), &words[1].to_le_bytes());
        };
        let ptr = ptr.cast::<u64>();
        // SAFETY: as in `load16`.
        let to = unsafe { [AtomicU64::from_ptr(ptr.as_ptr()), AtomicU64::from_ptr(ptr.add(1).as_ptr())] };
        to[0].store(words[0].to_le(), Ordering::Relaxed);
        to[1].store(words[1].to_le(), Ordering::Release);
        Ok(())
    }

    /// Loads an aligned 8-byte word.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load8(&self, iova: Iova) -> Result<u64, DmaFault> {
        let Some(ptr) = self.aligned(iova, 8, 8, false)? else { return Ok(u64::from_le_bytes(self.load_pieces(iova)?)) };
        // SAFETY: 8 bytes from `ptr` are mapped and aligned.
        Ok(u64::from_le(unsafe { AtomicU64::from_ptr(ptr.cast().as_ptr()) }.load(Ordering::Acquire)))
    }

    /// Stores an aligned 8-byte word with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store8(&self, iova: Iova, word: u64) -> Result<(), DmaFault> {
        let Some(ptr) = self.aligned(iova, 8, 8, true)? else { return self.write_pieces(iova, &word.to_le_bytes()) };
        // SAFETY: 8 bytes from `ptr` are mapped and aligned.
        unsafe { AtomicU64::from_ptr(ptr.cast().as_ptr()) }.store(word.to_le(), Ordering::Release);
        Ok(())
    }

    /// Loads an aligned 4-byte word.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load4(&self, iova: Iova) -> Result<u32, DmaFault> {
        let Some(ptr) = self.aligned(iova, 4, 4, false)? else { return Ok(u32::from_le_bytes(self.load_pieces(iova)?)) };
        // SAFETY: 4 bytes from `ptr` are mapped and aligned.
        Ok(u32::from_le(unsafe { AtomicU32::from_ptr(ptr.cast().as_ptr()) }.load(Ordering::Acquire)))
    }

    /// Stores an aligned 4-byte word with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store4(&self, iova: Iova, word: u32) -> Result<(), DmaFault> {
        let Some(ptr) = self.aligned(iova, 4, 4, true)? else { return self.write_pieces(iova, &word.to_le_bytes()) };
        // SAFETY: 4 bytes from `ptr` are mapped and aligned.
        unsafe { AtomicU32::from_ptr(ptr.cast().as_ptr()) }.store(word.to_le(), Ordering::Release);
        Ok(())
    }

    /// Loads an aligned 2-byte word.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn load2(&self, iova: Iova) -> Result<u16, DmaFault> {
        let Some(ptr) = self.aligned(iova, 2, 2, false)? else { return Ok(u16::from_le_bytes(self.load_pieces(iova)?)) };
        // SAFETY: 2 bytes from `ptr` are mapped and aligned.
        Ok(u16::from_le(unsafe { AtomicU16::from_ptr(ptr.cast().as_ptr()) }.load(Ordering::Acquire)))
    }

    /// Stores an aligned 2-byte word with release ordering.
    ///
    /// # Errors
    /// [`DmaFault`], recorded as a violation.
    #[inline]
    pub fn store2(&self, iova: Iova, word: u16) -> Result<(), DmaFault> {
        let Some(ptr) = self.aligned(iova, 2, 2, true)? else { return self.write_pieces(iova, &word.to_le_bytes()) };
        // SAFETY: 2 bytes from `ptr` are mapped and aligned.
        unsafe { AtomicU16::from_ptr(ptr.cast().as_ptr()) }.store(word.to_le(), Ordering::Release);
        Ok(())
    }
}
