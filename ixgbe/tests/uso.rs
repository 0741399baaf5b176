//! Segmentation of UDP by the card: datagrams, each with a header of its own.

use crate::common::{Card, I82599, X540, X550};
use crate::packets::{Packet, UDP, cut_by_software};
use driver_core::buf::Batch;
use driver_core::device::Config;
use driver_core::queue::{TxQueue, TxState};

#[test]
fn datagrams_are_those_that_software_cuts() {
    for device in [I82599, X540, X550] {
        for is_ipv6 in [false, true] {
            for (payload, mss, options, tag) in [(1, 100, 0, None), (5000, 1300, 0, Some(3)), (4999, 77, 2, None), (1400, 1400, 1, Some(0xffff))] {
                let card = Card::of(device);
                let mut started = card.start(&Config::new());
                let packet = Packet { options, ..Packet::new(UDP, is_ipv6, payload) };
                let mut frame = packet.in_pieces(&started.pool, 1000, 1000);
                frame.set_segmentation(Some(packet.cut(mss)));
                frame.set_vlan(tag);
                let wanted = cut_by_software(&frame);
                let mut batch = Batch::new(1);
                batch.push(frame).unwrap();
                assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
                card.run_us(500);
                let sent = card.sent();
                assert_eq!(sent.len(), wanted.len());
                for (sent, mut wanted) in sent.into_iter().zip(wanted) {
                    wanted.resize(sent.len(), 0);
                    assert_eq!(sent, wanted, "{device:#x}, IPv6 {is_ipv6}, {payload} bytes by {mss}");
                }
                card.assert_no_violations();
            }
        }
    }
}
