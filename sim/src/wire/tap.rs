//! A Linux tap device: the far end of the wire is the kernel's network stack.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{MIN_FRAME_BYTES, Sent, Wire, WireError};

const TUN_DEVICE: &str = "/dev/net/tun";
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
    error: Option<WireError>,
}

impl Tap {
    /// Attaches to the tap device `name` of this network namespace, or makes it, which needs `CAP_NET_ADMIN`; one that was made
    /// here goes away with the wire.
    ///
    /// # Errors
    /// A name that cannot be a device's, no `/dev/net/tun`, no permission, a device that is no tap or is in use.
    pub fn open(name: &str) -> Result<Self, WireError> {
        check_name(name)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let device = options.open(TUN_DEVICE).map_err(|e| WireError::system("open the tun driver's device node", TUN_DEVICE, &e, node_remedy(&e)))?;
        attach(&device, name).map_err(|e| WireError::system("attach to the tap device", name, &e.into(), attach_remedy(e, name)))?;
        let tap = Self { device, name: name.into(), carrier: Cell::new((false, Instant::now())), dropped: 0, error: None };
        tap.carrier.set((tap.look_for_carrier(), Instant::now()));
        Ok(tap)
    }

    /// Frames that the kernel did not take: without a carrier, or shorter than an Ethernet header.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The kernel calls a tap device writable only while it is up (`tun_sock_writeable` in `drivers/net/tun.c`).
    fn look_for_carrier(&self) -> bool {
        let mut fds = [PollFd::new(&self.device, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::OUT)
    }

    fn fail(&mut self, errno: Errno) {
        let (name, cause) = (&self.name, io::Error::from(errno));
        self.error.get_or_insert_with(|| match errno {
            Errno::BADFD | Errno::NODEV | Errno::NXIO => WireError::Gone { device: name.clone() },
            _ => WireError::system("use the tap device", name, &cause, ""),
        });
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
        let carrier = self.error.is_none() && self.look_for_carrier();
        self.carrier.set((carrier, Instant::now()));
        carrier
    }

    fn is_finished(&self) -> bool {
        matches!(self.error, Some(WireError::Gone { .. }))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // A device that is gone is always readable.
        self.error.is_none().then(|| self.device.as_fd())
    }

    fn error(&self) -> Option<WireError> {
        self.error.clone()
    }

    fn flush(&mut self) -> Result<(), WireError> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

/// What the kernel accepts as a device's name (`dev_valid_name`), without patterns like `tap%d`.
fn check_name(name: &str) -> Result<(), WireError> {
    let is_valid = (1..libc::IFNAMSIZ).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c == '%' || c == '\0' || c.is_whitespace());
    if is_valid {
        return Ok(());
    }
    Err(WireError::option(format!("tap={name}: a device's name has 1 to {} bytes, without '/', ':', '%' and blanks", libc::IFNAMSIZ - 1)))
}

/// Ties an open `/dev/net/tun` to the device `name`: whole Ethernet frames, no header of the driver's own.
fn attach(device: &File, name: &str) -> Result<(), Errno> {
    #[allow(clippy::cast_possible_truncation)]
    let flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which is the type given. `request` outlives the call, and its name
    // ends in a zero byte because `check_name` allows at most IFNAMSIZ - 1 bytes.
    unsafe { rustix::ioctl::ioctl(device, rustix::ioctl::Updater::<{ libc::TUNSETIFF as rustix::ioctl::Opcode }, libc::ifreq>::new(&mut request)) }
}

fn node_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "load the driver with 'sudo modprobe tun' (in a container: add the device /dev/net/tun)".into(),
        io::ErrorKind::PermissionDenied => format!("give yourself the node: 'sudo chmod 666 {TUN_DEVICE}'"),
        _ => "load the driver with 'sudo modprobe tun'".into(),
    }
}

fn attach_remedy(errno: Errno, name: &str) -> String {
    let make = format!("'sudo ip tuntap add dev {name} mode tap user $USER && sudo ip link set {name} up'");
    match errno {
        Errno::PERM | Errno::ACCESS => format!("make it once for yourself: {make}"),
        Errno::BUSY => "another process uses it: end that one, or take another name".into(),
        Errno::INVAL => {
            format!("a device of that name is of another kind ('ip -d link show {name}'): take another name, or delete it and make it anew: {make}")
        }
        _ => format!("make it by hand: {make}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_device_can_have() {
        for name in ["", ".", "..", "a/b", "a b", "a:1", "tap%d", "sixteen-bytes-ab", "a\0"] {
            let error = Tap::open(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("tap={name}: a device's name has 1 to 15 bytes")), "{error}");
        }
        assert_eq!(check_name("fifteen-bytes-a"), Ok(()));
    }

    #[test]
    fn errors_name_the_remedy() {
        assert!(attach_remedy(Errno::PERM, "tap7").contains("sudo ip tuntap add dev tap7 mode tap user $USER"));
        assert!(attach_remedy(Errno::BUSY, "tap7").contains("another process uses it"));
        assert!(attach_remedy(Errno::INVAL, "tap7").contains("of another kind"));
        assert!(node_remedy(&io::ErrorKind::NotFound.into()).contains("modprobe tun"));
        assert!(node_remedy(&io::ErrorKind::PermissionDenied.into()).contains("chmod"));
    }
}
