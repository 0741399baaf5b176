//! Frames longer than a buffer, in both directions, up to the largest MTU.

use crate::common::{Card, I82599, MAC, PEER, X540, X550, frame, received, transmit};
use driver_core::buf::{Batch, PoolConfig};
use driver_core::device::{Config, NetDevice};
use driver_core::queue::{Refusal, RxQueue, TxQueue, TxState};

#[test]
fn frames_of_every_size_class_come_in_whole() {
    for device in [I82599, X540, X550] {
        let card = Card::of(device);
        let mut started = card.start(&Config::new().mtu(9710));
        for len in [60, 2047, 2048, 2049, 4096, 6145, 9000, 9724] {
            card.send(&frame(MAC, len, len as u8));
            assert_eq!(received(&mut started.rx[0]), [frame(MAC, len, len as u8)], "{device:04x}: {len}");
        }
        assert_eq!(started.control.stats().rx_packets, 8);
        card.assert_no_violations();
    }
}

#[test]
fn a_frame_spans_as_many_buffers_as_it_needs() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(9000));
    card.send(&frame(MAC, 9014, 3));
    let mut batch = Batch::new(8);
    assert_eq!(started.rx[0].poll(&mut batch, 8), 1);
    let lens: Vec<_> = batch.frames()[0].segments().map(<[u8]>::len).collect();
    assert_eq!(lens, [2048, 2048, 2048, 2048, 822]);
    card.assert_no_violations();
}

#[test]
fn large_buffers_take_large_frames_in_one_piece() {
    let card = Card::new();
    let pool = card.pool(PoolConfig::new(700).data_bytes(10 * 1024));
    let mut started = card.start(&Config::new().mtu(9000).pool(pool));
    card.send(&frame(MAC, 9014, 3));
    let mut batch = Batch::new(8);
    assert_eq!(started.rx[0].poll(&mut batch, 8), 1);
    assert!(batch.frames()[0].is_linear());
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    assert_eq!(card.sent(), [frame(MAC, 9014, 3)]);
    card.assert_no_violations();
}

#[test]
fn chains_are_gathered_by_the_card() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(9710));
    for len in [60, 2048, 2049, 9000, 9724] {
        assert_eq!(transmit(&mut started.tx[0], &started.pool, &frame(PEER, len, 1)), TxState::Running, "{len}");
        assert_eq!(card.sent(), [frame(PEER, len, 1)], "{len}");
    }
    card.assert_no_violations();
}

#[test]
fn longer_than_the_mtu_is_refused_and_stays_with_the_caller() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(9000));
    let mut batch = Batch::new(2);
    batch.push(started.pool.frame_from(&frame(PEER, 9015, 1)).unwrap()).unwrap();
    let state = started.tx[0].submit(&mut batch);
    assert_eq!(state, TxState::Refused(Refusal::TooLong { len_bytes: 9015, max_bytes: 9014 }));
    assert_eq!(batch.len(), 1);
    assert!(card.sent().is_empty());
    card.send(&frame(MAC, 9015, 0));
    assert!(received(&mut started.rx[0]).is_empty());
    assert_eq!(started.control.stats().rx_length_errors, 1);
    card.assert_no_violations();
}

#[test]
fn small_mtus_still_receive_what_the_card_lets_through() {
    let card = Card::new();
    let mut started = card.start(&Config::new().mtu(68));
    card.send(&frame(MAC, 1514, 0));
    let mut tagged = frame(MAC, 1518, 0);
    tagged[12..16].copy_from_slice(&[0x81, 0x00, 0x00, 0x05]);
    card.send(&tagged);
    assert_eq!(received(&mut started.rx[0]), [frame(MAC, 1514, 0), tagged]);
    assert_eq!(started.rx[0].fault(), None);
    assert!(matches!(transmit(&mut started.tx[0], &started.pool, &frame(PEER, 87, 0)), TxState::Refused(_)));
    card.assert_no_violations();
}
