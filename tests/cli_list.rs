//! `barewire list` on a made-up machine.

mod common;

use common::machine::Machine;
use serde_json::json;

#[test]
fn every_network_function_has_one_line() {
    let machine = Machine::new("cli-list");
    let outcome = machine.barewire(&["list"]);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    let lines: Vec<_> =
        outcome.stdout.lines().map(|line| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>()).collect();
    let wanted = [
        vec!["ADDRESS", "NAME", "DRIVER", "GROUP", "NUMA", "INTERFACE", "BAREWIRE"],
        vec!["0000:01:00.0", "Intel 82599ES SFI/SFP+", "ixgbe", "7 with 0000:01:00.1", "1", "enp1s0f0 up, 10000 Mbit/s", "ixgbe"],
        vec!["0000:01:00.1", "Intel 82599ES SFI/SFP+", "vfio-pci", "7 with 0000:01:00.0", "-", "-", "ixgbe"],
        vec!["0000:05:00.0", "virtio network device", "virtio-pci", "-", "-", "eth0 no link, default route", "virtio-net"],
        vec!["0000:06:00.0", "15b3:1017", "-", "8", "-", "-", "-"],
    ];
    assert_eq!(lines, wanted, "{}", outcome.stdout);
    assert!(!outcome.stdout.contains('\x1b'));
}

#[test]
fn names_come_from_the_ids_file_where_there_is_one() {
    for file in ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"] {
        let machine = Machine::new("cli-list-names");
        machine.file(file, "15b3  Mellanox Technologies\n\t1017  MT27800 Family [ConnectX-5]\n8086  Intel Corporation\n\t10fb  82599ES\n");
        let (listed, _) = machine.json(&["list"]);
        let names: Vec<_> = listed.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
        let intel = "Intel Corporation 82599ES";
        assert_eq!(json!(names), json!([intel, intel, "virtio network device", "Mellanox Technologies MT27800 Family [ConnectX-5]"]));
    }
}

#[test]
fn as_json() {
    let machine = Machine::new("cli-list-json");
    let (listed, status) = machine.json(&["list"]);
    assert_eq!((status, listed.as_array().unwrap().len()), (Some(0), 4));
    let node = machine.path("dev/vfio/7");
    let first = json!({
        "address": "0000:01:00.0",
        "name": "Intel 82599ES SFI/SFP+",
        "vendor": "8086",
        "device": "10fb",
        "driver": "ixgbe",
        "barewire_driver": "ixgbe",
        "iommu_group": 7,
        "noiommu": false,
        "group_members": [{ "address": "0000:01:00.1", "driver": "vfio-pci" }],
        "numa_node": 1,
        "interfaces": [{ "name": "enp1s0f0", "mac": "90:e2:ba:00:00:01", "link": true, "speed_mbps": 10000 }],
        "default_route": null,
        "nodes": [node.to_str().unwrap()],
    });
    assert_eq!(listed[0], first);
    assert_eq!((&listed[2]["default_route"], &listed[2]["interfaces"][0]["link"]), (&json!("eth0"), &json!(false)));
    assert_eq!((&listed[3]["name"], &listed[3]["barewire_driver"], &listed[3]["driver"]), (&json!(null), &json!(null), &json!(null)));
}

#[test]
fn a_machine_without_any_says_so() {
    let outcome = common::machine::barewire(&["list", "--root", "/nonexistent"]);
    assert_eq!((outcome.status, outcome.stdout.lines().count()), (Some(0), 1));
    assert!(outcome.stdout.starts_with("no PCI network function"), "{outcome:?}");
    assert_eq!(common::machine::barewire(&["list", "--json", "--root", "/nonexistent"]).stdout, "[]\n");
}
