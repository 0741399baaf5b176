//! Registers as one line each: offset, value type, access mode, and the datasheet's name and section.
//!
//! The value type says how wide the register is: [`Reg<u16, Ro>`](Reg) is read by one access of 16 bits.
//!
//! ```
//! use driver_core::reg::{Reg, RegArray, Rw, Ro};
//! driver_core::reg_flags! {
//!     /// Device control, 32 bits, since nothing else is said.
//!     pub struct Ctrl {
//!         /// Device reset.
//!         const RST = 1 << 26;
//!     }
//! }
//! driver_core::reg_flags! {
//!     /// Device status, 8 bits.
//!     pub struct Status: u8 {
//!         /// The driver is set up.
//!         const DRIVER_OK = 1 << 2;
//!     }
//! }
//! const CTRL: Reg<Ctrl, Rw> = Reg::new(0x0_0000, "CTRL", "8.2.3.1.1");
//! const DEVICE_STATUS: Reg<Status, Rw> = Reg::new(0x14, "device_status", "4.1.4.3");
//! const NUM_QUEUES: Reg<u16, Ro> = Reg::new(0x12, "num_queues", "4.1.4.3");
//! const RAL: RegArray<u32, Rw> = RegArray::new(0xA200, 8, 128, "RAL", "8.2.3.7.7");
//! assert_eq!(RAL.at(2).unwrap().offset(), 0xA210);
//! assert!(RAL.at(128).is_err());
//! ```
//!
//! Registers lie in a [`RegSpace`]: a BAR, a structure inside of one, PCI configuration space. Whoever waits for one calls [`wait_until`] or [`look_until`],
//! the only loop on a register that there is.

pub(crate) mod register;
pub(crate) mod value;
pub(crate) mod wait;

pub use crate::host::bar::RegSpace;
pub use register::{NoSuchRegister, Pure, ReadToClear, Reg, RegArray, Ro, Rw, Wo, Writable};
#[doc(hidden)]
pub use value::bitflags;
pub use value::{RegValue, Word};
pub use wait::{Pace, WaitError, look_until, wait_until};

#[cfg(test)]
mod tests;
