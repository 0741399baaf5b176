//! `capture` from a capture file.

#[path = "common/captures.rs"]
mod captures;
mod common;

use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Directory, Flood, example, field, run};

#[test]
fn what_arrives_is_in_the_file() {
    let directory = Directory::new("capture");
    let (input, output) = (directory.file("in.pcapng"), directory.file("out.pcapng"));
    let frames = captures::frames();
    captures::write(&input, &frames);
    let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", &output]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let wanted: Vec<_> = frames.iter().map(|frame| captures::padded(frame)).collect();
    assert!(captures::read(&output) == wanted);
    assert!(outcome.stdout.contains(&format!("captured={} missed=0", frames.len())), "{}", outcome.stdout);
}

#[test]
fn it_ends_when_the_count_is_reached() {
    let directory = Directory::new("capture-count");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcapng"));
    let frames: Vec<_> = (0..500).map(|number| captures::frame(60, number)).collect();
    captures::write(&input, &frames);
    for count in [0, 1, 100] {
        let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", &output, "--count", &count.to_string()]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert!(captures::read(&output) == frames[..count]);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let outcome = run("capture", &["sim:ixgbe", "--write", "/nonexistent/out.pcapng"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("/nonexistent/out.pcapng: cannot make the capture file"), "{}", outcome.stderr);
}

#[test]
fn its_own_input_is_not_overwritten() {
    let directory = Directory::new("capture-own");
    let input = directory.file("in.pcapng");
    captures::write(&input, &captures::frames());
    let before = std::fs::read(&input).unwrap();
    let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", &input]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("another wire is reading or writing it"), "{}", outcome.stderr);
    assert!(std::fs::read(&input).unwrap() == before);
}

#[test]
fn a_full_disk_is_told_and_how_much_is_whole() {
    let directory = Directory::new("capture-full");
    let input = directory.file("in.pcap");
    captures::write(&input, &captures::frames());
    let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", "/dev/full"]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    let wanted =
        "/dev/full: cannot write the capture file: No space left on device (os error 28); its first 0 frames are whole: make room and run again";
    assert!(outcome.stderr.contains(wanted) && outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
    assert_eq!(field(&outcome.stdout, "captured"), 0);
}

#[test]
fn what_comes_after_the_end_is_not_missed() {
    let directory = Directory::new("capture-flood");
    let flood = Flood::start(&directory, captures::frame(60, 0));
    let output = directory.file("out.pcap");
    let outcome = run("capture", &[&format!("sim:ixgbe,{}", flood.wire), "--write", &output, "--count", "200"]);
    // A machine that is busy enough makes the card miss frames before, too.
    let missed = field(&outcome.stdout, "missed");
    assert_eq!(outcome.status, Some(i32::from(missed > 0)), "{outcome:?}");
    assert_eq!(missed, field(&outcome.stdout, "rx_missed_errors"), "{outcome:?}");
    assert_eq!(captures::read(&output).len(), 200);
}

#[test]
fn a_capture_through_pipes_is_whole_and_the_report_is_elsewhere() {
    let directory = Directory::new("capture-pipes");
    let input = directory.file("in.pcap");
    let frames: Vec<_> = (0..300).map(|number| captures::frame(60 + number as usize, number)).collect();
    captures::write(&input, &frames);
    let output = example("capture").args(["sim:ixgbe,pcap-in=-", "--write", "-"]).stdin(File::open(&input).unwrap()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("captured=300 missed=0"), "{stderr}");
    let file = directory.file("out.pcapng");
    std::fs::write(&file, output.stdout).unwrap();
    assert!(captures::read(&file) == frames);
}

#[test]
fn a_slow_capture_is_on_disk_within_a_second_or_two() {
    let directory = Directory::new("capture-slow");
    for (name, arguments) in [("out.pcap", vec!["capture"]), ("wire.pcapng", vec!["forward"])] {
        let (input, file) = (directory.file("in.pcap"), directory.file(name));
        captures::write(&input, &[captures::frame(60, 1)]);
        // Its input stays open: nothing but time writes the frame out.
        let program = arguments[0];
        let mut command = example(program);
        match program {
            "capture" => command.args(["sim:ixgbe,pcap-in=-", "--write", &file]),
            _ => command.args(["sim:ixgbe,pcap-in=-", &format!("sim:ixgbe,pcap-out={file}")]),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&std::fs::read(&input).unwrap()).unwrap();
        let is_there = || std::fs::metadata(&file).is_ok_and(|file| file.len() > 60);
        let start = Instant::now();
        while !is_there() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (is_there, took, still_runs) = (is_there(), start.elapsed(), child.try_wait().unwrap().is_none());
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{program} ends with its input");
        assert!(is_there && still_runs, "{program}: {took:?}");
    }
}

#[test]
fn a_file_is_what_its_name_says_or_is_refused() {
    let directory = Directory::new("capture-names");
    let input = directory.file("in.pcap");
    captures::write(&input, &[captures::frame(60, 1)]);
    for (name, magic) in [("x.PCAP", &[0x4d, 0x3c, 0xb2, 0xa1]), ("x.PcapNg", &[0x0a, 0x0d, 0x0d, 0x0a]), ("x", &[0x0a, 0x0d, 0x0d, 0x0a])] {
        let file = directory.file(name);
        let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", &file]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert_eq!(std::fs::read(&file).unwrap()[..4], *magic, "{name}");
    }
    for (name, why) in [("x.pcap.gz", "without compression"), ("x.pcapng.zst", "without compression"), ("x.txt", "*.pcap or *.pcapng")] {
        let file = directory.file(name);
        let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", &file]);
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(why) && !std::fs::exists(&file).unwrap(), "{}", outcome.stderr);
    }
}

#[test]
fn a_comma_in_a_file_name_has_a_backslash_before_it() {
    let directory = Directory::new("capture-commas");
    let (input, output, written) = (directory.file("1,5 Gb.pcap"), directory.file("o,k\\.PcapNg"), directory.file("w,.pcap"));
    captures::write(&input, &captures::frames());
    let escaped = |file: &str| file.replace('\\', "\\\\").replace(',', "\\,");
    let (from, to) = (format!("sim:ixgbe,pcap-in={},seed=1", escaped(&input)), format!("sim:ixgbe,pcap-out={}", escaped(&output)));
    let outcome = run("forward", &[&from, &to]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(std::fs::read(&output).unwrap()[..4], [0x0a, 0x0d, 0x0d, 0x0a], "its name says pcapng");
    // No spec, so that nothing is to be escaped.
    let outcome = run("capture", &[&from, "--write", &written]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert_eq!(captures::read(&written).len(), captures::frames().len());
    let outcome = run("forward", &[&format!("sim:ixgbe,pcap-in={input}"), &to]);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("if that comma belongs to a file's name, write it \\,"), "{}", outcome.stderr);
}

#[test]
fn an_output_of_a_spec_is_what_its_name_says_too() {
    let directory = Directory::new("capture-spec-names");
    for (name, magic) in [("x.PCAP", &[0x4d, 0x3c, 0xb2, 0xa1]), ("x.PCAPNG", &[0x0a, 0x0d, 0x0d, 0x0a])] {
        let file = directory.file(name);
        let outcome = run("pktgen", &[&format!("sim:ixgbe,pcap-out={file}"), "--count", "3"]);
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        assert_eq!(std::fs::read(&file).unwrap()[..4], *magic, "{name}");
    }
    for name in ["x.pcap.gz", "x.pcapng.zst", "x.txt", "x"] {
        let file = directory.file(name);
        let outcome = run("pktgen", &[&format!("sim:ixgbe,pcap-out={file}"), "--count", "3"]);
        assert!(matches!(outcome.status, Some(1 | 2)) && !std::fs::exists(&file).unwrap(), "{name}: {outcome:?}");
        assert!(outcome.stderr.contains(".pcap"), "{}", outcome.stderr);
    }
    // What is compressed is told, whatever its name.
    let (input, output) = (directory.file("in.pcap.gz"), directory.file("out.pcap"));
    std::fs::write(&input, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let outcome = run("forward", &[&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output}")]);
    assert!(outcome.status == Some(1) && outcome.stderr.contains("it is compressed by gzip: gunzip it first"), "{outcome:?}");
}

#[test]
fn what_is_longer_than_the_mtu_is_told_and_in_the_status() {
    let directory = Directory::new("capture-long");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    captures::write(&input, &[60, 1514, 1600, 3000].map(|len| captures::frame(len, 1)));
    for (name, last) in [("capture", "captured=2 missed=0 errors=2 "), ("forward", "forwarded=2 lost=2 refused=0 missed=0 ")] {
        let spec = format!("sim:ixgbe,pcap-in={input}");
        let other = format!("sim:ixgbe,pcap-out={output}");
        let rest = if name == "capture" { vec!["--write", &output] } else { vec![other.as_str()] };
        let outcome = run(name, &[&[spec.as_str()], &rest[..], &["--mtu", "1500"]].concat());
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        assert!(outcome.stdout.lines().last().unwrap().starts_with(last), "{outcome:?}");
        assert_eq!(captures::read(&output).len(), 2);
    }
}
