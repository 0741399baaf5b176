//! Queues in event loops: their interrupts by descriptors and poll(2), room in transmit queues, and waits that are cancelled; for simulated cards of this process
//! and for those behind a vfio-user socket.

mod common;

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use barewire::sim::HostClock;
use barewire::sim::wire::peer;
use barewire::sim::wire::slow::Slow;
use barewire::{Batch, Config, Interrupt, PollError, Poller, Port, RxQueue, Spec, TxQueue, TxState};
use common::Directory;
use common::ports::{PROMISCUOUS, until};
use common::served::Served;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

const CARDS: [&str; 2] = ["sim:ixgbe", "sim:virtio-net"];
/// Longer than anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What puts a frame on the far end of a wire.
type SendFn = Box<dyn FnMut(&[u8]) + Send>;

/// A started port with interrupts, and the far end of its wire.
struct Lab {
    name: String,
    port: Port,
    send: SendFn,
    /// Frames that arrived at the far end.
    arrived: Box<dyn FnMut() -> usize>,
    /// Where the card is behind a socket.
    _served: Option<Served>,
    _directory: Directory,
}

/// Each card in this process, and behind a socket, on a wire of one frame in `slow_us` (0: as fast as it goes).
fn labs(test: &str, slow_us: u64) -> impl Iterator<Item = Lab> {
    CARDS.into_iter().flat_map(move |card| {
        let [here, there] = ["here", "there"].map(|place| Directory::new(&format!("event-loop-{test}-{}-{place}", &card[4..])));
        [in_process(card, here, slow_us), behind_a_socket(card, there, slow_us)]
    })
}

fn start(spec: &str) -> Port {
    let config = Config::new().rx_mode(PROMISCUOUS).interrupts(true).tx_ring(64);
    let mut port = barewire::open(spec).unwrap().start(&config).unwrap();
    until("a link", || port.control.link().up);
    port
}

fn in_process(card: &str, directory: Directory, slow_us: u64) -> Lab {
    let (near, far) = (directory.file("near"), directory.file("far"));
    let socket = UnixDatagram::bind(&near).unwrap();
    let port = start(&format!("{card},dgram={far}:{near},slow-us={slow_us}"));
    socket.connect(&far).unwrap();
    let (receiver, count) = (socket.try_clone().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    std::thread::spawn(move || {
        let mut frame = [0; 2048];
        while receiver.recv(&mut frame).is_ok_and(|len| len > 0) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let send = move |frame: &[u8]| assert_eq!(socket.send(frame).unwrap(), frame.len());
    let arrived = move || count.load(Ordering::Relaxed);
    Lab { name: card.into(), port, send: Box::new(send), arrived: Box::new(arrived), _served: None, _directory: directory }
}

fn behind_a_socket(card: &str, directory: Directory, slow_us: u64) -> Lab {
    let Ok(Spec::Sim(spec)) = card.parse() else { panic!("{card}") };
    let (near, far) = peer::pair(4096);
    let far = Arc::new(std::sync::Mutex::new(far));
    let wire = Slow::new(Box::new(near), Arc::new(HostClock::new()), slow_us);
    let served = Served::start(&directory, "nic", spec.model([2, 0, 0, 0, 0, 0x42]), wire);
    let port = start(&served.spec);
    let (sender, mut count) = (far.clone(), 0);
    let send = move |frame: &[u8]| {
        barewire::sim::wire::Wire::send(&mut *sender.lock().unwrap(), frame);
    };
    let arrived = move || {
        let mut frame = Vec::new();
        while barewire::sim::wire::Wire::receive(&mut *far.lock().unwrap(), &mut frame) {
            count += 1;
        }
        count
    };
    let name = format!("{card} behind a socket");
    Lab { name, port, send: Box::new(send), arrived: Box::new(arrived), _served: Some(served), _directory: directory }
}

/// Whether a descriptor is readable within `limit`.
fn is_readable(fd: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

fn rx_interrupt(rx: &mut dyn RxQueue) -> Interrupt<'_> {
    Interrupt::of(rx.interrupt().unwrap()).unwrap()
}

fn tx_interrupt(tx: &mut dyn TxQueue) -> Interrupt<'_> {
    Interrupt::of(tx.interrupt().unwrap()).unwrap()
}

#[test]
fn a_descriptor_is_readable_from_the_frame_to_the_acknowledgement() {
    for Lab { name, mut port, mut send, .. } in labs("rx", 0) {
        let (mut rx, _tx) = port.take_queues().unwrap();
        let mut batch = Batch::new(8);
        for number in 0..5 {
            // The arming below may have let a cause through that was there before.
            until("an armed queue that is silent", || {
                rx_interrupt(&mut *rx).acknowledge().unwrap();
                !rx.arm() && !is_readable(rx_interrupt(&mut *rx), Duration::from_millis(20))
            });
            send(&[number; 60]);
            assert!(is_readable(rx_interrupt(&mut *rx), PATIENCE), "{name}");
            assert!(rx_interrupt(&mut *rx).acknowledge().unwrap() > 0, "{name}");
            assert!(!is_readable(rx_interrupt(&mut *rx), Duration::ZERO), "{name}: it was acknowledged");
            until("the frame", || rx.poll(&mut batch, 8) == 1);
            assert_eq!(batch.pop().unwrap().data()[..], [number; 60], "{name}");
            // One that comes before the queue is armed fires nothing: the arming tells.
            send(&[number; 60]);
            until("arm sees the frame", || rx.arm());
            assert_eq!(rx.poll(&mut batch, 8), 1, "{name}");
            batch.clear();
        }
    }
}

#[test]
fn no_frame_is_slept_over_in_an_event_loop() {
    const FRAMES: usize = 500;
    for Lab { name, mut port, mut send, .. } in labs("storm", 0) {
        let (mut rx, _tx) = port.take_queues().unwrap();
        // A duplicate tells the same, and leaves the queue to its owner.
        let readable = rx_interrupt(&mut *rx).as_fd().try_clone_to_owned().unwrap();
        let (asked, asks) = std::sync::mpsc::sync_channel(1);
        let sender = std::thread::spawn(move || {
            for number in asks {
                // Now before, now behind the arming.
                std::thread::sleep(Duration::from_micros(number % 40));
                send(&[number as u8; 60]);
            }
        });
        let (mut batch, mut received, mut waits) = (Batch::new(8), 0, 0);
        for number in 0..FRAMES {
            asked.send(number as u64).unwrap();
            while received <= number {
                let came = rx.poll(&mut batch, 8);
                received += came;
                batch.clear();
                if came == 0 && !rx.arm() {
                    waits += 1;
                    assert!(is_readable(&readable, PATIENCE), "{name}: frame {number} came and nobody was told");
                    rx_interrupt(&mut *rx).acknowledge().unwrap();
                }
            }
        }
        drop(asked);
        sender.join().unwrap();
        assert!((FRAMES / 10..3 * FRAMES).contains(&waits), "{name}: {waits} waits for {FRAMES} frames");
    }
}

/// What the thread has used of the processor.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sends more frames than the ring takes many times over, on a wire of 2,000 a second, and has `wait` wait where it is full.
fn send_all(lab: Lab, mut wait: impl FnMut(&mut dyn TxQueue, &str)) {
    const FRAMES: usize = 600;
    let Lab { name, mut port, mut arrived, .. } = lab;
    let (_rx, mut tx) = port.take_queues().unwrap();
    let (mut batch, mut made, mut submits) = (Batch::new(64), 0, 0);
    let (begun, used) = (Instant::now(), cpu());
    while made < FRAMES || !batch.is_empty() {
        while made < FRAMES && batch.room() > 0 {
            batch.push(port.pool.frame_from(&[2; 60]).unwrap()).unwrap();
            made += 1;
        }
        submits += 1;
        match tx.submit(&mut batch) {
            TxState::Running => {}
            TxState::Stopped => wait(&mut *tx, &name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let (took, used) = (begun.elapsed(), cpu() - used);
    // It stops with 56 of 64 descriptors in use, and runs again with half of them.
    assert!(took > Duration::from_millis(200) && submits < 60, "{name}: {submits} submits in {took:?}");
    assert!(used < took / 3, "{name}: {used:?} of the processor in {took:?}");
    assert!(tx.counters().stops > 10 && tx.counters().stops - tx.counters().wakes <= 1, "{name}: {:?}", tx.counters());
    until("all frames at the far end", || arrived() == FRAMES);
}

#[test]
fn an_event_loop_waits_for_room_by_the_descriptor() {
    for lab in labs("room", 500) {
        let mut waits = 0;
        send_all(lab, |tx, name| {
            while !tx.arm() {
                waits += 1;
                assert!(is_readable(tx_interrupt(tx), PATIENCE), "{name}: room came and nobody was told");
                assert!(tx_interrupt(tx).acknowledge().unwrap() > 0);
                assert!(!is_readable(tx_interrupt(tx), Duration::ZERO));
            }
        });
        assert!((10..100).contains(&waits), "{waits} waits");
    }
}

#[test]
fn a_thread_waits_for_room_without_spinning() {
    for lab in labs("wait", 500) {
        send_all(lab, |tx, name| {
            let begun = Instant::now();
            assert_eq!(tx.wait_for_room(None), Ok(true), "{name}");
            // By the interrupt, and not by the look twice a second that is for queues that hang.
            assert!(begun.elapsed() < Duration::from_millis(450), "{name}: {:?}", begun.elapsed());
        });
    }
}

#[test]
fn a_poller_that_waits_for_ever_is_cancelled_from_another_thread() {
    for Lab { name, mut port, mut send, .. } in labs("cancel", 0) {
        let (rx, _tx) = port.take_queues().unwrap();
        let mut poller = Poller::new(rx).unwrap();
        let canceller = poller.canceller().unwrap();
        let mut batch = Batch::new(8);
        canceller.cancel();
        assert_eq!(poller.next(&mut batch, None), Err(PollError::Cancelled), "{name}: before the wait");
        for _ in 0..3 {
            let canceller = canceller.clone();
            let late = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                let at = Instant::now();
                canceller.cancel();
                at
            });
            let ended = loop {
                match poller.next(&mut batch, None) {
                    Ok(0) => {}
                    other => break other,
                }
            };
            let took = late.join().unwrap().elapsed();
            assert!(ended == Err(PollError::Cancelled) && took < Duration::from_millis(100), "{name}: {ended:?} after {took:?}");
        }
        // The queue works as before.
        send(&[9; 60]);
        let came = (0..10).find_map(|_| poller.next(&mut batch, Some(2_000_000)).ok().filter(|&came| came > 0));
        assert_eq!((came, batch.len()), (Some(1), 1), "{name}");
    }
}

#[test]
fn the_links_interrupt_has_a_descriptor_too() {
    for Lab { name, mut port, .. } in labs("link", 0) {
        let interrupt = Interrupt::of(port.control.link_interrupt().unwrap()).unwrap_or_else(|| panic!("{name}: no descriptor"));
        assert!(interrupt.as_fd().try_clone_to_owned().is_ok());
    }
}
