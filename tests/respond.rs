//! `respond` over unix datagrams: the test is the far end, and makes and reads every byte itself.

mod common;

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{Directory, example};

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const CARD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x42];
const OUR_IP: [u8; 4] = [10, 9, 0, 1];
const CARD_IP: [u8; 4] = [10, 9, 0, 2];
/// EtherTypes and IP protocols.
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A running `respond` and the far end of its wire.
struct Lab {
    respond: Child,
    socket: UnixDatagram,
    far: String,
    _directory: Directory,
}

impl Lab {
    fn start(test: &str, arguments: &[&str]) -> Self {
        Self::with_card("sim:ixgbe", test, arguments)
    }

    fn with_card(card: &str, test: &str, arguments: &[&str]) -> Self {
        let directory = Directory::new(test);
        let (near, far) = (directory.file("near"), directory.file("far"));
        let socket = UnixDatagram::bind(&near).unwrap();
        let spec = format!("{card},mac=02:00:00:00:00:42,dgram={far}:{near}");
        let mut command = example("respond");
        command.args([&spec, "--ip", "10.9.0.2/24", "--mtu", "9000"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut lab = Self { respond: command.spawn().unwrap(), socket, far, _directory: directory };
        lab.wait_until_it_answers();
        lab
    }

    /// Its socket comes first, then its link: until then frames are lost, as on any cable.
    fn wait_until_it_answers(&mut self) {
        let mut answer = [0; 2048];
        let mut asked = || self.socket.send_to(&arp_request(), &self.far).is_ok() && self.heard(&mut answer, 50).is_some();
        let tries = (0..200).find(|_| {
            let answered = asked();
            std::thread::sleep(Duration::from_millis(if answered { 0 } else { 50 }));
            answered
        });
        if tries.is_none() {
            let _ = self.respond.kill();
            panic!("respond does not answer: {}", self.said());
        }
        // Answers to further questions that were on the way.
        while self.heard(&mut answer, 200).is_some() {}
    }

    /// The next frame for us within `limit_ms`: what goes to all (reports of multicast groups) is passed over.
    fn heard(&self, frame: &mut [u8], limit_ms: u64) -> Option<usize> {
        self.socket.set_read_timeout(Some(Duration::from_millis(limit_ms))).unwrap();
        loop {
            let len = self.socket.recv(frame).ok()?;
            if frame[0] & 1 == 0 || frame[..2] == [0xff, 0xff] {
                return Some(len);
            }
        }
    }

    fn ask(&self, question: &[u8]) -> Vec<u8> {
        self.socket.send_to(question, &self.far).unwrap();
        let mut answer = vec![0; 16384];
        let len = self.heard(&mut answer, 10_000).expect("an answer within ten seconds");
        answer.truncate(len);
        assert!(len >= 60, "no frame on a wire is shorter than 60 bytes");
        assert_eq!(answer[..12], [OUR_MAC, CARD_MAC].concat(), "addressed to whoever asked: {answer:x?}");
        answer
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) -> String {
        let killed = std::process::Command::new("kill").args(["-INT", &self.respond.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = self.respond.wait().unwrap();
        let said = self.said();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains(" violations=0\n"), "{said}");
        said
    }

    /// What it printed, after it has ended.
    fn said(&mut self) -> String {
        let stdout = std::io::read_to_string(self.respond.stdout.take().unwrap()).unwrap();
        stdout + &std::io::read_to_string(self.respond.stderr.take().unwrap()).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.respond.kill();
        let _ = self.respond.wait();
    }
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&CARD_MAC[..], &OUR_MAC, &ether_type.to_be_bytes(), payload].concat()
}

fn arp_request() -> Vec<u8> {
    // RFC 826: Ethernet, IPv4, lengths 6 and 4, request.
    let mut frame = ethernet(ARP, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &OUR_MAC, &OUR_IP, &[0; 6], &CARD_IP].concat());
    frame[..6].fill(0xff);
    frame
}

/// RFC 1071, over several pieces of which all but the last are even.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let bytes = pieces.concat();
    let sum: u32 = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header = [&[0x45, 0][..], &len.to_be_bytes(), &[0, 1, 0x40, 0, 64, protocol, 0, 0], &OUR_IP, &CARD_IP].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(IPV4, &[&header, payload].concat())
}

/// The payload of an IPv4 packet from the card, its header checked.
fn ipv4_payload(frame: &[u8], protocol: u8) -> &[u8] {
    assert_eq!((&frame[12..14], frame[14], frame[23]), (&IPV4.to_be_bytes()[..], 0x45, protocol));
    assert_eq!(frame[26..34], [CARD_IP, OUR_IP].concat());
    assert_eq!(checksum(&[&frame[14..34]]), 0);
    let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    &frame[34..14 + len]
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + len) as u8).collect()
}

/// ICMP and ICMPv6 alike: type, code 0, checksum over `pseudo` too, identifier 7, sequence 1.
fn echo(kind: u8, pseudo: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 0, 7, 0, 1], payload].concat();
    let sum = checksum(&[pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn check_pings(lab: &Lab) {
    for len in [0, 1, 17, 18, 19, 56, 1472, 1473, 2006, 2007, 4000, 8971, 8972] {
        let answer = lab.ask(&ipv4(ICMP, &echo(8, &[], &payload(len))));
        assert!(ipv4_payload(&answer, ICMP) == echo(0, &[], &payload(len)), "{len} bytes");
    }
}

#[test]
fn arp() {
    let lab = Lab::start("respond-arp", &[]);
    let answer = lab.ask(&arp_request());
    assert_eq!(answer[12..42], [&ARP.to_be_bytes()[..], &[0, 1, 8, 0, 6, 4, 0, 2], &CARD_MAC, &CARD_IP, &OUR_MAC, &OUR_IP].concat());
    lab.end();
}

#[test]
fn ping() {
    let lab = Lab::start("respond-ping", &[]);
    check_pings(&lab);
    lab.end();
}

#[test]
fn ping_while_it_sleeps_until_interrupts() {
    let lab = Lab::start("respond-interrupts", &["--interrupts"]);
    check_pings(&lab);
    lab.end();
}

#[test]
fn ping_on_a_virtio_card_by_polling_and_by_interrupts() {
    for arguments in [&[][..], &["--interrupts"]] {
        let lab = Lab::with_card("sim:virtio-net", "respond-virtio", arguments);
        check_pings(&lab);
        lab.end();
    }
}

#[test]
fn the_link_is_told_when_it_comes() {
    let said = Lab::start("respond-link", &[]).end();
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("link ")).collect();
    assert!(matches!(lines[..], [line] if line.starts_with("link sim:ixgbe,") && line.ends_with(" up, 10000 Mbit/s, full duplex")), "{said}");
}

#[test]
fn udp_echo() {
    let lab = Lab::start("respond-udp", &[]);
    for len in [0, 1, 18, 1472, 1473, 3000, 8972] {
        let datagram = |from: u16, to: u16| {
            let udp_len = (8 + len) as u16;
            [&from.to_be_bytes()[..], &to.to_be_bytes(), &udp_len.to_be_bytes(), &[0, 0], &payload(len)].concat()
        };
        let answer = lab.ask(&ipv4(UDP, &datagram(40_000, 7)));
        let found = ipv4_payload(&answer, UDP);
        let pseudo = [&CARD_IP[..], &OUR_IP, &[0, UDP], &found[4..6]].concat();
        assert_eq!(checksum(&[&pseudo, found]), 0, "{len} bytes");
        let mut wanted = datagram(7, 40_000);
        wanted[6..8].copy_from_slice(&found[6..8]);
        assert!(found == wanted, "{len} bytes");
    }
    let output = lab.end();
    assert!(output.ends_with("refused=0 echoed=7\n"), "{output}");
}

#[test]
fn neighbour_discovery_and_ping_over_ipv6() {
    let lab = Lab::start("respond-ipv6", &["--ip6", "fd00:9::2/64"]);
    let ours: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x77];
    let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x42];
    let given = [0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let packet = |to: [u8; 16], hops: u8, kind: u8, body: &[u8]| {
        let len = (4 + body.len()) as u16;
        let pseudo = [&ours[..], &to, &u32::from(len).to_be_bytes(), &[0, 0, 0, ICMPV6]].concat();
        let sum = checksum(&[&pseudo, &[kind, 0, 0, 0], body]);
        ethernet(IPV6, &[&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[ICMPV6, hops], &ours, &to, &[kind, 0], &sum.to_be_bytes(), body].concat())
    };
    for target in [link_local, given] {
        // RFC 4861: a solicitation to the target's solicited-node group, with our Ethernet address as option 1.
        let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
        group[13..].copy_from_slice(&target[13..]);
        let mut solicitation = packet(group, 255, 135, &[&[0; 4], &target[..], &[1, 1], &OUR_MAC].concat());
        solicitation[..6].copy_from_slice(&[0x33, 0x33, 0xff, target[13], target[14], target[15]]);
        let advertisement = lab.ask(&solicitation);
        assert_eq!((advertisement[20], advertisement[54]), (ICMPV6, 136));
        assert_eq!((&advertisement[22..38], &advertisement[38..54]), (&target[..], &ours[..]));
        assert_eq!(advertisement[62..78], target);
        assert_eq!(advertisement[78..86], [&[2, 1][..], &CARD_MAC].concat(), "the target's Ethernet address");

        for len in [0, 56, 1452, 8952] {
            let answer = lab.ask(&packet(target, 64, 128, &[&[0, 7, 0, 1], &payload(len)[..]].concat()));
            assert_eq!((answer[20], &answer[54..56], &answer[58..62]), (ICMPV6, &[129, 0][..], &[0, 7, 0, 1][..]));
            assert_eq!((&answer[22..38], &answer[38..54]), (&target[..], &ours[..]));
            assert!(answer[62..62 + len] == payload(len), "{len} bytes");
        }
    }
    lab.end();
}
