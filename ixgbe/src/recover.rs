//! What the card reports of itself that only a reset mends (8.2.3.5.1).

use driver_core::host::Bar;

use crate::card::Card;
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

    /// Takes the causes that are no queue's and returns those of errors. ERRORS-POLLED: they come whether or not an interrupt is let through for them.
    pub(crate) fn take_own_errors(&self) -> Eicr {
        let errors = EICR.read(&self.bar) & OWN_ERRORS;
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
