//! Where a capture's bytes come from: a file, or a pipe that is read as it comes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How much is asked for at once.
const READ_BYTES: usize = 64 * 1024;

/// A capture's bytes, read in order, never twice: what is needed is buffered, what is not is skipped.
pub(super) struct Source {
    file: File,
    /// Bytes come when they come: reading must not wait for them.
    is_live: bool,
    buffer: Vec<u8>,
    /// Where in the buffer the bytes begin that were not consumed.
    start: usize,
    /// How many bytes that have not been read yet are not wanted.
    unwanted: u64,
    has_ended: bool,
}

/// Whether so many bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Have {
    All,
    /// More may come.
    NotYet,
    /// No more come; some may be there.
    End,
}

impl Source {
    /// Opens a file or a named pipe; `-` is standard input. A named pipe without a writer is not waited for.
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        if file.as_os_str() == "-" {
            return Self::new(io::stdin().as_fd().try_clone_to_owned()?.into());
        }
        let is_pipe = file.metadata()?.file_type().is_fifo();
        let flags = if is_pipe { rustix::fs::OFlags::NONBLOCK.bits().cast_signed() } else { 0 };
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(file)?;
        if let (false, Err(TryLockError::WouldBlock)) = (is_pipe, opened.try_lock_shared()) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another wire is writing it"));
        }
        Self::new(opened)
    }

    fn new(file: File) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Reading a file or a block device does not wait for anybody else.
        let is_live = !kind.is_file() && !kind.is_block_device();
        Ok(Self { file, is_live, buffer: Vec::new(), start: 0, unwanted: 0, has_ended: false })
    }

    /// Reads until `len` bytes are there.
    pub(super) fn want(&mut self, len: usize) -> io::Result<Have> {
        while self.unwanted > 0 || self.bytes().len() < len {
            if self.has_ended {
                return Ok(Have::End);
            }
            if self.is_live && !self.is_readable()? {
                return Ok(Have::NotYet);
            }
            self.fill(len)?;
        }
        Ok(Have::All)
    }

    /// What is there.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Whether bytes are missing that were skipped: the end came before them.
    pub(super) fn is_short(&self) -> bool {
        self.unwanted > 0
    }

    /// Leaves out the next `len` bytes, which need not be there yet.
    pub(super) fn skip(&mut self, len: u64) {
        let there = usize::try_from(len).unwrap_or(usize::MAX).min(self.bytes().len());
        self.start += there;
        self.unwanted += len - there as u64;
    }

    /// What becomes readable when bytes come, where they come when they come.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        (self.is_live && !self.has_ended).then(|| self.file.as_fd())
    }

    /// Reads once, for `len` bytes or more.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        // Not more than what comes is believed of a length that the file claims: memory grows as bytes do.
        let wanted = READ_BYTES.max(len.saturating_sub(before).min(before.max(READ_BYTES)));
        self.buffer.resize(before + wanted, 0);
        let read = self.file.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.has_ended = true,
            Err(error) if !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                self.has_ended = true;
                return Err(error);
            }
            _ => {}
        }
        let unwanted = usize::try_from(self.unwanted).unwrap_or(usize::MAX).min(self.buffer.len());
        self.start = unwanted;
        self.unwanted -= unwanted as u64;
        Ok(())
    }

    /// Whether reading would not wait. A named pipe that nobody writes yet is not; one that was closed is.
    fn is_readable(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(!fds[0].revents().is_empty())
    }
}
