//! Two cards on one wire: what one sends at one time the other receives at another, and the wire's delay is between.

use std::sync::Arc;

use crate::common::{I82599, X540, X550};
use driver_core::buf::Batch;
use driver_core::device::{NetDevice, Timestamps};
use driver_core::host::Clock;
use driver_core::queue::{RxQueue, TxQueue, TxState};
use sim::ixgbe::{Ixgbe as Model, IxgbeOptions};
use sim::wire::impair::{Impair, ImpairConfig};
use sim::wire::peer;
use sim::{Iommu, SimClock, SimDevice, SimFunction};

const DELAY_US: u64 = 700;

/// A card at one end of the wire, started.
fn card(device: u16, wire: Box<dyn sim::wire::Wire>, iommu: &Arc<Iommu>, clock: &Arc<SimClock>) -> (SimDevice, ixgbe::Started<SimFunction>) {
    let card = SimDevice::new("sim:ixgbe", Box::new(Model::new(IxgbeOptions::new().device(device))), wire, iommu.clone());
    clock.attach(card.clone());
    let started = ixgbe::open(card.function(), clock.clone()).unwrap().start(&crate::ptp::config(Timestamps::Ptp)).unwrap();
    (card, started)
}

#[test]
fn the_wires_delay_is_between_both_stamps() {
    for (sends, receives) in [(I82599, I82599), (I82599, X540), (X540, X550), (X550, I82599)] {
        let (iommu, clock) = (Iommu::new(), Arc::new(SimClock::default()));
        let (near, far) = peer::pair(64);
        let mut delay = ImpairConfig::default();
        delay.delay_us = DELAY_US;
        let near = Impair::new(Box::new(near), clock.clone(), delay).unwrap();
        let (sender, mut a) = card(sends, Box::new(near), &iommu, &clock);
        let (receiver, mut b) = card(receives, Box::new(far), &iommu, &clock);
        clock.sleep_us(5_000);
        let (sent_by, received_by) = (a.control.clock().unwrap(), b.control.clock().unwrap());
        sent_by.set(1_000_000_000).unwrap();
        received_by.set(77_000_000_000).unwrap();
        for round in 0..20 {
            let mut batch = Batch::new(8);
            let mut frame = a.pool.frame_from(&crate::ptp::sync()).unwrap();
            frame.ask_for_timestamp(Some(round));
            batch.push(frame).unwrap();
            assert_eq!(a.tx[0].submit(&mut batch), TxState::Running);
            clock.sleep_us(DELAY_US + 200);
            let sent = sent_by.take_sent().unwrap().unwrap();
            assert_eq!(b.rx[0].poll(&mut batch, 8), 1);
            let received_ns = batch.frames()[0].timestamp_ns().unwrap() - 76_000_000_000;
            let delay_ns = received_ns.abs_diff(sent.at_ns.unwrap());
            // Simulated time passes in slices of 50 us while it is slept.
            assert!(delay_ns.abs_diff(DELAY_US * 1000) <= 51_000, "{sends:#x} to {receives:#x}: {delay_ns} ns");
        }
        a.control.stop().unwrap();
        b.control.stop().unwrap();
        assert!(sender.violations().is_empty() && receiver.violations().is_empty());
    }
}
