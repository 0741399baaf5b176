//! What the ports do, once a second: a table that stays in place on a terminal, a line for each port elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use barewire::{Port, Stats};

const SECOND: Duration = Duration::from_secs(1);
/// What a frame takes on the wire beside its bytes: preamble and start delimiter 8, check sequence 4, gap 12.
const WIRE_BYTES: u64 = 24;
/// Columns of the table beside the ports' names, and the most and the least that a name has.
const RATES_COLUMNS: usize = 53;
const NAME_COLUMNS: std::ops::RangeInclusive<usize> = 4..=26;
/// Where the terminal does not tell its width.
const COLUMNS: usize = 80;

/// Prints rates from the ports' counters.
pub(crate) struct Meter {
    is_terminal: bool,
    due: Duration,
    last: Duration,
    before: Vec<Stats>,
    /// Lines of the table that is on the terminal.
    lines: usize,
}

/// One port's rates over an interval, and what it dropped since the start.
struct Rates {
    rx_mpps: f64,
    rx_gbps: f64,
    tx_mpps: f64,
    tx_gbps: f64,
    drops: u64,
}

impl Rates {
    fn between(before: &Stats, now: &Stats, seconds: f64) -> Self {
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        let rx_bits = |stats: &Stats| (stats.rx_bytes + WIRE_BYTES * stats.rx_packets) * 8;
        let tx_bits = |stats: &Stats| (stats.tx_bytes + WIRE_BYTES * stats.tx_packets) * 8;
        Self {
            rx_mpps: rate(before.rx_packets, now.rx_packets) / 1e6,
            rx_gbps: rate(rx_bits(before), rx_bits(now)) / 1e9,
            tx_mpps: rate(before.tx_packets, now.tx_packets) / 1e6,
            tx_gbps: rate(tx_bits(before), tx_bits(now)) / 1e9,
            drops: now.rx_missed_errors + now.rx_dropped + now.rx_over_errors + now.tx_dropped,
        }
    }
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: super::print::reports_on_stdout() && std::io::stdout().is_terminal(),
            due: SECOND,
            last: Duration::ZERO,
            before: Vec::new(),
            lines: 0,
        }
    }

    /// Prints a line between the reports.
    pub(crate) fn say(&mut self, line: &str) {
        // The next table comes below it.
        self.lines = 0;
        super::print::say(line);
    }

    /// Prints when a second is over.
    pub(crate) fn tick(&mut self, elapsed: Duration, ports: &mut [&mut Port]) {
        if elapsed < self.due {
            return;
        }
        self.before.resize(ports.len(), Stats::default());
        let seconds = (elapsed - self.last).as_secs_f64();
        let columns = self.is_terminal.then(columns);
        let mut text = columns.map_or(String::new(), |columns| self.head(columns));
        for (port, before) in ports.iter_mut().zip(&mut self.before) {
            let now = port.control.stats();
            text += &row(columns, elapsed, port.name(), &Rates::between(before, &now, seconds));
            *before = now;
        }
        if self.is_terminal {
            self.lines = 1 + ports.len();
        }
        super::print::put(&text);
        self.last = elapsed;
        self.due = elapsed + SECOND;
    }

    fn head(&self, columns: usize) -> String {
        // Back over the table before, line by line (ECMA-48: cursor up, erase line).
        let back = "\x1b[1A\x1b[2K".repeat(self.lines);
        format!("{back}{}", line(columns, "port", ["rx Mpps", "rx Gbit/s", "tx Mpps", "tx Gbit/s", "drops"].map(String::from)))
    }
}

/// A line that is not broken: one that was could not be taken back.
fn line(columns: usize, name: &str, [rx_mpps, rx_gbps, tx_mpps, tx_gbps, drops]: [String; 5]) -> String {
    let width = columns.saturating_sub(1 + RATES_COLUMNS).clamp(*NAME_COLUMNS.start(), *NAME_COLUMNS.end());
    let name: String = name.chars().take(width).collect();
    let line = format!("{name:<width$} {rx_mpps:>9} {rx_gbps:>9} {tx_mpps:>9} {tx_gbps:>9} {drops:>12}");
    // The last column stays free: some terminals begin a new line there.
    line.chars().take(columns.saturating_sub(1)).chain(['\n']).collect()
}

fn row(columns: Option<usize>, elapsed: Duration, name: &str, rates: &Rates) -> String {
    let Rates { rx_mpps, rx_gbps, tx_mpps, tx_gbps, drops } = rates;
    if let Some(columns) = columns {
        let [rx_mpps, rx_gbps, tx_mpps, tx_gbps] = [rx_mpps, rx_gbps, tx_mpps, tx_gbps].map(|rate| format!("{rate:.3}"));
        line(columns, name, [rx_mpps, rx_gbps, tx_mpps, tx_gbps, drops.to_string()])
    } else {
        let second = elapsed.as_secs();
        format!("t={second} {name} rx_mpps={rx_mpps:.3} rx_gbps={rx_gbps:.3} tx_mpps={tx_mpps:.3} tx_gbps={tx_gbps:.3} drops={drops}\n")
    }
}

/// The terminal's width; it may change at any time.
fn columns() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(COLUMNS, |size| if size.ws_col == 0 { COLUMNS } else { size.ws_col.into() })
}
