//! What a driver makes of used buffers, and how long its chains are: VIRTIO 1.3, sections 2.7.5.3.1, 2.7.8.3, 2.8.17, 2.8.19 and 5.1.6.4.2.

use super::rig::{Rig, bytes_of, numbered, small, without};
use driver_core::buf::{Batch, Frame};
use driver_core::queue::{GateConfig, Refusal, RxQueue, TxQueue, TxState};
use virtio_net::Features;

/// A frame of `pieces` segments of ten bytes behind one of a hundred.
fn pieces(pool: &driver_core::buf::BufPool, pieces: usize) -> Frame {
    let mut frame = pool.frame_from(&numbered(1, 100)).unwrap();
    for _ in 1..pieces {
        frame.append(pool.frame_from(&[7; 10]).unwrap());
    }
    frame
}

#[test]
fn a_chain_of_more_pieces_than_the_queue_has_is_refused() {
    for features in [Features::empty(), Features::INDIRECT_DESC] {
        for (count, fits) in [(2, true), (7, true), (8, true), (9, false), (20, false), (32, false)] {
            let mut rig = Rig::with(without(features));
            let mut parts = rig.parts(&super::rig::any().tx_ring(8).gate(GateConfig::default().stop_below(1).wake_at(4)));
            let mut batch = Batch::new(1);
            batch.push(pieces(&parts.pool, count)).unwrap();
            let state = parts.tx.submit(&mut batch);
            rig.run_us(50);
            if fits {
                assert_eq!((batch.len(), rig.arrived().len()), (0, 1), "{count} without {features:?}: {state:?}");
            } else {
                let refused = state == TxState::Refused(Refusal::TooManySegments { segments: count, max: 8 });
                assert!(refused && batch.len() == 1 && rig.arrived().is_empty(), "{count} without {features:?}: {state:?}");
            }
            batch.clear();
            drop(parts);
            rig.assert_clean();
        }
    }
}

#[test]
fn a_frame_is_as_long_as_the_device_wrote() {
    let mut rig = Rig::new();
    let mut parts = rig.parts(&small());
    let mut batch = Batch::new(4);
    // The buffers are filled first, so that there are bytes behind a shorter frame.
    for number in 0..64 {
        rig.send(&numbered(number, 1000));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 4), 1);
        batch.clear();
    }
    for len in [14, 60, 999] {
        rig.faults(|faults| faults.rx_len = Some(12 + len));
        rig.send(&numbered(7, 1000));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 4), 1);
        assert_eq!(bytes_of(&batch.pop().unwrap()), numbered(7, 1000)[..len as usize]);
    }
    drop((parts, batch));
    rig.assert_clean();
}

#[test]
fn flags_of_the_header_that_are_unknown_are_passed_over() {
    for flags in [0x08, 0x10, 0x80, 0xf8] {
        let mut rig = Rig::new();
        let mut parts = rig.parts(&small());
        rig.faults(|faults| faults.rx_flags = Some(flags));
        rig.send(&numbered(3, 100));
        rig.run_us(20);
        assert_eq!(parts.receive(), [numbered(3, 100)], "{flags:#x}");
        assert_eq!(parts.rx.counters().errors, 0);
        drop(parts);
        rig.assert_clean();
    }
}
