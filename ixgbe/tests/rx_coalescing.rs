//! Segments of TCP connections that the card puts together (RSC, datasheet 7.11).

use crate::common::{Card, I82599, MAC, Started, X540, X550, frame};
use crate::packets::{Packet, TCP, cut_by_software, of, pool};
use driver_core::buf::{Batch, Checksum, PoolConfig, Segmentation};
use driver_core::device::{Caps, Config, ConfigError, ErrorKind, Moderation, NetDevice};
use driver_core::host::RegSpace;
use driver_core::offload::Sum;
use driver_core::queue::{FrameView, PollWith, RxQueue, TxQueue, TxState, Verdict, WhenFull};
use proptest::prelude::*;

const FAMILIES: [u16; 3] = [I82599, X540, X550];
/// RSCCTL of queue 0, RFCTL, SRRCTL of queue 0 (8.2.3.8.13, 8.2.3.7.6, 8.2.3.8.7).
const RSCCTL0: u32 = 0x102c;
const RFCTL: u32 = 0x5008;

fn coalescing() -> Config {
    Config::new().rx_coalescing(true)
}

/// One side of a connection.
struct Flow {
    is_ipv6: bool,
    port: u16,
    seq: u32,
}

impl Flow {
    /// The next segments, `count` of `mss` bytes each, the last of which is pushed; and the packet that they are of.
    fn segments(&mut self, mss: u16, count: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let packet = Packet::new(TCP, self.is_ipv6, usize::from(mss) * count);
        let l4 = packet.l4_at();
        let mut bytes = packet.bytes();
        bytes[..6].copy_from_slice(&MAC.0);
        bytes[l4..l4 + 2].copy_from_slice(&self.port.to_be_bytes());
        bytes[l4 + 4..l4 + 8].copy_from_slice(&self.seq.to_be_bytes());
        // ACK and PSH.
        bytes[l4 + 13] = 0x18;
        self.seq = self.seq.wrapping_add(packet.payload.len() as u32);
        let pool = pool();
        let mut whole = pool.frame_from(&bytes[..packet.header_bytes()]).unwrap();
        bytes[packet.header_bytes()..].chunks(2048).for_each(|piece| whole.append(pool.frame_from(piece).unwrap()));
        whole.set_segmentation(Some(packet.cut(mss)));
        (cut_by_software(&whole), bytes[packet.header_bytes()..].to_vec())
    }
}

/// The first segment behind a pause finds the counter at zero, as its interrupt would, and comes up at once, which starts the counter: that of another connection.
fn start_counter(card: &Card, started: &mut Started) {
    let (segments, _) = Flow { is_ipv6: false, port: 3999, seq: 1 }.segments(100, 2);
    card.send_within(&segments[0], 1);
    let mut batch = Batch::new(1);
    assert_eq!(started.rx[0].poll(&mut batch, 1), 1);
}

/// What came up, within a millisecond.
fn poll(card: &Card, started: &mut Started, batch: &mut Batch) -> usize {
    card.run_us(1_000);
    started.rx[0].poll(batch, 64)
}

#[test]
fn segments_come_up_as_one_frame_and_leave_as_they_came() {
    for device in FAMILIES {
        for is_ipv6 in [false, true] {
            let card = Card::of(device);
            let mut started = card.start(&coalescing());
            assert!(started.control.info().used_caps.contains(Caps::RX_COALESCING));
            let (segments, payload) = Flow { is_ipv6, port: 4000, seq: u32::MAX - 3000 }.segments(1000, 20);
            start_counter(&card, &mut started);
            segments.iter().for_each(|segment| card.send_within(segment, 1));
            let mut batch = Batch::new(64);
            assert_eq!(poll(&card, &mut started, &mut batch), 1);
            let frame = &batch.frames()[0];
            let header_bytes = if is_ipv6 { 74 } else { 54 };
            assert_eq!(of(frame)[header_bytes..], payload);
            assert_eq!((frame.coalesced(), frame.checksum()), (Some(20), Checksum::GoodButUnsure));
            let Some(Segmentation { mss_bytes: 1000, header_bytes: found, .. }) = frame.segmentation() else { panic!("{frame:?}") };
            assert_eq!(usize::from(found), header_bytes);
            // Sent on, the card cuts it again.
            assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
            card.run_us(200);
            assert_eq!(card.sent(), segments, "{device:04x}");
            assert_eq!(started.control.stats().rx_packets, 21, "the card counts what came over the wire");
            assert_eq!((started.rx[0].counters().packets, started.rx[0].counters().coalesced), (2, 19));
            card.assert_no_violations();
        }
    }
}

#[test]
fn what_is_not_asked_for_is_not_done() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    assert!(!started.control.info().used_caps.contains(Caps::RX_COALESCING));
    assert!(started.control.info().caps.contains(Caps::RX_COALESCING));
    let (segments, _) = Flow { is_ipv6: false, port: 4000, seq: 1 }.segments(1000, 5);
    segments.iter().for_each(|segment| card.send_within(segment, 1));
    let mut batch = Batch::new(64);
    assert_eq!(poll(&card, &mut started, &mut batch), 5);
    assert!(batch.frames().iter().all(|frame| frame.coalesced().is_none() && frame.segmentation().is_none()));
    drop(batch);
    assert_eq!((card.registers().read32(RSCCTL0), card.registers().read32(RFCTL) & 1 << 5), (0, 1 << 5));
    card.assert_no_violations();
}

#[test]
fn a_segment_alone_is_a_frame_as_any() {
    let card = Card::new();
    let mut started = card.start(&coalescing());
    let (segments, _) = Flow { is_ipv6: false, port: 4000, seq: 1 }.segments(1000, 1);
    card.send(&segments[0]);
    card.send(&frame(MAC, 60, 3));
    let mut batch = Batch::new(64);
    assert_eq!(poll(&card, &mut started, &mut batch), 2);
    let seen: Vec<_> = batch.frames().iter().map(|frame| (of(frame), frame.coalesced(), frame.segmentation())).collect();
    assert!(seen.contains(&(segments[0].clone(), None, None)) && seen.contains(&(frame(MAC, 60, 3), None, None)), "{seen:?}");
    let good = batch.frames().iter().find(|frame| of(frame) == segments[0]).unwrap();
    assert_eq!(good.checksum(), Checksum::Good);
    card.assert_no_violations();
}

/// A connection that falls silent in the middle is not held back: the interrupt's interval ends it, without interrupts one of 50 us.
#[test]
fn a_large_receive_ends_by_time() {
    for (interrupts, moderation, within_us) in
        [(false, Moderation::default(), 60), (true, Moderation::Fixed { us: 200 }, 210), (true, Moderation::Fixed { us: 20 }, 30)]
    {
        let card = Card::new();
        let mut started = card.start(&coalescing().interrupts(interrupts).moderation(moderation));
        let (mut segments, _) = Flow { is_ipv6: false, port: 4000, seq: 1 }.segments(1000, 5);
        // The pushed one is lost.
        segments.pop();
        start_counter(&card, &mut started);
        segments.iter().for_each(|segment| card.send_within(segment, 1));
        let mut batch = Batch::new(64);
        assert_eq!(started.rx[0].poll(&mut batch, 64), 0, "{within_us}");
        card.run_us(within_us);
        assert_eq!(started.rx[0].poll(&mut batch, 64), 1, "{within_us}");
        assert_eq!(batch.frames()[0].coalesced(), Some(4));
        card.assert_no_violations();
    }
}

/// Large buffers hold fewer of a large receive's descriptors; all is below 64 KiB.
#[test]
fn buffers_of_every_size_are_filled_and_small_ones_refused() {
    for kb in [2, 3, 4, 8, 10, 16] {
        let card = Card::new();
        let pool = card.pool(PoolConfig::new(1500).data_bytes(kb * 1024));
        let mut started = card.start(&coalescing().pool(pool));
        let (segments, payload) = Flow { is_ipv6: false, port: 4000, seq: 1 }.segments(1460, 40);
        segments.iter().for_each(|segment| card.send_within(segment, 1));
        let mut batch = Batch::new(64);
        let frames = poll(&card, &mut started, &mut batch);
        assert!((1..=5).contains(&frames), "{kb} KB: {frames}");
        let seen: Vec<u8> = batch.frames().iter().flat_map(|frame| of(frame).split_off(54)).collect();
        assert!(seen == payload, "{kb} KB");
        card.assert_no_violations();
    }
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(1500).data_bytes(1024));
    let (error, _) = crate::common::refused(card.open().unwrap().start(&coalescing().pool(pool)));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::PoolBuffers { buffer_bytes: 1024, min_bytes: 2048 })), "{error}");
    let pool = card.pool(PoolConfig::new(700));
    let (error, _) = crate::common::refused(card.open().unwrap().start(&coalescing().pool(pool)));
    assert!(matches!(error.kind(), ErrorKind::Config(ConfigError::PoolCount { buffers: 700, needed }) if *needed >= 512 + 480), "{error}");
}

/// What was begun when the queue goes is dropped with it; buffers come back.
#[test]
fn what_was_begun_goes_with_its_queue() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(2000));
    let mut started = card.start(&coalescing().pool(pool.clone()));
    let (segments, _) = Flow { is_ipv6: false, port: 4000, seq: 1 }.segments(1400, 5);
    start_counter(&card, &mut started);
    segments[..4].iter().for_each(|segment| card.send_within(segment, 1));
    let mut batch = Batch::new(8);
    assert_eq!(started.rx[0].poll(&mut batch, 8), 0, "begun");
    assert!(pool.available() < 2000 - 512);
    let driver_core::device::Started { mut control, rx, tx, pool: own, .. } = started;
    drop((rx, tx, own, batch));
    control.stop().unwrap();
    drop(control);
    assert_eq!(pool.available(), 2000);
    card.assert_no_violations();
}

/// Frames that were put together are judged as frames: none passes a hook by.
#[test]
fn hooks_judge_what_was_put_together() {
    let card = Card::new();
    let mut started = card.start(&coalescing());
    let (segments, _) = Flow { is_ipv6: false, port: 4000, seq: 1 }.segments(1000, 10);
    start_counter(&card, &mut started);
    segments.iter().for_each(|segment| card.send_within(segment, 1));
    card.send(&frame(MAC, 60, 1));
    card.run_us(1_000);
    let mut batch = Batch::new(64);
    let mut lens = Vec::new();
    let mut hook = |view: &mut FrameView<'_>| {
        lens.push(view.data().len());
        Verdict::Drop
    };
    started.rx[0].poll_with(&mut hook, &mut [&mut started.tx[0]], WhenFull::Drop, &mut batch, 64);
    assert_eq!(batch.frames().iter().map(driver_core::buf::Frame::coalesced).collect::<Vec<_>>(), [Some(10)], "one in several buffers passes");
    assert_eq!(lens, [60], "one in a buffer is dropped");
    card.assert_no_violations();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    /// Connections between each other, polled at any time: each one's bytes come up in order, and every frame is right by itself.
    #[test]
    fn connections_between_each_other_come_up_in_order(
        bursts in prop::collection::vec((0usize..5, 1usize..30, 500u16..1440, 0u64..80), 1..40),
        device in prop::sample::select(FAMILIES.to_vec()),
    ) {
        let card = Card::of(device);
        let mut started = card.start(&coalescing());
        let mut flows: Vec<Flow> = (0..5).map(|k| Flow { is_ipv6: k % 2 == 1, port: 4000 + k, seq: 1000 * u32::from(k) }).collect();
        let (mut wanted, mut seen) = (vec![Vec::new(); 5], vec![Vec::new(); 5]);
        let mut batch = Batch::new(64);
        // Two at a time, a segment of one behind a segment of the other.
        for pair in bursts.chunks(2) {
            let mut queues = Vec::new();
            for &(flow, count, mss, _) in pair {
                let (segments, payload) = flows[flow].segments(mss, count);
                wanted[flow].extend(payload);
                queues.push(segments);
            }
            // Of one connection they stay in order.
            if pair.len() == 2 && pair[0].0 == pair[1].0 {
                let second = queues.pop().unwrap();
                queues[0].extend(second);
            }
            for k in 0..queues.iter().map(Vec::len).max().unwrap() {
                queues.iter().filter_map(|segments| segments.get(k)).for_each(|segment| card.send_within(segment, 1));
            }
            card.run_us(pair[0].3);
            started.rx[0].poll(&mut batch, 64);
            for frame in batch.frames() {
                let bytes = of(frame);
                let is_ipv6 = bytes[12] == 0x86;
                let l4 = if is_ipv6 { 54 } else { 34 };
                let flow = usize::from(u16::from_be_bytes([bytes[l4], bytes[l4 + 1]]) - 4000);
                // The IP header is right, whatever became of the frame.
                if is_ipv6 {
                    prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[18], bytes[19]])), bytes.len() - 54);
                } else {
                    prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[16], bytes[17]])), bytes.len() - 14);
                    let mut sum = Sum::new();
                    sum.add(&bytes[14..34]);
                    prop_assert_eq!(sum.value(), 0xffff);
                }
                seen[flow].extend_from_slice(&bytes[l4 + 20..]);
            }
            batch.clear();
        }
        batch.clear();
        while poll(&card, &mut started, &mut batch) > 0 {
            for frame in batch.frames() {
                let bytes = of(frame);
                let l4 = if bytes[12] == 0x86 { 54 } else { 34 };
                seen[usize::from(u16::from_be_bytes([bytes[l4], bytes[l4 + 1]]) - 4000)].extend_from_slice(&bytes[l4 + 20..]);
            }
            batch.clear();
        }
        prop_assert!(seen == wanted);
        card.assert_no_violations();
    }
}
