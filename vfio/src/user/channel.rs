//! Whole messages over one socket of a connection.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::cause::ServerCause;
use super::socket;
use super::wire::{self, Command, HEADER_BYTES, Header};

/// One received message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: Header,
    /// What follows the header.
    pub(super) body: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Message {
    /// The structure at the start of the body, and the rest.
    pub(super) fn read<T: FromBytes>(&self, command: Command) -> Result<(T, &[u8]), ServerCause> {
        let short = |_| ServerCause::Gone { how: format!("its reply to {} is too short", command.name()) };
        T::read_from_prefix(&self.body).map_err(short)
    }

    /// Itself, as a reply that is no refusal.
    pub(super) fn granted(self, command: Command) -> Result<Self, ServerCause> {
        if self.header.flags.get() & wire::ERROR != 0 {
            return Err(ServerCause::Refused { command: command.name(), errno: self.header.error.get() as i32 });
        }
        Ok(self)
    }

    /// Length in bytes, header included.
    pub(super) fn len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    /// The server closed it.
    Closed,
    /// What came makes no sense.
    Nonsense(String),
    /// A reply did not come in time.
    Silent(&'static str),
    /// The socket failed.
    Failed(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed the connection"),
            Self::Nonsense(what) => write!(f, "it sent what makes no sense ({what}), and the connection was closed"),
            Self::Silent(command) => write!(f, "it did not answer {command} in time, and the connection was closed"),
            Self::Failed(why) => write!(f, "the connection failed: {why}"),
        }
    }
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            io::ErrorKind::InvalidData => Self::Nonsense(error.to_string()),
            // The one reply that is waited for at the socket itself.
            io::ErrorKind::TimedOut => Self::Silent(Command::Version.name()),
            io::ErrorKind::WouldBlock => Self::Failed("it did not take a message in time".into()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<Loss> for ServerCause {
    fn from(loss: Loss) -> Self {
        Self::Gone { how: loss.to_string() }
    }
}

/// What a message is, apart from its body.
pub(super) struct Head {
    pub(super) id: u16,
    pub(super) command: u16,
    pub(super) flags: u32,
    pub(super) error: u32,
}

/// A socket on which messages go both ways.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    /// Taken while a message is written, so that messages do not mix.
    turn: Turn,
}

/// A lock that is not waited for beyond a moment.
#[derive(Debug, Default)]
struct Turn {
    is_taken: Mutex<bool>,
    freed: Condvar,
}

/// Whoever has the turn.
struct Taken<'a>(&'a Turn);

impl Turn {
    /// `None`: another one had it until then.
    fn take(&self, until: Instant) -> Option<Taken<'_>> {
        let mut is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_taken {
            let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            is_taken = self.freed.wait_timeout(is_taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_taken = true;
        Some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        // One that the server made may have been made not to block.
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(Self { socket, turn: Turn::default() })
    }

    /// Sends a message. `until`: when it is given up, whether the socket has no room or another thread's message is on its way.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where it is given up.
    pub(super) fn send(&self, head: &Head, body: &[u8], fds: &[BorrowedFd<'_>], until: Instant) -> io::Result<()> {
        let size = HEADER_BYTES + body.len();
        let (id, command) = (U16::new(head.id), U16::new(head.command));
        let header = Header { id, command, size: U32::new(size as u32), flags: U32::new(head.flags), error: U32::new(head.error) };
        // Register accesses are short and many: they need no heap.
        let mut short = [0; 64];
        let long;
        let message = if let Some(message) = short.get_mut(..size) {
            message[..HEADER_BYTES].copy_from_slice(header.as_bytes());
            message[HEADER_BYTES..].copy_from_slice(body);
            &*message
        } else {
            long = [header.as_bytes(), body].concat();
            &long
        };
        let _turn = self.turn.take(until).ok_or(io::ErrorKind::WouldBlock)?;
        socket::send(&self.socket, message, fds, until)
    }

    /// The next message, waited for until then (`None`: until the channel is shut down).
    pub(super) fn receive(&self, until: Option<Instant>) -> Result<Message, Loss> {
        let mut fds = Vec::new();
        let mut header = [0; HEADER_BYTES];
        socket::receive(&self.socket, &mut header, &mut fds, until)?;
        let header: Header = zerocopy::transmute!(header);
        let size = header.size.get() as usize;
        if !(HEADER_BYTES..=wire::MAX_MESSAGE_BYTES).contains(&size) {
            return Err(Loss::Nonsense(format!("a message of {size} bytes")));
        }
        let mut body = vec![0; size - HEADER_BYTES];
        socket::receive(&self.socket, &mut body, &mut fds, until)?;
        Ok(Message { header, body, fds })
    }

    /// How many bytes have come that were not received yet.
    pub(super) fn unread_bytes(&self) -> io::Result<usize> {
        Ok(rustix::io::ioctl_fionread(&self.socket)? as usize)
    }

    /// Ends it for both sides: who waits for a message or for room wakes up.
    pub(super) fn shut_down(&self, name: &str) {
        if let Err(error) = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both) {
            log::debug!("{name}: shutting the connection down: {error}");
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
