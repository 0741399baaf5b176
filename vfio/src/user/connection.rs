//! One connection to a server: commands with their replies, posted commands, and the server's own requests, answered as they come.
//!
//! A thread of its own receives. So a device reaches memory by messages while this program computes, and a server that ends is seen at once. Commands
//! may be sent from any thread; the server takes them in the order in which they were sent.
//!
//! A server may have a second socket for its requests (`twin_socket`), where no command comes between a request and its answer. One thread serves both,
//! and both end together.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zerocopy::{FromBytes, IntoBytes};

use super::cause::ServerCause;
use super::channel::{Channel, Head, Loss, Message};
use super::memory::Space;
use super::version;
use super::wire::{self, Capabilities, Command, DmaAccess, Header};
use crate::irq::{Events, ready};

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
    /// This side's commands and their replies; the server's too, where it has no socket for them.
    main: Channel,
    /// The server's commands and their replies.
    twin: Option<Channel>,
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
    /// Mappings that the server has.
    mapped: AtomicU64,
    receiver: Option<JoinHandle<()>>,
}

impl Connection {
    /// Speaks first on a connected socket. `limit`: how long a reply may take. `space`: the memory that the server may ask for.
    pub(super) fn start(name: String, socket: OwnedFd, limit: Duration, space: Arc<Space>) -> Result<Self, ServerCause> {
        let failed = |error: io::Error| ServerCause::Gone { how: error.to_string() };
        let main = Channel::new(socket).map_err(failed)?;
        let (capabilities, twin) = version::agree(&main, limit)?;
        let local = |tried, remedy| move |error: io::Error| ServerCause::Local { tried, how: error.to_string(), remedy };
        let events = Events::of_server(&name).map_err(local("make its events", "raise the limit of open files (ulimit -n)"))?;
        let link = Arc::new(Link { name, main, twin, waiting: Mutex::default(), closing: AtomicBool::new(false), events, limit });
        let listener = Arc::clone(&link);
        let receiver = std::thread::Builder::new().name("vfio-user".into()).spawn(move || listener.listen(&space));
        let receiver = receiver.map_err(local("start the thread that reads from it", "raise the limit of processes (ulimit -u)"))?;
        Ok(Self { link, capabilities, mapped: AtomicU64::new(0), receiver: Some(receiver) })
    }

    /// The spec that names the server.
    pub(crate) fn name(&self) -> &str {
        &self.link.name
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    pub(super) fn is_lost(&self) -> bool {
        self.link.lock().lost.is_some()
    }

    /// How many mappings the server has. They change under the lock of their domain alone.
    pub(super) fn mapped(&self) -> u64 {
        self.mapped.load(Ordering::Relaxed)
    }

    pub(super) fn count_mapped(&self, more: i64) {
        self.mapped.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// What happens to the server.
    pub(super) fn events(&self) -> &Events {
        &self.link.events
    }

    /// Sends a command and waits for its reply.
    pub(super) fn call(&self, command: Command, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Message, ServerCause> {
        let link = &*self.link;
        // For all that the caller waits for: its turn at the socket, room in it, and the reply.
        let until = Instant::now() + link.limit;
        let (sender, reply) = sync_channel(1);
        let id = {
            let mut waiting = link.lock();
            if let Some(lost) = &waiting.lost {
                return Err(lost.clone().into());
            }
            waiting.expect(sender)
        };
        if let Err(error) = link.main.send(&Head { id, command: command as u16, flags: wire::TYPE_COMMAND, error: 0 }, body, fds, until) {
            link.lose(error.into());
        }
        let message = match reply.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(message) => message,
            Err(ended) => {
                if ended == RecvTimeoutError::Timeout {
                    link.lose(Loss::Silent(command.name()));
                }
                return Err(link.lock().lost.clone().map_or(ServerCause::Gone { how: "no reply came".into() }, ServerCause::from));
            }
        };
        let replied = message.header.command;
        if replied.get() != command as u16 {
            let loss = Loss::Nonsense(format!("a reply to command {replied} where {} was asked", command.name()));
            link.lose(loss.clone());
            return Err(loss.into());
        }
        message.granted(command)
    }

    /// Sends a command that wants no reply. What becomes of it is not known, as of a posted write on a bus.
    pub(super) fn post(&self, command: Command, body: &[u8]) -> Result<(), ServerCause> {
        if let Some(lost) = &self.link.lock().lost {
            return Err(lost.clone().into());
        }
        let head = Head { id: POSTED_ID, command: command as u16, flags: wire::TYPE_COMMAND | wire::NO_REPLY, error: 0 };
        self.link.main.send(&head, body, &[], Instant::now() + self.link.limit).map_err(|error| {
            let loss = Loss::from(error);
            self.link.lose(loss.clone());
            loss.into()
        })
    }
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
        [Some(&self.main), self.twin.as_ref()].into_iter().flatten().for_each(|channel| channel.shut_down(&self.name));
    }

    fn listen(&self, space: &Space) {
        loop {
            if let Err(loss) = self.serve_next(space) {
                self.lose(loss);
                return;
            }
        }
    }

    /// Takes what comes next. Commands on the server's socket for them are carried out before what it sent later on the other: a write to memory that
    /// wants no reply is there when a later reply is, as on a bus.
    fn serve_next(&self, space: &Space) -> Result<(), Loss> {
        let Some(twin) = &self.twin else { return self.serve(&self.main, space).map(drop) };
        let [main_is_ready, twin_is_ready] = ready([self.main.as_fd(), twin.as_fd()], None)?;
        if main_is_ready {
            // As many as there are now: a server that never stops asking does not keep its replies from who waits for them.
            let mut earlier = twin.unread_bytes()?;
            while earlier > 0 {
                earlier = earlier.saturating_sub(self.serve(twin, space)?);
            }
            self.serve(&self.main, space)?;
        } else if twin_is_ready {
            self.serve(twin, space)?;
        }
        Ok(())
    }

    /// Takes one message, and says how long it was.
    fn serve(&self, channel: &Channel, space: &Space) -> Result<usize, Loss> {
        let message = channel.receive(None)?;
        let len = message.len();
        self.take(message, channel, space)?;
        Ok(len)
    }

    /// Hands a reply to who waits for it, and answers a request where it came from.
    fn take(&self, message: Message, channel: &Channel, space: &Space) -> Result<(), Loss> {
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
                Ok(channel.send(&Head { id, command: header.command.get(), flags, error }, &body, &[], Instant::now() + self.limit)?)
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
