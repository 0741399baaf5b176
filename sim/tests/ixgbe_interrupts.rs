//! Interrupts, statistics, link and receive side scaling, by raw register access.

use crate::common::{Card, MAC, TestRing, data_word, frame};
use driver_core::host::{DmaRegion, Interrupt, PciFunction, RegSpace};
use sim::SimInterrupt;
use sim::ixgbe::IxgbeOptions;

const EICR: u32 = 0x800;
const EICS: u32 = 0x808;
const EIAC: u32 = 0x810;
const EIMS: u32 = 0x880;
const EIMC: u32 = 0x888;
const EIAM: u32 = 0x890;
const GPIE: u32 = 0x898;
const LSC: u32 = 1 << 20;

/// A card with MSI-X on, receive queue 0 on vector 3, other causes on vector 1.
fn with_vectors() -> (Card, TestRing, DmaRegion, Vec<SimInterrupt>) {
    let mut card = Card::up();
    let vectors = card.function.enable_interrupts(5).unwrap().into_iter().collect();
    let _ = card.r(EICR);
    card.w(GPIE, 1 << 4 | 1 << 30 | 1 << 31);
    card.w(0x900, 0x80 | 3);
    card.w(0xA00, (0x80 | 1) << 8);
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    (card, ring, buffers, vectors)
}

fn receive_one(card: &Card) {
    card.arrive(&frame(MAC, 60));
    card.settle();
}

fn fired(vectors: &mut [SimInterrupt]) -> Vec<u64> {
    vectors.iter_mut().map(|vector| vector.wait(Some(0)).unwrap()).collect()
}

#[test]
fn a_masked_cause_waits() {
    let (card, _ring, _buffers, mut vectors) = with_vectors();
    receive_one(&card);
    assert_eq!(fired(&mut vectors), [0; 5]);
    assert_eq!(card.r(EIMS), 0);
    card.w(EIMS, 1 << 3);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 0, 0, 1, 0]);
    card.settle();
    assert_eq!(fired(&mut vectors), [0; 5], "once");
    card.w(EIMC, 1 << 3);
    card.w(EIMS, 1 << 3);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 0, 0, 1, 0], "again when the mask opens on a cause that is still there");
    assert_eq!(card.r(EICR), 1 << 3, "without EIAC the cause stays");
    assert_eq!(card.r(EICR), 0, "until it is read");
    card.expect_violations(&[]);
}

#[test]
fn automatic_clear_and_mask() {
    let (card, _ring, _buffers, mut vectors) = with_vectors();
    card.w(EIAC, 1 << 3);
    card.w(EIAM, 1 << 3);
    card.w(EIMS, 1 << 3);
    receive_one(&card);
    assert_eq!(fired(&mut vectors), [0, 0, 0, 1, 0]);
    assert_eq!(card.r(EIMS), 0, "it masked itself");
    assert_eq!(card.r(EICR), 0, "it cleared itself");
    receive_one(&card);
    assert_eq!(fired(&mut vectors), [0; 5]);
    card.w(EIMS, 1 << 3);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 0, 0, 1, 0], "what came meanwhile is signalled");
    card.w(EIMC, 1 << 3);
    assert_eq!(card.r(EIMS), 0);
    card.expect_violations(&[]);
}

#[test]
fn moderation() {
    let (card, _ring, _buffers, mut vectors) = with_vectors();
    card.w(EIAC, 1 << 3);
    card.w(EIMS, 1 << 3);
    // 50 units of 2 us.
    card.w(0x820 + 4 * 3, 50 << 3);
    receive_one(&card);
    assert_eq!(fired(&mut vectors)[3], 1);
    receive_one(&card);
    assert_eq!(fired(&mut vectors)[3], 0, "too early");
    for (us, expected) in [(40, 0), (40, 0), (40, 1)] {
        card.device.advance_us(us);
        assert_eq!(fired(&mut vectors)[3], expected);
    }
    card.expect_violations(&[]);
}

#[test]
fn causes_set_by_software_and_clear_by_write() {
    let (card, _ring, _buffers, mut vectors) = with_vectors();
    card.w(EIMS, 1 << 2 | LSC);
    card.w(EICS, 1 << 2);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 0, 1, 0, 0]);
    card.w(EICS, LSC);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 1, 0, 0, 0]);
    card.w(EIMC, LSC);
    card.w(EIMS, LSC);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 1, 0, 0, 0], "again when the mask opens");
    card.w(EICR, LSC);
    assert_eq!(card.r(EICR), 1 << 2);
    // The extended registers reach vectors above 15.
    card.w(0xAA0, 1 << 4);
    card.w(0xA90, 1 << 4);
    card.settle();
    assert_eq!(fired(&mut vectors), [0, 0, 0, 0, 1]);
    assert_eq!(card.r(0xAA0), 1 << 4 | 1 << 2);
    card.w(0xAB0, 1 << 4);
    assert_eq!(card.r(0xAA0), 1 << 2);
    card.expect_violations(&[]);
}

#[test]
fn only_other_causes_clear_on_read_with_ocd() {
    let (card, ..) = with_vectors();
    card.w(GPIE, 1 << 4 | 1 << 5);
    card.w(EICS, 1 << 2 | LSC);
    assert_eq!(card.r(EICR), 1 << 2 | LSC);
    assert_eq!(card.r(EICR), 1 << 2);
}

#[test]
fn one_vector_without_msix() {
    let mut card = Card::up();
    let mut vectors: Vec<_> = card.function.enable_interrupts(2).unwrap().into_iter().collect();
    card.w(EIMS, 1 << 7 | LSC);
    card.w(0x900, 0x80 | 7);
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    card.settle();
    fired(&mut vectors);
    receive_one(&card);
    assert_eq!(fired(&mut vectors), [1, 0]);
    assert_eq!(card.r(EICR) & 0xFFFF, 1 << 7);
}

#[test]
fn masked_table_entries_keep_their_message() {
    let (mut card, _ring, _buffers, mut vectors) = with_vectors();
    // SAFETY: interrupt messages go to no memory.
    let table = unsafe { card.function.open_bar(4) }.unwrap();
    assert_eq!(table.len_bytes(), 16 * 1024);
    card.w(EIMS, 1 << 3);
    table.write32(3 * 16 + 12, 1);
    receive_one(&card);
    assert_eq!((fired(&mut vectors), table.read32(0x2000)), (vec![0; 5], 1 << 3), "pending");
    table.write32(3 * 16 + 12, 0);
    assert_eq!((fired(&mut vectors)[3], table.read32(0x2000)), (1, 0));
    // The function mask of the Message Control register does the same for all.
    card.config_write(0x72, 2, 0xC000);
    card.w(EICS, 1 << 3);
    card.settle();
    assert_eq!((fired(&mut vectors)[3], table.read64(0x2000)), (0, 1 << 3));
    card.config_write(0x72, 2, 0x8000);
    assert_eq!(fired(&mut vectors)[3], 1);
    assert_eq!(table.read32(3 * 16 + 12), 0);
    card.config_write(0xA8, 2, 1 << 15);
    card.config_write(4, 2, 6);
    assert_eq!(table.read32(3 * 16 + 12), 1, "a function-level reset masks all");
}

#[test]
fn vectors_are_given_out_once() {
    let mut card = Card::new();
    let vectors = card.function.enable_interrupts(2).unwrap();
    assert!(card.function.enable_interrupts(1).is_err());
    card.w(GPIE, 1 << 4);
    card.w(EIMS, 1);
    card.w(EICS, 1);
    card.settle();
    drop(vectors);
    let mut vectors: Vec<_> = card.function.enable_interrupts(2).unwrap().into_iter().collect();
    assert_eq!(fired(&mut vectors), [0, 0], "what fired before is stale");
    drop(vectors);
    assert!(card.function.enable_interrupts(65).is_err());
    assert_eq!(card.function.enable_interrupts(64).unwrap().left(), 64);
}

#[test]
fn transmit_reports_interrupt() {
    let (card, _ring, _buffers, mut vectors) = with_vectors();
    card.w(0x900, (0x80 | 4) << 8);
    card.w(EIMS, 0xFFFF);
    let ring = card.transmit_queue(0, 64);
    let buffer = card.function.dma().allocate(60).unwrap();
    card.fill(&buffer, 0, &frame(MAC, 60));
    for (i, rs) in [false, true].into_iter().enumerate() {
        card.put(&ring, i as u32, [buffer.iova().0, data_word(60, 60, true, rs)]);
        card.tail(&ring, i as u32 + 1);
        card.settle();
        assert_eq!(fired(&mut vectors)[4], u64::from(rs));
    }
    card.expect_violations(&[]);
}

#[test]
fn link_changes() {
    let (card, _ring, _buffers, mut vectors) = with_vectors();
    card.w(EIMS, LSC);
    let up = |value: u32| value & 1 << 30 != 0;
    let latched = |value: u32| value & 1 << 7 != 0;
    let first = card.r(0x42A4);
    assert_eq!((up(first), latched(first), first >> 28 & 3), (true, true, 3));
    card.device.set_carrier(false);
    card.settle();
    assert_eq!((fired(&mut vectors)[1], card.r(EICR) & LSC, card.r(0x8) & 0x80), (1, LSC, 0));
    assert!(!up(card.r(0x42A4)));
    card.device.set_carrier(true);
    card.device.advance_us(1);
    assert!(!up(card.r(0x42A4)), "training takes time");
    card.device.advance_us(1000);
    card.device.step();
    assert_eq!(fired(&mut vectors)[1], 1);
    let values = [card.r(0x42A4), card.r(0x42A4)];
    assert_eq!(values.map(|value| (up(value), latched(value))), [(true, false), (true, true)], "bit 7 remembers that it was down");
    for on in [false, true] {
        card.device.set_carrier(on);
        card.device.advance_us(1000);
        card.device.advance_us(1000);
    }
    let value = card.r(0x42A4);
    assert_eq!((up(value), latched(value)), (true, false), "even where nobody looked meanwhile");
    card.w(0x42A8, card.r(0x42A8) | 1 << 30);
    card.settle();
    assert!(!up(card.r(0x42A4)), "AUTOC2 forces it down");
    card.expect_violations(&[]);
}

#[test]
fn statistics_clear_on_read() {
    let card = Card::up();
    // Receive queue 2 counts in set 5.
    card.w(0x2300, 5 << 16);
    card.w(0x5080, 1 << 10 | 1 << 8);
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    for (to, len) in [(MAC, 60), (MAC, 1514), ([0xff; 6], 100), ([1, 0, 0x5e, 0, 0, 1], 300), ([2, 9, 9, 9, 9, 9], 600)] {
        card.arrive(&frame(to, len));
    }
    card.settle();
    let octets = |low: u32| u64::from(card.r(low)) | u64::from(card.r(low + 4)) << 32;
    let names = [("TPR", 0x40D0, 5), ("GPRC", 0x4074, 4), ("BPRC", 0x4078, 1), ("MPRC", 0x407C, 1), ("RXNFGPC", 0x41B0, 5), ("QPRC", 0x1030, 4)];
    let sizes = [0x405C, 0x4060, 0x4064, 0x4068, 0x406C, 0x4070];
    for round in 0..2u32 {
        for (name, offset, count) in names {
            assert_eq!(card.r(offset), count * (1 - round), "{name}");
        }
        assert_eq!(sizes.map(|offset| card.r(offset)), [1, 1, 0, 1, 1, 1].map(|count| count * (1 - round)));
        assert_eq!(octets(0x4088), u64::from(1 - round) * (60 + 1514 + 100 + 300 + 4 * 4), "GORC, with check sequences");
        assert_eq!(octets(0x40C0), u64::from(1 - round) * (60 + 1514 + 100 + 300 + 600 + 5 * 4), "TOR");
        assert_eq!(octets(0x1034), u64::from(1 - round) * (60 + 1514 + 100 + 300), "QBRC");
    }
    // What arrives between the two halves is not lost.
    card.arrive(&frame(MAC, 60));
    card.settle();
    assert_eq!(card.r(0x4088), 64);
    card.arrive(&frame(MAC, 96));
    card.settle();
    assert_eq!(card.r(0x408C), 0);
    assert_eq!(octets(0x4088), 100);
    card.expect_violations(&[]);
}

#[test]
fn statistics_of_transmit() {
    let card = Card::up();
    card.w(0x8600, 7 << 8);
    let ring = card.transmit_queue(1, 64);
    let buffer = card.function.dma().allocate(2000).unwrap();
    for (i, (to, len)) in [(MAC, 50), ([0xff; 6], 200), ([1, 0, 0x5e, 0, 0, 1], 1000)].into_iter().enumerate() {
        card.fill(&buffer, 0, &frame(to, len));
        card.put(&ring, i as u32, [buffer.iova().0, data_word(len, len, true, true)]);
        card.tail(&ring, i as u32 + 1);
        card.settle();
    }
    for (name, offset, count) in [("TPT", 0x40D4, 3), ("GPTC", 0x4080, 3), ("MPTC", 0x40F0, 1), ("BPTC", 0x40F4, 1), ("QPTC[7]", 0x61F0, 3)] {
        assert_eq!([card.r(offset), card.r(offset)], [count, 0], "{name}");
    }
    assert_eq!([0x40D8, 0x40DC, 0x40E0, 0x40E4, 0x40E8, 0x40EC].map(|offset| card.r(offset)), [1, 0, 1, 0, 1, 0]);
    assert_eq!((card.r(0x4090), card.r(0x4094)), (60 + 200 + 1000 + 3 * 4, 0), "GOTC counts what was padded");
    assert_eq!((card.r(0x8738), card.r(0x873C)), (60 + 200 + 1000, 0), "QBTC[7]");
    card.expect_violations(&[]);
}

/// The key of Microsoft's verification suite, as RSSRK takes it.
const KEY: [u32; 10] =
    [0xda56_5a6d, 0xc20e_5b25, 0x3d25_6741, 0xb08f_a343, 0xcb2b_cad0, 0xb430_7bae, 0xa32d_cb77, 0x0cf2_3080, 0x3bb7_426a, 0xfa01_acbe];

/// UDP from 66.9.149.187:2794 to 161.142.100.80:1766, whose hashes the suite gives.
fn flow() -> Vec<u8> {
    let mut bytes = frame(MAC, 14);
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 66, 9, 149, 187, 161, 142, 100, 80]);
    bytes.extend([2794u16.to_be_bytes(), 1766u16.to_be_bytes(), 26u16.to_be_bytes(), [0, 0]].concat());
    bytes.resize(60, 0);
    bytes
}

#[test]
fn receive_side_scaling() {
    for (device, reta) in [(0x10FB, 0x7F), (0x1563, 0x1FF)] {
        let card = Card::with(IxgbeOptions::new().device(device));
        card.device.advance_us(100);
        card.device.advance_us(1000);
        card.device.step();
        let queues: Vec<_> = (0..3).map(|queue| card.receive_queue(queue, 64, 2)).collect();
        for (i, word) in KEY.into_iter().enumerate() {
            card.w(0x5C80 + 4 * i as u32, word);
        }
        card.clear_table(0x5C00, 32);
        if device == 0x1563 {
            card.clear_table(0xEE80, 96);
        }
        // With ports the hash is 0x51ccc178, with addresses alone 0x323e8fc2.
        for (hash, queue) in [(0x51cc_c178u32, 1u32), (0x323e_8fc2, 2)] {
            let entry = hash & reta;
            let base = if entry < 128 { 0x5C00 } else { 0xEE80 - 128 };
            card.w(base + (entry & !3), queue << (8 * (entry & 3)));
        }
        // What is not hashed goes to queue 0, whatever the table's first entry says.
        card.w(0x5C00, 2);
        card.enable_receive();
        queues.iter().for_each(|(ring, _)| card.tail(ring, 63));
        // RSS on, fields IPv4 and UDP over IPv4; then IPv4 alone; then the hash not reported.
        for (control, checksum, queue, rss_type, hash) in [
            (1 | 1 << 17 | 1 << 22, 1 << 13, 1usize, 7u64, 0x51cc_c178u64),
            (1 | 1 << 17, 1 << 13, 2, 2, 0x323e_8fc2),
            (1 | 1 << 17 | 1 << 22, 0, 1, 7, 0),
            (1 | 1 << 16, 1 << 13, 0, 0, 0),
        ] {
            card.w(0x5818, control);
            card.w(0x5000, checksum);
            let ring = &queues[queue].0;
            let head = card.r(ring.block + 0x10);
            card.arrive(&flow());
            card.settle();
            assert_eq!(card.r(ring.block + 0x10), head + 1, "queue {queue}");
            let [lower, upper] = card.get(ring, head);
            assert_eq!((lower & 0xF, lower >> 32), (rss_type, hash));
            assert_eq!(lower >> 4 & 0x1FFF, 0b10_0001, "IPv4, UDP");
            assert_eq!(upper & 0x460, 0x40, "the IPv4 checksum was looked at, and there is no UDP checksum");
            assert_eq!(upper >> 31 & 1, 1, "it is wrong");
        }
        card.expect_violations(&[]);
    }
}

#[test]
fn eics_shows_the_causes_without_clearing_them() {
    let card = Card::up();
    card.w(0x808, 1 << 20);
    assert_eq!(card.r(0x808) & 1 << 20, 1 << 20);
    assert_eq!(card.r(0x808) & 1 << 20, 1 << 20, "a read clears nothing");
    card.w(0x800, 1 << 20);
    assert_eq!(card.r(0x808) & 1 << 20, 0, "a write to EICR does");
}
