//! Every cause that keeps a function from being opened, as a list of checks.

use std::path::{Path, PathBuf};

use super::{Root, diagnose};
use crate::address::PciAddress;
use crate::error::Cause;
use crate::limits::start_bytes;
use crate::way::Way;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Green,
    /// Not in the way, but it costs speed, or there will be more to do for several queues or functions.
    Warning,
    /// In the way: it keeps the function from being opened or started.
    Red,
    /// Not looked at, because an earlier check is red or it does not apply.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What came out.
    pub verdict: Verdict,
    /// What was found: for red ones the cause.
    pub cause: String,
    /// For red ones and warnings the command or act that mends it.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, red: Option<Cause>, green: impl Into<String>) -> Self {
        match red {
            Some(cause) => Self { name, verdict: Verdict::Red, cause: cause.to_string(), remedy: cause.remedy() },
            None => Self { name, verdict: Verdict::Green, cause: green.into(), remedy: String::new() },
        }
    }

    fn warning(name: &'static str, remark: String, remedy: String) -> Self {
        Self { name, verdict: Verdict::Warning, cause: remark, remedy }
    }

    fn skipped(name: &'static str, why: &str) -> Self {
        Self { name, verdict: Verdict::Skipped, cause: why.into(), remedy: String::new() }
    }
}

/// The buffers of one function that is configured as by default: 2048 of 2240 bytes, in huge pages of 2 MiB.
const BUFFERS_BYTES: u64 = 6 << 20;
/// Memory that a few functions with a few queues lock: what the limit should allow, so that it is raised once.
const ROOMY_BYTES: u64 = 64 << 20;

/// Looks at the machine, and at one function where an address is given.
pub fn doctor(root: &Root, address: Option<PciAddress>) -> Vec<Check> {
    let mut checks = machine(root, address);
    if let Some(address) = address {
        function(root, address, &mut checks);
    }
    checks
}

/// The way that a function is opened by, or, where none is named, most likely would be.
fn way(root: &Root, address: Option<PciAddress>) -> Way {
    let iommufd = root.path("dev/iommu");
    match address {
        Some(address) => Way::detect(root, address),
        None if iommufd.exists() && diagnose::permission(root, &iommufd).is_none() => Way::Iommufd,
        None => Way::Group,
    }
}

fn machine(root: &Root, address: Option<PciAddress>) -> Vec<Check> {
    let way = way(root, address);
    let mut checks = vec![
        Check::new("vfio-pci module", diagnose::module(root), "the driver vfio-pci is there"),
        Check::new("IOMMU", diagnose::iommu(root), "the kernel uses one"),
        interrupts(root, way),
        entrance(root),
        huge_pages(root),
        locked_memory(root, way),
    ];
    if diagnose::iommu(root).is_some() {
        let privilege = || diagnose::noiommu_privilege(root);
        checks.push(Check::new(
            "no-IOMMU mode",
            diagnose::noiommu_mode(root).or_else(privilege),
            "on; it is used only where it is asked for by name",
        ));
    } else {
        checks.push(Check::skipped("no-IOMMU mode", "not needed: there is an IOMMU"));
    }
    checks
}

fn interrupts(root: &Root, way: Way) -> Check {
    const NAME: &str = "interrupts";
    if diagnose::iommu(root).is_some() {
        return Check::skipped(NAME, "without an IOMMU nothing remaps them, and no-IOMMU mode does not ask");
    }
    let green = match diagnose::remaps_interrupts(root) {
        Some(true) => "the IOMMU remaps them",
        Some(false) => "nothing remaps them, and the kernel was told to lend devices out all the same (allow_unsafe_interrupts)",
        None => "this platform does not show whether they are remapped",
    };
    Check::new(NAME, diagnose::interrupt_remapping(root, way), green)
}

fn locked_memory(root: &Root, way: Way) -> Check {
    const NAME: &str = "locked memory";
    let least = start_bytes(BUFFERS_BYTES, 1);
    // What is asked for serves more than the least, so that the limit is raised once.
    let roomy = diagnose::memlock(root, way, ROOMY_BYTES);
    let limit = match diagnose::memlock_limit(root) {
        _ if diagnose::locks_without_limit(root) => "CAP_IPC_LOCK lifts the limit".into(),
        Some(bytes) => format!("the limit is {bytes} bytes"),
        None => "there is no limit".into(),
    };
    match roomy {
        Some(cause) if diagnose::memlock(root, way, least).is_none() => {
            let remark = format!("{limit}: enough for one function as configured by default, and not for several, or more queues");
            Check::warning(NAME, remark, cause.remedy())
        }
        roomy => Check::new(NAME, roomy, format!("{ROOMY_BYTES} bytes may be locked: {limit}")),
    }
}

/// The node that all functions share: the container's or iommufd's.
fn entrance(root: &Root) -> Check {
    let nodes = [root.path("dev/vfio/vfio"), root.path("dev/iommu")];
    let there: Vec<&Path> = nodes.iter().map(AsRef::as_ref).filter(|node: &&Path| node.exists()).collect();
    let open = there.iter().find(|node| diagnose::permission(root, node).is_none());
    let red = match (open, there.first()) {
        (Some(_), _) => None,
        (None, Some(node)) => Some(diagnose::permission_on(root, node)),
        (None, None) => Some(Cause::ModuleMissing { module: "vfio", looked_for: nodes[0].clone() }),
    };
    Check::new("VFIO node", red, open.map_or(String::new(), |node| format!("{} may be opened", node.display())))
}

fn huge_pages(root: &Root) -> Check {
    const NAME: &str = "huge pages";
    let Some(&smallest) = diagnose::huge_page_sizes(root).last() else {
        return Check::skipped(NAME, "the kernel was built without them; 4 KiB pages serve, but cost speed");
    };
    let needed = |size: u64| BUFFERS_BYTES.div_ceil(size);
    let enough = diagnose::huge_page_sizes(root).into_iter().find(|&size| diagnose::huge_page_count(root, size).1 >= needed(size));
    if let Some(size) = enough {
        return Check::new(NAME, None, format!("{} pages of {} KiB are free", diagnose::huge_page_count(root, size).1, size >> 10));
    }
    let (total, free) = diagnose::huge_page_count(root, smallest);
    let cause = Cause::NoHugePages { page_bytes: smallest, total, needed: needed(smallest) };
    if diagnose::iommu(root).is_some() {
        // No-IOMMU mode is the only one there is, and has no other memory.
        return Check::new(NAME, Some(cause), "");
    }
    let remark = format!(
        "{free} pages of {} KiB are free, and the buffers of one function fill {}: 4 KiB pages serve, but cost speed",
        smallest >> 10,
        needed(smallest)
    );
    Check::warning(NAME, remark, cause.remedy())
}

const OF_A_FUNCTION: [&str; 7] = ["default route", "driver", "IOMMU group", "group viable", "device addresses", "permission", "in use"];

fn function(root: &Root, address: PciAddress, checks: &mut Vec<Check>) {
    let missing = diagnose::exists(root, address);
    checks.push(Check::new("function", missing.clone(), format!("{address} is there")));
    if missing.is_some() {
        checks.extend(OF_A_FUNCTION.map(|name| Check::skipped(name, "there is no such function")));
        return;
    }
    let driver = diagnose::bound(root, address);
    let [route, bound, group, viable, addresses, permission, in_use] = OF_A_FUNCTION;
    checks.push(Check::new(route, diagnose::default_route(root, address), "does not go through this function"));
    checks.push(Check::new(bound, driver.clone(), format!("bound to {}", root.driver(address).unwrap_or_default())));
    let no_group = diagnose::group_of(root, address);
    let number = root.iommu_group(address).map_or(String::new(), |number| format!("group {number}"));
    checks.push(Check::new(group, no_group.clone(), number));
    if no_group.is_some() {
        checks.extend([viable, addresses].map(|name| Check::skipped(name, "the function is in no IOMMU group")));
    } else {
        checks.push(Check::new(viable, diagnose::group_viable(root, address), "no other function of the group is in the kernel's hands"));
        checks.push(Check::new(addresses, diagnose::reserved(root, address), device_addresses(root, address)));
    }
    if driver.is_some() {
        checks.extend([permission, in_use].map(|name| Check::skipped(name, "the function has no VFIO node before it is bound to vfio-pci")));
    } else {
        nodes(root, address, checks);
    }
}

fn device_addresses(root: &Root, address: PciAddress) -> String {
    let regions = diagnose::reserved_regions(root, address);
    let list: Vec<_> = regions.iter().map(|(first, last, kind)| format!("{first:#x} to {last:#x} ({kind})")).collect();
    if list.is_empty() { "no region is reserved".into() } else { format!("all but {}", list.join(", ")) }
}

/// The nodes of one way: both must be open to this process, by at least one way.
fn nodes(root: &Root, address: PciAddress, checks: &mut Vec<Check>) {
    let [.., permission, in_use] = OF_A_FUNCTION;
    let ways = [(root.device_node(address), "dev/iommu"), (root.group_node(address), "dev/vfio/vfio")];
    let ways: Vec<_> = ways.into_iter().filter_map(|(node, shared)| Some((node?, root.path(shared)))).collect();
    if ways.is_empty() {
        checks.extend([permission, in_use].map(|name| Check::skipped(name, "a function without an IOMMU group has no VFIO node")));
        return;
    }
    let there = || ways.iter().filter(|(node, shared)| node.exists() && shared.exists());
    let closed = |(node, shared): &(PathBuf, PathBuf)| diagnose::permission(root, node).or_else(|| diagnose::permission(root, shared));
    let open = there().find(|way| closed(way).is_none());
    let missing = || ways.iter().flat_map(|(node, shared)| [node, shared]).rfind(|node| !node.exists()).cloned();
    let red = match (open, there().next_back()) {
        (Some(_), _) => None,
        (None, Some(way)) => closed(way),
        (None, None) => missing().map(|looked_for| Cause::ModuleMissing { module: "vfio-pci", looked_for }),
    };
    checks.push(Check::new(
        permission,
        red,
        open.map_or(String::new(), |(node, shared)| format!("{} and {} may be opened", node.display(), shared.display())),
    ));
    checks.push(Check::new(in_use, diagnose::busy(root, address), "no process that can be seen from here has it open"));
}

#[cfg(test)]
mod tests;
