//! Network cards driven from the application's own process: a device is named by a string, opened, started, polled.
//!
//! ```
//! use barewire::{Batch, Config, TxDrops};
//!
//! # fn main() -> Result<(), barewire::Error> {
//! let mut port = barewire::open("sim:ixgbe")?.start(&Config::new())?;
//! let (mut rx, mut tx) = port.take_queues().expect("a started port has queues");
//! let (mut batch, mut drops) = (Batch::new(64), TxDrops::new());
//! for _ in 0..10 {
//!     rx.poll(&mut batch, 64);
//!     // What cannot be sent is dropped and counted; what finds no room waits in the batch.
//!     tx.submit_or_drop(&mut batch, &mut drops).map_err(|fault| barewire::Error::Queue { device: "sim:ixgbe".into(), fault })?;
//! }
//! drop((rx, tx));
//! port.finish().check()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`open`] takes a device spec (see [`spec`]) and gives a [`Device`]; [`Device::start`] gives a [`Port`] with the control handle and the queues. Here the
//! driver's types are erased, at the price of one dynamic call a batch. Who wants none of that, or no `std`, uses the drivers as they are.
//!
//! Frames can be judged where the device put them, without a frame being made of each: [`PollWith`] runs a [`Hook`], a closure as a rule, over what a queue has received, as
//! XDP does. It is compiled into the loop over the ring, behind erased types as well.
//!
//! A program that waits asks for interrupts ([`Config::interrupts`]): a [`Poller`] sleeps until frames come, [`TxQueue::wait_for_room`] until a full queue takes
//! more, and [`Interrupt`] gives both to event loops by their descriptors.

#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod affinity;
mod clock;
mod device;
mod drivers;
mod error;
mod event;
mod host;
#[cfg(any(feature = "sim", feature = "vfio"))]
mod interrupt;
mod origin;
mod pools;
mod port;
pub mod spec;
#[cfg(feature = "sim")]
mod stepped;

pub use affinity::Affinity;
pub use device::Device;
pub use drivers::{Driven, driver_for};
pub use error::Error;
pub use event::Event;
pub use host::{Host, open, open_all};
#[cfg(any(feature = "sim", feature = "vfio"))]
pub use interrupt::Interrupt;
pub use port::{Port, Report};
pub use spec::{Spec, SpecError};

pub use driver_core::buf::{Batch, BufPool, Frame, PoolConfig};
pub use driver_core::device::{
    Alarm, Config, DeviceInfo, DeviceState, Error as DeviceError, HardwareClock, Link, Moderation, NetDevice, Recovered, Recovery, RecoveryLimits,
    RxMode, Stats, Timestamps, XStat,
};
pub use driver_core::ether::MacAddr;
pub use driver_core::queue::{Canceller, DEFAULT_BUDGET, PollError, Poller, QueueFault, Refusal, RxQueue, Spin, TxDrops, TxQueue, TxState};
pub use driver_core::queue::{FrameView, Hook, HookCounters, PollWith, Verdict, WhenFull};

pub use driver_core;
#[cfg(feature = "ixgbe")]
pub use ixgbe;
#[cfg(feature = "sim")]
pub use sim;
#[cfg(feature = "vfio")]
pub use vfio;
#[cfg(feature = "virtio-net")]
pub use virtio_net;
