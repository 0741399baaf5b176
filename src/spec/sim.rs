//! How a person names a simulated card.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use driver_core::ether::{MIN_MTU, MacAddr};
use sim::Model;
use sim::ixgbe::{Cage, Defect, Ixgbe, IxgbeOptions, IxgbeVf, PfOptions, Speeds};
use sim::virtio_net::{RxChecksum, VirtioNet, VirtioNetOptions};
use sim::wire::spec::{OPTIONS as WIRE_OPTIONS, WireSpec, comma_hint, parts};

use super::hints::{nearest, unknown_option};

/// The options of a simulated card itself: key, the value's form, and what it does.
pub const SIM_OPTIONS: &[(&str, &str, &str)] = &[
    ("card", "82599|x540|x550|82599-vf|x540-vf|x550-vf", "which card it is, or of which card a virtual function (sim:ixgbe)"),
    ("mac", "XX:XX:XX:XX:XX:XX", "its own address; without it one that no other card of this or another process has"),
    ("mtu", "BYTES", "the MTU that it tells, 68 to 65535 (sim:virtio-net)"),
    ("hang-tx", "after:N", "transmission hangs after N frames, until a reset (sim:ixgbe)"),
    ("defect", "register|eeprom|interrupt|loopback", "what is broken in it, for `barewire selftest` to find (sim:ixgbe)"),
    ("partner", "100M+1G+2.5G+5G+10G", "the speeds that the far end of a copper link offers: some of these, all without it (sim:ixgbe)"),
    ("cage", "sr|none|foreign", "what sits in an 82599's cage: a 10GBASE-SR module, nothing, or one that is not for Ethernet (sim:ixgbe)"),
    ("run", "threads|stepped", "what moves it: a thread of its own, or the program's calls (see Host::stepped); not for barewire sim"),
    (
        "rx-checksum",
        "none|valid|local",
        "what is said of received checksums: nothing, good, or left to be filled in as by a local kernel (sim:virtio-net)",
    ),
    ("packed", "on|off", "whether packed queues are offered (sim:virtio-net)"),
    ("in-order", "on|off", "whether buffers are used in order (sim:virtio-net)"),
    ("queues", "N", "how many queues of each direction it has, 1 to 8; 1 without it (sim:virtio-net)"),
    ("rss", "on|off", "whether flows are spread over them by hashes (sim:virtio-net)"),
    ("hashes", "on|off", "whether frames tell their hash (sim:virtio-net)"),
    ("segmentation", "on|off", "whether large frames are cut, and received ones put together (sim:virtio-net)"),
    ("moderation", "on|off", "whether interrupts are kept apart (sim:virtio-net)"),
];

/// Where a simulated card has no name.
pub(super) const WHICH_CARD: &str = "which simulated card is missing: sim:ixgbe or sim:virtio-net";

/// A simulated card and what it is plugged into.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SimSpec {
    /// Which card.
    pub card: Card,
    /// Its own address; `None`: a [fresh](SimSpec::fresh_mac) one.
    pub mac: Option<MacAddr>,
    /// The MTU that a virtio card tells, in bytes; `None`: 9000.
    pub mtu: Option<u16>,
    /// After how many transmitted frames its transmitter hangs, until the card is reset; `None`: never.
    pub hang_tx_after: Option<u64>,
    /// What is broken in it.
    pub defect: Option<Defect>,
    /// The speeds that the far end of its copper link offers; `None`: all.
    pub partner: Option<Speeds>,
    /// What sits in its cage.
    pub cage: Cage,
    /// What moves it; `None`: as its [`Host`](crate::Host) has it.
    pub run: Option<Run>,
    /// What a virtio card says of the checksums of frames that it delivers.
    pub rx_checksum: RxChecksum,
    /// Whether a virtio card offers packed queues; `None`: it does not.
    pub packed: Option<bool>,
    /// Whether a virtio card offers to use buffers in order; `None`: it does not.
    pub in_order: Option<bool>,
    /// How many queues of each direction a virtio card has; `None`: one.
    pub queues: Option<u16>,
    /// Whether a virtio card spreads flows by hashes; `None`: it does not.
    pub rss: Option<bool>,
    /// Whether a virtio card's frames tell their hash; `None`: they do not.
    pub hashes: Option<bool>,
    /// Whether a virtio card cuts large frames and puts received ones together, which a command switches; `None`: it does neither.
    pub segmentation: Option<bool>,
    /// Whether a virtio card keeps interrupts apart; `None`: it does not.
    pub moderation: Option<bool>,
    /// What its port is plugged into.
    pub wire: WireSpec,
}

/// The cards that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Card {
    /// Intel 82599.
    #[default]
    I82599,
    /// Intel X540.
    X540,
    /// Intel X550.
    X550,
    /// A virtual function of an Intel 82599.
    I82599Vf,
    /// A virtual function of an Intel X540.
    X540Vf,
    /// A virtual function of an Intel X550.
    X550Vf,
    /// A virtio network device.
    VirtioNet,
}

/// What moves a simulated card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// A thread of its own, in real time.
    Threads,
    /// Its program's calls, in simulated time: see [`Host::stepped`](crate::Host::stepped).
    Stepped,
}

impl SimSpec {
    /// An address for a card whose spec gives none: locally administered, and another one for each card and each process, so that programs whose cards are
    /// plugged into one bridge do not take each other's frames. An address that stays is given as `mac=`.
    pub fn fresh_mac() -> [u8; 6] {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static CARDS: AtomicU16 = AtomicU16::new(1);
        // The standard library's hashers are seeded by the operating system. A process ID would be the same in many containers.
        let process = PROCESS.get_or_init(|| RandomState::new().build_hasher().finish());
        let [a, b, c, ..] = process.to_le_bytes();
        let [high, low] = CARDS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        [0x02, a, b, c, high, low]
    }

    /// The card itself, not plugged in; `mac` is its own address where the spec gives none.
    pub fn model(&self, mac: [u8; 6]) -> Box<dyn Model> {
        let mac = self.mac.map_or(mac, |mac| mac.0);
        let options = |device| {
            let options = IxgbeOptions::new().device(device).mac(mac).hang_tx_after(self.hang_tx_after).defect(self.defect).cage(self.cage);
            options.partner(self.partner.unwrap_or(Speeds::all()))
        };
        let ixgbe = |device| Box::new(Ixgbe::new(options(device)));
        let function = |device| Box::new(IxgbeVf::new(options(device), PfOptions::default()));
        match self.card {
            Card::I82599 => ixgbe(0x10fb),
            Card::X540 => ixgbe(0x1528),
            Card::X550 => ixgbe(0x1563),
            Card::I82599Vf => function(0x10ed),
            Card::X540Vf => function(0x1515),
            Card::X550Vf => function(0x1565),
            Card::VirtioNet => {
                let options = VirtioNetOptions::new()
                    .mac(mac)
                    .rx_checksum(self.rx_checksum)
                    .packed(self.packed.unwrap_or(false))
                    .in_order(self.in_order.unwrap_or(false));
                let options = options.pairs(self.queues.unwrap_or(1)).rss(self.rss.unwrap_or(false)).hash_report(self.hashes.unwrap_or(false));
                let (segments, moderates) = (self.segmentation.unwrap_or(false), self.moderation.unwrap_or(false));
                let options = options.segmentation(segments).large_receive(segments).guest_offloads(segments);
                let options = options.notf_coal(moderates).vq_notf_coal(moderates);
                Box::new(VirtioNet::new(if let Some(mtu) = self.mtu { options.mtu(mtu) } else { options }))
            }
        }
    }

    /// Reads what is behind `sim:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
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
        let (mut spec, mut seen, options) = (Self { card, ..Self::default() }, Vec::new(), parts(options));
        for option in &options {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if !spec.set_own(&mut seen, key, value)? && !spec.wire.set(key, value).map_err(|error| error.to_string())? {
                return Err(unknown_option(key, &[SIM_OPTIONS, WIRE_OPTIONS].concat()) + comma_hint(option));
            }
        }
        spec.wire.check().map_err(|error| error.to_string())?;
        Ok(spec)
    }

    /// Takes an option of the card itself. `false`: it is none.
    fn set_own<'a>(&mut self, seen: &mut Vec<&'a str>, key: &'a str, value: &str) -> Result<bool, String> {
        let Some((_, form, _)) = SIM_OPTIONS.iter().find(|(known, ..)| *known == key) else { return Ok(false) };
        if seen.contains(&key) {
            return Err(format!("{key} is given twice: give it once"));
        }
        seen.push(key);
        let after = value.strip_prefix("after:").and_then(|frames| frames.parse().ok());
        let mtu = value.parse().ok().filter(|&mtu: &u16| u32::from(mtu) >= MIN_MTU);
        let is_on = ["off", "on"].iter().position(|word| *word == value).map(|at| at == 1);
        let queues = value.parse().ok().filter(|queues| (1..=8).contains(queues));
        match (key, value) {
            ("card" | "hang-tx" | "defect" | "partner" | "cage", _) if self.card == Card::VirtioNet => {
                return Err(format!("{key} is an option of sim:ixgbe: leave it away"));
            }
            ("mtu", _) if self.card != Card::VirtioNet => return Err("mtu is an option of sim:virtio-net: leave it away".into()),
            ("mtu", _) if mtu.is_some() => self.mtu = mtu,
            ("hang-tx", _) if after.is_some() => self.hang_tx_after = after,
            ("rx-checksum" | "packed" | "in-order" | "queues" | "rss" | "hashes" | "segmentation" | "moderation", _)
                if self.card != Card::VirtioNet =>
            {
                return Err(format!("{key} is an option of sim:virtio-net: leave it away"));
            }
            ("rx-checksum", "none") => self.rx_checksum = RxChecksum::None,
            ("rx-checksum", "valid") => self.rx_checksum = RxChecksum::Valid,
            ("rx-checksum", "local") => self.rx_checksum = RxChecksum::Local,
            ("packed", _) if is_on.is_some() => self.packed = is_on,
            ("in-order", _) if is_on.is_some() => self.in_order = is_on,
            ("queues", _) if queues.is_some() => self.queues = queues,
            ("rss", _) if is_on.is_some() => self.rss = is_on,
            ("hashes", _) if is_on.is_some() => self.hashes = is_on,
            ("segmentation", _) if is_on.is_some() => self.segmentation = is_on,
            ("moderation", _) if is_on.is_some() => self.moderation = is_on,
            ("defect", word) if Defect::of(word).is_some() => self.defect = Defect::of(word),
            ("partner", words) if Speeds::of(words).is_some() => self.partner = Speeds::of(words),
            ("cage", word) if Cage::of(word).is_some() => self.cage = Cage::of(word).unwrap_or_default(),
            ("run", "threads") => self.run = Some(Run::Threads),
            ("run", "stepped") => self.run = Some(Run::Stepped),
            ("card", "82599") => self.card = Card::I82599,
            ("card", "x540") => self.card = Card::X540,
            ("card", "x550") => self.card = Card::X550,
            ("card", "82599-vf") => self.card = Card::I82599Vf,
            ("card", "x540-vf") => self.card = Card::X540Vf,
            ("card", "x550-vf") => self.card = Card::X550Vf,
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
