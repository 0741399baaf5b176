//! What was counted of one device, and what is wrong with it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::accounts::Accounts;
use crate::device::contract::NetDevice;
use crate::device::xstats::XStat;
use crate::testing::audit::port;

/// Of one receive queue.
#[derive(Debug, Default)]
pub(super) struct RxLine {
    /// Frames that came into batches.
    pub(super) delivered: u64,
    /// Frames that hooks settled where they lay.
    pub(super) in_place: u64,
    /// Frames that the queue found bad, by its own word.
    pub(super) errors: u64,
}

/// Of one transmit queue.
#[derive(Debug, Default)]
pub(super) struct TxLine {
    /// Frames that left batches.
    pub(super) taken: u64,
    /// Descriptors that the device had at the last look.
    pub(super) pending: u64,
}

/// A queue's line, which the queue writes on its own thread.
pub(super) type Line<L> = Arc<Mutex<L>>;

pub(super) fn lock<L>(line: &Mutex<L>) -> MutexGuard<'_, L> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a device was when its control handle went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It confirmed that it stopped.
    Stopped,
    /// It did not: nobody knows what became of frames that it was given.
    Unconfirmed,
    /// It is gone, or was reset by somebody else: its own counts say nothing.
    Untold,
}

/// How it was when the device was started, stopped, and let go.
#[derive(Debug, Default)]
struct Device {
    name: String,
    /// The most frames that can lie in receive rings.
    rx_room: u64,
    /// When it was stopped first.
    pending_at_stop: Option<u64>,
    /// When it was let go: its accounts, and its counters by name.
    end: Option<(Accounts, Vec<XStat>, End)>,
    /// The most frames that one receive ring holds for the device.
    rx_ring: u64,
}

struct Held(Box<dyn NetDevice>, End);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}", self.0.info().name, self.1)
    }
}

/// A queue's end. It stands behind the queue in its struct, so that the queue goes first.
pub(super) struct Departure(Arc<Book>);

impl Departure {
    pub(super) fn of(book: &Arc<Book>) -> Self {
        book.queues.fetch_add(1, Ordering::SeqCst);
        Self(book.clone())
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if self.0.queues.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.close();
        }
    }
}

/// Of one device.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// `None`: it was not started.
    device: Mutex<Option<Device>>,
    /// The control handle that the test let go, for as long as there are queues: what they give up when they go is asked of it then.
    held: Mutex<Option<Held>>,
    queues: AtomicUsize,
    rx: Mutex<Vec<Line<RxLine>>>,
    tx: Mutex<Vec<Line<TxLine>>>,
}

impl Book {
    pub(super) fn open(&self, control: &impl NetDevice, rx_queues: usize) {
        let info = control.info();
        let rx_ring = u64::from(control.settings().rx().ring_len());
        let rx_room = rx_queues as u64 * rx_ring;
        let device = Device { name: info.name.clone(), rx_room, rx_ring, ..Device::default() };
        *lock(&self.device) = Some(device);
    }

    pub(super) fn rx_line(&self) -> Line<RxLine> {
        let line = Line::default();
        lock(&self.rx).push(Arc::clone(&line));
        line
    }

    pub(super) fn tx_line(&self) -> Line<TxLine> {
        let line = Line::default();
        lock(&self.tx).push(Arc::clone(&line));
        line
    }

    fn tx_sum(&self, of: impl Fn(&TxLine) -> u64) -> u64 {
        lock(&self.tx).iter().map(|line| of(&lock(line))).sum()
    }

    fn rx_sum(&self, of: impl Fn(&RxLine) -> u64) -> u64 {
        lock(&self.rx).iter().map(|line| of(&lock(line))).sum()
    }

    /// The device is about to be stopped.
    pub(super) fn stopping(&self) {
        let pending = self.tx_sum(|line| line.pending);
        if let Some(device) = &mut *lock(&self.device) {
            device.pending_at_stop.get_or_insert(pending);
        }
    }

    /// The control handle goes, stopped.
    pub(super) fn let_go(&self, control: Box<dyn NetDevice>, end: End) {
        *lock(&self.held) = Some(Held(control, end));
        if self.queues.load(Ordering::SeqCst) == 0 {
            self.close();
        }
    }

    /// Asks a control handle that was let go for its accounts, and drops it.
    fn close(&self) {
        let Some(Held(mut control, end)) = lock(&self.held).take() else { return };
        let (accounts, xstats) = (control.accounts(), control.xstats());
        if let Some(device) = &mut *lock(&self.device) {
            device.end = Some((accounts, xstats, end));
        }
    }

    /// What is wrong, a sentence each. `excused`: what the device counted is no matter.
    pub(super) fn complaints(&self, excused: bool) -> Vec<String> {
        // Queues that outlive the audit have given up nothing yet.
        self.close();
        let device = lock(&self.device);
        let Some(device) = &*device else { return Vec::new() };
        let name = &device.name;
        let Some((accounts, xstats, end)) = &device.end else {
            return Vec::from([format!("{name}: it was started, and its control handle is still there: drop it before the audit")]);
        };
        if excused {
            return Vec::new();
        }
        let wrong = [self.wrong_tx(device, accounts, *end), self.wrong_rx(device, accounts, *end), wrong_port(device, accounts, xstats, *end)];
        wrong.into_iter().flatten().map(|what| format!("{name}: {what}")).collect()
    }

    fn wrong_tx(&self, device: &Device, accounts: &Accounts, end: End) -> Option<String> {
        let &Accounts { tx_taken, tx_cut, tx_sent, tx_lost, is_final, .. } = accounts;
        let taken = self.tx_sum(|line| line.taken);
        if taken != tx_taken {
            return Some(format!("submit took {taken} frames, and tx_taken is {tx_taken}"));
        }
        let told = tx_sent.filter(|_| end != End::Untold)? + tx_lost;
        // What the device cuts leaves it as many.
        let of_cutting = if tx_cut > 0 { format!(", {tx_cut} that come of cutting among them") } else { String::new() };
        let taken = taken + tx_cut;
        // Queues that are still there have not given up yet what they hold.
        let pending = if is_final { 0 } else { device.pending_at_stop.unwrap_or(0) };
        let text =
            format!("submit took {taken} frames{of_cutting}: tx_sent and tx_lost are {told}, and {pending} descriptors were pending at the stop");
        if told > taken {
            return Some(format!("{text}: {} frames too many are accounted for", told - taken));
        }
        (end == End::Stopped && taken > told + pending).then(|| format!("{text}: {} frames are in no account", taken - told - pending))
    }

    /// How many frames of the device are on the wire, where it counts them and has confirmed that it stopped.
    fn on_wire(&self) -> Option<u64> {
        let device = lock(&self.device);
        let Some(device) = &*device else { return Some(0) };
        let (accounts, _, end) = device.end.as_ref()?;
        accounts.tx_sent.filter(|_| *end == End::Stopped)
    }

    fn wrong_rx(&self, device: &Device, accounts: &Accounts, end: End) -> Option<String> {
        let &Accounts { rx_filled, rx_delivered, rx_coalesced, rx_in_place, rx_errors, rx_lost, is_final, .. } = accounts;
        let (delivered, errors) = (self.rx_sum(|line| line.delivered), self.rx_sum(|line| line.errors));
        if (delivered, errors) != (rx_delivered, rx_errors) {
            return Some(format!(
                "poll handed up {delivered} frames and the queues found {errors} bad, and rx_delivered is {rx_delivered}, rx_errors {rx_errors}"
            ));
        }
        let in_place = self.rx_sum(|line| line.in_place);
        if in_place != rx_in_place {
            return Some(format!("hooks settled {in_place} frames in place, and rx_in_place is {rx_in_place}"));
        }
        let (filled, told) = (rx_filled.filter(|_| end != End::Untold)?, delivered + rx_coalesced + in_place + errors + rx_lost);
        // Queues that are still there have not given up yet what lies in their rings.
        let room = if is_final { 0 } else { device.rx_room };
        let text = format!("the device put {filled} frames into memory: rx_delivered, rx_coalesced, rx_in_place, rx_errors and rx_lost are {told}");
        if told > filled {
            return Some(format!("{text}: {} frames too many are accounted for", told - filled));
        }
        (end == End::Stopped && filled > told + room)
            .then(|| format!("{text}: {} frames are in no account, beyond the {room} in rings", filled - told - room))
    }
}

fn wrong_port(device: &Device, accounts: &Accounts, xstats: &[XStat], end: End) -> Option<String> {
    if end != End::Stopped {
        return None;
    }
    // A ring was full where the device put as many frames into it as it can hold, and nobody took them: the next ones waited.
    let unpolled = accounts.rx_filled.map_or(0, |filled| filled.saturating_sub(accounts.rx_delivered + accounts.rx_coalesced + accounts.rx_errors));
    let what = port::wrong(xstats, accounts, unpolled + 1 >= device.rx_ring)?;
    Some(format!("{what} ({})", port::nonzero(xstats)))
}

/// What is wrong with `frames` on the wire, where all devices tell enough to say it.
pub(super) fn wrong_on_wire(books: &[Arc<Book>], frames: u64) -> Option<String> {
    if books.iter().all(|book| lock(&book.device).is_none()) {
        return None;
    }
    let sent = books.iter().try_fold(0, |sum, book| book.on_wire().map(|sent| sum + sent))?;
    (frames != sent).then(|| format!("{frames} frames came out of the wire, and what was watched has sent {sent}"))
}
