//! What the card reports of itself: what only a reset mends (8.2.3.5.1), and heat, which none does.

use driver_core::host::Bar;

use crate::card::Card;
use crate::id::Family;
use crate::regs::{EICR, Eicr, PICAUSE, PIENA, PiCause};

/// The causes that are told as such. PCI-EXCEPTION: what failed on the bus is not said, so that nothing but a reset is known to mend it.
pub(crate) const OWN_ERRORS: Eicr = Eicr::ECC.union(Eicr::PCI);

/// What of PCI Express counts as an exception: all but that bus mastering was switched off, which is the driver's own doing when it stops the card.
const EXCEPTIONS: PiCause = PiCause::CA.union(PiCause::UA).union(PiCause::BE).union(PiCause::TO).union(PiCause::ABR);

impl<B: Bar> Card<B> {
    /// Has the card report what goes wrong on the bus.
    pub(crate) fn report_exceptions(&self) {
        PIENA.write(&self.bar, EXCEPTIONS);
    }

    /// What the card reports of itself. THERMAL: the 82599 has no such cause, and a bit of another meaning.
    pub(crate) fn own_causes(&self) -> Eicr {
        if self.model.family == Family::I82599 { OWN_ERRORS } else { OWN_ERRORS | Eicr::TS }
    }

    /// Takes the causes that are no queue's and returns those that the card reports of itself. ERRORS-POLLED: they come whether or not an interrupt is let through for them.
    pub(crate) fn take_own_causes(&self) -> Eicr {
        let errors = EICR.read(&self.bar) & self.own_causes();
        if errors.contains(Eicr::PCI) {
            PICAUSE.modify(&self.bar, |causes| causes);
        }
        errors
    }
}

/// An error in words.
pub(crate) fn describe(errors: Eicr) -> Option<&'static str> {
    match () {
        () if errors.contains(Eicr::ECC) => Some("an uncorrectable error in its memory (EICR.ECC)"),
        () if errors.contains(Eicr::PCI) => Some("that an access over PCI Express failed (EICR's PCI exception)"),
        () => None,
    }
}
