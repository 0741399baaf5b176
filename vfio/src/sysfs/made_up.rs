//! A made-up tree of sysfs, procfs and device nodes.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::Root;
use crate::address::PciAddress;

pub(crate) struct Tree {
    folder: TempDir,
    pub(crate) root: Root,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        Self { folder, root }
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn dir(&self, path: &str) -> &Self {
        fs::create_dir_all(self.folder.path().join(path)).unwrap();
        self
    }

    /// A link whose target is named from the root.
    pub(crate) fn link(&self, path: &str, to: &str) -> &Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        symlink(self.folder.path().join(to), path).unwrap();
        self
    }

    /// A PCI function with its ids, in a group, with a driver.
    pub(crate) fn function(&self, address: &str, ids: [&str; 3], driver: Option<&str>, group: Option<u32>) -> PciAddress {
        let folder = format!("sys/bus/pci/devices/{address}");
        for (file, value) in ["vendor", "device", "class"].iter().zip(ids) {
            self.file(&format!("{folder}/{file}"), &format!("{value}\n"));
        }
        self.file(&format!("{folder}/revision"), "0x01\n").file(&format!("{folder}/numa_node"), "-1\n");
        self.file(&format!("{folder}/driver_override"), "(null)\n");
        if let Some(driver) = driver {
            self.dir(&format!("sys/bus/pci/drivers/{driver}")).link(&format!("{folder}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
        }
        if let Some(group) = group {
            let of_group = format!("sys/kernel/iommu_groups/{group}");
            self.link(&format!("{of_group}/devices/{address}"), &folder).link(&format!("{folder}/iommu_group"), &of_group);
            self.dir("sys/class/iommu/dmar0");
        }
        address.parse().unwrap()
    }
}
