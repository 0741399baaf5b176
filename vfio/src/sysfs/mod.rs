//! What the running system says about itself: sysfs, procfs and the device nodes, below a root folder that is a parameter,
//! so that the same code looks at a made-up tree.
//!
//! | file | job |
//! | --- | --- |
//! | `list` | PCI network functions and what belongs to them |
//! | `bind` | giving a function to vfio-pci and back |
//! | `diagnose` | why something failed, found by looking |
//! | `doctor` | all of these causes as a list of checks |
//! | `irqs` | the host's interrupts that tell of a function's vectors |

pub mod bind;
pub mod diagnose;
pub mod doctor;
pub mod irqs;
pub mod list;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::address::PciAddress;

/// The folder under which `sys`, `proc`, `dev`, `run`, `etc` and `usr` are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self::system()
    }
}

impl Root {
    /// This machine.
    pub fn system() -> Self {
        Self("/".into())
    }

    /// A made-up tree.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The path of something below the root: `sys/bus/pci`.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// The folder of one PCI function.
    pub fn function(&self, address: PciAddress) -> PathBuf {
        self.path(format!("sys/bus/pci/devices/{address}"))
    }

    /// Whether there is such a PCI function.
    pub fn has_function(&self, address: PciAddress) -> bool {
        self.function(address).exists()
    }

    /// The driver that the function is bound to.
    pub fn driver(&self, address: PciAddress) -> Option<String> {
        link_name(&self.function(address).join("driver"))
    }

    /// The number of the function's IOMMU group.
    pub fn iommu_group(&self, address: PciAddress) -> Option<u32> {
        link_name(&self.function(address).join("iommu_group"))?.parse().ok()
    }

    /// Whether the function's group is one that the kernel made up because there is no IOMMU (no-IOMMU mode).
    pub fn is_noiommu_group(&self, address: PciAddress) -> bool {
        text(&self.function(address).join("iommu_group/name")).as_deref() == Some("vfio-noiommu")
    }

    /// All PCI functions of the function's IOMMU group, itself included.
    pub fn group_members(&self, address: PciAddress) -> Vec<PciAddress> {
        let mut members: Vec<_> = names(&self.function(address).join("iommu_group/devices")).iter().filter_map(|name| name.parse().ok()).collect();
        members.sort();
        members
    }

    /// The function's VFIO device node (`/dev/vfio/devices/vfioN`), where the kernel makes any.
    pub fn device_node(&self, address: PciAddress) -> Option<PathBuf> {
        let name = names(&self.function(address).join("vfio-dev")).into_iter().next()?;
        Some(self.path("dev/vfio/devices").join(name))
    }

    /// The node of the function's IOMMU group (`/dev/vfio/N`, in no-IOMMU mode `/dev/vfio/noiommu-N`).
    pub fn group_node(&self, address: PciAddress) -> Option<PathBuf> {
        let group = self.iommu_group(address)?;
        let prefix = if self.is_noiommu_group(address) { "noiommu-" } else { "" };
        Some(self.path(format!("dev/vfio/{prefix}{group}")))
    }

    /// The network interfaces that the kernel made for the function.
    pub fn netdevs(&self, address: PciAddress) -> Vec<String> {
        let folder = self.function(address);
        let mut found = names(&folder.join("net"));
        // A virtio function has its interface one device further down.
        for child in names(&folder).iter().filter(|name| name.starts_with("virtio")) {
            found.extend(names(&folder.join(child).join("net")));
        }
        found.sort();
        found
    }
}

/// A file's text without the white space around it.
pub(crate) fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

/// A number in a file, in hexadecimal where it starts with `0x`.
pub(crate) fn number(path: &Path) -> Option<i64> {
    let text = text(path)?;
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The last part of what a link points to.
pub(crate) fn link_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}

/// What a folder holds, sorted; nothing where there is no such folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes a sysfs attribute, which must exist.
pub(crate) fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    // One write call: the kernel takes each as a command of its own.
    file.write_all(value.as_bytes())
}

#[cfg(test)]
pub(crate) mod made_up;
