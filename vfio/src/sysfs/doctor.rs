//! Every cause that keeps a function from being opened, as a list of checks.

use std::path::{Path, PathBuf};

use super::{Root, diagnose};
use crate::address::PciAddress;
use crate::error::Cause;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Green,
    /// In the way, or (huge pages) in the way of speed.
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
    /// For red ones the command or act that mends it.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, red: Option<Cause>, green: impl Into<String>) -> Self {
        match red {
            Some(cause) => Self { name, verdict: Verdict::Red, cause: cause.to_string(), remedy: cause.remedy() },
            None => Self { name, verdict: Verdict::Green, cause: green.into(), remedy: String::new() },
        }
    }

    fn skipped(name: &'static str, why: &str) -> Self {
        Self { name, verdict: Verdict::Skipped, cause: why.into(), remedy: String::new() }
    }
}

/// Memory that a device with a few queues maps: what the checks of huge pages and of locked memory ask for.
const USUAL_BYTES: u64 = 64 << 20;

/// Looks at the machine, and at one function where an address is given.
pub fn doctor(root: &Root, address: Option<PciAddress>) -> Vec<Check> {
    let mut checks = machine(root);
    if let Some(address) = address {
        function(root, address, &mut checks);
    }
    checks
}

fn machine(root: &Root) -> Vec<Check> {
    let mut checks = vec![
        Check::new("vfio-pci module", diagnose::module(root), "the driver vfio-pci is there"),
        Check::new("IOMMU", diagnose::iommu(root), "the kernel uses one"),
        entrance(root),
        huge_pages(root),
    ];
    let limit = match diagnose::memlock_limit(root) {
        _ if diagnose::locks_without_limit(root) => "CAP_IPC_LOCK lifts the limit".into(),
        Some(bytes) => format!("the limit is {bytes} bytes"),
        None => "there is no limit".into(),
    };
    checks.push(Check::new("locked memory", diagnose::memlock(root, USUAL_BYTES), format!("{USUAL_BYTES} bytes may be locked: {limit}")));
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
    let Some(&smallest) = diagnose::huge_page_sizes(root).last() else {
        return Check::skipped("huge pages", "the kernel was built without them; 4 KiB pages serve, but cost speed");
    };
    let found = |size: u64| diagnose::huge_pages(root, size, USUAL_BYTES.div_ceil(size));
    let enough = diagnose::huge_page_sizes(root).into_iter().find(|&size| found(size).is_none());
    let green = enough.map_or(String::new(), |size| format!("{} pages of {} KiB are free", diagnose::huge_page_count(root, size).1, size >> 10));
    Check::new("huge pages", if enough.is_some() { None } else { found(smallest) }, green)
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
