//! The first exchange on a connection: the version of the protocol, its terms, and whether the server's own commands have a socket to themselves.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use super::cause::ServerCause;
use super::channel::{Channel, Head, Loss, Message};
use super::wire::{self, Capabilities, Command, Version};

/// Any but that of posted writes.
const ID: u16 = 1;

/// Proposes the protocol. `limit`: how long the reply may take. Gives what the server says of itself, and the socket for its commands where it has one.
pub(super) fn agree(main: &Channel, limit: Duration) -> Result<(Capabilities, Option<Channel>), ServerCause> {
    let reply = exchange(main, limit).map_err(|loss| match loss {
        Loss::Silent(_) => ServerCause::Silent { limit_ms: limit.as_millis() as u64 },
        Loss::Nonsense(saw) => ServerCause::NotVfioUser { saw },
        Loss::Closed => ServerCause::NotVfioUser { saw: "it closed the connection on the first message (VERSION)".into() },
        loss => loss.into(),
    })?;
    let reply = reply.granted(Command::Version).map_err(|cause| match cause {
        ServerCause::Refused { errno: libc::EBUSY, .. } => ServerCause::Busy,
        cause => cause,
    })?;
    let (version, text) = reply.read::<Version>(Command::Version)?;
    if version.major.get() != wire::MAJOR {
        return Err(ServerCause::Version { major: version.major.get(), minor: version.minor.get() });
    }
    let capabilities = Capabilities::read(text).ok_or_else(|| ServerCause::NotVfioUser { saw: "its capabilities are no JSON text".into() })?;
    if capabilities.max_data_bytes < wire::WIDEST_ACCESS_BYTES {
        return Err(ServerCause::DataLimit { bytes: capabilities.max_data_bytes });
    }
    let wrong = |saw: String| ServerCause::TwinSocket { saw };
    let twin = match capabilities.twin_fd_index {
        Ok(None) => None,
        Ok(Some(index)) => {
            let socket = stream_socket(index, reply.fds).map_err(wrong)?;
            Some(Channel::new(socket).map_err(|error| wrong(error.to_string()))?)
        }
        Err(saw) => return Err(wrong(saw.into())),
    };
    Ok((capabilities, twin))
}

fn exchange(main: &Channel, limit: Duration) -> Result<Message, Loss> {
    let until = Instant::now() + limit;
    let mut body = Version { major: U16::new(wire::MAJOR), minor: U16::new(wire::MINOR) }.as_bytes().to_vec();
    body.extend_from_slice(Capabilities::proposal().as_bytes());
    main.send(&Head { id: ID, command: Command::Version as u16, flags: wire::TYPE_COMMAND, error: 0 }, &body, &[], until)?;
    let reply = main.receive(Some(until))?;
    let Message { header, .. } = &reply;
    let is_reply = header.flags.get() & wire::TYPE_MASK == wire::TYPE_REPLY && header.id.get() == ID;
    if !is_reply || header.command.get() != Command::Version as u16 {
        return Err(Loss::Nonsense(format!("a message with command {} and flags {:#x} where VERSION was asked", header.command, header.flags)));
    }
    Ok(reply)
}

/// One of the descriptors that came with a message, if it is what it should be.
fn stream_socket(index: usize, fds: Vec<OwnedFd>) -> Result<OwnedFd, String> {
    let count = fds.len();
    let fd = fds.into_iter().nth(index).ok_or_else(|| format!("its fd_index is {index}, and the reply brings {count} descriptors"))?;
    if socket_type(&fd) == Ok(SocketType::STREAM) { Ok(fd) } else { Err(format!("descriptor {index} of the reply is no stream socket")) }
}
