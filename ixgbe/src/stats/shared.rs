//! Who reads the counters, and when.
//!
//! At 10 Gbit/s a counter of octets is full after 55 s, and one of frames after 288 s; what comes beyond is lost. So all are read when somebody looks at the
//! device and they were not for [`READ_EVERY_US`]: the control handle with whatever it is asked for, `watch` above all; and where a program has put that aside, a
//! receive queue that is armed or has nothing to do. A queue that is never idle reads no clock, since that would cost every frame something.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use driver_core::device::{Stats, XStat};
use driver_core::host::{Bar, Clock};
use driver_core::queue::core::Totals;
use spin::Mutex;

use crate::card::{Card, answers};
use crate::id::{Family, Media};
use crate::regs::places::Places;
use crate::stats::counters::{Counters, Queues};
use crate::stats::function::FunctionCounters;
use crate::stats::list::Look;

/// Not all counters are left unread for longer, as long as somebody looks at the device meanwhile. Looks that are 25 s apart still leave room for 10 s more.
const READ_EVERY_US: u64 = 20_000_000;

/// The counters of a card that was started.
pub(crate) struct Counting<B> {
    clock: Arc<dyn Clock>,
    family: Family,
    /// Where the card's queues have their registers: for these, which have no room of their own for it.
    places: &'static Places,
    queues: Queues,
    /// The function's name, for what is logged.
    name: String,
    state: Mutex<State<B>>,
}

/// Whose counters they are.
#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "one a card, made once")]
enum Counted {
    Port(Counters),
    Function(FunctionCounters),
}

impl Counted {
    fn of(media: Media) -> Self {
        if media == Media::Shared { Self::Function(FunctionCounters::default()) } else { Self::Port(Counters::default()) }
    }
}

struct State<B> {
    bar: B,
    counters: Counted,
    /// When all were read last.
    read_us: u64,
    /// The card is being stopped: queues keep their hands off its registers.
    is_closed: bool,
}

impl<B: Bar> Counting<B> {
    /// Of a card whose counters are about to be read by [`Card::init_stats`].
    pub(crate) fn of(card: &Card<B>, queues: Queues) -> Self {
        let (bar, clock) = (card.bar.clone(), card.clock.clone());
        let state = State { bar, counters: Counted::of(card.model.media), read_us: clock.now_us(), is_closed: false };
        Self { clock, family: card.model.family, places: card.places, queues, name: card.name.clone(), state: Mutex::new(state) }
    }

    pub(crate) const fn places(&self) -> &'static Places {
        self.places
    }

    /// Which queues count: those that are used.
    pub(crate) const fn queues(&self) -> Queues {
        self.queues
    }

    /// Adds up what the card has counted, as far as `look` sees, and all of it where that is due. Believes nothing where the card does not answer behind the last.
    pub(crate) fn read(&self, look: Look) {
        self.read_locked(&mut self.state.lock(), look);
    }

    /// Adds all up, where that is due. For those who look at the device for another reason.
    pub(crate) fn read_if_due(&self) {
        // Who is reading already spares us the work; a queue never waits.
        if let Some(mut state) = self.state.try_lock()
            && !state.is_closed
            && self.is_due(&state)
        {
            self.read_locked(&mut state, Look::Whole);
        }
    }

    /// The card is about to be stopped: from here on only [`Counting::read`] reads.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// The card was set up anew: queues may read again.
    pub(crate) fn open(&self) {
        self.state.lock().is_closed = false;
    }

    /// The counters of a virtual function began anew, with what they had counted since the last read.
    pub(crate) fn begin_again(&self) {
        let State { bar, counters, .. } = &mut *self.state.lock();
        if let Counted::Function(counters) = counters {
            counters.begin_again(bar);
        }
    }

    fn is_due(&self, state: &State<B>) -> bool {
        self.clock.now_us().saturating_sub(state.read_us) >= READ_EVERY_US
    }

    fn read_locked(&self, state: &mut State<B>, look: Look) {
        let look = if self.is_due(state) { Look::Whole } else { look };
        let mut counters = state.counters;
        let full = match &mut counters {
            Counted::Port(counters) => counters.update(&state.bar, self.family, self.queues, look),
            Counted::Function(counters) => {
                counters.update(&state.bar);
                None
            }
        };
        if !answers(&state.bar) {
            return;
        }
        let now_us = self.clock.now_us();
        if let Some(register) = full {
            let (name, unread_s) = (&self.name, now_us.saturating_sub(state.read_us) / 1_000_000);
            log::warn!(
                "{name}: {register} was full when it was read, and what came beyond is not counted: all counters were last read {unread_s} s ago; let somebody look at the device (`watch`) every 25 s"
            );
        }
        state.counters = counters;
        if look == Look::Whole {
            state.read_us = now_us;
        }
    }

    /// Frames that the card put into memory, and frames that it sent, as far as it was read. A virtual function does not tell the former.
    pub(crate) fn frames(&self) -> (Option<u64>, Option<u64>) {
        match &self.state.lock().counters {
            Counted::Port(counters) => (Some(counters.received()), Some(counters.sent())),
            Counted::Function(counters) => (None, counters.sent()),
        }
    }

    /// Under Linux's names, as far as the card was read.
    pub(crate) fn stats(&self) -> Stats {
        match &self.state.lock().counters {
            Counted::Port(counters) => counters.stats(),
            Counted::Function(_) => Stats::default(),
        }
    }

    /// The same of a virtual function, of which the queues have counted the frames.
    pub(crate) fn stats_of_function(&self, rx: &Totals, tx: &Totals) -> Stats {
        match &self.state.lock().counters {
            Counted::Port(counters) => counters.stats(),
            Counted::Function(counters) => counters.stats(rx, tx),
        }
    }

    /// What a virtual function has counted before its start counts for nobody. A port's counters are cleared.
    pub(crate) fn begin(&self) {
        let State { bar, counters, .. } = &mut *self.state.lock();
        if let Counted::Function(counters) = counters {
            counters.begin(bar);
        }
    }

    /// All by name, as far as the card was read.
    pub(crate) fn xstats(&self, rx: &[Totals], tx: &[Totals]) -> Vec<XStat> {
        match &self.state.lock().counters {
            Counted::Port(counters) => counters.xstats(self.family, self.queues, rx, tx),
            Counted::Function(counters) => counters.xstats(rx, tx),
        }
    }
}
