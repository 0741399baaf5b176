//! `barewire doctor` on a made-up machine.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::machine::Machine;
use serde_json::{Value, json};

const CARD: &str = "0000:01:00.1";

/// A machine on which nothing is in the way of [`CARD`].
fn good(test: &str) -> Machine {
    let machine = Machine::new(test);
    // The neighbour in the group.
    std::fs::remove_file(machine.path("sys/bus/pci/devices/0000:01:00.0/driver")).unwrap();
    machine
}

fn red(checks: &Value) -> Vec<&str> {
    of(checks, "red")
}

/// The names of the checks with this verdict.
fn of<'a>(checks: &'a Value, verdict: &str) -> Vec<&'a str> {
    checks.as_array().unwrap().iter().filter(|check| check["verdict"] == verdict).map(|check| check["name"].as_str().unwrap()).collect()
}

#[test]
fn where_nothing_is_in_the_way_all_is_green() {
    let machine = good("cli-doctor-good");
    let (checks, status) = machine.json(&["doctor", CARD]);
    assert_eq!((red(&checks), status), (vec![], Some(0)), "{checks:#}");
    let keys: Vec<_> = checks[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "verdict", "cause", "remedy"]);
    let text = machine.barewire(&["doctor", CARD]).stdout;
    assert!(text.lines().any(|line| line == "green    driver            bound to vfio-pci"), "{text}");
    assert!(text.ends_with(&format!("nothing is in the way of {CARD}\n")) && !text.contains('\x1b'), "{text}");
    let (machine_alone, status) = machine.json(&["doctor"]);
    assert_eq!(status, Some(0));
    assert!(machine_alone.as_array().unwrap().len() < checks.as_array().unwrap().len());
}

#[test]
fn what_is_red_has_a_remedy_and_makes_the_exit_status() {
    let machine = good("cli-doctor-red");
    std::fs::remove_dir(machine.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    machine.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
    let (checks, status) = machine.json(&["doctor", CARD]);
    assert_eq!((red(&checks), of(&checks, "warning"), status), (vec!["vfio-pci module"], vec!["huge pages"], Some(1)));
    let module = checks.as_array().unwrap().iter().find(|check| check["name"] == "vfio-pci module").unwrap();
    assert_eq!(module["remedy"], json!("modprobe vfio-pci"));
    let outcome = machine.barewire(&["doctor", CARD]);
    assert_eq!(outcome.status, Some(1));
    assert!(outcome.stdout.contains("to mend it: modprobe vfio-pci\n") && outcome.stdout.ends_with("checks red\n"), "{outcome:?}");
}

#[test]
fn what_stops_nobody_is_a_warning_and_the_exit_status_is_0() {
    let machine = good("cli-doctor-warning");
    machine.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "32\n");
    for (free, warnings) in [("3\n", vec![]), ("2\n", vec!["huge pages"])] {
        machine.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", free);
        let (checks, status) = machine.json(&["doctor", CARD]);
        assert_eq!((red(&checks), of(&checks, "warning"), status), (vec![], warnings, Some(0)), "{checks:#}");
    }
    let text = machine.barewire(&["doctor", CARD]).stdout;
    assert!(text.contains("to mend it: echo 35 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages\n"), "{text}");
    assert!(text.ends_with(&format!("nothing is in the way of {CARD} (1 warning)\n")), "{text}");
}

#[test]
fn the_neighbour_and_the_permission_are_named() {
    let machine = Machine::new("cli-doctor-causes");
    machine.file("proc/self/status", "Uid:\t4242\t4242\t4242\t4242\nGid:\t9\t9\t9\t9\nGroups:\t9\nCapEff:\t0000000000004000\n");
    std::fs::set_permissions(machine.path("dev/vfio/vfio"), PermissionsExt::from_mode(0o666)).unwrap();
    std::fs::set_permissions(machine.path("dev/vfio/7"), PermissionsExt::from_mode(0o600)).unwrap();
    let (checks, status) = machine.json(&["doctor", CARD]);
    assert_eq!((red(&checks), status), (vec!["group viable", "permission"], Some(1)), "{checks:#}");
    let causes: Vec<_> =
        checks.as_array().unwrap().iter().filter(|check| check["verdict"] == "red").map(|check| check["cause"].as_str().unwrap()).collect();
    assert!(causes[0].contains("0000:01:00.0 (ixgbe)") && causes[1].contains("dev/vfio/7"), "{causes:?}");
}

#[test]
fn a_function_that_is_not_there_is_red() {
    let machine = good("cli-doctor-missing");
    let (checks, status) = machine.json(&["doctor", "0000:09:00.0"]);
    assert_eq!((red(&checks), status), (vec!["function"], Some(1)));
}
