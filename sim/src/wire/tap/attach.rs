//! How an open descriptor of the tun driver becomes a tap device's.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::io::Errno;

use super::holders::holders;
use crate::wire::WireError;

const TUN_DEVICE: &str = "/dev/net/tun";

/// A descriptor that reads and writes whole Ethernet frames of the tap device `name`, which [`check_name`] allows, of this thread's network namespace.
pub(super) fn open(name: &str) -> Result<File, WireError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let device = options.open(TUN_DEVICE).map_err(|e| WireError::system("open the tun driver's device node", TUN_DEVICE, &e, node_remedy(&e)))?;
    attach(&device, name).map_err(|e| WireError::system("attach to the tap device", name, &e.into(), attach_remedy(e, name)))?;
    let refused = |e: Errno| WireError::system("switch off the offloads of the tap device", name, &e.into(), "delete it and make it anew");
    switch_offloads_off(&device).map_err(refused)?;
    Ok(device)
}

/// What the kernel accepts as a device's name (`dev_valid_name`), without patterns like `tap%d`.
pub(super) fn check_name(name: &str) -> Result<(), WireError> {
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

/// The flags of TUNSETOFFLOAD are the device's, not the descriptor's: what another program asked for (QEMU with `vhdr=on`) stays on a persistent device, and
/// the kernel would send frames without checksums and up to 64 KiB long, with nothing here that could say so.
fn switch_offloads_off(device: &File) -> Result<(), Errno> {
    // SAFETY: TUNSETOFFLOAD takes its flags as the argument itself and accesses no memory of this process.
    unsafe { rustix::ioctl::ioctl(device, rustix::ioctl::IntegerSetter::<{ libc::TUNSETOFFLOAD as rustix::ioctl::Opcode }>::new_usize(0)) }
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
        Errno::BUSY => holders(name).remedy(name),
        Errno::INVAL => {
            format!("a device of that name is of another kind ('ip -d link show {name}'): take another name, or delete it and make it anew: {make}")
        }
        _ => format!("make it by hand: {make}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tap;
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
        assert!(attach_remedy(Errno::INVAL, "tap7").contains("of another kind"));
        assert!(node_remedy(&io::ErrorKind::NotFound.into()).contains("modprobe tun"));
        assert!(node_remedy(&io::ErrorKind::PermissionDenied.into()).contains("chmod"));
    }
}
