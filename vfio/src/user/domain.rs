//! One set of DMA mappings and the servers that see it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use driver_core::host::{DmaDomain, DmaError, DmaMapper, Iova, IovaAllocator, IovaRequest, Mapping};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::cause::ServerCause;
use super::connection::Connection;
use super::memory::{Memory, Space};
use crate::error::{Cause, Error};
use crate::sysfs::{Root, diagnose};

/// How long a server may take for an answer. QEMU's client waits as long.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The device addresses in use: any device with 64-bit addressing has so many bits.
const IOVA_BITS: u32 = 48;

/// A DMA domain of vfio-user devices: functions opened into it see the same memory at the same addresses, so a frame received on one is transmitted on
/// another without a copy. Each server maps all memory of the domain, and is trusted not to disturb the frames of the others.
///
/// ```no_run
/// use driver_core::host::PciFunction;
/// let domain = vfio::UserDomain::new();
/// let mut nic = domain.open("/run/nic.sock")?;
/// // SAFETY: what is written to them makes the device access what was lent to it, and nothing else.
/// let registers = unsafe { nic.open_bar(0) }.unwrap();
/// let rings = nic.dma().allocate(65536).unwrap();
/// # Ok::<(), vfio::Error>(())
/// ```
#[derive(Clone)]
pub struct UserDomain {
    mapper: Arc<Mapper>,
    dma: DmaDomain,
}

struct Mapper {
    space: Arc<Space>,
    /// Held through each change of the mappings, while the servers are asked. The space's own lock is not: a server may ask for memory meanwhile.
    changing: Mutex<Changing>,
    limit: Duration,
}

struct Changing {
    iovas: IovaAllocator,
    servers: Vec<Weak<Connection>>,
}

impl Default for UserDomain {
    fn default() -> Self {
        Self::new()
    }
}

impl UserDomain {
    /// An empty domain.
    pub fn new() -> Self {
        Self::with_answer_limit(ANSWER_LIMIT)
    }

    /// An empty domain whose servers may take so long for an answer before they count as gone (5 s if not said).
    pub fn with_answer_limit(limit: Duration) -> Self {
        let iovas = IovaAllocator::new(rustix::param::page_size() as u64, [0..=(1 << IOVA_BITS) - 1]);
        let iovas = iovas.unwrap_or_else(|| unreachable!("the system's page size is a power of two"));
        let changing = Mutex::new(Changing { iovas, servers: Vec::new() });
        let mapper = Arc::new(Mapper { space: Arc::default(), changing, limit });
        Self { dma: DmaDomain::new(mapper.clone()), mapper }
    }

    /// A connection to the server behind the socket at `path`, which has all memory of the domain.
    pub(super) fn connect(&self, path: &Path) -> Result<Arc<Connection>, Error> {
        let name = format!("vfio-user:{}", path.display());
        let failed = |cause: ServerCause, step: &str| Cause::Server(cause).error(&name, step);
        let socket = connect_to(path, self.mapper.limit).map_err(|cause| cause.error(&name, "connecting to the server"))?;
        let connection = Connection::start(name.clone(), socket, self.mapper.limit, Arc::clone(&self.mapper.space));
        let connection = Arc::new(connection.map_err(|cause| failed(cause, "agreeing on the protocol"))?);
        let page_bytes = 1u64.checked_shl(connection.capabilities().pgsizes.trailing_zeros()).unwrap_or(0);
        if page_bytes > rustix::param::page_size() as u64 {
            return Err(failed(ServerCause::Pages { page_bytes }, "agreeing on the protocol"));
        }
        self.mapper.join(&connection).map_err(|cause| failed(cause, "mapping the memory of the domain"))?;
        Ok(connection)
    }

    /// The memory of this domain.
    pub fn dma(&self) -> &DmaDomain {
        &self.dma
    }
}

impl fmt::Debug for UserDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.mapper.lock().servers().map(|server| server.name().to_owned()).collect();
        f.debug_struct("UserDomain").field("servers", &servers).finish_non_exhaustive()
    }
}

/// A connected socket, or why there is none. `limit`: for how long a server may take no connection, as one does that serves another client.
fn connect_to(path: &Path, limit: Duration) -> Result<OwnedFd, Cause> {
    let until = Instant::now() + limit;
    let address = SocketAddrUnix::new(path).map_err(|_| Cause::Server(ServerCause::PathTooLong(path.into())))?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(|error| Cause::kernel(&error.into(), "making a socket"))?;
    let connected = loop {
        // What limits sending limits connecting too. Zero would be no limit.
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        set_socket_timeout(&socket, Timeout::Send, Some(left)).map_err(|error| Cause::kernel(&error.into(), "limiting the wait"))?;
        match connect(&socket, &address) {
            // A signal: the time that is left is waited for again.
            Err(Errno::INTR) => {}
            other => break other,
        }
    };
    connected.map(|()| socket).map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => Cause::Server(ServerCause::NoSocket(path.into())),
        Errno::CONNREFUSED if is_socket(path) => Cause::Server(ServerCause::NobodyListens(path.into())),
        Errno::CONNREFUSED | Errno::PROTOTYPE => Cause::Server(ServerCause::NotASocket(path.into())),
        Errno::ACCESS => diagnose::permission_on(&Root::system(), path),
        Errno::AGAIN => Cause::Server(ServerCause::Silent { limit_ms: limit.as_millis() as u64 }),
        error => Cause::kernel(&error.into(), ""),
    })
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

impl Changing {
    fn give_back(&mut self, iova: Iova, len: u64) {
        if let Err(error) = self.iovas.give_back(iova, len) {
            log::error!("vfio-user domain: {error}");
        }
    }

    fn servers(&self) -> impl Iterator<Item = Arc<Connection>> {
        self.servers.iter().filter_map(Weak::upgrade)
    }
}

impl Mapper {
    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows one more server all memory there is.
    fn join(&self, server: &Arc<Connection>) -> Result<(), ServerCause> {
        let mut changing = self.lock();
        changing.servers.retain(|server| server.strong_count() > 0);
        // Mappings change under `changing` alone, and none is waited for under the space's lock.
        let live: Vec<_> = self.space.lock().iter().map(|(&iova, memory)| (iova, Arc::clone(memory))).collect();
        server.check_room(live.len() as u64)?;
        for (iova, memory) in live {
            server.dma_map(iova, &memory)?;
        }
        changing.servers.push(Arc::downgrade(server));
        Ok(())
    }

    fn allocate(&self, len_bytes: usize) -> Result<Mapping, Cause> {
        let no_memory = |error: &io::Error| match error.raw_os_error() {
            None | Some(libc::ENOMEM | libc::ENOSPC | libc::EINVAL | libc::EFBIG) => Cause::NoMemory { len_bytes: len_bytes as u64 },
            _ => Cause::kernel(error, "making memory to share (memfd)"),
        };
        let memory = Arc::new(Memory::allocate(len_bytes).map_err(|error| no_memory(&error))?);
        let (len, page_bytes) = (memory.len() as u64, rustix::param::page_size());
        let mut changing = self.lock();
        let servers: Vec<_> = changing.servers().collect();
        // Before any of them is asked.
        servers.iter().try_for_each(|server| server.check_room(1)).map_err(Cause::Server)?;
        let ranges = || vec![(0, (1 << IOVA_BITS) - 1)];
        let iova = changing
            .iovas
            .take(IovaRequest { len_bytes: len, align: page_bytes as u64 })
            .map_err(|why| Cause::Iova { why: why.to_string(), ranges: ranges() })?;
        let mapping = Mapping { ptr: memory.ptr(), iova, len_bytes: memory.len(), page_bytes };
        // Before the servers know: one that maps nothing may ask for it at once.
        self.space.lock().insert(iova.0, Arc::clone(&memory));
        let mut reached = Vec::new();
        let mut lost = None;
        for server in &servers {
            match server.dma_map(iova.0, &memory) {
                Ok(()) => reached.push(server),
                // The others go on without it.
                Err(cause @ ServerCause::Gone { .. }) => lost = Some(cause),
                Err(cause) => {
                    let undone = reached.iter().all(|server| unmapped(server, iova.0, len));
                    self.space.lock().remove(&iova.0);
                    if undone {
                        changing.give_back(iova, len);
                    }
                    return Err(Cause::Server(cause));
                }
            }
        }
        match lost {
            Some(cause) if reached.is_empty() => {
                self.space.lock().remove(&iova.0);
                changing.give_back(iova, len);
                Err(Cause::Server(cause))
            }
            _ => Ok(mapping),
        }
    }
}

/// Takes a mapping from a server. `false`: it keeps it, and the addresses must not be used again.
fn unmapped(server: &Connection, iova: u64, len: u64) -> bool {
    match server.dma_unmap(iova, len) {
        Ok(()) | Err(ServerCause::Gone { .. }) => true,
        Err(cause) => {
            log::error!("{}: unmapping {len} bytes at {iova:#x}: {cause}", server.name());
            false
        }
    }
}

// SAFETY: `map` gives a new mapping of a memfd: zeroed, page aligned, in nobody else's hands in this process, kept in the space until `unmap`, whoever
// else is gone, since the caller's DmaDomain holds this object. Servers reach memory by such descriptors, or by messages that are looked up in the same
// space. What a server still has mapped after `unmap` are the pages of the memfd, which never become other memory of this process.
unsafe impl DmaMapper for Mapper {
    fn map(&self, len_bytes: usize) -> Result<Mapping, DmaError> {
        let failed = |cause: Cause| DmaError::new(len_bytes, self.name(), format!("{cause}. To mend it: {}", cause.remedy()));
        self.allocate(len_bytes).map_err(failed)
    }

    unsafe fn unmap(&self, mapping: Mapping) {
        let (iova, len) = (mapping.iova, mapping.len_bytes as u64);
        let mut changing = self.lock();
        let servers: Vec<_> = changing.servers().collect();
        // All are asked, whatever the first says.
        let kept = servers.iter().filter(|server| !unmapped(server, iova.0, len)).count();
        self.space.lock().remove(&iova.0);
        if kept == 0 {
            changing.give_back(iova, len);
        }
    }

    fn name(&self) -> String {
        "vfio-user domain".into()
    }
}
