//! A bad wire: loss, duplication, reordering and delay, the same each time for the same seed.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driver_core::host::Clock;

use super::random::{GOLDEN, Random};
use super::{Sent, Wire, WireError};

/// Frames that a direction holds back at most. Beyond, sending is [`Sent::Busy`] and arriving frames stay in the wire inside.
const LINE_FRAMES: usize = 1024;
/// Frames that are taken from the wire inside in one call.
const ARRIVALS_AT_ONCE: usize = 64;
/// A reordered frame lets one to this many others pass.
const MAX_OVERTAKERS: u64 = 4;
/// A reordered frame that nobody overtakes goes on after this long.
const HOLD_US: u64 = 1000;

/// How bad a wire is. Probabilities are per frame, from 0 to 1, and hold for both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ImpairConfig {
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Probability that a frame is held back until one to four later ones have overtaken it (at most a millisecond).
    pub reorder: f64,
    /// Delay of every frame in microseconds.
    pub delay_us: u64,
    /// The same seed and the same frames give the same impairments.
    pub seed: u64,
}

impl Default for ImpairConfig {
    /// A good wire; seed 1.
    fn default() -> Self {
        Self { loss: 0.0, duplicate: 0.0, reorder: 0.0, delay_us: 0, seed: 1 }
    }
}

impl ImpairConfig {
    /// Whether it changes anything.
    pub fn is_good(&self) -> bool {
        self.loss == 0.0 && self.duplicate == 0.0 && self.reorder == 0.0 && self.delay_us == 0
    }

    fn check(&self) -> Result<(), WireError> {
        for (name, p) in [("loss", self.loss), ("dup", self.duplicate), ("reorder", self.reorder)] {
            if !(0.0..=1.0).contains(&p) {
                return Err(WireError::option(format!("{name}={p}: a probability is a number from 0 to 1, for instance {name}=0.01")));
            }
        }
        Ok(())
    }
}

/// What was done to the frames of one direction.
#[derive(Debug, Default)]
pub struct ImpairCounters {
    lost: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
}

impl ImpairCounters {
    /// Frames lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
    /// Frames that arrived twice.
    pub fn duplicated(&self) -> u64 {
        self.duplicated.load(Ordering::Relaxed)
    }
    /// Frames that others overtook.
    pub fn reordered(&self) -> u64 {
        self.reordered.load(Ordering::Relaxed)
    }
}

/// A wire that spoils what passes over the wire inside.
///
/// Frames held back go on when [`Wire::send`], [`Wire::receive`] or [`Wire::flush`] is called at or after their time; `flush` lets
/// go of all that leave the card.
pub struct Impair {
    inner: Box<dyn Wire>,
    clock: Arc<dyn Clock>,
    out: Line,
    into: Line,
}

impl Impair {
    /// `inner`, spoilt as `config` says, with the time of `clock`.
    ///
    /// # Errors
    /// A probability that is not from 0 to 1.
    pub fn new(inner: Box<dyn Wire>, clock: Arc<dyn Clock>, config: ImpairConfig) -> Result<Self, WireError> {
        config.check()?;
        // Each direction draws from a sequence of its own, so that the result does not depend on how sends and receives interleave.
        let out = Line::new(config, config.seed);
        let into = Line::new(config, config.seed ^ GOLDEN.rotate_left(32));
        Ok(Self { inner, clock, out, into })
    }

    /// What was done to the frames that left the card.
    pub fn sent_counters(&self) -> Arc<ImpairCounters> {
        self.out.counters.clone()
    }
    /// What was done to the frames that came to the card.
    pub fn received_counters(&self) -> Arc<ImpairCounters> {
        self.into.counters.clone()
    }

    /// Hands frames whose time has come to the wire inside, as far as it takes them.
    fn pass_on(&mut self, now_us: u64) {
        self.out.let_go(now_us);
        while let Some(frame) = self.out.due(now_us) {
            if self.inner.send(frame) == Sent::Busy {
                return;
            }
            self.out.done();
        }
    }
}

impl Wire for Impair {
    fn send(&mut self, frame: &[u8]) -> Sent {
        let now_us = self.clock.now_us();
        self.pass_on(now_us);
        if self.out.is_full() {
            return Sent::Busy;
        }
        self.out.admit(now_us, |buffer| buffer.extend_from_slice(frame));
        self.pass_on(now_us);
        Sent::Taken
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        let now_us = self.clock.now_us();
        self.pass_on(now_us);
        // Bounded, because a wire that never runs dry may lose every frame here.
        for _ in 0..ARRIVALS_AT_ONCE {
            self.into.let_go(now_us);
            if self.into.take_due(now_us, frame) {
                return true;
            }
            if self.into.is_full() || !self.inner.receive(frame) {
                return false;
            }
            self.into.admit(now_us, |buffer| std::mem::swap(buffer, frame));
        }
        self.into.take_due(now_us, frame)
    }

    fn carrier(&self) -> bool {
        self.inner.carrier()
    }
    fn is_finished(&self) -> bool {
        self.inner.is_finished() && self.into.is_empty()
    }
    fn is_gone(&self) -> bool {
        self.inner.is_gone()
    }
    fn is_lossless(&self) -> bool {
        self.inner.is_lossless()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        if self.out.is_empty() && self.into.is_empty() { self.inner.fd() } else { None }
    }

    fn error(&self) -> Option<WireError> {
        self.inner.error()
    }

    fn flush(&mut self) -> Result<(), WireError> {
        self.pass_on(u64::MAX);
        self.inner.flush()
    }
}

impl fmt::Debug for Impair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Impair").field("out", &self.out).field("into", &self.into).finish_non_exhaustive()
    }
}

/// One direction: the frames on their way, in the order in which they will arrive.
struct Line {
    config: ImpairConfig,
    random: Random,
    queue: VecDeque<Held>,
    overtaken: Option<Overtaken>,
    spare: Vec<Vec<u8>>,
    counters: Arc<ImpairCounters>,
}

struct Held {
    frame: Vec<u8>,
    due_us: u64,
}

/// The frame that others overtake: how many have, and how many still shall.
struct Overtaken {
    held: Held,
    passed: u64,
    left: u64,
}

impl Line {
    fn new(config: ImpairConfig, seed: u64) -> Self {
        let random = Random::new(seed);
        Self { config, random, queue: VecDeque::new(), overtaken: None, spare: Vec::new(), counters: Arc::default() }
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.overtaken.is_none()
    }
    /// A frame may become two, and the overtaken one joins the queue as well.
    fn is_full(&self) -> bool {
        self.queue.len() + 3 > LINE_FRAMES
    }

    /// Draws a frame's fate. Each frame draws four times whatever comes out, so that one impairment does not shift the others.
    fn admit(&mut self, now_us: u64, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.clear();
        fill(&mut frame);
        let lost = self.random.chance(self.config.loss);
        let twice = self.random.chance(self.config.duplicate);
        let overtaken = self.random.chance(self.config.reorder);
        let overtakers = 1 + self.random.next() % MAX_OVERTAKERS;
        if lost {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
            self.spare.push(frame);
            return;
        }
        let due_us = now_us.saturating_add(self.config.delay_us);
        let copy = twice.then(|| {
            self.counters.duplicated.fetch_add(1, Ordering::Relaxed);
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.clone_from(&frame);
            copy
        });
        if overtaken && copy.is_none() && self.overtaken.is_none() {
            let held = Held { frame, due_us: due_us.saturating_add(HOLD_US) };
            self.overtaken = Some(Overtaken { held, passed: 0, left: overtakers });
            return;
        }
        self.queue.push_back(Held { frame, due_us });
        self.queue.extend(copy.map(|frame| Held { frame, due_us }));
        self.overtake(due_us);
    }

    /// One more frame has passed the held-back one; after the last of them it follows.
    fn overtake(&mut self, due_us: u64) {
        let Some(overtaken) = &mut self.overtaken else { return };
        overtaken.passed += 1;
        overtaken.left -= 1;
        if overtaken.left == 0 {
            overtaken.held.due_us = due_us;
            self.let_go(due_us);
        }
    }

    /// A held-back frame whose patience is over follows what has passed it.
    fn let_go(&mut self, now_us: u64) {
        if let Some(overtaken) = self.overtaken.take_if(|overtaken| overtaken.held.due_us <= now_us) {
            self.counters.reordered.fetch_add(u64::from(overtaken.passed > 0), Ordering::Relaxed);
            self.queue.push_back(overtaken.held);
        }
    }

    /// The first frame, if its time has come.
    fn due(&self, now_us: u64) -> Option<&[u8]> {
        self.queue.front().filter(|held| held.due_us <= now_us).map(|held| held.frame.as_slice())
    }
    fn done(&mut self) {
        self.spare.extend(self.queue.pop_front().map(|held| held.frame));
    }
    fn take_due(&mut self, now_us: u64, frame: &mut Vec<u8>) -> bool {
        if self.due(now_us).is_none() {
            return false;
        }
        if let Some(first) = self.queue.front_mut() {
            std::mem::swap(frame, &mut first.frame);
        }
        self.done();
        true
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("config", &self.config).field("on_the_way", &self.queue.len()).field("counters", &self.counters).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::peer;
    use crate::wire::testing::ManualClock;

    const FRAMES: u32 = 10_000;

    fn frame(number: u32) -> [u8; 60] {
        let mut frame = [0; 60];
        frame[..4].copy_from_slice(&number.to_le_bytes());
        frame
    }
    fn number(frame: &[u8]) -> u32 {
        u32::from_le_bytes(frame[..4].try_into().unwrap())
    }

    /// Sends `FRAMES` through the impaired direction (into the card, or out of it); gives what arrived, and (lost, duplicated, reordered).
    fn run(config: ImpairConfig, into: bool) -> (Vec<u32>, [u64; 3]) {
        let clock = ManualClock::new();
        let (near, mut far) = peer::pair(usize::MAX);
        let mut wire = Impair::new(Box::new(near), clock.clone(), config).unwrap();
        let (mut arrived, mut buffer) = (Vec::new(), Vec::new());
        for step in 0..FRAMES + 100 {
            if step < FRAMES {
                let sent = if into { far.send(&frame(step)) } else { wire.send(&frame(step)) };
                assert_eq!(sent, Sent::Taken);
            }
            // The card polls in any case.
            while wire.receive(&mut buffer) {
                arrived.push(number(&buffer));
            }
            while far.receive(&mut buffer) {
                arrived.push(number(&buffer));
            }
            clock.sleep_us(100);
        }
        let counters = if into { wire.received_counters() } else { wire.sent_counters() };
        (arrived, [counters.lost(), counters.duplicated(), counters.reordered()])
    }

    #[test]
    fn a_good_wire_changes_nothing() {
        for into in [false, true] {
            let (arrived, counters) = run(ImpairConfig::default(), into);
            assert!(arrived.into_iter().eq(0..FRAMES));
            assert_eq!(counters, [0; 3]);
        }
    }

    #[test]
    fn loss_both_ways() {
        for into in [false, true] {
            let (arrived, [lost, duplicated, reordered]) = run(ImpairConfig { loss: 0.1, ..Default::default() }, into);
            assert!((800..1200).contains(&lost), "{lost} of {FRAMES} at 0.1");
            assert_eq!([duplicated, reordered], [0, 0]);
            assert_eq!(arrived.len() as u64 + lost, u64::from(FRAMES));
            assert!(arrived.is_sorted());
        }
    }

    #[test]
    fn every_frame_lost_ends_the_call() {
        let (arrived, counters) = run(ImpairConfig { loss: 1.0, ..Default::default() }, true);
        assert!(arrived.is_empty());
        assert_eq!(counters[0], u64::from(FRAMES));
    }

    #[test]
    fn duplication_both_ways() {
        for into in [false, true] {
            let (mut arrived, [lost, duplicated, reordered]) = run(ImpairConfig { duplicate: 0.1, ..Default::default() }, into);
            assert!((800..1200).contains(&duplicated), "{duplicated} of {FRAMES} at 0.1");
            assert_eq!([lost, reordered], [0, 0]);
            assert_eq!(arrived.len() as u64, u64::from(FRAMES) + duplicated);
            assert!(arrived.is_sorted());
            arrived.dedup();
            assert!(arrived.into_iter().eq(0..FRAMES));
        }
    }

    #[test]
    fn reordering_both_ways() {
        for into in [false, true] {
            let (mut arrived, [lost, duplicated, reordered]) = run(ImpairConfig { reorder: 0.1, ..Default::default() }, into);
            assert!((600..1200).contains(&reordered), "{reordered} of {FRAMES} at 0.1");
            assert_eq!([lost, duplicated], [0, 0]);
            let late = arrived.iter().scan(0, |top, &n| Some(std::mem::replace(top, n.max(*top)) > n)).filter(|late| *late).count();
            assert_eq!(late as u64, reordered);
            let overtakers = |at: usize| arrived[at.saturating_sub(16)..at].iter().filter(|n| **n > arrived[at]).count() as u64;
            let most = (0..arrived.len()).map(overtakers).max();
            assert_eq!(most, Some(MAX_OVERTAKERS), "one to four frames overtake");
            arrived.sort_unstable();
            assert!(arrived.into_iter().eq(0..FRAMES), "nothing is lost or doubled");
        }
    }

    #[test]
    fn a_reordered_last_frame_arrives_all_the_same() {
        let clock = ManualClock::new();
        let (near, mut far) = peer::pair(4);
        let mut wire = Impair::new(Box::new(near), clock.clone(), ImpairConfig { reorder: 1.0, ..Default::default() }).unwrap();
        let mut buffer = Vec::new();
        assert_eq!([wire.send(&frame(1)), far.send(&frame(2))], [Sent::Taken; 2]);
        assert!(!wire.receive(&mut buffer) && !far.receive(&mut buffer));
        clock.sleep_us(HOLD_US);
        assert!(wire.receive(&mut buffer));
        assert_eq!(number(&buffer), 2);
        assert!(far.receive(&mut buffer));
        assert_eq!(number(&buffer), 1);
        assert_eq!((wire.sent_counters().reordered(), wire.received_counters().reordered()), (0, 0), "nobody overtook them");
    }

    #[test]
    fn delay_both_ways() {
        let clock = ManualClock::new();
        let (near, mut far) = peer::pair(4);
        let mut wire = Impair::new(Box::new(near), clock.clone(), ImpairConfig { delay_us: 500, ..Default::default() }).unwrap();
        let mut buffer = Vec::new();
        assert_eq!([wire.send(&frame(1)), far.send(&frame(2))], [Sent::Taken; 2]);
        assert!(!wire.receive(&mut buffer) && !far.receive(&mut buffer));
        clock.sleep_us(499);
        assert!(!wire.receive(&mut buffer) && !far.receive(&mut buffer));
        clock.sleep_us(1);
        assert!(wire.receive(&mut buffer) && far.receive(&mut buffer));
    }

    #[test]
    fn a_full_line_is_busy_and_flush_empties_it() {
        let (near, mut far) = peer::pair(usize::MAX);
        let mut wire = Impair::new(Box::new(near), ManualClock::new(), ImpairConfig { delay_us: 1, ..Default::default() }).unwrap();
        let taken = (0..5000).take_while(|&n| wire.send(&frame(n)) == Sent::Taken).count();
        assert!((1000..=LINE_FRAMES).contains(&taken), "{taken}");
        wire.flush().unwrap();
        let mut buffer = Vec::new();
        let arrived = std::iter::from_fn(|| far.receive(&mut buffer).then(|| number(&buffer)));
        assert!(arrived.eq(0..taken as u32));
    }

    #[test]
    fn the_same_seed_does_the_same() {
        let bad = ImpairConfig { loss: 0.05, duplicate: 0.05, reorder: 0.05, delay_us: 250, seed: 42 };
        assert_eq!(run(bad, true), run(bad, true));
        assert_ne!(run(bad, true).0, run(bad, false).0, "the directions differ");
        assert_ne!(run(bad, true).0, run(ImpairConfig { seed: 43, ..bad }, true).0);
    }

    #[test]
    fn probabilities_are_checked() {
        for loss in [-0.1, 1.1, f64::NAN] {
            let (near, _far) = peer::pair(4);
            let error = Impair::new(Box::new(near), ManualClock::new(), ImpairConfig { loss, ..Default::default() }).unwrap_err();
            assert!(error.to_string().contains("a number from 0 to 1"), "{error}");
        }
    }
}
