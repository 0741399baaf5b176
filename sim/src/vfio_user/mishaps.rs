//! What is to happen to a served card with its next step.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::mishap::Mishap;

/// A way to let something happen to a [`Server`](super::Server)'s card, from another thread. A server that sleeps is woken by it.
#[derive(Clone, Debug)]
pub struct Mishaps {
    /// A bit for each.
    pending: Arc<AtomicU16>,
    event: Arc<OwnedFd>,
}

impl Mishaps {
    /// `event`: what wakes the card.
    pub(super) fn new(event: Arc<OwnedFd>) -> Self {
        Self { pending: Arc::default(), event }
    }

    /// Lets it happen with the card's next step. A card that cannot have it says so in the log.
    pub fn happen(&self, mishap: Mishap) {
        self.pending.fetch_or(1 << mishap as u16, Ordering::Relaxed);
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
    }

    pub(super) fn take(&self) -> impl Iterator<Item = Mishap> + use<> {
        let pending = match self.pending.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.pending.swap(0, Ordering::Relaxed),
        };
        Mishap::ALL.into_iter().map(|(_, mishap)| mishap).filter(move |&mishap| pending & 1 << mishap as u16 != 0)
    }
}
