//! What the ports do, once a second: a table that stays in place on a terminal, a line for each port elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use barewire::{Port, Stats};

const SECOND: Duration = Duration::from_secs(1);
/// What a frame takes on the wire beside its bytes: preamble and start delimiter 8, check sequence 4, gap 12.
const WIRE_BYTES: u64 = 24;

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
        Self { is_terminal: std::io::stdout().is_terminal(), due: SECOND, last: Duration::ZERO, before: Vec::new(), lines: 0 }
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
        let mut text = self.head();
        for (port, before) in ports.iter_mut().zip(&mut self.before) {
            let now = port.control.stats();
            text += &row(self.is_terminal, elapsed, port.name(), &Rates::between(before, &now, seconds));
            *before = now;
        }
        if self.is_terminal {
            self.lines = 1 + ports.len();
        }
        // Where nobody reads, there is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.last = elapsed;
        self.due = elapsed + SECOND;
    }

    fn head(&self) -> String {
        if !self.is_terminal {
            return String::new();
        }
        // Back over the table before, line by line (ECMA-48: cursor up, erase line).
        let back = "\x1b[1A\x1b[2K".repeat(self.lines);
        format!("{back}{:<32} {:>9} {:>9} {:>9} {:>9} {:>12}\n", "port", "rx Mpps", "rx Gbit/s", "tx Mpps", "tx Gbit/s", "drops")
    }
}

fn row(is_terminal: bool, elapsed: Duration, name: &str, rates: &Rates) -> String {
    let Rates { rx_mpps, rx_gbps, tx_mpps, tx_gbps, drops } = rates;
    if is_terminal {
        let name: String = name.chars().take(32).collect();
        format!("{name:<32} {rx_mpps:>9.3} {rx_gbps:>9.3} {tx_mpps:>9.3} {tx_gbps:>9.3} {drops:>12}\n")
    } else {
        let second = elapsed.as_secs();
        format!("t={second} {name} rx_mpps={rx_mpps:.3} rx_gbps={rx_gbps:.3} tx_mpps={tx_mpps:.3} tx_gbps={tx_gbps:.3} drops={drops}\n")
    }
}
