//! A made-up machine for the tests of the `barewire` tool: a folder with sysfs, procfs and device nodes, and who plays its kernel.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use serde_json::Value;

use super::{Directory, Outcome};

/// The folder. Of its functions 0000:01:00.0 and .1 are an 82599 in group 7, 0000:05:00.0 is a virtio card without a group, 0000:06:00.0 one that nothing
/// here drives, and 0000:00:02.0 no network function.
pub(crate) struct Machine {
    _directory: Directory,
    root: PathBuf,
    pipes: Vec<PathBuf>,
    kernel: Vec<JoinHandle<()>>,
}

impl Machine {
    pub(crate) fn new(test: &str) -> Self {
        let directory = Directory::new(test);
        let root = PathBuf::from(directory.file("root"));
        let machine = Self { _directory: directory, root, pipes: Vec::new(), kernel: Vec::new() };
        machine.function("0000:00:02.0", ["0x8086", "0x1234", "0x030000"], Some("i915"), Some(1));
        machine.function("0000:01:00.0", ["0x8086", "0x10fb", "0x020000"], Some("ixgbe"), Some(7));
        machine.function("0000:01:00.1", ["0x8086", "0x10fb", "0x020000"], Some("vfio-pci"), Some(7));
        machine.function("0000:05:00.0", ["0x1af4", "0x1041", "0x020000"], Some("virtio-pci"), None);
        machine.function("0000:06:00.0", ["0x15b3", "0x1017", "0x020000"], None, Some(8));
        machine.dir("sys/bus/pci/devices/0000:01:00.0/net/enp1s0f0").dir("sys/bus/pci/devices/0000:05:00.0/virtio3/net/eth0");
        machine.file("sys/class/net/enp1s0f0/address", "90:e2:ba:00:00:01\n").file("sys/class/net/enp1s0f0/carrier", "1\n");
        machine.file("sys/class/net/enp1s0f0/speed", "10000\n").file("sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n");
        machine.file("sys/class/net/eth0/address", "02:fc:00:00:00:01\n").file("sys/class/net/eth0/carrier", "0\n");
        machine.file("proc/net/route", "Iface Destination Gateway Flags\neth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\n");
        machine.file("proc/self/status", "Uid:\t4242\t4242\t4242\t4242\nGid:\t9\t9\t9\t9\nGroups:\t9\nCapEff:\t0000000000004002\n");
        machine.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64\n");
        machine.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "40\n");
        machine.file("dev/vfio/vfio", "").file("dev/vfio/7", "");
        machine
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn dir(&self, path: &str) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.path(to), path).unwrap();
    }

    /// A PCI function: vendor, device and class as sysfs writes them, its driver and its IOMMU group.
    fn function(&self, address: &str, ids: [&str; 3], driver: Option<&str>, group: Option<u32>) {
        let folder = format!("sys/bus/pci/devices/{address}");
        for (file, value) in ["vendor", "device", "class"].iter().zip(ids) {
            self.file(&format!("{folder}/{file}"), &format!("{value}\n"));
        }
        self.file(&format!("{folder}/numa_node"), "-1\n").file(&format!("{folder}/driver_override"), "(null)\n");
        if let Some(driver) = driver {
            self.dir(&format!("sys/bus/pci/drivers/{driver}"));
            self.link(&format!("{folder}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
        }
        if let Some(group) = group {
            let of_group = format!("sys/kernel/iommu_groups/{group}");
            self.link(&format!("{of_group}/devices/{address}"), &folder);
            self.link(&format!("{folder}/iommu_group"), &of_group);
            self.dir("sys/class/iommu/dmar0");
        }
    }

    /// The driver that a function is bound to.
    pub(crate) fn driver(&self, address: &str) -> Option<String> {
        let link = fs::read_link(self.path(&format!("sys/bus/pci/devices/{address}/driver"))).ok()?;
        Some(link.file_name()?.to_str()?.into())
    }

    /// Lets the drivers bind and unbind what is written to their attributes, as the kernel does.
    pub(crate) fn start_kernel(&mut self, drivers: &[&str]) {
        for driver in drivers {
            self.serve(&format!("sys/bus/pci/drivers/{driver}/unbind"), None);
            self.serve(&format!("sys/bus/pci/drivers/{driver}/bind"), Some((*driver).into()));
        }
    }

    fn serve(&mut self, attribute: &str, binds: Option<String>) {
        let pipe = self.path(attribute);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        self.pipes.push(pipe.clone());
        let root = self.root.clone();
        self.kernel.push(std::thread::spawn(move || {
            while let Ok(address) = fs::read_to_string(&pipe) {
                if address == END {
                    return;
                }
                act(&root, &address, binds.as_deref());
            }
        }));
    }

    /// Runs the tool on this machine.
    pub(crate) fn barewire(&self, arguments: &[&str]) -> Outcome {
        let root = self.root.to_str().unwrap();
        barewire(&[arguments, &["--root", root]].concat())
    }

    /// What the tool prints as JSON, and its exit status.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let outcome = self.barewire(&[arguments, &["--json"]].concat());
        let json = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        (json, outcome.status)
    }
}

/// What ends a thread of the kernel.
const END: &str = "end";

fn act(root: &Path, address: &str, binds: Option<&str>) {
    let link = root.join(format!("sys/bus/pci/devices/{address}/driver"));
    match binds {
        None => fs::remove_file(link).unwrap(),
        Some(driver) => symlink(root.join(format!("sys/bus/pci/drivers/{driver}")), link).unwrap(),
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for pipe in &self.pipes {
            let _ = fs::write(pipe, END);
        }
        for thread in self.kernel.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Runs the tool.
pub(crate) fn barewire(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_barewire")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
