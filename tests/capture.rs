//! `capture` from a capture file.

#[path = "common/captures.rs"]
mod captures;
mod common;

use common::{Directory, run};

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
