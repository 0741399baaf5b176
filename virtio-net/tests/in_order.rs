//! Devices that use buffers in order (VIRTIO_F_IN_ORDER), and tell of many by the last one alone, or of each.

use super::rig::{Rig, numbered, pool};
use driver_core::buf::Batch;
use driver_core::device::{DeviceState, NetDevice, TxConfig};
use driver_core::queue::{TxQueue, TxState};
use sim::virtio_net::VirtioNetOptions;
use virtio_net::Features;

fn options() -> VirtioNetOptions {
    super::rig::without(Features::empty()).in_order(true)
}

/// Every byte both ways, many rounds long: chains in the ring and in tables, frames of several receive buffers, of which all but the last are skipped.
#[test]
fn what_one_entry_stands_for_comes_and_goes_as_if_each_had_its_own() {
    for skips in [true, false] {
        for without in [Features::empty(), Features::INDIRECT_DESC, Features::INDIRECT_DESC | Features::EVENT_IDX] {
            let mut rig = Rig::with(options().without(without.bits()).skips(skips));
            let pool = pool(&rig, 600);
            let mut parts = rig.parts(&super::rig::any().rx_ring(64).tx_ring(64).mtu(9000).pool(pool.clone()));
            assert_eq!(rig.model(|m| m.negotiated()) & Features::IN_ORDER.bits(), Features::IN_ORDER.bits());
            super::rounds::there_and_back(&mut rig, &mut parts);
            let counters = rig.model(|m| m.counters());
            assert!(counters.chained > 0 && counters.merged > 0);
            assert_eq!(counters.skipped > 0, skips);
            drop(parts);
            rig.assert_clean();
            assert_eq!(pool.available(), 600);
        }
    }
}

/// What came back is seen from another thread, whoever stands for it, though the queue's own has not looked yet.
#[test]
fn frames_that_another_stands_for_do_not_hang() {
    let rig = Rig::with(options());
    let mut parts = rig.parts(&super::rig::any().mtu(9000).tx(TxConfig::new().ring(64).timeout_us(300_000)));
    for round in 0..7 {
        // In chains and alone, round the ring's end.
        parts.send((0..20).map(|k| numbered(20 * round + k, if k % 4 == 1 { 3000 } else { 60 })).collect::<Vec<_>>());
        for _ in 0..20 {
            rig.run_us(50_000);
            assert_eq!(parts.control.watch(), DeviceState::Running);
        }
    }
    assert_eq!((parts.control.recovered(), parts.tx.fault()), (None, None));
    assert!(rig.model(|m| m.counters().skipped) > 100);
    drop(parts);
    rig.assert_clean();
}

/// What the device has said of the last frame alone is not lost with its queue; what it received is.
#[test]
fn frames_that_another_stands_for_are_accounted_for() {
    for drops_first in [true, false] {
        let mut rig = Rig::with(options());
        let parts = rig.parts(&super::rig::any().rx_ring(64).tx_ring(64).mtu(9000));
        let super::rig::Parts { mut control, rx, mut tx, pool } = parts;
        let mut submit = |frames: &[usize]| {
            let mut batch = Batch::new(16);
            frames.iter().for_each(|&len| batch.push(pool.frame_from(&numbered(1, len)).unwrap()).unwrap());
            assert_eq!((tx.submit(&mut batch), batch.len()), (TxState::Running, 0));
        };
        submit(&[60, 2000, 60, 60, 2000]);
        rig.run_us(50);
        rig.model(|model| model.hold_tx = true);
        // The first five are not taken back before.
        rig.send(&numbered(1, 8900));
        rig.send(&numbered(2, 60));
        rig.run_us(50);
        assert_eq!(rig.model(|m| m.counters().skipped), 4 + 4);
        if drops_first {
            drop((rx, tx));
            control.stop().unwrap();
        } else {
            control.stop().unwrap();
            drop((rx, tx));
        }
        let accounts = control.accounts();
        // A received frame of several buffers counts for each of them.
        assert_eq!((accounts.tx_taken, accounts.tx_lost, accounts.rx_delivered, accounts.rx_lost), (5, 0, 0, 6));
        drop((control, pool));
        rig.assert_clean();
    }
}

#[test]
fn order_is_the_devices_own_where_it_is_not_wanted() {
    let rig = Rig::with(options());
    let mut parts = rig.parts(&super::rig::any().in_order(false));
    assert_eq!(rig.model(|m| m.negotiated()) & Features::IN_ORDER.bits(), 0);
    assert!(parts.control.info().unused_features.iter().any(|name| name == "IN_ORDER"));
    rig.model(|m| m.last_first = true);
    parts.send(&[numbered(1, 60), numbered(2, 60), numbered(3, 60)]);
    rig.run_us(20);
    assert_eq!((parts.tx.reclaim(), parts.tx.fault()), (3, None));
    drop(parts);
    rig.assert_clean();
}
