//! A card for a test: simulated time, and a wire whose far end is the test.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driver_core::host::{Clock, DmaDomain};

use crate::clock::SimClock;
use crate::device::SimDevice;
use crate::iommu::Iommu;
use crate::model::Model;
use crate::wire::peer::{self, Peer};
use crate::wire::slow::Slow;
use crate::wire::{Sent, Wire};

/// Frames that a wire holds in each direction.
const WIRE_FRAMES: usize = 4096;

/// A card whose time passes when the test or its driver sleeps, and the far end of its wire. Nothing happens between two calls, so that a test is the same each
/// time.
///
/// When it is dropped it asserts that the driver did nothing that the datasheet or the specification forbids. A test that provokes a violation takes it
/// ([`SimDevice::take_violations`]).
///
/// ```
/// use driver_core::host::Clock;
/// use sim::{Iommu, Testbed};
///
/// let model = sim::ixgbe::Ixgbe::new(Default::default());
/// let bed = Testbed::new("sim:ixgbe", Box::new(model), &Iommu::new());
/// // A driver opens bed.device.function() with bed.clock, and is started; then:
/// bed.send(&[0xff; 60]);
/// bed.run_us(500);
/// assert_eq!((bed.clock.now_us(), bed.count_arrived()), (500, 0), "nobody has sent anything");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Testbed {
    /// The card.
    pub device: SimDevice,
    /// Its time.
    pub clock: Arc<SimClock>,
    far: Mutex<Far>,
}

/// The far end of the wire.
#[derive(Debug)]
struct Far {
    wire: Peer,
    /// Frames that arrived and were looked at.
    arrived: u64,
}

impl Far {
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        self.wire.receive(&mut frame).then(|| {
            self.arrived += 1;
            frame
        })
    }
}

impl Testbed {
    /// A card on a wire that is as fast as the card, in a domain that may have others.
    ///
    /// # Panics
    /// As [`SimDevice::new`].
    pub fn new(name: &str, model: Box<dyn Model>, iommu: &Arc<Iommu>) -> Self {
        Self::slowed(name, model, iommu, 0)
    }

    /// The same on a wire that takes one frame in `interval_us` microseconds (0: as fast as the card).
    ///
    /// # Panics
    /// As [`SimDevice::new`].
    pub fn slowed(name: &str, model: Box<dyn Model>, iommu: &Arc<Iommu>, interval_us: u64) -> Self {
        let (near, far) = peer::pair(WIRE_FRAMES);
        let clock = Arc::new(SimClock::default());
        let wire: Box<dyn Wire> = match interval_us {
            0 => Box::new(near),
            _ => Box::new(Slow::new(Box::new(near), clock.clone(), interval_us)),
        };
        let device = SimDevice::new(name, model, wire, iommu.clone());
        clock.attach(device.clone());
        Self { device, clock, far: Mutex::new(Far { wire: far, arrived: 0 }) }
    }

    /// Lets time pass.
    pub fn run_us(&self, us: u64) {
        self.clock.sleep_us(us);
    }

    /// The memory that the card reaches.
    pub fn domain(&self) -> DmaDomain {
        self.device.iommu().domain()
    }

    /// The far end sends a frame. The card has it when time has passed.
    ///
    /// # Panics
    /// Where the wire holds as many frames as it can (4096).
    pub fn send(&self, frame: &[u8]) {
        let sent = self.far().wire.send(frame);
        assert_eq!(sent, Sent::Taken, "the wire holds {WIRE_FRAMES} frames: let the card take some");
    }

    /// What arrived at the far end since the last call.
    pub fn arrived(&self) -> Vec<Vec<u8>> {
        let mut far = self.far();
        std::iter::from_fn(|| far.receive()).collect()
    }

    /// How many frames left the card in all. What was not asked for by [`arrived`](Self::arrived) until now is lost.
    pub fn count_arrived(&self) -> u64 {
        let mut far = self.far();
        while far.receive().is_some() {}
        far.arrived
    }

    /// A test that panicked in the middle of a call has taken nothing from the wire but whole frames.
    fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the card saw that its datasheet or specification forbids, a line each.
    pub fn violations(&self) -> String {
        self.device.violations().iter().map(|violation| format!("{violation}\n")).collect()
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.violations(), "", "{}: its driver broke rules", self.device.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use driver_core::host::{PciFunction, RegSpace};

    use super::*;
    use crate::ixgbe::{Ixgbe, IxgbeOptions};

    fn bed() -> Testbed {
        Testbed::new("sim:ixgbe", Box::new(Ixgbe::new(IxgbeOptions::default())), &Iommu::new())
    }

    #[test]
    fn a_broken_rule_is_told_when_the_bed_goes() {
        let bed = bed();
        // SAFETY: the tail of a queue that is off makes the card access nothing.
        unsafe { bed.device.function().open_bar(0) }.unwrap().write32(0x6018, 1);
        bed.run_us(100);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(bed))).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("TDT[0]"));
    }

    #[test]
    fn a_wire_that_holds_what_it_can_is_told() {
        let bed = bed();
        (0..WIRE_FRAMES).for_each(|_| bed.send(&[0; 60]));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bed.send(&[0; 60]))).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("the wire holds 4096 frames: let the card take some"));
    }
}
