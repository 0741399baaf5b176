//! A virtio device has no clock: what was asked of it is left out, and who asks for the clock is told so by name. Frames that ask for a stamp are sent.

use super::rig::{Rig, small};
use driver_core::buf::Batch;
use driver_core::device::{Caps, NetDevice, Timestamps};
use driver_core::queue::{TxQueue, TxState};

#[test]
fn there_is_no_clock() {
    let mut rig = Rig::new();
    for wanted in [Timestamps::Off, Timestamps::Ptp, Timestamps::All] {
        let mut started = rig.start(&small().timestamps(wanted));
        assert_eq!(started.control.settings().timestamps(), Timestamps::Off);
        assert!(!started.control.info().caps.intersects(Caps::TIMESTAMPS | Caps::TIMESTAMPS_ALL));
        let error = started.control.clock().unwrap_err().to_string();
        let wanted = "sim:virtio-net: using its clock: the device does not do time stamps, and has no clock of its own: stamp frames by the host's clock, behind \
            `RxQueue::poll` and before `TxQueue::submit`";
        assert_eq!(error, wanted);
        let mut batch = Batch::new(1);
        let mut frame = started.pool.frame_from(&[7; 100]).unwrap();
        frame.ask_for_timestamp(Some(1));
        batch.push(frame).unwrap();
        assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
        rig.run_us(100);
        assert_eq!(rig.arrived(), [[7; 100]]);
        started.control.stop().unwrap();
    }
    rig.assert_clean();
}
