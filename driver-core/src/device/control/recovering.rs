//! Recovery by the control handle: the device is reset and set up as it was, and its queues pause and go on ([`recovery`](crate::device::recovery)).
//!
//! One try takes as long as the device's reset does, within one call of [`watch`](crate::device::NetDevice::watch). Between tries time passes between calls. Queues
//! on other threads answer meanwhile; a queue on the caller's own thread can answer behind the call alone, so its hardware is turned on in the next one.

use super::kernel::NO_RECOVERY;
use super::{ControlCore, ControlKernel};
use crate::device::error::ErrorKind;
use crate::device::recovery::{Cause, Next, Recoveries};
use crate::device::state::pausing::Way;
use crate::device::state::{DeviceState, Shared};
use crate::host::clock::Clock;
use crate::host::pci::PciFunction;
use crate::ring::fault::QueueFault;

/// How long queues on other threads may take to say that they pause, and to empty their rings, in microseconds. Such a call takes microseconds; its thread may have
/// to wait for a processor. Who does not come in time is not waited for: its hardware stays off until it does.
const ANSWER_US: u64 = 50_000;
/// How often that is looked at, in microseconds.
const LOOK_US: u64 = 100;
/// How long a device that is up counts as being recovered while queues are missing, in microseconds: a program that calls `watch` ten times a second, and its queues
/// in between, has all of them on by then.
const JOIN_US: u64 = 300_000;

/// Lets time pass until `done`, `limit_us` at most: by the clock, and by what was slept, since a clock may stand still.
fn wait_until(clock: &dyn Clock, limit_us: u64, done: impl Fn() -> bool) {
    let (begun_us, mut slept_us) = (clock.now_us(), 0);
    while clock.now_us().saturating_sub(begun_us).max(slept_us) < limit_us && !done() {
        clock.sleep_us(LOOK_US);
        slept_us += LOOK_US;
    }
}

impl<K: ControlKernel> ControlCore<K> {
    /// One step on, where the device failed or is being recovered. It was looked at just now.
    pub(super) fn recover(&mut self) {
        let Some(limits) = self.recoveries.limits else { return };
        let Some(clock) = self.shared.watch().map(|watch| watch.clock.clone()) else { return };
        if self.shared.is_stopping() {
            return;
        }
        if self.shared.is_running() {
            self.join();
            // What a queue said of itself before its control handle came.
            if let Some(cause) = self.shared.mendable() {
                self.begin(cause);
            }
        }
        let Some(episode) = &self.recoveries.episode else { return };
        match episode.next(&limits, clock.now_us()) {
            Next::Try => self.attempt(&*clock),
            Next::GiveUp => self.give_up(episode.cause),
            Next::Wait => {}
        }
        self.end_recovery(clock.now_us());
    }

    /// The device failed, or a transmit queue of it.
    pub(super) fn fails(&mut self, fault: QueueFault) {
        if fault.is_mended_by_reset() && self.recoveries.limits.is_some() && self.shared.watch().is_some() {
            return self.begin(fault);
        }
        log::error!("{}: {fault}", self.info.name);
        match fault {
            QueueFault::Hung { queue, .. } => self.shared.set_tx_failed(queue, fault),
            _ if self.recoveries.episode.is_some() => self.give_up(fault),
            _ => self.shared.set_failed(fault),
        }
        if !K::RECOVERS && fault.is_mended_by_reset() {
            log::warn!("{}: {NO_RECOVERY}", self.info.name);
        }
    }

    /// The queues pause from here on, and the device is reset by [`ControlCore::recover`].
    fn begin(&mut self, cause: QueueFault) {
        let lost = self.lost();
        let Self { recoveries, shared, info, kernel, .. } = self;
        let (Some(limits), Some(now_us)) = (recoveries.limits, shared.watch().map(|watch| watch.clock.now_us())) else { return };
        let is_first = recoveries.episode.is_none();
        recoveries.has_forgotten |= cause == QueueFault::Reset;
        match &mut recoveries.episode {
            Some(episode) => {
                episode.cause = cause;
                episode.failed(&limits, now_us);
            }
            None => recoveries.begin(cause, now_us, lost),
        }
        // One that hangs for the first time, behind nothing else; where that does not help, or did not last time, the device is reset.
        let is_new = is_first && recoveries.episode.is_some_and(|episode| episode.attempts == 0);
        recoveries.alone = match cause {
            QueueFault::Hung { queue, .. } if is_new && kernel.resets_tx_alone() && recoveries.may_help_alone(queue) => Some(queue),
            _ => None,
        };
        let what = if recoveries.alone.is_some() { "the queue" } else { "it" };
        log::warn!("{}: {}: {what} will be reset and set up as it was", info.name, Cause(cause));
        match recoveries.alone {
            Some(queue) => shared.pause_tx(queue),
            None => shared.pause(),
        }
    }

    /// The end of a recovery that went well.
    fn end_recovery(&mut self, now_us: u64) {
        let is_up =
            self.recoveries.episode.is_some_and(|episode| episode.is_up() && (now_us >= episode.until_us || !self.shared.is_anybody_missing()));
        if is_up
            && self.shared.is_running()
            && let Some(recovered) = self.recoveries.end(now_us, self.lost())
        {
            match self.recoveries.alone.take() {
                Some(queue) => {
                    let totals = self.shared.totals_of_tx_queues();
                    let sent = totals.get(usize::from(queue)).map_or(0, |totals| totals.packets.saturating_sub(totals.lost));
                    self.recoveries.mended_alone(queue, sent);
                }
                None => self.recoveries.mended_all(),
            }
            log::warn!("{}: {recovered}", self.info.name);
        }
    }

    /// Frames that the queues have given up so far.
    fn lost(&self) -> u64 {
        self.shared.rx_totals().lost + self.shared.tx_totals().lost
    }

    /// Resets the device and sets it up as it was.
    fn attempt(&mut self, clock: &dyn Clock) {
        let Some(episode) = &mut self.recoveries.episode else { return };
        episode.attempts += 1;
        self.recoveries.resets += 1;
        self.positions.clear();
        wait_until(clock, ANSWER_US, || !self.shared.is_awaited());
        // Where nobody has answered the queues are on this thread, and cannot.
        let answers = self.shared.is_anybody_paused();
        let outcome = match self.recoveries.alone {
            Some(queue) => self.reset_alone(queue),
            None => self.reset_and_restore(),
        };
        match outcome {
            Ok(()) => {
                if answers {
                    wait_until(clock, ANSWER_US, || !self.shared.is_rewinding());
                }
                if let Some(episode) = &mut self.recoveries.episode {
                    episode.came_up(clock.now_us().saturating_add(JOIN_US));
                }
                self.join();
            }
            Err(error) if error.is_gone() && self.kernel.look() == Some(QueueFault::Gone) => self.give_up(QueueFault::Gone),
            Err(error) => self.try_failed(&error),
        }
    }

    fn reset_and_restore(&mut self) -> Result<(), ErrorKind> {
        let Self { kernel, shared, settings, recoveries, .. } = self;
        // Whoever else reset it has perhaps left its registers off.
        kernel.with_function(|function| if function.is_decoding() { Ok(()) } else { function.enable_registers() })?;
        if !core::mem::replace(&mut recoveries.is_down, true) {
            kernel.read_all_counters();
            match kernel.stop(&mut |queue, left| shared.set_left(queue, left)) {
                // What went out while it stopped: the reset clears the counters.
                Ok(_) => kernel.read_all_counters(),
                Err(error) if error.is_gone() => return Err(error),
                Err(error) => log::warn!("{}: {error}; resetting it in spite of that", self.info.name),
            }
        }
        let silence = kernel.restart(settings)?;
        recoveries.is_down = false;
        shared.let_rewind(&silence);
        // Whoever sleeps on a queue's interrupt comes by.
        kernel.wake_queues(settings);
        Ok(())
    }

    /// Resets a transmit queue, while all others work.
    fn reset_alone(&mut self, queue: u16) -> Result<(), ErrorKind> {
        let Self { kernel, shared, settings, .. } = self;
        let silence = kernel.reset_tx(queue)?;
        shared.let_rewind_tx(queue, &silence);
        // Who sleeps on the queue's interrupt comes by.
        kernel.wake_queues(settings);
        Ok(())
    }

    /// Turns the hardware of queues on that wait for it.
    fn join(&mut self) {
        if let Err(error) = self.start_queues() {
            match &self.recoveries.episode {
                Some(_) => self.try_failed(&error),
                // Behind the recovery: a queue that came late.
                None => {
                    log::error!("{}: {error}", self.info.name);
                    self.begin(QueueFault::NotRestarted);
                }
            }
        }
    }

    fn start_queues(&mut self) -> Result<(), ErrorKind> {
        let Self { kernel, shared, settings, recoveries, .. } = self;
        for (way, queue, seat) in shared.joining() {
            match way {
                Way::Rx => kernel.start_rx(queue, settings)?,
                Way::Tx => {
                    kernel.rewound_tx(queue, seat.tally().totals().packets);
                    kernel.start_tx(queue, settings)?;
                }
            }
        }
        let now_us = shared.watch().map_or(0, |watch| watch.clock.now_us());
        let waits = K::STARTS_TOGETHER && recoveries.episode.is_some_and(|episode| now_us < episode.until_us);
        if shared.joined().next().is_none() || waits && shared.is_anybody_late() {
            return Ok(());
        }
        kernel.queues_started(settings)?;
        shared.joined().for_each(|seat| seat.resume());
        if K::STARTS_TOGETHER {
            // Whoever slept while the others were waited for goes on.
            kernel.wake_queues(settings);
        }
        Ok(())
    }

    fn try_failed(&mut self, error: &ErrorKind) {
        let Self { recoveries, shared, info, .. } = self;
        log::error!("{}: recovering it failed: {error}", info.name);
        shared.pause();
        recoveries.alone = None;
        if let (Some(episode), Some(limits), Some(watch)) = (&mut recoveries.episode, recoveries.limits, shared.watch()) {
            episode.failed(&limits, watch.clock.now_us());
        }
    }

    /// It fails, and stays so.
    fn give_up(&mut self, fault: QueueFault) {
        log::error!("{}: its recovery is given up: {fault}", self.info.name);
        self.recoveries.give_up();
        self.shared.set_failed(fault);
        self.shared.give_up(fault);
    }

    /// The device is told to stop. In the middle of a recovery it ends as what it was before. Returns whether it is up.
    pub(super) fn abandon_recovery(&mut self) -> bool {
        if let Some(episode) = self.recoveries.episode.take()
            && !episode.is_up()
        {
            self.shared.give_up(episode.cause);
        }
        !self.recoveries.is_down
    }

    /// How the device is, for whoever asks.
    pub(super) fn told(recoveries: &Recoveries, shared: &Shared) -> DeviceState {
        match &recoveries.episode {
            Some(episode) => DeviceState::Recovering { cause: episode.cause, since_us: episode.since_us },
            None => shared.device_state(),
        }
    }
}
