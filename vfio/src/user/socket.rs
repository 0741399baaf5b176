//! Whole messages over a unix stream socket, with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::wire::MAX_FDS;
use crate::irq::{has_room, ready};

/// Sends all of `message`; `fds`, at most [`MAX_FDS`], go with its first byte. `until`: when it is given up, however much of it the other end has taken.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where the other end left no room in time.
pub(super) fn send(socket: impl AsFd, message: &[u8], fds: &[BorrowedFd<'_>], until: Instant) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::ArgumentListTooLong.into());
    }
    // A server that went away is an error here and no signal. The system's own limit on sending would begin anew with each part that is taken.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let mut sent = 0;
    while sent < message.len() {
        match sendmsg(&socket, &[IoSlice::new(&message[sent..])], &mut beside, flags) {
            Ok(now) => {
                sent += now;
                beside.clear();
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if has_room(socket.as_fd(), until)? => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Fills `buffer`, never taking a byte more: descriptors stay with their message. Those that came are added to `fds`. `until`: when it is given up.
pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>, until: Option<Instant>) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        if until.is_some() && ready([socket.as_fd()], until)? == [false] {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let part = &mut [IoSliceMut::new(&mut buffer[filled..])];
            match recvmsg(&socket, part, &mut beside, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) || fds.len() > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message brings more descriptors than were allowed"));
        }
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += got.bytes;
    }
    Ok(())
}
