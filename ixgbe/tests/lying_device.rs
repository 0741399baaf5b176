//! A card that reports what cannot be: the queue breaks with what was seen, nothing beyond the lent buffer is read, and all else goes on.

use crate::rig::{Rig, numbered};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice};
use driver_core::queue::{QueueFault, RxQueue};

#[test]
fn a_length_beyond_the_buffer_breaks_the_queue() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new());
    let mut batch = Batch::new(64);
    for number in 0..20 {
        rig.send(&numbered(number, 60));
    }
    rig.run_us(500);
    assert_eq!(port.rx[0].poll(&mut batch, 64), 20);
    batch.clear();
    rig.faults(|faults| faults.rx_length = Some(9999));
    rig.send(&numbered(20, 60));
    rig.run_us(500);
    assert_eq!(port.rx[0].poll(&mut batch, 64), 0);
    assert_eq!(port.rx[0].fault(), Some(QueueFault::Length { slot: 20, len_bytes: 9999, max_bytes: 2048 }));
    // Broken for good, however good the next frame is.
    rig.faults(|faults| faults.rx_length = None);
    rig.send(&numbered(21, 60));
    rig.run_us(500);
    assert_eq!(port.rx[0].poll(&mut batch, 64), 0);
    let pool = port.pool.clone();
    port.control.stop().unwrap();
    drop((port, batch));
    assert_eq!(pool.available(), pool.len());
}

#[test]
fn a_lie_within_the_lent_buffer_is_only_a_wrong_length() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new());
    let mut batch = Batch::new(64);
    rig.faults(|faults| faults.rx_length = Some(2000));
    rig.send(&numbered(0, 60));
    rig.run_us(500);
    assert_eq!(port.rx[0].poll(&mut batch, 64), 1);
    assert_eq!(batch.frames()[0].len(), 2000);
    assert!(batch.frames()[0].data().starts_with(&numbered(0, 60)));
}

#[test]
fn a_frame_that_never_ends_breaks_the_queue() {
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new().mtu(9000));
    let mut batch = Batch::new(64);
    // Each frame of five descriptors claims 2048 bytes in the last: more than MAXFRS lets through in all.
    rig.faults(|faults| faults.rx_length = Some(2048));
    rig.send(&numbered(0, 9000));
    rig.run_us(500);
    assert_eq!(port.rx[0].poll(&mut batch, 64), 0);
    assert!(matches!(port.rx[0].fault(), Some(QueueFault::Protocol(_))), "{:?}", port.rx[0].fault());
}
