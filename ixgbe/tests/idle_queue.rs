//! A queue that has sent a few frames and is idle hangs for nobody, whoever reclaims it and looks at its device: no report was asked for.

use crate::common::{I82599, X540, X550};
use crate::rescue::{HANG_US, Ward, config};
use driver_core::device::{DeviceState, NetDevice};
use driver_core::host::Clock;

#[test]
fn a_few_frames_without_a_report_are_no_hang() {
    for device in [I82599, X540, X550] {
        for interrupts in [false, true] {
            for frames in [1, 31] {
                let mut ward = Ward::of(device, &config().interrupts(interrupts));
                ward.wait_for_link();
                ward.submit(frames);
                let begun_us = ward.card.clock.now_us();
                while ward.card.clock.now_us() - begun_us < 4 * HANG_US {
                    ward.turn();
                }
                assert_eq!((ward.port.control.state(), ward.port.control.recovered()), (DeviceState::Running, None));
                assert_eq!(ward.card.arrived().len(), frames, "they are on the wire");
                ward.exchange();
                ward.ends();
            }
        }
    }
}
