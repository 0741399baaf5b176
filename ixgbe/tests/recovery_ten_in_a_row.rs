//! A transmitter that hangs again and again: each time traffic goes on within a second, and nothing adds up.

use crate::rescue::{HANG_US, WITHIN_US, Ward, config};
use driver_core::device::{Config, NetDevice};
use driver_core::queue::TxQueue;
use sim::Mishap;

fn ten_hangs(config: &Config) {
    let mut ward = Ward::new(config);
    let mut lost = 0;
    for round in 0..10 {
        ward.exchange();
        ward.suffer(Mishap::Hang);
        ward.submit(50);
        let (recovered, took_us) = ward.until_recovered();
        assert_eq!(recovered.attempts, 1, "round {round}: each is a recovery of its own");
        assert!(recovered.took_us < WITHIN_US && took_us < HANG_US + WITHIN_US, "round {round}: {recovered}");
        lost += recovered.lost;
    }
    ward.exchange();
    let queues = ward.port.tx.len() as u64;
    assert_eq!((lost, ward.port.tx.iter().map(|tx| tx.counters().lost).sum::<u64>()), (500 * queues, 500 * queues));
    assert_eq!(ward.port.control.stats().tx_dropped, 500 * queues);
    ward.ends();
}

#[test]
fn ten_hangs_of_one_queue() {
    ten_hangs(&config());
}

#[test]
fn ten_hangs_of_four_queues_with_interrupts() {
    ten_hangs(&config().rx_queues(4).tx_queues(4).interrupts(true));
}
