//! A card that is too hot says so once, and is not reset for it.

use crate::common::{I82599, MAC, X540, X550, frame, received};
use crate::rescue::{Ward, config};
use driver_core::device::{Alarm, DeviceState, LinkDown, NetDevice};
use driver_core::testing::Warnings;
use sim::Mishap;
use sim::ixgbe::Ixgbe as Model;

/// Lets it happen, and watches for a second.
fn watch(ward: &mut Ward) -> Vec<Alarm> {
    let mut told = Vec::new();
    for _ in 0..2_000 {
        ward.turn();
        told.extend(ward.port.control.alarm());
    }
    assert_eq!((ward.port.control.state(), ward.port.control.recovered()), (DeviceState::Running, None));
    told
}

#[test]
fn heat_is_told_once_and_is_the_links_cause() {
    let warnings = Warnings::keep();
    for device in [X540, X550] {
        for interrupts in [false, true] {
            let mut ward = Ward::of(device, &config().interrupts(interrupts));
            ward.exchange();
            assert_eq!(watch(&mut ward), []);
            let _ = warnings.take();
            ward.suffer(Mishap::Overheat);
            assert_eq!(watch(&mut ward), [Alarm::Overheated], "interrupts: {interrupts}");
            let said = "sim:ixgbe: the device is too hot, and has shut its link down: see to its cooling, then stop it and start it again";
            assert_eq!(warnings.take().iter().filter(|line| *line == said).count(), 1);
            assert_eq!(ward.port.control.link_report().unwrap().why_down, Some(LinkDown::Overheated));
            // The sensor says so again, and it is no news.
            ward.suffer(Mishap::Overheat);
            assert_eq!(watch(&mut ward), []);
            ward.ends();
        }
    }
}

/// Who sleeps on the link's interrupt is woken; asking for the link does not lose the alarm.
#[test]
fn heat_fires_the_control_vector() {
    for device in [X540, X550] {
        let mut ward = Ward::of(device, &config().interrupts(true));
        ward.exchange();
        let fired = |ward: &mut Ward| ward.port.control.link_interrupt().unwrap().wait(Some(0)).unwrap();
        let _ = (ward.port.control.link(), fired(&mut ward));
        ward.suffer(Mishap::Overheat);
        ward.card.run_us(10);
        assert_eq!(fired(&mut ward), 1);
        let _ = ward.port.control.link();
        ward.port.control.watch();
        assert_eq!((ward.port.control.alarm(), ward.port.control.alarm()), (Some(Alarm::Overheated), None));
        ward.ends();
    }
}

/// The next time that it is too hot is news again.
#[test]
fn a_link_that_came_up_ends_the_alarm() {
    let mut ward = Ward::of(X550, &config());
    ward.exchange();
    for _ in 0..2 {
        ward.suffer(Mishap::Overheat);
        assert_eq!(watch(&mut ward), [Alarm::Overheated]);
        assert!(!ward.port.control.link().up);
        // What a reset is for; the PHY comes up with it.
        ward.suffer(Mishap::MemoryError);
        ward.until_recovered();
        ward.wait_for_link();
        assert!(ward.port.control.link().up);
        ward.card.send(&frame(MAC, 100, 1));
        assert_eq!(received(&mut ward.port.rx[0]), [frame(MAC, 100, 1)]);
    }
    ward.ends();
}

/// Its EICR has no such cause.
#[test]
fn an_82599_has_no_such_sensor() {
    let ward = Ward::of(I82599, &config());
    // SAFETY: it does nothing.
    assert!(!unsafe { ward.card.device.with_model(|model: &mut Model| sim::Model::suffer(model, Mishap::Overheat)) }.unwrap());
    ward.ends();
}
