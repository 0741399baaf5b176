//! Frames in both directions: equal, in order, of every length, and no buffer lost.

use super::rig::{Rig, bytes_of, numbered, pool, small, without};
use driver_core::buf::{Batch, BufPool, Checksum, PoolConfig, Segmentation, SegmentationKind};
use driver_core::device::NetDevice;
use driver_core::offload::{OffloadError, SegmentationError};
use driver_core::queue::{Refusal, RxQueue, TxQueue, TxState};
use sim::Iommu;
use virtio_net::Features;

#[test]
fn an_echo_returns_every_frame_as_it_was() {
    for features in [Features::empty(), Features::EVENT_IDX, Features::MRG_RXBUF, Features::EVENT_IDX | Features::INDIRECT_DESC | Features::MRG_RXBUF]
    {
        let mut rig = Rig::with(without(features));
        let pool = pool(&rig, 512);
        let mut parts = rig.parts(&small().pool(pool.clone()));
        let mut batch = Batch::new(32);
        let mut back = Vec::new();
        for round in 0..40u32 {
            for number in 0..20 {
                rig.send(&numbered(round * 20 + number, 60 + (round * 37 + number * 101) as usize % 1455));
            }
            for _ in 0..4 {
                rig.run_us(20);
                parts.rx.poll(&mut batch, 32);
                assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            }
            rig.run_us(20);
            back.extend(rig.arrived());
        }
        assert_eq!(back.len(), 800, "without {features:?}");
        for (number, frame) in (0..).zip(&back) {
            assert_eq!(frame, &numbered(number, 60 + (number / 20 * 37 + number % 20 * 101) as usize % 1455));
        }
        let stats = parts.control.stats();
        let bytes = back.iter().map(|frame| frame.len() as u64).sum::<u64>();
        assert_eq!((stats.rx_packets, stats.tx_packets, stats.rx_bytes, stats.tx_bytes), (800, 800, bytes, bytes));
        assert_eq!((stats.rx_errors, parts.rx.counters().errors, parts.tx.counters().packets), (0, 0, 800));
        let xstats = parts.control.xstats();
        let of = |name: &str| xstats.iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value);
        let frames = ["rx_q0_packets", "rx_q0_delivered", "tx_q0_packets", "tx_q0_taken"].map(of);
        assert_eq!((frames, ["rx_q0_bytes", "tx_q0_bytes"].map(of)), ([Some(800); 4], [Some(bytes); 2]));
        assert_eq!(
            (["rx_q0_errors", "rx_q0_header_errors", "rx_q0_length_errors", "tx_q0_lost"].map(of), of("rx_q0_dropped")),
            ([Some(0); 4], None),
            "nobody counts those"
        );
        drop((parts, batch));
        assert_eq!(pool.available(), 512);
        rig.assert_clean();
    }
}

#[test]
fn used_buffers_may_come_back_in_any_order() {
    let mut rig = Rig::new();
    rig.model(|m| m.last_first = true);
    let mut parts = rig.parts(&small());
    for round in 0..30 {
        let frames: Vec<_> = (0..10).map(|k| numbered(round * 10 + k, 100)).collect();
        parts.send(&frames);
        rig.run_us(50);
        assert_eq!(rig.arrived(), frames);
    }
    parts.tx.reclaim();
    assert_eq!(parts.tx.pending(), 0);
    rig.assert_clean();
}

#[test]
fn short_frames_are_padded_with_zeros() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    parts.send([&numbered(1, 18), &numbered(2, 59), &numbered(3, 60)]);
    rig.run_us(50);
    let arrived = rig.arrived();
    assert_eq!(arrived.iter().map(Vec::len).collect::<Vec<_>>(), [60, 60, 60]);
    assert_eq!(arrived[0][..18], numbered(1, 18));
    assert!(arrived[0][18..].iter().all(|&byte| byte == 0));
    rig.assert_clean();
}

#[test]
fn what_cannot_be_sent_is_refused_and_stays() {
    let rig = Rig::with(without(Features::CSUM));
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    let pool = parts.pool.clone();
    let mut refuse = |change: &dyn Fn(&mut driver_core::buf::Frame), len, wanted: Refusal| {
        let mut frame = pool.frame_from(&numbered(9, len)).unwrap();
        change(&mut frame);
        batch.push(frame).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Refused(wanted));
        assert_eq!(batch.len(), 1);
        batch.clear();
    };
    refuse(&|frame| frame.trim(13).unwrap(), 60, Refusal::TooShort { len_bytes: 13 });
    refuse(&|_| {}, 1515, Refusal::TooLong { len_bytes: 1515, max_bytes: 1514 });
    let cut = Segmentation { kind: SegmentationKind::Tcp4, mss_bytes: 20, header_bytes: 54 };
    refuse(&|frame| frame.set_segmentation(Some(cut)), 100, Refusal::Segmentation(SegmentationError::Headers(SegmentationKind::Tcp4)));
    let place = OffloadError::Place { start: 14, offset: 85, len_bytes: 100 };
    refuse(&|frame| frame.set_checksum(Checksum::Partial { start: 14, offset: 85 }), 100, Refusal::Checksum(place));
    // With its tag it has two, and the MTU's longest frame has one.
    let twice = |frame: &mut driver_core::buf::Frame| {
        frame.data_mut()[12..14].copy_from_slice(&[0x88, 0xa8]);
        frame.set_vlan(Some(5));
    };
    refuse(&twice, 1515, Refusal::TooLong { len_bytes: 1519, max_bytes: 1518 });
    let pieces = |frame: &mut driver_core::buf::Frame| {
        for _ in 0..63 {
            frame.append(pool.frame_from(&[1; 10]).unwrap());
        }
    };
    refuse(&pieces, 100, Refusal::TooManySegments { segments: 64, max: 63 });
    assert_eq!(parts.tx.pending(), 0);
    rig.assert_clean();
}

#[test]
fn a_frame_from_a_card_in_the_same_domain_is_sent_without_a_copy() {
    let iommu = Iommu::new();
    let mut a = Rig::in_domain(&iommu, super::rig::without(Features::empty()), 0);
    let mut b = Rig::in_domain(&iommu, super::rig::without(Features::empty()), 0);
    let (mut pa, mut pb) = (a.parts(&small()), b.parts(&small()));
    let mut batch = Batch::new(32);
    for number in 0..300 {
        a.send(&numbered(number, 200));
        a.run_us(10);
        pa.rx.poll(&mut batch, 32);
        assert_eq!(pb.tx.submit(&mut batch), TxState::Running);
        b.run_us(10);
        assert_eq!(b.arrived(), [numbered(number, 200)]);
    }
    assert_eq!(pb.tx.counters().bounced, 0);
    drop((pa.rx, pa.tx, pb.rx, pb.tx));
    a.assert_clean();
    b.assert_clean();
}

#[test]
fn a_frame_of_another_domain_is_copied() {
    let (a, mut b) = (Rig::new(), Rig::new());
    let elsewhere = BufPool::new(&a.domain(), PoolConfig::new(8)).unwrap();
    let mut parts = b.parts(&small());
    let mut batch = Batch::new(4);
    batch.push(elsewhere.frame_from(&numbered(4, 300)).unwrap()).unwrap();
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
    assert_eq!(elsewhere.available(), 8);
    b.run_us(20);
    assert_eq!(b.arrived(), [numbered(4, 300)]);
    assert_eq!(parts.tx.counters().bounced, 1);
    b.assert_clean();
}

#[test]
fn buffers_without_headroom_get_their_header_apart() {
    for features in [Features::empty(), Features::INDIRECT_DESC] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&small());
        let bare = BufPool::new(&rig.domain(), PoolConfig::new(512).headroom_bytes(0)).unwrap();
        let mut batch = Batch::new(32);
        for number in 0..200 {
            batch.push(bare.frame_from(&numbered(number, 100 + number as usize)).unwrap()).unwrap();
            assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            rig.run_us(10);
            assert_eq!(rig.arrived(), [numbered(number, 100 + number as usize)]);
        }
        let counters = rig.model(|m| m.counters());
        assert_eq!(counters.chained, 200);
        // A frame whose start was moved into the headroom has none left either.
        let mut frame = parts.pool.take().unwrap();
        let all = frame.headroom();
        frame.push(all).unwrap().copy_from_slice(&numbered(5, all));
        batch.push(frame).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(10);
        assert_eq!(rig.arrived(), [numbered(5, all)]);
        drop((parts, batch));
        assert_eq!(bare.available(), 512);
        rig.assert_clean();
    }
}

#[test]
fn chains_go_in_tables_or_in_the_ring_and_all_descriptors_come_back() {
    for (features, table) in [(Features::empty(), true), (Features::INDIRECT_DESC, false)] {
        let mut rig = Rig::with(without(features));
        let mut parts = rig.parts(&small());
        for round in 0..100 {
            let mut batch = Batch::new(4);
            let mut wanted = Vec::new();
            // 2 pieces; 16, which fill a table; 17 and 20, which do not fit.
            for pieces in [2, 16, 17, 20] {
                let mut frame = parts.pool.frame_from(&numbered(round, 40)).unwrap();
                for piece in 1..pieces {
                    frame.append(parts.pool.frame_from(&[piece; 30]).unwrap());
                }
                // A piece of no bytes takes no descriptor.
                frame.append(parts.pool.take().unwrap());
                wanted.push(bytes_of(&frame));
                batch.push(frame).unwrap();
            }
            assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
            assert_eq!(parts.tx.pending(), if table { 1 + 1 + 17 + 20 } else { 2 + 16 + 17 + 20 });
            rig.run_us(30);
            assert_eq!(rig.arrived(), wanted);
            parts.tx.reclaim();
            assert_eq!(parts.tx.pending(), 0);
        }
        drop(parts);
        rig.assert_clean();
    }
}

#[test]
fn a_frame_that_begins_with_an_empty_segment_is_whole() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    for rest in [60, 1400] {
        let mut frame = parts.pool.take().unwrap();
        let mut second = parts.pool.frame_from(&numbered(1, rest)).unwrap();
        // What lies before its data is no header.
        second.push(20).unwrap().fill(0xee);
        second.pull(20).unwrap();
        frame.append(second);
        let wanted = bytes_of(&frame);
        batch.push(frame).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(20);
        assert_eq!(rig.arrived(), [wanted]);
    }
    drop((parts, batch));
    rig.assert_clean();
}
