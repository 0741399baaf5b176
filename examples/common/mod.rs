//! What the example applications share: how a run goes on and ends, and what it prints.

mod meter;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use barewire::{Error, Port, Report, Stats};
use clap::Parser;
use meter::Meter;

/// How long a link may take to come up.
const LINK_LIMIT: Duration = Duration::from_secs(10);
/// Rounds without work in which a loop only gives the processor away, before it sleeps.
const IDLE_YIELDS: u32 = 64;
/// How long it sleeps then.
const IDLE_SLEEP: Duration = Duration::from_micros(20);

/// Runs an application: exit status 0 where it returns `true`, 1 where it returns `false` or fails, 2 where it is called wrongly.
pub(crate) fn main<Args: Parser>(application: fn(&Args) -> Result<bool, Error>) -> ExitCode {
    match application(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Error::Spec(_)) { 2 } else { 1 })
        }
    }
}

/// A run: until Ctrl-C or the end of its time, with a report once a second.
pub(crate) struct Run {
    stop: Arc<AtomicBool>,
    start: Instant,
    limit: Option<Duration>,
    meter: Meter,
    idle: u32,
}

impl Run {
    /// Starts now. `seconds`: how long it lasts; `None`: until Ctrl-C, or until the application is through.
    pub(crate) fn new(seconds: Option<f64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let handler = move || {
            // The second Ctrl-C does not wait.
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            eprintln!("warning: Ctrl-C ends the program at once: {error}");
        }
        // A number that is no duration (negative, too large) is no limit.
        let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { stop, start: Instant::now(), limit, meter: Meter::new(), idle: 0 }
    }

    /// Waits until every port has a link, then starts the run's time anew. Warns where one has none after ten seconds.
    pub(crate) fn wait_for_links(&mut self, ports: &mut [&mut Port]) {
        let began = Instant::now();
        for port in ports {
            while !port.control.link().up && !self.stop.load(Ordering::Relaxed) {
                if began.elapsed() >= LINK_LIMIT {
                    let name = port.name();
                    eprintln!("warning: {name}: no link: plug it in (a simulated card: tap=, dgram=, pcap-in= or pcap-out=)");
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.start = Instant::now();
    }

    /// Whether the run goes on. To be asked every round: it prints the report when a second is over.
    pub(crate) fn goes_on(&mut self, ports: &mut [&mut Port]) -> bool {
        let elapsed = self.start.elapsed();
        self.meter.tick(elapsed, ports);
        self.limit.is_none_or(|limit| elapsed < limit) && !self.stop.load(Ordering::Relaxed)
    }

    /// To be told every round whether there was work. On an idle line the processor goes to others: a simulated card needs one, too.
    pub(crate) fn rest_unless(&mut self, worked: bool) {
        self.idle = if worked { 0 } else { self.idle.saturating_add(1) };
        match self.idle {
            0 => {}
            1..=IDLE_YIELDS => std::thread::yield_now(),
            _ => std::thread::sleep(IDLE_SLEEP),
        }
    }

    /// Time since the start, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// Stops the ports and prints their totals. Returns their counters, and whether all of them ended well: the first error, if not.
pub(crate) fn finish<const PORTS: usize>(ports: [Port; PORTS]) -> ([Stats; PORTS], Result<(), Error>) {
    let reports = ports.map(Port::finish);
    for report in &reports {
        println!("{}: {} violations={}", report.device, report.stats, report.violations.len());
    }
    (reports.each_ref().map(|report| report.stats), reports.into_iter().try_for_each(Report::check))
}
