//! Any bytes, as what a client sends: the entry point of the fuzz target and of the tests with random input.
//!
//! The input's first byte says how the client is: bit 0 that it begins by agreeing on the version, bit 1 that the card is the virtio one, the others how
//! it answers DMA by message ([`Answers`]). Then come steps. The first byte of a step says what it is:
//!
//! * bit 5: the client's memory changes: an address of two bytes, a byte of length, the bytes;
//! * bit 4: the card moves, and is answered; with bit 6 for long enough that a reset is over;
//! * else something is sent: bits 0-1 how many descriptors (3: seventeen), bit 2 whether they are eventfds or files, bit 3 whether the message's header is
//!   made here. With a header made here: command, flags, a byte of length, payload. Without: a byte of length, bytes as they are.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::model::Model;
use sim::vfio_user::Server;
use sim::virtio_net::{VirtioNet, VirtioNetOptions};
use sim::wire::{Wire, peer};

/// Longer input is cut: all of it must fit into a socket's buffer.
const MAX_INPUT: usize = 16 * 1024;
/// The client's memory: at each multiple of it the same bytes.
const MEMORY_BYTES: usize = 1 << 16;
const FILE_BYTES: u64 = 1 << 20;
/// What one step may send at most.
const MANY: usize = 17;
/// A card that asks nothing for so long has nothing to do, in a step that lets it move.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000 };
/// How long a reset takes, and a little.
const RESET: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// A client that was asked so often goes.
const MAX_ASKED: usize = 2000;
/// A server that says nothing for so long hangs. It waits 2 s itself for answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// The header's size, and what a DMA message has before its data.
const HEADER: usize = 16;
const ACCESS: usize = 16;
/// The id of the messages that are not the input's.
const FENCE: u16 = 0xeeee;

/// A served card, the far end of its wire, and what clients share.
struct Bench {
    server: Server,
    far: peer::Peer,
    event: OwnedFd,
    file: OwnedFd,
}

thread_local! {
    /// Most input leaves the server as it was; to bind a socket for each would cost more than to serve it.
    static BENCHES: [RefCell<Option<Bench>>; 2] = const { [RefCell::new(None), RefCell::new(None)] };
}

impl Bench {
    fn new(virtio: bool) -> Self {
        let unique = format!("barewire-bytes-{}-{:?}-{virtio}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(unique);
        let model: Box<dyn Model> = match virtio {
            true => Box::new(VirtioNet::new(VirtioNetOptions::default())),
            false => Box::new(Ixgbe::new(IxgbeOptions::new().link_up_us(0))),
        };
        let (near, far) = peer::pair(4);
        let server = Server::bind(&path, model, Box::new(near)).expect("a socket in the folder for temporary files");
        // The listener stays; the name is needed no more.
        let _ = std::fs::remove_file(&path);
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        let file = memfd_create("input", MemfdFlags::CLOEXEC).expect("a memfd");
        Self { server, far, event, file }
    }
}

/// Writes that a client makes to its memory, and how it answers the card's.
struct Answers {
    memory: Vec<u8>,
    /// The data begin 4 bytes earlier, as in QEMU before 11.1.
    early: bool,
    /// Some replies are cut short.
    short: bool,
    /// Some are errors.
    refuses: bool,
    asked: usize,
}

impl Answers {
    fn new(how: u8) -> Self {
        Self { memory: vec![0; MEMORY_BYTES], early: how & 4 != 0, short: how & 8 != 0, refuses: how & 16 != 0, asked: 0 }
    }

    /// The reply to a DMA message: flags, error, payload.
    fn reply(&mut self, command: u16, body: &[u8]) -> (u32, u32, Vec<u8>) {
        self.asked += 1;
        let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let (address, count) = (word(0) as usize, if self.early { word(8) as u32 as usize } else { word(8) as usize });
        let data = if self.early { ACCESS - 4 } else { ACCESS };
        if count > body.len().max(1 << 20) || command == 12 && count > body.len() - ACCESS {
            return (0x21, 7, Vec::new());
        }
        let mut reply = body[..data].to_vec();
        for at in 0..count {
            let byte = &mut self.memory[(address + at) % MEMORY_BYTES];
            match command {
                11 => reply.push(*byte),
                _ => *byte = body[data + at],
            }
        }
        reply.resize(ACCESS + if command == 11 { count } else { 0 }, 0);
        if self.short && self.asked.is_multiple_of(7) {
            reply.truncate(self.asked % 29);
        }
        if self.refuses && self.asked.is_multiple_of(5) { (0x21, 14, Vec::new()) } else { (1, 0, reply) }
    }
}

/// A message with an id.
fn message_of(id: u16, command: u16, flags: u32, error: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = id.to_le_bytes().to_vec();
    message.extend(command.to_le_bytes());
    for word in [(HEADER + payload.len()) as u32, flags, error] {
        message.extend(word.to_le_bytes());
    }
    message.extend_from_slice(payload);
    message
}

pub fn message(command: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
    message_of(1, command, flags, 0, payload)
}

pub fn version() -> Vec<u8> {
    message(1, 0, b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":8}}\0")
}

/// DEVICE_GET_INFO.
fn info(id: u16) -> Vec<u8> {
    message_of(id, 4, 0, 0, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// What a client does next.
enum Step {
    Send { descriptors: usize, eventfds: bool, bytes: Vec<u8> },
    Change { at: usize, bytes: Vec<u8> },
    Move { long: bool },
}

/// The first step of the input, and what comes behind it.
fn step(input: &[u8]) -> Option<(Step, &[u8])> {
    let (&kind, input) = input.split_first()?;
    if kind & 32 != 0 {
        let [low, high, len, rest @ ..] = input else { return None };
        let (bytes, rest) = rest.split_at_checked((*len).into())?;
        return Some((Step::Change { at: u16::from_le_bytes([*low, *high]).into(), bytes: bytes.to_vec() }, rest));
    }
    if kind & 16 != 0 {
        return Some((Step::Move { long: kind & 64 != 0 }, input));
    }
    let (bytes, rest) = if kind & 8 != 0 {
        let [command, flags, len, rest @ ..] = input else { return None };
        let (payload, rest) = rest.split_at_checked((*len).into())?;
        (message((*command).into(), (*flags).into(), payload), rest)
    } else {
        let (&len, rest) = input.split_first()?;
        let (bytes, rest) = rest.split_at_checked(len.into())?;
        (bytes.to_vec(), rest)
    };
    Some((Step::Send { descriptors: [0, 1, 2, MANY][usize::from(kind & 3)], eventfds: kind & 4 != 0, bytes }, rest))
}

/// A step with a header made here, as input.
pub fn encoded(descriptors: u8, eventfds: bool, command: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).expect("a step's payload is short");
    [&[8 | descriptors | u8::from(eventfds) << 2, command, flags, len], payload].concat()
}

/// A step that changes the client's memory, as input.
pub fn changed(at: u16, bytes: &[u8]) -> Vec<u8> {
    let [low, high] = at.to_le_bytes();
    [&[32, low, high, u8::try_from(bytes.len()).expect("a step's bytes are few")], bytes].concat()
}

/// A step in which the card moves, as input.
pub fn moved(long: bool) -> Vec<u8> {
    vec![16 | u8::from(long) << 6]
}

/// One end of a connection, and what was sent and received at it.
struct Client<'a> {
    stream: UnixStream,
    event: &'a OwnedFd,
    file: &'a OwnedFd,
    answers: Answers,
    sent: Vec<u8>,
}

impl Client<'_> {
    /// Does what `input` says, then goes, and tells how often it was asked for memory. Panics where the server breaks the protocol, or hangs.
    fn run(mut self, input: &[u8]) -> usize {
        self.follow(input);
        self.answers.asked
    }

    fn follow(&mut self, input: &[u8]) {
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let Some((&first, mut rest)) = input.split_first() else { return };
        if first & 1 != 0 {
            self.send(&version(), &[]);
        }
        while let Some((step, behind)) = step(rest) {
            rest = behind;
            match step {
                Step::Send { descriptors, eventfds, bytes } => {
                    let descriptor = if eventfds { self.event } else { self.file };
                    self.send(&bytes, &vec![descriptor.as_fd(); descriptors]);
                }
                Step::Change { at, bytes } => {
                    rustix::io::pwrite(self.file, &bytes, at as u64).expect("the file is in memory");
                    bytes.iter().enumerate().for_each(|(i, &byte)| self.answers.memory[(at + i) % MEMORY_BYTES] = byte);
                }
                Step::Move { long } if !self.let_move(if long { RESET } else { QUIET }) => return,
                Step::Move { .. } => {}
            }
        }
        if self.let_move(QUIET) {
            self.stream.shutdown(Shutdown::Write).expect("the far end is open");
            while self.receive().is_some() {}
        }
    }

    /// Sends as much as the server takes: it may have closed the connection.
    fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MANY))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        if !bytes.is_empty() && sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) == Ok(bytes.len()) {
            self.sent.extend_from_slice(bytes);
        }
    }

    /// Whether what was sent are whole messages, as far as can be seen: only then the server answers what comes next.
    fn is_between_messages(&self) -> bool {
        let mut rest = &self.sent[..];
        while let [_, _, _, _, a, b, c, d, ..] = *rest {
            match rest.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize) {
                Some((message, behind)) if message.len() >= HEADER => rest = behind,
                _ => return false,
            }
        }
        rest.is_empty()
    }

    /// Answers the card while it moves, until it has asked nothing for so long. `false`: the connection is over.
    fn let_move(&mut self, quiet: Timespec) -> bool {
        if !self.is_between_messages() {
            // What the server waits for does not come.
            return true;
        }
        // What was sent before is done when this is answered; the card moves after it.
        self.send(&info(FENCE), &[]);
        loop {
            match self.receive() {
                None => return false,
                Some(FENCE) => break,
                Some(_) => {}
            }
        }
        // A client that wants something would end the card's step: this one wants nothing.
        while poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&quiet)) != Ok(0) {
            if self.receive().is_none() {
                return false;
            }
        }
        true
    }

    /// Receives a message, and answers it where it asks for memory. Its id, if it is a reply; 0 else; `None`: the connection is over.
    fn receive(&mut self) -> Option<u16> {
        let mut header = [0; HEADER];
        let first = match self.stream.read(&mut header) {
            Ok(0) => return None,
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return None,
            Err(error) => {
                // A server that hangs never gives this thread's panic back.
                eprintln!("the server neither answers nor closes the connection: {error}");
                std::process::abort();
            }
        };
        self.stream.read_exact(&mut header[first..]).expect("a whole header");
        let [id, command] = [0, 2].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
        let [size, flags] = [4, 8].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes")));
        assert!(size as usize >= HEADER && flags & !0x21 == 0, "what the server sends are messages: {header:x?}");
        let mut body = vec![0; size as usize - HEADER];
        self.stream.read_exact(&mut body).expect("a whole message");
        if flags & 1 != 0 {
            return Some(id);
        }
        assert!(matches!(command, 11 | 12) && body.len() >= ACCESS && flags == 0, "what the server asks for is memory: {header:x?}");
        let (flags, error, reply) = self.answers.reply(command, &body);
        let _ = self.stream.write_all(&message_of(id, command, flags, error, &reply));
        if self.answers.asked > MAX_ASKED {
            let _ = self.stream.shutdown(Shutdown::Both);
            return None;
        }
        Some(0)
    }
}

/// How far an input came.
#[derive(Debug)]
pub struct Reached {
    /// DMA messages of the card.
    pub asked: usize,
    /// Frames that the card sent.
    pub sent: usize,
}

/// Serves a client that does what `input` says, then one that makes no mistake.
pub fn serve_bytes(input: &[u8]) -> Reached {
    let input = &input[..input.len().min(MAX_INPUT)];
    let how = input.first().copied().unwrap_or(0);
    let virtio = how & 2 != 0;
    BENCHES.with(|benches| {
        let mut bench = benches[usize::from(virtio)].borrow_mut();
        let Bench { server, far, event, file } = bench.get_or_insert_with(|| Bench::new(virtio));
        // What the last input left is gone: the card's frames, and the file's bytes.
        ftruncate(&*file, 0).and_then(|()| ftruncate(&*file, FILE_BYTES)).expect("a sparse file");
        frames_at(far);
        far.send(&[&[0xff; 6], &input[..input.len().min(1000)], &[0; 54]].concat());
        let asked = serve(server, |stream| Client { stream, event, file, answers: Answers::new(how), sent: Vec::new() }.run(input));
        let sent = frames_at(far);
        let replies = serve(server, |mut stream| {
            stream.write_all(&[version(), info(1)].concat()).expect("a server that listens");
            stream.shutdown(Shutdown::Write).expect("the far end is open");
            let mut replies = Vec::new();
            stream.read_to_end(&mut replies).expect("a server that answers");
            replies
        });
        let info = &replies[replies.len().saturating_sub(32)..];
        assert_eq!(info.get(8..), Some(&[1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0][..]), "the next client is served");
        Reached { asked, sent }
    })
}

/// How many frames lie at the far end; then none.
fn frames_at(far: &mut peer::Peer) -> usize {
    let mut frame = Vec::new();
    std::iter::from_fn(|| far.receive(&mut frame).then_some(())).count()
}

/// Serves what `client` does with the other end of a connection, and returns what it found.
fn serve<R: Send>(server: &mut Server, client: impl FnOnce(UnixStream) -> R + Send) -> R {
    let (near, far) = UnixStream::pair().expect("a pair of sockets");
    std::thread::scope(|scope| {
        let client = scope.spawn(move || client(far));
        server.serve(near);
        client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
