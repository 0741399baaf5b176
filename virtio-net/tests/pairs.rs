//! Several pairs of queues (5.1.6.5.6): frames go out by each, and come in by that of their flow.

use super::rig::{Rig, small, start_error};
use driver_core::buf::Batch;
use driver_core::device::{NetDevice, RxMode};
use driver_core::queue::{Poller, RxQueue, TxQueue, TxState};
use driver_core::testing::{bytes_of, numbered, received};
use sim::virtio_net::VirtioNetOptions as Options;
use virtio_net::{ErrorKind, Features, HardwareError};

fn card(pairs: u16) -> Options {
    Options::new().pairs(pairs)
}

/// A UDP frame of a flow from port `from` to port `to`.
fn udp(from: u16, to: u16) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 9, 8, 0]);
    bytes.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 1]);
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend([0, 26, 0, 0]);
    bytes.extend([7; 18]);
    bytes
}

#[test]
fn every_pair_sends_and_receives() {
    for pairs in [2, 3, 8] {
        let mut rig = Rig::with(card(8));
        let mut started = rig.start(&small().rx_queues(pairs).tx_queues(pairs));
        assert_eq!((started.rx.len(), started.tx.len()), (pairs.into(), pairs.into()));
        assert_eq!(started.control.info().max_rx_queues, 8);
        for (number, tx) in (0..).zip(&mut started.tx) {
            let mut batch = Batch::new(1);
            batch.push(started.pool.frame_from(&udp(1000 + number, 80)).unwrap()).unwrap();
            assert_eq!(tx.submit(&mut batch), TxState::Running);
        }
        rig.run_us(50);
        assert_eq!(rig.arrived().len(), usize::from(pairs));
        let sent = rig.model(|m| m.counters().sent_by);
        assert!(sent[..pairs.into()].iter().all(|&sent| sent == 1) && sent[pairs.into()..].iter().all(|&sent| sent == 0), "{sent:?}");
        // The other direction of a flow comes in where its frames went out.
        for number in 0..pairs {
            rig.send(&udp(80, 1000 + number));
        }
        rig.run_us(50);
        for (number, rx) in (0..).zip(&mut started.rx) {
            assert_eq!(received(rx), [udp(80, 1000 + number)], "queue {number} of {pairs}");
        }
        drop(started);
        rig.assert_clean();
    }
}

#[test]
fn of_several_pairs_one_is_used_where_nobody_asks_for_more() {
    let mut rig = Rig::with(card(4));
    let mut parts = rig.parts(&small());
    for port in 0..40 {
        rig.send(&udp(port, 9));
    }
    rig.run_us(50);
    assert_eq!(parts.receive().len() + parts.receive().len(), 40);
    drop(parts);
    rig.assert_clean();
}

#[test]
fn more_receive_queues_than_transmit_queues_are_possible() {
    let mut rig = Rig::with(card(4));
    let mut started = rig.start(&small().rx_queues(4));
    assert_eq!((started.rx.len(), started.tx.len()), (4, 1));
    for port in 0..64 {
        rig.send(&udp(port, 9));
    }
    rig.run_us(100);
    let counts: Vec<_> = started.rx.iter_mut().map(|rx| received(rx).len()).collect();
    assert!(counts.iter().all(|&count| count > 0) && counts.iter().sum::<usize>() == 64, "{counts:?}");
    let mut batch = Batch::new(1);
    batch.push(started.pool.frame_from(&numbered(1, 60)).unwrap()).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    rig.run_us(50);
    assert_eq!(rig.arrived(), [numbered(1, 60)]);
    drop((started, batch));
    rig.assert_clean();
}

#[test]
fn more_transmit_queues_than_receive_queues_take_rss() {
    let rig = Rig::with(card(4));
    let error = start_error(rig.open().unwrap(), &small().tx_queues(4));
    assert!(matches!(error.error().kind(), ErrorKind::Unsupported { .. }) && error.to_string().contains("VIRTIO_NET_F_RSS"), "{error}");
    let mut rig = Rig::with(card(4).rss(true));
    let mut started = rig.start(&small().tx_queues(4));
    for port in 0..40 {
        rig.send(&udp(port, 9));
    }
    rig.run_us(100);
    assert_eq!(received(&mut started.rx[0]).len(), 40, "nothing goes where nobody looks");
    drop(started);
    rig.assert_clean();
}

#[test]
fn more_queues_than_the_device_has_are_refused() {
    let rig = Rig::with(card(2));
    let error = start_error(rig.open().unwrap(), &small().rx_queues(3));
    assert!(matches!(error.error().kind(), ErrorKind::Config(_)), "{error}");
    let rig = Rig::with(card(4).without(Features::CTRL_VQ.bits()));
    let error = start_error(rig.open().unwrap(), &small().rx_queues(2));
    assert!(matches!(error.error().kind(), ErrorKind::Config(_)), "without a control queue nobody could enable them: {error}");
}

#[test]
fn pairs_that_the_device_does_not_enable_are_an_error() {
    let rig = Rig::with(card(4));
    rig.faults(|faults| faults.ctrl_refuse = Some(4));
    let error = start_error(rig.open().unwrap(), &small().rx_queues(2).tx_queues(2));
    let wanted = HardwareError::CommandRefused { command: "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET", ack: 1 };
    assert_eq!(error.error().hardware(), Some(&wanted));
}

#[test]
fn counts_of_pairs_that_cannot_be_are_refused_by_name() {
    for pairs in [0, 0x8001, u16::MAX] {
        let rig = Rig::with(card(4));
        rig.faults(|faults| faults.max_pairs = Some(pairs));
        let error = rig.open().unwrap_err();
        let what = "max_virtqueue_pairs is not 1 to 0x8000";
        assert!(matches!(error.hardware(), Some(HardwareError::DeviceConfig { what: told, .. }) if *told == what), "{error}");
    }
}

#[test]
fn every_queue_has_an_interrupt_of_its_own() {
    let mut rig = Rig::with(card(3));
    let mut started = rig.start(&small().rx_queues(3).tx_queues(3).interrupts(true));
    // Each flow is taught to its pair, and armed queues wake for theirs alone.
    for (number, tx) in (0..).zip(&mut started.tx) {
        let mut batch = Batch::new(1);
        batch.push(started.pool.frame_from(&udp(1000 + number, 80)).unwrap()).unwrap();
        assert_eq!(tx.submit(&mut batch), TxState::Running);
    }
    rig.run_us(50);
    rig.arrived();
    for wanted in 0..3u16 {
        let mut fds = Vec::new();
        for rx in &mut started.rx {
            fds.push(rx.arm());
        }
        rig.send(&udp(80, 1000 + wanted));
        rig.run_us(50);
        let counts: Vec<_> = started.rx.iter_mut().map(|rx| received(rx).len()).collect();
        assert_eq!(counts.iter().position(|&count| count == 1), Some(wanted.into()), "{counts:?}");
    }
    drop(started);
    rig.assert_clean();
}

#[test]
fn a_poller_of_each_pair_sleeps_and_wakes() {
    let mut rig = Rig::with(card(2).rss(true));
    let mut started = rig.start(&small().rx_queues(2).tx_queues(2).interrupts(true).rx_mode(RxMode::PROMISCUOUS));
    let mut pollers: Vec<_> = started.rx.drain(..).map(|rx| Poller::new(rx).unwrap()).collect();
    for port in 0..20 {
        rig.send(&udp(port, 9));
    }
    rig.run_us(50);
    let mut total = 0;
    for poller in &mut pollers {
        let mut batch = Batch::new(32);
        while poller.queue_mut().poll(&mut batch, 8) > 0 {
            total += batch.len();
            assert!(batch.frames().iter().all(|frame| bytes_of(frame).len() == 60));
            batch.clear();
        }
    }
    assert_eq!(total, 20);
    drop((pollers, started));
    rig.assert_clean();
}
