//! Receiving, by raw register access.

use crate::common::{Card, DD, EOP, MAC, frame};
use driver_core::host::PciFunction;

const FCTRL: u32 = 0x5080;

#[test]
fn one_frame() {
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    let sent = frame(MAC, 60);
    card.arrive(&sent);
    card.settle();
    let [_, upper] = card.get(&ring, 0);
    assert_eq!(upper & 3, DD | EOP);
    assert_eq!(upper >> 32 & 0xFFFF, 60);
    assert_eq!(card.bytes(buffers.iova(), 60), sent);
    assert_eq!(card.r(0x1010), 1, "RDH");
    card.expect_violations(&[]);
}

#[test]
fn a_frame_over_several_descriptors() {
    let card = Card::up();
    card.w(0x4268, 9018 << 16);
    card.w(0x4240, card.r(0x4240) | 4);
    let (ring, buffers) = card.receive_queue(0, 8, 1);
    card.enable_receive();
    card.tail(&ring, 7);
    let sent = frame(MAC, 2500);
    card.arrive(&sent);
    card.settle();
    let uppers = [0, 1, 2].map(|i| card.get(&ring, i)[1]);
    assert_eq!(uppers.map(|upper| upper & 3), [DD, DD, DD | EOP]);
    assert_eq!(uppers.map(|upper| upper >> 32 & 0xFFFF), [1024, 1024, 452]);
    assert_eq!(card.bytes(buffers.iova(), 2500), sent);
    assert_eq!(card.get(&ring, 3)[1], 0);
    // The third one lies around the end of the ring.
    card.arrive(&sent);
    card.settle();
    for i in 0..5 {
        card.put(&ring, i, [buffers.iova().0 + u64::from(i) * 1024, 0]);
    }
    card.tail(&ring, 5);
    card.arrive(&sent);
    card.settle();
    assert_eq!([6, 7, 0].map(|i| card.get(&ring, i)[1] & 3), [DD, DD, DD | EOP]);
    assert_eq!(card.bytes(buffers.iova(), 452), sent[2048..]);
    card.expect_violations(&[]);
}

/// A queue as a reset leaves it: SRRCTL.DESCTYPE 0, buffers of 2 KiB (7.1.5).
#[test]
fn legacy_descriptors() {
    let card = Card::up();
    card.w(0x4268, 9018 << 16);
    card.w(0x4240, card.r(0x4240) | 4);
    card.w(FCTRL, 1 << 9);
    let ring = card.ring(0x1000, 8);
    // RXDCTL.ENABLE and VME.
    card.w(0x1028, 1 << 25 | 1 << 30);
    card.device.step();
    assert_eq!((card.r(0x1014), card.r(0x1028) >> 25 & 1), (0x402, 1));
    let buffers = card.function.dma().allocate(8 * 2048).unwrap();
    let buffer = |i: u64| buffers.iova().0 + i * 2048;
    (0..8).for_each(|i| card.put(&ring, i, [buffer(i.into()), 0]));
    card.enable_receive();
    card.tail(&ring, 7);
    let short = frame(MAC, 60);
    let mut tagged = frame([2, 0, 0, 0, 0, 9], 100);
    tagged.splice(12..12, [0x81, 0x00, 0x60, 0x07]);
    let long = frame(MAC, 2500);
    [&short, &tagged, &long].into_iter().for_each(|frame| card.arrive(frame));
    card.settle();
    let words = |len: u64, status: u64, tag: u64| len | status << 32 | tag << 48;
    // DD and EOP; VP and, for an address that is not the card's own, PIF.
    assert_eq!(card.get(&ring, 0), [buffer(0), words(60, 3, 0)]);
    assert_eq!(card.get(&ring, 1), [buffer(1), words(100, 0x8B, 0x6007)]);
    assert_eq!(card.get(&ring, 2), [buffer(2), words(2048, 1, 0)]);
    assert_eq!(card.get(&ring, 3), [buffer(3), words(452, 3, 0)]);
    assert_eq!(card.bytes(buffers.iova(), 60), short);
    assert_eq!(card.bytes(buffers.iova().offset(2 * 2048), 2500), long);
    card.expect_violations(&[]);
}

/// An IPv4 packet without options between 10.0.0.1 and 10.0.0.2.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ip[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let checksum = !((sum & 0xFFFF) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&MAC[..], &[2, 0, 0, 0, 0, 1, 8, 0], &ip, payload].concat()
}

/// The CRC-32C of 32 zeros is 8a9136aa (RFC 3720, B.4): an SCTP packet of zeros but for its checksum, in the order of RFC 9260.
#[test]
fn the_crc_of_sctp_is_checked() {
    const XEC: u32 = 0x4120;
    let mut sctp = [0; 32];
    sctp[8..12].copy_from_slice(&[0xAA, 0x36, 0x91, 0x8A]);
    let right = ipv4(132, &sctp);
    let mut wrong = right.clone();
    wrong[14 + 20 + 31] ^= 1;
    let mut wrong_header = right.clone();
    wrong_header[14 + 8] ^= 1;
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 8, 2);
    card.enable_receive();
    card.tail(&ring, 7);
    [&right, &wrong, &wrong_header].into_iter().for_each(|frame| card.arrive(frame));
    card.settle();
    let errors = |i: u32| card.get(&ring, i)[1] >> 30 & 3;
    let checked = |i: u32| card.get(&ring, i)[1] >> 5 & 3;
    assert_eq!([0, 1, 2].map(checked), [3; 3], "L4I and IPCS");
    assert_eq!([0, 1, 2].map(errors), [0, 1, 2], "L4E, IPE");
    assert_eq!([card.r(XEC), card.r(XEC)], [2, 0], "XEC, which a read clears");
    // The same in a legacy descriptor: L4CS and IPCS in the status, TCPE and IPE in the errors.
    card.w(0x1028, 0);
    card.device.step();
    card.w(0x1014, 2);
    (0x1010..=0x1018).step_by(8).for_each(|at| card.w(at, 0));
    (0..8).for_each(|i| card.put(&ring, i, [buffers.iova().0 + u64::from(i) * 2048, 0]));
    card.enable(&ring);
    card.tail(&ring, 7);
    [&right, &wrong, &wrong_header].into_iter().for_each(|frame| card.arrive(frame));
    card.settle();
    assert_eq!([0, 1, 2].map(|i| card.get(&ring, i)[1] >> 32 & 0xFFFF), [0x63, 0x4063, 0x8063]);
    card.expect_violations(&[]);
}

#[test]
fn the_ring_wraps_and_recycles() {
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 8, 2);
    card.enable_receive();
    card.tail(&ring, 7);
    for i in 0..100u32 {
        let mut sent = frame(MAC, 100);
        sent[20..24].copy_from_slice(&i.to_le_bytes());
        card.arrive(&sent);
        card.settle();
        let slot = i % 8;
        assert_eq!(card.get(&ring, slot)[1] & 3, DD | EOP, "frame {i}");
        let buffer = buffers.iova().offset(u64::from(slot) * 2048);
        assert_eq!(card.bytes(buffer, 100), sent);
        card.put(&ring, slot, [buffer.0, 0]);
        card.tail(&ring, slot);
    }
    // The card owns 7 descriptors from 4 on, around the end.
    for _ in 0..8 {
        card.arrive(&frame(MAC, 60));
    }
    card.settle();
    assert_eq!((card.r(0x1010), card.r(0x1018)), (3, 3));
    card.expect_violations(&[]);
}

#[test]
fn want_of_descriptors() {
    let card = Card::up();
    // A packet buffer of 1 KiB holds 8 frames of 64 bytes with the 64 that the model adds to each.
    card.w(0x3C00, 1 << 10);
    let (ring, _buffers) = card.receive_queue(0, 8, 2);
    card.enable_receive();
    card.tail(&ring, 2);
    for _ in 0..20 {
        card.arrive(&frame(MAC, 64));
    }
    card.settle();
    assert_eq!(card.r(0x3FA0), 20 - 2 - 8, "RXMPC[0]");
    assert_eq!(card.r(0x3FA0), 0, "a read clears it");
    card.tail(&ring, 7);
    card.settle();
    assert_eq!(card.r(0x1010), 7, "what was held went on as soon as there were descriptors");
    card.expect_violations(&[]);
}

#[test]
fn drop_enable_counts_at_the_queue() {
    let card = Card::up();
    let (ring, _buffers) = card.receive_queue(0, 8, 2);
    card.w(0x1028, 0);
    card.device.step();
    card.w(0x1014, 1 << 28 | 1 << 25 | 2);
    card.enable(&ring);
    card.enable_receive();
    card.tail(&ring, 2);
    for _ in 0..5 {
        card.arrive(&frame(MAC, 60));
    }
    card.settle();
    assert_eq!((card.r(0x1430), card.r(0x1030), card.r(0x3FA0)), (3, 2, 0), "QPRDC, QPRC, RXMPC");
    card.expect_violations(&[]);
}

#[test]
fn a_lossless_wire_waits() {
    let card = Card::up();
    card.ends.lock().unwrap().lossless = true;
    card.w(0x3C00, 0);
    let (ring, _buffers) = card.receive_queue(0, 8, 2);
    for _ in 0..5 {
        card.arrive(&frame(MAC, 60));
    }
    card.settle();
    card.enable_receive();
    card.tail(&ring, 2);
    card.settle();
    assert_eq!(card.r(0x1010), 2);
    assert_eq!(card.r(0x3FA0), 0);
    card.tail(&ring, 7);
    card.settle();
    assert_eq!(card.r(0x1010), 5);
    card.expect_violations(&[]);
}

#[test]
fn filters() {
    let card = Card::up();
    card.clear_table(0x5200, 128);
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    let passes = |to: [u8; 6]| {
        let head = card.r(0x1010);
        card.arrive(&frame(to, 60));
        card.settle();
        let passed = card.r(0x1010) != head;
        (passed, passed && card.get(&ring, head)[1] & 0x80 != 0)
    };
    let (other, broadcast, multicast) = ([2, 9, 9, 9, 9, 9], [0xff; 6], [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
    assert_eq!([MAC, other, broadcast, multicast].map(|to| passes(to).0), [true, false, false, false]);
    card.w(FCTRL, 1 << 10);
    assert_eq!([MAC, other, broadcast, multicast].map(|to| passes(to).0), [true, false, true, false]);
    card.w(FCTRL, 1 << 9);
    assert_eq!(passes(other), (true, true), "UPE passes it, inexactly");
    card.w(FCTRL, 1 << 8);
    assert_eq!([other, multicast].map(|to| passes(to).0), [false, true]);
    card.w(FCTRL, 0);
    // RAH[5] and RAL[5] at their old offsets, and the table at each of its four positions.
    card.w(0x5428, u32::from_le_bytes([2, 9, 9, 9]));
    assert!(!passes(other).0, "without RAH.AV an address is not used");
    card.w(0x542C, 1 << 31 | 0x0909);
    assert_eq!(passes(other), (true, false));
    assert_eq!(card.r(0xA22C), 1 << 31 | 0x0909, "both offsets are one register");
    for (offset, vector) in [0x030u32, 0x060, 0x0c0, 0x302].into_iter().enumerate() {
        card.w(0x5200 + 4 * (vector / 32), 1 << (vector % 32));
        card.w(0x5090, offset as u32);
        assert!(!passes(multicast).0, "without MCSTCTRL.MFE the table is not used");
        card.w(0x5090, 4 | offset as u32);
        assert_eq!(passes(multicast), (true, true), "offset {offset}");
        card.w(0x5200 + 4 * (vector / 32), 0);
        assert!(!passes(multicast).0);
    }
    card.expect_violations(&[]);
}

/// No reset fills the tables (8.2.3.7): what lets the receiver read one before it was written whole is told, whichever of the two comes first.
#[test]
fn a_table_is_to_be_written_before_it_is_read() {
    let tables = [("MCSTCTRL.MFE", 0x5090, 4, 0x5200, 128), ("VLNCTRL.VFE", 0x5088, 1 << 30, 0xA000, 128), ("MRQC", 0x5818, 1, 0x5C00, 32)];
    for (what, switch, on, first, count) in tables {
        let card = Card::up();
        card.clear_table(0x5C80, 10);
        card.clear_table(first, count - 1);
        card.w(switch, on);
        card.expect_violations(&[]);
        card.enable_receive();
        let taken = card.device.take_violations();
        assert!(matches!(&taken[..], [one] if one.what.starts_with(what) && one.location.ends_with(&format!("[{}]", count - 1))), "{taken:?}");
        card.w(first + 4 * (count - 1), 0);
        card.w(switch, 0);
        card.w(switch, on);
        card.expect_violations(&[]);
        // What was written before a reset does not count.
        card.w(0, 1 << 26);
        card.device.advance_us(1000);
        card.enable_receive();
        card.w(switch, on);
        assert!(!card.device.take_violations().is_empty(), "{what}");
    }
}

#[test]
fn too_long_and_too_short() {
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    card.arrive(&frame(MAC, 1515));
    card.arrive(&frame(MAC, 1514));
    card.arrive(&frame(MAC, 20));
    card.settle();
    assert_eq!(card.r(0x40AC), 1, "ROC");
    assert_eq!(card.get(&ring, 0)[1] >> 32 & 0xFFFF, 1514);
    assert_eq!(card.get(&ring, 1)[1] >> 32 & 0xFFFF, 60);
    let padded = card.bytes(buffers.iova().offset(2048), 60);
    assert_eq!((&padded[..20], &padded[20..]), (&frame(MAC, 20)[..], &[0; 40][..]));
    card.expect_violations(&[]);
}

#[test]
fn vlan_strip_and_filter() {
    let card = Card::up();
    card.clear_table(0xA000, 128);
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    let mut tagged = frame(MAC, 100);
    tagged.splice(12..12, [0x81, 0x00, 0x60, 0x07]);
    card.arrive(&tagged);
    card.settle();
    let [_, upper] = card.get(&ring, 0);
    assert_eq!((upper & 0b1000, upper >> 48, upper >> 32 & 0xFFFF), (0b1000, 0, 104), "VP, and the tag in place");
    card.w(0x1028, 1 << 30 | 1 << 25);
    card.arrive(&tagged);
    card.settle();
    let [_, upper] = card.get(&ring, 1);
    assert_eq!((upper & 0b1000, upper >> 48, upper >> 32 & 0xFFFF), (0b1000, 0x6007, 100));
    assert_eq!(card.bytes(buffers.iova().offset(2048), 100), frame(MAC, 100));
    card.w(0x5088, 1 << 30 | 0x8100);
    card.arrive(&tagged);
    card.settle();
    assert_eq!(card.r(0x1010), 2, "VFTA has no such tag");
    card.w(0xA000, 1 << 7);
    card.arrive(&tagged);
    card.settle();
    assert_eq!(card.r(0x1010), 3);
    card.expect_violations(&[]);
}

#[test]
fn unmapped_buffers_are_caught() {
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    drop(buffers);
    card.arrive(&frame(MAC, 60));
    card.settle();
    card.expect_violations(&["DMA outside the mappings"]);
    drop(ring);
    card.arrive(&frame(MAC, 60));
    card.settle();
    card.expect_violations(&[]);
}

#[test]
fn a_ring_that_was_freed_alive_is_caught() {
    let card = Card::up();
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    drop(ring);
    card.arrive(&frame(MAC, 60));
    card.settle();
    card.expect_violations(&["DMA outside the mappings"]);
}

#[test]
fn a_buffer_at_zero_is_caught() {
    let card = Card::up();
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.put(&ring, 0, [0, 0]);
    card.tail(&ring, 63);
    card.arrive(&frame(MAC, 60));
    card.settle();
    card.expect_violations(&["a receive descriptor has no buffer", "DMA outside the mappings"]);
}

#[test]
fn kept_check_sequence() {
    let card = Card::up();
    card.w(0x4240, card.r(0x4240) & !2);
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.w(0x8D00, 2);
    card.w(0x3000, 1);
    card.w(0x8D00, 0);
    card.tail(&ring, 63);
    // The check value of CRC-32 is cbf43926 for the digits 1 to 9; over a frame with its own check sequence the residue is fixed.
    card.arrive(&frame(MAC, 60));
    card.settle();
    assert_eq!(card.get(&ring, 0)[1] >> 32 & 0xFFFF, 64);
    assert_eq!(crc(&card.bytes(buffers.iova(), 64)), 0x2144_DF1C);
    card.expect_violations(&[]);
}

/// CRC-32 bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 != 0 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

#[test]
fn frames_that_waited_go_first() {
    let card = Card::up();
    let (ring, buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    let arrive = |numbers: std::ops::Range<u8>| {
        for i in numbers {
            let mut bytes = frame(MAC, 60);
            bytes[20] = i;
            card.arrive(&bytes);
        }
    };
    // More than the card moves in one step.
    arrive(0..50);
    card.settle();
    assert_eq!(card.r(0x1010), 0);
    assert!(card.ends.lock().unwrap().to_card.is_empty());
    assert!(!card.device.wire_finished(), "frames wait inside the card");
    arrive(50..53);
    card.tail(&ring, 63);
    card.settle();
    let order: Vec<_> = (0..53).map(|i| card.bytes(buffers.iova().offset(i * 2048 + 20), 1)[0]).collect();
    assert_eq!(order, (0..53).collect::<Vec<_>>());
    assert!(card.device.wire_finished());
    card.expect_violations(&[]);
}

#[test]
fn checksums_are_reported() {
    let card = Card::up();
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    // UDP from 10.0.0.1:7 to 10.0.0.2:9 with 18 bytes of zeros. By hand: the IP header adds up to d8d1 less the checksum's complement,
    // pseudo header and UDP header to 0a00 + 0001 + 0a00 + 0002 + 0011 + 001a + 0007 + 0009 + 001a = 1458.
    let mut bytes = frame(MAC, 60);
    bytes[12..].fill(0);
    bytes[12] = 8;
    bytes[14..34].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let ip_sum: u32 = bytes[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    bytes[24..26].copy_from_slice(&(!(ip_sum as u16)).to_be_bytes());
    bytes[34..40].copy_from_slice(&[0, 7, 0, 9, 0, 26]);
    bytes[40..42].copy_from_slice(&(!0x1458u16).to_be_bytes());
    // Status bits 4 to 6 and 10, error bits 30 and 31.
    let (calculated, udp_valid, l4_error, ip_error) = (0x70, 1 << 10, 1 << 30, 1 << 31);
    let report = |at: u32, bytes: &[u8]| {
        card.arrive(bytes);
        card.settle();
        card.get(&ring, at)[1] & (calculated | udp_valid | l4_error | ip_error)
    };
    assert_eq!(report(0, &bytes), calculated | udp_valid);
    bytes[59] = 1;
    assert_eq!(report(1, &bytes), calculated | l4_error);
    bytes[18] = 1;
    assert_eq!(report(2, &bytes), calculated | l4_error | ip_error);
    // A fragment's payload is not looked at.
    bytes[20] = 0x20;
    assert_eq!(report(3, &bytes) & !ip_error, 0x40);
    assert_eq!(report(4, &frame(MAC, 60)), 0, "not IP");
    card.expect_violations(&[]);
}
