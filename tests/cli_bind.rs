//! `barewire bind` and `unbind` on a made-up machine.

mod common;

use std::os::unix::fs::MetadataExt;

use common::machine::{Machine, barewire};
use serde_json::json;

const CARD: &str = "0000:01:00.0";
const DEFAULT_ROUTE: &str = "0000:05:00.0";

#[test]
fn there_and_back() {
    let mut machine = Machine::new("cli-bind");
    machine.start_kernel(&["ixgbe", "vfio-pci"]);
    let node = machine.path("dev/vfio/7");
    let bound = machine.barewire(&["bind", CARD]);
    assert_eq!(bound.stdout, format!("{CARD}: bound to vfio-pci, was ixgbe; reached by {}\n", node.display()), "{bound:?}");
    assert_eq!((bound.status, machine.driver(CARD).as_deref()), (Some(0), Some("vfio-pci")));
    let wanted = json!({ "address": CARD, "driver": "vfio-pci", "former": "ixgbe", "nodes": [node.to_str().unwrap()] });
    assert_eq!(machine.json(&["bind", CARD]), (wanted, Some(0)), "again changes nothing");
    let back = machine.barewire(&["unbind", "01:00.0"]);
    assert_eq!((back.stdout, back.status), (format!("{CARD}: back with ixgbe\n"), Some(0)));
    assert_eq!(machine.driver(CARD).as_deref(), Some("ixgbe"));
    let again = machine.barewire(&["unbind", CARD]);
    assert_eq!((again.stdout, again.status), (format!("{CARD}: not bound to VFIO; its driver is ixgbe\n"), Some(0)));
}

#[test]
fn a_neighbour_in_the_kernels_hands_is_told() {
    let machine = Machine::new("cli-bind-group");
    // Bound already, beside a function that ixgbe has.
    let bound = machine.barewire(&["bind", "0000:01:00.1"]);
    assert_eq!(bound.status, Some(0), "{bound:?}");
    let warning = bound.stderr;
    assert!(warning.starts_with("warning: IOMMU group 7 is not viable") && warning.contains("To mend it: barewire bind 0000:01:00.0"), "{warning}");
}

#[test]
fn the_default_route_is_refused_unless_forced() {
    let mut machine = Machine::new("cli-bind-route");
    machine.start_kernel(&["virtio-pci", "vfio-pci"]);
    let refused = machine.barewire(&["bind", DEFAULT_ROUTE]);
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains("default route goes through eth0"), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(machine.driver(DEFAULT_ROUTE).as_deref(), Some("virtio-pci"), "it was not touched");
    assert_eq!(machine.barewire(&["bind", DEFAULT_ROUTE, "--force"]).status, Some(0));
    assert_eq!(machine.driver(DEFAULT_ROUTE).as_deref(), Some("vfio-pci"));
}

#[test]
fn the_node_goes_to_the_user() {
    let machine = Machine::new("cli-bind-user");
    let me = std::fs::metadata(machine.path("dev")).unwrap().uid();
    // As root, someone else; else the one that is allowed.
    let owner = if me == 0 { 4242 } else { me };
    machine.file("etc/passwd", &format!("root:x:0:0::/root:/bin/sh\nada:x:{owner}:100::/home/ada:/bin/sh\n"));
    let unknown = machine.barewire(&["bind", "0000:01:00.1", "--user", "eve"]);
    assert!(unknown.status == Some(1) && unknown.stderr.contains("no such user"), "{unknown:?}");
    assert_eq!(machine.barewire(&["bind", "0000:01:00.1", "--user", "ada"]).status, Some(0));
    assert_eq!(std::fs::metadata(machine.path("dev/vfio/7")).unwrap().uid(), owner);
}

#[test]
fn what_is_not_there_or_no_address_is_told() {
    let machine = Machine::new("cli-bind-wrong");
    for command in ["bind", "unbind"] {
        let missing = machine.barewire(&[command, "0000:09:00.0"]);
        assert_eq!(missing.status, Some(1), "{missing:?}");
        assert!(missing.stderr.contains("there is no PCI function 0000:09:00.0"), "{missing:?}");
    }
    for arguments in [&["bind", "eth0"][..], &["unbind", "0000:01:00"], &["doctor", "0000:01:20.0"]] {
        let wrong = barewire(arguments);
        assert_eq!(wrong.status, Some(2), "{wrong:?}");
        assert!(wrong.stderr.contains("domain:bus:device.function") && wrong.stdout.is_empty(), "{wrong:?}");
    }
}
