//! Why something failed, found by looking. Each function looks at one thing and gives the cause where it is wrong.
//!
//! Opening a function asks those that fit the error number; `doctor` asks all.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Root, names, number, text};
use crate::address::PciAddress;
use crate::error::{Cause, Holder, NoIommu, Sibling};
use crate::way::Way;

/// Whether a group may hold a function with this driver beside functions of ours. The kernel's word for these drivers is "driver managed DMA":
/// they start no DMA of their own.
fn leaves_dma_alone(driver: &str) -> bool {
    is_vfio(driver) || matches!(driver, "pci-stub" | "pcieport" | "shpchp")
}

/// vfio-pci, or one of its variants for one kind of device (`mlx5_vfio_pci`).
pub(crate) fn is_vfio(driver: &str) -> bool {
    driver.contains("vfio")
}

/// Whether the kernel uses an IOMMU at all.
pub fn iommu(root: &Root) -> Option<Cause> {
    if !names(&root.path("sys/class/iommu")).is_empty() {
        return None;
    }
    let tables = root.path("sys/firmware/acpi/tables");
    Some(Cause::NoIommu(match () {
        () if tables.join("DMAR").exists() => NoIommu::Kernel { parameter: "intel_iommu=on" },
        () if tables.join("IVRS").exists() => NoIommu::Kernel { parameter: "amd_iommu=on" },
        () => NoIommu::Firmware,
    }))
}

/// Whether an IOMMU serves this function.
pub fn group_of(root: &Root, address: PciAddress) -> Option<Cause> {
    if root.iommu_group(address).is_some() && !root.is_noiommu_group(address) {
        return None;
    }
    Some(iommu(root).unwrap_or(Cause::NoIommu(NoIommu::Function)))
}

/// Whether the driver vfio-pci is there.
pub fn module(root: &Root) -> Option<Cause> {
    let folder = root.path("sys/bus/pci/drivers/vfio-pci");
    (!folder.exists()).then_some(Cause::ModuleMissing { module: "vfio-pci", looked_for: folder })
}

/// Whether the function exists.
pub fn exists(root: &Root, address: PciAddress) -> Option<Cause> {
    (!root.has_function(address)).then_some(Cause::NoSuchFunction(address))
}

/// Whether the function is bound to vfio-pci.
pub fn bound(root: &Root, address: PciAddress) -> Option<Cause> {
    let driver = root.driver(address);
    if driver.as_deref().is_some_and(is_vfio) {
        return None;
    }
    Some(Cause::NotBound { address, driver, netdevs: root.netdevs(address) })
}

/// The other functions of the group that the kernel uses.
pub fn siblings_in_use(root: &Root, address: PciAddress) -> Vec<Sibling> {
    let others = root.group_members(address).into_iter().filter(|&member| member != address);
    others
        .map(|address| Sibling { address, driver: root.driver(address) })
        .filter(|s| s.driver.as_deref().is_some_and(|d| !leaves_dma_alone(d)))
        .collect()
}

/// Whether the function's group is viable.
pub fn group_viable(root: &Root, address: PciAddress) -> Option<Cause> {
    let siblings = siblings_in_use(root, address);
    let group = root.iommu_group(address)?;
    (!siblings.is_empty()).then_some(Cause::GroupNotViable { group, siblings })
}

/// A name for a number in `etc/passwd` or `etc/group`.
fn name_of(root: &Root, file: &str, id: u32) -> String {
    let text = fs::read_to_string(root.path(file)).unwrap_or_default();
    let id = id.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id));
    line.and_then(|line| line.split(':').next()).map_or(id.clone(), Into::into)
}

/// The cause for a node that could not be opened for want of permission.
pub fn permission_on(root: &Root, node: &Path) -> Cause {
    let (uid, gid, mode) = fs::metadata(node).map_or((0, 0, 0), |m| (m.uid(), m.gid(), m.mode() & 0o7777));
    Cause::Permission { node: node.into(), owner: name_of(root, "etc/passwd", uid), group: name_of(root, "etc/group", gid), mode }
}

/// What this process may do, from `proc/self/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Effective user.
    pub uid: u32,
    /// Real user, by which the kernel counts what all processes of a user have locked together.
    pub real_uid: u32,
    /// Effective group and the supplementary ones.
    pub gids: Vec<u32>,
    /// Effective capabilities.
    pub capabilities: u64,
    /// Memory locked now, in bytes: what the limit is compared with in a container.
    pub locked_bytes: u64,
    /// Memory pinned for devices now, in bytes, by iommufd and its like.
    pub pinned_bytes: u64,
}

const CAP_DAC_OVERRIDE: u64 = 1 << 1;
const CAP_IPC_LOCK: u64 = 1 << 14;
const CAP_SYS_RAWIO: u64 = 1 << 17;
const CAP_SYS_ADMIN: u64 = 1 << 21;

impl Process {
    /// This process, as the root's procfs shows it.
    pub fn current(root: &Root) -> Self {
        Self::of(root, "self")
    }

    /// The process with this folder in procfs.
    fn of(root: &Root, folder: &str) -> Self {
        let status = text(&root.path(format!("proc/{folder}/status"))).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim().to_string();
        // Real, effective, saved, file system.
        let id = |name: &str, which| field(name).split_whitespace().nth(which).and_then(|id| id.parse().ok());
        let kib = |name: &str| field(name).split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let mut gids: Vec<u32> = field("Groups").split_whitespace().filter_map(|id| id.parse().ok()).collect();
        gids.extend(id("Gid", 1));
        Self {
            uid: id("Uid", 1).unwrap_or(u32::MAX),
            real_uid: id("Uid", 0).unwrap_or(u32::MAX),
            gids,
            capabilities: u64::from_str_radix(&field("CapEff"), 16).unwrap_or(0),
            locked_bytes: kib("VmLck") << 10,
            pinned_bytes: kib("VmPin") << 10,
        }
    }

    fn locks_without_limit(&self) -> bool {
        self.capabilities & CAP_IPC_LOCK != 0
    }

    fn may_open(&self, node: &Path) -> bool {
        let Ok(meta) = fs::metadata(node) else { return false };
        let shift = match () {
            () if self.capabilities & CAP_DAC_OVERRIDE != 0 => return true,
            () if meta.uid() == self.uid => 6,
            () if self.gids.contains(&meta.gid()) => 3,
            () => 0,
        };
        meta.mode() >> shift & 0o6 == 0o6
    }
}

/// Whether this process may open a node for reading and writing.
pub fn permission(root: &Root, node: &Path) -> Option<Cause> {
    (node.exists() && !Process::current(root).may_open(node)).then(|| permission_on(root, node))
}

/// The processes that have a node open, as far as this process may see them.
pub fn holders(root: &Root, node: &Path) -> Vec<Holder> {
    let pids = names(&root.path("proc")).into_iter().filter_map(|name| name.parse::<u32>().ok());
    let holds = |&pid: &u32| {
        let fds = root.path(format!("proc/{pid}/fd"));
        names(&fds).iter().any(|fd| fs::read_link(fds.join(fd)).is_ok_and(|target| target == node))
    };
    pids.filter(holds).map(|pid| Holder { pid, command: text(&root.path(format!("proc/{pid}/comm"))).unwrap_or_default() }).collect()
}

/// Who has the function open, or another one of its IOMMU group, which only one process may use at a time.
pub fn busy(root: &Root, address: PciAddress) -> Option<Cause> {
    let mut members = root.group_members(address);
    members.sort_by_key(|&member| member != address);
    let nodes = root.group_node(address).into_iter().chain(members.into_iter().filter_map(|member| root.device_node(member)));
    nodes.map(|node| (holders(root, &node), node)).find(|(holders, _)| !holders.is_empty()).map(|(holders, node)| Cause::Busy { node, holders })
}

/// Bytes of memory that a process may lock; `None` where there is no limit.
pub fn memlock_limit(root: &Root) -> Option<u64> {
    let limits = text(&root.path("proc/self/limits"))?;
    limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?.split_whitespace().next()?.parse().ok()
}

/// Whether this process may lock memory without a limit (`CAP_IPC_LOCK`).
pub fn locks_without_limit(root: &Root) -> bool {
    Process::current(root).locks_without_limit()
}

/// The other processes of this user that have memory pinned, and how many bytes, as far as this process may see them. One that may lock without a limit is
/// not counted.
fn pinned_by_others(root: &Root, user: u32) -> Vec<(Holder, u64)> {
    let pids = names(&root.path("proc")).into_iter().filter_map(|name| name.parse::<u32>().ok()).filter(|&pid| pid != std::process::id());
    let pinned = |pid: u32| {
        let process = Process::of(root, &pid.to_string());
        let counts = process.real_uid == user && process.pinned_bytes > 0 && !process.locks_without_limit();
        counts.then(|| (Holder { pid, command: text(&root.path(format!("proc/{pid}/comm"))).unwrap_or_default() }, process.pinned_bytes))
    };
    pids.filter_map(pinned).collect()
}

/// Whether `more_bytes` may be locked beside what is locked now, as the kernel counts it on this way: a container what the process has locked, iommufd what
/// all processes of the user have pinned.
pub fn memlock(root: &Root, way: Way, more_bytes: u64) -> Option<Cause> {
    let process = Process::current(root);
    let allowed_bytes = memlock_limit(root)?;
    let (locked_bytes, others) = match way {
        Way::Iommufd => (process.pinned_bytes, pinned_by_others(root, process.real_uid)),
        _ => (process.locked_bytes, Vec::new()),
    };
    let needed_bytes = locked_bytes + others.iter().map(|(_, bytes)| bytes).sum::<u64>() + more_bytes;
    let fits = process.locks_without_limit() || needed_bytes <= allowed_bytes;
    (!fits).then_some(Cause::Memlock { needed_bytes, allowed_bytes, locked_bytes, others })
}

/// Whether the platform remaps interrupts, by the names that the kernel gives its interrupt controllers. `None` where they do not tell: elsewhere than on x86.
pub fn remaps_interrupts(root: &Root) -> Option<bool> {
    let text = text(&root.path("proc/interrupts"))?;
    let named = |names: [&str; 2]| text.split_whitespace().any(|word| names.iter().any(|name| word.starts_with(name)));
    match () {
        () if named(["IR-IO-APIC", "IR-PCI-MSI"]) => Some(true),
        () if named(["IO-APIC", "PCI-MSI"]) => Some(false),
        () => None,
    }
}

/// The module that decides whether a device whose interrupts are not remapped is lent out, and whether it was told to. A kernel without the module of the
/// container has iommufd behind the container's node too.
fn lends_unsafe_interrupts(root: &Root, way: Way) -> (&'static str, bool) {
    let has = |module: &str| root.path("sys/module").join(module).exists();
    let module = if way == Way::Iommufd || !has("vfio_iommu_type1") && has("iommufd") { "iommufd" } else { "vfio_iommu_type1" };
    let told = text(&root.path(format!("sys/module/{module}/parameters/allow_unsafe_interrupts")));
    (module, matches!(told.as_deref(), Some("Y" | "1")))
}

/// Whether the kernel keeps back all devices on this way because nothing remaps their interrupts.
pub fn interrupt_remapping(root: &Root, way: Way) -> Option<Cause> {
    let (module, allowed) = lends_unsafe_interrupts(root, way);
    (remaps_interrupts(root) == Some(false) && !allowed).then_some(Cause::NoInterruptRemapping { module })
}

/// Why the kernel answered `EPERM` where it was to put the function behind its IOMMU.
pub(crate) fn not_permitted(root: &Root, address: PciAddress, way: Way, error: &io::Error) -> Cause {
    let (module, allowed) = lends_unsafe_interrupts(root, way);
    // Where nothing shows whether interrupts are remapped, that they are not is the likeliest cause that is left.
    let unseen = || (remaps_interrupts(root).is_none() && !allowed).then_some(Cause::NoInterruptRemapping { module });
    let seen = interrupt_remapping(root, way).or_else(|| reserved(root, address)).or_else(|| busy(root, address));
    seen.or_else(unseen).unwrap_or_else(|| Cause::kernel(error, "the IOMMU's driver refuses the function"))
}

/// The sizes of huge pages that the kernel offers, in bytes, largest first.
pub fn huge_page_sizes(root: &Root) -> Vec<u64> {
    let folders = names(&root.path("sys/kernel/mm/hugepages"));
    let kib = |name: &String| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let mut sizes: Vec<u64> = folders.iter().filter_map(kib).map(|kib| kib << 10).filter(|size| size.is_power_of_two()).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

/// How many huge pages of a size there are, and how many of these are free.
pub fn huge_page_count(root: &Root, page_bytes: u64) -> (u64, u64) {
    let folder = root.path(format!("sys/kernel/mm/hugepages/hugepages-{}kB", page_bytes >> 10));
    let count = |file: &str| number(&folder.join(file)).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    (count("nr_hugepages"), count("free_hugepages"))
}

/// The regions that the group's `reserved_regions` lists, with their type (`msi`, `reserved`, `direct`, `direct-relaxable`).
pub fn reserved_regions(root: &Root, address: PciAddress) -> Vec<(u64, u64, String)> {
    let text = text(&root.function(address).join("iommu_group/reserved_regions")).unwrap_or_default();
    let hex = |word: Option<&str>| u64::from_str_radix(word?.trim_start_matches("0x"), 16).ok();
    let region = |line: &str| {
        let mut words = line.split_whitespace();
        let (first, last) = (hex(words.next())?, hex(words.next())?);
        Some((first, last, words.next()?.to_string()))
    };
    text.lines().filter_map(region).collect()
}

/// Whether the firmware lets the function go: it may keep memory for the device's use, which must then stay mapped.
pub fn reserved(root: &Root, address: PciAddress) -> Option<Cause> {
    let direct = reserved_regions(root, address).into_iter().filter(|(_, _, kind)| kind == "direct");
    let regions: Vec<_> = direct.map(|(first, last, _)| (first, last)).collect();
    (!regions.is_empty()).then_some(Cause::Reserved { regions })
}

/// Interfaces with a default route, IPv4 and IPv6.
fn default_route_interfaces(root: &Root) -> Vec<String> {
    const RTF_UP: u32 = 1;
    const RTF_REJECT: u32 = 0x200;
    let up = |flags: &str| u32::from_str_radix(flags, 16).is_ok_and(|f| f & RTF_UP != 0 && f & RTF_REJECT == 0);
    let v4 = text(&root.path("proc/net/route")).unwrap_or_default();
    let v6 = text(&root.path("proc/net/ipv6_route")).unwrap_or_default();
    let mut found = Vec::new();
    for line in v4.lines() {
        // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
        if let [name, "00000000", _, flags, _, _, _, "00000000", ..] = line.split_whitespace().collect::<Vec<_>>()[..]
            && up(flags)
        {
            found.push(name.to_string());
        }
    }
    for line in v6.lines() {
        // destination, its prefix length, source, its prefix length, next hop, metric, references, use, flags, interface
        if let [to, "00", _, _, _, _, _, _, flags, name] = line.split_whitespace().collect::<Vec<_>>()[..]
            && to.bytes().all(|b| b == b'0')
            && up(flags)
            && name != "lo"
        {
            found.push(name.to_string());
        }
    }
    found
}

/// Whether an interface stands on another one: a bridge, bond or VLAN above it.
fn stands_on(root: &Root, upper: &str, lower: &str, depth: u32) -> bool {
    // The kernel nests at most 8 interfaces.
    upper == lower
        || depth < 8
            && names(&root.path("sys/class/net").join(upper))
                .iter()
                .filter_map(|name| name.strip_prefix("lower_"))
                .any(|next| stands_on(root, next, lower, depth + 1))
}

/// Whether the machine would lose its default route with the function.
pub fn default_route(root: &Root, address: PciAddress) -> Option<Cause> {
    let routes = default_route_interfaces(root);
    root.netdevs(address).into_iter().find_map(|netdev| {
        let via = routes.iter().find(|via| stands_on(root, via, &netdev, 0))?.clone();
        Some(Cause::DefaultRoute { netdev, via })
    })
}

/// Whether the kernel allows no-IOMMU mode.
pub fn noiommu_mode(root: &Root) -> Option<Cause> {
    let on = text(&root.path("sys/module/vfio/parameters/enable_unsafe_noiommu_mode"));
    (!matches!(on.as_deref(), Some("Y" | "1"))).then_some(Cause::NoIommuModeOff)
}

/// Whether this process may use no-IOMMU mode: the kernel wants `CAP_SYS_RAWIO` for the group, and physical addresses need `CAP_SYS_ADMIN`.
pub fn noiommu_privilege(root: &Root) -> Option<Cause> {
    let capabilities = Process::current(root).capabilities;
    match () {
        () if capabilities & CAP_SYS_RAWIO == 0 => Some(Cause::Privilege("CAP_SYS_RAWIO")),
        () if capabilities & CAP_SYS_ADMIN == 0 => Some(Cause::Privilege("CAP_SYS_ADMIN")),
        () => None,
    }
}

/// The limit on the mappings of one type1 container.
pub fn mapping_limit(root: &Root) -> Option<u64> {
    number(&root.path("sys/module/vfio_iommu_type1/parameters/dma_entry_limit")).and_then(|n| n.try_into().ok())
}
