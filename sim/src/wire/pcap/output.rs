//! Writing capture files.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pcap_file::pcap::{PcapHeader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use crate::wire::WireError;

const BUFFER_BYTES: usize = 256 * 1024;
const SNAPLEN: u32 = 64 * 1024;
/// Timestamps in units of 10 to the minus this (`if_tsresol`).
const NANOSECONDS: u8 = 9;

/// A capture file being written.
pub(super) struct Output {
    file: PathBuf,
    writer: Writer,
    buffer: Buffer,
    written: u64,
    error: Option<WireError>,
}

enum Writer {
    Pcap(PcapWriter<Buffer>),
    PcapNg(PcapNgWriter<Buffer>),
}

/// The file behind its buffer, shared with the library's writer, which gives no way to flush what it owns.
#[derive(Clone)]
struct Buffer(Arc<Mutex<BufWriter<File>>>);

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.lock().write_all(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

impl Output {
    pub(super) fn create(file: &Path) -> Result<Self, WireError> {
        let is_ng = match file.extension().and_then(|ending| ending.to_str()) {
            Some("pcap") => false,
            Some("pcapng") => true,
            _ => return Err(WireError::option(format!("{}: a capture file to write must be named *.pcap or *.pcapng", file.display()))),
        };
        let refused = |e: &io::Error| WireError::system("make the capture file", file, e, "");
        let buffer = open_locked(file).map_err(|e| refused(&e))?;
        let writer = if is_ng { Writer::pcapng(buffer.clone()) } else { Writer::pcap(buffer.clone()) };
        let writer = writer.map_err(|e| refused(&io_error(e)))?;
        Ok(Self { file: file.into(), writer, buffer, written: 0, error: None })
    }

    pub(super) fn write(&mut self, frame: &[u8]) {
        if self.error.is_some() {
            return;
        }
        match self.writer.write(frame) {
            Ok(()) => self.written += 1,
            Err(e) => self.fail(&io_error(e)),
        }
    }

    pub(super) fn flush(&mut self) {
        let flushed = self.buffer.lock().flush();
        if let Err(e) = flushed {
            self.fail(&e);
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }
    pub(super) fn error(&self) -> Option<&WireError> {
        self.error.as_ref()
    }

    fn fail(&mut self, error: &io::Error) {
        let remedy = "the capture is not whole: make room and run again";
        self.error.get_or_insert_with(|| WireError::system("write the capture file", &self.file, error, remedy));
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("file", &self.file).field("written", &self.written).field("error", &self.error).finish_non_exhaustive()
    }
}

impl Writer {
    fn pcap(buffer: Buffer) -> Result<Self, PcapError> {
        let header = PcapHeader {
            snaplen: SNAPLEN,
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::native(),
            ..PcapHeader::default()
        };
        Ok(Self::Pcap(PcapWriter::with_header(buffer, header)?))
    }

    fn pcapng(buffer: Buffer) -> Result<Self, PcapError> {
        let mut writer = PcapNgWriter::with_endianness(buffer, Endianness::native())?;
        let options = vec![InterfaceDescriptionOption::IfTsResol(NANOSECONDS)];
        writer.write_pcapng_block(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: SNAPLEN, options })?;
        Ok(Self::PcapNg(writer))
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), PcapError> {
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let len = u32::try_from(frame.len()).map_err(|_| PcapError::InvalidField("frame of more than 4 GiB"))?;
        let data = Cow::Borrowed(frame);
        match self {
            Self::Pcap(writer) => {
                // The format's seconds are 32 bits wide and unsigned: they wrap in 2106.
                let (ts_sec, ts_frac) = (timestamp.as_secs() as u32, timestamp.subsec_nanos());
                writer.write_raw_packet(&RawPcapPacket { ts_sec, ts_frac, incl_len: len, orig_len: len, data })?;
            }
            Self::PcapNg(writer) => {
                writer.write_pcapng_block(EnhancedPacketBlock { interface_id: 0, timestamp, original_len: len, data, options: Vec::new() })?;
            }
        }
        Ok(())
    }
}

/// Makes the file, or empties it once it is sure that no other wire uses it.
fn open_locked(file: &Path) -> io::Result<Buffer> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file)?;
    // File systems without locks are used without.
    if let Err(TryLockError::WouldBlock) = opened.try_lock() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another wire is reading or writing it"));
    }
    if opened.metadata()?.is_file() {
        opened.set_len(0)?;
    }
    Ok(Buffer(Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, opened)))))
}

fn io_error(error: PcapError) -> io::Error {
    if let PcapError::IoError(e) = error { e } else { io::Error::other(error) }
}
