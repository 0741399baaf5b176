//! Simulated cards, which move on threads of their own, or by their program's calls.

use std::fmt;
use std::sync::Arc;

use driver_core::host::Clock;
use sim::wire::{Wire, WireError};
use sim::{Iommu, Live, SimClock, SimDevice, Stepped, Stepper};

use super::{End, Origin};
use crate::device::Device;
use crate::error::Error;
use crate::spec::SimSpec;

/// How many steps a simulated card is given to come to rest.
const SETTLE_STEPS: usize = 100_000;

/// What moves a card.
pub(crate) enum Mover {
    /// A thread of its own, in the time of this clock.
    Thread(Arc<dyn Clock>),
    /// Its program's calls, in the time of this one.
    Calls(Arc<SimClock>),
}

/// What the simulated cards of one host share.
pub(crate) struct Cards {
    iommu: Arc<Iommu>,
    opened: u8,
}

impl Cards {
    pub(crate) fn new() -> Self {
        Self { iommu: Iommu::new(), opened: 0 }
    }

    /// The card that `spec` describes, plugged into `wire`.
    pub(crate) fn open(&mut self, name: &str, spec: &SimSpec, wire: Box<dyn Wire>, mover: Mover) -> Result<Device, Error> {
        self.opened = self.opened.wrapping_add(1);
        let card = SimDevice::try_new(name, spec.model(SimSpec::fresh_mac()), wire, self.iommu.clone());
        let card = card.map_err(|error| Error::Wire { device: name.into(), error })?;
        match mover {
            Mover::Thread(clock) => open(card, clock),
            Mover::Calls(clock) => open_stepped(card, clock, spec.wire.seed()),
        }
    }
}

impl fmt::Debug for Cards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} simulated devices opened", self.opened)
    }
}

/// Lets a card move, and opens it.
pub(crate) fn open(card: SimDevice, clock: Arc<dyn Clock>) -> Result<Device, Error> {
    // The driver's resets take time on the card: it moves before the driver opens it.
    let live = card.try_run().map_err(|error| Error::Wire { device: card.name().into(), error })?;
    let clock = Arc::new(CardClock { host: clock, card: card.clone() });
    Device::open(card.function(), clock, false, Box::new(Moving { card, way: Way::Live(live) }))
}

/// The same of a card that its program's calls move.
fn open_stepped(card: SimDevice, clock: Arc<SimClock>, seed: Option<u64>) -> Result<Device, Error> {
    let stepped = card.step_by(&clock, seed);
    Device::open(card.function(), clock, false, Box::new(Moving { card, way: Way::Stepped(stepped) }))
}

/// The host's clock for the driver of a simulated card. While the driver sleeps the card moves here too: on a busy machine its own thread may not get
/// the processor for longer than a driver waits for any hardware.
struct CardClock {
    host: Arc<dyn Clock>,
    card: SimDevice,
}

impl Clock for CardClock {
    fn now_us(&self) -> u64 {
        self.host.now_us()
    }
    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }
    fn sleep_us(&self, us: u64) {
        self.host.sleep_us(us);
        self.card.advance_us(us);
    }
}

/// A card that moves.
struct Moving {
    card: SimDevice,
    way: Way,
}

/// How it moves.
enum Way {
    Live(Live),
    Stepped(Stepped),
}

impl Origin for Moving {
    fn is_input_over(&self) -> bool {
        self.card.wire_finished() && self.card.settle(SETTLE_STEPS) < SETTLE_STEPS
    }
    fn wire_error(&self) -> Option<WireError> {
        self.card.wire_error()
    }
    fn stepper(&self) -> Option<Stepper> {
        match &self.way {
            Way::Live(_) => None,
            Way::Stepped(stepped) => Some(stepped.stepper()),
        }
    }
    fn finish(self: Box<Self>) -> End {
        let wire = match self.way {
            Way::Live(live) => live.stop(),
            Way::Stepped(stepped) => stepped.stop(),
        };
        End { is_watched: true, violations: self.card.violations().iter().map(ToString::to_string).collect(), wire }
    }
}
