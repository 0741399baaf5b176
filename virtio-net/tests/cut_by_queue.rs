//! Frames that ask to be cut on a device that does not cut: the queue does it, and all segments of a frame go out or none.

use super::rig::{Rig, bytes_of, small};
use crate::packets::{Packet, TCP, UDP, cut_by_software};
use driver_core::buf::{Batch, BufPool, Frame, PoolConfig};
use driver_core::device::{NetDevice, TxConfig};
use driver_core::offload::SegmentationError;
use driver_core::queue::{GateConfig, Refusal, TxQueue, TxState};
use proptest::prelude::*;
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::Features;

fn asking(pool: &BufPool, packet: &Packet, mss: u16) -> Frame {
    let mut frame = packet.in_pieces(pool, 2048, 2048);
    frame.set_segmentation(Some(packet.cut(mss)));
    frame
}

prop_compose! {
    fn packets()(is_tcp: bool, is_ipv6: bool, options in 0usize..4, len in 1usize..15_000, seed: u8) -> Packet {
        let payload = (0..len).map(|k| (k * 5 + k / 256) as u8 ^ seed).collect();
        let protocol = if is_tcp { TCP } else { UDP };
        Packet { options, payload, ..Packet::new(protocol, is_ipv6, 0) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), failure_persistence: None, ..ProptestConfig::default() })]

    /// Beside what a device sends that cuts by itself, byte for byte, with the accounts of both the same; the padding of what is short is the queue's alone.
    #[test]
    fn what_the_queue_cuts_is_what_a_device_cuts(packet in packets(), mss in 60u16..1380, tag in prop::option::weighted(0.4, any::<u16>()), sums: bool) {
        let mut seen = Vec::new();
        for by_device in [false, true] {
            let missing = if sums { Features::empty() } else { Features::CSUM };
            let options = Options::new().segmentation(by_device);
            let mut rig = Rig::with(if by_device { options } else { options.without(missing.bits()) });
            let mut parts = rig.parts(&small().tx_ring(256));
            let mut frame = asking(&parts.pool, &packet, mss);
            frame.set_vlan(tag);
            if sums {
                frame.set_checksum(packet.partial());
            }
            let mut batch = Batch::new(1);
            batch.push(frame).unwrap();
            prop_assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            rig.run_us(400);
            let mut arrived = rig.arrived();
            let shortest = 60;
            arrived.iter_mut().for_each(|frame| frame.resize(frame.len().max(shortest), 0));
            let stats = parts.control.stats();
            let accounts = parts.control.accounts();
            // The tag of a whole frame is put in before it is counted.
            let bytes = stats.tx_bytes - if by_device && tag.is_some() { 4 } else { 0 };
            seen.push((arrived, stats.tx_packets, bytes, accounts.tx_taken, accounts.tx_cut));
            drop((parts, batch));
            rig.assert_clean();
        }
        prop_assert_eq!(&seen[0], &seen[1]);
    }
}

/// A ring of 64 and frames of 20 segments, two of which do not fit: the queue stops, and goes on when there is room for all.
#[test]
fn a_frame_goes_out_whole_or_stays_whole() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small().tx(TxConfig::new().ring(64)));
    rig.model(|model| model.hold_tx = true);
    let packet = Packet::new(TCP, false, 20_000);
    let (mut batch, mut wanted) = (Batch::new(8), Vec::new());
    for _ in 0..8 {
        let frame = asking(&parts.pool, &packet, 1000);
        wanted.extend(cut_by_software(&frame));
        batch.push(frame).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    assert_eq!((batch.len(), parts.tx.pending(), parts.control.accounts().tx_cut), (5, 60, 3 * 19));
    assert!(batch.frames().iter().all(|frame| bytes_of(frame) == packet.bytes()), "the others are as they were");
    rig.run_us(100);
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped, "nothing came back");
    rig.model(|model| model.hold_tx = false);
    for _ in 0..4 {
        rig.run_us(100);
        let _ = parts.tx.submit(&mut batch);
    }
    rig.run_us(100);
    assert!(batch.is_empty());
    assert_eq!(rig.arrived(), wanted);
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn what_never_fits_is_refused_by_its_number_of_segments() {
    let rig = Rig::new();
    let mut parts = rig.parts(&small());
    let packet = Packet::new(UDP, true, 6500);
    for (mss, segments) in [(100, 65), (102, 64)] {
        let mut batch = Batch::new(1);
        batch.push(asking(&parts.pool, &packet, mss)).unwrap();
        let wanted = if segments > 64 { TxState::Refused(Refusal::TooManySegments { segments, max: 64 }) } else { TxState::Stopped };
        assert_eq!(parts.tx.submit(&mut batch), wanted, "{segments} segments");
        assert_eq!(batch.len(), usize::from(segments > 64));
    }
    drop(parts);
    rig.assert_clean();
}

/// What is missing are buffers: what lies empty in the batch is used, and without any the frame stays, to be sent later.
#[test]
fn a_pool_without_buffers_for_all_segments_loses_nothing() {
    let mut rig = Rig::new();
    // 64 for the receive queue, 5 for the frame, and as many as there are segments.
    let pool = BufPool::new(&rig.domain(), PoolConfig::new(64 + 5 + 10)).unwrap();
    let mut parts = rig.parts(&small().pool(pool.clone()));
    let packet = Packet::new(TCP, true, 9500);
    let mut batch = Batch::new(16);
    batch.push(asking(&pool, &packet, 1000)).unwrap();
    let wanted = cut_by_software(&batch.frames()[0]);
    let held = pool.take().unwrap();
    assert_eq!(parts.tx.submit(&mut batch), TxState::Refused(Refusal::Segmentation(SegmentationError::PoolEmpty)));
    assert_eq!((bytes_of(&batch.frames()[0]), pool.available(), parts.tx.pending()), (packet.bytes(), 9, 0));
    batch.recycle(held);
    assert_eq!(pool.available(), 9, "the tenth lies in the batch");
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
    rig.run_us(100);
    assert_eq!(rig.arrived(), wanted);
    drop((parts, batch));
    rig.assert_clean();
    assert_eq!(pool.available(), pool.len());
}

/// A queue that counts bytes in flight counts those of the segments, and all come back.
#[test]
fn bytes_in_flight_are_those_of_the_segments() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small().tx(TxConfig::new().ring(64).gate(GateConfig::default().byte_limit(6_000))));
    let packet = Packet::new(TCP, false, 5000);
    for round in 0..5 {
        rig.model(|model| model.hold_tx = true);
        let mut batch = Batch::new(4);
        batch.push(asking(&parts.pool, &packet, 1000)).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running, "round {round}: 5270 bytes");
        batch.push(asking(&parts.pool, &packet, 1000)).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped, "round {round}");
        assert!(batch.is_empty());
        rig.model(|model| model.hold_tx = false);
        rig.run_us(200);
        assert_eq!((parts.tx.reclaim(), parts.tx.pending(), rig.arrived().len()), (10, 0, 10));
    }
    drop(parts);
    rig.assert_clean();
}
