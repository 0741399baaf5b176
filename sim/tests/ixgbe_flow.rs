//! Flow control by pause frames, by raw register access.

use crate::common::{Card, MAC, TestRing, data_word, frame};
use driver_core::host::{DmaRegion, PciFunction};
use sim::Model;

const MFLCN: u32 = 0x4294;
const PMCF: u32 = 1;
const DPF: u32 = 1 << 1;
const RFCE: u32 = 1 << 3;
const TFCS: u32 = 0xCE00;
const LXONRXCNT: u32 = 0x41A4;
const LXOFFRXCNT: u32 = 0x41A8;
const LXONTXC: u32 = 0x3F60;
const LXOFFTXC: u32 = 0x3F68;
const FCTRL: u32 = 0x5080;
const FCTTV: u32 = 0x3200;
const FCRTL: u32 = 0x3220;
const FCRTH: u32 = 0x3260;
const FCRTV: u32 = 0x32A0;
const FCCFG: u32 = 0x3D00;
const GPRC: u32 = 0x4074;
const MPRC: u32 = 0x407C;
const TPR: u32 = 0x40D0;

const NOTHING: [u16; 0] = [];
const CONTROL: [u8; 6] = [0x01, 0x80, 0xC2, 0, 0, 1];

/// A pause frame to `to`, with its time in quanta.
fn pause(to: [u8; 6], quanta: u16) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&to);
    frame[6..16].copy_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0x08, 0x00, 0x01]);
    frame[16..18].copy_from_slice(&quanta.to_be_bytes());
    frame
}

/// A card that obeys pause frames and transmits.
struct Sender {
    card: Card,
    ring: TestRing,
    buffer: DmaRegion,
    tail: u32,
}

impl Sender {
    fn new() -> Self {
        let card = Card::up();
        card.enable_receive();
        card.w(MFLCN, RFCE | DPF);
        let ring = card.transmit_queue(0, 64);
        let buffer = card.function.dma().allocate(60).unwrap();
        card.fill(&buffer, 0, &frame(MAC, 60));
        Self { card, ring, buffer, tail: 0 }
    }

    /// Hands so many frames over.
    fn queue(&mut self, count: u32) {
        for _ in 0..count {
            self.card.put(&self.ring, self.tail, [self.buffer.iova().0, data_word(60, 60, true, false)]);
            self.tail = (self.tail + 1) % self.ring.slots;
        }
        self.card.tail(&self.ring, self.tail);
    }

    /// How many frames leave in one step, `us` microseconds later.
    fn sent_after(&self, us: u64) -> usize {
        self.card.device.advance_us(us);
        self.card.sent().len()
    }

    /// Receives a frame, without time passing.
    fn receive(&self, frame: &[u8]) {
        self.card.arrive(frame);
        self.card.device.advance_us(0);
    }
}

#[test]
fn an_xoff_holds_frames_back_for_its_time() {
    let mut sender = Sender::new();
    // A quantum is 51.2 ns. One microsecond more, since the clock may be that much ahead of what it shows.
    for (quanta, us, to) in [(1, 1, CONTROL), (2, 1, MAC), (625, 32, CONTROL), (626, 33, MAC), (0xFFFF, 3356, CONTROL)] {
        sender.receive(&pause(to, quanta));
        sender.queue(1);
        assert_eq!(sender.card.r(TFCS), 0, "{quanta} quanta");
        assert_eq!(sender.sent_after(us), 0, "{quanta} quanta after {us} us");
        assert_eq!(sender.card.r(TFCS), 0, "{quanta} quanta after {us} us");
        assert_eq!(sender.sent_after(1), 1, "{quanta} quanta one microsecond later");
        assert_eq!(sender.card.r(TFCS), 1);
    }
    assert_eq!((sender.card.r(LXOFFRXCNT), sender.card.r(LXONRXCNT)), (5, 0));
    assert_eq!(sender.card.r(LXOFFRXCNT), 0, "a read clears");
    sender.card.expect_violations(&[]);
}

#[test]
fn the_frame_under_way_is_the_last_one() {
    let mut sender = Sender::new();
    sender.queue(40);
    sender.card.arrive(&pause(CONTROL, 625));
    // One step's worth has gone when the pause frame is looked at.
    assert_eq!(sender.sent_after(0), 32);
    assert_eq!(sender.sent_after(32), 0);
    assert_eq!(sender.sent_after(1), 8);
    sender.card.expect_violations(&[]);
}

#[test]
fn an_xon_ends_a_pause() {
    let mut sender = Sender::new();
    sender.receive(&pause(CONTROL, 0xFFFF));
    sender.queue(1);
    assert_eq!(sender.sent_after(10), 0);
    sender.receive(&pause(MAC, 0));
    assert_eq!(sender.card.r(TFCS), 1);
    assert_eq!(sender.sent_after(0), 1);
    assert_eq!((sender.card.r(LXOFFRXCNT), sender.card.r(LXONRXCNT)), (1, 1));
    sender.card.expect_violations(&[]);
}

#[test]
fn a_later_pause_time_replaces_the_earlier() {
    let mut sender = Sender::new();
    for (first, second, us) in [(0xFFFF, 625, 32), (625, 1250, 64)] {
        sender.receive(&pause(CONTROL, first));
        sender.receive(&pause(CONTROL, second));
        sender.queue(1);
        assert_eq!((sender.sent_after(us), sender.sent_after(1)), (0, 1), "{first} quanta, then {second}");
    }
    sender.card.expect_violations(&[]);
}

#[test]
fn what_is_no_pause_frame_stops_nothing() {
    let mut sender = Sender::new();
    let changed = |at: usize, byte: u8| {
        let mut frame = pause(CONTROL, 0xFFFF);
        frame[at] = byte;
        frame
    };
    let wrong = [
        ("no pause time", pause(CONTROL, 0xFFFF)[..17].to_vec()),
        ("no opcode", pause(CONTROL, 0xFFFF)[..14].to_vec()),
        ("another opcode", changed(15, 2)),
        ("a pause by priorities", changed(14, 1)),
        ("another type", changed(13, 9)),
        ("another group", changed(5, 2)),
        ("another station", pause([2, 0, 0, 0x82, 0x59, 0x91], 0xFFFF)),
    ];
    for (what, frame) in wrong {
        sender.receive(&frame);
        sender.queue(1);
        assert_eq!((sender.card.r(TFCS), sender.sent_after(0)), (1, 1), "{what}");
    }
    for mflcn in [0, DPF, PMCF] {
        sender.card.w(MFLCN, mflcn);
        sender.receive(&pause(CONTROL, 0xFFFF));
        sender.queue(1);
        assert_eq!((sender.card.r(TFCS), sender.sent_after(0)), (1, 1), "MFLCN {mflcn:#x}");
    }
    assert_eq!((sender.card.r(LXOFFRXCNT), sender.card.r(LXONRXCNT)), (0, 0));
    sender.card.expect_violations(&[]);
}

#[test]
fn control_frames_go_to_the_host_where_they_may() {
    let card = Card::up();
    let (ring, _buffers) = card.receive_queue(0, 64, 2);
    card.enable_receive();
    card.tail(&ring, 63);
    let mut other = pause(CONTROL, 7);
    other[15] = 2;
    let mut elsewhere = other.clone();
    elsewhere[5] = 2;
    let mut at = 0;
    // MFLCN, the filter's MPE, the frame, whether it is delivered, and how many good frames are counted.
    let cases = [
        // Without RFCE they are frames like any others.
        (DPF, 1, pause(CONTROL, 7), true, 1),
        (DPF, 0, pause(CONTROL, 7), false, 0),
        (DPF, 0, pause(MAC, 7), true, 1),
        (0, 1, other.clone(), true, 1),
        // With it, DPF and PMCF decide before the filters do.
        (RFCE | DPF, 1, pause(CONTROL, 7), false, 0),
        (RFCE | DPF, 1, pause(MAC, 7), false, 0),
        (RFCE, 1, pause(CONTROL, 7), true, 0),
        (RFCE, 0, pause(CONTROL, 7), false, 0),
        (RFCE | DPF, 1, other.clone(), false, 0),
        (RFCE | DPF | PMCF, 1, other.clone(), true, 1),
        (RFCE | DPF | PMCF, 0, other, false, 0),
        (RFCE | DPF, 1, elsewhere, true, 1),
    ];
    for (i, (mflcn, mpe, frame, delivered, good)) in cases.into_iter().enumerate() {
        card.w(MFLCN, mflcn);
        card.w(FCTRL, mpe << 8);
        card.arrive(&frame);
        card.device.advance_us(0);
        let is_there = card.r(0x1010) != at;
        at += u32::from(delivered);
        assert_eq!((is_there, card.r(GPRC), card.r(TPR)), (delivered, good, 1), "case {i}");
    }
    assert_eq!(card.r(MPRC), 4, "multicast frames that were good ones");
    card.expect_violations(&[]);
}

#[test]
fn a_pause_ends_with_the_link_with_a_reset_and_with_the_order_to_obey() {
    for what in ["link", "reset", "order"] {
        let mut sender = Sender::new();
        sender.receive(&pause(CONTROL, 0xFFFF));
        assert_eq!(sender.card.r(TFCS), 0);
        match what {
            "link" => {
                sender.card.device.set_carrier(false);
                sender.card.device.advance_us(0);
                assert_eq!(sender.card.r(TFCS), 1, "{what}");
                sender.card.device.set_carrier(true);
                sender.card.device.advance_us(0);
                sender.card.device.advance_us(500);
            }
            "reset" => {
                sender.card.w(0, 1 << 26);
                sender.card.device.advance_us(3);
                assert_eq!(sender.card.r(TFCS), 1, "{what}");
                continue;
            }
            _ => {
                sender.card.w(MFLCN, DPF);
                sender.card.w(MFLCN, DPF | RFCE);
            }
        }
        sender.queue(1);
        assert_eq!(sender.sent_after(0), 1, "{what}");
    }
}

#[test]
fn a_sleeping_card_wakes_when_its_pause_ends() {
    let sender = Sender::new();
    let next_us = || sender.card.model(|card| card.next_event_us());
    assert_eq!(next_us(), None);
    sender.receive(&pause(CONTROL, 625));
    let short = next_us().expect("a time to wake");
    sender.receive(&pause(CONTROL, 1250));
    // The shorter one's end has nothing to do any more, and looking early costs nothing.
    assert_eq!(next_us(), Some(short));
    sender.card.device.advance_us(33);
    assert_eq!(next_us(), Some(short + 32));
    sender.card.device.advance_us(32);
    assert_eq!((next_us(), sender.card.r(TFCS)), (None, 1));
}

/// A card with a receive queue without descriptors, whose packet buffer is to hold at most 4 frames of `FRAME` bytes, and is low with 1.
struct Receiver {
    card: Card,
    ring: TestRing,
    _buffers: DmaRegion,
    given: u32,
}

/// A kibibyte in the packet buffer.
const FRAME: usize = 960;
const FCEN: u32 = 1 << 31;
const XONE: u32 = 1 << 31;

impl Receiver {
    fn new() -> Self {
        let card = Card::up();
        let (ring, buffers) = card.receive_queue(0, 64, 2);
        card.enable_receive();
        card.w(FCTTV, 0xAAAA_0000 | 1000);
        // The lowest five bits of a mark count for nothing.
        card.w(FCRTH, FCEN | 4096 | 31);
        card.w(FCRTL, XONE | 2048);
        card.w(FCCFG, 1 << 3);
        Self { card, ring, _buffers: buffers, given: 0 }
    }

    /// Receives frames, without time passing; returns the pause times of what was sent.
    fn fill(&self, count: usize) -> Vec<u16> {
        for _ in 0..count {
            self.card.arrive(&frame(MAC, FRAME));
        }
        self.after(0)
    }

    /// Gives descriptors for so many frames, without time passing.
    fn drain(&mut self, count: u32) -> Vec<u16> {
        self.given += count;
        self.card.tail(&self.ring, self.given);
        self.after(0)
    }

    fn after(&self, us: u64) -> Vec<u16> {
        self.card.device.advance_us(us);
        let sent = self.card.sent();
        sent.iter().map(|frame| u16::from_be_bytes([frame[16], frame[17]])).collect()
    }
}

#[test]
fn a_filling_buffer_sends_one_xoff_and_an_emptied_one_one_xon() {
    let mut receiver = Receiver::new();
    for _ in 0..2 {
        assert_eq!(receiver.fill(4), NOTHING, "at the mark is not above it");
        assert_eq!(receiver.fill(1), [1000]);
        assert_eq!(receiver.fill(3), NOTHING, "once a crossing");
        assert_eq!(receiver.drain(6), NOTHING, "below the high mark, at the low one");
        assert_eq!(receiver.fill(3), NOTHING, "above the high one again, without having been low");
        assert_eq!(receiver.drain(4), [0]);
        assert_eq!(receiver.drain(1), NOTHING, "once a crossing");
    }
    assert_eq!([LXOFFTXC, LXONTXC].map(|counter| receiver.card.r(counter)), [2, 2]);
    // They are frames sent, for GPTC, MPTC, PTC64, TPT and GOTC; none that the host handed over, for TXDGPC and QPTC.
    assert_eq!([0x4080, 0x40F0, 0x40D8, 0x40D4, 0x4090, 0x87A0, 0x6030].map(|counter| receiver.card.r(counter)), [4, 4, 4, 4, 4 * 64, 0, 0]);
    receiver.card.expect_violations(&[]);
}

#[test]
fn a_pause_frame_is_as_the_standard_has_it() {
    let receiver = Receiver::new();
    receiver.card.w(0xA200, 0x4433_2212);
    receiver.card.w(0xA204, 1 << 31 | 0x6655);
    for _ in 0..5 {
        receiver.card.arrive(&frame([0x12, 0x22, 0x33, 0x44, 0x55, 0x66], FRAME));
    }
    receiver.card.device.advance_us(0);
    let mut wanted = pause(CONTROL, 1000);
    wanted[6..12].copy_from_slice(&[0x12, 0x22, 0x33, 0x44, 0x55, 0x66]);
    assert_eq!(receiver.card.sent(), [wanted]);
}

#[test]
fn an_xoff_is_repeated_before_its_time_is_over() {
    let mut receiver = Receiver::new();
    receiver.card.w(FCRTV, 250);
    assert_eq!(receiver.fill(5), [1000]);
    // 750 quanta are 38.4 us.
    for _ in 0..3 {
        assert_eq!((receiver.after(37), receiver.after(1)), (vec![], vec![1000]));
    }
    assert_eq!(receiver.drain(3), NOTHING, "between the marks");
    assert_eq!((receiver.after(37), receiver.after(1)), (vec![], vec![1000]), "the pause goes on until the low mark");
    assert_eq!(receiver.drain(1), [0]);
    assert_eq!(receiver.after(1000), NOTHING);
    assert_eq!(receiver.card.r(LXOFFTXC), 5);
    receiver.card.expect_violations(&[]);
}

#[test]
fn an_xoff_is_not_repeated_without_a_threshold_below_its_time() {
    for threshold in [0, 1000, 1001] {
        let receiver = Receiver::new();
        receiver.card.w(FCRTV, threshold);
        assert_eq!((receiver.fill(5), receiver.after(10_000)), (vec![1000], vec![]), "FCRTV {threshold}");
        assert_eq!(receiver.card.model(|card| card.next_event_us()), None);
    }
}

#[test]
fn neither_a_pause_nor_a_transmitter_that_is_off_holds_pause_frames_back() {
    let receiver = Receiver::new();
    receiver.card.w(MFLCN, RFCE | DPF);
    receiver.card.arrive(&pause(CONTROL, 0xFFFF));
    assert_eq!(receiver.card.r(0x4A80) & 1, 0, "DMATXCTL.TE is off");
    assert_eq!(receiver.fill(5), [1000]);
    assert_eq!(receiver.card.r(TFCS), 0);
}

#[test]
fn a_busy_wire_gets_the_pause_frame_first() {
    let mut receiver = Receiver::new();
    let ring = receiver.card.transmit_queue(0, 64);
    let buffer = receiver.card.function.dma().allocate(60).unwrap();
    receiver.card.put(&ring, 0, [buffer.iova().0, data_word(60, 60, true, false)]);
    receiver.card.ends.lock().unwrap().busy = true;
    receiver.card.tail(&ring, 1);
    assert_eq!((receiver.fill(5), receiver.after(1)), (vec![], vec![]));
    receiver.card.ends.lock().unwrap().busy = false;
    receiver.card.device.advance_us(1);
    let kinds: Vec<_> = receiver.card.sent().iter().map(|frame| frame[12..14] == [0x88, 0x08]).collect();
    assert_eq!(kinds, [true, false]);
    // What is out of date when the wire has room is not sent.
    receiver.drain(5);
    receiver.card.ends.lock().unwrap().busy = true;
    assert_eq!((receiver.fill(5), receiver.drain(5)), (vec![], vec![]));
    receiver.card.ends.lock().unwrap().busy = false;
    assert_eq!(receiver.after(0), [0]);
    assert_eq!([LXOFFTXC, LXONTXC].map(|counter| receiver.card.r(counter)), [1, 2]);
}

#[test]
fn what_was_not_turned_on_sends_nothing() {
    for (register, value) in [(FCRTH, 4096), (FCCFG, 0)] {
        let mut receiver = Receiver::new();
        receiver.card.w(register, value);
        assert_eq!((receiver.fill(8), receiver.drain(8)), (vec![], vec![]), "{register:#x}");
    }
    let mut receiver = Receiver::new();
    receiver.card.w(FCRTL, 2048);
    assert_eq!((receiver.fill(8), receiver.drain(8)), (vec![1000], vec![]), "without XONE");
    assert_eq!(receiver.fill(5), [1000], "the next crossing counts all the same");
    receiver.card.expect_violations(&[]);
}

#[test]
fn what_was_turned_off_is_forgotten() {
    for (register, value) in [(FCRTH, 4096), (FCCFG, 0)] {
        let mut receiver = Receiver::new();
        receiver.card.w(FCRTV, 250);
        assert_eq!(receiver.fill(5), [1000]);
        let on = receiver.card.r(register);
        receiver.card.w(register, value);
        assert_eq!((receiver.after(1000), receiver.drain(5)), (vec![], vec![]), "{register:#x}");
        receiver.card.w(register, on);
        assert_eq!((receiver.after(1000), receiver.fill(5)), (vec![], vec![1000]), "{register:#x}");
    }
}

#[test]
fn a_mark_is_a_multiple_of_32_bytes() {
    let receiver = Receiver::new();
    assert_eq!(receiver.fill(3), NOTHING);
    receiver.card.arrive(&frame(MAC, FRAME + 31));
    assert_eq!(receiver.after(0), [1000], "31 bytes above it");
}

#[test]
fn pause_frames_stay_in_the_loop_of_a_port_that_is_looped() {
    let mut receiver = Receiver::new();
    let card = &receiver.card;
    card.device.set_carrier(false);
    card.w(0x42A0, card.r(0x42A0) | 1);
    card.w(0x4240, card.r(0x4240) | 1 << 15);
    card.w(MFLCN, RFCE | DPF);
    let ring = card.transmit_queue(0, 64);
    let buffer = card.function.dma().allocate(FRAME).unwrap();
    card.fill(&buffer, 0, &frame(MAC, FRAME));
    (0..5).for_each(|i| card.put(&ring, i, [buffer.iova().0, data_word(FRAME, FRAME, true, false)]));
    card.tail(&ring, 5);
    assert_eq!((receiver.after(1), receiver.after(1)), (vec![], vec![]));
    let paused = |card: &Card| [LXOFFTXC, LXOFFRXCNT].map(|counter| card.r(counter)) == [1, 1] && card.r(TFCS) == 0;
    assert!(paused(&receiver.card), "the card pauses itself");
    // Without the loop there is no link: nothing is left to say, and nobody to say it to.
    receiver.card.w(0x4240, receiver.card.r(0x4240) & !(1 << 15));
    assert_eq!((receiver.after(1), receiver.drain(5)), (vec![], vec![]));
}

#[test]
fn a_port_without_a_link_sends_no_pause_frames() {
    let receiver = Receiver::new();
    receiver.card.w(FCRTV, 250);
    assert_eq!(receiver.fill(5), [1000]);
    receiver.card.device.set_carrier(false);
    assert_eq!((receiver.after(0), receiver.after(1000)), (vec![], vec![]));
    receiver.card.device.set_carrier(true);
    assert_eq!((receiver.after(0), receiver.after(500), receiver.fill(5)), (vec![], vec![], vec![1000]));
}

#[test]
fn priority_flow_control_is_not_modelled() {
    let card = Card::up();
    card.w(MFLCN, 1 << 2);
    card.w(FCCFG, 2 << 3);
    card.expect_violations(&["priority flow control is not modelled", "priority flow control is not modelled"]);
    card.w(MFLCN, RFCE | DPF | PMCF);
    card.w(FCCFG, 1 << 3);
    card.expect_violations(&[]);
}
