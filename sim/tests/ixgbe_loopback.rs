//! What a driver can fill inside of the card: frames that are looped from transmit to receive (HLREG0.LPBK, 8.2.3.22.8), and what else waits in it.

use crate::common::{Card, DD, MAC, TestRing, data_word, frame};
use driver_core::host::{DmaRegion, PciFunction};
use sim::ixgbe::IxgbeOptions;

const LPBK: u32 = 1 << 15;
const HLREG0: u32 = 0x4240;
const FCTRL: u32 = 0x5080;
const RXPBSIZE: u32 = 0x3C00;
const MPC: u32 = 0x3FA0;
const GPRC: u32 = 0x4074;
const GPTC: u32 = 0x4080;
const FRAME: usize = 1000;

/// A looped port that takes all frames, with a transmit ring whose descriptors all hold the same frame.
struct Looped {
    card: Card,
    ring: TestRing,
    tail: u32,
    _buffer: DmaRegion,
}

impl Looped {
    fn new() -> Self {
        let card = Card::up();
        card.w(FCTRL, card.r(FCTRL) | 1 << 9 | 1 << 8);
        card.w(HLREG0, card.r(HLREG0) | LPBK);
        let ring = card.transmit_queue(0, 64);
        let buffer = card.function.dma().allocate(FRAME).unwrap();
        card.fill(&buffer, 0, &frame(MAC, FRAME));
        (0..ring.slots).for_each(|i| card.put(&ring, i, [buffer.iova().0, data_word(FRAME, FRAME, true, false)]));
        Self { card, ring, tail: 0, _buffer: buffer }
    }

    /// Transmits so many frames.
    fn send(&mut self, mut count: u32) {
        while count > 0 {
            let now = count.min(self.ring.slots - 1);
            self.tail = (self.tail + now) % self.ring.slots;
            self.card.tail(&self.ring, self.tail);
            self.card.settle();
            count -= now;
        }
    }
}

#[test]
fn looped_frames_are_lost_where_the_receiver_is_off() {
    let mut looped = Looped::new();
    looped.send(2000);
    let card = &looped.card;
    assert_eq!((card.r(GPTC), card.r(MPC)), (2000, 0), "sent; a receiver that is off misses nothing");
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    card.settle();
    assert_eq!((card.r(GPRC), card.get(&ring, 0)[1] & DD), (0, 0), "what was sent before is lost");
    looped.send(3);
    assert_eq!((looped.card.r(GPRC), looped.card.get(&ring, 2)[1] & DD), (3, DD));
    assert!(looped.card.sent().is_empty(), "nothing leaves the port");
}

#[test]
fn frames_in_the_loop_are_lost_when_the_receiver_is_turned_off() {
    let mut looped = Looped::new();
    let (ring, _buffers) = looped.card.receive_queue(0, 64, 2);
    looped.card.enable_receive();
    // Without descriptors they stay in the packet buffer.
    looped.send(20);
    looped.card.w(0x3000, 0);
    looped.card.settle();
    looped.card.w(0x3000, 1);
    looped.card.tail(&ring, 63);
    looped.card.settle();
    assert_eq!(looped.card.get(&ring, 0)[1] & DD, 0);
}

/// No frame leaves the loop before a descriptor is there, and all that were sent are somewhere: delivered, or counted as missed.
#[test]
fn looped_frames_share_the_packet_buffer_and_those_without_room_are_missed() {
    let mut looped = Looped::new();
    looped.card.w(RXPBSIZE, 64 << 10);
    let (ring, _buffers) = looped.card.receive_queue(0, 256, 2);
    looped.card.enable_receive();
    looped.send(500);
    let missed = looped.card.r(MPC);
    let fit = (64 << 10) / (FRAME as u32 + 64);
    assert_eq!(500 - missed, fit, "the packet buffer holds no more");
    looped.card.tail(&ring, 255);
    looped.card.settle();
    let delivered = (0..256).filter(|&i| looped.card.get(&ring, i)[1] & DD != 0).count();
    assert_eq!(delivered as u32, fit);
}

/// TSO makes many frames of one packet within a step: more than the step receives.
#[test]
fn segments_in_the_loop_are_bounded_too() {
    let card = Card::up();
    card.w(FCTRL, card.r(FCTRL) | 1 << 9 | 1 << 8);
    card.w(HLREG0, card.r(HLREG0) | LPBK);
    card.w(RXPBSIZE, 32 << 10);
    let tx = card.transmit_queue(0, 64);
    let (rx, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    let buffer = card.function.dma().allocate(54 + 15_000).unwrap();
    let mut packet = frame(MAC, 54 + 15_000);
    packet[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    packet[23] = 6;
    packet[46] = 5 << 4;
    card.fill(&buffer, 0, &packet);
    // A context of IPv4 and TCP with an MSS of 100 (7.2.3.2.3), and a packet of 150 segments.
    card.put(&tx, 0, [14 << 9 | 20, 1 << 29 | 2 << 20 | 1 << 11 | 1 << 10 | 20 << 40 | 100 << 48]);
    let data = 1 << 31 | 1 << 29 | 1 << 25 | 1 << 24 | 3 << 20 | (54 + 15_000) | 3 << 40 | 15_000 << 46;
    card.put(&tx, 1, [buffer.iova().0, data]);
    (2..4).for_each(|index| card.put(&tx, index, [buffer.iova().0, data]));
    card.tail(&tx, 4);
    card.device.step();
    let fit = (32 << 10) / (154 + 64);
    assert_eq!((card.r(GPTC), card.r(MPC)), (450, 450 - fit), "sent in one step; what the packet buffer has no room for is missed");
    card.settle();
    assert_eq!(card.r(MPC), 0, "the others wait");
    card.tail(&rx, 63);
    card.settle();
    assert_eq!((0..64).filter(|&i| card.get(&rx, i)[1] & DD != 0).count(), 63);
    card.expect_violations(&[]);
}

#[test]
fn a_packet_longer_than_any_frame_stops_the_queue() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let buffer = card.function.dma().allocate(15_000).unwrap();
    for i in 0..5 {
        card.put(&ring, i, [buffer.iova().0, data_word(15_000, 75_000, i == 4, false)]);
    }
    card.tail(&ring, 5);
    card.settle();
    card.expect_violations(&["a packet is longer than any frame"]);
    assert_eq!((card.sent().len(), card.r(0x6010)), (0, 0), "TDH");
}

/// A write of each MDIO address is one register that has to be kept, and there are two million of them.
#[test]
fn a_phy_keeps_as_many_registers_as_it_has() {
    let card = Card::with(IxgbeOptions::new().device(0x1528));
    let write = |register: u32, data: u32| {
        card.w(0x425C, register | 1 << 16 | 1 << 30);
        card.w(0x4260, data);
        card.w(0x425C, 1 << 16 | 1 << 26 | 1 << 30);
    };
    let read = |register: u32| {
        card.w(0x425C, register | 1 << 16 | 1 << 30);
        card.w(0x425C, 1 << 16 | 3 << 26 | 1 << 30);
        card.r(0x4260) >> 16
    };
    (0x9000..0x9000 + 256).for_each(|register| write(register, register ^ 0x1234));
    card.expect_violations(&[]);
    assert_eq!((read(0x9000), read(0x90FF)), (0x9000 ^ 0x1234, 0x90FF ^ 0x1234));
    write(0x9100, 7);
    card.expect_violations(&["more MDIO registers were written than are modelled"]);
    assert_eq!(read(0x9100), 0);
    write(0x9000, 7);
    assert_eq!(read(0x9000), 7, "what is kept can be changed");
}
