//! A link that goes while its card is being recovered: the recovery needs none, and traffic goes on when it comes back.

use crate::common::{I82599, X540, X550};
use crate::rescue::{HANG_US, Ward, config};
use driver_core::device::{DeviceState, NetDevice};
use driver_core::host::Clock;
use driver_core::queue::TxQueue;
use sim::Mishap;

#[test]
fn a_link_that_goes_between_two_tries_holds_up_neither() {
    for device in [I82599, X540, X550] {
        let mut ward = Ward::of(device, &config());
        ward.exchange();
        ward.suffer(Mishap::Hang);
        ward.submit(20);
        ward.card.faults(|faults| faults.no_dma_init = true);
        while !matches!(ward.port.control.state(), DeviceState::Recovering { .. }) {
            ward.turn();
        }
        ward.card.device.set_carrier(false);
        ward.card.faults(|faults| faults.no_dma_init = false);
        let (recovered, _) = ward.until_recovered();
        assert_eq!((recovered.attempts, recovered.lost), (2, 20), "{recovered}");
        assert!(!ward.port.control.link().up);
        // What is sent now waits for a link, and is no hang.
        ward.submit(10);
        let begun_us = ward.card.clock.now_us();
        while ward.card.clock.now_us() - begun_us < 3 * HANG_US {
            ward.turn();
        }
        assert_eq!((ward.port.control.recovered(), ward.port.control.state()), (None, DeviceState::Running));
        assert_eq!(ward.port.control.stats().carrier_changes, 2);
        drop(ward.card.arrived());
        ward.card.device.set_carrier(true);
        ward.card.run_us(5_000);
        assert_eq!(ward.card.arrived().len(), 10, "all that waited, and nothing that was lost");
        assert_eq!(ward.port.tx[0].counters().lost, 20);
        ward.exchange();
        ward.ends();
    }
}
