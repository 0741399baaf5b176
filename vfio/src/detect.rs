//! Which way in this system has.

use crate::address::PciAddress;
use crate::sysfs::{Root, diagnose};
use crate::way::Way;

impl Way {
    /// The way that the system has for this function: iommufd where there is a device node and this process may open it and `/dev/iommu`, else the group.
    pub fn detect(root: &Root, address: PciAddress) -> Self {
        let iommu = root.path("dev/iommu");
        let usable = root.device_node(address).is_some_and(|node| {
            let nodes = [node, iommu];
            nodes.iter().all(|node| node.exists() && diagnose::permission(root, node).is_none())
        });
        if usable && !root.is_noiommu_group(address) { Self::Iommufd } else { Self::Group }
    }
}
