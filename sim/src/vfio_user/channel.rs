//! A client's connection: whole messages with their descriptors, in and out.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg};
use zerocopy::{FromBytes, IntoBytes};

use super::proto::{HEADER_BYTES, Header, MAX_DESCRIPTORS, MAX_MESSAGE_BYTES, command};
use super::stopper::Stopper;

/// How long a client may leave a full socket unread.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Closed {
    /// The client closed it between two messages.
    ByClient,
    /// The server is stopped, and does not wait for its client any more.
    ByServer,
    /// It broke, in the system's words.
    Broken(io::Error),
    /// The client broke the protocol so that the next message cannot be found, or trusted.
    Protocol(String),
}

/// A whole message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
    /// More descriptors came along than a message may carry; the surplus is closed.
    pub(super) lost_descriptors: bool,
}

impl Message {
    /// Whether descriptors may come with it.
    pub(super) fn takes_descriptors(&self) -> bool {
        matches!(self.header.command.get(), command::DMA_MAP | command::DEVICE_SET_IRQS)
    }
}

/// The message that is arriving.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    lost_descriptors: bool,
}

/// A connection. Messages come in through [`Channel::receive`], which never takes bytes of the next message: its descriptors would come with them.
pub(super) struct Channel {
    stream: UnixStream,
    partial: Partial,
    /// Messages that arrived while a reply was waited for, and how much they carry.
    deferred: VecDeque<Message>,
    deferred_bytes: usize,
    deferred_descriptors: usize,
    stopper: Stopper,
}

impl Channel {
    /// # Errors
    /// The system refuses.
    pub(super) fn new(stream: UnixStream, stopper: Stopper) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, partial: Partial::default(), deferred: VecDeque::new(), deferred_bytes: 0, deferred_descriptors: 0, stopper })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Keeps a message for a later [`Channel::receive`].
    pub(super) fn defer(&mut self, mut message: Message) {
        if !message.takes_descriptors() {
            // It will be refused for them; they need not be kept.
            message.lost_descriptors |= !message.descriptors.is_empty();
            message.descriptors.clear();
        }
        self.deferred_bytes += message.payload.len();
        self.deferred_descriptors += message.descriptors.len();
        self.deferred.push_back(message);
    }

    /// How many messages are kept.
    pub(super) fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// How many bytes and how many descriptors they carry.
    pub(super) fn deferred_load(&self) -> (usize, usize) {
        (self.deferred_bytes, self.deferred_descriptors)
    }

    /// The next message, if all of it is there.
    pub(super) fn receive(&mut self) -> Result<Option<Message>, Closed> {
        match self.deferred.pop_front() {
            Some(message) => {
                self.deferred_bytes -= message.payload.len();
                self.deferred_descriptors -= message.descriptors.len();
                Ok(Some(message))
            }
            None => self.receive_new(),
        }
    }

    /// The next message of the socket, if all of it is there.
    pub(super) fn receive_new(&mut self) -> Result<Option<Message>, Closed> {
        loop {
            let have = self.partial.bytes.len();
            let wanted = match self.header() {
                None => HEADER_BYTES - have,
                Some(header) => {
                    let size = header.size.get() as usize;
                    if !(HEADER_BYTES..=MAX_MESSAGE_BYTES).contains(&size) {
                        return Err(Closed::Protocol(format!(
                            "a message of {size} bytes (command {}): there are messages of {HEADER_BYTES} to {MAX_MESSAGE_BYTES}",
                            header.command
                        )));
                    }
                    if have == size {
                        return Ok(Some(self.complete(header)));
                    }
                    size - have
                }
            };
            if !self.fill(wanted)? {
                return Ok(None);
            }
        }
    }

    fn header(&self) -> Option<Header> {
        Header::read_from_prefix(&self.partial.bytes).ok().map(|(header, _)| header)
    }

    fn complete(&mut self, header: Header) -> Message {
        let Partial { mut bytes, descriptors, lost_descriptors } = std::mem::take(&mut self.partial);
        bytes.drain(..HEADER_BYTES);
        Message { header, payload: bytes, descriptors, lost_descriptors }
    }

    /// Receives at most `wanted` bytes and the descriptors that come with them. `false`: nothing is there.
    fn fill(&mut self, wanted: usize) -> Result<bool, Closed> {
        let Partial { bytes, descriptors, lost_descriptors } = &mut self.partial;
        let have = bytes.len();
        bytes.resize(have + wanted, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut bytes[have..])], &mut ancillary, flags);
        bytes.truncate(have + received.as_ref().map_or(0, |received| received.bytes));
        let received = match received {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(errno) => return Err(Closed::Broken(errno.into())),
            Ok(received) => received,
        };
        *lost_descriptors |= received.flags.contains(ReturnFlags::CTRUNC);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if descriptors.len() > MAX_DESCRIPTORS {
            *lost_descriptors = true;
            descriptors.truncate(MAX_DESCRIPTORS);
        }
        match received.bytes {
            0 if have == 0 => Err(Closed::ByClient),
            0 => Err(Closed::Protocol(format!("the connection ended {have} bytes into a message"))),
            _ => Ok(true),
        }
    }

    /// Sends a message: `header`, whose size is set here, and `parts`.
    pub(super) fn send(&mut self, mut header: Header, parts: &[&[u8]]) -> Result<(), Closed> {
        let size = HEADER_BYTES + parts.iter().map(|part| part.len()).sum::<usize>();
        header.size.set(size as u32);
        let mut message = Vec::with_capacity(size);
        message.extend_from_slice(header.as_bytes());
        parts.iter().for_each(|part| message.extend_from_slice(part));
        let (mut sent, deadline) = (0, Instant::now() + SEND_PATIENCE);
        while sent < size {
            let rest = [IoSlice::new(&message[sent..])];
            match sendmsg(&self.stream, &rest, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(bytes) => sent += bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.wait(PollFlags::OUT, deadline)? {
                        return Err(Closed::Protocol(format!("the client left its socket unread for {} s", SEND_PATIENCE.as_secs())));
                    }
                }
                Err(errno) => return Err(Closed::Broken(errno.into())),
            }
        }
        Ok(())
    }

    /// Sleeps until the socket is ready. `false`: it is not by the deadline.
    ///
    /// # Errors
    /// [`Closed::ByServer`]
    pub(super) fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<bool, Closed> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.stream, flags), PollFd::from_borrowed_fd(self.stopper.fd(), PollFlags::IN)];
        // An interrupted poll looks like a ready socket, and the caller tries once more.
        let is_ready = poll(&mut fds, Some(&timeout)) != Ok(0);
        if self.stopper.is_stopped() { Err(Closed::ByServer) } else { Ok(is_ready) }
    }
}
