//! Forwards frames between two devices, both ways, without a copy.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use barewire::sim::wire::traffic::{Flow, FlowTotals, TrafficConfig, pair};
use barewire::{Batch, Config, Device, Error, Host, Port, RxMode, RxQueue, SpecError, Stats, TxQueue};
use clap::Parser;
use common::refused::Refused;
use common::{DRAIN_LIMIT, Drained, Run, finish, longest_mtu, say, warn};

/// Forwards frames between two devices, both ways, until both inputs are over, Ctrl-C, or the end of its time.
///
/// Without devices it makes two simulated 82599 cards with a frame generator and checker at the far end of each wire, which move as they are polled; the same
/// each time, but for when it ends, which --count says in frames. Exit status 1: frames were
/// lost (for whatever reason: too long, received with errors, missed for want of descriptors), corrupted or reordered, a device failed, or what it
/// prints could not be written; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// Two devices: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    #[arg(num_args = 2, value_names = ["A", "B"])]
    devices: Vec<String>,
    /// How long to forward; 5 s without devices and --count, else until the inputs are over
    #[arg(long, value_name = "N", value_parser = common::seconds)]
    seconds: Option<Duration>,
    /// Frames received at once, at most
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Length of the frames that the generators make, without check sequence
    #[arg(long, value_name = "BYTES", default_value_t = 60, conflicts_with = "devices")]
    size: usize,
    /// How many frames each generator makes; without it as many as there is time for
    #[arg(long, value_name = "N", conflicts_with = "devices")]
    count: Option<u64>,
    /// Lets the cards move unevenly, the same each time for the same N
    #[arg(long, value_name = "N", conflicts_with_all = ["devices", "threads"])]
    seed: Option<u64>,
    /// Lets each card move on a thread of its own
    #[arg(long, conflicts_with = "devices")]
    threads: bool,
    /// The longest payload of a frame; without it up to 9710, as both devices take it
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
}

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let is_stepped = args.devices.is_empty() && !args.threads;
    let mut host = if is_stepped { Host::stepped() } else { Host::new() };
    let ([a, b], flows) = match args.devices.as_slice() {
        [a, b] => ([host.open(a)?, host.open(b)?], None),
        _ => with_traffic(&mut host, args).map(|(devices, flows)| (devices, Some(flows)))?,
    };
    let mtu = args.mtu.unwrap_or_else(|| longest_mtu(&[&a, &b]));
    let config = Config::new().mtu(mtu).rx_mode(RxMode::all());
    // Both are open by now, so that they share a pool: each sends what the other received as it would its own.
    let (mut a, mut b) = (a.start(&config)?, b.start(&config)?);
    let mut run = Run::new(args.seconds.or((flows.is_some() && args.count.is_none()).then_some(Duration::from_secs(5))));
    run.wait_for_links(&mut [&mut a, &mut b]);

    let mut ways = Way::both(&mut a, &mut b, args.batch.into());
    let mut outcome = forward(&mut run, &mut ways, &mut a, &mut b, flows.as_ref());
    // What comes from here on is not this run's.
    let end = [a.control.stats(), b.control.stats()];
    let seconds = run.seconds();
    if outcome.is_ok() {
        outcome = drain(&mut run, &mut ways, &mut a, &mut b, &end);
    }
    let totals = [common::totals(end[0], &mut a), common::totals(end[1], &mut b)];
    let ended = finish([a, b], &totals, outcome);
    // The same for the same frames and the same seed; the machine's time is not.
    let simulated_us = is_stepped.then(|| host.clock().now_us());
    let is_whole = print_result(&ways, flows.as_ref(), &totals, seconds, simulated_us);
    ended.map(|()| is_whole)
}

/// Two simulated cards: what the wire of one generates, the wire of the other expects.
fn with_traffic(host: &mut Host, args: &Args) -> Result<([Device; 2], [Arc<Flow>; 2]), Error> {
    let mut config = TrafficConfig::default();
    (config.frame_bytes, config.count) = (args.size, args.count);
    let wrong_size = |error| SpecError::new("--size", format!("{error}"));
    let ([a, b], flows) = pair(&config, host.clock()).map_err(wrong_size)?;
    let card = |number: u64| {
        let seed = args.seed.map_or(String::new(), |seed| format!(",seed={}", seed.wrapping_mul(2).wrapping_add(number)));
        format!("sim:ixgbe,mac=02:00:00:00:00:0{}{seed}", number + 1)
    };
    Ok(([host.plug(&card(0), Box::new(a))?, host.plug(&card(1), Box::new(b))?], flows))
}

/// Forwards until the inputs are over or the run ends.
fn forward(run: &mut Run, ways: &mut [Way; 2], a: &mut Port, b: &mut Port, flows: Option<&[Arc<Flow>; 2]>) -> Result<(), Error> {
    let (mut idle, mut progress) = (false, Instant::now());
    loop {
        if !run.goes_on(&mut [a, b]) {
            match flows {
                // What the generators made is forwarded before it is counted.
                Some(flows) if !run.is_lost() && progress.elapsed() < DRAIN_LIMIT => flows.iter().for_each(|flow| flow.stop()),
                _ => break,
            }
        }
        // Asked before the polls: only then does their finding nothing mean that nothing comes any more.
        let is_over = idle && a.is_input_over() && b.is_input_over();
        let moved = ways[0].forward(usize::MAX)? + ways[1].forward(usize::MAX)?;
        // With frames that wait for the other port in its hands, a way had no room to look for more.
        idle = moved == 0 && ways.iter().all(|way| way.batch.is_empty());
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

/// Forwards what the rings held at the `end`, and waits until all that is on the way has left.
fn drain(run: &mut Run, ways: &mut [Way; 2], a: &mut Port, b: &mut Port, end: &[Stats; 2]) -> Result<(), Error> {
    run.drain(|| {
        let mut is_over = true;
        let mut frames = a.control.stats().tx_packets + b.control.stats().tx_packets;
        for (way, (end, to)) in ways.iter_mut().zip(end.iter().zip([&mut *b, &mut *a])) {
            let left = end.rx_packets.saturating_sub(way.received());
            way.forward(usize::try_from(left).unwrap_or(usize::MAX))?;
            frames += way.received();
            is_over &= way.received() >= end.rx_packets && way.is_sent(to);
        }
        Ok(if is_over { Drained::All } else { Drained::Frames(frames) })
    })
}

/// From one port's receive queue to the other's transmit queue.
struct Way {
    rx: Box<dyn RxQueue>,
    tx: Box<dyn TxQueue>,
    batch: Batch,
    refused: Refused,
    /// The names of the two ports.
    names: [String; 2],
}

impl Way {
    fn both(a: &mut Port, b: &mut Port, batch: usize) -> [Self; 2] {
        let names = [a.name().to_owned(), b.name().to_owned()];
        let (Some((a_rx, a_tx)), Some((b_rx, b_tx))) = (a.take_queues(), b.take_queues()) else { unreachable!("a started port has queues") };
        let there = Self { rx: a_rx, tx: b_tx, batch: Batch::new(batch), refused: Refused::default(), names: names.clone() };
        let [a, b] = names;
        [there, Self { rx: b_rx, tx: a_tx, batch: Batch::new(batch), refused: Refused::default(), names: [b, a] }]
    }

    /// Receives as much as there is room for, `budget` at most, and sends as much as goes. Returns how many frames came or went.
    fn forward(&mut self, budget: usize) -> Result<usize, Error> {
        let received = self.rx.poll(&mut self.batch, budget);
        if received == 0
            && let Some(fault) = self.rx.fault()
        {
            return Err(Error::Queue { device: self.names[0].clone(), fault });
        }
        Ok(received + self.submit()?)
    }

    /// Sends what is in the batch, and drops what cannot be sent. Returns how many frames left the batch.
    fn submit(&mut self) -> Result<usize, Error> {
        let before = self.batch.len();
        let sent = self.tx.submit_or_drop(&mut self.batch, &mut self.refused.drops);
        self.refused.news(&self.names[1]).into_iter().for_each(warn);
        sent.map_err(|fault| Error::Queue { device: self.names[1].clone(), fault })?;
        Ok(before - self.batch.len())
    }

    /// Whether all that was received has left `port`.
    fn is_sent(&mut self, port: &mut Port) -> bool {
        self.batch.is_empty() && port.is_output_over(&mut *self.tx)
    }

    /// How many frames came.
    fn received(&self) -> u64 {
        self.rx.counters().packets
    }
}

/// Prints the last line, and says whether nothing was lost, corrupted or reordered.
fn print_result([there, back]: &[Way; 2], flows: Option<&[Arc<Flow>; 2]>, [a, b]: &[Stats; 2], seconds: f64, simulated_us: Option<u64>) -> bool {
    // What a queue took and the card did not send has not been forwarded.
    let forwarded = there.tx.counters().packets.min(b.tx_packets) + back.tx.counters().packets.min(a.tx_packets);
    let refused = there.refused.frames() + back.refused.frames();
    let missed = a.rx_missed().zip(b.rx_missed()).map_or("unknown".into(), |(a, b)| (a + b).to_string());
    let mpps = forwarded as f64 / seconds / 1e6;
    let Some([into_a, into_b]) = flows.map(|flows| flows.each_ref().map(|flow| flow.totals())) else {
        // Without checkers at the far ends: what was received, and neither sent nor refused, is lost, and so is what the device gave up as wrong.
        let received = there.received().max(a.rx_packets) + back.received().max(b.rx_packets);
        let lost = received.saturating_sub(forwarded + refused) + common::given_up(a) + common::given_up(b);
        say(format_args!("forwarded={forwarded} lost={lost} refused={refused} missed={missed} mpps={mpps:.3}"));
        return lost == 0 && refused == 0 && a.rx_missed_errors + b.rx_missed_errors == 0;
    };
    let lost = (into_a.lost(a.rx_missed_errors) + into_b.lost(b.rx_missed_errors)).saturating_sub(refused);
    let FlowTotals { corrupted, reordered, duplicated, .. } = into_a + into_b;
    if duplicated > 0 {
        warn(format_args!("{duplicated} frames arrived twice"));
    }
    let simulated = simulated_us.map_or(String::new(), |us| format!(" simulated_us={us}"));
    say(format_args!(
        "forwarded={forwarded} lost={lost} corrupted={corrupted} reordered={reordered} refused={refused} missed={missed} mpps={mpps:.3}{simulated}"
    ));
    lost == 0 && refused == 0 && corrupted == 0 && reordered == 0 && duplicated == 0
}
