//! Reading captures, one frame ahead, so that the end of a file is known as soon as its last frame is taken.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::blocks::{SECTION_HEADER_BLOCK, Section};
use super::frame::{Damage, ETHERNET, Frame, Step};
use super::records::Records;
use super::source::{Have, Source};
use crate::wire::{MAX_FRAME_BYTES, MIN_FRAME_BYTES, WireError};

/// A capture being read.
pub(super) struct Input {
    file: PathBuf,
    source: Source,
    /// `None`: the first bytes have not come yet.
    format: Option<Format>,
    /// The frame that comes next, where one `is_there`.
    next: Frame,
    is_there: bool,
    has_ended: bool,
    /// Frames handed out.
    taken: u64,
    /// Frames of Ethernet, of any length, seen.
    records: u64,
    /// What ended it, and the two kinds of frames that were left out.
    damage: Option<WireError>,
    foreign: Option<WireError>,
    sizes: Option<WireError>,
    /// Frames that were cut when they were captured.
    cut: u64,
}

enum Format {
    Pcap(Records),
    PcapNg(Section),
}

impl Input {
    pub(super) fn open(file: &Path) -> Result<Self, WireError> {
        let source = Source::open(file).map_err(|e| WireError::system("open the capture file", file, &e, ""))?;
        let mut input = Self {
            file: file.into(),
            source,
            format: None,
            next: Frame::default(),
            is_there: false,
            has_ended: false,
            taken: 0,
            records: 0,
            damage: None,
            foreign: None,
            sizes: None,
            cut: 0,
        };
        input.advance();
        match input.error() {
            Some(error @ (WireError::LinkType { .. } | WireError::NotACapture { .. })) if input.is_finished() && input.records == 0 => {
                Err(error.clone())
            }
            _ => Ok(input),
        }
    }

    pub(super) fn take(&mut self, frame: &mut Vec<u8>) -> bool {
        if !self.is_there {
            self.advance();
        }
        if !self.is_there {
            return false;
        }
        std::mem::swap(frame, &mut self.next.bytes);
        self.is_there = false;
        self.taken += 1;
        self.advance();
        true
    }

    pub(super) fn is_finished(&self) -> bool {
        self.has_ended && !self.is_there
    }
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }
    pub(super) fn error(&self) -> Option<&WireError> {
        // Damage is told as soon as it is seen, although frames read before it may still wait to be taken. It outweighs frames left out:
        // what follows it is lost.
        self.damage.as_ref().or(self.foreign.as_ref()).or(self.sizes.as_ref())
    }

    /// What becomes readable when a frame may have come; `None` where nothing is waited for.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        if self.is_there || self.has_ended { None } else { self.source.fd() }
    }

    /// Reads the next frame that a wire can carry, as far as it has come.
    fn advance(&mut self) {
        while !self.has_ended {
            let step = match &mut self.format {
                None => match self.open_format() {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(error) => return self.end(Some(error)),
                },
                Some(Format::Pcap(records)) => records.read(&mut self.source, &mut self.next),
                Some(Format::PcapNg(section)) => section.read(&mut self.source, &mut self.next),
            };
            match step {
                Ok(Step::Later) => return,
                Ok(Step::End) => self.end(None),
                Ok(Step::Other) => {}
                Ok(Step::Foreign(link_type)) => self.leave_foreign(link_type),
                Ok(Step::Frame) => {
                    self.records += 1;
                    if self.is_carried() {
                        self.is_there = true;
                        return;
                    }
                }
                Err(Damage(cause)) => {
                    let damage = WireError::Broken { file: self.file.clone(), frames: self.records, cause };
                    self.end(Some(damage));
                }
            }
        }
    }

    fn end(&mut self, damage: Option<WireError>) {
        self.has_ended = true;
        self.damage = damage;
        if self.cut > 1 {
            log::warn!("{}: {} frames were cut when they were captured, and arrive so", self.file.display(), self.cut);
        }
    }

    /// Knows the format by the first bytes. `false`: they have not come yet.
    fn open_format(&mut self) -> Result<bool, WireError> {
        let file = &self.file;
        let not = |seen: String| WireError::NotACapture { file: file.clone(), seen };
        let refused = |e: &io::Error| WireError::system("open the capture file", file, e, "");
        match self.source.want(4).map_err(|e| refused(&e))? {
            Have::All => {}
            Have::NotYet => return Ok(false),
            Have::End => return Err(not("it has fewer than 4 bytes".into())),
        }
        let magic = self.source.bytes().first_chunk::<4>().copied().unwrap_or_default();
        let opened = match magic {
            // The first block must be a whole section header.
            _ if u32::from_be_bytes(magic) == SECTION_HEADER_BLOCK => {
                let mut section = Section::default();
                match section.read(&mut self.source, &mut self.next) {
                    Ok(Step::Later) => None,
                    Ok(_) => Some(Format::PcapNg(section)),
                    Err(Damage(cause)) => return Err(not(format!("its section header is broken: {cause}"))),
                }
            }
            [0xa1, 0xb2, 0xc3, 0xd4] | [0xd4, 0xc3, 0xb2, 0xa1] | [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1] | [0x34, 0xcd, 0xb2, 0xa1] => {
                match Records::open(&mut self.source) {
                    Ok(None) => None,
                    Ok(Some(records)) if records.link_type != ETHERNET => {
                        return Err(WireError::LinkType { file: file.clone(), frames: 0, link_type: records.link_type, skipped: 0 });
                    }
                    Ok(Some(records)) => Some(Format::Pcap(records)),
                    Err(Damage(cause)) => return Err(not(format!("its header is broken: {cause}"))),
                }
            }
            [0x1f, 0x8b, ..] => return Err(not("it is compressed by gzip: gunzip it first".into())),
            [0x28, 0xb5, 0x2f, 0xfd] => return Err(not("it is compressed by zstd: unzstd it first".into())),
            [a, b, c, d] => return Err(not(format!("it begins with {a:02x} {b:02x} {c:02x} {d:02x}"))),
        };
        self.format = opened;
        Ok(self.format.is_some())
    }

    /// Whether a wire carries the frame that was read; it is counted otherwise.
    fn is_carried(&mut self) -> bool {
        let len = self.next.bytes.len();
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&len) {
            match &mut self.sizes {
                Some(WireError::FrameSize { skipped, .. }) => *skipped += 1,
                sizes => *sizes = Some(WireError::FrameSize { file: self.file.clone(), record: self.records, len, skipped: 1 }),
            }
            return false;
        }
        if len < self.next.original {
            self.cut += 1;
            if self.cut == 1 {
                log::warn!(
                    "{}: frame {} of {} bytes was cut to {len} when it was captured (a snapshot length), and arrives so",
                    self.file.display(),
                    self.records,
                    self.next.original
                );
            }
        }
        true
    }

    fn leave_foreign(&mut self, link_type: u32) {
        match &mut self.foreign {
            Some(WireError::LinkType { skipped, .. }) => *skipped += 1,
            foreign => *foreign = Some(WireError::LinkType { file: self.file.clone(), frames: self.records, link_type, skipped: 1 }),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("file", &self.file).field("taken", &self.taken).field("error", &self.error()).finish_non_exhaustive()
    }
}
