//! What happens to a device beside its queues.

use std::fmt;

use driver_core::device::{Alarm, DeviceState, Recovered};

/// What happened to a device that its program did not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The device works no more: it hangs, is gone, was reset by somebody else, asks for a reset, reports that something in itself failed, or broke a queue.
    State(DeviceState),
    /// The device had failed, was reset and set up as it was, and works again. Told once.
    Recovered(Recovered),
    /// The device says something of itself that no reset mends: it is too hot. Told once, until that is over; the device runs meanwhile, as far as it can.
    Alarm(Alarm),
    /// The device reported an error that it does not recover from by itself (PCI Express AER). Reset it, or give it up.
    Failed,
    /// The host wants the device back: unplugged, or its driver unbound. Drop the port soon; the host waits for it.
    RemovalRequested,
}

impl Event {
    /// Whether a program should let its port go: all but a recovery and an alarm.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Recovered(_) | Self::Alarm(_))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => state.fmt(f),
            Self::Recovered(recovered) => recovered.fmt(f),
            Self::Alarm(alarm) => alarm.fmt(f),
            Self::Failed => f.write_str("the device reported an error that it does not recover from by itself (PCI Express AER)"),
            Self::RemovalRequested => f.write_str("the host wants the device back: it is being unplugged, or its driver unbound"),
        }
    }
}
