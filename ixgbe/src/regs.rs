//! The registers that this driver touches, one line each: offset, name and section of the Intel 82599 datasheet.
//!
//! X540 and X550 keep the 82599's map for all of them; where a section number is followed by a family, that family's datasheet adds the register.
//! Statistics carry the number of their common section (8.2.3.23). Readings taken where the datasheet is unclear have a name in DATASHEET.md.

use driver_core::reg::{Reg, RegArray, Ro, Rw, Wo};
use driver_core::reg_flags;

pub(crate) mod places;
mod pools;
mod receive;
mod stats;
mod steering;
mod time;
mod transmit;
pub mod vf;

pub use pools::*;
pub use receive::*;
pub use stats::*;
pub use steering::*;
pub use time::*;
pub use transmit::*;

/// How much of BAR0 the registers take (8.1, "Internal registers memories and Flash": 128 KB and the flash behind them).
pub const BAR_BYTES: usize = 128 * 1024;

// 8.2.3.1 General control

/// Device control.
pub const CTRL: Reg<Ctrl, Rw> = Reg::new(0x0_0000, "CTRL", "8.2.3.1.1");
/// Device status.
pub const STATUS: Reg<Status, Ro> = Reg::new(0x0_0008, "STATUS", "8.2.3.1.2");
/// Extended device control.
pub const CTRL_EXT: Reg<CtrlExt, Rw> = Reg::new(0x0_0018, "CTRL_EXT", "8.2.3.1.3");
/// EtherType of outer VLAN tags (VET EXT), in bits 31:16.
pub const EXVET: Reg<u32, Rw> = Reg::new(0x0_5078, "EXVET", "8.2.3.1.7");
/// Where EXVET has it.
pub const EXVET_VET_EXT_SHIFT: u32 = 16;
/// The software definable pins.
pub const ESDP: Reg<Esdp, Rw> = Reg::new(0x0_0020, "ESDP", "8.2.3.1.4");

/// The two lines of the SFP+ cage's management bus.
pub const I2CCTL: Reg<I2cctl, Rw> = Reg::new(0x0_0028, "I2CCTL", "8.2.3.1.5");

reg_flags! {
    /// Bits of [`I2CCTL`]. Lines are open drain.
    pub struct I2cctl {
        /// What the clock is.
        const CLK_IN = 1 << 0;
        /// Lets go of the clock.
        const CLK_OUT = 1 << 1;
        /// What the data line is.
        const DATA_IN = 1 << 2;
        /// Lets go of the data line.
        const DATA_OUT = 1 << 3;
    }
}
reg_flags! {
    /// Bits of [`CTRL`].
    pub struct Ctrl {
        /// Issue no new requests on the bus ("PCIe Master Disable").
        const PCIE_MASTER_DISABLE = 1 << 2;
        /// Link reset. Together with RST it makes the global reset.
        const LRST = 1 << 3;
        /// Software reset.
        const RST = 1 << 26;
    }
}
reg_flags! {
    /// Bits of [`STATUS`].
    pub struct Status {
        /// Which of the card's two ports this is, low bit ("LAN ID").
        const LAN_ID_0 = 1 << 2;
        /// High bit of the LAN ID.
        const LAN_ID_1 = 1 << 3;
        /// Requests may be pending ("PCIe Master Enable Status").
        const PCIE_MASTER_ENABLE_STATUS = 1 << 19;
    }
}
reg_flags! {
    /// Bits of [`CTRL_EXT`].
    pub struct CtrlExt {
        /// No snoop disable.
        const NS_DIS = 1 << 16;
        /// Frames have an outer VLAN tag.
        const EXTENDED_VLAN = 1 << 26;
        /// A driver has the device: the firmware keeps its hands off.
        const DRV_LOAD = 1 << 28;
    }
}
reg_flags! {
    /// Bits of [`ESDP`].
    pub struct Esdp {
        /// Pin 2: a module is in the cage.
        const SDP2_DATA = 1 << 2;
        /// Pin 2 is an output.
        const SDP2_IODIR = 1 << 10;
        /// High: the laser of an SFP+ module is off (pin TX_DISABLE).
        const SDP3_DATA = 1 << 3;
    }
}

// 8.2.3.2 EEPROM and flash, 8.2.3.4 PCIe: semaphores with the firmware

/// EEPROM and flash control.
pub const EEC: Reg<Eec, Rw> = Reg::new(0x1_0010, "EEC", "8.2.3.2.1");
/// EEPROM read: the address in words in bits 15:2, the word in bits 31:16.
pub const EERD: Reg<Eerd, Rw> = Reg::new(0x1_0014, "EERD", "8.2.3.2.2");
/// Software semaphore.
pub const SWSM: Reg<Swsm, Rw> = Reg::new(0x1_0140, "SWSM", "8.2.3.4.9");
/// Firmware semaphore and state.
pub const FWSM: Reg<u32, Ro> = Reg::new(0x1_0148, "FWSM", "8.2.3.4.10");
/// Which resources software and firmware hold.
pub const SW_FW_SYNC: Reg<SwFwSync, Rw> = Reg::new(0x1_0160, "SW_FW_SYNC", "8.2.3.4.11");
/// What went wrong on the bus: writing 1 clears a bit.
pub const PICAUSE: Reg<PiCause, Rw> = Reg::new(0x1_10b0, "PICAUSE", "8.2.3.4.14");
/// Which of that sets EICR's PCI exception.
pub const PIENA: Reg<PiCause, Rw> = Reg::new(0x1_10b8, "PIENA", "8.2.3.4.14");
/// PCIe control extended.
pub const GCR_EXT: Reg<GcrExt, Rw> = Reg::new(0x1_1050, "GCR_EXT", "8.2.3.4.12");

/// FWSM.EXT_ERR_IND, bits 24:19: why the EEPROM's content was rejected, 0 where it was not.
pub const FWSM_EXT_ERR_IND: u32 = 0x3f << 19;

reg_flags! {
    /// Causes of a PCI exception.
    pub struct PiCause {
        /// A completion was aborted.
        const CA = 1 << 0;
        /// An address is unsupported.
        const UA = 1 << 1;
        /// Byte enables are wrong.
        const BE = 1 << 2;
        /// A completion did not come in time.
        const TO = 1 << 3;
        /// Bus mastering was switched off ("BMEF").
        const BMEF = 1 << 4;
        /// The completer aborted ("ABR").
        const ABR = 1 << 5;
    }
}
reg_flags! {
    /// Bits of [`EEC`].
    pub struct Eec {
        /// An EEPROM with a valid signature is there.
        const EE_PRES = 1 << 8;
        /// The hardware has read it ("Auto_RD"); also set where there is none.
        const AUTO_RD = 1 << 9;
    }
}
/// Where [`EEC`] has the EEPROM's size, 4 bits.
pub const EEC_EE_SIZE_SHIFT: u32 = 11;
/// Where [`EERD`] has the address.
pub const EERD_ADDRESS_SHIFT: u32 = 2;
/// Where [`EERD`] has the word that was read.
pub const EERD_DATA_SHIFT: u32 = 16;

reg_flags! {
    /// Bits of [`EERD`].
    pub struct Eerd {
        /// Starts a read.
        const START = 1 << 0;
        /// The word is there.
        const DONE = 1 << 1;
    }
}
reg_flags! {
    /// Bits of [`SWSM`].
    pub struct Swsm {
        /// Held by a driver; a read that finds 0 takes it.
        const SMBI = 1 << 0;
        /// Software holds SW_FW_SYNC against the firmware.
        const SWESMBI = 1 << 1;
    }
}
reg_flags! {
    /// Bits of [`SW_FW_SYNC`]. The firmware's bit of a resource is five above the software's.
    pub struct SwFwSync {
        /// Software holds the EEPROM.
        const SW_EEP_SM = 1 << 0;
        /// Software holds the PHY of port 0.
        const SW_PHY_SM0 = 1 << 1;
        /// Software holds the PHY of port 1.
        const SW_PHY_SM1 = 1 << 2;
        /// Software holds the shared MAC registers, AUTOC among them.
        const SW_MAC_CSR_SM = 1 << 3;
        /// X550: software holds the firmware's host interface.
        const SW_MNG_SM = 1 << 10;
        /// X540 and X550: held while this register changes; a read that finds 0 takes it ("REGSMP").
        const REGSMP = 1 << 31;
    }
}
reg_flags! {
    /// Bits of [`GCR_EXT`].
    pub struct GcrExt {
        /// How the queues are shared out ("VT_Mode"), two bits; 0: without virtualisation.
        const VT_MODE = 3;
        /// 10b: 32 pools.
        const VT_MODE_32 = 2;
        /// 11b: 64 pools.
        const VT_MODE_64 = 3;
        /// Flush what the transmit path holds back ("Buffers_Clear_Func").
        const BUFFERS_CLEAR_FUNC = 1 << 30;
    }
}

/// The firmware's host interface: whose turn it is (X550).
pub const HICR: Reg<Hicr, Rw> = Reg::new(0x1_5f00, "HICR", "8.2.3.25 (X550)");
/// Its RAM, in which a command lies, and then its answer.
pub const FLEX_MNG: RegArray<u32, Rw> = RegArray::new(0x1_5800, 4, 448, "FLEX_MNG", "8.2.3.25 (X550)");

reg_flags! {
    /// Bits of [`HICR`].
    pub struct Hicr {
        /// The firmware takes commands.
        const EN = 1 << 0;
        /// A command is there; the firmware clears it with its answer.
        const C = 1 << 1;
        /// The answer's status is valid.
        const SV = 1 << 2;
    }
}

// 8.2.3.5 Interrupts

/// Interrupt causes.
pub const EICR: Reg<Eicr, Rw> = Reg::new(0x0_0800, "EICR", "8.2.3.5.1");
/// Interrupt causes to raise by hand.
pub const EICS: Reg<Eicr, Wo> = Reg::new(0x0_0808, "EICS", "8.2.3.5.2");
/// Interrupts let through: writing 1 sets a bit.
pub const EIMS: Reg<Eicr, Rw> = Reg::new(0x0_0880, "EIMS", "8.2.3.5.3");
/// Interrupts masked: writing 1 clears a bit of EIMS.
pub const EIMC: Reg<Eicr, Wo> = Reg::new(0x0_0888, "EIMC", "8.2.3.5.4");
/// The same of the vectors 0 to 63.
pub const EICS_EX: RegArray<u32, Wo> = RegArray::new(0x0_0a90, 4, 2, "EICS", "8.2.3.5.7");
/// Eicr that clear themselves when their message is sent.
pub const EIAC: Reg<Eicr, Rw> = Reg::new(0x0_0810, "EIAC", "8.2.3.5.5");
/// Eicr that mask themselves when their message is sent (registers 1 and 2: the MSI-X vectors 0 to 63).
pub const EIAM_EX: RegArray<u32, Rw> = RegArray::new(0x0_0ad0, 4, 2, "EIAM", "8.2.3.5.10");
/// Lets the vectors 0 to 63 through: writing 1 sets a bit.
pub const EIMS_EX: RegArray<u32, Rw> = RegArray::new(0x0_0aa0, 4, 2, "EIMS", "8.2.3.5.8");
/// Masks the vectors 0 to 63.
pub const EIMC_EX: RegArray<u32, Wo> = RegArray::new(0x0_0ab0, 4, 2, "EIMC", "8.2.3.5.9");
/// Interrupt throttling, one a vector: those of the vectors 0 to 23.
pub const EITR: RegArray<u32, Rw> = RegArray::new(0x0_0820, 4, 24, "EITR", "8.2.3.5.12");
/// The same of the vectors from 24 on.
pub const EITR_FROM_24: RegArray<u32, Rw> = RegArray::new(0x1_2300, 4, 104, "EITR", "8.2.3.5.12");
/// Which vector a queue's causes go to; two queues a register.
pub const IVAR: RegArray<u32, Rw> = RegArray::new(0x0_0900, 4, 64, "IVAR", "8.2.3.5.16");
/// Which vector the other causes go to.
pub const IVAR_MISC: Reg<u32, Rw> = Reg::new(0x0_0a00, "IVAR_MISC", "8.2.3.5.17");
/// How interrupts are signalled.
pub const GPIE: Reg<Gpie, Rw> = Reg::new(0x0_0898, "GPIE", "8.2.3.5.18");

/// EITR.CNT_WDIS: leave the running interval's counter as it is.
pub const EITR_CNT_WDIS: u32 = 1 << 31;
/// IVAR: the entry is valid.
pub const IVAR_VALID: u32 = 1 << 7;
/// Queues' causes in EICR: as many an entry of [`IVAR`] may name without MSI-X (8.2.3.5.1).
pub const QUEUE_CAUSES: u32 = 16;

reg_flags! {
    /// Interrupt causes, as [`EICR`], [`EIMS`] and their kin have them. Bits 0 to 15 belong to the queues.
    pub struct Eicr {
        /// The queues' causes ("RTxQ"); under MSI-X, the vectors 0 to 15.
        const RTXQ = 0xffff;
        /// A frame was lost for want of room ("Rx Miss").
        const RX_MISS = 1 << 17;
        /// An access over PCI Express failed ([`PICAUSE`]: "PCI Exception").
        const PCI = 1 << 18;
        /// The link came or went.
        const LSC = 1 << 20;
        /// The thermal sensor has found the card too hot ("TS"; X540, X550).
        const TS = 1 << 23;
        /// A memory of the card was corrupted beyond repair.
        const ECC = 1 << 28;
        /// Any of the others ("Other Cause Interrupt").
        const OTHER = 1 << 31;
    }
}
reg_flags! {
    /// Bits of [`GPIE`].
    pub struct Gpie {
        /// One message a vector ("Multiple_MSIX").
        const MULTIPLE_MSIX = 1 << 4;
        /// A read of EICR leaves the queues' causes alone ("OCD").
        const OCD = 1 << 5;
        /// Sending a message masks its vector ("EIAME").
        const EIAME = 1 << 30;
        /// The pending bit array is in use ("PBA_support").
        const PBA_SUPPORT = 1 << 31;
    }
}

// 8.2.3.22 MAC and link

/// MAC core control 0.
pub const HLREG0: Reg<Hlreg0, Rw> = Reg::new(0x0_4240, "HLREG0", "8.2.3.22.8");
/// MDI single command and address.
pub const MSCA: Reg<Msca, Rw> = Reg::new(0x0_425c, "MSCA", "8.2.3.22.11");
/// MDI single read and write data.
pub const MSRWD: Reg<u32, Rw> = Reg::new(0x0_4260, "MSRWD", "8.2.3.22.12");
/// Maximum frame size, bits 31:16.
pub const MAXFRS: Reg<u32, Rw> = Reg::new(0x0_4268, "MAXFRS", "8.2.3.22.13");
/// MAC flow control.
pub const MFLCN: Reg<Mflcn, Rw> = Reg::new(0x0_4294, "MFLCN", "8.2.3.22.34");
/// Auto-negotiation control (82599).
pub const AUTOC: Reg<Autoc, Rw> = Reg::new(0x0_42a0, "AUTOC", "8.2.3.22.19");
/// Link status.
pub const LINKS: Reg<Links, Ro> = Reg::new(0x0_42a4, "LINKS", "8.2.3.22.20");
/// Auto-negotiation control 2 (82599).
pub const AUTOC2: Reg<Autoc2, Rw> = Reg::new(0x0_42a8, "AUTOC2", "8.2.3.22.22");

/// MAC control (X540 and X550, in place of AUTOC).
pub const MACC: Reg<Macc, Rw> = Reg::new(0x0_4330, "MACC", "8.2.3.22.35 (X540)");

reg_flags! {
    /// Bits of [`MACC`].
    pub struct Macc {
        /// Force the link up ("FLU").
        const FLU = 1 << 0;
    }
}
reg_flags! {
    /// Bits of [`HLREG0`].
    pub struct Hlreg0 {
        /// Append the check sequence where a descriptor asks for it.
        const TXCRCEN = 1 << 0;
        /// Take the check sequence off received frames.
        const RXCRCSTRP = 1 << 1;
        /// Frames longer than 1518 bytes are received, up to MAXFRS.MFS.
        const JUMBOEN = 1 << 2;
        /// Pad frames to 64 bytes where a descriptor asks for the check sequence.
        const TXPADEN = 1 << 10;
        /// Loop transmitted frames back.
        const LPBK = 1 << 15;
        /// MDC runs at 24 MHz instead of 2.4 MHz.
        const MDCSPD = 1 << 16;
        /// Report length errors.
        const RXLNGTHERREN = 1 << 27;
    }
}
reg_flags! {
    /// Bits of [`MSCA`]: register in 15:0, device in 20:16, PHY in 25:21.
    pub struct Msca {
        /// OP code 01b: write. With neither OP bit set it is an address cycle.
        const OP_WRITE = 1 << 26;
        /// OP code 11b: read.
        const OP_READ = 3 << 26;
        /// Starts the cycle; clears when it is done ("MDI Command").
        const MDICMD = 1 << 30;
    }
}
reg_flags! {
    /// Bits of [`MFLCN`].
    pub struct Mflcn {
        /// Discard pause frames instead of handing them up, where RFCE is on.
        const DPF = 1 << 1;
        /// Obey priority pause frames.
        const RPFCE = 1 << 2;
        /// Obey pause frames.
        const RFCE = 1 << 3;
    }
}
reg_flags! {
    /// Bits of [`AUTOC`].
    pub struct Autoc {
        /// Force the link up ("FLU").
        const FLU = 1 << 0;
        /// Restart the negotiation, or the link where there is none; clears itself ("Restart_AN").
        const RESTART_AN = 1 << 12;
        /// Link mode select, three bits ("LMS").
        const LMS = 7 << 13;
        /// LMS: the modes that negotiate by clause 73 have this bit.
        const LMS_NEGOTIATES = 4 << 13;
        /// LMS 011b: 10 Gbit/s over one serial lane, SFI among them.
        const LMS_10G_SERIAL = 3 << 13;
    }
}
reg_flags! {
    /// Bits of [`AUTOC2`].
    pub struct Autoc2 {
        /// The serial interface, two bits ("10G_PMA_PMD_Serial").
        const PMA_PMD_10G_SERIAL = 3 << 16;
        /// 10b: SFI.
        const PMA_PMD_10G_SFI = 2 << 16;
        /// The EEPROM turned the link off (bits 30:28).
        const LINK_DISABLE = 7 << 28;
    }
}
reg_flags! {
    /// Bits of [`LINKS`].
    pub struct Links {
        /// X550: the speed is 2.5 Gbit/s instead of 10, or 5 instead of 0.1.
        const SPEED_NON_STD = 1 << 27;
        /// The speed, two bits: 01b 100 Mbit/s, 10b 1 Gbit/s, 11b 10 Gbit/s.
        const LINK_SPEED = 3 << 28;
        /// 100 Mbit/s.
        const SPEED_100M = 1 << 28;
        /// 1 Gbit/s.
        const SPEED_1G = 2 << 28;
        /// There is a link.
        const LINK_UP = 1 << 30;
        /// The negotiation of a backplane has ended ("KX/KX4/KR Backplane Auto Negotiation Completed").
        const KX_AN_COMP = 1 << 31;
    }
}
