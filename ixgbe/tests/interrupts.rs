//! One vector a receive queue and one for the link, each fires when it should and not otherwise.

use crate::common::{Card, MAC, frame, received};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice};
use driver_core::host::RegSpace;
use driver_core::queue::{PollError, Poller, QueueFault, RxQueue};

/// How often the queue's interrupt fired since the last time.
fn fired(rx: &mut impl RxQueue) -> u64 {
    rx.interrupt().unwrap().wait(Some(0)).unwrap()
}

fn config() -> Config {
    Config::new().rx_queues(2).interrupts(true)
}

#[test]
fn an_armed_queue_fires_once_until_it_is_armed_again() {
    let card = Card::new();
    let mut started = card.start(&config());
    let rx = &mut started.rx[0];
    card.send(&frame(MAC, 64, 0));
    assert_eq!(fired(rx), 0, "not armed yet");
    assert!(rx.arm(), "a frame is waiting");
    card.run_us(50);
    assert_eq!(fired(rx), 1);
    assert_eq!(received(rx).len(), 1);
    assert!(!rx.arm());
    card.send(&frame(MAC, 64, 1));
    assert_eq!(fired(rx), 1);
    card.send(&frame(MAC, 64, 2));
    card.run_us(1_000);
    assert_eq!(fired(rx), 0, "it masked itself");
    assert_eq!(received(rx).len(), 2);
    assert_eq!(fired(&mut started.rx[1]), 0, "the other queue had nothing");
    card.assert_no_violations();
}

#[test]
fn a_queue_that_is_armed_again_in_a_storm_is_throttled() {
    let card = Card::new();
    let mut started = card.start(&config());
    let rx = &mut started.rx[0];
    let mut all = 0;
    for seed in 0..200 {
        rx.arm();
        card.send_within(&frame(MAC, 64, seed), 1);
        all += fired(rx);
        received(rx);
    }
    // 200 frames in 200 us, and at most one interrupt in 10 us.
    assert!((10..=21).contains(&all), "{all}");
    card.assert_no_violations();
}

#[test]
fn the_link_fires_its_own_vector() {
    let card = Card::new();
    let mut started = card.start(&config());
    let fired = |started: &mut crate::common::Started| started.control.link_interrupt().unwrap().wait(Some(0)).unwrap();
    let bar = card.registers();
    let eicr = || bar.read32(0x800);
    assert_eq!(fired(&mut started), 1, "it came up");
    assert!(started.control.link().up);
    card.run_us(1_000);
    assert_eq!(fired(&mut started), 0);
    for up in [false, true] {
        card.device.set_carrier(up);
        card.run_us(2_000);
        assert_eq!(fired(&mut started), 1);
        assert_eq!(started.control.link().up, up);
        assert_eq!(eicr() & 1 << 20, 0, "the cause was taken, so that the next one fires");
    }
    assert_eq!(started.control.stats().carrier_changes, 3);
    card.assert_no_violations();
}

#[test]
fn without_interrupts_there_are_none() {
    let card = Card::new();
    let mut started = card.start(&Config::new());
    assert!(started.rx[0].interrupt().is_none());
    assert!(started.control.link_interrupt().is_none());
    card.send(&frame(MAC, 64, 0));
    assert!(started.rx[0].arm());
    card.assert_no_violations();
}

#[test]
fn sixteen_queues_have_seventeen_vectors() {
    let card = Card::new();
    let mut started = card.start(&Config::new().rx_queues(16).rx_ring(64).interrupts(true));
    assert_eq!(started.rx.len(), 16);
    assert!(started.rx.iter_mut().all(|rx| rx.interrupt().is_some()));
    assert!(started.control.link_interrupt().is_some());
    card.assert_no_violations();
}

#[test]
fn a_poller_does_not_sleep_on_a_queue_that_its_own_poll_broke() {
    let card = Card::new();
    let mut started = card.start(&config());
    let mut poller = Poller::new(started.rx.remove(0)).unwrap();
    card.faults(|faults| faults.rx_length = Some(9999));
    card.send(&frame(MAC, 64, 0));
    let fault = QueueFault::Length { slot: 0, len_bytes: 9999, max_bytes: 2048 };
    assert_eq!(poller.next(&mut Batch::new(64), Some(1_000)), Err(PollError::Queue(fault)));
    assert_eq!(poller.counts(), (1, 0), "polled once, and not slept");
    // Nor on a queue whose device is stopped.
    let mut poller = Poller::new(started.rx.remove(0)).unwrap();
    assert_eq!(poller.next(&mut Batch::new(64), Some(10)), Ok(0));
    started.control.stop().unwrap();
    assert_eq!(poller.next(&mut Batch::new(64), Some(10)), Err(PollError::Queue(QueueFault::Stopped)));
    card.assert_no_violations();
}
