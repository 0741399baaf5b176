//! EITR's counters, and the bursts of transmit reports that they end (7.2.3.4, 7.3.2).

use crate::common::{Card, TestRing, data_word, frame};
use driver_core::host::{DmaRegion, Interrupt, PciFunction};
use sim::SimInterrupt;

const EITR_3: u32 = 0x820 + 4 * 3;
const CNT_WDIS: u32 = 1 << 31;
const EICS: u32 = 0x808;
const EIMS: u32 = 0x880;
const EIAC: u32 = 0x810;
const TXDCTL: u32 = 0x28;
const ENABLE: u32 = 1 << 25;
const SWFLSH: u32 = 1 << 26;

struct Sender {
    card: Card,
    ring: TestRing,
    buffer: DmaRegion,
    vectors: Vec<SimInterrupt>,
    next: u32,
}

impl Sender {
    /// Transmit queue 0 on vector 3 with bursts of `wthresh`; the vector waits `interval` times 2 us, and is let through.
    fn new(wthresh: u32, interval: u32) -> Self {
        let mut card = Card::up();
        let vectors = card.function.enable_interrupts(5).unwrap().into_iter().collect();
        let _ = card.r(0x800);
        card.w(0x898, 1 << 4 | 1 << 31);
        card.w(0x900, (0x80 | 3) << 8);
        card.w(EIAC, 1 << 3);
        card.w(EIMS, 1 << 3);
        card.w(EITR_3, interval << 3 | CNT_WDIS);
        let ring = card.transmit_queue(0, 64);
        card.w(ring.block + TXDCTL, ENABLE | wthresh << 16);
        let buffer = card.function.dma().allocate(4096).unwrap();
        card.fill(&buffer, 0, &frame([2, 0, 0, 0, 0, 9], 60));
        Self { card, ring, buffer, vectors, next: 0 }
    }

    /// Sends `count` frames; each asks for a report.
    fn send(&mut self, count: u32) {
        for _ in 0..count {
            self.card.put(&self.ring, self.next, [self.buffer.iova().0, data_word(60, 60, true, true)]);
            self.next += 1;
        }
        self.card.tail(&self.ring, self.next);
        self.card.settle();
    }

    /// How many descriptors are reported.
    fn done(&self) -> usize {
        (0..self.next).filter(|&index| self.card.get(&self.ring, index)[1] == 1 << 32).count()
    }

    fn fired(&mut self) -> u64 {
        self.vectors[3].wait(Some(0)).unwrap()
    }
}

#[test]
fn a_burst_is_reported_when_it_is_complete() {
    let mut sender = Sender::new(4, 0);
    sender.send(3);
    assert_eq!((sender.done(), sender.fired()), (0, 0));
    sender.card.device.advance_us(100_000);
    assert_eq!((sender.done(), sender.fired()), (0, 0), "without moderation nothing but the burst's size ends it");
    sender.send(1);
    assert_eq!((sender.done(), sender.fired()), (4, 1));
    sender.send(9);
    assert_eq!(sender.done(), 12, "two bursts, and one frame of the third");
    assert_eq!(sender.card.sent().len(), 13, "sent they are all the same");
    sender.card.expect_violations(&[]);
}

#[test]
fn without_a_threshold_each_report_is_written_at_once() {
    let mut sender = Sender::new(0, 50);
    sender.send(1);
    assert_eq!((sender.done(), sender.fired()), (1, 1));
    sender.card.expect_violations(&[]);
}

#[test]
fn the_first_frame_starts_the_counter_that_ends_a_burst() {
    let mut sender = Sender::new(8, 50);
    sender.send(2);
    sender.card.device.advance_us(60);
    sender.send(1);
    assert_eq!(sender.done(), 0);
    sender.card.device.advance_us(30);
    assert_eq!((sender.done(), sender.fired()), (0, 0));
    sender.card.device.advance_us(20);
    assert_eq!((sender.done(), sender.fired()), (3, 1), "100 us after the first");
    // The interrupt has started the counter: the next burst ends when it is through, 100 us after that.
    sender.card.device.advance_us(60);
    sender.send(1);
    sender.card.device.advance_us(30);
    assert_eq!(sender.done(), 3);
    sender.card.device.advance_us(20);
    assert_eq!((sender.done(), sender.fired()), (4, 1));
    sender.card.expect_violations(&[]);
}

#[test]
fn a_vector_that_is_masked_ends_bursts_all_the_same() {
    let mut sender = Sender::new(8, 50);
    sender.card.w(0x888, 1 << 3);
    for round in 1..4 {
        sender.send(1);
        sender.card.device.advance_us(95);
        assert_eq!(sender.done(), round - 1);
        sender.card.device.advance_us(10);
        assert_eq!(sender.done(), round);
        // The write-back has started the counter, since no interrupt could.
        assert!(sender.card.r(EITR_3) >> 21 > 0);
        sender.card.device.advance_us(200);
    }
    assert_eq!(sender.fired(), 0);
    sender.card.w(EIMS, 1 << 3);
    sender.card.device.advance_us(200);
    assert_eq!(sender.fired(), 1, "what came meanwhile is signalled once");
    sender.card.expect_violations(&[]);
}

#[test]
fn software_can_ask_for_the_reports() {
    let mut sender = Sender::new(8, 0);
    sender.send(3);
    sender.card.w(sender.ring.block + TXDCTL, ENABLE | SWFLSH | 8 << 16);
    sender.card.device.step();
    assert_eq!((sender.done(), sender.fired()), (3, 1));
    assert_eq!(sender.card.r(sender.ring.block + TXDCTL), ENABLE | 8 << 16, "SWFLSH clears itself");
    sender.send(2);
    sender.card.w(sender.ring.block + TXDCTL, 8 << 16);
    sender.card.device.step();
    assert_eq!(sender.done(), 5, "a queue that goes down reports what it sent");
    sender.card.expect_violations(&[]);
}

#[test]
fn every_descriptor_counts_from_the_first_report_on() {
    let mut sender = Sender::new(4, 0);
    sender.send(1);
    // A frame of three descriptors.
    for (part, is_last) in [(20, false), (20, false), (20, true)] {
        sender.card.put(&sender.ring, sender.next, [sender.buffer.iova().0, data_word(part, 60, is_last, is_last)]);
        sender.next += 1;
    }
    assert_eq!(sender.done(), 0);
    sender.card.tail(&sender.ring, sender.next);
    sender.card.settle();
    assert_eq!(sender.done(), 2, "the two that asked");
    sender.card.expect_violations(&[]);
}

#[test]
fn the_counter_is_shown_left_alone_and_set() {
    let mut sender = Sender::new(0, 0);
    let counter = |sender: &Sender| sender.card.r(EITR_3) >> 21 & 0x7F;
    sender.card.w(EITR_3, 400 << 3 | CNT_WDIS);
    assert_eq!((sender.card.r(EITR_3), counter(&sender)), (400 << 3, 0), "CNT_WDIS reads zero");
    sender.card.w(EICS, 1 << 3);
    sender.card.device.step();
    assert_eq!(sender.fired(), 1);
    assert_eq!(counter(&sender), 100, "the upper seven of its nine bits");
    sender.card.device.advance_us(400);
    assert_eq!(counter(&sender), 50);
    sender.card.w(EITR_3, 200 << 3 | CNT_WDIS);
    assert_eq!(counter(&sender), 50, "another interval counts from the next interrupt on");
    sender.card.w(EICS, 1 << 3);
    sender.card.device.advance_us(100);
    assert_eq!(sender.fired(), 0);
    sender.card.w(EITR_3, 200 << 3);
    sender.card.device.step();
    assert_eq!(sender.fired(), 1, "a counter that software sets to zero fires at once");
    assert_eq!(counter(&sender), 50);
    sender.card.expect_violations(&[]);
}
