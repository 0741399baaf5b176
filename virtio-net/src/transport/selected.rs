//! Which queue a device's registers of queues are about, and which queues were reset alone: what all handles to one device agree on, on whichever thread they are.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use driver_core::device::{DeviceState, ErrorKind};
use driver_core::host::Clock;
use driver_core::reg::{Pace, Reg, RegValue, look_until};

/// How long the reset of one queue may take, in microseconds: as long as frames that are under way take.
const QUEUE_RESET_LIMIT_US: u64 = 500_000;

/// The queue that is selected, for one handle at a time.
#[derive(Clone, Default)]
pub(crate) struct Selected(Arc<spin::Mutex<Queues>>);

/// What is known of the device's queues.
#[derive(Default)]
pub(super) struct Queues {
    /// DRIVER_OK was set, and no reset was begun since.
    is_live: bool,
    /// Queues that were reset alone, and not enabled since.
    alone: Vec<u16>,
}

impl Queues {
    /// The device is live.
    pub(super) fn go_live(&mut self) {
        self.is_live = true;
    }

    /// Its reset begins.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// A queue is enabled.
    pub(super) fn enabled(&mut self, queue: u16) {
        self.alone.retain(|&other| other != queue);
    }
}

impl Selected {
    /// Nobody else selects a queue as long as this is held.
    pub(super) fn lock(&self) -> spin::MutexGuard<'_, Queues> {
        self.0.lock()
    }

    /// Whether a queue was reset alone, and not enabled since.
    pub(super) fn was_reset(&self, queue: u16) -> bool {
        self.lock().alone.contains(&queue)
    }

    /// Resets one queue of a live device by `register` (2.6.1.1). `access` selects the queue, writes 1 to the register where it is told to begin, and reads it. "the driver MUST NOT
    /// consider queue reset to be complete until it reads back 0".
    ///
    /// # Errors
    /// Where the device is not live, or does not say in time that the queue is reset.
    pub(super) fn reset_queue<T: RegValue + Copy + Into<u32>, M>(
        &self,
        queue: u16,
        register: Reg<T, M>,
        clock: &dyn Clock,
        access: impl Fn(bool) -> T,
    ) -> Result<(), ErrorKind> {
        let mut begins = true;
        let look = || {
            let mut queues = self.lock();
            // Whoever resets the device resets this queue with it, and touches no register meanwhile.
            if !queues.is_live {
                return Err(ErrorKind::NotRunning(DeviceState::Stopped));
            }
            if begins {
                queues.alone.push(queue);
            }
            let value = access(core::mem::take(&mut begins));
            match value.into() {
                0 => Ok(ControlFlow::Break(())),
                1 => Ok(ControlFlow::Continue(value)),
                // Nothing answers.
                _ => Err(ErrorKind::NotRunning(DeviceState::Gone)),
            }
        };
        look_until(register, "the reset of a queue", clock, Pace::within(QUEUE_RESET_LIMIT_US), look)??;
        Ok(())
    }
}
