//! A card that was reset becomes one that works (4.6.3): the same by a start and by a recovery.

use driver_core::device::{ErrorKind, FlowTable, Settings};
use driver_core::host::Bar;

use crate::card::Card;
use crate::layout::Layout;
use crate::queues::{RingAt, RxSetup};
use crate::stats::Queues;

impl<B: Bar> Card<B> {
    /// 4.6.3, from "Setup the PHY and the link" on, but for interrupts. `rx`, `tx`: the queues that are turned on, each at its number. JOIN-LATE: what is not there is
    /// turned on by [`Card::join_rx`] and [`Card::join_tx`].
    pub(crate) fn bring_up(&mut self, settings: &Settings, rx: &[RxSetup], tx: &[RingAt]) -> Result<(), ErrorKind> {
        self.allow_master();
        // 4.6.3.2
        self.init_general(settings)?;
        self.report_exceptions();
        // "Setup the PHY and the link (see Section 4.6.4)."
        self.start_link(settings.link_speeds())?;
        // "Initialize all statistical counters (see Section 4.6.5)."
        self.init_stats(counted(settings))?;
        // "Initialize receive (see Section 4.6.7)."
        self.init_filters(settings)?;
        self.init_receive(settings)?;
        self.init_timestamps(settings)?;
        self.init_rules(settings)?;
        for setup in rx {
            self.setup_rx(setup)?;
        }
        // "Initialize transmit (see Section 4.6.8)."
        self.init_transmit(settings.tx().queue_count(), Layout::of(settings));
        for (index, &ring) in (0..).zip(tx) {
            self.setup_tx(index, ring)?;
        }
        self.enable_transmit(settings);
        for (index, _) in (0..).zip(tx) {
            self.start_tx(index)?;
        }
        for setup in rx {
            self.start_rx(setup)?;
        }
        self.enable_receive()
    }

    /// 4.6.7.1.1: a receive queue of a running port. Until then frames for it are dropped.
    pub(crate) fn join_rx(&self, setup: &RxSetup) -> Result<(), ErrorKind> {
        self.setup_rx(setup)?;
        self.start_rx(setup)
    }

    /// 4.6.8.1.1: a transmit queue of a running port.
    pub(crate) fn join_tx(&self, index: u16, ring: RingAt) -> Result<(), ErrorKind> {
        self.setup_tx(index, ring)?;
        self.start_tx(index)
    }
}

/// Which queues count.
pub(crate) fn counted(settings: &Settings) -> Queues {
    let has_drops = matches!(settings.flow_table(), FlowTable::Exact(_));
    Queues { rx: settings.rx().queue_count(), tx: settings.tx().queue_count(), has_drops, layout: Layout::of(settings) }
}
