//! Frames that are no plain ones go through a card byte for byte: tags of all kinds, and those of the link's own protocols.

#[path = "common/captures.rs"]
mod captures;
mod common;

use common::{Directory, run};

const CARDS: [&str; 4] = ["sim:ixgbe", "sim:ixgbe,card=x540", "sim:ixgbe,card=x550", "sim:virtio-net"];
/// Destinations that bridges keep to themselves (IEEE 802.1Q table 8-1): STP, pause, LLDP.
const STP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0];
const PAUSE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 1];
const LLDP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];

/// A frame of `len` bytes with `head` behind its addresses.
fn frame(to: [u8; 6], head: &[u8], len: usize) -> Vec<u8> {
    let addresses = [&to[..], &[2, 0, 0, 0, 0, 0x55]].concat();
    let rest = (0..len - 12 - head.len()).map(|n| (n * 7 + len) as u8);
    addresses.into_iter().chain(head.iter().copied()).chain(rest).collect()
}

/// What `forward` lets out of one card where `frames` come into another, and how it ends.
fn forwarded(card: &str, directory: &Directory, frames: &[Vec<u8>], more: &[&str]) -> (Vec<Vec<u8>>, common::Outcome) {
    let (input, output) = (directory.file("in.pcap"), directory.file("out.pcap"));
    captures::write(&input, frames);
    let specs = [format!("{card},pcap-in={input}"), format!("{card},pcap-out={output}")];
    let outcome = run("forward", &[&[specs[0].as_str(), specs[1].as_str()], more].concat());
    (captures::read(&output), outcome)
}

#[test]
fn tags_of_all_kinds_pass_byte_for_byte() {
    let directory = Directory::new("odd-tags");
    let to = [2, 0, 0, 0, 0, 0x66];
    let heads: [&[u8]; 6] = [
        &[0x81, 0, 0x20, 42, 8, 0],
        // A priority and no VLAN.
        &[0x81, 0, 0xa0, 0, 8, 0],
        // Two tags: IEEE 802.1ad, twice IEEE 802.1Q, and the one that came before the standards.
        &[0x88, 0xa8, 0, 7, 0x81, 0, 0x20, 42, 8, 0],
        &[0x81, 0, 0, 7, 0x81, 0, 0x20, 42, 8, 0],
        &[0x91, 0, 0, 7, 0x81, 0, 0x20, 42, 8, 0],
        // The second tag's type at the end.
        &[0x81, 0, 0x2f, 0xff, 0x88, 0xa8],
    ];
    let frames: Vec<_> = heads.iter().flat_map(|head| [60, 61, 64, 128, 1514].map(|len| frame(to, head, len))).collect();
    // One tag does not count: 1518 bytes with it are an MTU of 1500.
    let full = frame(to, heads[0], 1518);
    for card in CARDS {
        let (found, outcome) = forwarded(card, &directory, &[&frames[..], std::slice::from_ref(&full)].concat(), &["--mtu", "1500"]);
        assert_eq!(outcome.status, Some(0), "{card}: {outcome:?}");
        assert!(found[..frames.len()] == frames && found[frames.len()] == full, "{card}");
    }
}

#[test]
fn short_tagged_frames_are_padded_and_not_otherwise_changed() {
    let directory = Directory::new("odd-short");
    let frames: Vec<_> = (18..60).map(|len| frame([2, 0, 0, 0, 0, 0x66], &[0x81, 0, 0x20, 42, 8, 0], len)).collect();
    let wanted: Vec<_> = frames.iter().map(|frame| captures::padded(frame)).collect();
    for card in CARDS {
        let (found, outcome) = forwarded(card, &directory, &frames, &[]);
        assert!(outcome.status == Some(0) && found == wanted, "{card}: {outcome:?}");
    }
}

#[test]
fn two_tags_make_a_full_frame_too_long_and_that_is_counted() {
    let directory = Directory::new("odd-long");
    let to = [2, 0, 0, 0, 0, 0x66];
    let (two, fits) = ([0x88, 0xa8, 0, 7, 0x81, 0, 0x20, 42, 8, 0], frame(to, &[0x81, 0, 0, 42, 8, 0], 1518));
    for card in CARDS {
        let (found, outcome) = forwarded(card, &directory, &[frame(to, &two, 1522), fits.clone()], &["--mtu", "1500"]);
        assert_eq!((outcome.status, found), (Some(1), vec![fits.clone()]), "{card}: {outcome:?}");
        let last = outcome.stdout.lines().last().unwrap();
        assert!(last.starts_with("forwarded=1 lost=1 "), "{card}: {last}");
        let total = outcome.stdout.lines().find(|line| line.contains(": rx_packets=1 ")).unwrap();
        assert!(total.contains(" rx_errors=1 ") && total.contains(" rx_length_errors=1 "), "{card}: {total}");
    }
}

#[test]
fn frames_of_the_links_own_protocols_are_delivered() {
    let directory = Directory::new("odd-control");
    let frames = [
        // IEEE 802.3 annex 31B: PAUSE, for no time at all, and for a while.
        frame(PAUSE, &[0x88, 0x08, 0, 1, 0, 0], 60),
        frame(PAUSE, &[0x88, 0x08, 0, 1, 0xff, 0xff], 60),
        // The same to one station.
        frame([2, 0, 0, 0, 0, 0x66], &[0x88, 0x08, 0, 1, 0, 9], 60),
        frame(LLDP, &[0x88, 0xcc], 78),
        // A length and the header of IEEE 802.2 in place of a type.
        frame(STP, &[0, 38, 0x42, 0x42, 3, 0, 0, 0, 0], 60),
        // IEEE 802.1X, and the group of link aggregation.
        frame([0x01, 0x80, 0xc2, 0, 0, 3], &[0x88, 0x8e], 60),
        frame([0x01, 0x80, 0xc2, 0, 0, 2], &[0x88, 0x09, 1], 124),
    ];
    for card in CARDS {
        let (found, outcome) = forwarded(card, &directory, &frames, &[]);
        assert_eq!(outcome.status, Some(0), "{card}: {outcome:?}");
        assert_eq!(found, frames, "{card}");
    }
}
