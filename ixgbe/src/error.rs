//! What can go wrong, said so that the reader knows what to do next.

use alloc::string::String;
use core::fmt;

use driver_core::device::ConfigError;
use driver_core::ether::MacAddr;
use driver_core::host::{BarError, DmaError, PciError, PciFunction, PciId};
use driver_core::queue::GateError;
use driver_core::reg::{NoSuchRegister, WaitError};
use driver_core::ring::RingError;

use crate::device::Ixgbe;

/// Why an operation on a device failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The function is no device of this driver.
    UnknownId {
        /// The function's name.
        function: String,
        /// What it says it is.
        id: PciId,
    },
    /// BAR0 is smaller than the registers.
    SmallBar {
        /// The function's name.
        function: String,
        /// Its size in bytes.
        len_bytes: usize,
    },
    /// A register did not reach the awaited state.
    Timeout {
        /// The function's name.
        function: String,
        /// Which register, what for, and the last value.
        timeout: WaitError,
    },
    /// The EEPROM is missing or was rejected by the card.
    Eeprom {
        /// The function's name.
        function: String,
        /// EEC and FWSM as read.
        eec: u32,
        /// Firmware state.
        fwsm: u32,
    },
    /// The address in RAL0/RAH0 is no unicast address.
    PermanentMac {
        /// The function's name.
        function: String,
        /// The address.
        mac: MacAddr,
    },
    /// A semaphore shared with the firmware or another driver could not be had.
    Semaphore {
        /// The function's name.
        function: String,
        /// Its bits in SW_FW_SYNC.
        bits: u32,
        /// SW_FW_SYNC as last read.
        last: u32,
    },
    /// No PHY answered on MDIO.
    NoPhy {
        /// The function's name.
        function: String,
    },
    /// The configuration asks for what the device cannot do.
    Config(ConfigError),
    /// An address is not what a filter takes.
    Address {
        /// The address.
        mac: MacAddr,
        /// What is wanted.
        wanted: &'static str,
    },
    /// More unicast addresses than the device filters.
    TooManyAddresses {
        /// How many.
        asked: usize,
        /// How many there is room for.
        room: usize,
    },
    /// The device was stopped.
    Stopped {
        /// The function's name.
        function: String,
    },
    /// A PCI operation failed.
    Pci(PciError),
    /// Memory for rings or buffers could not be had.
    Dma(DmaError),
    /// A ring could not be made of what the driver asked for: a mistake in the driver.
    Ring(RingError),
    /// The BAR has no such register.
    Bar(BarError),
    /// The card has no such register.
    Register(NoSuchRegister),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownId { function, id } => {
                write!(
                    f,
                    "{function} is {id}, which the ixgbe driver does not drive: it is for physical functions of Intel (8086) 82599, X540 and X550"
                )
            }
            Self::SmallBar { function, len_bytes } => {
                let needed = crate::regs::BAR_BYTES;
                write!(f, "{function}: BAR0 has {len_bytes:#x} bytes, the registers need {needed:#x}: check that the whole BAR is mapped")
            }
            Self::Timeout { function, timeout } => {
                write!(f, "{function}: {timeout}; close the device and open it again, and power the machine off if that does not help")
            }
            Self::Eeprom { function, eec, fwsm } => write!(
                f,
                "{function}: the card found no valid EEPROM (EEC {eec:#010x}, FWSM {fwsm:#010x}): its content is damaged, restore it with the vendor's tool"
            ),
            Self::PermanentMac { function, mac } => {
                write!(f, "{function}: the EEPROM's Ethernet address {mac} is no unicast address: restore the EEPROM with the vendor's tool")
            }
            Self::Semaphore { function, bits, last } => write!(
                f,
                "{function}: the firmware or another driver does not release what SW_FW_SYNC bits {bits:#x} guard (last read {last:#010x}): see whether another program drives the card's other port"
            ),
            Self::NoPhy { function } => write!(f, "{function}: no PHY answers at any of the 32 MDIO addresses: power the machine off and on"),
            Self::Config(error) => error.fmt(f),
            Self::Address { mac, wanted } => write!(f, "{mac} is no {wanted} address"),
            Self::TooManyAddresses { asked, room } => {
                write!(f, "{asked} unicast addresses asked for, the card filters {room} beside its own: use promiscuous mode")
            }
            Self::Stopped { function } => write!(f, "{function} was stopped: open and start it again"),
            Self::Pci(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
            Self::Bar(error) => error.fmt(f),
            Self::Register(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
impl From<GateError> for Error {
    fn from(error: GateError) -> Self {
        Self::Config(ConfigError::Gate(error))
    }
}
impl From<PciError> for Error {
    fn from(error: PciError) -> Self {
        Self::Pci(error)
    }
}
impl From<DmaError> for Error {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}
impl From<BarError> for Error {
    fn from(error: BarError) -> Self {
        Self::Bar(error)
    }
}
impl From<NoSuchRegister> for Error {
    fn from(error: NoSuchRegister) -> Self {
        Self::Register(error)
    }
}

/// A device could not be started: why, and the device, stopped, to be started otherwise.
pub type StartError<F> = driver_core::device::config::StartError<Error, Ixgbe<F>>;

impl<F: PciFunction> From<StartError<F>> for Error {
    fn from(error: StartError<F>) -> Self {
        error.into_parts().0
    }
}
