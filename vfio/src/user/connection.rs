//! One connection to a server: commands with their replies, posted commands, and the server's own requests, answered as they come.
//!
//! A thread of its own receives. So a device reaches memory by messages while this program computes, and a server that ends is seen at once. Commands
//! may be sent from any thread; the server takes them in the order in which they were sent.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use super::cause::ServerCause;
use super::memory::Space;
use super::socket;
use super::wire::{self, Capabilities, Command, DmaAccess, HEADER_BYTES, Header, Version};
use crate::irq::Events;

/// One received message.
#[derive(Debug)]
pub(super) struct Message {
    header: Header,
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
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
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
            io::ErrorKind::WouldBlock => Self::Failed("it takes no more messages".into()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// The id of commands that want no reply, and of no other: some servers acknowledge those too.
const POSTED_ID: u16 = 0;

/// Who waits for replies, and whether any can still come.
#[derive(Debug, Default)]
struct Waiting {
    last_id: u16,
    replies: HashMap<u16, SyncSender<Message>>,
    lost: Option<Loss>,
}

impl Waiting {
    /// An id for one more reply. Each waiting thread holds one: there are always free ones.
    fn expect(&mut self, sender: SyncSender<Message>) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != POSTED_ID && !self.replies.contains_key(&self.last_id) {
                self.replies.insert(self.last_id, sender);
                return self.last_id;
            }
        }
    }
}

/// What the callers and the receiving thread share.
#[derive(Debug)]
struct Link {
    name: String,
    socket: OwnedFd,
    /// Held while a message is written, so that messages do not mix.
    writing: Mutex<()>,
    waiting: Mutex<Waiting>,
    closing: AtomicBool,
    events: Events,
    limit: Duration,
}

/// A connection to one server. Dropping it closes it, and ends its thread.
#[derive(Debug)]
pub(crate) struct Connection {
    link: Arc<Link>,
    capabilities: Capabilities,
    receiver: Option<JoinHandle<()>>,
}

impl Connection {
    /// Speaks first on a connected socket. `limit`: how long a reply may take. `space`: the memory that the server may ask for.
    pub(super) fn start(name: String, socket: OwnedFd, limit: Duration, space: Arc<Space>) -> Result<Self, ServerCause> {
        let failed = |error: io::Error| ServerCause::Gone { how: error.to_string() };
        set_socket_timeout(&socket, Timeout::Send, Some(limit)).map_err(|error| failed(error.into()))?;
        let events = Events::of_server(&name).map_err(failed)?;
        let link =
            Arc::new(Link { name, socket, writing: Mutex::default(), waiting: Mutex::default(), closing: AtomicBool::new(false), events, limit });
        let listener = Arc::clone(&link);
        let receiver = std::thread::Builder::new().name("vfio-user".into()).spawn(move || listener.listen(&space)).map_err(failed)?;
        let capabilities = Capabilities { max_msg_fds: 1, pgsizes: 0 };
        let mut connection = Self { link, capabilities, receiver: Some(receiver) };
        connection.capabilities = connection.agree()?;
        Ok(connection)
    }

    /// Agrees on the version of the protocol.
    fn agree(&self) -> Result<Capabilities, ServerCause> {
        let mut body = Version { major: U16::new(wire::MAJOR), minor: U16::new(wire::MINOR) }.as_bytes().to_vec();
        body.extend_from_slice(Capabilities::proposal().as_bytes());
        let reply = self.call(Command::Version, &body, &[]).map_err(|cause| match (cause, self.link.lock().lost.clone()) {
            (_, Some(Loss::Silent(_))) => ServerCause::Silent { limit_ms: self.link.limit.as_millis() as u64 },
            (_, Some(Loss::Nonsense(saw))) => ServerCause::NotVfioUser { saw },
            (_, Some(Loss::Closed)) => ServerCause::NotVfioUser { saw: "it closed the connection on the first message (VERSION)".into() },
            (cause, _) => cause,
        })?;
        let (version, text) = reply.read::<Version>(Command::Version)?;
        if version.major.get() != wire::MAJOR {
            return Err(ServerCause::Version { major: version.major.get(), minor: version.minor.get() });
        }
        Capabilities::read(text).ok_or_else(|| ServerCause::NotVfioUser { saw: "its capabilities are no JSON text".into() })
    }

    /// The spec that names the server.
    pub(crate) fn name(&self) -> &str {
        &self.link.name
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What happens to the server.
    pub(super) fn events(&self) -> &Events {
        &self.link.events
    }

    /// Sends a command and waits for its reply.
    pub(super) fn call(&self, command: Command, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Message, ServerCause> {
        let link = &*self.link;
        let (sender, reply) = sync_channel(1);
        let id = {
            let mut waiting = link.lock();
            if let Some(lost) = &waiting.lost {
                return Err(gone(lost));
            }
            waiting.expect(sender)
        };
        if let Err(error) = link.send(id, command as u16, wire::TYPE_COMMAND, 0, body, fds) {
            link.lose(error.into());
        }
        let message = match reply.recv_timeout(link.limit) {
            Ok(message) => message,
            Err(ended) => {
                if ended == RecvTimeoutError::Timeout {
                    link.lose(Loss::Silent(command.name()));
                }
                return Err(link.lock().lost.as_ref().map_or(ServerCause::Gone { how: "no reply came".into() }, gone));
            }
        };
        let header = &message.header;
        if header.command.get() != command as u16 {
            link.lose(Loss::Nonsense(format!("a reply to command {} where {} was asked", header.command, command.name())));
            return Err(link.lock().lost.as_ref().map_or(ServerCause::NotPci, gone));
        }
        if header.flags.get() & wire::ERROR != 0 {
            return Err(ServerCause::Refused { command: command.name(), errno: header.error.get() as i32 });
        }
        Ok(message)
    }

    /// Sends a command that wants no reply. What becomes of it is not known, as of a posted write on a bus.
    pub(super) fn post(&self, command: Command, body: &[u8]) -> Result<(), ServerCause> {
        if let Some(lost) = &self.link.lock().lost {
            return Err(gone(lost));
        }
        let sent = self.link.send(POSTED_ID, command as u16, wire::TYPE_COMMAND | wire::NO_REPLY, 0, body, &[]);
        sent.map_err(|error| {
            let loss = error.into();
            let cause = gone(&loss);
            self.link.lose(loss);
            cause
        })
    }
}

fn gone(loss: &Loss) -> ServerCause {
    ServerCause::Gone { how: loss.to_string() }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.closing.store(true, Ordering::Relaxed);
        self.link.lose(Loss::Closed);
        if let Some(receiver) = self.receiver.take()
            && receiver.join().is_err()
        {
            log::error!("{}: the receiving thread panicked", self.link.name);
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, id: u16, command: u16, flags: u32, error: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let size = HEADER_BYTES + body.len();
        let header =
            Header { id: U16::new(id), command: U16::new(command), size: U32::new(size as u32), flags: U32::new(flags), error: U32::new(error) };
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
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        socket::send(self.socket.as_fd(), message, fds)
    }

    /// Ends the connection: nobody waits any more, and the first reason stays.
    fn lose(&self, loss: Loss) {
        let mut waiting = self.lock();
        if waiting.lost.is_none() {
            if !self.closing.load(Ordering::Relaxed) {
                log::warn!("{}: the server is gone: {loss}", self.name);
            }
            waiting.lost = Some(loss);
            self.events.raise_gone();
        }
        waiting.replies.clear();
        drop(waiting);
        if let Err(error) = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both) {
            log::debug!("{}: shutting the connection down: {error}", self.name);
        }
    }

    fn listen(&self, space: &Space) {
        loop {
            if let Err(loss) = self.receive().and_then(|message| self.take(message, space)) {
                self.lose(loss);
                return;
            }
        }
    }

    fn receive(&self) -> Result<Message, Loss> {
        let mut fds = Vec::new();
        let mut header = [0; HEADER_BYTES];
        socket::receive(&self.socket, &mut header, &mut fds)?;
        let header: Header = zerocopy::transmute!(header);
        let size = header.size.get() as usize;
        if !(HEADER_BYTES..=wire::MAX_MESSAGE_BYTES).contains(&size) {
            return Err(Loss::Nonsense(format!("a message of {size} bytes")));
        }
        let mut body = vec![0; size - HEADER_BYTES];
        socket::receive(&self.socket, &mut body, &mut fds)?;
        Ok(Message { header, body, fds })
    }

    /// Hands a reply to who waits for it, and answers a request.
    fn take(&self, message: Message, space: &Space) -> Result<(), Loss> {
        let (header, id) = (message.header, message.header.id.get());
        match header.flags.get() & wire::TYPE_MASK {
            wire::TYPE_REPLY => {
                // A reply that nobody waits for belongs to a command that was given up, or acknowledges one that wanted none.
                if let Some(waiter) = self.lock().replies.remove(&id) {
                    let _ = waiter.send(message);
                }
                Ok(())
            }
            wire::TYPE_COMMAND => {
                let (error, body) = match answer(&header, &message.body, space) {
                    Ok(body) => (0, body),
                    Err(errno) => (errno as u32, Vec::new()),
                };
                if header.flags.get() & wire::NO_REPLY != 0 {
                    return Ok(());
                }
                let flags = if error == 0 { wire::TYPE_REPLY } else { wire::TYPE_REPLY | wire::ERROR };
                Ok(self.send(id, header.command.get(), flags, error, &body, &[])?)
            }
            other => Err(Loss::Nonsense(format!("a message of type {other}"))),
        }
    }
}

/// The body of the answer to a server's request, or the errno.
fn answer(header: &Header, body: &[u8], space: &Space) -> Result<Vec<u8>, i32> {
    let command = header.command.get();
    let reads = command == Command::DmaRead as u16;
    if !reads && command != Command::DmaWrite as u16 {
        return Err(libc::ENOSYS);
    }
    let (access, data) = DmaAccess::read_from_prefix(body).map_err(|_| libc::EINVAL)?;
    let count = usize::try_from(access.count.get()).ok().filter(|&count| count <= wire::MAX_DATA_BYTES).ok_or(libc::E2BIG)?;
    if reads {
        let mut reply = access.as_bytes().to_vec();
        space.read(access.addr.get(), count, &mut reply).ok_or(libc::EFAULT)?;
        return Ok(reply);
    }
    let data = data.get(..count).ok_or(libc::EINVAL)?;
    space.write(access.addr.get(), data).ok_or(libc::EFAULT)?;
    // The protocol's text had a count of zero here; libvfio-user takes the reply for an error unless the count is that of the request.
    Ok(access.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that had it would take what acknowledges a posted write for its reply.
    #[test]
    fn no_call_has_the_id_of_posted_writes_or_of_one_that_waits() {
        let (mut waiting, sender) = (Waiting::default(), sync_channel(1).0);
        let kept = waiting.expect(sender.clone());
        for _ in 0..200_000 {
            let id = waiting.expect(sender.clone());
            assert!(id != POSTED_ID && id != kept, "{id}");
            assert!(waiting.replies.remove(&id).is_some());
        }
    }
}
