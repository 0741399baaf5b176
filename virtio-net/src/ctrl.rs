//! The control queue (5.1.6.5): commands, one at a time, each of which is answered in bounded time or not at all.

use core::ops::ControlFlow;

use driver_core::device::{DeviceState, ErrorKind};
use driver_core::host::PciFunction;
use driver_core::queue::QueueFault;
use driver_core::queue::core::Silence;
use driver_core::reg::{Pace, look_until};
use driver_core::ring::CommandQueue;

use crate::card::lost;
use crate::error::HardwareError;
use crate::regs::common::DEVICE_STATUS;
use crate::regs::ctrl::{Command, OK};
use crate::transport::{Notify, Transport};

/// How long a command may take, in microseconds. The specification sets no limit; a device that emulates one asks its host, which may be busy.
const LIMIT_US: u64 = 2_000_000;

/// The control queue of a live device.
pub(crate) struct Ctrl<F: PciFunction> {
    queue: CommandQueue,
    notify: Notify<F>,
    /// A command was not answered in time, or wrongly: no other one is sent before a reset.
    is_stuck: bool,
}

impl<F: PciFunction> Ctrl<F> {
    /// Over a queue that is set up.
    pub(crate) fn new(queue: CommandQueue, notify: Notify<F>) -> Self {
        Self { queue, notify, is_stuck: false }
    }

    /// Whether it takes no commands any more.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Sends a command with its data, which is `parts` one behind another, and waits for the ack.
    ///
    /// # Errors
    /// [`HardwareError::CommandRefused`], [`HardwareError::CommandStuck`]; where the device does not run any more, so much.
    pub(crate) fn command(&mut self, transport: &dyn Transport<F>, command: Command, parts: &[&[u8]]) -> Result<(), ErrorKind> {
        self.ask(transport, command, parts, &mut [0]).map(drop)
    }

    /// The same with room for what the device answers behind the ack. Returns how many bytes it says that it wrote, with the ack.
    ///
    /// # Errors
    /// As [`Ctrl::command`].
    pub(crate) fn ask(&mut self, transport: &dyn Transport<F>, command: Command, parts: &[&[u8]], answer: &mut [u8]) -> Result<usize, ErrorKind> {
        let Command { class, number, name } = command;
        if self.is_stuck {
            return Err(HardwareError::ControlQueueStuck { command: name }.into());
        }
        let head = [class, number];
        let mut pieces = alloc::vec![head.as_slice()];
        pieces.extend_from_slice(parts);
        let Some(wants_news) = self.queue.send(&pieces, answer.len()) else {
            return Err(HardwareError::ControlQueueStuck { command: name }.into());
        };
        if wants_news {
            self.notify.ring(|| self.queue.next_available());
        }
        let pace = Pace::within(LIMIT_US);
        let outcome = look_until(DEVICE_STATUS, name, &**transport.clock(), pace, || -> Result<_, ErrorKind> {
            if self.queue.answer(answer).map_err(|fault| of_fault(name, fault))? {
                return Ok(ControlFlow::Break(()));
            }
            let status = transport.status();
            match lost(status) {
                Some(fault) => Err(ErrorKind::NotRunning(DeviceState::of_device(fault))),
                None => Ok(ControlFlow::Continue(status)),
            }
        });
        match outcome {
            Ok(Ok(())) => match answer.first() {
                Some(&OK) => Ok(self.queue.answered_bytes() as usize),
                ack => Err(HardwareError::CommandRefused { command: name, ack: ack.copied().unwrap_or_default() }.into()),
            },
            Ok(Err(wait)) => {
                self.is_stuck = true;
                Err(HardwareError::CommandStuck { command: name, wait }.into())
            }
            Err(error) => {
                self.is_stuck = true;
                Err(error)
            }
        }
    }

    /// Makes the queue what it was when it was new, for a device that was reset: whatever was under way was not answered.
    pub(crate) fn rewind(&mut self, silence: &Silence) {
        silence.rewind_commands(&mut self.queue);
        self.is_stuck = false;
    }

    /// Gives the queue's memory back.
    pub(crate) fn release(self, silence: &Silence) {
        silence.release_commands(self.queue);
    }
}

fn of_fault(command: &'static str, fault: QueueFault) -> ErrorKind {
    HardwareError::CommandFault { command, fault }.into()
}
