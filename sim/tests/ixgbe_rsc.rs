//! Receive side coalescing (7.11), by raw register access: what a driver finds in its ring.

use std::collections::HashMap;

use crate::common::{Card, TestRing};
use crate::tcp::{ACK, FIN, PSH, Segment, sum};
use driver_core::host::{DmaRegion, Iova, PciFunction};
use proptest::prelude::*;

const SLOTS: u32 = 64;
const KIB: u32 = 2;
const RDRXCTL: u32 = 0x2F00;
const PSRTYPE: u32 = 0x5480;
const RFCTL: u32 = 0x5008;
const EIMS: u32 = 0x880;
const EITR_3: u32 = 0x820 + 4 * 3;
const CNT_WDIS: u32 = 1 << 31;

/// What a driver takes out of the ring: a packet with what its last descriptor says, and RSCCNT of each of its descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Packet {
    bytes: Vec<u8>,
    counts: Vec<u32>,
    status: u32,
    vlan: u16,
}

impl Packet {
    fn segments(&self) -> u32 {
        self.counts.iter().map(|count| count.saturating_sub(1)).sum()
    }
}

struct Receiver {
    card: Card,
    ring: TestRing,
    _buffers: DmaRegion,
    next: u32,
    /// The buffer in each slot, and those that are free. A slot gets a fresh one at once, since the card still writes to the first of a large receive.
    lent: Vec<u64>,
    free: Vec<u64>,
    /// Packets whose next descriptor is known: buffers with lengths, and RSCCNT.
    chains: HashMap<u32, Vec<(u64, usize, u32)>>,
}

impl Receiver {
    /// Queue 0 coalesces up to 16 descriptors, on vector 3 with an interval of 100 us.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(further: impl FnOnce(&Card)) -> Self {
        let mut card = Card::up();
        let _vectors = card.function.enable_interrupts(5).unwrap();
        card.w(0x898, 1 << 4 | 1 << 31);
        card.w(0x900, 0x80 | 3);
        card.w(0x810, 1 << 3);
        card.w(EITR_3, 50 << 3 | CNT_WDIS);
        card.w(EIMS, 1 << 3);
        card.w(RDRXCTL, card.r(RDRXCTL) & !(0x1F << 17) | 1 << 25 | 2);
        card.w(PSRTYPE, 1 << 4);
        let ring = card.ring(0x1000, SLOTS);
        card.w(ring.block + 0x14, 1 << 25 | 4 << 8 | KIB);
        card.w(ring.block + 0x2C, 1 | 3 << 2);
        further(&card);
        card.enable(&ring);
        let buffers = card.function.dma().allocate((2 * SLOTS * KIB * 1024) as usize).unwrap();
        let free = (0..2 * SLOTS).map(|buffer| buffers.iova().0 + u64::from(buffer * KIB * 1024)).collect();
        let mut receiver = Self { card, ring, _buffers: buffers, next: 0, lent: vec![0; SLOTS as usize], free, chains: HashMap::new() };
        (0..SLOTS).for_each(|index| receiver.lend(index));
        receiver.card.enable_receive();
        receiver.card.tail(&receiver.ring, SLOTS - 1);
        receiver
    }

    fn lend(&mut self, index: u32) {
        self.lent[index as usize] = self.free.pop().unwrap();
        self.card.put(&self.ring, index, [self.lent[index as usize], 0]);
    }

    /// Starts the interrupt's counter, so that nothing ends for 100 us.
    fn moderated(self) -> Self {
        self.card.w(0x808, 1 << 3);
        self.card.device.step();
        self
    }

    fn arrive(&self, segments: &[Segment]) {
        segments.iter().for_each(|segment| self.card.arrive(&segment.frame()));
        // One step takes 32 frames.
        (0..segments.len().div_ceil(32)).for_each(|_| _ = self.card.device.advance_us(0));
    }

    /// Takes what is written back, in the ring's order, and lends other buffers.
    fn take(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            let [lower, upper] = self.card.get(&self.ring, self.next);
            if upper & 1 == 0 {
                return packets;
            }
            let mut chain = self.chains.remove(&self.next).unwrap_or_default();
            chain.push((self.lent[self.next as usize], (upper >> 32 & 0xFFFF) as usize, (lower >> 17 & 0xF) as u32));
            self.lend(self.next);
            if upper & 2 != 0 {
                let bytes = chain.iter().flat_map(|&(iova, len, _)| self.card.bytes(Iova(iova), len)).collect();
                let counts = chain.iter().map(|&(.., count)| count).collect();
                self.free.extend(chain.iter().map(|&(iova, ..)| iova));
                packets.push(Packet { bytes, counts, status: upper as u32, vlan: (upper >> 48) as u16 });
            } else {
                let next = (upper >> 4 & 0xFFFF) as u32;
                assert!(self.chains.insert(next, chain).is_none(), "two packets go on in descriptor {next}");
            }
            self.card.tail(&self.ring, self.next);
            self.next = (self.next + 1) % SLOTS;
        }
    }

    /// Lets the interrupt's counter run out, and takes what ends.
    fn end(&mut self) -> Vec<Packet> {
        self.card.device.advance_us(101);
        self.take()
    }
}

fn bytes(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add(salt)).collect()
}

/// `count` segments of `len` bytes that follow each other.
fn train(count: u32, len: usize) -> Vec<Segment> {
    (0..count).map(|i| Segment::new(i.wrapping_mul(len as u32), &bytes(len, i as u8))).collect()
}

#[test]
fn segments_in_order_become_one_packet_with_one_header() {
    let mut receiver = Receiver::new().moderated();
    let mut segments = train(3, 400);
    for (i, segment) in (0..).zip(&mut segments) {
        (segment.ack, segment.window, segment.stamp) = (100 + i, 600 + i as u16, Some(5 + i));
    }
    receiver.arrive(&segments);
    assert_eq!(receiver.take(), [], "open until the interrupt is due");
    let packets = receiver.end();
    // The header of the first, with length, acknowledgement, window and time stamp of all, and the data of all.
    let merged = Segment { payload: segments.iter().flat_map(|segment| segment.payload.clone()).collect(), seq: 0, ..segments[2].clone() };
    let mut expected = merged.frame();
    expected[34 + 16..34 + 18].copy_from_slice(&segments[0].frame()[34 + 16..34 + 18]);
    assert_eq!((packets.len(), &packets[0].bytes), (1, &expected), "the TCP checksum stays the first segment's");
    assert_eq!(packets[0].counts, [4], "one more than segments");
    assert_eq!(packets[0].status & 0xC000_0063, 0x63, "checksums right, end of packet, done");
    receiver.card.expect_violations(&[]);
}

#[test]
fn a_large_receive_goes_on_in_further_descriptors() {
    let mut receiver = Receiver::new().moderated();
    let segments = train(5, 1000);
    receiver.arrive(&segments);
    // 54 bytes of header and 5,000 of data in buffers of 2 KiB: the first two are full and written back, the third waits.
    assert_eq!(receiver.take(), []);
    assert_eq!(receiver.chains.keys().copied().collect::<Vec<_>>(), [2]);
    let packets = receiver.end();
    assert_eq!(packets[0].counts, [3, 4, 1], "segments start at 54 and 1054, at 6, 1006 and 2006, and none in the third");
    assert_eq!(packets[0].bytes.len(), 54 + 5000);
    assert_eq!(packets[0].bytes[54..], segments.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<_>>());
    assert_eq!(packets[0].bytes[16..18], 5040u16.to_be_bytes());
    assert_eq!(sum(&[&packets[0].bytes[14..34]]), 0xFFFF, "the IP header's checksum is right again");
    receiver.card.expect_violations(&[]);
}

#[test]
fn connections_that_alternate_share_the_ring() {
    let mut receiver = Receiver::new().moderated();
    let (a, b) = (train(6, 900), train(6, 800));
    let b: Vec<_> = b.into_iter().map(|segment| Segment { port: 1001, v6: true, ..segment }).collect();
    let both: Vec<_> = a.iter().zip(&b).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    receiver.arrive(&both);
    let packets = receiver.end();
    let data = |segments: &[Segment]| segments.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<_>>();
    assert_eq!(packets.len(), 2);
    assert_eq!((packets[0].bytes[54..].to_vec(), packets[0].segments()), (data(&a), 6));
    assert_eq!((packets[1].bytes[74..].to_vec(), packets[1].segments()), (data(&b), 6));
    assert_eq!(packets[1].bytes[18..20], (20 + 4800u16).to_be_bytes(), "the length of an IPv6 packet is its payload's");
    receiver.card.expect_violations(&[]);
}

/// What comes out when `next` arrives behind a large receive of two segments: the segments of each packet at once, and when the interrupt is due.
fn after(next: &Segment) -> [Vec<u32>; 2] {
    let mut receiver = Receiver::new().moderated();
    receiver.arrive(&[&train(2, 100)[..], std::slice::from_ref(next)].concat());
    let counts = [receiver.take(), receiver.end()].map(|packets| packets.iter().map(Packet::segments).collect());
    receiver.card.expect_violations(&[]);
    counts
}

#[test]
fn what_ends_a_large_receive() {
    let next = Segment::new(200, &bytes(100, 9));
    assert_eq!(after(&next), [vec![], vec![3]], "the next segment does not");
    assert_eq!(after(&Segment { flags: ACK | PSH, ..next.clone() }), [vec![3], vec![]], "a pushed segment is its last");
    let others = [
        ("a gap", Segment { seq: 201, ..next.clone() }),
        ("a repetition", Segment { seq: 100, ..next.clone() }),
        ("another type of service", Segment { tos: 8, ..next.clone() }),
        ("another time to live", Segment { ttl: 63, ..next.clone() }),
        ("a time stamp", Segment { stamp: Some(1), ..next.clone() }),
    ];
    for (what, segment) in others {
        assert_eq!(after(&segment), [vec![2], vec![1]], "{what} begins another");
    }
    let never = [
        ("the end of the connection", Segment { flags: ACK | FIN, ..next.clone() }),
        ("an urgent pointer", Segment { flags: ACK | 0x20, ..next.clone() }),
        ("a congestion mark of TCP", Segment { flags: ACK | 0x40, ..next.clone() }),
        ("the nonce sum", Segment { nonce: true, ..next.clone() }),
        ("no acknowledgement", Segment { flags: 0, ..next.clone() }),
        ("no data", Segment { payload: Vec::new(), ..next.clone() }),
        ("another option", Segment { options: vec![3, 3, 7, 0], ..next.clone() }),
        ("a congestion mark of IP", Segment { tos: 3, ..next.clone() }),
        ("a wrong checksum", Segment { bad_checksum: true, ..next.clone() }),
    ];
    for (what, segment) in never {
        assert_eq!(after(&segment), [vec![2, 0], vec![]], "{what} is not coalesced");
    }
    assert_eq!(after(&Segment { port: 1002, ..next.clone() }), [vec![], vec![2, 1]], "another connection does not end it");
    assert_eq!(after(&Segment { tag: Some(5), ..next }), [vec![], vec![2, 1]], "nor does another VLAN");
}

#[test]
fn a_pushed_segment_alone_is_no_large_receive() {
    let mut receiver = Receiver::new().moderated();
    let segment = Segment { flags: ACK | PSH, ..Segment::new(0, &bytes(100, 1)) };
    receiver.arrive(std::slice::from_ref(&segment));
    let packets = receiver.take();
    assert_eq!((packets.len(), &packets[0].bytes, &packets[0].counts[..]), (1, &segment.frame(), &[0][..]));
    receiver.card.expect_violations(&[]);
}

#[test]
fn limits() {
    let of = |count, len| {
        let mut receiver = Receiver::new().moderated();
        receiver.arrive(&train(count, len));
        let packets = [receiver.take(), receiver.end()].concat();
        receiver.card.expect_violations(&[]);
        packets.iter().map(Packet::segments).collect::<Vec<_>>()
    };
    assert_eq!(of(15, 100), [14, 1], "RSCCNT counts fourteen in a descriptor");
    // 16 descriptors of 2 KiB: 32,768 bytes with the header.
    assert_eq!(of(24, 1400), [23, 1]);
    // A buffer that is filled to its last byte: 54 + 2 * 997 = 2048.
    assert_eq!(of(3, 997), [3]);
}

#[test]
fn an_interrupt_that_is_not_moderated_leaves_a_step_to_coalesce_in() {
    let mut receiver = Receiver::with(|card| card.w(EITR_3, CNT_WDIS));
    receiver.arrive(&train(3, 100));
    assert_eq!(receiver.take().iter().map(Packet::segments).collect::<Vec<_>>(), [3]);
    receiver.card.expect_violations(&[]);
}

#[test]
fn a_vector_that_is_masked_ends_large_receives_all_the_same() {
    let mut receiver = Receiver::with(|card| card.w(0x888, 1 << 3));
    let segments = train(4, 100);
    receiver.arrive(&segments[..2]);
    assert_eq!(receiver.take().len(), 1, "its counter stood still");
    receiver.arrive(&segments[2..]);
    assert_eq!(receiver.take(), [], "and was started with that");
    assert_eq!(receiver.end()[0].segments(), 2);
    receiver.card.expect_violations(&[]);
}

#[test]
fn the_oldest_ends_where_there_are_too_many() {
    let mut receiver = Receiver::new().moderated();
    let connections: Vec<_> = (0..33).map(|port| Segment { port, ..Segment::new(0, &bytes(10, port as u8)) }).collect();
    receiver.arrive(&connections);
    let packets = receiver.take();
    assert_eq!((packets.len(), &packets[0].bytes), (1, &connections[0].frame()));
    assert_eq!(receiver.end().len(), 32);
    receiver.card.expect_violations(&[]);
}

#[test]
fn tags_that_are_stripped() {
    let receiver = Receiver::new();
    receiver.card.w(0x1028, 1 << 25 | 1 << 30);
    let mut receiver = receiver.moderated();
    let segments: Vec<_> = train(3, 100).into_iter().map(|segment| Segment { tag: Some(0x2005), ..segment }).collect();
    receiver.arrive(&segments);
    let packets = receiver.end();
    assert_eq!((packets[0].segments(), packets[0].vlan, packets[0].bytes.len()), (3, 0x2005, 54 + 300));
    assert_eq!(packets[0].bytes[16..18], 340u16.to_be_bytes());
    assert_eq!(packets[0].bytes[54..], segments.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<_>>());
    let mut receiver = receiver.moderated();
    receiver.arrive(&[segments[0].clone(), Segment { tag: Some(0x2006), ..segments[1].clone() }]);
    assert_eq!(receiver.end().iter().map(|packet| packet.vlan).collect::<Vec<_>>(), [0x2005, 0x2006], "another VLAN, another connection");
    receiver.card.expect_violations(&[]);
}

#[test]
fn padding_is_no_data() {
    let mut receiver = Receiver::new().moderated();
    let segments = train(4, 1);
    receiver.arrive(&segments);
    let packets = receiver.end();
    assert_eq!(packets[0].bytes[54..], segments.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<_>>());
    receiver.card.expect_violations(&[]);
}

#[test]
fn off_means_off() {
    for off in [|card: &Card| card.w(RFCTL, 1 << 5), |card: &Card| card.w(0x102C, 0)] {
        let mut receiver = Receiver::with(off).moderated();
        receiver.arrive(&train(3, 100));
        assert_eq!(receiver.take().iter().map(|packet| packet.counts.clone()).collect::<Vec<_>>(), [[0], [0], [0]]);
        receiver.card.expect_violations(&[]);
    }
}

#[test]
fn a_queue_that_goes_down_completes_nothing() {
    let mut receiver = Receiver::new().moderated();
    receiver.arrive(&train(3, 100));
    receiver.card.w(0x1028, 0);
    receiver.card.device.advance_us(1000);
    assert_eq!(receiver.take(), []);
    receiver.card.expect_violations(&[]);
}

#[test]
fn a_ring_that_is_too_short_holds_the_segment_back() {
    let receiver = Receiver::new();
    receiver.card.w(0x1018, 1);
    let mut receiver = receiver.moderated();
    // One descriptor is the card's: the third segment does not fit in it.
    let segments = train(3, 900);
    receiver.arrive(&segments);
    let ended = receiver.end();
    assert_eq!(ended.iter().map(Packet::segments).collect::<Vec<_>>(), [2]);
    // `end` has lent the buffer again.
    let last = receiver.end();
    assert_eq!(last.iter().map(|packet| packet.bytes[54..].to_vec()).collect::<Vec<_>>(), [segments[2].payload.clone()]);
    receiver.card.expect_violations(&[]);
}

#[test]
fn what_the_datasheet_asks_of_a_queue_that_coalesces() {
    type Spoil = fn(&Card);
    let table: [(Spoil, &str); 6] = [
        (|card| card.w(0x1014, 1 << 25 | 4 << 8 | 1), "a queue that coalesces has buffers below 2 KiB, or together above 64 KiB less one"),
        (|card| card.w(0x1014, 1 << 25 | 4 << 8 | 4), "a queue that coalesces has buffers below 2 KiB, or together above 64 KiB less one"),
        (|card| card.w(0x1014, 1 << 25 | 1 << 8 | 2), "a queue that coalesces has SRRCTL.BSIZEHEADER below 128 bytes"),
        (|card| card.w(PSRTYPE, 0), "a queue coalesces while PSRTYPE does not recognise TCP headers"),
        (|card| card.w(RDRXCTL, card.r(RDRXCTL) & !(1 << 25)), "a queue coalesces without the check sequence stripped and RDRXCTL.RSCACKC"),
        (|card| card.w(RDRXCTL, card.r(RDRXCTL) | 8 << 17), "a queue coalesces while RDRXCTL.RSCFRSTSIZE is not cleared"),
    ];
    for (spoil, what) in table {
        Receiver::with(spoil).card.expect_violations(&[what]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60)))]

    /// Whatever comes, each connection's bytes come out in order, none lost, none doubled.
    #[test]
    fn streams_stay_whole(
        arrivals in prop::collection::vec((0u16..5, 1usize..1400, prop::bool::weighted(0.1), prop::bool::weighted(0.05), 0u64..60), 1..150),
    ) {
        let mut receiver = Receiver::new().moderated();
        let mut sent: HashMap<u16, Vec<u8>> = HashMap::new();
        let mut seen: HashMap<u16, Vec<u8>> = HashMap::new();
        let mut take = |receiver: &mut Receiver, end: bool| {
            for packet in if end { receiver.end() } else { receiver.take() } {
                let total = u16::from_be_bytes([packet.bytes[16], packet.bytes[17]]);
                let (port, seq) = (u16::from_be_bytes([packet.bytes[34], packet.bytes[35]]), u32::from_be_bytes(packet.bytes[38..42].try_into().unwrap()));
                let data = &packet.bytes[54..14 + usize::from(total)];
                let stream = seen.entry(port).or_default();
                assert_eq!(seq as usize, stream.len(), "port {port}");
                stream.extend_from_slice(data);
                assert_eq!(sum(&[&packet.bytes[14..34]]), 0xFFFF);
            }
        };
        for (port, len, push, odd, us) in arrivals {
            let stream = sent.entry(port).or_default();
            let payload = bytes(len, stream.len() as u8);
            let flags = ACK | if push { PSH } else { 0 } | if odd { 0x40 } else { 0 };
            let segment = Segment { port, flags, ..Segment::new(stream.len() as u32, &payload) };
            stream.extend(payload);
            receiver.arrive(std::slice::from_ref(&segment));
            receiver.card.device.advance_us(us);
            take(&mut receiver, false);
        }
        for _ in 0..4 {
            take(&mut receiver, true);
        }
        prop_assert!(sent == seen, "streams differ");
        receiver.card.expect_violations(&[]);
    }

    /// Frames that are cut short or have wrong bytes: whatever is not coalesced comes out as it came.
    #[test]
    fn broken_segments(
        arrivals in prop::collection::vec((0u32..4, prop::collection::vec((0usize..120, any::<u8>()), 0..3), prop::option::of(14usize..120)), 1..60),
    ) {
        let mut receiver = Receiver::new().moderated();
        let mut seq = 0;
        for (flags, wrong, cut) in arrivals {
            let mut frame = Segment { flags: ACK | flags as u8 & PSH, v6: flags & 1 != 0, ..Segment::new(seq, &bytes(60, seq as u8)) }.frame();
            seq += 60;
            for &(at, value) in wrong.iter().filter(|(at, _)| *at >= 6) {
                frame.get_mut(at).into_iter().for_each(|byte| *byte = value);
            }
            frame.truncate(cut.unwrap_or(usize::MAX));
            receiver.card.arrive(&frame);
            receiver.card.device.advance_us(20);
            for packet in receiver.take() {
                prop_assert!(packet.bytes.len() >= 54);
            }
        }
        receiver.end();
        receiver.card.expect_violations(&[]);
    }
}
