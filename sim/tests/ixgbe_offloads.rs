//! Checksums and segmentation by context descriptors. The expectations are computed here, from the RFCs, not by the model.

use crate::common::{Card, MAC, TestRing, data_word};
use driver_core::host::{DmaRegion, PciFunction};

const IXSM: u64 = 1 << 40;
const TXSM: u64 = 1 << 41;
const TSE: u64 = 1 << 31;
const VLE: u64 = 1 << 30;
const UDP: u64 = 0;
const TCP: u64 = 1 << 11;
const SCTP: u64 = 2 << 11;
const V4: u64 = 1 << 10;

fn ones_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.concat().chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

/// What a context descriptor says: 14 bytes of Ethernet, `ip` bytes of IP, `l4` bytes of transport header.
fn context(ip: u64, l4: u64, mss: u64, kind: u64) -> [u64; 2] {
    [14 << 9 | ip, kind | 1 << 29 | 2 << 20 | l4 << 40 | mss << 48]
}

fn pseudo(frame: &[u8], protocol: u8, len: u16) -> Vec<u8> {
    let addresses = if frame[14] >> 4 == 4 { &frame[26..34] } else { &frame[22..54] };
    [addresses, &[0, protocol], &len.to_be_bytes()].concat()
}

fn ipv4(protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 9, 8, 0]].concat();
    frame.extend([0x45, 0, 0, 0, 0x12, 0xFF, 0x40, 0, 64, protocol, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1]);
    let total = (20 + l4.len()) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(l4);
    frame
}

fn ipv6(protocol: u8, l4: &[u8]) -> Vec<u8> {
    let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 9, 0x86, 0xDD, 0x60, 0, 0, 0]].concat();
    frame.extend((l4.len() as u16).to_be_bytes());
    frame.extend([protocol, 64]);
    frame.extend((0..32).map(|i| i * 5 + 1));
    frame.extend_from_slice(l4);
    frame
}

fn tcp(flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = vec![0x12, 0x34, 0, 80, 0xFF, 0xFF, 0xFF, 0x00, 0, 0, 0, 7, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
    segment.extend((0..payload).map(|i| (i * 13 + i / 256) as u8));
    segment
}

struct Bench {
    card: Card,
    ring: TestRing,
    next: u32,
    _memory: Vec<DmaRegion>,
}

impl Bench {
    fn new() -> Self {
        let card = Card::up();
        let ring = card.transmit_queue(0, 64);
        Self { card, ring, next: 0, _memory: Vec::new() }
    }

    /// A context and a packet of one descriptor. Returns the frames on the wire.
    fn send(&mut self, context: [u64; 2], packet: &[u8], payload: usize, offloads: u64) -> Vec<Vec<u8>> {
        let memory = self.card.function.dma().allocate(packet.len()).unwrap();
        self.card.fill(&memory, 0, packet);
        self.card.put(&self.ring, self.next, context);
        self.card.put(&self.ring, self.next + 1, [memory.iova().0, data_word(packet.len(), payload, true, true) | offloads]);
        self._memory.push(memory);
        self.next += 2;
        self.card.tail(&self.ring, self.next);
        self.card.settle();
        self.card.sent()
    }
}

#[test]
fn inserts_checksums() {
    let mut bench = Bench::new();
    for (is_v4, protocol, kind, at, header) in [(true, 6, TCP, 16, 20), (true, 17, UDP, 6, 8), (false, 6, TCP, 16, 20), (false, 17, UDP, 6, 8)] {
        let mut l4 = tcp(0x18, 101);
        l4[4..6].copy_from_slice(&121u16.to_be_bytes());
        let len = l4.len() as u16;
        let mut packet = if is_v4 { ipv4(protocol, &l4) } else { ipv6(protocol, &l4) };
        let start = packet.len() - l4.len();
        let seed = ones_sum(&[&pseudo(&packet, protocol, len)]);
        packet[start + at..start + at + 2].copy_from_slice(&seed.to_be_bytes());
        let asks = TXSM | if is_v4 { IXSM } else { 0 };
        let ip = (start - 14) as u64;
        let sent = bench.send(context(ip, header, 0, kind | if is_v4 { V4 } else { 0 }), &packet, packet.len(), asks);
        bench.card.expect_violations(&[]);
        let frame = &sent[0];
        assert_eq!(ones_sum(&[&pseudo(frame, protocol, len), &frame[start..]]), 0xFFFF, "transport {protocol}, IPv4 {is_v4}");
        assert!(!is_v4 || ones_sum(&[&frame[14..34]]) == 0xFFFF, "IPv4 header");
        packet[start + at..start + at + 2].copy_from_slice(&frame[start + at..start + at + 2]);
        packet[24..26].copy_from_slice(&frame[24..26]);
        assert_eq!(*frame, packet, "nothing else changes");
    }
}

#[test]
fn inserts_the_crc_of_sctp() {
    let mut bench = Bench::new();
    // 'SCTP' header of zeros before 20 zeros: the CRC-32C of 32 zeros is 8a9136aa (RFC 3720, B.4).
    let packet = ipv4(132, &[0; 32]);
    let sent = bench.send(context(20, 12, 0, SCTP | V4), &packet, packet.len(), TXSM);
    assert_eq!(sent[0][34 + 8..34 + 12], [0xaa, 0x36, 0x91, 0x8a]);
    bench.card.expect_violations(&[]);
}

#[test]
fn cuts_tcp_into_segments() {
    for is_v4 in [true, false] {
        let mut bench = Bench::new();
        // CWR, ACK, PSH, and FIN.
        let l4 = tcp(0x80 | 0x19, 2500);
        let mut packet = if is_v4 { ipv4(6, &l4) } else { ipv6(6, &l4) };
        let start = packet.len() - l4.len();
        let seed = ones_sum(&[&pseudo(&packet, 6, 0)]);
        packet[start + 16..start + 18].copy_from_slice(&seed.to_be_bytes());
        let asks = TSE | TXSM | if is_v4 { IXSM } else { 0 };
        let kind = TCP | if is_v4 { V4 } else { 0 };
        let sent = bench.send(context((start - 14) as u64, 20, 1000, kind), &packet, 2500, asks);
        bench.card.expect_violations(&[]);
        let flags: Vec<_> = sent.iter().map(|frame| frame[start + 13]).collect();
        assert_eq!(flags, [0x90, 0x10, 0x19], "CWR on the first, FIN and PSH on the last");
        let mut payload = Vec::new();
        for (i, frame) in sent.iter().enumerate() {
            let l4_len = (frame.len() - start) as u16;
            assert_eq!(ones_sum(&[&pseudo(frame, 6, l4_len), &frame[start..]]), 0xFFFF, "segment {i}");
            let sequence = u32::from_be_bytes(frame[start + 4..start + 8].try_into().unwrap());
            assert_eq!(sequence, 0xFFFF_FF00u32.wrapping_add(1000 * i as u32));
            if is_v4 {
                assert_eq!(ones_sum(&[&frame[14..34]]), 0xFFFF);
                assert_eq!(frame[16..18], (20 + l4_len).to_be_bytes());
                assert_eq!(frame[18..20], (0x12FF + i as u16).to_be_bytes(), "identification");
            } else {
                assert_eq!(frame[18..20], l4_len.to_be_bytes());
            }
            payload.extend_from_slice(&frame[start + 20..]);
        }
        assert_eq!(payload, l4[20..]);
        assert_eq!(bench.card.r(0x4080), 3, "GPTC counts segments");
    }
}

#[test]
fn cuts_udp_into_datagrams() {
    let mut bench = Bench::new();
    let mut l4 = vec![0x12, 0x34, 0, 7, 0, 0, 0, 0];
    l4.extend(0..=255);
    let mut packet = ipv4(17, &l4);
    let seed = ones_sum(&[&pseudo(&packet, 17, 0)]);
    packet[40..42].copy_from_slice(&seed.to_be_bytes());
    let sent = bench.send(context(20, 8, 100, UDP | V4), &packet, 256, TSE | TXSM | IXSM);
    bench.card.expect_violations(&[]);
    let lengths: Vec<_> = sent.iter().map(|frame| u16::from_be_bytes([frame[38], frame[39]])).collect();
    assert_eq!(lengths, [108, 108, 64]);
    for (frame, len) in sent.iter().zip(lengths) {
        assert_eq!(ones_sum(&[&pseudo(frame, 17, len), &frame[34..]]), 0xFFFF);
    }
}

#[test]
fn a_busy_wire_resumes_between_segments() {
    let mut bench = Bench::new();
    let packet = ipv4(6, &tcp(0x10, 3000));
    bench.card.ends.lock().unwrap().busy = true;
    assert!(bench.send(context(20, 20, 1000, TCP | V4), &packet, 3000, TSE | TXSM | IXSM).is_empty());
    assert_eq!(bench.card.r(0x6010), 1, "the context is done, the packet is not");
    bench.card.ends.lock().unwrap().busy = false;
    bench.card.settle();
    assert_eq!(bench.card.sent().len(), 3);
    assert_eq!(bench.card.r(0x6010), 2);
}

#[test]
fn what_cannot_be_done() {
    let packet = ipv4(6, &tcp(0x10, 450));
    let cases = [
        (context(20, 20, 0, TCP | V4), 450, TSE | TXSM | IXSM, "segmentation was asked for with MSS 0"),
        (context(20, 20, 100, SCTP | V4), 450, TSE | TXSM | IXSM, "segmentation was asked for of neither TCP nor UDP"),
        (context(20, 19, 100, TCP | V4), 450, TSE | TXSM | IXSM, "segmentation was asked for with headers too short"),
        (context(20, 20, 100, TCP | V4), 450, TSE, "segmentation was asked for without its checksums"),
        (context(20, 20, 100, TCP | V4), 490, TSE | TXSM | IXSM, "PAYLEN is not the length of the packet"),
        (context(20, 20, 0, TCP), 504, IXSM, "an IPv4 checksum was asked for without an IPv4 header"),
        (context(20, 20, 0, 3 << 11 | V4), 504, TXSM, "a context's L4T is reserved"),
        (context(511, 20, 0, TCP | V4), 504, TXSM, "a packet is too short for the header whose checksum was asked for"),
    ];
    for (context, payload, asks, what) in cases {
        let mut bench = Bench::new();
        bench.send(context, &packet, payload, asks);
        bench.card.expect_violations(&[what]);
    }
}

#[test]
fn a_context_that_says_too_little() {
    let packet = ipv4(6, &tcp(0x10, 450));
    let short = |mac: u64, ip: u64| [mac << 9 | ip, TCP | V4 | 1 << 29 | 2 << 20];
    let cases = [
        (short(13, 21), TXSM, "a context's MACLEN is shorter than an Ethernet header"),
        (short(0, 0), VLE, "a context's MACLEN is shorter than an Ethernet header"),
        (short(14, 19), TXSM, "a context's IPLEN is shorter than an IP header"),
        // The other of the queue's two, which nobody has given.
        (context(20, 20, 0, TCP | V4), TXSM | 1 << 36, "a packet asks for what no context describes"),
        (context(20, 20, 0, TCP | V4), VLE | 1 << 36, "a packet asks for what no context describes"),
    ];
    for (context, asks, what) in cases {
        let mut bench = Bench::new();
        bench.send(context, &packet, packet.len(), asks);
        bench.card.expect_violations(&[what]);
    }
    // For a tag alone the network header is no matter.
    let mut bench = Bench::new();
    bench.send(short(14, 0), &packet, packet.len(), VLE);
    bench.card.expect_violations(&[]);
}

#[test]
fn a_hang_lasts_until_the_reset() {
    let mut bench = Bench::new();
    bench.card.faults(|faults| faults.hang_tx_after = Some(1));
    let packet = ipv4(6, &tcp(0x10, 500));
    assert_eq!(bench.send(context(20, 20, 0, TCP | V4), &packet, 554, TXSM).len(), 1);
    assert!(bench.send(context(20, 20, 0, TCP | V4), &packet, 554, TXSM).is_empty(), "it hangs");
    bench.card.w(0, 1 << 26);
    bench.card.device.advance_us(1000);
    bench.card.device.advance_us(1000);
    bench.card.device.step();
    bench.ring = bench.card.transmit_queue(0, 64);
    bench.next = 0;
    assert_eq!(bench.send(context(20, 20, 0, TCP | V4), &packet, 554, TXSM).len(), 1);
    bench.card.expect_violations(&[]);
}

#[test]
fn a_descriptor_of_a_segmented_packet_holds_16_kib() {
    let mut bench = Bench::new();
    let at_most = tcp(0x10, 16 * 1024 - 54);
    let sent = bench.send(context(20, 20, 1000, TCP | V4), &ipv4(6, &at_most), at_most.len() - 20, TSE | TXSM | IXSM);
    assert_eq!(sent.len(), 17);
    bench.card.expect_violations(&[]);
    let more = tcp(0x10, 16 * 1024 - 53);
    bench.send(context(20, 20, 1000, TCP | V4), &ipv4(6, &more), more.len() - 20, TSE | TXSM | IXSM);
    bench.card.expect_violations(&["a descriptor's buffer is longer than 15.5 KiB, or 16 KiB where it is segmented"]);
}
