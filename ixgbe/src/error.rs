//! What only these cards can do wrong, said so that the reader knows what to do next. All else is [`driver_core::device::ErrorKind`].

use core::fmt;

use driver_core::device::ErrorKind;
use driver_core::ether::MacAddr;
use driver_core::reg::WaitError;

/// A fault of the card or of what surrounds it. [`Error::hardware`](driver_core::device::Error::hardware) finds it in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HardwareError {
    /// BAR0 is smaller than the registers.
    SmallBar {
        /// Its size in bytes.
        len_bytes: usize,
    },
    /// The same of a virtual function.
    SmallFunctionBar {
        /// Its size in bytes.
        len_bytes: usize,
    },
    /// The EEPROM is missing or was rejected by the card.
    Eeprom {
        /// EEC as read.
        eec: u32,
        /// FWSM as read: the firmware's state.
        fwsm: u32,
    },
    /// The address in RAL0/RAH0 is no unicast address.
    PermanentMac {
        /// The address.
        mac: MacAddr,
    },
    /// A semaphore shared with the firmware or another driver could not be had.
    Semaphore {
        /// Its bits in SW_FW_SYNC.
        bits: u32,
        /// How long it was asked for, and SW_FW_SYNC as last read.
        wait: WaitError,
    },
    /// No PHY answered on MDIO.
    NoPhy,
    /// No module answered on the cage's management bus.
    NoModule {
        /// At this address, or to what was asked of it.
        address: u8,
    },
    /// The function is a relative of the cards that are driven, and is not driven itself.
    NotDriven {
        /// Its name.
        name: &'static str,
        /// Why it is not driven, and what to do.
        why: &'static str,
    },
    /// The board's thermal sensor did not answer, of which its EEPROM tells.
    NoSensor {
        /// At this address of the cage's bus.
        address: u8,
    },
    /// The firmware takes no commands.
    NoFirmware {
        /// HICR as read.
        hicr: u32,
    },
    /// The firmware did not do a command.
    Firmware {
        /// The command's number.
        command: u8,
        /// What it answered.
        status: u8,
    },
    /// The driver of a virtual function's physical one does not answer at the mailbox.
    NoPhysicalDriver {
        /// What was waited for.
        wait: WaitError,
    },
    /// The physical function of a virtual one is in a reset, or was in one since the virtual one was set up.
    PhysicalReset,
    /// A physical function answered to something else than was asked.
    Answer {
        /// What it was asked.
        request: &'static str,
        /// The first word of its answer.
        answer: u32,
    },
    /// The address that a physical function gives is no unicast address.
    AssignedMac {
        /// The address.
        mac: MacAddr,
    },
    /// The queues that a physical function gives are none or more than there are.
    AssignedQueues {
        /// Receive queues.
        rx: u32,
        /// Transmit queues.
        tx: u32,
    },
}

impl fmt::Display for HardwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallBar { len_bytes } | Self::SmallFunctionBar { len_bytes } => {
                let needed = if matches!(self, Self::SmallBar { .. }) { crate::regs::BAR_BYTES } else { crate::regs::vf::VF_BAR_BYTES };
                write!(f, "BAR0 has {len_bytes:#x} bytes, the registers need {needed:#x}: check that the whole BAR is mapped")
            }
            Self::Eeprom { eec, fwsm } => write!(
                f,
                "the card found no valid EEPROM (EEC {eec:#010x}, FWSM {fwsm:#010x}): its content is damaged, restore it with the vendor's tool"
            ),
            Self::PermanentMac { mac } => {
                write!(f, "the EEPROM's Ethernet address {mac} is no unicast address: restore the EEPROM with the vendor's tool")
            }
            Self::Semaphore { bits, wait } => write!(
                f,
                "the firmware or another driver does not release what SW_FW_SYNC bits {bits:#x} guard (last read {:#010x}): see whether another program drives the card's other port",
                wait.last
            ),
            Self::NoPhy => f.write_str("no PHY answers at any of the 32 MDIO addresses: power the machine off and on"),
            Self::NoModule { address } => {
                write!(
                    f,
                    "no module answers at address {address:#04x} of the cage's bus: look whether one is plugged in; cables without an EEPROM say nothing"
                )
            }
            Self::NotDriven { name, why } => write!(f, "it is an {name}, which this driver does not drive: {why}"),
            Self::NoSensor { address } => {
                write!(
                    f,
                    "the board's thermal sensor does not answer at address {address:#04x} of the cage's bus, although the EEPROM tells of it: see whether a module holds the bus"
                )
            }
            Self::NoFirmware { hicr } => {
                write!(
                    f,
                    "the card's firmware takes no commands (HICR {hicr:#010x}): its image is damaged or in recovery, restore it with the vendor's tool"
                )
            }
            Self::Firmware { command, status } => {
                write!(f, "the card's firmware did not do command {command:#04x}, and answered {status:#04x}: update it with the vendor's tool")
            }
            Self::NoPhysicalDriver { wait } => write!(
                f,
                "its physical function's driver does not answer ({} still reads {:#010x} after {} us): load that driver, and bring its port up (`ip link set PF up`)",
                wait.register, wait.last, wait.waited_us
            ),
            Self::PhysicalReset => {
                f.write_str("its physical function is in a reset, or takes no requests: try again when its port is up (`ip link set PF up`)")
            }
            Self::Answer { request, answer } => write!(
                f,
                "its physical function answered {answer:#010x} to {request}, which is no answer to it: see which driver that function has, and update it"
            ),
            Self::AssignedMac { mac } => {
                write!(f, "its physical function gives it the address {mac}, which is no unicast one: set another (`ip link set PF vf N mac`)")
            }
            Self::AssignedQueues { rx, tx } => write!(
                f,
                "its physical function gives it {rx} receive and {tx} transmit queues, and a virtual function has 1 to 8 of each: see which driver that function has, and update it"
            ),
        }
    }
}

impl core::error::Error for HardwareError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Semaphore { wait, .. } | Self::NoPhysicalDriver { wait } => Some(wait),
            Self::SmallBar { .. }
            | Self::Eeprom { .. }
            | Self::PermanentMac { .. }
            | Self::NoPhy
            | Self::NoModule { .. }
            | Self::NotDriven { .. }
            | Self::NoSensor { .. }
            | Self::NoFirmware { .. }
            | Self::Firmware { .. }
            | Self::SmallFunctionBar { .. }
            | Self::PhysicalReset
            | Self::Answer { .. }
            | Self::AssignedMac { .. }
            | Self::AssignedQueues { .. } => None,
        }
    }
}

impl From<HardwareError> for ErrorKind {
    fn from(error: HardwareError) -> Self {
        Self::of_hardware(error)
    }
}
