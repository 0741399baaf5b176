//! Forwards frames from one device to another by three threads: one receives, one works on the frames, one transmits. Their order stays.

mod circle;
#[path = "../common/mod.rs"]
mod common;
mod stages;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use barewire::sim::wire::traffic::{Flow, TrafficConfig, pair};
use barewire::{Config, Device, Error, Host, Port, RxMode, SpecError, Stats};
use circle::circle;
use clap::Parser;
use common::{DRAIN_LIMIT, Drained, Run, finish, longest_mtu, say, warn};
use stages::{Receiver, Seen, Shared, Transmitter, Worker};

/// Forwards what one device receives out of another, by three threads: one receives, one looks into each frame, one transmits. Until the input is over, Ctrl-C,
/// or the end of its time.
///
/// Without devices it makes two simulated 82599 cards, with a frame generator at the far end of the first one's wire and a checker at the second's. Exit status 1:
/// frames were lost (for whatever reason: too long, received with errors, missed for want of descriptors), corrupted or reordered, a device failed, or what it
/// prints could not be written; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// Where frames come from and where they go: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    #[arg(num_args = 2, value_names = ["FROM", "TO"])]
    devices: Vec<String>,
    /// How long to forward; 5 s without devices, else until the input is over
    #[arg(long, value_name = "N", value_parser = common::seconds)]
    seconds: Option<Duration>,
    /// Frames of a batch, at most
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Batches on their way round the threads: where all of them wait to be sent, nothing is received
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batches: u16,
    /// Length of the frames that the generator makes, without check sequence
    #[arg(long, value_name = "BYTES", default_value_t = 60, conflicts_with = "devices")]
    size: usize,
    /// The longest payload of a frame; without it up to 9710, as both devices take it
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
}

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let mut host = Host::new();
    let ([from, to], flow) = match args.devices.as_slice() {
        [from, to] => ([host.open(from)?, host.open(to)?], None),
        _ => with_traffic(&mut host, args.size).map(|(devices, flow)| (devices, Some(flow)))?,
    };
    let mtu = args.mtu.unwrap_or_else(|| longest_mtu(&[&from, &to]));
    let config = Config::new().mtu(mtu);
    // Both are open by now, so that they share a pool: one sends what the other received as it would its own.
    let (mut from, mut to) = (from.start(&config.clone().rx_mode(RxMode::all()))?, to.start(&config)?);
    let mut run = Run::new(args.seconds.or(flow.is_some().then_some(Duration::from_secs(5))));
    run.wait_for_links(&mut [&mut from, &mut to]);

    let (Some((rx, _tx)), Some((_rx, tx))) = (from.take_queues(), to.take_queues()) else { unreachable!("a started port has queues") };
    let shared = Shared::new();
    let frames = usize::from(args.batch);
    let [receiving, working, sending] = circle(args.batches.into(), frames);
    let mut receiver = Receiver::new(rx, receiving, frames, from.name());
    let mut worker = Worker::new(working);
    let mut transmitter = Transmitter::new(tx, sending, frames, to.name());
    let (outcome, end, seconds) = std::thread::scope(|scope| {
        // Each gives its station up when it ends, which ends the next.
        let receives = scope.spawn(|| receiver.run(&shared));
        let works = scope.spawn(|| worker.run());
        let sends = scope.spawn(|| transmitter.run(&shared));
        watch(&mut run, &mut from, &mut to, flow.as_deref(), &shared, || receives.is_finished() || sends.is_finished());
        // What comes from here on is not this run's.
        let (end, seconds) = ([from.control.stats(), to.control.stats()], run.seconds());
        shared.end_after(if run.is_lost() { 0 } else { end[0].rx_packets });
        let ended = [receives.join(), works.join().map(Ok), sends.join()].map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (ended.into_iter().collect::<Result<(), _>>(), end, seconds)
    });
    let outcome = outcome.and_then(|()| drain(&mut run, &mut to, &mut transmitter));
    let seen = worker.seen;
    let totals = [common::totals(end[0], &mut from), common::totals(end[1], &mut to)];
    let ended = finish([from, to], &totals, outcome);
    let is_whole = print_result(&receiver, &transmitter, seen, flow.as_deref(), &totals, seconds);
    ended.map(|()| is_whole)
}

/// Two simulated cards: what the wire of the first generates, the wire of the other expects.
fn with_traffic(host: &mut Host, frame_bytes: usize) -> Result<([Device; 2], Arc<Flow>), Error> {
    let mut config = TrafficConfig::default();
    config.frame_bytes = frame_bytes;
    let wrong_size = |error| SpecError::new("--size", format!("{error}"));
    let ([from, to], [flow, back]) = pair(&config, host.clock()).map_err(wrong_size)?;
    back.stop(); // one way
    let from = host.plug("sim:ixgbe,mac=02:00:00:00:00:01", Box::new(from))?;
    let to = host.plug("sim:ixgbe,mac=02:00:00:00:00:02", Box::new(to))?;
    Ok(([from, to], flow))
}

/// Looks after the ports until the input is over, the run ends, or a stage has ended by itself.
fn watch(run: &mut Run, from: &mut Port, to: &mut Port, flow: Option<&Flow>, shared: &Shared, has_ended: impl Fn() -> bool) {
    let (mut over_at, mut stopped) = (None, None);
    while !has_ended() {
        if !run.goes_on(&mut [from, to]) {
            let since = stopped.get_or_insert_with(Instant::now);
            match flow {
                // What the generator made is forwarded before it is counted.
                Some(flow) if !run.is_lost() && since.elapsed() < DRAIN_LIMIT => flow.stop(),
                _ => break,
            }
        }
        if from.is_input_over() {
            // Of two more polls that find nothing the second began after the question.
            let idle = shared.idle();
            if idle >= *over_at.get_or_insert(idle) + 2 {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until all that the transmit queue took has left.
fn drain(run: &mut Run, to: &mut Port, transmitter: &mut Transmitter) -> Result<(), Error> {
    run.drain(|| {
        let is_over = to.is_output_over(&mut *transmitter.tx);
        Ok(if is_over { Drained::All } else { Drained::Frames(to.control.stats().tx_packets) })
    })
}

/// Prints the last lines, and says whether nothing was lost, corrupted or reordered.
fn print_result(from: &Receiver, to: &Transmitter, seen: Seen, flow: Option<&Flow>, [a, b]: &[Stats; 2], seconds: f64) -> bool {
    say(seen);
    // What a queue took and the card did not send has not been forwarded.
    let forwarded = to.tx.counters().packets.min(b.tx_packets);
    let refused = to.refused.frames();
    let missed = a.rx_missed().map_or("unknown".into(), |missed| missed.to_string());
    let mpps = forwarded as f64 / seconds / 1e6;
    let Some(totals) = flow.map(Flow::totals) else {
        // Without a checker at the far end: what was received, and neither sent nor refused, is lost, and so is what the device gave up as wrong.
        let received = from.rx.counters().packets.max(a.rx_packets);
        let lost = received.saturating_sub(forwarded + refused) + common::given_up(a);
        say(format_args!("forwarded={forwarded} lost={lost} refused={refused} missed={missed} mpps={mpps:.3}"));
        return lost == 0 && refused == 0 && a.rx_missed_errors == 0;
    };
    let lost = totals.lost(a.rx_missed_errors).saturating_sub(refused);
    if totals.duplicated > 0 {
        warn(format_args!("{} frames arrived twice", totals.duplicated));
    }
    let (corrupted, reordered) = (totals.corrupted, totals.reordered);
    say(format_args!(
        "forwarded={forwarded} lost={lost} corrupted={corrupted} reordered={reordered} refused={refused} missed={missed} mpps={mpps:.3}"
    ));
    lost == 0 && refused == 0 && corrupted == 0 && reordered == 0 && totals.duplicated == 0
}
