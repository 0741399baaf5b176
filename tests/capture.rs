//! `capture` from a capture file.

#[path = "common/captures.rs"]
mod captures;
mod common;

use common::{Directory, Flood, field, run};

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
