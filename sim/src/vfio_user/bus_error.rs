//! Bus errors (SIGBUS) in memory that a client shares: its file became shorter, its huge pages were never reserved, its file system is full.
//!
//! No look at the file before can rule them out, since the client keeps it; and to copy by system calls, which report them as errors, would cost every
//! descriptor one. So the memory is accessed as it is, and a handler of the signal puts zeroed memory of this process in the place of the whole mapping:
//! the access is made again and ends. Who made the mapping is told ([`Watched::is_lost`]) and gives the client up. Honest clients pay nothing.
//!
//! The handler is installed with the first mapping, for the process. Bus errors elsewhere go to the handler that was there before.

use std::io;
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::{c_int, c_void, sigaction, siginfo_t};

/// A mapping that the handler knows. Nodes are never freed, so that it may walk their list at any time; they are used again.
#[derive(Debug)]
struct Node {
    /// The first byte and the one behind the last; `first` is 0 while the node is not used.
    first: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
    next: *const Node,
}

// SAFETY: `next` points to a node that is never freed and is not changed once others see the node; the rest are atomics.
unsafe impl Sync for Node {}

/// The list's newest node.
static NODES: AtomicPtr<Node> = AtomicPtr::new(null_mut());
/// Nodes that are not used. Its lock is also what one holds who adds to the list.
static FREE: Mutex<Vec<&'static Node>> = Mutex::new(Vec::new());
/// What the process did with the signal before; set before the handler is installed.
static BEFORE: OnceLock<sigaction> = OnceLock::new();
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
/// How many mappings were lost.
static LOSSES: AtomicU64 = AtomicU64::new(0);

/// How many mappings were lost so far, whoever's: while it stays the same, none was.
pub(super) fn losses() -> u64 {
    LOSSES.load(Ordering::Relaxed)
}

/// A mapping under the handler's watch. To be dropped before the mapping goes.
#[derive(Debug)]
pub(super) struct Watched(&'static Node);

impl Watched {
    /// Watches `len` bytes from `first` on: a whole mapping of the caller's, from its first page to its last.
    ///
    /// # Errors
    /// The system takes no handler.
    pub(super) fn new(first: NonNull<u8>, len: usize) -> io::Result<Self> {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        install()?;
        let node = free.pop().unwrap_or_else(|| {
            let node =
                Node { first: AtomicUsize::new(0), end: AtomicUsize::new(0), lost: AtomicBool::new(false), next: NODES.load(Ordering::Relaxed) };
            let node = Box::leak(Box::new(node));
            NODES.store(node, Ordering::Release);
            node
        });
        node.lost.store(false, Ordering::Relaxed);
        node.end.store(first.addr().get() + len, Ordering::Relaxed);
        node.first.store(first.addr().get(), Ordering::Release);
        Ok(Self(node))
    }

    /// Whether a bus error has taken the mapping, and what it shows is not the client's any more.
    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.first.store(0, Ordering::Release);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// Installs the handler, once. Called by one thread at a time.
fn install() -> io::Result<()> {
    if IS_INSTALLED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: a `sigaction` of zeros is one: the default, with no signal blocked.
    let (mut before, mut ours): (sigaction, sigaction) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: nothing is changed; the second pointer is to a place for what is asked.
    if unsafe { sigaction(libc::SIGBUS, null(), &raw mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let _ = BEFORE.set(before);
    ours.sa_sigaction = on_bus_error as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the form that SA_SIGINFO asks for, and does nothing that a signal handler may not (see there).
    if unsafe { sigaction(libc::SIGBUS, &raw const ours, null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    IS_INSTALLED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Takes no lock and no memory of the allocator's: loads of atomics, system calls.
extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes what is valid for the call. A code above 0 is the kernel's own, which has an address.
    let (code, at) = unsafe { ((*info).si_code, if (*info).si_code > 0 { (*info).si_addr() as usize } else { 0 }) };
    // SAFETY: the place of this thread's errno, which whoever was interrupted may be about to read.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    let is_mended = at != 0 && mend(at);
    // SAFETY: as above.
    unsafe { *errno = kept };
    if !is_mended {
        pass_on(signal, code, info, context);
    }
}

/// Puts zeroed memory in the place of the mapping that holds the address. `false`: it is none of those watched, or there is no memory.
fn mend(at: usize) -> bool {
    let mut next = NODES.load(Ordering::Acquire).cast_const();
    // SAFETY: nodes are never freed, and `next` is null or one of them.
    while let Some(node) = unsafe { next.as_ref() } {
        let (first, end) = (node.first.load(Ordering::Acquire), node.end.load(Ordering::Relaxed));
        if first != 0 && (first..end).contains(&at) {
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED);
            // SAFETY: the range is that of a mapping whose owner stays until its accesses have ended (`Watched`), one of which is interrupted here; the new
            // mapping has the same addresses. A part of it would not do: huge pages are not cut. mmap is a system call alone.
            let map = unsafe { libc::mmap(first as *mut c_void, end - first, protection, flags, -1, 0) };
            if map == libc::MAP_FAILED {
                return false;
            }
            node.lost.store(true, Ordering::Release);
            LOSSES.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        next = node.next;
    }
    false
}

/// What would have become of the signal without this module.
fn pass_on(signal: c_int, code: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get().filter(|before| before.sa_sigaction != libc::SIG_DFL && before.sa_sigaction != libc::SIG_IGN);
    let Some(before) = before else {
        // SAFETY: of zeros: the default, which ends the process when the access is made again on return, or the signal is raised.
        let default: sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: as above. Both may be called in a handler.
        unsafe {
            sigaction(signal, &raw const default, null_mut());
            if code <= 0 {
                libc::raise(signal);
            }
        }
        return;
    };
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with this flag the process gave a function of this form.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = unsafe { std::mem::transmute(before.sa_sigaction) };
        handler(signal, info, context);
    } else {
        // SAFETY: and without it, one of this form.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(before.sa_sigaction) };
        handler(signal);
    }
}
