//! What the card reports of itself: errors in its memories, and accesses over PCI Express that failed. They are found with interrupts and without.

use crate::common::{Card, I82599, X540, X550};
use crate::rescue::{WITHIN_US, Ward, config};
use driver_core::device::{DeviceState, NetDevice, Recovery};
use driver_core::host::RegSpace;
use driver_core::queue::{QueueFault, RxQueue, TxQueue, TxState};
use sim::Mishap;

const ERRORS: [(Mishap, &str); 2] = [
    (Mishap::MemoryError, "an uncorrectable error in its memory (EICR.ECC)"),
    (Mishap::BusError, "that an access over PCI Express failed (EICR's PCI exception)"),
];

#[test]
fn an_error_of_its_own_is_mended_by_a_reset() {
    for device in [I82599, X540, X550] {
        for interrupts in [false, true] {
            for (mishap, what) in ERRORS {
                let mut ward = Ward::of(device, &config().interrupts(interrupts));
                ward.exchange();
                ward.suffer(mishap);
                let (recovered, took_us) = ward.until_recovered();
                assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Hardware(what), 1), "interrupts: {interrupts}");
                assert!(took_us < WITHIN_US, "{recovered}");
                ward.exchange();
                ward.ends();
            }
        }
    }
}

/// Who sleeps on the link's interrupt is woken by it; that it asks for the link first does not hide the error.
#[test]
fn an_error_fires_the_control_vector_and_outlives_a_look_at_the_link() {
    for (mishap, what) in ERRORS {
        let mut ward = Ward::new(&config().interrupts(true));
        ward.exchange();
        let fired = |ward: &mut Ward| ward.port.control.link_interrupt().unwrap().wait(Some(0)).unwrap();
        let _ = fired(&mut ward);
        ward.suffer(mishap);
        ward.card.run_us(100);
        assert_eq!(fired(&mut ward), 1);
        let _ = ward.port.control.link();
        assert!(matches!(ward.port.control.watch(), DeviceState::Recovering { cause: QueueFault::Hardware(told), .. } if told == what));
        ward.until_recovered();
        ward.exchange();
        ward.ends();
    }
}

#[test]
fn without_recovery_an_error_is_told_and_stays() {
    for (mishap, what) in ERRORS {
        let mut ward = Ward::new(&config().recovery(Recovery::Off));
        ward.exchange();
        ward.suffer(mishap);
        ward.card.run_us(100);
        let state = DeviceState::Hardware { what };
        assert_eq!((ward.port.control.watch(), ward.port.control.watch()), (state, state));
        let fault = QueueFault::Hardware(what);
        assert_eq!((ward.port.rx[0].fault(), ward.port.tx[0].fault()), (Some(fault), Some(fault)));
        assert_eq!(crate::common::transmit(&mut ward.port.tx[0], &ward.port.pool, &[0; 60]), TxState::Broken(fault));
        let text = ward.port.control.check().unwrap_err().to_string();
        assert!(text.ends_with(&format!("the device reports {what}, and has to be reset: stop it and open it again")), "{text}");
        ward.ends();
    }
}

/// PICAUSE keeps its bits until somebody clears them: what was told once is not told again.
#[test]
fn causes_of_an_exception_are_cleared() {
    let card = Card::new();
    let mut port = card.start(&config().recovery(Recovery::Off));
    // SAFETY: the mishap makes the card do less.
    assert!(unsafe { card.device.with_model(|model: &mut sim::ixgbe::Ixgbe| sim::Model::suffer(model, Mishap::BusError)) }.unwrap());
    let bar = card.registers();
    assert_eq!((bar.read32(0x110b0), bar.read32(0x110b8)), (1, 0x2f), "PICAUSE, and PIENA without BMEF");
    assert!(matches!(port.control.watch(), DeviceState::Hardware { .. }));
    assert_eq!(bar.read32(0x110b0), 0);
}
