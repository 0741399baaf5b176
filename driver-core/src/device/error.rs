//! What can go wrong with a device, whatever its driver: on which function, at which step, and why.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::error::Error as StdError;
use core::fmt;

use crate::buf::pool::PoolError;
use crate::device::config::ConfigError;
use crate::device::rule::RuleError;
use crate::device::state::DeviceState;
use crate::ether::MacAddr;
use crate::host::bar::BarError;
use crate::host::dma::DmaError;
use crate::host::pci::{PciError, PciId};
use crate::queue::gate::GateError;
use crate::reg::register::NoSuchRegister;
use crate::reg::wait::WaitError;
use crate::ring::error::RingError;

/// What drivers do to a device, in the words that errors use. A driver may have others beside them.
pub mod steps {
    /// Finding out what it is and where its registers are.
    pub const OPENING: &str = "opening";
    /// Bringing it to silence, from whatever state.
    pub const RESETTING: &str = "resetting";
    /// Making a pool of buffers that it can reach.
    pub const MAKING_A_POOL: &str = "making a pool of buffers";
    /// Setting it up and letting it receive and transmit.
    pub const STARTING: &str = "starting";
    /// Bringing it to silence while it runs.
    pub const STOPPING: &str = "stopping";
    /// Asking whether it works.
    pub const CHECKING: &str = "looking after it";
    /// Reading its link's state.
    pub const LINK: &str = "reading its link";
    /// Giving it another address.
    pub const SETTING_MAC: &str = "setting its address";
    /// Promiscuous and all-multicast mode.
    pub const SETTING_RX_MODE: &str = "setting its receive mode";
    /// Further unicast addresses.
    pub const SETTING_UNICAST: &str = "setting its unicast filters";
    /// Multicast addresses.
    pub const SETTING_MULTICAST: &str = "setting its multicast filters";
    /// Key, table and types of receive side scaling.
    pub const SETTING_RSS: &str = "setting how it spreads flows";
    /// Which pause frames it obeys and sends.
    pub const SETTING_FLOW_CONTROL: &str = "setting its flow control";
    /// The speeds that it offers.
    pub const SETTING_LINK_SPEEDS: &str = "setting the speeds that it offers";
    /// How far apart its interrupts are.
    pub const SETTING_MODERATION: &str = "setting how far apart its interrupts are";
    /// Giving it a rule for received frames.
    pub const ADDING_A_RULE: &str = "adding a rule";
    /// Taking one away.
    pub const REMOVING_A_RULE: &str = "removing a rule";
    /// Which VLANs come in.
    pub const SETTING_VLANS: &str = "setting its VLAN filter";
    /// What it does for received frames.
    pub const SETTING_RX_OFFLOADS: &str = "setting what it does for received frames";
    /// Reading registers for who asks what they hold.
    pub const READING_REGISTERS: &str = "reading its registers";
    /// Reading what it keeps without power.
    pub const READING_EEPROM: &str = "reading its EEPROM";
    /// Reading what sits in its cage.
    pub const READING_MODULE: &str = "reading its module";
    /// Reading how warm it is.
    pub const READING_TEMPERATURES: &str = "reading its temperatures";
    /// Its test of itself.
    pub const TESTING: &str = "testing it";
    /// What is done with its clock.
    pub const CLOCK: &str = "using its clock";
}

/// Why an operation on a device failed.
///
/// Its text is one line: the function, what was being done to it, why that failed and what to do next. [`source`](core::error::Error::source) leads to
/// the error below, where there is one: a [`WaitError`] with register and value, what the host said, or the driver's own.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    function: String,
    step: &'static str,
    kind: ErrorKind,
}

impl Error {
    /// An error of `function` at a step, best one of [`steps`].
    pub fn new(function: &str, step: &'static str, kind: impl Into<ErrorKind>) -> Self {
        Self(Box::new(Inner { function: function.into(), step, kind: kind.into() }))
    }
    /// The name of the PCI function.
    pub fn function(&self) -> &str {
        &self.0.function
    }
    /// What was being done.
    pub fn step(&self) -> &'static str {
        self.0.step
    }
    /// Why it failed.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }
    /// Why it failed, where that is something that only one driver's hardware can do: `error.hardware::<ixgbe::HardwareError>()`.
    pub fn hardware<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.kind.hardware()
    }
    /// The register that did not reach the awaited state, where that is why it failed, if only in the end.
    pub fn wait(&self) -> Option<&WaitError> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(wait) = error.downcast_ref() {
                return Some(wait);
            }
            source = error.source();
        }
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { function, step, kind } = &*self.0;
        let text = kind.to_string();
        // What the host says names the function itself.
        let text = text.strip_prefix(function.as_str()).and_then(|text| text.strip_prefix(": ")).unwrap_or(&text);
        write!(f, "{function}: {step}: {text}")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.kind.source()
    }
}

/// Why an operation on a device failed. Drivers use it where function and step are not known yet, and add these with [`During`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function is no device of this driver.
    UnknownId {
        /// What it says it is.
        id: PciId,
        /// The driver's name.
        driver: &'static str,
        /// What the driver is for.
        drives: &'static str,
    },
    /// A register did not reach the awaited state.
    Wait(WaitError),
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
    /// The device does not run: it was stopped, or failed.
    NotRunning(DeviceState),
    /// A PCI operation failed.
    Pci(PciError),
    /// Memory for rings or buffers could not be had.
    Dma(DmaError),
    /// The device, or its driver, has no such function.
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What to do in its place.
        instead: &'static str,
    },
    /// A rule for received frames that the device does not take, or does not have.
    Rule(RuleError),
    /// A fault of the driver's.
    Bug(Bug),
    /// Something that only one driver's hardware can do: see [`Error::hardware`].
    Hardware(Arc<dyn StdError + Send + Sync>),
}

impl ErrorKind {
    /// One driver's own.
    pub fn of_hardware(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Hardware(Arc::new(error))
    }
    /// As [`Error::hardware`].
    pub fn hardware<E: StdError + 'static>(&self) -> Option<&E> {
        match self {
            Self::Hardware(error) => error.downcast_ref(),
            _ => None,
        }
    }
    /// Whether a register was waited for that reads all ones: the device does not answer, and no second try brings it back.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NotRunning(DeviceState::Gone)) || matches!(self, Self::Wait(wait) if wait.is_all_ones())
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownId { id, driver, drives } => write!(f, "it is {id}, which the {driver} driver does not drive: it is for {drives}"),
            // What does not answer is not mended by what a device that hangs takes.
            Self::Wait(wait) if wait.is_all_ones() => write!(f, "{wait}"),
            Self::Wait(wait) => {
                write!(f, "{wait}; it may still use memory: open it again, and restart its machine or its hypervisor if that does not help")
            }
            Self::Config(error) => error.fmt(f),
            Self::Address { mac, wanted } => write!(f, "{mac} is no {wanted} address"),
            Self::TooManyAddresses { asked, room } => {
                write!(f, "{asked} unicast addresses asked for, the device filters {room} beside its own: use promiscuous mode")
            }
            Self::NotRunning(DeviceState::Stopped) => f.write_str("it was stopped: open and start it again"),
            Self::NotRunning(state) => state.fmt(f),
            Self::Pci(error) => error.fmt(f),
            Self::Dma(error) => error.fmt(f),
            Self::Unsupported { what, instead } => write!(f, "the device does not do {what}: {instead}"),
            Self::Rule(error) => error.fmt(f),
            Self::Bug(bug) => bug.fmt(f),
            Self::Hardware(error) => error.fmt(f),
        }
    }
}

impl StdError for ErrorKind {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Wait(error) => Some(error),
            Self::Config(error) => Some(error),
            Self::Pci(error) => Some(error),
            Self::Dma(error) => Some(error),
            Self::Rule(error) => Some(error),
            Self::Bug(bug) => Some(bug),
            Self::Hardware(error) => Some(&**error),
            Self::UnknownId { .. } | Self::Address { .. } | Self::TooManyAddresses { .. } | Self::NotRunning(_) | Self::Unsupported { .. } => None,
        }
    }
}

impl From<WaitError> for ErrorKind {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}
impl From<ConfigError> for ErrorKind {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
impl From<RuleError> for ErrorKind {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}
impl From<GateError> for ErrorKind {
    fn from(error: GateError) -> Self {
        Self::Config(ConfigError::Gate(error))
    }
}
impl From<PciError> for ErrorKind {
    fn from(error: PciError) -> Self {
        Self::Pci(error)
    }
}
impl From<DmaError> for ErrorKind {
    fn from(error: DmaError) -> Self {
        Self::Dma(error)
    }
}
impl From<PoolError> for ErrorKind {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Dma(error) => error.into(),
            PoolError::Config(config) => ConfigError::Pool(config).into(),
        }
    }
}
/// A ring that cannot be made as the driver asked for it is the driver's fault: it has checked the configuration first.
impl From<RingError> for ErrorKind {
    fn from(error: RingError) -> Self {
        match error {
            RingError::Dma(error) => error.into(),
            RingError::PoolTooSmall { needed, free, .. } => ConfigError::PoolCount { buffers: free, needed }.into(),
            other => Self::Bug(Bug::Ring(other)),
        }
    }
}
impl From<BarError> for ErrorKind {
    fn from(error: BarError) -> Self {
        Self::Bug(Bug::Bar(error))
    }
}
impl From<NoSuchRegister> for ErrorKind {
    fn from(error: NoSuchRegister) -> Self {
        Self::Bug(Bug::Register(error))
    }
}

/// What a driver did that it must not do, whatever the device does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// It went for a register that the device does not have.
    Register(NoSuchRegister),
    /// It went for an address outside of a BAR whose size it had checked.
    Bar(BarError),
    /// It asked for a ring that cannot be.
    Ring(RingError),
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(error) => error.fmt(f),
            Self::Bar(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
        }?;
        f.write_str("; this is a fault of the driver and not of the device: please report it with this line")
    }
}

impl StdError for Bug {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Register(error) => Some(error),
            Self::Bar(error) => Some(error),
            Self::Ring(error) => Some(error),
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T, E> Sealed for Result<T, E> {}
}

/// Says of which function, and at which step, something failed.
pub trait During<T>: sealed::Sealed {
    /// The same result; its error names the function and one of [`steps`].
    ///
    /// # Errors
    /// The error that there was.
    fn during(self, function: &str, step: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<ErrorKind>> During<T> for Result<T, E> {
    fn during(self, function: &str, step: &'static str) -> Result<T, Error> {
        self.map_err(|kind| Error::new(function, step, kind))
    }
}

/// A device could not be started: why, and the device, stopped, to be started otherwise.
pub struct StartError<D>(Box<(Error, D)>);

impl<D> StartError<D> {
    /// The error and the device.
    pub fn new(error: Error, device: D) -> Self {
        Self(Box::new((error, device)))
    }
    /// Why.
    pub fn error(&self) -> &Error {
        &self.0.0
    }
    /// Why, and the device.
    pub fn into_parts(self) -> (Error, D) {
        *self.0
    }
}

impl<D> fmt::Debug for StartError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StartError").field(self.error()).finish()
    }
}
impl<D> fmt::Display for StartError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}
impl<D> StdError for StartError<D> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}
impl<D> From<StartError<D>> for Error {
    fn from(error: StartError<D>) -> Self {
        error.into_parts().0
    }
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;

    use super::*;
    use crate::host::pci::PciErrorKind;
    use crate::reg::register::{Reg, Ro};
    use crate::reg::wait::{Pace, look_until};
    use crate::testing::SleepClock;

    fn wait() -> WaitError {
        let ready: Reg<u32, Ro> = Reg::new(0x10, "READY", "1.2");
        look_until(ready, "it to be ready", &SleepClock::new(), Pace::within(0), || Ok::<_, ()>(ControlFlow::<(), _>::Continue(3)))
            .unwrap()
            .unwrap_err()
    }

    /// What a driver's hardware can do.
    #[derive(Debug)]
    struct Smoke(WaitError);
    impl fmt::Display for Smoke {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("it smokes: open a window")
        }
    }
    impl StdError for Smoke {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_one_line_with_function_step_and_cause() {
        let error = Error::new("0000:01:00.0", steps::STARTING, wait());
        let wanted = "0000:01:00.0: starting: waited 0 us for it to be ready: READY (0x00010, section 1.2) still reads 0x00000003; it may still use memory: \
            open it again, and restart its machine or its hypervisor if that does not help";
        assert_eq!(error.to_string(), wanted);
        assert_eq!((error.function(), error.step(), error.wait()), ("0000:01:00.0", "starting", Some(&wait())));
    }

    #[test]
    fn a_function_is_named_once() {
        let said = |function: &str| Error::new("sim:x", steps::OPENING, PciError::new(function, "reading", PciErrorKind::Gone)).to_string();
        assert!(said("sim:x").starts_with("sim:x: opening: reading: the function"), "{}", said("sim:x"));
        assert!(said("sim:xy").starts_with("sim:x: opening: sim:xy: reading: the function"), "{}", said("sim:xy"));
    }

    #[test]
    fn a_drivers_own_error_is_reached_by_its_type_and_leads_on() {
        let error = Error::new("sim:x", steps::RESETTING, ErrorKind::of_hardware(Smoke(wait())));
        assert_eq!(error.to_string(), "sim:x: resetting: it smokes: open a window");
        assert_eq!(error.clone().hardware::<Smoke>().map(|smoke| smoke.0), Some(wait()));
        assert!(error.hardware::<WaitError>().is_none() && error.source().unwrap().is::<Smoke>());
        assert_eq!(error.wait(), Some(&wait()), "the wait below it");
    }

    #[test]
    fn our_own_bugs_do_not_dress_as_the_devices() {
        for kind in [ErrorKind::from(NoSuchRegister { name: "RDT", index: 130, count: 128 }), ErrorKind::from(BarError::new(0x2_0000, 0x2_0000))] {
            let text = Error::new("sim:x", steps::STARTING, kind.clone()).to_string();
            assert!(
                matches!(kind, ErrorKind::Bug(_))
                    && text.ends_with("this is a fault of the driver and not of the device: please report it with this line")
            );
            assert!(
                text.contains("RDT[130] does not exist") || text.contains("offset 0x20000 is not an aligned address inside a BAR of 0x20000 bytes"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_start_that_failed_gives_error_and_device_back() {
        let failed = StartError::new(Error::new("sim:x", steps::STARTING, wait()), "the device");
        assert_eq!(failed.to_string(), failed.error().to_string());
        assert!(failed.source().unwrap().is::<WaitError>());
        let (error, device) = failed.into_parts();
        assert!(matches!(error.kind(), ErrorKind::Wait(_)) && !error.kind().is_gone() && device == "the device");
    }

    #[test]
    fn a_result_says_where_it_failed() {
        let failed: Result<(), _> = Err(wait());
        let error = failed.during("sim:x", steps::STOPPING).unwrap_err();
        assert_eq!((error.function(), error.step()), ("sim:x", "stopping"));
        assert_eq!(Ok::<_, WaitError>(7).during("sim:x", steps::STOPPING).unwrap(), 7);
    }
}
