//! Memory that a server maps by its descriptor, or asks for by messages.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// One shared mapping of this process, zeroed, whole pages, with the descriptor that it was made from.
#[derive(Debug)]
pub(super) struct Memory {
    map: MmapRaw,
    fd: OwnedFd,
}

impl Memory {
    /// At least `len` bytes.
    pub(super) fn allocate(len: usize) -> io::Result<Self> {
        let len = len.checked_next_multiple_of(rustix::param::page_size()).ok_or(io::ErrorKind::OutOfMemory)?;
        let fd = memfd_create("vfio-user", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len as u64)?;
        // A server that shortened it would end this process with a bus error.
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { map: MmapOptions::new().len(len).map_raw(&fd)?, fd })
    }

    /// First byte.
    pub(super) fn ptr(&self) -> NonNull<u8> {
        NonNull::new(self.map.as_mut_ptr()).unwrap_or(NonNull::dangling())
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The memory that servers see, by device address.
#[derive(Debug, Default)]
pub(super) struct Space(Mutex<BTreeMap<u64, Arc<Memory>>>);

impl Space {
    /// For looks at what is there. Held while memory is copied, so that it stays for as long; never while a server is waited for.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Memory>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends `len` bytes at `iova` to `into`. `None`: not all of them are in one mapping.
    pub(super) fn read(&self, iova: u64, len: usize, into: &mut Vec<u8>) -> Option<()> {
        let live = self.lock();
        let at = find(&live, iova, len)?;
        let start = into.len();
        into.resize(start + len, 0);
        // SAFETY: `find` gave the address of `len` bytes of a mapping that stays while `live` is held.
        unsafe { copy_out(at, &mut into[start..]) };
        Some(())
    }

    /// Writes `bytes` at `iova`. `None`: not all of them lie in one mapping; nothing was written.
    pub(super) fn write(&self, iova: u64, bytes: &[u8]) -> Option<()> {
        let live = self.lock();
        let at = find(&live, iova, bytes.len())?;
        // SAFETY: as for reading.
        unsafe { copy_in(at, bytes) };
        Some(())
    }
}

/// The address of `len` bytes at `iova`, where one mapping has them all.
fn find(live: &BTreeMap<u64, Arc<Memory>>, iova: u64, len: usize) -> Option<NonNull<u8>> {
    let (&start, memory) = live.range(..=iova).next_back()?;
    let within = usize::try_from(iova - start).ok()?;
    let fits = memory.len().checked_sub(within)? >= len;
    fits.then(|| NonNull::new(memory.ptr().as_ptr().wrapping_add(within))).flatten()
}

/// How many bytes lie before the first whole aligned word.
fn bytes_before_words(at: NonNull<u8>, len: usize) -> usize {
    at.as_ptr().align_offset(size_of::<u64>()).min(len)
}

/// Copies out of memory that others write meanwhile: bytes at the ends, whole words between, each later than the one before.
///
/// # Safety
/// `from` is valid for reads of `into.len()` bytes, in memory that is not part of any Rust object.
unsafe fn copy_out(from: NonNull<u8>, into: &mut [u8]) {
    // SAFETY: the caller's promise; each address is inside and an atomic of one byte is always aligned.
    let byte = |i: usize| unsafe { AtomicU8::from_ptr(from.as_ptr().wrapping_add(i)) }.load(Ordering::Acquire);
    let mut i = bytes_before_words(from, into.len());
    let words_end = i + (into.len() - i) / 8 * 8;
    (0..i).for_each(|i| into[i] = byte(i));
    while i < words_end {
        // SAFETY: eight bytes inside, aligned by `bytes_before_words` and steps of eight.
        let word = unsafe { AtomicU64::from_ptr(from.as_ptr().wrapping_add(i).cast()) }.load(Ordering::Acquire);
        into[i..i + 8].copy_from_slice(&word.to_ne_bytes());
        i += 8;
    }
    (words_end..into.len()).for_each(|i| into[i] = byte(i));
}

/// Copies into memory that a driver polls meanwhile: whole words, each visible no earlier than the one before, as a bus delivers them.
///
/// # Safety
/// `to` is valid for writes of `from.len()` bytes, in memory that is not part of any Rust object.
unsafe fn copy_in(to: NonNull<u8>, from: &[u8]) {
    // SAFETY: as in `copy_out`.
    let byte = |i: usize| unsafe { AtomicU8::from_ptr(to.as_ptr().wrapping_add(i)) }.store(from[i], Ordering::Release);
    let mut i = bytes_before_words(to, from.len());
    let words_end = i + (from.len() - i) / 8 * 8;
    (0..i).for_each(byte);
    while i < words_end {
        let mut word = [0; 8];
        word.copy_from_slice(&from[i..i + 8]);
        // SAFETY: as in `copy_out`.
        unsafe { AtomicU64::from_ptr(to.as_ptr().wrapping_add(i).cast()) }.store(u64::from_ne_bytes(word), Ordering::Release);
        i += 8;
    }
    (words_end..from.len()).for_each(byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_exact_at_every_alignment_and_stay_inside() {
        let space = Space::default();
        let memory = Arc::new(Memory::allocate(1).unwrap());
        let len = memory.len();
        assert_eq!(len, rustix::param::page_size());
        space.lock().insert(0x10_0000, memory);
        let pattern: Vec<u8> = (0..64).map(|i| i ^ 0xa5).collect();
        for offset in 0..16 {
            for count in 0..48 {
                space.write(0x10_0000, &[0; 128]).unwrap();
                space.write(0x10_0000 + offset, &pattern[..count]).unwrap();
                let mut back = Vec::new();
                space.read(0x10_0000, 128, &mut back).unwrap();
                let (before, rest) = back.split_at(offset as usize);
                assert_eq!((before.iter().max(), &rest[..count]), ([0; 16][..before.len()].iter().max(), &pattern[..count]));
                assert!(rest[count..].iter().all(|&b| b == 0), "{offset} {count}");
                let mut part = Vec::new();
                space.read(0x10_0000 + offset, count, &mut part).unwrap();
                assert_eq!(part, pattern[..count]);
            }
        }
        let end = 0x10_0000 + len as u64;
        assert_eq!((space.write(end - 4, &[1; 4]), space.write(end - 4, &[1; 5]), space.write(end, &[1])), (Some(()), None, None));
        assert_eq!((space.write(0xf_ffff, &[1; 2]), space.read(u64::MAX, 2, &mut Vec::new())), (None, None));
    }

    #[test]
    fn nobody_can_shorten_the_memory() {
        let memory = Memory::allocate(5000).unwrap();
        assert_eq!(memory.len(), 2 * rustix::param::page_size());
        assert_eq!(ftruncate(memory.fd(), 0), Err(rustix::io::Errno::PERM));
        assert!(Memory::allocate(usize::MAX - 5).is_err());
    }
}
