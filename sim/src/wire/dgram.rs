//! Unix datagrams, one a frame: the format of QEMU's `-netdev dgram`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{MAX_FRAME_BYTES, Sent, Wire, WireError};

/// A wire over a pair of unix datagram sockets, as QEMU's
/// `-netdev dgram,id=n,local.type=unix,local.path=REMOTE,remote.type=unix,remote.path=LOCAL`.
///
/// While nobody listens at the far end, frames are lost, as on an unplugged cable. A far end that listens but does not read fills its socket, which holds
/// `net.unix.max_dgram_qlen` frames, as that was when it was made: 10 on many systems, so that bursts need `sysctl net.unix.max_dgram_qlen=512` before the
/// programs start. A full one is waited for, and the wire is [`Sent::Busy`]; where it stays full for [`FULL_LIMIT`], what comes then is lost until it is read
/// again, counted by [`Dgram::lost`] and told in the log. In the other direction it is the same for who sends to this end: a socket that does not wait gets EAGAIN.
#[derive(Debug)]
pub struct Dgram {
    socket: UnixDatagram,
    local: PathBuf,
    remote: PathBuf,
    lost: u64,
    /// Since when the far end is full.
    full_since: Option<Instant>,
    /// Of `lost`: because the far end did not read.
    unread: u64,
    error: Option<WireError>,
}

/// How long a far end that does not read is waited for. Shorter than what makes a driver call its transmit queue hung: it is the far end that hangs.
pub const FULL_LIMIT: Duration = Duration::from_secs(1);

impl Dgram {
    /// Listens at the path `local` and sends to the path `remote`, which may come to life later. The socket at `local` is
    /// removed when the wire is dropped; one that a process left behind is replaced.
    ///
    /// # Errors
    /// `local` is in use, is no socket, or cannot be made.
    pub fn open(local: &Path, remote: &Path) -> Result<Self, WireError> {
        if local == remote {
            return Err(WireError::option(format!("dgram={0}:{0}: both ends are the same socket: give two paths", local.display())));
        }
        let refused = |e: &io::Error| WireError::system("listen at the socket", local, e, bind_remedy(e));
        clear_the_way(local).map_err(|e| refused(&e))?;
        let socket = UnixDatagram::bind(local).map_err(|e| refused(&e))?;
        // From here on the drop of `wire` removes the socket file.
        let wire = Self { socket, local: local.into(), remote: remote.into(), lost: 0, full_since: None, unread: 0, error: None };
        wire.socket.set_nonblocking(true).map_err(|e| refused(&e))?;
        Ok(wire)
    }

    /// Frames that were lost because nobody listened at the far end or read there, or because they were too long for a datagram.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The far end has no room.
    fn full(&mut self) -> Sent {
        let since = *self.full_since.get_or_insert_with(Instant::now);
        if since.elapsed() < FULL_LIMIT {
            return Sent::Busy;
        }
        self.lost += 1;
        self.unread += 1;
        if self.unread == 1 {
            let (remote, limit) = (self.remote.display(), FULL_LIMIT.as_millis());
            log::warn!("{remote}: the far end of the wire has read nothing for {limit} ms: what is sent to it is lost until it does");
        }
        Sent::Taken
    }
}

impl Wire for Dgram {
    fn send(&mut self, frame: &[u8]) -> Sent {
        loop {
            let Err(e) = self.socket.send_to(frame, &self.remote) else {
                self.full_since = None;
                return Sent::Taken;
            };
            match e.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return self.full(),
                // This machine has no room.
                io::ErrorKind::OutOfMemory => return Sent::Busy,
                _ if e.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => return Sent::Busy,
                kind => {
                    self.full_since = None;
                    self.lost += 1;
                    if !matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) {
                        let remedy = "check what is at that path: it must be a unix datagram socket that you may write to";
                        self.error.get_or_insert_with(|| WireError::system("send to the socket", &self.remote, &e, remedy));
                    }
                    return Sent::Taken;
                }
            }
        }
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        frame.clear();
        frame.reserve(MAX_FRAME_BYTES);
        loop {
            match recv(&self.socket, spare_capacity(frame), RecvFlags::DONTWAIT) {
                // An empty datagram is no frame; what lies behind it is looked at next.
                Ok((0, _)) | Err(Errno::INTR) => {}
                Ok(_) => return true,
                Err(Errno::AGAIN) => return false,
                Err(errno) => {
                    self.error.get_or_insert_with(|| WireError::system("receive at the socket", &self.local, &errno.into(), ""));
                    return false;
                }
            }
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn error(&self) -> Option<WireError> {
        self.error.clone()
    }

    fn flush(&mut self) -> Result<(), WireError> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Dgram {
    fn drop(&mut self) {
        if self.unread > 0 {
            log::warn!("{}: {} frame(s) were lost because the far end of the wire did not read them", self.remote.display(), self.unread);
        }
        // The file may be gone already, which is as well.
        let _ = fs::remove_file(&self.local);
    }
}

/// Removes a socket that no process listens at any more. Anything else at `local` is left alone, so that binding fails.
fn clear_the_way(local: &Path) -> io::Result<()> {
    let is_socket = match fs::symlink_metadata(local) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !is_socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    match UnixDatagram::unbound()?.connect(local) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(local),
        _ => Ok(()),
    }
}

fn bind_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: end it, or take another path".into(),
        io::ErrorKind::AlreadyExists => "take another path".into(),
        io::ErrorKind::NotFound => "make its directory first".into(),
        io::ErrorKind::InvalidInput => "take a shorter path: a socket's has at most 107 bytes".into(),
        _ => String::new(),
    }
}
