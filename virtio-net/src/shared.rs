//! What the control handle and the queues, on their several threads, know of one another.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use driver_core::queue::QueueFault;
use driver_core::ring::split::{SplitRx, SplitTx};

use crate::desc::NET_HDR_BYTES;

/// How far a device is from writing to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It sends and receives.
    Running = 0,
    /// It was told to stop and has not confirmed it: it may still write to memory.
    Stopping = 1,
    /// It confirmed that it writes to no memory any more.
    Stopped = 2,
    /// It asked for a reset (DEVICE_NEEDS_RESET) and may still write to memory.
    Failed = 3,
}

/// Rings and lent buffers of a queue that was dropped. Dropping this leaks them.
pub(crate) enum Memory {
    Rx(SplitRx<NET_HDR_BYTES>),
    Tx(SplitTx<NET_HDR_BYTES>),
}

impl Memory {
    /// Frees everything. The device is stopped: see the callers.
    fn release(self) {
        // SAFETY: both callers have seen the state Stopped, which is only set when the device has confirmed its reset (2.4.1).
        #[allow(unsafe_code, reason = "only here is it known that the device uses no memory any more")]
        unsafe {
            match self {
                Self::Rx(ring) => ring.release(),
                Self::Tx(ring) => ring.release(),
            }
        }
    }
}

/// One for each started device.
///
/// A device cannot stop one queue alone, so what a queue that is dropped alive had lent out is kept here until the device confirms its reset; if it never
/// does, it leaks, since the device may still write to it.
pub struct Shared {
    state: AtomicU8,
    parked: spin::Mutex<Vec<Memory>>,
    pub(crate) rx: Tally,
    pub(crate) tx: Tally,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(State::Running as u8), parked: spin::Mutex::new(Vec::new()), rx: Tally::default(), tx: Tally::default() }
    }

    /// How far the device is.
    #[inline]
    pub fn state(&self) -> State {
        // Acquire: whoever sees Stopped also sees all that the device wrote before it confirmed.
        match self.state.load(Ordering::Acquire) {
            0 => State::Running,
            2 => State::Stopped,
            3 => State::Failed,
            _ => State::Stopping,
        }
    }

    /// Whether the device confirmed that it writes to no memory any more.
    pub fn is_stopped(&self) -> bool {
        self.state() == State::Stopped
    }

    /// Whether the queues may hand it anything.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.state() == State::Running
    }

    /// What keeps the queues from working, if anything does.
    pub(crate) fn fault(&self) -> Option<QueueFault> {
        match self.state() {
            State::Running => None,
            State::Failed => Some(QueueFault::Protocol("the device asks for a reset (DEVICE_NEEDS_RESET): stop it and open it again")),
            State::Stopping | State::Stopped => Some(QueueFault::Stopped),
        }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// The device was reset: what dropped queues left behind goes back.
    pub(crate) fn set_stopped(&self) {
        let parked = {
            let mut parked = self.parked.lock();
            self.set(State::Stopped);
            core::mem::take(&mut *parked)
        };
        parked.into_iter().for_each(Memory::release);
    }

    /// Takes the memory of a queue that is dropped: frees it where the device is stopped, else keeps it until then.
    pub(crate) fn retire(&self, memory: Memory) {
        {
            let mut parked = self.parked.lock();
            if !self.is_stopped() {
                parked.push(memory);
                return;
            }
        }
        memory.release();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let parked = self.parked.get_mut().len();
        if !self.is_stopped() && parked > 0 {
            log::error!("virtio-net: the device does not confirm its reset; the rings and lent buffers of {parked} queues leak");
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Counters of one queue, written by its owner alone and read by the control handle.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) packets: Count,
    pub(crate) bytes: Count,
    /// Frames whose header made no sense.
    pub(crate) header_errors: Count,
    /// Frames shorter than an Ethernet header or longer than the MTU allows.
    pub(crate) length_errors: Count,
}

/// A counter with one writer: no atomic read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
