//! A virtio device does not look behind an outer VLAN tag: it is started without, and a warning says so.

use super::rig::{Rig, small};
use driver_core::buf::Batch;
use driver_core::device::{Caps, NetDevice};
use driver_core::queue::{TxQueue, TxState};
use driver_core::testing::Warnings;

#[test]
fn frames_are_as_they_are_without_it() {
    let warnings = Warnings::keep();
    let mut rig = Rig::new();
    let mut started = rig.start(&small().double_vlan(0x88a8));
    assert_eq!(
        warnings.take(),
        ["sim:virtio-net: it does not look behind an outer VLAN tag (0x88a8): what it does with VLANs it does with the first tag of a frame"]
    );
    assert_eq!((started.control.settings().double_vlan(), started.control.info().caps.contains(Caps::DOUBLE_VLAN)), (None, false));
    let mut frame = started.pool.frame_from(&[&[2; 12][..], &[0x88, 0xa8, 0, 5], &[7; 100]].concat()).unwrap();
    frame.set_vlan(Some(7));
    let mut batch = Batch::new(1);
    batch.push(frame).unwrap();
    assert_eq!(started.tx[0].submit(&mut batch), TxState::Running);
    rig.run_us(100);
    assert_eq!(rig.arrived(), [[&[2; 12][..], &[0x81, 0, 0, 7, 0x88, 0xa8, 0, 5], &[7; 100]].concat()]);
    started.control.stop().unwrap();
    rig.assert_clean();
}
