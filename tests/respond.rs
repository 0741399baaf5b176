//! `respond` to whoever asks as a host should be asked.

mod common;
#[path = "common/lab.rs"]
mod lab;

use lab::{
    ARP, CARD_IP, CARD_MAC, ICMP, ICMPV6, IPV6, Lab, OUR_IP, OUR_MAC, UDP, arp_request, checksum, echo, ethernet, ipv4, ipv4_payload, payload,
};

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

/// Datagrams of many lengths, without a checksum or with one, to the echo port and back. Returns what was printed.
fn echoed(lab: Lab, has_checksum: bool) -> String {
    for len in [0, 1, 18, 19, 1472, 1473, 3000, 8972] {
        let datagram = |from: u16, to: u16| {
            let udp_len = (8 + len) as u16;
            [&from.to_be_bytes()[..], &to.to_be_bytes(), &udp_len.to_be_bytes(), &[0, 0], &payload(len)].concat()
        };
        let mut question = datagram(40_000, 7);
        if has_checksum {
            let pseudo = [&OUR_IP[..], &CARD_IP, &[0, UDP], &question[4..6]].concat();
            let sum = checksum(&[&pseudo, &question]);
            question[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        let answer = lab.ask(&ipv4(UDP, &question));
        let found = ipv4_payload(&answer, UDP);
        let pseudo = [&CARD_IP[..], &OUR_IP, &[0, UDP], &found[4..6]].concat();
        assert_eq!(checksum(&[&pseudo, found]), 0, "{len} bytes");
        let mut wanted = datagram(7, 40_000);
        wanted[6..8].copy_from_slice(&found[6..8]);
        assert!(found == wanted, "{len} bytes");
    }
    lab.end()
}

#[test]
fn udp_echo() {
    let output = echoed(Lab::start("respond-udp", &[]), false);
    assert!(output.ends_with("refused=0 echoed=8\n"), "{output}");
}

/// As from a kernel whose tap the card is on: the checksums of UDP are left to the card, which leaves them to its driver.
#[test]
fn udp_echo_where_checksums_arrive_to_be_filled_in() {
    for arguments in [&[][..], &["--interrupts"]] {
        let output = echoed(Lab::with_card("sim:virtio-net,rx-checksum=local", "respond-partial", arguments), true);
        assert!(output.ends_with("refused=0 echoed=8\n"), "{output}");
    }
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
