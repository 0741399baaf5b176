//! The card is told what frames ask for when that changes, and not for each frame: descriptors, counted by the tail.

use crate::common::Card;
use crate::packets::{Packet, TCP, UDP};
use driver_core::buf::{Batch, Frame};
use driver_core::device::Config;
use driver_core::host::RegSpace;
use driver_core::queue::{TxQueue, TxState};

/// Transmit tail of queue 0 (8.2.3.9.9).
const TDT0: u32 = 0x6018;

/// How many descriptors frames take that ask for these things, one behind the other, `times` times over, in batches of `batch`: as many as the tail says, while
/// the ring has not been gone round.
fn descriptors(asks: &[fn(&mut Frame)], times: usize, batch: usize) -> usize {
    let card = Card::new();
    let mut started = card.start(&Config::new().tx_ring(1024));
    let packet = Packet::new(TCP, false, 40).bytes();
    let wanted: Vec<_> = asks.iter().map(|ask| by_software(&packet, ask)).collect();
    let mut left = times * asks.len();
    let mut asking = asks.iter().cycle();
    while left > 0 {
        let mut frames = Batch::new(batch);
        for _ in 0..left.min(batch) {
            let mut frame = started.pool.frame_from(&packet).unwrap();
            asking.next().unwrap()(&mut frame);
            frames.push(frame).unwrap();
        }
        left -= frames.len();
        assert_eq!(started.tx[0].submit(&mut frames), TxState::Running);
        card.run_us(50);
    }
    let sent = card.sent();
    assert!(sent.len() == times * asks.len() && sent.iter().eq(wanted.iter().cycle().take(sent.len())));
    card.assert_no_violations();
    let tail = card.registers().read32(TDT0);
    drop(started);
    tail as usize
}

/// What leaves of a packet that asks for this.
fn by_software(packet: &[u8], ask: &fn(&mut Frame)) -> Vec<u8> {
    let pool = crate::packets::pool();
    let mut frame = pool.frame_from(packet).unwrap();
    ask(&mut frame);
    crate::packets::by_software(packet, Some(frame.checksum()), frame.vlan())
}

fn tcp(frame: &mut Frame) {
    frame.set_checksum(Packet::new(TCP, false, 0).partial());
}
fn udp(frame: &mut Frame) {
    frame.set_checksum(Packet::new(UDP, false, 0).partial());
}
fn farther(frame: &mut Frame) {
    frame.set_checksum(driver_core::buf::Checksum::Partial { start: 38, offset: 6 });
}
fn tagged(frame: &mut Frame) {
    frame.set_vlan(Some(5));
}
fn tagged_otherwise(frame: &mut Frame) {
    frame.set_vlan(Some(6));
}
fn tagged_tcp(frame: &mut Frame) {
    tcp(frame);
    frame.set_vlan(Some(5));
}
fn nothing(_: &mut Frame) {}

#[test]
fn one_context_serves_all_frames_that_ask_for_the_same() {
    for batch in [1, 8, 32, 200] {
        for ask in [tcp, udp, tagged, tagged_tcp] {
            assert_eq!(descriptors(&[ask], 200, batch), 201, "in batches of {batch}");
        }
        assert_eq!(descriptors(&[nothing], 200, batch), 200);
    }
}

#[test]
fn two_flows_in_turn_keep_a_context_each() {
    for batch in [1, 32] {
        assert_eq!(descriptors(&[tcp, udp], 100, batch), 202);
        assert_eq!(descriptors(&[tagged, nothing, tagged_otherwise, nothing], 50, batch), 202);
    }
}

#[test]
fn what_the_card_has_forgotten_it_is_told_again() {
    assert_eq!(descriptors(&[tcp, udp, farther], 50, 32), 300);
    assert_eq!(descriptors(&[tagged, tagged_otherwise, tagged_tcp], 50, 8), 300);
}

/// A small ring, gone round many times by frames that ask for one thing, with others between.
#[test]
fn frames_keep_their_order_round_the_end_of_the_ring() {
    for mixed in [false, true] {
        let card = Card::new();
        let mut started = card.start(&Config::new().tx_ring(64));
        let packet = Packet::new(TCP, false, 40).bytes();
        let (mut batch, mut next) = (Batch::new(32), 0u32);
        for _ in 0..100 {
            while batch.room() > 0 {
                let mut bytes = packet.clone();
                bytes.extend(next.to_be_bytes());
                let mut frame = started.pool.frame_from(&bytes).unwrap();
                if !mixed || next % 11 != 3 {
                    tcp(&mut frame);
                }
                if mixed && next % 37 == 5 {
                    tagged(&mut frame);
                }
                batch.push(frame).unwrap();
                next += 1;
            }
            let _ = started.tx[0].submit(&mut batch);
            card.run_us(200);
        }
        while !batch.is_empty() {
            started.tx[0].reclaim();
            let _ = started.tx[0].submit(&mut batch);
            card.run_us(200);
        }
        let numbers: Vec<_> = card.sent().iter().map(|bytes| u32::from_be_bytes(*bytes.last_chunk().unwrap())).collect();
        assert!(numbers.iter().copied().eq(0..next), "{numbers:?}");
        card.assert_no_violations();
    }
}
