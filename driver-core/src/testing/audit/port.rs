//! The port's own books: what the device counted by name adds up, and the queues' names say what the accounts say.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::device::accounts::Accounts;
use crate::device::xstats::XStat;

/// Of a device's counters by name those that one identity is made of.
struct Named<'a>(&'a [XStat]);

impl Named<'_> {
    /// `None` where the device has none of this name.
    fn one(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|xstat| xstat.name == name).map(|xstat| xstat.value)
    }

    /// Of all queues, and of all sets of counters that several queues share.
    fn both(&self, direction: &str, after: &str) -> u64 {
        ["q", "set"].map(|of| self.all(&format!("{direction}_{of}"), after)).iter().sum()
    }

    /// Of all queues, or of all packet buffers.
    fn all(&self, before: &str, after: &str) -> u64 {
        let number =
            |name: &str| name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|number| number.parse::<u16>().is_ok());
        self.0.iter().filter(|xstat| number(&xstat.name)).map(|xstat| xstat.value).sum()
    }
}

/// What is wrong with the counters that a device which stopped had in the end. `is_full`: frames may wait in its packet buffer, since no descriptor was free.
pub(super) fn wrong(xstats: &[XStat], accounts: &Accounts, is_full: bool) -> Option<String> {
    let named = Named(xstats);
    let &Accounts { tx_taken, tx_lost, rx_filled, tx_sent, rx_delivered, rx_errors, rx_lost, .. } = accounts;
    let queues = [
        ("tx_q*_taken", named.all("tx_q", "_taken"), tx_taken),
        ("tx_q*_lost", named.all("tx_q", "_lost"), tx_lost),
        ("rx_q*_delivered", named.all("rx_q", "_delivered"), rx_delivered),
        ("rx_q*_errors", named.all("rx_q", "_errors"), rx_errors),
        ("rx_q*_lost", named.all("rx_q", "_lost"), rx_lost),
    ];
    if let Some((names, sum, account)) = queues.into_iter().find(|(_, sum, account)| sum != account) {
        return Some(format!("{names} are {sum}, and the account says {account}"));
    }
    let good = named.one("rx_good_packets")?;
    let (filled, dropped, missed) = (named.both("rx", "_packets"), named.both("rx", "_dropped"), named.all("rx_priority", "_dropped"));
    // What rules drop, where they do.
    let ruled = named.one("rx_rule_dropped").unwrap_or(0);
    let told = filled + dropped + missed + ruled;
    let text = format!("the port let {good} frames in: its queues got {filled}, {dropped} found no descriptor and {missed} no room");
    let text = if ruled > 0 { format!("{text}, and rules dropped {ruled}") } else { text };
    if told > good || told < good && !is_full {
        return Some(text);
    }
    let (sent, pauses) = (named.one("tx_good_packets")?, named.one("tx_xon_packets")? + named.one("tx_xoff_packets")?);
    let queues = named.both("tx", "_packets");
    if sent != queues + pauses {
        return Some(format!("the port sent {sent} frames: its queues {queues}, and it {pauses} pause frames itself"));
    }
    let differs = |account: Option<u64>, sum: u64| account.is_some_and(|account| account != sum);
    // Pause frames are no queue's, and in no account.
    (differs(rx_filled, filled) || differs(tx_sent, queues))
        .then(|| format!("queues got {filled} frames and {queues} of theirs were sent by name, {rx_filled:?} and {tx_sent:?} by the accounts"))
}

/// Counters whose sum over a device's life an identity is made of, as `name=value`, for who reads a failure.
pub(super) fn nonzero(xstats: &[XStat]) -> String {
    let lines: Vec<_> = xstats.iter().filter(|xstat| xstat.value != 0).map(|xstat| format!("{xstat}")).collect();
    lines.join(" ")
}
