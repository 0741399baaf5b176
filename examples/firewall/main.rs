//! A firewall between two devices: frames are judged where the card put them, and those that pass leave by the other device without a copy.

#[path = "../common/mod.rs"]
mod common;
mod rules;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use barewire::{
    Batch, Config, Error, Frame, FrameView, Hook, HookCounters, Host, PollWith, Port, RxMode, RxQueue, SpecError, TxQueue, Verdict, WhenFull,
};
use clap::{Parser, ValueEnum};
use common::{Drained, Run, finish, longest_mtu, say};
use rules::{Headers, Rule};

/// Passes frames between two devices, both ways, as rules say.
///
/// A rule is `drop` or `pass`, then any of: tcp, udp, icmp, icmp6, arp, ip, ip6, src PREFIX, dst PREFIX, sport N, dport N, port N (of either side). The first
/// rule that a frame meets decides, for instance --rule "pass tcp dport 443" --rule "drop src 10.0.0.0/8". At the end it prints what became of the frames, and how many
/// each rule met. Exit status 1: frames that were to pass were lost, a device failed, or what it prints could not be written; 2: wrong usage.
#[derive(Parser)]
struct Args {
    /// Two devices: 0000:01:00.0, vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options
    #[arg(num_args = 2, required = true, value_names = ["A", "B"])]
    devices: Vec<String>,
    /// A rule; those of --rules come first
    #[arg(long = "rule", value_name = "RULE")]
    rule: Vec<Rule>,
    /// A file of rules, one a line, with remarks behind #
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// What becomes of frames that no rule speaks of
    #[arg(long, value_enum, default_value_t = Other::Pass)]
    other: Other,
    /// How long it runs; else until the inputs are over
    #[arg(long, value_name = "N", value_parser = common::seconds)]
    seconds: Option<Duration>,
    /// The longest payload of a frame; without it up to 9710, as both devices take it
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Other {
    Pass,
    Drop,
}

/// Frames received at once, at most.
const BATCH: usize = 64;

fn main() -> ExitCode {
    common::main(run)
}

fn run(args: &Args) -> Result<bool, Error> {
    let rules = all_rules(args)?;
    let mut host = Host::new();
    let [a, b] = args.devices.as_slice() else { return Err(SpecError::new("A B", "give two devices".to_owned()).into()) };
    let (a, b) = (host.open(a)?, host.open(b)?);
    let mtu = args.mtu.unwrap_or_else(|| longest_mtu(&[&a, &b]));
    let config = Config::new().mtu(mtu).rx_mode(RxMode::all());
    let (mut a, mut b) = (a.start(&config)?, b.start(&config)?);
    let mut run = Run::new(args.seconds);
    run.wait_for_links(&mut [&mut a, &mut b]);
    let (Some((a_rx, a_tx)), Some((b_rx, b_tx))) = (a.take_queues(), b.take_queues()) else { unreachable!("a started port has queues") };
    let mut ways = [Way::new(a_rx, b_tx, &a, &b), Way::new(b_rx, a_tx, &b, &a)];
    let mut wall = Wall { met: vec![0; rules.len()], rules, others: 0, drops_others: args.other == Other::Drop };
    let mut outcome = filter(&mut run, &mut ways, &mut wall, &mut a, &mut b);
    if outcome.is_ok() {
        outcome = run.drain(|| {
            let frames = ways.iter().map(|way| way.rx.counters().hook.sent).sum();
            let [there, back] = &mut ways;
            let is_over = b.is_output_over(&mut *there.tx) && a.is_output_over(&mut *back.tx);
            Ok(if is_over { Drained::All } else { Drained::Frames(frames) })
        });
    }
    let totals = [a.control.stats(), b.control.stats()];
    let ended = finish([a, b], &totals, outcome);
    let is_whole = print_result(&ways, &wall);
    ended.map(|()| is_whole)
}

fn all_rules(args: &Args) -> Result<Vec<Rule>, Error> {
    let mut all = Vec::new();
    if let Some(file) = &args.rules {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| SpecError::new("--rules", format!("{name}: {error}")))?;
        all = rules::parse(&text).map_err(|error| SpecError::new("--rules", format!("{name}: {error}")))?;
    }
    all.extend(args.rule.iter().cloned());
    Ok(all)
}

/// Until the inputs are over or the run ends.
fn filter(run: &mut Run, ways: &mut [Way; 2], wall: &mut Wall, a: &mut Port, b: &mut Port) -> Result<(), Error> {
    let mut idle = false;
    while run.goes_on(&mut [a, b]) {
        // Asked before the polls: only then does their finding nothing mean that nothing comes any more.
        let is_over = idle && a.is_input_over() && b.is_input_over();
        let [there, back] = &mut *ways;
        let judged = there.turn(wall)? + back.turn(wall)?;
        idle = judged == 0;
        if is_over && idle {
            break;
        }
        run.rest_unless(judged > 0);
    }
    Ok(())
}

/// From one port's receive queue to the other's transmit queue.
struct Way {
    rx: Box<dyn RxQueue>,
    tx: Box<dyn TxQueue>,
    /// Frames never come up, but the empty buffers are here.
    batch: Batch,
    /// The names of the two ports.
    names: [String; 2],
}

impl Way {
    fn new(rx: Box<dyn RxQueue>, tx: Box<dyn TxQueue>, from: &Port, to: &Port) -> Self {
        Self { rx, tx, batch: Batch::new(BATCH), names: [from, to].map(|port| port.name().to_owned()) }
    }

    /// Judges what is there, and says how many frames that were.
    fn turn(&mut self, wall: &mut Wall) -> Result<usize, Error> {
        let judged = self.rx.poll_with(wall, &mut [&mut *self.tx], WhenFull::Drop, &mut self.batch, BATCH);
        for (fault, device) in [self.rx.fault(), self.tx.fault()].into_iter().zip(&self.names) {
            if let Some(fault) = fault.filter(|_| judged == 0) {
                return Err(Error::Queue { device: device.clone(), fault });
            }
        }
        Ok(judged)
    }
}

/// The rules, and how many frames met each of them.
struct Wall {
    rules: Vec<Rule>,
    met: Vec<u64>,
    /// Frames that met none.
    others: u64,
    drops_others: bool,
}

impl Wall {
    fn judge(&mut self, frame: &[u8]) -> Verdict {
        let headers = Headers::of(frame);
        let found = self.rules.iter().zip(&mut self.met).find(|(rule, _)| rule.is_of(&headers));
        let (drops, count) = found.map_or((self.drops_others, &mut self.others), |(rule, met)| (rule.drops, met));
        *count += 1;
        if drops { Verdict::Drop } else { Verdict::Tx }
    }
}

impl Hook for Wall {
    fn verdict(&mut self, frame: &mut FrameView<'_>) -> Verdict {
        self.judge(frame.data())
    }

    /// Of a frame in several buffers the first has the headers.
    fn verdict_whole(&mut self, frame: &mut Frame) -> Verdict {
        self.judge(frame.data())
    }
}

/// Prints what each rule met, then the last line, and says whether nothing was lost that was to pass.
fn print_result(ways: &[Way; 2], wall: &Wall) -> bool {
    for (number, (rule, met)) in (1..).zip(wall.rules.iter().zip(&wall.met)) {
        say(format_args!("rule={number} verdict={} frames={met}", if rule.drops { "drop" } else { "pass" }));
    }
    let [there, back] = ways.each_ref().map(|way| way.rx.counters().hook);
    let HookCounters { sent, dropped, full, no_buffer, .. } = there;
    let (passed, dropped, lost) = (sent + back.sent, dropped + back.dropped, full + no_buffer + back.full + back.no_buffer);
    say(format_args!("passed={passed} dropped={dropped} lost={lost} other={}", wall.others));
    lost == 0
}
