//! Device specs: how a person names a device.
//!
//! | spec | device |
//! | --- | --- |
//! | `0000:01:00.0` | the PCI function at that address, by kernel VFIO; see [`PCI_OPTIONS`] |
//! | `vfio-user:PATH` | what serves the vfio-user socket at PATH |
//! | `sim:ixgbe,KEY=VALUE,...` | a simulated Intel 82599, X540 or X550 in this process |
//! | `sim:virtio-net,KEY=VALUE,...` | a simulated virtio network device in this process |
//!
//! The options of a simulated card are its own ([`SIM_OPTIONS`]) and those of its wire ([`sim::wire::spec::OPTIONS`]).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use driver_core::ether::MacAddr;
use sim::Model;
use sim::wire::spec::{OPTIONS as WIRE_OPTIONS, WireSpec};
use vfio::{PciAddress, Way};

/// The options of a simulated card itself: key, the value's form, and what it does.
pub const SIM_OPTIONS: &[(&str, &str, &str)] = &[
    ("card", "82599|x540|x550", "which card it is (sim:ixgbe)"),
    ("mac", "XX:XX:XX:XX:XX:XX", "its own address"),
    ("hang-tx", "after:N", "transmission hangs after N frames, until a reset (sim:ixgbe)"),
];

/// The options of a PCI function: key, the value's form, and what it does.
pub const PCI_OPTIONS: &[(&str, &str, &str)] =
    &[("way", "iommufd|group|noiommu", "how VFIO is reached; the best there is where it is not said, and noiommu only where it is")];

/// Where a simulated card has no name.
const WHICH_CARD: &str = "which simulated card is missing: sim:ixgbe or sim:virtio-net";
/// What a device spec may look like, for errors.
const FORMS: &str = "0000:01:00.0 (a PCI address), vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options";

/// A device spec, read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Spec {
    /// A PCI function.
    Pci(PciSpec),
    /// What serves this vfio-user socket.
    VfioUser(PathBuf),
    /// A simulated card in this process.
    Sim(SimSpec),
}

/// A PCI function and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciSpec {
    /// Where it is.
    pub address: PciAddress,
    /// How VFIO is reached; `None`: the best way there is.
    pub way: Option<Way>,
}

/// A simulated card and what it is plugged into.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SimSpec {
    /// Which card.
    pub card: Card,
    /// Its own address; `None`: one of its own for each card that a [`Host`](crate::Host) opens.
    pub mac: Option<MacAddr>,
    /// After how many transmitted frames its transmitter hangs, until the card is reset; `None`: never.
    pub hang_tx_after: Option<u64>,
    /// What its port is plugged into.
    pub wire: WireSpec,
}

/// The cards that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Card {
    /// Intel 82599.
    #[default]
    I82599,
    /// Intel X540.
    X540,
    /// Intel X550.
    X550,
    /// A virtio network device.
    VirtioNet,
}

/// A spec that names no device: which, and what would be right. `Debug` reads as `Display` does.
#[derive(Clone, PartialEq, Eq)]
pub struct SpecError {
    spec: String,
    what: String,
}

impl SpecError {
    /// `spec` is wrong: `what` says how, and what would be right.
    pub fn new(spec: &str, what: impl Into<String>) -> Self {
        Self { spec: spec.into(), what: what.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A spec may be any string: what would break the line is shown escaped.
        for c in self.spec.chars().chain(": ".chars()).chain(self.what.chars()) {
            if c.is_control() { write!(f, "{}", c.escape_debug())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SpecError {}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let wrong = |what: String| Err(SpecError::new(spec, what));
        match spec.split_once(':') {
            Some(("sim", rest)) => SimSpec::parse(rest).map(Self::Sim).or_else(wrong),
            Some(("vfio-user", "")) => wrong("the socket's path is missing: vfio-user:PATH".into()),
            Some(("vfio-user", path)) => Ok(Self::VfioUser(path.into())),
            _ if spec.is_empty() => wrong(format!("an empty device spec; a device is {FORMS}")),
            _ if spec == "sim" || spec.starts_with("sim,") => wrong(WHICH_CARD.into()),
            _ if spec == "vfio-user" => wrong("the socket's path is missing: vfio-user:PATH".into()),
            _ if is_like_pci_address(spec) => PciSpec::parse(spec).map(Self::Pci).or_else(wrong),
            Some((scheme, _)) => wrong(match nearest(scheme, ["sim", "vfio-user"]) {
                Some(near) => format!("no such kind of device as {scheme}; did you mean {near}:?"),
                None => format!("no such kind of device; a device is {FORMS}"),
            }),
            None => wrong(format!("no device spec; a device is {FORMS}")),
        }
    }
}

impl PciSpec {
    fn parse(spec: &str) -> Result<Self, String> {
        let (address, options) = spec.split_once(',').unwrap_or((spec, ""));
        // The error shows the spec itself.
        let wrong = |_| "no PCI address: write domain:bus:device.function in hexadecimal as lspci -D prints it, for example 0000:01:00.0".to_owned();
        let mut spec = Self { address: address.parse().map_err(wrong)?, way: None };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let Some((_, form, _)) = PCI_OPTIONS.iter().find(|(known, ..)| *known == key) else { return Err(unknown_option(key, PCI_OPTIONS)) };
            if spec.way.is_some() {
                return Err(format!("{key} is given twice: give it once"));
            }
            match value {
                "" => return Err(format!("{key}: the value is missing: {key}={form}")),
                value => spec.way = Some(value.parse().map_err(|_| format!("{key}={value}: no such {key}; give {key}={form}"))?),
            }
        }
        Ok(spec)
    }
}

impl SimSpec {
    /// The card itself, not plugged in; `mac` is its own address where the spec gives none.
    pub fn model(&self, mac: [u8; 6]) -> Box<dyn Model> {
        crate::device::model(self.card, self.mac.map_or(mac, |mac| mac.0), self.hang_tx_after)
    }

    /// Reads what is behind `sim:`.
    fn parse(rest: &str) -> Result<Self, String> {
        let (driver, options) = rest.split_once(',').unwrap_or((rest, ""));
        let card = match driver {
            "ixgbe" => Card::default(),
            "virtio-net" => Card::VirtioNet,
            "" => return Err(WHICH_CARD.into()),
            other => {
                return Err(match nearest(other, ["ixgbe", "virtio-net"]) {
                    Some(near) => format!("no simulated card of that name; did you mean sim:{near}?"),
                    None => "no simulated card of that name; there are sim:ixgbe and sim:virtio-net".into(),
                });
            }
        };
        let (mut spec, mut seen) = (Self { card, ..Self::default() }, Vec::new());
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !spec.set_own(&mut seen, key, value)? && !spec.wire.set(key, value).map_err(|error| error.to_string())? {
                return Err(unknown_option(key, &[SIM_OPTIONS, WIRE_OPTIONS].concat()));
            }
        }
        Ok(spec)
    }

    /// Takes an option of the card itself. `false`: it is none.
    fn set_own<'a>(&mut self, seen: &mut Vec<&'a str>, key: &'a str, value: &str) -> Result<bool, String> {
        let Some((_, form, _)) = SIM_OPTIONS.iter().find(|(known, ..)| *known == key) else { return Ok(false) };
        if seen.contains(&key) {
            return Err(format!("{key} is given twice: give it once"));
        }
        seen.push(key);
        match (key, value) {
            ("card" | "hang-tx", _) if self.card == Card::VirtioNet => return Err(format!("{key} is an option of sim:ixgbe: leave it away")),
            ("hang-tx", value) if let Some(Ok(frames)) = value.strip_prefix("after:").map(str::parse) => self.hang_tx_after = Some(frames),
            ("card", "82599") => self.card = Card::I82599,
            ("card", "x540") => self.card = Card::X540,
            ("card", "x550") => self.card = Card::X550,
            ("mac", value) => {
                let mac = value.parse::<MacAddr>().map_err(|error| format!("mac={value}: {error}"))?;
                if !mac.is_valid_unicast() {
                    return Err(format!("mac={mac}: a card's address is a unicast one and not zero: take 02:00:00:00:00:01"));
                }
                self.mac = Some(mac);
            }
            (key, "") => return Err(format!("{key}: the value is missing: {key}={form}")),
            (key, value) => return Err(format!("{key}={value}: no such {key}; give {key}={form}")),
        }
        Ok(true)
    }
}

fn unknown_option(key: &str, options: &[(&str, &str, &str)]) -> String {
    let near = nearest(key, options.iter().map(|(known, ..)| *known));
    let form = near.and_then(|near| options.iter().find(|(known, ..)| *known == near));
    match form {
        Some((near, form, _)) => format!("no such option as {key}; did you mean {near}={form}?"),
        None => {
            let all: Vec<_> = options.iter().map(|(key, form, _)| format!("{key}={form}")).collect();
            format!("no such option as {key}; there are {}", all.join(", "))
        }
    }
}

/// The candidate that `word` was most likely meant to be.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = candidates.into_iter().map(|candidate| (strsim::osa_distance(word, candidate), candidate));
    // As many wrong characters as make a third of the word.
    distances.filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3)).min().map(|(_, candidate)| candidate)
}

/// Whether a person meant a PCI address: nothing but hexadecimal digits, colons and dots before the options, and at least one of those marks.
fn is_like_pci_address(spec: &str) -> bool {
    let address = spec.split(',').next().unwrap_or_default();
    address.contains([':', '.']) && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(spec: &str) -> String {
        spec.parse::<Spec>().unwrap_err().to_string()
    }

    #[test]
    fn good_specs() {
        for (text, full) in [("0000:01:00.0", "0000:01:00.0"), ("af:1f.7", "0000:af:1f.7"), ("10000:e1:00.1", "10000:e1:00.1")] {
            assert_eq!(text.parse(), Ok(Spec::Pci(PciSpec { address: full.parse().unwrap(), way: None })));
        }
        let noiommu = PciSpec { address: "0000:01:00.0".parse().unwrap(), way: Some(Way::NoIommu) };
        assert_eq!("01:00.0,way=noiommu".parse(), Ok(Spec::Pci(noiommu)));
        assert_eq!("vfio-user:/run/nic.sock".parse(), Ok(Spec::VfioUser("/run/nic.sock".into())));
        assert_eq!("sim:ixgbe".parse(), Ok(Spec::Sim(SimSpec::default())));
        let Ok(Spec::Sim(spec)) = "sim:ixgbe,mac=02:00:00:00:00:07,card=x550,tap=tap0,loss=0.5".parse() else { panic!("a good spec") };
        assert_eq!((spec.card, spec.mac), (Card::X550, Some(MacAddr([2, 0, 0, 0, 0, 7]))));
        assert_eq!(spec.wire, "tap=tap0,loss=0.5".parse().unwrap());
        assert_eq!("sim:virtio-net".parse(), Ok(Spec::Sim(SimSpec { card: Card::VirtioNet, ..SimSpec::default() })));
    }

    #[test]
    fn a_wrong_spec_is_told_in_one_line_what_is_right() {
        let table = [
            ("", "an empty device spec; a device is 0000:01:00.0"),
            ("eth0", "eth0: no device spec; a device is 0000:01:00.0 (a PCI address), vfio-user:PATH, or sim:ixgbe"),
            ("pcap:in.pcap", "no such kind of device; a device is"),
            ("sin:ixgbe", "no such kind of device as sin; did you mean sim:?"),
            ("vfiouser:/x", "did you mean vfio-user:?"),
            ("vfio-user:", "vfio-user:PATH"),
            ("vfio-user", "vfio-user:PATH"),
            ("sim", "sim:ixgbe"),
            ("sim:", "sim:ixgbe"),
            ("sim:ixgeb", "did you mean sim:ixgbe?"),
            ("sim:e1000", "there are sim:ixgbe and sim:virtio-net"),
            ("sim:virtio", "did you mean sim:virtio-net?"),
            ("sim:virtio-net,card=x540", "card is an option of sim:ixgbe"),
            ("sim:virtio-net,hang-tx=after:3", "hang-tx is an option of sim:ixgbe"),
            ("sim:ixgbe,hang-tx=3", "give hang-tx=after:N"),
            ("0000:01:00", "no PCI address: write domain:bus:device.function"),
            ("0000:01:20.0", "no PCI address"),
            ("0000:01:00.8", "no PCI address"),
            ("1:2:3:4.0", "no PCI address"),
            ("0000:01:00,way=group", "no PCI address"),
            ("0000:01:00.0,wy=group", "no such option as wy; did you mean way=iommufd|group|noiommu?"),
            ("0000:01:00.0,tap=tap0", "no such option as tap"),
            ("0000:01:00.0,way=type1", "way=type1: no such way; give way=iommufd|group|noiommu"),
            ("0000:01:00.0,way", "way: the value is missing: way=iommufd|group|noiommu"),
            ("0000:01:00.0,way=group,way=iommufd", "way is given twice"),
            ("sim:ixgbe,tpa=x", "no such option as tpa; did you mean tap=NAME?"),
            ("sim:ixgbe,cart=x540", "did you mean card=82599|x540|x550?"),
            ("sim:ixgbe,colour=red", "no such option as colour; there are card=82599|x540|x550, mac="),
            ("sim:ixgbe,card=82598", "card=82598: no such card; give card=82599|x540|x550"),
            ("sim:ixgbe,card", "card: the value is missing: card=82599|x540|x550"),
            ("sim:ixgbe,tap", "the value is missing: tap=NAME"),
            ("sim:ixgbe,mac=1", "mac=1: a MAC address is six hexadecimal bytes"),
            ("sim:ixgbe,mac=ff:ff:ff:ff:ff:ff", "a card's address is a unicast one"),
            ("sim:ixgbe,mac=02:00:00:00:00:01,mac=02:00:00:00:00:02", "mac is given twice"),
            ("sim:ixgbe,tap=a,pcap-in=b", "a card has one port"),
            ("sim:ixgbe,loss=2", "a probability is a number from 0 to 1"),
            ("a\nb", "a\\nb: no device spec"),
        ];
        for (spec, wanted) in table {
            let text = error(spec);
            assert!(text.contains(wanted), "{spec}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_string_panics(text in ".*", options in "(,?[a-z-]{0,8}=?[-0-9a-f:./,]{0,12}){0,4}") {
            for spec in [text.clone(), format!("sim:{text}"), format!("sim:ixgbe,{text}"), format!("sim:ixgbe,{options}"), format!("vfio-user:{text}")] {
                if let Err(error) = spec.parse::<Spec>() {
                    prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
                }
            }
        }

        #[test]
        fn no_address_panics(text in "[0-9a-f:.]{0,16}(,way=[a-z]{0,8})?") {
            if let Ok(Spec::Pci(spec)) = text.parse() {
                prop_assert_eq!(spec.address.to_string().parse(), Ok(Spec::Pci(PciSpec { way: None, ..spec })));
            }
        }
    }
}
