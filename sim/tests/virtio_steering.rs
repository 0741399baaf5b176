//! How the simulated virtio card spreads what it receives over its pairs, by itself and by hashes: judged by the vectors that Microsoft published for receive-side scaling.

use crate::commands::*;

const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4,
    0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
/// Types of hashes (5.1.6.4.3.1).
const IPV4: u32 = 1;
const TCP4: u32 = 2;
const IPV6: u32 = 8;
const TCP6: u32 = 16;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Entries of the longest table.
const TABLE: usize = 128;

/// 66.9.149.187:2794 to 161.142.100.80:1766.
fn ipv4(protocol: u8) -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 9, 0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, protocol, 0, 0]].concat();
    frame.extend([66, 9, 149, 187, 161, 142, 100, 80]);
    frame.extend([2794u16.to_be_bytes(), 1766u16.to_be_bytes()].concat());
    frame.resize(60, 0);
    frame
}

/// [3ffe:2501:200:1fff::7]:2794 to [3ffe:2501:200:3::1]:1766.
fn ipv6(protocol: u8) -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64]].concat();
    for words in [[0x3ffeu16, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7], [0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1]] {
        frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }
    frame.extend([2794u16.to_be_bytes(), 1766u16.to_be_bytes()].concat());
    frame.resize(74, 0);
    frame
}

/// VIRTIO_NET_CTRL_MQ_RSS_CONFIG with struct virtio_net_rss_config (5.1.6.5.7.1); what has no hash goes to queue 0.
fn rss(types: u32, table: &[u16], pairs: u16, key: &[u8]) -> Vec<u8> {
    let mut command = vec![4, 1];
    command.extend(types.to_le_bytes());
    command.extend((table.len() as u16 - 1).to_le_bytes());
    command.extend([0, 0]);
    command.extend(table.iter().flat_map(|queue| queue.to_le_bytes()));
    command.extend(pairs.to_le_bytes());
    command.push(key.len() as u8);
    command.extend(key);
    command
}

/// A table in which the entry of this hash alone is 3, and all others are 1.
fn table_of(hash: u32) -> Vec<u16> {
    (0..TABLE).map(|entry| if entry == hash as usize % TABLE { 3 } else { 1 }).collect()
}

fn card() -> Card {
    Card::up(MQ | RSS, PAIRS)
}

#[test]
fn hashes_are_those_that_were_published() {
    let mut card = card();
    for (types, frame, hash) in [
        (IPV4, ipv4(TCP), 0x323e_8fc2),
        (IPV4 | TCP4, ipv4(TCP), 0x51cc_c178),
        (IPV4 | TCP4, ipv4(UDP), 0x323e_8fc2),
        (IPV6, ipv6(TCP), 0x2cc1_8cd5),
        (IPV6 | TCP6, ipv6(TCP), 0x4020_7d3d),
        (IPV4 | TCP4 | IPV6 | TCP6, ipv6(UDP), 0x2cc1_8cd5),
    ] {
        assert_eq!(card.tell(&rss(types, &table_of(hash), 4, &KEY)), OK);
        assert_eq!(card.arrives(&frame), Some(3), "{hash:#x}");
        assert_eq!(card.tell(&rss(types, &table_of(hash ^ 1), 4, &KEY)), OK);
        assert_eq!(card.arrives(&frame), Some(1), "the entry beside it");
    }
    assert_eq!(card.tell(&rss(TCP4, &table_of(0), 4, &KEY)), OK);
    assert_eq!((card.arrives(&ipv4(UDP)), card.arrives(&[0xff; 60])), (Some(0), Some(0)), "of no type that is hashed");
    assert_eq!(card.whats(), [""; 0]);
}

/// As QEMU's: a driver that sends all 40 bytes sees none of it.
#[test]
fn a_shorter_key_keeps_the_tail_of_the_one_before() {
    let mut card = card();
    let table = table_of(0x323e_8fc2);
    card.tell(&rss(IPV4, &table, 4, &KEY));
    assert_eq!((card.tell(&rss(IPV4, &table, 4, &KEY[..4])), card.arrives(&ipv4(TCP))), (OK, Some(3)));
    let mut zeros = KEY;
    zeros[4..].fill(0);
    assert_eq!((card.tell(&rss(IPV4, &table, 4, &zeros)), card.arrives(&ipv4(TCP))), (OK, Some(1)));
    assert_eq!(card.whats(), [""; 0]);
}

/// Commands that are refused, with what is noted of them.
#[test]
fn a_refused_configuration_switches_spreading_by_hashes_off() {
    let table = [0; TABLE];
    let bad = [
        (rss(1 << 9, &table, 4, &KEY), "types of hashes that the card does not have"),
        (rss(IPV4, &[0; 3], 4, &KEY), "an indirection table that is no power of two, or too long"),
        (rss(IPV4, &[0; 256], 4, &KEY), "an indirection table that is no power of two, or too long"),
        (rss(IPV4, &[2; TABLE], 2, &KEY), "an indirection table that names a queue which is not enabled"),
        (rss(IPV4, &table, 0, &KEY), "no pairs, or more than the card has"),
        (rss(IPV4, &table, 5, &KEY), "no pairs, or more than the card has"),
        (rss(IPV4, &table, 4, &[0; 41]), "a key that is too long, or none"),
        (rss(IPV4, &table, 4, &[]), "a key that is too long, or none"),
        (vec![4, 0, 0, 0], "no pairs, or more than the card has"),
    ];
    for (command, what) in bad {
        let mut card = card();
        assert_eq!(card.tell(&[4, 0, 4, 0]), OK);
        let by_itself = card.arrives(&ipv4(TCP)).unwrap() as u16;
        let other = (by_itself + 1) % 4;
        assert_eq!((card.tell(&rss(IPV4, &[other; TABLE], 4, &KEY)), card.arrives(&ipv4(TCP))), (OK, Some(other.into())));
        assert_eq!(card.refused(&command), what);
        assert_eq!(card.arrives(&ipv4(TCP)), Some(by_itself.into()), "{what}");
    }
}

#[test]
fn pairs_are_enabled_where_their_queues_are_and_then_alone() {
    let mut card = Card::up(MQ, 2);
    let flows = |card: &mut Card| -> Vec<usize> {
        let frame = |port: u8| {
            let mut frame = ipv4(TCP);
            frame[35] = port;
            frame
        };
        (0..16).map(|port| card.arrives(&frame(port)).unwrap()).collect()
    };
    assert_eq!(flows(&mut card), [0; 16], "one pair, until more are enabled");
    assert_eq!(card.tell(&[4, 0, 2, 0]), OK);
    let spread = flows(&mut card);
    assert!(spread.contains(&0) && spread.contains(&1), "{spread:?}");
    assert_eq!(card.tell(&[4, 0, 1, 0]), OK);
    assert_eq!(flows(&mut card), [0; 16]);
    assert_eq!(card.refused(&[4, 0, 3, 0]), "pairs are enabled whose queues are not");
}
