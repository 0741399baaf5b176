//! What happens to a device beside its queues.

use std::fmt;

use driver_core::device::DeviceState;

/// What happened to a device that its program did not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The device works no more: it hangs, is gone, was reset by somebody else, asks for a reset, or broke a queue.
    State(DeviceState),
    /// The device reported an error that it does not recover from by itself (PCI Express AER). Reset it, or give it up.
    Failed,
    /// The host wants the device back: unplugged, or its driver unbound. Drop the port soon; the host waits for it.
    RemovalRequested,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => state.fmt(f),
            Self::Failed => f.write_str("the device reported an error that it does not recover from by itself (PCI Express AER)"),
            Self::RemovalRequested => f.write_str("the host wants the device back: it is being unplugged, or its driver unbound"),
        }
    }
}
