//! Small captures with what is odd in others' files: read as a second reader reads them, and where not, `captures/differences.tsv` says why.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use sim::wire::pcap::Pcap;
use sim::wire::{Wire, WireError};

/// What a reader made of a capture: each frame's length and CRC-32, and how it ended.
#[derive(Debug, PartialEq, Default)]
struct Reading {
    frames: Vec<(usize, u32)>,
    end: &'static str,
}

const OK: &str = "ok";
/// Frames were left out, because no Ethernet wire carries them.
const LEFT_OUT: &str = "left out";
const DAMAGED: &str = "damaged";
/// No capture of Ethernet.
const REFUSED: &str = "refused";

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/captures"].iter().collect()
}

fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// What the second reader said, as an Ethernet wire has it: without check sequences, and without what is no Ethernet frame.
fn tshark() -> BTreeMap<String, Reading> {
    let mut readings = BTreeMap::<String, Reading>::new();
    for row in table("tshark.tsv") {
        let reading = readings.entry(row[0].clone()).or_default();
        match row.iter().skip(1).map(String::as_str).collect::<Vec<_>>()[..] {
            ["end", "ok"] => reading.end = if reading.end.is_empty() { OK } else { reading.end },
            ["end", _] => reading.end = DAMAGED,
            [captured, _original, _time, "1", check_bytes, crc] => {
                let len = captured.parse::<usize>().unwrap() - check_bytes.parse::<usize>().unwrap();
                if len < sim::wire::MIN_FRAME_BYTES {
                    reading.end = LEFT_OUT;
                } else {
                    reading.frames.push((len, u32::from_str_radix(crc, 16).unwrap()));
                }
            }
            _ => reading.end = LEFT_OUT,
        }
    }
    readings
}

/// What is read here.
fn ours(file: &str) -> (Reading, u64) {
    let mut reading = Reading { end: OK, ..Reading::default() };
    let mut wire = match Pcap::open(Some(&folder().join(file)), None) {
        Ok(wire) => wire,
        Err(WireError::NotACapture { .. } | WireError::LinkType { .. }) => return (Reading { end: REFUSED, ..reading }, 0),
        Err(error) => panic!("{error}"),
    };
    let mut frame = Vec::new();
    while wire.receive(&mut frame) {
        reading.frames.push((frame.len(), crc32fast::hash(&frame)));
    }
    assert!(wire.is_finished());
    reading.end = match wire.flush() {
        Ok(()) => OK,
        Err(WireError::Broken { frames, .. }) => {
            assert_eq!(frames, reading.frames.len() as u64);
            DAMAGED
        }
        Err(WireError::LinkType { skipped, .. } | WireError::FrameSize { skipped, .. }) => {
            assert!(skipped > 0);
            LEFT_OUT
        }
        Err(error) => panic!("{error}"),
    };
    (reading, wire.frames_cut())
}

#[test]
fn every_capture_is_read_as_the_second_reader_reads_it() {
    let mut expected = tshark();
    let files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let captures: Vec<_> = files.iter().filter(|name| name.contains(".pcap")).collect();
    assert!(
        captures.len() >= 60 && captures.len() == expected.len(),
        "ci/captures --remake: {} captures, {} in the table",
        captures.len(),
        expected.len()
    );
    for row in table("differences.tsv") {
        let [file, lens, end, why] = row.try_into().unwrap();
        let theirs = expected.get_mut(&file).unwrap();
        let (ours, _) = ours(&file);
        let found: Vec<_> = ours.frames.iter().map(|(len, _)| len.to_string()).collect();
        assert_eq!((found.join(" "), ours.end), (lens, &*end), "{file}: {why}");
        assert_ne!(ours, *theirs, "{file}: no difference any more");
        *theirs = ours;
    }
    let read = expected.keys().map(|file| (file.clone(), ours(file).0)).collect::<BTreeMap<_, _>>();
    let otherwise: Vec<_> =
        expected.iter().filter(|(file, theirs)| read[*file] != **theirs).map(|(file, theirs)| (file, theirs, &read[file])).collect();
    assert!(otherwise.is_empty(), "read otherwise than in the table (file, table, here): {otherwise:#?}");
}

#[test]
fn the_captures_that_once_failed() {
    for (file, lens) in [
        ("tzone.pcapng", &[60][..]),
        ("no-endofopt.pcapng", &[60, 61]),
        ("latin1-name.pcapng", &[60]),
        ("fcs-in-flags.pcapng", &[60, 61]),
        ("fcs-in-interface.pcapng", &[60, 61]),
        ("two-links.pcapng", &[60, 61]),
        ("caplen-over-len.pcapng", &[60, 61, 62]),
        ("caplen-over-len.pcap", &[60, 60, 60]),
        ("snaplen-cut.pcap", &[96, 60]),
        ("statistics-block.pcapng", &[60, 61]),
        ("old-packet-block.pcapng", &[60, 61]),
    ] {
        let (reading, cut) = ours(file);
        assert_eq!(reading.frames.iter().map(|(len, _)| *len).collect::<Vec<_>>(), lens, "{file}");
        assert_eq!(reading.end, if file == "two-links.pcapng" { LEFT_OUT } else { OK }, "{file}");
        assert_eq!(cut, u64::from(file == "snaplen-cut.pcap"), "{file}");
    }
}
