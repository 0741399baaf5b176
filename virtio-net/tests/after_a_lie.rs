//! A queue that a lie broke works again when its device is stopped and started, and the device has touched nothing that it was not lent.

use super::rig::{Rig, numbered, pool, small};
use driver_core::buf::Batch;
use driver_core::device::NetDevice;
use driver_core::queue::{RxQueue, TxQueue};
use sim::virtio_net::Faults;

type Lie = fn(&mut Faults);

/// Breaks a queue by a lie, receiving or sending, then stops and starts the device.
fn works_after(lie: Lie, receives: bool) {
    let mut rig = Rig::new();
    let pool = pool(&rig, 512);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    rig.faults(lie);
    if receives {
        rig.send(&numbered(1, 60));
        rig.send(&numbered(2, 60));
    } else {
        parts.send(&[numbered(1, 60), numbered(2, 60)]);
    }
    rig.run_us(50);
    let mut batch = Batch::new(64);
    parts.rx.poll(&mut batch, 64);
    batch.clear();
    parts.tx.reclaim();
    assert_eq!((parts.rx.fault().is_some(), parts.tx.fault().is_some()), (receives, !receives), "the lie was seen, and no other queue minds");
    parts.control.stop().unwrap();
    drop((parts, batch));
    assert_eq!(pool.available(), 512, "buffers lost");
    rig.arrived();
    // What was armed and not used belongs to the lie.
    rig.faults(|faults| *faults = Faults::default());

    let mut again = rig.parts(&small().pool(pool.clone()));
    for number in 0..200 {
        rig.send(&numbered(number, 60));
        again.send(&[numbered(number, 70)]);
        rig.run_us(50);
        assert_eq!((again.receive(), rig.arrived()), (vec![numbered(number, 60)], vec![numbered(number, 70)]));
        again.tx.reclaim();
    }
    assert_eq!((again.rx.fault(), again.tx.fault()), (None, None));
    drop(again);
    assert_eq!(pool.available(), 512, "buffers lost");
    rig.assert_clean();
}

#[test]
fn a_receive_queue_that_a_lie_broke_works_after_a_reset() {
    let lies: [Lie; 6] = [
        |faults| faults.rx_id = Some(64),
        |faults| faults.rx_twice = true,
        |faults| faults.rx_len = Some(u32::MAX),
        |faults| faults.rx_len = Some(3),
        |faults| faults.num_buffers = Some(0),
        |faults| faults.num_buffers = Some(u16::MAX),
    ];
    lies.into_iter().for_each(|lie| works_after(lie, true));
}

#[test]
fn a_transmit_queue_that_a_lie_broke_works_after_a_reset() {
    let lies: [Lie; 3] = [|faults| faults.tx_id = Some(64), |faults| faults.tx_id = Some(50), |faults| faults.tx_twice = true];
    lies.into_iter().for_each(|lie| works_after(lie, false));
}
