//! Device specs: how a person names a device.
//!
//! | spec | device |
//! | --- | --- |
//! | `0000:01:00.0` | the PCI function at that address, by kernel VFIO; see [`PCI_OPTIONS`] |
//! | `vfio-user:PATH` | what serves the vfio-user socket at PATH |
//! | `sim:ixgbe,KEY=VALUE,...` | a simulated Intel 82599, X540 or X550 in this process |
//! | `sim:virtio-net,KEY=VALUE,...` | a simulated virtio network device in this process |
//!
//! Simulated cards need barewire's feature `sim`, the others `vfio`; both are on unless switched off.
//!
//! # Options
//!
//! Of a PCI function ([`PCI_OPTIONS`]):
//!
//! | option | what it does |
//! | --- | --- |
//! | `way=iommufd\|group\|noiommu` | how VFIO is reached; the best there is where it is not said, and noiommu only where it is |
//!
//! Of a simulated card, its own ([`SIM_OPTIONS`]) and those of its wire ([`sim::wire::spec::OPTIONS`](::sim::wire::spec::OPTIONS)):
//!
//! | option | what it does |
//! | --- | --- |
//! | `card=82599\|x540\|x550\|82599-vf\|x540-vf\|x550-vf` | which card it is, or of which card a virtual function (sim:ixgbe) |
//! | `mac=XX:XX:XX:XX:XX:XX` | its own address; without it one that no other card of this or another process has |
//! | `mtu=BYTES` | the MTU that it tells, 68 to 65535 (sim:virtio-net) |
//! | `hang-tx=after:N` | transmission hangs after N frames, until a reset (sim:ixgbe) |
//! | `defect=register\|eeprom\|interrupt\|loopback` | what is broken in it, for `barewire selftest` to find (sim:ixgbe) |
//! | `partner=100M+1G+2.5G+5G+10G` | the speeds that the far end of a copper link offers: some of these, all without it (sim:ixgbe) |
//! | `cage=sr\|none\|foreign` | what sits in an 82599's cage: a 10GBASE-SR module, nothing, or one that is not for Ethernet (sim:ixgbe) |
//! | `run=threads\|stepped` | what moves it: a thread of its own, or the program's calls (see Host::stepped); not for barewire sim |
//! | `rx-checksum=none\|valid\|local` | what is said of received checksums: nothing, good, or left to be filled in as by a local kernel (sim:virtio-net) |
//! | `packed=on\|off` | whether packed queues are offered (sim:virtio-net) |
//! | `in-order=on\|off` | whether buffers are used in order (sim:virtio-net) |
//! | `queues=N` | how many queues of each direction it has, 1 to 8; 1 without it (sim:virtio-net) |
//! | `rss=on\|off` | whether flows are spread over them by hashes (sim:virtio-net) |
//! | `hashes=on\|off` | whether frames tell their hash (sim:virtio-net) |
//! | `segmentation=on\|off` | whether large frames are cut, and received ones put together (sim:virtio-net) |
//! | `moderation=on\|off` | whether interrupts are kept apart (sim:virtio-net) |
//! | `tap=NAME` | plug into the Linux network stack by the tap device NAME |
//! | `netns=NAME` | the network namespace of the tap device: a name of ip netns, or a path as /proc/PID/ns/net |
//! | `pcap-in=FILE` | receive the frames of the capture FILE (pcap or pcapng); a pipe, or - for standard input, is read as it comes |
//! | `pcap-out=FILE` | record what is sent in FILE (*.pcap or *.pcapng) |
//! | `dgram=LOCAL:REMOTE` | exchange frames by unix datagrams between two socket paths, as QEMU's -netdev dgram |
//! | `loss=P` | lose a frame with probability P, 0 to 1 |
//! | `dup=P` | duplicate a frame with probability P, 0 to 1 |
//! | `reorder=P` | let others overtake a frame with probability P, 0 to 1 |
//! | `delay-us=N` | delay every frame by N microseconds |
//! | `seed=N` | the seed of loss, dup and reorder, and of a stepped card's turns |
//! | `slow-us=N` | pass one frame in N microseconds each way |
//!
//! A comma in a file's name is written `\,`: see [`sim::wire::spec`](::sim::wire::spec).

use std::fmt;
#[cfg(feature = "vfio")]
use std::path::PathBuf;
use std::str::FromStr;

mod hints;
#[cfg(feature = "vfio")]
mod pci;
#[cfg(feature = "sim")]
mod sim;

use hints::nearest;
#[cfg(feature = "vfio")]
pub use pci::{PCI_OPTIONS, PciSpec};
#[cfg(feature = "sim")]
pub use sim::{Card, Run, SIM_OPTIONS, SimSpec};

/// What a device spec may look like, for errors.
const FORMS: &str = "0000:01:00.0 (a PCI address), vfio-user:PATH, or sim:ixgbe or sim:virtio-net with ,key=value options";

/// A device spec, read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "made once for a device")]
pub enum Spec {
    /// A PCI function.
    #[cfg(feature = "vfio")]
    Pci(PciSpec),
    /// What serves this vfio-user socket.
    #[cfg(feature = "vfio")]
    VfioUser(PathBuf),
    /// A simulated card in this process.
    #[cfg(feature = "sim")]
    Sim(SimSpec),
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
        Self::parse(spec).map_err(|what| SpecError::new(spec, what))
    }
}

impl Spec {
    fn parse(spec: &str) -> Result<Self, String> {
        match spec.split_once(':') {
            Some(("sim", rest)) => Self::simulated(rest),
            Some(("vfio-user", path)) => Self::served(path),
            _ if spec.is_empty() => Err(format!("an empty device spec; a device is {FORMS}")),
            _ if spec == "sim" || spec.starts_with("sim,") => Self::simulated(""),
            _ if spec == "vfio-user" => Self::served(""),
            _ if is_like_pci_address(spec) => Self::function(spec),
            Some((scheme, _)) => Err(match nearest(scheme, ["sim", "vfio-user"]) {
                Some(near) => format!("no such kind of device as {scheme}; did you mean {near}:?"),
                None => format!("no such kind of device; a device is {FORMS}"),
            }),
            None => Err(format!("no device spec; a device is {FORMS}")),
        }
    }

    #[cfg(feature = "sim")]
    fn simulated(rest: &str) -> Result<Self, String> {
        SimSpec::parse(rest).map(Self::Sim)
    }
    #[cfg(not(feature = "sim"))]
    fn simulated(_: &str) -> Result<Self, String> {
        Err(not_built("simulated cards need", "sim"))
    }

    #[cfg(feature = "vfio")]
    fn served(path: &str) -> Result<Self, String> {
        if path.is_empty() { Err("the socket's path is missing: vfio-user:PATH".into()) } else { Ok(Self::VfioUser(path.into())) }
    }
    #[cfg(not(feature = "vfio"))]
    fn served(_: &str) -> Result<Self, String> {
        Err(not_built("a vfio-user socket needs", "vfio"))
    }

    #[cfg(feature = "vfio")]
    fn function(spec: &str) -> Result<Self, String> {
        PciSpec::parse(spec).map(Self::Pci)
    }
    #[cfg(not(feature = "vfio"))]
    fn function(_: &str) -> Result<Self, String> {
        Err(not_built("a PCI function needs", "vfio"))
    }
}

/// What to say where a kind of device was left out of this program.
#[cfg(not(all(feature = "sim", feature = "vfio")))]
fn not_built(what_needs: &str, feature: &str) -> String {
    format!("{what_needs} barewire's feature `{feature}`, which this program was built without")
}

/// Whether a person meant a PCI address: nothing but hexadecimal digits, colons and dots before the options, and at least one of those marks.
fn is_like_pci_address(spec: &str) -> bool {
    let address = spec.split(',').next().unwrap_or_default();
    address.contains([':', '.']) && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
}

#[cfg(all(test, feature = "sim", feature = "vfio"))]
mod tests {
    use driver_core::ether::MacAddr;
    use proptest::prelude::*;
    use vfio::Way;

    use super::*;

    fn error(spec: &str) -> String {
        spec.parse::<Spec>().unwrap_err().to_string()
    }

    /// The page of this module lists every option, in the words of its table.
    #[test]
    fn every_option_is_documented() {
        let page = include_str!("mod.rs");
        for (key, form, what) in [PCI_OPTIONS, SIM_OPTIONS, ::sim::wire::spec::OPTIONS].concat() {
            let row = format!("//! | `{key}={}` | {what} |\n", form.replace('|', "\\|"));
            assert!(page.contains(&row), "missing: {row}");
        }
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
            ("sim:ixgbe,rx-checksum=local", "rx-checksum is an option of sim:virtio-net"),
            ("sim:virtio-net,rx-checksum=bad", "give rx-checksum=none|valid|local"),
            ("sim:ixgbe,packed=off", "packed is an option of sim:virtio-net"),
            ("sim:virtio-net,packed=1", "give packed=on|off"),
            ("sim:virtio-net,in-order=2", "give in-order=on|off"),
            ("sim:ixgbe,queues=2", "queues is an option of sim:virtio-net"),
            ("sim:ixgbe,rss=on", "rss is an option of sim:virtio-net"),
            ("sim:virtio-net,queues=0", "queues=0: no such queues; give queues=N"),
            ("sim:virtio-net,queues=9", "give queues=N"),
            ("sim:virtio-net,queues=2,queues=2", "queues is given twice"),
            ("sim:virtio-net,rss=1", "give rss=on|off"),
            ("sim:ixgbe,segmentation=on", "segmentation is an option of sim:virtio-net"),
            ("sim:virtio-net,segmentation=yes", "give segmentation=on|off"),
            ("sim:virtio-net,hashes=", "hashes: the value is missing: hashes=on|off"),
            ("sim:virtio-net,moderation=off,moderation=off", "moderation is given twice"),
            ("sim:ixgbe,run=fast", "run=fast: no such run; give run=threads|stepped"),
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
            ("sim:ixgbe,cart=x540", "did you mean card=82599|x540|x550|82599-vf|x540-vf|x550-vf?"),
            ("sim:ixgbe,colour=red", "no such option as colour; there are card=82599|x540|x550|82599-vf|x540-vf|x550-vf, mac="),
            ("sim:ixgbe,card=82598", "card=82598: no such card; give card=82599|x540|x550|82599-vf|x540-vf|x550-vf"),
            ("sim:ixgbe,card", "card: the value is missing: card=82599|x540|x550|82599-vf|x540-vf|x550-vf"),
            ("sim:ixgbe,tap", "the value is missing: tap=NAME"),
            ("sim:ixgbe,mtu=1280", "mtu is an option of sim:virtio-net"),
            ("sim:virtio-net,mtu=67", "mtu=67: no such mtu; give mtu=BYTES"),
            ("sim:ixgbe,mac=1", "mac=1: a MAC address is six hexadecimal bytes"),
            ("sim:ixgbe,mac=ff:ff:ff:ff:ff:ff", "a card's address is a unicast one"),
            ("sim:ixgbe,mac=02:00:00:00:00:01,mac=02:00:00:00:00:02", "mac is given twice"),
            ("sim:ixgbe,tap=a,pcap-in=b", "a card has one port"),
            ("sim:ixgbe,netns=lab", "netns=lab: it says where a tap device is: give tap=NAME, too"),
            ("sim:ixgbe,pcap-in=1,5 Gb.pcap", "if that comma belongs to a file's name, write it \\, (in quotes"),
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

#[cfg(all(test, not(all(feature = "sim", feature = "vfio"))))]
mod left_out {
    use super::*;

    #[test]
    fn a_kind_of_device_that_was_left_out_names_its_feature() {
        let kinds = [
            ("sim:ixgbe", "sim", cfg!(feature = "sim")),
            ("sim:virtio-net,tap=x", "sim", cfg!(feature = "sim")),
            ("vfio-user:/run/nic.sock", "vfio", cfg!(feature = "vfio")),
            ("0000:01:00.0", "vfio", cfg!(feature = "vfio")),
        ];
        for (spec, feature, is_built_in) in kinds {
            let wanted = format!("barewire's feature `{feature}`, which this program was built without");
            let error = spec.parse::<Spec>().err().map(|error| error.to_string());
            assert_eq!(error.is_some_and(|text| text.starts_with(spec) && text.ends_with(&wanted)), !is_built_in, "{spec}");
        }
        assert!("eth0".parse::<Spec>().unwrap_err().to_string().contains("no device spec; a device is"));
    }
}
