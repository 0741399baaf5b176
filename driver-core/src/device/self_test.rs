//! What a device's test of itself found, part by part: those of `ethtool -t`.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::device::eeprom::Checksum;
use crate::device::error::ErrorKind;
use crate::device::link::LinkReport;
use crate::reg::register::NoSuchRegister;

/// A part of a self-test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TestPart {
    /// Registers keep what is written to them.
    Registers,
    /// The checksum of the EEPROM.
    Eeprom,
    /// Each vector fires when it is to, and only then.
    Interrupts,
    /// Frames that are looped inside the device come back as they were.
    Loopback,
    /// There is a link.
    Link,
}

impl TestPart {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [Self::Registers, Self::Eeprom, Self::Interrupts, Self::Loopback, Self::Link];

    /// In one word, for tables and scripts: `registers`, `eeprom`, `interrupts`, `loopback`, `link`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Eeprom => "eeprom",
            Self::Interrupts => "interrupts",
            Self::Loopback => "loopback",
            Self::Link => "link",
        }
    }
}

/// What is wrong with a device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Flaw {
    /// A register does not keep what is written to it.
    Register {
        /// Its name, with the number where there are several.
        name: Cow<'static, str>,
        /// Its offset in the device's register space, in bytes.
        offset: u32,
        /// What was written.
        wrote: u32,
        /// What was read behind it.
        read: u32,
        /// The bits that were compared.
        mask: u32,
    },
    /// The EEPROM's checksum is wrong.
    Checksum(Checksum),
    /// A vector did not fire although it was told to.
    Lost {
        /// Its number.
        vector: u16,
        /// For how long it was waited for, in microseconds.
        waited_us: u64,
    },
    /// A vector fired that was not to.
    Stray {
        /// Its number.
        vector: u16,
        /// The vector that was told to fire and let through; `None`: all were masked.
        instead_of: Option<u16>,
    },
    /// Looped frames did not come back.
    Missing {
        /// The number of the first one.
        frame: u32,
        /// Its length in bytes, without the check sequence.
        len_bytes: u32,
        /// How many of those that were sent together did come back.
        came: u32,
    },
    /// A looped frame came back with another length.
    Length {
        /// Its number.
        frame: u32,
        /// What was sent, in bytes.
        sent_bytes: u32,
        /// What came back, in bytes.
        came_bytes: u32,
    },
    /// A looped frame came back with another byte.
    Byte {
        /// Its number.
        frame: u32,
        /// Its length in bytes.
        len_bytes: u32,
        /// Where the byte lies.
        at: u32,
        /// What was sent.
        sent: u8,
        /// What came back.
        came: u8,
    },
    /// There is no link.
    NoLink {
        /// What is known of it.
        report: LinkReport,
        /// For how long it was waited for, in microseconds.
        waited_us: u64,
    },
    /// What a device says of itself is not the same when it is asked again.
    Unsteady {
        /// What it is.
        what: &'static str,
    },
    /// The test could not be done: the device did not do what it was told.
    Failed(ErrorKind),
}

impl From<ErrorKind> for Flaw {
    fn from(error: ErrorKind) -> Self {
        Self::Failed(error)
    }
}

/// A register that the device does not have: a fault of its driver's.
impl From<NoSuchRegister> for Flaw {
    fn from(error: NoSuchRegister) -> Self {
        Self::Failed(error.into())
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { name, offset, wrote, read, mask } => {
                let wrong = (wrote ^ read) & mask;
                write!(
                    f,
                    "{name} ({offset:#07x}) reads {read:#010x} behind a write of {wrote:#010x}, which differs in bits {wrong:#x}: the card is broken, or another program writes to it"
                )
            }
            Self::Checksum(Checksum { stored, computed }) => {
                write!(f, "the checksum is {stored:04x}, and {computed:04x} would be right: restore the EEPROM with the vendor's tool")
            }
            Self::Lost { vector, waited_us } => write!(
                f,
                "vector {vector} was told to fire, and no interrupt came within {waited_us} us: see whether the host remaps interrupts, and what its log says"
            ),
            Self::Stray { vector, instead_of: None } => write!(f, "vector {vector} fired while it was masked: the card is broken"),
            Self::Stray { vector, instead_of: Some(wanted) } => {
                write!(f, "vector {vector} fired when {wanted} was told to: the card is broken, or its MSI-X table is another program's")
            }
            Self::Missing { frame, len_bytes, came } => {
                write!(
                    f,
                    "looped frame {frame}, of {len_bytes} bytes, did not come back (of its lot {came} did): the card's data path stands still or loses frames"
                )
            }
            Self::Length { frame, sent_bytes, came_bytes } => {
                write!(f, "looped frame {frame} was sent with {sent_bytes} bytes and came back with {came_bytes}: the card's data path is broken")
            }
            Self::Byte { frame, len_bytes, at, sent, came } => write!(
                f,
                "looped frame {frame}, of {len_bytes} bytes, came back with {came:#04x} at byte {at} where {sent:#04x} was sent: the card's memory or its bus corrupts data, do not use it"
            ),
            Self::NoLink { report, waited_us } => write!(f, "no link within {} ms: {report}", waited_us / 1000),
            Self::Unsteady { what } => {
                write!(f, "{what} is another when it is read again, although nothing changed it: the device does not keep what it says")
            }
            Self::Failed(error) => write!(f, "the test could not be done: {error}"),
        }
    }
}

/// What became of a part.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing is wrong.
    Passed {
        /// What was looked at, for a person.
        what: String,
    },
    /// Something is.
    Failed(Flaw),
    /// The device has nothing of the kind.
    Absent {
        /// Why it cannot be tested.
        why: &'static str,
    },
}

impl Outcome {
    /// Of a test that says what it looked at, or what is wrong.
    pub fn of(result: Result<String, Flaw>) -> Self {
        match result {
            Ok(what) => Self::Passed { what },
            Err(flaw) => Self::Failed(flaw),
        }
    }

    /// In one word, for tables and scripts: `passed`, `failed`, `absent`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Passed { .. } => "passed",
            Self::Failed(_) => "failed",
            Self::Absent { .. } => "absent",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { what } => f.write_str(what),
            Self::Failed(flaw) => flaw.fmt(f),
            Self::Absent { why } => f.write_str(why),
        }
    }
}

/// What a self-test found: [`NetDriver::self_test`](crate::device::NetDriver::self_test).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SelfTest {
    /// Each part once, in the order of [`TestPart::ALL`].
    pub parts: Vec<(TestPart, Outcome)>,
}

impl SelfTest {
    /// What came of each part.
    pub fn new(outcome: impl FnMut(TestPart) -> Outcome) -> Self {
        let mut outcome = outcome;
        Self { parts: TestPart::ALL.into_iter().map(|part| (part, outcome(part))).collect() }
    }

    /// Whether nothing is wrong with what the device has.
    pub fn is_good(&self) -> bool {
        self.flaws().next().is_none()
    }

    /// The parts in which something is wrong, and what.
    pub fn flaws(&self) -> impl Iterator<Item = (TestPart, &Flaw)> {
        self.parts.iter().filter_map(|(part, outcome)| if let Outcome::Failed(flaw) = outcome { Some((*part, flaw)) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_what_was_seen() {
        let flaw = Flaw::Register { name: "VFTA[77]".into(), offset: 0xa134, wrote: 0xffff_ffff, read: 0xffff_dfff, mask: u32::MAX };
        assert_eq!(
            flaw.to_string(),
            "VFTA[77] (0x0a134) reads 0xffffdfff behind a write of 0xffffffff, which differs in bits 0x2000: the card is broken, or another program writes to it"
        );
        let test = SelfTest::new(|part| match part {
            TestPart::Registers => Outcome::of(Err(flaw.clone())),
            TestPart::Eeprom => Outcome::Absent { why: "none" },
            _ => Outcome::of(Ok("all".into())),
        });
        assert!(!test.is_good());
        assert_eq!(test.flaws().map(|(part, _)| part.name()).collect::<Vec<_>>(), ["registers"]);
        assert_eq!(test.parts.iter().map(|(_, outcome)| outcome.name()).collect::<Vec<_>>(), ["failed", "absent", "passed", "passed", "passed"]);
    }
}
