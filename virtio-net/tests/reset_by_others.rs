//! A device that somebody else reset under its driver, or that stopped a queue by itself, is reset and set up as it was, whatever its transport and its queues' layout.

use super::rig::{Parts, Rig, numbered};
use super::ward::{WATCH_US, Ward, config};
use driver_core::buf::Batch;
use driver_core::device::{Config, DeviceState, NetDevice, NetDriver, Recovery, RecoveryLimits, RxMode};
use driver_core::ether::MacAddr;
use driver_core::host::{Clock, PciFunction};
use driver_core::queue::{QueueFault, RxQueue, TxQueue};
use sim::virtio_net::{VirtioNet as Model, VirtioNetOptions as Options};

/// A device of either transport.
fn wards(config: &Config) -> [Ward; 2] {
    [false, true].map(|is_mmio| {
        let rig = Rig::with(Options::new().mmio(is_mmio));
        let device =
            if is_mmio { virtio_net::open_mmio(rig.device.function(), rig.clock.clone()).unwrap().expect("a device") } else { rig.open().unwrap() };
        let parts = Parts::of(rig.audit.watch(device).start(config).unwrap());
        Ward::of(rig, parts)
    })
}

#[test]
fn what_was_in_flight_is_lost_and_counted() {
    for mut ward in wards(&config()) {
        for _ in 1..=3 {
            ward.exchange();
            ward.rig.model(|model| model.hold_tx = true);
            ward.submit(10);
            ward.rig.run_us(100);
            for number in 0..5 {
                ward.rig.send(&numbered(number, 60));
            }
            ward.rig.run_us(100);
            ward.rig.model(|model| {
                model.be_reset();
                model.hold_tx = false;
            });
            let lost = ward.parts.tx.counters().lost + ward.parts.rx.counters().lost;
            ward.parts.control.watch();
            let recovered = ward.until_recovered();
            assert_eq!((recovered.cause, recovered.attempts, recovered.lost), (QueueFault::Reset, 1, 15), "{recovered}");
            assert_eq!(ward.parts.tx.counters().lost + ward.parts.rx.counters().lost, lost + 15);
            // Behind that time it is another recovery.
            ward.rig.clock.sleep_us(300_000);
        }
        ward.exchange();
        ward.rig.audit.excuse("frames that left the card and were not reported before its reset");
        ward.ends();
    }
}

#[test]
fn what_was_set_is_set_again() {
    for mut ward in wards(&config().rx_mode(RxMode::empty())) {
        let mac = MacAddr([2, 0, 0, 0, 0, 0x77]);
        ward.parts.control.set_mac(mac).unwrap();
        let negotiated = ward.rig.model(|model| model.negotiated());
        ward.rig.model(Model::be_reset);
        ward.until_recovered();
        assert_eq!(ward.rig.model(|model| (model.negotiated(), model.mac())), (negotiated, mac.0));
        let to = |mac: MacAddr| [&mac.0[..], &[2, 0, 0, 0, 0, 9, 8, 0], &[0; 46]].concat();
        for (address, comes) in [(MacAddr([2, 0, 0, 0, 0, 0x78]), 0), (mac, 1)] {
            ward.rig.send(&to(address));
            assert_eq!((0..5).map(|_| ward.turn()).sum::<usize>(), comes, "{address}");
        }
        ward.ends();
    }
}

/// As root does by the function's `reset` file: bus mastering is off behind it. And as root does by writing the Command register.
#[test]
fn a_function_that_was_reset_or_decodes_nothing_answers_again() {
    for resets in [true, false] {
        for mut ward in wards(&config().interrupts(true)) {
            ward.exchange();
            // SAFETY: it makes the card do less.
            let mut beside = unsafe { ward.rig.device.another_function() };
            if resets {
                beside.reset().unwrap();
            } else {
                let command = beside.config_read(4, 2).unwrap();
                // SAFETY: as above.
                unsafe { beside.config_write(4, 2, command & !2) }.unwrap();
            }
            let recovered = ward.until_recovered();
            assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Reset, 1), "{recovered}");
            ward.exchange();
            // Those who slept were woken to come by.
            let _ = ward.parts.rx.interrupt().unwrap().wait(Some(0)).unwrap();
            ward.parts.rx.arm();
            ward.rig.send(&numbered(1, 60));
            assert!(ward.parts.rx.interrupt().unwrap().wait(Some(10_000)).unwrap() > 0, "its interrupts come as before");
            assert_eq!(ward.parts.receive().len(), 1);
            drop(beside);
            ward.ends();
        }
    }
}

/// DRIVER_OK stays: nothing but the queue itself tells.
#[test]
fn a_queue_that_the_device_stopped_is_seen_and_mended() {
    for queue in 0..3 {
        for mut ward in wards(&config()) {
            ward.exchange();
            assert!(ward.rig.model(|model| model.forget_queue(queue)));
            let recovered = ward.until_recovered();
            assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Reset, 1), "queue {queue}: {recovered}");
            ward.exchange();
            ward.ends();
        }
    }
}

#[test]
fn one_that_is_reset_again_and_again_is_given_up() {
    let limits = RecoveryLimits::new().attempts(3).backoff_us(1_000).settle_us(10_000_000);
    for ward in wards(&config().recovery(Recovery::Auto(limits))) {
        let Ward { rig, mut parts, .. } = ward;
        let mut watches = 0;
        while parts.control.watch() != DeviceState::Reset {
            rig.model(Model::be_reset);
            rig.run_us(WATCH_US);
            parts.rx.poll(&mut Batch::new(4), 4);
            parts.tx.reclaim();
            watches += 1;
            assert!(watches < 100, "it goes on for ever: {}", parts.control.state());
        }
        assert_eq!((parts.rx.fault(), parts.tx.fault()), (Some(QueueFault::Reset), Some(QueueFault::Reset)));
        let tried = parts.control.xstats().iter().find(|xstat| xstat.name == "resets").unwrap().value;
        assert_eq!(tried, 3);
        // One of them seemed to have worked, until the device was reset once more.
        let _ = parts.control.recovered();
        for _ in 0..20 {
            rig.run_us(WATCH_US);
            assert_eq!((parts.control.watch(), parts.control.recovered()), (DeviceState::Reset, None), "nothing more is tried");
        }
    }
}

#[test]
fn a_reset_while_it_is_being_set_up_again_is_one_more_try() {
    for mut ward in wards(&config()) {
        ward.exchange();
        ward.rig.model(Model::be_reset);
        // Up but for its queues, which this thread has not called.
        assert!(matches!(ward.parts.control.watch(), DeviceState::Recovering { cause: QueueFault::Reset, .. }));
        ward.rig.model(Model::be_reset);
        let recovered = ward.until_recovered();
        assert_eq!((recovered.cause, recovered.attempts), (QueueFault::Reset, 2), "{recovered}");
        ward.exchange();
        // What the driver wrote before it looked met a card that was reset.
        let _ = ward.rig.device.take_violations();
        ward.ends();
    }
}

#[test]
fn accounts_say_that_the_devices_own_are_lost() {
    for mut ward in wards(&config()) {
        ward.exchange();
        ward.rig.model(Model::be_reset);
        ward.until_recovered();
        let accounts = ward.parts.control.accounts();
        assert_eq!((accounts.tx_sent, accounts.rx_filled), (None, None));
        ward.ends();
    }
}
