//! Against Microsoft's published values, and against a reference that shifts the key bit by bit.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::testing::{cases, domain};

/// The key of *Verifying the RSS hash calculation* (Microsoft).
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4,
    0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Its tables: destination and port, source and port, the hash of the addresses, and that of addresses and ports.
const V4: [(&str, u16, &str, u16, u32, u32); 5] = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e_8fc2, 0x51cc_c178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718_262a, 0xc626_b0ea),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0_a5de, 0x5c2b_394a),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x8298_9176, 0xafc7_327f),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d18_09c5, 0x10e8_28a2),
];
const V6: [(&str, u16, &str, u16, u32, u32); 3] = [
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc1_8cd5, 0x4020_7d3d),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c_461c, 0xdde5_1bbf),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61_e985, 0x02d1_feef),
];

#[test]
fn microsofts_published_values() {
    let published = |flow: FlowTuple, (sport, dport): (u16, u16), alone: u32, with_ports: u32| {
        let all = RssTypes::all();
        assert_eq!(flow.hash(&KEY, all), Some(Rss { hash: alone, kind: RssKind::Ip }), "{flow:?}");
        assert_eq!(flow.tcp(sport, dport).hash(&KEY, all), Some(Rss { hash: with_ports, kind: RssKind::Tcp }), "{flow:?}");
        assert_eq!(flow.udp(sport, dport).hash(&KEY, all), Some(Rss { hash: with_ports, kind: RssKind::Udp }), "{flow:?}");
    };
    for (to, dport, from, sport, alone, with_ports) in V4 {
        published(FlowTuple::v4(from.parse().unwrap(), to.parse().unwrap()), (sport, dport), alone, with_ports);
    }
    for (to, dport, from, sport, alone, with_ports) in V6 {
        published(FlowTuple::v6(from.parse().unwrap(), to.parse().unwrap()), (sport, dport), alone, with_ports);
    }
}

#[test]
fn what_is_hashed_is_what_the_types_say() {
    let (v4, v6) = (FlowTuple::v4([1; 4].into(), [2; 4].into()), FlowTuple::v6([1; 16].into(), [2; 16].into()));
    let flows = [v4, v4.tcp(1, 2), v4.udp(1, 2), v6, v6.tcp(1, 2), v6.udp(1, 2)];
    let of = |types: RssTypes| flows.map(|flow| flow.hash(&KEY, types).map(|rss| rss.kind));
    let (ip, tcp, udp) = (Some(RssKind::Ip), Some(RssKind::Tcp), Some(RssKind::Udp));
    assert_eq!(of(RssTypes::all()), [ip, tcp, udp, ip, tcp, udp]);
    assert_eq!(of(RssTypes::empty()), [None; 6]);
    assert_eq!(of(RssTypes::IPV4), [ip, ip, ip, None, None, None]);
    assert_eq!(of(RssTypes::TCP_IPV4), [None, tcp, None, None, None, None]);
    assert_eq!(of(RssTypes::UDP_IPV4 | RssTypes::IPV6), [None, None, udp, ip, ip, ip]);
    assert_eq!(of(RssTypes::TCP_IPV6), [None, None, None, None, tcp, None]);
    assert_eq!(of(RssTypes::UDP_IPV6 | RssTypes::IPV4), [ip, ip, ip, None, None, udp]);
}

#[test]
fn what_a_short_key_lacks_is_zero() {
    let mut long = [0; 40];
    long[..7].copy_from_slice(&KEY[..7]);
    assert_eq!(toeplitz(&KEY[..7], &[0xa5; 12]), toeplitz(&long, &[0xa5; 12]));
    assert_eq!((toeplitz(&[], &[0xff; 4]), toeplitz(&KEY, &[])), (0, 0));
}

/// The key as one number that goes left by a bit for each bit of the input (Microsoft's pseudocode).
fn bitwise(key: &[u8], input: &[u8]) -> u32 {
    let mut key = key.to_vec();
    key.resize(input.len() + 4, 0);
    let mut hash = 0;
    for bit in input.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
        if bit == 1 {
            hash ^= u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
        }
        let carries: Vec<_> = key.iter().skip(1).map(|byte| byte >> 7).chain([0]).collect();
        key.iter_mut().zip(carries).for_each(|(byte, carry)| *byte = *byte << 1 | carry);
    }
    hash
}

/// A frame of a flow: `tags` VLAN tags, a network header with `protocol`, what it says of fragments (nothing: `None`), and 20 bytes that begin with two ports.
fn frame(tags: usize, is_v6: bool, protocol: u8, fragment: Option<u16>, addresses: &[u8], ports: [u16; 2]) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    (0..tags).for_each(|_| bytes.extend([0x81, 0, 0, 7]));
    let mut payload: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    payload.extend([0, 16, 0, 0]);
    payload.resize(20, 0x50);
    if is_v6 {
        let extension = fragment.map_or(vec![], |fragment| [&[protocol, 0][..], &fragment.to_be_bytes(), &[0; 4]].concat());
        let next = fragment.map_or(protocol, |_| 44);
        let len = (payload.len() + extension.len()) as u16;
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend([&len.to_be_bytes()[..], &[next, 64], addresses, &extension].concat());
    } else {
        bytes.extend([0x08, 0x00, 0x45, 0]);
        bytes.extend([&40u16.to_be_bytes()[..], &[0, 1], &fragment.unwrap_or(0).to_be_bytes(), &[64, protocol, 0, 0], &addresses[..8]].concat());
    }
    bytes.extend(payload);
    bytes
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn agrees_with_the_key_shifted_bit_by_bit(key in prop::collection::vec(any::<u8>(), 0..60), input in prop::collection::vec(any::<u8>(), 0..50)) {
        prop_assert_eq!(toeplitz(&key, &input), bitwise(&key, &input));
    }

    #[test]
    fn a_flow_hashes_what_stands_in_its_packets(
        key: [u8; 40], addresses in prop::collection::vec(any::<u8>(), 32), ports: [u16; 2], is_v6: bool, protocol in prop::sample::select(vec![1u8, 6, 17, 58, 132]),
        tags in 0usize..3, fragment in prop::sample::select(vec![None, None, Some(0u16), Some(0x2000), Some(0x0010)]),
    ) {
        // The fragment offset of IPv6 counts from bit 3, and its last flag is bit 0.
        let fragment = fragment.map(|fragment| if is_v6 && fragment == 0x2000 { 1 } else { fragment });
        let addresses = &addresses[..if is_v6 { 32 } else { 8 }];
        let bytes = frame(tags, is_v6, protocol, fragment, addresses, ports);
        let pool = BufPool::new(&domain().0, PoolConfig { buffers: 1, data_bytes: 2048, headroom_bytes: 0 }).unwrap();
        let found = FlowTuple::of(&pool.frame_from(&bytes).unwrap()).unwrap();
        // With a fragment header an IPv6 packet is one of a flow that may have more of them.
        let has_ports = matches!(protocol, 6 | 17) && if is_v6 { fragment.is_none() } else { fragment.unwrap_or(0) == 0 };
        let ports: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
        let input = if has_ports { [addresses, &ports].concat() } else { addresses.to_vec() };
        let kind = if !has_ports { RssKind::Ip } else if protocol == 6 { RssKind::Tcp } else { RssKind::Udp };
        prop_assert_eq!(found.hash(&key, RssTypes::all()), Some(Rss { hash: bitwise(&key, &input), kind }));
        // Cut anywhere, there is less of it, and no fault.
        for len in 0..bytes.len() {
            let pool = BufPool::new(&domain().0, PoolConfig { buffers: 1, data_bytes: 2048, headroom_bytes: 0 }).unwrap();
            let cut = FlowTuple::of(&pool.frame_from(&bytes[..len]).unwrap());
            let is_less = cut.is_none_or(|cut| cut.ports.is_none() && cut.addresses == found.addresses);
            prop_assert!(is_less, "{} of {} bytes: {:?}", len, bytes.len(), cut);
        }
    }

    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let pool = BufPool::new(&domain().0, PoolConfig { buffers: 1, data_bytes: 2048, headroom_bytes: 0 }).unwrap();
        let _any = FlowTuple::of(&pool.frame_from(&bytes).unwrap());
    }
}
