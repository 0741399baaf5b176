//! Waiting for room in a full transmit queue: by its vector, which is silent unless armed, and by the clock where it has none.

use crate::rig::{Rig, number_in, queue};
use driver_core::buf::Batch;
use driver_core::device::{Config, NetDevice};
use driver_core::host::{Clock, PciFunction, RegSpace};
use driver_core::queue::{TX_PAUSE_US, TxQueue, TxState};
use driver_core::testing::Liar;

const RING: u32 = 64;

fn config() -> Config {
    Config::new().tx_ring(RING).interrupts(true)
}

/// How often the queue's interrupt fired since the last time.
fn fired(tx: &mut impl TxQueue) -> u64 {
    tx.interrupt().unwrap().wait(Some(0)).unwrap()
}

/// A batch of more frames than the ring takes, of which as many as it takes went in.
fn full(port: &mut crate::rig::Started, index: usize) -> Batch {
    let mut batch = Batch::new(256);
    queue(&mut batch, &port.pool, 0..2 * RING, 60);
    assert_eq!(port.tx[index].submit(&mut batch), TxState::Stopped);
    batch
}

#[test]
fn whoever_waits_wakes_when_the_card_has_sent_enough() {
    let mut rig = Rig::new();
    let mut port = rig.start(&config());
    // Without a link nothing goes out. Waiting for an interrupt moves the card.
    rig.device.set_carrier(false);
    rig.run_us(5_000);
    let mut batch = full(&mut port, 0);
    let (tx, sent) = (&mut port.tx[0], 2 * RING as usize - batch.len());
    assert_eq!(tx.wait_for_room(Some(5_000)), Ok(false), "no link, no room");
    rig.device.set_carrier(true);
    assert_eq!(tx.wait_for_room(None), Ok(true));
    assert_eq!((tx.counters().stops, tx.counters().wakes), (1, 1));
    assert!((32..=sent).contains(&rig.arrived().len()), "woken by the first report, or a later one");
    while !batch.is_empty() {
        let _ = tx.submit(&mut batch);
        assert_eq!(tx.wait_for_room(None), Ok(true));
    }
    rig.run_us(1_000);
    assert_eq!((number_in(&rig.arrived().pop().unwrap()), rig.violations().as_str()), (2 * RING - 1, ""));
}

#[test]
fn a_queue_that_nobody_waits_for_interrupts_nobody() {
    let rig = Rig::slowed(10);
    let mut port = rig.start(&config());
    for _ in 0..5 {
        let mut batch = full(&mut port, 0);
        rig.run_us(10_000);
        while port.tx[0].submit(&mut batch) == TxState::Stopped {
            rig.run_us(1_000);
        }
    }
    assert_eq!(fired(&mut port.tx[0]), 0, "it was never armed");
    // Nor one that was armed and found room before its interrupt fired.
    let _batch = full(&mut port, 0);
    assert!(!port.tx[0].arm());
    // SAFETY: a mask is read, and nothing is written. With this function DMA is forbidden, at the test's end.
    let mut function = unsafe { rig.device.another_function() };
    // SAFETY: as above.
    let bar = unsafe { function.open_bar(0) }.unwrap();
    let mask = || bar.read32(0xaa0);
    assert_eq!(mask() & 1 << 1, 1 << 1, "EIMS: vector 1 may fire");
    rig.run_us(10_000);
    assert_eq!((fired(&mut port.tx[0]), mask() & 1 << 1), (1, 0), "it fired for the first report and masked itself");
    assert!(port.tx[0].reclaim() > 0);
    // One that is armed and finds room before its throttled interrupt fires masks its vector, and then nothing fires.
    let _batch = full(&mut port, 0);
    assert!(!port.tx[0].arm());
    let begun = rig.clock.now_us();
    while port.tx[0].reclaim() == 0 || !port.tx[0].arm() {
        rig.run_us(1);
        assert!(rig.clock.now_us() - begun < 10_000);
    }
    let early = fired(&mut port.tx[0]);
    assert_eq!(mask() & 1 << 1, 0);
    rig.run_us(10_000);
    assert_eq!((early.min(1), fired(&mut port.tx[0])), (early, 0));
    assert_eq!(rig.violations(), "");
}

#[test]
fn what_was_sent_before_the_arming_fires_nothing_and_is_seen_by_the_look_behind_it() {
    let rig = Rig::slowed(10);
    let mut port = rig.start(&config());
    let mut batch = full(&mut port, 0);
    rig.run_us(10_000);
    // All is sent, and the card has its cause: it was reported while the vector was masked.
    assert!(port.tx[0].arm(), "there is room");
    rig.run_us(1_000);
    assert_eq!(fired(&mut port.tx[0]), 0, "an interrupt for what is known already would wake for nothing");
    // Nor for what was reported before the ring was filled anew: without a link nothing is.
    rig.device.set_carrier(false);
    rig.run_us(5_000);
    assert_eq!((port.tx[0].submit(&mut batch), port.tx[0].arm()), (TxState::Stopped, false));
    rig.run_us(1_000);
    assert_eq!(fired(&mut port.tx[0]), 0);
    rig.device.set_carrier(true);
    rig.run_us(20_000);
    assert_eq!(fired(&mut port.tx[0]), 1);
}

#[test]
fn each_of_thirty_one_queues_has_a_vector_of_its_own() {
    // Vectors 16 to 31 and 31 to 61, among them some whose throttling is elsewhere, and some of the second register of masks.
    for (queues, armed) in [(16, [0, 7, 15, 8]), (31, [0, 1, 30, 16])] {
        let mut rig = Rig::slowed(10);
        let mut port = rig.start(&config().rx_queues(queues).rx_ring(64).tx_queues(queues));
        for armed in armed {
            let full: Vec<_> = (0..queues.into()).map(|index| full(&mut port, index)).collect();
            assert!(!port.tx[armed].arm());
            rig.run_us(250_000);
            // The wire holds no more than 4096 frames.
            rig.arrived();
            let all: Vec<_> = port.tx.iter_mut().map(fired).collect();
            assert_eq!(all, (0..queues.into()).map(|index| u64::from(index == armed)).collect::<Vec<_>>());
            assert!(port.tx.iter_mut().all(TxQueue::arm), "all of them have room");
            drop(full);
        }
        assert_eq!(rig.violations(), "");
    }
}

#[test]
fn a_card_with_too_few_vectors_and_one_without_interrupts_are_waited_for_by_the_clock() {
    let liar = Liar::default();
    liar.lies().vectors = Some(2);
    let bed = sim::Testbed::slowed("sim:ixgbe", Box::new(sim::ixgbe::Ixgbe::new(sim::ixgbe::IxgbeOptions::default())), &sim::Iommu::new(), 1_000);
    let device = ixgbe::open(liar.over(bed.device.function()), bed.clock.clone()).unwrap();
    let mut few = device.start(&config()).unwrap();
    bed.run_us(5_000);
    assert!(driver_core::queue::RxQueue::interrupt(&mut few.rx[0]).is_some() && few.control.link_interrupt().is_some());
    waits_by_the_clock(&*bed.clock, &mut few.tx[0], &few.pool);
    few.control.stop().unwrap();
    let rig = Rig::slowed(1_000);
    let mut port = rig.start(&config().interrupts(false));
    waits_by_the_clock(&*rig.clock, &mut port.tx[0], &port.pool);
}

fn waits_by_the_clock(clock: &dyn Clock, tx: &mut impl TxQueue, pool: &driver_core::buf::BufPool) {
    let mut batch = Batch::new(256);
    queue(&mut batch, pool, 0..2 * RING, 60);
    assert_eq!(tx.submit(&mut batch), TxState::Stopped);
    assert!(tx.interrupt().is_none() && !tx.arm());
    let before = clock.now_us();
    assert_eq!(tx.wait_for_room(Some(5_000)), Ok(false));
    assert_eq!(clock.now_us() - before, 5_000);
    assert_eq!(tx.wait_for_room(None), Ok(true));
    assert!((20_000..40_000 + TX_PAUSE_US).contains(&(clock.now_us() - before)), "{}", clock.now_us() - before);
    let _ = tx.submit(&mut batch);
}
