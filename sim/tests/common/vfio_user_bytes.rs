//! Any bytes, as what a client sends: the entry point of the fuzz target and of the tests with random input.
//!
//! Input is a list of steps. A step's first byte says what comes: bits 0-1 how many descriptors (3: seventeen), bit 2 whether they are eventfds or files,
//! bit 3 whether the message's header is made here. With a header made here: command, flags, a byte of length, payload. Without: a byte of length,
//! bytes as they are. Before the first step the version is agreed on where the input's first byte is odd.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sim::ixgbe::{Ixgbe, IxgbeOptions};
use sim::vfio_user::Server;
use sim::wire::peer;

/// Longer input is cut: all of it must fit into a socket's buffer.
const MAX_INPUT: usize = 16 * 1024;
const FILE_BYTES: u64 = 1 << 20;
/// What one step may send at most.
const MANY: usize = 17;

thread_local! {
    /// Most input leaves the server as it was; to bind a socket for each would cost more than to serve it.
    static SERVER: RefCell<Option<(Server, OwnedFd, OwnedFd)>> = const { RefCell::new(None) };
}

fn with_server(f: impl FnOnce(&mut Server, &OwnedFd, &OwnedFd)) {
    SERVER.with_borrow_mut(|server| {
        let (server, event, file) = server.get_or_insert_with(|| {
            let unique = format!("barewire-bytes-{}-{:?}", std::process::id(), std::thread::current().id());
            let path = std::env::temp_dir().join(unique);
            let model = Box::new(Ixgbe::new(IxgbeOptions::default()));
            let server = Server::bind(&path, model, Box::new(peer::pair(4).0)).expect("a socket in the folder for temporary files");
            // The listener stays; the name is needed no more.
            let _ = std::fs::remove_file(&path);
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
            let file = memfd_create("input", MemfdFlags::CLOEXEC).expect("a memfd");
            ftruncate(&file, FILE_BYTES).expect("a sparse file");
            (server, event, file)
        });
        f(server, event, file);
    });
}

pub fn message(command: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 0];
    message.extend(command.to_le_bytes());
    message.extend((16 + payload.len() as u32).to_le_bytes());
    message.extend(flags.to_le_bytes());
    message.extend(0u32.to_le_bytes());
    message.extend_from_slice(payload);
    message
}

pub fn version() -> Vec<u8> {
    message(1, 0, b"\0\0\0\0{\"capabilities\":{\"max_msg_fds\":8}}\0")
}

/// What a step sends.
pub struct Step<'a> {
    descriptors: usize,
    eventfds: bool,
    bytes: Vec<u8>,
    rest: &'a [u8],
}

/// The first step of the input.
fn step(input: &[u8]) -> Option<Step<'_>> {
    let (&kind, input) = input.split_first()?;
    let descriptors = [0, 1, 2, MANY][usize::from(kind & 3)];
    let (bytes, rest) = if kind & 8 != 0 {
        let [command, flags, len, rest @ ..] = input else { return None };
        let (payload, rest) = rest.split_at_checked((*len).into())?;
        (message((*command).into(), (*flags).into(), payload), rest)
    } else {
        let (&len, rest) = input.split_first()?;
        let (bytes, rest) = rest.split_at_checked(len.into())?;
        (bytes.to_vec(), rest)
    };
    Some(Step { descriptors, eventfds: kind & 4 != 0, bytes, rest })
}

/// A step with a header made here, as input.
pub fn encoded(descriptors: u8, eventfds: bool, command: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).expect("a step's payload is short");
    [&[8 | descriptors | u8::from(eventfds) << 2, command, flags, len], payload].concat()
}

fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MANY))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    if !bytes.is_empty() {
        let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()), "the input fits into the socket");
    }
}

/// Serves a client that sends what `fill` writes and then goes. Returns what it got.
fn serve(server: &mut Server, fill: impl FnOnce(&UnixStream)) -> Vec<u8> {
    let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
    fill(&far);
    far.shutdown(Shutdown::Write).expect("the far end is open");
    let reader = std::thread::spawn(move || {
        let mut replies = Vec::new();
        let _ = far.read_to_end(&mut replies);
        replies
    });
    server.serve(near);
    reader.join().expect("reading does not panic")
}

/// Serves a client that sends what `input` says, then one that makes no mistake.
pub fn serve_bytes(input: &[u8]) {
    let input = &input[..input.len().min(MAX_INPUT)];
    with_server(|server, event, file| {
        let replies = serve(server, |far| {
            let Some((&first, mut rest)) = input.split_first() else { return };
            if first & 1 != 0 {
                send(far, &version(), &[]);
            }
            while let Some(step) = step(rest) {
                let descriptor = if step.eventfds { event } else { file };
                send(far, &step.bytes, &vec![descriptor.as_fd(); step.descriptors]);
                rest = step.rest;
            }
        });
        assert!(whole_messages(&replies), "what the server sends are whole messages: {replies:x?}");
        let replies = serve(server, |far| {
            let info = message(4, 0, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            send(far, &[version(), info].concat(), &[]);
        });
        let info = &replies[replies.len().saturating_sub(32)..];
        assert_eq!(info.get(8..), Some(&[1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0][..]), "the next client is served");
    });
}

fn whole_messages(mut replies: &[u8]) -> bool {
    while let Some(size) = replies.get(4..8) {
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
        match replies.split_at_checked(size) {
            Some((_, rest)) if size >= 16 => replies = rest,
            _ => return false,
        }
    }
    replies.is_empty()
}
