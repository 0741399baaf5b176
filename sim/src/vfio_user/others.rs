//! Clients that come while another one is served.

use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use zerocopy::{FromBytes, IntoBytes};

use super::proto::{ERROR, HEADER_BYTES, Header, TYPE_REPLY, command};

/// How long one may wait for its turn: a client that has ended is noticed within this, so that who starts a program anew finds the card free.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many are kept at a time. Others wait in the listener's queue.
const MOST: usize = 8;

/// Connections that nothing was read of.
#[derive(Default)]
pub(super) struct Others(Vec<(UnixStream, Instant)>);

impl Others {
    /// The one that has waited longest, whose turn it is.
    pub(super) fn next(&mut self) -> Option<UnixStream> {
        (!self.0.is_empty()).then(|| self.0.remove(0).0)
    }

    /// Accepts who has come, and tells those who have waited long enough that the card is in use: they would wait for as long as its client likes, and not know
    /// why.
    pub(super) fn look(&mut self, listener: &UnixListener) {
        while self.0.len() < MOST
            && let Ok((stream, _)) = listener.accept()
        {
            self.0.push((stream, Instant::now()));
        }
        self.0.retain(|(stream, since)| since.elapsed() < PATIENCE || !is_refused(stream));
    }
}

/// Answers the first message, VERSION, with EBUSY. False: it has not come.
fn is_refused(stream: &UnixStream) -> bool {
    let mut bytes = [0; HEADER_BYTES];
    match recv(stream, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((HEADER_BYTES, _)) => {}
        Ok((1.., _)) | Err(Errno::AGAIN | Errno::INTR) => return false,
        // It has gone.
        Ok((0, _)) | Err(_) => return true,
    }
    let Ok(header) = Header::read_from_bytes(&bytes) else { return true };
    if header.command.get() == command::VERSION {
        // What was not read would turn the answer into an error of the connection when it is closed.
        let mut rest = vec![0; (header.size.get() as usize).min(1 << 16)];
        let _ = recv(stream, &mut rest, RecvFlags::DONTWAIT);
        let busy = Header {
            size: (HEADER_BYTES as u32).into(),
            flags: (TYPE_REPLY | ERROR).into(),
            error: (Errno::BUSY.raw_os_error() as u32).into(),
            ..header
        };
        let _ = send(stream, busy.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
    true
}
