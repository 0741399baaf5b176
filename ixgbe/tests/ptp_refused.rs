//! What a card cannot stamp is left out, and named in the log; without stamps there is no clock.

use crate::common::{Card, I82599, X540, X550};
use driver_core::device::{Caps, Config, NetDevice, Timestamps};
use driver_core::testing::Warnings;

#[test]
fn what_the_card_cannot_is_left_out_and_named() {
    let warnings = Warnings::keep();
    for (device, all) in [(I82599, Timestamps::Ptp), (X540, Timestamps::Ptp), (X550, Timestamps::All)] {
        let card = Card::of(device);
        let started = card.start(&crate::ptp::config(Timestamps::All));
        assert_eq!(started.control.settings().timestamps(), all);
        let warned = warnings.take();
        if all == Timestamps::All {
            assert_eq!(warned, [""; 0]);
        } else {
            assert_eq!(warned, ["sim:ixgbe: it does not stamp every received frame: PTP's event messages alone have stamps"]);
        }
        let caps = Caps::TIMESTAMPS | Caps::TIMESTAMPS_ALL;
        let expected = if device == X550 { caps } else { Caps::TIMESTAMPS };
        assert_eq!((started.control.info().caps & caps, started.control.info().used_caps & caps), (expected, expected), "{device:#x}");
        drop(started);
        let started = card.start(&crate::ptp::config(Timestamps::Ptp));
        assert_eq!((started.control.info().used_caps & caps, warnings.take()), (Caps::TIMESTAMPS, vec![]), "{device:#x}");
        card.assert_no_violations();
    }

    let card = Card::new();
    let mut started = card.start(&Config::new());
    let error = started.control.clock().unwrap_err().to_string();
    assert!(error.contains("using its clock") && error.contains("start it with `Config::timestamps`"), "{error}");
    // Who asks for a stamp all the same has the frame sent, and hears nothing.
    crate::ptp::submit(&mut started, &crate::ptp::sync(), Some(1));
    assert_eq!((card.sent().len(), crate::ptp::xstat(&mut started, "tx_hwtstamp_skipped"), warnings.take()), (1, 0, vec![]));
    card.assert_no_violations();
}
