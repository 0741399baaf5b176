//! Captures that come through a pipe, and blocks that are larger than any buffer.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use sim::wire::pcap::Pcap;
use sim::wire::{Wire, WireError};

/// A name in the folder for such, gone with the test.
struct Name(PathBuf);

impl Name {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("barewire-{}-{name}", std::process::id())))
    }
    fn fifo(name: &str) -> Self {
        let name = Self::new(name);
        mkfifoat(CWD, &name.0, Mode::RUSR | Mode::WUSR).unwrap();
        name
    }
    fn writer(&self) -> File {
        // Without a reader this fails instead of waiting.
        fs::OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&self.0).unwrap()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn capture(name: &str) -> Vec<u8> {
    fs::read([env!("CARGO_MANIFEST_DIR"), "tests/captures", name].iter().collect::<PathBuf>()).unwrap()
}

fn is_readable(wire: &Pcap) -> bool {
    let fd = wire.fd().unwrap();
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    for name in ["little-us.pcap", "big-ns.pcap", "little.pcapng", "other-blocks.pcapng", "modified.pcap"] {
        let fifo = Name::fifo(name);
        // Nobody writes yet: nothing is waited for.
        let mut wire = Pcap::open(Some(&fifo.0), None).unwrap();
        let mut writer = fifo.writer();
        let (mut frame, mut lens) = (Vec::new(), Vec::new());
        for byte in capture(name) {
            assert!(!wire.receive(&mut frame) && !wire.is_finished() && !is_readable(&wire), "{name}: nothing but what was written");
            writer.write_all(&[byte]).unwrap();
            assert!(is_readable(&wire), "{name}: who sleeps is woken");
            while wire.receive(&mut frame) {
                lens.push(frame.len());
            }
        }
        assert_eq!(lens, [60, 61], "{name}: each frame came as soon as it was whole");
        drop(writer);
        assert!(!wire.receive(&mut frame) && wire.is_finished() && wire.fd().is_none(), "{name}: closed is the end");
        assert_eq!(wire.flush(), Ok(()), "{name}");
    }
}

#[test]
fn a_pipe_that_ends_too_early_or_brings_no_capture() {
    let told = |contents: &[u8]| {
        let fifo = Name::fifo("early");
        let mut wire = Pcap::open(Some(&fifo.0), None).unwrap();
        fifo.writer().write_all(contents).unwrap();
        let frames = std::iter::from_fn(|| wire.receive(&mut Vec::new()).then_some(())).count();
        assert!(wire.is_finished());
        (frames, wire.flush().unwrap_err())
    };
    let (frames, error) = told(&capture("in-a-record.pcap"));
    assert!(frames == 1 && matches!(error, WireError::Broken { frames: 1, .. }), "{error}");
    assert!(matches!(told(b"text"), (0, WireError::NotACapture { .. })));
    assert!(matches!(told(&capture("raw-ip.pcap")), (0, WireError::LinkType { .. })));
    assert!(matches!(told(b""), (0, WireError::NotACapture { .. })));
}

#[test]
fn blocks_of_nine_megabytes_are_passed_over_or_read() {
    let plain = capture("little.pcapng");
    // Section and interface take 48 bytes; a custom block, and a packet with as many comments, come between them and the packets.
    let (head, packets) = plain.split_at(48);
    let len = 9_000_000u32;
    let framed = |kind: u32, body: &[u8]| {
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, body, &len].concat()
    };
    let comment = [&[1, 0, 0xfc, 0xff][..], &[b'x'; 0xfffc]].concat();
    let packet = [0, 0, 0, 60, 60].map(u32::to_le_bytes).concat();
    let commented = [packet, packets[28..88].to_vec(), comment.repeat(len as usize / comment.len()), vec![0; 4]].concat();
    let file = Name::new("nine.pcapng");
    fs::write(&file.0, [head, &framed(0xbad, &vec![7; len as usize]), &framed(6, &commented), packets].concat()).unwrap();
    let mut wire = Pcap::open(Some(&file.0), None).unwrap();
    let mut frame = Vec::new();
    let lens: Vec<_> = std::iter::from_fn(|| wire.receive(&mut frame).then_some(frame.len())).collect();
    assert_eq!((lens, wire.flush()), (vec![60, 60, 61], Ok(())));
    // Cut within what is passed over.
    fs::write(&file.0, [head, &framed(0xbad, &vec![7; len as usize])[..len as usize]].concat()).unwrap();
    let mut wire = Pcap::open(Some(&file.0), None).unwrap();
    assert!(wire.is_finished() && matches!(wire.flush(), Err(WireError::Broken { frames: 0, .. })));
}
