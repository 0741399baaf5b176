//! Generators and checkers at the far ends of two wires: what one generates the other expects.
//!
//! Plug the two wires of [`pair`] into two cards, forward frames between the cards, and read the two [`Flow`]s: every frame that a
//! generator makes must come out of the other card, once, in order and unchanged.

mod config;
mod format;
mod latency;
mod sequence;
mod udp;

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use driver_core::host::Clock;

use super::{Sent, Wire, WireError};
use format::Format;
use latency::Stamps;
use sequence::{Order, Sequence};
use udp::{MAX_FLOWS, UdpFormat};

pub use config::{MAX_BYTES, MIN_BYTES, TrafficConfig};
pub use latency::Latency;

/// One direction of a [`pair`]: written by its generator and its checker, read by the application at any time.
#[derive(Debug)]
pub struct Flow {
    generator: Generated,
    checker: Checked,
    stamps: Option<Stamps>,
}

/// What the generator writes. In a cache line of its own, since the checker runs on another card's thread.
#[derive(Debug)]
#[repr(align(128))]
struct Generated {
    running: AtomicBool,
    frames: AtomicU64,
}

/// What the checker writes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Checked {
    intact: AtomicU64,
    corrupted: AtomicU64,
    reordered: AtomicU64,
    duplicated: AtomicU64,
    skipped: AtomicU64,
}

/// A [`Flow`]'s counters at one moment, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FlowTotals {
    /// Made, and taken by the card (or dropped and counted by it).
    pub generated: u64,
    /// Arrived unchanged, for the first time. Reordered ones included.
    pub intact: u64,
    /// Arrived, but not as any frame of this flow is made.
    pub corrupted: u64,
    /// Arrived after a frame that was generated later.
    pub reordered: u64,
    /// Arrived once more.
    pub duplicated: u64,
    /// Sequence numbers that later frames passed by and that have not arrived since: lost, corrupted or missed.
    pub skipped: u64,
}

impl FlowTotals {
    /// Frames lost, once generation has stopped and all that was on the way has arrived. `missed`: what the receiving card reports to
    /// have dropped for want of descriptors.
    pub fn lost(&self, missed: u64) -> u64 {
        self.generated.saturating_sub(missed).saturating_sub(self.intact).saturating_sub(self.corrupted)
    }
}

impl Add for FlowTotals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            generated: self.generated + other.generated,
            intact: self.intact + other.intact,
            corrupted: self.corrupted + other.corrupted,
            reordered: self.reordered + other.reordered,
            duplicated: self.duplicated + other.duplicated,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Flow {
    fn new(config: &TrafficConfig) -> Arc<Self> {
        let generator = Generated { running: AtomicBool::new(true), frames: AtomicU64::new(0) };
        Arc::new(Self { generator, checker: Checked::default(), stamps: config.latency.then(Stamps::new) })
    }

    /// Generates no further frame; what is on the way still arrives.
    pub fn stop(&self) {
        self.generator.running.store(false, Ordering::Relaxed);
    }

    /// How long the frames took that have arrived; `None` where they were not to be timed ([`TrafficConfig::latency`]).
    pub fn latency(&self) -> Option<Latency> {
        self.stamps.as_ref().map(Stamps::latency)
    }

    /// The counters now.
    pub fn totals(&self) -> FlowTotals {
        let checked = &self.checker;
        // What arrived is read first, so that no frame seems to have arrived before it was generated.
        let [intact, corrupted, reordered, duplicated, skipped] =
            [&checked.intact, &checked.corrupted, &checked.reordered, &checked.duplicated, &checked.skipped].map(|c| c.load(Ordering::Acquire));
        FlowTotals { generated: self.generator.frames.load(Ordering::Acquire), intact, corrupted, reordered, duplicated, skipped }
    }
}

/// Adds to a counter that only the caller writes, without a locked instruction.
fn count(counter: &AtomicU64, frames: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(frames), Ordering::Release);
}

/// One wire of a pair: generates what arrives at its card, checks what its card sends.
pub struct Traffic {
    config: TrafficConfig,
    clock: Arc<dyn Clock>,
    generates: Arc<Flow>,
    expects: Arc<Flow>,
    made: Frames,
    awaited: Awaited,
    next: u64,
    started_us: Option<u64>,
}

/// The frames of one direction.
#[derive(Debug, Clone)]
enum Frames {
    /// In one order, as the only flow.
    Plain(Format),
    OfFlows(UdpFormat),
}

impl Frames {
    fn new(config: &TrafficConfig, direction: usize) -> Self {
        if config.udp_flows == 0 { Self::Plain(Format::new(config, direction)) } else { Self::OfFlows(UdpFormat::new(config, direction)) }
    }

    #[inline]
    fn fill(&self, number: u64, frame: &mut Vec<u8>) {
        match self {
            Self::Plain(format) => format.fill(number, frame),
            Self::OfFlows(format) => format.fill(number, frame),
        }
    }
}

/// The frames of the other direction, and which of them have arrived: of each flow by itself.
#[derive(Debug)]
enum Awaited {
    Plain(Format, Sequence),
    OfFlows(UdpFormat, Vec<Sequence>),
}

impl Awaited {
    fn new(frames: Frames) -> Self {
        match frames {
            Frames::Plain(format) => Self::Plain(format, Sequence::new()),
            Frames::OfFlows(format) => {
                let sequences = (0..format.flows()).map(|_| Sequence::new()).collect();
                Self::OfFlows(format, sequences)
            }
        }
    }

    /// What it means that a frame arrives, and its number among all; `None`: it is not intact.
    #[inline]
    fn arrived(&mut self, frame: &[u8]) -> Option<(Order, u64)> {
        match self {
            Self::Plain(format, sequence) => format.check(frame).map(|number| (sequence.arrived(number), number)),
            Self::OfFlows(format, sequences) => {
                let (flow, number) = format.check(frame)?;
                let order = sequences.get_mut(usize::from(flow))?.arrived(number);
                Some((order, number * u64::from(format.flows()) + u64::from(flow)))
            }
        }
    }
}

/// Two wires for two cards, and the flows to read: `flows[0]` goes from the first wire into the first card and must come out of the
/// second, `flows[1]` the other way.
///
/// # Errors
/// A frame length that is not [`MIN_BYTES`] to [`MAX_BYTES`], more flows than there are, or a rate of 0.
pub fn pair(config: &TrafficConfig, clock: &Arc<dyn Clock>) -> Result<([Traffic; 2], [Arc<Flow>; 2]), WireError> {
    if !(MIN_BYTES..=MAX_BYTES).contains(&config.frame_bytes) {
        return Err(WireError::option(format!("frames of {} bytes: give a size from {MIN_BYTES} to {MAX_BYTES} bytes", config.frame_bytes)));
    }
    if config.udp_flows > MAX_FLOWS {
        return Err(WireError::option(format!("{} flows: give at most {MAX_FLOWS}", config.udp_flows)));
    }
    if config.rate_pps == Some(0) {
        return Err(WireError::option("a rate of 0 frames a second: give at least 1, or none for as fast as possible"));
    }
    let flows = [Flow::new(config), Flow::new(config)];
    let formats = [Frames::new(config, 0), Frames::new(config, 1)];
    let wire = |direction: usize| Traffic {
        config: config.clone(),
        clock: clock.clone(),
        generates: flows[direction].clone(),
        expects: flows[1 - direction].clone(),
        made: formats[direction].clone(),
        awaited: Awaited::new(formats[1 - direction].clone()),
        next: 0,
        started_us: None,
    };
    let wires = [wire(0), wire(1)];
    Ok((wires, flows))
}

impl Traffic {
    /// Whether the rate allows the next frame now.
    fn is_due(&mut self) -> bool {
        let Some(rate_pps) = self.config.rate_pps else { return true };
        let now_us = self.clock.now_us();
        let elapsed_us = now_us - *self.started_us.get_or_insert(now_us);
        // Frame n is due at n / rate.
        u128::from(self.next) * 1_000_000 <= u128::from(elapsed_us) * u128::from(rate_pps)
    }
}

impl Wire for Traffic {
    fn send(&mut self, frame: &[u8]) -> Sent {
        let checked = &self.expects.checker;
        let Some((order, number)) = self.awaited.arrived(frame) else {
            count(&checked.corrupted, 1);
            return Sent::Taken;
        };
        if let Some(stamps) = &self.expects.stamps
            && !matches!(order, Order::Again)
        {
            stamps.arrived(number, self.clock.now_us());
        }
        match order {
            Order::Next => count(&checked.intact, 1),
            Order::Ahead(skipped) => {
                count(&checked.intact, 1);
                count(&checked.skipped, skipped);
            }
            Order::Late => {
                count(&checked.intact, 1);
                count(&checked.reordered, 1);
                count(&checked.skipped, 1u64.wrapping_neg());
            }
            Order::Again => count(&checked.duplicated, 1),
        }
        Sent::Taken
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        if self.is_finished() || !self.is_due() {
            return false;
        }
        // Counted before the frame is out, so that it never arrives before it was generated.
        count(&self.generates.generator.frames, 1);
        if let Some(stamps) = &self.generates.stamps {
            stamps.made(self.next, self.clock.now_us());
        }
        self.made.fill(self.next, frame);
        self.next += 1;
        true
    }

    fn is_finished(&self) -> bool {
        self.config.count.is_some_and(|count| self.next >= count) || !self.generates.generator.running.load(Ordering::Relaxed)
    }

    fn is_lossless(&self) -> bool {
        !self.config.flood
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").field("config", &self.config).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
