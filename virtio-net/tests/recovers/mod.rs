//! A recovery that is not what the test is about.
#![allow(unreachable_pub)]

use super::rig::{Parts, Rig};
use driver_core::device::{DeviceState, NetDevice};
use driver_core::queue::TxQueue;
use sim::{Mishap, Model as _};

/// The device asks for a reset, and works again within a second.
pub fn recovers_from_needs_reset(rig: &Rig, parts: &mut Parts) {
    assert!(rig.model(|model| model.suffer(Mishap::NeedsReset)));
    rig.run_us(100);
    for _ in 0..100 {
        parts.control.watch();
        parts.receive();
        parts.tx.reclaim();
        rig.run_us(10_000);
    }
    assert!(parts.control.recovered().is_some() && parts.control.state() == DeviceState::Running);
}
