//! Link: bringing it up (4.6.4), and what it is now.

use core::convert::Infallible;
use core::ops::ControlFlow;

use driver_core::device::{ErrorKind, Link, LinkSpeeds};
use driver_core::host::Bar;
use driver_core::reg::{Pace, look_until};

use crate::card::Card;
use crate::id::{Family, Media};
use crate::regs::*;
use crate::semaphore::Resource;

/// For how long LINKS is read until two reads agree, and how far apart they are. What it says after that is taken as it is.
const SETTLING: Pace = Pace::within(1_000).every(100);

impl<B: Bar> Card<B> {
    /// 4.6.4: starts the link, at one of `speeds` where its medium is copper. It comes up on its own, later; nothing waits for it.
    pub(crate) fn start_link(&mut self, speeds: LinkSpeeds) -> Result<(), ErrorKind> {
        if self.model.media == Media::Sfp {
            // LASER-ON: a driver that ran before may have turned the module's laser off.
            ESDP.modify(&self.bar, |v| v - Esdp::SDP3_DATA);
        }
        match self.model.media {
            Media::Sfp | Media::Backplane => self.with_semaphore(Resource::MAC_CSR, || {
                self.restart_mac_link();
                Ok(())
            }),
            Media::Copper => self.start_phy(speeds),
            Media::Shared => Ok(()),
        }
    }

    /// 3.7.4.2 and 4.6.4: the EEPROM has set the lanes up; the link mode is checked, and the link restarted.
    fn restart_mac_link(&self) {
        AUTOC2.modify(&self.bar, |v| {
            let v = v - Autoc2::LINK_DISABLE;
            match self.model.media {
                Media::Sfp => (v - Autoc2::PMA_PMD_10G_SERIAL) | Autoc2::PMA_PMD_10G_SFI,
                _ => v,
            }
        });
        // "Configure the Link Mode Select field in the AUTOC register [...] to the appropriate operating mode" (LINK-MODE): SFI for an SFP+ cage,
        // on a backplane what the EEPROM says.
        let mode = |v: Autoc| match self.model.media {
            Media::Sfp => (v - Autoc::LMS) | Autoc::LMS_10G_SERIAL,
            _ => v,
        };
        // "Restart the link using the Restart Auto Negotiation field in the AUTOC register"
        AUTOC.modify(&self.bar, |v| mode(v) | Autoc::RESTART_AN);
        self.flush();
    }

    /// The link now. LINKS is read until two reads agree, since a link that comes up passes through other states.
    pub(crate) fn link(&self) -> Link {
        // All ones: the card does not answer. Masked, they would look like a link of 10 Gbit/s.
        let state = |links: Links| match links.bits() {
            u32::MAX => Links::empty(),
            _ => links & (Links::LINK_UP | Links::LINK_SPEED | Links::SPEED_NON_STD),
        };
        let mut before = state(self.places.links.read(&self.bar));
        let Ok(settled) = look_until(self.places.links, "two reads to agree", &*self.clock, SETTLING, || {
            let now = state(self.places.links.read(&self.bar));
            let same = now == before;
            before = now;
            Ok::<_, Infallible>(if same { ControlFlow::Break(()) } else { ControlFlow::Continue(now) })
        });
        if let Err(wait) = settled {
            log::debug!("{}: {wait}", self.name);
        }
        decode(before, self.model.family)
    }
}

/// 8.2.3.22.20; the speeds between are the X550's.
fn decode(links: Links, family: Family) -> Link {
    if !links.contains(Links::LINK_UP) {
        return Link::down();
    }
    let odd = family == Family::X550 && links.contains(Links::SPEED_NON_STD);
    let speed = links & Links::LINK_SPEED;
    let speed_mbps = match (odd, speed) {
        (false, Links::LINK_SPEED) => Some(10_000),
        (true, Links::LINK_SPEED) => Some(2_500),
        (_, Links::SPEED_1G) => Some(1_000),
        (false, Links::SPEED_100M) => Some(100),
        (true, Links::SPEED_100M) => Some(5_000),
        _ => None,
    };
    Link::up_at(speed_mbps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_the_tables() {
        let up = |bits: u32, family| decode(Links::from_bits_retain(bits), family).speed_mbps.unwrap_or(0);
        assert_eq!(up(0x7000_0000, Family::I82599), 10_000);
        assert_eq!(up(0x6000_0000, Family::I82599), 1_000);
        assert_eq!(up(0x5000_0000, Family::I82599), 100);
        assert_eq!(up(0x7800_0000, Family::X550), 2_500);
        assert_eq!(up(0x5800_0000, Family::X550), 5_000);
        // Bit 27 means something else on the older families (LINKS.MLINK_MODE).
        assert_eq!(up(0x7800_0000, Family::I82599), 10_000);
    }

    #[test]
    fn no_link_has_no_speed() {
        assert_eq!(decode(Links::from_bits_retain(0x3000_0000), Family::X540), Link::default());
    }
}
