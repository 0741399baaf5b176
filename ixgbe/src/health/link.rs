//! What is known of the link: why there is none, and what is negotiated.

use driver_core::device::{ErrorKind, LinkDown, LinkReport, Module};
use driver_core::host::Bar;

use crate::card::Card;
use crate::id::Media;
use crate::regs::*;

/// A module's status, byte 110 of its diagnostics (SFF-8472, table 9-12): laser off, transmitter failed, no light.
const MODULE_STATUS: usize = 110;
const TX_DISABLED: u8 = 1 << 7;
const TX_FAULT: u8 = 1 << 2;
const RX_LOS: u8 = 1 << 1;

impl<B: Bar> Card<B> {
    /// Looks at the link, and where there is none for the reason, which takes some hundredths of a second.
    pub(crate) fn link_report(&self) -> Result<LinkReport, ErrorKind> {
        let link = self.link();
        match self.model.media {
            Media::Copper => self.copper_report(link),
            Media::Shared => Ok(LinkReport::of(link)),
            _ if link.up => Ok(LinkReport::of(link)),
            _ if AUTOC2.read(&self.bar).intersects(Autoc2::LINK_DISABLE) => Ok(LinkReport::down(LinkDown::Disabled)),
            Media::Sfp => Ok(LinkReport::down(self.why_no_light())),
            // LINKS bit 31: the negotiation of clause 73, where there is one, has ended.
            Media::Backplane if AUTOC.read(&self.bar).contains(Autoc::LMS_NEGOTIATES) => {
                let ended = LINKS.read(&self.bar).contains(Links::KX_AN_COMP);
                Ok(LinkReport::down(if ended { LinkDown::Unknown } else { LinkDown::Negotiating }))
            }
            Media::Backplane => Ok(LinkReport::of(link)),
        }
    }

    /// CAGE-PIN: the cage says by a pin whether a module is in it; the rest is the module's own word.
    fn why_no_light(&self) -> LinkDown {
        let esdp = ESDP.read(&self.bar);
        if !esdp.intersects(Esdp::SDP2_DATA | Esdp::SDP2_IODIR) {
            return LinkDown::NoModule;
        }
        let module = match self.read_module() {
            Ok(module) => module,
            Err(error) => {
                log::debug!("{}: {error}", self.name);
                return LinkDown::Unknown;
            }
        };
        let status = module.diagnostics.as_ref().and_then(|page| page.get(MODULE_STATUS).copied());
        match (module.kind(), status) {
            (kind @ Module::UNKNOWN_KIND, _) => LinkDown::UnsupportedModule { kind },
            (_, Some(status)) if status & TX_FAULT != 0 => LinkDown::ModuleFault,
            (_, Some(status)) if status & TX_DISABLED != 0 => LinkDown::LaserOff,
            (_, Some(status)) if status & RX_LOS != 0 => LinkDown::NoSignal,
            _ => LinkDown::Unknown,
        }
    }
}
