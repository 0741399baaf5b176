//! Stop and wake: when a transmit queue takes no more, and when it runs again.
//!
//! The two thresholds are apart so that a queue at the edge does not flap: it stops when fewer than `stop_below` descriptors are free,
//! and runs again only when `wake_at` are. (Linux: `netif_txq_maybe_stop` in `include/net/netdev_queues.h`.)

use core::fmt;

/// Thresholds of a [`TxGate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateConfig {
    /// The queue stops when fewer descriptors than this are free after a submit.
    pub stop_below: u32,
    /// A stopped queue runs again when this many are free. Must be more than `stop_below`.
    pub wake_at: u32,
    /// The queue also stops when more than this many bytes are in flight. `None`: no limit.
    pub byte_limit: Option<u64>,
}

impl GateConfig {
    /// Stopping when fewer than `descriptors` are free.
    #[must_use]
    pub const fn stop_below(self, descriptors: u32) -> Self {
        Self { stop_below: descriptors, ..self }
    }

    /// Running again when `descriptors` are free.
    #[must_use]
    pub const fn wake_at(self, descriptors: u32) -> Self {
        Self { wake_at: descriptors, ..self }
    }

    /// Stopping as well when more than `bytes` are in flight.
    #[must_use]
    pub const fn byte_limit(self, bytes: u64) -> Self {
        Self { byte_limit: Some(bytes), ..self }
    }
}

impl Default for GateConfig {
    /// Room for one frame of the largest size and a few more, then half a small ring.
    fn default() -> Self {
        Self { stop_below: 8, wake_at: 32, byte_limit: None }
    }
}

/// Thresholds that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateError {
    /// `wake_at` is not above `stop_below`.
    Order {
        /// As configured.
        stop_below: u32,
        /// As configured.
        wake_at: u32,
    },
    /// The ring never has `wake_at` descriptors free (one is always kept apart).
    Unreachable {
        /// As configured.
        wake_at: u32,
        /// Descriptors in the ring.
        ring: u32,
    },
    /// A byte limit of zero never lets a frame through.
    NoBytes,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { stop_below, wake_at } => write!(f, "wake_at ({wake_at}) must be larger than stop_below ({stop_below})"),
            Self::Unreachable { wake_at, ring } => {
                write!(f, "wake_at ({wake_at}) must be below the ring's size ({ring}), since one descriptor always stays free")
            }
            Self::NoBytes => f.write_str("byte_limit must be at least 1: leave it out for no limit"),
        }
    }
}
impl core::error::Error for GateError {}

/// The stop and wake state of one transmit queue.
///
/// ```
/// use driver_core::queue::{GateConfig, TxGate};
///
/// // A ring of 64 descriptors whose queue stops with fewer than 4 of them free, and runs again with 16.
/// let mut gate = TxGate::new(GateConfig::default().stop_below(4).wake_at(16), 64)?;
/// assert!(!gate.after_submit(10), "10 are left: it takes more");
/// assert!(gate.after_submit(3), "3 are left: it stops");
/// assert!(!gate.after_reclaim(15), "some came back, too few");
/// assert!(gate.after_reclaim(16), "it runs again, which is said once");
/// assert!(!gate.after_reclaim(17));
/// assert_eq!(gate.transitions(), (1, 1));
/// # Ok::<(), driver_core::queue::GateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TxGate {
    config: GateConfig,
    stopped: bool,
    bytes: u64,
    stops: u64,
    wakes: u64,
}

impl TxGate {
    /// A running gate for a ring of `ring` descriptors.
    ///
    /// # Errors
    /// [`GateError`] where the thresholds could never be met.
    pub fn new(config: GateConfig, ring: u32) -> Result<Self, GateError> {
        let GateConfig { stop_below, wake_at, byte_limit } = config;
        if wake_at <= stop_below {
            return Err(GateError::Order { stop_below, wake_at });
        }
        if wake_at >= ring {
            return Err(GateError::Unreachable { wake_at, ring });
        }
        if byte_limit == Some(0) {
            return Err(GateError::NoBytes);
        }
        Ok(Self { config, stopped: false, bytes: 0, stops: 0, wakes: 0 })
    }

    /// Whether the queue is stopped.
    #[inline(always)]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether bytes have to be counted.
    #[inline(always)]
    pub fn counts_bytes(&self) -> bool {
        self.config.byte_limit.is_some()
    }

    /// With more descriptors free than this before a frame of one descriptor is queued, the gate is running and stays so.
    pub fn never_stops_above(&self) -> u32 {
        // A stopped gate has less than `wake_at` free; where bytes are limited the number of descriptors says nothing.
        if self.counts_bytes() { u32::MAX } else { self.config.wake_at }
    }

    /// Of how many more descriptors that come back a stopped queue with `free` of them runs again; where bytes are limited, each may be the one.
    pub fn missing(&self, free: u32) -> u32 {
        if self.counts_bytes() { 1 } else { self.config.wake_at.saturating_sub(free).max(1) }
    }

    /// How often the queue stopped and woke.
    pub fn transitions(&self) -> (u64, u64) {
        (self.stops, self.wakes)
    }

    /// Counts a frame in flight, where bytes are limited.
    #[inline]
    pub fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Counts a frame done.
    #[inline]
    pub fn completed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// To be asked after frames were queued: `free` descriptors are left. Returns whether the queue is stopped now.
    #[inline(always)]
    pub fn after_submit(&mut self, free: u32) -> bool {
        if !self.stopped && (free < self.config.stop_below || self.over_bytes()) {
            self.stop();
        }
        self.stopped
    }

    /// A frame did not fit: the queue stops whatever the threshold says.
    #[cold]
    pub fn stop(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.stops += 1;
        }
    }

    /// Opens a stopped gate whatever the thresholds say, for a device that stopped. Returns whether it was stopped.
    #[cold]
    pub fn open(&mut self) -> bool {
        let was_stopped = core::mem::replace(&mut self.stopped, false);
        self.wakes += u64::from(was_stopped);
        was_stopped
    }

    /// To be asked after buffers came back: `free` descriptors are there. Returns `true` once at the change from stopped to running.
    #[inline(always)]
    pub fn after_reclaim(&mut self, free: u32) -> bool {
        if self.stopped && free >= self.config.wake_at && !self.over_bytes() {
            self.stopped = false;
            self.wakes += 1;
            return true;
        }
        false
    }

    #[inline(always)]
    fn over_bytes(&self) -> bool {
        self.config.byte_limit.is_some_and(|limit| self.bytes > limit)
    }
}
