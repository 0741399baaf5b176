//! Traffic of all kinds, many rounds of a ring long.
#![allow(unreachable_pub)]

use super::rig::{Parts, Rig, bytes_of, numbered};
use driver_core::buf::Batch;
use driver_core::queue::{RxQueue, TxQueue, TxState};

/// Frames of one buffer, of two and of five come in and go out again, every byte as it was, many rounds of 64 descriptors long.
pub fn there_and_back(rig: &mut Rig, parts: &mut Parts) {
    let mut batch = Batch::new(64);
    for round in 0..60u32 {
        let sent: Vec<_> = [60, 1500, 3000, 60, 8900, 60].iter().zip(0..).map(|(&len, k)| numbered(6 * round + k, len)).collect();
        sent.iter().for_each(|frame| rig.send(frame));
        rig.run_us(20);
        assert_eq!(parts.rx.poll(&mut batch, 64), sent.len(), "round {round}");
        assert_eq!(batch.frames().iter().map(bytes_of).collect::<Vec<_>>(), sent, "round {round}");
        assert_eq!(parts.tx.submit(&mut batch), TxState::Running);
        rig.run_us(20);
        assert_eq!(rig.arrived(), sent, "round {round}");
    }
}
