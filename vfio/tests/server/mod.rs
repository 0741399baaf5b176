//! A vfio-user server of a few lines, typed from the protocol's text: one device with configuration space, BAR 0 by messages and BAR 2 in shared memory.
//! What a test wants of the device it asks by writing to registers of BAR 0.
#![allow(dead_code, reason = "each test uses a part")]

mod vectors;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driver_core::host::{PciError, PciFunction};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg};
use vfio::{UserFunction, VfioBar};

pub(crate) const VERSION: u16 = 1;
pub(crate) const DMA_MAP: u16 = 2;
pub(crate) const DMA_UNMAP: u16 = 3;
pub(crate) const GET_INFO: u16 = 4;
pub(crate) const GET_REGION_INFO: u16 = 5;
pub(crate) const GET_IRQ_INFO: u16 = 7;
pub(crate) const SET_IRQS: u16 = 8;
pub(crate) const REGION_READ: u16 = 9;
pub(crate) const REGION_WRITE: u16 = 10;
pub(crate) const DMA_READ: u16 = 11;
pub(crate) const DMA_WRITE: u16 = 12;
pub(crate) const RESET: u16 = 13;

/// Registers of BAR 0. Fire: raises this vector. Fill: writes this byte to the whole of the newest mapping, by its descriptor. Copy: by messages, reads
/// 16 bytes at this address and writes them, inverted, 16 bytes further; the register then has 0 or the errno. Close: ends the connection.
pub(crate) const FIRE: u32 = 0x100;
pub(crate) const FILL: u32 = 0x104;
pub(crate) const COPY: u32 = 0x108;
pub(crate) const CLOSE: u32 = 0x110;
/// Raises this interrupt of index 3 (error) or 4 (request).
pub(crate) const EVENT: u32 = 0x114;
/// By a message that wants no reply, writes this value to the start of the newest mapping.
pub(crate) const POST: u32 = 0x118;
/// Asks for the whole of the newest mapping by a message and reads the answer in small parts, with pauses, and nothing else until the connection ends.
pub(crate) const DRAIN: u32 = 0x120;
/// The next Copy begins when so many bytes wait to be read from the client's socket.
pub(crate) const BACKLOG: u32 = 0x11c;
pub(crate) const BAR_LEN: usize = 0x4000;
/// Where the capability MSI-X lies: three vectors, table in BAR 2 at 0x3000.
pub(crate) const MSIX: u16 = 0x40;

/// One message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) command: u16,
    pub(crate) flags: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) fds: usize,
}

struct Message {
    id: u16,
    seen: Seen,
    fds: Vec<OwnedFd>,
}

/// What a test does to a reply. `None`: what is right.
pub(crate) enum Instead {
    Body(Vec<u8>),
    With(Vec<u8>, Vec<OwnedFd>),
    Error(u32),
    Raw(Vec<u8>),
    Silence,
    Close,
}

pub(crate) type Hook = Box<dyn FnMut(&Seen) -> Option<Instead> + Send>;

/// How the device is made.
pub(crate) struct Make {
    pub(crate) capabilities: &'static str,
    /// Sparse areas of BAR 2; none: no such BAR.
    pub(crate) areas: Vec<(u64, u64)>,
    /// Length of the file behind BAR 2.
    pub(crate) file_len: u64,
    /// The client's descriptor of BAR 2 is for reading alone.
    pub(crate) is_read_only: bool,
    pub(crate) device_flags: u32,
    /// It has a second socket for its own commands, where the client knows of such a thing.
    pub(crate) has_twin: bool,
    /// It minds the mask bits of its MSI-X table, in a BAR 2 by messages, and masks all vectors at first and at a reset.
    pub(crate) has_masks: bool,
    /// It says that vectors are masked and unmasked by command.
    pub(crate) is_maskable: bool,
    /// Mappings that it takes.
    pub(crate) most_maps: usize,
    pub(crate) hook: Hook,
}

impl Default for Make {
    fn default() -> Self {
        let capabilities = "{\"capabilities\":{\"max_msg_fds\":8,\"pgsizes\":4096}}\0";
        Self {
            capabilities,
            areas: Vec::new(),
            file_len: BAR_LEN as u64,
            is_read_only: false,
            device_flags: 3,
            has_twin: false,
            has_masks: false,
            is_maskable: false,
            most_maps: usize::MAX,
            hook: Box::new(|_| None),
        }
    }
}

impl Make {
    /// As QEMU's `x-vfio-user-server` with libvfio-user: its table masks all vectors after a reset, and it takes 16 mappings, of which it says nothing.
    pub(crate) fn like_qemu() -> Self {
        let capabilities = "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,\"migration\":{\"pgsize\":4096}}}\0";
        Self { capabilities, has_masks: true, most_maps: 16, ..Self::default() }
    }
}

/// The socket of the server's own commands, once there is one.
pub(crate) type Twin = Arc<Mutex<Option<UnixStream>>>;

/// The event descriptors that the client gave, by the interrupt's index and the vector.
pub(crate) type Irqs = Arc<Mutex<BTreeMap<(u32, u32), OwnedFd>>>;

/// A server on a socket of its own, which serves one client.
pub(crate) struct Server {
    pub(crate) path: PathBuf,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) bar_2: std::fs::File,
    pub(crate) twin: Twin,
    irqs: Irqs,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(make: Make) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nic.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let bar_2 = std::fs::File::from(rustix::fs::memfd_create("bar 2", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        bar_2.set_len(make.file_len).unwrap();
        let twin = Twin::default();
        let irqs = Irqs::default();
        let (log, file, twin_of_device, irqs_of_device) = (Arc::clone(&seen), bar_2.try_clone().unwrap(), Arc::clone(&twin), Arc::clone(&irqs));
        let serve = move || {
            let (socket, _) = listener.accept().unwrap();
            Device::new(socket, log, file, twin_of_device, irqs_of_device, make).serve();
        };
        Self { path, seen, bar_2, twin, irqs, thread: Some(std::thread::spawn(serve)), _directory: directory }
    }

    /// The messages so far with this command.
    pub(crate) fn seen(&self, command: u16) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.command == command).cloned().collect()
    }

    /// The server's copy of the descriptor of an interrupt's first vector.
    pub(crate) fn event(&self, index: u32) -> OwnedFd {
        self.irqs.lock().unwrap()[&(index, 0)].try_clone().unwrap()
    }

    /// Waits until the client has gone.
    pub(crate) fn join(mut self) -> Vec<Seen> {
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

struct Device {
    socket: UnixStream,
    log: Arc<Mutex<Vec<Seen>>>,
    make: Make,
    config: Vec<u8>,
    bar: Vec<u8>,
    bar_2: std::fs::File,
    twin: Twin,
    maps: Vec<(u64, u64, std::fs::File)>,
    irqs: Irqs,
    /// Vectors that fired while they were masked.
    pending: BTreeSet<u32>,
    /// Commands that came while the device waited for a reply of the client's.
    later: VecDeque<Message>,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
/// What `f` gives, or `None` where it hangs: half a minute is more than a slow machine takes for anything that ends.
pub(crate) fn soon<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    done.recv_timeout(Duration::from_secs(30)).ok()
}
/// Signals an event descriptor.
pub(crate) fn raise(event: &OwnedFd) {
    assert_eq!(rustix::io::write(event, &1u64.to_ne_bytes()), Ok(8));
}
/// 32-bit words as bytes.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The next message, or `None` where none comes any more.
fn receive(mut socket: &UnixStream) -> Option<Message> {
    let mut header = [0; 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut header)], &mut beside, RecvFlags::CMSG_CLOEXEC).ok()?.bytes;
    let mut fds = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    socket.read_exact(&mut header[got..]).ok()?;
    let mut body = vec![0; u32_at(&header, 4) as usize - 16];
    socket.read_exact(&mut body).ok()?;
    let seen = Seen { command: u16_at(&header, 2), flags: u32_at(&header, 8), body, fds: fds.len() };
    Some(Message { id: u16_at(&header, 0), seen, fds })
}

/// A message as bytes.
pub(crate) fn message(id: u16, command: u16, flags: u32, errno: u32, body: &[u8]) -> Vec<u8> {
    let head = [&id.to_le_bytes()[..], &command.to_le_bytes()].concat();
    [&head, &words(&[16 + body.len() as u32, flags, errno])[..], body].concat()
}

impl Device {
    fn new(socket: UnixStream, log: Arc<Mutex<Vec<Seen>>>, bar_2: std::fs::File, twin: Twin, irqs: Irqs, make: Make) -> Self {
        let mut config = vec![0; 256];
        config[..4].copy_from_slice(&[0x86, 0x80, 0xfb, 0x10]);
        config[6] = 0x10;
        config[0x34] = MSIX as u8;
        let table = words(&[0x11 | 2 << 16, 2 | 0x3000, 0]);
        config[usize::from(MSIX)..usize::from(MSIX) + 12].copy_from_slice(&table);
        let mut bar: Vec<_> = (0..BAR_LEN).map(|i| i as u8).collect();
        bar[BACKLOG as usize..][..4].fill(0);
        let (pending, later) = (BTreeSet::new(), VecDeque::new());
        let mut device = Self { socket, log, make, config, bar, bar_2, twin, maps: Vec::new(), irqs, pending, later };
        device.reset_vectors();
        device
    }

    fn serve(mut self) {
        while let Some(mut message) = self.later.pop_front().or_else(|| receive(&self.socket)) {
            self.log.lock().unwrap().push(message.seen.clone());
            let instead = (self.make.hook)(&message.seen);
            let mut fds = Vec::new();
            let outcome = match instead {
                Some(Instead::Close) => return,
                Some(Instead::Silence) => continue,
                Some(Instead::Raw(bytes)) => {
                    let _ = self.socket.write_all(&bytes);
                    continue;
                }
                Some(Instead::Body(body)) => Ok(body),
                Some(Instead::With(body, beside)) => {
                    fds = beside;
                    Ok(body)
                }
                Some(Instead::Error(errno)) => Err(errno),
                None => match self.handle(&mut message, &mut fds) {
                    Some(outcome) => outcome,
                    None => return,
                },
            };
            if message.seen.flags & 0x10 == 0 {
                let (flags, errno, body) = outcome.map_or_else(|errno| (0x21, errno, Vec::new()), |body| (0x01, 0, body));
                self.send(&self::message(message.id, message.seen.command, flags, errno, &body), &fds);
            }
        }
    }

    fn send(&self, message: &[u8], fds: &[OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || beside.push(SendAncillaryMessage::ScmRights(&fds)));
        // A client that has gone is seen when the next command is waited for.
        let _ = sendmsg(&self.socket, &[IoSlice::new(message)], &mut beside, SendFlags::NOSIGNAL);
    }

    /// The reply's body or errno; `None`: the connection ends.
    fn handle(&mut self, message: &mut Message, fds: &mut Vec<OwnedFd>) -> Option<Result<Vec<u8>, u32>> {
        let body = &message.seen.body;
        Some(Ok(match message.seen.command {
            VERSION if self.make.has_twin && String::from_utf8_lossy(body).contains("\"twin_socket\":{\"supported\":true}") => self.offer_twin(fds),
            VERSION => [&[0; 4], self.make.capabilities.as_bytes()].concat(),
            GET_INFO => words(&[16, self.make.device_flags, 9, 5]),
            GET_REGION_INFO => self.region(body, fds),
            GET_IRQ_INFO => {
                let index = u32_at(body, 8);
                words(&[16, if self.make.is_maskable && index == 2 { 3 } else { 1 }, index, [1, 0, 3, 1, 1][index as usize]])
            }
            SET_IRQS => {
                let (flags, index, start, count) = (u32_at(body, 4), u32_at(body, 8), u32_at(body, 12), u32_at(body, 16));
                match (flags, count) {
                    (0x21, 0) => self.irqs.lock().unwrap().retain(|&(of, _), _| of != index),
                    (0x24, count) if count as usize == message.fds.len() => {
                        let given = message.fds.drain(..).zip(start..).map(|(fd, vector)| ((index, vector), fd));
                        self.irqs.lock().unwrap().extend(given);
                    }
                    (0x11, count) if index == 2 => self.unmask(start..start + count),
                    _ => return Some(Err(22)),
                }
                Vec::new()
            }
            REGION_READ => {
                let (at, region, count) = (u64_at(body, 0) as usize, u32_at(body, 8), u32_at(body, 12) as usize);
                let bytes = if region == 7 { &self.config } else { &self.bar };
                [&body[..16], &bytes[at..at + count]].concat()
            }
            REGION_WRITE => {
                let (at, region, data) = (u64_at(body, 0) as usize, u32_at(body, 8), body[16..].to_vec());
                let bytes = if region == 7 { &mut self.config } else { &mut self.bar };
                bytes[at..at + data.len()].copy_from_slice(&data);
                let reply = [&body[..12], &[0; 4]].concat();
                self.fire_pending();
                if region == 0 && !self.register(at as u32) {
                    return None;
                }
                reply
            }
            DMA_MAP if self.maps.len() >= self.make.most_maps => return Some(Err(22)),
            DMA_MAP => {
                let file = std::fs::File::from(message.fds.pop().unwrap());
                self.maps.push((u64_at(body, 16), u64_at(body, 24), file));
                Vec::new()
            }
            DMA_UNMAP => {
                self.maps.retain(|&(iova, ..)| iova != u64_at(body, 8));
                body.clone()
            }
            RESET => {
                self.config[4] = 0;
                self.reset_vectors();
                Vec::new()
            }
            _ => return Some(Err(38)),
        }))
    }

    /// The second of two descriptors, and of a kind that does not block, as a server may make it for its own end and forget at the other.
    fn offer_twin(&self, fds: &mut Vec<OwnedFd>) -> Vec<u8> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        *self.twin.lock().unwrap() = Some(ours);
        fds.extend([std::fs::File::open("/dev/null").unwrap().into(), theirs.into()]);
        [&[0; 4], &b"{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":1}}}\0"[..]].concat()
    }

    fn region(&self, body: &[u8], fds: &mut Vec<OwnedFd>) -> Vec<u8> {
        let (room, index) = (u32_at(body, 0), u32_at(body, 8));
        let areas = &self.make.areas;
        let info = |argsz: u32, flags: u32, cap: u32, len: usize| [words(&[argsz, flags, index, cap]), words(&[len as u32, 0, 0, 0])].concat();
        match index {
            0 => info(32, 3, 0, BAR_LEN),
            2 if self.make.has_masks => info(32, 3, 0, BAR_LEN),
            2 if !areas.is_empty() => {
                let argsz = 32 + 16 + 16 * areas.len() as u32;
                let path = format!("/proc/self/fd/{}", self.bar_2.as_raw_fd());
                let options = std::fs::OpenOptions::new().read(true).write(!self.make.is_read_only).clone();
                fds.push(options.open(path).unwrap().into());
                let info = info(argsz, 0xf, 32, BAR_LEN);
                if argsz > room {
                    return info;
                }
                let areas = areas.iter().flat_map(|&(offset, len)| [offset.to_le_bytes(), len.to_le_bytes()].concat());
                [info, words(&[1 | 1 << 16, 0, areas.clone().count() as u32 / 16, 0]), areas.collect()].concat()
            }
            7 => info(32, 3, 0, self.config.len()),
            _ => info(32, 0, 0, 0),
        }
    }

    /// Does what a write to a register asks for. `false`: the connection ends.
    fn register(&mut self, at: u32) -> bool {
        let value = u64_at(&self.bar, at as usize & !7) >> (8 * (at & 7)) & 0xffff_ffff;
        match at {
            FIRE => self.fire(value as u32),
            EVENT => raise(&self.irqs.lock().unwrap()[&(value as u32, 0)]),
            FILL => {
                let (_, len, file) = self.maps.last().unwrap();
                file.write_all_at(&vec![value as u8; *len as usize], 0).unwrap();
            }
            COPY => {
                let iova = u64_at(&self.bar, COPY as usize);
                let outcome = self.copy(iova).err().unwrap_or(0);
                self.bar[COPY as usize..COPY as usize + 8].copy_from_slice(&u64::from(outcome).to_le_bytes());
            }
            POST => {
                let body = [&self.maps.last().unwrap().0.to_le_bytes()[..], &4u64.to_le_bytes(), &words(&[value as u32])].concat();
                self.tell(&message(0x7777, DMA_WRITE, 0x10, 0, &body));
            }
            DRAIN => self.drain(),
            CLOSE => return false,
            _ => {}
        }
        true
    }

    fn copy(&mut self, iova: u64) -> Result<(), u32> {
        self.wait_for_backlog();
        let access = |iova: u64| [iova.to_le_bytes(), 16u64.to_le_bytes()].concat();
        let read = self.ask(DMA_READ, &access(iova))?;
        assert_eq!((read.len(), &read[..16]), (32, &access(iova)[..]));
        let inverted: Vec<u8> = read[16..].iter().map(|byte| !byte).collect();
        let written = self.ask(DMA_WRITE, &[access(iova + 16), inverted].concat())?;
        assert_eq!(written, access(iova + 16), "libvfio-user wants what it asked for, without the data");
        Ok(())
    }

    fn drain(&mut self) {
        let &(iova, len, _) = self.maps.last().unwrap();
        self.tell(&message(0x7777, DMA_READ, 0, 0, &[iova.to_le_bytes(), len.to_le_bytes()].concat()));
        while (&self.socket).read(&mut [0; 1024]).is_ok_and(|got| got > 0) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Something to the client, where the device's own commands go.
    fn tell(&self, message: &[u8]) {
        match &*self.twin.lock().unwrap() {
            Some(twin) => drop((&*twin).write_all(message)),
            None => self.send(message, &[]),
        }
    }

    /// A request to the client.
    fn ask(&mut self, command: u16, body: &[u8]) -> Result<Vec<u8>, u32> {
        self.tell(&message(0x7777, command, 0, 0, body));
        loop {
            let twin = self.twin.lock().unwrap();
            // As in libvfio-user: what comes next is the reply. Only without a second socket is anything else expected, and libvfio-user breaks then.
            let message = receive(twin.as_ref().unwrap_or(&self.socket)).ok_or(5u32)?;
            let (flags, body) = (message.seen.flags, &message.seen.body);
            match flags & 0xf {
                1 if flags & 0x20 != 0 => return Err(14),
                1 => {
                    assert_eq!((message.id, message.seen.command), (0x7777, command));
                    return Ok(body.clone());
                }
                _ => {
                    assert!(twin.is_none(), "the client's commands do not belong here");
                    self.later.push_back(message);
                }
            }
        }
    }

    fn wait_for_backlog(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while rustix::io::ioctl_fionread(&self.socket).unwrap() < u64::from(u32_at(&self.bar, BACKLOG as usize)) {
            assert!(Instant::now() < until, "the client sends no more");
            std::thread::yield_now();
        }
    }
}

// What these tests tell their server of memory are regions that they hold, and look into by pointers alone.

pub(crate) fn open_bar(function: &mut UserFunction, index: u8) -> Result<VfioBar, PciError> {
    // SAFETY: as above.
    unsafe { function.open_bar(index) }
}

pub(crate) fn allow_dma(function: &mut UserFunction) {
    // SAFETY: as above.
    unsafe { function.allow_dma() }.unwrap();
}

pub(crate) fn config_write(function: &mut UserFunction, offset: u16, width: u8, value: u32) -> Result<(), PciError> {
    // SAFETY: as above.
    unsafe { function.config_write(offset, width, value) }
}
