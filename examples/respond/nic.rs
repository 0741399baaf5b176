//! Our queues as smoltcp's device.

use crate::common::refused::Refused;
use crate::common::warn;
use crate::screen::{Screen, Verdict};
use barewire::driver_core::ether::FrameLimits;
use barewire::{Batch, BufPool, DeviceError, Error, Frame, PollError, Poller, RxQueue, TxQueue};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// Frames under way in each direction.
const BATCH: usize = 64;
/// How long to sleep for an interrupt at most: Ctrl-C and timers are looked at in between.
const SLEEP_US: u64 = 50_000;

/// Where frames come from: polling alone, or with an interrupt to sleep on.
pub(crate) enum Source {
    Polled(Box<dyn RxQueue>),
    Waited(Poller<Box<dyn RxQueue>>),
}

impl Source {
    pub(crate) fn new(queue: Box<dyn RxQueue>) -> Self {
        match Poller::new(queue) {
            Ok(poller) => Self::Waited(poller),
            Err(none) => Self::Polled(none.into_queue()),
        }
    }

    fn queue(&self) -> &dyn RxQueue {
        match self {
            Self::Polled(queue) => &**queue,
            Self::Waited(poller) => &**poller.queue(),
        }
    }
}

/// A receive queue, a transmit queue, and what is between them and the protocols.
pub(crate) struct Nic {
    name: String,
    source: Source,
    tx: Box<dyn TxQueue>,
    pool: BufPool,
    inbox: Batch,
    outbox: Batch,
    /// A frame of several buffers in one piece, as smoltcp wants it.
    whole: Vec<u8>,
    /// A frame that is being made.
    made: Vec<u8>,
    limits: FrameLimits,
    screen: Screen,
    pub(crate) refused: Refused,
}

impl Nic {
    pub(crate) fn new(name: &str, source: Source, tx: Box<dyn TxQueue>, pool: BufPool, mtu: u32, screen: Screen) -> Self {
        Self {
            name: name.into(),
            source,
            tx,
            pool,
            inbox: Batch::new(BATCH),
            outbox: Batch::new(BATCH),
            whole: Vec::new(),
            made: Vec::new(),
            limits: FrameLimits::of(mtu),
            screen,
            refused: Refused::default(),
        }
    }

    /// Receives as much as there is room for; may sleep where nothing is under way. Returns whether there are frames.
    pub(crate) fn receive_frames(&mut self) -> Result<bool, Error> {
        let received = match &mut self.source {
            Source::Waited(poller) if self.inbox.is_empty() && self.outbox.is_empty() => {
                match poller.next(&mut self.inbox, Some(SLEEP_US)) {
                    Ok(received) => received,
                    // The run's end, which is looked at next.
                    Err(PollError::Cancelled) => 0,
                    Err(PollError::Queue(fault)) => return Err(Error::Queue { device: self.name.clone(), fault }),
                    Err(PollError::Interrupt(error)) => return Err(DeviceError::new(&self.name, "waiting for frames", error).into()),
                }
            }
            Source::Waited(poller) => poller.queue_mut().poll(&mut self.inbox, BATCH),
            Source::Polled(queue) => queue.poll(&mut self.inbox, BATCH),
        };
        match self.source.queue().fault() {
            Some(fault) if received == 0 => Err(Error::Queue { device: self.name.clone(), fault }),
            _ => Ok(received > 0),
        }
    }

    /// Sends what was made, and drops what cannot be sent. Returns whether frames went; what found no room stays here, and while it does smoltcp makes no more.
    pub(crate) fn send_frames(&mut self) -> Result<bool, Error> {
        let before = self.outbox.len();
        let sent = self.tx.submit_or_drop(&mut self.outbox, &mut self.refused.drops);
        self.refused.news(&self.name).into_iter().for_each(warn);
        sent.map_err(|fault| Error::Queue { device: self.name.clone(), fault })?;
        Ok(self.outbox.len() < before)
    }

    /// Asks whether anybody else has one of our addresses.
    pub(crate) fn probe(&mut self) {
        for frame in self.screen.probes() {
            self.send(&frame);
        }
    }

    /// Puts a frame of our own in line.
    fn send(&mut self, bytes: &[u8]) {
        match self.pool.frame_from(bytes) {
            Ok(frame) => drop(self.outbox.push(frame)),
            Err(error) => warn(format_args!("not sent: {error}")),
        }
    }

    /// The next frame that the stack is to see, in one piece in `whole` where it is not the frame's own data.
    fn next_wanted(&mut self) -> Option<(Frame, bool)> {
        loop {
            if self.inbox.is_empty() || !self.has_room() {
                return None;
            }
            let mut frame = self.inbox.pop()?;
            // smoltcp verifies every checksum, and one that its sender left to the device to fill in would be wrong. What cannot be filled in is.
            let _ = frame.fill_in_checksum();
            let is_linear = frame.is_linear();
            if !is_linear {
                self.whole.clear();
                frame.segments().for_each(|segment| self.whole.extend_from_slice(segment));
            }
            let verdict = self.screen.look(if is_linear { frame.data() } else { &self.whole });
            match verdict {
                Verdict::Pass => return Some((frame, !is_linear)),
                Verdict::Instead(bytes) => {
                    self.whole = bytes;
                    return Some((frame, true));
                }
                Verdict::Answer(bytes) => self.send(&bytes),
                Verdict::Drop => {}
            }
            self.inbox.recycle(frame);
        }
    }

    /// Whether the longest frame can be taken from smoltcp: a promise that [`Made`] keeps.
    fn has_room(&mut self) -> bool {
        let needed = self.limits.untagged_bytes().div_ceil(self.pool.data_bytes());
        self.outbox.room() > 0 && (self.pool.available() >= needed || self.tx.reclaim() > 0 && self.pool.available() >= needed)
    }
}

impl Device for Nic {
    type RxToken<'a> = Arrived<'a>;
    type TxToken<'a> = Made<'a>;

    fn receive(&mut self, _timestamp: Instant) -> Option<(Arrived<'_>, Made<'_>)> {
        let (frame, is_in_whole) = self.next_wanted()?;
        let Self { inbox, outbox, pool, whole, made, .. } = self;
        Some((Arrived { frame, inbox, whole: is_in_whole.then_some(&*whole) }, Made { outbox, pool, bytes: made }))
    }

    fn transmit(&mut self, _timestamp: Instant) -> Option<Made<'_>> {
        self.has_room().then_some(Made { outbox: &mut self.outbox, pool: &self.pool, bytes: &mut self.made })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        // smoltcp counts the Ethernet header in.
        capabilities.max_transmission_unit = self.limits.longest(false);
        capabilities
    }
}

/// A frame that arrived.
pub(crate) struct Arrived<'a> {
    frame: Frame,
    inbox: &'a mut Batch,
    /// Its bytes where they are not the frame's own.
    whole: Option<&'a Vec<u8>>,
}

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let Self { frame, inbox, whole } = self;
        let result = read(whole.map_or(frame.data(), |whole| whole));
        // Its buffer goes to the next poll.
        inbox.recycle(frame);
        result
    }
}

/// Room for a frame that smoltcp makes.
pub(crate) struct Made<'a> {
    outbox: &'a mut Batch,
    pool: &'a BufPool,
    bytes: &'a mut Vec<u8>,
}

impl TxToken for Made<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.bytes.resize(len, 0);
        let result = write(self.bytes);
        // `has_room` saw a place and the buffers, and only this thread takes any.
        match self.pool.frame_from(self.bytes) {
            Ok(frame) => drop(self.outbox.push(frame)),
            Err(error) => warn(format_args!("not sent: {error}")),
        }
        result
    }
}
