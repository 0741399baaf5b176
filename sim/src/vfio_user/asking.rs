//! DMA by message: memory that a client maps without a descriptor.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use zerocopy::IntoBytes;

use super::channel::{Channel, Closed, Message};
use super::memory::AddressSpace;
use super::proto::*;
use super::session::Terms;
use crate::dma::Remote;

/// How long a client may take to answer. Shorter than QEMU waits for a command's reply (5 s): a client that answers nothing while it waits for a reply
/// itself gets that reply.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many commands may arrive while a reply is waited for.
const MAX_DEFERRED: usize = 1024;
/// How many words are looked at to see how a client lays out its data.
const PROBES: u64 = 16;

/// Where the data of DMA messages begin.
///
/// The protocol has an address and a length of 64 bits each, and the data behind them. QEMU has a length of 32 bits, the data behind it, and 4 bytes
/// of padding at the end. A reply with anything but zeros tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As the protocol has it.
    Protocol,
    /// The data begin 4 bytes earlier.
    Early,
    /// Not seen yet. QEMU proposes version 0.0, others 0.1.
    Unknown {
        /// Whether it is likely QEMU.
        early: bool,
    },
}

impl Layout {
    pub(super) fn unknown(minor: u16) -> Self {
        Self::Unknown { early: minor == 0 }
    }
}

/// Bytes of a length that belong to the data where they begin early.
const EARLY: usize = 4;
const HEAD: usize = size_of::<DmaAccess>();

/// A client that is asked for its memory, during one step of the card.
pub(super) struct Asking<'a> {
    channel: &'a RefCell<Channel>,
    space: &'a AddressSpace,
    terms: &'a Cell<Terms>,
    next_id: &'a Cell<u16>,
    /// The client did not answer in time: it is not asked again in this step.
    silent: Cell<bool>,
    closed: RefCell<Option<Closed>>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(channel: &'a RefCell<Channel>, space: &'a AddressSpace, terms: &'a Cell<Terms>, next_id: &'a Cell<u16>) -> Self {
        Self { channel, space, terms, next_id, silent: Cell::new(false), closed: RefCell::new(None) }
    }

    /// What went wrong with the connection.
    pub(super) fn finish(self) -> Result<(), Closed> {
        self.closed.into_inner().map_or(Ok(()), Err)
    }

    /// Sends a command and waits for its reply. `None`: there is none, or it is an error.
    fn ask(&self, command: u16, address: u64, count: usize, data: &[&[u8]]) -> Option<Vec<u8>> {
        if self.silent.get() || self.closed.borrow().is_some() {
            return None;
        }
        match self.try_ask(command, address, count, data) {
            Ok(reply) => reply,
            Err(closed) => {
                *self.closed.borrow_mut() = Some(closed);
                None
            }
        }
    }

    fn try_ask(&self, command: u16, address: u64, count: usize, data: &[&[u8]]) -> Result<Option<Vec<u8>>, Closed> {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        let header = Header { id: id.into(), command: command.into(), size: 0.into(), flags: TYPE_COMMAND.into(), error: 0.into() };
        let access = DmaAccess { address: address.into(), count: (count as u64).into() };
        let head = if data.is_empty() || self.terms.get().layout != Layout::Early { HEAD } else { HEAD - EARLY };
        let mut parts = vec![&access.as_bytes()[..head]];
        parts.extend_from_slice(data);
        parts.push(&[0; EARLY][..HEAD - head]);
        let mut channel = self.channel.borrow_mut();
        channel.send(header, &parts)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match channel.receive_new()? {
                Some(message) if message.header.flags.get() & TYPE_MASK != TYPE_REPLY => self.postpone(&mut channel, message)?,
                Some(message) if message.header.id.get() == id && message.header.command.get() == command => {
                    let refused = message.header.flags.get() & ERROR != 0;
                    if refused {
                        log::warn!("vfio-user: the client refuses DMA of {count} bytes at {address:#x}: error {}", message.header.error);
                    }
                    return Ok((!refused).then_some(message.payload));
                }
                // A reply that came too late.
                Some(_) => {}
                None if channel.wait(PollFlags::IN, deadline) => {}
                None => {
                    log::warn!("vfio-user: the client did not answer DMA of {count} bytes at {address:#x} within {} s", PATIENCE.as_secs());
                    self.silent.set(true);
                    return Ok(None);
                }
            }
        }
    }

    /// Keeps a command until the card has made its step. A write is acknowledged now: it is posted on PCI, and the client may wait for it before it
    /// answers.
    fn postpone(&self, channel: &mut Channel, mut message: Message) -> Result<(), Closed> {
        let is_write = message.header.command.get() == command::REGION_WRITE && message.header.flags.get() & NO_REPLY == 0;
        if let (true, Some((access, data))) = (is_write, head::<RegionAccess>(&message.payload))
            && data.len() == access.count.get() as usize
            && message.descriptors.is_empty()
        {
            let header = Header { flags: TYPE_REPLY.into(), ..message.header };
            channel.send(header, &[access.as_bytes()])?;
            message.replied = true;
        }
        channel.defer(message);
        if channel.deferred() > MAX_DEFERRED {
            return Err(Closed::Protocol(format!("{MAX_DEFERRED} commands while an answer was waited for")));
        }
        Ok(())
    }

    fn set_layout(&self, layout: Layout) {
        self.terms.set(Terms { layout, ..self.terms.get() });
    }

    /// Reads what fits in a message.
    fn read_some(&self, address: u64, into: &mut [u8]) -> bool {
        let Some(reply) = self.ask(command::DMA_READ, address, into.len(), &[]) else { return false };
        let Some(data) = reply.get(HEAD - EARLY..).filter(|data| data.len() == EARLY + into.len()) else {
            log::warn!("vfio-user: a reply of {} bytes to DMA of {}", reply.len(), into.len());
            return false;
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
        true
    }

    /// The most that one message reads or writes.
    fn most(&self, reads: bool) -> usize {
        let Terms { max_data, layout } = self.terms.get();
        if reads && matches!(layout, Layout::Unknown { .. }) { EARLY.min(max_data) } else { max_data }
    }

    /// Finds out how the client lays out data, before the first data go to it.
    fn learn(&self, address: u64, len: usize) {
        for word in 0..PROBES.min(len as u64 / 4) {
            let Layout::Unknown { early } = self.terms.get().layout else { return };
            let readable = self.space.asked(address).is_some_and(|asked| asked.readable);
            if !readable || !self.read_some(address + 4 * word, &mut [0; 4]) {
                return self.set_layout(if early { Layout::Early } else { Layout::Protocol });
            }
        }
        if let Layout::Unknown { early } = self.terms.get().layout {
            self.set_layout(if early { Layout::Early } else { Layout::Protocol });
        }
    }
}

impl Remote for Asking<'_> {
    fn reach(&self, iova: u64, write: bool) -> u64 {
        let asked = self.space.asked(iova).filter(|asked| if write { asked.writable } else { asked.readable });
        asked.map_or(0, |asked| asked.len - (iova - asked.first))
    }

    fn read(&self, iova: u64, into: &mut [u8]) -> bool {
        let mut done = 0;
        while done < into.len() {
            let end = into.len().min(done + self.most(true));
            if !self.read_some(iova + done as u64, &mut into[done..end]) {
                return false;
            }
            done = end;
        }
        true
    }

    fn write(&self, iova: u64, from: &[u8]) -> bool {
        self.learn(iova, from.len());
        let most = self.most(false);
        from.chunks(most).zip(0u64..).all(|(data, at)| self.ask(command::DMA_WRITE, iova + at * most as u64, data.len(), &[data]).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;

    use super::*;

    /// A client of 64 bytes at address 4096, until its connection ends: what its memory is then.
    fn client(mut stream: UnixStream, data_at: usize) -> JoinHandle<[u8; 64]> {
        std::thread::spawn(move || {
            let mut memory: [u8; 64] = std::array::from_fn(|at| at as u8);
            let mut head = [0; HEADER_BYTES + HEAD];
            while stream.read_exact(&mut head).is_ok() {
                let (at, count) = (usize::from(head[16]) | usize::from(head[17]) << 8, usize::from(head[24]));
                let (at, is_write) = (at - 4096, head[2] == 12);
                let mut message = head.to_vec();
                if is_write {
                    message.resize(HEADER_BYTES + HEAD + count, 0);
                    stream.read_exact(&mut message[HEADER_BYTES + HEAD..]).unwrap();
                    memory[at..at + count].copy_from_slice(&message[data_at..data_at + count]);
                    message.truncate(HEADER_BYTES + HEAD);
                } else {
                    message.truncate(data_at);
                    message.extend_from_slice(&memory[at..at + count]);
                    message.resize(HEADER_BYTES + HEAD + count, 0);
                }
                message[4] = message.len() as u8;
                message[8] = 1;
                stream.write_all(&message).unwrap();
            }
            memory
        })
    }

    /// Data go where the client looks for them, from the first write on, whatever its version makes one believe.
    #[test]
    fn the_layout_is_learnt_before_the_first_write() {
        for (data_at, minor) in [(28, 0), (28, 1), (32, 0), (32, 1)] {
            let (near, far) = UnixStream::pair().unwrap();
            let client = client(far, data_at);
            let channel = RefCell::new(Channel::new(near).unwrap());
            let mut space = AddressSpace::default();
            let map = DmaMap { argsz: 32.into(), flags: 3.into(), offset: 0.into(), address: 4096.into(), size: 64.into() };
            space.map(&map, &[]).unwrap();
            let terms = Cell::new(Terms { max_data: 24, layout: Layout::unknown(minor) });
            let next_id = Cell::new(7);
            let asking = Asking::new(&channel, &space, &terms, &next_id);
            let new: Vec<_> = (100..140).collect();
            assert!(asking.write(4096, &new));
            let mut seen = [0; 64];
            assert!(asking.read(4096, &mut seen));
            let wanted: Vec<_> = (100..140).chain(40..64).collect();
            assert_eq!(seen[..], wanted);
            assert!(asking.finish().is_ok());
            drop(channel);
            assert_eq!(client.join().unwrap()[..], wanted, "data at {data_at}, minor version {minor}");
        }
    }
}
