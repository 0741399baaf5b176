//! A virtual function that was reset becomes one that works: the same by a start and by a recovery.

use alloc::vec::Vec;

use driver_core::device::{ErrorKind, Link, Moderation, RxMode, Settings};
use driver_core::ether::{FCS_BYTES, HEADER_BYTES};
use driver_core::host::{Bar, VectorPlan};

use crate::card::Card;
use crate::layout::Layout;
use crate::queues::{RingAt, RxSetup};
use crate::regs::vf::{VTEIAC, VTEIAM, VTEICR, VTEIMS, VTIVAR_MISC};
use crate::regs::{Eicr, IVAR_VALID};
use crate::vf::mailbox::Mailbox;
use crate::vf::requests::{Requests, Terms, Xcast};

/// NO-LIMITS: how long a physical function may be in its reset until the attempt is given up.
pub(crate) const PF_BACK_US: u64 = 500_000;

/// What the physical function did not let the function have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) rx_mode: RxMode,
}

/// A virtual function and its end of the mailbox.
pub(crate) struct Function<B: Bar> {
    pub(crate) card: Card<B>,
    pub(crate) mailbox: Mailbox,
    /// As the last handshake had them.
    pub(crate) terms: Terms,
    /// VLANs that come in since then.
    pub(crate) vlans: Vec<u16>,
}

impl<B: Bar> Function<B> {
    pub(crate) fn requests(&mut self) -> Requests<'_, B> {
        Requests { card: &self.card, mailbox: &mut self.mailbox }
    }

    /// The port's link: by message where the physical function tells it, else by VFLINKS. One that has told and does not any more is not asked again until the next
    /// handshake, lest each look at the link wait for it.
    pub(crate) fn port_link(&mut self) -> Link {
        if self.terms.tells_link {
            match self.requests().port_link() {
                Ok(Some(link)) => return link,
                Ok(None) => log::warn!("{}: its physical function does not tell the link any more", self.card.name),
                Err(error) => log::warn!("{}: {error}", self.card.name),
            }
            self.terms.tells_link = false;
        }
        self.card.link()
    }

    /// The handshake with the physical function, behind a reset of the virtual one.
    pub(crate) fn shake_hands(card: &Card<B>, mailbox: &mut Mailbox) -> Result<Terms, ErrorKind> {
        mailbox.begin(card, PF_BACK_US)?;
        Requests { card, mailbox }.handshake()
    }

    /// Sets up a function that was reset. `rx`, `tx`: the queues that are turned on, each at its number.
    pub(crate) fn bring_up(&mut self, settings: &Settings, rx: &[RxSetup], tx: &[RingAt]) -> Result<Granted, ErrorKind> {
        self.terms = Self::shake_hands(&self.card, &mut self.mailbox)?;
        let granted = self.set_filters(settings)?;
        // Without the check sequence's four bytes and the header it is the MTU; a tag comes on top by itself.
        self.requests().set_length(settings.mtu() + (HEADER_BYTES + FCS_BYTES) as u32)?;
        self.init_rss(settings)?;
        let card = &self.card;
        for setup in rx {
            card.setup_rx(setup)?;
        }
        for (index, &ring) in (0..).zip(tx) {
            card.join_tx(index, ring)?;
        }
        for setup in rx {
            card.start_rx(setup)?;
        }
        Ok(granted)
    }

    fn set_filters(&mut self, settings: &Settings) -> Result<Granted, ErrorKind> {
        let (mac, hash_offset) = (settings.mac(), self.terms.hash_offset);
        if self.terms.mac != Some(mac) {
            self.requests().set_mac(mac)?;
        }
        if !settings.unicast().is_empty() {
            self.requests().set_unicast(settings.unicast())?;
        }
        if !settings.multicast().is_empty() {
            self.requests().set_multicast(settings.multicast(), hash_offset)?;
        }
        self.vlans.clear();
        self.set_vlans(settings.vlans().unwrap_or_default())?;
        Ok(Granted { rx_mode: self.set_mode_as_granted(settings.rx_mode())? })
    }

    /// Lets frames of these VLANs in, and of no others: first those that are new, then no more those that are not named.
    pub(crate) fn set_vlans(&mut self, ids: &[u16]) -> Result<(), ErrorKind> {
        for &id in ids {
            if !self.vlans.contains(&id) {
                self.requests().set_vlan(id, true)?;
                self.vlans.push(id);
            }
        }
        while let Some(at) = self.vlans.iter().position(|id| !ids.contains(id)) {
            let id = self.vlans.swap_remove(at);
            self.requests().set_vlan(id, false)?;
        }
        Ok(())
    }

    /// The mode that is wanted, or as much of it as is granted: all multicast frames are a part of promiscuous.
    fn set_mode_as_granted(&mut self, wanted: RxMode) -> Result<RxMode, ErrorKind> {
        if wanted.contains(RxMode::PROMISCUOUS) {
            if self.try_mode(RxMode::PROMISCUOUS)? {
                return Ok(wanted);
            }
            self.warn_of_refusal("frames for other addresses");
        }
        if !wanted.is_empty() {
            if self.try_mode(RxMode::ALL_MULTICAST)? {
                return Ok(RxMode::ALL_MULTICAST);
            }
            self.warn_of_refusal("multicast frames that were not asked for");
        }
        self.try_mode(RxMode::empty())?;
        Ok(RxMode::empty())
    }

    fn warn_of_refusal(&self, what: &str) {
        let name = &self.card.name;
        log::warn!(
            "{name}: its physical function lets no {what} in: trust the function there (`ip link set PF vf N trust on`); an 82599's is never promiscuous"
        );
    }

    /// Whether the physical function lets frames in as `mode` says.
    pub(crate) fn try_mode(&mut self, mode: RxMode) -> Result<bool, ErrorKind> {
        let xcast = match () {
            () if mode.contains(RxMode::PROMISCUOUS) => Xcast::Promiscuous,
            () if mode.contains(RxMode::ALL_MULTICAST) => Xcast::AllMulticast,
            () => Xcast::Multicast,
        };
        let api = self.terms.api;
        self.requests().set_xcast(api, xcast)
    }
}

impl<B: Bar> Card<B> {
    /// The function's vectors, as [`Card::init_interrupts`] does a port's: queues' mask themselves, and the mailbox's is the control vector. The function has no cause
    /// for its link; its physical function tells.
    pub(crate) fn init_function_interrupts(&self, plan: VectorPlan, moderation: Moderation) -> Result<(), ErrorKind> {
        let bar = &self.bar;
        self.allocate_vectors(plan, Layout::PLAIN);
        VTIVAR_MISC.write(bar, IVAR_VALID | u32::from(plan.control()));
        let queues = plan.all_queues().fold(0, |vectors, vector| vectors | 1u32 << (vector % 32));
        let all = queues | 1 << (plan.control() % 32);
        // The mailbox's cause says nothing that VFMAILBOX does not, and clears itself too.
        VTEIAC.write(bar, all);
        VTEIAM.write(bar, queues);
        self.moderate(plan, moderation)?;
        VTEICR.write(bar, Eicr::from_bits_retain(all));
        if plan.all_queues().all(|vector| vector != plan.control()) {
            // It never masks itself.
            VTEIMS.at(0)?.write(bar, 1 << (plan.control() % 32));
        }
        self.flush();
        Ok(())
    }
}
