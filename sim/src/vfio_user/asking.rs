//! DMA by message: memory that a client maps without a descriptor.
//!
//! A client may be unable to answer while it waits for a reply itself: QEMU holds its lock while a register is read, and answers DMA under the same
//! lock. So a command that wants a reply ends the wait: a read is to be made again later, and a write counts as posted, as it is on PCI. Until writes
//! that nobody waited for are answered, the card stands still and its interrupts are kept back: an interrupt must not overtake what it tells of.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::channel::{Channel, Closed, Message};
use super::irq::Irqs;
use super::memory::AddressSpace;
use super::proto::*;
use crate::dma::Remote;
use crate::memory::FaultCause;

/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much may arrive while a reply is waited for: commands, bytes of them, and descriptors. Beyond that they are served first.
const MAX_DEFERRED: usize = 1024;
const MAX_DEFERRED_BYTES: usize = 4 << 20;
const MAX_DEFERRED_DESCRIPTORS: usize = 64;
/// How many words are looked at to see how a client lays out its data.
const PROBES: u64 = 16;

/// Where the data of DMA messages begin.
///
/// The protocol has an address and a length of 64 bits each, and the data behind them. QEMU before 11.1 has a length of 32 bits, the data behind it,
/// and 4 bytes of padding at the end. A reply with anything but zeros tells the two apart, and so does the answer to data that are not zero in QEMU's
/// layout: in the protocol's they are the upper half of the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As the protocol has it.
    Protocol,
    /// The data begin 4 bytes earlier.
    Early,
    /// Not seen yet. QEMU proposes version 0.0, others 0.1.
    Unknown {
        /// Whether it is likely QEMU, of whatever version.
        early: bool,
    },
}

impl Layout {
    pub(super) fn unknown(minor: u16) -> Self {
        Self::Unknown { early: minor == 0 }
    }
}

/// What was agreed with the client.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// The most data that a message to the client may carry.
    pub(super) max_data: usize,
    /// How the client lays out data of DMA messages, as far as it has shown.
    pub(super) layout: Layout,
}

/// Bytes of a length that belong to the data where they begin early.
const EARLY: usize = 4;
/// What clients answer that take data for a length: QEMU the former.
const TOO_LONG: [u32; 2] = [Errno::TOOBIG.raw_os_error() as u32, Errno::INVAL.raw_os_error() as u32];
const HEAD: usize = size_of::<DmaAccess>();

/// Writes that were sent and are not answered yet, by their messages' ids, and since when the oldest is waited for.
#[derive(Default)]
pub(super) struct Unanswered {
    /// With each whether it was a guess at the layout, which may be refused.
    ids: VecDeque<(u16, bool)>,
    since: Option<Instant>,
}

impl Unanswered {
    fn add(&mut self, id: u16, is_guess: bool) {
        self.ids.push_back((id, is_guess));
        self.since.get_or_insert_with(Instant::now);
    }

    /// Takes an answer. What the client says of the write comes too late to change anything.
    pub(super) fn answered(&mut self, header: &Header) {
        let at = self.ids.iter().position(|&(id, _)| id == header.id.get());
        // Others are late answers, which say nothing any more.
        let is_guess = at.and_then(|at| self.ids.remove(at)).is_none_or(|(_, is_guess)| is_guess);
        if header.flags.get() & ERROR != 0 && !is_guess {
            log::warn!("vfio-user: the client refused a DMA write: error {}", header.error);
        }
        self.since = (!self.ids.is_empty()).then(Instant::now);
    }

    /// Whether there are any. A client that does not answer is not waited for longer than [`PATIENCE`].
    pub(super) fn wait(&mut self) -> bool {
        if self.since.is_some_and(|since| since.elapsed() > PATIENCE) {
            log::warn!("vfio-user: the client did not answer {} DMA writes within {} s", self.ids.len(), PATIENCE.as_secs());
            *self = Self::default();
        }
        self.since.is_some()
    }
}

/// A client that is asked for its memory, during one step of the card.
pub(super) struct Asking<'a> {
    channel: &'a RefCell<Channel>,
    space: &'a AddressSpace,
    terms: &'a Cell<Terms>,
    next_id: &'a Cell<u16>,
    posted: &'a RefCell<Unanswered>,
    irqs: &'a Irqs,
    /// Nothing is waited for any more in this step: the client wants something itself, or does not answer.
    stopped: Cell<bool>,
    closed: RefCell<Option<Closed>>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        channel: &'a RefCell<Channel>,
        space: &'a AddressSpace,
        terms: &'a Cell<Terms>,
        next_id: &'a Cell<u16>,
        posted: &'a RefCell<Unanswered>,
        irqs: &'a Irqs,
    ) -> Self {
        Self { channel, space, terms, next_id, posted, irqs, stopped: Cell::new(false), closed: RefCell::new(None) }
    }

    /// What went wrong with the connection; else whether the step is to be made again.
    pub(super) fn finish(self) -> Result<bool, Closed> {
        self.closed.into_inner().map_or(Ok(self.stopped.get()), Err)
    }

    /// Sends a command and waits for its reply.
    fn ask(&self, command: u16, address: u64, count: usize, data: &[&[u8]]) -> Result<Vec<u8>, FaultCause> {
        let reads = command == command::DMA_READ;
        if self.closed.borrow().is_some() || self.stopped.get() && reads {
            return Err(FaultCause::Later);
        }
        match self.exchange(command, address, count, data) {
            Ok(Ok(reply)) => refusal(&reply).map_or(Ok(reply.payload), |error| Err(refused(error, count, address))),
            Ok(Err(_)) if reads => Err(FaultCause::Later),
            Ok(Err(id)) => {
                self.posted.borrow_mut().add(id, false);
                self.irqs.hold();
                Ok(Vec::new())
            }
            Err(cause) => Err(cause),
        }
    }

    /// Sends a write in a layout that is a guess, and waits for nothing.
    fn post(&self, layout: Layout, address: u64, data: &[u8]) {
        if self.closed.borrow().is_some() {
            return;
        }
        match self.send(layout, command::DMA_WRITE, address, data.len(), &[data]) {
            Ok(id) => {
                self.posted.borrow_mut().add(id, true);
                self.irqs.hold();
            }
            Err(closed) => *self.closed.borrow_mut() = Some(closed),
        }
    }

    /// Sends a command. Its reply; or its id, where that is not waited for. [`FaultCause::Later`]: the connection has ended.
    fn exchange(&self, command: u16, address: u64, count: usize, data: &[&[u8]]) -> Result<Result<Message, u16>, FaultCause> {
        let asked = self.send(self.terms.get().layout, command, address, count, data);
        let asked = asked.and_then(|id| if self.stopped.get() { Ok(Err(id)) } else { self.wait_for(id, command) });
        asked.map_err(|closed| {
            *self.closed.borrow_mut() = Some(closed);
            FaultCause::Later
        })
    }

    fn send(&self, layout: Layout, command: u16, address: u64, count: usize, data: &[&[u8]]) -> Result<u16, Closed> {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        let header = Header { id: id.into(), command: command.into(), size: 0.into(), flags: TYPE_COMMAND.into(), error: 0.into() };
        let access = DmaAccess { address: address.into(), count: (count as u64).into() };
        let early = matches!(layout, Layout::Early | Layout::Unknown { early: true });
        let head = if data.is_empty() || !early { HEAD } else { HEAD - EARLY };
        let mut parts = vec![&access.as_bytes()[..head]];
        parts.extend_from_slice(data);
        parts.push(&[0; EARLY][..HEAD - head]);
        self.channel.borrow_mut().send(header, &parts)?;
        Ok(id)
    }

    /// The reply to a command; or its id, where it is not waited for any longer.
    fn wait_for(&self, id: u16, command: u16) -> Result<Result<Message, u16>, Closed> {
        let mut channel = self.channel.borrow_mut();
        let deadline = Instant::now() + PATIENCE;
        while !self.stopped.get() {
            match channel.receive_new()? {
                Some(message) if message.header.flags.get() & TYPE_MASK != TYPE_REPLY => self.postpone(&mut channel, message),
                Some(message) if message.header.id.get() == id && message.header.command.get() == command => return Ok(Ok(message)),
                Some(message) => {
                    self.posted.borrow_mut().answered(&message.header);
                    // Replies that nobody asked for may come without an end.
                    self.stopped.set(Instant::now() > deadline);
                }
                None if channel.wait(PollFlags::IN, deadline)? => {}
                None => {
                    log::warn!("vfio-user: the client does not answer DMA within {} s", PATIENCE.as_secs());
                    self.stopped.set(true);
                }
            }
        }
        Ok(Err(id))
    }

    /// Keeps a command until the card has made its step. One that wants a reply ends the step's waits, and so do many.
    fn postpone(&self, channel: &mut Channel, message: Message) {
        let wants_reply = message.header.flags.get() & NO_REPLY == 0;
        channel.defer(message);
        let (bytes, descriptors) = channel.deferred_load();
        if wants_reply || channel.deferred() > MAX_DEFERRED || bytes > MAX_DEFERRED_BYTES || descriptors > MAX_DEFERRED_DESCRIPTORS {
            self.stopped.set(true);
        }
    }

    fn set_layout(&self, layout: Layout) {
        self.terms.set(Terms { layout, ..self.terms.get() });
    }

    /// Reads what fits in a message.
    fn read_some(&self, address: u64, into: &mut [u8]) -> Result<(), FaultCause> {
        let reply = self.ask(command::DMA_READ, address, into.len(), &[])?;
        let Some(data) = reply.get(HEAD - EARLY..).filter(|data| data.len() == EARLY + into.len()) else {
            log::warn!("vfio-user: a reply of {} bytes to DMA of {}", reply.len(), into.len());
            return Err(FaultCause::Refused);
        };
        let (early, late) = (&data[..into.len()], &data[EARLY..]);
        if let Layout::Unknown { .. } = self.terms.get().layout {
            // At most a word: one of the two is zero.
            let seen = [(early, Layout::Early), (late, Layout::Protocol)].into_iter().find(|(data, _)| data.iter().any(|&byte| byte != 0));
            if let Some((_, layout)) = seen {
                self.set_layout(layout);
            }
        }
        into.copy_from_slice(if self.terms.get().layout == Layout::Early { early } else { late });
        Ok(())
    }

    /// The most that one message reads or writes.
    fn most(&self, reads: bool) -> usize {
        let Terms { max_data, layout } = self.terms.get();
        if reads && matches!(layout, Layout::Unknown { .. }) { EARLY.min(max_data) } else { max_data }
    }

    /// Finds out how the client lays out data by reading what is where the first data go, unless it cannot be asked now.
    fn learn_by_reading(&self, address: u64, len: usize) {
        let first = address & !(EARLY as u64 - 1);
        for word in 0..PROBES.min(len.div_ceil(EARLY) as u64) {
            let Layout::Unknown { .. } = self.terms.get().layout else { return };
            let at = first + EARLY as u64 * word;
            if self.reach(at, false) < EARLY as u64 {
                break;
            }
            match self.read_some(at, &mut [0; EARLY]) {
                Err(FaultCause::Later) => return,
                Err(_) => break,
                Ok(()) => {}
            }
        }
        if let Layout::Unknown { early: false } = self.terms.get().layout {
            self.set_layout(Layout::Protocol);
        }
    }

    /// Writes until the layout is known or the client is not waited for any longer, and says how much that was. Zeros are the same in both layouts.
    fn learn_by_writing(&self, address: u64, from: &[u8]) -> Result<usize, FaultCause> {
        let mut done = 0;
        for word in from.chunks(self.most(true)) {
            let Layout::Unknown { .. } = self.terms.get().layout else { break };
            if self.stopped.get() {
                break;
            }
            let reply = match self.exchange(command::DMA_WRITE, address + done as u64, word.len(), &[word]) {
                Ok(Ok(reply)) => reply,
                // Nobody will say what became of it: it is written once more.
                Ok(Err(_)) => break,
                // The connection has ended, and the step with it.
                Err(_) => return Ok(from.len()),
            };
            let (tells, error) = (word.iter().any(|&byte| byte != 0), refusal(&reply));
            match error {
                Some(error) if tells && TOO_LONG.contains(&error) => {
                    self.set_layout(Layout::Protocol);
                    break;
                }
                Some(error) => return Err(refused(error, word.len(), address + done as u64)),
                None if tells => self.set_layout(Layout::Early),
                None => {}
            }
            done += word.len();
        }
        Ok(done)
    }

    /// Writes for clients of both layouts, without an answer: as the protocol has it, then early. Who looks for early data puts the former a word too
    /// far to the end, inside the same range, and mends that by the latter. Who does not takes the latter's beginning for a length and refuses it: so
    /// that must not be zero, but zeros are the same in both layouts.
    fn post_both_ways(&self, mut address: u64, mut from: &[u8]) {
        while !from.is_empty() {
            let zeros = from.iter().take_while(|&&byte| byte == 0).count() / EARLY * EARLY;
            let most = if zeros > 0 { zeros } else { from.len() }.min(self.most(false));
            let (part, rest) = from.split_at(most);
            self.post(Layout::Protocol, address, part);
            if zeros == 0 {
                self.post(Layout::Early, address, part);
            }
            (address, from) = (address + part.len() as u64, rest);
        }
    }
}

/// The error of a reply, if it is one.
fn refusal(reply: &Message) -> Option<u32> {
    (reply.header.flags.get() & ERROR != 0).then(|| reply.header.error.get())
}

fn refused(error: u32, count: usize, address: u64) -> FaultCause {
    log::warn!("vfio-user: the client refuses DMA of {count} bytes at {address:#x}: error {error}");
    FaultCause::Refused
}

impl Remote for Asking<'_> {
    fn reach(&self, iova: u64, write: bool) -> u64 {
        let asked = self.space.asked(iova).filter(|asked| if write { asked.writable } else { asked.readable });
        asked.map_or(0, |asked| asked.len - (iova - asked.first))
    }

    fn read(&self, iova: u64, into: &mut [u8]) -> Result<(), FaultCause> {
        let mut done = 0;
        while done < into.len() {
            let end = into.len().min(done + self.most(true));
            self.read_some(iova + done as u64, &mut into[done..end])?;
            done = end;
        }
        Ok(())
    }

    fn write(&self, iova: u64, from: &[u8]) -> Result<(), FaultCause> {
        self.learn_by_reading(iova, from.len());
        let known = self.learn_by_writing(iova, from)?;
        let (iova, from, most) = (iova + known as u64, &from[known..], self.most(false));
        if let Layout::Unknown { early: true } = self.terms.get().layout {
            self.post_both_ways(iova, from);
            return Ok(());
        }
        for (data, at) in from.chunks(most).zip(0u64..) {
            match self.ask(command::DMA_WRITE, iova + at * most as u64, data.len(), &[data]) {
                // The connection has ended, and the step with it.
                Ok(_) | Err(FaultCause::Later) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;

    use super::super::stopper::Stopper;
    use super::*;

    /// A client of 64 bytes at address 4096, until its connection ends: what its memory is then.
    fn client(mut stream: UnixStream, mut memory: [u8; 64], data_at: usize) -> JoinHandle<[u8; 64]> {
        std::thread::spawn(move || {
            let mut head = [0; HEADER_BYTES + HEAD];
            while stream.read_exact(&mut head).is_ok() {
                let (at, count) = (usize::from(head[16]) | usize::from(head[17]) << 8, usize::from(head[24]));
                let (at, is_write) = (at - 4096, head[2] == 12);
                let mut message = head.to_vec();
                let too_long = data_at == 32 && head[25..32].iter().any(|&byte| byte != 0);
                if is_write {
                    message.resize(HEADER_BYTES + HEAD + count, 0);
                    stream.read_exact(&mut message[HEADER_BYTES + HEAD..]).unwrap();
                    if !too_long {
                        memory[at..at + count].copy_from_slice(&message[data_at..data_at + count]);
                    }
                    message.truncate(HEADER_BYTES);
                } else {
                    message.truncate(data_at);
                    message.extend_from_slice(&memory[at..at + count]);
                    message.resize(HEADER_BYTES + HEAD + count, 0);
                }
                message[4] = message.len() as u8;
                message[8] = if too_long { 0x21 } else { 1 };
                message[12] = if too_long { 7 } else { 0 };
                stream.write_all(&message).unwrap();
            }
            memory
        })
    }

    /// What a client's memory is after `writes`, and that reads agree with it. Where it `hurries`, nobody waits for it while they are made.
    fn written(hurries: bool, memory: [u8; 64], data_at: usize, minor: u16, writes: &[(usize, &[u8])]) {
        let (near, far) = UnixStream::pair().unwrap();
        let client = client(far, memory, data_at);
        let channel = RefCell::new(Channel::new(near, Stopper::new().unwrap()).unwrap());
        let mut space = AddressSpace::default();
        let map = DmaMap { argsz: 32.into(), flags: 3.into(), offset: 0.into(), address: 4096.into(), size: 64.into() };
        space.map(&map, &[]).unwrap();
        let terms = Cell::new(Terms { max_data: 24, layout: Layout::unknown(minor) });
        let (next_id, posted, irqs) = (Cell::new(7), RefCell::default(), Irqs::default());
        let step = || Asking::new(&channel, &space, &terms, &next_id, &posted, &irqs);
        let asking = step();
        asking.stopped.set(hurries);
        let mut wanted = memory;
        for &(at, bytes) in writes {
            asking.write(4096 + at as u64, bytes).unwrap();
            wanted[at..at + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(asking.finish().ok(), Some(hurries));
        let asking = step();
        let mut seen = [0; 64];
        asking.read(4096, &mut seen).unwrap();
        assert_eq!(seen, wanted, "what is read, with data at {data_at}, minor version {minor}");
        assert!(asking.finish().is_ok());
        drop(channel);
        assert_eq!(client.join().unwrap(), wanted, "data at {data_at}, minor version {minor}");
    }

    /// Data go where the client looks for them, from the first write on, whatever its version makes one believe.
    #[test]
    fn the_layout_is_learnt_before_the_first_write() {
        for (data_at, minor) in [(28, 0), (28, 1), (32, 0), (32, 1)] {
            let new: Vec<_> = (100..140).collect();
            written(false, std::array::from_fn(|at| at as u8), data_at, minor, &[(0, &new)]);
            written(false, std::array::from_fn(|at| at as u8), data_at, minor, &[(6, &[255; 2])]);
        }
    }

    /// Memory of zeros tells nothing: what is written does.
    #[test]
    fn the_layout_is_learnt_by_the_first_write_that_tells() {
        for (data_at, minor) in [(28, 0), (32, 0), (32, 1)] {
            let new: Vec<_> = [0; 9].into_iter().chain(1..30).collect();
            written(false, [0; 64], data_at, minor, &[(2, &new)]);
            written(false, [0; 64], data_at, minor, &[(6, &[0; 2]), (8, &[255; 2]), (10, &[1, 2, 3, 4, 5, 6])]);
        }
    }

    /// Data go where the client looks for them though it cannot be asked where that is.
    #[test]
    fn the_layout_need_not_be_known() {
        for (data_at, minor) in [(28, 0), (32, 0), (32, 1)] {
            for memory in [[0; 64], [7; 64]] {
                let new: Vec<_> = [0; 9].into_iter().chain(1..40).collect();
                written(true, memory, data_at, minor, &[(2, &new)]);
                written(true, memory, data_at, minor, &[(6, &[0; 2]), (8, &[255; 2]), (10, &[0; 7]), (20, &[0, 0, 0, 1, 0, 0, 0, 0, 2])]);
            }
        }
    }
}
