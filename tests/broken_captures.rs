//! Capture files that are no good: a clear error, a status that is not 0, and all whole frames before the damage.

#[path = "common/captures.rs"]
mod captures;
mod common;

use common::{Directory, Outcome, run};

fn forward(directory: &Directory, input: &str) -> Outcome {
    let (input, output) = (directory.file(input), directory.file("out.pcap"));
    run("forward", &[&format!("sim:ixgbe,pcap-in={input}"), &format!("sim:ixgbe,pcap-out={output}")])
}

#[test]
fn a_truncated_file_gives_what_was_whole() {
    let directory = Directory::new("truncated");
    let frames: Vec<_> = (0..200).map(|number| captures::frame(100, number)).collect();
    for name in ["in.pcap", "in.pcapng"] {
        let file = directory.file(name);
        captures::write(&file, &frames);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 50]).unwrap();
        let outcome = forward(&directory, name);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(&file) && outcome.stderr.contains("broken after frame 199"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(captures::read(&directory.file("out.pcap")) == frames[..199]);
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    let directory = Directory::new("no-capture");
    std::fs::write(directory.file("text.pcap"), "not a capture file at all").unwrap();
    std::fs::write(directory.file("empty.pcap"), "").unwrap();
    for (name, wanted) in [("text.pcap", "not a capture file"), ("empty.pcap", "not a capture file"), ("none.pcap", "No such file")] {
        let outcome = forward(&directory, name);
        assert_eq!(outcome.status, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(name) && outcome.stderr.contains(wanted), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn capture_reports_a_truncated_file_too() {
    let directory = Directory::new("truncated-capture");
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcapng"));
    let frames: Vec<_> = (0..20).map(|number| captures::frame(100, number)).collect();
    captures::write(&input, &frames);
    let bytes = std::fs::read(&input).unwrap();
    std::fs::write(&input, &bytes[..bytes.len() - 1]).unwrap();
    let outcome = run("capture", &[&format!("sim:ixgbe,pcap-in={input}"), "--write", &output]);
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("broken after frame 19"), "{}", outcome.stderr);
    assert!(captures::read(&output) == frames[..19]);
}
