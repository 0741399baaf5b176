//! Accesses to the registers of a virtual function.

use super::config::VECTORS;
use super::function::IxgbeVf;
use super::map::*;
use crate::ixgbe::regs::{EIAC, EIAM, EICR, EICS, EIMC, EIMS, LINKS, STATUS};
use crate::ixgbe::ring::{DCTL, ENABLE, TAIL};
use crate::slot::Slot;

/// VTIVAR and VTIVAR_MISC: which vector, and that it is one.
const VECTOR: u32 = 3;
const VALID: u32 = 1 << 7;
/// The bits of VTEICR and its kin.
const CAUSES: u32 = (1 << VECTORS) - 1;

/// Registers that keep what is written to them, and no more.
const PLAIN: [std::ops::Range<u32>; 5] =
    [VFPSRTYPE..VFPSRTYPE + 4, VTRSCINT..VTRSCINT + 12, VFMRQC..VFMRQC + 4, VFRSSRK..VFRSSRK + 40, VFRETA..VFRETA + 64];

impl IxgbeVf {
    pub(super) fn read_register(&mut self, slot: &Slot<'_>, offset: u32) -> u32 {
        if let Some(value) = self.counters.read(offset) {
            return value;
        }
        if let Some(at) = at_port(offset) {
            return self.port.read_register(slot, at);
        }
        match offset {
            VFSTATUS => self.port.read_register(slot, STATUS),
            VFLINKS if self.pf.options.tells_link => 0,
            VFLINKS => self.port.read_register(slot, LINKS),
            VFFRTIMER => slot.now_us() as u32,
            VFRXMEMWRAP => 0,
            VFMAILBOX => self.mailbox.read() | self.pf.hogs(),
            VFMBMEM..0x240 => self.mailbox.memory[((offset - VFMBMEM) / 4) as usize],
            // A read clears what it shows.
            VTEICR => {
                let causes = self.port.interrupts.read(slot, EICR).unwrap_or(0);
                self.port.interrupts.write(slot, EICR, causes);
                causes & CAUSES
            }
            VTEIMS => self.port.interrupts.read(slot, EIMS).unwrap_or(0) & CAUSES,
            VTEIAC => self.port.interrupts.read(slot, EIAC).unwrap_or(0),
            VTEIAM => self.port.interrupts.read(slot, EIAM).unwrap_or(0),
            VTIVAR_MISC => self.pf.vtivar_misc,
            _ if self.has(offset) => self.pf.plain.get(&offset).copied().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether it is one of the plain registers. RSS of its own is the X550's.
    fn has(&self, offset: u32) -> bool {
        let own_rss = (VFMRQC..VFRETA + 64).contains(&offset);
        PLAIN.iter().any(|range| range.contains(&offset)) && (self.port.is_x550() || !own_rss)
    }

    pub(super) fn write_register(&mut self, slot: &Slot<'_>, offset: u32, value: u32) {
        if let Some((receives, queue)) = queue_of(offset)
            && offset % 0x40 == DCTL
            && value & ENABLE != 0
            && queue >= self.pf.options.queues
        {
            let what = "a queue was enabled that is not the function's";
            slot.violation(what, format_args!("{}[{queue}]", if receives { "VFRXDCTL" } else { "VFTXDCTL" }), value.into(), "8.3");
            return;
        }
        if self.pf.has_forgotten && queue_of(offset).is_some() && offset % 0x40 == TAIL {
            // The driver of a queue that was taken from it cannot know yet.
            return;
        }
        if let Some(at) = at_port(offset) {
            self.check_vectors(slot, offset, value);
            return self.port.write_register(slot, at, value);
        }
        match offset {
            VFCTRL if value & VFCTRL_RST != 0 => self.reset_function(),
            VFMAILBOX => self.write_mailbox(slot, value),
            VFMBMEM..0x240 => {
                if !self.mailbox.is_owned() {
                    let index = (offset - VFMBMEM) / 4;
                    let at = format_args!("VFMBMEM[{index}]");
                    slot.violation("the mailbox's memory was written by a function that does not own it (VFMAILBOX.VFU)", at, value.into(), "7.10.2");
                }
                self.mailbox.memory[((offset - VFMBMEM) / 4) as usize] = value;
            }
            VTEICR => _ = self.port.interrupts.write(slot, EICR, value & CAUSES),
            VTEICS => _ = self.port.interrupts.write(slot, EICS, value & CAUSES),
            VTEIMS => _ = self.port.interrupts.write(slot, EIMS, value & CAUSES),
            VTEIMC => _ = self.port.interrupts.write(slot, EIMC, value & CAUSES),
            VTEIAC => _ = self.port.interrupts.write(slot, EIAC, value & CAUSES),
            VTEIAM => _ = self.port.interrupts.write(slot, EIAM, value & CAUSES),
            VTIVAR_MISC => {
                self.check_vectors(slot, offset, value);
                self.pf.vtivar_misc = value & (VALID | VECTOR);
            }
            // The rest of VFCTRL, and what only reads.
            VFCTRL | VFSTATUS | VFLINKS | VFFRTIMER | VFRXMEMWRAP => {}
            _ if self.counters.read(offset).is_some() => {}
            _ if self.has(offset) => {
                self.pf.plain.insert(offset, value);
                self.spread_again();
            }
            _ => slot.violation("a reserved register was written", format_args!("offset {offset:#07x}"), value.into(), "8.3"),
        }
    }

    /// An allocation names one of the function's vectors.
    fn check_vectors(&self, slot: &Slot<'_>, offset: u32, value: u32) {
        let allocations = match offset {
            VTIVAR..0x0130 => &value.to_le_bytes()[..],
            VTIVAR_MISC => &value.to_le_bytes()[..1],
            _ => return,
        };
        if allocations.iter().any(|&one| u32::from(one) & VALID != 0 && u32::from(one) & VECTOR >= u32::from(VECTORS)) {
            let what = "an interrupt cause was allocated to a vector that the function has not";
            slot.violation(what, format_args!("offset {offset:#07x}"), value.into(), "8.3");
        }
    }

    fn write_mailbox(&mut self, slot: &Slot<'_>, value: u32) {
        if self.pf.hogs() != 0 {
            return;
        }
        let (sent, problem) = self.mailbox.write(value);
        if let Some(problem) = problem {
            slot.violation(problem, format_args!("VFMAILBOX"), value.into(), "7.10.2");
        }
        self.hear(slot, sent);
    }

    /// The vector of the mailbox, as a bit.
    pub(super) fn mailbox_vector(&self) -> u32 {
        let allocation = self.pf.vtivar_misc;
        if allocation & VALID != 0 { 1 << (allocation & VECTOR) } else { 0 }
    }
}
