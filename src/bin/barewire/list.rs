//! `barewire list`.

use barewire::driver_for;
use barewire::vfio::sysfs::Root;
use barewire::vfio::sysfs::list::{Netdev, NetworkFunction, network_functions};
use serde::Serialize;
use serde_json::json;

use crate::output::{Report, table};

/// A network function, as `--json` shows it.
#[derive(Serialize)]
struct Entry {
    address: String,
    /// From the `pci.ids` file, else from the driver that fits; `null` where neither knows it.
    name: Option<String>,
    vendor: String,
    device: String,
    /// The driver that it is bound to.
    driver: Option<String>,
    /// The driver of this family that would drive it.
    barewire_driver: Option<&'static str>,
    iommu_group: Option<u32>,
    /// The group is one of no-IOMMU mode.
    noiommu: bool,
    group_members: Vec<Member>,
    numa_node: Option<u32>,
    interfaces: Vec<Interface>,
    /// The interface of the machine's default route that goes through the function.
    default_route: Option<String>,
    /// The VFIO nodes that it has now.
    nodes: Vec<String>,
}

/// Another function of the same IOMMU group.
#[derive(Serialize)]
struct Member {
    address: String,
    driver: Option<String>,
}

#[derive(Serialize)]
struct Interface {
    name: String,
    mac: Option<String>,
    /// `null` where the interface is down and does not tell.
    link: Option<bool>,
    speed_mbps: Option<u32>,
}

impl From<NetworkFunction> for Entry {
    fn from(function: NetworkFunction) -> Self {
        let driven = driver_for(function.vendor, function.device);
        let member = |member: barewire::vfio::Sibling| Member { address: member.address.to_string(), driver: member.driver };
        let interface = |netdev: Netdev| Interface { name: netdev.name, mac: netdev.mac, link: netdev.carrier, speed_mbps: netdev.speed_mbits };
        Self {
            address: function.address.to_string(),
            name: function.name.or_else(|| driven.map(|driven| driven.device.into())),
            vendor: format!("{:04x}", function.vendor),
            device: format!("{:04x}", function.device),
            driver: function.driver,
            barewire_driver: driven.map(|driven| driven.driver),
            iommu_group: function.iommu_group,
            noiommu: function.noiommu,
            group_members: function.group_members.into_iter().map(member).collect(),
            numa_node: function.numa_node,
            interfaces: function.netdevs.into_iter().map(interface).collect(),
            default_route: function.default_route,
            nodes: function.nodes.iter().map(|node| node.display().to_string()).collect(),
        }
    }
}

impl Entry {
    fn row(&self) -> [String; 7] {
        let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into());
        [
            self.address.clone(),
            self.name.clone().unwrap_or_else(|| format!("{}:{}", self.vendor, self.device)),
            or_dash(self.driver.clone()),
            or_dash(self.iommu_group.map(|group| self.group(group))),
            or_dash(self.numa_node.map(|node| node.to_string())),
            or_dash(Some(self.interfaces.iter().map(|interface| interface.text(self)).collect::<Vec<_>>().join("; "))),
            or_dash(self.barewire_driver.map(Into::into)),
        ]
    }

    fn group(&self, group: u32) -> String {
        let noiommu = if self.noiommu { " (no IOMMU)" } else { "" };
        let members: Vec<_> = self.group_members.iter().map(|member| member.address.as_str()).collect();
        let with = if members.is_empty() { String::new() } else { format!(" with {}", members.join(", ")) };
        format!("{group}{noiommu}{with}")
    }
}

impl Interface {
    fn text(&self, of: &Entry) -> String {
        let link = match (self.link, self.speed_mbps) {
            (Some(true), Some(speed)) => format!(" up, {speed} Mbit/s"),
            (Some(true), None) => " up".into(),
            (Some(false), _) => " no link".into(),
            (None, _) => " off".into(),
        };
        let route = if of.default_route.is_some() { ", default route" } else { "" };
        format!("{}{link}{route}", self.name)
    }
}

/// The network functions of the machine.
pub(crate) fn list(root: &Root) -> Report {
    let entries: Vec<Entry> = network_functions(root).into_iter().map(Entry::from).collect();
    let rows: Vec<_> = entries.iter().map(Entry::row).collect();
    let text = if rows.is_empty() {
        "no PCI network function: the machine has none, or /sys is not mounted\n".into()
    } else {
        table(["ADDRESS", "NAME", "DRIVER", "GROUP", "NUMA", "INTERFACE", "BAREWIRE"], &rows)
    };
    Report::good(text, json!(entries))
}
