//! Reading capture files, one frame ahead, so that the end is known as soon as the last frame is taken.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::{DataLink, Endianness, PcapError};

use crate::wire::{MAX_FRAME_BYTES, MIN_FRAME_BYTES, WireError};

/// The longest record that libpcap writes (`MAXIMUM_SNAPLEN`). A longer one is damage, not a frame.
const MAX_RECORD_BYTES: u32 = 256 * 1024;

/// A capture file being read.
pub(super) struct Input {
    file: PathBuf,
    reader: Reader,
    /// The frame that comes next; `None` at the end.
    next: Option<Vec<u8>>,
    /// Frames handed out.
    taken: u64,
    /// Records of any length seen.
    records: u64,
    error: Option<WireError>,
}

enum Reader {
    Pcap { reader: PcapReader<File>, fcs_bytes: usize },
    PcapNg(PcapNgReader<File>),
}

/// What a record holds, its frame apart.
enum Record {
    Frame,
    /// A block without a frame.
    Other,
    /// A frame of another kind of link.
    Foreign(u32),
}

/// Why no further record can be read.
struct Damage(String);

impl From<PcapError> for Damage {
    fn from(error: PcapError) -> Self {
        Self(match error {
            PcapError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => "the file ends in the middle of a record".into(),
            PcapError::IoError(e) => format!("cannot read on: {e}"),
            error => error.to_string(),
        })
    }
}

impl Input {
    pub(super) fn open(file: &Path) -> Result<Self, WireError> {
        let reader = Reader::open(file)?;
        let mut input = Self { file: file.into(), reader, next: Some(Vec::new()), taken: 0, records: 0, error: None };
        input.advance();
        match input.error {
            Some(error @ WireError::LinkType { .. }) => Err(error),
            _ => Ok(input),
        }
    }

    pub(super) fn take(&mut self, frame: &mut Vec<u8>) -> bool {
        let Some(next) = &mut self.next else { return false };
        std::mem::swap(frame, next);
        self.taken += 1;
        self.advance();
        true
    }

    pub(super) fn is_finished(&self) -> bool {
        self.next.is_none()
    }
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }
    pub(super) fn error(&self) -> Option<&WireError> {
        // Damage is told as soon as it is seen, although frames read before it may still wait to be taken.
        self.error.as_ref()
    }

    /// Reads the next frame that a wire can carry.
    fn advance(&mut self) {
        let Some(mut frame) = self.next.take() else { return };
        loop {
            let damage = match self.reader.read(&mut frame) {
                Ok(None) => return,
                Ok(Some(Record::Other)) => continue,
                Ok(Some(Record::Foreign(link_type))) => WireError::LinkType { file: self.file.clone(), frames: self.records, link_type },
                Ok(Some(Record::Frame)) => {
                    self.records += 1;
                    if (MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&frame.len()) {
                        self.next = Some(frame);
                        return;
                    }
                    self.skip(frame.len());
                    continue;
                }
                Err(Damage(cause)) => WireError::Broken { file: self.file.clone(), frames: self.records, cause },
            };
            // Damage outweighs frames left out: what follows it is lost.
            self.error = Some(damage);
            return;
        }
    }

    fn skip(&mut self, len: usize) {
        match &mut self.error {
            Some(WireError::FrameSize { skipped, .. }) => *skipped += 1,
            error => *error = Some(WireError::FrameSize { file: self.file.clone(), record: self.records, len, skipped: 1 }),
        }
    }
}

impl Reader {
    fn open(file: &Path) -> Result<Self, WireError> {
        let refused = |e: &io::Error| WireError::system("open the capture file", file, e, "");
        let mut opened = File::open(file).map_err(|e| refused(&e))?;
        if let Err(TryLockError::WouldBlock) = opened.try_lock_shared() {
            return Err(refused(&io::Error::new(io::ErrorKind::ResourceBusy, "another wire is writing it")));
        }
        let mut magic = [0; 4];
        let seen = |seen: &str| WireError::NotACapture { file: file.into(), seen: seen.into() };
        match opened.read_exact(&mut magic).and_then(|()| opened.rewind()) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(seen("it has fewer than 4 bytes")),
            Err(e) => return Err(refused(&e)),
        }
        match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                let reader = PcapNgReader::new(opened).map_err(|e| seen(&format!("its section header is broken: {}", Damage::from(e).0)))?;
                Ok(Self::PcapNg(reader))
            }
            [0xa1, 0xb2, 0xc3, 0xd4] | [0xd4, 0xc3, 0xb2, 0xa1] | [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1] => {
                let reader = PcapReader::new(opened).map_err(|e| seen(&format!("its header is broken: {}", Damage::from(e).0)))?;
                let (link_type, fcs_bytes) = split_link_type(reader.header().datalink.into());
                if link_type != u32::from(DataLink::ETHERNET) {
                    return Err(WireError::LinkType { file: file.into(), frames: 0, link_type });
                }
                Ok(Self::Pcap { reader, fcs_bytes })
            }
            [0x1f, 0x8b, ..] => Err(seen("it is compressed by gzip: gunzip it first")),
            [0x28, 0xb5, 0x2f, 0xfd] => Err(seen("it is compressed by zstd: unzstd it first")),
            [a, b, c, d] => Err(seen(&format!("it begins with {a:02x} {b:02x} {c:02x} {d:02x}"))),
        }
    }

    /// Reads one record. `None`: the file ends here, as it should.
    fn read(&mut self, frame: &mut Vec<u8>) -> Result<Option<Record>, Damage> {
        frame.clear();
        match self {
            Self::Pcap { reader, fcs_bytes } => {
                let Some(record) = reader.next_raw_packet().transpose()? else { return Ok(None) };
                check_lengths(record.incl_len, record.orig_len)?;
                frame.extend_from_slice(&record.data);
                trim_fcs(frame, *fcs_bytes, record.orig_len);
                Ok(Some(Record::Frame))
            }
            Self::PcapNg(reader) => read_block(reader, frame),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("file", &self.file).field("taken", &self.taken).field("error", &self.error).finish_non_exhaustive()
    }
}

// Block types of pcapng that carry frames (draft-ietf-opsawg-pcapng, sections 4.3, 4.4 and appendix A).
const ENHANCED_PACKET_BLOCK: u32 = 6;
const SIMPLE_PACKET_BLOCK: u32 = 3;
const PACKET_BLOCK: u32 = 2;

/// Reads one block. Its fixed part is decoded here, not by the library, which refuses blocks whose options end without the
/// end-of-options mark although the format allows that.
fn read_block(reader: &mut PcapNgReader<File>, frame: &mut Vec<u8>) -> Result<Option<Record>, Damage> {
    let endianness = reader.section().endianness;
    let short = || Damage("a packet block is shorter than its own header".into());
    let Some(block) = reader.next_raw_block().transpose()? else { return Ok(None) };
    let word = |at: usize| {
        let bytes = block.body.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
        Ok::<u32, Damage>(if endianness == Endianness::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    // The interface, the captured and the original length, and where the frame begins.
    let (interface, captured, original, data) = match block.type_ {
        ENHANCED_PACKET_BLOCK => (word(0)?, word(12)?, word(16)?, 20),
        PACKET_BLOCK => {
            // Two 16-bit fields in one word: the interface comes first in the file.
            let first = word(0)?;
            (if endianness == Endianness::Big { first >> 16 } else { first & 0xffff }, word(12)?, word(16)?, 20)
        }
        SIMPLE_PACKET_BLOCK => {
            let room = u32::try_from(block.body.len().saturating_sub(4)).unwrap_or(u32::MAX);
            let original = word(0)?;
            (0, original.min(room), original, 4)
        }
        _ => return Ok(Some(Record::Other)),
    };
    check_lengths(captured, original)?;
    let bytes = block.body.get(data..).and_then(|rest| rest.get(..captured as usize));
    frame.extend_from_slice(bytes.ok_or_else(|| Damage(format!("a packet block is too short for its {captured} bytes of data")))?);
    let is_simple = block.type_ == SIMPLE_PACKET_BLOCK;
    let Some(description) = reader.interfaces().get(interface as usize) else {
        return Err(Damage(format!("a packet names interface {interface}, which is not described before")));
    };
    if description.linktype != DataLink::ETHERNET {
        return Ok(Some(Record::Foreign(description.linktype.into())));
    }
    if is_simple && description.snaplen != 0 {
        frame.truncate(description.snaplen as usize);
    }
    trim_fcs(frame, fcs_bytes(description), original);
    Ok(Some(Record::Frame))
}

/// The frame check sequence's length in bytes by the option `if_fcslen`, which counts bits.
fn fcs_bytes(description: &pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock<'_>) -> usize {
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption::IfFcsLen;
    description.options.iter().find_map(|o| if let IfFcsLen(bits) = o { Some(usize::from(*bits) / 8) } else { None }).unwrap_or(0)
}

/// Parts a pcap header's link type field into link type and frame check sequence length in bytes
/// (draft-ietf-opsawg-pcap, section 4: bits 28 to 31 count 16-bit words where bit 26 is set).
fn split_link_type(field: u32) -> (u32, usize) {
    let fcs_words = if field & 1 << 26 == 0 { 0 } else { field >> 28 };
    (field & 0xffff, fcs_words as usize * 2)
}

fn check_lengths(captured: u32, original: u32) -> Result<(), Damage> {
    if captured > MAX_RECORD_BYTES {
        return Err(Damage(format!("a record claims {captured} bytes, more than any capture holds ({MAX_RECORD_BYTES})")));
    }
    if captured > original {
        return Err(Damage(format!("a record claims {captured} bytes of a frame of {original} bytes")));
    }
    Ok(())
}

/// Takes off what is there of a frame check sequence at the end of a frame of `original` bytes.
fn trim_fcs(frame: &mut Vec<u8>, fcs_bytes: usize, original: u32) {
    frame.truncate((original as usize).saturating_sub(fcs_bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_type_field_with_frame_check_sequence() {
        assert_eq!(split_link_type(1), (1, 0));
        assert_eq!(split_link_type(0x2400_0001), (1, 4));
        assert_eq!(split_link_type(0x2000_0001), (1, 0), "length without the bit that says it is valid");
    }

    #[test]
    fn only_what_was_captured_of_a_frame_check_sequence_is_taken_off() {
        let trimmed = |captured: usize, original| {
            let mut frame = vec![0; captured];
            trim_fcs(&mut frame, 4, original);
            frame.len()
        };
        assert_eq!(trimmed(64, 64), 60);
        assert_eq!(trimmed(62, 64), 60);
        assert_eq!(trimmed(60, 64), 60);
        assert_eq!(trimmed(40, 64), 40);
    }
}
