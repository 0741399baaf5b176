//! Queues dropped while the card runs: it stops the hardware queue first, and where the card does not confirm, it leaks rather than lends.

use crate::rig::{Rig, numbered, queue};
use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Config, NetDevice, RxConfig, TxConfig};
use driver_core::queue::{TxQueue, TxState};

fn pool_of(rig: &Rig) -> BufPool {
    BufPool::new(&rig.domain(), PoolConfig::new(1024)).unwrap()
}

#[test]
fn a_receive_queue_is_stopped_before_its_buffers_return() {
    let mut rig = Rig::new();
    let pool = pool_of(&rig);
    let mut port = rig.start(&Config::new().pool(pool.clone()));
    assert_eq!(pool.available(), 1024 - 512);
    drop(port.rx.remove(0));
    assert_eq!(pool.available(), 1024);
    // Whatever arrives now goes nowhere: above all not to the memory that was given back.
    for number in 0..50 {
        rig.send(&numbered(number, 60));
    }
    rig.run_us(5_000);
    assert_eq!(rig.violations(), "");
    port.control.stop().unwrap();
    assert_eq!(rig.violations(), "");
}

#[test]
fn a_transmit_queue_lets_its_frames_out_and_returns_their_buffers() {
    let mut rig = Rig::new();
    let pool = pool_of(&rig);
    let mut port = rig.start(&Config::new().pool(pool.clone()));
    let mut batch = Batch::new(64);
    queue(&mut batch, &pool, 0..50, 60);
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
    drop(port.tx.remove(0));
    assert_eq!(pool.available(), 1024 - 512);
    assert_eq!(rig.arrived().len(), 50);
    assert_eq!(rig.violations(), "");
}

#[test]
fn frames_that_a_stop_gives_up_are_counted() {
    let rig = Rig::new();
    let mut port = rig.start(&Config::new());
    rig.faults(|faults| faults.hang_tx = true);
    let mut batch = Batch::new(64);
    queue(&mut batch, &port.pool, 0..50, 60);
    assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
    port.control.stop().unwrap();
    assert_eq!(port.control.stats().tx_dropped, 50);
    let pool = port.pool.clone();
    drop((port, batch));
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn a_queue_that_the_card_does_not_stop_leaks_its_buffers() {
    let rig = Rig::new();
    let pool = pool_of(&rig);
    let mut port = rig.start(&Config::new().pool(pool.clone()));
    rig.faults(|faults| faults.queue_disable_stuck = true);
    drop(port.rx.remove(0));
    assert_eq!(pool.available(), 1024 - 512, "the card may still write to them");
    rig.faults(|faults| faults.queue_disable_stuck = false);
    port.control.stop().unwrap();
    assert_eq!(pool.available(), 1024 - 512, "a leak is for good");
}

#[test]
fn everything_dropped_at_once_returns_everything() {
    let rig = Rig::new();
    let pool = pool_of(&rig);
    let port = rig.start(&Config::new().pool(pool.clone()).rx_queues(1).tx_queues(1));
    drop(port);
    assert_eq!(pool.available(), 1024);
    assert_eq!(rig.violations(), "");
    // The card can be opened and started again.
    let port = rig.start(&Config::new().pool(pool.clone()));
    drop(port);
    assert_eq!(rig.violations(), "");
}

/// Servers of vfio-user take few mappings, and the IOMMU's memory is dear: what a start lends is the pool and one region of rings, which has no more bytes than
/// the rings (each mapping is of a huge page of 2 MiB where a host has them).
#[test]
fn the_rings_of_all_queues_share_one_mapping() {
    let rig = Rig::new();
    let before = rig.device.iommu().mappings();
    let started = rig.start(&Config::new().rx(RxConfig::new().queues(16)).tx(TxConfig::new().queues(16)));
    assert_eq!(rig.device.iommu().mappings() - before, 2);
    let pool_bytes = rig.device.iommu().mapping_bytes().into_iter().max().unwrap();
    let ring_bytes = rig.device.iommu().mapping_bytes().iter().sum::<u64>() - pool_bytes;
    assert_eq!(ring_bytes, 2 * 16 * 512 * 16, "2 x 16 rings of 512 descriptors of 16 bytes");
    drop(started);
    assert_eq!(rig.device.iommu().mappings(), before);
}
