//! The contracts of receive and transmit queues, what all drivers' queues do alike, stop and wake, NAPI.

mod cancel;
pub(crate) mod contract;
pub mod core;
pub(crate) mod gate;
#[cfg(test)]
mod gate_tests;
pub(crate) mod hook;
#[cfg(test)]
mod hook_tests;
pub(crate) mod poller;
#[cfg(test)]
mod poller_tests;
pub(crate) mod refusal;
mod spin;

pub use crate::ring::{FrameView, Hook, QueueFault, RxHooked, Settled, SettledRest, TxHooked, Verdict, WhenFull};
pub use cancel::Canceller;
pub use contract::{DEFAULT_BUDGET, HookCounters, RxCounters, RxQueue, TX_PAUSE_US, TxCounters, TxQueue, TxState, WakeFn};
pub use gate::{GateConfig, GateError, TxGate};
pub use hook::PollWith;
pub use poller::{NoInterrupt, PollError, Poller};
pub use refusal::{Refusal, TxDrops};
pub use spin::Spin;
