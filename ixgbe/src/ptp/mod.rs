//! The card's clock, and time stamps (7.9): [`rate`] says how fast SYSTIM runs, [`timebase`] what time that is, [`sent`] what became of frames that asked for a stamp.
//! Control handle, queues and the application's [`HardwareClock`](driver_core::device::HardwareClock) share a [`Ptp`].
//!
//! Over a reset the clock is kept by the host's: what it showed before, or when it was read last where it does not answer any more, and as much as has passed on the
//! host's clock since. It is off by what a microsecond and the reads of registers are, and by as much as the two run apart meanwhile.

mod rate;
mod sent;
mod timebase;

use alloc::sync::Arc;

use driver_core::buf::Frame;
use driver_core::device::{ClockLimits, ClockReading, DeviceClock, DeviceState, ErrorKind, Frequency, SentStamp, Settings, Timestamps};
use driver_core::host::{Bar, Clock};
use spin::Mutex;

use crate::card::{Card, answers};
use crate::desc::rx as bits;
use crate::id::Family;
use crate::regs::*;
use rate::Rate;
use sent::Sent;
use timebase::Timebase;

pub(crate) use sent::Slot;

/// The EtherType of PTP (IEEE 1588-2008, annex F), and the filter by which its frames are known to be stamped.
pub(crate) const PTP_ETHERTYPE: u16 = 0x88f7;
pub(crate) const PTP_FILTER: u8 = 7;
/// UDP's port of event messages (annex D).
const EVENT_PORT: u32 = 319;
/// What the X550 puts behind a frame (STAMP-IN-PACKET): nanoseconds, seconds.
pub(crate) const STAMP_BYTES: usize = 8;
/// How long a stamp may lie in RXSTMPL and RXSTMPH until the frame that it is of is held to be lost, in microseconds.
const STALE_US: u64 = 5_000_000;

/// The clock of a card that was started with time stamps.
pub(crate) struct Ptp<B> {
    family: Family,
    clock: Arc<dyn Clock>,
    state: Mutex<State<B>>,
}

struct State<B> {
    bar: B,
    /// The card runs: its registers may be asked.
    is_open: bool,
    frequency: Frequency,
    speed_mbps: Option<u32>,
    base: Timebase,
    sent: Sent,
    /// Since when a stamp of a received frame lies in the registers, as far as it was seen.
    stale_since_us: Option<u64>,
    rx_cleared: u64,
}

/// Stamps that were lost, as Linux counts them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lost {
    pub(crate) tx_timeouts: u64,
    pub(crate) tx_skipped: u64,
    pub(crate) rx_cleared: u64,
}

impl<B: Bar> Ptp<B> {
    /// Of a card that is about to be started; `None`: without time stamps.
    pub(crate) fn of(card: &Card<B>, settings: &Settings) -> Option<Arc<Self>> {
        let family = card.model.family;
        let state = State {
            bar: card.bar.clone(),
            is_open: false,
            frequency: Frequency::NOMINAL,
            speed_mbps: None,
            base: Timebase::new(0, 0, 0, card.clock.now_us()),
            sent: Sent::default(),
            stale_since_us: None,
            rx_cleared: 0,
        };
        (settings.timestamps() != Timestamps::Off).then(|| Arc::new(Self { family, clock: card.clock.clone(), state: Mutex::new(state) }))
    }

    /// Starts the clock of a card that was reset, with the time that it had: behind the first reset, none.
    pub(crate) fn open(&self, is_first: bool) {
        let mut state = self.state.lock();
        let State { bar, .. } = &*state;
        // CLOCK-START
        if self.family == Family::X550 {
            SYSTIMR.write(bar, 0);
        }
        SYSTIML.write(bar, 0);
        SYSTIMH.write(bar, 0);
        let rate = Rate::of(self.family, state.speed_mbps);
        TIMINCA.write(bar, rate.timinca(state.frequency));
        if self.family == Family::X550 {
            TSAUXC.modify(bar, |v| v - Tsauxc::DISABLE_SYSTIME);
        }
        let now_us = self.clock.now_us();
        let ns = if is_first { 0 } else { state.base.estimate(now_us) };
        state.base = Timebase::new(0, ns, rate.shift, now_us);
        (state.is_open, state.stale_since_us) = (true, None);
    }

    /// The card is about to be stopped: from here on nobody asks its registers.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if state.is_open {
            self.look_at(&mut state);
        }
        state.is_open = false;
        state.sent.forget();
    }

    /// Looks after what only time shows, several times a second: the link's speed, counters that begin anew, stamps that nobody fetched.
    pub(crate) fn tend(&self, speed_mbps: Option<u32>) {
        let mut state = self.state.lock();
        if !state.is_open {
            return;
        }
        self.look_at(&mut state);
        if speed_mbps.is_some() && speed_mbps != state.speed_mbps {
            state.speed_mbps = speed_mbps;
            let rate = Rate::of(self.family, speed_mbps);
            TIMINCA.write(&state.bar, rate.timinca(state.frequency));
            state.base.rescale(rate.shift);
        }
        self.look_at_sent(&mut state);
        let now_us = self.clock.now_us();
        let State { bar, stale_since_us, rx_cleared, .. } = &mut *state;
        if !TSYNCRXCTL.read(bar).contains(Tsyncrxctl::RXTT) {
            *stale_since_us = None;
        } else if now_us.saturating_sub(*stale_since_us.get_or_insert(now_us)) >= STALE_US {
            RXSTMPH.read(bar);
            (*stale_since_us, *rx_cleared) = (None, *rx_cleared + 1);
        }
    }

    /// Reads the clock, where the card answers.
    fn look_at(&self, state: &mut State<B>) {
        let raw = self.raw(&state.bar);
        if answers(&state.bar) {
            state.base.advance(raw, self.clock.now_us());
        }
    }

    fn look_at_sent(&self, state: &mut State<B>) {
        let State { bar, base, sent, .. } = state;
        sent.look(bar, self.clock.now_us(), |low, high| base.ns(self.joined(low, high)));
    }

    /// What SYSTIM shows, in one number.
    fn raw(&self, bar: &B) -> u64 {
        self.raw_then(bar, || ()).0
    }

    /// The same, and what is done as soon as the card has held the time.
    fn raw_then<T>(&self, bar: &B, then: impl FnOnce() -> T) -> (u64, T) {
        // Whichever is lowest holds the others.
        if self.family == Family::X550 {
            SYSTIMR.read(bar);
            let done = then();
            let low = SYSTIML.read(bar);
            return (self.joined(low, SYSTIMH.read(bar)), done);
        }
        let low = SYSTIML.read(bar);
        let done = then();
        (self.joined(low, SYSTIMH.read(bar)), done)
    }

    /// Two registers, or a stamp in memory.
    fn joined(&self, low: u32, high: u32) -> u64 {
        match self.family {
            Family::X550 => u64::from(high) * 1_000_000_000 + u64::from(low),
            Family::I82599 | Family::X540 => u64::from(high) << 32 | u64::from(low),
        }
    }

    /// Does something with an open clock that was just read.
    fn with<T>(&self, work: impl FnOnce(&mut State<B>) -> T) -> Result<T, ErrorKind> {
        let mut state = self.state.lock();
        if !state.is_open {
            return Err(ErrorKind::NotRunning(DeviceState::Stopped));
        }
        let raw = self.raw(&state.bar);
        if !answers(&state.bar) {
            return Err(ErrorKind::NotRunning(DeviceState::Gone));
        }
        state.base.advance(raw, self.clock.now_us());
        Ok(work(&mut state))
    }

    /// A frame that asks for a stamp is about to be submitted. Whether the card is to stamp it.
    pub(crate) fn ask(&self, id: u32, slot: Slot) -> bool {
        let mut state = self.state.lock();
        if !state.is_open {
            state.sent.skip(id);
            return false;
        }
        self.look_at_sent(&mut state);
        state.sent.begin(id, slot, self.clock.now_us())
    }

    /// A frame that goes without its stamp.
    pub(crate) fn skip(&self, id: u32) {
        self.state.lock().sent.skip(id);
    }

    /// Gives a received frame the stamp that the card says it has. Where that is in memory, the frame has its bytes as its last.
    pub(crate) fn stamp(&self, frame: &mut Frame) -> bool {
        let [_, word] = frame.view_words();
        if word & (bits::TS | bits::TSIP) == 0 {
            return true;
        }
        let mut state = self.state.lock();
        let at_ns = if word & bits::TSIP != 0 {
            let mut stamp = [0; STAMP_BYTES];
            let Some(len) = frame.len().checked_sub(STAMP_BYTES) else { return false };
            if frame.load(len, &mut stamp).is_err() || frame.trim(len).is_err() {
                return false;
            }
            let stamp = u64::from_le_bytes(stamp);
            Some(state.base.ns(self.joined(stamp as u32, (stamp >> 32) as u32)))
        } else {
            self.take_received(&mut state)
        };
        frame.set_timestamp_ns(at_ns);
        true
    }

    /// The stamp in the registers. One that lies there is of the one frame that says so.
    fn take_received(&self, state: &mut State<B>) -> Option<u64> {
        let State { bar, base, stale_since_us, is_open, .. } = state;
        if !*is_open || !TSYNCRXCTL.read(bar).contains(Tsyncrxctl::RXTT) {
            return None;
        }
        let low = RXSTMPL.read(bar);
        let raw = self.joined(low, RXSTMPH.read(bar));
        *stale_since_us = None;
        Some(base.ns(raw))
    }

    /// What was lost since the start.
    pub(crate) fn lost(&self) -> Lost {
        let state = self.state.lock();
        Lost { tx_timeouts: state.sent.timeouts, tx_skipped: state.sent.skipped, rx_cleared: state.rx_cleared }
    }
}

impl<B: Bar> DeviceClock for Ptp<B> {
    fn limits(&self) -> ClockLimits {
        Rate::limits(self.family)
    }

    fn read(&self) -> Result<ClockReading, ErrorKind> {
        self.with(|state| {
            let system_before_ns = self.clock.now_ns();
            let (raw, system_after_ns) = self.raw_then(&state.bar, || self.clock.now_ns());
            ClockReading { device_ns: state.base.ns(raw), system_before_ns, system_after_ns }
        })
    }

    fn set(&self, ns: u64) -> Result<(), ErrorKind> {
        self.with(|state| state.base.set(ns))
    }

    fn adjust(&self, by_ns: i64) -> Result<(), ErrorKind> {
        self.with(|state| state.base.adjust(by_ns))
    }

    fn set_frequency(&self, frequency: Frequency) -> Result<(), ErrorKind> {
        self.with(|state| {
            state.frequency = frequency;
            TIMINCA.write(&state.bar, Rate::of(self.family, state.speed_mbps).timinca(frequency));
        })
    }

    fn take_sent(&self) -> Result<Option<SentStamp>, ErrorKind> {
        let mut state = self.state.lock();
        if state.is_open {
            self.look_at_sent(&mut state);
        }
        let taken = state.sent.take();
        if taken.is_none() && !state.is_open { Err(ErrorKind::NotRunning(DeviceState::Stopped)) } else { Ok(taken) }
    }
}

impl<B: Bar> Card<B> {
    /// Which frames are stamped: behind a reset, before rules are written.
    pub(crate) fn init_timestamps(&self, settings: &Settings) -> Result<(), ErrorKind> {
        let which = match settings.timestamps() {
            Timestamps::Off => return Ok(()),
            // STAMP-TAGGED
            Timestamps::All => Tsyncrxctl::TYPE_ALL | Tsyncrxctl::TSIP_UT_EN | Tsyncrxctl::TSIP_UP_EN,
            _ => Tsyncrxctl::TYPE_EVENT_V2,
        };
        self.write_ptp_filter()?;
        RXMTRL.write(&self.bar, EVENT_PORT << RXMTRL_PORT_SHIFT);
        TSYNCTXCTL.write(&self.bar, Tsynctxctl::EN);
        TSYNCRXCTL.write(&self.bar, Tsyncrxctl::EN | which);
        Ok(())
    }

    /// The EtherType filter by which PTP's frames are stamped, and that chooses no queue.
    pub(crate) fn write_ptp_filter(&self) -> Result<(), ErrorKind> {
        ETQS.at(PTP_FILTER.into())?.write(&self.bar, 0);
        ETQF.at(PTP_FILTER.into())?.write(&self.bar, ETQF_FILTER_ENABLE | ETQF_1588 | u32::from(PTP_ETHERTYPE));
        Ok(())
    }
}
