//! Forwards frames between two devices, both ways, without a copy.

#[path = "../common/mod.rs"]
mod common;
mod modes;
mod sign;
mod turns;
mod way;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use barewire::sim::wire::traffic::{Flow, FlowTotals, TrafficConfig, pair};
use barewire::{Config, Device, Error, Host, RxMode, SpecError, Stats};
use clap::{Parser, ValueEnum};
use common::{Run, finish, longest_mtu, say, warn};
use modes::{Mode, Used};
use way::{Way, received};

/// Flows for each queue that the generators make unless told otherwise.
const FLOWS_A_QUEUE: u16 = 32;

/// Forwards frames between two devices, both ways, until both inputs are over, Ctrl-C, or the end of its time.
///
/// Without devices it makes two simulated 82599 cards with a frame generator and checker at the far end of each wire, which move as they are polled; the same
/// each time, but for when it ends, which --count says in frames. With --queues their frames are of many flows, which the cards spread over their queues by
/// hash (RSS), and each flow is checked for its own order. Exit status 1: frames were lost (for whatever reason: too long, received with errors, missed for want
/// of descriptors), corrupted or reordered, a device failed, or what it prints could not be written; 2: wrong usage.
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
    #[arg(long, value_name = "N", conflicts_with_all = ["devices", "threads", "queues"])]
    seed: Option<u64>,
    /// Lets each card move on a thread of its own
    #[arg(long, conflicts_with = "devices")]
    threads: bool,
    /// Receive and transmit queues of each device. Each pair has a thread of its own, and so has each simulated card then: threads are not the same each time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: u16,
    /// How many flows the generators make, of UDP over IPv4, each with an order of its own; without it 32 a queue, or frames of no protocol with one queue
    #[arg(long, value_name = "N", conflicts_with = "devices", value_parser = clap::value_parser!(u16).range(1..=64_511))]
    flows: Option<u16>,
    /// How each queue's thread waits for frames; reports the processors' time, and with generators the frames' latency
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// How many frames a second each generator makes; without it as fast as the card takes them
    #[arg(long, value_name = "N", conflicts_with = "devices", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Lets the devices put segments of a TCP connection together: each such frame is sent as one, and cut by the device that sends it, or by software
    #[arg(long, requires = "devices")]
    coalescing: bool,
    /// The longest payload of a frame; without it up to 9710, as both devices take it
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
}

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let is_stepped = args.devices.is_empty() && !args.threads && args.queues == 1 && args.mode.is_none();
    let mut host = if is_stepped { Host::stepped() } else { Host::new() };
    let ([a, b], flows) = match args.devices.as_slice() {
        [a, b] => ([host.open(a)?, host.open(b)?], None),
        _ => with_traffic(&mut host, args).map(|(devices, flows)| (devices, Some(flows)))?,
    };
    let mtu = args.mtu.unwrap_or_else(|| longest_mtu(&[&a, &b]));
    let config = Config::new().mtu(mtu).rx_mode(RxMode::all()).rx_queues(args.queues).tx_queues(args.queues);
    let config = config.interrupts(args.mode.is_some_and(|mode| mode != Mode::Poll)).rx_coalescing(args.coalescing);
    // Both are open by now, so that they share a pool: each sends what the other received as it would its own.
    let (mut a, mut b) = (a.start(&config)?, b.start(&config)?);
    let mut run = Run::new(args.seconds.or((flows.is_some() && args.count.is_none()).then_some(Duration::from_secs(5))));
    run.wait_for_links(&mut [&mut a, &mut b]);

    let mut pairs = Way::pairs(&mut a, &mut b, args.batch.into());
    let mut used = None;
    let mut outcome = match (&mut pairs[..], args.mode) {
        (pairs, Some(mode)) => turns::by_mode(&mut run, pairs, mode, &mut a, &mut b, flows.as_ref()).map(|threads| used = Some((mode, threads))),
        ([ways], None) => turns::alone(&mut run, ways, &mut a, &mut b, flows.as_ref()),
        (pairs, None) => turns::on_threads(&mut run, pairs, &mut a, &mut b, flows.as_ref()),
    };
    // What comes from here on is not this run's.
    let end = [a.control.stats(), b.control.stats()];
    let seconds = run.seconds();
    if outcome.is_ok() {
        outcome = turns::drain(&mut run, &mut pairs, &mut a, &mut b, &end);
    }
    let totals = [common::totals(end[0], &mut a), common::totals(end[1], &mut b)];
    let names = [a.name().to_owned(), b.name().to_owned()];
    let ended = finish([a, b], &totals, outcome);
    // The same for the same frames and the same seed; the machine's time is not.
    let simulated_us = is_stepped.then(|| host.clock().now_us());
    print_queues(&pairs, &names);
    if let Some((mode, used)) = used {
        print_mode(mode, used, seconds, flows.as_ref());
    }
    let is_whole = print_result(&pairs, flows.as_ref(), &totals, seconds, simulated_us, args.coalescing);
    ended.map(|()| is_whole)
}

/// Two simulated cards: what the wire of one generates, the wire of the other expects.
fn with_traffic(host: &mut Host, args: &Args) -> Result<([Device; 2], [Arc<Flow>; 2]), Error> {
    let mut config = TrafficConfig::default();
    (config.frame_bytes, config.count, config.rate_pps) = (args.size, args.count, args.rate);
    config.latency = args.mode.is_some();
    let many = if args.queues > 1 { args.queues * FLOWS_A_QUEUE } else { 0 };
    config.udp_flows = args.flows.unwrap_or(many);
    let wrong_size = |error| SpecError::new("--size", format!("{error}"));
    let ([a, b], flows) = pair(&config, host.clock()).map_err(wrong_size)?;
    let card = |number: u64| {
        let seed = args.seed.map_or(String::new(), |seed| format!(",seed={}", seed.wrapping_mul(2).wrapping_add(number)));
        format!("sim:ixgbe,mac=02:00:00:00:00:0{}{seed}", number + 1)
    };
    Ok(([host.plug(&card(0), Box::new(a))?, host.plug(&card(1), Box::new(b))?], flows))
}

/// Prints what each queue received and took to send, where there are several.
fn print_queues(pairs: &[[Way; 2]], [a, b]: &[String; 2]) {
    if pairs.len() > 1 {
        for (index, [there, back]) in pairs.iter().enumerate() {
            say(format_args!("{a}: queue={index} rx_packets={} tx_packets={}", there.received(), back.sent()));
            say(format_args!("{b}: queue={index} rx_packets={} tx_packets={}", back.received(), there.sent()));
        }
    }
}

/// Prints what the threads took, and how long the generators' frames: from one wire to the other, so that the cards' part is in it.
fn print_mode(mode: Mode, used: Used, seconds: f64, flows: Option<&[Arc<Flow>; 2]>) {
    let name = mode.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    let Used { cpu, polls, sleeps } = used;
    let both = flows.and_then(|[there, back]| Some(there.latency()?.and(&back.latency()?)));
    let us = |time: Option<u64>| time.map_or("unknown".into(), |us| us.to_string());
    let [min, p50, p99, max] = match &both {
        Some(latency) => [latency.min_us(), latency.quantile_us(0.5), latency.quantile_us(0.99), latency.max_us()],
        None => [None; 4],
    }
    .map(us);
    let cpu = cpu.as_secs_f64() / seconds;
    say(format_args!("mode={name} cpu={cpu:.3} polls={polls} sleeps={sleeps} latency_us min={min} p50={p50} p99={p99} max={max}"));
}

/// Prints the last line, and says whether nothing was lost, corrupted or reordered.
fn print_result(
    pairs: &[[Way; 2]],
    flows: Option<&[Arc<Flow>; 2]>,
    [a, b]: &[Stats; 2],
    seconds: f64,
    simulated_us: Option<u64>,
    is_coalescing: bool,
) -> bool {
    // What a queue took and the card did not send has not been forwarded.
    let sent = |direction: usize| pairs.iter().map(|ways| ways[direction].sent()).sum::<u64>();
    let forwarded = sent(0).min(b.tx_packets) + sent(1).min(a.tx_packets);
    let refused: u64 = pairs.iter().flatten().map(|way| way.out.refused.frames()).sum();
    let missed = a.rx_missed().zip(b.rx_missed()).map_or("unknown".into(), |(a, b)| (a + b).to_string());
    let mpps = forwarded as f64 / seconds / 1e6;
    let Some([into_a, into_b]) = flows.map(|flows| flows.each_ref().map(|flow| flow.totals())) else {
        // Without checkers at the far ends: what was received, and neither sent nor refused, is lost, and so is what the device gave up as wrong.
        // A device counts the segments that it puts together, the queues what came of them.
        let by_device = |stats: &Stats| if is_coalescing { 0 } else { stats.rx_packets };
        let received = received(pairs, 0).max(by_device(a)) + received(pairs, 1).max(by_device(b));
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
