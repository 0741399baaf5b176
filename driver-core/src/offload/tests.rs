//! Every result against an oracle that reads the bytes one by one, in one piece.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::buf::frame::{Frame, FrameError};
use crate::buf::meta::{Checksum, Segmentation, SegmentationKind};
use crate::buf::pool::{BufPool, PoolConfig};
use crate::offload::{Crc32c, OffloadError, Sum, Work, fill_ipv4, fill_transport, verify_ipv4, verify_transport};
use crate::testing::{cases, domain};

/// RFC 1071, section 4.1: word by word.
fn scalar_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Bit by bit, the polynomial as RFC 9260 (appendix A) writes it, of bytes whose bits come last first.
fn scalar_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            crc = if crc >> 31 == 0 { crc << 1 } else { crc << 1 ^ 0x1edc_6f41 };
        }
    }
    !crc.reverse_bits()
}

fn pool_with(data_bytes: u32, headroom_bytes: u32) -> BufPool {
    BufPool::new(&domain().0, PoolConfig { buffers: 64, data_bytes, headroom_bytes }).unwrap()
}

fn pool() -> BufPool {
    pool_with(2048, 64)
}

/// The bytes in segments that end at `cuts`, which may leave empty ones.
fn scattered(pool: &BufPool, bytes: &[u8], cuts: &[usize]) -> Frame {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut at = 0;
    let mut pieces = cuts.into_iter().chain([bytes.len()]).map(|end| pool.frame_from(&bytes[core::mem::replace(&mut at, end)..end]).unwrap());
    let first = pieces.next().unwrap();
    pieces.fold(first, |mut frame, piece| {
        frame.append(piece);
        frame
    })
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}

fn some_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    // Zeros and ones make sums that are zero in one way or the other.
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..most),
        1 => proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff)], 0..most),
    ]
}

fn some_cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(any::<usize>(), 0..6)
}

#[test]
fn a_long_run_of_ones_loses_no_carry() {
    let len = if cfg!(miri) { 70_001 } else { 3_000_001 };
    let mut bytes = vec![0xff; len];
    bytes[1] = 0x3e;
    let mut sum = Sum::new();
    sum.add(&bytes);
    assert_eq!(sum.value(), scalar_sum(&bytes));
    assert_eq!((Sum::new().value(), Sum::new().checksum()), (0, 0xffff));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_sum_is_that_of_the_scalar_loop_however_the_bytes_are_cut(bytes in some_bytes(700), cuts in some_cuts(), from in 0usize..200, to in 0usize..900) {
        let frame = scattered(&pool(), &bytes, &cuts);
        let mut sum = Sum::new();
        sum.add_frame(&frame, from, to);
        let end = to.min(bytes.len());
        let covered = bytes.get(from..end).unwrap_or_default();
        prop_assert_eq!(sum.value(), scalar_sum(covered));
        let mut in_one = Sum::new();
        in_one.add(covered);
        prop_assert_eq!(in_one.value(), sum.value());
    }

    #[test]
    fn a_crc_is_that_of_the_bits_however_the_bytes_are_cut(bytes in some_bytes(300), cut in any::<usize>()) {
        let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
        let mut crc = Crc32c::default();
        crc.add(first);
        crc.add(second);
        prop_assert_eq!(crc.value(), scalar_crc32c(&bytes));
    }

    #[test]
    fn a_partial_checksum_is_filled_in_or_refused_and_nothing_else_changes(
        bytes in some_bytes(400), cuts in some_cuts(), start in 0u16..420, offset in 0u16..420, is_wild in prop::bool::weighted(0.1),
    ) {
        let (start, offset) = if is_wild { (start.wrapping_mul(331), offset.wrapping_mul(331)) } else { (start, offset) };
        let mut frame = scattered(&pool(), &bytes, &cuts);
        frame.set_checksum(Checksum::Partial { start, offset });
        let place = usize::from(start) + usize::from(offset);
        if place + 2 > bytes.len() {
            prop_assert_eq!(frame.fill_in_checksum(), Err(OffloadError::Place { start, offset, len_bytes: bytes.len() }));
            prop_assert_eq!((bytes_of(&frame), frame.checksum()), (bytes, Checksum::Partial { start, offset }));
            return Ok(());
        }
        let mut wanted = bytes;
        let sum = match !scalar_sum(&wanted[start.into()..]) {
            0 => 0xffff,
            sum => sum,
        };
        wanted[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(frame.fill_in_checksum(), Ok(true));
        prop_assert_eq!((bytes_of(&frame), frame.checksum()), (wanted, Checksum::Good));
        prop_assert!(!frame.wants_offload());
    }

    #[test]
    fn a_crc_of_sctp_is_filled_in_or_refused_and_nothing_else_changes(
        bytes in some_bytes(400), cuts in some_cuts(), start in 0u16..420, is_wild in prop::bool::weighted(0.1), tag in prop::option::of(any::<u16>()),
    ) {
        let start = if is_wild { start.wrapping_mul(331) } else { start };
        let mut frame = scattered(&pool(), &bytes, &cuts);
        frame.set_checksum(Checksum::PartialSctp { start });
        prop_assert!(frame.is_checksum_verified() && frame.wants_offload());
        let place = usize::from(start) + 8;
        if place + 4 > bytes.len() {
            prop_assert_eq!(frame.fill_in_checksum(), Err(OffloadError::Place { start, offset: 8, len_bytes: bytes.len() }));
            prop_assert_eq!((bytes_of(&frame), frame.checksum()), (bytes, Checksum::PartialSctp { start }));
            return Ok(());
        }
        let mut wanted = bytes;
        wanted[place..place + 4].fill(0);
        let crc = scalar_crc32c(&wanted[start.into()..]);
        wanted[place..place + 4].copy_from_slice(&crc.to_le_bytes());
        // A tag before the headers moves its place.
        if let Some(tag) = tag.filter(|_| start >= 12 && frame.linear_len() >= 12) {
            frame.set_vlan(Some(tag));
            prop_assert!(frame.insert_vlan().unwrap());
            wanted.splice(12..12, [0x81, 0].into_iter().chain(tag.to_be_bytes()));
        }
        prop_assert_eq!(frame.fill_in_checksum(), Ok(true));
        prop_assert_eq!((bytes_of(&frame), frame.checksum()), (wanted, Checksum::Good));
        prop_assert!(!frame.wants_offload());
    }

    #[test]
    fn whole_packets_are_computed_and_verified(packet in packet(), cuts in some_cuts(), garbage in any::<[u8; 6]>(), flipped in any::<usize>()) {
        let pool = pool();
        let right = packet.bytes();
        let mut spoilt = right.clone();
        if let Some(at) = packet.ipv4_place() {
            spoilt[at..at + 2].copy_from_slice(&garbage[..2]);
        }
        let place = packet.place();
        let size = if packet.protocol == SCTP { 4 } else { 2 };
        spoilt[place..place + size].copy_from_slice(&garbage[2..2 + size]);
        let mut frame = scattered(&pool, &spoilt, &cuts);
        prop_assert_eq!(fill_ipv4(&mut frame), if packet.is_ipv6 { Err(OffloadError::NotIp) } else { Ok(()) });
        prop_assert_eq!(fill_transport(&mut frame), Ok(()));
        prop_assert_eq!(bytes_of(&frame), &right[..]);
        prop_assert_eq!((verify_transport(&frame), frame.verify_checksum()), (Ok(Some(true)), Checksum::Good));
        prop_assert_eq!(verify_ipv4(&frame), if packet.is_ipv6 { Err(OffloadError::NotIp) } else { Ok(true) });
        // One bit of what is covered: the payload, or the checksum itself.
        let covered: Vec<_> = (packet.payload()..packet.end()).chain(place..place + size).collect();
        let mut wrong = right.clone();
        wrong[covered[flipped / 8 % covered.len()]] ^= 1 << (flipped % 8);
        // Of a checksum of UDP, a flipped bit may say that there is none.
        if packet.protocol != UDP || wrong[place..place + 2] != [0, 0] {
            let frame = scattered(&pool, &wrong, &cuts);
            prop_assert_eq!((verify_transport(&frame), frame.verify_checksum()), (Ok(Some(false)), Checksum::Bad));
        }
        // As its sender would have left it to a device: the pseudo header's sum in the checksum's place.
        if packet.protocol == SCTP {
            let mut left = spoilt.clone();
            left.truncate(packet.end());
            if let Some(at) = packet.ipv4_place() {
                left[at..at + 2].copy_from_slice(&right[at..at + 2]);
            }
            let mut frame = scattered(&pool, &left, &cuts);
            frame.set_checksum(Checksum::PartialSctp { start: packet.transport() as u16 });
            prop_assert_eq!(frame.fill_in_checksum(), Ok(true));
            prop_assert_eq!(bytes_of(&frame), &right[..packet.end()]);
        } else {
            let mut left = right.clone();
            left.truncate(packet.end());
            left[place..place + 2].copy_from_slice(&scalar_sum(&packet.pseudo()).to_be_bytes());
            let mut frame = scattered(&pool, &left, &cuts);
            frame.set_checksum(Checksum::Partial { start: packet.transport() as u16, offset: (place - packet.transport()) as u16 });
            prop_assert_eq!(frame.fill_in_checksum(), Ok(true));
            let filled = bytes_of(&frame);
            // To all but UDP 0 and 0xffff are one.
            if right[place..place + 2] != [0, 0] {
                prop_assert_eq!(&filled, &right[..packet.end()]);
            }
            prop_assert_eq!(verify_transport(&scattered(&pool, &filled, &[])), Ok(Some(true)));
        }
    }

    #[test]
    fn packets_that_lie_are_left_alone(packet in packet(), cuts in some_cuts(), at in 12usize..90, value in any::<u8>(), len in 0usize..120) {
        let mut bytes = packet.bytes();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(len);
        let mut frame = scattered(&pool(), &bytes, &cuts);
        let (ip, transport) = (verify_ipv4(&frame).err(), verify_transport(&frame).err());
        let _ = frame.verify_checksum();
        prop_assert_eq!(fill_ipv4(&mut frame).err(), ip);
        if ip.is_some() {
            prop_assert_eq!(&bytes_of(&frame), &bytes);
        }
        let before = bytes_of(&frame);
        prop_assert_eq!(fill_transport(&mut frame).err(), transport);
        if transport.is_some() {
            prop_assert_eq!(bytes_of(&frame), before);
        } else {
            prop_assert_eq!(verify_transport(&frame), Ok(Some(true)));
        }
    }

    #[test]
    fn a_tag_goes_between_addresses_and_type(bytes in some_bytes(300), cuts in some_cuts(), tag in any::<u16>(), headroom in 0u32..8) {
        let mut frame = scattered(&pool_with(300, headroom), &bytes, &cuts);
        prop_assert_eq!(frame.insert_vlan(), Ok(false), "none is asked for");
        frame.set_vlan(Some(tag));
        frame.set_checksum(Checksum::Partial { start: 34, offset: 6 });
        let mut wanted = bytes.clone();
        if bytes.len() >= 12 {
            wanted.splice(12..12, [0x81, 0, (tag >> 8) as u8, tag as u8]);
        }
        let moved = (None, Checksum::Partial { start: 38, offset: 6 });
        let copy = frame.copy_with_vlan(&pool());
        match &copy {
            Ok(copy) => prop_assert_eq!((bytes_of(copy), (copy.vlan(), copy.checksum())), (wanted.clone(), moved)),
            Err(error) => prop_assert_eq!((bytes.len() < 12, matches!(error, FrameError::Short { .. })), (true, true)),
        }
        let first = frame.linear_len();
        match frame.insert_vlan() {
            Ok(inserted) => prop_assert_eq!((inserted, bytes_of(&frame), (frame.vlan(), frame.checksum())), (true, wanted, moved)),
            Err(error) => {
                prop_assert_eq!(matches!(error, FrameError::Short { .. }), first < 12);
                prop_assert!(first < 12 || headroom < 4);
                prop_assert_eq!((bytes_of(&frame), frame.vlan()), (bytes, Some(tag)));
            }
        }
    }
}

#[test]
fn a_sum_of_zero_is_sent_as_ones() {
    let mut frame = pool().frame_from(&[0xff, 0xfe, 0, 1, 0, 0]).unwrap();
    frame.set_checksum(Checksum::Partial { start: 0, offset: 4 });
    assert_eq!((frame.fill_in_checksum(), frame.data()[4..].to_vec()), (Ok(true), vec![0xff, 0xff]));
    // A datagram whose computed checksum is zero: its payload is the complement of the rest.
    let mut packet = Packet { protocol: UDP, payload: vec![0; 2], ..Packet::default() };
    let mut covered = packet.pseudo();
    covered.extend([0x04, 0xd2, 0x00, 0x07, 0x00, 10, 0, 0]);
    packet.payload = (!scalar_sum(&covered)).to_be_bytes().to_vec();
    let mut frame = pool().frame_from(&packet.bytes()).unwrap();
    frame.store(packet.place(), &[0, 0]).unwrap();
    fill_transport(&mut frame).unwrap();
    assert_eq!((&frame.data()[packet.place()..][..2], verify_transport(&frame)), (&[0xff, 0xff][..], Ok(Some(true))));
}

#[test]
fn published_packets_have_the_checksums_that_were_published() {
    let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
    let mut bytes = vec![0; 12];
    bytes.extend([0x08, 0x00]);
    bytes.extend(header);
    let mut frame = pool().frame_from(&bytes).unwrap();
    assert_eq!(verify_ipv4(&frame), Ok(true));
    frame.store(24, &[0, 0]).unwrap();
    assert_eq!(verify_ipv4(&frame), Ok(false));
    fill_ipv4(&mut frame).unwrap();
    assert_eq!(frame.data()[24..26], [0xb8, 0x61]);
    // RFC 3720, appendix B.4.
    let crc_of = |bytes: &[u8]| {
        let mut crc = Crc32c::new();
        crc.add(bytes);
        crc.value()
    };
    assert_eq!([crc_of(&[0; 32]), crc_of(&[0xff; 32])], [0x8a91_36aa, 0x62a8_ab43]);
    assert_eq!(crc_of(&core::array::from_fn::<u8, 32, _>(|n| n as u8)), 0x46dd_794e);
}

#[test]
fn what_cannot_be_verified_is_unknown_and_says_why() {
    let pool = pool();
    let packet = Packet { protocol: UDP, payload: vec![7; 9], ..Packet::default() };
    let changed = |packet: &Packet, changes: &[(usize, u8)]| {
        let mut bytes = packet.bytes();
        changes.iter().for_each(|&(at, value)| bytes[at] = value);
        // The header's own checksum is right again.
        let mut frame = pool.frame_from(&bytes).unwrap();
        let _ = fill_ipv4(&mut frame);
        (verify_transport(&frame), frame.verify_checksum())
    };
    let unknown = |why| (Err(why), Checksum::Unknown);
    let extended = |kind| Packet { is_ipv6: true, extensions: vec![kind], ..packet.clone() };
    let cases = [
        (changed(&packet, &[(12, 0x88), (13, 0xcc)]), unknown(OffloadError::NotIp)),
        (changed(&packet, &[(14, 0x44)]), unknown(OffloadError::Malformed)),
        (changed(&packet, &[(14, 0x65)]), unknown(OffloadError::Malformed)),
        (changed(&packet, &[(17, 19)]), unknown(OffloadError::Malformed)),
        (changed(&packet, &[(16, 1)]), unknown(OffloadError::Malformed)),
        (changed(&packet, &[(17, 27)]), unknown(OffloadError::Malformed)),
        (changed(&packet, &[(20, 0x20)]), unknown(OffloadError::Fragment)),
        (changed(&packet, &[(21, 1)]), unknown(OffloadError::Fragment)),
        (changed(&packet, &[(23, 47)]), unknown(OffloadError::Protocol(47))),
        (changed(&packet, &[(23, 58)]), unknown(OffloadError::Protocol(58))),
        (changed(&packet, &[(39, 7)]), unknown(OffloadError::Malformed)),
        (changed(&packet, &[(39, 18)]), unknown(OffloadError::Malformed)),
        // Without a checksum: allowed over IPv4, and not over IPv6.
        (changed(&packet, &[(40, 0), (41, 0)]), (Ok(None), Checksum::Unknown)),
        (changed(&Packet { is_ipv6: true, ..packet.clone() }, &[(60, 0), (61, 0)]), (Ok(Some(false)), Checksum::Bad)),
        // Bytes between the end of the datagram and that of its packet belong to no sum.
        (changed(&Packet { padding: 3, ..packet.clone() }, &[(17, 39)]), (Ok(Some(true)), Checksum::Good)),
        // A fragment that is the whole packet (RFC 6946), and one that is not.
        (changed(&extended(44), &[]), (Ok(Some(true)), Checksum::Good)),
        (changed(&extended(44), &[(57, 1)]), unknown(OffloadError::Fragment)),
        (changed(&extended(44), &[(56, 1)]), unknown(OffloadError::Fragment)),
        // A routing header that is done with, and one that is not.
        (changed(&extended(43), &[]), (Ok(Some(true)), Checksum::Good)),
        (changed(&extended(43), &[(57, 1)]), unknown(OffloadError::Protocol(43))),
        (changed(&extended(0), &[(55, 200)]), unknown(OffloadError::Malformed)),
        (changed(&Packet { extensions: vec![60; 9], ..extended(0) }, &[]), unknown(OffloadError::Protocol(60))),
    ];
    for (n, (found, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(found, wanted, "case {n}");
    }
    // A header whose own checksum is wrong makes the packet bad.
    let mut bytes = packet.bytes();
    bytes[24] ^= 1;
    assert_eq!(pool.frame_from(&bytes).unwrap().verify_checksum(), Checksum::Bad);
    // What a device said is believed.
    let mut frame = pool.frame_from(&bytes).unwrap();
    for (said, is_verified) in [(Checksum::Good, true), (Checksum::GoodButUnsure, true), (Checksum::Bad, false)] {
        frame.set_checksum(said);
        assert_eq!((frame.verify_checksum(), frame.is_checksum_verified()), (said, is_verified));
    }
    frame.set_checksum(Checksum::Complete(1));
    assert_eq!((frame.verify_checksum(), frame.is_checksum_verified()), (Checksum::Bad, false));
}

#[test]
fn a_frame_says_what_work_it_asks_for() {
    let mut frame = pool().frame_from(&[0; 60]).unwrap();
    assert_eq!(Work::of(&frame), Work::empty());
    frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
    assert_eq!(Work::of(&frame), Work::CHECKSUM);
    frame.set_vlan(Some(1));
    assert_eq!(Work::of(&frame), Work::CHECKSUM | Work::VLAN);
    frame.set_checksum(Checksum::PartialSctp { start: 34 });
    assert_eq!(Work::of(&frame), Work::SCTP_CRC | Work::VLAN);
    frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
    frame.set_segmentation(Some(Segmentation { kind: SegmentationKind::Tcp4, mss_bytes: 1460, header_bytes: 54 }));
    let all = Work::CHECKSUM | Work::VLAN | Work::SEGMENTATION;
    assert_eq!(Work::of(&frame), all);
    frame.insert_vlan().unwrap();
    assert_eq!((Work::of(&frame), frame.segmentation().unwrap().header_bytes), (all - Work::VLAN, 58));
}

const UDP: u8 = 17;
const SCTP: u8 = 132;

/// A packet of the tests' own making, written as one string of bytes.
#[derive(Debug, Clone, Default)]
struct Packet {
    is_ipv6: bool,
    tags: usize,
    protocol: u8,
    /// Words of IPv4 options.
    options: usize,
    /// IPv6 extension headers.
    extensions: Vec<u8>,
    payload: Vec<u8>,
    /// Bytes behind the packet that belong to no sum.
    padding: usize,
}

fn packet() -> impl Strategy<Value = Packet> {
    let extensions = proptest::collection::vec(prop_oneof![Just(0u8), Just(43), Just(44), Just(60)], 0..4);
    let protocol = prop_oneof![Just(1u8), Just(6), Just(UDP), Just(SCTP)];
    (any::<bool>(), 0usize..3, protocol, 0usize..11, extensions, some_bytes(300), 0usize..20).prop_map(
        |(is_ipv6, tags, protocol, options, extensions, payload, padding)| {
            let protocol = if is_ipv6 && protocol == 1 { 58 } else { protocol };
            let (options, extensions) = if is_ipv6 { (0, extensions) } else { (options, Vec::new()) };
            Packet { is_ipv6, tags, protocol, options, extensions, payload, padding }
        },
    )
}

impl Packet {
    fn network(&self) -> usize {
        14 + 4 * self.tags
    }
    fn transport(&self) -> usize {
        self.network() + if self.is_ipv6 { 40 + 8 * self.extensions.len() } else { 20 + 4 * self.options }
    }
    fn header_len(&self) -> usize {
        match self.protocol {
            6 => 20,
            UDP => 8,
            SCTP => 12,
            _ => 8,
        }
    }
    fn payload(&self) -> usize {
        self.transport() + self.header_len()
    }
    fn end(&self) -> usize {
        self.payload() + self.payload.len()
    }
    fn place(&self) -> usize {
        self.transport()
            + match self.protocol {
                6 => 16,
                UDP => 6,
                SCTP => 8,
                _ => 2,
            }
    }
    fn ipv4_place(&self) -> Option<usize> {
        (!self.is_ipv6).then_some(self.network() + 10)
    }
    fn addresses(&self) -> Vec<u8> {
        (1..=if self.is_ipv6 { 32 } else { 8 }).map(|n| n * 7).collect()
    }
    /// RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1.
    fn pseudo(&self) -> Vec<u8> {
        let (len, mut pseudo) = (self.header_len() + self.payload.len(), self.addresses());
        match (self.protocol, self.is_ipv6) {
            (1, _) => return Vec::new(),
            (protocol, true) => {
                pseudo.extend((len as u32).to_be_bytes());
                pseudo.extend([0, 0, 0, protocol]);
            }
            (protocol, false) => {
                pseudo.extend([0, protocol]);
                pseudo.extend((len as u16).to_be_bytes());
            }
        }
        pseudo
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        (0..self.tags).for_each(|n| bytes.extend([if n == 0 && self.tags == 2 { [0x88, 0xa8] } else { [0x81, 0x00] }, [0, 5]].concat()));
        let length = |from: usize| ((self.end() - from) as u16).to_be_bytes();
        if self.is_ipv6 {
            let next: Vec<u8> = self.extensions.iter().copied().chain([self.protocol]).collect();
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend(length(self.network() + 40));
            bytes.extend([next[0], 64]);
            bytes.extend(self.addresses());
            next[1..].iter().for_each(|&next| bytes.extend([next, 0, 0, 0, 0, 0, 0, 0]));
        } else {
            bytes.extend([0x08, 0x00, 0x45 + self.options as u8, 0]);
            bytes.extend(length(self.network()));
            bytes.extend([0, 1, 0x40, 0, 64, self.protocol, 0, 0]);
            bytes.extend(self.addresses());
            bytes.extend(vec![1; 4 * self.options]);
            let sum = !scalar_sum(&bytes[self.network()..]);
            bytes[self.network() + 10..][..2].copy_from_slice(&sum.to_be_bytes());
        }
        match self.protocol {
            6 => bytes.extend([0x04, 0xd2, 0x00, 0x50, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 0, 0, 0, 0, 0]),
            UDP => bytes.extend([&[0x04, 0xd2, 0x00, 0x07][..], &length(self.transport()), &[0, 0]].concat()),
            SCTP => bytes.extend([0x04, 0xd2, 0x00, 0x07, 1, 2, 3, 4, 0, 0, 0, 0]),
            kind => bytes.extend([if kind == 1 { 8 } else { 128 }, 0, 0, 0, 0, 1, 0, 2]),
        }
        bytes.extend(&self.payload);
        if self.protocol == SCTP {
            let crc = scalar_crc32c(&bytes[self.transport()..]);
            bytes[self.place()..][..4].copy_from_slice(&crc.to_le_bytes());
        } else {
            let covered = [self.pseudo(), bytes[self.transport()..].to_vec()].concat();
            let sum = match !scalar_sum(&covered) {
                0 if self.protocol == UDP => 0xffff,
                sum => sum,
            };
            bytes[self.place()..][..2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes.resize(bytes.len() + self.padding, 0xa5);
        bytes
    }
}
