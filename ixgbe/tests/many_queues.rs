//! 64 receive and 64 transmit queues open, each used by a thread of its own, and stop; each flow stays in order, each queue's vector wakes it alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Card, I82599, MAC, PEER, X540, X550, received};
use driver_core::buf::{Batch, BufPool, PoolConfig};
use driver_core::device::{Config, NetDevice};
use driver_core::offload::FlowTuple;
use driver_core::queue::{RxQueue, TxQueue};

const QUEUES: u16 = 64;
const FLOWS: u16 = 512;
const FRAMES_OF_A_FLOW: u32 = 4;
/// Frames that each transmit queue's thread makes itself.
const OWN: u32 = 20;
/// Frames that are sent before one of them has come back.
const IN_FLIGHT: usize = 48;
/// How long it may take, in which Miri's time goes by as it likes.
const LIMIT: Duration = Duration::from_secs(if cfg!(miri) { 86_400 } else { 60 });
/// In place of a flow's number, with the queue's: a frame that was made here.
const MADE_HERE: u16 = 0x8000;

/// Frame `number` of a flow.
fn udp(flow: u16, number: u32) -> Vec<u8> {
    let ip = [0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let [high, low] = flow.to_be_bytes();
    [&MAC.0[..], &PEER.0, &ip, &[high, low, 0, 7, 0, 26, 0, 0], &number.to_be_bytes(), &[0; 14]].concat()
}

/// The flow and the number in a frame.
fn read(bytes: &[u8]) -> (u16, u32) {
    (u16::from_be_bytes([bytes[34], bytes[35]]), u32::from_be_bytes(*bytes[42..].first_chunk().unwrap()))
}

fn tuple(flow: u16) -> FlowTuple {
    FlowTuple::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).udp(flow, 7)
}

/// What one thread does with its pair of queues: sends frames of its own, and all that comes in out again. Returns how many came in.
fn work(mut rx: impl RxQueue, mut tx: impl TxQueue, queue: u16, pool: &BufPool, stop: &AtomicBool) -> u64 {
    let (mut batch, mut own) = (Batch::new(16), 0);
    while !stop.load(Ordering::Relaxed) {
        if own < OWN && batch.is_empty() {
            batch.push(pool.frame_from(&udp(MADE_HERE | queue, own)).unwrap()).unwrap();
            own += 1;
        }
        let came = rx.poll(&mut batch, 8);
        assert!(batch.frames().iter().rev().take(came).all(|frame| frame.rx_queue() == queue));
        let before = batch.len();
        let _ = tx.submit(&mut batch);
        if before == 0 {
            thread::yield_now();
        }
    }
    rx.counters().packets
}

#[test]
fn sixty_four_pairs_each_on_a_thread_of_its_own() {
    for (device, reached) in [(I82599, 16), (X540, 16), (X550, 64)] {
        let card = Card::of(device);
        let pool = card.pool(PoolConfig::new(64 * 200));
        let config = Config::new().rx_queues(QUEUES).tx_queues(QUEUES).rx_ring(64).tx_ring(64).pool(pool.clone());
        let mut started = card.start(&config);
        let rss = started.control.settings().rss().clone();
        let stop = AtomicBool::new(false);
        let mut came_back: HashMap<u16, Vec<u32>> = HashMap::new();
        let pairs: Vec<_> = started.rx.drain(..).zip(started.tx.drain(..)).collect();
        let received: Vec<u64> = thread::scope(|scope| {
            let (stop, pool) = (&stop, &pool);
            let spawn = |(queue, (rx, tx))| scope.spawn(move || work(rx, tx, queue, pool, stop));
            let threads: Vec<_> = (0..QUEUES).zip(pairs).map(spawn).collect();
            let wanted = usize::from(FLOWS) * FRAMES_OF_A_FLOW as usize + usize::from(QUEUES) * OWN as usize;
            let mut to_send = (0..FRAMES_OF_A_FLOW).flat_map(|number| (0..FLOWS).map(move |flow| (flow, number)));
            let (mut count, mut on_the_way, begin) = (0, 0, Instant::now());
            while count < wanted && begin.elapsed() < LIMIT {
                // No more than one ring has descriptors for, however late its thread is: what finds none is dropped, lest it hold up the other queues.
                for (flow, number) in to_send.by_ref().take(IN_FLIGHT - on_the_way) {
                    card.send_within(&udp(flow, number), 0);
                    on_the_way += 1;
                }
                card.run_us(5);
                for bytes in card.arrived() {
                    let (flow, number) = read(&bytes);
                    came_back.entry(flow).or_default().push(number);
                    count += 1;
                    on_the_way -= usize::from(flow & MADE_HERE == 0);
                }
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for flow in 0..FLOWS {
            assert_eq!(came_back[&flow], (0..FRAMES_OF_A_FLOW).collect::<Vec<_>>(), "{device:04x}: flow {flow}");
        }
        for queue in 0..QUEUES {
            assert_eq!(came_back[&(MADE_HERE | queue)], (0..OWN).collect::<Vec<_>>(), "{device:04x}: transmit queue {queue}");
        }
        let mut by_hash = vec![0; QUEUES.into()];
        for flow in 0..FLOWS {
            let hash = tuple(flow).hash(rss.key_bytes(), rss.hash_types().unwrap()).unwrap().hash;
            by_hash[usize::from(rss.queue_of(hash).unwrap())] += u64::from(FRAMES_OF_A_FLOW);
        }
        assert_eq!(received, by_hash, "{device:04x}");
        assert!(received[..reached].iter().all(|&frames| frames > 0), "{device:04x}: {received:?}");
        started.control.stop().unwrap();
        drop(started);
        assert_eq!(pool.available(), pool.len(), "{device:04x}");
        card.assert_no_violations();
    }
}

/// How often the queue's interrupt fired since the last time.
fn fired(rx: &mut impl RxQueue) -> u64 {
    rx.interrupt().unwrap().wait(Some(0)).unwrap()
}

/// 63 queues have a vector each, and the link the last; with 64 the last queue's vector is the link's as well.
#[test]
fn each_vector_wakes_its_own_queue() {
    for queues in [63, 64] {
        let card = Card::of(X550);
        let mut started = card.start(&Config::new().rx_queues(queues).rx_ring(64).interrupts(true));
        let is_shared = queues == 64;
        assert_eq!(started.control.link_interrupt().is_none(), is_shared);
        // How often what tells of the link fired.
        let link = |started: &mut crate::common::Started| match started.control.link_interrupt() {
            Some(interrupt) => interrupt.wait(Some(0)).unwrap(),
            None => fired(&mut started.rx[63]),
        };
        // The link has come up, and that may have been told.
        let (_told, now) = (link(&mut started), started.control.link());
        assert!(now.up);
        let rss = started.control.settings().rss().clone();
        let to = |queue| (0..).find(|&flow| rss.queue_of(tuple(flow).hash(rss.key_bytes(), rss.hash_types().unwrap()).unwrap().hash) == Some(queue));
        assert!(started.rx.iter_mut().all(|rx| !rx.arm()));
        for queue in [0, 15, 16, 31, 32, 62, queues - 1] {
            card.send(&udp(to(queue).unwrap(), 0));
            card.run_us(100);
            let all: Vec<_> = started.rx.iter_mut().map(fired).collect();
            assert_eq!(all, (0..queues).map(|other| u64::from(other == queue)).collect::<Vec<_>>(), "{queues} queues, frame for {queue}");
            // It masked itself.
            card.send(&udp(to(queue).unwrap(), 1));
            card.run_us(100);
            let rx = &mut started.rx[usize::from(queue)];
            assert_eq!((fired(rx), received(rx).len(), rx.arm()), (0, 2, false));
            // The second frame's cause was kept back, and is told now.
            card.run_us(100);
            assert_eq!((fired(rx), rx.arm()), (1, false));
        }
        for up in [false, true] {
            card.device.set_carrier(up);
            card.run_us(5_000);
            assert_eq!((link(&mut started), started.control.link().up), (1, up), "{queues} queues");
            assert!(started.rx.iter_mut().all(|rx| fired(rx) == 0), "the link is no other queue's");
        }
        card.assert_no_violations();
    }
}
