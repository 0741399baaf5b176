//! A device that writes whatever it likes into a virtqueue's memory between the driver's calls, and a driver that goes on all the same.
//!
//! One input of bytes is one story: what the device writes, what the driver calls, in turns. Property tests take random bytes, fuzzing takes what covers more.

use alloc::vec::Vec;

mod ends;
mod sides;

use self::ends::{Device, PackedDevice, SplitDevice};
use self::sides::{DATA_BYTES, PackedReceive, PackedSend, Receive, SIZE, Send, SplitReceive, SplitSend};
use crate::buf::batch::Batch;
use crate::buf::frame::Frame;
use crate::buf::pool::{BufPool, PoolConfig};
use crate::ring::virtq::HEADER_BYTES;
use crate::testing::input::Input;
use crate::testing::memory::domain;

const BUFFERS: u32 = 256;
/// The most frames that the application keeps.
const KEPT: usize = 24;
/// Longer input is cut.
const MAX_INPUT: usize = 4096;
/// The header of an ordinary frame.
const GOOD_HEADER: [u8; HEADER_BYTES] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// How far a story came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reached {
    /// Frames that the receive queue handed up.
    pub received: u64,
    /// Frames that the transmit queue took.
    pub sent: u64,
    /// Descriptors that came back to the transmit queue.
    pub reclaimed: u64,
    /// Faults that were seen.
    pub faults: u64,
    /// How often the queues began anew.
    pub restarts: u64,
}

/// What `input` says of split queues.
///
/// # Panics
/// Where a buffer has two owners or none, a frame is longer than its buffer, or the queues do not work any more when they begin anew.
pub fn hostile_split(input: &[u8]) -> Reached {
    story::<SplitReceive, SplitSend, SplitDevice>(input)
}

/// What `input` says of packed queues.
///
/// # Panics
/// As [`hostile_split`].
pub fn hostile_packed(input: &[u8]) -> Reached {
    story::<PackedReceive, PackedSend, PackedDevice>(input)
}

fn story<R: Receive<Device = D>, S: Send<Device = D>, D: Device>(input: &[u8]) -> Reached {
    let mut input = Input::of(input, MAX_INPUT);
    let how = input.byte().unwrap_or(0);
    let domain = domain().0;
    let config = PoolConfig { buffers: BUFFERS, data_bytes: DATA_BYTES, ..PoolConfig::new(BUFFERS) };
    let pool = BufPool::new(&domain, config).expect("a pool");
    let (rx, tx) = (R::new(&domain, &pool, how & 1 != 0), S::new(&domain, &pool, how & 1 != 0, how & 2 != 0));
    let devices = [rx.device(), tx.device()];
    let batches = [Batch::new(KEPT), Batch::new(KEPT)];
    let mut story = Story { pool, rx, tx, devices, batches, kept: Vec::new(), reached: Reached::default() };
    while story.step(&mut input).is_some() {
        story.check_owners();
    }
    story.recover();
    story.end()
}

struct Story<R, S, D> {
    pool: BufPool,
    rx: R,
    tx: S,
    /// The device's ends of the two.
    devices: [D; 2],
    /// What the queues are called with.
    batches: [Batch; 2],
    /// What was received, oldest first.
    kept: Vec<Frame>,
    reached: Reached,
}

impl<R: Receive<Device = D>, S: Send<Device = D>, D: Device> Story<R, S, D> {
    /// Does the next thing that the input says; `None` at its end.
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let what = input.byte()?;
        let at = usize::from(what >> 7);
        match what & 15 {
            0..=5 => self.lie(at, what & 15, input)?,
            6 => self.poll(input.byte()?.into()),
            7 => self.take(),
            8 => {
                self.rx.publish(&mut self.batches[0]);
                self.tx.publish();
            }
            9 => {
                self.rx.arm(what & 16 != 0);
                self.tx.arm((what & 16 != 0).then_some(input.byte()?.into()));
            }
            10 => drop(self.kept.drain(..usize::from(input.byte()?).min(self.kept.len()))),
            11 => self.put_ordinary(input.byte()?),
            12 => self.put_chain(input.byte()?),
            13 => self.reclaim(),
            14 => self.put_only(input.byte()?),
            _ => self.restart(),
        }
        Some(())
    }

    /// What the device does, honest or not.
    fn lie(&mut self, at: usize, what: u8, input: &mut Input<'_>) -> Option<()> {
        let device = &mut self.devices[at];
        match what {
            0 => device.use_next(length(input)?, &GOOD_HEADER),
            1 => device.use_id(number(input)?, length(input)?),
            2 => device.poke(input.byte()?, input.byte()?, input.word()?),
            3 => device.jump(number(input)? as u16),
            4 => device.wish(input.word()?),
            _ => {
                let (length, low, high) = (length(input)?, input.word()?, input.word()?);
                let mut header = GOOD_HEADER;
                header[..4].copy_from_slice(&low.to_le_bytes());
                header[8..].copy_from_slice(&high.to_le_bytes());
                device.use_next(length, &header);
            }
        }
        Some(())
    }

    fn keep(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            assert!(frame.len() <= DATA_BYTES as usize, "a frame of {} bytes", frame.len());
            self.reached.received += 1;
            self.kept.push(frame);
        }
        drop(self.kept.drain(..self.kept.len().saturating_sub(KEPT)));
    }

    fn poll(&mut self, count: usize) {
        let batch = &mut self.batches[0];
        let taken = self.rx.poll(batch, count % (KEPT + 1));
        self.reached.faults += u64::from(taken.is_err());
        let frames: Vec<Frame> = core::iter::from_fn(|| batch.pop()).collect();
        self.keep(frames);
    }

    fn take(&mut self) {
        match self.rx.take(&mut self.batches[0]) {
            Ok(frame) => self.keep(frame),
            Err(_) => self.reached.faults += 1,
        }
    }

    fn frame(&self, len: usize) -> Option<Frame> {
        self.pool.frame_from(&[0x5a; DATA_BYTES as usize][..len]).ok()
    }

    /// Empties the batch of frames that were not sent.
    fn take_back(&mut self) {
        let batch = &mut self.batches[1];
        while let Some(frame) = batch.pop() {
            batch.recycle(frame);
        }
    }

    fn put_ordinary(&mut self, how: u8) {
        for k in 0..usize::from(how & 15) {
            if let Some(frame) = self.frame(60 + k) {
                let _ = self.batches[1].push(frame);
            }
        }
        self.reached.sent += self.tx.put_ordinary(&mut self.batches[1]) as u64;
        self.take_back();
    }

    fn put_only(&mut self, how: u8) {
        self.tx.allow_singles((how & 7).into(), (how >> 3).into());
        if let Some(frame) = self.frame(60) {
            let _ = self.batches[1].push(frame);
            self.reached.sent += u64::from(self.tx.put_only(&mut self.batches[1]));
            self.take_back();
        }
    }

    fn put_chain(&mut self, how: u8) {
        let Some(mut frame) = self.frame(40) else { return };
        (0..how & 3).filter_map(|_| self.frame(20)).for_each(|piece| frame.append(piece));
        self.reached.sent += u64::from(self.tx.put(frame));
    }

    fn reclaim(&mut self) {
        let before = self.tx.pending();
        match self.tx.reclaim(&mut self.batches[1]) {
            Ok(descriptors) => {
                assert_eq!(before - self.tx.pending(), descriptors as usize);
                self.reached.reclaimed += u64::from(descriptors);
            }
            Err(_) => self.reached.faults += 1,
        }
        self.batches[1].release_spares();
    }

    /// The device was reset, and the driver makes it what it was.
    fn restart(&mut self) {
        self.rx.restart(&mut self.batches[0]);
        self.tx.restart(&mut self.batches[1]);
        self.batches[1].release_spares();
        self.devices = [self.rx.device(), self.tx.device()];
        self.reached.restarts += 1;
        assert_eq!(self.tx.pending(), 0);
    }

    /// No buffer is in two places that can be seen.
    fn check_owners(&self) {
        let frames = self.batches.iter().flat_map(Batch::frames).chain(&self.kept);
        let mut places: Vec<u64> = frames.map(|frame| frame.iova().0).collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count, "a buffer has two owners");
    }

    /// After a reset everything works again, whatever was seen before.
    fn recover(&mut self) {
        self.kept.clear();
        self.restart();
        self.rx.publish(&mut self.batches[0]);
        for round in 0..2 * SIZE {
            let before = self.reached;
            assert!(self.devices[0].may_write(HEADER_BYTES as u32 + DATA_BYTES), "round {round}: no whole buffer is lent");
            self.devices[0].use_next(HEADER_BYTES as u32 + 60, &GOOD_HEADER);
            self.poll(1);
            self.rx.publish(&mut self.batches[0]);
            self.put_ordinary(1);
            self.tx.publish();
            self.devices[1].use_next(0, &[]);
            self.reclaim();
            let after = self.reached;
            assert_eq!((after.received, after.sent, after.faults), (before.received + 1, before.sent + 1, before.faults), "round {round}");
            assert_eq!((self.tx.pending(), self.kept.pop().map(|frame| frame.len())), (0, Some(60)), "round {round}");
        }
    }

    fn end(self) -> Reached {
        let Self { pool, rx, tx, batches, kept, reached, .. } = self;
        drop((batches, kept));
        rx.release();
        tx.release();
        assert_eq!(pool.available(), pool.len(), "buffers lost");
        let all: Vec<Frame> = core::iter::from_fn(|| pool.take()).collect();
        let mut places: Vec<u64> = all.iter().map(|frame| frame.iova().0).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), BUFFERS as usize, "a buffer is twice in its pool");
        reached
    }
}

/// A number near to what an id or an index may be, or far beyond.
fn number(input: &mut Input<'_>) -> Option<u32> {
    Some(match input.byte()? {
        beyond @ 0xf0.. => [8, 9, 16, 0x7fff, 0x8000, 0xfff8, 0xffff, 0x1_0000, 0x1_0003, u32::MAX][usize::from(beyond - 0xf0) % 10],
        near => u32::from(near) % (u32::from(SIZE) + 2),
    })
}

/// A length that a buffer may have been filled with, or one that none was lent with.
fn length(input: &mut Input<'_>) -> Option<u32> {
    Some(match input.byte()? {
        beyond @ 0xf0.. => [0, 11, 12, 25, 523, 524, 525, 0xffff, 0x1_0048, u32::MAX][usize::from(beyond - 0xf0) % 10],
        near => HEADER_BYTES as u32 + 60 + u32::from(near),
    })
}

#[cfg(test)]
mod tests;
