//! The socket, and clients one after the other.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::cable::Cable;
use super::card::Card;
use super::channel::Closed;
use super::mishaps::Mishaps;
use super::others::Others;
use super::session::Session;
use super::stopper::Stopper;
use crate::model::Model;
use crate::pace::{CROWDED_YIELD_US, IDLE_YIELDS, STEPS_PER_TURN};
use crate::violation::Violations;
use crate::wire::{Wire, WireError};

/// After how many turns of a busy card others are looked for.
const TURNS_BETWEEN_LOOKS: u32 = 256;
/// How long to wait where a client could not be accepted.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Why a card cannot be served, or no longer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The operating system refused something about the socket.
    Socket {
        /// What was tried.
        tried: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// The wire reported an error.
    Wire(WireError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { tried, path, cause } => {
                write!(f, "{}: cannot {tried}: {cause}", path.display())?;
                match cause.kind() {
                    io::ErrorKind::AddrInUse => f.write_str("; another process listens there: end it, or take another path"),
                    io::ErrorKind::AlreadyExists => f.write_str("; take another path"),
                    io::ErrorKind::NotFound => f.write_str("; make its directory first"),
                    io::ErrorKind::WouldBlock => f.write_str("; raise the limit of processes (ulimit -u)"),
                    io::ErrorKind::InvalidInput => f.write_str("; take a shorter path: a socket's has at most 107 bytes"),
                    _ => Ok(()),
                }
            }
            Self::Wire(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Socket { cause, .. } => Some(cause),
            Self::Wire(error) => Some(error),
        }
    }
}

/// A simulated card behind a socket. Dropping it removes the socket.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// The socket's file: device and inode. While the listener lives, no other file has its number.
    file: (u64, u64),
    card: Card,
    stopper: Stopper,
    others: Others,
    clients: u64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.path.display())
    }
}

impl Server {
    /// Listens at `path` for clients of `model`, plugged into `wire`. A socket that a process left behind is replaced.
    ///
    /// # Errors
    /// [`ServeError::Socket`]: something else is at `path`, another process listens there, or the socket cannot be made.
    pub fn bind(path: &Path, model: Box<dyn Model>, wire: Box<dyn Wire>) -> Result<Self, ServeError> {
        let refused = |cause| ServeError::Socket { tried: "listen at the socket", path: path.into(), cause };
        clear_the_way(path).map_err(refused)?;
        let stopper = Stopper::new().map_err(refused)?;
        let card = Card::new(model, wire).map_err(refused)?;
        let listener = UnixListener::bind(path).map_err(refused)?;
        let file = file_at(path).map_err(refused)?;
        // From here on the drop of the server removes the socket file.
        let server = Self { listener, path: path.into(), file, card, stopper, others: Others::default(), clients: 0 };
        server.listener.set_nonblocking(true).map_err(refused)?;
        Ok(server)
    }

    /// Ends [`Server::run`].
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The card's cable.
    pub fn cable(&self) -> Cable {
        self.card.cable.clone()
    }

    /// What may happen to the card.
    pub fn mishaps(&self) -> Mishaps {
        self.card.mishaps.clone()
    }

    /// What drivers did that the datasheet forbids, whichever client they came with.
    pub fn violations(&self) -> Arc<Violations> {
        Arc::clone(&self.card.violations)
    }

    /// How many clients have come.
    pub fn clients(&self) -> u64 {
        self.clients
    }

    /// Serves clients, one after the other, until [`Stopper::stop`], or until the wire is gone for good ([`Wire::is_gone`]): its client loses the connection,
    /// as it does when the server is stopped. While none is there the card lies in its reset.
    ///
    /// # Errors
    /// [`ServeError::Socket`] where no client can be accepted any more, [`ServeError::Wire`]: the first error of the wire, told at the end.
    pub fn run(&mut self) -> Result<(), ServeError> {
        let stopper = self.stopper.clone();
        while !stopper.is_stopped() && !self.card.wire.is_gone() {
            match self.others.next().map_or_else(|| self.listener.accept().map(|(stream, _)| stream), Ok) {
                Ok(stream) => self.serve(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_a_client(),
                Err(error) if is_passing(&error) => {
                    log::warn!("{}: a client cannot be accepted now: {error}", self.path.display());
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(cause) => return Err(ServeError::Socket { tried: "accept a client", path: self.path.clone(), cause }),
            }
        }
        self.card.wire.flush().map_err(ServeError::Wire)
    }

    fn wait_for_a_client(&mut self) {
        if !self.card.step(None, &[], None) {
            self.card.sleep(&[self.listener.as_fd(), self.stopper.fd()]);
        }
    }

    /// Serves one client that is connected already, until it goes or [`Stopper::stop`]; then resets the card. Who connects meanwhile is told EBUSY, unless the
    /// card becomes free in a moment.
    pub fn serve(&mut self, stream: UnixStream) {
        self.clients += 1;
        let number = self.clients;
        log::info!("{}: client {number} has come", self.path.display());
        let path = self.path.display();
        let session = Session::new(&mut self.card, stream, self.stopper.clone()).map_err(Closed::Broken);
        match session.and_then(|session| attend(&mut self.card, session, &self.stopper, || self.others.look(&self.listener))) {
            Ok(()) | Err(Closed::ByClient) => log::info!("{path}: client {number} has gone"),
            Err(Closed::ByServer) => log::info!("{path}: client {number} loses its connection: the server is stopped"),
            Err(Closed::Broken(error)) => log::warn!("{path}: the connection of client {number} broke: {error}"),
            Err(Closed::Protocol(what)) => log::warn!("{path}: client {number} broke the protocol, its connection is closed: {what}"),
        }
        self.card.reset();
    }
}

/// Whether a client may be accepted later, when others have given back what this process lacks.
fn is_passing(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) || lacks.contains(&error.raw_os_error())
}

/// Serves a client and moves the card, until the client goes or the server is stopped; looks for others now and then by `look`.
fn attend(card: &mut Card, mut session: Session, stopper: &Stopper, mut look: impl FnMut()) -> Result<(), Closed> {
    let (mut idle, mut turns) = (0, 0u32);
    while !stopper.is_stopped() && !card.wire.is_gone() {
        turns = turns.wrapping_add(1);
        if idle == IDLE_YIELDS || turns.is_multiple_of(TURNS_BETWEEN_LOOKS) {
            look();
        }
        let mut busy = session.serve(card)?;
        for _ in 0..STEPS_PER_TURN {
            busy |= session.step(card)?;
        }
        if busy {
            idle = 0;
        } else if idle < IDLE_YIELDS {
            let before = Instant::now();
            std::thread::yield_now();
            // Where others want the processor, yielding costs a time slice; who sleeps is woken sooner.
            idle = if before.elapsed().as_micros() > CROWDED_YIELD_US.into() { IDLE_YIELDS } else { idle + 1 };
        } else {
            session.sleep(card, stopper.fd());
        }
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // The file may be gone already, and another server's be in its place.
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which file lies at `path`: device and inode.
fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Removes a socket that no process listens at any more. Anything else at `path` is left alone, so that binding fails.
fn clear_the_way(path: &Path) -> io::Result<()> {
    let is_socket = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    // A listener whose queue is full would keep a blocking connection waiting.
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match SocketAddrUnix::new(path).and_then(|address| connect(&probe, &address)) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        _ => Ok(()),
    }
}
