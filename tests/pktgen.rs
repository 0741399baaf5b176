//! `pktgen` into a capture file.

#[path = "common/captures.rs"]
mod captures;
mod common;

use std::time::Instant;

use common::{Directory, run};

fn generate(directory: &Directory, arguments: &[&str]) -> Vec<Vec<u8>> {
    let output = directory.file("out.pcap");
    let outcome = run("pktgen", &[&[format!("sim:ixgbe,mac=02:00:00:00:00:09,pcap-out={output}").as_str()], arguments].concat());
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains(" violations=0"), "{}", outcome.stdout);
    let frames = captures::read(&output);
    assert!(outcome.stdout.lines().last().unwrap().starts_with(&format!("sent={} ", frames.len())), "{}", outcome.stdout);
    frames
}

#[test]
fn as_many_and_as_long_as_asked_for() {
    let directory = Directory::new("pktgen");
    for (size, count) in [(60, 3000), (61, 1), (1514, 700), (9724, 500)] {
        let frames = generate(&directory, &["--size", &size.to_string(), "--count", &count.to_string()]);
        assert_eq!(frames.len(), count);
        for (number, frame) in (0u64..).zip(&frames) {
            assert_eq!(frame.len(), size);
            assert_eq!(frame[..14], [2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 9, 8, 0]);
            assert_eq!(frame[42..50], number.to_be_bytes());
            assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), size - 14, "IPv4 total length");
            assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), size - 34, "UDP length");
            // RFC 791: the sum over a header with its checksum in place is all ones.
            let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }
}

#[test]
fn at_the_rate_asked_for() {
    let directory = Directory::new("pktgen-rate");
    let start = Instant::now();
    let frames = generate(&directory, &["--rate", "1000", "--count", "501", "--to", "02:00:00:00:00:aa"]);
    assert!(start.elapsed().as_secs_f64() >= 0.5, "500 intervals of a millisecond took {:?}", start.elapsed());
    assert_eq!(frames.len(), 501);
    assert_eq!(frames[0][..6], [2, 0, 0, 0, 0, 0xaa]);
}
