//! What the three threads do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use barewire::{Batch, Error, Frame, RxQueue, TxQueue};

use super::circle::Station;
use super::common::refused::Refused;
use super::common::{DRAIN_LIMIT, Rest, warn};

/// What the thread that watches over the others and the receiver tell each other.
pub(crate) struct Shared {
    /// The receiver ends when it has taken so many frames.
    frames: AtomicU64,
    /// Its polls that found nothing.
    idle: AtomicU64,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self { frames: AtomicU64::new(u64::MAX), idle: AtomicU64::new(0) }
    }

    /// Ends the run behind its first `frames` frames.
    pub(crate) fn end_after(&self, frames: u64) {
        self.frames.store(frames, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.frames.load(Ordering::Relaxed) < u64::MAX
    }

    /// How many polls have found nothing.
    pub(crate) fn idle(&self) -> u64 {
        self.idle.load(Ordering::Acquire)
    }
}

/// For how long a stage waits for what may never come, once the run is over.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    fn is_over(&mut self, shared: &Shared, moved: bool) -> bool {
        if moved || !shared.is_ending() {
            self.0 = None;
        }
        shared.is_ending() && self.0.get_or_insert_with(Instant::now).elapsed() > DRAIN_LIMIT
    }
}

/// The first thread: frames out of a receive queue.
pub(crate) struct Receiver {
    pub(crate) rx: Box<dyn RxQueue>,
    station: Option<Station>,
    /// As many as a batch has room for.
    frames: usize,
    name: String,
}

impl Receiver {
    pub(crate) fn new(rx: Box<dyn RxQueue>, station: Station, frames: usize, name: &str) -> Self {
        Self { rx, station: Some(station), frames, name: name.into() }
    }

    /// Receives until the run's last frame came, or none of them for some time, or nobody takes them.
    pub(crate) fn run(&mut self, shared: &Shared) -> Result<(), Error> {
        let Some(mut station) = self.station.take() else { return Ok(()) };
        let (mut rest, mut patience) = (Rest::default(), Patience::default());
        // Frames that were received, before they go on, and buffers for those to come.
        let mut home = Batch::new(self.frames);
        let mut spare: Vec<Box<Batch>> = Vec::new();
        while !station.is_cut_off() {
            let left = shared.frames.load(Ordering::Relaxed).saturating_sub(self.rx.counters().packets);
            if left == 0 {
                break;
            }
            // Without a batch it is held back: the others have them all, and frames wait in the card's ring.
            let Some(mut batch) = spare.pop().or_else(|| station.take()) else {
                rest.unless(false);
                continue;
            };
            if self.rx.poll(&mut home, usize::try_from(left).unwrap_or(usize::MAX)) > 0 {
                batch.take_from(&mut home);
                station.pass(batch);
                rest.unless(true);
                patience = Patience::default();
                continue;
            }
            spare.push(batch);
            if home.cache().is_empty() {
                // Perhaps the pool has no buffer either, and the batches have them all.
                spare.extend(std::iter::from_fn(|| station.take()));
                spare.iter_mut().for_each(|batch| batch.release_spares());
            }
            if let Some(fault) = self.rx.fault() {
                return Err(Error::Queue { device: self.name.clone(), fault });
            }
            shared.idle.fetch_add(1, Ordering::Release);
            // Frames that the card counted and that do not come: its driver has dropped them.
            if patience.is_over(shared, false) {
                break;
            }
            rest.unless(false);
        }
        Ok(())
    }
}

/// The second thread: a look into each frame.
pub(crate) struct Worker {
    station: Option<Station>,
    pub(crate) seen: Seen,
}

impl Worker {
    pub(crate) fn new(station: Station) -> Self {
        Self { station: Some(station), seen: Seen::default() }
    }

    /// Works until the receiver is gone and its last frame was passed on, or nobody takes them.
    pub(crate) fn run(&mut self) {
        let Some(mut station) = self.station.take() else { return };
        let mut rest = Rest::default();
        while !station.is_over() && !station.is_cut_off() {
            let batch = station.take();
            rest.unless(batch.is_some());
            if let Some(batch) = batch {
                batch.frames().iter().for_each(|frame| self.seen.count(frame));
                station.pass(batch);
            }
        }
    }
}

/// Frames by what they carry.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    arp: u64,
    ipv4: u64,
    ipv6: u64,
    other: u64,
}

impl Seen {
    fn count(&mut self, frame: &Frame) {
        let ether_type = frame.data().get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        *match ether_type {
            Some(0x0806) => &mut self.arp,
            Some(0x0800) => &mut self.ipv4,
            Some(0x86dd) => &mut self.ipv6,
            _ => &mut self.other,
        } += 1;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arp, ipv4, ipv6, other } = self;
        write!(f, "seen: arp={arp} ipv4={ipv4} ipv6={ipv6} other={other}")
    }
}

/// The third thread: frames into a transmit queue.
pub(crate) struct Transmitter {
    pub(crate) tx: Box<dyn TxQueue>,
    station: Option<Station>,
    pub(crate) refused: Refused,
    /// As many as a batch has room for.
    frames: usize,
    name: String,
}

impl Transmitter {
    pub(crate) fn new(tx: Box<dyn TxQueue>, station: Station, frames: usize, name: &str) -> Self {
        Self { tx, station: Some(station), refused: Refused::default(), frames, name: name.into() }
    }

    /// Transmits until the worker is gone and its last frame was taken. What has no room when the run is over, and gets none, is given up.
    pub(crate) fn run(&mut self, shared: &Shared) -> Result<(), Error> {
        let Some(mut station) = self.station.take() else { return Ok(()) };
        let (mut rest, mut patience) = (Rest::default(), Patience::default());
        // Frames that wait for room, and buffers of those that were sent.
        let mut home = Batch::new(self.frames);
        while !station.is_over() {
            let Some(mut batch) = station.take() else {
                rest.unless(false);
                continue;
            };
            home.take_from(&mut batch);
            station.pass(batch);
            while !home.is_empty() {
                let before = home.len();
                let sent = self.tx.submit_or_drop(&mut home, &mut self.refused.drops);
                self.refused.news(&self.name).into_iter().for_each(warn);
                sent.map_err(|fault| Error::Queue { device: self.name.clone(), fault })?;
                let moved = home.len() < before;
                rest.unless(moved);
                if patience.is_over(shared, moved) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
