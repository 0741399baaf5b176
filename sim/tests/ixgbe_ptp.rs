//! Time stamps and their clock (7.9), by raw register access, on all three cards.

use crate::common::{Card, MAC, TestRing, data_word, frame};
use driver_core::host::{DmaRegion, PciFunction};
use sim::ixgbe::IxgbeOptions;

const SYSTIML: u32 = 0x8C0C;
const SYSTIMH: u32 = 0x8C10;
const SYSTIMR: u32 = 0x8C58;
const TIMINCA: u32 = 0x8C14;
const TIMADJL: u32 = 0x8C18;
const TIMADJH: u32 = 0x8C1C;
const TSAUXC: u32 = 0x8C20;
const TSICR: u32 = 0x8C60;
const TSIM: u32 = 0x8C68;
const TSYNCRXCTL: u32 = 0x5188;
const RXSTMPL: u32 = 0x51E8;
const RXSTMPH: u32 = 0x51A4;
const RXMTRL: u32 = 0x5120;
const TSYNCTXCTL: u32 = 0x8C00;
const TXSTMPL: u32 = 0x8C04;
const TXSTMPH: u32 = 0x8C08;
const ETQF_3: u32 = 0x5134;
const EICR: u32 = 0x800;

const I82599: u16 = 0x10FB;
const X540: u16 = 0x1528;
const X550: u16 = 0x1563;

/// Extended status: a stamp behind the frame, or in registers.
const TSIP: u64 = 1 << 15;
const TS: u64 = 1 << 16;
/// A transmit descriptor's MAC field: 1588.
const STAMPED: u64 = 1 << 19;
/// TSYNCRXCTL: enabled, and the types.
const ON: u32 = 1 << 4;
const L2_V2: u32 = 0;
const L4_V1: u32 = 1 << 1;
const L2_L4_V2: u32 = 2 << 1;
const ALL: u32 = 4 << 1;
const EVENT_V2: u32 = 5 << 1;

fn up(device: u16) -> Card {
    let card = Card::with(IxgbeOptions::new().device(device));
    for us in [100, 1000, 1] {
        card.device.advance_us(us);
    }
    // Link, as `Card::up` waits for it.
    assert_ne!(card.r(0x42A4) & 1 << 30, 0);
    card
}

/// The clock runs in units that `nanoseconds` knows.
fn started(device: u16) -> Card {
    let card = up(device);
    match device {
        I82599 => card.w(TIMINCA, 0x01CC_CCCC),
        X540 => card.w(TIMINCA, 0x6666_6666),
        _ => card.w(TSAUXC, card.r(TSAUXC) & !(1 << 31)),
    }
    card
}

/// Two registers as nanoseconds.
fn nanoseconds(device: u16, low: u32, high: u32) -> u64 {
    let whole = u64::from(high) << 32 | u64::from(low);
    match device {
        I82599 => whole >> 21,
        X540 => whole >> 28,
        _ => u64::from(high) * 1_000_000_000 + u64::from(low),
    }
}

fn time(card: &Card, device: u16) -> u64 {
    let low = card.r(SYSTIML);
    nanoseconds(device, low, card.r(SYSTIMH))
}

/// As far as an increment is rounded to whole units.
fn near(seen: u64, wanted: u64) -> bool {
    seen.abs_diff(wanted) <= 1 + wanted / 10_000_000
}

#[test]
fn the_clock_runs_by_what_it_is_given() {
    for device in [I82599, X540, X550] {
        let card = up(device);
        card.device.advance_us(10);
        assert_eq!(time(&card, device), 0, "{device:#x}: it stands after a reset");
        let card = started(device);
        let before = time(&card, device);
        card.device.advance_us(1_234_567);
        let passed = time(&card, device) - before;
        assert!(near(passed, 1_234_567_000), "{device:#x}: {passed} ns passed in 1234567 us");
        card.expect_violations(&[]);
    }
}

#[test]
fn the_clock_is_set_adjusted_and_slowed() {
    for device in [I82599, X540] {
        let card = started(device);
        card.w(SYSTIML, 0);
        card.w(SYSTIMH, 5);
        let set = time(&card, device);
        assert_eq!(set, nanoseconds(device, 0, 5));
        let second = nanoseconds(device, 0, 1);
        card.w(TIMADJL, 0);
        card.w(TIMADJH, 1);
        assert_eq!(time(&card, device), set + second);
        card.w(TIMADJL, 0);
        card.w(TIMADJH, 1 << 31 | 3);
        assert_eq!(time(&card, device), set - 2 * second);
        // A thousandth slower.
        let slower = |increment: u32| increment - increment / 1000;
        card.w(TIMINCA, if device == X540 { slower(0x6666_6666) } else { 1 << 24 | slower(0x00CC_CCCC) });
        let before = time(&card, device);
        card.device.advance_us(1000);
        let passed = time(&card, device) - before;
        assert!(near(passed, 999_000), "{device:#x}: {passed}");
        card.expect_violations(&[]);
    }
    let card = started(X550);
    for (register, value) in [(SYSTIMR, 7), (SYSTIML, 999_999_999), (SYSTIMH, 41)] {
        card.w(register, value);
    }
    assert_eq!([SYSTIMR, SYSTIML, SYSTIMH].map(|register| card.r(register)), [7, 999_999_999, 41]);
    card.device.advance_us(1);
    assert_eq!([SYSTIMR, SYSTIML, SYSTIMH].map(|register| card.r(register)), [7, 999, 42]);
    // Half a nanosecond less in each cycle of 12.5.
    card.w(TIMINCA, 1 << 31 | 0x7FFF_FFFF);
    let before = time(&card, X550);
    card.device.advance_us(1000);
    assert!(near(time(&card, X550) - before, 960_000));
    card.expect_violations(&[]);
}

#[test]
fn what_the_clock_may_not_be_told() {
    let card = up(I82599);
    card.w(TIMINCA, 100);
    card.expect_violations(&["TIMINCA has an increment, and no cycles between increments"]);
    let card = up(X550);
    card.w(SYSTIML, 1_000_000_000);
    card.w(TIMADJH, 0);
    card.expect_violations(&["SYSTIML was written with a second or more", "adjustments by TIMADJ are not modelled"]);
    for (device, kind) in [(I82599, 3), (I82599, 4), (X540, 6), (X550, 7)] {
        let card = up(device);
        card.w(TSYNCRXCTL, ON | kind << 1);
        card.expect_violations(&["TSYNCRXCTL.Type is reserved"]);
    }
}

/// What a PTP message is made of.
#[derive(Clone, Copy)]
struct Message {
    /// Version 2's type, or version 1's control field.
    kind: u8,
    version: u8,
    /// UDP's port; layer 2 else.
    port: Option<u16>,
    vlan: Option<u16>,
}

const EVENT_L2: Message = Message { kind: 0, version: 2, port: None, vlan: None };

impl Message {
    fn frame(self) -> Vec<u8> {
        let mut ptp = vec![0; 64];
        (ptp[0], ptp[1]) = if self.version == 2 { (self.kind, 2) } else { (0, 1) };
        ptp[32] = if self.version == 1 { self.kind } else { 0 };
        let (ethertype, payload) = match self.port {
            None => (0x88F7u16, ptp),
            Some(port) => {
                let udp_len = (8 + ptp.len()) as u16;
                let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 224, 0, 1, 129];
                ip[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
                let sum = ip.chunks(2).fold(0u32, |sum, pair| sum + u32::from(pair[0]) * 256 + u32::from(pair[1]));
                ip[10..12].copy_from_slice(&(!((sum & 0xFFFF) + (sum >> 16)) as u16).to_be_bytes());
                ip.extend_from_slice(&[port.to_be_bytes(), port.to_be_bytes(), udp_len.to_be_bytes(), [0, 0]].concat());
                ip.extend_from_slice(&ptp);
                (0x0800, ip)
            }
        };
        let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 1]].concat();
        if let Some(tag) = self.vlan {
            frame.extend_from_slice(&[0x81, 0, (tag >> 8) as u8, tag as u8]);
        }
        frame.extend_from_slice(&ethertype.to_be_bytes());
        frame.extend_from_slice(&payload);
        frame
    }
}

/// A card that receives on queue 0.
struct Receiver {
    card: Card,
    ring: TestRing,
    buffers: DmaRegion,
    next: u32,
}

impl Receiver {
    fn new(device: u16, control: u32, filter: u32) -> Self {
        let card = started(device);
        card.clear_table(0xA200, 256);
        let [a, b, c, d, e, f] = MAC;
        card.w(0xA200, u32::from_le_bytes([a, b, c, d]));
        card.w(0xA204, 1 << 31 | u32::from_le_bytes([e, f, 0, 0]));
        card.w(0x5128, 0);
        card.w(ETQF_3, 1 << 31 | 1 << 30 | 0x88F7);
        card.w(RXMTRL, filter);
        card.w(TSYNCRXCTL, control);
        let (ring, buffers) = card.receive_queue(0, 64, 2);
        card.enable_receive();
        card.tail(&ring, 63);
        Self { card, ring, buffers, next: 0 }
    }

    /// The status of a frame that arrives, and its bytes in memory.
    fn arrives(&mut self, frame: &[u8]) -> (u64, Vec<u8>) {
        self.card.arrive(frame);
        self.card.settle();
        let [_, upper] = self.card.get(&self.ring, self.next);
        assert_eq!(upper & 3, 3, "the frame arrived");
        let bytes = self.card.bytes(self.buffers.iova().offset(u64::from(self.next) * 2048), (upper >> 32 & 0xFFFF) as usize);
        self.next += 1;
        (upper & (TSIP | TS), bytes)
    }

    fn is_stamped(&mut self, message: Message) -> bool {
        let seen = self.arrives(&message.frame()).0;
        assert_eq!(self.card.r(TSYNCRXCTL) & 1 != 0, seen == TS, "RXTT");
        self.card.r(RXSTMPH);
        assert_eq!(self.card.r(TSYNCRXCTL) & 1, 0, "reading RXSTMPH makes room");
        seen == TS
    }
}

#[test]
fn messages_are_stamped_by_type_and_filter() {
    let v2 = |kind| Message { kind, ..EVENT_L2 };
    let udp = |kind, port| Message { port: Some(port), ..v2(kind) };
    let v1 = |control| Message { version: 1, ..udp(control, 319) };
    // Sync, Delay_Req, Pdelay_Req, Follow_Up, Announce.
    let all = [v2(0), v2(1), v2(2), v2(8), v2(11), udp(0, 319), udp(1, 319), udp(8, 319), udp(0, 320), v1(0), v1(1)];
    let cases = [
        (L2_V2, 319 << 16 | 1 << 8, [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        (L4_V1, 319 << 16, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        (L4_V1, 319 << 16 | 1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (L2_L4_V2, 319 << 16, [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]),
        (EVENT_V2, 319 << 16, [1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0]),
        (EVENT_V2, 320 << 16, [1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    for device in [I82599, X540, X550] {
        for (kind, filter, wanted) in cases {
            let mut receiver = Receiver::new(device, ON | kind, filter);
            assert_eq!(all.map(|message| u8::from(receiver.is_stamped(message))), wanted, "{device:#x}, type {:#x}, RXMTRL {filter:#x}", kind >> 1);
            receiver.card.expect_violations(&[]);
        }
    }
}

#[test]
fn the_ethertype_needs_its_filter() {
    let mut receiver = Receiver::new(I82599, ON | EVENT_V2, 319 << 16);
    receiver.card.w(ETQF_3, 1 << 31 | 0x88F7);
    assert!(!receiver.is_stamped(EVENT_L2));
    receiver.card.w(ETQF_3, 1 << 31 | 1 << 30 | 0x88F7);
    assert!(receiver.is_stamped(EVENT_L2));
    receiver.card.w(TSYNCRXCTL, EVENT_V2);
    assert!(!receiver.is_stamped(EVENT_L2));
    receiver.card.expect_violations(&[]);
}

#[test]
fn one_stamp_is_kept_until_it_is_read() {
    for device in [I82599, X540, X550] {
        let mut receiver = Receiver::new(device, ON | EVENT_V2, 319 << 16);
        let before = time(&receiver.card, device);
        assert_eq!(receiver.arrives(&EVENT_L2.frame()).0, TS);
        let after = time(&receiver.card, device);
        receiver.card.device.advance_us(1000);
        assert_eq!(receiver.arrives(&EVENT_L2.frame()).0, 0, "the one before was not read");
        let low = receiver.card.r(RXSTMPL);
        assert_eq!(receiver.card.r(TSYNCRXCTL) & 1, 1);
        let stamp = nanoseconds(device, low, receiver.card.r(RXSTMPH));
        assert!((before..=after).contains(&stamp), "{device:#x}: {stamp} is not in {before}..={after}");
        assert_eq!(receiver.arrives(&EVENT_L2.frame()).0, TS);
        receiver.card.expect_violations(&[]);
    }
}

#[test]
fn the_x550_puts_stamps_behind_frames() {
    // Untagged ones, and those of priority 3.
    let mut receiver = Receiver::new(X550, ON | ALL | 1 << 23 | 1 << 27, 0);
    let tagged = |tag| Message { vlan: Some(tag), ..EVENT_L2 };
    for sent in [frame(MAC, 60), frame(MAC, 1514), EVENT_L2.frame(), tagged(3 << 13 | 7).frame()] {
        let before = time(&receiver.card, X550);
        let (status, bytes) = receiver.arrives(&sent);
        let after = time(&receiver.card, X550);
        assert_eq!(status, TSIP);
        let (received, stamp) = bytes.split_at(sent.len());
        assert_eq!(received, sent);
        let word = |at: usize| u32::from_le_bytes(stamp[at..at + 4].try_into().unwrap());
        let stamp = nanoseconds(X550, word(0), word(4));
        assert!((before..=after).contains(&stamp), "{stamp} is not in {before}..={after}");
        assert_eq!(receiver.card.r(TSYNCRXCTL) & 1, 0, "the registers are left alone");
    }
    let (status, bytes) = receiver.arrives(&tagged(2 << 13 | 7).frame());
    assert_eq!((status, bytes), (TS, tagged(2 << 13 | 7).frame()));
    receiver.card.expect_violations(&[]);
}

/// Sends a frame, and asks for a stamp where wanted.
fn send(card: &Card, ring: &TestRing, buffer: &DmaRegion, index: u32, stamped: bool) {
    let word = data_word(60, 60, true, true) | if stamped { STAMPED } else { 0 };
    card.put(ring, index, [buffer.iova().0, word]);
    card.tail(ring, index + 1);
    card.settle();
}

#[test]
fn a_sent_frame_is_stamped_where_it_asks_for_it() {
    for device in [I82599, X540, X550] {
        let card = started(device);
        let ring = card.transmit_queue(0, 64);
        let buffer = card.function.dma().allocate(2048).unwrap();
        card.w(TSYNCTXCTL, ON);
        card.w(TSIM, 1 << 1);
        card.r(EICR);
        send(&card, &ring, &buffer, 0, false);
        assert_eq!(card.r(TSYNCTXCTL), ON);
        let before = time(&card, device);
        send(&card, &ring, &buffer, 1, true);
        let after = time(&card, device);
        assert_eq!(card.r(TSYNCTXCTL), ON | 1);
        assert_eq!((card.r(TSICR), card.r(EICR) & 1 << 24 != 0), if device == X550 { (2, true) } else { (0, false) });
        let low = card.r(TXSTMPL);
        let stamp = nanoseconds(device, low, card.r(TXSTMPH));
        assert!((before..=after).contains(&stamp), "{device:#x}: {stamp} is not in {before}..={after}");
        assert_eq!(card.r(TSYNCTXCTL), ON, "reading TXSTMPH makes room");
        send(&card, &ring, &buffer, 2, true);
        card.expect_violations(&[]);
        send(&card, &ring, &buffer, 3, true);
        card.expect_violations(&["a packet asks for a time stamp while TXSTMPH was not read after the one before"]);
        card.w(TSYNCTXCTL, 0);
        send(&card, &ring, &buffer, 4, true);
        card.expect_violations(&["a packet asks for a time stamp while TSYNCTXCTL.EN is off"]);
    }
}
