//! Where empty buffers go between a card's receive and transmit queues: from batch to batch, and not through the pool.

use crate::rig::{Rig, Started, numbered};
use driver_core::buf::Batch;
use driver_core::device::Config;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::Iommu;

/// Lets `count` frames come in and sends them back, with a batch for each direction.
fn forward(rig: &mut Rig, port: &mut Started, (rx, tx): (&mut Batch, &mut Batch), count: u32) {
    for number in 0..count {
        rig.send(&numbered(number, 60));
    }
    rig.run_us(500);
    assert_eq!(port.rx[0].poll(rx, 64) as u32, count);
    assert_eq!(tx.take_from(rx) as u32, count);
    assert_eq!(port.tx[0].submit(tx), TxState::Running);
    rig.run_us(500);
    assert_eq!(rig.arrived().len() as u32, count);
}

/// How many of a hundred rounds change what is free, once the caches have what it takes: what is in flight goes up and down with the card's reports.
fn visits<T: PartialEq>(mut round: impl FnMut(usize) -> T) -> usize {
    let free: Vec<T> = (0..150).map(&mut round).skip(50).collect();
    free.windows(2).filter(|two| two[0] != two[1]).count()
}

#[test]
fn a_batch_for_each_direction_leaves_the_pool_alone() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::default());
    let (mut rx, mut tx) = (Batch::new(64), Batch::new(64));
    let visits = visits(|round| {
        forward(&mut rig, &mut port, (&mut rx, &mut tx), [32, 1, 20, 17][round % 4]);
        port.pool.available()
    });
    assert_eq!(visits, 0);
}

/// Two cards with a pool each, bridged by one thread with one batch: each turn from one pool to the other finds its buffers where it left them.
#[test]
fn a_bridge_between_two_pools_leaves_them_alone() {
    let iommu = Iommu::new();
    let mut rigs = [Rig::in_domain(&iommu, 0), Rig::in_domain(&iommu, 0)];
    let mut ports = [rigs[0].start(&Config::default()), rigs[1].start(&Config::default())];
    let mut batch = Batch::new(64);
    let mut bridge = |count: u32| {
        for from in [0, 1] {
            for number in 0..count {
                rigs[from].send(&numbered(number, 60));
            }
            rigs[from].run_us(500);
            assert_eq!(ports[from].rx[0].poll(&mut batch, 64) as u32, count);
            assert_eq!(ports[1 - from].tx[0].submit(&mut batch), TxState::Running);
            rigs[1 - from].run_us(500);
            assert_eq!(rigs[1 - from].arrived().len() as u32, count);
        }
        [ports[0].pool.available(), ports[1].pool.available()]
    };
    let visits = visits(|round| bridge([32, 1, 20, 17][round % 4]));
    assert_eq!(visits, 0);
}
