//! Giving a function to vfio-pci, and back to the driver that had it.
//!
//! Documentation/ABI/testing/sysfs-bus-pci: `driver_override`, `bind`, `unbind`, `drivers_probe`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Root, diagnose, text, write};
use crate::address::PciAddress;
use crate::error::{Cause, Error};

const VFIO_PCI: &str = "vfio-pci";

/// How long the system may take to show what a write did, and to make a node.
const PATIENCE: Duration = Duration::from_secs(3);

/// How to bind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindOptions {
    /// Bind even where the machine loses its default route.
    pub force: bool,
    /// The user (name or number) who shall own the nodes.
    pub user: Option<String>,
}

/// What binding did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The driver that had the function, and gets it back from [`unbind`].
    pub former: Option<String>,
    /// The nodes through which the function is now reached.
    pub nodes: Vec<PathBuf>,
}

/// Binds a function to vfio-pci. Where it is bound already, only the nodes' owner changes.
///
/// # Errors
/// [`Error`]; the function is then back with its former driver.
pub fn bind(root: &Root, address: PciAddress, options: &BindOptions) -> Result<Bound, Error> {
    let route = || if options.force { None } else { diagnose::default_route(root, address) };
    if let Some(cause) = diagnose::exists(root, address).or_else(|| diagnose::module(root)).or_else(route) {
        return Err(cause.error(address, "binding it to vfio-pci"));
    }
    // Asked before anything changes: a wrong name must not leave half of the work done.
    let owner = options.user.as_deref().map(|user| user_id(root, user)).transpose()?;
    let driver = root.driver(address);
    let mut former = driver.clone();
    if driver.as_deref().is_some_and(diagnose::is_vfio) {
        former = remembered(root, address);
    } else {
        remember(root, address, driver.as_deref())?;
        if let Err(error) = hand_over(root, address, Some(VFIO_PCI)) {
            if let Err(again) = hand_over(root, address, driver.as_deref()) {
                log::error!("{again}");
            }
            forget(root, address);
            return Err(error);
        }
    }
    let nodes = wait_for_nodes(root, address);
    if let Some(owner) = owner {
        for node in &nodes {
            let chown = rustix::fs::chown(node, Some(rustix::fs::Uid::from_raw(owner)), None);
            chown.map_err(|error| failed(node, &error.into()).error(node.display(), format!("giving it to user {owner}")))?;
        }
    }
    Ok(Bound { former, nodes })
}

/// Takes a function from vfio-pci and gives it back to the driver it had, or to whichever driver wants it. Answers which one has it now.
///
/// # Errors
/// [`Error`], also where a process still uses the function: the kernel would wait for that without end.
pub fn unbind(root: &Root, address: PciAddress) -> Result<Option<String>, Error> {
    let step = "taking it from vfio-pci";
    if let Some(cause) = diagnose::exists(root, address) {
        return Err(cause.error(address, step));
    }
    if !root.driver(address).as_deref().is_some_and(diagnose::is_vfio) {
        return Ok(root.driver(address));
    }
    for node in nodes(root, address) {
        let holders = diagnose::holders(root, &node);
        if !holders.is_empty() {
            return Err(Cause::Busy { node, holders }.error(address, step));
        }
    }
    let former = remembered(root, address);
    hand_over(root, address, former.as_deref())?;
    forget(root, address);
    Ok(root.driver(address))
}

/// Takes the function from its driver and gives it to another: vfio-pci by override, others by name, `None`: to whichever wants it.
fn hand_over(root: &Root, address: PciAddress, to: Option<&str>) -> Result<(), Error> {
    let folder = root.function(address);
    let step = format!("handing it to {}", to.unwrap_or("its own driver"));
    let put = |path: PathBuf, value: &str| write(&path, value).map_err(|error| failed(&path, &error).error(address, step.clone()));
    // An empty line takes an override away.
    put(folder.join("driver_override"), if to == Some(VFIO_PCI) { VFIO_PCI } else { "\n" })?;
    let name = address.to_string();
    if root.driver(address).is_some() {
        put(folder.join("driver/unbind"), &name)?;
        wait(|| root.driver(address).is_none());
    }
    match to {
        Some(driver) => put(root.path(format!("sys/bus/pci/drivers/{driver}/bind")), &name).map_err(|error| {
            // vfio-pci takes a function only with an IOMMU group, and says no more than "invalid argument".
            let no_group = (driver == VFIO_PCI).then(|| diagnose::group_of(root, address)).flatten();
            no_group.map_or(error, |cause| cause.error(address, step.clone()))
        })?,
        // No driver for it is no error here.
        None => put(root.path("sys/bus/pci/drivers_probe"), &name)?,
    }
    if to.is_none() || wait(|| root.driver(address).as_deref() == to) {
        return Ok(());
    }
    let hint = format!("the kernel took the write, but the driver is {}", root.driver(address).unwrap_or("none".into()));
    Err(Cause::Kernel { errno: libc::ENODEV, hint }.error(address, step))
}

/// Why a file could not be written.
fn failed(path: &Path, error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::EACCES) => Cause::Privilege("write access to sysfs and /run"),
        Some(libc::EPERM) => Cause::Privilege("CAP_CHOWN"),
        _ => Cause::kernel(error, &format!("writing {}", path.display())),
    }
}

fn wait(done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// The nodes that the function should have: the group's, and its own where the kernel makes such.
fn nodes(root: &Root, address: PciAddress) -> Vec<PathBuf> {
    [root.group_node(address), root.device_node(address)].into_iter().flatten().collect()
}

fn wait_for_nodes(root: &Root, address: PciAddress) -> Vec<PathBuf> {
    wait(|| nodes(root, address).iter().all(|node| node.exists()));
    nodes(root, address).into_iter().filter(|node| node.exists()).collect()
}

fn user_id(root: &Root, user: &str) -> Result<u32, Error> {
    let passwd = fs::read_to_string(root.path("etc/passwd")).unwrap_or_default();
    let named = passwd.lines().find(|line| line.split(':').next() == Some(user)).and_then(|line| line.split(':').nth(2));
    named.unwrap_or(user).parse().map_err(|_| {
        let hint = "there is no such user in /etc/passwd: give a name from there, or a number".into();
        Cause::Kernel { errno: libc::EINVAL, hint }.error(user, "looking up the user")
    })
}

/// Where the former driver's name is kept until the function goes back.
fn record(root: &Root, address: PciAddress) -> PathBuf {
    root.path("run/barewire/former-driver").join(address.to_string())
}

fn remember(root: &Root, address: PciAddress, driver: Option<&str>) -> Result<(), Error> {
    let path = record(root, address);
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = folder.and_then(|()| fs::write(&path, driver.unwrap_or_default()));
    written.map_err(|error| failed(&path, &error).error(path.display(), "noting the former driver"))
}

fn remembered(root: &Root, address: PciAddress) -> Option<String> {
    text(&record(root, address)).filter(|driver| !driver.is_empty() && !driver.contains('/'))
}

fn forget(root: &Root, address: PciAddress) {
    if let Err(error) = fs::remove_file(record(root, address))
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("{}: {error}", record(root, address).display());
    }
}

#[cfg(test)]
mod tests;
