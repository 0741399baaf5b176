//! Signals eventfds without ever waiting for their owner.
//!
//! The client has the descriptor too, and with it the flags and the counter: it may make it blocking and fill it at any moment, between a look and a write
//! as well, and no flag of a write keeps it from waiting (pwritev2 knows RWF_NOWAIT for reads of eventfds alone). What does not wait is the kernel's own
//! signal, which VFIO's interrupts are as well. The kernel gives it when an asynchronous read has ended (IOCB_FLAG_RESFD, io_submit(2)); one of an empty
//! file ends within the call.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

/// `struct iocb` of linux/aio_abi.h.
#[derive(Default)]
#[repr(C)]
struct Iocb {
    data: u64,
    key_and_rw_flags: u64,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    signalled: u32,
}

/// `struct io_event`.
#[derive(Default, Clone, Copy)]
#[repr(C)]
struct IoEvent {
    _words: [u64; 4],
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<IoEvent>() == 32);

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_FLAG_RESFD: u32 = 1;
/// Reads whose results nobody took yet, at most.
const RESULTS: usize = 64;

/// An `aio_context_t` and a file to read.
struct Aio {
    context: usize,
    empty: OwnedFd,
}

/// The process's; `None`: its kernel has no such thing, or lets it have none.
static AIO: OnceLock<Option<Aio>> = OnceLock::new();

/// Adds one to an eventfd, unless it is full because the client has long not looked.
pub(super) fn ring(event: &OwnedFd) {
    let aio =
        AIO.get_or_init(|| Aio::new().inspect_err(|error| log::info!("vfio-user: no asynchronous reads ({error}): eventfds are written to")).ok());
    if aio.as_ref().is_none_or(|aio| aio.signal(event).is_err()) {
        write_if_it_has_room(event);
    }
}

impl Aio {
    fn new() -> Result<Self, Errno> {
        let empty = memfd_create("vfio-user", MemfdFlags::CLOEXEC)?;
        let mut context = 0usize;
        // SAFETY: io_setup writes an `aio_context_t`, which is as long as a pointer, to its second argument, where 0 has to be.
        checked(unsafe { libc::syscall(libc::SYS_io_setup, RESULTS, &raw mut context) })?;
        Ok(Self { context, empty })
    }

    fn signal(&self, event: &OwnedFd) -> Result<(), Errno> {
        let file = self.empty.as_raw_fd() as u32;
        let mut read = Iocb { opcode: IOCB_CMD_PREAD, file, flags: IOCB_FLAG_RESFD, signalled: event.as_raw_fd() as u32, ..Iocb::default() };
        let mut submit = || {
            let mut list = [&raw mut read];
            // SAFETY: the context is one of io_setup's; the list has one pointer, to an iocb that is read and written during the call. The read has no bytes,
            // so that no buffer is needed.
            checked(unsafe { libc::syscall(libc::SYS_io_submit, self.context, 1usize, list.as_mut_ptr()) })
        };
        submit().or_else(|errno| {
            if errno != Errno::AGAIN {
                return Err(errno);
            }
            self.forget_results();
            submit()
        })
    }

    /// Makes room for more reads: what became of the earlier ones is known.
    fn forget_results(&self) {
        let (mut results, no_time) = ([IoEvent::default(); RESULTS], libc::timespec { tv_sec: 0, tv_nsec: 0 });
        loop {
            // SAFETY: the context is one of io_setup's; at most `RESULTS` events are written to a place for so many.
            let got = unsafe { libc::syscall(libc::SYS_io_getevents, self.context, 0usize, RESULTS, results.as_mut_ptr(), &raw const no_time) };
            if got < RESULTS as libc::c_long {
                return;
            }
        }
    }
}

fn checked(answer: libc::c_long) -> Result<(), Errno> {
    if answer < 0 { Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)) } else { Ok(()) }
}

/// Where the kernel has no asynchronous reads. A client that makes the eventfd blocking and fills it just between the look and the write makes it wait.
fn write_if_it_has_room(event: &OwnedFd) {
    let mut polled = [PollFd::new(event, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec::default())) == Ok(1) && polled[0].revents().contains(PollFlags::OUT) {
        let _ = rustix::io::write(event, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::io::{read, write};

    use super::*;

    fn taken(event: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        assert_eq!(read(event, &mut count), Ok(8));
        u64::from_ne_bytes(count)
    }

    #[test]
    fn each_ring_counts() {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        // More than there is room for results.
        (0..1000).for_each(|_| ring(&event));
        assert_eq!(taken(&event), 1000);
        write_if_it_has_room(&event);
        assert_eq!(taken(&event), 1);
    }

    #[test]
    fn a_full_counter_stays_full() {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        (0..3).for_each(|_| ring(&event));
        assert!(taken(&event) >= u64::MAX - 1);
        write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        write_if_it_has_room(&event);
        assert_eq!(taken(&event), u64::MAX - 1);
    }

    #[test]
    fn several_threads_ring() {
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(|| (0..5000).for_each(|_| ring(&event)))));
        assert_eq!(taken(&event), 20_000);
    }
}
