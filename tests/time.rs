//! The clock of a card that moves by itself: it runs with the machine's time, also while nobody looks at the card.

mod common;

use std::thread::sleep;
use std::time::Duration;

use barewire::driver_core::device::ClockReading;
use barewire::sim::wire::peer;
use barewire::{Config, Host, Timestamps};
use common::ports::until;

#[test]
fn a_clock_that_runs_with_the_machines() {
    for card in ["82599", "x540", "x550"] {
        let mut host = Host::new();
        let (near, _far) = peer::pair(8);
        let device = host.plug(&format!("sim:ixgbe,card={card}"), Box::new(near)).unwrap();
        let port = device.start(&Config::new().timestamps(Timestamps::Ptp)).unwrap();
        let clock = port.control.clock().unwrap();
        clock.set(1_790_000_000_000_000_000).unwrap();
        // A simulated card is ahead by what its driver slept while it was started, and waits for the machine.
        until("the card's time is the machine's again", || {
            let before = clock.read().unwrap();
            sleep(Duration::from_millis(5));
            clock.read().unwrap().device_ns > before.device_ns
        });
        let readings = [0, 30, 300].map(|ms| {
            sleep(Duration::from_millis(ms));
            // The narrowest of some: the machine may do something else between two looks at its clock.
            (0..20).map(|_| clock.read().unwrap()).min_by_key(ClockReading::uncertainty_ns).unwrap()
        });
        for pair in readings.windows(2) {
            let passed_ns = pair[1].system_ns() - pair[0].system_ns();
            let gained_ns = pair[1].offset_ns() - pair[0].offset_ns();
            let known_ns = 20_000 + pair[0].uncertainty_ns() + pair[1].uncertainty_ns();
            assert!(gained_ns.unsigned_abs() < known_ns, "{card}: gained {gained_ns} ns in {passed_ns} ns, known to {known_ns} ns");
        }
        assert!(readings[0].device_ns >= 1_790_000_000_000_000_000, "{:?}", readings[0]);
    }
}

#[test]
fn a_device_without_a_clock_says_so() {
    let mut host = Host::new();
    let (near, _far) = peer::pair(8);
    let port = host.plug("sim:virtio-net", Box::new(near)).unwrap().start(&Config::new().timestamps(Timestamps::All)).unwrap();
    let error = port.control.clock().unwrap_err().to_string();
    assert!(error.contains("has no clock of its own"), "{error}");
}
