//! What the card reports of itself: a memory with an error that it cannot correct, an access over PCI Express that failed (8.2.3.5.1, 8.2.3.4.14).
//!
//! What becomes of the card then is anybody's guess. This one transmits no more, like a card whose descriptors are lost, until it is reset.

use super::card::Ixgbe;
use super::interrupt::{CAUSE_ECC, CAUSE_PCI, CAUSE_THERMAL};
use super::regs::{PICAUSE, PIENA};

/// PICAUSE: a completion was aborted.
const COMPLETION_ABORT: u32 = 1;

impl Ixgbe {
    /// A memory of the card has an error.
    pub(super) fn fail_memory(&mut self) {
        self.interrupts.misc(CAUSE_ECC);
        self.hung = true;
    }

    /// An access of the card was aborted. The interrupt comes where PIENA has its cause; the card stands still in any case.
    pub(super) fn fail_on_bus(&mut self) {
        self.regs.set(PICAUSE, self.regs.at(PICAUSE) | COMPLETION_ABORT);
        if self.regs.has(PIENA, COMPLETION_ABORT) {
            self.interrupts.misc(CAUSE_PCI);
        }
        self.hung = true;
    }

    /// The thermal sensor of a copper card finds it too hot: the PHY shuts down. `false`: this card has none that tells the MAC.
    pub(super) fn overheat(&mut self) -> bool {
        if self.is_copper() {
            self.hot = true;
            self.interrupts.misc(CAUSE_THERMAL);
        }
        self.is_copper()
    }

    /// Whether the PHY has shut down for the heat.
    pub(super) fn is_too_hot(&self) -> bool {
        self.hot || self.faults.overheated
    }

    /// PICAUSE: writing 1 clears.
    pub(super) fn write_picause(&mut self, value: u32) {
        self.regs.set(PICAUSE, self.regs.at(PICAUSE) & !value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::regs::EICR;
    use super::*;
    use crate::Mishap;
    use crate::ixgbe::IxgbeOptions;
    use crate::model::Model;
    use crate::slot::Slot;
    use crate::violation::Violations;

    #[test]
    fn heat_is_told_by_the_thermal_sensor_where_there_is_one() {
        for (device, has) in [(0x10fb, false), (0x1528, true), (0x1563, true)] {
            let (mut card, violations) = (Ixgbe::new(IxgbeOptions::new().device(device)), Violations::default());
            let slot = Slot::new(100, true, &violations, &|_| {});
            assert_eq!((card.suffer(Mishap::Overheat), card.is_too_hot()), (has, has), "{device:04x}");
            assert_eq!(card.read_register(&slot, EICR), u32::from(has) << 23);
            assert_eq!(card.read_register(&slot, EICR), 0, "a read clears it");
            card.reset(&slot);
            assert!(!card.is_too_hot());
        }
    }

    #[test]
    fn an_aborted_access_interrupts_where_its_cause_is_enabled() {
        let (mut card, violations) = (Ixgbe::new(IxgbeOptions::default()), Violations::default());
        let slot = Slot::new(100, true, &violations, &|_| {});
        assert!(card.suffer(Mishap::BusError));
        assert_eq!((card.read_register(&slot, EICR), card.read_register(&slot, PICAUSE)), (0, 1));
        card.write_register(&slot, PICAUSE, 2);
        assert_eq!(card.read_register(&slot, PICAUSE), 1, "of another cause");
        card.write_register(&slot, PICAUSE, 1);
        assert_eq!(card.read_register(&slot, PICAUSE), 0);
        card.write_register(&slot, PIENA, 1);
        assert!(card.suffer(Mishap::BusError));
        assert_eq!((card.read_register(&slot, EICR), card.read_register(&slot, EICR)), (1 << 18, 0), "a read clears it");
        assert!(card.suffer(Mishap::MemoryError));
        assert_eq!(card.read_register(&slot, EICR), 1 << 28);
    }
}
