//! `respond` among hosts that ask otherwise: groups, probes for addresses, hosts that do not answer, tags, fragments, extension headers.

mod common;
#[path = "common/lab.rs"]
mod lab;

use std::time::Duration;

use common::{Directory, example, run};
use lab::{ARP, CARD_IP, CARD_MAC, ICMP, ICMPV6, IPV4, IPV6, Lab, OUR_IP, OUR_MAC, UDP, arp_request, checksum, echo, ethernet, payload};

const GIVEN: [u8; 16] = [0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const OURS: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x77];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn ipv4_between(from: [u8; 4], to: [u8; 4], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header = [&[0x45, 0][..], &len.to_be_bytes(), &[0, 9], &fragment.to_be_bytes(), &[64, protocol, 0, 0], &from, &to].concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(IPV4, &[&header, payload].concat())
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &(8 + payload.len() as u16).to_be_bytes(), &[0, 0], payload].concat()
}

fn ipv6_between(from: [u8; 16], to: [u8; 16], next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    ethernet(IPV6, &[&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[next, hops], &from, &to, payload].concat())
}

/// A message of ICMPv6 or UDP with its checksum at `sum_at`.
fn summed(from: [u8; 16], to: [u8; 16], next: u8, mut message: Vec<u8>, sum_at: usize) -> Vec<u8> {
    let pseudo = [&from[..], &to, &(message.len() as u32).to_be_bytes(), &[0, 0, 0, next]].concat();
    let sum = checksum(&[&pseudo, &message]);
    message[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    message
}

fn ping6(to: [u8; 16]) -> Vec<u8> {
    summed(OURS, to, ICMPV6, [&[128, 0, 0, 0, 0, 7, 0, 1][..], &payload(56)].concat(), 2)
}

impl Lab {
    fn send(&self, frame: &[u8]) {
        self.socket.send_to(frame, &self.far).unwrap();
    }

    /// All that comes until the answer to a ping: what was to be answered before it has been.
    fn answers(&self, question: &[u8]) -> Vec<Vec<u8>> {
        self.send(question);
        let probe = ipv4_between(OUR_IP, CARD_IP, ICMP, 0x4000, &echo(8, &[], b"the last one"));
        self.send(&probe);
        let mut answers = Vec::new();
        loop {
            let mut frame = vec![0; 16384];
            self.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let len = self.socket.recv(&mut frame).expect("an answer to the ping at last");
            frame.truncate(len);
            // Membership reports of IPv6 come when they come.
            if frame[..2] == [0x33, 0x33] && frame[20] == 0 {
                continue;
            }
            if frame[12..14] == IPV4.to_be_bytes() && frame.windows(12).any(|bytes| bytes == b"the last one") {
                return answers;
            }
            answers.push(frame);
        }
    }
}

/// Asks so that the card knows us.
fn start(test: &str) -> Lab {
    let lab = Lab::start(test, &["--ip6", "fd00:9::2/64"]);
    lab.ask(&arp_request());
    lab
}

#[test]
fn a_sender_that_tells_no_address_takes_nobody_elses_echo() {
    let lab = start("respond-silent");
    // Twenty that answer no ARP, one off the subnet: more than wait at once.
    for host in 0..20 {
        lab.send(&ipv4_between([10, 9, 0, 100 + host], CARD_IP, UDP, 0x4000, &udp(5000, 7, b"silent")));
    }
    lab.send(&ipv4_between([192, 0, 2, 1], CARD_IP, UDP, 0x4000, &udp(5000, 7, b"elsewhere")));
    for number in 0..3u8 {
        let answers = lab.answers(&ipv4_between(OUR_IP, CARD_IP, UDP, 0x4000, &udp(40_000, 7, &[number; 30])));
        let echoes: Vec<_> = answers.iter().filter(|frame| frame[12..14] == IPV4.to_be_bytes()).collect();
        assert!(matches!(echoes[..], [one] if one[42..72] == [number; 30]), "{answers:x?}");
    }
    let said = lab.end();
    assert!(said.ends_with("refused=0 echoed=3\n"), "only what left is counted: {said}");
}

#[test]
fn groups_and_everybody_are_no_source_and_get_no_ping_answered() {
    let lab = start("respond-groups");
    for to in [[10, 9, 0, 255], [255; 4], [224, 0, 0, 1]] {
        let pinged = lab.answers(&ipv4_between(OUR_IP, to, ICMP, 0x4000, &echo(8, &[], &payload(20))));
        assert!(pinged.is_empty(), "{to:?}: {pinged:x?}");
        for answer in lab.answers(&ipv4_between(OUR_IP, to, UDP, 0x4000, &udp(40_000, 7, b"all"))) {
            assert_eq!(answer[26..34], [CARD_IP, OUR_IP].concat(), "from the own address, if at all: {answer:x?}");
        }
    }
    let mut all = ipv6_between(OURS, ALL_NODES, ICMPV6, 64, &ping6(ALL_NODES));
    all[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(lab.answers(&all), [[0; 0]; 0]);
    // No error either for a port that nobody has (RFC 4443 section 2.4).
    let mut closed = ipv6_between(OURS, ALL_NODES, UDP, 64, &summed(OURS, ALL_NODES, UDP, udp(40_000, 9, b"nobody"), 6));
    closed[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(lab.answers(&closed), [[0; 0]; 0]);
    lab.end();
}

#[test]
fn two_echo_services_do_not_talk_for_ever() {
    let lab = start("respond-seven");
    assert_eq!(lab.answers(&ipv4_between(OUR_IP, CARD_IP, UDP, 0x4000, &udp(7, 7, b"for ever"))), [[0; 0]; 0]);
    assert!(lab.end().ends_with("echoed=0\n"));
}

#[test]
fn who_looks_whether_an_address_is_taken_is_told() {
    let lab = start("respond-probes");
    // RFC 5227: the sender has no address yet.
    let mut probe = arp_request();
    probe[28..32].fill(0);
    let [answer] = &lab.answers(&probe)[..] else { panic!("one answer") };
    assert_eq!(answer[..12], [OUR_MAC, CARD_MAC].concat());
    assert_eq!(answer[12..42], [&ARP.to_be_bytes()[..], &[0, 1, 8, 0, 6, 4, 0, 2], &CARD_MAC, &CARD_IP, &OUR_MAC, &[0; 4]].concat());
    // RFC 4861 section 7.2.4: all nodes are told, as the sender has no address.
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&GIVEN[13..]);
    let solicitation = summed([0; 16], group, ICMPV6, [&[135, 0, 0, 0, 0, 0, 0, 0][..], &GIVEN].concat(), 2);
    let mut solicitation = ipv6_between([0; 16], group, ICMPV6, 255, &solicitation);
    solicitation[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 2]);
    let [answer] = &lab.answers(&solicitation)[..] else { panic!("one answer") };
    assert_eq!((&answer[..6], &answer[22..38], &answer[38..54]), (&[0x33, 0x33, 0, 0, 0, 1][..], &GIVEN[..], &ALL_NODES[..]));
    assert_eq!((answer[54], answer[58], &answer[62..78]), (136, 0x20, &GIVEN[..]), "override, and not solicited");
    assert_eq!(answer[78..86], [&[2, 1][..], &CARD_MAC].concat());
    let message = summed(GIVEN, ALL_NODES, ICMPV6, [&answer[54..56], &[0, 0], &answer[58..86]].concat(), 2);
    assert_eq!(answer[56..58], message[2..4], "its checksum");
    lab.end();
}

#[test]
fn another_host_with_our_address_is_told() {
    let directory = Directory::new("respond-conflict");
    let (near, far) = (directory.file("near"), directory.file("far"));
    let socket = std::os::unix::net::UnixDatagram::bind(&near).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let spec = format!("sim:ixgbe,mac=02:00:00:00:00:42,dgram={far}:{near}");
    let child =
        example("respond").args([&spec, "--ip", "10.9.0.2/24"]).stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn();
    let mut child = child.unwrap();
    let mut frame = [0; 2048];
    // It asks for its address with none of its own (RFC 5227).
    loop {
        let len = socket.recv(&mut frame).expect("it asks at its start");
        if frame[12..14] == ARP.to_be_bytes() && len >= 42 {
            break;
        }
    }
    assert_eq!((&frame[..6], &frame[28..32], &frame[38..42]), (&[0xff; 6][..], &[0; 4][..], &CARD_IP[..]));
    let taken = ethernet(ARP, &[&[0, 1, 8, 0, 6, 4, 0, 2][..], &OUR_MAC, &CARD_IP, &CARD_MAC, &[0; 4]].concat());
    for _ in 0..2 {
        socket.send_to(&taken, &far).unwrap();
    }
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, "warning: address conflict: 10.9.0.2 is the address of 02-00-00-00-00-77, too: give one of the two another\n");
}

#[test]
fn a_ping_with_a_priority_is_answered_and_one_of_a_vlan_is_not() {
    let lab = start("respond-priority");
    let ping = ipv4_between(OUR_IP, CARD_IP, ICMP, 0x4000, &echo(8, &[], &payload(56)));
    let tagged = |tag: u16| [&ping[..12], &[0x81, 0], &tag.to_be_bytes(), &ping[12..]].concat();
    let [answer] = &lab.answers(&tagged(5 << 13))[..] else { panic!("one answer") };
    assert_eq!(answer[34..98], echo(0, &[], &payload(56)));
    assert_eq!(lab.answers(&tagged(5 << 13 | 42)), [[0; 0]; 0]);
    lab.end();
}

#[test]
fn a_ping_in_fragments_is_put_together_and_answered_in_fragments() {
    // With a payload of 1500 - 20 bytes a fragment could be full; with 1497 - 20, 1477, it has 1472.
    for mtu in [1500, 1497] {
        let lab = Lab::with_mtu("sim:ixgbe", &format!("respond-fragments-{mtu}"), mtu, &[]);
        lab.ask(&arp_request());
        let message = echo(8, &[], &payload(4000));
        // The flag says that more follow; offsets count 8 bytes.
        lab.send(&ipv4_between(OUR_IP, CARD_IP, ICMP, 0x2000, &message[..1472]));
        lab.send(&ipv4_between(OUR_IP, CARD_IP, ICMP, 0x2000 + 1472 / 8, &message[1472..2944]));
        lab.send(&ipv4_between(OUR_IP, CARD_IP, ICMP, 2944 / 8, &message[2944..]));
        let mut answer = Vec::new();
        while answer.len() < message.len() {
            let mut frame = vec![0; 2048];
            let len = lab.heard(&mut frame, 10_000).expect("a further fragment");
            let field = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
            let (packet_bytes, fragment) = (field(16), field(20));
            assert!(packet_bytes <= mtu as usize && len >= 14 + packet_bytes, "{mtu}: {packet_bytes}");
            assert_eq!((fragment & 0x1fff) * 8, answer.len(), "{mtu}: they come in order");
            answer.extend_from_slice(&frame[34..14 + packet_bytes]);
            assert_eq!(fragment & 0x2000 != 0, answer.len() < message.len(), "{mtu}: more follow");
        }
        assert!(answer == echo(0, &[], &payload(4000)), "{mtu}");
        lab.end();
    }
}

#[test]
fn extension_headers_that_say_nothing_are_passed_over() {
    let lab = start("respond-extensions");
    let solicit = |from: [u8; 16]| {
        let message = [&[136, 0, 0, 0, 0x60, 0, 0, 0][..], &from, &[2, 1], &OUR_MAC].concat();
        ipv6_between(from, GIVEN, ICMPV6, 255, &summed(from, GIVEN, ICMPV6, message, 2))
    };
    // The card asks who we are first.
    let asked = lab.answers(&ipv6_between(OURS, GIVEN, ICMPV6, 64, &ping6(GIVEN)));
    if asked.iter().any(|frame| frame[54] == 135) {
        lab.answers(&solicit(OURS));
    }
    let ping = ping6(GIVEN);
    let (options, routing, fragment) = ([ICMPV6, 0, 1, 4, 0, 0, 0, 0], [ICMPV6, 0, 0, 0, 0, 0, 0, 0], [ICMPV6, 0, 0, 0, 0, 0, 0, 1]);
    for (next, header) in [(60, options), (43, routing), (44, fragment)] {
        let answers = lab.answers(&ipv6_between(OURS, GIVEN, next, 64, &[&header[..], &ping].concat()));
        assert!(matches!(&answers[..], [one] if one[54] == 129 && one[62..118] == payload(56)), "{next}: {answers:x?}");
    }
    // Nothing follows; a segment is left; a fragment of more.
    let (left, part) = ([ICMPV6, 0, 0, 1, 0, 0, 0, 0], [ICMPV6, 0, 0, 1, 0, 0, 0, 1]);
    for (next, header) in [(59, options), (43, left), (44, part)] {
        assert_eq!(lab.answers(&ipv6_between(OURS, GIVEN, next, 64, &[&header[..], &ping].concat())), [[0; 0]; 0], "{next}");
    }
    // RFC 8200 section 8.1: UDP without a checksum is none over IPv6.
    assert_eq!(lab.answers(&ipv6_between(OURS, GIVEN, UDP, 64, &udp(40_000, 7, b"unsummed"))), [[0; 0]; 0]);
    let answers = lab.answers(&ipv6_between(OURS, GIVEN, UDP, 64, &summed(OURS, GIVEN, UDP, udp(40_000, 7, b"summed"), 6)));
    assert!(matches!(&answers[..], [one] if one[62..68] == *b"summed"), "{answers:x?}");
    lab.end();
}

#[test]
fn addresses_that_no_host_has_are_wrong_usage() {
    for (option, address, why) in [
        ("--ip", "224.0.0.1/24", "groups"),
        ("--ip", "255.255.255.255/24", "everybody's"),
        ("--ip", "0.0.0.0/24", "no host"),
        ("--ip", "127.0.0.1/8", "never leaves a host"),
        ("--ip", "240.0.0.1/24", "reserved"),
        ("--ip", "10.9.0.0/24", "network's own"),
        ("--ip", "10.9.0.255/24", "broadcast"),
        ("--ip", "10.9.0.2/0", "all the world"),
        ("--ip6", "ff02::1/64", "groups"),
        ("--ip6", "::/0", "no addresses on a network"),
        ("--ip6", "::1/128", "no addresses on a network"),
        ("--ip6", "fd00::2/0", "all the world"),
    ] {
        let mut arguments = vec!["sim:ixgbe", option, address];
        if option == "--ip6" {
            arguments.extend(["--ip", "10.9.0.2/31"]);
        }
        let outcome = run("respond", &arguments);
        assert_eq!(outcome.status, Some(2), "{address}: {outcome:?}");
        assert!(outcome.stderr.contains(why) && outcome.stderr.contains(address), "{address}: {}", outcome.stderr);
    }
}
