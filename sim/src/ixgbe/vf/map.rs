//! The registers of a virtual function (8.3), typed for the model alone, and which of the port's registers do their work.

use crate::ixgbe::regs::{EITR_LOW, IVAR, RX_QUEUES_LOW, TX_QUEUES};

pub(super) const VFCTRL: u32 = 0x0000;
pub(super) const VFCTRL_RST: u32 = 1 << 26;
pub(super) const VFSTATUS: u32 = 0x0008;
pub(super) const VFLINKS: u32 = 0x0010;
pub(super) const VFFRTIMER: u32 = 0x0048;
pub(super) const VTEICR: u32 = 0x0100;
pub(super) const VTEICS: u32 = 0x0104;
pub(super) const VTEIMS: u32 = 0x0108;
pub(super) const VTEIMC: u32 = 0x010C;
pub(super) const VTEIAC: u32 = 0x0110;
pub(super) const VTEIAM: u32 = 0x0114;
pub(super) const VTIVAR: u32 = 0x0120;
pub(super) const VTIVAR_MISC: u32 = 0x0140;
pub(super) const VTRSCINT: u32 = 0x0180;
pub(super) const VFMBMEM: u32 = 0x0200;
pub(super) const VFMAILBOX: u32 = 0x02FC;
pub(super) const VFPSRTYPE: u32 = 0x0300;
pub(super) const VTEITR: u32 = 0x0820;
pub(super) const VFRX: u32 = 0x1000;
pub(super) const VFTX: u32 = 0x2000;
pub(super) const VFGPRC: u32 = 0x101C;
pub(super) const VFGORC_LSB: u32 = 0x1020;
pub(super) const VFGORC_MSB: u32 = 0x1024;
pub(super) const VFMPRC: u32 = 0x1034;
pub(super) const VFGPTC: u32 = 0x201C;
pub(super) const VFGOTC_LSB: u32 = 0x2020;
pub(super) const VFGOTC_MSB: u32 = 0x2024;
pub(super) const VFMRQC: u32 = 0x3000;
pub(super) const VFRSSRK: u32 = 0x3100;
pub(super) const VFRXMEMWRAP: u32 = 0x3190;
pub(super) const VFRETA: u32 = 0x3200;

/// Bytes of a queue's block of registers.
const BLOCK: u32 = 0x40;
/// Words of the mailbox's memory.
pub(super) const MESSAGE_WORDS: usize = 16;

/// Virtual functions by their physical function's device.
const DEVICES: [(u16, u16); 3] = [(0x10FB, 0x10ED), (0x1528, 0x1515), (0x1563, 0x1565)];

/// The physical function's device ID; an 82599's where `device` is none of a virtual function.
pub(super) fn physical(device: u16) -> u16 {
    DEVICES.into_iter().find(|&(_, function)| function == device).map_or(0x10FB, |(physical, _)| physical)
}

pub(super) fn virtual_of(device: u16) -> u16 {
    DEVICES.into_iter().find(|&(physical, _)| physical == device).map_or(0x10ED, |(_, function)| function)
}

/// The queue whose block holds `offset`, and whether it receives.
pub(super) fn queue_of(offset: u32) -> Option<(bool, u32)> {
    match offset {
        VFRX..0x1200 => Some((true, (offset - VFRX) / BLOCK)),
        VFTX..0x2200 => Some((false, (offset - VFTX) / BLOCK)),
        _ => None,
    }
}

/// The port's register that does this one's work: rings, intervals and vectors of queues.
pub(super) fn at_port(offset: u32) -> Option<u32> {
    let at = offset % BLOCK;
    match offset {
        // The port counts in there, and the function elsewhere.
        VFRX..0x1200 if (0x1C..0x28).contains(&at) || at >= 0x30 => None,
        VFTX..0x2200 if (0x1C..0x28).contains(&at) || (0x2C..0x38).contains(&at) => None,
        VFRX..0x1200 => Some(RX_QUEUES_LOW + (offset - VFRX)),
        VFTX..0x2200 => Some(TX_QUEUES + (offset - VFTX)),
        VTEITR..0x082C => Some(EITR_LOW + (offset - VTEITR)),
        VTIVAR..0x0130 => Some(IVAR + (offset - VTIVAR)),
        _ => None,
    }
}
