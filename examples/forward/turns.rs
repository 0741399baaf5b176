//! Forwarding until the end: by the thread that looks after the ports as well, or by a thread for each pair of queues; and what is on the way then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use barewire::sim::wire::traffic::Flow;
use barewire::{Error, Port, Stats, TxQueue};

use crate::common::{DRAIN_LIMIT, Drained, Rest, Run};
use crate::modes::{self, Mode, Used};
use crate::sign::Sign;
use crate::way::{Way, received};

/// How often the thread that looks after the ports does so, where others forward.
const WATCH_EVERY: Duration = Duration::from_millis(1);

/// Forwards with one pair of queues until the inputs are over or the run ends.
pub(crate) fn alone(run: &mut Run, ways: &mut [Way; 2], a: &mut Port, b: &mut Port, flows: Option<&[Arc<Flow>; 2]>) -> Result<(), Error> {
    let (mut idle, mut progress) = (false, Instant::now());
    while may_go_on(run, a, b, flows, progress) {
        // Asked before the polls: only then does their finding nothing mean that nothing comes any more.
        let is_over = idle && a.is_input_over() && b.is_input_over();
        let moved = turn(ways)?;
        idle = is_idle(ways, moved);
        if is_over && idle {
            break;
        }
        if moved > 0 {
            progress = Instant::now();
        }
        run.rest_unless(moved > 0);
    }
    Ok(())
}

/// Whether there is more to do than to drain. What the generators made is forwarded before it is counted.
fn may_go_on(run: &mut Run, a: &mut Port, b: &mut Port, flows: Option<&[Arc<Flow>; 2]>, progress: Instant) -> bool {
    if run.goes_on(&mut [a, b]) {
        return true;
    }
    let waits = !run.is_lost() && progress.elapsed() < DRAIN_LIMIT;
    flows.filter(|_| waits).inspect(|flows| flows.iter().for_each(|flow| flow.stop())).is_some()
}

fn turn(ways: &mut [Way; 2]) -> Result<usize, Error> {
    Ok(ways[0].forward(usize::MAX)? + ways[1].forward(usize::MAX)?)
}

/// Whether there was nothing to do. With frames that wait for the other port in its hands, a way had no room to look for more.
fn is_idle(ways: &[Way; 2], moved: usize) -> bool {
    moved == 0 && ways.iter().all(|way| way.batch.is_empty())
}

/// The same with a thread for each pair of queues.
pub(crate) fn on_threads(run: &mut Run, pairs: &mut [[Way; 2]], a: &mut Port, b: &mut Port, flows: Option<&[Arc<Flow>; 2]>) -> Result<(), Error> {
    watched(run, pairs.iter_mut().collect(), work, a, b, flows).map(|_| ())
}

/// The same with a thread for each direction of each pair, which waits as `mode` says. Returns what the threads took.
pub(crate) fn by_mode(
    run: &mut Run,
    pairs: &mut [[Way; 2]],
    mode: Mode,
    a: &mut Port,
    b: &mut Port,
    flows: Option<&[Arc<Flow>; 2]>,
) -> Result<Used, Error> {
    let work = move |way: &mut Way, sign: &Sign, stop: &AtomicBool, question: &AtomicU64| modes::work(way, mode, sign, stop, question);
    let used = watched(run, pairs.iter_mut().flatten().collect(), work, a, b, flows)?;
    Ok(used.into_iter().fold(Used::default(), Used::and))
}

/// A thread that does `work` for each of `items`, while this one looks after the ports.
fn watched<T: Send, R: Send>(
    run: &mut Run,
    items: Vec<&mut T>,
    work: impl Fn(&mut T, &Sign, &AtomicBool, &AtomicU64) -> Result<R, Error> + Copy + Send,
    a: &mut Port,
    b: &mut Port,
    flows: Option<&[Arc<Flow>; 2]>,
) -> Result<Vec<R>, Error> {
    let signs: Vec<_> = items.iter().map(|_| Sign::default()).collect();
    let (stop, question) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (stop, question) = (&stop, &question);
        let threads: Vec<_> = items.into_iter().zip(&signs).map(|(item, sign)| scope.spawn(move || work(item, sign, stop, question))).collect();
        watch(run, a, b, flows, &signs, question, || threads.iter().any(ScopedJoinHandle::is_finished));
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn work(ways: &mut [Way; 2], sign: &Sign, stop: &AtomicBool, question: &AtomicU64) -> Result<(), Error> {
    let (mut rest, mut all) = (Rest::default(), 0);
    while !stop.load(Ordering::Relaxed) {
        // Read before the polls, as the question was asked before them.
        let asked = question.load(Ordering::Acquire);
        let moved = turn(ways)?;
        if moved > 0 {
            all += moved as u64;
            sign.moved(all);
        }
        if is_idle(ways, moved) {
            sign.idle(asked);
        }
        rest.unless(moved > 0);
    }
    Ok(())
}

/// Looks after the ports until the inputs are over and all threads idle, the run ends, or a thread has ended by itself.
fn watch(
    run: &mut Run,
    a: &mut Port,
    b: &mut Port,
    flows: Option<&[Arc<Flow>; 2]>,
    signs: &[Sign],
    question: &AtomicU64,
    has_ended: impl Fn() -> bool,
) {
    let all_moved = || signs.iter().map(Sign::all_moved).sum::<u64>();
    let (mut seen, mut progress) = (0, Instant::now());
    // How many frames had moved before the inputs were found to be over.
    let mut over_at = None;
    while !has_ended() && may_go_on(run, a, b, flows, progress) {
        if std::mem::replace(&mut seen, all_moved()) != seen {
            progress = Instant::now();
        }
        let asked = question.load(Ordering::Relaxed);
        let is_answered = signs.iter().all(|sign| sign.was_idle_since(asked));
        match over_at {
            // A card that had no descriptors for one queue holds frames of others back: only where none of them has moved a frame meanwhile is there none left.
            Some(moved) if is_answered && moved == all_moved() => break,
            Some(_) if !is_answered => {}
            _ => {
                let moved = all_moved();
                over_at = (a.is_input_over() && b.is_input_over()).then(|| {
                    question.store(asked + 1, Ordering::Release);
                    moved
                });
            }
        }
        thread::sleep(WATCH_EVERY);
    }
}

/// Forwards what the rings held at the `end`, and waits until all that is on the way has left.
pub(crate) fn drain(run: &mut Run, pairs: &mut [[Way; 2]], a: &mut Port, b: &mut Port, end: &[Stats; 2]) -> Result<(), Error> {
    run.drain(|| {
        let mut is_over = true;
        let mut frames = a.control.stats().tx_packets + b.control.stats().tx_packets;
        for (direction, (end, to)) in end.iter().zip([&mut *b, &mut *a]).enumerate() {
            for index in 0..pairs.len() {
                let left = end.rx_packets.saturating_sub(received(pairs, direction));
                pairs[index][direction].forward(usize::try_from(left).unwrap_or(usize::MAX))?;
            }
            frames += received(pairs, direction);
            is_over &= received(pairs, direction) >= end.rx_packets && are_sent(pairs, direction, to);
        }
        Ok(if is_over { Drained::All } else { Drained::Frames(frames) })
    })
}

/// Whether all that was received has left the port at the other end.
fn are_sent(pairs: &mut [[Way; 2]], direction: usize, to: &mut Port) -> bool {
    let is_empty = pairs.iter().all(|ways| ways[direction].batch.is_empty());
    let mut queues: Vec<&mut dyn TxQueue> = pairs.iter_mut().map(|ways| &mut *ways[direction].out.tx as _).collect();
    is_empty && to.are_outputs_over(&mut queues)
}
