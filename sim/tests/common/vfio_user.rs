//! A vfio-user client of a few lines: messages as bytes, so that a test can send wrong ones too.
#![allow(dead_code, unreachable_pub)]

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sim::Model;
use sim::vfio_user::{Cable, Server, Stopper};
use sim::wire::Wire;

pub const EINVAL: u32 = 22;
pub const NO_REPLY: u32 = 0x10;

/// A server on a thread of its own; stopped and looked at in the end.
pub struct Served {
    pub path: PathBuf,
    pub cable: Cable,
    stopper: Stopper,
    thread: Option<JoinHandle<Server>>,
}

impl Served {
    pub fn new(test: &str, model: Box<dyn Model>, wire: Box<dyn Wire>) -> Self {
        let path = std::env::temp_dir().join(format!("barewire-vfio-user-{}-{test}", std::process::id()));
        let mut server = Server::bind(&path, model, wire).unwrap();
        let (stopper, cable) = (server.stopper(), server.cable());
        let thread = std::thread::spawn(move || {
            server.run().unwrap();
            server
        });
        Self { path, cable, stopper, thread: Some(thread) }
    }

    /// Stops the server: violations, and how many clients it had.
    pub fn stop(mut self) -> (Vec<String>, u64) {
        self.stopper.stop();
        let server = self.thread.take().unwrap().join().expect("the server does not panic");
        let violations = server.violations().to_vec().iter().map(ToString::to_string).collect();
        (violations, server.clients())
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.path)
    }

    /// A client that has agreed on a version as QEMU does.
    pub fn agreed(&self) -> Client {
        let mut client = self.client();
        client.agree(0);
        client
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        assert!(!self.path.exists(), "the socket is removed");
    }
}

pub struct Message {
    pub id: u16,
    pub command: u16,
    pub flags: u32,
    pub error: u32,
    pub payload: Vec<u8>,
}

impl Message {
    /// The payload of a reply that is no error.
    #[track_caller]
    pub fn good(self) -> Vec<u8> {
        assert_eq!((self.flags, self.error), (1, 0), "command {}", self.command);
        self.payload
    }

    /// The error of a reply that is one: nothing but a header.
    #[track_caller]
    pub fn error(self) -> u32 {
        assert_eq!((self.flags, self.payload.len()), (0x21, 0), "command {}", self.command);
        self.error
    }
}

/// How a client answers DMA messages: the protocol's way, or with the data 4 bytes earlier as QEMU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
    AsTheProtocol,
    AsQemu,
    WithErrors,
    Never,
}

pub struct Client {
    pub stream: UnixStream,
    next_id: u16,
    /// Memory that is read and written by message; its first byte lies at `memory_at`.
    pub memory: Vec<u8>,
    pub memory_at: u64,
    pub answers: Answers,
    /// DMA messages answered.
    pub asked: usize,
}

pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * index..4 * index + 4].try_into().unwrap())
}

pub fn message_bytes(id: u16, command: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = [id.to_le_bytes(), command.to_le_bytes()].concat();
    message.extend(words(&[16 + payload.len() as u32, flags, 0]));
    message.extend_from_slice(payload);
    message
}

pub fn dma_map(flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[32, flags]);
    [offset, address, size].iter().for_each(|value| payload.extend(value.to_le_bytes()));
    payload
}

pub fn dma_unmap(flags: u32, address: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[24, flags]);
    [address, size].iter().for_each(|value| payload.extend(value.to_le_bytes()));
    payload
}

pub fn access(region: u32, offset: u64, count: u32, data: &[u8]) -> Vec<u8> {
    let mut payload = offset.to_le_bytes().to_vec();
    payload.extend(words(&[region, count]));
    payload.extend_from_slice(data);
    payload
}

pub fn memfd(bytes: u64) -> OwnedFd {
    let fd = memfd_create("client", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, bytes).unwrap();
    fd
}

pub fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// How often an eventfd was signalled since it was looked at last.
pub fn fired(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    if rustix::io::read(event, &mut count) == Ok(8) { u64::from_ne_bytes(count) } else { 0 }
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).unwrap())
    }

    pub fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream, next_id: 1, memory: Vec::new(), memory_at: 0, answers: Answers::AsTheProtocol, asked: 0 }
    }

    pub fn agree(&mut self, minor: u16) -> serde_json::Value {
        let capabilities = br#"{"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1048576, "pgsizes": 4096, "max_dma_maps": 65535}}"#;
        let payload = [&[0, 0], &minor.to_le_bytes()[..], capabilities, &[0]].concat();
        let reply = self.ask(1, &payload).good();
        assert_eq!(reply[..4], [&[0, 0], &minor.min(1).to_le_bytes()[..]].concat());
        let (zero, text) = reply[4..].split_last().unwrap();
        assert_eq!(*zero, 0);
        serde_json::from_slice(text).unwrap()
    }

    pub fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        assert_eq!(sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).unwrap(), bytes.len());
    }

    pub fn command(&mut self, command: u16, flags: u32, payload: &[u8], descriptors: &[&OwnedFd]) -> u16 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        self.send(&message_bytes(id, command, flags, payload), &descriptors);
        id
    }

    pub fn receive(&mut self) -> Option<Message> {
        let mut header = [0; 16];
        self.stream.read_exact(&mut header).ok()?;
        let mut payload = vec![0; word(&header, 1) as usize - 16];
        self.stream.read_exact(&mut payload).ok()?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        Some(Message { id: half(0), command: half(2), flags: word(&header, 2), error: word(&header, 3), payload })
    }

    pub fn reply(&mut self, id: u16, command: u16) -> Message {
        loop {
            let message = self.receive().expect("a reply");
            if message.flags & 0xf == 0 {
                self.answer(&message);
            } else {
                assert_eq!((message.id, message.command), (id, command));
                return message;
            }
        }
    }

    /// Answers a DMA message.
    pub fn answer(&mut self, message: &Message) {
        self.asked += 1;
        let whole = |at: usize| u64::from_le_bytes(message.payload[at..at + 8].try_into().unwrap());
        let (address, count) = (whole(0), whole(8) as u32 as usize);
        let at = (address - self.memory_at) as usize;
        let data_at = if self.answers == Answers::AsQemu { 12 } else { 16 };
        // Data that begin early are a length to whoever looks for them later: E2BIG.
        if data_at == 16 && whole(8) >> 32 != 0 {
            let mut refusal = message_bytes(message.id, message.command, 0x21, &[]);
            refusal[12] = 7;
            let _ = self.stream.write_all(&refusal);
            return;
        }
        let mut reply = message.payload[..data_at].to_vec();
        if message.command == 11 {
            assert_eq!(message.payload.len(), 16);
            reply.extend_from_slice(&self.memory[at..at + count]);
            reply.resize(16 + count, 0);
        } else {
            assert_eq!((message.command, message.payload.len()), (12, 16 + count));
            self.memory[at..at + count].copy_from_slice(&message.payload[data_at..data_at + count]);
        }
        let (flags, reply) = match self.answers {
            Answers::Never => return,
            Answers::WithErrors => (0x21, Vec::new()),
            _ => (1, reply),
        };
        // The server may have closed the connection meanwhile.
        let _ = self.stream.write_all(&message_bytes(message.id, message.command, flags, &reply));
    }

    /// Answers DMA messages while there are any, and a little longer.
    pub fn answer_all(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        while let Some(message) = self.receive() {
            self.answer(&message);
        }
        self.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }

    /// Lets the card move on, on however slow a machine: it does at the latest after 64 commands.
    pub fn let_the_card_move(&mut self) {
        for _ in 0..200 {
            self.read(7, 0, 2);
        }
    }

    pub fn ask_with(&mut self, command: u16, payload: &[u8], descriptors: &[&OwnedFd]) -> Message {
        let id = self.command(command, 0, payload, descriptors);
        self.reply(id, command)
    }

    pub fn ask(&mut self, command: u16, payload: &[u8]) -> Message {
        self.ask_with(command, payload, &[])
    }

    pub fn read(&mut self, region: u32, offset: u64, count: u32) -> Vec<u8> {
        let reply = self.ask(9, &access(region, offset, count, &[])).good();
        assert_eq!(reply[..16], access(region, offset, count, &[]));
        reply[16..].to_vec()
    }

    pub fn read32(&mut self, region: u32, offset: u64) -> u32 {
        word(&self.read(region, offset, 4), 0)
    }

    pub fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        let reply = self.ask(10, &access(region, offset, data.len() as u32, data)).good();
        assert_eq!(reply, access(region, offset, data.len() as u32, &[]));
    }

    pub fn write32(&mut self, region: u32, offset: u64, value: u32) {
        self.write(region, offset, &value.to_le_bytes());
    }

    /// A posted write.
    pub fn post32(&mut self, region: u32, offset: u64, value: u32) {
        self.command(10, NO_REPLY, &access(region, offset, 4, &value.to_le_bytes()), &[]);
    }

    pub fn set_irqs(&mut self, flags: u32, index: u32, start: u32, count: u32, data: &[u8], descriptors: &[&OwnedFd]) -> Message {
        let payload = [words(&[20 + data.len() as u32, flags, index, start, count]), data.to_vec()].concat();
        self.ask_with(8, &payload, descriptors)
    }

    /// Whether the server closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }
}
