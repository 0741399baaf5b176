//! Filters that choose a queue, by raw register access: EtherType, SYN, 5-tuple, and flow director's two modes.

use crate::common::{Card, MAC, TestRing};
use driver_core::host::DmaRegion;

const ETQF: u32 = 0x5128;
const ETQS: u32 = 0xEC00;
const SYNQF: u32 = 0xEC30;
const SAQF: u32 = 0xE000;
const DAQF: u32 = 0xE200;
const SDPQF: u32 = 0xE400;
const FTQF: u32 = 0xE600;
const L34TIMIR: u32 = 0xE800;
const RXPBSIZE: u32 = 0x3C00;
const FDIRCTRL: u32 = 0xEE00;
const FDIRIPSA: u32 = 0xEE18;
const FDIRIPDA: u32 = 0xEE1C;
const FDIRPORT: u32 = 0xEE20;
const FDIRVLAN: u32 = 0xEE24;
const FDIRHASH: u32 = 0xEE28;
const FDIRCMD: u32 = 0xEE2C;
const FDIRFREE: u32 = 0xEE38;
const FDIRDIP4M: u32 = 0xEE3C;
const FDIRTCPM: u32 = 0xEE44;
const FDIRUDPM: u32 = 0xEE48;
const FDIRUSTAT: u32 = 0xEE50;
const FDIRFSTAT: u32 = 0xEE54;
const FDIRMATCH: u32 = 0xEE58;
const FDIRMISS: u32 = 0xEE5C;
const FDIRHKEY: u32 = 0xEE68;
const FDIRSKEY: u32 = 0xEE6C;
const FDIRM: u32 = 0xEE70;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;
const ACK: u8 = 16;
/// The keys that drivers use; that of the buckets is first.
const KEYS: [u32; 2] = [0x3DAD_14E2, 0x174D_3614];

const SOURCE: [u8; 4] = [10, 0, 0, 1];
const DESTINATION: [u8; 4] = [10, 0, 0, 2];

/// A card that receives on queues 0 to 3.
struct Rig {
    card: Card,
    rings: Vec<(TestRing, DmaRegion)>,
    seen: [u32; 4],
}

impl Rig {
    fn new() -> Self {
        Self::prepared(|_| {})
    }

    /// `prepare` sees the card before the receiver is on.
    fn prepared(prepare: impl FnOnce(&Card)) -> Self {
        let card = Card::up();
        prepare(&card);
        let rings = (0..4).map(|queue| card.receive_queue(queue, 64, 2)).collect::<Vec<_>>();
        card.enable_receive();
        rings.iter().for_each(|(ring, _)| card.tail(ring, 63));
        card.w(0x5080, 1 << 10);
        Self { card, rings, seen: [0; 4] }
    }

    /// The queue that a frame comes to, and its write-back.
    fn take(&mut self, frame: &[u8]) -> Option<(usize, [u64; 2])> {
        self.card.arrive(frame);
        self.card.device.advance_us(1);
        let queue = (0..4).find(|&queue| self.card.r(0x1010 + 0x40 * queue as u32) != self.seen[queue])?;
        let at = self.seen[queue];
        self.seen[queue] = at + 1;
        Some((queue, self.card.get(&self.rings[queue].0, at)))
    }

    fn queue(&mut self, frame: &[u8]) -> Option<usize> {
        self.take(frame).map(|(queue, _)| queue)
    }
}

/// An IPv4 packet of a protocol whose header begins with these ports.
fn ip(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, protocol, 0, 0], &SOURCE, &DESTINATION].concat();
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend([0x50, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame
}

fn tcp(ports: (u16, u16)) -> Vec<u8> {
    ip(TCP, ports, ACK)
}

fn tagged(mut frame: Vec<u8>, tag: u16) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, (tag >> 8) as u8, tag as u8]);
    frame
}

#[test]
fn an_ethertype_filter_takes_its_type_and_says_so() {
    let mut rig = Rig::new();
    rig.card.w(ETQF + 12, 1 << 31 | 0x88B5);
    rig.card.w(ETQS + 12, 1 << 31 | 2 << 16);
    rig.card.w(ETQF + 16, 1 << 31 | 0x88CC);
    let mut other = crate::common::frame(MAC, 60);
    let (queue, words) = rig.take(&other).unwrap();
    assert_eq!((queue, words[0] as u32 & 0x1_FFF0), (2, 1 << 15 | 3 << 4));
    let (queue, words) = rig.take(&tagged(other.clone(), 7)).unwrap();
    assert_eq!((queue, words[0] as u32 & 0x1_FFF0), (2, 1 << 15 | 3 << 4), "behind a tag");
    other[12..14].copy_from_slice(&[0x88, 0xCC]);
    let (queue, words) = rig.take(&other).unwrap();
    assert_eq!((queue, words[0] as u32 & 0x1_FFF0), (0, 1 << 15 | 4 << 4), "a filter without a queue");
    other[13] = 0xB6;
    let (queue, words) = rig.take(&other).unwrap();
    assert_eq!((queue, words[0] as u32 & 0x1_FFF0), (0, 0));
    rig.card.w(ETQF + 12, 0x88B5);
    assert_eq!(rig.queue(&crate::common::frame(MAC, 60)), Some(0), "off");
    rig.card.expect_violations(&[]);
    rig.card.w(ETQF, 1 << 31 | 0x0800);
    rig.card.w(ETQF, 1 << 31 | 0x88CC);
    let wanted = ["an EtherType filter takes IP packets, which go through the filters of layer 3 and 4", "two EtherType filters match the same type"];
    rig.card.expect_violations(&wanted);
}

/// Filter `n`: the priority, what is not compared, the queue.
fn five_tuple(card: &Card, n: u32, priority: u32, mask: u32, queue: u32) {
    card.w(SAQF + 4 * n, u32::from_le_bytes(SOURCE));
    card.w(DAQF + 4 * n, u32::from_le_bytes(DESTINATION));
    // In the order of the wire, the source's port in the lower half.
    card.w(SDPQF + 4 * n, u32::from(80u16.to_be()) << 16 | u32::from(1000u16.to_be()));
    card.w(L34TIMIR + 4 * n, queue << 21 | 1 << 19);
    card.w(FTQF + 4 * n, 1 << 31 | 1 << 30 | mask << 25 | priority << 2);
}

#[test]
fn a_five_tuple_filter_compares_what_is_not_masked() {
    let mut rig = Rig::new();
    five_tuple(&rig.card, 127, 1, 0, 3);
    let frame = tcp((1000, 80));
    assert_eq!(rig.queue(&frame), Some(3));
    // A byte of each field, and the bit of the mask that hides it.
    let fields = [(29, 0), (33, 1), (35, 2), (37, 3)];
    for (at, bit) in fields {
        let mut changed = frame.clone();
        changed[at] ^= 1;
        five_tuple(&rig.card, 127, 1, 0, 3);
        assert_eq!(rig.queue(&changed), Some(0), "byte {at}");
        five_tuple(&rig.card, 127, 1, 1 << bit, 3);
        assert_eq!(rig.queue(&changed), Some(3), "byte {at}, masked");
        five_tuple(&rig.card, 127, 1, 0x1F & !(1 << bit), 3);
        assert_eq!((rig.queue(&changed), rig.queue(&frame)), (Some(0), Some(3)), "byte {at} alone");
    }
    let udp = ip(UDP, (1000, 80), 0);
    five_tuple(&rig.card, 127, 1, 0, 3);
    assert_eq!(rig.queue(&udp), Some(0));
    five_tuple(&rig.card, 127, 1, 1 << 4, 3);
    assert_eq!(rig.queue(&udp), Some(3));
    let mut fragment = frame.clone();
    fragment[20] = 0x20;
    assert_eq!(rig.queue(&fragment), Some(0), "a fragment has no ports");
    five_tuple(&rig.card, 127, 1, 0x1C, 3);
    assert_eq!(rig.queue(&fragment), Some(3), "and addresses");
    rig.card.expect_violations(&[]);
}

#[test]
fn the_higher_priority_goes_first() {
    let mut rig = Rig::new();
    for (n, priority) in [(4, 1), (5, 7), (6, 3)] {
        five_tuple(&rig.card, n, priority, 0x1F, n - 3);
    }
    assert_eq!(rig.queue(&tcp((1, 2))), Some(2));
    rig.card.w(FTQF + 20, 0);
    assert_eq!(rig.queue(&tcp((1, 2))), Some(3));
    rig.card.w(FTQF + 24, 0);
    assert_eq!(rig.queue(&tcp((1, 2))), Some(1));
    rig.card.expect_violations(&[]);
    five_tuple(&rig.card, 0, 1, 0x1F, 2);
    assert_eq!(rig.queue(&tcp((1, 2))), Some(2));
    rig.card.expect_violations(&["a frame matches two 5-tuple filters of one priority"]);
    rig.card.w(FTQF + 16, 0);
    five_tuple(&rig.card, 0, 0, 0x1F, 2);
    rig.card.w(L34TIMIR, 2 << 21);
    assert_eq!(rig.queue(&tcp((1, 2))), Some(2));
    let wanted = ["a 5-tuple filter has priority 0: they are 1 to 7", "a 5-tuple filter steers while bits 19:13 are not 1000000b"];
    rig.card.expect_violations(&wanted);
}

#[test]
fn the_syn_filter_stands_before_or_behind_the_five_tuple_filters() {
    let mut rig = Rig::new();
    rig.card.w(SYNQF, 1 | 2 << 1);
    let syn = ip(TCP, (1000, 80), SYN);
    assert_eq!(
        [&syn, &ip(TCP, (1, 2), SYN | ACK), &ip(TCP, (1, 2), ACK), &ip(UDP, (1, 2), SYN)].map(|frame| rig.queue(frame)),
        [2, 2, 0, 0].map(Some)
    );
    five_tuple(&rig.card, 9, 1, 0, 3);
    assert_eq!(rig.queue(&syn), Some(3));
    rig.card.w(SYNQF, 1 << 31 | 1 | 2 << 1);
    assert_eq!(rig.queue(&syn), Some(2));
    rig.card.w(SYNQF, 0);
    assert_eq!(rig.queue(&syn), Some(3));
    rig.card.expect_violations(&[]);
}

/// FDIRCTRL with 64 KiB, of whose queue for dropped frames nobody knows.
const SMALL: u32 = 1 | 100 << 8 | 6 << 16 | 10 << 24 | 4 << 28;
const PERFECT: u32 = 1 << 4;

/// Flow director in 64 KiB.
fn director(card: &Card, control: u32) {
    card.w(RXPBSIZE, (512 - 64) << 10);
    card.w(FDIRHKEY, KEYS[0]);
    card.w(FDIRSKEY, KEYS[1]);
    card.w(FDIRCTRL, SMALL | control);
    assert_eq!(card.r(FDIRCTRL), SMALL | control | 1 << 3, "INIT_DONE");
}

/// VLAN, flexible bytes and pool are not compared.
fn perfect(control: u32) -> Rig {
    Rig::prepared(|card| {
        director(card, PERFECT | control);
        card.w(FDIRM, 0x37);
    })
}

/// TCP from 10.0.0.1:1000 to 10.0.0.2:80, in the bucket that is its fields'.
fn fields(card: &Card) {
    card.w(FDIRIPSA, u32::from_le_bytes(SOURCE));
    card.w(FDIRIPDA, u32::from_le_bytes(DESTINATION));
    card.w(FDIRPORT, 80 << 16 | 1000);
    card.w(FDIRVLAN, 0);
    card.w(FDIRHASH, 0x16CE | 5 << 16);
}

const ADD: u32 = 1 | 1 << 3 | 1 << 11 | 1 << 15 | 2 << 5;

#[test]
fn a_perfect_filter_takes_its_flow_and_nothing_else() {
    let mut rig = perfect(0);
    assert_eq!(rig.card.r(FDIRFREE), 2046);
    fields(&rig.card);
    rig.card.w(FDIRCMD, ADD | 3 << 16);
    assert_eq!((rig.card.r(FDIRCMD) & 3, rig.card.r(FDIRFREE), rig.card.r(FDIRUSTAT)), (0, 2045, 1));
    let frame = tcp((1000, 80));
    let (queue, words) = rig.take(&frame).unwrap();
    assert_eq!((queue, words[1] & 4, words[0] & 0xF), (3, 4, 0));
    assert_eq!(rig.queue(&tagged(frame.clone(), 7)), Some(3), "the tag is not compared");
    for at in [29, 33, 35, 37] {
        let mut changed = frame.clone();
        changed[at] ^= 1;
        let (queue, words) = rig.take(&changed).unwrap();
        assert_eq!((queue, words[1] & 4), (0, 0), "byte {at}");
    }
    assert_eq!(rig.queue(&ip(UDP, (1000, 80), 0)), Some(0));
    assert_eq!(rig.queue(&crate::common::frame(MAC, 60)), Some(0), "no IP: neither a match nor a miss");
    assert_eq!((rig.card.r(FDIRMATCH), rig.card.r(FDIRMISS), rig.card.r(FDIRMATCH)), (2, 5, 0));
    // Who asks for it is told; who removes it gets its place back, once.
    rig.card.w(FDIRHASH, 0x16CE | 5 << 16);
    rig.card.w(FDIRCMD, 3);
    assert_eq!(rig.card.r(FDIRCMD) & (4 | 0x7F << 16), 4 | 3 << 16);
    rig.card.w(FDIRCMD, 2);
    rig.card.w(FDIRCMD, 2);
    rig.card.w(FDIRCMD, 3);
    assert_eq!((rig.card.r(FDIRCMD) & 4, rig.card.r(FDIRFREE)), (0, 2046));
    assert_eq!((rig.card.r(FDIRUSTAT), rig.card.r(FDIRFSTAT)), (1 << 16, 1 << 8));
    assert_eq!(rig.queue(&frame), Some(0));
    rig.card.expect_violations(&[]);
}

#[test]
fn a_perfect_filter_drops_reports_or_lets_pass() {
    let mut rig = perfect(1 << 5);
    fields(&rig.card);
    let frame = tcp((1000, 80));
    rig.card.w(FDIRCMD, ADD | 1 << 16);
    let (queue, words) = rig.take(&frame).unwrap();
    assert_eq!((queue, words[1] & 4, words[0] & 0xF), (1, 4, 0xF), "REPORT_STATUS");
    rig.card.w(0x5000, 1 << 13);
    assert_eq!(rig.take(&frame).unwrap().1[0] >> 32, 5 << 16 | 0x6CE, "RXCSUM.PCSD: its index, and the bucket of 2048");
    rig.card.w(FDIRCMD, ADD & !(1 << 15) | 1 << 16);
    let (queue, words) = rig.take(&frame).unwrap();
    assert_eq!((queue, words[1] & 4), (0, 4), "updated: without QUEUE_EN");
    rig.card.w(FDIRCMD, ADD & !(1 << 3) | 1 << 9);
    assert_eq!(rig.queue(&frame), Some(0), "known, and not to be updated");
    rig.card.w(FDIRCMD, ADD | 1 << 9);
    let dropped = rig.card.r(0x1430);
    assert_eq!((dropped, rig.queue(&frame), rig.card.r(0x1430)), (0, None, 1), "to queue 100, which is off");
    rig.card.expect_violations(&[]);
}

#[test]
fn masks_are_all_filters() {
    let mut rig = Rig::prepared(|card| {
        director(card, PERFECT);
        card.w(FDIRM, 0x35);
        card.w(FDIRDIP4M, u32::from_le_bytes([0, 0, 0xFF, 0xFF]));
        // Ports' bits are in the reverse order: the lowest of the source's port, and all of the destination's.
        card.w(FDIRTCPM, 0xFFFF_8000);
    });
    rig.card.w(FDIRIPSA, u32::from_le_bytes(SOURCE));
    rig.card.w(FDIRIPDA, u32::from_le_bytes([10, 0, 9, 9]));
    rig.card.w(FDIRPORT, 7 << 16 | 1001);
    rig.card.w(FDIRVLAN, 5 << 13 | 7);
    // Computed apart from the model, by the form that Linux uses.
    rig.card.w(FDIRHASH, MASKED_HASH);
    rig.card.w(FDIRCMD, ADD | 2 << 16);
    rig.card.expect_violations(&[]);
    for (tag, ports, queue) in
        [(5 << 13 | 7, (1000, 80), 2), (5 << 13 | 1 << 12 | 9, (1001, 1), 2), (4 << 13 | 7, (1000, 80), 0), (5 << 13, (1002, 80), 0)]
    {
        assert_eq!(rig.queue(&tagged(tcp(ports), tag)), Some(queue), "{tag:#x} {ports:?}");
    }
    assert_eq!(rig.queue(&tcp((1000, 80))), Some(0), "no tag");
    rig.card.w(FDIRM, 0x37);
    rig.card.w(FDIRHASH, 1);
    rig.card.w(FDIRCMD, ADD | 2 << 16);
    let wanted =
        ["a mask or key of flow director was changed while it has filters", "a flow director filter was added under another hash than its fields'"];
    rig.card.expect_violations(&wanted);
    rig.card.w(FDIRCMD, 1 << 8);
    rig.card.w(FDIRCMD, 0);
    assert_eq!(rig.card.r(FDIRFREE), 2046, "CLEARHT");
    rig.card.w(FDIRUDPM, 0xFFFF_FFFF);
    rig.card.expect_violations(&[]);
}

const MASKED_HASH: u32 = 0x1511;

#[test]
fn a_signature_filter_takes_the_flow_of_its_two_hashes() {
    let mut rig = Rig::prepared(|card| director(card, 0));
    assert_eq!(rig.card.r(FDIRFREE), 8191);
    let frame = tcp((1000, 80));
    assert_eq!(rig.queue(&frame), Some(0));
    // By both keys, with the EtherType as the flexible bytes (word 6 of the frame).
    rig.card.w(FDIRHASH, 0x32BC | 0x5A75 << 16);
    rig.card.w(FDIRCMD, ADD | 1 << 16);
    let (queue, words) = rig.take(&frame).unwrap();
    assert_eq!((queue, words[1] & 4), (1, 4));
    assert_eq!((rig.queue(&tcp((1001, 80))), rig.queue(&ip(UDP, (1000, 80), 0)), rig.queue(&tagged(frame.clone(), 7))), (Some(0), Some(0), Some(0)));
    assert_eq!((rig.card.r(FDIRMATCH), rig.card.r(FDIRMISS)), (1, 4));
    rig.card.w(FDIRCMD, 2);
    assert_eq!(rig.queue(&frame), Some(0));
    rig.card.expect_violations(&[]);
}

#[test]
fn five_tuple_filters_go_before_flow_director() {
    let mut rig = perfect(0);
    fields(&rig.card);
    rig.card.w(FDIRCMD, ADD | 3 << 16);
    five_tuple(&rig.card, 0, 1, 0, 1);
    assert_eq!((rig.queue(&tcp((1000, 80))), rig.card.r(FDIRMATCH)), (Some(1), 0));
    rig.card.w(FTQF, 0);
    assert_eq!((rig.queue(&tcp((1000, 80))), rig.card.r(FDIRMATCH)), (Some(3), 1));
    rig.card.expect_violations(&[]);
}

#[test]
fn a_bucket_and_a_table_that_are_full_take_no_more() {
    let rig = Rig::prepared(|card| director(card, 0));
    for signature in 0..21 {
        rig.card.w(FDIRHASH, 7 | signature << 16);
        rig.card.w(FDIRCMD, ADD);
    }
    assert_eq!((rig.card.r(FDIRUSTAT), rig.card.r(FDIRFSTAT)), (20, 1), "twice FDIRCTRL.Max-Length");
    assert_eq!((rig.card.r(0xEE4C), rig.card.r(0xEE4C)), (7 << 16 | 20, 0), "FDIRLEN");
    rig.card.r(0x800);
    for n in 0..8191 - 20 - 64 {
        rig.card.w(FDIRHASH, (100 + n / 10) | (n % 10) << 16);
        rig.card.w(FDIRCMD, ADD);
    }
    assert_eq!((rig.card.r(FDIRFREE), rig.card.r(0x800) & 1 << 16), (64, 0));
    for n in 0..65 {
        rig.card.w(FDIRHASH, 2000 + n);
        rig.card.w(FDIRCMD, ADD);
    }
    assert_eq!((rig.card.r(FDIRFREE), rig.card.r(FDIRFSTAT), rig.card.r(0x800) & 1 << 16), (0, 1, 1 << 16), "FULL_THRESH, and full");
    rig.card.expect_violations(&[]);
}

#[test]
fn what_the_memory_does_not_allow() {
    let card = Card::up();
    card.w(FDIRCMD, ADD);
    card.expect_violations(&["flow director was given a command and has no memory"]);
    card.w(FDIRCTRL, SMALL);
    card.expect_violations(&["flow director's filters and the receive packet buffers overlap"]);
    let x550 = Card::with(sim::ixgbe::IxgbeOptions::new().device(0x1563));
    x550.device.advance_us(100);
    x550.w(RXPBSIZE, (384 - 64) << 10);
    x550.w(FDIRCTRL, SMALL | PERFECT | 1 << 21);
    x550.expect_violations(&["flow director's filters of addresses and of tunnels are not modelled"]);
    card.w(RXPBSIZE, (512 - 64) << 10);
    card.enable_receive();
    card.expect_violations(&[]);
    let card = Card::up();
    card.w(FDIRCTRL, 0);
    card.w(FDIRM, 1 << 3);
    director(&card, PERFECT);
    card.w(FDIRHASH, 0);
    card.w(FDIRCMD, ADD | 1 << 7);
    let seen = card.device.take_violations();
    assert!(seen.iter().any(|violation| violation.what == "flow director compares ports and not the protocol that they are of"), "{seen:?}");
    assert!(seen.iter().any(|violation| violation.what == "perfect filters of IPv6 are not modelled"), "{seen:?}");
}
