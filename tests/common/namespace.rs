//! A network namespace that ends with the test.

use std::process::Command;
use std::time::{Duration, Instant};

const INSIDE: &str = "BAREWIRE_TEST_NAMESPACE";

/// Runs the calling test's body once more in a process with a network namespace of its own. True: this is that process.
///
/// Needs root or unprivileged user namespaces, and `/dev/net/tun`; otherwise it says why the test cannot run.
pub(crate) fn in_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let Some(way) =
        ways.into_iter().find(|way| runs(Command::new("unshare").args(*way).args(["ip", "tuntap", "add", "dev", "probe", "mode", "tap"])))
    else {
        eprintln!("NOT RUN: {test}: no network namespace with a tap device can be made here (needs root or user namespaces, /dev/net/tun, iproute2)");
        return false;
    };
    let myself = std::env::current_exe().unwrap();
    let output = Command::new("unshare").args(way).arg(myself).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{test} in a namespace:\n{told}");
    false
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

pub(crate) fn ip(arguments: &str) {
    assert!(runs(Command::new("ip").args(arguments.split(' '))), "ip {arguments}");
}

/// Whether a program is plugged into the tap device `name`, which is up.
pub(crate) fn has_carrier(name: &str) -> bool {
    let output = Command::new("ip").args(["-o", "link", "show", name]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains("LOWER_UP")
}

/// Looks again and again for twenty seconds at most.
pub(crate) fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
