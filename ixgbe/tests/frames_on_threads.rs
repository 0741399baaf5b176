//! Received frames are sent to another thread, kept and dropped there; the queue stalls for want of buffers, and recovers.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::rig::{Rig, bytes_of, number_in, numbered};
use driver_core::buf::{Batch, BufPool, Frame, PoolConfig};
use driver_core::device::{Config, NetDevice};
use driver_core::queue::RxQueue;

#[test]
fn kept_frames_stall_receive_and_returned_ones_start_it_again() {
    let mut rig = Rig::new();
    let pool = BufPool::new(&rig.domain(), PoolConfig::new(64 + 96)).unwrap();
    let mut port = rig.start(&Config::new().rx_ring(64).pool(pool.clone()));
    let rx = &mut port.rx[0];
    let (to_keeper, from_rx) = channel::<Frame>();
    let (release, released) = channel::<()>();
    let keeper = std::thread::spawn(move || {
        // Keeps every frame until it is told to let go, then drops each as it comes.
        let mut kept = Vec::new();
        released.recv().unwrap();
        kept.extend(from_rx.try_iter());
        let numbers: Vec<u32> = kept.iter().map(|frame| number_in(frame.data())).collect();
        drop(kept);
        numbers.into_iter().chain(from_rx.into_iter().map(|frame| number_in(frame.data()))).collect::<Vec<u32>>()
    });
    let mut batch = Batch::new(32);
    let (mut sent, mut received) = (0, 0);
    let mut pump = |rig: &mut Rig, rounds: u32| {
        for _ in 0..rounds {
            // No more at once than the card has descriptors for: what is lost here would be lost by the test.
            while sent < received + 60 {
                rig.send(&numbered(sent, 60));
                sent += 1;
            }
            rig.run_us(200);
            rx.poll(&mut batch, 32);
            while let Some(frame) = batch.pop() {
                received += 1;
                to_keeper.send(frame).unwrap();
            }
        }
        received
    };
    let stalled_at = pump(&mut rig, 30);
    assert_eq!(stalled_at, 96, "exactly the buffers beside the ring's");
    release.send(()).unwrap();
    // The keeper runs by the machine's clock, the card by the test's.
    while pool.available() == 0 {
        std::thread::yield_now();
    }
    let (mut last, start) = (0, Instant::now());
    while last <= 400 && start.elapsed() < Duration::from_secs(20) {
        last = pump(&mut rig, 1);
        std::thread::yield_now();
    }
    assert!(last > 400, "receive recovered: {last}");
    assert!(rx.counters().stalls > 0);
    drop(to_keeper);
    let numbers = keeper.join().unwrap();
    assert_eq!(numbers, (0..last).collect::<Vec<_>>(), "every frame, once, in order");
    port.control.stop().unwrap();
    drop((port, batch));
    assert_eq!(pool.available(), pool.len());
    assert_eq!(rig.violations(), "");
}

#[test]
fn jumbo_frames_come_up_as_chains_and_go_out_gathered() {
    use driver_core::queue::{TxQueue, TxState};
    let mut rig = Rig::new();
    let mut port = rig.start(&Config::new().mtu(9710));
    let mut batch = Batch::new(8);
    for (number, len) in (0..).zip([60, 1514, 2047, 2048, 2049, 4096, 4097, 9000, 9724]) {
        let sent = numbered(number, len);
        rig.send(&sent);
        rig.run_us(200);
        assert_eq!(port.rx[0].poll(&mut batch, 8), 1);
        let frame = &batch.frames()[0];
        assert_eq!(bytes_of(frame), sent);
        assert_eq!(frame.segments().count(), len.div_ceil(2048), "{len} bytes");
        assert_eq!(port.tx[0].submit(&mut batch), TxState::Running);
        rig.run_us(200);
        assert_eq!(rig.arrived(), [sent]);
    }
    assert_eq!(rig.violations(), "");
}
