//! The checks on made-up machines: one where all is well, and one for each cause.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::sysfs::made_up::Tree;
use crate::way::Way;

const ADDRESS: &str = "0000:01:00.0";

/// As Linux 6.1 shows them behind an Intel IOMMU with interrupt remapping.
const INTERRUPTS: &str = "            CPU0       CPU1
   8:          0          0  IR-IO-APIC    8-edge      rtc0
  24:          0          0  DMAR-MSI    0-edge      dmar0
  25:          0         14  IR-PCI-MSI 81920-edge      virtio1-config
 NMI:          0          0   Non-maskable interrupts
";

/// A machine on which a user without privileges may open a function bound to vfio-pci.
fn good() -> Tree {
    let tree = Tree::new();
    tree.function(ADDRESS, ["0x8086", "0x10fb", "0x020000"], Some("vfio-pci"), Some(7));
    tree.function("0000:00:01.0", ["0x8086", "0x0001", "0x060400"], Some("pcieport"), Some(7));
    tree.file("sys/kernel/iommu_groups/7/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
    tree.file("sys/firmware/acpi/tables/DMAR", "");
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "40\n");
    tree.file(
        "proc/self/status",
        "Uid:\t4242\t4242\t4242\t4242\nGid:\t9\t4243\t9\t9\nGroups:\t100\nVmLck:\t    64 kB\nVmPin:\t  0 kB\nCapEff:\t0000000000000000\n",
    );
    tree.file(
        "proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         134217728            134217728            bytes\n",
    );
    tree.file("proc/interrupts", INTERRUPTS);
    tree.file("proc/net/route", "Iface Destination\neth9 00000000 0100000A 0003 0 0 100 00000000 0 0 0\n");
    for node in ["dev/vfio/vfio", "dev/vfio/7"] {
        tree.file(node, "");
        mode(&tree, node, 0o666);
    }
    tree
}

fn mode(tree: &Tree, node: &str, mode: u32) {
    fs::set_permissions(tree.root.path(node), fs::Permissions::from_mode(mode)).unwrap();
}

/// The red checks: name, cause, remedy.
fn reds(tree: &Tree) -> Vec<(&'static str, String, String)> {
    of(tree, Verdict::Red)
}

/// The checks with this verdict: name, cause, remedy.
fn of(tree: &Tree, verdict: Verdict) -> Vec<(&'static str, String, String)> {
    let checks = doctor(&tree.root, Some(ADDRESS.parse().unwrap()));
    checks.into_iter().filter(|check| check.verdict == verdict).map(|check| (check.name, check.cause, check.remedy)).collect()
}

/// The one warning, where nothing is red.
fn warning(tree: &Tree) -> (&'static str, String, String) {
    assert_eq!(reds(tree), []);
    let mut all = of(tree, Verdict::Warning);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The one red check.
fn red(tree: &Tree) -> (&'static str, String, String) {
    let mut all = reds(tree);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_machine_where_all_is_well_is_green() {
    let tree = good();
    let checks = doctor(&tree.root, Some(ADDRESS.parse().unwrap()));
    let shown: Vec<_> = checks.iter().map(|check| (check.name, check.verdict)).collect();
    use Verdict::{Green, Skipped};
    let machine = ["vfio-pci module", "IOMMU", "interrupts", "VFIO node", "huge pages", "locked memory"].map(|name| (name, Green));
    let function =
        ["function", "default route", "driver", "IOMMU group", "group viable", "device addresses", "permission", "in use"].map(|name| (name, Green));
    assert_eq!(shown, [&machine[..], &[("no-IOMMU mode", Skipped)], &function[..]].concat());
    assert!(checks.iter().any(|check| check.cause == "all but 0xfee00000 to 0xfeefffff (msi)"));
    assert_eq!(doctor(&tree.root, None).len(), 7);
}

#[test]
fn no_iommu_in_the_kernel_or_in_the_firmware() {
    let tree = good();
    fs::remove_dir_all(tree.root.path("sys/class/iommu")).unwrap();
    fs::remove_file(tree.root.function(ADDRESS.parse().unwrap()).join("iommu_group")).unwrap();
    let names = |tree: &Tree| reds(tree).into_iter().map(|red| red.0).collect::<Vec<_>>();
    assert_eq!(names(&tree), ["IOMMU", "no-IOMMU mode", "IOMMU group"]);
    assert!(reds(&tree)[0].2.starts_with("add intel_iommu=on to the kernel command line"));
    fs::rename(tree.root.path("sys/firmware/acpi/tables/DMAR"), tree.root.path("sys/firmware/acpi/tables/IVRS")).unwrap();
    assert!(reds(&tree)[0].2.starts_with("add amd_iommu=on"));
    fs::remove_file(tree.root.path("sys/firmware/acpi/tables/IVRS")).unwrap();
    assert!(reds(&tree)[2].1.contains("the firmware describes no IOMMU"));
    assert!(reds(&tree)[1].2.starts_with("echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"));
}

#[test]
fn an_iommu_that_leaves_this_function_out() {
    let tree = good();
    fs::remove_file(tree.root.function(ADDRESS.parse().unwrap()).join("iommu_group")).unwrap();
    let all = reds(&tree);
    assert_eq!(all.iter().map(|red| red.0).collect::<Vec<_>>(), ["IOMMU group"]);
    assert!(all[0].1.contains("in no group of it"));
}

#[test]
fn the_module_is_missing() {
    let tree = good();
    tree.dir("sys/bus/pci/drivers/ixgbe").link(&format!("sys/bus/pci/devices/{ADDRESS}/driver"), "sys/bus/pci/drivers/ixgbe");
    fs::remove_dir_all(tree.root.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    tree.dir(&format!("sys/bus/pci/devices/{ADDRESS}/net/enp1s0"));
    let all = reds(&tree);
    assert_eq!((all[0].0, all[0].2.as_str()), ("vfio-pci module", "modprobe vfio-pci"));
    assert_eq!((all[1].0, all[1].2.as_str()), ("driver", "barewire bind 0000:01:00.0"));
    assert_eq!(all[1].1, "the function is still bound to ixgbe, which uses it as enp1s0");
    assert_eq!(all.len(), 2);
}

#[test]
fn the_group_is_not_viable() {
    let tree = good();
    tree.function("0000:01:00.1", ["0x8086", "0x10fb", "0x020000"], Some("ixgbe"), Some(7));
    tree.function("0000:01:00.2", ["0x8086", "0x10fb", "0x020000"], None, Some(7));
    let (name, cause, remedy) = red(&tree);
    assert_eq!(name, "group viable");
    assert_eq!(cause, "IOMMU group 7 is not viable: other functions in it are in the kernel's hands: 0000:01:00.1 (ixgbe)");
    assert!(remedy.starts_with("barewire bind 0000:01:00.1;"));
}

#[test]
fn the_node_is_for_somebody_else() {
    let tree = good();
    mode(&tree, "dev/vfio/7", 0o600);
    let (name, cause, remedy) = red(&tree);
    assert_eq!(name, "permission");
    assert!(cause.contains("dev/vfio/7 (owner ") && cause.ends_with("mode 0600)"), "{cause}");
    assert!(remedy.starts_with("chown $USER "));
    // A root's capability opens it.
    tree.file("proc/self/status", "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n");
    assert_eq!(reds(&tree), []);
    fs::remove_file(tree.root.path("dev/vfio/vfio")).unwrap();
    assert_eq!(reds(&tree).iter().map(|red| red.2.as_str()).collect::<Vec<_>>(), ["modprobe vfio", "modprobe vfio-pci"]);
}

#[test]
fn one_way_in_is_enough_but_it_must_be_open_in_full() {
    let tree = good();
    tree.dir(&format!("sys/bus/pci/devices/{ADDRESS}/vfio-dev/vfio3")).file("dev/vfio/devices/vfio3", "").file("dev/iommu", "");
    mode(&tree, "dev/vfio/7", 0o600);
    mode(&tree, "dev/vfio/devices/vfio3", 0o666);
    mode(&tree, "dev/iommu", 0o600);
    assert_eq!(red(&tree).0, "permission");
    assert_eq!(Way::detect(&tree.root, ADDRESS.parse().unwrap()), Way::Group);
    mode(&tree, "dev/iommu", 0o666);
    assert_eq!(reds(&tree), []);
    assert_eq!(Way::detect(&tree.root, ADDRESS.parse().unwrap()), Way::Iommufd);
    fs::remove_file(tree.root.path("dev/iommu")).unwrap();
    assert_eq!(Way::detect(&tree.root, ADDRESS.parse().unwrap()), Way::Group);
}

#[test]
fn too_little_memory_may_be_locked() {
    let tree = good();
    tree.file("proc/self/limits", "Max locked memory         8126464            8126464            bytes\n");
    let (name, cause, remedy) = red(&tree);
    assert_eq!(name, "locked memory");
    assert!(cause.contains("allows 8126464 bytes and 67174400 are needed in all, 65536 of them locked already by this process"), "{cause}");
    assert!(remedy.starts_with("ulimit -l 65600"), "{remedy}");
    // The usual limit serves one function: no reason to stop, and still one to raise it once for all.
    tree.file("proc/self/limits", "Max locked memory         8388608            8388608            bytes\n");
    let (name, remark, remedy) = warning(&tree);
    assert!(name == "locked memory" && remark.starts_with("the limit is 8388608 bytes: enough for one function"), "{remark}");
    assert!(remedy.starts_with("ulimit -l 65600"), "{remedy}");
    tree.file("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n");
    assert_eq!(reds(&tree), []);
}

#[test]
fn no_huge_pages_are_free() {
    let tree = good();
    // Three serve a function; fewer are in the way of speed alone.
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    assert_eq!((reds(&tree), of(&tree, Verdict::Warning)), (vec![], vec![]));
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "2\n");
    let (name, remark, remedy) = warning(&tree);
    assert_eq!((name, remedy.as_str()), ("huge pages", "echo 67 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"));
    assert!(remark.ends_with("4 KiB pages serve, but cost speed"), "{remark}");
    // One page of 1 GiB does as well.
    tree.file("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "1\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1\n");
    assert_eq!((reds(&tree), of(&tree, Verdict::Warning)), (vec![], vec![]));
}

#[test]
fn without_an_iommu_huge_pages_are_what_there_is() {
    let tree = good();
    fs::remove_dir_all(tree.root.path("sys/class/iommu")).unwrap();
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "2\n");
    let red = reds(&tree).into_iter().find(|red| red.0 == "huge pages").unwrap();
    assert_eq!(red.1, "3 huge pages of 2048 KiB are needed and too few of the 64 there are free");
}

#[test]
fn nothing_remaps_interrupts() {
    let tree = good();
    tree.file("proc/interrupts", &INTERRUPTS.replace("IR-", ""));
    tree.dir("sys/module/vfio_iommu_type1").dir("sys/module/iommufd");
    let (name, cause, remedy) = red(&tree);
    assert!(name == "interrupts" && cause.starts_with("nothing remaps interrupts on this machine"), "{name}: {cause}");
    let parameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";
    assert!(remedy.contains("intremap=on") && remedy.contains("take it over") && remedy.ends_with(&format!("echo 1 > {parameter}")), "{remedy}");
    // What was allowed for the other way does not help.
    tree.file("sys/module/iommufd/parameters/allow_unsafe_interrupts", "Y\n");
    assert_eq!(reds(&tree).len(), 1);
    tree.file(&parameter[1..], "Y\n");
    assert_eq!(reds(&tree), []);
    // A kernel whose iommufd has the container's node as well looks at the parameter of that.
    fs::remove_dir_all(tree.root.path("sys/module/vfio_iommu_type1")).unwrap();
    assert_eq!(reds(&tree), []);
    tree.file("sys/module/iommufd/parameters/allow_unsafe_interrupts", "N\n");
    assert!(red(&tree).2.ends_with("/sys/module/iommufd/parameters/allow_unsafe_interrupts"));
    // Elsewhere than on x86 the controllers have other names.
    tree.file("proc/interrupts", " 24:   0   ITS-MSI 81920 Edge      virtio1-config\n");
    assert_eq!(reds(&tree), []);
}

#[test]
fn iommufd_counts_what_the_users_other_processes_have_pinned() {
    let tree = good();
    tree.dir(&format!("sys/bus/pci/devices/{ADDRESS}/vfio-dev/vfio3")).file("dev/vfio/devices/vfio3", "").file("dev/iommu", "");
    for node in ["dev/iommu", "dev/vfio/devices/vfio3"] {
        mode(&tree, node, 0o666);
    }
    assert_eq!(Way::detect(&tree.root, ADDRESS.parse().unwrap()), Way::Iommufd);
    let process = |pid: u32, uid: u32, kib: u32, capabilities: &str| {
        tree.file(&format!("proc/{pid}/status"), &format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nVmPin:\t{kib} kB\nCapEff:\t{capabilities}\n"));
        tree.file(&format!("proc/{pid}/comm"), "respond\n");
    };
    // Another user's, one that needs not ask, and one that has nothing: none of them counts.
    process(91, 5, 1 << 20, "0");
    process(92, 4242, 1 << 20, "0000000000004000");
    process(93, 4242, 0, "0");
    assert_eq!(reds(&tree), []);
    process(94, 4242, 131_000, "0");
    let (name, cause, remedy) = red(&tree);
    assert_eq!(name, "locked memory");
    let needed = (64 << 20) + 131_000 * 1024;
    assert_eq!(
        cause,
        format!(
            "the limit on locked memory (RLIMIT_MEMLOCK) allows 134217728 bytes and {needed} are needed in all, 134144000 by respond (process 94): iommufd counts all processes of a user together"
        )
    );
    assert!(remedy.starts_with(&format!("ulimit -l {}", needed / 1024)), "{remedy}");
}

#[test]
fn another_process_has_it() {
    let tree = good();
    tree.link("proc/99/fd/3", "dev/vfio/7").file("proc/99/comm", "testpmd\n").link("proc/98/fd/3", "dev/vfio/8");
    let (name, cause, remedy) = red(&tree);
    assert_eq!((name, remedy.as_str()), ("in use", "end process 99 (testpmd) first"));
    assert!(cause.ends_with("dev/vfio/7 is in use by testpmd (process 99)"), "{cause}");
    fs::remove_file(tree.root.path("proc/99/fd/3")).unwrap();
    assert_eq!(reds(&tree), []);
    // A function beside it, through its own node.
    tree.function("0000:01:00.1", ["0x8086", "0x10fb", "0x020000"], Some("vfio-pci"), Some(7));
    tree.dir("sys/bus/pci/devices/0000:01:00.1/vfio-dev/vfio4").link("proc/99/fd/3", "dev/vfio/devices/vfio4");
    assert!(red(&tree).1.ends_with("dev/vfio/devices/vfio4 is in use by testpmd (process 99)"));
}

#[test]
fn the_firmware_keeps_memory_of_the_device() {
    let tree = good();
    tree.file("sys/kernel/iommu_groups/7/reserved_regions", "0x00000000000e0000 0x00000000000fffff direct-relaxable\n");
    assert_eq!(reds(&tree), []);
    tree.file("sys/kernel/iommu_groups/7/reserved_regions", "0x000000007a000000 0x000000007bffffff direct\n");
    let (name, cause, _) = red(&tree);
    assert_eq!(name, "device addresses");
    assert!(cause.ends_with("0x7a000000 to 0x7bffffff"), "{cause}");
}

#[test]
fn a_function_that_does_not_exist_is_one_red_check() {
    let tree = good();
    let checks = doctor(&tree.root, Some("0000:77:00.0".parse().unwrap()));
    let red: Vec<_> = checks.iter().filter(|check| check.verdict == Verdict::Red).map(|check| check.name).collect();
    assert_eq!(red, ["function"]);
}
