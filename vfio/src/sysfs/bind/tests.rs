//! Binding in a made-up tree, whose attributes are pipes with a made-up kernel at the other end.

use std::os::unix::fs::MetadataExt;
use std::thread::JoinHandle;

use super::*;
use crate::sysfs::made_up::Tree;

/// Does to the tree what the kernel does when an attribute is written.
struct Kernel {
    tree: Tree,
    pipes: Vec<PathBuf>,
    threads: Vec<JoinHandle<()>>,
}

const ADDRESS: &str = "0000:01:00.0";

impl Kernel {
    fn start(drivers: &[&str], owner: &str) -> Self {
        let tree = Tree::new();
        tree.function(ADDRESS, ["0x8086", "0x10fb", "0x020000"], Some(owner), Some(7));
        tree.dir("dev/vfio");
        let mut kernel = Self { tree, pipes: Vec::new(), threads: Vec::new() };
        for driver in drivers {
            kernel.tree.dir(&format!("sys/bus/pci/drivers/{driver}"));
            kernel.serve(&format!("sys/bus/pci/drivers/{driver}/unbind"), None);
            kernel.serve(&format!("sys/bus/pci/drivers/{driver}/bind"), Some(driver));
        }
        kernel.serve("sys/bus/pci/drivers_probe", Some("ixgbe"));
        kernel
    }

    fn serve(&mut self, attribute: &str, binds: Option<&str>) {
        let pipe = self.tree.root.path(attribute);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let (root, binds, path) = (self.tree.root.clone(), binds.map(String::from), pipe.clone());
        self.pipes.push(pipe);
        self.threads.push(std::thread::spawn(move || {
            while let Some(ADDRESS) = text(&path).as_deref() {
                act(&root, binds.as_deref());
            }
        }));
    }

    fn address(&self) -> PciAddress {
        ADDRESS.parse().unwrap()
    }

    fn driver(&self) -> Option<String> {
        self.tree.root.driver(self.address())
    }
}

fn act(root: &Root, binds: Option<&str>) {
    let folder = root.function(ADDRESS.parse().unwrap());
    let link = folder.join("driver");
    let Some(driver) = binds else { return fs::remove_file(link).unwrap() };
    let wanted = text(&folder.join("driver_override")).unwrap();
    // vfio-pci has no IDs of its own: it takes what names it. Others leave what is overridden to another.
    if link.exists() || (driver == VFIO_PCI) != (wanted == VFIO_PCI) {
        return;
    }
    if driver == VFIO_PCI {
        fs::write(root.path("dev/vfio/7"), "").unwrap();
    }
    std::os::unix::fs::symlink(root.path(format!("sys/bus/pci/drivers/{driver}")), link).unwrap();
}

impl Drop for Kernel {
    fn drop(&mut self) {
        for pipe in &self.pipes {
            fs::write(pipe, "end").unwrap();
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_function_goes_to_vfio_pci_and_back_to_the_driver_it_had() {
    let kernel = Kernel::start(&["vfio-pci", "igb_uio", "ixgbe"], "igb_uio");
    let root = &kernel.tree.root;
    let bound = bind(root, kernel.address(), &BindOptions::default()).unwrap();
    assert_eq!(bound, Bound { former: Some("igb_uio".into()), nodes: vec![root.path("dev/vfio/7")] });
    assert_eq!(kernel.driver().as_deref(), Some("vfio-pci"));
    // Again changes nothing, and the former driver is not forgotten.
    assert_eq!(bind(root, kernel.address(), &BindOptions::default()).unwrap(), bound);
    assert_eq!(unbind(root, kernel.address()).unwrap().as_deref(), Some("igb_uio"));
    assert_eq!(kernel.driver().as_deref(), Some("igb_uio"));
    assert_eq!(text(&root.function(kernel.address()).join("driver_override")).as_deref(), Some(""));
    assert_eq!(remembered(root, kernel.address()), None);
    // What is not bound to vfio-pci stays where it is.
    assert_eq!(unbind(root, kernel.address()).unwrap().as_deref(), Some("igb_uio"));
}

#[test]
fn a_function_whose_former_driver_nobody_knows_is_probed() {
    let kernel = Kernel::start(&["vfio-pci", "ixgbe"], "vfio-pci");
    assert!(unbind(&kernel.tree.root, kernel.address()).is_ok());
    assert!(wait(|| kernel.driver().as_deref() == Some("ixgbe")));
}

#[test]
fn the_default_route_is_kept_unless_forced() {
    let kernel = Kernel::start(&["vfio-pci", "ixgbe"], "ixgbe");
    let root = &kernel.tree.root;
    kernel.tree.dir(&format!("sys/bus/pci/devices/{ADDRESS}/net/eth0"));
    // Through a bridge on a VLAN on the interface.
    kernel.tree.dir("sys/class/net/br0/lower_eth0.5").dir("sys/class/net/eth0.5/lower_eth0");
    kernel.tree.file(
        "proc/net/ipv6_route",
        &format!("{0} 00 {0} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     br0\n", "0".repeat(32)),
    );
    let error = bind(root, kernel.address(), &BindOptions::default()).unwrap_err();
    assert_eq!(*error.cause, Cause::DefaultRoute { netdev: "eth0".into(), via: "br0".into() });
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(kernel.driver().as_deref(), Some("ixgbe"));
    bind(root, kernel.address(), &BindOptions { force: true, user: None }).unwrap();
    assert_eq!(kernel.driver().as_deref(), Some("vfio-pci"));
}

#[test]
fn without_the_module_nothing_is_touched() {
    let kernel = Kernel::start(&["ixgbe"], "ixgbe");
    let error = bind(&kernel.tree.root, kernel.address(), &BindOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("To mend it: modprobe vfio-pci"), "{error}");
    assert_eq!(kernel.driver().as_deref(), Some("ixgbe"));
    let missing = bind(&kernel.tree.root, "09:00.0".parse().unwrap(), &BindOptions::default()).unwrap_err();
    assert_eq!(*missing.cause, Cause::NoSuchFunction("09:00.0".parse().unwrap()));
}

#[test]
fn a_bind_that_fails_gives_the_function_back() {
    let kernel = Kernel::start(&["ixgbe"], "ixgbe");
    // A driver that cannot be written to.
    kernel.tree.dir("sys/bus/pci/drivers/vfio-pci/bind");
    let error = bind(&kernel.tree.root, kernel.address(), &BindOptions::default()).unwrap_err();
    assert!(matches!(*error.cause, Cause::Kernel { errno: libc::EISDIR, .. }), "{error}");
    assert_eq!(kernel.driver().as_deref(), Some("ixgbe"));
    assert_eq!(remembered(&kernel.tree.root, kernel.address()), None);
}

#[test]
fn the_nodes_go_to_the_user() {
    let kernel = Kernel::start(&["vfio-pci", "ixgbe"], "ixgbe");
    let root = &kernel.tree.root;
    let me = fs::metadata(root.path("dev")).unwrap().uid();
    // As root, someone else; else the one that is allowed.
    let owner = if me == 0 { 4242 } else { me };
    kernel.tree.file("etc/passwd", &format!("root:x:0:0::/root:/bin/sh\nada:x:{owner}:100::/home/ada:/bin/sh\n"));
    let user = |name: &str| BindOptions { force: false, user: Some(name.into()) };
    let unknown = bind(root, kernel.address(), &user("eve")).unwrap_err();
    assert_eq!(unknown.on, "eve");
    assert_eq!(kernel.driver().as_deref(), Some("ixgbe"));
    let bound = bind(root, kernel.address(), &user("ada")).unwrap();
    assert_eq!(fs::metadata(&bound.nodes[0]).unwrap().uid(), owner);
}

#[test]
fn a_function_in_use_is_not_taken_away() {
    let kernel = Kernel::start(&["vfio-pci", "ixgbe"], "vfio-pci");
    kernel.tree.file("dev/vfio/7", "").link("proc/321/fd/5", "dev/vfio/7").file("proc/321/comm", "respond\n");
    let error = unbind(&kernel.tree.root, kernel.address()).unwrap_err();
    assert!(error.to_string().contains("in use by respond (process 321)"), "{error}");
    assert!(error.to_string().ends_with("end process 321 (respond) first"), "{error}");
    assert_eq!(kernel.driver().as_deref(), Some("vfio-pci"));
}
