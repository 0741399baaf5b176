//! Two started ports, and frames from one to the other.

use std::time::{Duration, Instant};

use barewire::sim::wire::{Sent, Wire, peer::Peer};
use barewire::{Batch, Port, RxMode, TxState};

pub(crate) const PROMISCUOUS: RxMode = RxMode::PROMISCUOUS;

/// Waits until `done`, within limits.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends frames to the far end of `a`, forwards them to `b` without a copy, and takes them from the far end of `b`. Both ports end without complaint.
pub(crate) fn forward((mut a, mut a_far): (Port, Peer), (mut b, mut b_far): (Port, Peer), sent: &[Vec<u8>]) {
    assert!(a.pool.domain().is_same(b.pool.domain()), "frames cross without a copy");
    let ((mut rx, _), (_, mut tx)) = (a.take_queues().unwrap(), b.take_queues().unwrap());
    assert!(a.take_queues().is_none(), "they are out");
    for frame in sent {
        assert_eq!(a_far.send(frame), Sent::Taken);
    }
    let (mut batch, mut arrived, mut frame) = (Batch::new(64), Vec::new(), Vec::new());
    until("all frames", || {
        rx.poll(&mut batch, 64);
        assert_eq!(tx.submit(&mut batch), TxState::Running);
        while b_far.receive(&mut frame) {
            arrived.push(frame.clone());
        }
        arrived.len() == sent.len()
    });
    assert!(arrived == sent, "{} to {}", a.name(), b.name());
    let count = sent.len() as u64;
    assert_eq!((tx.counters().packets, tx.counters().bounced), (count, 0));
    until("the card's own count", || b.is_output_over(&mut *tx));
    assert_eq!((a.event(), b.event()), (None, None));
    drop((rx, tx));
    for (port, counted) in [(a, (count, 0)), (b, (0, count))] {
        let report = port.finish();
        assert_eq!((report.stats.rx_packets, report.stats.tx_packets), counted);
        assert_eq!(report.violations, [""; 0]);
        report.check().unwrap();
    }
}
