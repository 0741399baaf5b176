//! What tests of drivers are made of, in this crate, in ours, and in others' (feature `testing`, which links std).
//!
//! | part | what it is |
//! | --- | --- |
//! | [`HeapMapper`], [`domain`] | DMA memory from the heap, with device addresses that are no pointers |
//! | [`device_ptr`] | the same memory as a test finds it that plays the device |
//! | [`DescEnd`], [`SplitEnd`], [`PackedEnd`] | the device's end of a ring of descriptors, and of a split and a packed virtqueue |
//! | [`PlainBar`] | registers in plain memory, which do what the test says and remember all accesses |
//! | [`FakeFunction`], [`Trigger`] | a PCI function with such a BAR, bytes of configuration space, and interrupts that the test fires |
//! | [`FakeClock`] | time that passes in sleep alone |
//! | [`Liar`] | any other function, which lies about what the test chooses |
//! | [`hostile_split`], [`hostile_packed`] | virtqueues whose device writes whatever an input of bytes says |
//! | [`Input`] | such bytes |
//! | [`Audit`] | the accounting identity: asserts at a test's end that no frame is in no counter, and none in two |
//! | [`Warnings`] | what is logged as a warning or an error |
//! | [`Parts`] | a started device with one queue in each direction |
//! | [`numbered`], [`frame`], [`bytes_of`], [`fill`], [`transmit`], [`received`], [`received_within`] | frames: made, sent, received, compared |
//!
//! With these, a driver's parts are tested without a device: registers against a [`PlainBar`] of a few lines. What it does with frames is best tested against a
//! model of the device that knows the datasheet's rules; the rigs of our own drivers (`ixgbe/tests/rig`, `virtio-net/tests/rig`) are an [`Audit`] and a card
//! of the crate `sim`.
//!
//! A driver of another crate has `driver-core = { package = "barewire-core", version = "…", features = ["testing"] }` among its `dev-dependencies`, and tests such
//! as this one:
//!
//! ```
//! use driver_core::host::{Bar, Clock, PciFunction};
//! use driver_core::reg::{Reg, Ro, Rw, WaitError, wait_until};
//! use driver_core::testing::{FakeClock, FakeFunction, PlainBar, domain};
//!
//! // The driver: reset, and wait for the card to say that it is over.
//! const CTRL: Reg<u32, Rw> = Reg::new(0x00, "CTRL", "4.1");
//! const STATUS: Reg<u32, Ro> = Reg::new(0x08, "STATUS", "4.2");
//! fn reset(bar: &impl Bar, clock: &dyn Clock) -> Result<u32, WaitError> {
//!     CTRL.write(bar, 1);
//!     wait_until(bar, STATUS, "the reset to end", clock, 10_000, |status| status & 1 == 1)
//! }
//!
//! // The test: a card that is ready as soon as it is reset, and one that never is.
//! for works in [true, false] {
//!     let registers = PlainBar::new(0x1000);
//!     registers.on_write(CTRL.offset(), move |card, _| card.set(STATUS.offset(), works.into()));
//!     let mut function = FakeFunction::new("0000:01:00.0", domain().0, registers.clone()).with_id(0x1234, 0x5678);
//!     // SAFETY: a `PlainBar` leads to no memory.
//!     let bar = unsafe { function.open_bar(0) }.unwrap();
//!     let outcome = reset(&bar, &FakeClock::new());
//!     assert_eq!(outcome.map_err(|error| (error.register, error.last)), if works { Ok(1) } else { Err(("STATUS", 0)) });
//!     assert_eq!(registers.writes(), [(0x00, 1)]);
//! }
//! ```

mod audit;
mod bar;
mod clock;
mod ends;
mod frames;
mod function;
mod hostile;
mod input;
mod logged;
mod lying;
mod memory;
mod parts;

pub use audit::{Audit, Audited, AuditedControl, AuditedRx, AuditedTx};
pub use bar::{Access, PlainBar, PlainDoorbell};
pub use clock::{FakeClock, SleepClock};
pub use ends::{DescEnd, PackedChain, PackedEnd, SplitEnd};
pub use frames::{bytes_of, fill, fill_numbered, frame, number_in, numbered, received, received_within, transmit};
pub use function::{FakeFunction, FakeInterrupt, FunctionAct, Trigger};
pub use hostile::{Reached, hostile_packed, hostile_split};
pub use input::Input;
pub use logged::Warnings;
pub use lying::{Liar, Lies, Lying, LyingBar};
pub use memory::{HeapMapper, device_ptr, domain};
pub use parts::{Parts, count_wakes};

/// How many random cases a test looks at: what PROPTEST_CASES says. Without it few under Miri, which is some hundred times slower; nor does it let tests
/// write files.
#[cfg(test)]
pub(crate) fn cases() -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config::default();
    if !cfg!(miri) {
        return config;
    }
    let cases = std::env::var("PROPTEST_CASES").map_or(4, |_| config.cases);
    proptest::test_runner::Config { cases, failure_persistence: None, ..config }
}
