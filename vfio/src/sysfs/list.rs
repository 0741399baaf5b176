//! PCI network functions, and what the machine says about them.

use std::fs;
use std::path::PathBuf;

use super::{Root, diagnose, names, number, text};
use crate::address::PciAddress;
use crate::error::{Cause, Sibling};

/// A network interface that the kernel made for a function.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Netdev {
    /// Its name.
    pub name: String,
    /// Its MAC address as text.
    pub mac: Option<String>,
    /// Whether it has a link; `None` where the interface is down and does not say.
    pub carrier: Option<bool>,
    /// Its speed in Mbit/s, where it has a link.
    pub speed_mbits: Option<u32>,
}

/// A PCI function of class 2, network controller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class code, 24 bits.
    pub class: u32,
    /// Vendor and device by name, where the machine has a `pci.ids` file.
    pub name: Option<String>,
    /// The driver it is bound to.
    pub driver: Option<String>,
    /// The number of its IOMMU group.
    pub iommu_group: Option<u32>,
    /// Whether that group is one of no-IOMMU mode.
    pub noiommu: bool,
    /// The other functions in the group.
    pub group_members: Vec<Sibling>,
    /// The memory node it is near to, on machines with several.
    pub numa_node: Option<u32>,
    /// Its network interfaces, while a kernel driver has it.
    pub netdevs: Vec<Netdev>,
    /// The interface of the machine's default route, if that goes through this function.
    pub default_route: Option<String>,
    /// The VFIO nodes that it has now.
    pub nodes: Vec<PathBuf>,
}

const CLASS_NETWORK: u32 = 0x02;

impl NetworkFunction {
    /// Whether it is a network controller: [`function`] describes others too.
    pub fn is_network(&self) -> bool {
        self.class >> 16 == CLASS_NETWORK
    }
}

/// All network functions, in the order of their addresses.
pub fn network_functions(root: &Root) -> Vec<NetworkFunction> {
    let ids = PciIds::load(root);
    let mut addresses: Vec<PciAddress> = names(&root.path("sys/bus/pci/devices")).iter().filter_map(|name| name.parse().ok()).collect();
    addresses.sort();
    addresses.into_iter().filter_map(|address| describe(root, address, &ids)).filter(NetworkFunction::is_network).collect()
}

/// One function, of whatever class.
pub fn function(root: &Root, address: PciAddress) -> Option<NetworkFunction> {
    describe(root, address, &PciIds::load(root))
}

/// A function as an error presents it: where it is, and whether it is a network card at all.
pub(crate) fn presented(root: &Root, address: PciAddress) -> String {
    let Some(found) = function(root, address) else { return address.to_string() };
    let kind = if found.is_network() { "a network card".into() } else { format!("which is no network card but of PCI class {:#08x}", found.class) };
    let name = found.name.map_or(String::new(), |name| format!(" {name}"));
    format!("{address} ({:04x}:{:04x}{name}), {kind}", found.vendor, found.device)
}

fn describe(root: &Root, address: PciAddress, ids: &PciIds) -> Option<NetworkFunction> {
    let folder = root.function(address);
    let id = |file: &str| number(&folder.join(file)).and_then(|n| u32::try_from(n).ok());
    let (vendor, device) = (id("vendor")? as u16, id("device")? as u16);
    let members = root.group_members(address).into_iter().filter(|&member| member != address);
    let nodes = [root.group_node(address), root.device_node(address)];
    Some(NetworkFunction {
        address,
        vendor,
        device,
        revision: id("revision").unwrap_or(0) as u8,
        class: id("class")?,
        name: ids.name(vendor, device),
        driver: root.driver(address),
        iommu_group: root.iommu_group(address),
        noiommu: root.is_noiommu_group(address),
        group_members: members.map(|address| Sibling { address, driver: root.driver(address) }).collect(),
        numa_node: id("numa_node"),
        netdevs: root.netdevs(address).into_iter().map(|name| netdev(root, name)).collect(),
        default_route: match diagnose::default_route(root, address) {
            Some(Cause::DefaultRoute { via, .. }) => Some(via),
            _ => None,
        },
        nodes: nodes.into_iter().flatten().filter(|node| node.exists()).collect(),
    })
}

fn netdev(root: &Root, name: String) -> Netdev {
    let folder = root.path("sys/class/net").join(&name);
    let carrier = number(&folder.join("carrier")).map(|carrier| carrier == 1);
    let speed = number(&folder.join("speed")).and_then(|speed| u32::try_from(speed).ok());
    Netdev { mac: text(&folder.join("address")), carrier, speed_mbits: speed.filter(|_| carrier == Some(true)), name }
}

/// The `pci.ids` file that pciutils and hwdata install.
struct PciIds(String);

impl PciIds {
    fn load(root: &Root) -> Self {
        let files = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];
        let bytes = files.iter().find_map(|file| fs::read(root.path(file)).ok()).unwrap_or_default();
        Self(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A vendor's line starts with its ID, a device's with a tab and its ID below the vendor's.
    fn name(&self, vendor: u16, device: u16) -> Option<String> {
        let mut lines = self.0.lines().skip_while(|line| !line.starts_with(&format!("{vendor:04x}  ")));
        let vendor = lines.next()?.get(6..)?.trim();
        let below = lines.take_while(|line| line.starts_with(['\t', '#']) || line.is_empty());
        let start = format!("\t{device:04x}  ");
        let device = below.filter_map(|line| line.strip_prefix(&start)).map(str::trim).next();
        Some(device.map_or(vendor.to_string(), |device| format!("{vendor} {device}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::made_up::Tree;

    fn machine() -> Tree {
        let tree = Tree::new();
        tree.function("0000:00:02.0", ["0x8086", "0x1234", "0x030000"], Some("i915"), Some(1));
        tree.function("0000:01:00.0", ["0x8086", "0x10fb", "0x020000"], Some("ixgbe"), Some(7));
        tree.function("0000:01:00.1", ["0x8086", "0x10fb", "0x020000"], Some("vfio-pci"), Some(7));
        tree.function("0000:05:00.0", ["0x1af4", "0x1041", "0x020000"], Some("virtio-pci"), None);
        tree.file("sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n");
        tree.dir("sys/bus/pci/devices/0000:01:00.0/net/enp1s0f0").dir("sys/bus/pci/devices/0000:05:00.0/virtio3/net/eth0");
        tree.file("sys/class/net/enp1s0f0/address", "90:e2:ba:00:00:01\n").file("sys/class/net/enp1s0f0/carrier", "1\n");
        tree.file("sys/class/net/enp1s0f0/speed", "10000\n");
        tree.file("sys/class/net/eth0/carrier", "0\n").file("sys/class/net/eth0/speed", "-1\n");
        tree.file("proc/net/route", "Iface Destination Gateway Flags\neth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\n");
        tree.file(
            "usr/share/misc/pci.ids",
            "# comment\n1af4  Red Hat, Inc.\n\t1041  Virtio 1.0 network device\n8086  Intel Corporation\n\t10fb  82599ES\n\t\t8086 0003  X520\n",
        );
        tree.file("dev/vfio/7", "");
        tree
    }

    #[test]
    fn network_functions_are_listed_with_what_belongs_to_them() {
        let tree = machine();
        let found = network_functions(&tree.root);
        let shown: Vec<_> = found.iter().map(|f| f.address.to_string()).collect();
        assert_eq!(shown, ["0000:01:00.0", "0000:01:00.1", "0000:05:00.0"]);
        let first = &found[0];
        assert_eq!((first.vendor, first.device, first.revision, first.class), (0x8086, 0x10fb, 1, 0x02_0000));
        assert_eq!(first.name.as_deref(), Some("Intel Corporation 82599ES"));
        assert_eq!((first.iommu_group, first.numa_node, first.noiommu), (Some(7), Some(1), false));
        assert_eq!(first.group_members, [Sibling { address: "01:00.1".parse().unwrap(), driver: Some("vfio-pci".into()) }]);
        let netdev = Netdev { name: "enp1s0f0".into(), mac: Some("90:e2:ba:00:00:01".into()), carrier: Some(true), speed_mbits: Some(10_000) };
        assert_eq!(first.netdevs, [netdev]);
        assert_eq!((&first.default_route, &first.nodes), (&None, &vec![tree.root.path("dev/vfio/7")]));
    }

    #[test]
    fn a_virtio_interface_one_device_down_carries_the_default_route() {
        let tree = machine();
        let virtio = function(&tree.root, "05:00.0".parse().unwrap()).unwrap();
        assert_eq!(virtio.default_route.as_deref(), Some("eth0"));
        assert_eq!((virtio.iommu_group, virtio.numa_node), (None, None));
        assert_eq!((virtio.netdevs[0].carrier, virtio.netdevs[0].speed_mbits), (Some(false), None));
        assert!(function(&tree.root, "06:00.0".parse().unwrap()).is_none());
    }

    #[test]
    fn a_device_without_a_name_shows_its_vendor() {
        let ids = PciIds::load(&machine().root);
        assert_eq!(ids.name(0x8086, 0xffff).as_deref(), Some("Intel Corporation"));
        assert_eq!(ids.name(0x1af4, 0x10fb).as_deref(), Some("Red Hat, Inc."));
        assert_eq!(ids.name(0xdead, 0x10fb), None);
    }
}
