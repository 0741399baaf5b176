//! What goes wrong with a vfio-user server.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the server of a vfio-user socket is no use. `Display` says the cause, [`ServerCause::remedy`] what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerCause {
    /// Nothing is at the path.
    NoSocket(PathBuf),
    /// What is at the path is no unix stream socket.
    NotASocket(PathBuf),
    /// The socket is there, but nobody listens.
    NobodyListens(PathBuf),
    /// The path is longer than a unix socket's may be.
    PathTooLong(PathBuf),
    /// Who listens does not speak vfio-user.
    NotVfioUser {
        /// What it did instead.
        saw: String,
    },
    /// It took no connection, or took it and said nothing.
    Silent {
        /// How long it was waited for, in milliseconds.
        limit_ms: u64,
    },
    /// It speaks another version of the protocol.
    Version {
        /// Its version.
        major: u16,
        /// Its version.
        minor: u16,
    },
    /// It says that its commands come over a second socket, and gives none.
    TwinSocket {
        /// What is wrong.
        saw: String,
    },
    /// It serves something that is no PCI device.
    NotPci,
    /// It maps no memory in pages as small as this machine's.
    Pages {
        /// The smallest that it maps, in bytes.
        page_bytes: u64,
    },
    /// It takes less data in a message than a register has.
    DataLimit {
        /// The most that it takes, in bytes (`max_data_xfer_size`).
        bytes: u64,
    },
    /// It takes fewer mappings at a time than are needed.
    MapLimit {
        /// The spec that names the server.
        server: String,
        /// The most that it takes (`max_dma_maps`).
        limit: u64,
        /// How many it would have.
        needed: u64,
    },
    /// It refused a mapping.
    MapRefused {
        /// The spec that names the server.
        server: String,
        /// How many mappings of this process it had.
        mapped: u64,
        /// Its error number; 0 where it gave none.
        errno: i32,
    },
    /// It refused a command.
    Refused {
        /// The command's name in the protocol.
        command: &'static str,
        /// Its error number; 0 where it gave none.
        errno: i32,
    },
    /// It serves another client, and one at a time.
    Busy,
    /// This process has not what a connection takes: a thread, or descriptors.
    Local {
        /// What was tried.
        tried: &'static str,
        /// The system's answer.
        how: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// It went away, or what it said made no sense and the connection was closed.
    Gone {
        /// What happened.
        how: String,
    },
}

impl ServerCause {
    /// What to do next.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoSocket(path) => {
                format!(
                    "correct the path, or start the server first, for example: barewire sim --device ixgbe --wire tap=NAME --socket {}",
                    path.display()
                )
            }
            Self::NotASocket(_) | Self::NotVfioUser { .. } => "give the path of the socket that a vfio-user server listens on".into(),
            Self::NobodyListens(_) => "start the server again: it ended and left its socket behind".into(),
            Self::PathTooLong(_) => "give a path of at most 107 bytes, for example a relative one".into(),
            Self::Silent { .. } => "end the server's other client first, since a server serves one at a time; or see whether it hangs".into(),
            Self::Version { .. } => format!("use a server that speaks vfio-user {}.x", super::wire::MAJOR),
            Self::TwinSocket { .. } => {
                "update the server, or report it to who makes it: fd_index has to name a stream socket that comes with its reply to VERSION".into()
            }
            Self::NotPci => "give the socket of a server that serves a PCI device".into(),
            Self::Pages { .. } => "configure the server for smaller pages".into(),
            Self::DataLimit { .. } => "configure the server for messages of 8 bytes of data and more (max_data_xfer_size)".into(),
            Self::MapLimit { .. } => {
                "raise the server's limit on mappings, or ask for fewer and larger regions: fewer queues, or each device in a domain of its own".into()
            }
            Self::MapRefused { .. } => {
                "see what the server reports; where it has a limit on mappings that it does not tell (max_dma_maps), raise it, or ask for fewer and larger regions"
                    .into()
            }
            Self::Refused { .. } => "see what the server reports".into(),
            Self::Busy => "end the server's other client first, or start another server".into(),
            Self::Local { remedy, .. } => (*remedy).into(),
            Self::Gone { .. } => "see why the server ended, start it again, and open the device anew".into(),
        }
    }
}

impl fmt::Display for ServerCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket(path) => write!(f, "there is nothing at {}", path.display()),
            Self::NotASocket(path) => write!(f, "{} is no unix stream socket", path.display()),
            Self::NobodyListens(path) => write!(f, "no server listens at {}", path.display()),
            Self::PathTooLong(path) => write!(f, "the path has {} bytes, more than a unix socket's may have", path.as_os_str().len()),
            Self::NotVfioUser { saw } => write!(f, "what listens there does not speak vfio-user: {saw}"),
            Self::Silent { limit_ms } => write!(f, "the server did not answer within {limit_ms} ms"),
            Self::Version { major, minor } => write!(f, "the server speaks vfio-user {major}.{minor}, this client {}.x", super::wire::MAJOR),
            Self::TwinSocket { saw } => write!(f, "the server announces a second socket (twin_socket) that cannot be used: {saw}"),
            Self::NotPci => f.write_str("the server serves no PCI device"),
            Self::Pages { page_bytes } => write!(f, "the server maps memory in pages of {page_bytes} bytes and more, larger than this machine's"),
            Self::DataLimit { bytes } => {
                write!(f, "the server takes at most {bytes} bytes of data in a message (max_data_xfer_size), and registers have up to 8")
            }
            Self::MapLimit { server, limit, needed } => {
                write!(f, "the server {server} takes at most {limit} mappings at a time (max_dma_maps), and {needed} are needed")
            }
            Self::MapRefused { server, mapped, errno } => {
                let refused = Self::Refused { command: "DMA_MAP", errno: *errno };
                write!(f, "{refused}, with {mapped} mappings in place at {server}")
            }
            Self::Refused { command, errno: 0 } => write!(f, "the server refused {command}"),
            Self::Refused { command, errno } => write!(f, "the server refused {command}: {}", io::Error::from_raw_os_error(*errno)),
            Self::Busy => f.write_str("the server serves another client, and one at a time"),
            Self::Local { tried, how, .. } => write!(f, "cannot {tried}: {how}"),
            Self::Gone { how } => write!(f, "the server is gone: {how}"),
        }
    }
}
