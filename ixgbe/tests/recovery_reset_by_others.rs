//! A card that somebody else reset, or whose memory decoding was switched off, is set up as it was, and the program hears of it when it is over.

use crate::common::{I82599, X540, X550};
use crate::rescue::{Ward, config};
use driver_core::device::{DeviceState, NetDevice, Recovery, RecoveryLimits};
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{QueueFault, RxQueue, TxQueue};

/// As root does by the function's `reset` file, or by writing its Command register.
fn interfere(ward: &Ward, resets: bool) {
    // SAFETY: it makes the card do less.
    let mut beside = unsafe { ward.card.device.another_function() };
    if resets {
        beside.reset().unwrap();
    } else {
        let command = beside.config_read(4, 2).unwrap();
        // SAFETY: as above.
        unsafe { beside.config_write(4, 2, command & !2) }.unwrap();
    }
}

#[test]
fn traffic_goes_on() {
    for device in [I82599, X540, X550] {
        for resets in [true, false] {
            let mut ward = Ward::of(device, &config());
            for _ in 0..2 {
                ward.exchange();
                interfere(&ward, resets);
                let (recovered, _) = ward.until_recovered();
                assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Reset, 1), "{recovered}");
                ward.card.clock.sleep_us(300_000);
            }
            ward.exchange();
            let accounts = ward.port.control.accounts();
            assert_eq!((accounts.tx_sent, accounts.rx_filled), (None, None), "what the card counted before nobody knows");
            ward.card.audit.excuse("what the card counted, and where its rings stood, went with its resets");
            ward.ends();
        }
    }
}

/// Nothing is on of the queues by then, so that no ring says how far the card was: what was not reported as sent counts as lost.
#[test]
fn what_was_in_flight_is_lost_and_counted() {
    let mut ward = Ward::new(&config());
    ward.exchange();
    ward.card.device.set_carrier(false);
    ward.card.run_us(10_000);
    ward.submit(10);
    interfere(&ward, true);
    ward.card.device.set_carrier(true);
    let (recovered, _) = ward.until_recovered();
    assert!((10..=11).contains(&recovered.lost), "{recovered}");
    ward.exchange();
    ward.card.audit.excuse("what was sent and not reported counts as lost: the reset took the ring's head");
    ward.ends();
}

#[test]
fn one_that_is_reset_again_and_again_is_given_up() {
    let limits = RecoveryLimits::new().attempts(3).backoff_us(1_000).settle_us(10_000_000);
    let Ward { card, mut port, .. } = {
        let ward = Ward::new(&config().recovery(Recovery::Auto(limits)));
        interfere(&ward, true);
        ward
    };
    let mut watches = 0;
    while port.control.watch() != DeviceState::Reset {
        // SAFETY: a reset makes the card access less.
        unsafe { card.device.another_function() }.reset().unwrap();
        card.run_us(100_000);
        port.rx[0].poll(&mut driver_core::buf::Batch::new(4), 4);
        port.tx[0].reclaim();
        watches += 1;
        assert!(watches < 100, "it goes on for ever: {}", port.control.state());
    }
    assert_eq!((port.rx[0].fault(), port.tx[0].fault()), (Some(QueueFault::Reset), Some(QueueFault::Reset)));
    assert_eq!(port.control.xstats().iter().find(|xstat| xstat.name == "resets").unwrap().value, 3);
    let _ = (port.control.recovered(), card.device.take_violations());
    card.run_us(1_000_000);
    assert_eq!((port.control.watch(), port.control.recovered()), (DeviceState::Reset, None), "nothing more is tried");
}
