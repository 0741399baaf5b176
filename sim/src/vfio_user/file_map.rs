//! A client's file, mapped.

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::bus_error::Watched;

/// A part of a file, mapped. Where the client takes the pages away that it shares, zeros are in their place ([`FileMap::is_lost`]).
pub(super) struct FileMap {
    pub(super) ptr: NonNull<u8>,
    len: usize,
    watched: ManuallyDrop<Watched>,
}

// SAFETY: a `FileMap` owns a mapping, which belongs to the process, not to a thread; it gives no access to the bytes.
unsafe impl Send for FileMap {}
// SAFETY: as above.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// # Errors
    /// The system's, of mapping; EIO where bus errors cannot be caught.
    pub(super) fn new(file: &OwnedFd, offset: u64, len: usize, writable: bool) -> Result<Self, Errno> {
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: no address is asked for, so no mapping of this process is replaced.
        let ptr = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED | MapFlags::NORESERVE, file, offset) }?;
        let ptr = NonNull::new(ptr.cast()).ok_or(Errno::NOMEM)?;
        match Watched::new(ptr, len) {
            Ok(watched) => Ok(Self { ptr, len, watched: ManuallyDrop::new(watched) }),
            Err(error) => {
                // SAFETY: the mapping was just made, and nobody has it.
                let _ = unsafe { munmap(ptr.as_ptr().cast(), len) };
                Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
        }
    }

    /// Whether the client took pages away while they were in use.
    pub(super) fn is_lost(&self) -> bool {
        self.watched.is_lost()
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // Before the addresses may become another mapping's.
        // SAFETY: it is dropped here and nowhere else, and not used any more.
        unsafe { ManuallyDrop::drop(&mut self.watched) };
        // SAFETY: the pointer and the length are those of a mapping that `new` made, and whoever made windows of it holds this object.
        let _ = unsafe { munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}
