//! Frames that the device is to cut and that are in flight when it is lost, or stopped: lost are as many as would have been on the wire.

use super::rig::{Parts, Rig, small};
use crate::packets::{Packet, TCP, UDP};
use driver_core::buf::Batch;
use driver_core::device::NetDevice;
use driver_core::host::Clock;
use driver_core::queue::{TxQueue, TxState};
use sim::virtio_net::VirtioNetOptions as Options;
use sim::{Mishap, Model as _};
use virtio_net::Features;

/// Three segments, one of two buffers, a plain frame, and seven segments in a chain: 3 + 1 + 1 + 7 frames.
fn submit(parts: &mut Parts) {
    let (three, seven) = (Packet::new(TCP, false, 3000), Packet::new(UDP, true, 7000));
    let mut batch = Batch::new(4);
    for (packet, mss) in [(&three, Some(1000)), (&Packet::new(TCP, true, 1100), None), (&Packet::new(UDP, false, 60), None), (&seven, Some(1000))] {
        let mut frame = packet.in_pieces(&parts.pool, 600, 2000);
        frame.set_segmentation(mss.map(|mss| packet.cut(mss)));
        batch.push(frame).unwrap();
    }
    assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
}

/// In tables and in the queue itself.
fn rigs() -> impl Iterator<Item = Rig> {
    let options = |missing: Features| Options::new().segmentation(true).without(missing.bits());
    [Features::empty(), Features::INDIRECT_DESC].into_iter().map(move |missing| Rig::with(options(missing)))
}

#[test]
fn a_device_that_hangs_with_large_frames_loses_all_that_it_would_have_made_of_them() {
    for mut rig in rigs() {
        let mut parts = rig.parts(&small());
        // What came back before and nobody took back is not lost.
        submit(&mut parts);
        rig.run_us(200);
        assert_eq!(rig.arrived().len(), 12);
        assert!(rig.model(|model| model.suffer(Mishap::Hang)));
        rig.audit.excuse("frames that left the card that hung");
        submit(&mut parts);
        submit(&mut parts);
        let mut recovered = None;
        let begun_us = rig.clock.now_us();
        while recovered.is_none() {
            rig.run_us(1000);
            let _ = parts.tx.submit(&mut Batch::new(1));
            parts.receive();
            parts.control.watch();
            recovered = parts.control.recovered();
            assert!(rig.clock.now_us() - begun_us < 20_000_000, "{}", parts.control.state());
        }
        assert_eq!(recovered.unwrap().lost, 24);
        let stats = parts.control.stats();
        assert_eq!((stats.tx_packets, parts.tx.counters().lost), (12, 24));
        let Parts { mut control, rx, tx, pool } = parts;
        control.stop().unwrap();
        drop((rx, tx, pool));
        control.accounts().check().unwrap();
        drop(control);
        rig.assert_clean();
    }
}

#[test]
fn a_device_that_is_stopped_tells_how_many_frames_were_not_sent() {
    for mut rig in rigs() {
        let mut parts = rig.parts(&small());
        submit(&mut parts);
        rig.run_us(200);
        assert_eq!(rig.arrived().len(), 12);
        rig.model(|model| model.hold_tx = true);
        submit(&mut parts);
        let Parts { mut control, rx, tx, pool } = parts;
        control.stop().unwrap();
        drop((rx, tx, pool));
        let accounts = control.accounts();
        accounts.check().unwrap();
        assert_eq!((accounts.tx_taken, accounts.tx_cut, accounts.tx_lost), (8, 16, 12), "{accounts:?}");
        drop(control);
        rig.assert_clean();
    }
}
