//! An outer VLAN tag on every frame, which the card looks behind (7.4.5), by raw register access.

use crate::common::{Card, MAC, TestRing, data_word};
use driver_core::host::{DmaRegion, PciFunction};
use sim::ixgbe::IxgbeOptions;

const CTRL_EXT: u32 = 0x0018;
const EXTENDED_VLAN: u32 = 1 << 26;
const EXVET: u32 = 0x5078;
const DMATXCTL: u32 = 0x4A80;
const GDV: u32 = 1 << 3;
const VLNCTRL: u32 = 0x5088;
const VME: u32 = 1 << 30;
/// Write-back status: VLAN packet, an outer tag, IPv4 checked.
const VP: u64 = 1 << 3;
const VEXT: u64 = 1 << 9;
const IPCS: u64 = 1 << 6;

const OUTER: [u8; 4] = [0x88, 0xA8, 0x30, 0x05];
const INNER: [u8; 4] = [0x81, 0x00, 0x60, 0x07];

/// An IPv4 header whose checksum is the textbook's b861, before zeros that are UDP without a checksum.
fn udp() -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 1, 0x08, 0x00]].concat();
    frame.extend([0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7]);
    frame.resize(14 + 0x73, 0);
    frame
}

fn with(tags: &[[u8; 4]], frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

fn double(card: &Card) {
    card.w(DMATXCTL, card.r(DMATXCTL) | GDV);
    card.w(CTRL_EXT, card.r(CTRL_EXT) | EXTENDED_VLAN);
    card.w(EXVET, 0x88A8_0000);
}

struct Receiver {
    card: Card,
    ring: TestRing,
    buffers: DmaRegion,
    next: u32,
}

impl Receiver {
    fn new(strip: u32) -> Self {
        let card = Card::up();
        double(&card);
        let (ring, buffers) = card.receive_queue(0, 64, 2);
        card.w(ring.block + 0x28, 1 << 25 | strip);
        card.enable_receive();
        card.tail(&ring, 63);
        Self { card, ring, buffers, next: 0 }
    }

    /// The frame as it lies in memory, its status, and its VLAN field; `None`: it was filtered.
    fn take(&mut self, frame: &[u8]) -> Option<(Vec<u8>, u64, u64)> {
        self.card.arrive(frame);
        self.card.settle();
        let [_, upper] = self.card.get(&self.ring, self.next);
        if upper & 1 == 0 {
            return None;
        }
        let bytes = self.card.bytes(self.buffers.iova().offset(u64::from(self.next) * 2048), (upper >> 32 & 0xFFFF) as usize);
        self.next += 1;
        Some((bytes, upper & (VP | VEXT | IPCS), upper >> 48))
    }
}

#[test]
fn the_inner_tag_is_stripped_and_the_outer_one_stays() {
    let mut receiver = Receiver::new(VME);
    let udp = udp();
    assert_eq!(receiver.take(&with(&[OUTER, INNER], &udp)), Some((with(&[OUTER], &udp), VP | VEXT | IPCS, 0x6007)));
    assert_eq!(receiver.take(&with(&[OUTER], &udp)), Some((with(&[OUTER], &udp), VEXT | IPCS, 0)));
    receiver.card.expect_violations(&[]);
}

#[test]
fn without_its_outer_tag_a_frame_is_bytes() {
    let mut receiver = Receiver::new(VME);
    for frame in [udp(), with(&[INNER], &udp()), with(&[INNER, OUTER], &udp())] {
        assert_eq!(receiver.take(&frame), Some((frame.clone(), 0, 0)), "neither looked into nor stripped");
    }
    receiver.card.expect_violations(&[]);
}

#[test]
fn a_tag_that_is_to_stay_stays() {
    let mut receiver = Receiver::new(0);
    let frame = with(&[OUTER, INNER], &udp());
    assert_eq!(receiver.take(&frame), Some((frame.clone(), VP | VEXT | IPCS, 0)));
    receiver.card.expect_violations(&[]);
}

/// VFTA has VLANs of inner tags.
#[test]
fn the_filter_looks_at_the_inner_tag() {
    let mut receiver = Receiver::new(0);
    receiver.card.clear_table(0xA000, 128);
    receiver.card.w(0xA000, 1 << 7);
    receiver.card.w(VLNCTRL, receiver.card.r(VLNCTRL) | 1 << 30);
    let udp = udp();
    assert!(receiver.take(&with(&[OUTER, INNER], &udp)).is_some());
    assert!(receiver.take(&with(&[OUTER, [0x81, 0x00, 0, 5]], &udp)).is_none());
    assert!(receiver.take(&with(&[OUTER], &udp)).is_some(), "VLAN 5 is its outer tag's");
    receiver.card.expect_violations(&[]);
}

/// MAXFRS, 8.2.3.22.13: eight bytes more, for any packet.
#[test]
fn frames_are_eight_bytes_longer() {
    let mut receiver = Receiver::new(0);
    let long = |len| {
        let mut frame = with(&[OUTER, INNER], &udp());
        frame.resize(len, 0);
        frame
    };
    assert!(receiver.take(&long(1522)).is_some());
    assert!(receiver.take(&long(1523)).is_none());
    receiver.card.expect_violations(&[]);
}

const TXSM: u64 = 1 << 41;
const VLE: u64 = 1 << 30;

/// What leaves of a packet, with a context of MACLEN 18 and a tag.
fn sent(card: &Card, packet: &[u8], asks: u64) -> Vec<Vec<u8>> {
    let ring = card.transmit_queue(0, 8);
    let memory = card.function.dma().allocate(packet.len()).unwrap();
    card.fill(&memory, 0, packet);
    card.put(&ring, 0, [0x6007 << 16 | 18 << 9 | 20, 1 << 29 | 2 << 20]);
    card.put(&ring, 1, [memory.iova().0, data_word(packet.len(), packet.len(), true, true) | asks]);
    card.tail(&ring, 2);
    card.settle();
    card.sent()
}

#[test]
fn a_tag_goes_behind_the_outer_one() {
    let card = Card::up();
    double(&card);
    let udp = udp();
    let frames = sent(&card, &with(&[OUTER], &udp), VLE | TXSM);
    card.expect_violations(&[]);
    let mut wanted = with(&[OUTER, INNER], &udp);
    assert_ne!(frames[0][48..50], [0, 0], "UDP's sum, behind 18 and 4 and 20 bytes and 6 more");
    wanted[48..50].copy_from_slice(&frames[0][48..50]);
    assert_eq!(frames, [wanted]);
}

#[test]
fn what_has_no_outer_tag_is_sent_as_it_is() {
    const WHAT: &str = "an offload was asked for of a packet without the outer tag that DMATXCTL.GDV announces";
    for (asks, wanted) in [(0, &[][..]), (VLE, &[WHAT]), (TXSM, &[WHAT]), (VLE | TXSM, &[WHAT])] {
        let card = Card::up();
        double(&card);
        let packet = with(&[INNER], &udp());
        assert_eq!(sent(&card, &packet, asks), [packet]);
        card.expect_violations(wanted);
    }
}

#[test]
fn the_two_directions_are_set_up_together() {
    const DIFFER: &str = "CTRL_EXT.EXTENDED_VLAN and DMATXCTL.GDV differ";
    for (transmits, receives, wanted) in [(GDV, 0, &[DIFFER][..]), (0, EXTENDED_VLAN, &[DIFFER]), (GDV, EXTENDED_VLAN, &[]), (0, 0, &[])] {
        let card = Card::up();
        card.w(DMATXCTL, card.r(DMATXCTL) | transmits);
        card.w(CTRL_EXT, card.r(CTRL_EXT) | receives);
        card.enable_receive();
        card.expect_violations(wanted);
    }
    let card = Card::with(IxgbeOptions::new().device(0x1563));
    card.device.advance_us(1100);
    card.device.step();
    double(&card);
    card.w(0x51B0, 1 << 16);
    card.enable_receive();
    card.expect_violations(&["CTRL_EXT.EXTENDED_VLAN is on while PFVTCTL chooses pools by a tag"]);
}
