//! Whether there is a link, how fast it is, what both ends negotiate, and why there is none.

use core::fmt;

use bitflags::bitflags;

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Its speed in Mbit/s, where it is up and its speed known.
    pub speed_mbps: Option<u32>,
    /// Whether it is full duplex.
    pub full_duplex: bool,
}

impl Link {
    /// No link.
    pub const fn down() -> Self {
        Self { up: false, speed_mbps: None, full_duplex: false }
    }
    /// A link with full duplex, at a speed in Mbit/s where it is known.
    pub const fn up_at(speed_mbps: Option<u32>) -> Self {
        Self { up: true, speed_mbps, full_duplex: true }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.up {
            return f.write_str("down");
        }
        let duplex = if self.full_duplex { "full" } else { "half" };
        match self.speed_mbps {
            None => write!(f, "up"),
            Some(speed) => write!(f, "up, {speed} Mbit/s, {duplex} duplex"),
        }
    }
}

bitflags! {
    /// Speeds that an end of a link offers in auto-negotiation, full duplex.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct LinkSpeeds: u32 {
        /// 100 Mbit/s.
        const M100 = 1 << 0;
        /// 1 Gbit/s.
        const G1 = 1 << 1;
        /// 2.5 Gbit/s.
        const G2_5 = 1 << 2;
        /// 5 Gbit/s.
        const G5 = 1 << 3;
        /// 10 Gbit/s.
        const G10 = 1 << 4;
    }
}

/// Words for them, as they are written and read.
const WORDS: [(&str, LinkSpeeds); 5] =
    [("100M", LinkSpeeds::M100), ("1G", LinkSpeeds::G1), ("2.5G", LinkSpeeds::G2_5), ("5G", LinkSpeeds::G5), ("10G", LinkSpeeds::G10)];

impl LinkSpeeds {
    /// Those that `words` names, as they are written: `1G+10G`. `None` where one of them is no speed.
    ///
    /// ```
    /// use driver_core::device::LinkSpeeds;
    /// assert_eq!(LinkSpeeds::of("2.5G+100M"), Some(LinkSpeeds::G2_5 | LinkSpeeds::M100));
    /// assert_eq!((LinkSpeeds::of("10G").unwrap() | LinkSpeeds::M100).to_string(), "100M+10G");
    /// assert_eq!(LinkSpeeds::of("10"), None);
    /// ```
    pub fn of(words: &str) -> Option<Self> {
        words.split('+').try_fold(Self::empty(), |all, word| Some(all | WORDS.iter().find(|(known, _)| *known == word)?.1))
    }
}

impl fmt::Display for LinkSpeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for (word, _) in WORDS.iter().filter(|(_, speed)| self.contains(*speed)) {
            write!(f, "{separator}{word}")?;
            separator = "+";
        }
        Ok(())
    }
}

/// How an end of a link and its partner negotiate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Negotiation {
    /// What this end offers.
    pub offered: LinkSpeeds,
    /// What the partner offers; nothing where none was heard.
    pub partner: LinkSpeeds,
    /// Both have agreed.
    pub is_complete: bool,
}

impl Negotiation {
    /// How it stands.
    pub const fn new(offered: LinkSpeeds, partner: LinkSpeeds, is_complete: bool) -> Self {
        Self { offered, partner, is_complete }
    }
}

/// Why there is no link, as far as the device tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkDown {
    /// It was turned off at this end, by its EEPROM or another program.
    Disabled,
    /// No module is in the cage.
    NoModule,
    /// The module in the cage is not for this port.
    UnsupportedModule {
        /// The kind of Ethernet that it is for.
        kind: &'static str,
    },
    /// The module in the cage says that it has failed.
    ModuleFault,
    /// The module's transmitter is off.
    LaserOff,
    /// No light or signal comes in.
    NoSignal,
    /// The PHY is powered down.
    PoweredDown,
    /// The PHY is so hot that it has shut down.
    Overheated,
    /// Nobody at the other end negotiates.
    NoPartner,
    /// Both ends are negotiating.
    Negotiating,
    /// Both ends offer speeds, and none that the other does.
    NoCommonSpeed,
    /// The device does not tell.
    Unknown,
}

impl LinkDown {
    /// In one word, for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NoModule => "no-module",
            Self::UnsupportedModule { .. } => "unsupported-module",
            Self::ModuleFault => "module-fault",
            Self::LaserOff => "laser-off",
            Self::NoSignal => "no-signal",
            Self::PoweredDown => "powered-down",
            Self::Overheated => "overheated",
            Self::NoPartner => "no-partner",
            Self::Negotiating => "negotiating",
            Self::NoCommonSpeed => "no-common-speed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for LinkDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "it is turned off at this end: see what else uses the card",
            Self::NoModule => "no module is in the cage: plug one in",
            Self::UnsupportedModule { kind } => {
                return write!(f, "the module in the cage is not for this port ({kind}): take one for 10 Gbit/s Ethernet");
            }
            Self::ModuleFault => "the module in the cage says that its transmitter failed: take another",
            Self::LaserOff => "the module's transmitter is off: start the card anew",
            Self::NoSignal => "no light comes in: see to the cable, and whether the other end sends",
            Self::PoweredDown => "the PHY is powered down: start the card anew",
            Self::Overheated => "the PHY was so hot that it shut down: see to the card's cooling, and power the machine off and on",
            Self::NoPartner => "nobody at the other end negotiates: see to the cable, and whether the other end is on",
            Self::Negotiating => "both ends are negotiating: wait",
            Self::NoCommonSpeed => "the other end offers no speed that this one does: offer more (`Config::link_speeds`), or let the other end",
            Self::Unknown => "the device does not tell why: see to the cable, and whether the other end is on",
        })
    }
}

/// A link as it is: [`NetDevice::link_report`](crate::device::NetDevice::link_report).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LinkReport {
    /// Whether there is one, and how fast.
    pub link: Link,
    /// Why there is none; `None` where there is.
    pub why_down: Option<LinkDown>,
    /// What both ends negotiate; `None` where they do not, or the driver does not see it.
    pub negotiation: Option<Negotiation>,
}

impl LinkReport {
    /// Of a device that tells no more.
    pub const fn of(link: Link) -> Self {
        Self { link, why_down: if link.up { None } else { Some(LinkDown::Unknown) }, negotiation: None }
    }

    /// A link that is not there, for a reason.
    pub const fn down(why: LinkDown) -> Self {
        Self { link: Link::down(), why_down: Some(why), negotiation: None }
    }

    /// The same with what is negotiated.
    #[must_use]
    pub const fn negotiated(self, negotiation: Negotiation) -> Self {
        Self { negotiation: Some(negotiation), ..self }
    }
}

impl fmt::Display for LinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.link)?;
        if let Some(why) = self.why_down {
            write!(f, ", since {why}")?;
        }
        match self.negotiation {
            Some(Negotiation { offered, partner, .. }) => write!(f, " ({offered} offered, the other end {partner})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_link_is_told_with_its_cause_and_what_was_negotiated() {
        let negotiation = Negotiation::new(LinkSpeeds::G1 | LinkSpeeds::G10, LinkSpeeds::M100, false);
        let report = LinkReport::down(LinkDown::NoCommonSpeed).negotiated(negotiation);
        let text = report.to_string();
        assert!(text.starts_with("down, since the other end offers no speed that this one does: "), "{text}");
        assert!(text.ends_with(" (1G+10G offered, the other end 100M)"), "{text}");
        assert_eq!(LinkReport::of(Link::up_at(Some(1000))).to_string(), "up, 1000 Mbit/s, full duplex");
    }

    #[test]
    fn a_link_tells_its_speed_where_it_is_known() {
        assert_eq!(Link::default(), Link::down());
        let half = Link { full_duplex: false, ..Link::up_at(Some(100)) };
        let texts = [Link::down(), Link::up_at(None), Link::up_at(Some(10_000)), half].map(|link| link.to_string());
        assert_eq!(texts, ["down", "up", "up, 10000 Mbit/s, full duplex", "up, 100 Mbit/s, half duplex"]);
    }
}
