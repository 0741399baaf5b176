//! Where the process may start no more threads, opening a device is an error that says so.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use barewire::sim::ixgbe::{Ixgbe, IxgbeOptions};
use barewire::sim::wire::peer;
use common::served::Served;
use common::{Directory, example};

/// Runs a program as somebody who may have `threads` threads: where root runs the tests, whom no limit binds, as a user who has no other processes.
fn with_threads(threads: u32, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("prlimit");
    command.args([&format!("--nproc={threads}:{threads}"), "--"]);
    if rustix::process::geteuid().is_root() {
        let user = nobody_else().to_string();
        command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.arg(program).args(arguments).output().unwrap()
}

/// A user of no name, whose threads no other program of this or another run of the tests has.
fn nobody_else() -> u32 {
    static USERS: AtomicU32 = AtomicU32::new(0);
    // Between what systems give to people and what they give to containers.
    61_184 + (std::process::id() * 8 + USERS.fetch_add(1, Ordering::Relaxed)) % 4096
}

/// A copy of a program that every user can run, wherever the build folder lies.
fn copy(directory: &Directory, program: &str, name: &str) -> String {
    let copy = directory.file(name);
    std::fs::copy(program, &copy).unwrap();
    copy
}

fn assert_told(what: &str, output: &Output, wanted: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {stderr}");
    assert!(stderr.contains(wanted) && stderr.contains("raise the limit of processes (ulimit -u)"), "{what}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
}

#[test]
fn without_threads_left_opening_is_an_error() {
    let directory = Directory::new("no-threads");
    let pktgen = copy(&directory, example("pktgen").get_program().to_str().unwrap(), "pktgen");
    for spec in ["sim:ixgbe", "sim:virtio-net"] {
        let output = with_threads(1, &pktgen, &[spec, "--count", "1"]);
        assert_told(spec, &output, &format!("error: {spec}: simulated card: cannot start its thread: "));
    }
    let served = Served::start(&directory, "nic.sock", Box::new(Ixgbe::new(IxgbeOptions::new())), peer::pair(4).0);
    std::fs::set_permissions(directory.file("nic.sock"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = with_threads(1, &pktgen, &[&served.spec, "--count", "1"]);
    assert_told(&served.spec, &output, "cannot start the thread that reads from it: ");
}

#[test]
fn without_threads_left_serving_is_an_error() {
    let directory = Directory::new("no-server-threads");
    std::fs::set_permissions(directory.file("."), std::fs::Permissions::from_mode(0o777)).unwrap();
    let barewire = copy(&directory, env!("CARGO_BIN_EXE_barewire"), "barewire");
    let socket = directory.file("nic.sock");
    let arguments = ["sim", "--device", "ixgbe", "--socket", &socket, "--wire", "slow-us=1"];
    assert_told("signals", &with_threads(1, &barewire, &arguments), "cannot wait for signals: ");
    // One thread waits for signals, the next reads commands. Who is not root has more threads than that in any case.
    if rustix::process::geteuid().is_root() {
        assert_told("commands", &with_threads(2, &barewire, &arguments), "cannot read commands: ");
    }
    assert!(!std::path::Path::new(&socket).exists(), "it leaves no socket");
}
