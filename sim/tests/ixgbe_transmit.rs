//! Transmitting, by raw register access.

use crate::common::{Card, MAC, TestRing, data_word, frame};
use driver_core::host::DmaRegion;

/// Puts `bytes` into memory of their own.
fn place(card: &Card, bytes: &[u8]) -> DmaRegion {
    use driver_core::host::PciFunction;
    let region = card.function.dma().allocate(bytes.len()).unwrap();
    card.fill(&region, 0, bytes);
    region
}

/// One frame of one descriptor at `index`.
fn queue_one(card: &Card, ring: &TestRing, index: u32, bytes: &[u8], rs: bool) -> DmaRegion {
    let region = place(card, bytes);
    card.put(ring, index, [region.iova().0, data_word(bytes.len(), bytes.len(), true, rs)]);
    region
}

#[test]
fn one_frame() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let sent = frame(MAC, 100);
    let _buffer = queue_one(&card, &ring, 0, &sent, true);
    card.tail(&ring, 1);
    card.settle();
    assert_eq!(card.sent(), [sent]);
    assert_eq!(card.get(&ring, 0), [0, 1 << 32], "DD in the status, the rest is not kept");
    assert_eq!(card.r(0x6010), 1, "TDH");
    card.expect_violations(&[]);
}

#[test]
fn gathers_several_descriptors() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let sent = frame(MAC, 700);
    let parts = [&sent[..14], &sent[14..300], &sent[300..]].map(|part| (place(&card, part), part.len()));
    for (i, (region, len)) in parts.iter().enumerate() {
        card.put(&ring, i as u32, [region.iova().0, data_word(*len, 700, i == 2, i == 2)]);
    }
    card.tail(&ring, 2);
    card.settle();
    assert!(card.sent().is_empty(), "a packet waits for its last descriptor");
    assert_eq!(card.r(0x6010), 0);
    card.tail(&ring, 3);
    card.settle();
    assert_eq!(card.sent(), [sent]);
    assert_eq!(card.get(&ring, 2), [0, 1 << 32]);
    assert_eq!(card.get(&ring, 0)[1], data_word(14, 700, false, false), "no report was asked for");
    card.expect_violations(&[]);
}

#[test]
fn reports_only_where_asked() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 8);
    let buffers: Vec<_> = (0..7).map(|i| queue_one(&card, &ring, i, &frame(MAC, 60), i == 3)).collect();
    card.tail(&ring, 7);
    card.settle();
    assert_eq!(card.sent().len(), buffers.len());
    for i in 0..7 {
        assert_eq!(card.get(&ring, i)[1] >> 32 & 1, u64::from(i == 3), "descriptor {i}");
    }
    card.expect_violations(&[]);
}

#[test]
fn head_write_back() {
    let card = Card::up();
    card.w(0x4A80, card.r(0x4A80) | 1);
    let ring = card.ring(0x6000, 64);
    let head = place(&card, &[0xEE; 8]);
    card.w(0x6038, head.iova().0 as u32 | 1);
    card.w(0x603C, (head.iova().0 >> 32) as u32);
    card.enable(&ring);
    let _buffer = queue_one(&card, &ring, 0, &frame(MAC, 60), true);
    card.tail(&ring, 1);
    card.settle();
    assert_eq!(card.bytes(head.iova(), 8), [1, 0, 0, 0, 0xEE, 0xEE, 0xEE, 0xEE]);
    assert_eq!(card.get(&ring, 0)[1] >> 32 & 1, 0);
    card.expect_violations(&[]);
}

/// DPDK enables a queue again, waits for it, and writes the tail then.
#[test]
fn a_queue_that_is_enabled_again_starts_empty() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let buffers: Vec<_> = (0..3).map(|i| queue_one(&card, &ring, i, &frame(MAC, 60), true)).collect();
    card.tail(&ring, 3);
    card.settle();
    assert_eq!((card.sent().len(), card.r(0x6010)), (buffers.len(), 3));
    card.ends.lock().unwrap().busy = true;
    let _late = queue_one(&card, &ring, 3, &frame(MAC, 60), true);
    card.tail(&ring, 4);
    card.w(0x6028, 0);
    card.device.step();
    assert_eq!((card.r(0x6028), card.r(0x6010), card.r(0x6018)), (0, 3, 4), "a stopped queue says how far it came");
    card.ends.lock().unwrap().busy = false;
    (0..64).for_each(|i| card.put(&ring, i, [0, 0]));
    card.w(0x6008, 8 * 16);
    card.enable(&ring);
    card.settle();
    assert_eq!((card.r(0x6010), card.r(0x6018), card.sent().len()), (0, 0, 0));
    card.expect_violations(&[]);
    let sent = frame(MAC, 100);
    let _buffer = queue_one(&card, &ring, 0, &sent, true);
    card.tail(&ring, 1);
    card.settle();
    assert_eq!((card.sent(), card.r(0x6010)), (vec![sent], 1));
    card.expect_violations(&[]);
}

#[test]
fn a_busy_wire_holds_the_head() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let _buffer = queue_one(&card, &ring, 0, &frame(MAC, 60), true);
    card.ends.lock().unwrap().busy = true;
    card.tail(&ring, 1);
    card.settle();
    assert_eq!((card.r(0x6010), card.get(&ring, 0)[1] >> 32 & 1), (0, 0));
    card.ends.lock().unwrap().busy = false;
    card.settle();
    assert_eq!((card.r(0x6010), card.sent().len()), (1, 1));
    card.expect_violations(&[]);
}

#[test]
fn pads_where_it_may() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let short = frame(MAC, 42);
    let _first = queue_one(&card, &ring, 0, &short, true);
    card.tail(&ring, 1);
    card.settle();
    card.expect_violations(&[]);
    card.w(0x4240, card.r(0x4240) & !(1 << 10));
    let _second = queue_one(&card, &ring, 1, &short, true);
    card.tail(&ring, 2);
    card.settle();
    card.expect_violations(&["a short packet was sent while HLREG0.TXPADEN is off"]);
    let sent = card.sent();
    assert_eq!((&sent[0][..42], &sent[0][42..]), (&short[..], &[0; 18][..]));
}

#[test]
fn inserts_a_vlan_tag() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    // A context descriptor: tag 0x6007, MACLEN 14, in slot 1.
    card.put(&ring, 0, [0x6007 << 16 | 14 << 9, 1 << 36 | 1 << 29 | 2 << 20]);
    let sent = frame(MAC, 100);
    let buffer = place(&card, &sent);
    card.put(&ring, 1, [buffer.iova().0, data_word(100, 100, true, true) | 1 << 30 | 1 << 36]);
    card.tail(&ring, 2);
    card.settle();
    let mut tagged = sent;
    tagged.splice(12..12, [0x81, 0x00, 0x60, 0x07]);
    assert_eq!(card.sent(), [tagged]);
    card.expect_violations(&[]);
}

#[test]
fn what_is_forbidden() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let buffer = place(&card, &frame(MAC, 60));
    let good = data_word(60, 60, true, true);
    let cases = [
        (good & !0xFFFF, "a descriptor has no length"),
        (good & !(1 << 25), "a packet was sent without IFCS"),
        (good | 1 << 32, "a descriptor was handed over with its status set"),
        (data_word(60, 61, true, true), "PAYLEN is not the length of the packet"),
        (good & !(3 << 20), "a descriptor's DTYP is neither context nor data"),
        (good | 1 << 31, "a packet asks for what no context describes"),
        (data_word(16, 16, true, true), "a packet is shorter than 17 bytes"),
    ];
    for (i, (word, what)) in cases.into_iter().enumerate() {
        card.put(&ring, i as u32, [buffer.iova().0, word]);
        card.tail(&ring, i as u32 + 1);
        card.settle();
        card.expect_violations(&[what]);
    }
    let tail = cases.len() as u32;
    card.put(&ring, tail, [buffer.iova().0, data_word(60, 120, false, true)]);
    card.put(&ring, tail + 1, [buffer.iova().0, data_word(60, 120, true, true)]);
    card.tail(&ring, tail + 2);
    card.settle();
    card.expect_violations(&["a report was asked for on a descriptor that is not the last of its packet"]);
    card.tail(&ring, 64);
    card.expect_violations(&["the tail was written beyond the ring"]);
}

#[test]
fn unmapped_data_stops_the_queue() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    drop(queue_one(&card, &ring, 0, &frame(MAC, 60), true));
    card.tail(&ring, 1);
    card.settle();
    card.expect_violations(&["DMA outside the mappings"]);
    assert!(card.sent().is_empty());
}

#[test]
fn without_bus_mastering_nothing_moves() {
    use driver_core::host::PciFunction;
    let mut card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let _buffer = queue_one(&card, &ring, 0, &frame(MAC, 60), true);
    card.function.forbid_dma().unwrap();
    card.tail(&ring, 1);
    card.settle();
    card.expect_violations(&["DMA while bus mastering is off"]);
}

#[test]
fn queues_take_turns() {
    let card = Card::up();
    let rings: Vec<_> = (0..3).map(|queue| card.transmit_queue(queue, 128)).collect();
    let mut buffers = Vec::new();
    for (queue, ring) in rings.iter().enumerate() {
        for i in 0..100 {
            let mut bytes = frame(MAC, 60);
            bytes[20] = queue as u8;
            buffers.push(queue_one(&card, ring, i, &bytes, false));
        }
        card.tail(ring, 100);
    }
    for _ in 0..3 {
        card.device.step();
    }
    let queues: std::collections::BTreeSet<_> = card.sent().iter().map(|frame| frame[20]).collect();
    assert_eq!(queues.len(), 3, "three steps serve three queues");
    card.settle();
    assert_eq!(rings.iter().map(|ring| card.r(ring.block + 0x10)).collect::<Vec<_>>(), [100; 3]);
    card.expect_violations(&[]);
}

#[test]
fn packets_that_are_too_much() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let long = frame(MAC, 1515);
    let _buffer = queue_one(&card, &ring, 0, &long[..1514], true);
    card.tail(&ring, 1);
    card.settle();
    card.expect_violations(&[]);
    let _buffer = queue_one(&card, &ring, 1, &long, true);
    card.tail(&ring, 2);
    card.settle();
    card.expect_violations(&["a packet is longer than MAXFRS allows"]);
    let buffer = place(&card, &frame(MAC, 20));
    let mut at = 2;
    for (parts, what) in [(40, &[][..]), (41, &["a packet has more than 40 descriptors"])] {
        for i in 1..=parts {
            card.put(&ring, at % 64, [buffer.iova().0, data_word(20, 20 * parts, i == parts, i == parts)]);
            at += 1;
        }
        card.tail(&ring, at % 64);
        card.settle();
        card.expect_violations(what);
    }
    assert_eq!(card.sent().iter().map(Vec::len).collect::<Vec<_>>(), [1514, 1515, 800], "the queue stands still at the last");
}

#[test]
fn a_context_inside_a_packet() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let buffer = place(&card, &frame(MAC, 60));
    card.put(&ring, 0, [buffer.iova().0, data_word(30, 60, false, false)]);
    card.put(&ring, 1, [0, 1 << 29 | 2 << 20]);
    card.tail(&ring, 2);
    card.settle();
    card.expect_violations(&["a context descriptor lies inside a packet"]);
}

#[test]
fn loopback_inside_the_mac() {
    let card = Card::up();
    let (rx, buffers) = card.receive_queue(0, 64, 2);
    let tx = card.transmit_queue(0, 64);
    card.enable_receive();
    card.tail(&rx, 63);
    card.w(0x4240, card.r(0x4240) | 1 << 15);
    card.device.set_carrier(false);
    card.settle();
    let sent = frame(MAC, 100);
    let _buffer = queue_one(&card, &tx, 0, &sent, true);
    card.tail(&tx, 1);
    card.settle();
    assert_eq!(card.r(0x1010), 0, "without a link it is not forced up");
    card.w(0x42A0, card.r(0x42A0) | 1);
    card.settle();
    assert_eq!(card.r(0x1010), 1);
    assert_eq!(card.bytes(buffers.iova(), 100), sent);
    assert!(card.sent().is_empty(), "nothing reached the wire");
    card.expect_violations(&[]);
}

#[test]
fn legacy_descriptors() {
    let card = Card::up();
    let ring = card.transmit_queue(0, 64);
    let sent = frame(MAC, 100);
    let buffer = place(&card, &sent);
    let word = 100 | 1 << 24 | 1 << 25 | 1 << 27;
    card.put(&ring, 0, [buffer.iova().0, word]);
    card.put(&ring, 1, [buffer.iova().0, word | 1 << 30 | 0x6007 << 48]);
    card.tail(&ring, 2);
    card.settle();
    let mut tagged = sent.clone();
    tagged.splice(12..12, [0x81, 0x00, 0x60, 0x07]);
    assert_eq!(card.sent(), [sent, tagged]);
    assert_eq!(card.get(&ring, 0), [buffer.iova().0, word | 1 << 32], "all but the status stays");
    card.expect_violations(&[]);
}
