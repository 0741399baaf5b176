//! Wires from the `key=value` options of a device spec.
//!
//! Options are apart by commas. A comma that belongs to a value, in a file's name, is written `\,`, and a backslash before a comma `\\`; any other backslash is
//! itself. (A shell takes backslashes away: quote the spec.)

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use driver_core::host::Clock;

use super::dgram::Dgram;
use super::impair::{Impair, ImpairConfig};
use super::pcap::Pcap;
use super::slow::Slow;
use super::tap::Tap;
use super::{Sent, Wire, WireError};

/// The options that make a wire: key, the value's form, and what it does.
pub const OPTIONS: &[(&str, &str, &str)] = &[
    ("tap", "NAME", "plug into the Linux network stack by the tap device NAME"),
    ("netns", "NAME", "the network namespace of the tap device: a name of ip netns, or a path as /proc/PID/ns/net"),
    ("pcap-in", "FILE", "receive the frames of the capture FILE (pcap or pcapng); a pipe, or - for standard input, is read as it comes"),
    ("pcap-out", "FILE", "record what is sent in FILE (*.pcap or *.pcapng)"),
    ("dgram", "LOCAL:REMOTE", "exchange frames by unix datagrams between two socket paths, as QEMU's -netdev dgram"),
    ("loss", "P", "lose a frame with probability P, 0 to 1"),
    ("dup", "P", "duplicate a frame with probability P, 0 to 1"),
    ("reorder", "P", "let others overtake a frame with probability P, 0 to 1"),
    ("delay-us", "N", "delay every frame by N microseconds"),
    ("seed", "N", "the seed of loss, dup and reorder, and of a stepped card's turns"),
    ("slow-us", "N", "pass one frame in N microseconds each way"),
];

/// What a simulated card is plugged into, by options.
///
/// ```
/// use sim::wire::spec::WireSpec;
/// let wire: WireSpec = "pcap-in=in.pcap,pcap-out=out.pcapng,loss=0.01,seed=7".parse().unwrap();
/// assert_eq!("tapp=x".parse::<WireSpec>().unwrap_err().to_string(), "tapp=x: no such option; did you mean tap=NAME?");
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WireSpec {
    tap: Option<String>,
    netns: Option<String>,
    pcap_in: Option<PathBuf>,
    pcap_out: Option<PathBuf>,
    dgram: Option<(PathBuf, PathBuf)>,
    impair: ImpairConfig,
    slow_us: u64,
    seen: Vec<&'static str>,
}

impl WireSpec {
    /// Takes the option `key=value`. `Ok(false)`: the key is none of a wire's, nothing happened.
    ///
    /// # Errors
    /// A value that does not fit its key, a key given twice, or one that contradicts an earlier one.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, WireError> {
        let Some(&(key, form, _)) = OPTIONS.iter().find(|(known, ..)| *known == key) else { return Ok(false) };
        if value.is_empty() {
            return Err(WireError::option(format!("{key}=: the value is missing: {key}={form}")));
        }
        if self.seen.contains(&key) {
            return Err(WireError::option(format!("{key}={value}: {key} is given twice: give it once")));
        }
        self.seen.push(key);
        match key {
            "tap" => self.tap = Some(value.into()),
            "netns" => self.netns = Some(value.into()),
            "pcap-in" => self.pcap_in = Some(value.into()),
            "pcap-out" => self.pcap_out = Some(value.into()),
            "dgram" => self.dgram = Some(two_paths(value)?),
            "loss" => self.impair.loss = probability(key, value)?,
            "dup" => self.impair.duplicate = probability(key, value)?,
            "reorder" => self.impair.reorder = probability(key, value)?,
            "delay-us" => self.impair.delay_us = number(key, value)?,
            "seed" => self.impair.seed = number(key, value)?,
            _ => self.slow_us = number(key, value)?,
        }
        self.check_far_ends()?;
        Ok(true)
    }

    /// The seed, where one was given.
    pub fn seed(&self) -> Option<u64> {
        self.seen.contains(&"seed").then_some(self.impair.seed)
    }

    /// A card has one port.
    fn check_far_ends(&self) -> Result<(), WireError> {
        let pcap = if self.pcap_in.is_some() { "pcap-in" } else { "pcap-out" };
        let ends = [(self.tap.is_some(), "tap"), (self.dgram.is_some(), "dgram"), (self.pcap_in.is_some() || self.pcap_out.is_some(), pcap)];
        let mut given = ends.iter().filter(|(given, _)| *given).map(|(_, name)| *name);
        match (given.next(), given.next()) {
            (Some(one), Some(other)) => {
                Err(WireError::option(format!("{one} and {other}: a card has one port: give one of tap, dgram, or pcap-in and pcap-out")))
            }
            _ => Ok(()),
        }
    }

    /// Whether all options that belong together were given, when the last one is [set](WireSpec::set).
    ///
    /// # Errors
    /// An option lacks another one.
    pub fn check(&self) -> Result<(), WireError> {
        match &self.netns {
            Some(netns) if self.tap.is_none() => Err(WireError::option(format!("netns={netns}: it says where a tap device is: give tap=NAME, too"))),
            _ => Ok(()),
        }
    }

    /// Makes the wire; `clock` gives `delay-us`, `reorder` and `slow-us` their time. Without a far end the port is [`Unplugged`].
    ///
    /// # Errors
    /// What the wire's own `open` reports.
    pub fn open(&self, clock: &Arc<dyn Clock>) -> Result<Box<dyn Wire>, WireError> {
        let mut wire: Box<dyn Wire> = if let Some(name) = &self.tap {
            Box::new(self.netns.as_deref().map_or_else(|| Tap::open(name), |netns| Tap::open_in(netns, name))?)
        } else if let Some((local, remote)) = &self.dgram {
            Box::new(Dgram::open(local, remote)?)
        } else if self.pcap_in.is_some() || self.pcap_out.is_some() {
            Box::new(Pcap::open(self.pcap_in.as_deref(), self.pcap_out.as_deref())?)
        } else {
            Box::new(Unplugged)
        };
        if !self.impair.is_good() {
            wire = Box::new(Impair::new(wire, clock.clone(), self.impair)?);
        }
        if self.slow_us > 0 {
            wire = Box::new(Slow::new(wire, clock.clone(), self.slow_us));
        }
        Ok(wire)
    }
}

impl FromStr for WireSpec {
    type Err = WireError;

    /// Options of a wire alone, separated by commas.
    fn from_str(options: &str) -> Result<Self, WireError> {
        let mut spec = Self::default();
        for option in parts(options) {
            let (key, value) = split(&option)?;
            if !spec.set(key, value)? {
                return Err(unknown(&option, key));
            }
        }
        spec.check()?;
        Ok(spec)
    }
}

/// Parts options at the commas between them; empty ones are left out. What is behind a backslash belongs to a value, if it is a comma or a backslash.
pub fn parts(options: &str) -> Vec<String> {
    let (mut parts, mut part, mut rest) = (Vec::new(), String::new(), options.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            ',' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(rest.next_if(|next| matches!(next, ',' | '\\')).unwrap_or('\\')),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

/// What to do where `option` has no value and may be the rest of another one's.
pub fn comma_hint(option: &str) -> &'static str {
    if option.contains('=') { "" } else { "; if that comma belongs to a file's name, write it \\, (in quotes, for the shell's sake)" }
}

/// Parts `key=value`.
///
/// # Errors
/// There is no `=`.
pub fn split(option: &str) -> Result<(&str, &str), WireError> {
    option.split_once('=').ok_or_else(|| match OPTIONS.iter().find(|(key, ..)| *key == option) {
        Some((key, form, _)) => WireError::option(format!("{option}: the value is missing: {key}={form}")),
        None => unknown(option, option),
    })
}

/// The error for an option that nobody knows, with the one that may have been meant.
pub fn unknown(option: &str, key: &str) -> WireError {
    let near = OPTIONS.iter().min_by_key(|(known, ..)| distance(known, key)).filter(|(known, ..)| distance(known, key) <= 2);
    WireError::option(match near {
        Some((known, form, _)) => format!("{option}: no such option; did you mean {known}={form}?"),
        None => {
            let all: Vec<_> = OPTIONS.iter().map(|(key, form, _)| format!("{key}={form}")).collect();
            format!("{option}: no such option; a wire's are {}{}", all.join(", "), comma_hint(option))
        }
    })
}

/// How many characters must be put in, taken out or exchanged to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(from != to)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn probability(key: &str, value: &str) -> Result<f64, WireError> {
    let p = value.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    p.ok_or_else(|| WireError::option(format!("{key}={value}: a probability is a number from 0 to 1, for instance {key}=0.01")))
}

fn number(key: &str, value: &str) -> Result<u64, WireError> {
    value.parse().map_err(|_| WireError::option(format!("{key}={value}: not a whole number from 0 on, for instance {key}=100")))
}

fn two_paths(value: &str) -> Result<(PathBuf, PathBuf), WireError> {
    match value.split_once(':') {
        Some((local, remote)) if !local.is_empty() && !remote.is_empty() && !remote.contains(':') => Ok((local.into(), remote.into())),
        _ => Err(WireError::option(format!("dgram={value}: two socket paths are needed, apart by one colon: dgram=/tmp/card.sock:/tmp/far.sock"))),
    }
}

/// A port without a cable: no carrier, what is sent is lost.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs, reason = "it has nothing")]
pub struct Unplugged;

impl Wire for Unplugged {
    fn send(&mut self, _frame: &[u8]) -> Sent {
        Sent::Taken
    }
    fn receive(&mut self, _frame: &mut Vec<u8>) -> bool {
        false
    }
    fn carrier(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::ManualClock;

    fn error(options: &str) -> String {
        options.parse::<WireSpec>().unwrap_err().to_string()
    }

    #[test]
    fn every_option_is_taken() {
        let spec: WireSpec = "dgram=/a:/b,loss=0.5,dup=1,reorder=0,delay-us=3,seed=9,slow-us=1000".parse().unwrap();
        let impair = ImpairConfig { loss: 0.5, duplicate: 1.0, reorder: 0.0, delay_us: 3, seed: 9 };
        assert_eq!((spec.dgram.as_ref().unwrap(), spec.impair, spec.slow_us), (&("/a".into(), "/b".into()), impair, 1000));
        let spec: WireSpec = "pcap-in=a.pcap,pcap-out=b.pcapng".parse().unwrap();
        assert_eq!((spec.pcap_in, spec.pcap_out), (Some("a.pcap".into()), Some("b.pcapng".into())));
        let spec: WireSpec = "tap=tap0,netns=lab".parse().unwrap();
        assert_eq!((spec.tap.as_deref(), spec.netns.as_deref()), (Some("tap0"), Some("lab")));
        for (key, ..) in OPTIONS {
            let value = if *key == "dgram" { "/a:/b" } else { "1" };
            assert_eq!(WireSpec::default().set(key, value), Ok(true), "{key}");
        }
        assert_eq!(WireSpec::default().set("mac", "1"), Ok(false));
    }

    #[test]
    fn wrong_options_are_told_what_is_right() {
        assert_eq!(error("pcap-inn=x"), "pcap-inn=x: no such option; did you mean pcap-in=FILE?");
        assert!(error("colour=red").starts_with("colour=red: no such option; a wire's are tap=NAME, netns=NAME, pcap-in=FILE, "));
        assert_eq!(error("tap"), "tap: the value is missing: tap=NAME");
        assert_eq!(error("tap="), "tap=: the value is missing: tap=NAME");
        assert_eq!(error("loss=2"), "loss=2: a probability is a number from 0 to 1, for instance loss=0.01");
        assert_eq!(error("dup=NaN"), "dup=NaN: a probability is a number from 0 to 1, for instance dup=0.01");
        assert_eq!(error("delay-us=-1"), "delay-us=-1: not a whole number from 0 on, for instance delay-us=100");
        assert!(error("dgram=/only-one").contains("two socket paths are needed"));
        assert!(error("dgram=/a:/b:/c").contains("two socket paths are needed"));
        assert_eq!(error("seed=1,seed=2"), "seed=2: seed is given twice: give it once");
        assert_eq!(error("tap=a,pcap-in=b"), "tap and pcap-in: a card has one port: give one of tap, dgram, or pcap-in and pcap-out");
        assert!(error("dgram=/a:/b,pcap-out=b").starts_with("dgram and pcap-out: "));
        assert_eq!(error("netns=lab"), "netns=lab: it says where a tap device is: give tap=NAME, too");
    }

    #[test]
    fn a_comma_in_a_value_has_a_backslash_before_it() {
        let table: [(&str, &[&str]); 7] = [
            (r"pcap-in=a\,b.pcap,seed=1", &["pcap-in=a,b.pcap", "seed=1"]),
            (r"pcap-in=a\,,pcap-out=\,b", &["pcap-in=a,", "pcap-out=,b"]),
            (r"pcap-in=a\\,seed=1", &[r"pcap-in=a\", "seed=1"]),
            (r"pcap-in=a\\\,b", &[r"pcap-in=a\,b"]),
            (r"pcap-in=C:\temp\x", &[r"pcap-in=C:\temp\x"]),
            (r"pcap-in=a\", &[r"pcap-in=a\"]),
            (",,seed=1,", &["seed=1"]),
        ];
        for (options, wanted) in table {
            assert_eq!(parts(options), wanted, "{options}");
        }
        let spec: WireSpec = r"pcap-in=1\,5 Gb.pcap,pcap-out=o\,k.pcapng".parse().unwrap();
        assert_eq!((spec.pcap_in, spec.pcap_out), (Some("1,5 Gb.pcap".into()), Some("o,k.pcapng".into())));
        assert!(error("pcap-in=1,5 Gb.pcap").ends_with(r"if that comma belongs to a file's name, write it \, (in quotes, for the shell's sake)"));
    }

    #[test]
    fn no_far_end_is_no_carrier() {
        let clock: Arc<dyn Clock> = ManualClock::new();
        let mut wire = WireSpec::default().open(&clock).unwrap();
        assert!(!wire.carrier() && !wire.receive(&mut Vec::new()));
    }

    #[test]
    fn wrappers_are_put_around() {
        let manual = ManualClock::new();
        let clock: Arc<dyn Clock> = manual.clone();
        let mut slow = "slow-us=10".parse::<WireSpec>().unwrap().open(&clock).unwrap();
        assert_eq!([slow.send(&[0; 60]), slow.send(&[0; 60])], [Sent::Taken, Sent::Busy]);
        let mut delayed = "delay-us=10".parse::<WireSpec>().unwrap().open(&clock).unwrap();
        assert_eq!((0..).take_while(|_| delayed.send(&[0; 60]) == Sent::Taken).take(5000).count(), 1022);
    }
}
