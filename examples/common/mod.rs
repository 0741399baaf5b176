//! What the example applications share: how a run goes on and ends, and what it prints.
#![allow(dead_code, reason = "each application uses a part")]

mod meter;
pub(crate) mod print;
pub(crate) mod refused;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barewire::sim::wire::WireError;
use barewire::{Device, Error, Port, Report, Stats};
use clap::Parser;
use meter::Meter;
pub(crate) use print::{say, warn};

/// The longest payload of a frame that an application asks for by itself.
const JUMBO_MTU: u32 = 9710;
/// How long a link may take to come up.
const LINK_LIMIT: Duration = Duration::from_secs(10);
/// How often the ports' links and events are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Rounds without work in which a loop only gives the processor away, before it sleeps.
const IDLE_YIELDS: u32 = 64;
/// How long it sleeps then.
const IDLE_SLEEP: Duration = Duration::from_micros(20);

/// How long what is on the way may go without any progress.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A number of seconds from the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or("give a number of seconds above 0, for instance 2.5")
}

/// The longest payload of a frame where the application is not told: jumbo frames, as far as each of the devices takes them.
pub(crate) fn longest_mtu(devices: &[&Device]) -> u32 {
    devices.iter().map(|device| device.info().max_mtu).fold(JUMBO_MTU, u32::min)
}

/// Runs an application: exit status 0 where it returns `true`, 1 where it returns `false` or fails, 2 where it is called wrongly.
pub(crate) fn main<Args: Parser>(application: fn(&Args) -> Result<bool, Error>) -> ExitCode {
    let args = Args::parse();
    // Warnings of the drivers, of VFIO and of the models. RUST_LOG=info shows more.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match application(&args) {
        Ok(true) if print::is_written() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            warn(format_args!("error: {error}"));
            ExitCode::from(if matches!(error, Error::Spec(_) | Error::NotSharable { .. }) { 2 } else { 1 })
        }
    }
}

/// A run: until Ctrl-C, the end of its time or that of a device, with a report once a second and a line where a link comes or goes.
pub(crate) struct Run {
    stop: Arc<AtomicBool>,
    start: Instant,
    limit: Option<Duration>,
    meter: Meter,
    rest: Rest,
    watch_due: Instant,
    /// Whether each port's link was up.
    links: Vec<Option<bool>>,
    /// A device that failed or must be given back.
    lost: bool,
    /// A wire that gets no better.
    cut: bool,
}

impl Run {
    /// Starts now. `limit`: how long it lasts; `None`: until Ctrl-C, or until the application is through.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let handler = move || {
            // The second Ctrl-C does not wait.
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            warn(format_args!("warning: Ctrl-C ends the program at once: {error}"));
        }
        let start = Instant::now();
        Self { stop, start, limit, meter: Meter::new(), rest: Rest::default(), watch_due: start, links: Vec::new(), lost: false, cut: false }
    }

    /// Waits until every port has a link, then starts the run's time anew. Warns where one has none after ten seconds.
    pub(crate) fn wait_for_links(&mut self, ports: &mut [&mut Port]) {
        let began = Instant::now();
        for port in ports {
            while !port.control.link().up && port.failure().is_none() && !self.stop.load(Ordering::Relaxed) {
                if began.elapsed() >= LINK_LIMIT {
                    let name = port.name();
                    warn(format_args!("warning: {name}: no link: plug it in (a simulated card: tap=, dgram=, pcap-in= or pcap-out=)"));
                    break;
                }
                port.sleep_us(1000);
            }
        }
        self.start = Instant::now();
    }

    /// Whether the run goes on. To be asked every round: it prints what is to be told meanwhile.
    pub(crate) fn goes_on(&mut self, ports: &mut [&mut Port]) -> bool {
        let now = Instant::now();
        if now >= self.watch_due {
            self.watch_due = now + WATCH_EVERY;
            self.watch(ports);
        }
        let elapsed = now - self.start;
        self.meter.tick(elapsed, ports);
        self.limit.is_none_or(|limit| elapsed < limit) && !self.stop.load(Ordering::Relaxed) && !self.lost && !self.cut
    }

    /// Whether a device failed or must be given back: then nothing is to be waited for any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    fn watch(&mut self, ports: &mut [&mut Port]) {
        self.links.resize(ports.len(), None);
        for (port, known) in ports.iter_mut().zip(&mut self.links) {
            let link = port.control.link();
            if known.replace(link.up) != Some(link.up) {
                self.meter.say(&format!("link {} {link}", port.name()));
            }
            match port.event() {
                Some(event) if event.is_failure() => self.lost = true,
                Some(event) => self.meter.say(&format!("{}: {event}", port.name())),
                None => {}
            }
            self.cut |= match port.wire_error() {
                // A damaged input ends by itself, after the frames before the damage.
                None | Some(WireError::Broken { .. } | WireError::LinkType { .. } | WireError::FrameSize { .. }) => false,
                Some(_) => true,
            };
        }
    }

    /// Goes on with what is on the way after the end: until `turn` says that all has gone, or has made no progress for [`DRAIN_LIMIT`], which is what
    /// the number of frames is that it says otherwise.
    pub(crate) fn drain(&mut self, mut turn: impl FnMut() -> Result<Drained, Error>) -> Result<(), Error> {
        let (mut before, mut progress) = (None, Instant::now());
        while !self.lost && progress.elapsed() < DRAIN_LIMIT {
            match turn()? {
                Drained::All => break,
                Drained::Frames(frames) if before.replace(frames) != Some(frames) => progress = Instant::now(),
                Drained::Frames(_) => {}
            }
            self.rest_unless(false);
        }
        Ok(())
    }

    /// To be told every round whether there was work. On an idle line the processor goes to others: a simulated card with a thread needs one, too.
    pub(crate) fn rest_unless(&mut self, worked: bool) {
        self.rest.unless(worked);
    }

    /// Time since the start, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// How a loop without work rests.
#[derive(Default)]
pub(crate) struct Rest(u32);

impl Rest {
    /// To be told every round whether there was work.
    pub(crate) fn unless(&mut self, worked: bool) {
        self.0 = if worked { 0 } else { self.0.saturating_add(1) };
        match self.0 {
            0 => {}
            1..=IDLE_YIELDS => std::thread::yield_now(),
            _ => std::thread::sleep(IDLE_SLEEP),
        }
    }
}

/// How far a run is drained.
pub(crate) enum Drained {
    /// Nothing is on the way any more.
    All,
    /// So many frames went so far.
    Frames(u64),
}

/// A port's counters where the run is over: what was received until its `end`, and all that was sent, what was on the way then included.
pub(crate) fn totals(mut end: Stats, port: &mut Port) -> Stats {
    Stats { tx_packets: end.tx_packets, tx_bytes: end.tx_bytes, tx_errors: end.tx_errors, tx_dropped: end.tx_dropped, .. } = port.control.stats();
    end
}

/// Frames that came to a port and went no further there, those that it missed apart: wrong, too long, or dropped by its driver.
pub(crate) fn given_up(totals: &Stats) -> u64 {
    totals.rx_errors + totals.rx_dropped + totals.rx_over_errors
}

/// Prints the ports' totals and stops them. To be called while the queues live: a card whose queues are gone misses what still comes. Returns how the
/// run ended: with the first error of a device that went away, of the application itself (`outcome`), of a port that did not end well.
pub(crate) fn finish<const PORTS: usize>(ports: [Port; PORTS], totals: &[Stats; PORTS], outcome: Result<(), Error>) -> Result<(), Error> {
    let mut lost = Ok(());
    let reports = ports.map(|mut port| {
        // A queue that broke and a wait that ended come from it.
        if let (Ok(()), Some(failure)) = (&lost, port.failure()) {
            lost = Err(failure);
        }
        port.finish()
    });
    for (report, totals) in reports.iter().zip(totals) {
        say(format_args!("{}: {totals} violations={}", report.device, report.violations.len()));
    }
    lost.and(outcome).and(reports.into_iter().try_for_each(Report::check))
}
