//! What went wrong: which step, on what, the cause that was found by looking, and what mends it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use driver_core::host::{PciError, PciErrorKind};

use crate::address::PciAddress;
use crate::user::ServerCause;
use crate::way::Way;

/// Why a function, a domain or a mapping could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// What it is about: an address, a node, a domain.
    pub on: String,
    /// What was tried.
    pub step: String,
    /// Why it failed.
    pub cause: Box<Cause>,
    /// The function that was to be opened, where `doctor` has more to say of it than this error.
    pub doctor: Option<PciAddress>,
}

impl Error {
    /// This error, of a node, as one of the function that it kept from being opened, `presented` as a person knows it.
    pub(crate) fn of_function(self, address: PciAddress, presented: String) -> Self {
        let step = format!("{} ({})", self.step, self.on);
        Self { on: presented, step, doctor: Some(address), ..self }
    }
}

/// A function beside another one, with the driver that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sibling {
    /// Where it is.
    pub address: PciAddress,
    /// Its driver, if any.
    pub driver: Option<String>,
}

/// A process that has a node open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Process ID.
    pub pid: u32,
    /// The program's name.
    pub command: String,
}

/// Where the IOMMU is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoIommu {
    /// The firmware describes none (no DMAR or IVRS table): switched off in its setup, or there is none.
    Firmware,
    /// The firmware describes one, the kernel was told not to use it or not told to.
    Kernel {
        /// The kernel parameter that turns it on.
        parameter: &'static str,
    },
    /// The IOMMU works, but this function is in no group of it.
    Function,
}

/// Causes. `Display` says the cause, [`Cause::remedy`] what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// There is no such PCI function.
    NoSuchFunction(PciAddress),
    /// No IOMMU serves the function.
    NoIommu(NoIommu),
    /// The module that gives a node or a driver is not loaded.
    ModuleMissing {
        /// The module.
        module: &'static str,
        /// What was looked for and not found.
        looked_for: PathBuf,
    },
    /// The function is bound to another driver, or to none.
    NotBound {
        /// The function.
        address: PciAddress,
        /// Its driver.
        driver: Option<String>,
        /// The network interfaces that this driver made.
        netdevs: Vec<String>,
    },
    /// Other functions of the IOMMU group are in the kernel's hands.
    GroupNotViable {
        /// The group's number.
        group: u32,
        /// Those functions.
        siblings: Vec<Sibling>,
    },
    /// The node is not for this user.
    Permission {
        /// The node.
        node: PathBuf,
        /// Its owner's name, or number.
        owner: String,
        /// Its group's name, or number.
        group: String,
        /// Its permission bits.
        mode: u32,
    },
    /// No privilege for what only a privileged process may do.
    Privilege(&'static str),
    /// The limit on locked memory is too low.
    Memlock {
        /// Bytes that must be locked in all.
        needed_bytes: u64,
        /// Bytes that the limit allows.
        allowed_bytes: u64,
        /// Bytes of the needed ones that this process has locked already.
        locked_bytes: u64,
        /// Where the kernel counts all processes of a user together (iommufd): the others, and how many bytes each has locked.
        others: Vec<(Holder, u64)>,
    },
    /// The system has no such amount of memory.
    NoMemory {
        /// Bytes asked for.
        len_bytes: u64,
    },
    /// No huge pages are free.
    NoHugePages {
        /// The size of the pages in bytes.
        page_bytes: u64,
        /// How many the system has.
        total: u64,
        /// How many are needed.
        needed: u64,
    },
    /// Huge pages are there, but not as one stretch of physical memory.
    NotContiguous {
        /// Bytes asked for.
        len_bytes: u64,
        /// The longest stretch that was found.
        largest_bytes: u64,
    },
    /// Another process has the node open.
    Busy {
        /// The node.
        node: PathBuf,
        /// The processes that could be seen.
        holders: Vec<Holder>,
    },
    /// The same function is open in this process already.
    OpenAlready(PciAddress),
    /// The IOMMU has no room at such addresses.
    Iova {
        /// What the allocator said, or what the kernel refused.
        why: String,
        /// The ranges that the IOMMU reports.
        ranges: Vec<(u64, u64)>,
    },
    /// The limit on the number of mappings is reached.
    MappingLimit {
        /// The limit, where it can be read.
        limit: Option<u64>,
    },
    /// The two devices cannot share the domain.
    NotSharable {
        /// How the domain reaches its devices.
        way: Way,
        /// Why not.
        why: String,
    },
    /// The devices of the domain were unplugged, and the kernel took its mappings away.
    DomainOver {
        /// The regions that this process still holds, which no device sees any more.
        regions: usize,
    },
    /// Nothing remaps interrupts, so that a device could raise any interrupt of the machine, and the kernel lends none out.
    NoInterruptRemapping {
        /// The kernel module whose parameter `allow_unsafe_interrupts` lends devices out all the same.
        module: &'static str,
    },
    /// The firmware reserves memory of the device's (RMRR).
    Reserved {
        /// The reserved regions.
        regions: Vec<(u64, u64)>,
    },
    /// The machine's default route goes through the interface.
    DefaultRoute {
        /// The interface of the function.
        netdev: String,
        /// The interface that the route names, where it is another one above it.
        via: String,
    },
    /// No-IOMMU mode is off.
    NoIommuModeOff,
    /// A reset would hit functions that this process does not own.
    ResetHitsOthers(Vec<Sibling>),
    /// The function has no way to be reset.
    NoReset,
    /// The vfio-user server is no use.
    Server(ServerCause),
    /// The kernel said no.
    Kernel {
        /// Its error number; 0 where its answer made no sense.
        errno: i32,
        /// What is known about it here.
        hint: String,
    },
}

impl Cause {
    /// The kernel's word, where looking found nothing better.
    pub(crate) fn kernel(error: &io::Error, hint: &str) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Kernel { errno, hint: hint.into() },
            // Not a number of the kernel's, but a text about its answer.
            None => Self::Kernel { errno: 0, hint: if hint.is_empty() { error.to_string() } else { format!("{error}: {hint}") } },
        }
    }

    /// This cause as an error.
    pub fn error(self, on: impl fmt::Display, step: impl Into<String>) -> Error {
        Error { on: on.to_string(), step: step.into(), cause: Box::new(self), doctor: None }
    }

    /// What to do next: a command where there is one. Commands are for a shell with the rights they need.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoSuchFunction(_) => "look for the right address with: barewire list".into(),
            Self::NoIommu(NoIommu::Firmware) => "switch on VT-d (Intel) or AMD-Vi/IOMMU (AMD) in the firmware setup; in a virtual machine give it a virtual IOMMU".into(),
            Self::NoIommu(NoIommu::Kernel { parameter }) => format!("add {parameter} to the kernel command line and boot again"),
            Self::NoIommu(NoIommu::Function) => {
                "put the device behind the IOMMU (another slot); or, where a wrong DMA address may overwrite any memory, ask for no-IOMMU mode by name".into()
            }
            Self::ModuleMissing { module, .. } => format!("modprobe {module}"),
            Self::NotBound { address, .. } => format!("barewire bind {address}"),
            Self::GroupNotViable { siblings, .. } => {
                let binds: Vec<_> = siblings.iter().map(|s| format!("barewire bind {}", s.address)).collect();
                format!("{}; or use a slot whose group holds this device alone", binds.join("; "))
            }
            // The nodes that all functions share open no device by themselves.
            Self::Permission { node, .. } if node.ends_with("dev/iommu") => format!("chmod 0666 {}; or choose the group way", node.display()),
            Self::Permission { node, .. } if node.ends_with("dev/vfio/vfio") => format!("chmod 0666 {}", node.display()),
            Self::Permission { node, .. } => format!("chown $USER {}  (or: barewire bind ADDRESS --user $USER)", node.display()),
            Self::Privilege(what) => format!("run as root, or with {what}"),
            Self::Memlock { needed_bytes, .. } => {
                let kib = needed_bytes.div_ceil(1024);
                format!("ulimit -l {kib} in the shell that starts the program (as root: prlimit --pid PID --memlock={needed_bytes}), or a 'memlock' line in /etc/security/limits.conf")
            }
            Self::NoMemory { .. } => "ask for fewer or smaller buffers".into(),
            Self::NoHugePages { page_bytes, total, needed } => {
                format!("echo {} > /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", total + needed, page_bytes >> 10)
            }
            Self::NotContiguous { .. } => "ask for smaller buffers, or reserve 1 GiB pages at boot: hugepagesz=1G hugepages=1".into(),
            Self::Busy { node, holders } => match holders.first() {
                Some(holder) if holder.pid == std::process::id() => "open the function into the domain of this process that has it already".into(),
                Some(holder) => format!("end process {} ({}) first", holder.pid, holder.command),
                None => format!("find the process that holds it: fuser -v {} (as root)", node.display()),
            },
            Self::OpenAlready(_) => "drop the other handle first".into(),
            Self::Iova { .. } => "allocate fewer or smaller regions in this domain; in a virtual machine a wider IOMMU helps (QEMU: aw-bits=48)".into(),
            Self::MappingLimit { limit } => {
                let more = limit.unwrap_or(65535).saturating_mul(4);
                format!("allocate fewer and larger regions, or: echo {more} > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit")
            }
            Self::NotSharable { .. } => "open the device in a domain of its own and copy frames between them".into(),
            Self::DomainOver { .. } => "drop what is left of those devices (ports, pools, frames) first, or open the device in a domain of its own".into(),
            Self::NoInterruptRemapping { module } => format!(
                "switch it on (firmware setup: VT-d or AMD-Vi with interrupt remapping; kernel command line: without intremap=off and nointremap; QEMU: intel-iommu,intremap=on and kernel-irqchip=split); or, only where the device and whoever drives it are trusted with the whole machine, since such a device can make up interrupts and crash the kernel or take it over: echo 1 > /sys/module/{module}/parameters/allow_unsafe_interrupts"
            ),
            Self::Reserved { .. } => "switch off the firmware feature that uses the device (legacy USB, remote management), or use another slot".into(),
            Self::DefaultRoute { netdev, .. } => format!("choose another interface; if the machine may lose {netdev}, say so with --force"),
            Self::NoIommuModeOff => "echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode, then bind the function again".into(),
            Self::ResetHitsOthers(functions) => {
                let binds: Vec<_> = functions.iter().map(|s| format!("barewire bind {}", s.address)).collect();
                format!("close these functions where this process has them open, and bind them all: {}", binds.join("; "))
            }
            Self::NoReset => "go on without a reset: the driver resets the device through its own registers".into(),
            Self::Server(cause) => cause.remedy(),
            Self::Kernel { .. } => "see the kernel's log: dmesg | tail".into(),
        }
    }
}

struct Drivers<'a>(&'a [Sibling]);
impl fmt::Display for Drivers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, sibling) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} ({})", sibling.address, sibling.driver.as_deref().unwrap_or("no driver"))?;
        }
        Ok(())
    }
}

struct Ranges<'a>(&'a [(u64, u64)]);
impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            write!(f, "{}{first:#x} to {last:#x}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchFunction(address) => write!(f, "there is no PCI function {address}"),
            Self::NoIommu(NoIommu::Firmware) => f.write_str("the firmware describes no IOMMU"),
            Self::NoIommu(NoIommu::Kernel { .. }) => f.write_str("the firmware describes an IOMMU, but the kernel does not use it"),
            Self::NoIommu(NoIommu::Function) => f.write_str("the kernel uses an IOMMU, but the function is in no group of it"),
            Self::ModuleMissing { module, looked_for } => write!(f, "the module {module} is not loaded ({} is missing)", looked_for.display()),
            Self::NotBound { driver: None, .. } => f.write_str("the function has no driver, where vfio-pci is needed"),
            Self::NotBound { driver: Some(driver), netdevs, .. } => {
                write!(f, "the function is still bound to {driver}")?;
                if netdevs.is_empty() { Ok(()) } else { write!(f, ", which uses it as {}", netdevs.join(", ")) }
            }
            Self::GroupNotViable { group, siblings } => {
                write!(f, "IOMMU group {group} is not viable: other functions in it are in the kernel's hands: {}", Drivers(siblings))
            }
            Self::Permission { node, owner, group, mode } => {
                write!(f, "no permission on {} (owner {owner}, group {group}, mode {mode:04o})", node.display())
            }
            Self::Privilege(what) => write!(f, "the process lacks {what}"),
            Self::Memlock { needed_bytes, allowed_bytes, locked_bytes, others } => {
                write!(f, "the limit on locked memory (RLIMIT_MEMLOCK) allows {allowed_bytes} bytes and {needed_bytes} are needed in all")?;
                if *locked_bytes > 0 {
                    write!(f, ", {locked_bytes} of them locked already by this process")?;
                }
                for (Holder { pid, command }, bytes) in others {
                    write!(f, ", {bytes} by {command} (process {pid})")?;
                }
                if others.is_empty() { Ok(()) } else { f.write_str(": iommufd counts all processes of a user together") }
            }
            Self::NoMemory { len_bytes } => write!(f, "the system has no {len_bytes} bytes to give"),
            Self::NoHugePages { page_bytes, total, needed } => {
                write!(f, "{needed} huge pages of {} KiB are needed and too few of the {total} there are free", page_bytes >> 10)
            }
            Self::NotContiguous { len_bytes, largest_bytes } => {
                write!(f, "{len_bytes} bytes of contiguous physical memory are needed and the longest stretch of huge pages has {largest_bytes}")
            }
            Self::Busy { node, holders } if holders.is_empty() => {
                write!(f, "{} is in use by a process that cannot be seen from here", node.display())
            }
            Self::Busy { node, holders } => {
                let list: Vec<_> = holders.iter().map(|h| format!("{} (process {})", h.command, h.pid)).collect();
                write!(f, "{} is in use by {}", node.display(), list.join(", "))
            }
            Self::OpenAlready(address) => write!(f, "this process has {address} open already"),
            Self::Iova { why, ranges } => write!(f, "{why}; the IOMMU takes device addresses {}", Ranges(ranges)),
            Self::MappingLimit { limit: Some(limit) } => write!(f, "the limit of {limit} mappings in one domain is reached"),
            Self::MappingLimit { limit: None } => f.write_str("the limit on mappings in one domain is reached"),
            Self::NotSharable { way, why } => write!(f, "the device cannot share the domain ({way}) with those already in it: {why}"),
            Self::DomainOver { regions } => {
                write!(f, "the devices of the domain were unplugged, and with the last one the kernel took away its mappings, of which {regions} are still held")
            }
            Self::NoInterruptRemapping { .. } => f.write_str(
                "nothing remaps interrupts on this machine (no interrupt remapping in the IOMMU, or it is switched off), so that a device could raise any interrupt, and the kernel lends none out",
            ),
            Self::Reserved { regions } => write!(f, "the firmware keeps memory of the device's in use (RMRR): {}", Ranges(regions)),
            Self::DefaultRoute { netdev, via } if netdev == via => write!(f, "the machine's default route goes through {netdev}"),
            Self::DefaultRoute { netdev, via } => write!(f, "the machine's default route goes through {via}, which stands on {netdev}"),
            Self::NoIommuModeOff => f.write_str("no-IOMMU mode is off in the kernel"),
            Self::ResetHitsOthers(functions) => {
                write!(f, "the function has no reset of its own and one of its slot or bus would hit {}", Drivers(functions))
            }
            Self::NoReset => f.write_str("the function can be reset neither alone nor with its slot or bus"),
            Self::Server(cause) => cause.fmt(f),
            Self::Kernel { errno: 0, hint } => f.write_str(hint),
            Self::Kernel { errno, hint } => {
                write!(f, "{}", io::Error::from_raw_os_error(*errno))?;
                if hint.is_empty() { Ok(()) } else { write!(f, ": {hint}") }
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}. To mend it: {}", self.on, self.step, self.cause, self.cause.remedy())?;
        self.doctor.map_or(Ok(()), |address| write!(f, ". All that is in its way: barewire doctor {address}"))
    }
}
impl std::error::Error for Error {}

impl From<Error> for PciError {
    fn from(error: Error) -> Self {
        let Error { on, mut step, cause, .. } = error;
        let kind = match *cause {
            Cause::Kernel { errno: libc::ENODEV | libc::ENXIO, .. } => PciErrorKind::Gone,
            // The kind has no words for a server's end, and what mends it.
            Cause::Server(cause @ ServerCause::Gone { .. }) => {
                step = format!("{step}: {cause} ({})", cause.remedy());
                PciErrorKind::Gone
            }
            cause => PciErrorKind::Host(format!("{cause}. To mend it: {}", cause.remedy())),
        };
        Self::new(&on, &step, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_is_kept() {
        let text = |error: io::Error, hint| Cause::kernel(&error, hint).to_string();
        assert_eq!(text(io::Error::from_raw_os_error(libc::EFAULT), ""), "Bad address (os error 14)");
        assert_eq!(text(io::Error::from_raw_os_error(libc::EFAULT), "pinning"), "Bad address (os error 14): pinning");
        assert_eq!(text(io::Error::other("2 vectors left"), ""), "2 vectors left");
        assert_eq!(text(io::Error::other("2 vectors left"), "of 8"), "2 vectors left: of 8");
    }

    #[test]
    fn a_device_that_is_gone_is_gone_for_the_driver_too() {
        let pci = |errno| PciError::from(Cause::Kernel { errno, hint: String::new() }.error("0000:01:00.0", "resetting it"));
        assert_eq!(pci(libc::ENODEV).kind, PciErrorKind::Gone);
        assert_eq!(
            pci(libc::EIO).to_string(),
            "0000:01:00.0: resetting it: Input/output error (os error 5). To mend it: see the kernel's log: dmesg | tail"
        );
    }

    #[test]
    fn every_cause_says_what_mends_it() {
        let address: PciAddress = "0000:01:00.0".parse().unwrap();
        let node = PathBuf::from("/dev/vfio/7");
        let holder = |pid| vec![Holder { pid, command: "x".into() }];
        let cases = [
            (
                Cause::Permission { node: "/dev/iommu".into(), owner: "root".into(), group: "root".into(), mode: 0o660 },
                "chmod 0666 /dev/iommu; or choose the group way",
            ),
            (Cause::Busy { node: node.clone(), holders: holder(7) }, "end process 7 (x) first"),
            (
                Cause::Busy { node: node.clone(), holders: holder(std::process::id()) },
                "open the function into the domain of this process that has it already",
            ),
            (Cause::Busy { node, holders: Vec::new() }, "find the process that holds it: fuser -v /dev/vfio/7 (as root)"),
            (
                Cause::ResetHitsOthers(vec![Sibling { address, driver: None }]),
                "close these functions where this process has them open, and bind them all: barewire bind 0000:01:00.0",
            ),
            (
                Cause::Memlock { needed_bytes: 1 << 20, allowed_bytes: 65536, locked_bytes: 0, others: Vec::new() },
                "ulimit -l 1024 in the shell that starts the program (as root: prlimit --pid PID --memlock=1048576), or a 'memlock' line in /etc/security/limits.conf",
            ),
        ];
        for (cause, remedy) in cases {
            assert_eq!(cause.remedy(), remedy);
            assert!(cause.clone().error("it", "trying").to_string().ends_with(&format!(". To mend it: {remedy}")));
        }
    }
}
