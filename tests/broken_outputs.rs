//! Outputs that go no further: a reader that is gone, a disk that is full.

#[path = "common/captures.rs"]
mod captures;
mod common;

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Directory, example};

/// The applications with arguments that let each end well by itself.
fn applications(directory: &Directory) -> [(&'static str, Vec<String>); 4] {
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    captures::write(&input, &captures::frames());
    let sends = vec![format!("sim:ixgbe,pcap-out={}", directory.file("sent.pcap")), "--count".into(), "100".into()];
    [
        ("forward", vec!["--seconds".into(), "1.5".into()]),
        ("pipeline", vec!["--seconds".into(), "1.5".into()]),
        ("pktgen", sends),
        ("capture", vec![format!("sim:ixgbe,pcap-in={input}"), "--write".into(), output]),
    ]
}

#[test]
fn where_nobody_reads_the_run_decides_the_status_and_a_full_disk_does_not_hold_the_report() {
    let directory = Directory::new("nobody-reads");
    for (name, arguments) in applications(&directory) {
        let mut child = example(name).args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let gone = child.wait_with_output().unwrap();
        let full = example(name).args(&arguments).stdout(File::create("/dev/full").unwrap()).output().unwrap();
        assert!(gone.status.code() == Some(0) && gone.stderr.is_empty(), "{name}: {gone:?}");
        // A full disk is not nobody.
        let stderr = String::from_utf8_lossy(&full.stderr);
        assert_eq!((full.status.code(), &*stderr), (Some(1), "error: cannot write the report: No space left on device (os error 28)\n"), "{name}");
    }
}

#[test]
fn a_wire_that_fails_ends_the_run() {
    let directory = Directory::new("full-wire");
    let output = directory.file("full.pcap");
    std::os::unix::fs::symlink("/dev/full", &output).unwrap();
    // Without a count: until Ctrl-C.
    let mut child = example("pktgen").arg(format!("sim:ixgbe,pcap-out={output}")).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on with a wire that failed");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write the capture file: No space left on device") && stderr.lines().count() == 1, "{stderr}");
}

/// A terminal that hangs up, Ctrl-C, and who ends services: each gets the report, and what was captured is whole.
#[test]
fn signals_end_a_run_cleanly() {
    let directory = Directory::new("signals");
    let [a, b] = ["a", "b"].map(|name| directory.file(name));
    let (written, wire) = (directory.file("out.pcap"), format!("sim:ixgbe,dgram={a}:{b}"));
    let applications: [(&str, &[&str]); 4] = [
        ("forward", &["--seconds", "60"]),
        ("pktgen", &[&wire, "--rate", "1000"]),
        ("capture", &[&wire, "--write", &written]),
        ("respond", &[&wire, "--ip", "10.9.0.2/24"]),
    ];
    let far = std::os::unix::net::UnixDatagram::bind(&b).unwrap();
    far.set_nonblocking(true).unwrap();
    for (name, arguments) in applications {
        for signal in ["-INT", "-TERM", "-HUP"] {
            let child = example(name).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let begun = Instant::now();
            // It is in its loop when it has sent, or taken, something; `forward` without devices is when a second has passed.
            let frame = captures::frame(60, 1);
            let mut buffer = [0; 2048];
            while begun.elapsed() < Duration::from_millis(1200) {
                while far.recv(&mut buffer).is_ok() {}
                let _ = far.send_to(&frame, &a);
                std::thread::sleep(Duration::from_millis(5));
            }
            let stop = Instant::now();
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            let output = child.wait_with_output().unwrap();
            assert!(stop.elapsed() < Duration::from_secs(10), "{name} {signal}: {:?}", stop.elapsed());
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{name} {signal}: {stdout}{stderr}");
            assert!(stdout.contains(": rx_packets=") && stdout.contains(" violations=0"), "{name} {signal}: {stdout}");
            if name == "capture" {
                let frames = captures::read(&written);
                assert!(!frames.is_empty() && frames.iter().all(|found| *found == frame), "{signal}: {} frames", frames.len());
                assert!(stdout.contains(&format!("captured={} ", frames.len())), "{signal}: {stdout}");
            }
        }
    }
}
