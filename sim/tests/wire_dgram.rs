//! The datagram wire against sockets of the standard library, and two of them against each other.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sim::wire::dgram::{Dgram, FULL_LIMIT};
use sim::wire::{Sent, Wire};

/// Two socket paths in a folder that goes away with the test.
struct Paths {
    folder: PathBuf,
    a: PathBuf,
    b: PathBuf,
}

impl Paths {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("barewire-dgram-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { a: folder.join("a"), b: folder.join("b"), folder }
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn frames_of_all_sizes_both_ways() {
    let paths = Paths::new("both");
    let (mut a, mut b) = (Dgram::open(&paths.a, &paths.b).unwrap(), Dgram::open(&paths.b, &paths.a).unwrap());
    let mut frame = vec![0xee; 30];
    for len in [14usize, 60, 61, 1514, 9018, 16 * 1024] {
        let sent: Vec<u8> = (0..len).map(|i| i as u8).collect();
        assert_eq!([a.send(&sent), b.send(&sent[1..])], [Sent::Taken; 2]);
        assert!(b.receive(&mut frame));
        assert_eq!(frame, sent);
        assert!(a.receive(&mut frame));
        assert_eq!(frame, sent[1..]);
    }
    assert!(!a.receive(&mut frame) && !b.receive(&mut frame));
    assert_eq!((a.lost(), a.flush(), b.flush()), (0, Ok(()), Ok(())));
}

#[test]
fn a_datagram_is_a_frame_and_nothing_else() {
    // What QEMU sends and takes: the frame alone, without a length before it.
    let paths = Paths::new("plain");
    let far = UnixDatagram::bind(&paths.b).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut wire = Dgram::open(&paths.a, &paths.b).unwrap();
    wire.send(&[5; 60]);
    let mut buffer = [0; 100];
    assert_eq!(far.recv(&mut buffer).unwrap(), 60);
    assert_eq!(buffer[..60], [5; 60]);
    far.send_to(&[6; 77], &paths.a).unwrap();
    let mut frame = Vec::new();
    assert!(wire.receive(&mut frame));
    assert_eq!(frame, [6; 77]);
}

#[test]
fn an_empty_datagram_is_no_frame() {
    let paths = Paths::new("empty");
    let far = UnixDatagram::bind(&paths.b).unwrap();
    let mut wire = Dgram::open(&paths.a, &paths.b).unwrap();
    far.send_to(&[], &paths.a).unwrap();
    far.send_to(&[6; 60], &paths.a).unwrap();
    let mut frame = Vec::new();
    assert!(wire.receive(&mut frame), "what lies behind it is found");
    assert_eq!(frame, [6; 60]);
    far.send_to(&[], &paths.a).unwrap();
    assert!(!wire.receive(&mut frame));
}

#[test]
fn frames_are_lost_until_somebody_listens() {
    let paths = Paths::new("late");
    let mut a = Dgram::open(&paths.a, &paths.b).unwrap();
    assert_eq!((a.send(&[1; 60]), a.lost()), (Sent::Taken, 1));
    let mut b = Dgram::open(&paths.b, &paths.a).unwrap();
    assert_eq!((a.send(&[2; 60]), a.lost()), (Sent::Taken, 1));
    let mut frame = Vec::new();
    assert!(b.receive(&mut frame));
    assert_eq!(frame, [2; 60]);
    drop(b);
    assert_eq!((a.send(&[3; 60]), a.lost()), (Sent::Taken, 2));
    assert_eq!(a.flush(), Ok(()), "an absent far end is no error");
}

#[test]
fn a_far_end_that_does_not_read_makes_the_wire_busy() {
    let paths = Paths::new("busy");
    let (mut a, mut b) = (Dgram::open(&paths.a, &paths.b).unwrap(), Dgram::open(&paths.b, &paths.a).unwrap());
    let taken = (0..100_000u32).take_while(|n| a.send(&[n.to_le_bytes(); 15].concat()) == Sent::Taken).count();
    assert!((1..100_000).contains(&taken), "{taken}");
    let mut frame = Vec::new();
    for n in 0..taken as u32 {
        assert!(b.receive(&mut frame));
        assert_eq!(frame[..4], n.to_le_bytes());
    }
    assert_eq!(a.send(&[9; 60]), Sent::Taken, "room again");
    assert!(b.receive(&mut frame) && frame[0] == 9, "what was refused was not sent");
    assert_eq!(a.lost(), 0);
}

#[test]
fn a_far_end_that_never_reads_is_waited_for_and_then_loses() {
    let paths = Paths::new("unread");
    let (mut a, mut b) = (Dgram::open(&paths.a, &paths.b).unwrap(), Dgram::open(&paths.b, &paths.a).unwrap());
    let held = (0..100_000).take_while(|_| a.send(&[1; 60]) == Sent::Taken).count();
    let began = Instant::now();
    while a.send(&[2; 60]) == Sent::Busy {
        assert!(began.elapsed() < FULL_LIMIT * 5, "it waits for ever");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(began.elapsed() >= FULL_LIMIT * 9 / 10, "{:?}", began.elapsed());
    assert_eq!((a.send(&[3; 60]), a.lost()), (Sent::Taken, 2), "it was waited for once");
    let mut frame = Vec::new();
    assert!((0..held).all(|_| b.receive(&mut frame) && frame == [1; 60]) && !b.receive(&mut frame), "what it held is not lost");
    assert_eq!((a.send(&[4; 60]), a.lost(), a.flush()), (Sent::Taken, 2, Ok(())));
    assert!(b.receive(&mut frame) && frame == [4; 60]);
    // Full again: it is waited for again.
    while a.send(&[1; 60]) == Sent::Taken {}
    assert_eq!((a.send(&[5; 60]), a.lost()), (Sent::Busy, 2));
}

#[test]
fn the_descriptor_wakes_when_a_frame_arrives() {
    let paths = Paths::new("wake");
    let (mut a, b) = (Dgram::open(&paths.a, &paths.b).unwrap(), Dgram::open(&paths.b, &paths.a).unwrap());
    let is_readable = || {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&b.fd().unwrap(), PollFlags::IN)], Some(&now)).unwrap() == 1
    };
    assert!(!is_readable());
    a.send(&[1; 60]);
    assert!(is_readable());
}

#[test]
fn the_socket_goes_with_the_wire() {
    let paths = Paths::new("drop");
    let wire = Dgram::open(&paths.a, &paths.b).unwrap();
    assert!(paths.a.exists());
    drop(wire);
    assert!(!paths.a.exists());
}

#[test]
fn a_socket_left_behind_is_replaced() {
    let paths = Paths::new("stale");
    drop(UnixDatagram::bind(&paths.a).unwrap());
    assert!(paths.a.exists());
    let mut a = Dgram::open(&paths.a, &paths.b).unwrap();
    UnixDatagram::unbound().unwrap().send_to(&[1; 60], &paths.a).unwrap();
    assert!(a.receive(&mut Vec::new()));
}

#[test]
fn paths_that_will_not_do() {
    let paths = Paths::new("wrong");
    let told = |local: &Path| Dgram::open(local, &paths.b).unwrap_err().to_string();
    let live = UnixDatagram::bind(&paths.a).unwrap();
    assert!(told(&paths.a).contains("cannot listen at the socket") && told(&paths.a).contains("another process listens there"));
    assert!(paths.a.exists(), "a living socket is left alone");
    drop(live);
    let file = paths.folder.join("file");
    fs::write(&file, "mine").unwrap();
    assert!(told(&file).contains("a file that is no socket is there"));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert!(told(&paths.folder.join("none/x")).contains("make its directory first"));
    assert!(told(&paths.folder.join("x".repeat(120))).contains("take a shorter path"));
    assert!(told(&paths.b).contains("both ends are the same socket"));
}

#[test]
fn a_far_end_that_is_no_socket_is_told() {
    let paths = Paths::new("nosocket");
    fs::write(&paths.b, "").unwrap();
    let mut a = Dgram::open(&paths.a, &paths.b).unwrap();
    a.send(&[1; 60]);
    // Linux refuses the connection to a file that is no socket, so that it looks like a far end that is not there yet.
    assert_eq!((a.lost(), a.flush()), (1, Ok(())));
    a.send(&vec![1; 10_000_000]);
    let told = a.flush().unwrap_err().to_string();
    assert!(told.contains("cannot send to the socket"), "{told}");
}

/// A process that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn qemu_understands_it() {
    let paths = Paths::new("qemu");
    let (a, b) = (paths.a.display(), paths.b.display());
    // No guest: QEMU's own user network stack, joined to the datagram sockets by a hub, answers ARP requests for its gateway.
    let far = format!("dgram,id=far,local.type=unix,local.path={b},remote.type=unix,remote.path={a}");
    let parts = [far.as_str(), "user,id=stack", "hubport,id=p0,hubid=0,netdev=far", "hubport,id=p1,hubid=0,netdev=stack"];
    let mut command = std::process::Command::new("qemu-system-x86_64");
    command.args(["-machine", "none", "-nodefaults", "-display", "none"]).args(parts.iter().flat_map(|part| ["-netdev", *part]));
    let Ok(child) = command.spawn() else {
        eprintln!("NOT RUN: qemu_understands_it: there is no qemu-system-x86_64 here (Debian package qemu-system-x86)");
        return;
    };
    let mut qemu = Ended(child);
    let mut wire = Dgram::open(&paths.a, &paths.b).unwrap();
    let mac = [2, 0, 0, 0, 0, 9];
    // Ethernet, then RFC 826: hardware 1 (Ethernet), protocol 0x0800, lengths 6 and 4, request; who has 10.0.2.2, tell 10.0.2.15.
    let arp = [0, 1, 8, 0, 6, 4, 0, 1];
    let mut request = [&[0xff; 6][..], &mac, &[8, 6], &arp, &mac, &[10, 0, 2, 15], &[0; 6], &[10, 0, 2, 2]].concat();
    request.resize(60, 0);
    let (mut frame, begin) = (Vec::new(), Instant::now());
    loop {
        wire.send(&request);
        std::thread::sleep(Duration::from_millis(10));
        let is_reply = wire.receive(&mut frame) && frame[..6] == mac && frame[12..14] == [8, 6] && frame[20..22] == [0, 2];
        if is_reply && frame[28..32] == [10, 0, 2, 2] {
            return;
        }
        assert!(qemu.0.try_wait().unwrap().is_none(), "QEMU ended by itself: it must be 7.2 or later");
        assert!(begin.elapsed() < Duration::from_secs(20), "no answer from QEMU; last frame: {frame:x?}");
    }
}
