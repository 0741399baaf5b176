//! A device that writes what it must not: the queue breaks with a fault that says what was seen, and no buffer gets lost.

use std::sync::atomic::Ordering;

use super::rig::{Parts, Rig, numbered, pool, small};
use driver_core::buf::{Batch, BufPool};
use driver_core::device::{DeviceState, NetDevice, Recovery};
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use sim::virtio_net::{Faults, VirtioNet as Model};
use virtio_net::ErrorKind;

const AHEAD: QueueFault = QueueFault::Protocol("the used ring's idx runs ahead of the buffers that the device was given");

fn rig() -> (Rig, Parts, BufPool) {
    let rig = Rig::new();
    let pool = pool(&rig, 512);
    let parts = rig.parts(&small().pool(pool.clone()));
    (rig, parts, pool)
}

/// What a receive queue makes of two frames that come with these lies, and how many frames it hands up.
fn receive_with(lie: impl Fn(&mut Faults)) -> (Option<QueueFault>, usize) {
    let (mut rig, mut parts, pool) = rig();
    let mut batch = Batch::new(64);
    // Honest frames first, so that indexes are in the middle and every buffer holds a good header of an earlier frame.
    for count in [64; 10].into_iter().chain([10]) {
        (0..count).for_each(|number| rig.send(&numbered(number, 60)));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 64), count as usize);
        batch.clear();
    }
    rig.faults(lie);
    rig.send(&numbered(10, 60));
    rig.send(&numbered(11, 60));
    rig.run_us(20);
    let taken = parts.rx.poll(&mut batch, 64);
    let fault = parts.rx.fault();
    if fault.is_some() {
        // Broken for good, and silent: no doorbell, no frame.
        let doorbells = parts.rx.counters().doorbells;
        assert!(!parts.rx.arm());
        assert_eq!(parts.rx.poll(&mut batch, 64), 0);
        assert_eq!(parts.rx.counters().doorbells, doorbells);
        // The device gets no buffer any more: it has the 64 that were lent before its lie.
        (0..100).for_each(|number| rig.send(&numbered(number, 60)));
        rig.run_us(100);
        assert_eq!(rig.model(|m| m.counters().received), 650 + 64);
    }
    drop((parts, batch));
    assert_eq!(pool.available(), 512, "buffers lost after {fault:?}");
    (fault, taken)
}

#[test]
fn ids_that_were_not_lent() {
    // A packed queue's ID has 16 bits.
    for id in [64, 65, 0xffff, 0x1_0000, u32::MAX].into_iter().take(if super::rig::is_packed() { 3 } else { 5 }) {
        let (fault, taken) = receive_with(|faults| faults.rx_id = Some(id));
        assert_eq!((fault, taken), (Some(QueueFault::Index { index: id, limit: 64 }), 1));
    }
}

#[test]
fn the_same_id_twice() {
    let (fault, taken) = receive_with(|faults| faults.rx_twice = true);
    assert_eq!((fault, taken), (Some(QueueFault::Index { index: 10, limit: 64 }), 1));
}

#[test]
fn lengths_that_were_not_lent() {
    let lent = 2048 + 12;
    for len in [lent + 1, 0xffff, 0x1_0000 + 72, u32::MAX] {
        let (fault, _) = receive_with(|faults| faults.rx_len = Some(len));
        assert_eq!(fault, Some(QueueFault::Length { slot: 10, len_bytes: len, max_bytes: lent }));
    }
    for len in [0, 11] {
        let (fault, taken) = receive_with(|faults| faults.rx_len = Some(len));
        assert_eq!((fault, taken), (Some(QueueFault::Protocol("the device used a receive buffer for less than the header of a frame")), 0));
    }
    // Shorter than an Ethernet header is an error of the frame, no lie.
    for len in [12, 25] {
        assert_eq!(receive_with(|faults| faults.rx_len = Some(len)), (None, 1));
    }
}

#[test]
fn counts_of_buffers_that_cannot_be() {
    let wrong = QueueFault::Protocol("the device's num_buffers is zero, or more than the queue has");
    for count in [0, 65, u16::MAX] {
        assert_eq!(receive_with(|faults| faults.num_buffers = Some(count)), (Some(wrong), 0));
    }
    // A count that is too large for what comes takes the next frame's buffer with it, and the frame is not handed up before all have come.
    assert_eq!(receive_with(|faults| faults.num_buffers = Some(2)), (None, 1));
    assert_eq!(receive_with(|faults| faults.num_buffers = Some(3)), (None, 0));
    assert_eq!(receive_with(|faults| faults.num_buffers = Some(64)), (None, 0));
}

#[test]
fn a_buffer_of_no_bytes_in_the_middle_of_a_frame() {
    let (mut rig, mut parts, pool) = rig();
    let mut batch = Batch::new(64);
    rig.faults(|faults| faults.num_buffers = Some(2));
    rig.send(&numbered(1, 60));
    rig.run_us(20);
    assert_eq!(parts.rx.poll(&mut batch, 64), 0);
    rig.faults(|faults| faults.rx_len = Some(0));
    rig.send(&numbered(2, 60));
    rig.run_us(20);
    assert_eq!(parts.rx.poll(&mut batch, 64), 0);
    assert_eq!(parts.rx.fault(), Some(QueueFault::Protocol("the device used a buffer in the middle of a frame for no bytes")));
    drop((parts, batch));
    assert_eq!(pool.available(), 512);
}

#[test]
fn a_frame_of_endless_buffers_does_not_eat_the_pool() {
    let mut rig = Rig::new();
    let pool = pool(&rig, 64 + 25);
    let mut parts = rig.parts(&small().pool(pool.clone()));
    let mut batch = Batch::new(64);
    rig.faults(|faults| faults.num_buffers = Some(40));
    for number in 0..41 {
        rig.send(&numbered(number, 60));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 64), usize::from(number == 40));
    }
    assert_eq!((parts.rx.counters().stalls, parts.rx.counters().errors, parts.rx.fault()), (0, 1, None));
    drop((parts, batch));
    assert_eq!(pool.available(), 64 + 25);
}

#[test]
fn indexes_that_run_ahead() {
    for jump in [63, 64, 1000, 0x8000, 0xfffd] {
        if super::rig::is_packed() {
            // They are marked, and hold what the driver wrote: buffers of the longest length, which are no frames. In the ring's next round those of the frames are marked as well.
            let (fault, taken) = receive_with(|faults| faults.rx_jump = jump);
            assert!(fault.is_none() && taken <= 2, "{jump}: {fault:?}, {taken}");
            continue;
        }
        assert_eq!(receive_with(|faults| faults.rx_jump = jump), (Some(AHEAD), 0), "{jump}");
    }
}

#[test]
fn an_index_that_runs_ahead_within_what_was_lent_costs_no_buffer() {
    // The entries are those of the ring's last round: they name buffers that the device has, so nothing can be seen but what they hold.
    assert_eq!(receive_with(|faults| faults.rx_jump = 20), (None, if super::rig::is_packed() { 2 } else { 22 }));
}

#[test]
fn marks_of_the_other_round_are_none() {
    if super::rig::is_packed() {
        assert_eq!(receive_with(|faults| faults.rx_wrap = true), (None, 0));
        assert_eq!(send_with(|faults| faults.tx_wrap = true), None);
    }
}

/// What a transmit queue makes of two chains that come back with these lies.
fn send_with(lie: impl Fn(&mut Faults)) -> Option<QueueFault> {
    let (mut rig, mut parts, pool) = rig();
    let frames: Vec<_> = (0..5).map(|k| numbered(k, 60)).collect();
    parts.send(&frames);
    rig.run_us(20);
    assert_eq!(parts.tx.reclaim(), 5);
    rig.faults(lie);
    parts.send(&frames);
    rig.run_us(20);
    assert_eq!(rig.arrived().len(), 10);
    parts.tx.reclaim();
    let fault = parts.tx.fault();
    if let Some(fault) = fault {
        let mut batch = Batch::new(1);
        batch.push(pool.frame_from(&numbered(1, 60)).unwrap()).unwrap();
        assert_eq!(parts.tx.submit(&mut batch), TxState::Broken(fault));
        assert_eq!(batch.len(), 1);
    }
    drop(parts);
    assert_eq!(pool.available(), 512, "buffers lost after {fault:?}");
    fault
}

#[test]
fn chains_that_were_not_sent() {
    let ids = if super::rig::is_packed() { &[64, 0xffff, 50][..] } else { &[64, 0x1_0000, u32::MAX, 50] };
    for &id in ids {
        assert_eq!(send_with(|faults| faults.tx_id = Some(id)), Some(QueueFault::Index { index: id, limit: 64 }));
    }
    assert!(matches!(send_with(|faults| faults.tx_twice = true), Some(QueueFault::Index { limit: 64, .. })));
    for jump in [1, 5, 59, 60, 0x8000, 0xfff0] {
        let fault = send_with(|faults| faults.tx_jump = jump);
        if super::rig::is_packed() {
            // The ID that was left in a descriptor is none in flight. In further rounds the marks of those that were given back change as well.
            assert!(matches!(fault, Some(QueueFault::Index { limit: 64, .. })) == (jump < 64), "{jump}: {fault:?}");
        } else {
            assert_eq!(fault, Some(AHEAD), "{jump}");
        }
    }
    assert_eq!(send_with(|_| {}), None);
}

#[test]
fn a_stopped_queue_that_breaks_wakes_who_waits() {
    let (rig, mut parts, _pool) = rig();
    let woken = parts.count_wakes();
    let mut batch = Batch::new(128);
    for number in 0..100 {
        batch.push(parts.pool.frame_from(&numbered(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Stopped);
    rig.faults(|faults| faults.tx_id = Some(1234));
    rig.run_us(100);
    parts.tx.reclaim();
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(parts.tx.submit(&mut batch), TxState::Broken(QueueFault::Index { index: 1234, limit: 64 }));
}

#[test]
fn a_device_that_loses_its_way_is_reported_and_breaks_the_queues() {
    let rig = Rig::new();
    let pool = super::rig::pool(&rig, 512);
    let mut parts = rig.parts(&small().pool(pool.clone()).recovery(Recovery::Off));
    parts.control.check().unwrap();
    rig.model(Model::lose_its_way);
    rig.run_us(20);
    assert!(!parts.control.link().up);
    let error = parts.control.check().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotRunning(DeviceState::NeedsReset)) && error.function() == "sim:virtio-net", "{error}");
    assert_eq!(parts.rx.fault(), Some(QueueFault::NeedsReset));
    let mut batch = Batch::new(1);
    batch.push(pool.frame_from(&numbered(1, 60)).unwrap()).unwrap();
    assert!(matches!(parts.tx.submit(&mut batch), TxState::Broken(QueueFault::NeedsReset)));
    // A reset brings it back.
    parts.control.stop().unwrap();
    drop((parts, batch));
    assert_eq!(pool.available(), 512);
    let mut again = rig.parts(&small());
    again.control.check().unwrap();
    drop(again);
    rig.assert_clean();
}

#[test]
fn a_vector_tells_that_the_device_lost_its_way() {
    let rig = Rig::new();
    let mut started = rig.start(&small().interrupts(true).recovery(Recovery::Off));
    rig.model(Model::lose_its_way);
    rig.run_us(20);
    assert_eq!(started.control.link_interrupt().unwrap().wait(Some(0)).unwrap(), 1);
    assert!(matches!(started.control.check().unwrap_err().kind(), ErrorKind::NotRunning(DeviceState::NeedsReset)));
    drop(started);
    rig.assert_clean();
}
