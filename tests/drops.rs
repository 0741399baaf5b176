//! What cannot be sent is dropped and counted, and is in no account: the rest arrives, on every driver.

mod common;

use barewire::sim::wire::{Wire, peer};
use barewire::{Batch, Config, Host, Refusal, TxDrops};
use common::ports::until;

#[test]
fn the_common_loop_sends_what_can_be_sent_and_counts_the_rest() {
    for card in ["sim:ixgbe", "sim:virtio-net"] {
        let ((near, mut far), mut drops) = (peer::pair(512), TxDrops::new());
        let mut port = Host::new().plug(card, Box::new(near)).unwrap().start(&Config::new().tx_ring(64)).unwrap();
        until("a link", || port.control.link().up);
        let (rx, mut tx) = port.take_queues().unwrap();
        // More than the ring has room for, every fourth too long: a queue that drops what waits, or stands still, is found out.
        let (mut batch, mut arrived, mut frame) = (Batch::new(400), Vec::new(), Vec::new());
        for number in 0..400u16 {
            let mut bytes = vec![2; if number % 4 == 1 { 1515 } else { 60 }];
            bytes[14..16].copy_from_slice(&number.to_be_bytes());
            batch.push(port.pool.frame_from(&bytes).unwrap()).unwrap();
        }
        let mut sent = 0;
        until("all frames", || {
            sent += tx.submit_or_drop(&mut batch, &mut drops).unwrap();
            while far.receive(&mut frame) {
                arrived.push(u16::from_be_bytes([frame[14], frame[15]]));
            }
            arrived.len() == 300
        });
        assert!(arrived.into_iter().eq((0..400).filter(|number| number % 4 != 1)), "{card}: in order");
        let why = Refusal::TooLong { len_bytes: 1515, max_bytes: 1514 };
        assert_eq!((sent, batch.len(), drops.by_cause().collect::<Vec<_>>()), (300, 0, vec![(why, 100)]), "{card}");
        assert!(drops.to_string().starts_with("100 frames: a frame of 1515 bytes is longer than the MTU allows (1514 bytes)"), "{drops}");
        drop((rx, tx, batch));
        let report = port.finish();
        assert_eq!((report.accounts.tx_taken, report.stats.tx_packets, report.stats.tx_dropped), (300, 300, 0), "{card}");
        report.check().unwrap();
    }
}
