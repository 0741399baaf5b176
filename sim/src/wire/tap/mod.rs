//! A Linux tap device: the far end of the wire is the kernel's network stack.

mod attach;
mod holders;
mod namespace;

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{MIN_FRAME_BYTES, Sent, Wire, WireError};

/// The longest frame the kernel hands out: the largest MTU of a tap device (65521) and an Ethernet header. It cuts what does not fit.
const READ_BYTES: usize = 64 * 1024;
/// How long an answer about the carrier holds.
const CARRIER_FOR: Duration = Duration::from_millis(5);

/// A wire into the Linux network stack by a tap device.
///
/// The carrier is the device's state in the kernel: `ip link set NAME up` gives one. Frames sent without one are lost, as on any cable.
#[derive(Debug)]
pub struct Tap {
    device: File,
    name: String,
    /// Carrier, and when it was looked at.
    carrier: Cell<(bool, Instant)>,
    dropped: u64,
    /// The device was deleted, which cannot be undone: one that is made anew under its name is another one.
    gone: Cell<bool>,
    error: Option<WireError>,
}

impl Tap {
    /// Attaches to the tap device `name` of this network namespace, or makes it, which needs `CAP_NET_ADMIN`; one that was made
    /// here goes away with the wire.
    ///
    /// Offloads that another program left on the device are switched off: what the kernel sends has its checksums and is cut into frames.
    ///
    /// # Errors
    /// A name that cannot be a device's, no `/dev/net/tun`, no permission, a device that is no tap or is in use (the error says by whom, as far as
    /// that can be seen).
    pub fn open(name: &str) -> Result<Self, WireError> {
        attach::check_name(name)?;
        attach::open(name).map(|device| Self::new(device, name))
    }

    /// The same for a device of the network namespace `netns`: a name of `ip netns`, or the path of a namespace, for instance `/proc/PID/ns/net`. The caller
    /// stays in its own namespace: a thread of its own opens the device, and ends.
    ///
    /// # Errors
    /// As [`Tap::open`]; there is no such namespace, or it may not be entered (which needs `CAP_SYS_ADMIN`).
    pub fn open_in(netns: &str, name: &str) -> Result<Self, WireError> {
        attach::check_name(name)?;
        namespace::inside(netns, || attach::open(name)).map(|device| Self::new(device, name))
    }

    fn new(device: File, name: &str) -> Self {
        let tap = Self { device, name: name.into(), carrier: Cell::new((false, Instant::now())), dropped: 0, gone: Cell::new(false), error: None };
        tap.carrier.set((tap.look_for_carrier(), Instant::now()));
        tap
    }

    /// Frames that the kernel did not take: without a carrier, or shorter than an Ethernet header.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The kernel calls a tap device writable only while it is up (`tun_sock_writeable` in `drivers/net/tun.c`), and one that was deleted an error
    /// (`tun_chr_poll` there).
    fn look_for_carrier(&self) -> bool {
        let mut fds = [PollFd::new(&self.device, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_told = poll(&mut fds, Some(&now)).is_ok();
        let told = fds[0].revents();
        if is_told && told.contains(PollFlags::ERR) {
            self.gone.set(true);
        }
        is_told && told.contains(PollFlags::OUT)
    }

    fn fail(&mut self, errno: Errno) {
        match errno {
            Errno::BADFD | Errno::NODEV | Errno::NXIO => self.gone.set(true),
            _ => _ = self.error.get_or_insert_with(|| WireError::system("use the tap device", &self.name, &errno.into(), "")),
        }
    }
}

impl Wire for Tap {
    fn send(&mut self, frame: &[u8]) -> Sent {
        if frame.len() < MIN_FRAME_BYTES {
            self.dropped += 1;
            return Sent::Taken;
        }
        loop {
            match rustix::io::write(&self.device, frame) {
                Ok(_) => return Sent::Taken,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return Sent::Busy,
                Err(errno) => {
                    self.dropped += 1;
                    // The device is down: no carrier. Anything else is an error.
                    if errno != Errno::IO {
                        self.fail(errno);
                    }
                    self.carrier.set((false, Instant::now()));
                    return Sent::Taken;
                }
            }
        }
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        frame.clear();
        frame.reserve(READ_BYTES);
        loop {
            match rustix::io::read(&self.device, spare_capacity(frame)) {
                Ok(len) => return len > 0,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                // A device that is down gives EIO on some kernels.
                Err(Errno::IO) => return false,
                Err(errno) => {
                    self.fail(errno);
                    return false;
                }
            }
        }
    }

    fn carrier(&self) -> bool {
        let (carrier, since) = self.carrier.get();
        if since.elapsed() < CARRIER_FOR {
            return carrier;
        }
        let carrier = self.error().is_none() && self.look_for_carrier();
        self.carrier.set((carrier, Instant::now()));
        carrier
    }

    fn is_finished(&self) -> bool {
        self.is_gone()
    }

    fn is_gone(&self) -> bool {
        self.gone.get()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // A device that is gone is always readable.
        self.error().is_none().then(|| self.device.as_fd())
    }

    fn error(&self) -> Option<WireError> {
        self.error.clone().or_else(|| self.gone.get().then(|| WireError::Gone { device: self.name.clone() }))
    }

    fn flush(&mut self) -> Result<(), WireError> {
        self.error().map_or(Ok(()), Err)
    }
}
