//! Recovery: when a device that failed is reset and set up anew, how often, and when it is given up.
//!
//! What is to be restored is in [`Settings`](crate::device::Settings); what is done to the device, in [`control`](crate::device::control).

use core::fmt;

use crate::ring::fault::QueueFault;

/// What becomes of a device that hangs, asks for a reset, was reset by somebody else, or reports that something in itself failed.
///
/// A device that is gone, or that broke a queue by what it wrote, is not recovered: nobody is there, or it is not to be trusted.
///
/// ```
/// use driver_core::device::{Config, Recovery, RecoveryLimits};
///
/// // Told, and left as it is: for programs that stop a device and open it again themselves.
/// let config = Config::new().recovery(Recovery::Off);
/// assert_eq!(config.wanted_recovery(), Recovery::Off);
/// // Two tries, a second apart.
/// let limits = RecoveryLimits::new().attempts(2).backoff_us(1_000_000);
/// assert_eq!(Config::new().recovery(Recovery::Auto(limits)).wanted_recovery(), Recovery::Auto(limits));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "who configures a device decides between these")]
pub enum Recovery {
    /// It is told, and stays as it is.
    Off,
    /// [`NetDevice::watch`](crate::device::NetDevice::watch) resets it and sets it up as it was; its queues pause meanwhile and go on.
    Auto(RecoveryLimits),
}

impl Default for Recovery {
    /// [`Recovery::Auto`], as every kernel's driver does it: a program that forwards frames is not to end for one hang in a month, and one that does not know what
    /// it has to restore does not restore it.
    fn default() -> Self {
        Self::Auto(RecoveryLimits::new())
    }
}

/// How far a recovery goes until the device is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryLimits {
    /// How often it is tried.
    pub attempts: u32,
    /// How long after the first try that failed the next is made, in microseconds; twice as long after each further one.
    pub backoff_us: u64,
    /// How long a recovery may take in all, in microseconds: behind that no try is begun.
    pub time_us: u64,
    /// How long a recovered device has to work, in microseconds: where it fails before that, it is the same recovery that goes on, with one try less.
    pub settle_us: u64,
}

impl Default for RecoveryLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl RecoveryLimits {
    /// Five tries, the second a tenth of a second behind the first, within ten seconds; and a quarter of a second in which a device shows that it works.
    pub const fn new() -> Self {
        Self { attempts: 5, backoff_us: 100_000, time_us: 10_000_000, settle_us: 250_000 }
    }
    /// See [`RecoveryLimits::attempts`]; 0 is 1.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }
    /// See [`RecoveryLimits::backoff_us`].
    #[must_use]
    pub const fn backoff_us(self, backoff_us: u64) -> Self {
        Self { backoff_us, ..self }
    }
    /// See [`RecoveryLimits::time_us`].
    #[must_use]
    pub const fn time_us(self, time_us: u64) -> Self {
        Self { time_us, ..self }
    }
    /// See [`RecoveryLimits::settle_us`].
    #[must_use]
    pub const fn settle_us(self, settle_us: u64) -> Self {
        Self { settle_us, ..self }
    }
}

/// A recovery that is over, well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// What had failed.
    pub cause: QueueFault,
    /// When that was seen, on the host's clock, in microseconds.
    pub since_us: u64,
    /// How long it took until all queues worked that somebody called, in microseconds.
    pub took_us: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Frames that were in rings and are lost: taken and not sent, or received and not polled. As far as their queues have counted them.
    pub lost: u64,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, took_us, attempts, lost, .. } = self;
        write!(f, "the device was recovered: {}; it took {took_us} us and {attempts} attempts, and {lost} frames are lost", Cause(*cause))
    }
}

/// What failed of a device that is being recovered, without what a person would have to do about it.
pub(crate) struct Cause(pub(crate) QueueFault);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            QueueFault::Hung { queue, .. } => write!(f, "transmit queue {queue} hung"),
            QueueFault::NeedsReset => f.write_str("it asked for a reset"),
            QueueFault::Reset => f.write_str("somebody else reset it, or switched its memory decoding off"),
            QueueFault::Hardware(what) => write!(f, "it reported {what}"),
            QueueFault::NotRestarted => f.write_str("a queue did not turn on"),
            other => other.fmt(f),
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The device is to be reset and set up.
    Try,
    /// It is not time yet, or the device is up and its queues come.
    Wait,
    /// No more.
    GiveUp,
}

/// A recovery under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    pub(crate) cause: QueueFault,
    pub(crate) since_us: u64,
    /// Tries so far.
    pub(crate) attempts: u32,
    /// Frames that were lost before.
    pub(crate) lost_before: u64,
    /// When the next try is due; `None`: the device is up.
    due_us: Option<u64>,
    /// Until when a device that is up waits for queues that do not come.
    pub(crate) until_us: u64,
}

impl Episode {
    pub(crate) fn next(&self, limits: &RecoveryLimits, now_us: u64) -> Next {
        let Some(due_us) = self.due_us else { return Next::Wait };
        let is_over = self.attempts >= limits.attempts.max(1) || now_us.saturating_sub(self.since_us) > limits.time_us;
        match () {
            () if is_over => Next::GiveUp,
            () if now_us < due_us => Next::Wait,
            () => Next::Try,
        }
    }

    /// The device is up.
    pub(crate) fn came_up(&mut self, until_us: u64) {
        (self.due_us, self.until_us) = (None, until_us);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.due_us.is_none()
    }

    /// A try failed, or the device did soon after it.
    pub(crate) fn failed(&mut self, limits: &RecoveryLimits, now_us: u64) {
        let backoff_us = limits.backoff_us.saturating_mul(1 << self.attempts.saturating_sub(1).min(32));
        self.due_us = Some(now_us.saturating_add(backoff_us));
    }
}

/// What a control handle knows of its recoveries.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    /// `None`: the device is not recovered.
    pub(crate) limits: Option<RecoveryLimits>,
    pub(crate) episode: Option<Episode>,
    /// The last that ended well, until it was told.
    pub(crate) untold: Option<Recovered>,
    /// The last that ended well, and when.
    last: Option<(Episode, u64)>,
    /// The transmit queue that the try under way resets alone; `None`: the device.
    pub(crate) alone: Option<u16>,
    /// What the transmit queues that were reset alone had sent by then: a queue, its frames, and whether it had sent none since it was reset alone before.
    mended: Option<(u16, u64, bool)>,
    /// The device was reset and did not come up.
    pub(crate) is_down: bool,
    /// Somebody else reset it: what it counted since it was looked at before that nobody knows.
    pub(crate) has_forgotten: bool,
    /// How often the device, or a queue of it alone, was reset for it.
    pub(crate) resets: u64,
    /// How often it worked.
    pub(crate) recoveries: u64,
}

impl Recoveries {
    pub(crate) fn new(policy: Recovery) -> Self {
        let limits = match policy {
            Recovery::Off => None,
            Recovery::Auto(limits) => Some(limits),
        };
        Self { limits, ..Self::default() }
    }

    /// The device failed. Soon after a recovery, that goes on.
    pub(crate) fn begin(&mut self, cause: QueueFault, now_us: u64, lost_before: u64) {
        let Some(limits) = self.limits else { return };
        let fresh = Episode { cause, since_us: now_us, attempts: 0, lost_before, due_us: Some(now_us), until_us: now_us };
        let again = self.last.filter(|(_, ended_us)| now_us.saturating_sub(*ended_us) < limits.settle_us).map(|(mut episode, _)| {
            episode.failed(&limits, now_us);
            Episode { cause, ..episode }
        });
        self.episode = Some(again.unwrap_or(fresh));
    }

    /// The recovery under way ended well.
    pub(crate) fn end(&mut self, now_us: u64, lost: u64) -> Option<Recovered> {
        let episode = self.episode.take()?;
        let Episode { cause, since_us, attempts, lost_before, .. } = episode;
        let recovered = Recovered { cause, since_us, took_us: now_us.saturating_sub(since_us), attempts, lost: lost.saturating_sub(lost_before) };
        (self.last, self.untold) = (Some((episode, now_us)), Some(recovered));
        self.recoveries += 1;
        Some(recovered)
    }

    /// A transmit queue was reset alone and works, having sent so many frames since the start.
    pub(crate) fn mended_alone(&mut self, queue: u16, sent: u64) {
        let in_vain = self.mended.is_some_and(|(before, then, _)| (before, then) == (queue, sent));
        self.mended = Some((queue, sent, in_vain));
    }

    /// The whole device was reset.
    pub(crate) fn mended_all(&mut self) {
        self.mended = None;
    }

    /// Whether resetting this transmit queue alone may help: twice it did not.
    pub(crate) fn may_help_alone(&self, queue: u16) -> bool {
        !self.mended.is_some_and(|(before, _, in_vain)| in_vain && before == queue)
    }

    /// It did not, and nothing more is tried.
    pub(crate) fn give_up(&mut self) {
        (self.episode, self.limits) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RecoveryLimits = RecoveryLimits::new().attempts(3).backoff_us(100).time_us(1_000).settle_us(50);
    const HUNG: QueueFault = QueueFault::Hung { queue: 0, since_us: 7 };

    fn begun(now_us: u64) -> Recoveries {
        let mut all = Recoveries::new(Recovery::Auto(LIMITS));
        all.begin(HUNG, now_us, 5);
        all
    }

    #[test]
    fn tries_come_further_and_further_apart_and_end() {
        let mut all = begun(1_000);
        let episode = all.episode.as_mut().unwrap();
        let mut tried_at = std::vec::Vec::new();
        for now_us in 1_000..3_000 {
            match episode.next(&LIMITS, now_us) {
                Next::Try => {
                    tried_at.push(now_us);
                    episode.attempts += 1;
                    episode.failed(&LIMITS, now_us);
                }
                Next::Wait => {}
                Next::GiveUp => break,
            }
        }
        assert_eq!(tried_at, [1_000, 1_100, 1_300]);
        assert_eq!(episode.next(&LIMITS, 1_301), Next::GiveUp, "at once: nothing more would be tried");
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let mut all = begun(0);
        let episode = all.episode.as_mut().unwrap();
        episode.attempts = 1;
        episode.failed(&LIMITS, 990);
        assert_eq!((episode.next(&LIMITS, 999), episode.next(&LIMITS, 1_001)), (Next::Wait, Next::GiveUp));
        episode.came_up(5_000);
        assert_eq!((episode.is_up(), episode.next(&LIMITS, 9_000)), (true, Next::Wait));
        let no_tries = RecoveryLimits::new().attempts(0);
        assert_eq!(begun(0).episode.unwrap().next(&no_tries, 0), Next::Try, "less than one is one");
    }

    #[test]
    fn a_device_that_fails_again_at_once_has_no_new_tries() {
        let mut all = begun(0);
        all.episode.as_mut().unwrap().attempts = 2;
        let recovered = all.end(40, 9).unwrap();
        assert_eq!((recovered.cause, recovered.took_us, recovered.attempts, recovered.lost), (HUNG, 40, 2, 4));
        assert_eq!((all.untold, all.recoveries), (Some(recovered), 1));
        all.begin(QueueFault::NeedsReset, 89, 9);
        let again = all.episode.unwrap();
        assert_eq!((again.attempts, again.since_us, again.cause), (2, 0, QueueFault::NeedsReset));
        assert_eq!((again.next(&LIMITS, 200), again.next(&LIMITS, 289)), (Next::Wait, Next::Try));
        all.end(300, 9).unwrap();
        all.begin(HUNG, 350, 9);
        assert_eq!(all.episode.map(|fresh| (fresh.attempts, fresh.since_us)), Some((0, 350)), "it has worked for long enough");
        all.give_up();
        all.begin(HUNG, 400, 9);
        assert_eq!(all.episode, None, "once and for all");
    }

    #[test]
    fn a_cause_says_what_was_and_not_what_to_do() {
        use alloc::string::ToString;

        let cases = [
            (HUNG, "transmit queue 0 hung"),
            (QueueFault::NeedsReset, "it asked for a reset"),
            (QueueFault::Reset, "somebody else reset it, or switched its memory decoding off"),
            (QueueFault::Hardware("an error"), "it reported an error"),
            (QueueFault::NotRestarted, "a queue did not turn on"),
        ];
        for (fault, text) in cases {
            assert!(fault.is_mended_by_reset());
            assert_eq!(Cause(fault).to_string(), text);
        }
        assert!(![QueueFault::Gone, QueueFault::Stopped, QueueFault::Protocol("")].iter().any(QueueFault::is_mended_by_reset));
    }
}
