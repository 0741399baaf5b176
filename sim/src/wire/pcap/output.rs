//! Writing capture files.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use pcap_file::pcap::{PcapHeader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use crate::wire::WireError;

const BUFFER_BYTES: usize = 256 * 1024;
/// How long a frame waits in the buffer at most where [`Output::flush_when_due`] is called.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const SNAPLEN: u32 = 64 * 1024;
/// Timestamps in units of 10 to the minus this (`if_tsresol`).
const NANOSECONDS: u8 = 9;

/// The formats of capture files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// libpcap's, with nanoseconds.
    Pcap,
    /// pcapng, with nanoseconds.
    PcapNg,
}

impl Format {
    /// The format that the ending of the file's name says, in letters of any size.
    ///
    /// # Errors
    /// [`WireError::Option`] where the name ends in neither `.pcap` nor `.pcapng`.
    pub fn by_name(file: &Path) -> Result<Self, WireError> {
        let ending = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match &*ending {
            "pcap" => Ok(Self::Pcap),
            "pcapng" => Ok(Self::PcapNg),
            "gz" | "zst" | "lz4" | "xz" | "bz2" => Err(WireError::option(format!(
                "{}: captures are written without compression: name it *.pcap or *.pcapng, and compress it then",
                file.display()
            ))),
            _ => Err(WireError::option(format!("{}: a capture file to write must be named *.pcap or *.pcapng", file.display()))),
        }
    }
}

/// A capture file being written, through a buffer: [`Output::flush`] and dropping write it out. After an error nothing more is written.
pub struct Output {
    file: PathBuf,
    writer: Writer,
    buffer: Buffer,
    written: u64,
    /// Where each frame that may not be whole in the file yet will end there, in bytes.
    ends: VecDeque<u64>,
    /// When what was buffered was written out.
    flushed: Instant,
    error: Option<WireError>,
}

enum Writer {
    Pcap(PcapWriter<Buffer>),
    PcapNg(PcapNgWriter<Buffer>),
}

/// The file behind its buffer, shared with the library's writer, which gives no way to flush what it owns.
#[derive(Clone)]
struct Buffer(Arc<Mutex<BufWriter<Counted>>>);

/// A file, and how many bytes it has taken.
struct Counted {
    file: File,
    taken: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        self.taken += taken as u64;
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Buffer {
    fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, Counted { file, taken: 0 }))))
    }
    fn lock(&self) -> MutexGuard<'_, BufWriter<Counted>> {
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
    /// Makes the file, or empties it once it is sure that no wire uses it: its own advisory lock is then on it. `-` is standard output.
    ///
    /// # Errors
    /// [`WireError::System`] where the file cannot be made or is in use.
    pub fn create(file: &Path, format: Format) -> Result<Self, WireError> {
        let refused = |e: &io::Error| WireError::system("make the capture file", file, e, "");
        let buffer = open_locked(file).map_err(|e| refused(&e))?;
        let writer = match format {
            Format::Pcap => Writer::pcap(buffer.clone()),
            Format::PcapNg => Writer::pcapng(buffer.clone()),
        };
        let writer = writer.map_err(|e| refused(&io_error(e)))?;
        Ok(Self { file: file.into(), writer, buffer, written: 0, ends: VecDeque::new(), flushed: Instant::now(), error: None })
    }

    /// Puts a frame at the end, with the time of day. [`Output::error`] says what went wrong.
    pub fn write(&mut self, frame: &[u8]) {
        if self.error.is_some() {
            return;
        }
        match self.writer.write(frame) {
            Ok(()) => {
                self.written += 1;
                let buffer = self.buffer.lock();
                let (taken, buffered) = (buffer.get_ref().taken, buffer.buffer().len());
                drop(buffer);
                self.ends.push_back(taken + buffered as u64);
                self.drop_whole(taken);
            }
            Err(e) => self.fail(&io_error(e)),
        }
    }

    /// Writes out what is buffered. [`Output::error`] says what went wrong.
    pub fn flush(&mut self) {
        let flushed = self.buffer.lock().flush();
        if let Err(e) = flushed {
            self.fail(&e);
        }
    }

    /// Writes out what has been buffered for a second. To be called again and again, so that who reads along sees what comes slowly.
    pub fn flush_when_due(&mut self) {
        if self.error.is_none() && self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.flush();
        }
    }

    /// Frames given to [`Output::write`] before any error.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Frames that the file has taken whole: after [`Output::flush`] all, or those before an error.
    pub fn whole(&mut self) -> u64 {
        let taken = self.buffer.lock().get_ref().taken;
        self.drop_whole(taken);
        self.written - self.ends.len() as u64
    }

    /// The first error so far.
    pub fn error(&self) -> Option<&WireError> {
        self.error.as_ref()
    }

    fn drop_whole(&mut self, taken: u64) {
        while self.ends.front().is_some_and(|end| *end <= taken) {
            self.ends.pop_front();
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let remedy = format!("its first {} frames are whole: make room and run again", self.whole());
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
    if file.as_os_str() == "-" {
        return Ok(Buffer::new(io::stdout().as_fd().try_clone_to_owned()?.into()));
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file)?;
    // File systems without locks are used without.
    if let Err(TryLockError::WouldBlock) = opened.try_lock() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another wire is reading or writing it"));
    }
    if opened.metadata()?.is_file() {
        opened.set_len(0)?;
    }
    Ok(Buffer::new(opened))
}

fn io_error(error: PcapError) -> io::Error {
    if let PcapError::IoError(e) = error { e } else { io::Error::other(error) }
}
