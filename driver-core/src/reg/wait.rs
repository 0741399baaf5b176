//! The only loop on a register.

use core::convert::Infallible;
use core::fmt;
use core::ops::ControlFlow;

use crate::host::bar::RegSpace;
use crate::host::clock::Clock;
use crate::reg::register::{Pure, Reg};
use crate::reg::value::{RegValue, Word};

/// How long a register is waited for, and how often it is looked at.
///
/// Unless [`Pace::every`] says otherwise the pauses between looks begin at a microsecond and double up to a millisecond: most conditions hold within a few
/// microseconds, and the worst take tens of milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    limit_us: u64,
    first_us: u64,
    longest_us: u64,
}

impl Pace {
    /// At most `limit_us` microseconds.
    pub const fn within(limit_us: u64) -> Self {
        Self { limit_us, first_us: 1, longest_us: 1000 }
    }
    /// All pauses are of `pause_us` microseconds; 0 counts as 1.
    pub const fn every(self, pause_us: u64) -> Self {
        let pause_us = if pause_us == 0 { 1 } else { pause_us };
        Self { first_us: pause_us, longest_us: pause_us, ..self }
    }
}

/// A register that did not reach the awaited state in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitError {
    /// The register's name.
    pub register: &'static str,
    /// Its offset in its space, in bytes.
    pub offset: u32,
    /// The datasheet's section.
    pub section: &'static str,
    /// Its width in bytes.
    pub len_bytes: u32,
    /// What was waited for.
    pub what: &'static str,
    /// The last value read.
    pub last: u64,
    /// For how long it was waited by the host's clock, in microseconds.
    pub waited_us: u64,
    /// For how long it was to be waited, in microseconds.
    pub limit_us: u64,
    /// How often it was looked at.
    pub reads: u64,
}

impl WaitError {
    /// Whether every bit of the last value is set, as where nobody answers: the device is gone, and no second try brings it back.
    pub fn is_all_ones(&self) -> bool {
        self.last == u64::MAX >> (64 - 8 * self.len_bytes.clamp(1, 8))
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { register, offset, section, what, last, waited_us, limit_us, reads, .. } = *self;
        let digits = 2 + 2 * self.len_bytes as usize;
        write!(f, "waited {waited_us} us for {what}: {register} ({offset:#07x}, section {section}) still reads {last:#0digits$x}")?;
        if self.is_all_ones() {
            write!(f, "; all ones mean that the card does not answer (unplugged, powered down, or memory decoding is off)")?;
        }
        if waited_us < limit_us {
            write!(f, "; {reads} reads and the pauses between them take {limit_us} us: the host's clock stands still, or its sleep returns early")?;
        }
        Ok(())
    }
}
impl core::error::Error for WaitError {}

/// Reads `reg` until `done` holds, with pauses between, for at most `limit_us` microseconds. Returns the value with which it held.
///
/// # Errors
/// [`WaitError`] with the register and the last value seen.
pub fn wait_until<T: RegValue, M: Pure>(
    space: &(impl RegSpace + ?Sized),
    reg: Reg<T, M>,
    what: &'static str,
    clock: &dyn Clock,
    limit_us: u64,
    mut done: impl FnMut(T) -> bool,
) -> Result<T, WaitError> {
    let Ok(outcome) = look_until(reg, what, clock, Pace::within(limit_us), || {
        let value = reg.read(space);
        Ok::<_, Infallible>(if done(value) { ControlFlow::Break(value) } else { ControlFlow::Continue(value) })
    });
    outcome
}

/// Calls `look` until it breaks, with pauses between, as `pace` has it. For waits that do more than to read `reg`: that write between reads, or whose reads can fail.
/// `look` breaks with the result, or goes on with the register's value.
///
/// It looks at least once, and once more at the end. The pauses that were asked for count as time that has passed, so that it also ends where the clock stands still.
///
/// # Errors
/// The outer one is what `look` fails with, and ends the wait. The inner one is a [`WaitError`] with `reg` and the last value seen.
pub fn look_until<T: RegValue, M, R, E>(
    reg: Reg<T, M>,
    what: &'static str,
    clock: &dyn Clock,
    pace: Pace,
    mut look: impl FnMut() -> Result<ControlFlow<R, T>, E>,
) -> Result<Result<R, WaitError>, E> {
    let Pace { limit_us, first_us, longest_us } = pace;
    let start_us = clock.now_us();
    let (mut pause_us, mut paused_us) = (first_us, 0u64);
    let mut reads = 0;
    loop {
        reads += 1;
        // Before the look: what is seen late on a busy machine may have come in time.
        let waited_us = clock.now_us().saturating_sub(start_us);
        let value = match look()? {
            ControlFlow::Break(result) => return Ok(Ok(result)),
            ControlFlow::Continue(value) => value.raw().widen(),
        };
        let passed_us = waited_us.max(paused_us);
        if passed_us >= limit_us {
            let (register, offset, section, len_bytes) = (reg.name(), reg.offset(), reg.section(), reg.len_bytes());
            return Ok(Err(WaitError { register, offset, section, len_bytes, what, last: value, waited_us, limit_us, reads }));
        }
        let pause = pause_us.min(limit_us - passed_us);
        clock.sleep_us(pause);
        paused_us += pause;
        pause_us = pause_us.saturating_mul(2).min(longest_us);
    }
}
