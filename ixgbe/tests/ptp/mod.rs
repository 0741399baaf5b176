//! PTP messages, and cards with a clock.
#![allow(unreachable_pub)]

use driver_core::buf::Batch;
use driver_core::device::{Config, HardwareClock, NetDevice, RxMode, SentStamp, Timestamps};
use driver_core::ether::MacAddr;
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};

use crate::common::{Card, PEER, Started};

/// How far what the card says of itself may be from the simulated time, in nanoseconds: that has steps of a microsecond, and the test of a few more.
pub const NEAR_NS: u64 = 200_000;

pub fn config(timestamps: Timestamps) -> Config {
    Config::new().timestamps(timestamps).rx_mode(RxMode::PROMISCUOUS)
}

/// A message of version 2 with this type: over UDP to `port`, or behind PTP's EtherType.
pub fn message(kind: u8, port: Option<u16>) -> Vec<u8> {
    let mut ptp = vec![0; 64];
    (ptp[0], ptp[1]) = (kind, 2);
    let group = MacAddr([0x01, 0x1b, 0x19, 0, 0, 0]);
    let mut frame = [group.0, PEER.0].concat();
    let Some(port) = port else {
        frame.extend_from_slice(&[0x88, 0xf7]);
        frame.extend_from_slice(&ptp);
        return frame;
    };
    let udp_bytes = 8 + ptp.len() as u16;
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 224, 0, 1, 129];
    ip[2..4].copy_from_slice(&(20 + udp_bytes).to_be_bytes());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    ip[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    frame.extend_from_slice(&[0x08, 0x00]);
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&[port.to_be_bytes(), port.to_be_bytes(), udp_bytes.to_be_bytes(), [0, 0]].concat());
    frame.extend_from_slice(&ptp);
    frame
}

/// Sync, of Ethernet.
pub fn sync() -> Vec<u8> {
    message(0, None)
}

pub fn clock(started: &Started) -> HardwareClock {
    started.control.clock().unwrap()
}

/// What time it is, by the card.
pub fn now_ns(clock: &HardwareClock) -> u64 {
    clock.read().unwrap().device_ns
}

/// A frame arrives. Its stamp, its bytes, and when the card's clock was read before and behind.
pub fn arrives(card: &Card, started: &mut Started, frame: &[u8]) -> (Option<u64>, Vec<u8>, [u64; 2]) {
    let clock = clock(started);
    let before = now_ns(&clock);
    card.send(frame);
    let after = now_ns(&clock);
    let mut batch = Batch::new(8);
    let rx = started.rx.iter_mut().find_map(|rx| (rx.poll(&mut batch, 8) == 1).then_some(()));
    assert!(rx.is_some(), "one frame came");
    let received = &batch.frames()[0];
    let mut bytes = vec![0; received.len()];
    received.load(0, &mut bytes).unwrap();
    (received.timestamp_ns(), bytes, [before, after])
}

/// Submits a frame, with a stamp that it asks for.
pub fn submit(started: &mut Started, frame: &[u8], id: Option<u32>) {
    let mut batch = Batch::new(1);
    let mut frame = started.pool.frame_from(frame).unwrap();
    frame.ask_for_timestamp(id);
    batch.push(frame).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
}

/// All answers that are there.
pub fn answers(clock: &HardwareClock) -> Vec<SentStamp> {
    std::iter::from_fn(|| clock.take_sent().unwrap()).collect()
}

/// Time passes, and somebody looks at the device ten times a second.
pub fn watched_us(card: &Card, started: &mut Started, us: u64) {
    let until_us = card.clock.now_us() + us;
    while card.clock.now_us() < until_us {
        card.run_us(100_000.min(until_us - card.clock.now_us()));
        started.control.watch();
    }
}

pub fn xstat(started: &mut Started, name: &str) -> u64 {
    started.control.xstats().iter().find(|stat| stat.name == name).unwrap().value
}
