//! Packed queues of devices that differ in what they write into used descriptors: QEMU's and DPDK's ways.

use super::rig::{Rig, numbered, pool};
use driver_core::queue::TxQueue;
use sim::virtio_net::UsedIds;
use virtio_net::Features;

/// The ID of a chain's first descriptor or its last, with WRITE set or without, chains in the ring and in tables: every byte both ways, many rounds long.
#[test]
fn every_way_of_giving_buffers_back_is_understood() {
    for (used_ids, says_write) in [(UsedIds::First, false), (UsedIds::Last, false), (UsedIds::Last, true)] {
        for without in [Features::empty(), Features::INDIRECT_DESC, Features::INDIRECT_DESC | Features::EVENT_IDX] {
            let mut rig = Rig::with(super::rig::without(without).used_ids(used_ids).says_write(says_write));
            let pool = pool(&rig, 600);
            let mut parts = rig.parts(&super::rig::any().rx_ring(64).tx_ring(64).mtu(9000).pool(pool.clone()));
            assert_eq!(rig.model(|m| m.negotiated()) & Features::RING_PACKED.bits(), Features::RING_PACKED.bits());
            super::rounds::there_and_back(&mut rig, &mut parts);
            assert!(rig.model(|m| m.counters()).chained > 0);
            drop(parts);
            rig.assert_clean();
            assert_eq!(pool.available(), 600);
        }
    }
}

/// A device may use buffers in any order: frames that are sent come back last first.
#[test]
fn buffers_may_come_back_in_any_order() {
    for without in [Features::empty(), Features::INDIRECT_DESC] {
        let mut rig = Rig::with(super::rig::without(without));
        let pool = pool(&rig, 600);
        let mut parts = rig.parts(&super::rig::any().rx_ring(64).tx_ring(64).mtu(9000).pool(pool.clone()));
        rig.model(|m| m.last_first = true);
        for round in 0..100 {
            let frames: Vec<_> = (0..1 + round % 9).map(|k| numbered(10 * round + k, if k % 4 == 3 { 4000 } else { 60 })).collect();
            parts.send(&frames);
            rig.run_us(20);
            assert_eq!(rig.arrived(), frames, "round {round}");
            // Some are left for the next round.
            if round % 3 == 0 {
                parts.tx.reclaim();
            }
        }
        rig.model(|m| m.last_first = false);
        parts.tx.reclaim();
        assert_eq!((parts.tx.pending(), parts.tx.fault()), (0, None));
        drop(parts);
        rig.assert_clean();
        assert_eq!(pool.available(), 600);
    }
}
