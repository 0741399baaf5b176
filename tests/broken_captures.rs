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

/// A pcap file by hand, for what the library does not write: each record with its own original length.
fn write_records(file: &str, records: &[(&[u8], u32)]) {
    let mut bytes = [0xa1b2_c3d4u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4], 0xffffu32.to_le_bytes(), 1u32.to_le_bytes()].concat();
    for (data, original_len) in records {
        bytes.extend([[0; 4], [0; 4], (data.len() as u32).to_le_bytes(), original_len.to_le_bytes()].concat());
        bytes.extend_from_slice(data);
    }
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_frame_that_was_cut_when_it_was_captured_is_delivered_and_told() {
    let directory = Directory::new("cut-capture");
    write_records(&directory.file("in.pcap"), &[(&[7; 64], 64), (&[8; 96], 1514), (&[9; 64], 64)]);
    let outcome = forward(&directory, "in.pcap");
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("frame 2 of 1514 bytes was cut to 96 when it was captured"), "{}", outcome.stderr);
    assert_eq!(captures::read(&directory.file("out.pcap")), [vec![7; 64], vec![8; 96], vec![9; 64]]);
}

#[test]
fn what_no_ethernet_wire_carries_is_left_out_and_the_rest_arrives() {
    let directory = Directory::new("long-records");
    let (short, good, long) = (vec![1; 13], vec![2; 60], vec![3; 16 * 1024 + 1]);
    write_records(&directory.file("in.pcap"), &[&short, &good, &long, &good].map(|frame| (&frame[..], frame.len() as u32)));
    let outcome = forward(&directory, "in.pcap");
    assert_eq!(outcome.status, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("2 frame(s) left out, the first is number 1 with 13 bytes"), "{}", outcome.stderr);
    assert_eq!(captures::read(&directory.file("out.pcap")), [good.clone(), good]);
}
