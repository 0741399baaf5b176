//! The tap wire against the Linux network stack, in a network namespace that ends with the test.
//!
//! Needs root or unprivileged user namespaces, and `/dev/net/tun`; otherwise each test says why it cannot run.

use std::io::BufRead;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driver_core::host::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl};
use sim::HostClock;
use sim::wire::spec::WireSpec;
use sim::wire::tap::Tap;
use sim::wire::{Sent, Wire, WireError};

const INSIDE: &str = "BAREWIRE_TEST_NAMESPACE";

/// Runs the calling test's body once more in a process with a network namespace of its own. True: this is that process.
fn in_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
    let Some(way) =
        ways.into_iter().find(|way| runs(Command::new("unshare").args(*way).args(["ip", "tuntap", "add", "dev", "probe", "mode", "tap"])))
    else {
        eprintln!("NOT RUN: {test}: no network namespace with a tap device can be made here (needs root or user namespaces, /dev/net/tun, iproute2)");
        return false;
    };
    let myself = std::env::current_exe().unwrap();
    let output = Command::new("unshare").args(way).arg(myself).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{test} in a namespace:\n{told}");
    told.lines().filter(|line| line.starts_with("NOT RUN")).for_each(|line| eprintln!("{line}"));
    false
}

fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn ip(arguments: &str) {
    assert!(runs(Command::new("ip").args(arguments.split(' '))), "ip {arguments}");
}

/// Looks again and again for two seconds at most.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(2), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A tap device that is up, with IPv6's own traffic turned off.
fn open_up(name: &str) -> Tap {
    let tap = Tap::open(name).unwrap();
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    ip(&format!("link set {name} up"));
    soon("carrier", || tap.carrier());
    tap
}

/// The ones' complement sum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The answer to a UDP frame: addresses and ports exchanged, the payload as it was. IPv4 without options.
fn echo(frame: &[u8]) -> Vec<u8> {
    let mut answer = frame.to_vec();
    for (a, b, len) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
        answer[a..a + len].copy_from_slice(&frame[b..b + len]);
        answer[b..b + len].copy_from_slice(&frame[a..a + len]);
    }
    // A UDP checksum of 0 says that there is none (RFC 768).
    answer[40..42].fill(0);
    answer[24..26].fill(0);
    let sum = checksum(&answer[14..34]);
    answer[24..26].copy_from_slice(&sum.to_be_bytes());
    answer
}

#[test]
fn the_kernels_datagrams_come_and_go() {
    if !in_namespace("the_kernels_datagrams_come_and_go") {
        return;
    }
    let mut tap = open_up("bw0");
    for step in ["link set bw0 mtu 9000", "addr add 10.9.0.1/24 dev bw0", "neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev bw0"] {
        ip(step);
    }
    let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut frame, mut buffer) = (Vec::new(), [0; 10_000]);
    for len in [0usize, 1, 18, 100, 1472, 8972] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        socket.send_to(&payload, "10.9.0.2:7").unwrap();
        soon("the kernel's frame", || tap.receive(&mut frame) && frame.ends_with(&payload) && frame.len() == len + 42);
        assert_eq!((&frame[..6], &frame[12..14]), (&[2, 0, 0, 0, 0, 2][..], &[8, 0][..]), "Ethernet, no header of the driver before it");
        assert_eq!(tap.send(&echo(&frame)), Sent::Taken);
        let got = socket.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..got], payload, "{len} bytes");
    }
    assert_eq!((tap.dropped(), tap.flush()), (0, Ok(())));
}

#[test]
fn the_descriptor_wakes_when_a_frame_arrives() {
    if !in_namespace("the_descriptor_wakes_when_a_frame_arrives") {
        return;
    }
    let mut tap = open_up("bw0");
    ip("addr add 10.9.0.1/24 dev bw0");
    ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev bw0");
    while tap.receive(&mut Vec::new()) {}
    let is_readable = |tap: &Tap, ms: i64| {
        let fd = tap.fd().unwrap();
        let limit = Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() == 1
    };
    assert!(!is_readable(&tap, 0));
    UdpSocket::bind("10.9.0.1:0").unwrap().send_to(b"wake", "10.9.0.2:7").unwrap();
    assert!(is_readable(&tap, 900));
    assert!(tap.receive(&mut Vec::new()));
}

#[test]
fn the_carrier_follows_the_link() {
    if !in_namespace("the_carrier_follows_the_link") {
        return;
    }
    let mut tap = Tap::open("bw0").unwrap();
    assert!(!tap.carrier(), "a new device is down");
    assert_eq!((tap.send(&[0; 60]), tap.dropped()), (Sent::Taken, 1), "lost, as on an unplugged cable");
    ip("link set bw0 up");
    soon("carrier after up", || tap.carrier());
    assert_eq!((tap.send(&[0; 60]), tap.dropped()), (Sent::Taken, 1));
    ip("link set bw0 down");
    soon("no carrier after down", || !tap.carrier());
    assert_eq!(tap.flush(), Ok(()), "a link that is down is no error");
}

#[test]
fn a_device_that_was_made_before_is_used_and_stays() {
    if !in_namespace("a_device_that_was_made_before_is_used_and_stays") {
        return;
    }
    ip("tuntap add dev bw0 mode tap");
    drop(Tap::open("bw0").unwrap());
    ip("link show bw0");
    drop(Tap::open("bw1").unwrap());
    assert!(!runs(Command::new("ip").args(["link", "show", "bw1"])), "one that the wire made goes with it");
}

#[test]
fn a_device_in_use_or_of_another_kind_is_refused() {
    if !in_namespace("a_device_in_use_or_of_another_kind_is_refused") {
        return;
    }
    let _first = Tap::open("bw0").unwrap();
    let told = Tap::open("bw0").unwrap_err().to_string();
    assert!(
        told.starts_with("bw0: cannot attach to the tap device: ")
            && told.ends_with("this process itself uses it: give each wire a tap device of its own"),
        "{told}"
    );
    ip("tuntap add dev bw1 mode tun");
    let told = Tap::open("bw1").unwrap_err().to_string();
    assert!(told.contains("of another kind"), "{told}");
}

#[test]
fn a_device_that_another_process_uses_is_refused_with_its_name() {
    if !in_namespace("a_device_that_another_process_uses_is_refused_with_its_name") {
        return;
    }
    // The second run of this body is the other process.
    if std::env::var_os("BAREWIRE_TEST_HOLDER").is_some() {
        let _held = Tap::open("bw0").unwrap();
        println!("held");
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_device_that_another_process_uses_is_refused_with_its_name", "--nocapture"]);
    let mut holder = command.env("BAREWIRE_TEST_HOLDER", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    let is_held = said.any(|line| line.ends_with("held"));
    let told = Tap::open("bw0").map(|_| ());
    drop(holder.stdin.take());
    said.for_each(drop);
    let ended = holder.wait().unwrap();
    let wanted = format!("process {} (wire_tap", holder.id());
    assert!(is_held && ended.success());
    let told = told.unwrap_err().to_string();
    assert!(told.contains(&wanted) && told.ends_with(") uses it: end that one, or take another name"), "{wanted}: {told}");
}

/// Leaves a persistent device as a program does that lets the kernel leave checksums and segmentation to it, as QEMU with its default, `vhdr=on`.
fn leave_offloads_on(name: &str) {
    const CSUM_TSO4_TSO6: usize = 1 | 2 | 4; // TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which is the type given and outlives the call.
    unsafe { ioctl(&device, Updater::<{ libc::TUNSETIFF as Opcode }, libc::ifreq>::new(&mut request)) }.unwrap();
    // SAFETY: TUNSETOFFLOAD takes its flags as the argument itself and accesses no memory.
    unsafe { ioctl(&device, IntegerSetter::<{ libc::TUNSETOFFLOAD as Opcode }>::new_usize(CSUM_TSO4_TSO6)) }.unwrap();
}

#[test]
fn offloads_that_another_program_left_on_are_switched_off() {
    if !in_namespace("offloads_that_another_program_left_on_are_switched_off") {
        return;
    }
    ip("tuntap add dev bw0 mode tap");
    leave_offloads_on("bw0");
    let mut tap = open_up("bw0");
    ip("addr add 10.9.0.1/24 dev bw0");
    ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev bw0");
    let socket = UdpSocket::bind("10.9.0.1:4000").unwrap();
    let payload: Vec<u8> = (0..=200).collect();
    socket.send_to(&payload, "10.9.0.2:7").unwrap();
    let mut frame = Vec::new();
    soon("the kernel's frame", || tap.receive(&mut frame) && frame.ends_with(&payload));
    // RFC 768: addresses, protocol and length, then the datagram with its checksum, sum up to zero; what is left to a card is the sum of the first part alone.
    let datagram = &frame[34..];
    let pseudo = [&frame[26..34], &[0, 17], &(datagram.len() as u16).to_be_bytes()].concat();
    assert!(datagram[6..8] != [0, 0] && checksum(&[&pseudo, datagram].concat()) == 0, "the kernel left the checksum to the card: {datagram:x?}");
}

#[test]
fn a_device_of_another_network_namespace_is_opened_there() {
    if !in_namespace("a_device_of_another_network_namespace_is_opened_there") {
        return;
    }
    // A namespace lives as long as a process in it, whose standard input ends with this test, however it ends.
    let mut other = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let path = format!("/proc/{}/ns/net", other.id());
    soon("the other namespace", || std::fs::read_link(&path).is_ok_and(|namespace| namespace != own));
    let there = |arguments: &str| runs(Command::new("nsenter").arg(format!("--net={path}")).arg("ip").args(arguments.split(' ')));
    let tap = Tap::open_in(&path, "bw0").unwrap();
    assert!(there("link set bw0 up") && !runs(Command::new("ip").args(["link", "show", "bw0"])), "it is in the other one alone");
    soon("carrier", || tap.carrier());
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").unwrap(), own, "the caller stays where it is");
    let told = Tap::open_in(&path, "bw0").unwrap_err().to_string();
    assert!(told.contains("this process itself uses it"), "{told}");
    // The same name here is another device.
    drop(Tap::open("bw0").unwrap());
    let spec: WireSpec = format!("tap=bw1,netns={path}").parse().unwrap();
    let wire = spec.open(&(Arc::new(HostClock::new()) as Arc<dyn Clock>)).unwrap();
    assert!(there("link show bw1"));
    drop((wire, tap, other.stdin.take()));
    other.wait().unwrap();
}

#[test]
fn a_network_namespace_that_is_none_is_told() {
    if !in_namespace("a_network_namespace_that_is_none_is_told") {
        return;
    }
    let told = |netns| Tap::open_in(netns, "bw0").unwrap_err().to_string();
    let text = told("barewire-no-such");
    assert!(
        text.starts_with("/run/netns/barewire-no-such: cannot open the network namespace: No such file") && text.contains("ip netns list"),
        "{text}"
    );
    let text = told("/proc/self/ns/uts");
    assert!(text.contains("cannot enter the network namespace: ") && text.contains("that is no network namespace"), "{text}");
}

#[test]
fn a_device_removed_in_use_is_told() {
    if !in_namespace("a_device_removed_in_use_is_told") {
        return;
    }
    let idle = Tap::open("bw1").unwrap();
    assert!(!idle.is_gone() && idle.error().is_none());
    ip("link del bw1");
    soon("an idle wire is told by its carrier", || !idle.carrier() && idle.is_gone());
    assert_eq!(idle.error(), Some(WireError::Gone { device: "bw1".into() }));
    let mut tap = open_up("bw0");
    ip("link del bw0");
    assert!(!tap.receive(&mut Vec::new()));
    assert_eq!(tap.send(&[0; 60]), Sent::Taken);
    assert_eq!(tap.flush(), Err(WireError::Gone { device: "bw0".into() }));
    assert!(tap.is_finished() && tap.fd().is_none());
    soon("no carrier", || !tap.carrier());
}

#[test]
fn without_permission_the_remedy_is_told() {
    if !in_namespace("without_permission_the_remedy_is_told") {
        return;
    }
    // The second run of this body is a process of another user, who has no rights here.
    if std::env::var_os("BAREWIRE_TEST_NOBODY").is_some() {
        let told = Tap::open("bw0").unwrap_err().to_string();
        let is_node = told.contains("/dev/net/tun: cannot open the tun driver's device node: Permission denied") && told.contains("sudo chmod");
        let is_device = told.contains("bw0: cannot attach to the tap device: ") && told.contains("sudo ip tuntap add dev bw0 mode tap user $USER");
        assert!(is_node || is_device, "{told}");
        return;
    }
    // A copy that every user can run, wherever the build folder lies.
    let copy = std::env::temp_dir().join(format!("barewire-tap-test-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(&copy).args(["--exact", "without_permission_the_remedy_is_told"]);
    let output = command.env("BAREWIRE_TEST_NOBODY", "1").output();
    std::fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("setpriv:") {
        eprintln!("NOT RUN: without_permission_the_remedy_is_told: no second user in this namespace");
        return;
    }
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
