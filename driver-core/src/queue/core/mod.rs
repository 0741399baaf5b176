//! What the queues of every driver do alike: the loops, frames of several buffers, faults, counters, waking, and the end.
//!
//! [`RxCore`] and [`TxCore`] are the queues that applications get. Each works on a kernel ([`RxKernel`], [`TxKernel`]), which is what a driver brings: a ring,
//! the device's rules for what lies in it, how its doorbell is rung, how the queue is armed and stopped. Two words run through all of them. An **ordinary**
//! frame is one that the ring takes along with its neighbours: whole in one buffer of the ring's own pool, with nothing to be said about it. Everything else is
//! **unusual** and goes one at a time.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `kernel` | what a driver brings |
//! | `rx`, `tx` | the queues |
//! | `hook` | what they do for hooks |
//! | `pause` | what they do while their device is reset |
//! | `check` | what every transmit queue asks of a frame |
//! | `unusual` | frames that go one at a time |
//! | `cut` | those that software cuts |
//! | `seat` | what queue and control handle know of one another |
//! | `lent` | memory that a device was lent, and the word for which it comes back |

pub(crate) mod check;
pub(crate) mod cut;
pub(crate) mod hook;
pub(crate) mod kernel;
pub(crate) mod lent;
pub(crate) mod pause;
#[cfg(all(test, loom))]
mod pause_loom_tests;
pub(crate) mod rx;
pub(crate) mod seat;
#[cfg(all(test, loom))]
mod seat_loom_tests;
pub(crate) mod tx;
pub(crate) mod unusual;

#[cfg(test)]
mod tests;

pub use kernel::{NotTaken, Piece, Put, RxError, RxKernel, RxLimits, Taken, TxKernel, WhyStuck};
pub use lent::{Left, Lent, Silence, Stop};
pub use rx::RxCore;
pub use seat::{Seat, State, Tally, Totals};
pub use tx::TxCore;
